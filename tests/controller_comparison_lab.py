"""Spaces, evaluators and controllers whose comparison is known by hand."""

from __future__ import annotations

import os
import signal

import numpy as np

from archsearch import Controller, Cost, Evaluation, Evaluator, Space

CHARGE = 7.0


class Options(Space):
    """One decision with 12 options."""

    def __init__(self) -> None:
        super().__init__(arities=(12,))


class Additive(Evaluator):
    """Sums the options; counts in a file how often it was asked.

    Args:
        asked: File.
        fails: Fails with architectures whose first option is this.
    """

    interrupted_after = 10**9

    def __init__(self, asked: str = os.devnull, fails: int = -1) -> None:
        self.asked = asked
        self.fails = fails

    def evaluate(self, architecture, seed):
        with open(self.asked, "a") as file:
            file.write("x")
            file.flush()
            if self.asked != os.devnull and os.path.getsize(self.asked) == self.interrupted_after:
                signal.raise_signal(signal.SIGINT)
        if architecture[0] == self.fails:
            raise RuntimeError("it was bound to fail")
        return Evaluation(float(sum(architecture)), {"half": sum(architecture) / 2}, Cost(device_seconds=CHARGE))


class Priced(Evaluator):
    """Scores and bills what is told for each option; the metric ``test`` is another order."""

    SCORES = (3.0, 1.0, 4.0, 1.5, 5.0, 9.0, 2.0, 6.0, 5.5, 3.5, 8.0, 7.0)
    SECONDS = (10.0, 1.0, 5.0, 100.0, 20.0, 2.0, 30.0, 4.0, 50.0, 6.0, 70.0, 8.0)

    def evaluate(self, architecture, seed):
        (option,) = architecture
        return Evaluation(self.SCORES[option], {"test": 10.0 - option}, Cost(device_seconds=self.SECONDS[option]))


class Script(Controller):
    """Proposes given options, one after the other, then the first ones again.

    Args:
        options: Which.
    """

    state = ("_asked",)

    def __init__(self, options: list[int]) -> None:
        self.options = options

    def _start(self):
        self._asked = 0

    def _ask(self):
        self._asked += 1
        return (self.options[(self._asked - 1) % len(self.options)],)


class Oracle(Controller):
    """Proposes the best at once, then random ones."""

    state = ("_asked",)

    def _start(self):
        self._asked = 0

    def _ask(self):
        self._asked += 1
        return tuple(n - 1 for n in self.space.arities) if self._asked == 1 else self.space.sample(self.rng)


def rows(table, **where):
    return [row for row in table.to_pylist() if all(row[name] == value for name, value in where.items())]


def points(comparison, **where):
    found = rows(comparison.curves(), **where)
    return {name: np.array([np.nan if row[name] is None else row[name] for row in found]) for name in NUMBERS}


NUMBERS = ("at", "mean", "low", "high")
