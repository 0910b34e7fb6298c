"""For the tests of advances and batches, their subprocesses and Ray workers: evaluators that need no networks."""

import json
import os
import signal
import sys
import time
from pathlib import Path

from archsearch import Cost, Evaluation, Evaluator, Space, resume, search
from archsearch.controllers import RegularizedEvolution
from archsearch.keeping import history

SPACE = Space(arities=[4, 3, 5, 2])
SEED = 3
TRIALS = 400
INTERVAL = 20


class Learner(Evaluator):
    """Scores by what it has learnt, and keeps that in a file, as one that trains a super-network would.

    Its version is how often it has advanced. Scores depend on all samples, by trial and score; one architecture in
    eight fails.

    Args:
        interval: Finished trials between two advances.
    """

    keeps_files = True

    def __init__(self, interval: int = INTERVAL) -> None:
        self.interval = interval
        self.samples: list[list[int]] = []

    def start(self, space):
        super().start(space)
        self.learnt = {"version": 0, "weight": 0, "samples": [], "updates": 0}

    def __getstate__(self):
        if self.on_progress is not None:
            raise TypeError("pickled with somebody listening")
        return self.__dict__

    def prepare(self):
        if self._file.exists():
            self.learnt = json.loads(self._file.read_text())
        else:
            self._write()
        self.on_progress("preparing", 1, 2)
        return Cost(updates=100)

    def evaluate(self, architecture, seed):
        if sum(architecture) % 8 == 7:
            raise ValueError("no such layer")
        score = sum(architecture) + (self.learnt["weight"] * (1 + architecture[0])) % 97 / 10
        return Evaluation(score, {"version": self.learnt["version"]}, Cost(device_seconds=1 + seed % 3))

    def advance(self, sample):
        self.on_progress("advancing", 2, 2)
        key = [[trial.id, trial.score] for trial in sample]
        self.samples.append([trial.id for trial in sample])
        if not self.learnt["samples"] or self.learnt["samples"][-1] != key:
            weight = self.learnt["weight"] * 31 + sum(round(10 * score) for _, score in key)
            self.learnt["version"] += 1
            self.learnt["weight"] = weight % 1_000_003
            self.learnt["samples"].append(key)
            self._write()
        return Cost(updates=len(sample), device_seconds=2.0)

    @staticmethod
    def samples_of(folder):
        """What it has advanced by, as its file in a run folder has it."""
        return json.loads((folder / "evaluator" / "learnt.json").read_text())["samples"]

    @property
    def _file(self):
        return self.folder / "learnt.json"

    def _write(self):
        aside = self._file.with_suffix(".tmp")
        aside.write_text(json.dumps(self.learnt))
        aside.rename(self._file)


class MortalLearner(Learner):
    """Takes a millisecond a trial, notes that in a log, and is killed when it has advanced as often as a file says."""

    def evaluate(self, architecture, seed):
        with Path("calls.log").open("a") as log:
            log.write(f"{seed}\n")
        time.sleep(0.001)
        return super().evaluate(architecture, seed)

    def evaluate_batch(self, queries):
        return [self.evaluate_query(query) for query in queries]

    def advance(self, sample):
        cost = super().advance(sample)
        order = Path("kill-at-version")
        if order.exists() and int(order.read_text()) == self.learnt["version"]:
            order.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return cost


class LearnerWithProcess(Learner):
    """Takes 20 ms, never fails, and says which process it ran in, so that the test can kill that."""

    def evaluate(self, architecture, seed):
        time.sleep(0.02)
        return Evaluation(1.0, {"version": self.learnt["version"], "process": os.getpid()})


class Together(Evaluator):
    """Evaluates batches together; says how many were in one. A bad one fails its batch as a whole.

    Args:
        kind: What is wrong with one architecture in six: nothing, raises, nan, hangs.
        seconds: How long one takes.
    """

    def __init__(self, kind: str = "nothing", seconds: float = 0.0) -> None:
        self.kind = kind
        self.seconds = seconds
        self.sizes: list[int] = []

    def evaluate(self, architecture, seed):
        return self._all([architecture])[0]

    def evaluate_batch(self, queries):
        self.sizes.append(len(queries))
        return self._all([query.architecture for query in queries])

    def _all(self, architectures):
        time.sleep(self.seconds * len(architectures))
        return [self._one(architecture, len(architectures)) for architecture in architectures]

    def _one(self, architecture, together):
        score = float(sum(architecture))
        if is_bad(architecture):
            if self.kind == "raises":
                raise ValueError("no such layer")
            if self.kind == "hangs":
                time.sleep(60)
            score = float("nan") if self.kind == "nan" else score
        return Evaluation(score, {"together": together})


def is_bad(architecture):
    return sum(architecture) % 6 == 0


def drive(executor, workers, batch, lag, duplicates):
    """Begins the search in ``./run``, or goes on with it; small parts, so that states hold samples."""
    history.PART_ROWS = 33
    if os.path.exists("run/config.yaml"):
        result = resume("run", trust=True)
    else:
        evaluator = MortalLearner()
        settings = {"trials": TRIALS, "seed": SEED, "executor": executor, "workers": workers, "batch": batch}
        settings |= {"lag": lag or None, "duplicates": duplicates, "max_failures": 99, "out": "run"}
        result = search(SPACE, RegularizedEvolution(20, 5), evaluator, **settings)
    setup, cost = result.setup_cost, result.cost
    print(json.dumps([setup.updates, setup.device_seconds, cost.device_seconds, result.completed, result.failed]))


if __name__ == "__main__":
    drive(sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5])
