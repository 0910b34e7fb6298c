"""Searches that are steered, and end themselves in the worst moments; for ``test_control.py``."""

import os
import signal
import socket
import sys
import time
from pathlib import Path

from archsearch import Space, control, resume, search
from archsearch.controllers import LocalSearch, RandomSearch
from archsearch.evaluators import Function
from archsearch.steering.address import address

SPACE = Space(arities=[4, 3, 5, 2, 3])
PUT = (3, 2, 4, 1, 2)
TRIALS = 60


def score(architecture):
    return float(sum(architecture))


def measured(architecture):
    """As ``score``; the first evaluation of what was put kills the search."""
    marker = os.environ.get("KILL_ONCE")
    if architecture == PUT and marker and not Path(marker).exists():
        Path(marker).write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    return score(architecture)


def slow(architecture):
    """Hangs at what was put."""
    if architecture == PUT:
        time.sleep(60)
    return score(architecture)


def unhurried(architecture):
    """Takes a moment, and what was put a minute."""
    time.sleep(60 if architecture == PUT else 0.01)
    return score(architecture)


def steer(out, kill_after=None):
    """Puts two architectures after trial 10; dies there, if asked to."""

    def listener(trial):
        if trial.id != 10:
            return
        control(out).put(PUT)
        if kill_after == "order":
            os.kill(os.getpid(), signal.SIGKILL)
        control(out).put("0,0,0,0,1")

    return listener


def begin(out, kill_after=None):
    return search(
        SPACE,
        LocalSearch(initial=5),
        Function("control_lab.measured"),
        trials=TRIALS,
        seed=3,
        out=out,
        on_trial=steer(out, kill_after),
    )


def go_on(out):
    return resume(out, trust=True)


def path_of(trials):
    return [(t.id, t.architecture, t.parent, t.score, t.failure, t.proposed_by) for t in trials]


def steered(out, at, what, trials=40, controller=None, evaluator=None, **options):
    """A search in which something is done after a trial."""

    def listener(trial):
        if trial.id == at:
            what(control(out))

    return search(
        SPACE,
        controller or RandomSearch(),
        evaluator or Function(score),
        trials=trials,
        seed=0,
        out=out,
        on_trial=listener,
        **options,
    )


def ask_raw(out, data):
    """What the door answers to any bytes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(address(out)))
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(1 << 16)


if __name__ == "__main__":
    begin(*sys.argv[1:])
