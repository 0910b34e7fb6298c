"""Scores with a noise that is known: what searches for a winner are held against."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from archsearch import resume, search
from archsearch.controllers import RegularizedEvolution
from archsearch.evaluator import Evaluator
from archsearch.keeping import history
from archsearch.spaces import Choices
from archsearch.trial import Architecture, Cost, Evaluation, Query

PAUSE = "ARCHSEARCH_TEST_PAUSE"
ROOT = Path(__file__).parent.parent


def space() -> Choices:
    """Three decisions, 216 architectures."""
    return Choices({name: list(range(6)) for name in "abc"})


def truth(architecture: Architecture) -> float:
    """The true score, 0 to 10; no two are equal, and neighbours are not alike."""
    place = architecture[0] + 6 * architecture[1] + 36 * architecture[2]
    return 10 * ((place * 97 + 31) % 216) / 215


class Noisy(Evaluator):
    """The true score with normal noise.

    Args:
        sigma: Its standard deviation, >= 0.
        fails: Of every so many evaluations one fails, by its seed; 0: none.
    """

    def __init__(self, sigma: float = 1.0, fails: int = 0) -> None:
        self.sigma = sigma
        self.fails = fails

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        """Scores one architecture."""
        if self.fails and seed % self.fails == 0:
            raise RuntimeError("on purpose")
        noise = self.sigma * np.random.Generator(np.random.PCG64(seed)).standard_normal() if self.sigma else 0.0
        return Evaluation(truth(architecture) + noise)


class Known(Noisy):
    """As ``Noisy``, and it says how noisy it is."""

    @property
    def score_noise(self) -> float | None:
        """See ``Evaluator``."""
        return self.sigma


class Logged(Noisy):
    """As ``Noisy``; each evaluation takes a moment and leaves a line with its seed in ``calls.log``."""

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        """Scores one architecture."""
        with Path("calls.log").open("a") as file:
            file.write(f"{seed}\n")
        time.sleep(float(os.environ.get(PAUSE, "0.002")))
        found = super().evaluate(architecture, seed)
        return found._replace(cost=Cost(device_seconds=1.0 + seed % 5))  # so that a virtual clock goes by the seed


def drive(executor: str, workers: int, lag: int | None) -> None:
    """Begins a search with a race in ``./run``, or goes on with it; small parts, so that a race has several."""
    history.PART_ROWS = 25
    if Path("run/config.yaml").exists():
        resume("run", trust=True)
        return
    search(
        space(),
        RegularizedEvolution(10, 3),
        Logged(0.5),
        trials=150,
        seed=3,
        executor=executor,
        workers=workers,
        lag=lag,
        certainty={"error": 0.05, "share": 0.6},
        out="run",
    )


class Lengths(Noisy):
    """As ``Noisy``, and it can stop anywhere: the longer, the closer to the true score."""

    def check_budgets(self, budgets: Sequence[int]) -> None:
        """Any will do."""

    def evaluate_query(self, query: Query) -> Evaluation:
        """Scores one architecture after as many epochs as the budget says."""
        found = self.evaluate(query.architecture, query.seed)
        epochs = query.budget.stop if query.budget else 9
        return found._replace(score=found.score - 1 / epochs)


def second() -> Cost:
    """A second of a device."""
    return Cost(device_seconds=1.0)


def of_text(text: str, seed: int) -> float:
    """A noisy score of a text."""
    return len(text) + float(np.random.default_rng(seed).standard_normal())
