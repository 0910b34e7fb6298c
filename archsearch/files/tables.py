"""Tables of the user's own: Parquet and CSV files, read with errors that name the file, what it needs and has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch.errors import TableError

if TYPE_CHECKING:
    import pyarrow as pa


def read_table(name: str, needed: Sequence[str], text: Sequence[str] = ()) -> pa.Table:
    """A Parquet or CSV file as a table.

    Args:
        name: Path of the file.
        needed: Columns that it must have.
        text: Columns of a CSV file that are text even where they look like numbers.

    Raises:
        TableError: If the file cannot be read, lacks a column, has two of one name, or has no rows.
    """
    table = _read(name, text)
    missing = [column for column in needed if column not in table.column_names]
    if missing:
        raise TableError(f"{name}: no column called {', '.join(missing)}; it has {', '.join(table.column_names)}")
    if len(set(table.column_names)) < len(table.column_names):
        raise TableError(f"{name}: two columns have one name; it has {', '.join(table.column_names)}")
    if table.num_rows == 0:
        raise TableError(f"{name}: the table is empty")
    return table


def _read(name: str, text: Sequence[str]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    path = Path(name)
    if path.suffix not in (".parquet", ".csv"):
        raise TableError(f"{name}: expected a file that ends in .parquet or .csv")
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path)
        else:
            options = pyarrow.csv.ConvertOptions(column_types={column: pa.string() for column in text})
            table = pyarrow.csv.read_csv(path, convert_options=options)
        table.validate(full=True)  # bytes that are no text show here, not where they are used
        str(table.column_names)  # in names, too
        return table
    except FileNotFoundError:
        raise TableError(f"{name}: no such file") from None
    except (pa.ArrowException, OSError, MemoryError, ValueError) as error:
        raise TableError(f"{name}: cannot be read: {str(error).partition(chr(10))[0]}") from None


def numbers(table: pa.Table, column: str, where: str) -> list[Any]:
    """A column as floats, None where it is empty; NaN is empty, as in CSV files.

    Args:
        table: The table.
        column: Name of the column.
        where: The file, for messages.

    Raises:
        TableError: If it holds anything but numbers, or nothing at all.
    """
    import pyarrow as pa

    cells = table[column]
    try:
        values = cells.cast(pa.float64()).to_pylist()
    except pa.ArrowException:
        first = next((f", row {row}: {cell!r}" for row, cell in enumerate(cells.to_pylist()) if _no_number(cell)), "")
        raise TableError(f"{where}: column {column!r} holds {cells.type}, expected numbers{first}") from None
    values = [None if value is None or math.isnan(value) else value for value in values]
    if not any(value is not None for value in values):
        raise TableError(f"{where}: column {column!r} has no values")
    return values


def _no_number(cell: Any) -> bool:
    try:
        return cell is not None and float(cell) is None
    except (TypeError, ValueError):
        return True
