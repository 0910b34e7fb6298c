"""Evaluates one after another on this machine: in this process, or in one that may hang, exit or crash."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Sequence

from archsearch.basics.checks import number
from archsearch.errors import UsageError
from archsearch.evaluator import Evaluator
from archsearch.executors.evaluating import (
    evaluate_batch_safely,
    evaluate_one_by_one,
    evaluate_safely,
    evaluates_batches,
    finished,
    finished_batch,
)
from archsearch.executors.executor import Executor, Fault, Job, Log, Outcome
from archsearch.executors.worker_process import WorkerProcess, pickled
from archsearch.trial import Query, Trial

GIB = 1 << 30


class LocalExecutor(Executor):
    """Evaluates one after another on this machine: the same trials for the same seed, on any machine.

    By default in this process, which is the quickest. With ``isolate``, and always with a time-out or ``memory_gib``,
    in a worker process that keeps the evaluator: one that hangs is killed, one that exits or crashes is replaced.

    Args:
        isolate: Whether to evaluate in a worker process.
        memory_gib: The most memory of its own, in GiB, > 0, that the worker process may ask for, as may each process
            that it starts (``RLIMIT_DATA``: libraries and files that are only mapped do not count). Linux only. None:
            no limit.

    Raises:
        UsageError: If there can be no such limit.
    """

    name = "local"
    judges = True
    _fills = False
    _worker: WorkerProcess | None = None
    _evaluated = -1
    """Id of the job that is being evaluated alone."""

    def __init__(self, isolate: bool = False, memory_gib: float | None = None) -> None:
        if memory_gib is not None:
            memory_gib = number("LocalExecutor", "memory_gib", memory_gib, above=0)
        if memory_gib is not None and sys.platform != "linux":
            raise UsageError(f"memory_gib: only Linux holds to such a limit, this is {sys.platform}; leave it out")
        self.isolate = isolate
        self.memory_gib = memory_gib

    @property
    def in_process(self) -> bool:
        """Whether evaluations run in this process, so that one that ends its process ends the search."""
        return not (self.isolate or self.memory_gib is not None or self.timeout is not None)

    def set_batch(self, batch: int, one_by_one: bool = False) -> None:
        """See ``Executor.set_batch``."""
        self.batch = batch
        self.concurrent = batch > 1
        self._fills = one_by_one and batch > 1

    def check(self, evaluator: Evaluator) -> None:
        """Refuses evaluators that cannot be sent to a worker process, where there is one."""
        if not self.in_process:
            pickled(evaluator)

    def start(self, evaluator: Evaluator, clock: float, timeout: float | None, log: Log) -> None:
        """See ``Executor.start``."""
        self.timeout = timeout
        self._evaluator = evaluator
        self._at_work = threading.Lock()
        self._jobs: deque[Job] = deque()  # several only after the resume of a parallel run
        if not self.in_process:
            begun = time.monotonic()
            self._worker = self._new_worker()
            log(f"worker process: {time.monotonic() - begun:.1f} s to start")
        self._origin = time.monotonic() - clock

    def _new_worker(self) -> WorkerProcess:
        memory = None if self.memory_gib is None else int(self.memory_gib * GIB)
        return WorkerProcess(self._evaluator, memory)

    def update(self, evaluator: Evaluator) -> None:
        """See ``Executor.update``."""
        self._evaluator = evaluator
        if self._worker is not None and self._worker.alive:
            self._worker.load(evaluator)

    def stop(self) -> None:
        """Ends the worker process, with all processes that it has started."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None

    def now(self) -> float:
        """Wall seconds."""
        return time.monotonic() - self._origin

    def room(self, remaining: int | None) -> int:
        """One job, or one batch, at a time."""
        if not self._jobs:
            return self.batch
        # Without a lag a batch that is there must not grow: a resumed search could not tell when it was asked for.
        return self.batch - len(self._jobs) if self._fills else 0

    def submit(self, job: Job) -> None:
        """Keeps the job until ``wait``."""
        self._jobs.append(job)

    def wait(self, until: float) -> list[Trial]:
        """Evaluates the oldest job, or the oldest ones together."""
        if not self._jobs:
            return []
        together = self.batch > 1 and evaluates_batches(self._evaluator)
        worker = None if self.in_process else self._ready_worker()
        started = self.now()
        if not together:
            job = self._jobs[0]
            self._evaluated = job.id
            outcome = evaluate_safely(self._evaluator, job.query) if worker is None else self._alone(job.query)
            self._evaluated = -1
            self._jobs.popleft()
            return [finished(job, outcome, started, 0)]
        jobs = [self._jobs[i] for i in range(min(self.batch, len(self._jobs)))]
        queries = [job.query for job in jobs]
        outcomes = evaluate_batch_safely(self._evaluator, queries) if worker is None else self._together(queries)
        for _ in jobs:
            self._jobs.popleft()
        return finished_batch(jobs, outcomes, started, 0)

    # -- steered while it runs -----------------------------------------------------------------------

    def resize(self, workers: int) -> None:
        """It has one."""
        if workers != 1:
            raise UsageError(f"workers: the local executor has one, got {workers}; resume with --executor ray for more")

    def set_timeout(self, seconds: float | None) -> None:
        """Begins or ends a worker process, where a time-out needs one, or none does any more."""
        before, self.timeout = self.timeout, seconds
        try:
            if self.in_process:
                self.stop()
            elif self._worker is None:
                self._worker = self._new_worker()
        except UsageError:
            self.timeout = before
            raise

    def interrupt(self, id_: int) -> bool:
        """Kills the worker process, if it is at that evaluation."""
        with self._at_work:
            worker = self._worker
            if id_ != self._evaluated or worker is None:
                return False
            worker.end()
            return True

    def stuck_in(self, id_: int) -> bool:
        """Whether this process, or one that several share, is at it."""
        return bool(self._jobs) and self._evaluated == id_

    def drop(self, id_: int) -> float:
        """It was not begun."""
        self._jobs = deque(job for job in self._jobs if job.id != id_)
        return 0.0

    def skip(self, seconds: float) -> None:
        """See ``Executor.skip``."""
        self._origin += seconds

    # -- in the worker process -----------------------------------------------------------------------

    def _ready_worker(self) -> WorkerProcess:
        """The worker process; a new one if it has ended."""
        assert self._worker is not None
        if not self._worker.alive:
            if self._worker.ended is not None:
                self._tell_of(Fault(*self._worker.ended, worker=0))
            self._worker.kill()
            self._worker = self._new_worker()
        return self._worker

    def _alone(self, query: Query) -> Outcome:
        outcome = self._ready_worker().evaluate(query, self.timeout)
        with self._at_work:  # who interrupts it is done, and the next one is safe
            self._evaluated = -1
        return outcome

    def _together(self, queries: Sequence[Query]) -> list[Outcome]:
        if len(queries) == 1:
            return [self._alone(queries[0])]
        together = self._ready_worker().evaluate_together(queries, self.timeout)
        if together.outcomes:
            return together.outcomes
        return evaluate_one_by_one(together, [self._alone(query) for query in queries], stacklevel=3)

    def _tell_of(self, fault: Fault) -> None:
        if self.on_fault is not None:
            self.on_fault(fault)
