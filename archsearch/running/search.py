"""A search, begun or taken up again: the settings are checked, everything is made, the loop runs."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from archsearch.abilities import distribution_of
from archsearch.basics.checks import at_least_one, instance_of
from archsearch.basics.seeding import root_seed
from archsearch.components import describe, import_object, load, not_trusted_message
from archsearch.controller import Controller
from archsearch.errors import NotTrusted, RunFolderError, UnknownName, UsageError
from archsearch.evaluator import Evaluator
from archsearch.executors.executor import Executor
from archsearch.executors.local import LocalExecutor
from archsearch.executors.simulated import SimulatedExecutor
from archsearch.files.damage import readable
from archsearch.files.fingerprints import check_fingerprints, file_fingerprint, fingerprints_of
from archsearch.keeping.folder import RunFolder
from archsearch.keeping.history import History
from archsearch.keeping.trust import (
    EXECUTORS,
    own_executor,
    refuse_links,
    stored_component,
    stored_executor,
    without_secrets,
)
from archsearch.limits import Limits
from archsearch.racing.plans import plan_of, plan_of_run
from archsearch.running.listener import Logger, listeners_of
from archsearch.running.loop import Search
from archsearch.running.result import Result
from archsearch.running.settings import (
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
from archsearch.steering.told import facts_of, told_trials
from archsearch.stores.places import given_place

LATENCY_TABLE = "latency_table"
"""What the fingerprint of that file is called."""


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
    told: Any = None,
    **options: Unpack[SettingOptions],
) -> Result:
    """Searches a space.

    Args:
        space: What is searched.
        controller: Who proposes.
        evaluator: Who scores.
        settings: When it stops and how it treats failures and repeats; None: as the keywords say that follow last.
        seed: Root seed, >= 0; None draws one and records it.
        executor: ``local``, ``ray``, ``simulated``, the import path of a class of yours whose ``__init__`` takes
            ``workers``, or an ``Executor`` with settings of its own.
        workers: Parallel evaluations (``ray``, ``simulated``).
        out: Folder to keep the run in, so that it can be resumed, or a store such as ``s3://bucket/runs/one``
            (``docs/stores.md``); None keeps it in memory.
        on_trial: Called with every finished trial, after the controller was told; or several of such. Any that are a
            ``Logger`` also hear of the begin and the end.
        progress: Whether to show a progress bar and notes on standard error.
        told: Results of older runs, which the controller hears first, and no trials of this one; see ``told_trials``.
        **options: The fields of ``Settings``, in place of ``settings``.

    Raises:
        UsageError: If something cannot be as asked; nothing was evaluated then.
        TooManyFailures: After ``max_failures`` failed trials in a row.
        ConstraintError: If proposals are beyond the limits again and again.
    """
    out = None if out is None else given_place(out)  # an evaluator may change the directory
    check_components("search", space, controller, evaluator)
    settings, seed = settled(search, Settings, settings, options), root_seed(seed)
    listeners = listeners_of(on_trial)
    engine = make_executor(executor, workers)
    limits = _fit_together(space, controller, evaluator, engine, settings)
    others, config = told_trials(told, space, controller), {}
    controller.plan = plan_of(settings.trials, settings.certainty, getattr(engine, "workers", workers), evaluator)
    if out is not None or any(isinstance(listener, Logger) for listener in listeners):
        config = _config(space, controller, evaluator, settings, seed, executor, workers) | facts_of(told, others)
    history = History(space, seed)
    loop = Search(space, controller, evaluator, engine, settings, history, listeners, progress, limits)
    if out is not None:  # last, so that what cannot be leaves no folder behind
        history.folder = RunFolder.create(out, config)
    try:
        loop.tell_of_others(others)
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
        directory: The run folder, or store. It can be anyone's: of what it names only installed components are made.
        space: The run's space, which it must equal, where ``config.yaml`` cannot rebuild it: a class of your own.
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
    folder = RunFolder(directory := given_place(directory))
    config = folder.config()
    refuse_links(folder.path, trust=trust)
    where, known = f"{directory}/config.yaml", config.get("fingerprints")
    stored = functools.partial(stored_component, where=where, trust=trust, fingerprints=known)
    space = stored(space, config["space"], "spaces", what=f"{directory}: space")
    controller = stored(controller, config["controller"], "controllers", what=f"{directory}: controller")
    evaluator = stored(evaluator, config["evaluator"], "evaluators", what=f"{directory}: evaluator")
    with readable(where):
        controller.plan = plan_of_run(config)
        settings = _settings(config["settings"], settings, changes, LATENCY_TABLE in (known or ()))
    if executor is None:
        engine = executor_of_run(config, where, workers=workers, trust=trust)
    else:
        engine = make_executor(executor, workers or (1 if executor == "local" else config["workers"]))
    limits = _fit_together(space, controller, evaluator, engine, settings)
    if known is not None:
        check_fingerprints(directory, known, _fingerprints(controller, evaluator, settings))
    history = History(space, config["seed"])
    loop = Search(space, controller, evaluator, engine, settings, history, listeners_of(on_trial), progress, limits)
    history.folder = RunFolder.open(directory)
    loop.begun_with(config, anew={"workers": workers is not None, "timeout": "timeout" in changes})
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
    name = str(config["executor"])
    with readable(where):
        stored = stored_executor(config, where, trust=trust, replaced=changes or ())
        if stored is None and not trust and is_path(name):
            raise NotTrusted(not_trusted_message(where, f"executor: {name}"))
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


def check_components(owner: str, space: object, controller: object, evaluator: object) -> None:
    """Raises ``UsageError`` where one of them is something else, or lacks the method that an author writes."""
    instance_of(owner, "space", space, Space)
    instance_of(owner, "controller", controller, Controller)
    instance_of(owner, "evaluator", evaluator, Evaluator, function="Function(score_of_text)")
    for each, base, names in (
        (controller, Controller, ("_ask", "_ask_many", "ask")),
        (evaluator, Evaluator, ("evaluate", "evaluate_query", "evaluate_batch")),
    ):
        cls = type(each)
        if all(getattr(cls, name) is getattr(base, name) for name in names):
            raise UsageError(f"{cls.__name__}: expected a method {names[0]}, got none; see docs/where_to_put_it.md")


def _check_together(space: Space, controller: Controller, evaluator: Evaluator) -> None:
    """Raises ``UsageError`` or ``MissingAbility`` if a started evaluator, or the space, lacks what is asked of it."""
    controller.check(space)
    evaluator.check_budgets(controller.budgets)
    if controller.reads_distribution:
        distribution_of(evaluator, type(controller).__name__)


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
    if settings.thin != stored.get("thin"):
        raise RunFolderError(f"thin: the run was made with {stored.get('thin')}, got {settings.thin}; start a new run")
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
    if settings.certainty is not None and evaluator.interval > 0:
        raise UsageError(
            f"certainty: {type(evaluator).__name__} learns during a search, so that its scores change on the way; "
            "leave certainty out, or give an evaluator that does not"
        )
    engine.set_batch(settings.batch, one_by_one=settings.lag is not None)
    engine.timeout = settings.timeout
    evaluator.start(space)
    _check_together(space, controller, evaluator)
    engine.check(evaluator)
    if settings.limits is None:
        return None
    return Limits(space, evaluator, settings.limits, settings.latency_table)


def make_executor(executor: ExecutorName | Executor, workers: int) -> Executor:
    """The executor of that name, or of the class at that import path.

    Raises:
        UnknownName: If there is none.
        UsageError: If that is no class of ``Executor``, or it takes no ``workers``.
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
        from archsearch.executors.ray.executor import RayExecutor

        return RayExecutor(workers)
    if is_path(executor):
        return _own_executor(executor, workers)
    raise UnknownName(
        f"no executor is called {executor!r}; expected local, ray or simulated; a class of your own works by its "
        "import path"
    )


def is_path(name: str) -> bool:
    """Whether this is the import path of an executor, and no name."""
    return "." in name or ":" in name


def _own_executor(path: str, workers: int) -> Executor:
    cls = import_object(path)
    if not (isinstance(cls, type) and issubclass(cls, Executor)):
        raise UsageError(f"executor: {path}: expected a class of Executor, got {cls!r:.80}")
    try:
        return cls(workers=workers)  # type: ignore[call-arg]
    except TypeError as error:
        raise UsageError(f"executor: {path}: expected a class that takes workers: {error}") from None


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
        **({"score_label": evaluator.score_label} if evaluator.score_label else {}),
        "plan": controller.plan._asdict(),
    }
