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

Clock = Literal["wall", "processor"]
CLOCKS: Mapping[str, Callable[[], float]] = {"wall": time.perf_counter, "processor": time.thread_time}

LEVEL = 0.95
"""Probability with which an interval holds the median."""


class Seconds(NamedTuple):
    """How long a thing takes.

    Attributes:
        median: Over the rounds, >= 0.
        low: Lower end of the median's interval.
        high: Upper end.
    """

    median: float
    low: float
    high: float


def in_turn(
    things: Sequence[Callable[[], object]],
    *,
    clock: Clock = "wall",
    warm_up: int = 3,
    repeats: int = 20,
    shortest: float = 0.0,
    synchronise: Callable[[], None] = lambda: None,
    rng: np.random.Generator,
    on_round: Callable[[int], None] = lambda _: None,
) -> list[Seconds]:
    """Measures things in turn.

    Args:
        things: What is called.
        clock: wall, or the time that this thread was given by the processor, which other programs do not add to.
        warm_up: Calls of each that do not count, >= 1.
        repeats: Rounds, >= 1.
        shortest: Seconds that a measurement takes at least; shorter calls are made several times in a row.
        synchronise: Waits until a device has done what it was given.
        rng: Draws the order of each round.
        on_round: Told how many rounds are done.
    """
    now = CLOCKS[clock]
    times = [_calls(thing, now, warm_up, shortest, synchronise) for thing in things]
    measured = np.empty((repeats, len(things)))
    for done in range(repeats):
        for i in rng.permutation(len(things)):
            thing, calls = things[i], times[i]
            begun = now()
            for _ in range(calls):
                thing()
            synchronise()
            measured[done, i] = (now() - begun) / calls
        on_round(done + 1)
    return [summary(column) for column in measured.T]


def _calls(
    thing: Callable[[], object],
    now: Callable[[], float],
    warm_up: int,
    shortest: float,
    synchronise: Callable[[], None],
) -> int:
    """How many calls in a row take long enough, after some that do not count."""
    taken = shortest
    for _ in range(warm_up):
        begun = now()
        thing()
        synchronise()
        taken = now() - begun
    return max(1, int(np.ceil(shortest / max(taken, 1e-7))))


def summary(values: Sequence[float]) -> Seconds:
    """The median of some measurements and its interval; of fewer than six the interval is their range."""
    from scipy.stats import binom

    ordered = np.sort(np.asarray(values, float))
    n = len(ordered)
    k = int(binom.ppf((1 - LEVEL) / 2, n, 0.5))  # as many lie below the interval at most
    low = max(0, k - 1)
    return Seconds(float(np.median(ordered)), float(ordered[low]), float(ordered[n - 1 - low]))
