"""Parts of one's own, as a user writes them in a file outside the package."""

import csv
import threading
import time
from concurrent import futures
from typing import ClassVar

from archsearch.executors.evaluating import evaluate_safely, finished
from archsearch.executors.executor import Executor
from archsearch.running.listener import Logger
from archsearch.showing.rows import ReportTable


class Threads(Executor):
    """Evaluates in threads of this process."""

    name = "threads"
    concurrent = True
    judges = True
    made: ClassVar[list[int]] = []

    def __init__(self, workers=1):
        self.workers = workers
        self.made.append(workers)

    def start(self, evaluator, clock, timeout, log):
        self._evaluator, self._origin = evaluator, time.monotonic() - clock
        self._pool, self._running = futures.ThreadPoolExecutor(self.workers), set()

    def now(self):
        return time.monotonic() - self._origin

    def room(self, remaining):
        return self.workers - len(self._running)

    def submit(self, job):
        self._running.add(self._pool.submit(self._evaluate, job))

    def _evaluate(self, job):
        started = self.now()
        return finished(job, evaluate_safely(self._evaluator, job.query), started, worker=0)

    def wait(self, until):
        seconds = min(max(0.0, until - self.now()), threading.TIMEOUT_MAX)
        done, self._running = futures.wait(self._running, seconds, futures.FIRST_COMPLETED)
        return [future.result() for future in done]

    def update(self, evaluator):
        self._evaluator = evaluator

    def stop(self):
        self._pool.shutdown(cancel_futures=True)


class Alone(Threads):
    """It takes no ``workers``."""

    def __init__(self):
        super().__init__(1)


class CsvLogger(Logger):
    """Writes ``trials.csv`` into the run folder."""

    def open(self, config, folder, resumed):
        self._file = (folder / "trials.csv").open("a", newline="")
        self._rows = csv.writer(self._file)

    def log(self, step, figures, best):
        self._rows.writerow([step, figures.get("score", "")])

    def close(self, result):
        self._file.close()


class Demanding(CsvLogger):
    """It is not made without arguments."""

    def __init__(self, folder):
        self.folder = folder


def slowest(trials):
    """The three trials that took longest, of a run's table."""
    rows = sorted(trials.to_pylist(), key=lambda row: -row["wall_seconds"])[:3]
    return ReportTable(
        "Slowest trials", [["trial", "seconds"], *([str(row["id"]), f"{row['wall_seconds']:.3g}"] for row in rows)]
    )


def nothing(trials):
    """What gives no table."""
