"""Learning curves that are known, for the tests of the extrapolation."""

import math

import numpy as np

from archsearch import Cost, Evaluation, Evaluator, Space, search
from archsearch.controllers import RandomSearch
from archsearch.errors import UsageError
from archsearch.evaluators import LearningCurve
from archsearch.spaces import NASBench201
from archsearch.trial import Budget, Query

EPOCHS = 40

SPACE = Space(arities=[8] * 5)
CELLS = NASBench201()

TABLE = np.random.default_rng(7).normal(size=(5, 8))


class Curves(Evaluator):
    """Noisy curves that saturate, some quickly, some slowly, towards a score of about 60 to 100.

    Bills an update an epoch, and writes down what was asked for.

    Args:
        by_epoch: Whether it says the score after each epoch, or only the last one.
        sound: Whether it scores all architectures; else one in nine fails.
    """

    def __init__(self, by_epoch: bool = True, sound: bool = False) -> None:
        self.by_epoch = by_epoch
        self.sound = sound
        self.asked: list[tuple[int, Budget | None]] = []

    def check_budgets(self, budgets):
        if budgets and max(budgets) > EPOCHS:
            raise UsageError(f"Curves: at most {EPOCHS} epochs, got {max(budgets)}")

    def prepare(self):
        return Cost(examples=5)

    def measure(self, architecture):
        return {"params": 1000.0 * (1 + sum(architecture)), "flops": math.nan}

    def evaluate(self, architecture, seed):
        return self.evaluate_query(Query(-1, architecture, seed))

    def evaluate_query(self, query):
        self.asked.append((query.id, query.budget))
        if not self.sound and sum(query.architecture) % 9 == 8:
            raise ValueError("no such layer")
        stop, start, _ = query.budget or Budget(EPOCHS)
        rng, epochs = np.random.default_rng(query.seed), np.arange(1, EPOCHS + 1)
        slowness = rng.uniform(3, 8)
        level = 80 + 3 * sum(TABLE[i, option] for i, option in enumerate(query.architecture))
        curve = level - 60 * np.exp(-epochs / slowness) + 0.5 * rng.normal(size=EPOCHS)
        shown = tuple(map(float, curve[:stop])) if self.by_epoch else ()
        cost = Cost(updates=float(stop - start), recorded_seconds=float(stop - start))
        return Evaluation(float(curve[stop - 1]), {"trained": float(stop)}, cost, shown)


def make(by_epoch=True, sound=False, **settings):
    return LearningCurve(Curves(by_epoch, sound), **{"epochs": EPOCHS, "warm_up": 40, "interval": 20, **settings})


def run(evaluator=None, trials=90, controller=None, **settings):
    settings = {"seed": 1, "max_failures": 99, **settings}
    return search(SPACE, controller or RandomSearch(), evaluator or make(), trials=trials, **settings)


def completed(result):
    return [trial for trial in result.history if trial.evaluation is not None]


def whole(trial):
    return trial.metrics["stopped_at"] == EPOCHS
