"""Options that several commands share: components, seeds, executors."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.basics.classes import settle
from archsearch.cli.answers import Answer, result_document
from archsearch.errors import ArchsearchError, UsageError

if TYPE_CHECKING:
    import jsonargparse

    from archsearch.running.listener import Logger
    from archsearch.running.result import Result


DEFAULTS = {"space": "NASBench201", "controller": "Auto", "evaluator": "Tabular"}
DEFAULT_TRIALS = 1_000


def check_files(arguments: Sequence[str]) -> None:
    """Refuses files of options that name code, unless they are trusted; before anything parses them."""
    from archsearch.keeping.trust import check_files

    files = [value for option, value in itertools.pairwise(arguments) if option == "--config"]
    check_files(arguments, files + [each.partition("=")[2] for each in arguments if each.startswith("--config=")])


def add_trust(parser: jsonargparse.ArgumentParser, what: str = "the folder") -> None:
    """Adds ``--trust``: whether what a folder says may be built, imported and connected to."""
    parser.add_argument(
        "--trust",
        action="store_true",
        help=f"import and call what {what} names, and join a Ray that it names: only what you made, or who did is "
        "trusted as much as a program of theirs",
    )


def files_first(arguments: Sequence[str], only: Sequence[str] = ()) -> list[str]:
    """The arguments in the order in which later ones override earlier ones: preset, files, options.

    Args:
        arguments: The command line.
        only: The entries of a preset that the command takes; none: all.
    """
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
    texts = [_preset_text(given.preset[0], given.config, options, only)] if given.preset else []
    return [argument for text in (*texts, *given.config) for argument in ("--config", text)] + options


def _preset_text(preset: str, files: Sequence[str], options: Sequence[str], only: Sequence[str] = ()) -> str:
    """The options of a preset, without those of a component in whose place the user puts one of another class.

    Else jsonargparse would hand on settings that happen to have the same name: the epochs of a super-network would
    become those of each training.
    """
    import yaml

    from archsearch.files.yaml_files import read_yaml, yaml_text
    from archsearch.showing.listing import preset_file

    content: dict[str, Any] = read_yaml(preset_file(preset).read_text())
    others: dict[str, Any] = {}
    for path in files:
        with contextlib.suppress(yaml.YAMLError):  # which is said when the file is parsed
            found = read_yaml(_read(path))
            others |= found if isinstance(found, dict) else {}
    for name, value in _with_values(options):
        others[name.removeprefix("--")] = value
    if only:
        content = {name: value for name, value in content.items() if name in only}
    for what in DEFAULTS:
        if what in others and what in content and _class_name(others[what]) != _class_name(content[what]):
            del content[what]
    return yaml_text(content)


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


def add_loggers(parser: jsonargparse.ArgumentParser) -> None:
    """Adds ``--loggers``."""
    parser.add_argument(
        "--loggers",
        nargs="+",
        default=[],
        help="log every trial, too: tensorboard (to OUT/tensorboard), mlflow, wandb, or a "
        "class of your own by its import path",
    )


def loggers(given: dict[str, Any], out: str) -> list[Logger]:
    """The loggers that were asked for, which write into the run folder."""
    from archsearch.bridges.loggers import make_logger

    return [make_logger(name, out) for name in given["loggers"]]


def make_parser(command: str, description: str) -> jsonargparse.ArgumentParser:
    """The parser of a command."""
    from archsearch.cli.option_parser import OptionParser

    return OptionParser(command=command, description=description)


def instantiate(parser: jsonargparse.ArgumentParser, config: Any) -> Any:
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


def add_component(
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
    import_named(f"{what}s", option or what, arguments)
    # Were the default another class than the user's, jsonargparse would hand on settings that have the same name.
    named = _named_class(option or what, arguments) or default if default else None
    cls = load(named, f"{what}s") if named else None
    settle(cls)
    value = {"class_path": import_path(cls)} if named else None
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
    from archsearch.files.yaml_files import read_yaml

    found: Any = None
    for name, value in _with_values(arguments):
        if name == f"--{option}":
            found = value
        elif name == "--config":
            with contextlib.suppress(yaml.YAMLError):  # which is said when the file is parsed
                content = read_yaml(_read(value) or value)
                found = content.get(option, found) if isinstance(content, dict) else found
    if isinstance(found, dict):
        found = found.get("class_path")
    try:
        return None if found is None else import_path(load(str(found)))
    except ArchsearchError:
        return None  # which is said when the arguments are parsed


def import_named(kind: str, option: str, arguments: Sequence[str]) -> None:
    """Imports the classes of a kind that the user names, since they are found by short name once imported."""
    from archsearch.components import entry_points, load

    files = [argument.removeprefix("--config=") for argument in arguments if argument.endswith((".yaml", ".yml"))]
    text = " ".join(arguments) + " ".join(map(_read, files))
    for name, named in _with_values(arguments):
        if name in (f"--{option}", f"--{option}+", f"--{option}.help") and named.isidentifier():
            settle(load(named, kind))  # an unknown name is an error that says which ones there are
        part = name.startswith(f"--{option}.") and name.endswith(".help") and name != f"--{option}.help"
        if part and (not named or named.startswith("-")):
            raise UsageError(f"{name}: expected the name of the class whose settings are to be shown, got none")
    for each in (kind, "models"):  # which components are made of
        for name in entry_points(each):
            if re.search(rf"\b{name}\b", text):
                settle(load(name, each))


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def default_of(function: Callable[..., Any], name: str) -> Any:
    """Of an argument of the function that a command is about."""
    return inspect.signature(function).parameters[name].default


def add_seed(parser: jsonargparse.ArgumentParser, function: Callable[..., Any]) -> None:
    """Adds ``--seed``, as that function takes it."""
    seed = default_of(function, "seed")
    drawn = "; drawn and recorded if not given" if seed is None else ""
    parser.add_argument("--seed", type=int | None, default=seed, help=f"root seed, >= 0{drawn}")


def add_top(parser: jsonargparse.ArgumentParser, default: int, what: str = "") -> None:
    """Adds ``--top``; the default is that of the library, which a test sees to: its modules are imported afterwards."""
    parser.add_argument("--top", type=int, default=default, help=f"how many architectures{what}")


def add_out(parser: jsonargparse.ArgumentParser, what: str) -> None:
    """Adds ``--out``."""
    parser.add_argument("--out", type=str | None, default=None, help=what)


def add_executor(parser: jsonargparse.ArgumentParser, function: Callable[..., Any]) -> None:
    """Adds the arguments ``executor`` and ``workers`` of that function, and settings of the executors."""
    from archsearch.executors.ray.executor import RayExecutor
    from archsearch.running.settings import ExecutorName

    executor, workers = (default_of(function, name) for name in ("executor", "workers"))
    parser.add_argument(
        "--executor", type=ExecutorName | None, default=executor, help="local, ray, simulated, or a class of your own"
    )
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


def executor_of_run(given: dict[str, Any]) -> dict[str, Any]:
    """The arguments ``executor`` and ``workers`` of ``resume``: the run's own, where no other one is asked for."""
    import warnings

    from archsearch.files.damage import DamageWarning
    from archsearch.keeping.folder import RunFolder
    from archsearch.running.search import executor_of_run, is_path

    folder = RunFolder(given["directory"])
    if not (folder.path / "config.yaml").exists():
        return chosen_executor(given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamageWarning)  # which is said once, when the run goes on
        config = folder.config()
    if given["executor"] is not None and is_path(given["executor"]):  # the command line names it, not the folder
        return chosen_executor(given)
    if given["executor"] not in (None, config["executor"]):
        return chosen_executor(given)
    changes, where = _executor_settings(given, config["executor"]), f"{folder.path}/config.yaml"
    return {"executor": executor_of_run(config, where, workers=given["workers"], trust=given["trust"], changes=changes)}


def chosen_executor(given: dict[str, Any]) -> dict[str, Any]:
    """The arguments ``executor`` and ``workers`` of ``search``."""
    name, workers = given["executor"], given["workers"]
    settings = _executor_settings(given, name)
    if name == "ray":
        from archsearch.executors.ray.executor import RayExecutor

        return {"executor": RayExecutor(1 if workers is None else workers, **settings)}
    if settings:
        from archsearch.executors.local import LocalExecutor
        from archsearch.running.search import make_executor

        make_executor("local", workers or 1)  # has one worker, or says so
        return {"executor": LocalExecutor(**settings)}
    return {"executor": name, "workers": workers}


def _executor_settings(given: Mapping[str, Any], executor: str | None) -> dict[str, Any]:
    """The options that are settings of an executor, of which there must be none of another one."""
    from archsearch.executors.ray.executor import RayExecutor

    local = {name: given[name] for name in ("isolate", "memory_gib") if given.get(name) is not None}
    if local and executor != "local":
        raise UsageError(
            f"{as_options(local)}: only together with --executor local (on ray each worker is a process of its own "
            "already; simulated evaluates in this process)"
        )
    names = [name for name in inspect.signature(RayExecutor).parameters if name != "workers"]
    ray = {name: given[name] for name in names if given[name] != default_of(RayExecutor, name)}
    if ray and executor != "ray":
        raise UsageError(f"{as_options(ray)}: only together with --executor ray")
    return local or ray


def as_options(names: Iterable[str]) -> str:
    """Names of arguments as options, for a message."""
    return ", ".join(f"--{name}" for name in names)


def add_fields(parser: jsonargparse.ArgumentParser, cls: Any, optional: bool = False) -> None:
    """Adds an option for each field that has none yet; with ``optional``, None stands for what is not given."""
    import dataclasses
    import typing

    from archsearch.running.settings import field_texts

    types, texts = typing.get_type_hints(cls), field_texts(cls)
    missing = [each for each in dataclasses.fields(cls) if f"--{each.name}" not in parser._option_string_actions]
    for field in missing:
        text, type_, default = " ".join(texts[field.name].split()), types[field.name], field.default
        if optional:
            text, type_, default = f"{text} (default: {default})", type_ | None, None
        parser.add_argument(f"--{field.name}", type=type_, default=default, help=text)


def add_certainty(parser: jsonargparse.ArgumentParser) -> None:
    """Adds ``--certainty`` of settings to a command that has no others."""
    import typing

    from archsearch.running.settings import Settings, field_texts

    text = " ".join(field_texts(Settings)["certainty"].split())
    parser.add_argument("--certainty", type=typing.get_type_hints(Settings)["certainty"], default=None, help=text)


def finish(result: Result, out: str) -> Answer:
    """What a search found, as the answer of a command."""
    lines = [str(result), f"saved     {out}"]
    if interrupted := result.stopped == "interrupted":
        trust = "" if _all_installed(out) else " --trust"
        lines.append(f"          interrupted; go on by 'archsearch resume {out}{trust}'")
    return Answer("\n".join(lines), result_document(result, out), 130 if interrupted else 0)


def _all_installed(folder: str) -> bool:
    """Whether what a run is made of is installed, so that it goes on without being trusted."""
    from archsearch.components import not_installed
    from archsearch.keeping.folder import RunFolder

    config = RunFolder(folder).config()
    return all(not_installed(config[what], (f"{what}s",)) is None for what in DEFAULTS)
