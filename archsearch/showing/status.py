"""How a run stands, in a few lines; an architecture of one, shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from archsearch.basics.text_graphs import text_graph
from archsearch.basics.words import plain
from archsearch.components import build
from archsearch.errors import InvalidArchitecture, UnknownName, UsageError
from archsearch.files.arrow import scalar
from archsearch.files.damage import reads_folder
from archsearch.files.lock import left_running
from archsearch.keeping.columns import RESERVED_COLUMNS, has_status
from archsearch.keeping.folder import RunFolder
from archsearch.keeping.ledger import ends
from archsearch.showing.report import RECENT_TRIALS, bill_of, facts_of, space_or_none
from archsearch.showing.rows import (
    best_rows,
    calibration_of_run,
    number_text,
    shown_columns,
    standing_of_run,
    ties_text,
)
from archsearch.space import Space
from archsearch.stores.places import is_store
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import pyarrow as pa


NEWEST = 5
"""Trials that are named as the newest."""


class Told(NamedTuple):
    """Something for people and for programs.

    Attributes:
        text: The lines for people.
        document: The same as plain data.
    """

    text: str
    document: Mapping[str, Any]

    def __str__(self) -> str:
        return self.text


def status(directory: str | Path, *, trust: bool = False) -> str:
    """How far a search is, as text; see ``standing``."""
    return standing(directory, trust=trust).text


@reads_folder
def standing(directory: str | Path, *, trust: bool = False) -> Told:
    """How far a search is, from its folder: progress, rate, failures, cost so far, expected end.

    Args:
        directory: The run folder; the search may be running, in another process. It can be anyone's: without ``trust``
            no class is made that is not installed, and where the space is none, options stand for new trials' names.
        trust: See ``archsearch.resume``.

    Raises:
        RunFolderError: If there is no run.
    """
    folder = RunFolder(directory)
    config, running = folder.config(), folder.in_use()
    space = space_or_none(folder, config, trust)
    table = folder.table(space)
    bill = bill_of(folder, table)
    facts = facts_of(folder, config, table, bill)
    completed = table.filter(has_status(table, "completed")).num_rows
    limits = _stops_at(config)
    state = "running" if running else "not running"
    killed = not running and left_running(folder.path / "lock")
    standing = standing_of_run(folder, config)
    best = best_rows(table, 1, standing)
    failures = calibration_of_run(table, space)
    document: dict[str, Any] = {
        "directory": str(directory),
        "state": "killed" if killed else state,
        "trials": {
            "completed": completed,
            "failed": table.num_rows - completed,
            "pending": folder.pending() if running else 0,
        },
        "stops_at": limits,
        "trials_a_second": _rate(table),
        "seconds_left": None,
        "best": _best(best[0]) if best else None,
        "certainty": None if standing is None else standing.document(),
        "failures": None if failures is None else {**failures.document(), "thinned": folder.thinned()},
        "cost": bill.trials.amounts(),
        "setup_cost": bill.set_up.amounts(),
        "used": bill.used._asdict(),
        "faults": bill.faults,
        "damage": list(folder.notices.lines),
        "newest": _newest(table),
    }
    document["seconds_left"] = _seconds_left(document, table) if running else None
    if killed:
        state += f"; killed, or ended by its evaluator: 'archsearch resume {directory}' goes on (--isolate: in safety)"
    stops = ", ".join(f"{name} {value:,}" for name, value in limits.items())
    lines = {"state": state, "trials": f"{facts['trials']}; stops at {stops}"}
    if pending := document["trials"]["pending"]:
        lines["pending"] = f"{pending:,}"
    lines |= {name: facts[name] for name in ("failed", "faults", "damage") if name in facts}
    lines |= ({} if failures is None else {"failing": failures.sentence}) | _pace(document)
    if best:
        lines["best"] = _best_text(best[0], ties_text(table, best[0], standing))
    if standing is not None:
        lines["certainty"] = standing.sentence
    lines |= {name: facts[name] for name in ("cost", "set-up", "used", "executor")}
    return Told("\n".join(f"{name:<10}{plain(text)}" for name, text in lines.items()), document)


def _best_text(row: Mapping[str, Any], ties: str) -> str:
    trial = f"trial {row['id']}; {ties}" if ties else f"trial {row['id']}"
    return f"{number_text(row['score'])} ({trial}), {row['name']}"


def _stops_at(config: Mapping[str, Any]) -> dict[str, float]:
    ends = {name: config["settings"].get(name) for name in ("trials", "max_cost", "max_seconds", "target")}
    return {name: value for name, value in ends.items() if value is not None}


def _rate(table: pa.Table) -> float | None:
    """Trials a second on the run's clock, of the last; None: too few have ended."""
    import numpy as np

    recent = np.sort(ends(table))[-RECENT_TRIALS:]
    if len(recent) < 2 or recent[-1] <= recent[0]:
        return None
    return (len(recent) - 1) / float(recent[-1] - recent[0])


def _seconds_left(document: Mapping[str, Any], table: pa.Table) -> float | None:
    """Until the first of the limits is reached at the present pace, on the run's clock; None: that cannot be told."""
    rate, stops_at = document["trials_a_second"], document["stops_at"]
    if rate is None:
        return None
    completed, done, billed = document["trials"]["completed"], table.num_rows, document["cost"]["billed_seconds"]
    left = []
    if "trials" in stops_at and completed:
        left.append((stops_at["trials"] - completed) * done / completed / rate)
    if "max_seconds" in stops_at:
        left.append(stops_at["max_seconds"] - float(ends(table).max()))
    if "max_cost" in stops_at and billed:
        left.append((stops_at["max_cost"] - billed) * done / billed / rate)
    return max(0.0, min(left)) if left else None


def _pace(document: Mapping[str, Any]) -> dict[str, str]:
    from archsearch.basics.words import format_seconds

    rate, counts, seconds = document["trials_a_second"], document["trials"], document["seconds_left"]
    if rate is None:
        return {}
    recent = min(RECENT_TRIALS, counts["completed"] + counts["failed"])
    lines = {"rate": f"{rate:,.3g} trials a second on the run's clock, of the last {recent:,}"}
    if seconds:
        trials = document["stops_at"].get("trials", 0) - counts["completed"]
        lines["left"] = (f"{trials:,} trials, " if trials > 0 else "") + f"about {format_seconds(seconds)}"
    return lines


def _newest(table: pa.Table) -> list[dict[str, Any]]:
    """The trials that ended last, the newest first."""
    import numpy as np

    last = np.argsort(ends(table), kind="stable")[::-1][:NEWEST]
    names = ("id", "name", "status", "score", "failure")
    known = table.select([name for name in names if name in table.column_names])
    rows = [known.slice(row, 1).to_pylist()[0] for row in last.tolist()]  # Table.take would load pandas
    return [
        {"trial": row["id"], **{name: row.get(name) for name in names[1:]}, "failure": row["failure"] or None}
        for row in rows
    ]


def _best(row: Mapping[str, Any]) -> dict[str, Any]:
    metrics = {name: value for name, value in row.items() if name not in RESERVED_COLUMNS}
    found = {"trial": row["id"], "budget": row.get("budget")}
    return {**found, **{name: row[name] for name in ("architecture", "name", "score")}, "metrics": metrics}


# -- several runs, again and again -------------------------------------------------------------


def watched(directories: Sequence[str | Path], *, trust: bool = False) -> Told:
    """How far several searches are, with their newest trials; for ``archsearch watch``.

    Args:
        directories: The run folders, which are only read.
        trust: See ``standing``.

    Returns:
        The lines for a terminal, and ``runs``: the document of each as in ``standing``.

    Raises:
        RunFolderError: If one of them is no run.
    """
    found = [standing(directory, trust=trust) for directory in directories]
    blocks = []
    for each in found:
        newest = [
            f"  trial {row['trial']:<7} {plain(row['failure'] or number_text(row['score']))}  {plain(row['name'])}"
            for row in each.document["newest"]
        ]
        blocks.append("\n".join([f"run       {plain(each.document['directory'])}", each.text, "newest", *newest]))
    return Told("\n\n".join(blocks), {"runs": [each.document for each in found]})


def in_a_line(run: Mapping[str, Any]) -> str:
    """How far a search is, from its document in ``standing``, for a log."""
    from archsearch.basics.words import format_seconds

    counts, best, rate = run["trials"], run["best"], run["trials_a_second"]
    parts = [
        f"{run['directory']}: {run['state']}",
        ", ".join(f"{count:,} {name}" for name, count in counts.items() if count or name == "completed"),
        "" if best is None else f"best {number_text(best['score'])} (trial {best['trial']})",
        "" if rate is None else f"{rate:,.3g} trials a second",
        f"billed {format_seconds(run['cost']['billed_seconds'])}",
        f"about {format_seconds(run['seconds_left'])} left" if run["seconds_left"] else "",
    ]
    return "; ".join(filter(None, parts))


# -- one architecture --------------------------------------------------------------------------


def show(what: str, space: Space, trial: int | None = None, out: str | None = None, *, trust: bool = False) -> str:
    """An architecture as text; see ``shown``."""
    return shown(what, space, trial, out, trust=trust).text


def shown(what: str, space: Space, trial: int | None = None, out: str | None = None, *, trust: bool = False) -> Told:
    """An architecture; drawn, too, if ``out`` is given.

    Args:
        what: A run folder, or an architecture in the space's notation (or its options, such as ``3-0-1``).
        space: The space, if ``what`` is no run folder.
        trial: Of a run folder: the id of a trial; None for the best.
        out: A ``.png`` or ``.svg`` file.
        trust: Of a run folder, see ``archsearch.resume``.

    Raises:
        NotTrusted: If a run folder's space is not installed, and not trusted.
        UsageError: If there is no such architecture, trial or kind of picture.
    """
    lines, row = list[str](), dict[str, Any]()
    if is_store(what) or (Path(what) / "config.yaml").exists():
        space, row = _trial_of_run(what, trial, trust)
        architecture = tuple(row["architecture"])
        metrics = [f"{plain(name)} {number_text(row[name])}" for name in shown_columns([row]) if row[name] is not None]
        lines.append(f"trial      {', '.join(metrics)}")
    elif trial is not None:
        raise UsageError(f"{what}: --trial goes with a run folder")
    else:
        architecture = _read(what, space)
    lines.insert(0, f"name       {plain(space.format(architecture))}")
    lines.append(f"decisions  {'-'.join(map(str, architecture))}")
    canonical = space.canonical(architecture)
    if canonical != architecture:
        lines.append(f"canonical  {plain(str(canonical))}")
    graph = space.graph(architecture)
    lines += ["", text_graph(graph)]
    if out:
        from archsearch.showing.graphs import draw_graph

        try:
            draw_graph(graph, out, title=space.format(architecture))
        except OSError as error:
            raise UsageError(f"{out}: cannot be written ({error.strerror})") from None
        lines.append(f"\ndrawn to {out}")
    document = {
        "name": space.format(architecture),
        "architecture": architecture,
        "canonical": str(canonical),
        "nodes": [{"id": str(node), **data} for node, data in graph.nodes(data=True)],
        "edges": [{"from": str(start), "to": str(end), **data} for start, end, data in graph.edges(data=True)],
        "trial": _best(row) if row else None,
        "drawn_to": out,
    }
    return Told("\n".join(lines), document)


@reads_folder
def _trial_of_run(directory: str, trial: int | None, trust: bool) -> tuple[Space, dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    folder = RunFolder(directory)
    space = build(folder.config()["space"], "spaces", trust=trust, where=str(folder.path / "config.yaml"))
    table = folder.table(space)
    if trial is None:
        rows = best_rows(table, 1, standing_of_run(folder, folder.config()))
    else:
        rows = table.filter(pc.equal(table["id"], scalar(trial, pa.int64()))).to_pylist()
    if not rows:
        raise UnknownName(f"{directory}: there is no {'completed trial' if trial is None else f'trial {trial}'}")
    return space, rows[0]


def _read(text: str, space: Space) -> Architecture:
    try:
        return space.parse(text)
    except InvalidArchitecture:
        try:
            return Space.parse(space, text)
        except InvalidArchitecture:
            pass
        raise
