"""A table of parts against whole networks: how well it predicts them, and a correction where sums alone fail.

Parts that are measured alone find their weights and inputs in the cache, and a runtime may join neighbours that it sees
together. So the seconds of each kind of block get a factor, and there may be a constant for each block and for each
network: a regression with as many features as there are kinds, and two. All are >= 0, so that what is corrected is a
table again. Errors are relative, factors are drawn towards 1 (ridge), and whether the correction is used at all is
decided on the networks that it is fitted to, each fifth of them predicted by what the others give.

Reference: Hastie, Tibshirani & Friedman, "The elements of statistical learning", 2009, sections 3.4.1 (ridge) and 7.10
(cross-validation).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from archsearch.networks.blocks import KINDS
from archsearch.ranking import spearman

RIDGE = 0.01
FOLDS = 5

Vector = npt.NDArray[np.float64]


class Fit(NamedTuple):
    """Seconds of a network: each block's times the factor of its kind, plus a constant each, plus one for all.

    Attributes:
        factors: Of each kind of block.
        each: Seconds of every block beyond that.
        fixed: Seconds of every network beyond that.
    """

    factors: Mapping[str, float]
    each: float
    fixed: float

    def block(self, kind: str, seconds: float) -> float:
        """The seconds of a block inside a network."""
        return self.factors[kind] * seconds + self.each


class Judged(NamedTuple):
    """How well predictions agree with what was measured.

    Attributes:
        rank_correlation: Spearman's.
        error: Mean absolute error, as a share of what was measured.
        largest: The largest of these errors.
    """

    rank_correlation: float
    error: float
    largest: float


def additive(fixed: float) -> Fit:
    """Sums alone."""
    return Fit(dict.fromkeys(KINDS, 1.0), 0.0, fixed)


def judged(predicted: Vector, measured: Vector) -> Judged:
    """Predictions of networks against their measured seconds."""
    errors = np.abs(predicted - measured) / measured
    return Judged(spearman(measured, predicted), float(errors.mean()), float(errors.max()))


def fitted(sums: Sequence[Mapping[str, float]], blocks: Sequence[int], measured: Vector, fixed: float) -> Fit:
    """The correction, where it predicts networks better that it was not fitted to; else sums alone.

    Args:
        sums: Of each network the seconds of its blocks by kind.
        blocks: How many it has.
        measured: Its seconds.
        fixed: Seconds of a network without blocks.
    """
    features = np.array([[each.get(kind, 0.0) for kind in KINDS] for each in sums])
    features = np.column_stack([features, blocks, np.ones(len(features))])
    folds = np.arange(len(measured)) % FOLDS
    corrected = np.empty(len(measured))
    for fold in range(min(FOLDS, len(measured))):
        rest = folds != fold
        corrected[~rest] = features[~rest] @ _solve(features[rest], measured[rest], fixed)
    plain = features @ np.array([*([1.0] * len(KINDS)), 0.0, fixed])
    if len(measured) < 2 * FOLDS or np.abs(corrected / measured - 1).mean() >= np.abs(plain / measured - 1).mean():
        return additive(fixed)
    found = _solve(features, measured, fixed).tolist()
    return Fit(dict(zip(KINDS, found, strict=False)), found[-2], found[-1])


def _solve(features: Vector, measured: Vector, fixed: float) -> Vector:
    """Ridge regression with coefficients >= 0 on relative errors."""
    from scipy.optimize import lsq_linear

    scale = np.median(measured)
    start = np.array([*([1.0] * (features.shape[1] - 2)), 0.0, fixed / scale])
    units = np.array([*([1.0] * (features.shape[1] - 2)), scale / 100, scale])
    relative = features * units / measured[:, None]
    rows = np.vstack([relative, np.sqrt(RIDGE) * np.eye(len(start))])
    aims = np.concatenate([np.ones(len(measured)), np.sqrt(RIDGE) * start])
    found: Vector = lsq_linear(rows, aims, bounds=(0, np.inf)).x * units
    return found
