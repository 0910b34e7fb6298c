"""Evaluations on a Ray cluster: actors that keep the evaluator, adaptive batches, dead actors replaced.

Each worker has at most two batches: one running, one waiting in its queue, so that it never idles for a round trip.
A batch holds as many evaluations as take about ``batch_seconds``: long evaluations travel alone, short ones
together, so that a 1 ms evaluation is not drowned by a 1 ms round trip. If the search asks for batches of its own,
for evaluators to which these are cheaper, they are as large as it says.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from archsearch.errors import ExecutorError, UsageError
from archsearch.evaluator import Evaluator
from archsearch.executor import (
    Executor,
    Job,
    Log,
    Outcome,
    evaluate_batch_safely,
    evaluates_batches,
    finished,
    finished_batch,
)
from archsearch.trial import Query, Trial

QUEUE = 2
SETTLE_SECONDS = 2.0
GRACE_SECONDS = 2.0
MAX_LOST_IN_A_ROW = 3


class RayExecutor(Executor):
    """Evaluates on actors of a Ray cluster.

    Args:
        workers: Actors, >= 1.
        address: Address of a running cluster, such as ``auto``; None starts one on this machine.
        cpus: CPUs that each worker reserves, >= 0.
        gpus: GPUs that each worker reserves, >= 0.
        batch_seconds: Evaluations are sent in batches that take about this many seconds, unless the search says how
            many are to be evaluated together.
        max_batch: Most evaluations in such a batch.
        start_seconds: How long to wait for the first worker.

    Raises:
        UsageError: If a number is out of range.
    """

    name = "ray"
    concurrent = True

    def __init__(
        self,
        workers: int = 2,
        address: str | None = None,
        cpus: float = 1.0,
        gpus: float = 0.0,
        batch_seconds: float = 0.05,
        max_batch: int = 256,
        start_seconds: float = 120.0,
    ) -> None:
        if workers < 1 or cpus < 0 or gpus < 0 or max_batch < 1:
            raise UsageError(
                f"RayExecutor: expected workers >= 1, cpus >= 0, gpus >= 0, max_batch >= 1, "
                f"got {workers}, {cpus}, {gpus}, {max_batch}"
            )
        self.workers = workers
        self.address = address
        self.cpus = cpus
        self.gpus = gpus
        self.batch_seconds = batch_seconds
        self.max_batch = max_batch
        self.start_seconds = start_seconds

    # -- start and stop ------------------------------------------------------------------------

    def start(self, evaluator: Evaluator, clock: float, timeout: float | None, log: Log) -> None:
        """Connects to the cluster and starts the workers; late ones join while the search runs."""
        import ray

        begun = time.monotonic()
        self._timeout = timeout
        # What could not be evaluated together within its time is evaluated once more, one by one.
        self._times = 2 if evaluates_batches(evaluator) else 1
        self._owns_ray = not ray.is_initialized()
        if self._owns_ray:
            self._connect()
        connected = time.monotonic()
        self._actor_class = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus)(_Worker)
        self._evaluator_ref = ray.put(evaluator)
        self._waiting: deque[Job] = deque()
        self._alone: deque[Job] = deque()  # to be run with no other job on the same worker
        self._suspects: set[int] = set()  # workers that run such a job
        self._live: dict[Any, _Batch] = {}
        self._starting: dict[Any, int] = {}
        self._actors: dict[int, Any] = {}
        self._queues: dict[int, deque[Any]] = {}
        self._seconds_each: float | None = None
        self._lost_in_a_row = 0
        for worker in range(self.workers):
            self._start_worker(worker)
        self._await_workers()
        self.connect_seconds = connected - begun
        self.workers_seconds = time.monotonic() - connected
        log(
            f"Ray: {self.connect_seconds:.1f} s to {'start' if self._owns_ray else 'find'} the cluster, "
            f"{self.workers_seconds:.1f} s to {len(self._queues)} of {self.workers} workers"
        )
        self._origin = time.monotonic() - clock

    def _start_worker(self, worker: int) -> None:
        self._actors[worker] = self._actor_class.remote(self._evaluator_ref)
        self._starting[self._actors[worker].ready.remote()] = worker

    def _await_workers(self) -> None:
        import ray

        end = time.monotonic() + self.start_seconds
        while self._starting and time.monotonic() < end:
            ready, _ = ray.wait(list(self._starting), num_returns=1, timeout=SETTLE_SECONDS)
            if self._queues and not ready:
                break  # the others join when they are ready
            for reference in ready:
                self._welcome(reference)
        if not self._queues:
            have: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
            self.stop()
            raise ExecutorError(
                f"no worker started within {self.start_seconds:g} s: each needs {self.cpus:g} CPUs and {self.gpus:g} "
                f"GPUs, the cluster has {have.get('CPU', 0):g} CPUs and {have.get('GPU', 0):g} GPUs; ask for less"
            )

    def _welcome(self, reference: Any) -> None:
        """A worker is ready, or died as it started."""
        import ray

        worker = self._starting.pop(reference)
        try:
            ray.get(reference)
        except ray.exceptions.RayError as error:
            self._lose(worker, str(error), "worker_died")
            return
        self._queues[worker] = deque()

    def update(self, evaluator: Evaluator) -> None:
        """See ``Executor.update``; each worker takes part again as soon as it has the new evaluator."""
        import ray

        self._evaluator_ref = ray.put(evaluator)  # for later workers, too
        self._queues = {}
        self._starting = {actor.update.remote(self._evaluator_ref): worker for worker, actor in self._actors.items()}

    def stop(self) -> None:
        """Ends the workers; ends Ray too, if this executor started it."""
        import ray

        for actor in self._actors.values():
            ray.kill(actor)
        self._actors = {}
        if self._owns_ray:
            ray.shutdown()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Inside, a Ray of its own runs on between searches; workers are started for each."""
        import ray

        if ray.is_initialized():
            yield
            return
        self._connect()
        try:
            yield
        finally:
            ray.shutdown()

    def _connect(self) -> None:
        _connect(self.address, math.ceil(self.workers * self.cpus), math.ceil(self.workers * self.gpus))

    # -- the executor contract -----------------------------------------------------------------

    def now(self) -> float:
        """Wall seconds."""
        return time.monotonic() - self._origin

    def room(self, remaining: int | None) -> int:
        """As many jobs as the workers' queues have room for; near the end only what starts at once."""
        slots = self._free_places(self._depth(remaining))
        return max(0, slots * self._batch_size(remaining) - len(self._waiting) - len(self._alone))

    def submit(self, job: Job) -> None:
        """Queues the job; ``wait`` sends it."""
        (self._alone if job.attempt > 1 else self._waiting).append(job)

    def wait(self, until: float) -> list[Trial]:
        """Sends what is queued and returns the next finished trials."""
        import ray

        while True:
            self._send()
            references = [*self._live, *self._starting]
            if not references:
                return []
            pause = max(0.0, min(until - self.now(), self._next_deadline() - self.now()))
            ready, _ = ray.wait(references, num_returns=1, timeout=None if math.isinf(pause) else pause)
            if ready and len(references) > 1:  # whatever else has come meanwhile
                ready, _ = ray.wait(references, num_returns=len(references), timeout=0)
            trials: list[Trial] = []
            welcomed = False
            for reference in ready:
                if reference in self._starting:
                    self._welcome(reference)
                    welcomed = True
                elif reference in self._live:
                    trials += self._collect(reference)
            trials += self._kill_overdue()
            if trials or welcomed or self.now() >= until:
                return trials

    # -- sending -------------------------------------------------------------------------------

    def _depth(self, remaining: int | None) -> int:
        return 1 if remaining is not None and remaining <= self.workers * self.batch else QUEUE

    def _free_places(self, depth: int) -> int:
        """Batches that the workers' queues have room for, up to ``depth`` each."""
        queues = [queue for worker, queue in self._queues.items() if worker not in self._suspects]
        return sum(max(0, depth - len(queue)) for queue in queues)

    def _batch_size(self, remaining: int | None) -> int:
        if self.batch > 1:
            return self.batch
        if self._seconds_each is None:
            return 1
        size = int(self.batch_seconds / max(self._seconds_each, 1e-9))
        if remaining is not None:  # the last batches shrink, so that the workers end together
            size = min(size, math.ceil(remaining / (2 * self.workers)))
        return max(1, min(size, self.max_batch))

    def _send(self) -> None:
        size = self._batch_size(None)
        if self.batch == 1:  # evenly over the free places: ``room`` asked for no more than they should hold
            size = min(size, math.ceil(len(self._waiting) / max(self._free_places(QUEUE), 1)))
        while self._alone or self._waiting:
            worker = self._freest(self._alone[0].avoid if self._alone else -1, 1 if self._alone else QUEUE)
            if worker is None:
                return
            if self._alone:
                jobs = [self._alone.popleft()]
                self._suspects.add(worker)
            else:
                jobs = [self._waiting.popleft() for _ in range(min(size, len(self._waiting)))]
            queries = [tuple(job.query) for job in jobs]
            reference = self._actors[worker].evaluate.remote(queries, self._timeout)
            self._live[reference] = _Batch(worker, jobs)
            self._queues[worker].append(reference)
            if len(self._queues[worker]) == 1:
                self._begin(reference)

    def _freest(self, avoid: int, depth: int) -> int | None:
        """The worker with the shortest queue below ``depth`` that is to share; ``avoid`` only if there is no other."""
        room = {w: len(queue) for w, queue in self._queues.items() if len(queue) < depth and w not in self._suspects}
        others = {worker: length for worker, length in room.items() if worker != avoid} or (
            room if len(self._queues) == 1 else {}
        )
        return min(others, key=lambda worker: (others[worker], worker)) if others else None

    def _begin(self, reference: Any) -> None:
        """A batch has come to the head of its worker's queue: its time runs from now."""
        batch = self._live[reference]
        batch.begun = self.now()
        if self._timeout is not None:
            times = self._times if len(batch.jobs) > 1 else 1
            batch.deadline = batch.begun + self._timeout * len(batch.jobs) * times + GRACE_SECONDS

    def _next_deadline(self) -> float:
        return min((batch.deadline for batch in self._live.values()), default=math.inf)

    # -- collecting ----------------------------------------------------------------------------

    def _collect(self, reference: Any) -> list[Trial]:
        import ray

        batch = self._live[reference]
        try:
            outcomes = ray.get(reference)
        except ray.exceptions.ActorDiedError as error:
            return self._lose(batch.worker, str(error), "worker_died")
        except ray.exceptions.OutOfMemoryError as error:
            return self._lose(batch.worker, str(error), "out_of_memory")
        except ray.exceptions.RayError as error:
            outcomes = [Outcome(None, 0.0, "exception", str(error))] * len(batch.jobs)
        return self._accept(reference, outcomes)

    def _accept(self, reference: Any, outcomes: Sequence[tuple[Any, ...]]) -> list[Trial]:
        """The trials of a batch that came back."""
        batch = self._live[reference]
        self._remove(reference)
        self._lost_in_a_row = 0
        each = sum(outcome[1] for outcome in outcomes) / len(outcomes)
        # The first evaluation is often slow; a moving average forgets it.
        self._seconds_each = each if self._seconds_each is None else 0.7 * self._seconds_each + 0.3 * each
        return finished_batch(batch.jobs, [Outcome(*outcome) for outcome in outcomes], batch.begun, batch.worker)

    def _remove(self, reference: Any) -> None:
        batch = self._live.pop(reference)
        queue = self._queues[batch.worker]
        queue.remove(reference)
        self._suspects.discard(batch.worker)
        if queue:
            self._begin(queue[0])

    def _kill_overdue(self) -> list[Trial]:
        """Kills workers whose batch takes too long: native code that hangs ignores the alarm inside the worker."""
        import ray

        trials = []
        now = self.now()
        for batch in [batch for batch in self._live.values() if batch.deadline <= now]:
            if batch.worker in self._actors:
                ray.kill(self._actors[batch.worker])
                trials += self._lose(
                    batch.worker, f"no result within {self._timeout:g} s; its worker was killed", "timeout"
                )
        return trials

    def _lose(self, worker: int, error: str, failure: str) -> list[Trial]:
        """Replaces a lost worker; the job to blame failed, if that is certain, and the others are sent again."""
        self._lost_in_a_row += 1
        if self._lost_in_a_row > MAX_LOST_IN_A_ROW * self.workers + 10:
            raise ExecutorError(
                f"workers die one after another, {self._lost_in_a_row} without a result; the last: {error}"
            )
        # How Ray's memory monitor words it; its text for any other death only guesses at the kernel's "OOM killer".
        if "running low on memory" in error or "out of memory" in error.lower():
            failure = "out_of_memory"
        trials = self._accept_finished(worker)
        queue = self._queues.pop(worker, deque())
        self._suspects.discard(worker)
        # Certain who is to blame: a job that ran with no other on this worker, or whose time ran out.
        certain = len(queue) == 1 or failure == "timeout"
        for position, reference in enumerate(queue):
            batch = self._live.pop(reference)
            if certain and position == 0 and len(batch.jobs) == 1:
                seconds = self.now() - batch.begun
                trials.append(finished(batch.jobs[0], Outcome(None, seconds, failure, error), batch.begun, worker))
            else:  # otherwise each is tried again, alone on a worker
                self._alone.extend(batch.jobs)
        self._actors.pop(worker, None)
        self._start_worker(worker)
        return trials

    def _accept_finished(self, worker: int) -> list[Trial]:
        """What a lost worker had finished before: its death may be heard of before its last results."""
        import ray

        trials = []
        for reference in list(self._queues.get(worker, ())):
            try:
                trials += self._accept(reference, ray.get(reference, timeout=0))
            except (ray.exceptions.RayError, TimeoutError):
                break
        return trials


class _Batch:
    """Jobs sent to a worker in one call."""

    __slots__ = ("begun", "deadline", "jobs", "worker")

    def __init__(self, worker: int, jobs: Sequence[Job]) -> None:
        self.worker = worker
        self.jobs = jobs
        self.begun = 0.0
        self.deadline = math.inf


class _Worker:
    """The actor: keeps the evaluator, so that it is sent once."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator

    def ready(self) -> bool:
        return True

    def update(self, evaluator: Evaluator) -> bool:
        self._evaluator = evaluator
        return True

    def evaluate(self, queries: Sequence[tuple[Any, ...]], timeout: float | None) -> list[tuple[Any, ...]]:
        asked = [Query(*query) for query in queries]
        return [tuple(outcome) for outcome in evaluate_batch_safely(self._evaluator, asked, timeout)]


def _connect(address: str | None, cpus: int, gpus: int) -> None:
    """Starts Ray on this machine, or joins the cluster at ``address``."""
    import ray

    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is None:
            # Logical CPUs: as many as the workers ask for, whatever the machine has.
            ray.init("local", num_cpus=max(cpus, 1), num_gpus=gpus or None, include_dashboard=False, **quiet)
        else:
            ray.init(address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ExecutorError(
            f"cannot reach a Ray cluster at {address or 'this machine'}: {error}; start one by 'ray start --head', "
            "or leave out the address to use this machine alone"
        ) from None
