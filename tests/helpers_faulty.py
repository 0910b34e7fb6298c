"""For subprocesses and Ray workers of the fault tests: a search that is to be killed, and evaluators."""

import os
import sys
import time

import numpy as np

from archsearch import Evaluation, Evaluator, history, resume, search
from archsearch.controllers import RegularizedEvolution
from archsearch.evaluators import Function
from archsearch.spaces import NASBench201

SEED = 5
TRIALS = 2500


def slow_with_process(options):
    """Takes 20 ms; says which process it ran in, so that the test can kill that."""
    time.sleep(0.02)
    return {"score": float(sum(options)), "process": os.getpid()}


class NumpyNumbers(Evaluator):
    """What an author who computes with NumPy returns."""

    def evaluate(self, architecture, seed):
        return Evaluation(np.float32(sum(architecture)), {"size": np.int64(3)})


def drive(executor, workers):
    """Begins the search in ``./run``, or goes on with it; small parts, so that kills hit their writing too."""
    history.PART_ROWS = 40
    if os.path.exists("run/config.yaml"):
        return resume("run")
    evaluator = Function("faulty_lab.logged")
    settings = {"trials": TRIALS, "seed": SEED, "executor": executor, "workers": workers, "out": "run"}
    return search(NASBench201(), RegularizedEvolution(20, 5), evaluator, **settings)


if __name__ == "__main__":
    drive(sys.argv[1], int(sys.argv[2]))
