"""A small classifier of failures: one logistic regression for each kind of which there are enough.

A trial that ran out of memory says nothing of whether it would have diverged: each kind is a cause of its own, learnt
from the trials that completed and those that failed by it, as causes compete in the analysis of survival (Prentice et
al., "The analysis of failure times in the presence of competing risks", Biometrics 34, 1978). A trial completes where
no cause strikes, so that the probability of a failure is one minus the product of what is left by each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

ENOUGH = 10
"""Failures of a kind that are learnt apart; what there is less of is learnt together, as ``OTHER``."""

OTHER = "other"

RIDGE = 1.0
"""Of all weights but the constant: a weight of 1 costs as much as half a unit of log-likelihood."""

STEPS, CLOSE = 25, 1e-6
"""Of Newton's method: the most, and the change of a weight below which it is done."""

Matrix = npt.NDArray[np.float64]


class Classifier:
    """Probabilities that architectures fail, by kind.

    Attributes:
        weights: Of each kind: the constant, then one for each column.
    """

    def __init__(self) -> None:
        self.weights: dict[str, Matrix] = {}

    def fit(self, columns: Matrix, outcomes: Sequence[str]) -> None:
        """Learns from trials.

        Args:
            columns: Shape (n, columns).
            outcomes: Of each the kind of its failure; empty: it completed.
        """
        counts = Counter(outcomes)
        kinds = [each if counts[each] >= ENOUGH or not each else OTHER for each in outcomes]
        labels = np.array(kinds)
        self.weights = {}
        for kind in sorted(set(kinds) - {""}):
            rows = (labels == "") | (labels == kind)
            self.weights[kind] = logistic(columns[rows], (labels[rows] == kind).astype(float))

    def by_kind(self, columns: Matrix) -> dict[str, Matrix]:
        """The probability of each kind of failure, if no other one strikes, shape (n,)."""
        return {kind: _sigmoid(weights[0] + columns @ weights[1:]) for kind, weights in self.weights.items()}

    def predict(self, columns: Matrix) -> Matrix:
        """The probability of any failure, shape (n,)."""
        left = np.ones(len(columns))
        for probability in self.by_kind(columns).values():
            left *= 1.0 - probability
        return 1.0 - left

    def state(self) -> dict[str, Any]:
        """What ``load`` needs, as JSON data."""
        return {kind: weights.tolist() for kind, weights in self.weights.items()}

    def load(self, state: dict[str, Any]) -> None:
        """Takes what ``state`` gave."""
        self.weights = {kind: np.array(weights, float) for kind, weights in state.items()}


def logistic(columns: Matrix, labels: Matrix, ridge: float = RIDGE) -> Matrix:
    """Weights of a logistic regression with a quadratic penalty, by Newton's method.

    Args:
        columns: Shape (n, columns).
        labels: 0 or 1, shape (n,).
        ridge: Of all weights but the constant, > 0.

    Returns:
        The constant, then the weight of each column.
    """
    n, wide = columns.shape
    turn = None
    if wide > n:  # the weights lie in the span of the rows: fewer are sought, of turned columns
        turn = np.linalg.qr(columns.T)[0]
        columns = columns @ turn
    design = np.concatenate([np.ones((n, 1)), columns], axis=1)
    penalty = np.full(design.shape[1], ridge)
    penalty[0] = 1e-6  # where only one label occurs, the constant would go on for ever
    weights = np.zeros(design.shape[1])
    for _ in range(STEPS):
        chance = _sigmoid(design @ weights)
        slope = design.T @ (chance - labels) + penalty * weights
        bend = (design * (chance * (1.0 - chance))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(bend, slope)
        step *= min(1.0, 5.0 / max(1e-12, float(np.abs(step).max())))  # far away, Newton's step is too long
        weights -= step
        if float(np.abs(step).max()) < CLOSE:
            break
    return weights if turn is None else np.concatenate([weights[:1], turn @ weights[1:]])


def _sigmoid(values: Matrix) -> Matrix:
    return 1.0 / (1.0 + np.exp(-np.clip(values, -40.0, 40.0)))
