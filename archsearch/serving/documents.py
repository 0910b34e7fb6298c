"""What the page asks for: JSON documents and drawings. Figures are texts as in a report, so that all read alike."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from archsearch.basics.words import format_seconds, plain
from archsearch.errors import UnknownName, UsageError
from archsearch.files.arrow import scalar
from archsearch.serving.runs import Look, Runs
from archsearch.showing.report import bill_of, facts_of
from archsearch.showing.rows import number_text, score_label, shown_columns

if TYPE_CHECKING:
    import pyarrow as pa

MOST_POINTS = 1_200
"""Scores in a curve, evenly chosen."""

MOST_FAULTS = 100
MOST_ROWS = 200
LONGEST = 400
"""Letters of a cell."""

LEISURE = 9.0
"""Times the processor time of an answer that the page waits before it asks again: a search must not be slowed by it."""


def runs_document(runs: Runs) -> dict[str, Any]:
    """All runs, a row each."""
    return {
        "folders": [plain(str(folder)) for folder in runs.folders],
        "left_out": runs.left_out,
        "runs": [_row(look) for look in runs.looks()],
    }


def _row(look: Look) -> dict[str, Any]:
    row: dict[str, Any] = {"id": look.run.id, "name": _cell(look.run.name), "stamp": look.stamp}
    if look.told is None:
        return row | {"state": "cannot be read" if look.error else "not read yet", "error": _cell(look.error)}
    document = look.told.document
    counts, best = document["trials"], document["best"]
    row |= {what: _cell(_class_name(look.config[what])) for what in ("space", "controller", "evaluator")}
    return row | {
        "error": "",
        "label": _cell(score_label(look.config), 80),
        "state": document["state"],
        "trials": f"{counts['completed']:,}",
        "failed": f"{counts['failed']:,}",
        "best": "-" if best is None else number_text(best["score"]),
        "best_name": "" if best is None else _cell(best["name"]),
        "cost": format_seconds(document["cost"]["billed_seconds"]),
        "seed": str(look.config["seed"]),
    }


def run_document(runs: Runs, look: Look) -> dict[str, Any]:
    """One run: what it is, how far, its curve, what went wrong."""
    if look.told is None:
        return _row(look)
    folder, space, table = runs.trials(look)
    lines = dict(line.split(maxsplit=1) for line in look.told.text.splitlines() if " " in line.strip())
    facts = {
        name: plain(text) for name, text in facts_of(folder, dict(look.config), table, bill_of(folder, table)).items()
    }
    best = look.told.document["best"]
    return _row(look) | {
        "facts": [[name, _cell(text, 2 * LONGEST)] for name, text in (lines | facts | lines).items()],
        "course": course_document(table),
        "best_trial": None if best is None else best["trial"],
        "drawn": space is not None,
        "faults": _faults(look, runs),
    }


def course_document(table: pa.Table) -> dict[str, Any] | None:
    """How a search went, as ``archsearch.plot.learning_curve`` draws it; None: no trial has completed.

    Returns:
        ``best``, the line: where it changes; ``scores``, some of the trials: both as completed trials, billed seconds,
        score. ``low`` and ``high`` of the picture, and how many of ``trials`` are ``below``; the ``unit`` of costs and
        its ``seconds``.
    """
    from archsearch.showing.curves import evenly_chosen, shown_range
    from archsearch.showing.report_pictures import course_of
    from archsearch.showing.style import time_unit

    course = course_of(table)
    finite = np.flatnonzero(np.isfinite(course.scores))
    if not len(finite):
        return None
    low, high, below = shown_range(course.scores[finite])
    changes = np.flatnonzero(np.diff(course.best, prepend=np.nan) != 0)
    line = [i for i in (*changes, len(course.best) - 1) if np.isfinite(course.best[i])]
    unit, seconds = time_unit(float(course.seconds[-1]))
    chosen = finite[evenly_chosen(len(finite), MOST_POINTS)]

    def points(which: Any, ys: Any) -> list[list[float]]:
        return [[int(i) + 1, float(course.seconds[i]), float(ys[i])] for i in which]

    return {
        "best": points(line, course.best),
        "scores": points(chosen, course.scores),
        "low": low,
        "high": high,
        "below": below,
        "trials": len(finite),
        "unit": unit,
        "seconds": seconds,
    }


def trials_document(runs: Runs, look: Look, asked: Mapping[str, str]) -> dict[str, Any]:
    """Some trials as rows of texts.

    Args:
        runs: The runs.
        look: One of them.
        asked: ``sort`` (a column; default: score), ``down`` (1 or 0), ``from`` and ``count``.
    """
    import pyarrow.compute as pc

    _, _, table = runs.trials(look)
    columns = [*shown_columns([dict.fromkeys(table.column_names)]), "status", "failure", "name"]
    if not pc.any(pc.not_equal(pc.fill_null(table["failure"], ""), "")).as_py():
        columns.remove("failure")
    sort = asked.get("sort", "score")
    sort = sort if sort in columns else "score"
    order = "descending" if asked.get("down", "1") == "1" else "ascending"
    keys = [(sort, order), *([] if sort == "id" else [("id", "ascending")])]
    start = min(_whole(asked, "from", 0), table.num_rows)
    chosen = pc.sort_indices(table, sort_keys=keys)[start : start + min(_whole(asked, "count", 20), MOST_ROWS)]
    rows = table.select(columns).take(chosen).to_pylist()
    return {
        "columns": columns,
        "sort": sort,
        "down": order == "descending",
        "from": start,
        "total": table.num_rows,
        "rows": [[_cell(_figure(row[name])) for name in columns] for row in rows],
    }


def _whole(asked: Mapping[str, str], name: str, default: int) -> int:
    text = asked.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise UsageError(f"{name}: expected a whole number >= 0, got {text[:40]!r}")
    return int(text)


def drawing(runs: Runs, look: Look, trial: str) -> bytes:
    """The architecture of a trial as SVG.

    Raises:
        UnknownName: If there is no such trial, or the space is not known.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from archsearch.showing.graphs import draw_graph

    _, space, table = runs.trials(look)
    if space is None:
        raise UnknownName("the space of this run is not installed; see --trust")
    found = table.filter(pc.equal(table["id"], scalar(_whole({"trial": trial}, "trial", 0), pa.int64())))
    if not found.num_rows:
        raise UnknownName(f"there is no trial {trial[:20]}")
    figure = draw_graph(space.graph(tuple(found["architecture"][0].as_py())), None)
    written = io.BytesIO()
    figure.savefig(written, format="svg", metadata={"Date": None})
    return written.getvalue()


def _faults(look: Look, runs: Runs) -> dict[str, Any]:
    """What went wrong, the newest first."""
    folder = runs.trials(look)[0]
    lines = list(folder.fault_lines())
    names = ("trial", "kind", "error", "worker", "time")
    newest = itertools.islice(reversed(lines), MOST_FAULTS)
    return {
        "count": f"{len(lines):,}",
        "columns": names,
        "rows": [[_cell("-" if line.get(name) is None else str(line[name])) for name in names] for line in newest],
        "damage": [_cell(line) for line in folder.notices.lines],
    }


def _figure(value: Any) -> str:
    return value if isinstance(value, str) else number_text(value)


def _class_name(description: Mapping[str, Any]) -> str:
    return str(description["class_path"]).replace(":", ".").rpartition(".")[2]


def _cell(text: str, longest: int = LONGEST) -> str:
    """A text that can be seen, and is not too long."""
    seen = plain(text)
    return seen if len(seen) <= longest else f"{seen[: longest - 3]}..."
