"""Tables by name: scikit-learn's embedded sets, CSV, Parquet and Arrow files, and Arrow tables in Python."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from archsearch.errors import TaskError, UsageError
from archsearch.task.parts import SHARES, one_of, options_of, three_parts
from archsearch.task.tables import TableTask
from archsearch.task.task import Task

if TYPE_CHECKING:
    import pyarrow as pa

EMBEDDED = ("diabetes", "breast_cancer", "wine")
"""Sets of scikit-learn that are tables."""

FILES = (".csv", ".feather", ".arrow")
"""Endings of files that are always tables; a Parquet file is one where its ``target`` is named."""

OPTIONS = {**SHARES, "target": "", "predicts": "auto", "drop": ""}


def embedded(name: str, text: str, given: Mapping[str, str]) -> Task:
    """``diabetes`` (a number is predicted), ``breast_cancer`` or ``wine`` (a class)."""
    from sklearn import datasets

    options = options_of(text, given, SHARES)
    found = getattr(datasets, f"load_{name}")()
    predicts: Literal["class", "number"] = "number" if name == "diabetes" else "class"
    names = [str(each) for each in found.feature_names]
    make = functools.partial(TableTask, predicts=predicts, columns=names, name=text)
    targets = found.target.astype(np.float64 if predicts == "number" else np.int64)
    return three_parts(text, found.data, targets, options, make, what="rows")


def file(path: Path, text: str, given: Mapping[str, str]) -> Task:
    """A CSV, Parquet, Feather or Arrow file, whose column ``target`` is predicted from the others."""
    options = options_of(text, given, OPTIONS)
    if not options["target"]:
        raise UsageError(f"task {text!r}: target: expected the name of the column that is predicted: target=COLUMN")
    drop = [name for name in options["drop"].split("+") if name]
    make = _Split(text, options, drop)
    return make(_read(path), str(path))


def table_task(
    table: pa.Table,
    target: str,
    *,
    predicts: Literal["auto", "class", "number"] = "auto",
    drop: Sequence[str] = (),
    valid: float = 0.2,
    test: float = 0.2,
    seed: int = 0,
    name: str = "table",
) -> Task:
    """A task from an Arrow table, split three ways.

    Args:
        table: Columns of numbers or booleans, without gaps, and the one that is predicted.
        target: Its name.
        predicts: ``class`` or ``number``; auto: texts and booleans are classes, numbers with fractions are numbers,
            and whole numbers are refused, since they may be either.
        drop: Names of columns that are left out.
        valid: Rows that a search is scored on: a whole number, or a share up to 1.0.
        test: Rows that are reported, likewise.
        seed: Of the split, >= 0.
        name: For messages and run folders.

    Raises:
        TaskError: If a column cannot be used; the message says which, and where.
    """
    options = {"train": 0.0, "valid": valid, "test": test, "seed": seed, "target": target, "predicts": predicts}
    return _Split(name, options, list(drop))(table, name)


class _Split:
    """Makes a task of a table."""

    def __init__(self, text: str, options: Mapping[str, Any], drop: list[str]) -> None:
        self.text, self.options, self.drop = text, options, drop

    def __call__(self, table: pa.Table, where: str) -> Task:
        target = self.options["target"]
        names = [str(each) for each in table.column_names]
        for name in (target, *self.drop):
            if names.count(name) != 1:
                raise TaskError(
                    f"{where}: {names.count(name)} columns are called {name!r}; there are {', '.join(names)}"
                )
        used = [name for name in names if name != target and name not in self.drop]
        if not used or not table.num_rows:
            raise TaskError(f"{where}: expected rows with columns beside the target {target!r}, found none")
        rows = np.column_stack([_column(table[name], name, where) for name in used])
        targets, predicts = _targets(table[target], target, where, self.text, self.options)
        make = functools.partial(TableTask, predicts=predicts, columns=used, name=self.text)
        return three_parts(self.text, rows, targets, self.options, make, what="rows")


def _column(column: Any, name: str, where: str) -> npt.NDArray[np.float64]:
    import pyarrow as pa

    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise TaskError(
            f"{where}: column {name!r} holds {kind}; expected numbers or booleans: turn it into some, or leave it out: "
            f"drop={name}"
        )
    _expect_full(column, name, where)
    values = column.to_numpy().astype(np.float64)
    if not np.isfinite(values).all():
        row = int(np.argmax(~np.isfinite(values)))
        raise TaskError(f"{where}: row {row}, column {name!r}: {values[row]}; fill such cells or leave the rows out")
    found: npt.NDArray[np.float64] = values
    return found


def _expect_full(column: Any, name: str, where: str) -> None:
    import pyarrow.compute as pc

    if column.null_count:
        row = pc.index(column.is_null(), True).as_py()
        raise TaskError(f"{where}: row {row}, column {name!r} is empty; fill such cells or leave the rows out")


def _targets(
    column: Any, name: str, where: str, text: str, options: Mapping[str, Any]
) -> tuple[npt.NDArray[Any], Literal["class", "number"]]:
    """What is predicted, and as what; classes by their place among all of them, in order."""
    import pyarrow as pa

    predicts = one_of(text, options, "predicts", ("auto", "class", "number"))
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    words = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind)
    if not (words or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise TaskError(f"{where}: target {name!r} holds {kind}; expected numbers, booleans or texts")
    _expect_full(column, name, where)
    values = np.array(column.to_pylist()) if words else column.to_numpy()
    if not words and not np.isfinite(values).all():
        row = int(np.argmax(~np.isfinite(values)))
        raise TaskError(f"{where}: row {row}, target {name!r}: {values[row]}; leave such rows out")
    whole = not words and bool(np.all(values == np.floor(values)))
    if predicts == "auto":
        if whole:
            raise TaskError(
                f"{where}: target {name!r} holds whole numbers, which may be classes or quantities; say which: "
                "predicts=class or predicts=number"
            )
        predicts = "class" if words else "number"
    if predicts == "number":
        if words:
            raise TaskError(f"{where}: target {name!r} holds {kind}; expected numbers, or predicts=class")
        return values.astype(np.float64), "number"
    if not words and not whole:
        raise TaskError(f"{where}: target {name!r} holds numbers with fractions; expected classes, or predicts=number")
    return np.unique(values, return_inverse=True)[1].astype(np.int64), "class"


def _read(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.feather
    import pyarrow.parquet

    if path.is_dir():
        raise TaskError(f"{path}: expected a file of a table, found a folder")
    # One thread: else a row that cannot be read is told without its number.
    rows = functools.partial(pyarrow.csv.read_csv, read_options=pyarrow.csv.ReadOptions(use_threads=False))
    read = {".csv": rows, ".parquet": pyarrow.parquet.read_table}.get(path.suffix, pyarrow.feather.read_table)
    try:
        return read(str(path))
    except FileNotFoundError:
        raise TaskError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise TaskError(f"{path}: cannot be read as {path.suffix}: {' '.join(str(error).split())}") from None
