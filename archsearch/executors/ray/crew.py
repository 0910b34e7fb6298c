"""The workers of a search on Ray: started, welcomed as they get a place, given an evaluator that has advanced."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from archsearch.errors import ExecutorError, UsageError
from archsearch.evaluator import Evaluator
from archsearch.executors.evaluating import evaluates_batches
from archsearch.executors.executor import Log
from archsearch.executors.ray.cluster import Lease, Wish, last_line
from archsearch.executors.ray.places import cannot_be_set_up, check_placement_group, none_started
from archsearch.executors.ray.queues import RECENT_EVALUATIONS, Queues
from archsearch.executors.ray.worker import Place, Worker, kind_of_loss
from archsearch.trial import Trial

SETTLE_SECONDS = 2.0
MAX_SETUP_TEXT = 600
"""Characters, the last ones, of what is shown of an environment that cannot be built."""


class Crew(Queues):
    """The workers of a search on Ray: started, welcomed as they get a place, given an evaluator that has advanced."""

    address: str | None
    cpus: float
    gpus: float
    resources: Mapping[str, float] | None
    runtime_env: Mapping[str, Any] | None
    start_seconds: float
    connect_seconds: float
    _lease: Lease | None = None
    _starting: dict[Any, int]
    _leaving: set[int]
    """Workers that are too many."""
    _origin: float
    _evaluator_ref: Any

    def _lose(self, worker: int, error: str, failure: str) -> list[Trial]:
        """A worker is lost; see ``RayExecutor``."""
        raise NotImplementedError

    def _start_workers(self, evaluator: Evaluator, log: Log) -> None:
        import ray

        begun = time.monotonic()
        check_placement_group(self.workers, self._each())
        # What could not be evaluated together within its time is evaluated once more, one by one.
        self._times = 2 if evaluates_batches(evaluator) else 1
        self._actor_class = ray.remote(**self._reserves())(Worker)
        try:
            self._evaluator_ref = ray.put(evaluator)
        except TypeError as error:
            raise UsageError(
                f"{type(evaluator).__name__} cannot be sent to the workers ({last_line(error)}); make what cannot be "
                "pickled, such as locks and open files, where it is used"
            ) from None
        self._waiting = deque()
        self._alone = deque()  # to be run with no other job on the same worker
        self._suspects = set()  # workers that run such a job
        self._leaving = set()
        self._live = {}
        self._starting = {}
        self._queues = {}
        self._places = {}
        self._seconds_each = None
        self._recent = deque(maxlen=RECENT_EVALUATIONS)
        self._lost_in_a_row = 0
        for worker in range(self.workers):
            self._start_worker(worker)
        self._await_workers()
        starts_ray = self._lease is not None and self._lease.begun and self.address is None
        self.workers_seconds = time.monotonic() - begun
        log(
            f"Ray: {self.connect_seconds:.1f} s to {'start' if starts_ray else 'find'} the cluster, "
            f"{self.workers_seconds:.1f} s to {len(self._queues)} of {self.workers} workers"
        )

    def _start_worker(self, worker: int) -> None:
        self._actors[worker] = self._actor_class.remote(self._evaluator_ref)
        self._starting[self._actors[worker].ready.remote()] = worker

    def _await_workers(self) -> None:
        import ray

        end = time.monotonic() + self.start_seconds
        while self._starting and (left := end - time.monotonic()) > 0:
            ready, _ = ray.wait(list(self._starting), num_returns=1, timeout=min(SETTLE_SECONDS, left))
            if self._queues and not ready:
                break  # the others join when they are ready
            for reference in ready:
                self._welcome(reference)
        if not self._queues:
            raise none_started(self.start_seconds, self._each())

    def _welcome(self, reference: Any) -> None:
        """A worker is ready, or died as it started."""
        import ray

        worker = self._starting.pop(reference)
        try:
            self._places[worker] = Place(*ray.get(reference))
        except ray.exceptions.RayError as error:
            if isinstance(error, ray.exceptions.RuntimeEnvSetupError):
                raise ExecutorError(
                    f"the runtime_env cannot be built on a node: {' '.join(str(error).split())[-MAX_SETUP_TEXT:]}"
                ) from None
            if "creation task" in str(error):
                raise cannot_be_set_up(last_line(error), self.runtime_env) from None
            self._lose(worker, str(error), kind_of_loss(error))
            return
        self._queues[worker] = deque()

    def _update(self, evaluator: Evaluator) -> None:
        import ray

        self._evaluator_ref = ray.put(evaluator)  # for later workers, too
        late = {batch.worker for batch in self._live.values()}  # at what another worker has done meanwhile
        self._live = {}
        self._queues = {}
        self._suspects = set()
        rest = {worker: actor for worker, actor in self._actors.items() if worker not in late}
        self._starting = {actor.update.remote(self._evaluator_ref): worker for worker, actor in rest.items()}
        for worker in late:
            ray.kill(self._actors[worker])
            self._start_worker(worker)

    # -- a search that is steered while it runs ------------------------------------------------------

    def resize(self, workers: int) -> None:
        """New workers start as soon as the cluster has places; those that are too many end with what they are at."""
        if getattr(self, "_actors", None):  # it was started
            for worker in range(self.workers, workers):
                self._leaving.discard(worker)
                self._suspects.discard(worker)
                if worker not in self._actors:
                    self._start_worker(worker)
            self._leaving.update(worker for worker in self._actors if worker >= workers)
        self.workers = workers

    def _let_go(self) -> None:
        """Ends workers that are too many and have nothing to do."""
        import ray

        for worker in [worker for worker in self._leaving if not self._queues.get(worker, True)]:
            self._leaving.discard(worker)
            self._suspects.discard(worker)
            del self._queues[worker]
            self._places.pop(worker, None)
            ray.kill(self._actors.pop(worker))
        self._suspects |= self._leaving  # who leaves is sent nothing more

    def set_timeout(self, seconds: float | None) -> None:
        """For batches that are sent from now on."""
        self.timeout = self._timeout = seconds
        if seconds is None:
            for batch in self._live.values():
                batch.deadline = math.inf

    def skip(self, seconds: float) -> None:
        """See ``Executor.skip``."""
        self._origin += seconds

    def drop(self, id_: int) -> float:
        """Takes it out of what is not sent; kills the worker that is at it, and nothing else."""
        for jobs in (self._waiting, self._alone):
            for job in [job for job in jobs if job.id == id_]:
                jobs.remove(job)
        for queue in list(self._queues.values()):
            batch = self._live[queue[0]] if queue else None
            if batch is not None and [job.id for job in batch.jobs] == [id_] and len(queue) == 1:
                seconds = self.now() - batch.begun
                self._lose(batch.worker, "cancelled by hand", "cancelled")
                return seconds
        return 0.0

    def _each(self) -> dict[str, float]:
        """What a worker needs, by Ray's names."""
        return {"CPU": self.cpus, "GPU": self.gpus, **(self.resources or {})}

    def _wish(self) -> Wish:
        needs = {name: self.workers * amount for name, amount in self._each().items()}
        return Wish(self.address, needs, self.runtime_env, self.start_seconds)

    def _reserves(self) -> dict[str, Any]:
        """A worker's options."""
        if self._lease is None or self._lease.reserves:
            return {"num_cpus": self.cpus, "num_gpus": self.gpus, "resources": dict(self.resources or {})}
        # Threads as many as Ray would give it for its CPUs.
        threads = {"env_vars": {"OMP_NUM_THREADS": str(int(self.cpus))}}
        own = {"runtime_env": threads} if self.cpus >= 2 and "OMP_NUM_THREADS" not in os.environ else {}
        return {"num_cpus": 0, "num_gpus": self.gpus, **own}
