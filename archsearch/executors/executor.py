"""Where evaluations run: here (``local.py``), on a virtual clock (``simulated.py``), or on a Ray cluster (``ray/``).

The search hands over jobs with ``submit`` and collects finished trials with ``wait``. An executor never talks to
the controller.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Sequence
from typing import NamedTuple

from archsearch.errors import UsageError
from archsearch.evaluator import Evaluator
from archsearch.trial import Architecture, Budget, Evaluation, Query, Trial, Used

FAILURES = ("exception", "invalid_score", "timeout", "worker_died", "out_of_memory", "refused")
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
        repeat_of: See ``Trial``.
        proposed_by: See ``Trial``.
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
    repeat_of: int | None = None
    proposed_by: str = ""

    @property
    def query(self) -> Query:
        """What the evaluator is asked."""
        return Query(self.id, self.architecture, self.seed, self.parent, self.budget)

    def lost(self, seconds: float) -> Job:
        """The job after a try that took so many seconds and was lost, for which it is not to blame."""
        return self._replace(attempt=self.attempt + 1, lost_seconds=self.lost_seconds + seconds, spared=self.spared + 1)


class Outcome(NamedTuple):
    """What ``evaluate_safely`` returns: an evaluation, or the kind and text of a failure; what it took and used."""

    evaluation: Evaluation | None
    seconds: float
    failure: str = ""
    error: str = ""
    used: Used | None = None


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
        wakes: Whether ``wait`` returns when its time is over, whatever is under way, so that a search can be steered
            meanwhile.
        timeout: Seconds that the search gives one evaluation; for what is done on it before it starts.
        on_fault: Told of what goes wrong and is no failed trial, such as a worker that dies between two evaluations.
        on_loss: Told of jobs whose try was lost with a worker and which are tried again, as they are now.
    """

    name: str
    concurrent: bool = False
    judges: bool = False
    batch: int = 1
    wakes: bool = False
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

    # -- a search that is steered while it runs; nothing of this is needed otherwise ----------------

    def resize(self, workers: int) -> None:
        """Evaluates so many jobs at once from now on, or from ``start`` on.

        Raises:
            UsageError: If it cannot.
        """
        raise UsageError(f"workers: the executor {self.name} cannot change how many it has")

    def set_timeout(self, seconds: float | None) -> None:
        """Gives evaluations so many seconds from now on.

        Raises:
            UsageError: If it cannot.
        """
        raise UsageError(f"timeout: the executor {self.name} cannot change it while it runs")

    def interrupt(self, id_: int) -> bool:
        """Ends an evaluation that ``wait`` is at; called by another thread. False: it is at none of that id."""
        return False

    def stuck_in(self, id_: int) -> bool:
        """Whether ``wait`` is at an evaluation of that id which cannot be ended; called by another thread."""
        return False

    def drop(self, id_: int) -> float:
        """Lets go of a pending job, whose result is of no use any more; called between two waits.

        Returns:
            Seconds that it took so far, as far as is known.
        """
        return 0.0

    def skip(self, seconds: float) -> None:
        """Takes wall seconds in which a search was paused off the run's clock; called with no job pending."""

    def stop(self) -> None:
        """Frees what ``start`` took; pending jobs are dropped."""

    def held(self) -> contextlib.AbstractContextManager[None]:
        """For several searches one after another: inside, what takes long to start is kept between them."""
        return contextlib.nullcontext()
