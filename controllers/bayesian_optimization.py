"""Bayesian optimisation: a model of the scores chooses where the largest improvement is to be expected.

References: Mockus, Tiesis & Zilinskas, "The application of Bayesian methods for seeking the extremum", 1978, and Jones,
Schonlau & Welch, "Efficient global optimization of expensive black-box functions", Journal of Global Optimization 13,
1998: expected improvement under a Gaussian process. Ginsbourger, Le Riche & Carraro, "Kriging is well-suited to
parallelize optimization", 2010: the kriging believer.

A search goes in rounds. Each begins with a fit of the model to the results that are there, and chooses the next
``batch`` proposals among candidates, all at once: random architectures, and mutations of the best so far, neighbours
among them. A space that has no more architectures than there are candidates is looked at as a whole.

- Proposals never wait. Until ``initial`` results are there, they are random. If results are due when a round begins,
  the model is fitted without them, and again with what it then expects in their place (the kriging believer): it is
  less unsure around them, and looks elsewhere.
- Scores are replaced by the normal scores of their ranks (see ``archsearch.model``), and it is on that scale that
  improvement is expected: above what the model expects of the best label, since scores are noisy.
- Limits of the search are known before anything is evaluated, so that the probability of feasibility (Schonlau, Welch &
  Jones, "Global versus local search in constrained optimization of computer models", 1998), by which the improvement is
  multiplied, is 0 or 1: of the candidates the best are taken that keep the limits.
- Nothing is proposed twice, nor what computes the same network (``Space.canonical``), as long as others are found.
  Once a small space is used up, proposals are random, and no model is fitted.
- Time and memory are bounded: the model is fitted to at most ``labels`` results, the newest half of them and the best
  of all others. Lengths and noise are learnt anew where there are 15 % more results; until then the model grows by the
  new ones (``archsearch.models.growing_factor``). With many results it says first which candidates are worth a look.
- A mutation of a mutation is a candidate, and so is what lies between.
- What the search says it would not evaluate, beyond a limit or missing in a table, is no candidate.
- A fitted model is no part of the state, but the proposals of the round are: a resumed search goes on exactly.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from archsearch.basics.checks import at_least_one, number, whole_number
from archsearch.controller import Controller, Order
from archsearch.controllers.possible import DRAWS, is_possible
from archsearch.controllers.proposed import RANDOM_DRAWS, Proposed
from archsearch.errors import UsageError
from archsearch.model import Features, Model, Prediction
from archsearch.models.gaussian_process import GaussianProcess
from archsearch.space import Space
from archsearch.trial import Architecture, Trial

BELIEVED = 100
"""Most results that are due, the newest, that the model is told its own expectation of."""

LEARNT_FOR = 1.15
"""Lengths and noise of a model are kept until there are so many times the results that they were learnt from."""

SHORT = 64
"""Candidates that a model with many results is asked about, once it has said which they are."""

TOP = 10
"""Best results among which the one is that the model expects most of."""

FORGOTTEN = 4
"""Once there are too many results, one in so many is forgotten at once."""

MOST_MUTATIONS = 20
"""Of one candidate, one after another."""


class BayesianOptimization(Controller):
    """Bayesian optimisation: expected improvement under a Gaussian process (Jones et al. 1998).

    The parent named in a proposal is the architecture that it is a mutation of. The state has a constant 171 KiB for
    the proposals that are remembered.

    Args:
        model: The model that predicts scores. None: ``GaussianProcess()``.
        initial: Results of random proposals to wait for before the model is first fitted, >= 2.
        batch: Proposals per round, >= 1; the model is fitted once per round.
        candidates: Candidates among which a round chooses, >= 1: a quarter of them random, the others mutations of the
            best.
        parents: How many of the best architectures are mutated, >= 1.
        more_mutations: Probability, from 0 to below 1, that a mutation is mutated once more, and so on. A mutation that
            was already proposed is always mutated again.
        labels: The most results that the model is fitted to, at least ``initial``.

    Raises:
        UsageError: If a setting is out of range, or ``model`` is no model.
    """

    order: ClassVar[Order] = "distances"

    def __init__(
        self,
        model: Model | None = None,
        initial: int = 6,
        batch: int = 3,
        candidates: int = 400,
        parents: int = 5,
        more_mutations: float = 0.5,
        labels: int = 2_000,
    ) -> None:
        owner = type(self).__name__
        self.model = model
        self.initial = whole_number(owner, "initial", initial, 2)
        self.batch = at_least_one(owner, "batch", batch)
        self.candidates = at_least_one(owner, "candidates", candidates)
        self.parents = at_least_one(owner, "parents", parents)
        self.more_mutations = number(owner, "more_mutations", more_mutations, low=0, below=1)
        self.labels = whole_number(owner, "labels", labels, self.initial)
        if model is not None and not isinstance(model, Model):
            raise UsageError(f"{owner}: model: expected a model such as GaussianProcess(), got {model!r}")

    def _start(self) -> None:
        self._model = GaussianProcess() if self.model is None else self.model.clone()
        self._model.quick = True
        self._learnt: list[float] = []
        self._learn_at = 0  # results at which lengths and noise are learnt anew
        self._told = 0
        self._labels: list[Label] = []
        self._round: list[Candidate] = []  # what is left of it
        self._proposed = Proposed()
        self._is_small = _holds_at_most(self.candidates, self.space)  # all of it are candidates
        self._used_up = False  # nothing is forgotten from then on, so it stays so

    # -- asking ----------------------------------------------------------------------------------

    def _ask(self) -> Architecture | tuple[Architecture, int | None]:
        if len(self._labels) < self.initial:
            return self._random()
        if not self._round:
            if self._is_used_up():
                return self._random()
            self._fit()
            self._round = self._chosen()
        return self._round.pop(0)

    def _random(self) -> Architecture:
        """A random architecture that may be evaluated, a new one unless there is hardly any; else the last drawn."""
        known = 0
        for _ in range(DRAWS):
            architecture = self.space.sample(self.rng)
            will_do = known == RANDOM_DRAWS or self._is_new(architecture)
            known += not will_do
            if will_do and is_possible(self, architecture):
                break
        return architecture

    def _is_used_up(self) -> bool:
        """Whether the space is small, and all of it was proposed: then there is nothing for a model to choose."""
        if not self._used_up and self._is_small:
            self._used_up = all(self._proposed.has(self.space.canonical(each)) for each in self.space.enumerate())
        return self._used_up

    def _is_new(self, architecture: Architecture) -> bool:
        return self._proposed.add(self.space.canonical(architecture))

    def _fit(self) -> None:
        seed = int(self.rng.integers(2**63))
        if self._told >= self._learn_at:
            self._learnt, self._learn_at = [], math.ceil(self._told * LEARNT_FOR)
        self._learnt = self._fit_model(self._model, self._scores(), self._learnt, seed)

    def _fit_model(self, model: Model, scores: list[float], learnt: list[float], seed: int) -> list[float]:
        """Fits a model to the scores of the labels, and to its own expectation of what is due; what it has learnt."""
        architectures, features = [label.architecture for label in self._labels], self._features()
        model.fit(self.space, architectures, scores, seed, features, learnt)
        learnt = model.learnt
        due, theirs = self._under_way()
        if due:
            believed = model.predict(due, theirs).mean
            features = None if features is None or theirs is None else np.concatenate([features, theirs])
            model.fit(self.space, architectures + due, [*scores, *believed], seed, features, learnt)
        return learnt

    def _scores(self) -> list[float]:
        """What the model learns of the labels."""
        return [label.score for label in self._labels]

    def _features(self) -> Features | None:
        """Further figures of the labels."""
        return None

    def _under_way(self) -> tuple[list[Architecture], Features | None]:
        """The newest of what is due, and further figures of them."""
        return list(self._pending.values())[-BELIEVED:], None

    def _chosen(self) -> list[Candidate]:
        """The best candidates, as many as a round has; random architectures if too few are new."""
        found = {each.architecture: each for each in self._candidates()}.values()
        candidates = [each for each in found if is_possible(self, each.architecture)]
        if not candidates:
            return [Candidate(self._random())]
        chosen: list[Candidate] = []
        for place in self._in_order([each.architecture for each in candidates]):
            if self._is_new(candidates[place].architecture):
                chosen.append(candidates[place])
                if len(chosen) == self.batch:
                    break
        return chosen + [Candidate(self._random()) for _ in range(self.batch - len(chosen))]

    def _in_order(self, asked: list[Architecture]) -> Iterator[int]:
        """Places of what is worth proposing, the best first."""
        listed = self._model.shortlist(asked, SHORT) if len(asked) > SHORT else range(len(asked))
        prediction = self._model.predict_targets([asked[place] for place in listed])
        # Where nothing is worth anything, the model's expectation decides.
        for place in np.lexsort((-prediction.mean, -self._worth(prediction))).tolist():
            yield listed[place]

    def _candidates(self) -> Iterator[Candidate]:
        if self._is_small:
            yield from map(Candidate, self.space.enumerate())
            return
        drawn = self.candidates // 4
        for _ in range(drawn):
            yield Candidate(self.space.sample(self.rng))
        yield from self._mutations(self.candidates - drawn)

    def _mutations(self, n: int) -> Iterator[Candidate]:
        """``n`` mutations, as many of each of the best architectures, and mutations of these."""
        known = {label.architecture for label in self._labels}.union(self._pending.values())
        parents = self._best()
        turn = 0
        while n > 0:
            parent = parents[turn % len(parents)]
            child, turn = parent.architecture, turn + 1
            for _ in range(MOST_MUTATIONS):
                child, n = self.space.mutate(child, self.rng), n - 1
                if child not in known:
                    yield Candidate(child, parent.id)
                    if n <= 0 or self.rng.random() >= self.more_mutations:
                        break

    def _best(self) -> list[Label]:
        """The parents: the best results of different architectures."""
        return self._top(self.parents)

    def _top(self, n: int) -> list[Label]:
        """The ``n`` best results of different architectures, the older one of equals."""
        best: dict[Architecture, Label] = {}
        ids, scores = [label.id for label in self._labels], [-label.score for label in self._labels]
        for place in np.lexsort((ids, scores)).tolist():
            label = self._labels[place]
            best.setdefault(label.architecture, label)
            if len(best) == n:
                break
        return list(best.values())

    def _worth(self, prediction: Prediction) -> npt.NDArray[np.float64]:
        """The expected improvement of each candidate."""
        best = self._model.predict_targets([label.architecture for label in self._top(TOP)]).mean.max()
        return expected_improvement(prediction, best)

    # -- telling ---------------------------------------------------------------------------------

    def _tell(self, trial: Trial) -> None:
        label = self._label(trial)
        if label is None:
            return
        self._told += 1
        self._labels.append(label)
        if len(self._labels) > self.labels:
            # Several at once, since the model begins anew where what it knows has gaps.
            older = self._worst_first(self._labels[: -(self.labels // 2) or None])
            forgotten = {label.id for label in older[: 1 + self.labels // FORGOTTEN]}
            self._labels = [label for label in self._labels if label.id not in forgotten]

    def _label(self, trial: Trial) -> Label | None:
        """What is learnt of a result; None: nothing."""
        return None if trial.evaluation is None else Label(trial.id, trial.evaluation.score, trial.architecture)

    def _worst_first(self, labels: list[Label]) -> list[Label]:
        """In the order in which they are forgotten."""
        return sorted(labels, key=lambda label: label.score)

    # -- state -----------------------------------------------------------------------------------

    def _state_dict(self) -> dict[str, Any]:
        return {
            "labels": list(self._labels),
            "round": list(self._round),
            "proposed": self._proposed.state(),
            "lengths": [self._told, self._learn_at, list(self._learnt)],
        }

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        self._labels = labels_of(state["labels"])
        self._round = [Candidate(tuple(options), parent) for options, parent in state["round"]]
        self._proposed = Proposed(**state["proposed"])
        # A state of before has ``learnt``, lengths in units of its labels: they are learnt anew.
        before = state.get("learnt", [len(self._labels)])[0]
        self._told, self._learn_at, learnt = state.get("lengths", [before, 0, []])
        self._learnt = list(learnt)
        self._used_up = False


def _holds_at_most(n: int, space: Space) -> bool:
    """Whether a space is so small, without counting it: a tree whose branches all differ takes seconds to count."""
    if space.arities is not None:
        return math.prod(space.arities) <= n
    return sum(1 for _ in itertools.islice(space.enumerate(), n + 1)) <= n


class Label(NamedTuple):
    """A result that the model is fitted to.

    Attributes:
        id: Of the trial.
        score: What is to be maximised; of several objectives the first.
        architecture: One option per decision.
        values: All objectives, to be maximised, where there are several.
    """

    id: int
    score: float
    architecture: Architecture
    values: tuple[float, ...] = ()


def labels_of(state: Iterable[Sequence[Any]]) -> list[Label]:
    """The labels of a state, which has them as lists, those of before without the last field."""
    return [Label(id_, score, tuple(options), *map(tuple, values)) for id_, score, options, *values in state]


class Candidate(NamedTuple):
    """What may be proposed, and the trial that it is a mutation of."""

    architecture: Architecture
    parent: int | None = None


def expected_improvement(prediction: Prediction, above: npt.NDArray[np.float64] | float) -> npt.NDArray[np.float64]:
    """By how much what is predicted is expected to be above a threshold, counting what is below as 0.

    Args:
        prediction: Means and spreads.
        above: The threshold, or several, in a shape that goes with those of the means.
    """
    from scipy.special import ndtr

    spread = np.maximum(prediction.spread, 1e-9)
    ahead = (prediction.mean - above) / spread
    density = np.exp(-ahead * ahead / 2) / np.sqrt(2 * np.pi)
    worth: npt.NDArray[np.float64] = spread * (ahead * ndtr(ahead) + density)
    return worth
