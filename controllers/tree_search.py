"""Monte-Carlo tree search: decisions are moves, and moves that led to good scores are tried more often.

References: Kocsis & Szepesvari, "Bandit based Monte-Carlo planning", ECML 2006 (UCT). For architectures: Negrinho &
Gordon, "DeepArchitect", 2017; Wistuba, "Finding competitive network architectures within a day using UCT", 2017.
Results that are due count as visits, not as scores: Liu et al., "Watch the unobserved", ICLR 2020 (WU-UCT). The
controller ``LaNAS`` learns its tree instead.

Each proposal walks down the tree of decisions of the space. Where all options of a decision were tried, it takes the
one with the greatest upper confidence bound; at the first decision where some were not, it takes one of those, which
becomes a node of the tree, and makes the other decisions at random.

Where we differ: scores are brought to 0 to 1, between the least and the greatest so far. What was proposed is not
proposed again, as long as there is anything else: branches of which all is known are closed. Failed trials teach
nothing.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from archsearch.basics.checks import number
from archsearch.controller import Controller
from archsearch.controllers.proposed import Proposed
from archsearch.trial import Architecture, Trial

WALKS = 5
"""Walks at most for one proposal, to find an architecture that was not proposed."""


class TreeSearch(Controller):
    """Monte-Carlo tree search over the decisions (UCT): DeepArchitect, Negrinho & Gordon 2017.

    Each walk adds a node to the tree at most, which stays in memory: see ``state_per_trial``.

    Args:
        exploration: Weight of what was tried less, >= 0: an option has its mean score, from 0 to 1, plus exploration *
            sqrt(2 ln(visits of the decision) / visits of the option). UCT's own is 0.7; a small one suits trials that
            are few.

    Raises:
        UsageError: If it is out of range.
    """

    state_per_trial: ClassVar[int] = 120

    def __init__(self, exploration: float = 0.1) -> None:
        self.exploration = number("TreeSearch", "exploration", exploration, low=0)

    def _start(self) -> None:
        self._asked = 0
        self._nodes: dict[Architecture, _Node] = {(): _Node()}
        self._depths: dict[int, int] = {}  # of proposals that are due: nodes on their way, without the root
        self._least, self._most = math.inf, -math.inf
        self._proposed = Proposed()

    # -- asking ----------------------------------------------------------------------------------

    def _ask(self) -> Architecture:
        for _ in range(WALKS):
            end = self._walked()
            architecture = self._completed(end)
            if architecture == end:
                self._close(end)
            if self._proposed.add(architecture):
                break
        for prefix in _beginnings(end):
            self._nodes[prefix].due += 1
        self._depths[self._asked] = len(end)
        self._asked += 1
        return architecture

    def _walked(self) -> Architecture:
        """Down the tree to a new node, to the end of an architecture, or, if all is known, anywhere."""
        prefix: Architecture = ()
        while n := self.space.arity(prefix):
            children = [self._nodes.get((*prefix, option)) for option in range(n)]
            new = [option for option, child in enumerate(children) if child is None]
            if new:
                prefix = (*prefix, new[int(self.rng.integers(len(new)))])
                self._nodes[prefix] = _Node()
                return prefix
            prefix = (*prefix, self._best([child for child in children if child is not None]))
        return prefix

    def _best(self, children: list[_Node]) -> int:
        """The option with the greatest upper confidence bound among those that are not closed; all are, at the root."""
        open_ = [option for option, child in enumerate(children) if not child.closed]
        if not open_:
            return int(self.rng.integers(len(children)))
        visits = sum([child.visits + child.due for child in children])
        bonus = self.exploration * math.sqrt(2 * math.log(max(visits, 1)))
        span = self._most - self._least
        scale, least = (1 / span, self._least) if span > 0 else (0.0, 0.0)
        bounds = []
        for option in open_:
            visited, due, total, _ = children[option].fields()
            mean = scale * (total / visited - least) if visited else 0.0
            bounds.append(mean + bonus / (visited + due or 1) ** 0.5)
        greatest = max(bounds)
        ties = [option for option, bound in zip(open_, bounds, strict=True) if bound == greatest]
        return ties[int(self.rng.integers(len(ties)))]

    def _completed(self, prefix: Architecture) -> Architecture:
        """A random completion."""
        while n := self.space.arity(prefix):
            prefix = (*prefix, int(self.rng.integers(n)))
        return prefix

    def _close(self, architecture: Architecture) -> None:
        """Notes that nothing is left to try at an end, nor where all options are closed."""
        self._nodes[architecture].closed = True
        for i in range(len(architecture) - 1, -1, -1):
            prefix = architecture[:i]
            children = [self._nodes.get((*prefix, option)) for option in range(self.space.arity(prefix))]
            if any(child is None or not child.closed for child in children):
                return
            self._nodes[prefix].closed = True

    # -- telling ---------------------------------------------------------------------------------

    def _tell(self, trial: Trial) -> None:
        way = [self._nodes[prefix] for prefix in _beginnings(trial.architecture[: self._depths.pop(trial.id)])]
        for node in way:
            node.due -= 1
        if trial.evaluation is None:
            return
        score = trial.evaluation.score
        self._least, self._most = min(self._least, score), max(self._most, score)
        for node in way:
            node.visits += 1
            node.total += score

    def _hear(self, trial: Trial) -> None:
        """Counts for the prefixes that were walked through, as if it had come there."""
        if trial.evaluation is None:
            return
        score = trial.evaluation.score
        self._least, self._most = min(self._least, score), max(self._most, score)
        for end in range(len(trial.architecture) + 1):
            node = self._nodes.get(trial.architecture[:end])
            if node is None:
                if end:
                    self._nodes[trial.architecture[:end]] = _Node(1, 0, score)
                return
            node.visits += 1
            node.total += score

    # -- state -----------------------------------------------------------------------------------

    def _state_dict(self) -> dict[str, Any]:
        return {
            "asked": self._asked,
            "nodes": [[list(prefix), *node.fields()] for prefix, node in self._nodes.items()],
            "depths": [list(item) for item in self._depths.items()],
            "bounds": [self._least, self._most] if self._least <= self._most else None,
            "proposed": self._proposed.state(),
        }

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        self._asked = state["asked"]
        self._nodes = {tuple(prefix): _Node(*fields) for prefix, *fields in state["nodes"]}
        self._depths = dict(map(tuple, state["depths"]))
        self._least, self._most = state["bounds"] or (math.inf, -math.inf)
        self._proposed = Proposed(**state["proposed"])


class _Node:
    """A prefix that was walked through.

    Attributes:
        visits: Scores that came back.
        due: That are still due.
        total: Sum of the scores.
        closed: Whether all architectures that begin so were proposed.
    """

    __slots__ = ("closed", "due", "total", "visits")

    def __init__(self, visits: int = 0, due: int = 0, total: float = 0.0, closed: bool = False) -> None:
        self.visits, self.due, self.total, self.closed = visits, due, total, closed

    def fields(self) -> tuple[int, int, float, bool]:
        """The arguments that make an equal one."""
        return self.visits, self.due, self.total, self.closed


def _beginnings(prefix: Architecture) -> list[Architecture]:
    """All prefixes, from the empty one to itself."""
    return [prefix[:i] for i in range(len(prefix) + 1)]
