"""For the subprocesses and Ray workers of the fault tests: evaluators that go wrong, a search that is to be killed."""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from archsearch import Evaluation, Evaluator, history, resume, search
from archsearch.controllers import RegularizedEvolution
from archsearch.evaluators import Function
from archsearch.spaces import NASBench201

SEED = 5
TRIALS = 2500


def logged(name, seed):
    """Notes that it was called, then takes about a millisecond; the score depends on the seed."""
    with Path("calls.log").open("a") as log:
        log.write(f"{seed}\n")
    time.sleep(0.001)
    return {"score": len(name) + seed % 1000 / 1000, "cost": 1.0 + seed % 7}


def score(options):
    """A number that depends on the architecture only."""
    return float(sum(options))


def dies(options):
    """Takes its whole process along for one architecture in five."""
    if sum(options) % 5 == 0:
        os._exit(3)
    return float(sum(options))


def kills_itself_now_and_then(options, seed):
    """Is killed from outside, as if by another user; works when tried again (a marker file remembers)."""
    marker = Path(os.environ["ARCHSEARCH_TEST_FOLDER"]) / str(seed)
    if seed % 6 == 0 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return float(sum(options))


def hangs_in_native_code(options):
    """For one architecture in five blocks the alarm that would interrupt Python code, then never returns."""
    if sum(options) % 5 == 0:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        time.sleep(3600)
    return float(sum(options))


def brief(options):
    """Returns at once, with the process that it ran in."""
    return {"score": float(sum(options)), "process": os.getpid()}


def slow(options):
    """Takes 20 ms."""
    time.sleep(0.02)
    return float(sum(options))


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
