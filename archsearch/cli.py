"""The command line: ``archsearch run | resume | compare | status | report | verify | export | show | list``.

Options come from the signatures and docstrings of the classes themselves. Only what a command needs is imported, so
that ``archsearch --help`` is quick.
"""

from __future__ import annotations

import contextlib
import datetime
import difflib
import inspect
import itertools
import os
import re
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from archsearch.errors import ArchsearchError, UsageError
from archsearch.words import say

if TYPE_CHECKING:
    import jsonargparse

    from archsearch.loggers import Logger
    from archsearch.loop import Result

DEFAULTS = {"space": "NASBench201", "controller": "RegularizedEvolution", "evaluator": "Tabular"}
DEFAULT_TRIALS = 1_000
THREAD_SECONDS = 2.0
"""How long the program waits for threads that are left when it is done."""

HELP = """usage: archsearch COMMAND [OPTIONS]

Neural architecture search: who proposes (controllers), who scores (evaluators) and what is searched (spaces) are
interchangeable.

commands:
  run       search; with no options: NAS-Bench-201, regularized evolution, the embedded table
  resume    go on with a run that was stopped, or extend one that has ended
  compare   what each evaluator costs, how well it ranks, when it pays off; or controllers, side by side
  status    how far a search is, from another terminal
  report    the best architectures of a run, its learning curve, one HTML page
  verify    score the best of a run again, by a better evaluator: does their order hold?
  export    the best of a run as files without code: genotype, weights, ONNX, a model card
  show      one architecture as text and as a drawing
  list      controllers, evaluators, spaces and presets, and what fits together

options:
  --help     this text; 'archsearch COMMAND --help' for a command
  --version  the version
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    # One torch thread per process, unless the user says otherwise: small networks are slower with more.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if arguments[0] in ("-V", "--version"):
        from archsearch import __version__

        say(f"archsearch {__version__}")
        return 0
    command = COMMANDS.get(arguments[0])
    try:
        _say_warnings_in_one_line()
        if command is None:
            raise UsageError(_unknown_command(arguments[0]))
        from archsearch.trust import find_own_classes

        find_own_classes(arguments)
        return command(arguments[1:])
    except UsageError as error:
        say(f"archsearch: {error}", file=sys.stderr)
        return 2
    except ArchsearchError as error:
        say(f"archsearch: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("archsearch: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1


def _unknown_command(name: str) -> str:
    close = difflib.get_close_matches(name.strip("-").lower(), COMMANDS, n=1)
    hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(COMMANDS)}."
    return f"no command is called {name!r}; {hint} See 'archsearch --help'"


def console() -> None:
    """The program ``archsearch``: a command, and then the end, whatever threads an evaluator has left running."""
    status = 1
    try:
        status = main()
    finally:
        watch = threading.Thread(target=_end_anyway, args=(status,), daemon=True)
        watch.start()
    raise SystemExit(status)


def _end_anyway(status: int) -> None:
    """Ends this process if it waits for threads that do not end; it runs beside the ordinary end, which stops it."""
    end = time.monotonic() + THREAD_SECONDS
    left = [thread for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()]
    for thread in left:
        thread.join(max(0.0, end - time.monotonic()))
    names = sorted({thread.name for thread in left if thread.is_alive()})[:5]
    if not names:
        return
    print(f"archsearch: ended without waiting for what still runs: {', '.join(names)}", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _say_warnings_in_one_line() -> None:
    """Damage is told as errors are; Python would add a line of this program."""
    import warnings

    usual = warnings.formatwarning

    def one_line(message: Any, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
        if category.__name__ == "DamageWarning":
            return f"archsearch: {message}\n"
        return usual(message, category, filename, lineno, line)

    if usual.__name__ != one_line.__name__:
        warnings.formatwarning = one_line


# -- run and resume ----------------------------------------------------------------------------


def run(arguments: Sequence[str]) -> int:
    """Runs a search."""
    arguments = _files_first(arguments)
    _check_files(arguments)
    parser = _run_parser(arguments)
    config = parser.parse_args(list(arguments))
    given = config.as_dict()
    if given["preset"] is not None:
        raise UsageError("preset: give it as an option, --preset; a file with options cannot name one")
    objects = _instantiate(parser, config)
    from archsearch.loop import search
    from archsearch.settings import ENDS, Settings, field_names

    settings = {name: given[name] for name in field_names(Settings)}
    if all(settings[name] is None for name in ENDS):
        settings["trials"] = DEFAULT_TRIALS
    out = _out(given, "runs")
    result = search(
        objects.space,
        objects.controller,
        objects.evaluator,
        seed=given["seed"],
        out=out,
        on_trial=_loggers(given, out),
        progress=not given["quiet"],
        **_executor(given),
        **settings,
    )
    return _finish(result, out)


def resume(arguments: Sequence[str]) -> int:
    """Goes on with a run."""
    from archsearch.loop import resume as resume_search
    from archsearch.settings import Settings, field_names

    parser = _parser(
        "resume", "Go on with a run from its folder: nothing is lost, nothing completed is evaluated again."
    )
    parser.add_argument("directory", type=str, help="the run folder")
    for what in DEFAULTS:
        _add_component(parser, what, None, arguments)
    _add_executor(parser, resume_search)
    _add_fields(parser, Settings)
    _add_loggers(parser)
    _add_trust(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no notes")
    config = parser.parse_args(list(arguments))
    given = config.as_dict()
    objects = _instantiate(parser, config)
    defaults = parser.get_defaults().as_dict()
    changes = {name: given[name] for name in field_names(Settings) if given[name] != defaults[name]}
    executor = _executor_of_run(given)
    result = resume_search(
        given["directory"],
        space=objects.space,
        controller=objects.controller,
        evaluator=objects.evaluator,
        on_trial=_loggers(given, given["directory"]),
        progress=not given["quiet"],
        trust=given["trust"],
        **executor,
        **changes,
    )
    return _finish(result, given["directory"])


def _check_files(arguments: Sequence[str]) -> None:
    """Refuses files of options that name code, unless they are trusted; before anything parses them."""
    from archsearch.trust import check_files

    files = [value for option, value in itertools.pairwise(arguments) if option == "--config"]
    check_files(arguments, files + [each.partition("=")[2] for each in arguments if each.startswith("--config=")])


def _add_trust(parser: jsonargparse.ArgumentParser, what: str = "the folder") -> None:
    """Adds ``--trust``: whether what a folder says may be built, imported and connected to."""
    parser.add_argument(
        "--trust",
        action="store_true",
        help=f"import and call what {what} names, and join a Ray that it names: only what you made, or who did is "
        "trusted as much as a program of theirs",
    )


def _files_first(arguments: Sequence[str]) -> list[str]:
    """The arguments in the order in which later ones override earlier ones: preset, files, options."""
    import argparse

    files = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    files.add_argument("--preset", action="append", default=[])
    files.add_argument("--config", action="append", default=[])
    try:
        given, options = files.parse_known_args(list(arguments))
    except argparse.ArgumentError as error:
        raise UsageError(f"{error}; see 'archsearch run --help'") from None
    if len(given.preset) > 1:
        raise UsageError(f"preset: expected one, got {', '.join(given.preset)}")
    texts = [_preset_text(given.preset[0], given.config, options)] if given.preset else []
    return [argument for text in (*texts, *given.config) for argument in ("--config", text)] + options


def _preset_text(preset: str, files: Sequence[str], options: Sequence[str]) -> str:
    """The options of a preset, without those of a component in whose place the user puts one of another class.

    Else jsonargparse would hand on settings that happen to have the same name: the epochs of a super-network would
    become those of each training.
    """
    import yaml

    from archsearch.report import preset_file

    content: dict[str, Any] = yaml.safe_load(preset_file(preset).read_text())
    others: dict[str, Any] = {}
    for path in files:
        with contextlib.suppress(yaml.YAMLError):  # which is said when the file is parsed
            found = yaml.safe_load(_read(path))
            others |= found if isinstance(found, dict) else {}
    for name, value in _with_values(options):
        others[name.removeprefix("--")] = value
    for what in DEFAULTS:
        if what in others and _class_name(others[what]) != _class_name(content[what]):
            del content[what]
    return yaml.safe_dump(content)


def _with_values(arguments: Sequence[str]) -> list[tuple[str, str]]:
    """Each argument with the value that it would have as an option: after an equals sign, or else the next one."""
    pairs = []
    for given, following in itertools.zip_longest(arguments, arguments[1:], fillvalue=""):
        name, equals, value = given.partition("=")
        pairs.append((name, value if equals else following))
    return pairs


def _class_name(component: Any) -> str:
    """The last part of the name of a class, given alone or with its settings."""
    path = component.get("class_path", "") if isinstance(component, dict) else component
    return str(path).replace(":", ".").rpartition(".")[2]


def _run_parser(arguments: Sequence[str]) -> jsonargparse.ArgumentParser:
    from archsearch.loop import search
    from archsearch.settings import Settings

    parser = _parser("run", "Search. With no options: NAS-Bench-201, regularized evolution, the embedded table.")
    parser.add_argument(
        "--preset",
        type=str | None,
        default=None,
        help="a whole method, see 'archsearch list presets'; options override it",
    )
    parser.add_argument(
        "--config",
        action="config",
        help="YAML file with any of these options; it overrides a preset, options override it",
    )
    for what, name in DEFAULTS.items():
        _add_component(parser, what, name, arguments)
    _add_executor(parser, search)
    _add_fields(parser, Settings)
    _add_seed(parser, search)
    _add_out(parser, "run folder; default: runs/ and the time of day")
    _add_loggers(parser)
    _add_trust(parser, "a file of options")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no notes")
    return parser


def _add_loggers(parser: jsonargparse.ArgumentParser) -> None:
    """Adds ``--loggers``."""
    parser.add_argument(
        "--loggers", nargs="+", default=[], help="log every trial, too: tensorboard (to OUT/tensorboard), mlflow"
    )


def _loggers(given: dict[str, Any], out: str) -> list[Logger]:
    """The loggers that were asked for, which write into the run folder."""
    from archsearch.loggers import make_logger

    return [make_logger(name, out) for name in given["loggers"]]


def _parser(command: str, description: str) -> jsonargparse.ArgumentParser:
    """The parser of a command."""
    from archsearch.option_parser import OptionParser

    return OptionParser(command=command, description=description)


def _instantiate(parser: jsonargparse.ArgumentParser, config: Any) -> Any:
    """The components that were asked for; what a class says of its settings comes through as it is."""
    try:
        return parser.instantiate(config)
    except UsageError:
        raise
    except ValueError as error:
        # Where there may be none or several, jsonargparse hides the error of the class in one of its own.
        _build_all(config.as_dict())
        raise UsageError(str(error)) from None


def _build_all(value: Any) -> None:
    """Makes every component in a configuration, so that the one that cannot be made says why."""
    from archsearch.components import build

    if isinstance(value, dict) and "class_path" in value:
        build(value, trust=True)  # it is on the user's command line, or in files that were checked
    elif isinstance(value, (dict, list)):
        for each in value.values() if isinstance(value, dict) else value:
            _build_all(each)


def _add_component(
    parser: jsonargparse.ArgumentParser,
    what: str,
    default: str | None,
    arguments: Sequence[str],
    option: str | None = None,
) -> None:
    """Adds ``--space``, ``--controller`` or ``--evaluator``, whose settings are options of their own.

    Args:
        parser: What it is added to.
        what: space, controller or evaluator.
        default: Name of the class that is used if none is given; None: no component then.
        arguments: The command line.
        option: Name of the option, if it is another one.
    """
    from archsearch.components import entry_points, import_path, load
    from archsearch.controller import Controller
    from archsearch.evaluator import Evaluator
    from archsearch.space import Space

    base: type = {"space": Space, "controller": Controller, "evaluator": Evaluator}[what]
    _import_named(f"{what}s", option or what, arguments)
    # Were the default another class than the user's, jsonargparse would hand on settings that have the same name.
    named = _named_class(option or what, arguments) or default if default else None
    value = {"class_path": import_path(load(named, f"{what}s"))} if named else None
    known = ", ".join(entry_points(f"{what}s"))
    parser.add_argument(
        f"--{option or what}",
        type=base if default else base | None,
        default=value,
        help=f"{known}, or a class of your own by its import path (default: {default or 'as the run has it'})",
    )


def _named_class(option: str, arguments: Sequence[str]) -> str | None:
    """The class that the user gives for a component, on the command line or in files; None: none that can be told."""
    import yaml

    from archsearch.components import import_path, load

    found: Any = None
    for name, value in _with_values(arguments):
        if name == f"--{option}":
            found = value
        elif name == "--config":
            with contextlib.suppress(yaml.YAMLError):  # which is said when the file is parsed
                content = yaml.safe_load(_read(value) or value)
                found = content.get(option, found) if isinstance(content, dict) else found
    if isinstance(found, dict):
        found = found.get("class_path")
    try:
        return None if found is None else import_path(load(str(found)))
    except ArchsearchError:
        return None  # which is said when the arguments are parsed


def _import_named(kind: str, option: str, arguments: Sequence[str]) -> None:
    """Imports the classes of a kind that the user names, since they are found by short name once imported."""
    from archsearch.components import entry_points, load

    files = [argument.removeprefix("--config=") for argument in arguments if argument.endswith((".yaml", ".yml"))]
    text = " ".join(arguments) + " ".join(map(_read, files))
    for name, named in _with_values(arguments):
        if name in (f"--{option}", f"--{option}+", f"--{option}.help") and named.isidentifier():
            load(named, kind)  # an unknown name is an error that says which ones there are
    for each in (kind, "models"):  # which components are made of
        for name in entry_points(each):
            if re.search(rf"\b{name}\b", text):
                load(name, each)


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def _default(function: Callable[..., Any], name: str) -> Any:
    """Of an argument of the function that a command is about."""
    return inspect.signature(function).parameters[name].default


def _add_seed(parser: jsonargparse.ArgumentParser, function: Callable[..., Any]) -> None:
    """Adds ``--seed``, as that function takes it."""
    seed = _default(function, "seed")
    drawn = "; drawn and recorded if not given" if seed is None else ""
    parser.add_argument("--seed", type=int | None, default=seed, help=f"root seed, >= 0{drawn}")


def _add_top(parser: jsonargparse.ArgumentParser, default: int, what: str = "") -> None:
    """Adds ``--top``; the default is that of the library, which a test sees to: its modules are imported afterwards."""
    parser.add_argument("--top", type=int, default=default, help=f"how many architectures{what}")


def _add_out(parser: jsonargparse.ArgumentParser, what: str) -> None:
    """Adds ``--out``."""
    parser.add_argument("--out", type=str | None, default=None, help=what)


def _out(given: Mapping[str, Any], folder: str) -> str:
    """Where to write: as given, else below that folder."""
    return str(given["out"] or f"{folder}/{datetime.datetime.now():%Y-%m-%d-%H%M%S}")


def _add_executor(parser: jsonargparse.ArgumentParser, function: Callable[..., Any]) -> None:
    """Adds the arguments ``executor`` and ``workers`` of that function, and settings of the executors."""
    from archsearch.ray_executor import RayExecutor
    from archsearch.settings import ExecutorName

    executor, workers = (_default(function, name) for name in ("executor", "workers"))
    parser.add_argument("--executor", type=ExecutorName | None, default=executor, help="local, ray or simulated")
    parser.add_argument("--workers", type=int | None, default=workers, help="parallel evaluations (ray, simulated)")
    parser.add_class_arguments(RayExecutor, skip={"workers"})
    _add_isolation(parser)


def _add_isolation(parser: jsonargparse.ArgumentParser) -> None:
    """Adds the options of the local executor."""
    import jsonargparse

    parser.add_argument(
        "--isolate",
        action=jsonargparse.ActionYesNo,
        nargs="?",
        default=None,
        help="evaluate in a worker process, which may hang, exit or crash (local; always so with a timeout)",
    )
    parser.add_argument(
        "--memory_gib",
        type=float | None,
        default=None,
        help="the most memory of its own that this worker process may ask for, in GiB (local, on Linux)",
    )


def _executor_of_run(given: dict[str, Any]) -> dict[str, Any]:
    """The arguments ``executor`` and ``workers`` of ``resume``: the run's own, where no other one is asked for."""
    import warnings

    from archsearch.damage import DamageWarning
    from archsearch.history import RunFolder
    from archsearch.loop import executor_of_run

    folder = RunFolder(given["directory"])
    if not (folder.path / "config.yaml").exists():
        return _executor(given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamageWarning)  # which is said once, when the run goes on
        config = folder.config()
    if given["executor"] not in (None, config["executor"]):
        return _executor(given)
    changes, where = _executor_settings(given, config["executor"]), f"{folder.path}/config.yaml"
    return {"executor": executor_of_run(config, where, workers=given["workers"], trust=given["trust"], changes=changes)}


def _executor(given: dict[str, Any]) -> dict[str, Any]:
    """The arguments ``executor`` and ``workers`` of ``search``."""
    name, workers = given["executor"], given["workers"]
    settings = _executor_settings(given, name)
    if name == "ray":
        from archsearch.ray_executor import RayExecutor

        return {"executor": RayExecutor(1 if workers is None else workers, **settings)}
    if settings:
        from archsearch.local_executor import LocalExecutor
        from archsearch.loop import make_executor

        make_executor("local", workers or 1)  # has one worker, or says so
        return {"executor": LocalExecutor(**settings)}
    return {"executor": name, "workers": workers}


def _executor_settings(given: Mapping[str, Any], executor: str | None) -> dict[str, Any]:
    """The options that are settings of an executor, of which there must be none of another one."""
    from archsearch.ray_executor import RayExecutor

    local = {name: given[name] for name in ("isolate", "memory_gib") if given.get(name) is not None}
    if local and executor != "local":
        raise UsageError(
            f"{_options(local)}: only together with --executor local (on ray each worker is a process of its own "
            "already; simulated evaluates in this process)"
        )
    names = [name for name in inspect.signature(RayExecutor).parameters if name != "workers"]
    ray = {name: given[name] for name in names if given[name] != _default(RayExecutor, name)}
    if ray and executor != "ray":
        raise UsageError(f"{_options(ray)}: only together with --executor ray")
    return local or ray


def _options(names: Iterable[str]) -> str:
    """Names of arguments as options, for a message."""
    return ", ".join(f"--{name}" for name in names)


def _add_fields(parser: jsonargparse.ArgumentParser, cls: Any, optional: bool = False) -> None:
    """Adds an option for each field of a dataclass; with ``optional``, None stands for what is not given."""
    import dataclasses
    import typing

    from archsearch.settings import field_texts

    types, texts = typing.get_type_hints(cls), field_texts(cls)
    for field in dataclasses.fields(cls):
        text, type_, default = " ".join(texts[field.name].split()), types[field.name], field.default
        if optional:
            text, type_, default = f"{text} (default: {default})", type_ | None, None
        parser.add_argument(f"--{field.name}", type=type_, default=default, help=text)


def _finish(result: Result, out: str) -> int:
    """Prints what a search found; the exit status of the command."""
    say(result)
    say(f"saved     {out}")
    if result.stopped == "interrupted":
        trust = "" if _all_installed(out) else " --trust"
        say(f"          interrupted; go on by 'archsearch resume {out}{trust}'")
        return 130
    return 0


def _all_installed(folder: str) -> bool:
    """Whether what a run is made of is installed, so that it goes on without being trusted."""
    from archsearch.components import not_installed
    from archsearch.history import RunFolder

    config = RunFolder(folder).config()
    return all(not_installed(config[what], (f"{what}s",)) is None for what in DEFAULTS)


# -- compare -----------------------------------------------------------------------------------


def compare(arguments: Sequence[str]) -> int:
    """Compares evaluators, or controllers."""
    from archsearch.comparison import CONFIG, DEFAULT, ComparisonSettings
    from archsearch.settings import field_names

    command = shlex.join(["archsearch", "compare", *arguments])
    own = ("config", "space", "reference", "evaluators", "again", "controllers")
    if not any(re.match(rf"--({'|'.join(own)})\b", argument) for argument in arguments):
        arguments = ["--config", str(DEFAULT), *arguments]
    _check_files(arguments)
    parser = _compare_parser(arguments)
    config = parser.parse_args(list(arguments))
    given, objects = config.as_dict(), _instantiate(parser, config)
    names = ("seed", *field_names(ComparisonSettings))
    settings = {name: given[name] for name in names if given[name] is not None} | _executor(given)
    out = _out(given, "comparisons")
    settings |= {"out": out, "progress": not given["quiet"]}
    if objects.controllers is not None:
        from archsearch.controller_comparison import compare_controllers

        for name in ("samples", "budgets", "again", "controller", "timeout", "best"):
            if given[name] is not None:
                raise UsageError(f"{name}: it goes with a comparison of evaluators; leave it out with --controllers")
        evaluators = objects.evaluators or [objects.reference]
        result: Any = compare_controllers(objects.space, objects.controllers, evaluators, **settings)
    else:
        from archsearch.comparison import compare as compare_evaluators

        is_own = _names_code([objects.space, objects.reference, *_listed(objects.evaluators), *_listed(objects.again)])
        command = shlex.join(["archsearch", "compare", "--config", str(Path(out) / CONFIG), *["--trust"] * is_own])
        if not objects.evaluators:
            raise UsageError("evaluators: expected one or more, such as --evaluators+ ZeroCost; or --controllers")
        components = {"again": objects.again, "controller": objects.controller}
        result = compare_evaluators(objects.space, objects.evaluators, objects.reference, **components, **settings)
    say(result)
    say(f"\nsaved     {result.save(out, command)}")
    return 0


def _listed(given: Any) -> list[Any]:
    return list(given.values() if isinstance(given, Mapping) else given or ())


def _names_code(components: Sequence[Any]) -> bool:
    """Whether a file that describes these components names code that is not installed."""
    from archsearch.components import describe, not_installed

    return any(not_installed(describe(each)) is not None for each in components)


def _compare_parser(arguments: Sequence[str]) -> jsonargparse.ArgumentParser:
    from archsearch.comparison import ComparisonSettings
    from archsearch.components import entry_points
    from archsearch.controller import Controller
    from archsearch.controller_comparison import compare_controllers
    from archsearch.evaluator import Evaluator

    parser = _parser(
        "compare",
        "What does each evaluator cost, how well does it rank, what does a search with it find? With no options: "
        "NAS-Bench-201, a table's short trainings, zero-cost scores and predictors against the final test accuracy. "
        "With --controllers: the same for controllers, under one evaluator or several.",
    )
    parser.add_argument("--config", action="config", help="YAML file with any of these options; options override it")
    _add_component(parser, "space", DEFAULTS["space"], arguments)
    _add_component(parser, "evaluator", DEFAULTS["evaluator"], arguments, option="reference")
    _add_component(parser, "controller", None, arguments)
    many = "repeat --{0}+ NAME, each with its settings as --{0}.SETTING VALUE; or by names of your own: --{0}.MINE NAME"
    for option in ("evaluators", "controllers"):
        kinds = [
            "+" if given.startswith(f"--{option}+") else "." for given in arguments if given.startswith(f"--{option}")
        ]
        if "+" in kinds and kinds[0] == ".":  # jsonargparse would forget the ones before
            raise UsageError(
                f"--{option}: give all as --{option}+ NAME, or all by names of your own, --{option}.MINE NAME"
            )
    for option, base, text in (
        ("evaluators", Evaluator, "what is compared; with --controllers: the tasks"),
        ("again", Evaluator, "stand for the reference under different seeds, for the noise ceiling"),
        ("controllers", Controller, "compare these controllers instead"),
    ):
        kind = "controllers" if base is Controller else "evaluators"
        _import_named(kind, option, arguments)
        several: Any = list[base] if option == "again" else list[base] | dict[str, base]  # type: ignore[valid-type]
        help_text = f"{text}; {many.format(option)} ({', '.join(entry_points(kind))}, or import paths)"
        parser.add_argument(f"--{option}", type=several | None, default=None, help=help_text)
    _add_fields(parser, ComparisonSettings, optional=True)
    _add_executor(parser, compare_controllers)
    _add_seed(parser, compare_controllers)
    _add_out(parser, "folder; a comparison that was stopped goes on there; default: comparisons/ and the time of day")
    _add_trust(parser, "a file of options")
    parser.add_argument("--quiet", action="store_true", help="do not say how far it is")
    return parser


# -- report, verify, export, show, list --------------------------------------------------------------------------


def report(arguments: Sequence[str]) -> int:
    """Reports a run."""
    parser = _parser(
        "report", "The best architectures of a run, its learning curve, one HTML page in DIRECTORY/report."
    )
    parser.add_argument("directory", type=str, help="the run folder; the search may still be running")
    _add_top(parser, 10, " to list")
    parser.add_argument(
        "--objectives",
        type=dict[str, Literal["max", "min"]] | None,
        default=None,
        help="the score or metrics of which to show the best compromises, such as "
        "'{score: max, params: min}'; default: those of the controller, if it has several",
    )
    _add_trust(parser)
    given = parser.parse_args(list(arguments)).as_dict()
    from archsearch.report import report as report_run

    report_run(given["directory"], given["top"], given["objectives"], trust=given["trust"])
    return 0


def status(arguments: Sequence[str]) -> int:
    """Says how far a run is."""
    parser = _parser("status", "How far a search is: progress, rate, failures, cost so far, expected end.")
    parser.add_argument("directory", type=str, help="the run folder; the search may be running, in another terminal")
    _add_trust(parser)
    given = parser.parse_args(list(arguments)).as_dict()
    from archsearch.report import status as status_of_run

    say(status_of_run(given["directory"], trust=given["trust"]))
    return 0


def verify(arguments: Sequence[str]) -> int:
    """Verifies the best of a run."""
    from archsearch.loop import search

    parser = _parser(
        "verify",
        "Score the best architectures of a run again, by an evaluator that is trusted: does their order hold? Stopped, "
        "the same command goes on.",
    )
    parser.add_argument("directory", type=str, help="the run folder; the search may still be running")
    _add_component(parser, "evaluator", None, arguments)
    _add_top(parser, 5)
    _add_seed(parser, search)
    _add_executor(parser, search)
    _add_trust(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    config = parser.parse_args(list(arguments))
    given = config.as_dict()
    evaluator = _instantiate(parser, config).evaluator
    if evaluator is None:
        raise UsageError(
            "verify: expected an evaluator to score by, such as --evaluator Training --evaluator.task digits"
        )
    from archsearch.verification import verify as verify_run

    say(
        verify_run(
            given["directory"],
            evaluator,
            top=given["top"],
            seed=given["seed"],
            progress=not given["quiet"],
            trust=given["trust"],
            **_executor(given),
        )
    )
    return 0


def export(arguments: Sequence[str]) -> int:
    """Exports the best of a run."""
    parser = _parser(
        "export",
        "Write the best architectures of a run to folders of their own: genotype, weights, ONNX, a model card.",
    )
    parser.add_argument("directory", type=str, help="the run folder")
    _add_top(parser, 1)
    parser.add_argument("--trial", type=int | None, default=None, help="this trial instead of the best")
    _add_component(parser, "evaluator", None, arguments)
    _add_out(parser, "where to; default: DIRECTORY/export")
    parser.add_argument("--onnx", action="store_true", help="write the network as ONNX, too (needs archsearch[onnx])")
    _add_trust(parser)
    config = parser.parse_args(list(arguments))
    given = config.as_dict()
    from archsearch.artefacts import export as export_run

    export_run(
        given["directory"],
        top=given["top"],
        trial=given["trial"],
        evaluator=_instantiate(parser, config).evaluator,
        out=given["out"],
        onnx=given["onnx"],
        trust=given["trust"],
    )
    return 0


def show(arguments: Sequence[str]) -> int:
    """Shows an architecture."""
    parser = _parser("show", "One architecture as text and, with --out, as a drawing.")
    parser.add_argument(
        "what", type=str, help="a run folder (its best is shown), or an architecture in the space's own notation"
    )
    _add_component(parser, "space", DEFAULTS["space"], arguments)
    parser.add_argument(
        "--trial", type=int | None, default=None, help="with a run folder: this trial instead of the best"
    )
    _add_out(parser, "draw it to this .png or .svg file")
    _add_trust(parser)
    config = parser.parse_args(list(arguments))
    given = config.as_dict()
    from archsearch.report import show as show_architecture

    space = _instantiate(parser, config).space
    say(show_architecture(given["what"], space, given["trial"], given["out"], trust=given["trust"]))
    return 0


def list_components(arguments: Sequence[str]) -> int:
    """Lists what there is."""
    parser = _parser(
        "list", "Controllers, evaluators, models, spaces and presets of whole methods, with one line each."
    )
    parser.add_argument(
        "names",
        nargs="*",
        default=[],
        help="controllers, evaluators, models, spaces or presets; also classes of your own by import path",
    )
    parser.add_argument(
        "--compatible-with", type=str | None, default=None, metavar="NAME", help="only say what fits NAME, and why not"
    )
    given = parser.parse_args(list(arguments)).as_dict()
    from archsearch.report import compatibility, component_lines

    if given["compatible_with"]:
        say("\n".join(compatibility(given["compatible_with"])))
    else:
        say("\n".join(component_lines(given["names"] or [])))
    return 0


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "run": run,
    "resume": resume,
    "compare": compare,
    "status": status,
    "report": report,
    "verify": verify,
    "export": export,
    "show": show,
    "list": list_components,
}


if __name__ == "__main__":
    # 'python -m' puts the current folder first: a file numpy.py there would stand for the package.
    sys.path[:] = [path for path in sys.path if path not in ("", os.getcwd())]
    console()
