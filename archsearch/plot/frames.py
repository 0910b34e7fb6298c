"""Many runs at once as Arrow tables: their trials, what they were, what went wrong, how each training went."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from archsearch.errors import RunFolderError
from archsearch.keeping.folder import RunFolder
from archsearch.showing.report import space_or_none
from archsearch.stores.places import is_store


class Frames(NamedTuple):
    """Tables over many runs; each has a column ``run``, the folder, by which they can be joined.

    Attributes:
        trials: One row a trial, with the columns of ``Result.history.table()``; null where a run has no such column.
        runs: One row a run: space, controller and evaluator as JSON, seed, executor, workers, versions.
        faults: One row for each thing that went wrong.
        curves: One row for each trial and unit of training: trial, unit (from 1), score.
    """

    trials: pa.Table
    runs: pa.Table
    faults: pa.Table
    curves: pa.Table


def frames(paths: str | Path | Iterable[str | Path], *, trust: bool = False) -> Frames:
    """The tables of many runs.

    Args:
        paths: Run folders, stores, or patterns such as ``runs/*``.
        trust: See ``archsearch.resume``; names of trials are written in the space's own notation if it is known.

    Raises:
        RunFolderError: If there is no run at one of them.
    """
    found = [RunFolder(path) for path in _folders([paths] if isinstance(paths, (str, Path)) else paths)]
    trials, curves = [], []
    for folder in found:
        table = folder.table(space_or_none(folder, folder.config(), trust))
        trials.append(_with_run(table, folder))
        curves.append(_curves(table, folder))
    return Frames(
        pa.concat_tables(trials, promote_options="permissive"),
        pa.Table.from_pylist([_run(folder) for folder in found]),
        pa.Table.from_pylist([fault for folder in found for fault in _faults(folder)], schema=_FAULTS),
        pa.concat_tables(curves),
    )


_FAULTS = pa.schema(
    {
        **dict.fromkeys(("run", "kind", "time", "error"), pa.string()),
        **dict.fromkeys(("trial", "worker"), pa.int64()),
        "seconds": pa.float64(),
    }
)
_CURVES = pa.schema([("run", pa.string()), ("trial", pa.int64()), ("unit", pa.int64()), ("score", pa.float64())])


def _folders(paths: Iterable[str | Path]) -> list[str | Path]:
    found: list[str | Path] = []
    for path in paths:
        if is_store(path):
            found.append(path)
            continue
        matches = sorted(glob.glob(str(path))) if glob.has_magic(str(path)) else [str(path)]
        runs = [
            Path(match) for match in matches if not glob.has_magic(str(path)) or (Path(match) / "config.yaml").exists()
        ]
        if not runs:
            raise RunFolderError(f"{path}: expected run folders, found none; see 'archsearch run --out'")
        found += runs
    return list(dict.fromkeys(found))


def _with_run(table: pa.Table, folder: RunFolder) -> pa.Table:
    return table.add_column(0, "run", pa.array([str(folder.where)] * len(table), pa.string()))


def _run(folder: RunFolder) -> dict[str, Any]:
    config = folder.config()
    components = {
        what: json.dumps(config[what]) for what in ("space", "controller", "evaluator", "settings", "versions")
    }
    return {"run": str(folder.where), **components, **{name: config[name] for name in ("seed", "executor", "workers")}}


def _faults(folder: RunFolder) -> list[dict[str, Any]]:
    names = _FAULTS.names[1:]
    return [{"run": str(folder.where), **{name: fault.get(name) for name in names}} for fault in folder.fault_lines()]


def _curves(table: pa.Table, folder: RunFolder) -> pa.Table:
    rows = (
        zip(table["id"].to_pylist(), table["curve"].to_pylist(), strict=True) if "curve" in table.column_names else ()
    )
    points = [
        {"run": str(folder.where), "trial": id_, "unit": unit, "score": score}
        for id_, curve in rows
        for unit, score in enumerate(curve or (), start=1)
    ]
    return pa.Table.from_pylist(points, schema=_CURVES)
