"""Latency by a table of measured parts: of the options of each decision, or of the blocks that networks are made of."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from archsearch.basics.decisions import walk
from archsearch.components import describe, one_line
from archsearch.errors import TableError
from archsearch.evaluator import Built
from archsearch.files.tables import numbers as column_of_numbers
from archsearch.files.tables import read_table
from archsearch.space import Space
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import pyarrow as pa

    from archsearch.limits.composition import Composition


FACTS = b"archsearch.latency"
"""Entry of a Parquet file that ``archsearch profile`` wrote: what was measured, as JSON."""

BY_DECISION = ("decision", "option", "seconds")
BY_BLOCK = ("block", "seconds")
MORE = ("name", "kind", "measured_seconds", "low_seconds", "high_seconds", "energy_joules")
"""Columns that are for people; nothing is computed from them here."""


class LatencyTable:
    """The seconds of parts, whose sum is the latency of an architecture.

    A Parquet or CSV file with the columns ``decision`` (its name, ``space.label``), ``option`` (counted from 0) and
    ``seconds``; or, as ``archsearch profile`` writes for spaces in which decisions depend on each other, with the
    columns ``block`` (its key, see ``archsearch.networks.blocks``) and ``seconds``. A row with an empty decision or
    block has the seconds of the fixed part, which are added once. Rows of decisions and options that the space lacks
    are passed over, so that one table serves several spaces.

    Args:
        path: The file.
        space: Whose decisions it must cover.

    Attributes:
        fixed: Seconds of what is not decided.
        facts: What was measured, as ``archsearch profile`` noted it; empty for other tables.

    Raises:
        TableError: If the file cannot be read, columns or rows are missing, a row is there twice, seconds are negative,
            infinite or missing, or it was measured for another space.
    """

    def __init__(self, path: str | Path, space: Space) -> None:
        self._where = str(path)
        self._space = space
        self._composition: Composition | None = None
        table = read_table(self._where, ("seconds",), text=("decision", "block"))
        self.facts = _facts(table, self._where)
        self._seconds = self._read(table)
        self.fixed: float = self._seconds.pop(("", 0), 0.0)
        if self.facts:
            self._check_space()
        if self._by_block:
            self._check_blocks()
        else:
            self._check_complete()

    def _read(self, table: pa.Table) -> dict[tuple[str, int], float]:
        where = self._where
        self._by_block = "block" in table.column_names
        expected = BY_BLOCK if self._by_block else BY_DECISION
        if missing := [name for name in expected if name not in table.column_names]:
            raise TableError(f"{where}: no column called {', '.join(missing)}; it has {', '.join(table.column_names)}")
        if wrong := [name for name in table.column_names if name not in (*expected, *MORE)]:
            names = f"{', '.join(expected[:-1])} and {expected[-1]}"
            raise TableError(f"{where}: expected the columns {names}, got also {', '.join(wrong)}")
        decisions = [str(name or "") for name in table[expected[0]].to_pylist()]
        options: list[Any] = [0.0] * len(decisions) if self._by_block else column_of_numbers(table, "option", where)
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
                raise TableError(f"{where}, row {row}: expected one row for {self._name(*key)}, got a second one")
            found[key] = value
        return found

    # -- whether it fits -------------------------------------------------------------------------

    def _check_space(self) -> None:
        """Of a table by decision: that the options of its space are those of this one."""
        space = self.facts["space"]
        if self._by_block or space == describe(self._space):
            return
        raise TableError(
            f"{self._where}: measured for {one_line(space)}, while {one_line(describe(self._space))} is searched; "
            "profile that one"
        )

    def _check_complete(self) -> None:
        needed = dict.fromkeys(rows_needed(self._space))
        missing = [key for key in needed if key not in self._seconds]
        if missing:
            raise TableError(
                f"{self._where}: expected a row for each option of each decision of {type(self._space).__name__}, got "
                f"none for {len(missing):,} of {len(needed):,}, the first is {self._name(*missing[0])}"
            )

    def _check_blocks(self) -> None:
        """That the blocks of a random architecture are there; others are looked for as they come."""
        from archsearch.limits.composition import Composition

        built = self.built
        if built is None:
            raise TableError(f"{self._where}: expected to find noted in it how its networks were built, got nothing")
        self._composition = Composition(self._space, built, int(self.facts.get("batch", 1)))
        needed = self._composition.count(self._space.sample(np.random.default_rng(0)))
        missing = [key for key in needed if (key, 0) not in self._seconds]
        if missing:
            first = self._composition.blocks[missing[0]].name
            raise TableError(
                f"{self._where}: measured for {one_line(self.facts['space'])}; of the blocks of "
                f"{one_line(describe(self._space))} {len(missing):,} of {len(needed):,} are not there, the first is "
                f"{first}; profile that space"
            )

    @property
    def built(self) -> Built | None:
        """How the networks were built that it is for; None: not known."""
        noted = self.facts.get("built")
        return None if noted is None else Built(tuple(noted["input_shape"]), noted["classes"], noted["skeleton"])

    def check_built(self, built: Built | None, who: str) -> None:
        """Refuses networks that are built in another way than those that were measured.

        Args:
            built: How those of a search are; None: not known.
            who: Builds them, for the message.

        Raises:
            TableError: If they are.
        """
        own = self.built
        if own is None or built is None or own == Built(tuple(built.input_shape), built.classes, dict(built.skeleton)):
            return
        raise TableError(
            f"{self._where}: measured for networks of {_built_text(own)}, while {who} builds those of "
            f"{_built_text(built)}; profile these"
        )

    # -- what it says ----------------------------------------------------------------------------

    def option(self, decision: str, option: int) -> float:
        """The seconds of one option of a decision that it covers."""
        return self._seconds[decision, option]

    def seconds(self, architecture: Architecture) -> float:
        """The latency of an architecture; NaN, with a warning, where the table lacks a row for it."""
        total = self.fixed
        for key, times in self._parts(architecture):
            if key not in self._seconds:
                warnings.warn(
                    f"{self._where} has no row for {self._name(*key)}: architectures with it count as too slow",
                    stacklevel=2,
                )
                return math.nan
            total += times * self._seconds[key]
        return total

    def _parts(self, architecture: Architecture) -> Iterator[tuple[tuple[str, int], int]]:
        """The rows that an architecture needs, each with how often it is added."""
        if self._composition is not None:
            for block, times in self._composition.count(architecture).items():
                yield (block, 0), times
            return
        for position, option in enumerate(architecture):
            prefix = architecture[:position]
            yield (self._space.label(prefix), self._space.meanings(prefix)[option]), 1

    def _name(self, decision: str, option: int) -> str:
        if self._composition is not None and decision in self._composition.blocks:
            return f"block {self._composition.blocks[decision].name}"
        if self._by_block:
            return f"block {decision!r}" if decision else "the empty block, the fixed part"
        return f"decision {decision!r}, option {option}" if decision else "the empty decision, the fixed part"


def _facts(table: pa.Table, where: str) -> Mapping[str, Any]:
    """What ``archsearch profile`` noted in the file."""
    noted = (table.schema.metadata or {}).get(FACTS)
    if noted is None:
        return {}
    try:
        facts = json.loads(noted)
        Built(tuple(facts["built"]["input_shape"]), facts["built"]["classes"], dict(facts["built"]["skeleton"]))
        str(facts["space"]["class_path"])
        dict(facts["space"]["init_args"])
    except (ValueError, KeyError, TypeError) as error:
        raise TableError(f"{where}: what it notes of its measurement is damaged: {error}") from None
    found: Mapping[str, Any] = facts
    return found


def _built_text(built: Built) -> str:
    settings = ", ".join(f"{name} {value}" for name, value in built.skeleton.items())
    return f"{'x'.join(map(str, built.input_shape))}, {built.classes} classes{', ' if settings else ''}{settings}"


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
            yield from ((decision.name, option) for option in range(decision.options))


def _cell(value: float | None) -> str:
    return "nothing" if value is None else f"{value:g}"
