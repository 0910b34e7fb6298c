"""For the subprocesses and Ray workers of the fault tests: evaluators that go wrong, a search that is to be killed."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

from archsearch import Evaluation, Evaluator, resume, search
from archsearch.controllers import RegularizedEvolution
from archsearch.evaluators import Function
from archsearch.keeping import history
from archsearch.spaces import NASBench201

SEED = 5
TRIALS = 1500
PAUSE = "ARCHSEARCH_TEST_PAUSE"
"""What says how many seconds ``logged`` takes: a search that is not to be killed need not wait."""


def path(trials):
    return [(t.id, t.architecture, t.parent, t.score) for t in trials]


def logged(name, seed):
    """Notes that it was called, then takes about a millisecond, if nothing is set; the score depends on the seed."""
    with Path("calls.log").open("a") as log:
        log.write(f"{seed}\n")
    time.sleep(float(os.environ.get(PAUSE, "0.001")))
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


def one_is_long_one_fails(options):
    """The first one waits for six others, in vain for 20 s; the second fails once. Says whether it waited in vain."""
    folder = Path(os.environ["ARCHSEARCH_TEST_FOLDER"])
    for role in ("long", "fails"):
        try:
            (folder / role).mkdir()
        except FileExistsError:
            continue
        if role == "fails":
            raise ValueError("once")
        end = time.monotonic() + 20
        while len(list(folder.glob("quick-*"))) < 6 and time.monotonic() < end:
            time.sleep(0.02)
        return {"score": 0.0, "in_vain": float(time.monotonic() >= end)}
    time.sleep(0.7)  # too long to be queued behind another
    (folder / f"quick-{os.getpid()}-{time.monotonic_ns()}").touch()
    return {"score": float(sum(options)), "in_vain": 0.0}


def cannot_be_made_in(process):
    """Stands for a class that is not there."""
    if os.getpid() == process:
        raise ImportError("no such module here")
    return {}


class Odd(dict):
    """Metrics that this process can send, and the driver cannot read."""

    def __init__(self, driver):
        super().__init__(size=1.0)
        self.driver = driver

    def __reduce__(self):
        return cannot_be_made_in, (self.driver,)


class OddMetrics(Evaluator):
    """Its metrics cannot be read by the driver, for one architecture in five."""

    def __init__(self, driver: int) -> None:
        self.driver = driver

    def evaluate(self, architecture, seed):
        odd = sum(architecture) % 5 == 0
        return Evaluation(float(sum(architecture)), Odd(self.driver) if odd else {"size": 1.0})


class Locked(Evaluator):
    """Cannot be pickled."""

    def __init__(self):
        self.lock = threading.Lock()

    def evaluate(self, architecture, seed):
        return Evaluation(0.0)


class NumpyNumbers(Evaluator):
    """What an author who computes with NumPy returns."""

    def evaluate(self, architecture, seed):
        return Evaluation(np.float32(sum(architecture)), {"size": np.int64(3)})


def drive(executor, workers):
    """Begins the search in ``./run``, or goes on with it; small parts, so that kills hit their writing too."""
    history.PART_ROWS = 40
    if os.path.exists("run/config.yaml"):
        return resume("run", trust=True)
    evaluator = Function("faulty_lab.logged")
    settings = {"trials": TRIALS, "seed": SEED, "executor": executor, "workers": workers, "out": "run"}
    return search(NASBench201(), RegularizedEvolution(20, 5), evaluator, **settings)


if __name__ == "__main__":
    drive(sys.argv[1], int(sys.argv[2]))
