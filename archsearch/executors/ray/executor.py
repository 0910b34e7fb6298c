"""Evaluations on a Ray cluster: actors that keep the evaluator, adaptive batches, dead actors replaced.

A worker that has no place yet waits for one: the cluster may grow and shrink while the search runs.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from archsearch.basics.checks import at_least_one, number
from archsearch.errors import ExecutorError, UsageError
from archsearch.evaluator import Evaluator
from archsearch.executors.evaluating import finished, finished_batch
from archsearch.executors.executor import Fault, Job, Log, Outcome
from archsearch.executors.ray.cluster import RAYS, held
from archsearch.executors.ray.crew import Crew
from archsearch.executors.ray.places import check_runtime_env
from archsearch.executors.ray.queues import Batch
from archsearch.executors.ray.watch import PROBE_SECONDS, Head, Metrics
from archsearch.executors.ray.worker import kind_of_loss, tail, with_printed
from archsearch.trial import Trial

GRACE_SECONDS = 2.0
MAX_LOST_IN_A_ROW = 3


class RayExecutor(Crew):
    """Evaluates on actors of a Ray cluster.

    Args:
        workers: Actors, >= 1. Those for which the cluster has no place yet start as soon as it has.
        address: Address of a running cluster, such as ``auto`` or ``HOST:PORT``; None starts one on this machine.
        cpus: CPUs that each worker reserves, >= 0.
        gpus: GPUs that each worker reserves, >= 0; below 1 they share one.
        resources: Amounts of the cluster's other resources that each worker reserves, by name, such as ``{"a100": 1}``.
        runtime_env: What Ray installs or copies for the workers, such as ``{"working_dir": "."}``; see Ray's
            documentation of runtime environments.
        batch_seconds: Evaluations are sent in batches that take about this many seconds, unless the search says how
            many are to be evaluated together.
        max_batch: Most evaluations in such a batch.
        start_seconds: How long to wait for a Ray that starts on this machine, and then for the first worker.
        speculate: When workers idle at the end of a search, an evaluation that has taken this many times the median is
            begun a second time elsewhere, > 1; the answer that comes first counts, and is all that is billed. It helps
            against slow machines, not against architectures that take long. None: never.

    Raises:
        UsageError: If a number is out of range.
    """

    name = "ray"
    concurrent = True
    judges = True
    wakes = True

    def __init__(
        self,
        workers: int = 2,
        address: str | None = None,
        cpus: float = 1.0,
        gpus: float = 0.0,
        resources: Mapping[str, float] | None = None,
        runtime_env: Mapping[str, Any] | None = None,
        batch_seconds: float = 0.05,
        max_batch: int = 256,
        start_seconds: float = 120.0,
        speculate: float | None = None,
    ) -> None:
        owner = "RayExecutor"
        for name, amount in {"cpus": cpus, "gpus": gpus, **(resources or {})}.items():
            if number(owner, name, amount, low=0) > 1 and name != "cpus" and amount % 1 != 0:
                raise UsageError(f"{name}: expected an amount >= 0, above 1 a whole number, got {amount}")
        if own := sorted({"CPU", "GPU", "memory", "object_store_memory"}.intersection(resources or ())):
            raise UsageError(
                f"resources: {own[0]} is Ray's own; expected others' names; for CPUs and GPUs give cpus, gpus"
            )
        if runtime_env:
            check_runtime_env(runtime_env)
        self.workers = at_least_one(owner, "workers", workers)
        self.address = address
        self.cpus = number(owner, "cpus", cpus, low=0)
        self.gpus = number(owner, "gpus", gpus, low=0)
        self.resources = resources
        self.runtime_env = runtime_env
        self.batch_seconds = number(owner, "batch_seconds", batch_seconds, above=0)
        self.max_batch = at_least_one(owner, "max_batch", max_batch)
        self.start_seconds = number(owner, "start_seconds", start_seconds, above=0)
        self.speculate = None if speculate is None else number(owner, "speculate", speculate, above=1)

    # -- start and stop ------------------------------------------------------------------------

    def check(self, evaluator: Evaluator) -> None:
        """Refuses ``speculate`` for evaluators that keep files, and what does not fit a Ray that runs here already."""
        if self.speculate is not None and evaluator.keeps_files:
            raise UsageError(
                f"speculate: {type(evaluator).__name__} keeps files, which two evaluations of one trial would both "
                "write; leave speculate out"
            )
        RAYS.check(self._wish())

    def start(self, evaluator: Evaluator, clock: float, timeout: float | None, log: Log) -> None:
        """Connects to the cluster and starts the workers; late ones join while the search runs."""
        import ray

        begun = time.monotonic()
        self._lease = RAYS.lease(self._wish(), self)
        self._actors = {}
        try:
            with self._watched():
                self.connect_seconds = time.monotonic() - begun
                self._head = Head(ray.get_runtime_context().gcs_address)
                self._metrics = Metrics()
                self._timeout = timeout
                self._start_workers(evaluator, log)
        except BaseException:
            self.stop()
            raise
        self._origin = time.monotonic() - clock

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Inside, whatever comes of a Ray that somebody else shuts down is one typed error.

        Ray raises ``SystemExit(0)`` in a thread that waits then, which would end it without a word.
        """
        try:
            yield
        except (Exception, SystemExit):
            self._check_ray()
            raise

    def _check_ray(self) -> None:
        if self._lease is not None:
            self._lease.check()

    def update(self, evaluator: Evaluator) -> None:
        """See ``Executor.update``; each worker takes part again as soon as it has the new evaluator."""
        with self._watched():
            self._check_ray()
            self._update(evaluator)

    def stop(self) -> None:
        """Ends the workers; ends Ray too, if this executor started it."""
        import ray

        lease, self._lease = self._lease, None
        if lease is None:
            return
        if lease.alive and not (hasattr(self, "_head") and self._head.lost):  # else nobody is there to hear of it
            if hasattr(self, "_metrics"):
                self._metrics.flush(workers=0, pending=0)
            for actor in self._actors.values():
                ray.kill(actor)
        self._actors = {}
        self._live, self._starting, self._evaluator_ref = {}, {}, None  # what is referred to stays in the object store
        lease.release()

    def held(self) -> contextlib.AbstractContextManager[None]:
        """Inside, a Ray of its own runs on between searches; workers are started for each."""
        return held(self._wish())

    # -- the executor contract -----------------------------------------------------------------

    def now(self) -> float:
        """Wall seconds."""
        return time.monotonic() - self._origin

    def room(self, remaining: int | None) -> int:
        """As many jobs as the workers' queues have room for; near the end only what starts at once."""
        slots = self._free_places(self._depth(remaining))
        return max(0, slots * self._batch_size(remaining) - len(self._waiting) - len(self._places_alone()))

    def submit(self, job: Job) -> None:
        """Queues the job; ``wait`` sends it."""
        (self._alone if job.attempt > 1 else self._waiting).append(job)

    def wait(self, until: float) -> list[Trial]:
        """Sends what is queued and returns the next finished trials."""
        with self._watched():
            self._check_ray()
            return self._wait(until)

    def _wait(self, until: float) -> list[Trial]:
        import ray

        while True:
            if self._leaving:
                self._let_go()
            self._send()
            self._speculate()
            references = [*self._live, *self._starting]
            if not references:
                return []
            if self._metrics.due(self.now()):
                pending = sum(len(batch.jobs) for batch in self._live.values())
                self._metrics.flush(workers=len(self._queues), pending=pending)
            pause = max(0.0, min(until, self._next_deadline(), self._next_late()) - self.now())
            ready, _ = ray.wait(references, num_returns=1, timeout=min(pause, PROBE_SECONDS))
            self._check_ray()
            self._head.check()
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

    # -- collecting ----------------------------------------------------------------------------

    def _begin(self, reference: Any) -> None:
        """A batch has come to the head of its worker's queue: its time runs from now."""
        batch = self._live[reference]
        batch.begun = self.now()
        if self._timeout is not None:
            times = self._times if batch.size > 1 else 1
            batch.deadline = batch.begun + self._timeout * batch.size * times + GRACE_SECONDS

    def _collect(self, reference: Any) -> list[Trial]:
        import ray

        batch = self._live[reference]
        try:
            outcomes = ray.get(reference)
        except (
            ray.exceptions.RayTaskError,
            ray.exceptions.RaySystemError,
        ) as error:  # results that cannot be (un)pickled
            self._check_ray()
            if len(batch.jobs) > 1 and batch.twin not in self._live:
                self._remove(reference)
                self._alone.extend(self._lost(batch, self.now() - batch.begun))
                return []
            outcomes = [Outcome(None, self.now() - batch.begun, "exception", str(error))]  # at most one job, or a twin
        except ray.exceptions.RayError as error:
            return self._lose(batch.worker, str(error), kind_of_loss(error))
        return self._accept(reference, outcomes)

    def _accept(self, reference: Any, outcomes: Sequence[tuple[Any, ...]]) -> list[Trial]:
        """The trials of a batch that came back."""
        batch = self._live[reference]
        self._remove(reference)
        self._lost_in_a_row = 0
        if not batch.jobs:  # another worker was quicker
            return []
        twin = self._live.get(batch.twin)
        if twin is not None and (failures := [outcome for outcome in outcomes if outcome[2]]):
            twin.twin = None  # it decides: what failed here may succeed there
            for _, _, kind, error in failures:
                self._tell_of(Fault(kind, error, batch.worker))
            return []
        if twin is not None:
            twin.jobs = []
        self._recent.extend(outcome[1] for outcome in outcomes)
        for outcome in outcomes:
            self._metrics.count("evaluations", outcome[2] or "completed")
            self._metrics.count("seconds", outcome[2] or "completed", outcome[1])
        each = sum(outcome[1] for outcome in outcomes) / len(outcomes)
        # The first evaluation is often slow; a moving average forgets it.
        self._seconds_each = each if self._seconds_each is None else 0.7 * self._seconds_each + 0.3 * each
        return finished_batch(batch.jobs, [Outcome(*outcome) for outcome in outcomes], batch.begun, batch.worker)

    def _remove(self, reference: Any) -> None:
        batch = self._live.pop(reference)
        queue = self._queues[batch.worker]
        was_running = queue[0] is reference
        queue.remove(reference)
        if was_running:
            self._suspects.discard(batch.worker)
            if queue:
                self._begin(queue[0])

    def _kill_overdue(self) -> list[Trial]:
        """Kills workers whose batch takes too long: native code that hangs ignores the alarm inside the worker."""
        trials = []
        now = self.now()
        for batch in [batch for batch in self._live.values() if batch.deadline <= now]:
            trials += self._accept_finished(batch.worker)  # its result may have come just now
            if batch in self._live.values():
                trials += self._lose(
                    batch.worker, f"no result within {self._timeout:g} s; its worker was killed", "timeout"
                )
        return trials

    def _lose(self, worker: int, error: str, failure: str) -> list[Trial]:
        """Replaces a lost worker; the job to blame failed, if that is certain, and the others are sent again."""
        import ray

        self._check_ray()  # else every worker seems to have died
        self._lost_in_a_row += 1
        if self._lost_in_a_row > MAX_LOST_IN_A_ROW * self.workers + 10:
            raise ExecutorError(
                f"workers die one after another, {self._lost_in_a_row} without a result; the last: {error}"
            )
        trials = self._accept_finished(worker)
        queue = self._queues.pop(worker, deque())
        self._suspects.discard(worker)
        place = self._places.pop(worker, None)
        printed = tail(place.logs) if place else ""
        # Certain who is to blame: a job that ran with no other on this worker, or whose time ran out.
        certain = failure == "timeout" or (len(queue) == 1 and failure != "node_died")
        blamed = False
        for position, reference in enumerate(queue):
            batch = self._live.pop(reference)
            if batch.twin in self._live:  # the same evaluation goes on elsewhere
                self._live[batch.twin].twin = None
            elif certain and position == 0 and len(batch.jobs) == 1:
                seconds, blamed = self.now() - batch.begun, True
                self._metrics.count("evaluations", failure)
                self._metrics.count("seconds", failure, seconds)
                said = with_printed(printed, error)
                trials.append(finished(batch.jobs[0], Outcome(None, seconds, failure, said), batch.begun, worker))
            else:
                # Those at the head of the queue had been begun; each is billed its share of the time.
                jobs = batch.jobs if position else self._lost(batch, self.now() - batch.begun)
                if failure == "node_died":
                    self._waiting.extendleft(reversed(jobs))
                else:  # each is tried again, alone on a worker
                    self._alone.extend(jobs)
        if not blamed:
            self._tell_of(Fault(failure, error, worker))
        self._metrics.count("faults", failure)
        if worker in self._actors:  # it may only be out of reach, and hold on to what it reserves
            ray.kill(self._actors.pop(worker))
        self._start_worker(worker)
        return trials

    def _lost(self, batch: Batch, seconds: float) -> list[Job]:
        """The jobs of a batch whose try was lost, with what that took, which the search is told of."""
        jobs = [job.lost(seconds / len(batch.jobs)) for job in batch.jobs]
        if jobs and self.on_loss is not None:
            self.on_loss(jobs)
        return jobs

    def _tell_of(self, fault: Fault) -> None:
        if self.on_fault is not None:
            self.on_fault(fault)

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
