"""``archsearch run`` and ``archsearch resume``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.cli.answers import Answer
from archsearch.cli.folders import output_folder
from archsearch.cli.options import (
    DEFAULT_TRIALS,
    DEFAULTS,
    add_component,
    add_executor,
    add_fields,
    add_loggers,
    add_out,
    add_seed,
    add_trust,
    check_files,
    chosen_executor,
    executor_of_run,
    files_first,
    finish,
    instantiate,
    loggers,
    make_parser,
)
from archsearch.errors import RunFolderError, UsageError

if TYPE_CHECKING:
    import jsonargparse

    from archsearch.running.result import Result


# -- run and resume ----------------------------------------------------------------------------


def run(arguments: Sequence[str]) -> Answer:
    """Runs a search."""
    arguments = files_first(arguments)
    check_files(arguments)
    parser = _run_parser(arguments)
    config = parser.parse_args(list(arguments))
    given = config.as_dict()
    if given["preset"] is not None:
        raise UsageError("preset: give it as an option, --preset; a file with options cannot name one")
    objects = instantiate(parser, config)
    from archsearch.running.settings import ENDS, Settings, field_names

    settings = {name: given[name] for name in field_names(Settings)}
    if all(settings[name] is None for name in ENDS):
        settings["trials"] = DEFAULT_TRIALS
    with output_folder(given, "runs") as out:
        result = search_or_go_on(
            {what: objects[what] for what in DEFAULTS},
            settings,
            seed=given["seed"],
            out=out,
            on_trial=loggers(given, out),
            progress=not given["quiet"],
            **chosen_executor(given),
        )
        return finish(result, out)


def resume(arguments: Sequence[str]) -> Answer:
    """Goes on with a run."""
    from archsearch.running.search import resume as resume_search
    from archsearch.running.settings import Settings, field_names

    parser = make_parser(
        "resume", "Go on with a run from its folder: nothing is lost, nothing completed is evaluated again."
    )
    parser.add_argument("directory", type=str, help="the run folder")
    for what in DEFAULTS:
        add_component(parser, what, None, arguments)
    add_executor(parser, resume_search)
    add_fields(parser, Settings)
    add_loggers(parser)
    add_trust(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no notes")
    config = parser.parse_args(list(arguments))
    given = config.as_dict()
    objects = instantiate(parser, config)
    defaults = parser.get_defaults().as_dict()
    changes = {name: given[name] for name in field_names(Settings) if given[name] != defaults[name]}
    executor = executor_of_run(given)
    result = resume_search(
        given["directory"],
        space=objects.space,
        controller=objects.controller,
        evaluator=objects.evaluator,
        on_trial=loggers(given, given["directory"]),
        progress=not given["quiet"],
        trust=given["trust"],
        **executor,
        **changes,
    )
    return finish(result, given["directory"])


def search_or_go_on(
    components: dict[str, Any], settings: dict[str, Any], *, seed: int | None, out: str, **how: Any
) -> Result:
    """A new search, or the same one from where it stopped.

    So a script, a cluster's scheduler or an agent can repeat one command until it is done, and need not know whether it
    has been begun.

    Args:
        components: The space, the controller and the evaluator, by these names.
        settings: The fields of ``Settings`` by name.
        seed: As asked for; None: any.
        out: The run folder; there may be a run.
        **how: Further arguments that ``search`` and ``resume`` share: where to run, whom to tell.

    Raises:
        RunFolderError: If a run of something else is there.
        UsageError: If it has another seed, or other settings.
    """
    from archsearch.keeping.folder import RunFolder
    from archsearch.running.search import resume, search
    from archsearch.running.settings import Settings

    if not (Path(out) / "config.yaml").exists():
        return search(**components, **settings, seed=seed, out=out, **how)
    config = RunFolder(out).config()
    if seed is not None and seed != config["seed"]:
        raise UsageError(
            f"{out}: there is a run here already, of seed {config['seed']}; got seed {seed}: name another folder"
        )
    asked = dataclasses.asdict(Settings(**settings))
    # A folder of an older version may not name all settings.
    known = {each.name: config["settings"].get(each.name, each.default) for each in dataclasses.fields(Settings)}
    if differing := [name for name in asked if asked[name] != known[name]]:
        name = differing[0]
        raise UsageError(
            f"{out}: there is a run here already, of {name} {known[name]}; got {asked[name]}: "
            f"'archsearch resume {out} --{name} {asked[name]}' changes that, or name another folder"
        )
    try:
        return resume(out, **components, **how)
    except RunFolderError as error:
        raise RunFolderError(f"there is a run here already: {error}") from None


def _run_parser(arguments: Sequence[str]) -> jsonargparse.ArgumentParser:
    from archsearch.running.search import search
    from archsearch.running.settings import Settings, field_texts

    parser = make_parser("run", "Search. With no options: NAS-Bench-201, the embedded table, Auto.")
    for what, name in DEFAULTS.items():
        add_component(parser, what, name, arguments)
    default = f"(default: {DEFAULT_TRIALS:,} if nothing else would stop the search)"
    parser.add_argument(
        "--trials", type=int | None, default=None, help=f"{field_texts(Settings)['trials'].strip()} {default}"
    )
    add_out(parser, "run folder; the same command again goes on with the run there; default: runs/ and the time of day")
    add_executor(parser, search)
    add_seed(parser, search)
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
    add_fields(parser, Settings)
    add_loggers(parser)
    add_trust(parser, "a file of options")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no notes")
    return parser
