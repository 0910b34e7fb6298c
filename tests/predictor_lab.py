"""Evaluators that give labels, for the tests of the predictor."""

from __future__ import annotations

import os
import time

import numpy as np

from archsearch import Cost, Evaluation, Evaluator
from archsearch.evaluators import Predictor
from archsearch.testing import SeparableSpace
from archsearch.trial import Query


class Additive(Evaluator):
    """Sums the options, for a price; counts in a file how often it was asked.

    Args:
        asked: File.
        fails: Share of the seeds with which it fails.
    """

    def __init__(self, asked: str = os.devnull, fails: float = 0.0) -> None:
        self.asked = asked
        self.fails = fails

    def evaluate(self, architecture, seed):
        with open(self.asked, "a") as file:
            file.write("x")
        if seed / 2**63 < self.fails:
            raise RuntimeError("it was bound to fail")
        return Evaluation(float(sum(architecture)), {}, Cost(device_seconds=7.0, updates=3))


def prepared(space=None, **settings):
    predictor = Predictor(Additive(), **{"labels": 40, **settings})
    predictor.start(space or SeparableSpace())
    return predictor, predictor.prepare()


def queries(space, n, seed=1):
    rng = np.random.default_rng(seed)
    return [Query(i, space.sample(rng), 0) for i in range(n)]


class Slow(Additive):
    """As ``Additive``, in its own time."""

    def evaluate(self, architecture, seed):
        time.sleep(0.1)
        return super().evaluate(architecture, seed)
