"""What a search on Ray sends, when, and to which worker: batches, queues, stragglers.

Each worker has at most two batches: one running, one waiting in its queue, so that it never idles for a round trip.
A batch holds as many evaluations as take about ``batch_seconds``: long evaluations travel alone, short ones
together, so that a 1 ms evaluation is not drowned by a 1 ms round trip. If the search asks for batches of its own,
for evaluators to which these are cheaper, they are as large as it says.

What waits in a worker's queue cannot be taken back (Ray's ``cancel`` does not reach it, and drops the result of what
has begun). So nothing is queued as long as any of the recent evaluations took so long that a round trip is short to it.
"""

from __future__ import annotations

import heapq
import math
import statistics
from collections import deque
from collections.abc import Sequence
from typing import Any

from archsearch.executors.executor import Executor, Job
from archsearch.executors.ray.worker import Place

QUEUE = 2
QUEUE_SECONDS = 0.5
"""Batches that take longer are sent when the worker is free: the round trip, some milliseconds, is short to them."""
RECENT_EVALUATIONS = 200
"""Evaluations whose seconds are remembered."""


class Batch:
    """Jobs sent to a worker in one call.

    Attributes:
        jobs: What is to be done; empty if another worker has done it meanwhile.
        begun: When it came to the head of the worker's queue, on the run's clock.
        deadline: When its worker is killed.
        size: Jobs that were sent.
        twin: The call that does the same elsewhere.
    """

    __slots__ = ("begun", "deadline", "jobs", "size", "twin", "worker")

    def __init__(self, worker: int, jobs: Sequence[Job]) -> None:
        self.worker = worker
        self.jobs = jobs
        self.size = len(jobs)
        self.begun = 0.0
        self.deadline = math.inf
        self.twin: Any = None


class Queues(Executor):
    """The part of an executor that sends; what comes back is for ``RayExecutor``."""

    workers: int
    batch_seconds: float
    max_batch: int
    speculate: float | None
    _actors: dict[int, Any]
    _waiting: deque[Job]
    _alone: deque[Job]
    """To be run with no other job on the same worker."""
    _suspects: set[int]
    """Workers that run such a job."""
    _live: dict[Any, Batch]
    _queues: dict[int, deque[Any]]
    _places: dict[int, Place]
    _recent: deque[float]
    _seconds_each: float | None
    _timeout: float | None

    def _begin(self, reference: Any) -> None:
        """A batch has come to the head of its worker's queue."""
        raise NotImplementedError

    # -- sending -------------------------------------------------------------------------------

    def _depth(self, remaining: int | None) -> int:
        """How many batches a worker may have, the one that runs included."""
        if self._alone:  # these need a worker with an empty queue
            return 1
        # By the longest of late, not the mean: of heavy-tailed ones most are short, but behind some one waits for long.
        if not self._recent or max(self._recent) * self.batch > QUEUE_SECONDS:
            return 1
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
        size, depth = self._batch_size(None), self._depth(None)
        if self.batch == 1:  # evenly over the free places: ``room`` asked for no more than they should hold
            size = min(size, math.ceil(len(self._waiting) / max(self._free_places(depth), 1)))
        for job, worker in self._places_alone():
            self._alone.remove(job)
            self._suspects.add(worker)
            self._dispatch(worker, [job])
        if not self._waiting:
            return
        # The shortest queue first; a heap, since thousands of workers would be looked through for each batch.
        free = [worker for worker in self._queues if worker not in self._suspects]
        places = [(len(self._queues[worker]), worker) for worker in free if len(self._queues[worker]) < depth]
        heapq.heapify(places)
        while self._waiting and places:
            length, worker = places[0]
            self._dispatch(worker, [self._waiting.popleft() for _ in range(min(size, len(self._waiting)))])
            if length + 1 < depth:
                heapq.heapreplace(places, (length + 1, worker))
            else:
                heapq.heappop(places)

    def _dispatch(self, worker: int, jobs: Sequence[Job]) -> Any:
        queries = [tuple(job.query) for job in jobs]
        reference = self._actors[worker].evaluate.remote(queries, self._timeout)
        self._live[reference] = Batch(worker, jobs)
        self._queues[worker].append(reference)
        if len(self._queues[worker]) == 1:
            self._begin(reference)
        return reference

    def _places_alone(self) -> list[tuple[Job, int]]:
        """Which jobs are to run alone now, and where: on a worker with nothing to do, elsewhere than they failed."""
        if not self._alone:
            return []
        free = sorted(worker for worker, queue in self._queues.items() if not queue and worker not in self._suspects)
        places = []
        for job in self._alone:
            others = [worker for worker in free if worker != job.avoid]
            if others or (free and len(self._queues) == 1):  # there is no elsewhere
                worker = (others or free)[0]
                free.remove(worker)
                places.append((job, worker))
        return places

    # -- stragglers ----------------------------------------------------------------------------

    def _speculate(self) -> None:
        """Begins what takes long a second time, on workers that have nothing to do."""
        if self.speculate is None or self._waiting or self._alone:
            return
        idle = [worker for worker, queue in self._queues.items() if not queue]
        for reference in [reference for reference, at in self._late_at().items() if at <= self.now()][: len(idle)]:
            self._begin_twice(reference, idle)

    def _late_at(self) -> dict[Any, float]:
        """When that which was begun once takes, or waits behind what takes, ``speculate`` times the median."""
        if self.speculate is None or not self._recent:
            return {}
        patience = self.speculate * statistics.median(self._recent)
        late = {}
        for queue in filter(None, self._queues.values()):
            running = self._live[queue[0]]
            for reference in queue:
                if self._live[reference].jobs and self._live[reference].twin is None:
                    late[reference] = running.begun + patience * len(running.jobs)
        return late

    def _begin_twice(self, reference: Any, idle: list[int]) -> None:
        """Has one of the idle workers do the same, on another node if there is one: a whole node may be slow."""
        original = self._live[reference]
        elsewhere = [worker for worker in idle if self._places[worker].node != self._places[original.worker].node]
        worker = (elsewhere or idle)[-1]
        idle.remove(worker)
        copy = self._dispatch(worker, original.jobs)
        original.twin, self._live[copy].twin = copy, reference

    def _next_late(self) -> float:
        """When ``_speculate`` should look again."""
        if self._waiting or self._alone or all(self._queues.values()):
            return math.inf
        return min(self._late_at().values(), default=math.inf)

    def _next_deadline(self) -> float:
        return min((batch.deadline for batch in self._live.values()), default=math.inf)
