"""What is watched while a search runs on Ray: whether the head can be reached, and figures for Ray's metrics."""

from __future__ import annotations

import socket
import time

from archsearch.errors import ExecutorError

HEAD_SECONDS = 20.0
"""How long the cluster's head may be out of reach. Ray itself ends the whole process after 60 s."""
PROBE_SECONDS = 5.0
METRICS_SECONDS = 2.0
"""Seconds between two updates of the metrics."""


def can_connect(address: str, seconds: float = 2.0) -> bool:
    """Whether something listens at ``HOST:PORT``."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=seconds).close()
    except OSError:
        return False
    return True


class Head:
    """Watches whether the cluster's head can be reached: without it Ray ends this process, saying nothing to Python.

    Args:
        address: ``HOST:PORT`` of its control service.
    """

    def __init__(self, address: str) -> None:
        self.lost = False
        self._address = address
        self._probed = time.monotonic()
        self._missing_since: float | None = None

    def check(self) -> None:
        """Raises ``ExecutorError`` if the head has been out of reach for ``HEAD_SECONDS``; asks it now and then."""
        if time.monotonic() - self._probed < PROBE_SECONDS:
            return
        asked = time.monotonic()
        there = can_connect(self._address)
        self._missing_since = None if there else self._missing_since or asked
        self._probed = time.monotonic()
        if self._missing_since is not None and self._probed - self._missing_since >= HEAD_SECONDS:
            self.lost = True
            raise ExecutorError(
                f"the head of the Ray cluster at {self._address} has been out of reach for {HEAD_SECONDS:g} s. What "
                "was completed is in the run folder, if there is one: start the cluster again, then resume it"
            )


class Metrics:
    """Counters and gauges for Ray's own metrics, updated every few seconds: ``archsearch_...`` in Prometheus."""

    def __init__(self) -> None:
        from ray.util.metrics import Counter as RayCounter
        from ray.util.metrics import Gauge

        self._counters = {
            "evaluations": RayCounter("archsearch_evaluations", "Tries that ended, by outcome", ("kind",)),
            "seconds": RayCounter("archsearch_evaluation_seconds", "Seconds that workers spent on them", ("kind",)),
            "faults": RayCounter("archsearch_lost_workers", "Workers that were lost, by reason", ("kind",)),
        }
        self._gauges = {
            "workers": Gauge("archsearch_workers", "Workers that take part"),
            "pending": Gauge("archsearch_pending", "Evaluations that workers have been sent"),
        }
        self._counts: dict[str, dict[str, float]] = {name: {} for name in self._counters}
        self._next = 0.0

    def count(self, name: str, kind: str, amount: float = 1.0) -> None:
        """Adds to what was counted of a kind."""
        self._counts[name][kind] = self._counts[name].get(kind, 0.0) + amount

    def due(self, now: float) -> bool:
        """Whether it is time to hand over what was counted."""
        if now < self._next:
            return False
        self._next = now + METRICS_SECONDS
        return True

    def flush(self, **gauges: float) -> None:
        """Hands over what was counted, and what the gauges show."""
        for name, counts in self._counts.items():
            for kind, amount in counts.items():
                if amount > 0:  # else Ray refuses it
                    self._counters[name].inc(amount, {"kind": kind})
            counts.clear()
        for name, value in gauges.items():
            self._gauges[name].set(value)
