"""The one search loop: asks the controller, hands jobs to an executor, keeps the history, tells the controller.

    result = search(NASBench201(), RegularizedEvolution(), Tabular(), trials=1000, seed=0)

Order of events for a trial: proposed, (journal: asked), evaluated, journal: finished, told. So whatever the
controller knows is on disk, and a search goes on from its folder by replaying the journal.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import math
import platform
import signal
import tempfile
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

from archsearch.components import build, describe, one_line
from archsearch.controller import Controller
from archsearch.errors import (
    InvalidArchitecture,
    RunFolderError,
    StorageError,
    TooManyFailures,
    UnknownName,
    UsageError,
)
from archsearch.evaluator import Evaluator
from archsearch.executor import FAILURES, Executor, Job, LocalExecutor, SimulatedExecutor, prepare
from archsearch.history import (
    History,
    RunFolder,
    event_to_trial,
    known_evaluations,
    memory_key,
    training_seed,
    trial_to_event,
)
from archsearch.seeding import root_seed
from archsearch.space import Space
from archsearch.trial import COST_FIELDS, NO_COST, Budget, Cost, Evaluation, Trial

if TYPE_CHECKING:
    from archsearch.progress import Display

ExecutorName = Literal["local", "ray", "simulated"]
Duplicates = Literal["evaluate", "reuse"]

DEFAULT_RETRIES: Mapping[str, int] = {"worker_died": 3, "out_of_memory": 1}
MAX_REUSED_IN_A_ROW = 2_000
MAX_ANSWERED = 5_000
"""Proposals answered from memory that are remembered as such: what is derived from an older one has no known parent."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """When a search stops and how it treats failures and repeats.

    Args:
        trials: Stop after this many completed trials.
        max_seconds: Stop when the run's clock (virtual for ``simulated``) reaches this many seconds.
        max_cost: Stop when the trials, failed ones included, have billed this many seconds; the trial that crosses the
            limit counts.
        target: Stop when the best trial (of those trained longest) scores at least this.
        duplicates: ``evaluate`` scores an architecture again whenever it is proposed; ``reuse`` answers an architecture
            whose canonical form was scored before from memory: free of charge, no trial.
        lag: Ask for trial k only when all results up to k - lag have been told, in id order. The path of the search
            then depends on the seed alone, not on the number of workers. None: as results come.
        timeout: Seconds after which one evaluation is given up.
        retries: How often a failed evaluation is tried again, by kind: exception, invalid_score, timeout, worker_died,
            out_of_memory. Kinds that are not named keep the default: 3 for worker_died, 1 for out_of_memory, else 0.
        max_failures: Give up after this many failed trials in a row, with the error of the first.

    Raises:
        UsageError: If a value is out of range, or nothing would ever stop the search.
    """

    trials: int | None = None
    max_seconds: float | None = None
    max_cost: float | None = None
    target: float | None = None
    duplicates: Duplicates = "evaluate"
    lag: int | None = None
    timeout: float | None = None
    retries: Mapping[str, int] | None = None
    max_failures: int = 10

    def __post_init__(self) -> None:
        limits = {"trials": self.trials, "max_seconds": self.max_seconds, "max_cost": self.max_cost}
        if all(limit is None for limit in (*limits.values(), self.target)):
            raise UsageError("nothing would stop this search: give trials, max_seconds, max_cost or target")
        for name, limit in {
            **limits,
            "timeout": self.timeout,
            "lag": self.lag,
            "max_failures": self.max_failures,
        }.items():
            if limit is not None and not limit > 0:
                raise UsageError(f"{name}: expected a number above 0, got {limit!r}")
        if self.duplicates not in ("evaluate", "reuse"):
            raise UsageError(f"duplicates: expected 'evaluate' or 'reuse', got {self.duplicates!r}")
        for kind, times in (self.retries or {}).items():
            if kind not in FAILURES or not isinstance(times, int) or times < 0:
                raise UsageError(
                    f"retries: expected whole numbers >= 0 for any of {', '.join(FAILURES)}, got {kind}: {times}"
                )


@dataclasses.dataclass(frozen=True)
class Result:
    """What a search found and what it cost.

    Attributes:
        best: The completed trial with the highest score, or None: the first of equals; with budgets, of those that were
            trained longest.
        completed: Completed trials.
        failed: Failed trials.
        reused: Proposals that were answered from memory.
        cost: Cost of all evaluations.
        setup_cost: Cost of the evaluator's preparation.
        seconds: Seconds on the run's clock.
        stopped: Why it stopped: trials, max_seconds, max_cost, target, exhausted or interrupted.
        seed: The root seed; the same seed repeats the search.
        history: All trials: iterate over it, or call ``table()``.
        space: The space that was searched.
    """

    best: Trial | None
    completed: int
    failed: int
    reused: int
    cost: Cost
    setup_cost: Cost
    seconds: float
    stopped: str
    seed: int
    history: History
    space: Space

    @property
    def best_name(self) -> str | None:
        """The best architecture in the space's own notation."""
        return None if self.best is None else self.space.format(self.best.architecture)

    def __str__(self) -> str:
        lines = []
        if self.best is None:
            lines.append("best      none: no trial completed")
        else:
            metrics = "".join(f", {name} {value:,.6g}" for name, value in self.best.metrics.items())
            lines.append(f"best      {self.best_name}")
            length = f" at budget {self.best.budget.stop}" if self.best.budget else ""
            lines.append(f"          score {self.best.score:.6g}{length}{metrics} (trial {self.best.id})")
        counts = [f"{self.completed:,} completed", f"{self.failed:,} failed"]
        if self.reused:
            counts.append(f"{self.reused:,} repeats answered from memory")
        lines.append(f"trials    {', '.join(counts)}; stopped by {self.stopped}")
        lines.append(f"cost      {format_cost(self.cost)}; set-up {format_cost(self.setup_cost)}; seed {self.seed}")
        return "\n".join(lines)


def format_cost(cost: Cost) -> str:
    """A cost for people: the amounts that are not zero, with units."""
    parts = [f"{format_seconds(cost.wall_seconds)} on the run's clock"]
    if cost.recorded_seconds:
        parts.append(f"{format_seconds(cost.recorded_seconds)} recorded")
    if cost.device_seconds:
        parts.append(f"{format_seconds(cost.device_seconds)} on devices")
    for name, unit in (("examples", "examples"), ("updates", "updates"), ("flops", "FLOPs")):
        if amount := getattr(cost, name):
            parts.append(f"{amount:.4g} {unit}")
    return "nothing" if cost.wall_seconds < 0.001 and len(parts) == 1 else ", ".join(parts)


def format_seconds(seconds: float) -> str:
    """Seconds in the largest unit that fits."""
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.3g} s"


def search(
    space: Space,
    controller: Controller,
    evaluator: Evaluator,
    *,
    trials: int | None = None,
    max_seconds: float | None = None,
    max_cost: float | None = None,
    target: float | None = None,
    seed: int | None = None,
    executor: ExecutorName | Executor = "local",
    workers: int = 1,
    out: str | Path | None = None,
    duplicates: Duplicates = "evaluate",
    lag: int | None = None,
    timeout: float | None = None,
    retries: Mapping[str, int] | None = None,
    max_failures: int = 10,
    on_trial: Callable[[Trial], None] | None = None,
    progress: bool = False,
) -> Result:
    """Searches a space.

    Args:
        space: What is searched.
        controller: Who proposes.
        evaluator: Who scores.
        trials: See ``Settings``; so for max_seconds, max_cost, target, duplicates, lag, timeout, retries, max_failures.
        max_seconds: See ``Settings``.
        max_cost: See ``Settings``.
        target: See ``Settings``.
        seed: Root seed, >= 0; None draws one and records it.
        executor: ``local``, ``ray``, ``simulated``, or an ``Executor`` with settings of its own.
        workers: Parallel evaluations (``ray``, ``simulated``).
        out: Folder to keep the run in, so that it can be resumed; None keeps it in memory.
        duplicates: See ``Settings``.
        lag: See ``Settings``.
        timeout: See ``Settings``.
        retries: See ``Settings``.
        max_failures: See ``Settings``.
        on_trial: Called with every finished trial, after the controller was told.
        progress: Whether to show a progress bar and notes on standard error.

    Raises:
        UsageError: If something cannot be as asked; nothing was evaluated then.
        TooManyFailures: After ``max_failures`` failed trials in a row.
    """
    settings = Settings(
        trials=trials,
        max_seconds=max_seconds,
        max_cost=max_cost,
        target=target,
        duplicates=duplicates,
        lag=lag,
        timeout=timeout,
        retries=retries,
        max_failures=max_failures,
    )
    seed = root_seed(seed)
    engine = make_executor(executor, workers)
    evaluator.start(space)
    evaluator.check_budgets(controller.budgets)
    folder = None
    if out is not None:
        folder = RunFolder.create(out, _config(space, controller, evaluator, settings, seed, executor, workers))
    history = History(space, seed, folder)
    loop = Search(space, controller, evaluator, engine, settings, history, on_trial, progress)
    return loop.run()


def resume(
    directory: str | Path,
    *,
    space: Space | None = None,
    controller: Controller | None = None,
    evaluator: Evaluator | None = None,
    executor: ExecutorName | Executor | None = None,
    workers: int | None = None,
    on_trial: Callable[[Trial], None] | None = None,
    progress: bool = False,
    **changes: Any,
) -> Result:
    """Goes on with a run from its folder.

    Args:
        directory: The run folder.
        space: The run's space, where it cannot be rebuilt from ``config.yaml``; must equal it.
        controller: The run's controller, likewise.
        evaluator: The run's evaluator, likewise.
        executor: Where to run from now on; None: as before.
        workers: Parallel evaluations from now on; None: as before.
        on_trial: See ``search``.
        progress: See ``search``.
        **changes: New values for fields of ``Settings``, such as ``trials=2000``.

    Raises:
        RunFolderError: If there is no run, it is in use, or it is of another space, controller or evaluator.
    """
    config = RunFolder(directory).config()
    space = _same(space, config["space"], f"{directory}: space")
    controller = _same(controller, config["controller"], f"{directory}: controller")
    evaluator = _same(evaluator, config["evaluator"], f"{directory}: evaluator")
    settings = _settings(config["settings"], changes)
    engine = make_executor(executor or config["executor"], workers or config["workers"])
    evaluator.start(space)
    evaluator.check_budgets(controller.budgets)
    history = History(space, config["seed"], RunFolder.open(directory))
    loop = Search(space, controller, evaluator, engine, settings, history, on_trial, progress)
    loop.recover()
    return loop.run()


def _same(given: Any, stored: dict[str, Any], what: str) -> Any:
    """``given`` if it is what was stored, else what was stored, rebuilt."""
    if given is None:
        return build(stored)
    if describe(given) != stored:
        raise RunFolderError(
            f"{what} differs: the run was made with {one_line(stored)}, got {one_line(describe(given))}; "
            "start a new run for another one"
        )
    return given


def _settings(stored: dict[str, Any], changes: dict[str, Any]) -> Settings:
    unknown = changes.keys() - stored.keys()
    if unknown:
        raise UnknownName(
            f"resume: no setting is called {', '.join(sorted(unknown))}; expected any of {', '.join(stored)}"
        )
    return Settings(**stored | {name: value for name, value in changes.items() if value is not None})


def make_executor(executor: ExecutorName | Executor, workers: int) -> Executor:
    """The executor of that name.

    Raises:
        UnknownName: If there is none.
    """
    if isinstance(executor, Executor):
        return executor
    if workers < 1:
        raise UsageError(f"workers: expected at least 1, got {workers}")
    if executor == "local":
        if workers != 1:
            raise UsageError(f"the local executor has one worker, got workers={workers}; use executor='ray' for more")
        return LocalExecutor()
    if executor == "simulated":
        return SimulatedExecutor(workers)
    if executor == "ray":
        from archsearch.ray_executor import RayExecutor

        return RayExecutor(workers)
    raise UnknownName(f"no executor is called {executor!r}; expected local, ray or simulated")


def _config(
    space: Space,
    controller: Controller,
    evaluator: Evaluator,
    settings: Settings,
    seed: int,
    executor: str | Executor,
    workers: int,
) -> dict[str, Any]:
    """Everything needed to run it again."""
    versions = {"python": platform.python_version()}
    versions |= {name: importlib.metadata.version(name) for name in ("archsearch", "numpy", "pyarrow", "torch", "ray")}
    if isinstance(executor, Executor):
        executor, workers = executor.name, getattr(executor, "workers", 1)
    return {
        "space": describe(space),
        "controller": describe(controller),
        "evaluator": describe(evaluator),
        "seed": seed,
        "settings": dataclasses.asdict(settings),
        "executor": executor,
        "workers": workers,
        "versions": versions,
    }


class _Interrupts:
    """Ctrl-C ends a search where its state is whole: at once while it waits, else before it waits again."""

    def __init__(self) -> None:
        self._requested = False
        self._at_once = True

    def __enter__(self) -> _Interrupts:
        self._usable = threading.current_thread() is threading.main_thread()
        if self._usable:
            self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._usable:
            signal.signal(signal.SIGINT, self._before)

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        self._requested = True
        if self._at_once:
            raise KeyboardInterrupt

    def hold_back(self) -> None:
        """From here on only ``wait`` is interrupted."""
        self._at_once = False

    def wait(self, executor: Executor, until: float) -> list[Trial]:
        """``executor.wait``, interrupted at once."""
        if self._requested:
            raise KeyboardInterrupt
        self._at_once = True
        try:
            return executor.wait(until)
        finally:
            self._at_once = False


class Search:
    """One search in progress. ``search`` and ``resume`` are the ways in.

    Args:
        space: What is searched.
        controller: Who proposes; started here.
        evaluator: Who scores; started already.
        executor: Where evaluations run.
        settings: When to stop, what to do about failures.
        history: Where trials go.
        on_trial: Called with every finished trial.
        progress: Whether to show a progress bar.
    """

    def __init__(
        self,
        space: Space,
        controller: Controller,
        evaluator: Evaluator,
        executor: Executor,
        settings: Settings,
        history: History,
        on_trial: Callable[[Trial], None] | None = None,
        progress: bool = False,
    ) -> None:
        self.space = space
        self.controller = controller
        self.evaluator = evaluator
        self.executor = executor
        self.settings = settings
        self.history = history
        self._on_trial = on_trial
        self._progress = progress
        self._retries = {**DEFAULT_RETRIES, **(settings.retries or {})}
        self._known: dict[Hashable, tuple[int, Evaluation]] | None = {} if settings.duplicates == "reuse" else None
        self._answered_by: dict[int, int] = {}  # of proposals answered from memory: the trial that was evaluated

        controller.start(space, history.seed)
        self._next_id = 0
        self._pending: dict[int, Job] = {}
        self._waiting: dict[int, Trial] = {}  # finished but, because of the lag, not yet told
        self._told_up_to = -1  # with a lag: all ids up to this one have been told
        self._clock = 0.0
        self._running = False
        self.completed = 0
        self.failed = 0
        self.reused = 0
        self._reused_in_a_row = 0
        self._failures_in_a_row = 0
        self._first_failure = ""
        self.best: Trial | None = None
        self._costs = [0.0] * len(COST_FIELDS)
        self.billed_seconds = 0.0
        self.setup_cost = NO_COST
        self._stopped: str | None = None

    # -- running -------------------------------------------------------------------------------

    def run(self) -> Result:
        """Searches until something stops it; the history is in good order whatever happens."""
        with _Interrupts() as self._interrupts:
            try:
                with self._display() as show, self._evaluator_folder():
                    self._stopped = self._why_stop()
                    if self._stopped is None:
                        self.setup_cost += prepare(self.evaluator)
                        self._execute(show)
            except StorageError:
                if self.history.folder:
                    self.history.folder.close()
                raise
            except BaseException:
                self.history.close(self._state)
                raise
            self.history.close(self._state)
        return self._result()

    def _execute(self, show: Display) -> None:
        self.executor.start(self.evaluator, self._clock, self.settings.timeout, show.log)
        self._running = True
        try:
            self._interrupts.hold_back()
            self._loop(show.update)
        finally:
            self._clock = self.executor.now()
            self._running = False
            self.executor.stop()

    def _loop(self, update: Callable[[Search], None]) -> None:
        for job in self._pending.values():  # of a resumed run
            self.executor.submit(job)
        until = self.settings.max_seconds or math.inf
        try:
            while self._stopped is None:
                self._fill()
                # With nothing pending, this waits for a worker to start.
                self._finish(self._interrupts.wait(self.executor, until))
                update(self)
                self._stopped = self._stopped or self._why_stop()
        except KeyboardInterrupt:
            self._stopped = "interrupted"

    @contextlib.contextmanager
    def _evaluator_folder(self) -> Iterator[None]:
        """Gives an evaluator that keeps files a folder: in the run folder, or for as long as the search runs."""
        if not self.evaluator.keeps_files:
            yield
            return
        with contextlib.ExitStack() as stack:
            if self.history.folder is not None:
                folder = (self.history.folder.path / "evaluator").absolute()
                folder.mkdir(exist_ok=True)
            else:  # workers that are being stopped may still write to it
                temporary = tempfile.TemporaryDirectory(prefix="archsearch-", ignore_cleanup_errors=True)
                folder = Path(stack.enter_context(temporary))
            self.evaluator.folder = folder
            stack.callback(setattr, self.evaluator, "folder", None)
            yield

    def _display(self) -> Display:
        from archsearch.progress import Display

        return Display(self.settings, self._progress)

    # -- asking --------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Asks for as many trials as the executor has room for."""
        while self._stopped is None:
            remaining = None
            if self.settings.trials is not None:
                remaining = self.settings.trials - self.completed - len(self._pending)
            room = self.executor.room(remaining)
            if remaining is not None and room > remaining:
                room = remaining
            if room < 1:
                return
            n, now = 1 if self.settings.lag else room, self.executor.now()
            jobs = self._ask(n, now)
            if jobs is None:
                return
            if self.executor.concurrent:  # here, not in _ask: a replay must not journal its events a second time
                self.history.asked(["a", n, now, [[job.id, job.architecture] for job in jobs]])
            for job in jobs:
                self.executor.submit(job)

    def _ask(self, n: int, now: float) -> list[Job] | None:
        """Asks the controller for ``n`` proposals; those with a known answer are told at once.

        Returns:
            The jobs to be done, or None if the lag forbids to ask now.
        """
        if self.settings.lag and not self._tell_up_to(self._next_id - self.settings.lag):
            return None
        jobs = []
        for proposal in self.controller.ask(n):
            self._next_id = proposal.id + 1
            if proposal.architecture not in self.space:
                raise InvalidArchitecture(
                    f"{type(self.controller).__name__} proposed {proposal.architecture!r}, which is not in "
                    f"{type(self.space).__name__}"
                )
            id_, architecture, parent, budget = proposal
            known = self._known.get(memory_key(self.space, architecture, budget)) if self._known is not None else None
            if known is not None:
                self._reuse(Trial(id_, architecture, parent, known[1], attempts=0, budget=budget), known[0])
                continue
            self._reused_in_a_row = 0
            # What a trial goes on from is with the one that was evaluated.
            parent = None if parent is None else self._answered_by.get(parent, parent)
            if budget is not None and budget.origin is not None:
                budget = budget._replace(origin=self._answered_by.get(budget.origin, budget.origin))
            seed = training_seed(self.history.seed, id_, budget)
            job = Job(id_, architecture, parent, seed, now, budget=budget)
            self._pending[job.id] = job
            jobs.append(job)
        return jobs

    def _reuse(self, trial: Trial, evaluated: int) -> None:
        self._answered_by[trial.id] = evaluated
        if len(self._answered_by) > MAX_ANSWERED:
            del self._answered_by[next(iter(self._answered_by))]
        self.reused += 1
        self._reused_in_a_row += 1
        if self._reused_in_a_row >= MAX_REUSED_IN_A_ROW and not self._pending:
            self._stopped = "exhausted"
        self._hand_over(trial)

    # -- finishing -----------------------------------------------------------------------------

    def _finish(self, trials: Sequence[Trial]) -> None:
        """Records trials, then tells the controller; failed ones may be tried again instead."""
        done = [trial for trial in trials if not (trial.failure and self._retry(trial))]
        if not done:
            return
        self.history.record(done)
        for trial in done:
            self._settle(trial)
        if self.history.full:
            self._clock = self.executor.now()
            self.history.compact(self._state)
        if self._failures_in_a_row >= self.settings.max_failures:
            raise TooManyFailures(
                f"{self._failures_in_a_row} trials failed one after another (max_failures="
                f"{self.settings.max_failures}). The first of them:\n{self._first_failure}"
            )

    def _retry(self, trial: Trial) -> bool:
        if trial.attempts > self._retries.get(trial.failure, 0):
            return False
        now = self.executor.now()
        job = self._pending[trial.id]._replace(attempt=trial.attempts + 1, avoid=trial.worker, asked_at=now)
        self._pending[trial.id] = job
        self.executor.submit(job)
        return True

    def _settle(self, trial: Trial) -> None:
        """Everything that follows from a finished trial that is on disk."""
        del self._pending[trial.id]
        self._count(trial)
        self._hand_over(trial)
        if self._on_trial is not None:
            self._on_trial(trial)

    def _count(self, trial: Trial) -> None:
        self._costs[0] += trial.seconds
        evaluation = trial.evaluation
        if evaluation is None:
            self.failed += 1
            if not self._failures_in_a_row:
                self._first_failure = (
                    f"trial {trial.id}, {self.space.format(trial.architecture)}: {trial.failure}: {trial.error}"
                )
            self._failures_in_a_row += 1
            self.billed_seconds += trial.seconds
            return
        self.completed += 1
        self._failures_in_a_row = 0
        cost = evaluation.cost
        self.billed_seconds += cost.billed_seconds or trial.seconds
        if cost is not NO_COST:
            costs = self._costs
            costs[1] += cost.device_seconds
            costs[2] += cost.examples
            costs[3] += cost.updates
            costs[4] += cost.flops
            costs[5] += cost.recorded_seconds
        if self.best is None or trial.rank > self.best.rank:
            self.best = trial

    def _hand_over(self, trial: Trial) -> None:
        """Tells the controller now, or, with a lag, when the trial's turn comes."""
        if self.settings.lag:
            self._waiting[trial.id] = trial
        else:
            self._tell(trial)

    def _tell(self, trial: Trial) -> None:
        self.controller.tell((trial,))
        if self._known is not None and trial.evaluation is not None:
            key = memory_key(self.space, trial.architecture, trial.budget)
            self._known.setdefault(key, (trial.id, trial.evaluation))

    def _tell_up_to(self, last: int) -> bool:
        while self._told_up_to < last:
            trial = self._waiting.pop(self._told_up_to + 1, None)
            if trial is None:
                return False
            self._tell(trial)
            self._told_up_to += 1
        return True

    def _why_stop(self) -> str | None:
        settings = self.settings
        if settings.trials is not None and self.completed >= settings.trials:
            return "trials"
        if settings.target is not None and self.best is not None and (self.best.score or 0.0) >= settings.target:
            return "target"
        if settings.max_cost is not None and self.billed_seconds >= settings.max_cost:
            return "max_cost"
        if settings.max_seconds is not None and self._now() >= settings.max_seconds:
            return "max_seconds"
        return None

    def _now(self) -> float:
        return self.executor.now() if self._running else self._clock

    # -- state and results -----------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        """What ``recover`` needs, as JSON data."""
        return {
            "controller": self.controller.state_dict(),
            "next_id": self._next_id,
            "pending": [list(job) for job in self._pending.values()],
            "waiting": [trial_to_event(trial) for trial in self._waiting.values()],
            "told_up_to": self._told_up_to,
            "clock": self._clock,
            "completed": self.completed,
            "failed": self.failed,
            "reused": self.reused,
            "reused_in_a_row": self._reused_in_a_row,
            "answered_by": list(self._answered_by.items()),
            "failures_in_a_row": self._failures_in_a_row,
            "first_failure": self._first_failure,
            "best": None if self.best is None else trial_to_event(self.best),
            "costs": self._costs,
            "billed": self.billed_seconds,
            "setup_cost": dataclasses.astuple(self.setup_cost),
        }

    def _load(self, state: dict[str, Any]) -> None:
        seed = self.history.seed
        self.controller.load_state_dict(state["controller"])
        self._next_id = state["next_id"]
        jobs = [Job(*job) for job in state["pending"]]
        jobs = [
            job._replace(architecture=tuple(job.architecture), budget=job.budget and Budget(*job.budget))
            for job in jobs
        ]
        self._pending = {job.id: job for job in jobs}
        self._waiting = {event[1]: event_to_trial(event, seed) for event in state["waiting"]}
        self._told_up_to = state["told_up_to"]
        self._clock = state["clock"]
        self.completed, self.failed, self.reused = state["completed"], state["failed"], state["reused"]
        self._reused_in_a_row = state["reused_in_a_row"]
        self._answered_by = dict(state.get("answered_by", ()))
        self._failures_in_a_row = state["failures_in_a_row"]
        self._first_failure = state["first_failure"]
        self.best = None if state["best"] is None else event_to_trial(state["best"], seed)
        self._costs, self.billed_seconds = state["costs"], state["billed"]
        self.setup_cost = Cost(*state["setup_cost"])

    def recover(self) -> None:
        """Brings this search to where its folder's run was, by the last state and the events after it."""
        assert self.history.folder is not None
        state, events = self.history.recover()
        if state is not None:
            self._load(state)
            if self._known is not None:
                parts = self.history.folder.part_trials(self.history.seed)
                told: Iterable[Trial] = (trial for trial in parts if trial.id not in self._waiting)
                if self.settings.lag:  # told in id order, not as they finished
                    told = sorted(told, key=lambda trial: trial.id)
                self._known = known_evaluations(told, self.space)
        self._replay(events)
        self._failures_in_a_row = 0
        if self.history.recent:
            self.history.compact(self._state)

    def _replay(self, events: Iterator[list[Any]]) -> None:
        for event in events:
            if event[0] == "a":
                _, n, now, expected = event
                jobs = self._ask(n, now) or []
                if [[job.id, list(job.architecture)] for job in jobs] != expected:
                    raise self._diverged()
                continue
            trial = event_to_trial(event, self.history.seed)
            while trial.id not in self._pending:
                # A search with one trial at a time does not journal its asking.
                if trial.id < self._next_id or self._ask(1, trial.started) is None:
                    raise self._diverged()
            if self._pending[trial.id].architecture != trial.architecture:
                raise self._diverged()
            self.history.restore([trial])
            self._settle(trial)
            self._clock = max(self._clock, trial.started + trial.seconds)

    def _diverged(self) -> RunFolderError:
        return RunFolderError(
            f"{type(self.controller).__name__} no longer makes the proposals that the journal of this run holds: "
            "it was changed, or is not reproducible from its seed and state. Resume with the version that began the run"
        )

    def _result(self) -> Result:
        return Result(
            best=self.best,
            completed=self.completed,
            failed=self.failed,
            reused=self.reused,
            cost=Cost(*self._costs),
            setup_cost=self.setup_cost,
            seconds=self._clock,
            stopped=self._stopped or "",
            seed=self.history.seed,
            history=self.history,
            space=self.space,
        )
