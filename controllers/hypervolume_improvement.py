"""Hypervolume improvement: Bayesian optimisation of several objectives by what the front is expected to gain.

References: Emmerich, Giannakoglou & Naujoks, "Single- and multiobjective evolutionary optimization assisted by Gaussian
random field metamodels", IEEE Transactions on Evolutionary Computation 2006: expected hypervolume improvement. Yang,
Emmerich, Deutz & Bäck, "Efficient computation of expected hypervolume improvement using box decomposition algorithms",
Journal of Global Optimization 75, 2019: its closed form. Ginsbourger et al., 2010: the kriging believer.

Rounds, candidates, limits, results that are due and what was proposed are those of ``BayesianOptimization``. There is
one model for each objective, and they are taken to be independent. What the front does not dominate is cut into boxes;
in each, the expected gain is a product over objectives of differences of expected improvements. So it is exact, without
samples, for any number of objectives.

- A batch is chosen one by one: after each, the front has what the models expect of it, and the next looks elsewhere.
- By turns the gain is measured in the units of the objectives, which are those of the hypervolume, and in normal
  scores, which the models are fitted to. Either alone was far behind the other on one of two problems
  (``docs/experiments.md``).
- The reference point is the worst value seen of each objective, as in the hypervolume of a report. On the front is what
  the models expect of the results that nothing beats, since scores are noisy.
- Mutated are members of the front, those with most room around them first (the crowding distance of NSGA-II).
- Boxes grow with members of the front to the power of objectives - 1. With three objectives or more, those members
  count that have most room, as many as make ``BOXES``.
- Forgotten first, once there are more than ``labels`` results, is what most others dominate.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from archsearch.controllers.bayesian_optimization import (
    LEARNT_FOR,
    SHORT,
    BayesianOptimization,
    Label,
    expected_improvement,
)
from archsearch.controllers.objectives import Compromise, check_objectives, compromises, signs_of, values_of
from archsearch.model import Model, Prediction
from archsearch.pareto import non_dominated
from archsearch.trial import Architecture, Trial

Array = npt.NDArray[np.float64]

BOXES = 4_000
"""About as many boxes at most, where there are more than two objectives."""


class HypervolumeImprovement(BayesianOptimization):
    """Bayesian optimisation of several objectives: expected hypervolume improvement (Emmerich et al. 2006).

    ``pareto_front`` has the best compromises at any time. The parent named in a proposal is the architecture that it is
    a mutation of. A result that lacks an objective, or whose objective is not finite, counts as failed: nothing is
    learnt from it.

    Args:
        objectives: What is wanted, as ``{"score": "max", "latency_seconds": "min"}``: "score" or any metrics that the
            evaluator reports, each as large ("max") or as small ("min") as possible. None: the score alone.
        model: What predicts an objective; each has one of its own. None: ``GaussianProcess()``.
        initial: Results of random proposals to wait for before the models are first fitted, >= 2.
        batch: Proposals per round, >= 1; the models are fitted once per round.
        candidates: Candidates among which a round chooses, >= 1: a quarter of them random, the others mutations of
            members of the front.
        parents: How many members of the front are mutated, >= 1.
        more_mutations: Probability, from 0 to below 1, that a mutation is mutated once more, and so on. A mutation that
            was already proposed is always mutated again.
        labels: The most results that the models are fitted to, at least ``initial``.

    Raises:
        UsageError: If a setting is out of range, or ``model`` is no model.
    """

    def __init__(
        self,
        objectives: dict[str, Literal["max", "min"]] | None = None,
        model: Model | None = None,
        initial: int = 6,
        batch: int = 3,
        candidates: int = 400,
        parents: int = 15,
        more_mutations: float = 0.5,
        labels: int = 2_000,
    ) -> None:
        super().__init__(model, initial, batch, candidates, parents, more_mutations, labels)
        check_objectives(type(self).__name__, objectives)
        self.objectives = objectives

    @property
    def pareto_front(self) -> list[Compromise]:
        """The trials that no other result dominates, the best by the first objective first.

        Of several with equal values it is the one with the lowest id.
        """
        return compromises(self._front(), signs_of(self.objectives))

    def _start(self) -> None:
        super()._start()
        self._models = [self._model, *(self._model.clone() for _ in list(signs_of(self.objectives))[1:])]
        self._learnt_of: list[list[float]] = [[] for _ in self._models]
        self._turn = 0  # of the last choice: 1 in units, 0 in normal scores

    # -- asking ----------------------------------------------------------------------------------

    def _fit(self) -> None:
        seed = int(self.rng.integers(2**63))
        if self._told >= self._learn_at:
            self._learnt_of = [[] for _ in self._models]
            self._learn_at = math.ceil(self._told * LEARNT_FOR)
        columns = zip(*(label.values for label in self._labels), strict=True)
        self._learnt_of = [
            self._fit_model(model, list(scores), learnt, seed)
            for model, scores, learnt in zip(self._models, columns, self._learnt_of, strict=True)
        ]

    def _in_order(self, asked: list[Architecture]) -> Iterator[int]:
        on_front = self._predicted([label.architecture for label in self._front()])
        fronts = [each.mean for each in self._on_scales(on_front)]
        asked, places = self._shortlist(asked, fronts)
        scales = self._on_scales(self._predicted(asked))
        left = np.ones(len(asked), dtype=bool)
        while left.any():
            self._turn = turn = 1 - self._turn
            worth = self._gain(turn, scales[turn], fronts[turn])
            order = np.lexsort((-scales[0].mean.sum(1), -worth))
            for place in order[left[order]].tolist():
                left[place] = False
                if not self._proposed.has(self.space.canonical(asked[place])):
                    yield places[place]
                    fronts = [np.vstack([front, each.mean[place]]) for front, each in zip(fronts, scales, strict=True)]
                    break

    def _shortlist(self, asked: list[Architecture], fronts: list[Array]) -> tuple[list[Architecture], list[int]]:
        """Those worth a close look, and their places, where models have many results."""
        rough = [each for model in self._models if len(asked) > SHORT and (each := model.rough(asked)) is not None]
        if len(rough) < len(self._models):
            return asked, list(range(len(asked)))
        gains = [
            self._gain(turn, each, front)
            for turn, (each, front) in enumerate(zip(self._on_scales(rough), fronts, strict=True))
        ]
        best = [np.argsort(-gain, kind="stable").tolist() for gain in gains]
        places = list(dict.fromkeys(itertools.chain.from_iterable(zip(*best, strict=True))))[:SHORT]
        return [asked[place] for place in places], places

    def _predicted(self, asked: list[Architecture]) -> list[Prediction]:
        return [model.predict_targets(asked) for model in self._models]

    def _on_scales(self, predictions: list[Prediction]) -> list[Prediction]:
        """Of all objectives together, in normal scores and in their units; shape (architectures, objectives)."""
        in_units = [model.in_units(each) for model, each in zip(self._models, predictions, strict=True)]
        return [Prediction(*(np.array(part).T for part in zip(*each, strict=True))) for each in (predictions, in_units)]

    def _gain(self, turn: int, prediction: Prediction, front: Array) -> Array:
        """What the front is expected to gain by each; ``turn`` 0: in normal scores, 1: in units."""
        worst = np.array([(model.scores if turn else model.targets).min() for model in self._models])
        if front.shape[1] > 2:
            most = max(2, int(BOXES ** (1 / (front.shape[1] - 1))))
            front = front[non_dominated(front)]
            front = front[np.argsort(-crowding(front), kind="stable")[:most]]
        return expected_hypervolume_improvement(prediction, front, worst)

    def _best(self) -> list[Label]:
        front = self._front()
        room = crowding(np.array([label.values for label in front]))
        return [front[place] for place in np.argsort(-room, kind="stable")[: self.parents].tolist()]

    def _front(self) -> list[Label]:
        """The results that nothing dominates, of equal ones the oldest."""
        if not self._labels:
            return []
        on_front = non_dominated([label.values for label in self._labels])
        found: dict[tuple[float, ...], Label] = {}
        for label in sorted(label for label, on in zip(self._labels, on_front.tolist(), strict=True) if on):
            found.setdefault(label.values, label)
        return list(found.values())

    # -- telling ---------------------------------------------------------------------------------

    def _label(self, trial: Trial) -> Label | None:
        values = values_of(type(self).__name__, trial, signs_of(self.objectives))
        return None if values is None else Label(trial.id, values[0], trial.architecture, values)

    def _worst_first(self, labels: list[Label]) -> list[Label]:
        values = np.array([label.values for label in labels])
        beaten = [int(((values >= each).all(1) & (values > each).any(1)).sum()) for each in values]
        return [labels[place] for place in np.argsort(-np.array(beaten), kind="stable").tolist()]

    # -- state -----------------------------------------------------------------------------------

    def _state_dict(self) -> dict[str, Any]:
        return {**super()._state_dict(), "learnt_of": [list(each) for each in self._learnt_of], "turn": self._turn}

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        super()._load_state_dict(state)
        self._learnt_of = [list(each) for each in state["learnt_of"]]
        self._turn = state["turn"]


def expected_hypervolume_improvement(prediction: Prediction, front: Array, reference: Array) -> Array:
    """The expected growth of the hypervolume by each of n points that are not known for certain.

    Args:
        prediction: Mean and standard deviation of each, shapes (n, objectives); objectives are independent and normal,
            all to be maximised.
        front: What is known, shape (points, objectives); dominated points change nothing.
        reference: What the hypervolume is measured above, shape (objectives,).

    Returns:
        Exact, >= 0, shape (n,).
    """
    lower, upper = _boxes(front, reference)
    gain = np.ones((len(prediction.mean), len(lower)))
    for mean, spread, low, high in zip(prediction.mean.T, prediction.spread.T, lower.T, upper.T, strict=True):
        # Of what lies between two edges: of all that is above the lower, less what is above the upper.
        edges, at = np.unique(np.concatenate([low, high]), return_inverse=True)
        above = np.zeros((len(mean), len(edges)))
        finite = np.isfinite(edges)
        above[:, finite] = expected_improvement(Prediction(mean[:, None], spread[:, None]), edges[finite])
        gain *= above[:, at[: len(low)]] - above[:, at[len(low) :]]
    total: Array = gain.sum(1)
    return total


def _boxes(front: Array, reference: Array) -> tuple[Array, Array]:
    """Lower and upper corners of boxes that make up all that is above the reference and not dominated.

    They are slices between neighbours along the last objective; in each, those that are above it count.
    """
    front = front[(front > reference).all(1)]
    if front.shape[1] == 1:
        return np.maximum(reference, front.max(initial=-np.inf))[None], np.full((1, 1), np.inf)
    front = front[non_dominated(front)] if len(front) else front
    edges = [reference[-1], *np.unique(front[:, -1]), np.inf]
    slices = []
    for low, high in itertools.pairwise(edges):
        below, above = _boxes(front[front[:, -1] >= high, :-1], reference[:-1])
        edge = np.ones((len(below), 1))
        slices.append((np.hstack([below, low * edge]), np.hstack([above, high * edge])))
    lower, upper = (np.concatenate(part) for part in zip(*slices, strict=True))
    return lower, upper


def crowding(points: Array) -> Array:
    """How much room there is around each point of a front: NSGA-II's crowding distance; infinite at its ends."""
    room = np.zeros(len(points))
    for column in points.T:
        order = np.argsort(column, kind="stable")
        values = column[order]
        room[order[[0, -1]]] = np.inf
        if values[-1] > values[0]:
            room[order[1:-1]] += (values[2:] - values[:-2]) / (values[-1] - values[0])
    return room
