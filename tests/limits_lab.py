"""Searches with limits that one cell in eight keeps within."""

import functools
import math
import os
import signal

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from archsearch import Evaluation, Evaluator, search
from archsearch.controllers import RandomSearch, RegularizedEvolution, Reinforce
from archsearch.evaluators import Tabular
from archsearch.limits import rows_needed
from archsearch.spaces import NASBench201
from archsearch.trial import Cost

SPACE = NASBench201()
LIMITS = {"flops": 40e6, "params": 3e5, "latency_seconds": 0.013}
"""What one cell in eight keeps within."""
CONTROLLERS = [RandomSearch(), RegularizedEvolution(10, 3), Reinforce("softmax", defaults="paper")]
of_each_controller = pytest.mark.parametrize("controller", CONTROLLERS, ids=lambda value: type(value).__name__)


@functools.cache
def table():
    evaluator = Tabular()
    evaluator.start(SPACE)
    return evaluator


def path(trials):
    return sorted((t.id, t.architecture, t.parent, t.score) for t in trials)


def run(controller=None, evaluator=None, **settings):
    settings = {"trials": 80, "seed": 3, "limits": LIMITS, **settings}
    return search(SPACE, controller or RegularizedEvolution(10, 3), evaluator or table(), **settings)


def within(trials, limits=LIMITS):
    figures = [table().measure(trial.architecture) for trial in trials]
    return bool(figures) and all(each[name] <= limit for each in figures for name, limit in limits.items())


class Spy(Tabular):
    """Notes what it is asked to score. Kills its process, as kill -9 would, at a given call of ``measure``."""

    scored = ()
    left = int(os.environ.get("ARCHSEARCH_TEST_KILL_AT", "0"))

    def evaluate(self, architecture, seed):
        self.scored = (*self.scored, architecture)
        return super().evaluate(architecture, seed)

    def measure(self, architecture):
        Spy.left -= 1
        if Spy.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().measure(architecture)


class Sizes(Evaluator):
    """The size is the sum of the options, of some architectures it is not known; the score is the size."""

    def evaluate(self, architecture, seed):
        return Evaluation(float(sum(architecture)), {}, Cost(device_seconds=1.0 + seed % 3))

    def measure(self, architecture):
        return {"size": math.nan if architecture[0] == 2 else np.float64(sum(architecture))}


def rows(space, seconds=lambda decision, option: 0.001 * (1 + option) + 1e-6 * len(decision), fixed=0.002):
    keys = dict.fromkeys(rows_needed(space))
    return [("", None, fixed), *((decision, option, seconds(decision, option)) for decision, option in keys)]


def write(file, rows):
    decisions, options, seconds = zip(*rows, strict=True)
    columns = {"decision": pa.array(decisions, pa.string()), "option": options, "seconds": seconds}
    writer = pq.write_table if file.suffix == ".parquet" else pyarrow.csv.write_csv
    writer(pa.table(columns), file)
    return file
