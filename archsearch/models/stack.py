"""Several models that predict together.

References: Wolpert, "Stacked generalization", Neural Networks 1992, and Breiman, "Stacked regressions", Machine
Learning 1996: weights >= 0 with which the members fit the labels best, each label predicted by models that have not
seen it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from archsearch.basics.checks import whole_number
from archsearch.errors import UsageError
from archsearch.model import Features, Model, Prediction
from archsearch.models.gaussian_process import GaussianProcess
from archsearch.models.trees import RandomForest
from archsearch.trial import Architecture

Array = npt.NDArray[np.float64]

FEWEST = 4
"""Labels per fold below which there are fewer folds, or none."""

PRIOR = 0.05
"""Pull of the weights towards equal ones, as a share of the labels."""


class Stack(Model):
    """Mean of several models, all of which predict normal scores; with features the most precise.

    Kinds of models that err in different ways do better together. A prediction's variance is the mean over the members
    of their variances and of the squares by which their means lie apart. Features go to the members that take them.

    Args:
        models: The members, one or more; they are cloned. None: ``GaussianProcess()`` and ``RandomForest(extra=True,
            max_features=1.0)``.
        folds: Each label is predicted by members fitted to the other folds, and what fits best sets their weights; it
            takes ``folds`` more fits of each; there are fewer folds if they had less than 4 labels. 0: equal weights,
            which do as well if all members are good; otherwise >= 2.

    Raises:
        UsageError: If a setting is out of range.
    """

    takes_features: ClassVar[bool] = True

    def __init__(self, models: list[Model] | None = None, folds: int = 5) -> None:
        if models is not None and (not models or not all(isinstance(each, Model) for each in models)):
            raise UsageError(f"Stack: models: expected a list of one or more models, got {models!r}")
        self.models = models
        self.folds = whole_number("Stack", "folds", folds)
        if folds == 1:
            raise UsageError("Stack: folds: expected 0, or 2 and more, since one leaves no labels to fit to; got 1")

    def _fit(self, rng: np.random.Generator) -> None:
        if self.features is not None and not any(member.takes_features for member in self._made()):
            raise UsageError("Stack: none of its models takes features; leave them out, or add a model that does")
        self._seeds = rng.integers(2**31, size=len(self._made()))
        everything = np.arange(len(self.scores))
        self._members = self._fitted(everything)
        folds = min(self.folds, len(self.scores) // FEWEST)
        self._weights = np.full(len(self._members), 1 / len(self._members))
        if folds > 1:
            self._weights = _best_weights(self._unseen(rng.permutation(everything) % folds), self.targets)

    def _made(self) -> list[Model]:
        if self.models is None:
            return [GaussianProcess(), RandomForest(extra=True, max_features=1.0)]
        return [each.clone() for each in self.models]

    def _fitted(self, rows: npt.NDArray[np.int64]) -> list[Model]:
        """The members, fitted to some of the labels."""
        members = self._made()
        for member, seed in zip(members, self._seeds.tolist(), strict=True):
            member.fit(self.space, *self._labels(rows), seed, self._figures(member, rows))
        return members

    def _labels(self, rows: npt.NDArray[np.int64]) -> tuple[list[Architecture], Array]:
        return [self.architectures[row] for row in rows], self.scores[rows]

    def _figures(self, member: Model, rows: npt.NDArray[np.int64]) -> Features | None:
        """The features of some of the labels, as they were given: other labels have other ranks."""
        return None if self.features is None or not member.takes_features else self.features[rows]

    def _unseen(self, fold: npt.NDArray[np.int64]) -> Array:
        """What members that have not seen a label predict for it, shape (labels, members)."""
        found = np.empty((len(fold), len(self._members)))
        for each in range(fold.max() + 1):
            rows = np.flatnonzero(fold == each)
            architectures = self._labels(rows)[0]
            for column, member in enumerate(self._fitted(np.flatnonzero(fold != each))):
                found[rows, column] = member.predict_targets(architectures, self._figures(member, rows)).mean
        return found

    def _predict(self, architectures: Sequence[Architecture], features: Features | None) -> Prediction:
        # Members have the labels of the stack, so that they turn features into the same normal scores.
        found = [
            member._predict(architectures, features if member.takes_features else None) for member in self._members
        ]
        means, spreads = (np.stack(values) for values in zip(*found, strict=True))
        mean = self._weights @ means
        return Prediction(mean, np.sqrt(self._weights @ (np.square(spreads) + np.square(means - mean))))

    def _state(self) -> dict[str, npt.NDArray[np.generic]]:
        state: dict[str, npt.NDArray[np.generic]] = {"weights": self._weights, "seeds": self._seeds}
        for number, member in enumerate(self._members):
            state |= {f"{number}.{name}": array for name, array in member._state().items()}
        return state

    def _load_state(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        self._weights, self._seeds = np.asarray(state["weights"], np.float64), np.asarray(state["seeds"], np.int64)
        self._members = self._made()
        everything = np.arange(len(self.scores))
        for number, (member, seed) in enumerate(zip(self._members, self._seeds.tolist(), strict=True)):
            start = f"{number}."
            own = {name.removeprefix(start): array for name, array in state.items() if name.startswith(start)}
            labels = (self.space, *self._labels(everything), seed, self._figures(member, everything))
            if own:
                member._take(*labels)
                member._load_state(own)
            else:
                member.fit(*labels)


def _best_weights(unseen: Array, targets: Array) -> Array:
    """Least squares over weights >= 0, with a pull towards equal ones; their sum is 1."""
    from scipy.optimize import nnls

    members = unseen.shape[1]
    pull = math.sqrt(PRIOR * len(targets))
    found, _ = nnls(
        np.concatenate([unseen, pull * np.eye(members)]), np.concatenate([targets, np.full(members, pull / members)])
    )
    total = found.sum()
    weights: Array = found / total if total > 0 else np.full(members, 1 / members)
    return weights
