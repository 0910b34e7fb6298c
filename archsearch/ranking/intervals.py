"""Intervals by bootstrap: architectures drawn again, with replacement."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from archsearch.basics.seeding import root_seed, stream
from archsearch.errors import UsageError
from archsearch.ranking.checks import check_repeats, words

if TYPE_CHECKING:
    import numpy.typing as npt


LEVEL = 0.95
"""Confidence level of the intervals of ``agreement``."""


# -- how sure a figure is ----------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its confidence interval.

    Attributes:
        value: The figure on all architectures.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(
    statistic: Callable[..., float],
    arrays: Sequence[npt.ArrayLike],
    repeats: int = 1000,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """The percentile bootstrap over architectures: how far a figure moves had others been drawn.

    Draws as many architectures as there are, with replacement, the same ones from every array; equal arguments give
    equal intervals, and two statistics see the same draws under one seed. The architectures must be an independent
    sample from what the figure is to say something about; noise from run to run is no part of the interval.

    Figures of the extremes (``regret``, ``top_k_recall`` of a small ``k``) change in jumps, and the best architectures
    are drawn twice or not at all: their intervals are rough. A figure that no draw can change, such as the tau of two
    equal orders, has an interval of no width, which is no proof.

    Args:
        statistic: Called with one redrawn array for each of ``arrays``.
        arrays: Each with one entry per architecture along its first axis.
        repeats: How often to redraw, at least 1.
        seed: Seed of the draws, >= 0.
        level: Confidence level, between 0 and 1.

    Returns:
        The statistic of the arrays as given, and the quantiles (1 - level) / 2 and (1 + level) / 2 over the draws.

    Raises:
        UsageError: If lengths differ, there are fewer than 2 architectures, a setting is out of range, or the statistic
            is not finite.
    """
    if not arrays:
        raise UsageError("arrays: expected at least 1, got none")
    check_repeats(repeats)
    if not 0 < level < 1:
        raise UsageError(f"level: expected a number between 0 and 1, such as {LEVEL}, got {level}")
    columns = [np.asarray(array) for array in arrays]
    lengths = [len(column) if column.ndim else 0 for column in columns]
    if len(set(lengths)) > 1 or lengths[0] < 2:
        raise UsageError(
            f"arrays: expected one entry for each of 2 or more architectures, got {words(lengths)} entries"
        )
    draws = [statistic(*(column[drawn] for column in columns)) for drawn in redrawn(lengths[0], repeats, seed)]
    return interval(float(statistic(*columns)), np.array(draws, dtype=np.float64), level)


def redrawn(count: int, repeats: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """The architectures of each redraw."""
    rng = stream(root_seed(seed), "bootstrap")
    for _ in range(repeats):
        yield rng.integers(count, size=count)


def interval(value: float, draws: npt.NDArray[np.float64], level: float = LEVEL) -> Interval:
    """The interval that holds the share ``level`` of the draws, around the value."""
    if not (math.isfinite(value) and np.isfinite(draws).all()):
        raise UsageError("statistic: expected a finite number for every draw of architectures, got NaN or infinity")
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))
