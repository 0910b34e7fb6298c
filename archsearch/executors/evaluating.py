"""How an evaluator is prepared and asked: whatever goes wrong becomes a failure that is billed."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import NamedTuple

from archsearch.basics.texts import shortened
from archsearch.errors import ArchsearchError, InvalidArchitecture
from archsearch.evaluator import Evaluator
from archsearch.executors.executor import ENDING_SIGNALS, Job, Outcome
from archsearch.executors.gate import Refused, admit, admit_cost
from archsearch.executors.usage import GAUGE
from archsearch.trial import NO_COST, Cost, Evaluation, Query, Trial


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
        job.repeat_of,
        job.proposed_by,
        outcome.used,
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
    GAUGE.begin()
    start, process = time.perf_counter(), os.getpid()
    try:
        if timeout is None:
            evaluation = admit(evaluator.evaluate_query(query))
        else:
            with _alarm(timeout):
                evaluation = admit(evaluator.evaluate_query(query))
        _only_in(process)
        seconds = time.perf_counter() - start
        return Outcome(evaluation, seconds, used=GAUGE.end(seconds))
    except Refused as refused:
        _only_in(process, refused)
        failure, error = refused.kind, _refusal(evaluator, refused)
    except BaseException as raised:
        _only_in(process, raised)
        if asked_to_end(raised):
            raise
        failure, error = _failure(raised, timeout)
    seconds = time.perf_counter() - start
    return Outcome(None, seconds, failure, shortened(error), GAUGE.end(seconds))


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
    if isinstance(error, InvalidArchitecture):
        return "refused", str(error)
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
