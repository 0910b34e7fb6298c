"""What came of studies, in files: JSON without the cells, Parquet with them."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.errors import RunFolderError
from archsearch.files.checksums import Damaged
from archsearch.files.parquet import read_parquet, write_parquet
from archsearch.files.writing import write_whole
from archsearch.studies.finding import Cell, Finding, Session
from archsearch.studies.study import Question
from archsearch.trial import COST_FIELDS, Cost

if TYPE_CHECKING:
    import pyarrow as pa

FINDING, CELLS = "finding.json", "cells.parquet"
COST = "cost."
"""Before the name of an amount, among the figures of a cell."""
DERIVED = ("verdict", "effect", "warnings", "missing", "cost", "processor_seconds")
"""What the document has beside the fields of ``Finding``."""


def document(finding: Finding) -> dict[str, Any]:
    """All but the cells, as plain data; infinite ends of the interval are null."""
    names = [field.name for field in dataclasses.fields(finding) if field.name not in ("question", "cells", "sessions")]
    effect = finding.effect
    ends = {} if effect is None else dataclasses.asdict(effect)
    return {
        **{name: getattr(finding, name) for name in names},
        "kinds": dict(finding.kinds),
        "question": None if finding.question is None else finding.question._asdict(),
        "sessions": [session._asdict() for session in finding.sessions],
        "verdict": finding.verdict,
        "effect": {name: value if math.isfinite(value) else None for name, value in ends.items()} or None,
        "warnings": finding.warnings,
        "missing": finding.missing,
        "cost": finding.cost.amounts(),
        "processor_seconds": finding.processor_seconds,
    }


def table(findings: Sequence[Finding]) -> pa.Table:
    """A row for each figure, and each amount of the cost, of each cell.

    Columns: study, setting, seed, session, figure (of the cost ``cost.`` and the name of the amount), value.
    """
    import pyarrow as pa

    names = ("study", "setting", "seed", "session", "figure", "value")
    kinds = (pa.string(), pa.string(), pa.int32(), pa.int32(), pa.string(), pa.float64())
    rows = [
        dict(zip(names, (finding.name, cell.setting, cell.seed, cell.session, figure, value), strict=True))
        for finding in findings
        for cell in finding.cells
        for figure, value in (*cell.figures.items(), *_amounts(cell.cost))
    ]
    return pa.Table.from_pylist(rows, pa.schema(list(zip(names, kinds, strict=True))))


def _amounts(cost: Cost) -> list[tuple[str, float]]:
    return [(COST + name, amount) for name in COST_FIELDS if (amount := getattr(cost, name))]


def save(finding: Finding, folder: Path) -> None:
    """Writes what came of one study.

    Raises:
        RunFolderError: If the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_parquet(folder / CELLS, table([finding]))
        write_whole(folder / FINDING, (json.dumps(document(finding), indent=1) + "\n").encode())
    except OSError as error:
        raise RunFolderError(f"{folder}: cannot write what was found ({error.strerror})") from None


def read_finding(folder: Path) -> Finding:
    """Reads what ``save`` wrote.

    Raises:
        RunFolderError: If it cannot be read.
    """
    try:
        facts = json.loads((folder / FINDING).read_text(encoding="utf-8"))
        rows = read_parquet(folder / CELLS).to_pylist()
        return _finding(facts, rows)
    except (OSError, Damaged, ValueError, LookupError, TypeError) as error:
        raise RunFolderError(
            f"{folder}: no finding can be read here ({' '.join(str(error).split())}); run the study again, which "
            "measures nothing twice"
        ) from None


def _finding(facts: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Finding:
    figures: dict[tuple[str, int, int], dict[str, float]] = defaultdict(dict)
    for row in rows:
        figures[row["setting"], row["seed"], row["session"]][row["figure"]] = row["value"]
    cells = []
    for (setting, seed, session), values in figures.items():
        cost = Cost(**{name.removeprefix(COST): each for name, each in values.items() if name.startswith(COST)})
        own = {name: each for name, each in values.items() if not name.startswith(COST)}
        cells.append(Cell(setting, seed, own, cost, session))
    question = facts["question"]
    plain = {name: value for name, value in facts.items() if name not in DERIVED}
    return Finding(
        **{
            **plain,
            "settings": tuple(facts["settings"]),
            "question": None if question is None else Question(**{**question, "compare": tuple(question["compare"])}),
            "cells": tuple(cells),
            "sessions": tuple(Session(**each) for each in facts["sessions"]),
        }
    )
