"""LaNAS: a tree that is learnt, which splits the space into halves of good and bad architectures, and a search in it.

Reference: Wang, Xie, Li, Fonseca & Tian, "Sample-efficient neural architecture search by learning action space", 2019
(TPAMI 2021). After some random architectures, each node of a binary tree fits a linear model to the scores of those
that fall to it, and hands on what the model says is above their mean to one child, the rest to the other. A search
walks down by upper confidence bounds and proposes an architecture of the region where it ends; the tree is learnt anew
now and then.

Where we differ:

- Proposals never wait; those that were made since the tree was learnt count as visits.
- A region is sampled from a pool of random architectures, which is drawn with each tree; where none of them is left in
  it, ``MUTANTS`` mutations of its members are tried. The paper samples by rejection.
- The newest ``REMEMBERED`` results are learnt from. Nothing is proposed twice, as long as others are found. Scores are
  brought to 0 to 1, between the least and the greatest. Failed trials teach nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from archsearch.basics.checks import at_least_one, number
from archsearch.controller import Answer, Controller
from archsearch.controllers.possible import is_possible, mutated
from archsearch.controllers.proposed import Proposed
from archsearch.model import one_thread
from archsearch.trial import Architecture, Trial

POOL = 600
"""Random architectures that are drawn with each tree."""

MUTANTS = 20
"""Mutations that are tried for one proposal, where the pool has none left."""

REMEMBERED = 1_000
"""Results that are learnt from."""

FEWEST = 8
"""Results that a node needs to be split."""

RIDGE = 0.1
"""Weight of the squared coefficients; one-hot columns depend on each other."""

FloatArray = npt.NDArray[np.float64]


class LaNAS(Controller):
    """Latent action search: linear models split the space into good and bad halves, again and again (Wang et al. 2019).

    Args:
        initial: Random architectures before the first tree, >= 1. The paper has 200.
        height: Height of the tree, >= 1. The paper tries 2 to 12, and recommends 8 for large searches.
        every: Results between two trees, >= 1.
        exploration: Weight of regions that were tried less, >= 0. The value of a region is its mean score, from 0 to 1,
            plus 2 * exploration * sqrt(2 ln(visits of its parent) / visits of its own). The paper has a tenth of the
            best accuracy.

    Raises:
        UsageError: If a setting is out of range.
    """

    state_per_trial: ClassVar[int] = 80

    def __init__(self, initial: int = 50, height: int = 5, every: int = 10, exploration: float = 0.1) -> None:
        self.initial = at_least_one("LaNAS", "initial", initial)
        self.height = at_least_one("LaNAS", "height", height)
        self.every = at_least_one("LaNAS", "every", every)
        self.exploration = number("LaNAS", "exploration", exploration, low=0)

    def _start(self) -> None:
        self._asked = 0
        self._results: list[_Result] = []
        self._fitted = 0  # of them that the tree knows: the first ones
        self._seed = 0  # with which its pool was drawn
        self._drawn: dict[int, int] = {}  # proposals of each of its regions
        self._tree: _Tree | None = None  # made when it is needed
        self._proposed = Proposed()

    # -- asking ----------------------------------------------------------------------------------

    def _ask(self) -> Answer:
        self._asked += 1
        unknown = len(self._results) - self._fitted
        if len(self._results) >= self.initial and unknown >= (self.every if self._fitted else 1):
            del self._results[:-REMEMBERED]
            self._fitted, self._seed = len(self._results), int(self.rng.integers(2**63))
            self._tree, self._drawn = None, {}
        if self._asked <= self.initial or not self._fitted:
            return self._proposed.sample(lambda: self.space.sample(self.rng), self.space.canonical)
        if self._tree is None:
            self._tree = self._learnt(self._results[: self._fitted], self._seed)
        region = self._tree.walk(self._drawn, self.exploration)
        self._drawn[region] = self._drawn.get(region, 0) + 1
        return self._from(self._tree, region)

    def _from(self, tree: _Tree, region: int) -> Answer:
        """An architecture of a region."""
        pool = tree.pool[region]
        while pool:
            architecture = pool.pop()
            if is_possible(self, architecture) and self._proposed.add(self.space.canonical(architecture)):
                return architecture
        members = tree.members[region]
        parents = [members[place] for place in self.rng.integers(len(members), size=MUTANTS).tolist()]
        mutants = [self.space.mutate(parent.architecture, self.rng) for parent in parents]
        found = tree.regions(self._columns(mutants))
        for mutant, parent, where in zip(mutants, parents, found, strict=True):
            if where == region and is_possible(self, mutant) and self._proposed.add(self.space.canonical(mutant)):
                return mutant, parent.id
        if not is_possible(self, mutants[0]):  # of this region nothing that may be evaluated is near
            return mutated(self, parents[0].architecture), parents[0].id
        return mutants[0], parents[0].id

    # -- learning --------------------------------------------------------------------------------

    def _learnt(self, results: Sequence[_Result], seed: int) -> _Tree:
        rng = np.random.default_rng(seed)
        pool = [self.space.sample(rng) for _ in range(POOL)]
        columns = self._columns([result.architecture for result in results])
        with one_thread():
            tree = _Tree(columns, np.array([result.score for result in results]), self.height)
            for result, region in zip(results, tree.regions(columns), strict=True):
                tree.members.setdefault(region, []).append(result)
            tree.pool = {region: [] for region in tree.members}
            for architecture, region in zip(pool, tree.regions(self._columns(pool)), strict=True):
                tree.pool[region].append(architecture)
        return tree

    def _columns(self, architectures: Sequence[Architecture]) -> FloatArray:
        return self.space.one_hot(architectures).astype(np.float64)

    def _hear(self, trial: Trial) -> None:
        """As of its own; there are fewer random ones at the beginning then."""
        self._asked += trial.evaluation is not None and self._asked < self.initial
        self._tell(trial)

    def _tell(self, trial: Trial) -> None:
        if trial.evaluation is not None:
            self._results.append(_Result(trial.architecture, trial.evaluation.score, trial.id))

    # -- state -----------------------------------------------------------------------------------

    def _state_dict(self) -> dict[str, Any]:
        return {
            "asked": self._asked,
            "results": [[list(result.architecture), *result[1:]] for result in self._results],
            "fitted": self._fitted,
            "seed": self._seed,
            "drawn": [list(item) for item in self._drawn.items()],
            "proposed": self._proposed.state(),
        }

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        self._asked, self._fitted, self._seed = state["asked"], state["fitted"], state["seed"]
        self._results = [_Result(tuple(architecture), *rest) for architecture, *rest in state["results"]]
        self._drawn = dict(map(tuple, state["drawn"]))
        self._tree = None  # what was taken from its pool was proposed, and is passed over
        self._proposed = Proposed(**state["proposed"])


class _Result(NamedTuple):
    """What is learnt from."""

    architecture: Architecture
    score: float
    id: int


class _Split(NamedTuple):
    """A node that has children: where the linear model gives at least ``mean``, the good one is next."""

    weights: FloatArray
    offset: float
    mean: float


class _Tree:
    """Halves of halves of a space; node i has the children 2 i + 1, the good one, and 2 i + 2.

    Args:
        columns: Encodings, shape (n, columns).
        scores: Shape (n,).
        height: Most splits on a way.

    Attributes:
        members: Of the nodes that have no children, the regions: the results that fell there; filled in by the owner.
        pool: Likewise, architectures that were not proposed when the tree was made.
    """

    def __init__(self, columns: FloatArray, scores: FloatArray, height: int) -> None:
        span = float(np.ptp(scores))
        scores = (scores - scores.min()) / span if span > 0 else np.zeros(len(scores))
        self.members: dict[int, list[_Result]] = {}
        self.pool: dict[int, list[Architecture]] = {}
        self._splits: dict[int, _Split] = {}
        self._counts, self._means = {0: len(scores)}, {0: 0.0}
        open_ = [(0, np.arange(len(scores)))]
        while open_:
            node, rows = open_.pop()
            if len(rows) < 2 * FEWEST or node >= 2**height - 1:
                continue
            split = _fitted(columns[rows], scores[rows])
            good = _is_good(split, columns[rows])
            if min(good.sum(), (~good).sum()) < FEWEST:
                continue
            self._splits[node] = split
            for child, mine in ((2 * node + 1, rows[good]), (2 * node + 2, rows[~good])):
                self._counts[child], self._means[child] = len(mine), float(scores[mine].mean())
                open_.append((child, mine))

    def walk(self, drawn: Mapping[int, int], exploration: float) -> int:
        """The region where the upper confidence bounds lead to.

        Args:
            drawn: Proposals from each region that the tree does not know of.
            exploration: Weight of what was tried less.
        """
        visits = dict(self._counts)
        for region, count in drawn.items():
            node = region + 1
            while node:  # all nodes above it, and the root
                visits[node - 1] += count
                node //= 2
        node = 0
        while node in self._splits:
            bounds = [
                self._means[child] + 2 * exploration * math.sqrt(2 * math.log(visits[node]) / visits[child])
                for child in (2 * node + 1, 2 * node + 2)
            ]
            node = 2 * node + 1 + (bounds[1] > bounds[0])
        return node

    def regions(self, columns: FloatArray) -> list[int]:
        """Where architectures fall, by their encodings."""
        found = np.zeros(len(columns), np.int64)
        for node in sorted(self._splits):
            rows = np.flatnonzero(found == node)
            found[rows] = 2 * node + 2 - _is_good(self._splits[node], columns[rows])
        return found.tolist()


def _is_good(split: _Split, columns: FloatArray) -> npt.NDArray[np.bool_]:
    good: npt.NDArray[np.bool_] = columns @ split.weights + split.offset >= split.mean
    return good


def _fitted(columns: FloatArray, scores: FloatArray) -> _Split:
    """A linear model with ridge penalty; by whichever of its two forms has fewer equations."""
    centre, mean = columns.mean(0), float(scores.mean())
    x, y = columns - centre, scores - mean
    n, width = x.shape
    if n < width:
        weights = x.T @ np.linalg.solve(x @ x.T + RIDGE * np.eye(n), y)
    else:
        weights = np.linalg.solve(x.T @ x + RIDGE * np.eye(width), x.T @ y)
    return _Split(weights, mean - float(centre @ weights), mean)
