"""Where evaluations run: in this process, on a virtual clock, or (``ray_executor.py``) on a Ray cluster.

The search hands over jobs with ``submit`` and collects finished trials with ``wait``. An executor never talks to
the controller.
"""

from __future__ import annotations

import contextlib
import heapq
import math
import operator
import signal
import threading
import time
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import NamedTuple

from archsearch.checks import at_least_one
from archsearch.errors import UsageError
from archsearch.evaluator import Evaluator
from archsearch.history import RESERVED_COLUMNS
from archsearch.trial import COST_FIELDS, NO_COST, Architecture, Budget, Cost, Evaluation, Query, Trial

FAILURES = ("exception", "invalid_score", "timeout", "worker_died", "out_of_memory")
FAULTS = (*FAILURES, "node_died", "driver_died")
"""Kinds of faults: a try that failed, a worker or node that was lost, an earlier session that did not end in order."""

Log = Callable[[str], None]


class Job(NamedTuple):
    """An evaluation to be done.

    Attributes:
        id: Id of the trial.
        architecture: What to score.
        parent: Id of the parent trial, if any.
        seed: Seed of the evaluation.
        asked_at: Seconds on the run's clock when it was proposed or, if it failed before, tried again.
        attempt: 1 for the first try.
        avoid: Worker that failed the last try; -1 if there is none.
        budget: How long to train; None: full length.
    """

    id: int
    architecture: Architecture
    parent: int | None
    seed: int
    asked_at: float
    attempt: int = 1
    avoid: int = -1
    budget: Budget | None = None

    @property
    def query(self) -> Query:
        """What the evaluator is asked."""
        return Query(self.id, self.architecture, self.seed, self.parent, self.budget)


class Outcome(NamedTuple):
    """What ``evaluate_safely`` returns: an evaluation, or the kind and text of a failure; and the seconds it took."""

    evaluation: Evaluation | None
    seconds: float
    failure: str = ""
    error: str = ""


class Fault(NamedTuple):
    """Something that went wrong, whether or not a trial failed for it in the end.

    Attributes:
        kind: One of ``FAULTS``.
        error: What is known of it.
        worker: The worker that it happened to; -1 if to none, or to several.
        trial: The trial whose try failed; None if none is to blame.
    """

    kind: str
    error: str
    worker: int = -1
    trial: int | None = None


class Executor:
    """Base class of the executors.

    Attributes:
        name: As in the run folder's ``config.yaml`` and on the command line.
        concurrent: Whether several trials can be pending at once.
        batch: Jobs that are evaluated together.
        timeout: Seconds that the search gives one evaluation; for one-off work that is done on it before it starts.
        on_fault: Told of what goes wrong and is no failed trial, such as a worker that dies between two evaluations.
    """

    name: str
    concurrent: bool = False
    batch: int = 1
    timeout: float | None = None
    on_fault: Callable[[Fault], None] | None = None

    def set_batch(self, batch: int, one_by_one: bool = False) -> None:
        """Says how to evaluate together; called before ``start``.

        Args:
            batch: Up to so many jobs, >= 1.
            one_by_one: Whether the jobs of a batch are asked for and submitted one by one (with a lag).

        Raises:
            UsageError: If this executor cannot do that.
        """
        self.batch = batch

    def check(self, evaluator: Evaluator) -> None:
        """Raises ``UsageError`` if the evaluator cannot be used here as asked; called before anything is written."""

    def start(self, evaluator: Evaluator, clock: float, timeout: float | None, log: Log) -> None:
        """Gets ready; ``clock`` is where the run's clock stands (0 for a new run), in seconds."""
        raise NotImplementedError

    def now(self) -> float:
        """Seconds on the run's clock."""
        raise NotImplementedError

    def room(self, remaining: int | None) -> int:
        """How many jobs it would take now; ``remaining``: how many trials are still to be asked for, if known."""
        raise NotImplementedError

    def submit(self, job: Job) -> None:
        """Takes a job."""
        raise NotImplementedError

    def wait(self, until: float) -> list[Trial]:
        """Finished trials; waits for at least one, unless there is none pending or the clock reaches ``until``."""
        raise NotImplementedError

    def update(self, evaluator: Evaluator) -> None:
        """Has the evaluator, which has advanced, take the place of the one so far; called with no job pending."""

    def stop(self) -> None:
        """Frees what ``start`` took; pending jobs are dropped."""

    def held(self) -> contextlib.AbstractContextManager[None]:
        """For several searches one after another: inside, what takes long to start is kept between them."""
        return contextlib.nullcontext()


class LocalExecutor(Executor):
    """Evaluates in this process, one after another: the same trials for the same seed, on any machine."""

    name = "local"
    _fills = False

    def set_batch(self, batch: int, one_by_one: bool = False) -> None:
        """See ``Executor.set_batch``."""
        self.batch = batch
        self.concurrent = batch > 1
        self._fills = one_by_one and batch > 1

    def start(self, evaluator: Evaluator, clock: float, timeout: float | None, log: Log) -> None:
        """See ``Executor.start``."""
        self._evaluator = evaluator
        self._timeout = timeout
        self._origin = time.monotonic() - clock
        self._jobs: deque[Job] = deque()  # several only after the resume of a parallel run

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
        if self.batch > 1 and evaluates_batches(self._evaluator):
            return self._wait_for_batch()
        job = self._jobs[0]
        started = self.now()
        outcome = evaluate_safely(self._evaluator, job.query, self._timeout)
        self._jobs.popleft()
        return [finished(job, outcome, started, 0)]

    def _wait_for_batch(self) -> list[Trial]:
        jobs = [self._jobs[i] for i in range(min(self.batch, len(self._jobs)))]
        started = self.now()
        outcomes = evaluate_batch_safely(self._evaluator, [job.query for job in jobs], self._timeout)
        for _ in jobs:
            self._jobs.popleft()
        return finished_batch(jobs, outcomes, started, 0)


class SimulatedExecutor(Executor):
    """Replays recorded costs on a virtual clock: thousands of workers for hours, in seconds.

    An evaluation occupies its worker for the seconds that it bills (``Cost.billed_seconds``; one that bills nothing for
    the time it really took; a failed one for none, since real time would make the path depend on the machine). Equal
    seeds then give equal trials, on any machine, if the bill does not depend on the machine: a table's does not, a real
    training's does.

    Args:
        workers: Virtual workers, >= 1.
    """

    name = "simulated"
    concurrent = True

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


def finished(job: Job, outcome: Outcome, started: float, worker: int) -> Trial:
    """The trial that a job and its outcome make."""
    return Trial(
        job.id,
        job.architecture,
        job.parent,
        outcome.evaluation,
        job.seed,
        started,
        outcome.seconds,
        worker,
        job.attempt,
        outcome.failure,
        outcome.error,
        job.budget,
    )


def finished_batch(jobs: Sequence[Job], outcomes: Sequence[Outcome], started: float, worker: int) -> list[Trial]:
    """The trials that jobs and their outcomes make, one after another from ``started``."""
    trials = []
    for job, outcome in zip(jobs, outcomes, strict=True):
        trials.append(finished(job, outcome, started, worker))
        started += outcome.seconds
    return trials


def prepare(evaluator: Evaluator, before: Cost = NO_COST) -> Cost:
    """Has a started evaluator do its one-off work.

    Args:
        evaluator: Whose.
        before: What that has cost in earlier sessions of the run.

    Returns:
        What it has cost so far, with the wall time measured.
    """
    begun = time.perf_counter()
    cost = evaluator.prepare()
    seconds = time.perf_counter() - begun
    if not _is_amount(cost):
        raise UsageError(f"{type(evaluator).__name__}.prepare: {_expected_amounts(cost)}")
    if not evaluator.keeps_files:
        return before + _timed(cost, seconds)
    # Its other amounts have the earlier sessions in them; its wall time too, if it says one.
    return _timed(cost, max(cost.wall_seconds, seconds) if cost.wall_seconds else before.wall_seconds + seconds)


def prepare_below(evaluator: Evaluator, below: Evaluator, before: Cost = NO_COST) -> Cost:
    """Has an evaluator that another one asks do its one-off work, with the other's workers and listener.

    Args:
        evaluator: The one that is being prepared.
        below: The one that it asks.
        before: What that has cost in earlier sessions of the run.
    """
    below.on_progress, below.executor = evaluator.on_progress, evaluator.executor
    try:
        return prepare(below, before)
    finally:
        below.on_progress = below.executor = None


def advance(evaluator: Evaluator, sample: Sequence[Trial]) -> Cost:
    """Has an evaluator learn on from a sample; returns the cost of that, with the wall time measured."""
    begun = time.perf_counter()
    cost = evaluator.advance(sample)
    seconds = time.perf_counter() - begun
    if evaluator.keeps_files:  # it may have found in its folder that this was done, and how long it took
        seconds = max(cost.wall_seconds, seconds)
    return _timed(cost, seconds)


def _timed(cost: Cost, seconds: float) -> Cost:
    """The cost with this wall time, in Python's own numbers."""
    return Cost(*map(float, (seconds, *_amounts(cost)[1:])))


def evaluate_safely(evaluator: Evaluator, query: Query, timeout: float | None = None) -> Outcome:
    """Answers one query; whatever goes wrong becomes a failure, never an exception.

    Only ``KeyboardInterrupt`` and other requests to end the process pass through.
    """
    start = time.perf_counter()
    try:
        if timeout is None:
            evaluation = evaluator.evaluate_query(query)
        else:
            with _alarm(timeout):
                evaluation = evaluator.evaluate_query(query)
        failure, error = _judge(evaluation, evaluator)
        if not failure:
            evaluation = _plain(evaluation)
    except EvaluationTimeout:
        failure, error = "timeout", f"no result within {timeout:g} s"
    except MemoryError:
        failure, error = "out_of_memory", traceback.format_exc(limit=-3)
    except Exception:
        failure, error = "exception", traceback.format_exc(limit=-3)
    seconds = time.perf_counter() - start
    if failure:
        return Outcome(None, seconds, failure, error)
    return Outcome(evaluation, seconds)


def evaluates_batches(evaluator: Evaluator) -> bool:
    """Whether it has an ``evaluate_batch`` of its own."""
    return type(evaluator).evaluate_batch is not Evaluator.evaluate_batch


def evaluate_batch_safely(
    evaluator: Evaluator, queries: Sequence[Query], timeout: float | None = None
) -> list[Outcome]:
    """Answers queries together, if the evaluator has a way of its own to do that; failures as ``evaluate_safely``.

    If they cannot be answered together, each is answered alone, so that one that fails does not take the others along.

    Args:
        evaluator: Who answers.
        queries: What is asked.
        timeout: Seconds for each; together they have as many times that.

    Returns:
        One outcome a query, in their order. The time that was spent together is shared evenly.
    """
    if len(queries) == 1 or not evaluates_batches(evaluator):
        return [evaluate_safely(evaluator, query, timeout) for query in queries]
    name, n = f"{type(evaluator).__name__}.evaluate_batch", len(queries)
    evaluations: Sequence[Evaluation] | None = None
    start = time.perf_counter()
    try:
        with contextlib.nullcontext() if timeout is None else _alarm(timeout * n):
            evaluations = evaluator.evaluate_batch(list(queries))
        problem = "" if len(evaluations) == n else f"{name}: expected {n} evaluations, got {len(evaluations)}"
    except EvaluationTimeout:
        problem = f"{name}: no result within {n} x {timeout:g} s"
    except Exception:
        problem = traceback.format_exc(limit=-3)
    each = (time.perf_counter() - start) / n
    if evaluations is not None and not problem:
        return [_outcome(evaluation, evaluator, each) for evaluation in evaluations]
    outcomes = [evaluate_safely(evaluator, query, timeout) for query in queries]
    if not any(outcome.failure for outcome in outcomes):  # else those that failed say why
        warnings.warn(f"{n} architectures were evaluated one by one, not together: {problem}", stacklevel=2)
    return [outcome._replace(seconds=each + outcome.seconds) for outcome in outcomes]


def _outcome(evaluation: Evaluation, evaluator: Evaluator, seconds: float) -> Outcome:
    """One of the answers that came together, judged."""
    try:
        failure, error = _judge(evaluation, evaluator)
        if not failure:
            return Outcome(_plain(evaluation), seconds)
    except Exception:
        failure, error = "exception", traceback.format_exc(limit=-3)
    return Outcome(None, seconds, failure, error)


def _judge(evaluation: object, evaluator: Evaluator) -> tuple[str, str]:
    if not isinstance(evaluation, Evaluation):
        got = f"{type(evaluation).__name__} {evaluation!r}"
        return "exception", f"{type(evaluator).__name__}.evaluate: expected an Evaluation, got {got}"
    if not isinstance(evaluation.score, (int, float)) and not hasattr(evaluation.score, "__float__"):
        return "exception", f"{type(evaluator).__name__}.evaluate: expected a number as score, got {evaluation.score!r}"
    if not math.isfinite(evaluation.score):
        return "invalid_score", f"{type(evaluator).__name__}.evaluate: the score is {evaluation.score}, not finite"
    if not isinstance(evaluation.metrics, Mapping) or not isinstance(evaluation.cost, Cost):
        got = f"{type(evaluation.metrics).__name__} and {type(evaluation.cost).__name__}"
        return "exception", f"{type(evaluator).__name__}.evaluate: expected a mapping as metrics and a Cost, got {got}"
    if evaluation.cost is not NO_COST and not _is_amount(evaluation.cost):
        return "exception", f"{type(evaluator).__name__}.evaluate: {_expected_amounts(evaluation.cost)}"
    if reserved := RESERVED_COLUMNS.intersection(evaluation.metrics):
        names = ", ".join(sorted(reserved))
        return "exception", f"{type(evaluator).__name__}.evaluate: rename the metrics {names}, which are columns"
    return "", ""


def _is_amount(cost: Cost) -> bool:
    return all(0 <= amount < math.inf for amount in _amounts(cost))


def _expected_amounts(cost: Cost) -> str:
    return f"expected finite amounts >= 0 as cost, got {cost}"


_PLAIN = {int, float}
_amounts = operator.attrgetter(*COST_FIELDS)


def _plain(evaluation: Evaluation) -> Evaluation:
    """The same in Python's own numbers: the journal cannot hold those of NumPy or torch."""
    score, metrics, cost, curve = evaluation
    types = {type(score), *map(type, metrics.values()), *map(type, curve)}
    if cost is not NO_COST:
        types.update(map(type, _amounts(cost)))
    if types <= _PLAIN:  # the usual case, and the quick one
        return evaluation
    if cost is not NO_COST:
        cost = Cost(*map(float, _amounts(cost)))
    plain = {name: float(value) for name, value in metrics.items()}
    return Evaluation(float(score), plain, cost, tuple(map(float, curve)))


class EvaluationTimeout(BaseException):
    """Raised inside an evaluation that takes too long; no ``except Exception`` of the evaluator swallows it."""


class _alarm:
    """Raises ``EvaluationTimeout`` in the main thread after some seconds, by the operating system's timer.

    Code that never returns to the interpreter (a hanging native call) is not interrupted; on Ray the driver then
    kills the worker.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._usable = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> None:
        if self._usable:
            self._before = signal.signal(signal.SIGALRM, self._ring)
            signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def __exit__(self, *_: object) -> None:
        if self._usable:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._before)

    @staticmethod
    def _ring(_signal: int, _frame: FrameType | None) -> None:
        raise EvaluationTimeout
