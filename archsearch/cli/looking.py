"""Commands that look at runs, such as ``status`` and ``report``; and ``list``, at what there is."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from archsearch.basics.words import say
from archsearch.cli.answers import Answer, verification_document
from archsearch.cli.options import (
    DEFAULTS,
    add_certainty,
    add_component,
    add_executor,
    add_out,
    add_seed,
    add_top,
    add_trust,
    chosen_executor,
    instantiate,
    make_parser,
)
from archsearch.errors import UsageError

if TYPE_CHECKING:
    from archsearch.showing.status import Told

WATCH_SECONDS = 1.0
"""Between two looks at runs that are watched."""
LEISURE = 9.0
"""Times the processor time of a look that is waited before the next: a long run must not be slowed by being watched."""

# -- report, verify, export, show, list --------------------------------------------------------------------------


def report(arguments: Sequence[str]) -> Answer:
    """Reports a run."""
    parser = make_parser(
        "report", "The best architectures of a run, its learning curve, one HTML page in DIRECTORY/report."
    )
    parser.add_argument("directory", type=str, help="the run folder; the search may still be running")
    add_top(parser, 10, " to list")
    parser.add_argument(
        "--objectives",
        type=dict[str, Literal["max", "min"]] | None,
        default=None,
        help="the score or metrics of which to show the best compromises, such as "
        "'{score: max, params: min}'; default: those of the controller, if it has several",
    )
    parser.add_argument(
        "--tables",
        nargs="+",
        default=[],
        help="functions of your own, by their import paths, that make further tables out of the trials",
    )
    add_component(parser, "evaluator", None, arguments, option="truth")
    add_trust(parser)
    config = parser.parse_args(list(arguments))
    given, truth = config.as_dict(), instantiate(parser, config).truth
    from archsearch.showing.report import report as report_run

    directory, top, objectives = given["directory"], given["top"], given["objectives"]
    page = report_run(directory, top, objectives, tables=given["tables"], truth=truth, trust=given["trust"])
    return Answer("", {"page": page})


def status(arguments: Sequence[str]) -> Answer:
    """Says how far a run is."""
    parser = make_parser("status", "How far a search is: progress, rate, failures, cost so far, expected end.")
    parser.add_argument("directory", type=str, help="the run folder; the search may be running, in another terminal")
    add_trust(parser)
    given = parser.parse_args(list(arguments)).as_dict()
    from archsearch.showing.status import standing

    return Answer(*standing(given["directory"], trust=given["trust"]))


def watch(arguments: Sequence[str]) -> Answer:
    """Follows runs until they end."""
    parser = make_parser(
        "watch",
        "Follow searches that run in another terminal, until they end: progress, rate, cost, the newest trials. Only "
        "reads: to leave it (Ctrl-C) stops no search.",
    )
    parser.add_argument("directories", type=str, nargs="+", help="the run folders, one or several")
    parser.add_argument("--once", action="store_true", help="show how far they are, and end")
    add_trust(parser)
    given = parser.parse_args(list(arguments)).as_dict()
    directories, trust = given["directories"], given["trust"]
    from archsearch.showing.status import watched

    found = watched(directories, trust=trust)
    if given["once"]:
        return Answer(*found)
    return Answer("", _follow(found, lambda: watched(directories, trust=trust)))


def _follow(found: Told, again: Callable[[], Told]) -> Mapping[str, Any]:
    """Shows runs until all have ended: redrawn on a terminal, elsewhere a line for each change.

    Returns:
        The document of the last look.
    """
    import sys

    with contextlib.ExitStack() as stack:
        if sys.stdout.isatty():
            from rich.console import Console
            from rich.live import Live
            from rich.text import Text

            live = stack.enter_context(Live(console=Console(file=sys.stdout), auto_refresh=False))
            show: Callable[[Told], None] = lambda found: live.update(  # noqa: E731
                Text(found.text, no_wrap=True, overflow="ellipsis"), refresh=True
            )
        else:
            show = _line_for_each_change()
        seconds = 0.0
        while True:
            show(found)
            if all(run["state"] != "running" for run in found.document["runs"]):
                return found.document
            time.sleep(max(WATCH_SECONDS, LEISURE * seconds))
            began = time.process_time()
            found = again()
            seconds = time.process_time() - began


def _line_for_each_change() -> Callable[[Told], None]:
    from archsearch.showing.status import in_a_line

    shown: dict[str, tuple[Any, ...]] = {}

    def show(found: Told) -> None:
        for run in found.document["runs"]:
            now = (run["state"], *run["trials"].values())
            if shown.get(run["directory"]) != now:
                shown[run["directory"]] = now
                say(in_a_line(run))

    return show


def serve(arguments: Sequence[str]) -> Answer:
    """Serves a page over runs until it is interrupted."""
    parser = make_parser(
        "serve",
        "One page for a browser of this machine over the runs below some folders, redrawn while they go on: curves, "
        "trials, architectures, faults, and runs side by side. Only reads; Ctrl-C ends it.",
    )
    parser.add_argument("directories", type=str, nargs="+", help="run folders, or folders that have some below them")
    parser.add_argument("--port", type=int, default=8237, help="where it listens, at 127.0.0.1 alone; 0: a free one")
    add_trust(parser)
    given = parser.parse_args(list(arguments)).as_dict()
    from archsearch.serving.server import PageServer

    page = PageServer(given["directories"], given["port"], trust=given["trust"])
    return Answer(f"serving   {page.address}\n          Ctrl-C ends it", {"address": page.address}, then=page.serve)


def verify(arguments: Sequence[str]) -> Answer:
    """Verifies the best of a run."""
    from archsearch.running.search import search

    parser = make_parser(
        "verify",
        "Score the best architectures of a run again, by an evaluator that is trusted: does their order hold? Stopped, "
        "the same command goes on.",
    )
    parser.add_argument("directory", type=str, help="the run folder; the search may still be running")
    add_component(parser, "evaluator", None, arguments)
    add_top(parser, 5)
    add_seed(parser, search)
    add_executor(parser, search)
    add_certainty(parser)
    add_trust(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    config = parser.parse_args(list(arguments))
    given = config.as_dict()
    evaluator = instantiate(parser, config).evaluator
    if evaluator is None:
        raise UsageError(
            "verify: expected an evaluator to score by, such as --evaluator Training --evaluator.task digits"
        )
    from archsearch.judging.verification import verify as verify_run

    verification = verify_run(
        given["directory"],
        evaluator,
        top=given["top"],
        seed=given["seed"],
        progress=not given["quiet"],
        certainty=given["certainty"],
        trust=given["trust"],
        **chosen_executor(given),
    )
    return Answer(str(verification), verification_document(verification))


def export(arguments: Sequence[str]) -> Answer:
    """Exports the best of a run."""
    parser = make_parser(
        "export",
        "Write the best architectures of a run to folders of their own: genotype, weights, ONNX, a model card.",
    )
    parser.add_argument("directory", type=str, help="the run folder")
    add_top(parser, 1)
    parser.add_argument("--trial", type=int | None, default=None, help="this trial instead of the best")
    add_component(parser, "evaluator", None, arguments)
    add_out(parser, "where to; default: DIRECTORY/export")
    parser.add_argument("--onnx", action="store_true", help="write the network as ONNX, too (needs archsearch[onnx])")
    parser.add_argument(
        "--quantize", action="store_true", help="and in 8-bit whole numbers, with the accuracy measured again"
    )
    parser.add_argument("--pt2", action="store_true", help="write what torch.export makes of the network, too")
    add_trust(parser)
    config = parser.parse_args(list(arguments))
    given = config.as_dict()
    from archsearch.bridges.export import export as export_run

    folders = export_run(
        given["directory"],
        top=given["top"],
        trial=given["trial"],
        evaluator=instantiate(parser, config).evaluator,
        out=given["out"],
        onnx=given["onnx"],
        quantize=given["quantize"],
        pt2=given["pt2"],
        trust=given["trust"],
    )
    return Answer("", {"folders": folders})


def show(arguments: Sequence[str]) -> Answer:
    """Shows an architecture."""
    parser = make_parser("show", "One architecture as text and, with --out, as a drawing.")
    parser.add_argument(
        "what", type=str, help="a run folder (its best is shown), or an architecture in the space's own notation"
    )
    add_component(parser, "space", DEFAULTS["space"], arguments)
    parser.add_argument(
        "--trial", type=int | None, default=None, help="with a run folder: this trial instead of the best"
    )
    add_out(parser, "draw it to this .png or .svg file")
    add_trust(parser)
    config = parser.parse_args(list(arguments))
    given = config.as_dict()
    from archsearch.showing.status import shown as show_architecture

    space = instantiate(parser, config).space
    return Answer(*show_architecture(given["what"], space, given["trial"], given["out"], trust=given["trust"]))


def list_components(arguments: Sequence[str]) -> Answer:
    """Lists what there is."""
    parser = make_parser(
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
    from archsearch.showing.listing import compatibility, components, lines_of

    if given["compatible_with"]:
        fits = compatibility(given["compatible_with"])
        return Answer(str(fits), fits.document)
    found = components(given["names"] or [])
    return Answer("\n".join(lines_of(found)), found)
