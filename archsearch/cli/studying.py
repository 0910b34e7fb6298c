"""``archsearch study``."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

from archsearch.cli.answers import Answer
from archsearch.cli.options import add_executor, add_trust, chosen_executor, make_parser
from archsearch.errors import UsageError

HELP = """usage: archsearch study ACTION [OPTIONS]

Claims as experiments: what is varied, what is measured, how it is judged, and a threshold that was written before.

actions:
  list    the studies that come with the package, and files of your own
  run     measure what is missing of a study, and say whether its claim holds; stopped, it goes on
  report  all that were run on one page

options:
  --help  this text; 'archsearch study ACTION --help' for an action
"""
FOLDER = "studies"
ALL = "all"


def study(arguments: Sequence[str]) -> Answer:
    """Runs studies, and shows what came of them."""
    if not arguments:
        raise UsageError(f"expected ACTION: {', '.join(ACTIONS)}; see 'archsearch study --help'")
    if arguments[0] in ("-h", "--help"):
        return Answer(HELP.rstrip(), {})
    action, given = arguments[0], arguments[1:]
    if action.startswith("-"):
        make_parser("study", "").parse_args(list(arguments))  # which says that there is no such option
    if action not in ACTIONS:
        close = difflib.get_close_matches(action, ACTIONS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(ACTIONS)}."
        raise UsageError(f"study: no action is called {action!r}; {hint} See 'archsearch study --help'")
    return ACTIONS[action](given)


def _list(arguments: Sequence[str]) -> Answer:
    parser = make_parser("study list", "The studies that come with the package, and files of your own.")
    parser.add_argument("studies", nargs="*", default=[], help="names, or paths of files; default: all that come along")
    add_trust(parser, "a file")
    given = parser.parse_args(list(arguments)).as_dict()
    from archsearch.studies.study import read_study, shipped

    found = [read_study(each, trust=given["trust"]) for each in given["studies"] or shipped()]
    lines, documents = [], []
    for each in found:
        question = "" if each.question is None else str(each.question)
        cells = len(each.measures) * each.seeds
        lines.append(f"{each.name}\n  {each.claim} ({each.section}; fixed on {each.fixed_on}; {cells} cells)")
        lines.append(f"  {each.figure}: {question}" if question else "  a table, no claim")
        documents.append(
            {
                **{name: getattr(each, name) for name in ("name", "claim", "section", "hypothesis", "digest", "seeds")},
                "fixed_on": each.fixed_on.isoformat(),
                "settings": list(each.measures),
                "figure": each.figure,
                "question": question or None,
            }
        )
    return Answer("\n".join(lines), {"action": "list", "studies": documents})


def _run(arguments: Sequence[str]) -> Answer:
    from archsearch.running.search import search

    parser = make_parser(
        "study run", "Measure what is missing of studies, and say whether their claims hold. Stopped, it goes on."
    )
    parser.add_argument("studies", nargs="+", help="names, see 'archsearch study list', paths of files, or all")
    parser.add_argument("--out", type=str, default=FOLDER, help="folder of all studies")
    add_executor(parser, search)
    add_trust(parser, "a file")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    given = parser.parse_args(list(arguments)).as_dict()
    from archsearch.studies.records import document
    from archsearch.studies.sessions import run_study
    from archsearch.studies.study import read_study, shipped

    names = [name for each in given["studies"] for name in (shipped() if each == ALL else [each])]
    studies = [read_study(name, trust=given["trust"]) for name in dict.fromkeys(names)]  # all, before any is run
    every = chosen_executor(given) | {"out": given["out"], "progress": not given["quiet"]}
    findings = [run_study(each, **every) for each in studies]
    text = "\n\n".join(map(str, findings)) + f"\n\nsaved     {given['out']}; a page of all: archsearch study report"
    return Answer(text, {"action": "run", "out": given["out"], "studies": [*map(document, findings)]})


def _report(arguments: Sequence[str]) -> Answer:
    parser = make_parser("study report", "All studies that were run on one page, as Markdown, JSON and one table.")
    parser.add_argument("folder", nargs="?", type=str, default=FOLDER, help="folder of the studies")
    parser.add_argument("--out", type=str | None, default=None, help="where to write; default: there")
    given = parser.parse_args(list(arguments)).as_dict()
    from archsearch.showing.page import aligned
    from archsearch.studies.records import document
    from archsearch.studies.study import shipped
    from archsearch.studies.study_report import found_in, report_studies, summary

    findings = found_in(given["folder"])
    names = [each.file or each.name for each in findings]
    again = ALL if sorted(names) == sorted(shipped()) else " ".join(names)
    command = f"archsearch study run {again}; archsearch study report"
    page = report_studies(given["folder"], given["out"], command)
    text = f"{aligned(summary(findings))}\n\nsaved     {page}"
    return Answer(text, {"action": "report", "page": page, "studies": [*map(document, findings)]})


ACTIONS: dict[str, Callable[[Sequence[str]], Answer]] = {"list": _list, "run": _run, "report": _report}
