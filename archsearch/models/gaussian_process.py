"""A Gaussian process over several encodings of an architecture.

Reference: Rasmussen & Williams, "Gaussian Processes for Machine Learning", 2006, algorithm 2.1, and section 5.4.1 for
the gradient of the marginal likelihood. The kernel is a Matérn kernel of the distance between two architectures, to
which each encoding adds its own, divided by a length; and noise. Lengths, weights and noise are those of the greatest
marginal likelihood together with weak priors, without which a few labels would make any length likely.

Up to ``linear_until`` labels a linear kernel of the same columns is added: where effects add up, a process without it
expects too little of what is good in all decisions at once. Searches are better with it in their first 20 trials, and
where decisions depend on each other may be worse later (``docs/experiments.md``), so there is none by default.

A search fits a model again and again, to the same labels and some more. With ``quick``, and lengths, weight and noise
that are given, the factor of the covariance grows by the new rows (``archsearch.models.growing_factor``), and the
encodings of known architectures are kept.

scikit-learn's Gaussian process, which a test compares this one with, has no lengths by group and takes many times as
long to predict.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from archsearch.basics.checks import whole_number
from archsearch.basics.operation_graphs import PATH_COLUMNS
from archsearch.errors import UsageError
from archsearch.model import Features, Prediction, one_thread
from archsearch.models.encoded import Encoded
from archsearch.models.encoding import Encoding
from archsearch.models.growing_factor import GrowingFactor
from archsearch.models.kernels import (
    JITTER,
    Array,
    among,
    loss_and_gradient,
    matern,
    matern_and_derivative,
    prepared,
    product_of,
    row_by_row,
    squared_distances,
)
from archsearch.trial import Architecture

Groups = list[npt.NDArray[np.float32]]

PRIORS = {"length": (0.0, 1.0), "linear": (0.0, 2.0), "weight": (0.0, 2.0), "noise": (math.log(0.1), 1.5)}
"""Mean and standard deviation of the normal prior of each logarithm; lengths are in units of the typical distance."""

BOUNDS = {"length": (-3.0, 4.0), "linear": (-6.0, 4.0), "weight": (-6.0, 4.0), "noise": (-8.0, 1.0)}

OTHERS = 2
"""Settings behind the lengths: weight and noise; the linear part's weight, if there is one, comes before them."""

ITERATIONS = 60
MANY = 1_000
"""Labels from which threads are worth while in linear algebra."""

LEARNT_FROM = 250
"""Most labels, drawn at random, that lengths, weight and noise are learnt from."""

MANY_TO_SOLVE = 300
"""Labels from which candidates of a search are sifted before what is known of them is computed (``shortlist``)."""

ROWS = 1_024
"""Architectures that are predicted at a time, so that the kernel stays small."""


SMOOTHNESS = 0.5, 1.5, 2.5


class GaussianProcess(Encoded):
    """Gaussian process with a Matérn kernel whose lengths differ by encoding: precise with few labels.

    Fitting takes time that grows with the cube of the labels: it is meant for up to a few thousand. Lengths, weight and
    noise are learnt from ``LEARNT_FROM`` of them.

    Args:
        encodings: What the kernel compares; see ``archsearch.models.encoding``. None: operations, paths and counts,
            or, of a space that says nothing of graphs, one-hot and, where a kind comes twice, counts.
        smoothness: The nu of the Matérn kernel: 0.5, 1.5 or 2.5. The rougher, the less is known near a label.
        linear_until: The most labels with which a linear kernel is added, >= 0; 40 for searches of some 20 trials.

    Raises:
        UsageError: If a setting is out of range.
    """

    rounds_alike: ClassVar[bool] = True

    def __init__(
        self,
        encodings: list[Encoding] | None = None,
        path_columns: int = PATH_COLUMNS,
        smoothness: float = 1.5,
        linear_until: int = 0,
    ) -> None:
        super().__init__(encodings, path_columns)
        self.linear_until = whole_number(type(self).__name__, "linear_until", linear_until, 0)
        if smoothness not in SMOOTHNESS:
            raise UsageError(f"{type(self).__name__}: smoothness: expected 0.5, 1.5 or 2.5, got {smoothness!r}")
        self.smoothness = smoothness
        self._forget()

    def _forget(self) -> None:
        """Nothing is known of an earlier fit."""
        self._encoded: tuple[Sequence[object], Groups] = [], []  # the labels, with their features, and their columns
        self._factor, self._factor_of = GrowingFactor(), np.zeros(0)

    def clone(self) -> GaussianProcess:
        """A model with the same settings that was not fitted."""
        other = super().clone()
        assert isinstance(other, GaussianProcess)
        other._forget()
        return other

    def _fit(self, rng: np.random.Generator) -> None:
        groups, known = self._label_groups()
        with one_thread() if self.quick or len(self.targets) < MANY else contextlib.nullcontext():
            given = len(self._given) - len(groups) in (OTHERS, OTHERS + 1)
            logs = np.array(self._given) if given else self._learn(groups, rng)
            self._settle(logs, groups, known)

    def _label_groups(self) -> tuple[Groups, int]:
        """The columns of the labels, and how many labels, the first ones, are those of the fit before."""
        labels, features = self.architectures, self._features
        if not self.quick or (features is not None and self.ranks_features):  # ranks change with the labels
            return self._groups(labels, features), 0
        rows = labels if features is None else list(zip(labels, features.tolist(), strict=True))
        before, columns = self._encoded
        known = _common(before, rows)
        if not known:
            groups = self._groups(labels, features)
        elif known == len(rows):
            groups = [column[:known] for column in columns]
        else:
            added = self._groups(labels[known:], None if features is None else features[known:])
            groups = [np.concatenate([old[:known], more]) for old, more in zip(columns, added, strict=True)]
        self._encoded = rows, groups
        return groups, known

    def _learn(self, groups: Groups, rng: np.random.Generator) -> Array:
        """The logarithms of lengths, perhaps of the linear kernel's weight, of the other one's and of noise."""
        from scipy.optimize import minimize

        targets = self.targets
        scales = [math.sqrt(np.mean(among(group), dtype=float)) or 1.0 for group in groups]
        if len(targets) > LEARNT_FROM:
            some = rng.permutation(len(targets))[:LEARNT_FROM]
            groups, targets = [group[some] for group in groups], targets[some]
        squares = [among(group).astype(np.float64) / scale**2 for group, scale in zip(groups, scales, strict=True)]
        products: list[Array] = []
        if len(self.targets) <= self.linear_until:
            products = [(g @ g.T).astype(np.float64) / scale**2 for g, scale in zip(groups, scales, strict=True)]
        names = ["length"] * len(squares) + ["linear"] * bool(products) + ["weight", "noise"]
        found = minimize(
            loss_and_gradient,
            [PRIORS[name][0] for name in names],
            (squares, products, targets, np.array([PRIORS[name] for name in names]), self.smoothness),
            "L-BFGS-B",
            jac=True,
            bounds=[BOUNDS[name] for name in names],
            options={"maxiter": ITERATIONS},
        )
        logs: Array = found.x
        logs[: len(groups)] += np.log(scales)
        return logs

    @property
    def learnt(self) -> list[float]:
        """Logarithms of lengths, weights and noise, after ``fit``; lengths are in units of the encodings."""
        logs: list[float] = self._logs.tolist()
        return logs

    def _settle(self, logs: Array, groups: Groups, known: int = 0) -> None:
        """Keeps what predicting needs; ``known`` of the labels, the first ones, are those of the fit before."""
        self._logs = logs
        lengths, others = np.split(logs, [len(groups)])
        self._linear = float(np.exp(others[0])) if len(others) > OTHERS else 0.0
        self._units = np.repeat(np.exp(lengths).astype(np.float32), [group.shape[1] for group in groups])
        columns = self._scaled(groups)
        self._columns_of_labels = columns if self._linear else None
        self._inputs = prepared(columns)
        if not self.quick:
            lower = np.linalg.cholesky(self._covariance(columns, 0, len(columns)))
            inverse = np.linalg.inv(lower).astype(np.float32)
            coefficients = (inverse.T @ (inverse @ self.targets)).astype(np.float32)
            self._solver = np.concatenate([inverse, coefficients[None]])
            return
        if not np.array_equal(logs, self._factor_of):
            self._factor, self._factor_of = GrowingFactor(), logs
        self._factor.keep(known)
        self._factor.extend(len(columns), lambda begin, end: self._covariance(columns, begin, end))
        solved = self._factor.backward(self._factor.forward(self.targets))
        self._coefficients = solved.astype(np.float32)

    def _covariance(self, columns: npt.NDArray[np.float32], begin: int, end: int) -> Array:
        """Of labels ``begin`` to ``end`` with all up to ``end``."""
        squares = squared_distances(columns[begin:end], prepared(columns[:end]), product_of)
        kernel: Array = np.exp(self._logs[-2]) * matern_and_derivative(squares.astype(np.float64), self.smoothness)[0]
        rows = np.arange(begin, end)
        kernel[rows - begin, rows] = np.exp(self._logs[-2]) + np.exp(self._logs[-1]) + JITTER
        if self._linear:
            exact = columns[:end].astype(np.float64)  # rounded products may be those of no columns at all
            kernel += self._linear * (exact[begin:] @ exact.T)
        return kernel

    def _kernel(
        self, architectures: Sequence[Architecture], features: Features | None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Of others with the labels, and each with itself."""
        inputs = self._scaled(self._groups(architectures, features))
        product = product_of if self.quick else row_by_row
        weight, linear = np.float32(np.exp(self._logs[-2])), np.float32(self._linear)
        kernel = matern(squared_distances(inputs, self._inputs, product), weight, self.smoothness)
        itself = np.full(len(inputs), weight)
        if self._columns_of_labels is not None:
            kernel += linear * product(inputs, self._columns_of_labels)
            itself += linear * np.square(inputs).sum(1)
        return kernel, itself

    def rough(self, architectures: Sequence[Architecture]) -> Prediction | None:
        """With many labels: the mean, and for a spread what the nearest label leaves."""
        if len(self.targets) < MANY_TO_SOLVE or not self.quick or self._features is not None:
            return super().rough(architectures)
        with one_thread():
            kernel, itself = self._kernel(architectures, None)
        weight = np.exp(self._logs[-2])
        explained = np.square(kernel.max(1)) / (weight + np.exp(self._logs[-1]))
        mean = (kernel @ self._coefficients).astype(np.float64)
        return Prediction(mean, np.sqrt(np.maximum(itself - explained, JITTER)).astype(np.float64))

    def _predict(self, architectures: Sequence[Architecture], features: Features | None) -> Prediction:
        with one_thread() if self.quick else contextlib.nullcontext():
            return self._predicted(architectures, features)

    def _predicted(self, architectures: Sequence[Architecture], features: Features | None) -> Prediction:
        mean, spread = np.empty(len(architectures)), np.empty(len(architectures))
        for begin in range(0, len(architectures), ROWS):
            rows = slice(begin, begin + ROWS)
            kernel, itself = self._kernel(architectures[rows], None if features is None else features[rows])
            if self.quick:
                mean[rows] = kernel @ self._coefficients
                halves = self._factor.forward_single(kernel.T)
                explained = np.einsum("ij,ij->j", halves, halves)
            else:
                solved = row_by_row(kernel, self._solver)
                mean[rows], halves = solved[:, -1], solved[:, :-1]
                explained = np.einsum("ij,ij->i", halves, halves)
            spread[rows] = np.sqrt(np.maximum(itself - explained, JITTER))
        return Prediction(mean, spread)

    def _groups(self, architectures: Sequence[Architecture], features: Features | None) -> Groups:
        groups = super()._groups(architectures, features)
        for place, encoding in enumerate(self._encodings):
            if encoding == "paths":  # counts: the first path of a kind matters more than the fifth
                groups[place] = np.log1p(groups[place])
            if encoding == "numbers":  # rise from one side of the middle to the other
                groups[place] = groups[place] - np.float32(0.5)
        return [part for place, group in enumerate(groups) for part in self._parts(place, group)]

    def _parts(self, place: int, group: npt.NDArray[np.float32]) -> Groups:
        """The columns of an encoding by length: each number has one of its own."""
        numbers = self._encodings[place : place + 1] == ["numbers"]
        return np.split(group, group.shape[1], axis=1) if numbers else [group]

    def _scaled(self, groups: Groups) -> npt.NDArray[np.float32]:
        """All encodings side by side, each in units of its length."""
        columns = np.concatenate(groups, axis=1)
        columns /= self._units
        return columns

    def _state(self) -> dict[str, npt.NDArray[np.generic]]:
        return {"lengths": self._logs, "smoothness": np.array(self.smoothness)}

    def _load_state(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        groups = self._groups(self.architectures, self._features)
        if "lengths" in state:
            logs = np.array(state["lengths"], np.float64)
        else:  # a file of before there was a choice of smoothness: lengths are in units of typical distances
            self.smoothness = 2.5
            logs = np.array(state["logs"], np.float64)
            logs[:-2] += [math.log(scale or 1.0) for scale in np.array(state["scales"], np.float64).tolist()]
        self._settle(logs, groups)


def _common(first: Sequence[object], second: Sequence[object]) -> int:
    """How many of both, from the first on, are the same."""
    shorter = min(len(first), len(second))
    if first[:shorter] == second[:shorter]:
        return shorter
    return next(i for i in range(shorter) if first[i] != second[i])
