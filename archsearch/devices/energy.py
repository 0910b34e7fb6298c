"""Energy of a call, where a counter of the hardware exists: networks are called for a while between two readings."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from archsearch.executors.counters import Counter

SECONDS = 1.0
"""For which networks are called between two readings, at least."""


def joules_each(
    calls: Sequence[Callable[[], object]],
    counter: Counter,
    synchronise: Callable[[], None],
    seconds: float = SECONDS,
) -> float:
    """Mean energy of a call, over calls in turn.

    Args:
        calls: At least one.
        counter: Of the device that they run on.
        synchronise: Waits until it has done what it was given.
        seconds: For which they are called, at least.
    """
    begun, before, done = time.perf_counter(), counter.joules(), 0
    while time.perf_counter() - begun < seconds:
        for call in calls:
            call()
        synchronise()
        done += len(calls)
    return (counter.joules() - before) / done
