"""For the tests of searches that share the Ray of a process: run as a script, it prints what happened as JSON."""

import contextlib
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path

import ray

from archsearch import RayExecutor, Space, search
from archsearch.controllers import RandomSearch
from archsearch.evaluators import Function

SPACE = Space(arities=[4, 3, 5, 2])


class Meeting:
    """A function that waits until evaluations of several searches have begun; then it takes no time.

    Args:
        folder: Where each leaves a mark.
        who: This search.
        several: How many are waited for.
    """

    def __init__(self, folder, who, several):
        self.folder, self.who, self.several = folder, who, several
        self.met = False

    def __call__(self, architecture):
        (Path(self.folder) / self.who).touch()
        end = time.monotonic() + 100
        while not self.met and time.monotonic() < end:
            self.met = len(os.listdir(self.folder)) >= self.several
            time.sleep(0.01)
        return float(sum(architecture))


def nap(architecture):
    """Takes 10 ms."""
    time.sleep(0.01)
    return float(sum(architecture))


def attempt(function, executor=None, **settings):
    """What a search came to: counts, or its error."""
    try:
        settings = {"trials": 30, "seed": 0, **settings}
        result = search(SPACE, RandomSearch(), Function(function), executor=executor or RayExecutor(2), **settings)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return [result.completed, result.failed]


def at_once(*calls):
    """The answers of functions that are called at the same moment."""
    answers = [None] * len(calls)
    barrier = threading.Barrier(len(calls))

    def call(i):
        barrier.wait()
        answers[i] = calls[i]()

    threads = [threading.Thread(target=call, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def outlived():
    """What a search comes to that goes on after the thread which began Ray has ended."""
    begun, joined = threading.Event(), threading.Event()

    def began(trial):
        begun.set()
        joined.wait(100)

    first = threading.Thread(target=attempt, args=(nap, RayExecutor(1)), kwargs={"on_trial": began})
    first.start()
    begun.wait(100)

    def went_on(trial):
        joined.set()
        first.join(100)
        time.sleep(0.2 if trial.id else 1.0)  # time for what the end of the thread may do

    return attempt(nap, RayExecutor(1), on_trial=went_on, trials=10)


def reachable(host, port):
    with contextlib.suppress(OSError):
        socket.create_connection((host, port), timeout=5).close()
        return True
    return False


def main(folder):
    """Everything, one after the other."""
    begun, init, facts = [], ray.init, {}

    def counted(*arguments, **settings):
        begun.append(arguments)
        return init(*arguments, **settings)

    ray.init = counted
    (folder / "meeting").mkdir()

    def one_of_three(i):
        return lambda: attempt(Meeting(str(folder / "meeting"), str(i), 3), RayExecutor(1 + i, cpus=1 + i))

    facts["three"] = at_once(*(one_of_three(i) for i in range(3)))
    facts["begun by three"], facts["up after three"] = len(begun), ray.is_initialized()

    facts["outlived"], facts["begun by two"] = outlived(), len(begun) - 1

    with RayExecutor(2).held():
        host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
        # Both are addresses of this machine alone; one that listens on all interfaces answers at both.
        facts["listens"] = {name: reachable(name, int(port)) for name in (host, "127.0.0.2")}
        facts["host"] = host
        same = RayExecutor(2)
        reached = [attempt(nap), attempt(nap, same)]
        facts["inside held"] = [*reached, ray.is_initialized()]
        answers = []
        whole = attempt(nap, same, on_trial=lambda trial: answers.append(attempt(nap, same)) if trial.id == 5 else None)
        facts["one executor twice"] = [whole, *answers]
        facts["another environment"] = attempt(nap, RayExecutor(1, runtime_env={"env_vars": {"A": "1"}}))
        facts["too many gpus"] = attempt(nap, RayExecutor(1, gpus=1))

        def shut_down(trial):
            if trial.id == 10:
                threading.Thread(target=ray.shutdown).start()

        facts["shut down"] = attempt(nap, on_trial=shut_down, trials=100_000)
        facts["up after shut down"] = ray.is_initialized()
    facts["begun in all"] = len(begun)
    token = Path.home() / ".ray" / "auth_token"
    facts["token"] = oct(token.stat().st_mode & 0o777)
    print(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
