"""A Gaussian process over several encodings of an architecture.

Reference: Rasmussen & Williams, "Gaussian Processes for Machine Learning", 2006, algorithm 2.1, and section 5.4.1 for
the gradient of the marginal likelihood. The kernel is a Matérn kernel of the distance between two architectures, to
which each encoding adds its own, divided by a length; and noise. Lengths, weight and noise are those of the greatest
marginal likelihood together with weak priors, without which a few labels would make any length likely.

With nu = 3/2 the kernel is rougher than with 5/2: one decision more or less may matter. What it expects is as good, and
how unsure it is of what is near the best is closer to the truth (``docs/experiments.md``).

A search fits a model again and again, to the same labels and some more. With ``quick``, and lengths, weight and noise
that are given, the factor of the covariance grows by the new rows (``archsearch.models.growing_factor``), and the
encodings of known architectures are kept.

scikit-learn's Gaussian process, which a test compares this one with, has no lengths by group and takes many times as
long to predict.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from archsearch.basics.operation_graphs import PATH_COLUMNS
from archsearch.errors import UsageError
from archsearch.model import Features, Prediction, one_thread
from archsearch.models.encoded import Encoded
from archsearch.models.encoding import Encoding
from archsearch.models.growing_factor import GrowingFactor
from archsearch.trial import Architecture

Array = npt.NDArray[np.float64]
Product = Callable[[npt.NDArray[np.float32], npt.NDArray[np.float32]], npt.NDArray[np.float32]]
Groups = list[npt.NDArray[np.float32]]

PRIORS = {"length": (0.0, 1.0), "weight": (0.0, 2.0), "noise": (math.log(0.1), 1.5)}
"""Mean and standard deviation of the normal prior of each logarithm; lengths are in units of the typical distance."""

BOUNDS = {"length": (-3.0, 4.0), "weight": (-6.0, 4.0), "noise": (-8.0, 1.0)}

JITTER = 1e-6
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
            or, of a space that says nothing of graphs, one-hot and counts.
        smoothness: The nu of the Matérn kernel: 0.5, 1.5 or 2.5. The rougher, the less is known near a label.

    Raises:
        UsageError: If a setting is out of range.
    """

    rounds_alike: ClassVar[bool] = True

    def __init__(
        self,
        encodings: list[Encoding] | None = None,
        path_columns: int = PATH_COLUMNS,
        smoothness: float = 1.5,
    ) -> None:
        super().__init__(encodings, path_columns)
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
            logs = np.array(self._given) if len(self._given) == len(groups) + 2 else self._learn(groups, rng)
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
        """The logarithms of lengths, weight and noise."""
        from scipy.optimize import minimize

        targets = self.targets
        scales = [math.sqrt(np.mean(_among(group), dtype=float)) or 1.0 for group in groups]
        if len(targets) > LEARNT_FROM:
            some = rng.permutation(len(targets))[:LEARNT_FROM]
            groups, targets = [group[some] for group in groups], targets[some]
        squares = [_among(group).astype(np.float64) / scale**2 for group, scale in zip(groups, scales, strict=True)]
        names = ["length"] * len(squares) + ["weight", "noise"]
        found = minimize(
            _loss_and_gradient,
            [PRIORS[name][0] for name in names],
            (squares, targets, np.array([PRIORS[name] for name in names]), self.smoothness),
            "L-BFGS-B",
            jac=True,
            bounds=[BOUNDS[name] for name in names],
            options={"maxiter": ITERATIONS},
        )
        logs: Array = found.x
        logs[:-2] += np.log(scales)
        return logs

    @property
    def learnt(self) -> list[float]:
        """Logarithms of lengths, weight and noise, after ``fit``; lengths are in units of the encodings."""
        logs: list[float] = self._logs.tolist()
        return logs

    def _settle(self, logs: Array, groups: Groups, known: int = 0) -> None:
        """Keeps what predicting needs; ``known`` of the labels, the first ones, are those of the fit before."""
        self._logs = logs
        self._units = np.repeat(np.exp(logs[:-2]).astype(np.float32), [group.shape[1] for group in groups])
        columns = self._scaled(groups)
        self._inputs = _prepared(columns)
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
        squares = _squared_distances(columns[begin:end], _prepared(columns[:end]), _product)
        kernel = np.exp(self._logs[-2]) * _matern_and_derivative(squares.astype(np.float64), self.smoothness)[0]
        rows = np.arange(begin, end)
        kernel[rows - begin, rows] = np.exp(self._logs[-2]) + np.exp(self._logs[-1]) + JITTER
        found: Array = kernel
        return found

    def _kernel(self, architectures: Sequence[Architecture], features: Features | None) -> npt.NDArray[np.float32]:
        """Of others with the labels."""
        inputs = self._scaled(self._groups(architectures, features))
        squares = _squared_distances(inputs, self._inputs, _product if self.quick else _row_by_row)
        return _matern(squares, np.float32(np.exp(self._logs[-2])), self.smoothness)

    def rough(self, architectures: Sequence[Architecture]) -> Prediction | None:
        """With many labels: the mean, and for a spread what the nearest label leaves."""
        if len(self.targets) < MANY_TO_SOLVE or not self.quick or self._features is not None:
            return super().rough(architectures)
        with one_thread():
            kernel = self._kernel(architectures, None)
        weight = np.exp(self._logs[-2])
        explained = np.square(kernel.max(1)) / (weight + np.exp(self._logs[-1]))
        mean = (kernel @ self._coefficients).astype(np.float64)
        return Prediction(mean, np.sqrt(np.maximum(weight - explained, JITTER)).astype(np.float64))

    def _predict(self, architectures: Sequence[Architecture], features: Features | None) -> Prediction:
        with one_thread() if self.quick else contextlib.nullcontext():
            return self._predicted(architectures, features)

    def _predicted(self, architectures: Sequence[Architecture], features: Features | None) -> Prediction:
        weight = np.exp(self._logs[-2])
        mean, spread = np.empty(len(architectures)), np.empty(len(architectures))
        for begin in range(0, len(architectures), ROWS):
            rows = slice(begin, begin + ROWS)
            kernel = self._kernel(architectures[rows], None if features is None else features[rows])
            if self.quick:
                mean[rows] = kernel @ self._coefficients
                halves = self._factor.forward_single(kernel.T)
                explained = np.einsum("ij,ij->j", halves, halves)
            else:
                solved = _row_by_row(kernel, self._solver)
                mean[rows], halves = solved[:, -1], solved[:, :-1]
                explained = np.einsum("ij,ij->i", halves, halves)
            spread[rows] = np.sqrt(np.maximum(weight - explained, JITTER))
        return Prediction(mean, spread)

    def _groups(self, architectures: Sequence[Architecture], features: Features | None) -> Groups:
        groups = super()._groups(architectures, features)
        for place, encoding in enumerate(self._encodings):
            if encoding == "paths":  # counts: the first path of a kind matters more than the fifth
                groups[place] = np.log1p(groups[place])
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


def _row_by_row(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """``first @ second.T``, each row rounded in the same way wherever it stands.

    Matrix products of OpenBLAS may give equal rows different results: its Haswell kernels round the last rows of
    a block otherwise. A prediction must not depend on which others are asked for with it.
    """
    product: npt.NDArray[np.float32] = np.einsum("ij,kj->ik", first, second)
    return product


def _product(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return first @ second.T


def _prepared(rows: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """What of the rows that distances are measured to is the same for all that are asked for."""
    return -2 * rows, np.square(rows).sum(1)


def _squared_distances(
    first: npt.NDArray[np.float32],
    second: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
    product: Product,
) -> npt.NDArray[np.float32]:
    """Between all rows of both, shape (rows of the first, rows of the second, which are ``_prepared``)."""
    squares = product(first, second[0])
    squares += np.square(first).sum(1)[:, None]
    squares += second[1]
    np.maximum(squares, 0, out=squares)
    return squares


def _among(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The squared distances between all rows."""
    return _squared_distances(rows, _prepared(rows), _product)


def _matern(squares: npt.NDArray[np.float32], weight: np.float32, smoothness: float) -> npt.NDArray[np.float32]:
    """The Matérn kernel of squared distances, times a weight; computed in place."""
    squares *= np.float32(2 * smoothness)
    distances = np.sqrt(squares)
    if smoothness == 2.5:
        squares /= 3
        squares += distances
        squares += 1
    elif smoothness == 1.5:
        np.add(distances, 1, out=squares)
    else:
        squares.fill(1)
    np.exp(np.negative(distances, out=distances), out=distances)
    distances *= weight
    squares *= distances
    return squares


def _matern_and_derivative(squares: Array, smoothness: float) -> tuple[Array, Array]:
    """The Matérn kernel of squared distances, and its derivative by them."""
    distances = np.sqrt(2 * smoothness * squares)
    decay = np.exp(-distances)
    if smoothness == 2.5:
        return (1 + distances + distances * distances / 3) * decay, -5 / 6 * (1 + distances) * decay
    if smoothness == 1.5:
        return (1 + distances) * decay, -1.5 * decay
    return decay, -decay / (2 * np.maximum(distances, 1e-6))


def _covariance(logs: Array, squares: Sequence[Array], smoothness: float) -> tuple[Array, Array]:
    """Covariance of the labels, and its derivative by their squared distances."""
    total = np.sum([each * np.exp(-2 * log) for each, log in zip(squares, logs, strict=False)], axis=0)
    kernel, derivative = _matern_and_derivative(total, smoothness)
    weight = np.exp(logs[-2])
    return weight * kernel + (np.exp(logs[-1]) + JITTER) * np.eye(len(kernel)), weight * derivative


def _loss_and_gradient(
    logs: Array, squares: Sequence[Array], targets: Array, priors: Array, smoothness: float
) -> tuple[float, Array]:
    """Negative logarithm of marginal likelihood times priors, and its gradient by the logarithms of the settings."""
    covariance, derivative = _covariance(logs, squares, smoothness)
    lower = np.linalg.cholesky(covariance)
    half = np.linalg.inv(lower)
    inverse = half.T @ half
    coefficients = inverse @ targets
    loss = targets @ coefficients / 2 + np.log(np.diag(lower)).sum()
    # d loss / d setting = trace((inverse - coefficients coefficients') d covariance / d setting) / 2
    inner = (inverse - np.outer(coefficients, coefficients)) / 2
    noise = np.exp(logs[-1])
    gradient = np.empty(len(logs))
    for i, each in enumerate(squares):
        gradient[i] = (inner * derivative * each).sum() * -2 * np.exp(-2 * logs[i])
    gradient[-2] = (inner * covariance).sum() - np.trace(inner) * (noise + JITTER)
    gradient[-1] = np.trace(inner) * noise
    away = (logs - priors[:, 0]) / priors[:, 1]
    return float(loss + np.square(away).sum() / 2), gradient + away / priors[:, 1]
