"""How long things take: in turn, so that whatever else the machine does meets all of them alike.

A round calls each thing once, in an order of its own; a call is repeated within until it has taken long enough to be
measured. The figure is the median over the rounds; its interval is that of order statistics, which assumes nothing of
how the times are distributed (Conover, "Practical Nonparametric Statistics", 1999, section 3.2).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Clock = Literal["wall", "processor"]
CLOCKS: Mapping[str, Callable[[], float]] = {"wall": time.perf_counter, "processor": time.thread_time}

LEVEL = 0.95
"""Probability with which an interval holds the quantile."""


class Seconds(NamedTuple):
    """How long a thing takes.

    Attributes:
        value: The median over the rounds, or another quantile, >= 0.
        low: Lower end of its interval.
        high: Upper end.
    """

    value: float
    low: float
    high: float


def in_turn(
    things: Sequence[Callable[[], object]],
    *,
    clock: Clock = "wall",
    quantile: float = 0.5,
    warm_up: int = 3,
    repeats: int = 20,
    synchronise: Callable[[], None] = lambda: None,
    rng: np.random.Generator,
    on_round: Callable[[int], None] = lambda _: None,
) -> list[Seconds]:
    """Measures things in turn.

    Args:
        things: What is called.
        clock: wall, or the time that this thread was given by the processor, which other programs do not add to.
        quantile: Which of the rounds is the figure, above 0, up to 0.5.
        warm_up: Calls of each that do not count.
        repeats: Rounds, >= 1.
        synchronise: Waits until a device has done what it was given.
        rng: Draws the order of each round.
        on_round: Told how many rounds are done.
    """
    now = CLOCKS[clock]
    for thing in things:
        for _ in range(warm_up):
            thing()
    measured = np.empty((repeats, len(things)))
    for done in range(repeats):
        for i in rng.permutation(len(things)):
            synchronise()
            begun = now()
            things[i]()
            synchronise()
            measured[done, i] = now() - begun
        on_round(done + 1)
    return [summary(column, quantile) for column in measured.T]


def summary(values: Sequence[float] | npt.NDArray[np.float64], quantile: float = 0.5) -> Seconds:
    """A quantile of some measurements and its interval; where they are too few for one, the interval is their range."""
    from scipy.stats import binom

    ordered = np.sort(np.asarray(values, float))
    n = len(ordered)
    # Of so many measurements are below the quantile, with the probability that the interval is to have.
    low, high = (int(binom.ppf(p, n, quantile)) for p in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Seconds(
        float(np.quantile(ordered, quantile)), float(ordered[max(0, low - 1)]), float(ordered[min(n - 1, high)])
    )
