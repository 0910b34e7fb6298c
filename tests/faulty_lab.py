"""Evaluators that go wrong, importable by the subprocesses and Ray workers of the fault tests."""

import os
import signal
import time
from pathlib import Path


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
