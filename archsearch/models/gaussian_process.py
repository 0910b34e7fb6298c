"""A Gaussian process over several encodings of an architecture.

Reference: Rasmussen & Williams, "Gaussian Processes for Machine Learning", 2006, algorithm 2.1, and section 5.4.1 for
the gradient of the marginal likelihood. The kernel is a Matérn kernel with nu = 5/2 of the distance between two
architectures, to which each encoding adds its own, divided by a length; and noise. Lengths, weight and noise are those
of the greatest marginal likelihood together with weak priors, without which a few labels would make any length likely.

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

from archsearch.model import Features, Prediction, one_thread
from archsearch.models.encoded import Encoded
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

ROWS = 1_024
"""Architectures that are predicted at a time, so that the kernel stays small."""


class GaussianProcess(Encoded):
    """Gaussian process with a Matérn kernel whose lengths differ by encoding: precise with few labels.

    Fitting takes time that grows with the cube of the labels: it is meant for up to a few thousand. Lengths, weight and
    noise are learnt from ``LEARNT_FROM`` of them.

    Args:
        encodings: What the kernel compares; see ``archsearch.models.encoding``. None: operations, paths and counts,
            or, of a space that says nothing of graphs, one-hot and counts.

    Raises:
        UsageError: If a setting is out of range.
    """

    rounds_alike: ClassVar[bool] = True

    def _fit(self, rng: np.random.Generator) -> None:
        groups = self._groups(self.architectures, self._features)
        self._scales = [math.sqrt(np.mean(_among(group), dtype=float)) for group in groups]
        with one_thread() if len(self.targets) < MANY else contextlib.nullcontext():
            logs = np.array(self._given) if len(self._given) == len(groups) + 2 else self._learn(groups, rng)
            self._settle(logs, groups)

    def _learn(self, groups: Groups, rng: np.random.Generator) -> Array:
        """The logarithms of lengths, weight and noise."""
        from scipy.optimize import minimize

        targets = self.targets
        if len(targets) > LEARNT_FROM:
            some = rng.permutation(len(targets))[:LEARNT_FROM]
            groups, targets = [group[some] for group in groups], targets[some]
        squares = self._squares(groups)
        names = ["length"] * len(squares) + ["weight", "noise"]
        found = minimize(
            _loss_and_gradient,
            [PRIORS[name][0] for name in names],
            (squares, targets, np.array([PRIORS[name] for name in names])),
            "L-BFGS-B",
            jac=True,
            bounds=[BOUNDS[name] for name in names],
            options={"maxiter": ITERATIONS},
        )
        logs: Array = found.x
        return logs

    @property
    def learnt(self) -> list[float]:
        """Logarithms of lengths, weight and noise, after ``fit``."""
        logs: list[float] = self._logs.tolist()
        return logs

    def _settle(self, logs: Array, groups: Groups) -> None:
        """Keeps what predicting needs."""
        self._logs = logs
        units = [scale * length or 1.0 for scale, length in zip(self._scales, np.exp(logs), strict=False)]
        self._units = np.repeat(np.array(units, np.float32), [group.shape[1] for group in groups])
        self._inputs = _prepared(self._scaled(groups))
        lower = np.linalg.cholesky(_covariance(logs, self._squares(groups))[0])
        inverse = np.linalg.inv(lower).astype(np.float32)
        coefficients = (inverse.T @ (inverse @ self.targets)).astype(np.float32)
        self._solver = np.concatenate([inverse, coefficients[None]])

    def _predict(self, architectures: Sequence[Architecture], features: Features | None) -> Prediction:
        inputs = self._scaled(self._groups(architectures, features))
        weight, product = np.exp(self._logs[-2]), _product if self.quick else _row_by_row
        mean, spread = np.empty(len(inputs)), np.empty(len(inputs))
        for begin in range(0, len(inputs), ROWS):
            rows = slice(begin, begin + ROWS)
            kernel = _matern(_squared_distances(inputs[rows], self._inputs, product), np.float32(weight))
            solved = product(kernel, self._solver)
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

    def _squares(self, groups: Groups) -> list[Array]:
        """Squared distances between the labels by each encoding, their mean 1; 0 if it does not tell them apart."""
        return [
            _among(group).astype(np.float64) / (scale**2 or 1.0)
            for group, scale in zip(groups, self._scales, strict=True)
        ]

    def _scaled(self, groups: Groups) -> npt.NDArray[np.float32]:
        """All encodings side by side, each in units of its length."""
        columns = np.concatenate(groups, axis=1)
        columns /= self._units
        return columns

    def _state(self) -> dict[str, npt.NDArray[np.generic]]:
        return {"logs": self._logs, "scales": np.array(self._scales)}

    def _load_state(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        self._scales = [float(scale) for scale in state["scales"]]
        self._settle(np.asarray(state["logs"], np.float64), self._groups(self.architectures, self._features))


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


def _matern(squares: npt.NDArray[np.float32], weight: np.float32) -> npt.NDArray[np.float32]:
    """The Matérn kernel with nu = 5/2 of squared distances, times a weight; computed in place."""
    squares *= 5
    distances = np.sqrt(squares)
    squares /= 3
    squares += distances
    squares += 1
    np.exp(np.negative(distances, out=distances), out=distances)
    distances *= weight
    squares *= distances
    return squares


def _matern_and_derivative(squares: Array) -> tuple[Array, Array]:
    """The Matérn kernel with nu = 5/2 of squared distances, and its derivative by them."""
    distances = np.sqrt(5 * squares)
    decay = np.exp(-distances)
    return (1 + distances + distances * distances / 3) * decay, -5 / 6 * (1 + distances) * decay


def _covariance(logs: Array, squares: Sequence[Array]) -> tuple[Array, Array]:
    """Covariance of the labels, and its derivative by their squared distances."""
    total = np.sum([each * np.exp(-2 * log) for each, log in zip(squares, logs, strict=False)], axis=0)
    kernel, derivative = _matern_and_derivative(total)
    weight = np.exp(logs[-2])
    return weight * kernel + (np.exp(logs[-1]) + JITTER) * np.eye(len(kernel)), weight * derivative


def _loss_and_gradient(logs: Array, squares: Sequence[Array], targets: Array, priors: Array) -> tuple[float, Array]:
    """Negative logarithm of marginal likelihood times priors, and its gradient by the logarithms of the settings."""
    covariance, derivative = _covariance(logs, squares)
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
