"""What people look at: the report of a run, an architecture as text and drawing, the list of components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from archsearch.basics.checks import at_least_one
from archsearch.basics.words import say
from archsearch.components import build
from archsearch.errors import NotTrusted, RunFolderError, UsageError
from archsearch.evaluator import Evaluator
from archsearch.files.checksums import Damaged
from archsearch.files.damage import reads_folder
from archsearch.keeping.columns import has_status
from archsearch.keeping.folder import RunFolder
from archsearch.keeping.ledger import total_cost, used_of
from archsearch.keeping.trust import refuse_links
from archsearch.showing.page import aligned, heading, page, paragraph, picture, table, terms
from archsearch.showing.report_pictures import draw_best, draw_curves, draw_front, draw_searched, draw_set_up
from archsearch.showing.rows import (
    MakeTable,
    best_rows,
    calibration_of_run,
    certainty_parts,
    component_text,
    failure_parts,
    make_tables,
    number_text,
    print_rows,
    repeats_in,
    score_label,
    searched_facts,
    shown_columns,
    standing_of_run,
    ties_text,
)
from archsearch.space import Space
from archsearch.trial import Cost, Used

if TYPE_CHECKING:
    import pyarrow as pa

    from archsearch.pareto import Direction, Front
    from archsearch.ranking.derived import Searched, Truth


RECENT_TRIALS = 200
"""Trials from which the rate of a running search is taken."""

# -- the report of a run -----------------------------------------------------------------------


@reads_folder
def report(
    directory: str | Path,
    top: int = 10,
    objectives: Mapping[str, Direction] | None = None,
    *,
    tables: Sequence[MakeTable | str] = (),
    truth: Evaluator | None = None,
    trust: bool = False,
) -> Path:
    """Prints the best architectures of a run; writes the learning curve and one HTML page to ``DIRECTORY/report``.

    Args:
        directory: The run folder; the search may still be running. It can be anyone's: without ``trust`` no class is
            made that is not installed, and of a space that is none the best architecture is not drawn.
        top: How many architectures to list, >= 1.
        objectives: Names of the score or metrics of which to show the best compromises, each ``max`` or ``min``; None:
            those of the controller, if it has several.
        tables: Functions that make further tables out of the trials, or their import paths; see ``rows.py``.
        truth: Of a search by gradient, a table that knows how good architectures are, such as ``Tabular``; it is asked
            about what would have been derived after each epoch. None: the embedded table of the task, if there is one.
        trust: See ``archsearch.resume``.

    Returns:
        The page.

    Raises:
        RunFolderError: If there is no run, no trial has completed, or links lead out of the folder.
        UsageError: If ``top`` is below 1, an objective is no column of the trials, one of ``tables`` makes none, or
            ``truth`` is no table, or that of no search by gradient.
    """
    from archsearch.pareto import front_of
    from archsearch.showing.verified import newest_verification  # which needs best_rows

    at_least_one("report", "top", top)
    folder = RunFolder(directory)
    config = folder.config()
    refuse_links(folder.path, trust=trust)
    space = space_or_none(folder, config, trust)
    table = folder.table(space)
    standing = standing_of_run(folder, config)
    rows = best_rows(table, top, standing)
    if not rows:
        raise RunFolderError(f"{directory}: {_why_nothing(folder)}, so there is nothing to report")
    facts = facts_of(folder, config, table, bill_of(folder, table))
    if ties := ties_text(table, rows[0], standing):
        facts["best"] = f"trial {rows[0]['id']}; {ties}"
    objectives = objectives or _objectives(config, table)
    verification, front = newest_verification(folder, table), front_of(table, objectives) if objectives else None
    searched = _searched(folder, space, truth)
    gradient = [] if searched is None else [searched_facts(*searched, space, table)]
    certain = certainty_parts(standing)
    failures = failure_parts(calibration_of_run(table, space), folder.thinned())
    shown = [each for each in (*certain, verification, *gradient, *failures, *make_tables(table, tables)) if each]
    sections = [*([] if front is None else _front_parts(front, top)), *(each.html() for each in shown)]
    page = _write(folder, score_label(config), space, table, rows, facts, front, searched, sections)
    print_rows(rows, facts)
    if front is not None:
        say(f"front     {front}\n\n{aligned(_front_cells(front, top), left=-1)}\n")
    say("".join(f"{each}\n\n" for each in shown) + f"report    {page}")
    return page


def _searched(folder: RunFolder, space: Space | None, table: Evaluator | None) -> tuple[Searched, Truth | None] | None:
    """What a search by gradient noted, and the truth where a table has it; None: it was none, or it is damaged.

    Args:
        folder: The run's.
        space: Its space; None: it is not known.
        table: What knows the truth; None: the embedded table of the task, if there is one.
    """
    from archsearch.ranking.derived import read_searched, table_of_task, truth_of

    below = folder.path / "evaluator"
    try:
        searched = read_searched(below)
    except Damaged as error:
        folder.notices.tell(below, f"what was noted of the epochs is damaged ({error}) and not shown")
        return None
    if searched is None:
        if table is not None:
            raise UsageError(
                f"truth: {folder.path} is no search by gradient, of which the truth of each epoch is shown"
            )
        return None
    if table is None and space is not None:
        table = table_of_task(space, searched.task)
    return searched, None if table is None or space is None else truth_of(space, table)


def _write(
    folder: RunFolder,
    label: str,
    space: Space | None,
    table: pa.Table,
    rows: list[dict[str, Any]],
    facts: dict[str, str],
    front: Front | None,
    searched: tuple[Searched, Truth | None] | None,
    sections: Sequence[str],
) -> Path:
    """Writes the pictures and the page."""
    from archsearch.files.parquet import write_parquet
    from archsearch.ranking.derived import RECORDS

    target = folder.path / "report"
    try:
        target.mkdir(exist_ok=True)
        pictures = draw_curves(table, target, folder.path.name, label)
        pictures |= draw_best(space, tuple(rows[0]["architecture"]), target)
        pictures |= draw_front(front, target, label) | draw_set_up(folder.path, target, folder.notices)
        if searched is not None:
            write_parquet(target / RECORDS, searched[0].with_truth(searched[1]))
            pictures |= draw_searched(*searched, target)
        if folder.notices.lines:
            facts["damage"] = "; ".join(folder.notices.lines)
        page = target / "index.html"
        page.write_text(_page(folder.path.name, facts, rows, target, pictures, sections))
    except OSError as error:
        raise RunFolderError(f"{target}: cannot write the report ({error.strerror})") from None
    return page


def _why_nothing(folder: RunFolder) -> str:
    return folder.notices.lines[0] if folder.notices.lines else "no trial has completed yet"


class Bill(NamedTuple):
    """What a run cost and what went wrong, read from its folder.

    Attributes:
        trials: Cost of all tries, those that are not done yet included.
        set_up: Cost of the evaluator's one-off work.
        used: What trials used, by counters.
        faults: How often what went wrong, by kind.
    """

    trials: Cost
    set_up: Cost
    faults: Mapping[str, int]
    used: Used = Used()


def bill_of(folder: RunFolder, table: pa.Table) -> Bill:
    """The bill of a run with these trials."""
    return Bill(total_cost(table) + folder.pending_cost(), folder.setup_cost(), folder.faults(), used_of(table))


def facts_of(folder: RunFolder, config: dict[str, Any], table: pa.Table, bill: Bill) -> dict[str, str]:
    """What was run and what it cost, as text."""
    from archsearch.basics.words import format_cost, format_faults, format_used
    from archsearch.keeping.stored_run import NOTE

    failures = table.filter(has_status(table, "failed"))["failure"].value_counts().to_pylist()
    facts = {what: component_text(config[what]) for what in ("space", "controller", "evaluator")}
    facts["trials"] = f"{len(table) - sum(f['counts'] for f in failures):,} completed"
    if repeats := repeats_in(table):
        facts["trials"] += f", {repeats:,} of them repeats"
    if folder.lost:
        facts["trials"] += f", {folder.lost:,} finished ones lost to damage"
    if failures:
        facts["failed"] = format_faults({f["values"]: f["counts"] for f in failures})
    if bill.faults:
        facts["faults"] = f"{format_faults(bill.faults)} (in faults.jsonl)"
    facts["cost"] = format_cost(bill.trials)
    facts["set-up"] = format_cost(bill.set_up)
    facts["used"] = format_used(bill.used)
    note = folder.path / "evaluator" / NOTE
    if note.is_file():
        facts["note"] = note.read_text(encoding="utf-8", errors="replace")
    facts["seed"] = str(config["seed"])
    facts["executor"] = f"{config['executor']}, {config['workers']} worker{'s' if config['workers'] != 1 else ''}"
    facts["versions"] = ", ".join(f"{name} {version}" for name, version in config["versions"].items())
    if folder.notices.lines:
        facts["damage"] = "; ".join(folder.notices.lines)
    return facts


def _front_parts(front: Front, top: int) -> list[str]:
    head, *rows = _front_cells(front, top)
    return [heading("Best compromises"), paragraph(f"{front}."), table(head, rows, last_is_code=True)]


def _page(
    name: str,
    facts: dict[str, str],
    rows: list[dict[str, Any]],
    target: Path,
    pictures: dict[str, str],
    sections: Sequence[str],
) -> str:
    """One self-contained HTML page."""
    columns = shown_columns(rows)
    cells = [[str(i), *(number_text(row[column]) for column in columns), row["name"]] for i, row in enumerate(rows, 1)]
    return page(
        name,
        terms(facts),
        heading("Best architectures"),
        table(["rank", *columns, "architecture"], cells, last_is_code=True),
        *sections,
        *(heading(title) + picture(target / file, title) for title, file in pictures.items()),
    )


# -- several objectives ------------------------------------------------------------------------


def _objectives(config: Mapping[str, Any], table: pa.Table) -> Mapping[str, Direction] | None:
    """The objectives of a run's controller, such as ``NSGA2``; None if it has one, or the trials lack them."""
    objectives = config["controller"]["init_args"].get("objectives")
    known = isinstance(objectives, Mapping) and set(objectives) <= set(table.column_names)
    return objectives if known and len(objectives) > 1 else None


def _front_cells(front: Front, top: int) -> list[list[str]]:
    """The best compromises as a table, its head first."""
    head = ["trial", *front.objectives, "architecture"]
    rows = [
        [str(row["id"]), *(number_text(row[name]) for name in front.objectives), row["name"]]
        for row in front.rows[:top]
    ]
    return [head, *rows]


# -- a search that is running ------------------------------------------------------------------


def space_or_none(folder: RunFolder, config: Mapping[str, Any], trust: bool) -> Space | None:
    """The space of a run; None if it is not installed, and not trusted."""
    try:
        space: Space = build(config["space"], "spaces", trust=trust, where=str(folder.path / "config.yaml"))
    except NotTrusted:
        return None
    return space
