"""Small searches whose run folders are damaged or opened by later versions; evaluators that give what Arrow refuses."""

import os
import signal
from pathlib import Path

from archsearch import Cost, Evaluation, Evaluator, Space, resume, search
from archsearch.controllers import RandomSearch, RegularizedEvolution, SuccessiveHalving
from archsearch.evaluators import OneShot, Predictor, Tabular, Training
from archsearch.keeping import history
from archsearch.models import RandomForest
from archsearch.spaces import NASBench201

SEED = 7
SPACE = Space(arities=[4, 3, 5, 2])
CELLS = NASBench201()
SMALL = {"task": "digits", "train_examples": 40, "epochs": 1, "batch_size": 20}
TINY = {"channels": 2, "cells": 1}


class Sums(Evaluator):
    """Scores quickly; one architecture in seven fails."""

    def evaluate(self, architecture, seed):
        if sum(architecture) % 7 == 6:
            raise ValueError("no such layer")
        size = 10.0 * (1 + architecture[0])
        return Evaluation(sum(architecture) + seed % 1000 / 1000, {"size": size}, Cost(device_seconds=1 + seed % 3))


class Curves(Evaluator):
    """Trains for as long as it is asked to, and gives the whole curve."""

    def check_budgets(self, budgets):
        """Any will do."""

    def evaluate_query(self, query):
        stop = query.budget.stop if query.budget else 4
        curve = [sum(query.architecture) * (1 - 0.5**step) + query.seed % 10 / 100 for step in range(1, stop + 1)]
        return Evaluation(curve[-1], {"last": curve[-1]}, Cost(device_seconds=stop), tuple(curve))


class Learner(Evaluator):
    """Scores by how often it has advanced, which it keeps in a file."""

    keeps_files = True
    interval = 10
    comparable = False

    def prepare(self):
        file = self.folder / "times.txt"
        self.times = len(file.read_text()) if file.exists() else 0
        return Cost(updates=100)

    def evaluate(self, architecture, seed):
        return Evaluation(sum(architecture) + self.times)

    def advance(self, sample):
        self.times += 1
        (self.folder / "times.txt").write_text("x" * self.times)
        return Cost(updates=len(sample))


POISONS = {
    "score": lambda: Evaluation(2**70),
    "metric": lambda: Evaluation(1.0, {"operations": 2**60 + 1}),
    "cost": lambda: Evaluation(1.0, {}, Cost(flops=2**70)),
    "curve": lambda: Evaluation(1.0, {}, Cost(), (1.0, 2**70)),
    "name": lambda: Evaluation(1.0, {7: 1.0}),
    "surrogate": lambda: Evaluation(1.0, {"caf\udce9": 1.0}),
    "text": lambda: _fail("cannot read caf\udce9.png"),
}
"""What an evaluator gives that ended a run of version 0.1.0, and each resume, status and report of its folder."""


def _fail(text):
    raise ValueError(text)


class Poison(Evaluator):
    """Scores quickly; the evaluation with the number ``at`` is the poison."""

    def __init__(self, kind, at=5):
        self.kind, self.at, self.calls = kind, at, 0

    def evaluate(self, architecture, seed):
        self.calls += 1
        return POISONS[self.kind]() if self.calls == self.at else Evaluation(sum(architecture), {"size": 2.0})


def _evolution():
    return RegularizedEvolution(population_size=10, tournament_size=25)  # the first version's


def _predictor():
    return Predictor(Tabular(), labels=16, model=RandomForest(trees=5), folds=2)


def _one_shot():
    # Version 0.1.0 had other defaults: a run is gone on with by the settings that it was made with.
    return OneShot(Training(**SMALL, skeleton=TINY), epochs=1, validation_batches=1, restart=False)


KINDS = {
    "plain": lambda: {"space": CELLS, "controller": _evolution(), "evaluator": Tabular(), "trials": 100},
    "failures": lambda: {"space": SPACE, "controller": _evolution(), "evaluator": Sums(), "trials": 100},
    "concurrent": lambda: {
        "space": SPACE,
        "controller": _evolution(),
        "evaluator": Sums(),
        "trials": 45,
        "executor": "simulated",
        "workers": 4,
        "lag": 6,
        "duplicates": "reuse",
        "max_failures": 1000,
    },
    "budgets": lambda: {
        "space": SPACE,
        "controller": SuccessiveHalving(min_budget=1, max_budget=4, reduction=2),
        "evaluator": Curves(),
        "trials": 60,
    },
    "advances": lambda: {"space": SPACE, "controller": _evolution(), "evaluator": Learner(), "trials": 60},
    "predictor": lambda: {"space": CELLS, "controller": _evolution(), "evaluator": _predictor(), "trials": 40},
    "one_shot": lambda: {"space": CELLS, "controller": RandomSearch(), "evaluator": _one_shot(), "trials": 8},
    "training": lambda: {
        "space": CELLS,
        "controller": SuccessiveHalving(min_budget=1, max_budget=2, reduction=2),
        "evaluator": Training(**{**SMALL, "epochs": 2}, skeleton=TINY),
        "trials": 6,
    },
}
"""Arguments of ``search``, anew at each call."""


def begin(kind, folder, part_rows=20_000, killed_at=None, on_trial=()):
    """Begins a search; with ``killed_at`` in a child that is killed when so many trials are finished.

    Args:
        kind: One of ``KINDS``.
        folder: Where it is kept.
        part_rows: Trials of a part.
        killed_at: After how many trials it is killed; None: it ends in order.
        on_trial: See ``search``.
    """
    if killed_at is not None and (child := os.fork()):
        _, status = os.waitpid(child, 0)
        if os.WTERMSIG(status) != signal.SIGKILL:
            raise RuntimeError(f"{folder}: the search ended before it could be killed")
        return None
    seen = []

    def count(trial):
        seen.append(trial.id)
        if len(seen) == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)

    history.PART_ROWS, before = part_rows, history.PART_ROWS
    try:
        return search(**KINDS[kind](), seed=SEED, out=folder, on_trial=[count, *on_trial])
    except BaseException:
        if killed_at is not None:
            os._exit(1)
        raise
    finally:
        history.PART_ROWS = before


def go_on(kind, folder, part_rows=20_000):
    """Resumes what ``begin`` has begun."""
    kept = ("space", "controller", "evaluator", "trials", "max_failures")
    arguments = {name: each for name, each in KINDS[kind]().items() if name in kept}
    history.PART_ROWS, before = part_rows, history.PART_ROWS
    try:
        return resume(folder, **arguments)
    finally:
        history.PART_ROWS = before


def rows(trials):
    """What two runs of a search have in common, by trial id."""
    return {
        t.id: (t.architecture, t.parent, t.status, t.score, dict(t.metrics), t.failure, t.budget and tuple(t.budget))
        for t in trials
    }


def folder_of(name):
    """A folder that version 0.1.0 wrote."""
    return Path(__file__).parent / "data" / "folders-0.1.0" / name


def healed(kind):
    """A ``Poison`` of that kind that is none any more."""
    evaluator = Poison(kind)
    evaluator.calls = 100
    return evaluator
