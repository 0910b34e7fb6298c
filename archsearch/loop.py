"""The one search loop: asks the controller, hands jobs to an executor, keeps the history, tells the controller.

    result = search(NASBench201(), RegularizedEvolution(), Tabular(), trials=1000, seed=0)

Order of events for a trial: proposed, (journal: asked), evaluated, journal: finished, told. So whatever the
controller knows is on disk, and a search goes on from its folder by replaying the journal.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import logging
import math
import platform
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar, Unpack, cast

from archsearch.checks import at_least_one
from archsearch.components import describe, load
from archsearch.controller import Controller
from archsearch.damage import readable
from archsearch.errors import (
    ConstraintError,
    ExecutorError,
    InvalidArchitecture,
    RunFolderError,
    StorageError,
    TooManyFailures,
    UnknownName,
    UsageError,
)
from archsearch.evaluator import Evaluator
from archsearch.executor import Executor, Fault, Job, SimulatedExecutor, advance, prepare
from archsearch.exhaustion import WORTH_COUNTING, Exhaustion
from archsearch.fingerprints import check_fingerprints, file_fingerprint, fingerprints_of
from archsearch.gate import admit_origin, admit_trial, note_of
from archsearch.history import (
    History,
    RunFolder,
    event_to_trial,
    known_evaluations,
    memory_key,
    remembered_trials,
    training_seed,
    trial_to_event,
)
from archsearch.journal import Gap
from archsearch.limits import Limits
from archsearch.local_executor import LocalExecutor
from archsearch.loggers import Logger
from archsearch.progress import Display
from archsearch.remembered import Remembered
from archsearch.seeding import root_seed
from archsearch.settings import (
    DEFAULT_RETRIES,
    ExecutorName,
    Listener,
    SettingOptions,
    Settings,
    documented,
    field_names,
    given_once,
    settled,
)
from archsearch.space import Space
from archsearch.texts import name_of, well_formed
from archsearch.trial import COST_FIELDS, MEASURED, NO_COST, Budget, Cost, Evaluation, Trial
from archsearch.trust import (
    EXECUTORS,
    own_executor,
    refuse_links,
    stored_component,
    stored_executor,
    without_secrets,
)
from archsearch.words import plain, plain_lines

Answer = TypeVar("Answer")

_log = logging.getLogger("archsearch")
"""Has a line for every fault, at level WARNING."""
_log.addHandler(logging.NullHandler())  # else Python would print them where no logging is set up

LATENCY_TABLE = "latency_table"
"""What the fingerprint of that file is called."""
MAX_REUSED_IN_A_ROW = 2_000
MAX_REJECTED_IN_A_ROW = 2_000
"""Proposals in a row that led to no evaluation after which a search ends, or waits for pending results."""
NOTED_SECONDS = 1.0
"""Set-up that took no longer, and cost nothing else, is in the state of a run, but not worth a line in its journal."""
NOTE = "note.txt"
"""File in the evaluator's folder that holds its note."""
MAX_FAULT_TEXT = 300
"""Characters of a fault's error that are noted; the whole error of a failed trial is in the history."""
_WALL, _FAILED = (COST_FIELDS.index(field) for field in MEASURED)
MAX_ANSWERED = 5_000
"""Proposals answered from memory that are remembered as such: what is derived from an older one has no known parent."""


@dataclasses.dataclass(frozen=True)
class Result:
    """What a search found and what it cost.

    Attributes:
        best: The completed trial with the highest score, or None: the first of equals; with budgets, of those that were
            trained longest; if the evaluator's scores are ``comparable`` between its advances only, of the newest.
        completed: Completed trials.
        failed: Failed trials.
        reused: Proposals that were answered from memory.
        rejected: Proposals that were beyond the limits.
        cost: Cost of all evaluations, tries that failed included; its ``billed_seconds`` are what ``max_cost`` counts.
        setup_cost: Cost of the evaluator's one-off work: its preparation, and what it learnt on the way.
        faults: How often what went wrong, by kind (``archsearch.executor.FAULTS``): tries that succeeded when they were
            repeated, lost workers and nodes, and earlier sessions that did not end in order, included.
        seconds: Seconds on the run's clock.
        stopped: Why it stopped: trials, max_seconds, max_cost, target, exhausted (nothing new to propose), interrupted.
        seed: The root seed; the same seed repeats the search.
        history: All trials: iterate over it, or call ``table()``.
        space: The space that was searched.
        note: What the evaluator says of its one-off work.
    """

    best: Trial | None
    completed: int
    failed: int
    reused: int
    rejected: int
    cost: Cost
    setup_cost: Cost
    seconds: float
    stopped: str
    seed: int
    history: History
    space: Space
    faults: Mapping[str, int] = dataclasses.field(default_factory=dict)
    note: str = ""

    @property
    def best_name(self) -> str | None:
        """The best architecture in the space's own notation."""
        return None if self.best is None else name_of(self.space, self.best.architecture)

    def __str__(self) -> str:
        lines = []
        if self.best is None:
            lines.append("best      none: no trial completed")
        else:
            metrics = "".join(f", {plain(name)} {value:,.6g}" for name, value in self.best.metrics.items())
            lines.append(f"best      {plain(self.best_name or '')}")
            length = f" at budget {self.best.budget.stop}" if self.best.budget else ""
            lines.append(f"          score {self.best.score:.6g}{length}{metrics} (trial {self.best.id})")
        counts = [f"{self.completed:,} completed", f"{self.failed:,} failed"]
        if self.reused:
            counts.append(f"{self.reused:,} repeats answered from memory")
        if self.rejected:
            counts.append(f"{self.rejected:,} beyond the limits")
        lines.append(f"trials    {', '.join(counts)}; stopped by {self.stopped}")
        if self.faults:
            lines.append(f"faults    {format_faults(self.faults)}")
        lines.append(f"cost      {format_cost(self.cost)}; set-up {format_cost(self.setup_cost)}; seed {self.seed}")
        if self.note:
            lines.append(f"evaluator {plain(self.note)}")
        return "\n".join(lines)


def format_cost(cost: Cost) -> str:
    """A cost for people: the amounts that are not zero, with units."""
    parts = [f"{format_seconds(cost.wall_seconds)} on the run's clock"]
    if cost.recorded_seconds:
        parts.append(f"{format_seconds(cost.recorded_seconds)} recorded")
    if cost.device_seconds:
        parts.append(f"{format_seconds(cost.device_seconds)} on devices")
    if cost.failed_seconds >= 0.001:
        parts.append(f"{format_seconds(cost.failed_seconds)} of it in tries that failed")
    for name, unit in (("examples", "examples"), ("updates", "updates"), ("flops", "FLOPs")):
        if amount := getattr(cost, name):
            parts.append(f"{amount:.4g} {unit}")
    return "nothing" if cost.wall_seconds < 0.001 and len(parts) == 1 else ", ".join(parts)


def format_faults(faults: Mapping[str, int]) -> str:
    """Kinds of faults and how often each occurred, the most frequent first."""
    ordered = sorted(faults.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{times:,} {kind}" for kind, times in ordered)


def format_seconds(seconds: float) -> str:
    """Seconds in the largest unit that fits."""
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.3g} s"


@documented(Settings, SettingOptions)
def search(
    space: Space,
    controller: Controller,
    evaluator: Evaluator,
    *,
    settings: Settings | None = None,
    seed: int | None = None,
    executor: ExecutorName | Executor = "local",
    workers: int = 1,
    out: str | Path | None = None,
    on_trial: Listener | Sequence[Listener] | None = None,
    progress: bool = False,
    **options: Unpack[SettingOptions],
) -> Result:
    """Searches a space.

    Args:
        space: What is searched.
        controller: Who proposes.
        evaluator: Who scores.
        settings: When it stops and how it treats failures and repeats; None: as the keywords say that follow last.
        seed: Root seed, >= 0; None draws one and records it.
        executor: ``local``, ``ray``, ``simulated``, or an ``Executor`` with settings of its own.
        workers: Parallel evaluations (``ray``, ``simulated``).
        out: Folder to keep the run in, so that it can be resumed; None keeps it in memory.
        on_trial: Called with every finished trial, after the controller was told; or several of such. Any that are a
            ``Logger`` also hear of the begin and the end.
        progress: Whether to show a progress bar and notes on standard error.
        **options: The fields of ``Settings``, in place of ``settings``.

    Raises:
        UsageError: If something cannot be as asked; nothing was evaluated then.
        TooManyFailures: After ``max_failures`` failed trials in a row.
        ConstraintError: If proposals are beyond the limits again and again.
    """
    out = None if out is None else Path(out).absolute()  # an evaluator may change the directory
    settings = settled(search, Settings, settings, options)
    seed = root_seed(seed)
    listeners = _listeners(on_trial)
    engine = make_executor(executor, workers)
    limits = _fit_together(space, controller, evaluator, engine, settings)
    config = {}
    if out is not None or any(isinstance(listener, Logger) for listener in listeners):
        config = _config(space, controller, evaluator, settings, seed, executor, workers)
    history = History(space, seed)
    loop = Search(space, controller, evaluator, engine, settings, history, listeners, progress, limits)
    if out is not None:  # last, so that what cannot be leaves no folder behind
        history.folder = RunFolder.create(out, config)
    try:
        return _run(loop, config, resumed=False)
    except UsageError:
        if history.folder is not None and not len(history):
            history.folder.abandon()  # so that the corrected search may have it
        raise


def resume(
    directory: str | Path,
    *,
    space: Space | None = None,
    controller: Controller | None = None,
    evaluator: Evaluator | None = None,
    executor: ExecutorName | Executor | None = None,
    workers: int | None = None,
    settings: Settings | None = None,
    on_trial: Listener | Sequence[Listener] | None = None,
    progress: bool = False,
    trust: bool = False,
    **changes: Unpack[SettingOptions],
) -> Result:
    """Goes on with a run from its folder.

    Args:
        directory: The run folder. It can be anyone's: of what it names only installed components are made.
        space: The run's space, where it cannot be rebuilt from ``config.yaml``, such as one of your own classes; must
            equal it.
        controller: The run's controller, likewise.
        evaluator: The run's evaluator, likewise.
        executor: Where to run from now on; None: as before.
        workers: Parallel evaluations from now on; None: as before.
        settings: All settings from now on; None: as before, but for the changes.
        on_trial: See ``search``.
        progress: See ``search``.
        trust: Whether classes and functions that the folder names may be imported and called, a Ray cluster that it
            names be joined, and files be written where its links lead. Only for a folder that you made, or of someone
            whose code you would run.
        **changes: New values for fields of ``Settings``, such as ``trials=2000``.

    Raises:
        NotTrusted: If the folder names something that is not installed, which is neither given nor trusted.
        RunFolderError: If there is no run, it is in use, or it is of another space, controller or evaluator.
    """
    directory = Path(directory).absolute()
    config = RunFolder(directory).config()
    refuse_links(directory, trust=trust)
    where, known = f"{directory}/config.yaml", config.get("fingerprints")
    stored = functools.partial(stored_component, where=where, trust=trust, fingerprints=known)
    space = stored(space, config["space"], "spaces", what=f"{directory}: space")
    controller = stored(controller, config["controller"], "controllers", what=f"{directory}: controller")
    evaluator = stored(evaluator, config["evaluator"], "evaluators", what=f"{directory}: evaluator")
    with readable(where):
        settings = _settings(config["settings"], settings, changes, LATENCY_TABLE in (known or ()))
    listeners = _listeners(on_trial)
    if executor is None:
        engine = executor_of_run(config, where, workers=workers, trust=trust)
    else:
        engine = make_executor(executor, workers or (1 if executor == "local" else config["workers"]))
    limits = _fit_together(space, controller, evaluator, engine, settings)
    if known is not None:
        check_fingerprints(directory, known, _fingerprints(controller, evaluator, settings))
    history = History(space, config["seed"])
    loop = Search(space, controller, evaluator, engine, settings, history, listeners, progress, limits)
    history.folder = RunFolder.open(directory)
    if known is None and _fingerprints(controller, evaluator, settings):
        loop.say(f"{directory}: begun by 0.1.0, which noted no fingerprints: nobody knows whether its tables changed")
    return _run(loop, config | {"settings": dataclasses.asdict(settings)}, resumed=True)


def executor_of_run(
    config: Mapping[str, Any],
    where: str,
    *,
    workers: int | None = None,
    trust: bool = False,
    changes: Mapping[str, Any] | None = None,
) -> Executor:
    """The executor that a run had, with its settings but for what changes.

    Args:
        config: What is in ``config.yaml``.
        where: That file, for messages.
        workers: Parallel evaluations from now on; None: as before.
        trust: See ``resume``.
        changes: New values for its settings, whatever is stored of these.
    """
    name = cast(ExecutorName, config["executor"])
    with readable(where):
        stored = stored_executor(config, where, trust=trust, replaced=changes or ())
        if stored is None and not changes:
            return make_executor(name, workers or config["workers"])
        path = f"archsearch.{EXECUTORS[name]}" if stored is None else config["executor_settings"]["class_path"]
        settings = {**(stored or {}), **(changes or {})}
        if name == "local":
            make_executor("local", workers or 1)  # has one worker, or says so
        elif stored is None or workers is not None:
            settings["workers"] = config["workers"] if workers is None else workers
        cls = load(own_executor(path) or path)
        if not (isinstance(cls, type) and issubclass(cls, Executor)):
            raise RunFolderError(f"{where}: executor_settings: expected a class of Executor, got {cls!r:.80}")
        try:
            return cls(**settings)
        except TypeError as error:
            raise RunFolderError(f"{where}: executor_settings: {error}") from None


def _listeners(on_trial: Listener | Sequence[Listener] | None) -> tuple[Listener, ...]:
    if on_trial is None:
        return ()
    listeners = (on_trial,) if callable(on_trial) else tuple(on_trial)
    for listener in listeners:
        if not callable(listener):
            raise UsageError(f"on_trial: expected what can be called with a trial, or a list of such, got {listener!r}")
    return listeners


def _run(loop: Search, config: dict[str, Any], resumed: bool) -> Result:
    """Runs a search between the begin and the end of its loggers."""
    loggers = [listener for listener in loop.listeners if isinstance(listener, Logger)]
    result = None
    try:
        for logger in loggers:
            logger.begin(loop, config, resumed)
        if resumed:
            loop.recover()
        result = loop.run()
    finally:
        for logger in loggers:
            logger.end(result)
    return result


def _fingerprints(controller: Controller, evaluator: Evaluator, settings: Settings) -> dict[str, str]:
    """Of all that a search reads from outside."""
    found = fingerprints_of(controller=controller, evaluator=evaluator)
    return found | ({} if settings.latency_table is None else {LATENCY_TABLE: file_fingerprint(settings.latency_table)})


def _settings(
    stored: dict[str, Any], settings: Settings | None, changes: Mapping[str, Any], known_files: bool
) -> Settings:
    """Those of a run that goes on: as given, or as stored but for the changes."""
    known = field_names(Settings)  # an older run has not stored all of them
    unknown = changes.keys() - set(known)
    if unknown:
        raise UnknownName(
            f"resume: no setting is called {', '.join(sorted(unknown))}; expected any of {', '.join(known)}"
        )
    if settings is None:
        settings = Settings(**stored | {name: value for name, value in changes.items() if value is not None})
    else:
        settings = given_once("resume", Settings, settings, changes)
    if settings.limits != stored.get("limits"):
        raise RunFolderError(
            f"limits: the run was made with {stored.get('limits')}, got {settings.limits}; start a new run for others"
        )
    if not known_files and settings.latency_table != stored.get("latency_table"):
        raise RunFolderError(
            f"latency_table: the run was made with {stored.get('latency_table')}, got {settings.latency_table}; start "
            "a new run for another one"
        )
    return settings


def _fit_together(
    space: Space, controller: Controller, evaluator: Evaluator, engine: Executor, settings: Settings
) -> Limits | None:
    """Starts the evaluator; raises ``UsageError`` where one of them cannot do what another asks for."""
    engine.set_batch(settings.batch, one_by_one=settings.lag is not None)
    engine.timeout = settings.timeout
    evaluator.start(space)
    evaluator.check_budgets(controller.budgets)
    engine.check(evaluator)
    if settings.limits is None:
        return None
    return Limits(space, evaluator, settings.limits, settings.latency_table)


def make_executor(executor: ExecutorName | Executor, workers: int) -> Executor:
    """The executor of that name.

    Raises:
        UnknownName: If there is none.
    """
    if isinstance(executor, Executor):
        return executor
    workers = at_least_one("search", "workers", workers)
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
    executor_settings = None
    if isinstance(executor, Executor):
        if executor.name == "ray" or type(executor) is LocalExecutor:
            executor_settings = without_secrets(describe(executor))
        executor, workers = executor.name, getattr(executor, "workers", 1)
    return {
        "space": describe(space),
        "controller": describe(controller),
        "evaluator": describe(evaluator),
        "seed": seed,
        "settings": dataclasses.asdict(settings),
        "executor": executor,
        "workers": workers,
        "executor_settings": executor_settings,
        "versions": versions,
        "fingerprints": _fingerprints(controller, evaluator, settings),
    }


class _Interrupts:
    """Ctrl-C ends a search where its state is whole: at once while it waits or learns, else as soon as that is so."""

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
        """From here on only what is called by ``call`` is interrupted."""
        self._at_once = False

    def heed(self) -> None:
        """Raises ``KeyboardInterrupt`` if it was held back."""
        if self._requested:
            raise KeyboardInterrupt

    def call(self, work: Callable[[], Answer]) -> Answer:
        """Does what takes long, interrupted at once."""
        self.heed()
        self._at_once = True
        try:
            return work()
        finally:
            self._at_once = False


class _Advances:
    """What a search remembers for an evaluator that advances.

    Args:
        interval: Finished trials between two advances, >= 1.

    Attributes:
        sample: Trials completed since the last one.
        last: Finished trials when it was.
        scored_from: Trials from this id on were scored by what the evaluator is now.
        cost: Of all advances.
    """

    def __init__(self, interval: int) -> None:
        self.interval = interval
        self.sample: list[Trial] = []
        self.last = 0
        self.scored_from = 0
        self.cost = NO_COST

    def state(self) -> dict[str, Any]:
        """What ``load`` takes, as JSON data."""
        sample = [trial_to_event(trial) for trial in self.sample]
        cost = dataclasses.astuple(self.cost)
        return {"sample": sample, "last": self.last, "scored_from": self.scored_from, "cost": cost}

    def load(self, state: dict[str, Any], seed: int) -> None:
        """Restores ``state``'s result, of a run with this root seed."""
        self.sample = [event_to_trial(event, seed) for event in state["sample"]]
        self.last, self.scored_from, self.cost = state["last"], state["scored_from"], Cost(*state["cost"])


class Course:
    """What a search knows at any moment, and what each event changes: a run and a replay take the same steps.

    Args:
        space: What is searched.
        controller: Who proposes; started here.
        evaluator: Who scores; started already.
        executor: Where evaluations run.
        settings: When to stop, what to do about failures.
        history: Where trials go.
        listeners: Called with every finished trial.
        progress: Whether to show a progress bar.
        limits: What may be evaluated; None: everything.
    """

    def __init__(
        self,
        space: Space,
        controller: Controller,
        evaluator: Evaluator,
        executor: Executor,
        settings: Settings,
        history: History,
        listeners: Sequence[Listener] = (),
        progress: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self.space = space
        self.controller = controller
        self.evaluator = evaluator
        self.executor = executor
        self.settings = settings
        self.history = history
        self.listeners = listeners
        self._show = Display(settings, progress)
        self._limits = limits
        self._exhaustion = Exhaustion(space, controller.budgets, limits)
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
        self.rejected = 0
        self._answered_in_a_row = 0  # proposals that led to no evaluation
        self._rejected_in_a_row = 0  # those of them that were beyond the limits
        self._least: dict[str, float] = {}  # figures of these
        self._failures_in_a_row = 0
        self._first_failure = ""
        self.faults: Counter[str] = Counter()
        self.best: Trial | None = None
        self._costs = [0.0] * len(COST_FIELDS)
        self.billed_seconds = 0.0
        self._prepare_cost = NO_COST
        self._advances = _Advances(evaluator.interval) if evaluator.interval > 0 else None
        self._remembered = Remembered()
        self._stopped: str | None = None

    def say(self, note: str) -> None:
        """Tells the user something, in the log and on the terminal."""
        _log.warning(note)
        self._show.log(note)

    # -- asking --------------------------------------------------------------------------------------

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
                hint = "" if all(type(each) is int for each in proposal.architecture) else ": its options must be int"
                raise InvalidArchitecture(
                    f"{type(self.controller).__name__} proposed {proposal.architecture!r}, which is not in "
                    f"{type(self.space).__name__}{hint}"
                )
            id_, architecture, parent, budget = proposal
            if budget is not None or (parent is not None and type(parent) is not int):
                parent, budget = admit_origin(parent, budget, f"{type(self.controller).__name__}, proposal {id_}")
            if self._limits is not None and (excess := self._limits.excess(architecture)):
                trial = Trial(id_, architecture, parent, attempts=0, failure="limit", error=excess, budget=budget)
                self._reject(trial, self._limits.figures(architecture))
                continue
            known = self._known.get(memory_key(self.space, architecture, budget)) if self._known is not None else None
            if known is not None:
                self._reuse(Trial(id_, architecture, parent, known[1], attempts=0, budget=budget), known[0])
                continue
            if self._answered_in_a_row:
                self._answered_in_a_row = self._rejected_in_a_row = 0
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
        self._answered_in_a_row += 1
        self._rejected_in_a_row = 0
        self._hand_over(trial)

    def _reject(self, trial: Trial, figures: Mapping[str, float]) -> None:
        if not self._rejected_in_a_row:
            self._least = {}
        for name, figure in figures.items():
            if figure < self._least.get(name, math.inf):
                self._least[name] = figure
        self.rejected += 1
        self._answered_in_a_row += 1
        self._rejected_in_a_row += 1
        self._hand_over(trial)

    def _asked_in_vain(self) -> bool:
        """Whether so many proposals in a row led to no evaluation that only a result may change that."""
        if self._answered_in_a_row >= MAX_REUSED_IN_A_ROW or self._rejected_in_a_row >= MAX_REJECTED_IN_A_ROW:
            return True
        if self._known is None or self._answered_in_a_row < WORTH_COUNTING:
            return False
        pending = (memory_key(self.space, job.architecture, job.budget) for job in self._pending.values())
        return self._exhaustion.complete(self._known, pending)

    def _give_up(self) -> None:
        """Ends the search, unless there are results to come."""
        if self._pending:
            return
        if self._rejected_in_a_row < MAX_REJECTED_IN_A_ROW:
            self._stopped = "exhausted"
            return
        assert self._limits is not None
        raise ConstraintError(
            f"{type(self.controller).__name__} made {self._rejected_in_a_row:,} proposals in a row that are beyond the "
            f"limits: {self._limits.describe(self._least)}. Set wider limits, or search a space that keeps within these"
        )

    def _advanced(self, advances: _Advances, cost: Cost) -> None:
        """Everything that follows from an advance that is on disk."""
        advances.cost += cost
        advances.last = self.completed + self.failed
        advances.sample = []
        if self.evaluator.comparable:
            return
        advances.scored_from = self._next_id
        if self._known is not None:
            self._known = {}

    # -- finished trials -----------------------------------------------------------------------------

    def _settle(self, trial: Trial) -> None:
        """Everything that follows from a finished trial that is on disk."""
        untold = trial.lost_seconds - self._pending.pop(trial.id).lost_seconds
        if untold > 0.0:  # an executor's own tries, or a line that the journal has lost
            self._bill_failed(untold)
        if self._answered_in_a_row and self._asked_in_vain():  # what is proposed may change now
            self._answered_in_a_row = self._rejected_in_a_row = 0
        self._count(trial)
        self._hand_over(trial)
        for listener in self.listeners:
            listener(trial)

    def _count(self, trial: Trial) -> None:
        evaluation = trial.evaluation
        if evaluation is None:
            self.failed += 1
            if not self._failures_in_a_row:
                name = name_of(self.space, trial.architecture)
                self._first_failure = f"trial {trial.id}, {name}: {trial.failure}: {trial.error}"
            self._failures_in_a_row += 1
            self._bill_failed(trial.seconds)
            return
        self._costs[_WALL] += trial.seconds
        self.completed += 1
        if self._advances is not None:
            self._advances.sample.append(trial)
        self._failures_in_a_row = 0
        cost = evaluation.cost
        self.billed_seconds += cost.billed_seconds or trial.seconds
        if cost is not NO_COST:
            costs = self._costs  # as in ``COST_FIELDS``
            costs[1] += cost.device_seconds
            costs[2] += cost.examples
            costs[3] += cost.updates
            costs[4] += cost.flops
            costs[5] += cost.recorded_seconds
        if self.best is None or trial.rank > self.best.rank or not self._is_fresh(self.best):
            self.best = trial

    def _bill_tries(self, job: Job) -> None:
        """Bills what the tries of a job have cost since they were billed last."""
        self._bill_failed(job.lost_seconds - self._pending[job.id].lost_seconds)
        self._pending[job.id] = job

    def _bill_failed(self, seconds: float) -> None:
        self._costs[_WALL] += seconds
        self._costs[_FAILED] += seconds
        self.billed_seconds += seconds

    # -- telling -------------------------------------------------------------------------------------

    def _hand_over(self, trial: Trial) -> None:
        """Tells the controller now, or, with a lag, when the trial's turn comes."""
        if self.settings.lag:
            self._waiting[trial.id] = trial
        else:
            self._tell(trial)

    def _tell(self, trial: Trial) -> None:
        self.controller.tell((trial,))
        if self._known is not None and trial.evaluation is not None and self._is_fresh(trial):
            key = memory_key(self.space, trial.architecture, trial.budget)
            self._known.setdefault(key, (trial.id, trial.evaluation))

    def _is_fresh(self, trial: Trial) -> bool:
        """Whether the evaluator has not advanced since."""
        return self._advances is None or trial.id >= self._advances.scored_from

    def _tell_up_to(self, last: int) -> bool:
        while self._told_up_to < last:
            trial = self._waiting.pop(self._told_up_to + 1, None)
            if trial is None:
                return False
            self._tell(trial)
            self._told_up_to += 1
        return True

    # -- when it ends, what goes wrong ---------------------------------------------------------------

    def _why_stop(self) -> str | None:
        settings = self.settings
        if settings.trials is not None and self.completed >= settings.trials:
            return "trials"
        if settings.target is not None and self.best is not None and (self.best.score or 0.0) >= settings.target:
            return "target"
        return self._spent()

    def _spent(self, more: float = 0.0) -> str | None:
        """Which budget is used up, if so many seconds more are billed."""
        settings = self.settings
        if settings.max_cost is not None and self.billed_seconds + more >= settings.max_cost:
            return "max_cost"
        if settings.max_seconds is not None and self._now() >= settings.max_seconds:
            return "max_seconds"
        return None

    def _now(self) -> float:
        return self.executor.now() if self._running else self._clock

    def _fault(self, fault: Fault) -> None:
        """Counts what went wrong and notes it: in the run folder, in the log, and on the terminal."""
        self.faults[fault.kind] += 1
        now = self._now()
        # Of a traceback the line that says what it was.
        error = well_formed(fault.error.strip().rpartition("\n")[2][:MAX_FAULT_TEXT])
        who = "" if fault.trial is None else f"trial {fault.trial}"
        who += "" if fault.worker < 0 else f"{', ' if who else ''}worker {fault.worker}"
        text = f"{fault.kind}{' (' + who + ')' if who else ''} after {now:.1f} s: {error}"
        _log.warning(text)
        self._show.fault(text)
        if self.history.folder:
            facts = {"kind": fault.kind, "trial": fault.trial, "worker": fault.worker, "seconds": round(now, 3)}
            self.history.folder.add_fault(facts | {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "error": error})

    # -- state ---------------------------------------------------------------------------------------

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
            "rejected": self.rejected,
            "answered_in_a_row": self._answered_in_a_row,
            "rejected_in_a_row": self._rejected_in_a_row,
            "least": self._least,
            "answered_by": list(self._answered_by.items()),
            "failures_in_a_row": self._failures_in_a_row,
            "first_failure": self._first_failure,
            "best": None if self.best is None else trial_to_event(self.best),
            "costs": self._costs,
            "billed": self.billed_seconds,
            "setup_cost": dataclasses.astuple(self._prepare_cost),
            "advances": None if self._advances is None else self._advances.state(),
            "remembered": [trial_to_event(trial) for trial in self._remembered.trials()],
            "remembered_advances": [dataclasses.astuple(cost) for cost in self._remembered.advances],
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
        self.rejected = state.get("rejected", 0)
        self._answered_in_a_row = state.get("answered_in_a_row", 0)
        self._rejected_in_a_row = state.get("rejected_in_a_row", 0)
        self._least = state.get("least", {})
        self._answered_by = dict(state.get("answered_by", ()))
        self._failures_in_a_row = state["failures_in_a_row"]
        self._first_failure = state["first_failure"]
        self.best = None if state["best"] is None else event_to_trial(state["best"], seed)
        costs = [*state["costs"], *[0.0] * len(COST_FIELDS)]  # an older run has not counted all of them
        self._costs, self.billed_seconds = costs[: len(COST_FIELDS)], state["billed"]
        self._prepare_cost = Cost(*state["setup_cost"])
        self._remembered.add(remembered_trials(state, seed))
        self._remembered.advances = [Cost(*cost) for cost in state.get("remembered_advances", ())]
        if self._advances is not None:
            if state.get("advances"):
                self._advances.load(state["advances"], seed)
            else:  # a run of an older version counts from here on
                self._advances.last = self.completed + self.failed


class Resumable(Course):
    """A course that can be brought to where the journal of a run ends, by the steps that the run took."""

    def recover(self) -> None:
        """Brings this search to where its folder's run was; releases the folder if that cannot be."""
        assert self.history.folder is not None
        try:
            self._recover(self.history.folder)
        except BaseException:
            self.history.folder.close(in_order=not self.history.folder.died)
            raise

    def _recover(self, folder: RunFolder) -> None:
        """Loads the last state and replays the events after it."""
        state, events = self.history.recover()
        if state is not None:
            with readable(f"{folder.path}: the state of this search"):
                self._load(state)
            if self._known is not None:
                parts = folder.part_trials(self.history.seed)
                told: Iterable[Trial] = (
                    trial for trial in parts if trial.id not in self._waiting and self._is_fresh(trial)
                )
                if self.settings.lag:  # told in id order, not as they finished
                    told = sorted(told, key=lambda trial: trial.id)
                self._known = known_evaluations(told, self.space)
        self._replay(events, folder)
        self._clock = max(self._clock, self._remembered.clock)
        self._failures_in_a_row = 0
        if self.history.recent or len(self._remembered):
            self.history.compact(self._state)
        self.faults = folder.faults()
        if folder.died:
            text = "the session before did not end in order: killed, or its disk was full"
            if isinstance(self.executor, LocalExecutor) and self.executor.in_process:
                text += (
                    f", or the evaluator ended it, perhaps in trial {self._next_id}: isolate=True (--isolate) "
                    "evaluates in a process of its own"
                )
            self._fault(Fault("driver_died", text))

    def _replay(self, events: Iterator[Trial | list[Any] | Gap], folder: RunFolder) -> None:
        """Repeats what happened, up to the first damage; what is sound behind it is remembered."""
        seen: set[int] = set()
        for event in events:
            if isinstance(event, Gap):
                self._heed_gap(event, folder)
                if not event.torn:
                    break
            elif isinstance(event, Trial):
                if event.id in seen:
                    continue
                seen.add(event.id)
                self._replay_trial(event)
            else:
                self._replay_event(event)
        else:
            return
        self._remember(events, folder)
        self._remembered.forget(seen)

    def _replay_event(self, event: list[Any]) -> None:
        if event[0] == "a":
            _, n, now, expected = event
            jobs = self._ask(n, now) or []
            if [[job.id, list(job.architecture)] for job in jobs] != expected:
                raise self._diverged()
        elif event[0] == "s":
            self._prepare_cost = Cost(*event[1:])
        elif event[0] == "v":
            if self._advances is None:
                raise RunFolderError(
                    f"{type(self.evaluator).__name__} advanced in this run, and now its interval is 0: it was "
                    "changed. Resume with the version that began the run"
                )
            _, now, *cost = event
            self._clock = max(self._clock, now)
            self._advanced(self._advances, Cost(*cost))
        elif event[0] == "f":
            _, id_, now, attempt, lost, spared = event
            self._replay_asking(id_, now)
            job = self._pending[id_]._replace(attempt=attempt, asked_at=now, lost_seconds=lost, spared=spared)
            self._bill_tries(job)
            self._clock = max(self._clock, now)

    def _replay_trial(self, trial: Trial) -> None:
        self._replay_asking(trial.id, trial.started)
        if self._pending[trial.id].architecture != trial.architecture:
            raise self._diverged()
        self.history.restore([trial])
        self._settle(trial)
        self._clock = max(self._clock, trial.started + trial.seconds)

    def _replay_asking(self, id_: int, now: float) -> None:
        """Has a trial pending: a search with one trial at a time does not journal its asking."""
        while id_ not in self._pending:
            if id_ < self._next_id or self._ask(1, now) is None:
                raise self._diverged()

    def _diverged(self) -> RunFolderError:
        return RunFolderError(
            f"{type(self.controller).__name__} no longer makes the proposals that the journal of this run holds: "
            "it was changed, or is not reproducible from its seed and state. Resume with the version that began the run"
        )

    def _heed_gap(self, gap: Gap, folder: RunFolder) -> None:
        if gap.state and self.executor.concurrent and not self.settings.lag:
            raise RunFolderError(
                f"{folder.path}: the state of this search is damaged, and without a lag its trials do not say how it "
                "came about, so it cannot go on; 'archsearch report' shows all of them, start a new search"
            )
        if gap.torn:
            folder.notices.tell(gap.path, "ends in the middle of a line, which is evaluated again")
        elif gap.state:
            if folder.notices.lines:
                return  # that the state is damaged was told
            folder.notices.tell(gap.path, "is all that is left of how the search came about, which it is asked again")
        else:
            what = f"is damaged ({gap.why}): at least {gap.lines:,} of its lines lost"
            folder.notices.tell(gap.path, f"{what}, what they held is evaluated again, all others are kept")

    def _remember(self, events: Iterator[Trial | list[Any] | Gap], folder: RunFolder) -> None:
        for event in events:
            if isinstance(event, Gap):
                self._heed_gap(event, folder)
            elif isinstance(event, Trial):
                self._remembered.add([event])
            elif event[0] == "s":
                self._prepare_cost = Cost(*event[1:])
            elif event[0] == "v":
                self._remembered.advances.append(Cost(*event[2:]))


class Search(Resumable):
    """One search in progress. ``search`` and ``resume`` are the ways in; arguments as ``Course`` takes them."""

    def run(self) -> Result:
        """Searches until something stops it; the history is in good order whatever happens."""
        with _Interrupts() as self._interrupts:
            try:
                with self._show, self._evaluator_folder():
                    self._stopped = self._why_stop()
                    if self._stopped is None:
                        self._show.begin(self)
                        self._prepare()
                        self._execute()
            except StorageError:
                if self.history.folder:
                    self.history.folder.close(in_order=False)
                raise
            except (KeyboardInterrupt, ExecutorError, TooManyFailures, ConstraintError):
                self.history.close(self._state)
                raise
            except BaseException:
                # Someone's own code failed in the middle of something, such as a controller that was being told: only
                # the journal is to be trusted.
                if self.history.folder:
                    self.history.folder.close()
                raise
            self.history.close(self._state)
        return self._result()

    def _prepare(self) -> None:
        self.evaluator.executor, self.executor.timeout = self.executor, self.settings.timeout
        try:
            with self._show.watching(self.evaluator):
                cost = self._prepare_cost = prepare(self.evaluator, self._prepare_cost)
        finally:
            self.evaluator.executor = None  # else it would go to the workers
        # Evaluations by a search of its own may have been together in another way.
        self.executor.set_batch(self.settings.batch, one_by_one=self.settings.lag is not None)
        if cost.wall_seconds >= NOTED_SECONDS or dataclasses.replace(cost, wall_seconds=0.0) != NO_COST:
            self.history.note(["s", *dataclasses.astuple(cost)])

    def _execute(self) -> None:
        self.executor.on_fault = self._fault
        self.executor.on_loss = self._lose
        self.executor.start(self.evaluator, self._clock, self.settings.timeout, self._show.log)
        self._running = True
        try:
            self._interrupts.hold_back()
            self._loop()
        finally:
            self._clock = self.executor.now()
            self._running = False
            self.executor.on_fault = self.executor.on_loss = None  # whoever uses it next is no part of this search
            self.executor.stop()

    def _loop(self) -> None:
        self._submit(list(self._pending.values()))  # of a resumed run
        wait = functools.partial(self.executor.wait, self.settings.max_seconds or math.inf)
        try:
            while self._stopped is None:
                if self._advances is not None and not self._pending and self._to_advance(self._advances) < 1:
                    self._advance(self._advances)
                self._fill()
                # With nothing pending, this waits for a worker to start.
                self._finish(self._interrupts.call(wait))
                self._show.update(self)
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
            stack.callback(self._keep_note, folder)
            yield

    def _keep_note(self, folder: Path) -> None:
        """For ``archsearch report``."""
        if note := note_of(self.evaluator):
            (folder / NOTE).write_text(note, encoding="utf-8")

    # -- asking --------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Asks for as many trials as the executor has room for."""
        while self._stopped is None:
            remaining = None
            if self.settings.trials is not None:
                remaining = self.settings.trials - self.completed - len(self._pending)
            if self._advances is not None:
                ahead = self._to_advance(self._advances) - len(self._pending)
                remaining = ahead if remaining is None else min(remaining, ahead)
            room = self.executor.room(remaining)
            if remaining is not None and room > remaining:
                room = remaining
            if room < 1:
                return
            if self._answered_in_a_row and self._asked_in_vain():
                self._give_up()
                return
            if self.controller.finished:
                if not self._pending:
                    self._stopped = "exhausted"
                return
            n, now = 1 if self.settings.lag else room, self.executor.now()
            jobs = self._ask(n, now)
            if jobs is None:
                return
            if self.executor.concurrent:  # here, not in _ask: a replay must not journal its events a second time
                self.history.note(["a", n, now, [[job.id, job.architecture] for job in jobs]])
            self._submit(jobs)
            if not jobs:  # many in a row may take long
                self._interrupts.heed()
                self._stopped = self._why_stop()

    def _submit(self, jobs: Sequence[Job]) -> None:
        """Has jobs done; those whose outcome a damaged journal still had are done."""
        if not len(self._remembered):
            for job in jobs:
                self.executor.submit(job)
            return
        known = []
        for job in jobs:
            if (trial := self._remembered.take(job.id, job.architecture, job.parent, job.budget)) is None:
                self.executor.submit(job)
            else:
                known.append(trial)
        if known:
            self._record(known)
            self._stopped = self._stopped or self._why_stop()
        if self.history.folder and not len(self._remembered):
            self._remembered.tell(self.history.folder.notices, self.history.folder.path)

    # -- advancing -----------------------------------------------------------------------------------

    def _to_advance(self, advances: _Advances) -> int:
        """Trials that are still to finish before the evaluator advances."""
        return advances.last + advances.interval - self.completed - self.failed

    def _advance(self, advances: _Advances) -> None:
        """Lets the evaluator learn from what the controller proposed; nothing is pending."""
        sample = sorted(advances.sample, key=lambda trial: trial.id)
        if self._remembered.advances:
            cost = self._remembered.advances.pop(0)
        else:
            with self._show.watching(self.evaluator):
                cost = self._interrupts.call(functools.partial(advance, self.evaluator, sample))
        self.history.note(["v", self.executor.now(), *dataclasses.astuple(cost)])
        self._advanced(advances, cost)
        self.executor.update(self.evaluator)
        self._stopped = self._why_stop()  # it takes time

    # -- finishing -----------------------------------------------------------------------------------

    def _finish(self, trials: Sequence[Trial]) -> None:
        """Records trials, then tells the controller; failed ones may be tried again instead."""
        if not self.executor.judges:
            trials = [admit_trial(trial) for trial in trials]
        done = self._retry_failed(trials) if any(trial.failure for trial in trials) else trials
        if done:
            self._record(done)

    def _record(self, done: Sequence[Trial]) -> None:
        """Everything that follows from trials that are finished for good."""
        self.history.record(done)
        for trial in done:
            self._settle(trial)
        if self.history.full:
            self._clock = self.executor.now()
            self.history.compact(self._state)
        if self._failures_in_a_row >= self.settings.max_failures:
            raise TooManyFailures(
                f"{self._failures_in_a_row} trials failed one after another (max_failures="
                f"{self.settings.max_failures}). The first of them:\n{plain_lines(self._first_failure)}"
            )

    def _retry_failed(self, trials: Sequence[Trial]) -> list[Trial]:
        """Notes the failures among trials that came together; returns those trials that are not tried again."""
        done = []
        billed = sum(trial.cost.billed_seconds for trial in trials if not trial.failure)  # as it soon will be
        for trial in trials:
            if trial.failure:
                self._fault(Fault(trial.failure, trial.error, trial.worker, trial.id))
                if self._retry(trial, billed):
                    continue
                billed += trial.seconds
            done.append(trial)
        return done

    def _retry(self, trial: Trial, billed: float) -> bool:
        """Has a failed trial tried again, if its kind allows that and, beside what is yet to be billed, the budget."""
        job = self._pending[trial.id]
        if trial.attempts - job.spared > self._retries.get(trial.failure, 0):
            return False
        lost = trial.lost_seconds + trial.seconds
        if self._spent(billed + lost - job.lost_seconds) is not None:
            return False
        now = self.executor.now()
        job = job._replace(attempt=trial.attempts + 1, avoid=trial.worker, asked_at=now, lost_seconds=lost)
        self._lose([job])
        self.executor.submit(job)
        return True

    def _lose(self, jobs: Sequence[Job]) -> None:
        """Bills tries that failed, or were lost with a worker; a resume finds in the journal that they were made."""
        for job in jobs:
            self.history.note(["f", job.id, job.asked_at, job.attempt, round(job.lost_seconds, 7), job.spared])
            self._bill_tries(job)

    # -- the end -------------------------------------------------------------------------------------

    def _result(self) -> Result:
        return Result(
            best=self.best,
            completed=self.completed,
            failed=self.failed,
            reused=self.reused,
            rejected=self.rejected,
            cost=Cost(*self._costs),
            setup_cost=self._prepare_cost if self._advances is None else self._prepare_cost + self._advances.cost,
            seconds=self._clock,
            stopped=self._stopped or "",
            seed=self.history.seed,
            history=self.history,
            space=self.space,
            faults=dict(self.faults),
            note=note_of(self.evaluator),
        )
