"""``archsearch run``, ``archsearch resume``, and ``archsearch control`` of a search that runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
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
            told=given["told"],
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
    components: dict[str, Any],
    settings: dict[str, Any],
    *,
    seed: int | None,
    out: str,
    told: list[str] | None = None,
    **how: Any,
) -> Result:
    """A new search, or the same one from where it stopped.

    So a script, a cluster's scheduler or an agent can repeat one command until it is done, and need not know whether it
    has been begun.

    Args:
        components: The space, the controller and the evaluator, by these names.
        settings: The fields of ``Settings`` by name.
        seed: As asked for; None: any.
        out: The run folder; there may be a run.
        told: What the controller hears before it begins; a run that is there was told it.
        **how: Further arguments that ``search`` and ``resume`` share: where to run, whom to tell.

    Raises:
        RunFolderError: If a run of something else is there.
        UsageError: If it has another seed, or other settings.
    """
    from archsearch.keeping.folder import RunFolder
    from archsearch.running.search import resume, search
    from archsearch.running.settings import Settings

    if not (RunFolder(out).path / "config.yaml").exists():
        return search(**components, **settings, seed=seed, out=out, told=told, **how)
    config = RunFolder(out).config()
    if seed is not None and seed != config["seed"]:
        raise UsageError(
            f"{out}: there is a run here already, of seed {config['seed']}; got seed {seed}: name another folder"
        )
    before = (config.get("told") or {}).get("from")
    if told is not None and told != before:
        raise UsageError(f"{out}: there is a run here already, told {before}; got told {told}: name another folder")
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
        "--told",
        type=str,
        nargs="+",
        default=None,
        help="run folders, Parquet or CSV files with results in this space, of which the controller hears first",
    )
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


# -- control -------------------------------------------------------------------------------------

VERBS = {
    "show": "what it is doing: its state, what is pending, what was put",
    "pause": "propose nothing for now; what is pending goes on",
    "resume": "propose again",
    "stop": "propose nothing more, and end when what is pending has ended",
    "put": "ARCHITECTURE: evaluate it next, and tell the controller",
    "cancel": "TRIAL: end a pending trial, which then has failed",
    "workers": "N: evaluate so many at once",
    "timeout": "SECONDS: give an evaluation up after so long; none: never",
    "limits": "NAME=VALUE ...: change limits on what may be evaluated; VALUE as 2e6, 'between 1e6 and 2e6', or none",
}
WITHOUT_VALUE = ("show", "pause", "resume", "stop")


def control(arguments: Sequence[str]) -> Answer:
    """Steers a search that runs."""
    verbs = "; ".join(f"{verb}: {what}" if verb in WITHOUT_VALUE else f"{verb} {what}" for verb, what in VERBS.items())
    parser = make_parser(
        "control", "Steer a search that runs in another terminal of this user. What changes its path survives a kill."
    )
    parser.add_argument("directory", type=str, help="the run folder")
    parser.add_argument("verb", type=str, nargs="?", default="show", help=verbs)
    parser.add_argument("values", type=str, nargs="*", default=[], help="what the verb is about")
    given = parser.parse_args(list(arguments)).as_dict()
    verb, directory = given["verb"], given["directory"]
    value = _value_of(verb, given["values"])
    from archsearch.limits.ranges import range_of
    from archsearch.steering import client

    answer = client.control(directory).ask(verb, value)
    lines = [str(answer["said"])]
    if verb == "show":
        lines += [f"pending  {each['trial']}  {each['name']}" for each in answer["pending"]]
        lines += [f"put      {name}" for name in answer["put"]]
        lines += [f"limit    {range_of(limit).of(name)}" for name, limit in answer["limits"].items()]
    return Answer("\n".join(lines), {"directory": directory, "verb": verb, **answer})


def _value_of(verb: str, values: Sequence[str]) -> Any:
    """The value of a verb, as the search takes it.

    Raises:
        UsageError: If there is no such verb, or its value is missing or none.
    """
    if verb not in VERBS:
        raise UsageError(f"verb: expected one of {', '.join(VERBS)}, got {verb!r:.40}; see 'archsearch control --help'")
    if verb in WITHOUT_VALUE:
        if values:
            raise UsageError(f"{verb}: expected nothing behind it, got {' '.join(values)!r:.80}")
        return None
    if not values or (len(values) > 1 and verb not in ("limits", "put")):
        raise UsageError(f"{verb}: expected {VERBS[verb].partition(':')[0]}, got {' '.join(values) or 'nothing'!r:.80}")
    if verb == "put":
        return " ".join(values)
    if verb == "limits":
        pairs = [each.partition("=") for each in values]
        return {name: value if " " in value.strip() else _number(f"limits: {name}", value) for name, _, value in pairs}
    number = _number(verb, values[0])
    if verb in ("cancel", "workers"):
        if number is None or number != int(number):
            raise UsageError(f"{verb}: expected a whole number, got {values[0]!r}")
        return int(number)
    return number


def _number(what: str, text: str) -> float | None:
    if text == "none":
        return None
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{what}: expected a number or none, got {text!r:.40}") from None
