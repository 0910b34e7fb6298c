"""MOBSTER: one Gaussian process over architectures and lengths of training chooses what successive halving begins.

Reference: Klein, Tiao, Lienart, Archambeau & Seeger, "Model-based asynchronous hyperparameter and neural architecture
search", 2020 (MOBSTER), a successor of Falkner, Klein & Hutter, "BOHB: robust and efficient hyperparameter optimization
at scale", ICML 2018. Promotions are those of ASHA, see ``successive_halving``; new architectures have the greatest
expected improvement under a process that is fitted to the results of all rungs, with what it expects of pending ones in
their place. How candidates are drawn: see ``bayesian_optimization``.

Where we differ:

- The kernel: one Matérn kernel over encodings of the architecture and the logarithm of the length, which has a scale of
  its own (MOBSTER: learning curves that decay exponentially by default, such a joint kernel as a choice).
- Before, the scores of each length become normal scores of their ranks, so that a few points between long trainings
  count as much as many between short ones. Who was promoted was good already: what is typical of a length is estimated
  together with an effect of each architecture (least squares with a ridge, Henderson, "Best linear unbiased estimation
  and prediction under a selection model", Biometrics 1975), and taken off.
- Improvement is expected at the greatest length of which there are ``at_least`` results (MOBSTER's rule, and BOHB's).
- Brackets are a matter of who is outside: ``Hyperband(MultiFidelityBayesianOptimization())`` is near BOHB, which has a
  kernel density per length in place of the process, and waits for rungs to fill up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from archsearch.basics.checks import at_least_one
from archsearch.controller import Controller
from archsearch.controllers.bayesian_optimization import (
    BELIEVED,
    FORGOTTEN,
    TOP,
    BayesianOptimization,
    Label,
)
from archsearch.controllers.hears_lengths import HearsLengths
from archsearch.controllers.successive_halving import SuccessiveHalving
from archsearch.errors import UsageError
from archsearch.model import Features, Model, Prediction, normal_scores
from archsearch.space import Space
from archsearch.trial import Architecture, Trial

Codes = npt.NDArray[np.int64]

RIDGE = 1.0
"""Variance of a score around its architecture's effect, in units of the variance of these effects."""


class MultiFidelityBayesianOptimization(HearsLengths, BayesianOptimization):
    """Bayesian optimisation over lengths of training, for use inside ``SuccessiveHalving`` or ``Hyperband``.

    ``MOBSTER`` is this inside the former. Alone, where all trainings are equally long, it is ``BayesianOptimization``.

    Args:
        model: The model that predicts scores; it takes features, of which the logarithm of the length is one. None:
            ``GaussianProcess()``.
        initial: Results, of whatever length, to wait for before the model is first fitted, >= 2.
        at_least: Results of a length from which on improvement is expected there, >= 1.

    Raises:
        UsageError: If a setting is out of range, or ``model`` is no model that takes features.
    """

    def __init__(
        self,
        model: Model | None = None,
        initial: int = 6,
        batch: int = 3,
        candidates: int = 400,
        parents: int = 5,
        more_mutations: float = 0.5,
        labels: int = 2_000,
        at_least: int = 3,
    ) -> None:
        super().__init__(model, initial, batch, candidates, parents, more_mutations, labels)
        owner = type(self).__name__
        self.at_least = at_least_one(owner, "at_least", at_least)
        if model is not None and not model.takes_features:
            raise UsageError(
                f"{owner}: model: expected one that takes features, such as GaussianProcess(), got {model!r}"
            )

    def _start(self) -> None:
        super()._start()
        self._model = self._over_lengths = _AtALength(self._model)
        self._stops: list[int] = []  # after which each of the labels was scored

    # -- asking ----------------------------------------------------------------------------------

    def _fit(self) -> None:
        stops = self._stops
        self._over_lengths.at = max(s for s in set(stops) if stops.count(s) >= self.at_least or s == min(stops))
        super()._fit()

    def _scores(self) -> list[float]:
        scores: list[float] = self._comparable().tolist()
        return scores

    def _features(self) -> Features:
        return _columns(self._stops)

    def _under_way(self) -> tuple[list[Architecture], Features]:
        """The newest trainings whose results are due, each with its length."""
        if self.due is not None:
            due = self.due()[-BELIEVED:]
        else:
            due = [(architecture, self._longest) for architecture in self.pending.values()][-BELIEVED:]
        return [architecture for architecture, _ in due], _columns([stop for _, stop in due])

    @property
    def _longest(self) -> int:
        return self.lengths[-1] if self.lengths else 1

    def _top(self, n: int) -> list[Label]:
        """Of the best of each length the ``n`` of which the model expects most."""
        best: dict[Architecture, Label] = {}
        for stop in sorted(set(self._stops), reverse=True):
            same = [label for label, s in zip(self._labels, self._stops, strict=True) if s == stop]
            for label in sorted(same, key=lambda label: (-label.score, label.id))[:TOP]:
                best.setdefault(label.architecture, label)
        means = self._model.predict_targets(list(best)).mean
        labels = list(best.values())
        return [labels[place] for place in np.argsort(-means, kind="stable")[:n].tolist()]

    def _comparable(self) -> npt.NDArray[np.float64]:
        """The scores without what is typical of their lengths."""
        scores = np.array([label.score for label in self._labels])
        places = {each: i for i, each in enumerate(dict.fromkeys(label.architecture for label in self._labels))}
        stops, column = np.unique(self._stops, return_inverse=True)
        for i in range(len(stops)):
            scores[column == i] = normal_scores(scores[column == i])
        return scores - levels(scores, np.array([places[label.architecture] for label in self._labels]), column)[column]

    # -- telling ---------------------------------------------------------------------------------

    def _tell(self, trial: Trial) -> None:
        for stop, score in self._scored_at(trial):
            self._add(Label(trial.id, score, trial.architecture), stop)

    def tell_longer(self, trial: Trial) -> None:
        """See ``HearsLengths``."""
        first = next((label for label in self._labels if label.architecture == trial.architecture), None)
        # What was forgotten remains so.
        if first is not None and trial.evaluation is not None and trial.budget is not None:
            self._add(first._replace(score=trial.evaluation.score), trial.budget.stop)

    def _scored_at(self, trial: Trial) -> list[tuple[int, float]]:
        """The lengths at which a training has a score: where it ended, and before that on its curve."""
        if trial.evaluation is None:
            return []
        score, curve = trial.evaluation.score, trial.evaluation.curve
        if not self.lengths:
            return [(1, score)]
        stop = trial.budget.stop if trial.budget is not None else len(curve) + 1
        found = [(length, curve[length - 1]) for length in self.lengths if length <= min(len(curve), stop - 1)]
        return found if trial.budget is None else [*found, (stop, score)]

    def _add(self, label: Label, stop: int) -> None:
        self._told += 1
        self._labels.append(label)
        self._stops.append(stop)
        if len(self._labels) > self.labels:
            self._forget()

    def _forget(self) -> None:
        """Forgets the worst of what is old, each architecture with all of its results."""
        worth: dict[Architecture, float] = {}
        for label, score in zip(self._labels, self._comparable().tolist(), strict=True):
            worth[label.architecture] = max(score, worth.get(label.architecture, score))
        newest = {label.architecture for label in self._labels[-(self.labels // 2) or None :]}
        older = sorted((each for each in worth if each not in newest), key=lambda each: worth[each])
        forgotten = set(older[: 1 + len(older) // FORGOTTEN] or list(worth)[:1])
        kept = [place for place, label in enumerate(self._labels) if label.architecture not in forgotten]
        self._labels, self._stops = [self._labels[i] for i in kept], [self._stops[i] for i in kept]

    # -- state -----------------------------------------------------------------------------------

    def _state_dict(self) -> dict[str, Any]:
        return {**super()._state_dict(), "stops": list(self._stops)}

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        super()._load_state_dict(state)
        self._stops = list(state["stops"])


class MOBSTER(SuccessiveHalving):
    """Successive halving that a model over all lengths begins (Klein et al. 2020): short trainings, few of them wasted.

    Promotions are those of ``SuccessiveHalving``; what begins has the greatest expected improvement, after long
    training, under a Gaussian process over architectures and lengths.

    Args:
        controller: Who proposes new architectures. None: ``MultiFidelityBayesianOptimization()``.
        min_budget: Shortest training, in the evaluator's unit (epochs for ``Training``), >= 1.
        max_budget: Longest training, >= min_budget.
        reduction: One training in so many is promoted to the next rung, >= 2.

    Raises:
        UsageError: If a setting is out of range, or the inner controller has budgets.
    """

    @staticmethod
    def _default() -> Controller:
        return MultiFidelityBayesianOptimization()


class _AtALength(Model):
    """A model over architectures and lengths, which is asked for one of them where nobody says which.

    Attributes:
        at: That length.
    """

    takes_features = True

    def __init__(self, model: Model) -> None:
        self.model = model
        model.ranks_features = False
        self.at = 1

    @property
    def learnt(self) -> list[float]:
        """See ``Model``."""
        return self.model.learnt

    def fit(
        self,
        space: Space,
        architectures: Sequence[Architecture],
        scores: npt.ArrayLike,
        seed: int = 0,
        features: npt.ArrayLike | None = None,
        learnt: Sequence[float] = (),
    ) -> None:
        """See ``Model``."""
        self.model.fit(space, architectures, scores, seed, features, learnt)

    def predict(self, architectures: Sequence[Architecture], features: npt.ArrayLike | None = None) -> Prediction:
        """See ``Model``; without features at the length ``at``."""
        return self.model.predict(architectures, self._at(architectures) if features is None else features)

    def predict_targets(
        self, architectures: Sequence[Architecture], features: npt.ArrayLike | None = None
    ) -> Prediction:
        """See ``Model``; without features at the length ``at``."""
        return self.model.predict_targets(architectures, self._at(architectures) if features is None else features)

    def _at(self, architectures: Sequence[Architecture]) -> npt.NDArray[np.float64]:
        return _columns([self.at] * len(architectures))


def _columns(lengths: Sequence[int]) -> npt.NDArray[np.float64]:
    """Lengths as a feature, shape (n, 1)."""
    return np.log(np.array(lengths, np.float64)).reshape(-1, 1)


def levels(scores: npt.NDArray[np.float64], architecture: Codes, length: Codes) -> npt.NDArray[np.float64]:
    """What is typical of each length, where only some of the architectures were trained so long.

    A score is that, an effect of its architecture, and an error. The effects are shrunk towards 0 by ``RIDGE``.

    Args:
        scores: n of them.
        architecture: Of each score, numbered from 0.
        length: Of each score, numbered from 0.

    Returns:
        For each length a number on the scale of the scores.
    """
    shape = architecture.max() + 1, length.max() + 1
    counts, sums = np.zeros(shape), np.zeros(shape)
    np.add.at(counts, (architecture, length), 1.0)
    np.add.at(sums, (architecture, length), scores)
    shrunk = 1.0 / (counts.sum(1) + RIDGE)
    # Normal equations, from which the effects are eliminated.
    matrix = np.diag(counts.sum(0)) - (counts * shrunk[:, None]).T @ counts
    found: npt.NDArray[np.float64] = np.linalg.solve(matrix, sums.sum(0) - counts.T @ (sums.sum(1) * shrunk))
    return found
