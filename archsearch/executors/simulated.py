"""Evaluations on a virtual clock: thousands of workers for hours, in seconds."""

from __future__ import annotations

import heapq

from archsearch.basics.checks import at_least_one
from archsearch.errors import UsageError
from archsearch.evaluator import Evaluator
from archsearch.executors.evaluating import evaluate_safely, finished
from archsearch.executors.executor import Executor, Job, Log, Outcome
from archsearch.trial import Trial


class SimulatedExecutor(Executor):
    """Replays recorded costs on a virtual clock: thousands of workers for hours, in seconds.

    An evaluation occupies its worker for the seconds that it bills (``Cost.billed_seconds``; one that bills nothing for
    the time it really took; a failed one for none, since real time would make the path depend on the machine). Equal
    seeds then give equal trials, on any machine, if the bill does not depend on the machine: a table's does not, a real
    training's does.

    They really run in this process, one after another, and time-outs are virtual, too: nothing ends one that hangs.

    Args:
        workers: Virtual workers, >= 1.
    """

    name = "simulated"
    concurrent = True
    judges = True

    def __init__(self, workers: int = 1) -> None:
        self.workers = at_least_one("SimulatedExecutor", "workers", workers)

    def set_batch(self, batch: int, one_by_one: bool = False) -> None:
        """Raises ``UsageError`` for more than one: each job occupies a virtual worker for as long as it bills."""
        if batch > 1:
            raise UsageError(
                f"batch: the simulated executor gives each evaluation a virtual worker and the time that it bills "
                f"alone, so none can be evaluated together, got batch={batch}; leave batch at 1, or use the executor "
                "local or ray"
            )

    def start(self, evaluator: Evaluator, clock: float, timeout: float | None, log: Log) -> None:
        """See ``Executor.start``."""
        self._evaluator = evaluator
        self._clock = clock
        self._timeout = timeout
        self._running: list[tuple[float, int, Trial]] = []
        self._idle = list(range(self.workers))
        heapq.heapify(self._idle)

    def now(self) -> float:
        """Virtual seconds."""
        return self._clock

    def room(self, remaining: int | None) -> int:
        """One job per idle worker."""
        return len(self._idle)

    def submit(self, job: Job) -> None:
        """Evaluates at once, and lets the result appear when the virtual worker is done."""
        outcome = evaluate_safely(self._evaluator, job.query)
        seconds = 0.0
        if outcome.evaluation is not None:
            seconds = outcome.evaluation.cost.billed_seconds or outcome.seconds
        if self._timeout is not None and seconds > self._timeout:
            seconds = self._timeout
            outcome = Outcome(None, seconds, "timeout", f"no result within {self._timeout:g} s")
        # After a resume there may be more pending jobs than workers; these end on workers that take no other job.
        worker = heapq.heappop(self._idle) if self._idle else len(self._running)
        trial = finished(job, outcome._replace(seconds=seconds), job.asked_at, worker)
        heapq.heappush(self._running, (job.asked_at + seconds, job.id, trial))

    def resize(self, workers: int) -> None:
        """Those that are too many take no other job."""
        if hasattr(self, "_idle"):
            self._idle = [worker for worker in self._idle if worker < workers]
            busy = {trial.worker for _, _, trial in self._running}
            self._idle += [worker for worker in range(self.workers, workers) if worker not in busy]
            heapq.heapify(self._idle)
        self.workers = workers

    def set_timeout(self, seconds: float | None) -> None:
        """For jobs that are submitted from now on."""
        self.timeout = self._timeout = seconds

    def drop(self, id_: int) -> float:
        """Frees its worker."""
        for entry in [entry for entry in self._running if entry[1] == id_]:
            self._running.remove(entry)
            heapq.heapify(self._running)
            if entry[2].worker < self.workers:
                heapq.heappush(self._idle, entry[2].worker)
        return 0.0

    def wait(self, until: float) -> list[Trial]:
        """Moves the clock to the next finished trial."""
        if not self._running:
            return []
        if self._running[0][0] > until:
            self._clock = until
            return []
        finish, _, trial = heapq.heappop(self._running)
        self._clock = max(self._clock, finish)
        if trial.worker < self.workers:
            heapq.heappush(self._idle, trial.worker)
        return [trial]
