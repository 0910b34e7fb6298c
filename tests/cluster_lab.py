"""For the Ray workers of the cluster tests: evaluators that say where they ran, and ones of which some take long."""

import os
import random
import time
from pathlib import Path

import numpy as np
import ray

from archsearch import Cost, Evaluation, Evaluator

PATIENCE_SECONDS = 60.0
"""How long an evaluation waits for what should happen meanwhile: a test that waits so long has failed."""


def number_of(node_id):
    """A node's id as a metric: a number that a float holds exactly."""
    return float(int(node_id[:12], 16))


def where(options):
    """Takes 20 ms; says on which node, and in which process."""
    time.sleep(0.02)
    node = number_of(ray.get_runtime_context().get_node_id())
    return {"score": float(sum(options)), "node": node, "process": os.getpid()}


def where_by_name(name, seed):
    """The same for the architectures of the command line's own space, which are strings."""
    return where([len(name), seed % 7])


def wait_for(marker):
    """Returns when the file is there."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not marker.exists():
        if time.monotonic() > end:
            raise TimeoutError(f"{marker.name} did not come to be within {PATIENCE_SECONDS:g} s")
        time.sleep(0.01)


class Waiter(Evaluator):
    """Takes 50 ms, but for some trials, which wait until all others are done: a file says when.

    Args:
        path: Where the file will be.
        late: Ids of the trials that wait.
    """

    def __init__(self, path: str, late: list[int]) -> None:
        self.path = path
        self.late = late

    def evaluate_query(self, query):
        time.sleep(0.05)
        if query.id in self.late:
            wait_for(Path(self.path) / "others-done")
        return Evaluation(float(sum(query.architecture)), {"process": os.getpid()})


class BegunTwice(Evaluator):
    """Some trials take long when they are evaluated first, until they have been begun a second time.

    Args:
        path: Folder for the files by which they hear of each other, and that the search has heard of a fault.
        late: Ids of these trials.
        first: What the first does once the second has begun: goes on for long ("hangs"), or succeeds, raises or dies.
        second: What the second does: succeeds, raises or dies.
        interval: Finished trials between two advances.
    """

    comparable = True

    def __init__(self, path: str, late: list[int], first: str, second: str, interval: int = 0) -> None:
        self.path = path
        self.late = late
        self.first = first
        self.second = second
        self.interval = interval
        self.version = 0

    def advance(self, sample):
        self.version += 1
        return Cost(updates=1)

    def evaluate_query(self, query):
        time.sleep(0.02)
        node = number_of(ray.get_runtime_context().get_node_id())
        if query.id in self.late:
            self._act(query.id, node)
        metrics = {"version": self.version, "process": os.getpid(), "node": node}
        return Evaluation(float(sum(query.architecture)), metrics, Cost(device_seconds=1.0))

    def _act(self, trial, node):
        folder = Path(self.path)
        begun = [folder / f"{trial}-begun-{nth}" for nth in (1, 2, 3)]
        nth = self._claim(begun, node)
        if nth > 2:
            return
        if nth == 1:
            wait_for(begun[1])
        mine, other = (self.first, self.second)[:: 1 if nth == 1 else -1]
        if other in ("raises", "dies") and (mine == "succeeds" or nth == 2):
            wait_for(folder / "heard")  # so that the search hears of the failure first
        if mine == "hangs":
            time.sleep(PATIENCE_SECONDS)
            (folder / f"{trial}-ended").touch()
        elif mine == "raises":
            raise RuntimeError("this machine is broken")
        elif mine == "dies":
            os._exit(3)

    @staticmethod
    def _claim(begun, node):
        """1 for the first evaluation, 2 for the second; says where."""
        for nth, marker in enumerate(begun, 1):
            try:
                with marker.open("x") as file:
                    file.write(f"{os.getpid()} {node:.0f}")
                return nth
            except FileExistsError:
                continue
        return len(begun) + 1


class KeepsFiles(Evaluator):
    """Nothing but an evaluator that keeps files."""

    keeps_files = True

    def evaluate(self, architecture, seed):
        return Evaluation(1.0)


class Large(Evaluator):
    """Some MiB that each worker needs; a little different after each advance.

    Args:
        megabytes: How many.
        interval: Finished trials between two advances.
    """

    comparable = True

    def __init__(self, megabytes: int, interval: int = 0) -> None:
        self.megabytes = megabytes
        self.interval = interval

    def start(self, space):
        super().start(space)
        self.weights = np.zeros(self.megabytes * 2**17)

    def advance(self, sample):
        self.weights = self.weights + 1
        return Cost(updates=1)

    def evaluate(self, architecture, seed):
        return Evaluation(float(sum(architecture)), {"version": self.weights[-1]})


class Mixture(Evaluator):
    """Everything at once: heavy-tailed times, exceptions, and workers that die; the first evaluation of a trial only.

    Args:
        path: Folder for files that say what was begun.
        seconds: The median time.
        faults: Share of the trials that go wrong the first time.
        interval: Finished trials between two advances.
    """

    comparable = True

    def __init__(self, path: str, seconds: float = 0.003, faults: float = 0.03, interval: int = 0) -> None:
        self.path = path
        self.seconds = seconds
        self.faults = faults
        self.interval = interval

    def evaluate(self, architecture, seed):
        rng = random.Random(seed)
        kind, factor = rng.random(), 50 if rng.random() < 0.02 else rng.lognormvariate(0, 0.5)
        marker = Path(self.path) / str(seed)
        if kind < self.faults and not marker.exists():
            marker.touch()
            if kind < self.faults / 2:
                os._exit(3)
            raise RuntimeError("not this time")
        time.sleep(self.seconds * factor)
        return Evaluation(float(sum(architecture)), cost=Cost(device_seconds=1.0))


def lines(path):
    """Of a file that an evaluation wrote about itself: its process and its node."""
    process, node = path.read_text().split()
    return int(process), float(node)
