"""Latency by a table: the sum over an architecture's decisions."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from pathlib import Path

from archsearch.basics.decisions import walk
from archsearch.errors import TableError
from archsearch.files.tables import numbers as column_of_numbers
from archsearch.files.tables import read_table
from archsearch.space import Space
from archsearch.trial import Architecture

"""So many decisions of a conditional space are looked for in a latency table and, if it has more, so many samples."""


class LatencyTable:
    """The seconds of each option of each decision, whose sum is the latency of an architecture.

    A Parquet or CSV file with the columns ``decision`` (its name, ``space.label``), ``option`` (counted from 0) and
    ``seconds``. A row with an empty decision has the seconds of the fixed part, which are added once. Rows of decisions
    and options that the space lacks are passed over, so that one table serves several spaces.

    Args:
        path: The file.
        space: Whose decisions it must cover.

    Attributes:
        fixed: Seconds of what is not decided.

    Raises:
        TableError: If the file cannot be read, columns or rows are missing, a row is there twice, or seconds are
            negative, infinite or missing.
    """

    def __init__(self, path: str | Path, space: Space) -> None:
        self._where = str(path)
        self._space = space
        self._seconds = self._read()
        self.fixed: float = self._seconds.pop(("", 0), 0.0)
        self._check_complete()

    def _read(self) -> dict[tuple[str, int], float]:
        where = self._where
        table = read_table(where, ("decision", "option", "seconds"), text=("decision",))
        if wrong := [name for name in table.column_names if name not in ("decision", "option", "seconds")]:
            raise TableError(f"{where}: expected the columns decision, option and seconds, got also {', '.join(wrong)}")
        decisions = [str(name or "") for name in table["decision"].to_pylist()]
        options = column_of_numbers(table, "option", where)
        seconds = column_of_numbers(table, "seconds", where)
        found: dict[tuple[str, int], float] = {}
        for row, (decision, option, value) in enumerate(zip(decisions, options, seconds, strict=True)):
            if not decision:
                option = 0.0  # the fixed part has no options
            if option is None or not 0 <= option < math.inf or option != int(option):
                raise TableError(f"{where}, row {row}: option: expected a whole number >= 0, got {_cell(option)}")
            if value is None or not 0 <= value < math.inf:
                raise TableError(f"{where}, row {row}: seconds: expected a finite number >= 0, got {_cell(value)}")
            key = (decision, int(option))
            if key in found:
                raise TableError(f"{where}, row {row}: expected one row for {_name(*key)}, got a second one")
            found[key] = value
        return found

    def _check_complete(self) -> None:
        needed = dict.fromkeys(rows_needed(self._space))
        missing = [key for key in needed if key not in self._seconds]
        if missing:
            raise TableError(
                f"{self._where}: expected a row for each option of each decision of {type(self._space).__name__}, got "
                f"none for {len(missing):,} of {len(needed):,}, the first is {_name(*missing[0])}"
            )

    def option(self, decision: str, option: int) -> float:
        """The seconds of one option of a decision that it covers."""
        return self._seconds[decision, option]

    def seconds(self, architecture: Architecture) -> float:
        """The latency of an architecture; NaN, with a warning, where the table lacks a row for it."""
        total = self.fixed
        for position, option in enumerate(architecture):
            prefix = architecture[:position]
            key = (self._space.label(prefix), self._space.meanings(prefix)[option])
            if key not in self._seconds:
                warnings.warn(
                    f"{self._where} has no row for {_name(*key)}: architectures with it count as too slow", stacklevel=2
                )
                return math.nan
            total += self._seconds[key]
        return total


def rows_needed(space: Space) -> Iterator[tuple[str, int]]:
    """Name and option of the decisions of a space, some several times.

    Of a conditional space with too many decisions to walk through: of the first ones, and of random architectures.
    """
    if space.arities is not None:
        for position, arity in enumerate(space.arities):
            name = space.label((0,) * position)
            yield from ((name, option) for option in range(arity))
        return
    for decision in walk(space):
        if decision is not None:
            name, arity = decision
            yield from ((name, option) for option in range(arity))


def _name(decision: str, option: int) -> str:
    return f"decision {decision!r}, option {option}" if decision else "the empty decision, the fixed part"


def _cell(value: float | None) -> str:
    return "nothing" if value is None else f"{value:g}"
