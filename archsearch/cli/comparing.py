"""``archsearch compare``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.basics.words import say
from archsearch.cli.answers import Answer
from archsearch.cli.folders import output_folder
from archsearch.cli.options import (
    DEFAULTS,
    add_component,
    add_executor,
    add_fields,
    add_out,
    add_seed,
    add_trust,
    check_files,
    chosen_executor,
    import_named,
    instantiate,
    make_parser,
)
from archsearch.errors import ArchsearchError, UsageError

if TYPE_CHECKING:
    import jsonargparse


# -- compare -----------------------------------------------------------------------------------


def compare(arguments: Sequence[str]) -> Answer:
    """Compares evaluators, or controllers."""
    from archsearch.judging.bench import CONFIG, ComparisonSettings
    from archsearch.judging.comparison import DEFAULT
    from archsearch.running.settings import field_names
    from archsearch.stores.mirrors import written

    command = shlex.join(["archsearch", "compare", *arguments])
    arguments = _with_presets(arguments)
    own = ("config", "space", "reference", "evaluators", "again", "controllers")
    if not any(re.match(rf"--({'|'.join(own)})\b", argument) for argument in arguments):
        arguments = ["--config", str(DEFAULT), *arguments]
    check_files(arguments)
    parser = _compare_parser(arguments)
    config = parser.parse_args(list(arguments))
    given, objects = config.as_dict(), instantiate(parser, config)
    names = ("seed", *field_names(ComparisonSettings))
    settings = {name: given[name] for name in names if given[name] is not None} | chosen_executor(given)
    with output_folder(given, "comparisons") as named, written(named) as folder:
        out = str(folder)
        settings |= {"out": out, "progress": not given["quiet"]}
        if objects.controllers is not None:
            from archsearch.contests.controller_comparison import compare_controllers

            for name in ("samples", "budgets", "again", "controller", "timeout", "best"):
                if given[name] is not None:
                    raise UsageError(
                        f"{name}: it goes with a comparison of evaluators; leave it out with --controllers"
                    )
            evaluators = objects.evaluators or [objects.reference]
            result: Any = compare_controllers(objects.space, objects.controllers, evaluators, **settings)
        else:
            from archsearch.judging.comparison import compare as compare_evaluators

            is_own = _names_code(
                [objects.space, objects.reference, *_listed(objects.evaluators), *_listed(objects.again)]
            )
            command = shlex.join(["archsearch", "compare", "--config", str(Path(out) / CONFIG), *["--trust"] * is_own])
            if not objects.evaluators:
                raise UsageError("evaluators: expected one or more, such as --evaluators+ ZeroCost; or --controllers")
            components = {"again": objects.again, "controller": objects.controller}
            result = compare_evaluators(objects.space, objects.evaluators, objects.reference, **components, **settings)
        try:
            page = result.save(out, command)
        except ArchsearchError:
            say(result)  # it took long
            raise
        figures = result.figures().to_pylist()
        text = f"{result}\n\nsaved     {page}"
        return Answer(text, {"out": out, "page": page, "sentences": result.sentences, "figures": figures})


def _with_presets(arguments: Sequence[str]) -> list[str]:
    """The arguments with the evaluators of presets in place of ``--presets NAME ...``, named as these.

    ``--presets.SETTING VALUE`` becomes a setting of each.
    """
    from archsearch.files.yaml_files import read_yaml, yaml_text
    from archsearch.showing.listing import preset_file

    presets, settings, others = list[str](), dict[str, str](), list[str]()
    given = list(arguments)
    while given:
        argument = given.pop(0)
        name, equals, value = argument.partition("=")
        if name == "--presets":
            presets += [value] if equals else []
            while given and not given[0].startswith("-"):
                presets.append(given.pop(0))
        elif name.startswith("--presets."):
            settings[name.removeprefix("--presets.")] = value if equals else given.pop(0) if given else ""
        else:
            others.append(argument)
    if not presets and len(others) == len(arguments):
        return others
    if not presets:
        raise UsageError("--presets: expected names of presets, got none; see 'archsearch list presets'")
    if any(argument.startswith("--evaluators+") for argument in others):
        raise UsageError(
            "--presets: evaluators beside them need names of their own, --evaluators.MINE NAME; got --evaluators+"
        )
    evaluators = {name: read_yaml(preset_file(name).read_text())["evaluator"] for name in presets}
    for setting, value in settings.items():
        for name in presets:
            evaluators[name] = _with_setting(evaluators[name], setting.split("."), read_yaml(value))
    return ["--config", yaml_text({"evaluators": evaluators}), *others]


def _with_setting(component: Any, path: Sequence[str], value: Any) -> Any:
    """A component, or a dictionary, as plain data, with another value in one place."""
    if not path:
        return value
    if isinstance(component, str):
        component = {"class_path": component}
    if "class_path" in (component or {}):
        arguments = component.get("init_args") or {}
        return component | {"init_args": _with_setting(arguments, path, value)}
    component = component or {}
    return component | {path[0]: _with_setting(component.get(path[0]), path[1:], value)}


def _listed(given: Any) -> list[Any]:
    return list(given.values() if isinstance(given, Mapping) else given or ())


def _names_code(components: Sequence[Any]) -> bool:
    """Whether a file that describes these components names code that is not installed."""
    from archsearch.components import describe, not_installed

    return any(not_installed(describe(each)) is not None for each in components)


def _compare_parser(arguments: Sequence[str]) -> jsonargparse.ArgumentParser:
    from archsearch.components import entry_points
    from archsearch.contests.controller_comparison import compare_controllers
    from archsearch.controller import Controller
    from archsearch.evaluator import Evaluator
    from archsearch.judging.bench import ComparisonSettings

    parser = make_parser(
        "compare",
        "What does each evaluator cost, how well does it rank, what does a search with it find? With no options: "
        "NAS-Bench-201, a table's short trainings, zero-cost scores and predictors against the final test accuracy. "
        "With --controllers: the same for controllers, under one evaluator or several.",
    )
    parser.add_argument("--config", action="config", help="YAML file with any of these options; options override it")
    add_component(parser, "space", DEFAULTS["space"], arguments)
    add_component(parser, "evaluator", DEFAULTS["evaluator"], arguments, option="reference")
    add_component(parser, "controller", None, arguments)
    parser.add_argument(
        "--presets",
        nargs="+",
        default=None,
        help="compare the evaluators of these presets, see 'archsearch list presets', each by its name; a setting of "
        "one: --evaluators.NAME.SETTING VALUE, of all: --presets.SETTING VALUE",
    )
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
        import_named(kind, option, arguments)
        several: Any = list[base] if option == "again" else list[base] | dict[str, base]  # type: ignore[valid-type]
        help_text = f"{text}; {many.format(option)} ({', '.join(entry_points(kind))}, or import paths)"
        parser.add_argument(f"--{option}", type=several | None, default=None, help=help_text)
    add_fields(parser, ComparisonSettings, optional=True)
    add_executor(parser, compare_controllers)
    add_seed(parser, compare_controllers)
    add_out(parser, "folder; a comparison that was stopped goes on there; default: comparisons/ and the time of day")
    add_trust(parser, "a file of options")
    parser.add_argument("--quiet", action="store_true", help="do not say how far it is")
    return parser
