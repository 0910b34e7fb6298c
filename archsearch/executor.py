"""Where evaluations run: here (``local_executor.py``), on a virtual clock, or on a Ray cluster (``ray_executor.py``).

The search hands over jobs with ``submit`` and collects finished trials with ``wait``. An executor never talks to
the controller.
"""

from __future__ import annotations

import contextlib
import dataclasses
import heapq
import os
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import NamedTuple

from archsearch.checks import at_least_one
from archsearch.errors import ArchsearchError, UsageError
from archsearch.evaluator import Evaluator
from archsearch.gate import Refused, admit, admit_cost
from archsearch.texts import shortened
from archsearch.trial import NO_COST, Architecture, Budget, Cost, Evaluation, Query, Trial

FAILURES = ("exception", "invalid_score", "timeout", "worker_died", "out_of_memory")
FAULTS = (*FAILURES, "node_died", "driver_died")
"""Kinds of faults: a try that failed, a worker or node that was lost, an earlier session that did not end in order."""

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals whose handlers may raise something that an evaluation is not to swallow."""

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
        lost_seconds: Wall seconds of the tries before this one.
        spared: Tries before this one that it is not to blame for: they were lost with a worker that others shared.
    """

    id: int
    architecture: Architecture
    parent: int | None
    seed: int
    asked_at: float
    attempt: int = 1
    avoid: int = -1
    budget: Budget | None = None
    lost_seconds: float = 0.0
    spared: int = 0

    @property
    def query(self) -> Query:
        """What the evaluator is asked."""
        return Query(self.id, self.architecture, self.seed, self.parent, self.budget)

    def lost(self, seconds: float) -> Job:
        """The job after a try that took so many seconds and was lost, for which it is not to blame."""
        return self._replace(attempt=self.attempt + 1, lost_seconds=self.lost_seconds + seconds, spared=self.spared + 1)


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
        judges: Whether its trials come from ``evaluate_safely``, which judges evaluations; else the search does.
        batch: Jobs that are evaluated together.
        timeout: Seconds that the search gives one evaluation; for what is done on it before it starts.
        on_fault: Told of what goes wrong and is no failed trial, such as a worker that dies between two evaluations.
        on_loss: Told of jobs whose try was lost with a worker and which are tried again, as they are now.
    """

    name: str
    concurrent: bool = False
    judges: bool = False
    batch: int = 1
    timeout: float | None = None
    on_fault: Callable[[Fault], None] | None = None
    on_loss: Callable[[Sequence[Job]], None] | None = None

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
        outcome.error and shortened(outcome.error),
        job.budget,
        job.lost_seconds,
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
    with _no_exit(f"{type(evaluator).__name__}.prepare"):
        cost = admit_cost(evaluator.prepare(), f"{type(evaluator).__name__}.prepare")
    seconds = time.perf_counter() - begun
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
    with _no_exit(f"{type(evaluator).__name__}.advance"):
        cost = admit_cost(evaluator.advance(sample), f"{type(evaluator).__name__}.advance")
    seconds = time.perf_counter() - begun
    if evaluator.keeps_files:  # it may have found in its folder that this was done, and how long it took
        seconds = max(cost.wall_seconds, seconds)
    return _timed(cost, seconds)


@contextlib.contextmanager
def _no_exit(what: str) -> Iterator[None]:
    """Makes ``SystemExit`` an error that says who it was, else the program would end with its status and no word."""
    try:
        yield
    except SystemExit as error:
        if asked_to_end(error):
            raise
        raise ArchsearchError(f"{what}: it called sys.exit({error.code!r})") from error


def _timed(cost: Cost, seconds: float) -> Cost:
    """The cost with this wall time."""
    return dataclasses.replace(cost, wall_seconds=seconds)


def evaluate_safely(evaluator: Evaluator, query: Query, timeout: float | None = None) -> Outcome:
    """Answers one query; whatever goes wrong becomes a failure, never an exception.

    ``SystemExit`` and its kin are failures like others. Only what a signal's handler raises passes through: it is meant
    for the process, such as the ``KeyboardInterrupt`` of Ctrl-C.

    Args:
        evaluator: Who answers.
        query: What is asked.
        timeout: Seconds. An alarm of the process interrupts what takes longer: only in the main thread, and neither
            native code that never returns nor an evaluator that sets an alarm of its own.
    """
    start, process = time.perf_counter(), os.getpid()
    try:
        if timeout is None:
            evaluation = admit(evaluator.evaluate_query(query))
        else:
            with _alarm(timeout):
                evaluation = admit(evaluator.evaluate_query(query))
        _only_in(process)
        return Outcome(evaluation, time.perf_counter() - start)
    except Refused as refused:
        _only_in(process, refused)
        failure, error = refused.kind, _refusal(evaluator, refused)
    except BaseException as raised:
        _only_in(process, raised)
        if asked_to_end(raised):
            raise
        failure, error = _failure(raised, timeout)
    return Outcome(None, time.perf_counter() - start, failure, shortened(error))


def asked_to_end(error: BaseException) -> bool:
    """Whether an exception was raised by the handler of a signal that asks this process to end, such as Ctrl-C."""
    if isinstance(error, Exception) or threading.current_thread() is not threading.main_thread():
        return False  # handlers run in the main thread
    if isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        return True  # it leaves no trace in the traceback
    handlers = {getattr(signal.getsignal(each), "__code__", None) for each in ENDING_SIGNALS} - {None}
    return any(frame.f_code in handlers for frame, _ in traceback.walk_tb(error.__traceback__))


def _only_in(process: int, error: BaseException | None = None) -> None:
    """Ends this process if it is a fork that an evaluator made and let return: only one of the two is to go on here."""
    if os.getpid() == process:
        return
    code = getattr(error, "code", 1 if error else 0)
    os._exit(code if isinstance(code, int) else int(code is not None))


def _failure(error: BaseException, timeout: float | None = None) -> tuple[str, str]:
    """Kind and text of the failure that an exception makes."""
    if isinstance(error, EvaluationTimeout):
        return "timeout", f"no result within {timeout:g} s"
    if not _is_out_of_memory(error):
        return "exception", _text(error)
    traceback.clear_frames(error.__traceback__)  # lets go of what filled it: the text needs some
    try:
        return "out_of_memory", _text(error)
    except MemoryError:
        return "out_of_memory", "MemoryError"


def _text(error: BaseException) -> str:
    return "".join(traceback.format_exception(error, limit=-3))


def _is_out_of_memory(error: BaseException) -> bool:
    """Also as torch words it: its errors are no ``MemoryError``, and it need not be imported to know them."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def evaluates_batches(evaluator: Evaluator) -> bool:
    """Whether it has an ``evaluate_batch`` of its own."""
    return type(evaluator).evaluate_batch is not Evaluator.evaluate_batch


class Together(NamedTuple):
    """What ``evaluate_together`` returns: outcomes, or why there are none; and the seconds it took for each query."""

    outcomes: list[Outcome]
    seconds: float
    problem: str = ""


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
    together = evaluate_together(evaluator, queries, timeout)
    if together.outcomes:
        return together.outcomes
    return evaluate_one_by_one(
        together, [evaluate_safely(evaluator, query, timeout) for query in queries], stacklevel=3
    )


def evaluate_together(evaluator: Evaluator, queries: Sequence[Query], timeout: float | None = None) -> Together:
    """Answers queries by the evaluator's own ``evaluate_batch``; arguments as those of ``evaluate_batch_safely``."""
    name, n = f"{type(evaluator).__name__}.evaluate_batch", len(queries)
    evaluations: Sequence[Evaluation] = ()
    start, process = time.perf_counter(), os.getpid()
    try:
        with contextlib.nullcontext() if timeout is None else _alarm(timeout * n):
            evaluations = evaluator.evaluate_batch(list(queries))
        _only_in(process)
        problem = "" if len(evaluations) == n else f"{name}: expected {n} evaluations, got {len(evaluations)}"
    except EvaluationTimeout:
        _only_in(process)
        problem = f"{name}: no result within {n} x {timeout:g} s"
    except BaseException as error:
        _only_in(process, error)
        if asked_to_end(error):
            raise
        problem = shortened(_failure(error)[1])
    each = (time.perf_counter() - start) / n
    if problem:
        return Together([], each, problem)
    return Together([_outcome(evaluation, evaluator, each) for evaluation in evaluations], each)


def evaluate_one_by_one(together: Together, alone: Sequence[Outcome], stacklevel: int = 2) -> list[Outcome]:
    """Outcomes of queries that were answered alone since they could not be together; says so if none failed."""
    if not any(outcome.failure for outcome in alone):  # else those that failed say why
        text = f"{len(alone)} architectures were evaluated one by one, not together: {together.problem}"
        warnings.warn(text, stacklevel=stacklevel)
    return [outcome._replace(seconds=together.seconds + outcome.seconds) for outcome in alone]


def _outcome(evaluation: Evaluation, evaluator: Evaluator, seconds: float) -> Outcome:
    """One of the answers that came together, judged."""
    try:
        return Outcome(admit(evaluation), seconds)
    except Refused as refused:
        return Outcome(None, seconds, refused.kind, _refusal(evaluator, refused))
    except Exception as raised:
        failure, error = _failure(raised)
    return Outcome(None, seconds, failure, shortened(error))


def _refusal(evaluator: Evaluator, refused: Refused) -> str:
    return f"{type(evaluator).__name__}.evaluate: {refused}"


class EvaluationTimeout(BaseException):
    """Raised inside an evaluation that takes too long; no ``except Exception`` of the evaluator swallows it."""


class _alarm:
    """Raises ``EvaluationTimeout`` in the main thread after some seconds, by the operating system's timer.

    For workers on Ray, whose driver kills those that this does not interrupt. An evaluator that swallows it is too
    late all the same.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._usable = threading.current_thread() is threading.main_thread()
        self._rang = False

    def __enter__(self) -> None:
        if self._usable:
            self._before = signal.signal(signal.SIGALRM, self._ring)
            signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def __exit__(self, *_: object) -> None:
        if self._usable:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._before)
        if self._rang:
            raise EvaluationTimeout

    def _ring(self, _signal: int, _frame: FrameType | None) -> None:
        self._rang = True
        raise EvaluationTimeout
