"""A table of the user's own, row by row: which architecture a row is of, what it says, and what repeats."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from archsearch.errors import ArchsearchError, InvalidArchitecture, TableError
from archsearch.evaluators.embedded_tables import Rows
from archsearch.files.tables import numbers, read_table
from archsearch.keeping.columns import RESERVED_COLUMNS
from archsearch.space import Space
from archsearch.trial import NO_COST, Architecture, Cost, Evaluation

if TYPE_CHECKING:
    import pyarrow as pa

Repeated = Literal["refuse", "mean", "runs"]


class OwnTable(NamedTuple):
    """Which columns of which file say what; see the arguments of ``Tabular``."""

    path: str
    keys: list[str]
    score: str
    metrics: list[str] | None
    cost: str | None
    maximize: bool
    where: Mapping[str, Any]
    repeated: Repeated

    def read(self, space: Space) -> tuple[Rows, dict[Architecture, list[Evaluation]]]:
        """The evaluation of each architecture, None where there is no score; and the single runs of those with several.

        Raises:
            TableError: If the file cannot be used; the message names row and column.
        """
        needed = [*self.keys, self.score, *(self.metrics or []), *([self.cost] if self.cost else [])]
        table = read_table(self.path, [*needed, *self.where])
        names = self.metrics if self.metrics is not None else _other_numbers(table, [*needed, *self.where])
        reserved = RESERVED_COLUMNS.intersection(names)
        if reserved:
            raise TableError(
                f"{self.path}: {', '.join(sorted(reserved))} cannot name a metric, since the history has such columns; "
                "rename them, or list in metrics what to report"
            )
        wanted = self._wanted(table)
        scores = numbers(table, self.score, self.path)
        metrics = {name: numbers(table, name, self.path) for name in names}
        costs = self._costs(table)
        found: dict[Architecture, list[Evaluation | None]] = {}
        keys = [table[key].to_pylist() for key in self.keys]
        for row in wanted:
            architecture = self._architecture(space, [column[row] for column in keys], row)
            evaluation = None
            if scores[row] is not None:
                values = {name: column[row] for name, column in metrics.items() if column[row] is not None}
                seconds = costs[row] or 0.0
                cost = Cost(recorded_seconds=seconds) if seconds else NO_COST
                evaluation = Evaluation(scores[row] if self.maximize else -scores[row], values, cost)
            found.setdefault(architecture, []).append(evaluation)
        return self._joined(space, found)

    def _wanted(self, table: pa.Table) -> list[int]:
        """The rows that ``where`` lets through."""
        wanted = list(range(table.num_rows))
        for column, value in self.where.items():
            accepted = set(map(str, value if isinstance(value, (list, tuple)) else [value]))
            cells = table[column].to_pylist()
            wanted = [row for row in wanted if str(cells[row]) in accepted]
            if not wanted:
                some = ", ".join(itertools.islice(dict.fromkeys(map(str, cells)), 5))
                values = " or ".join(sorted(accepted))
                raise TableError(f"{self.path}: where: no row has {values} in column {column!r}; it has {some}")
        return wanted

    def _costs(self, table: pa.Table) -> Sequence[float | None]:
        if self.cost is None:
            return [0.0] * table.num_rows
        costs = numbers(table, self.cost, self.path)
        for row, cost in enumerate(costs):
            if cost is not None and not 0 <= cost < math.inf:
                raise TableError(f"{self.path}, row {row}: column {self.cost!r}: expected seconds >= 0, got {cost}")
        return costs

    def _architecture(self, space: Space, cells: Sequence[Any], row: int) -> Architecture:
        try:
            if len(self.keys) > 1:
                return _from_columns(space, dict(zip(self.keys, cells, strict=True)))
            return space.validate(cells[0]) if isinstance(cells[0], list) else space.parse(str(cells[0]))
        except ArchsearchError as error:
            columns = ", ".join(map(repr, self.keys))
            raise TableError(f"{self.path}, row {row}, column{'s' * (len(self.keys) > 1)} {columns}: {error}") from None

    def _joined(
        self, space: Space, found: Mapping[Architecture, Sequence[Evaluation | None]]
    ) -> tuple[Rows, dict[Architecture, list[Evaluation]]]:
        repeated = [(architecture, len(rows)) for architecture, rows in found.items() if len(rows) > 1]
        if repeated and self.repeated == "refuse":
            first, times = repeated[0]
            raise TableError(
                f"{self.path}: {len(repeated)} architectures have more than one row, the first is "
                f"{space.format(first)} ({times} rows); say repeated='mean' or 'runs', or keep one row each by where"
            )
        rows: Rows = {}
        runs: dict[Architecture, list[Evaluation]] = {}
        for architecture, evaluations in found.items():
            known = [each for each in evaluations if each is not None]
            rows[architecture] = _mean(known) if known else None
            if self.repeated == "runs" and len(known) > 1:
                runs[architecture] = known
        return rows, runs


def _from_columns(space: Space, cells: Mapping[str, Any]) -> Architecture:
    """An architecture by its decisions: each column has the name of one; empty where there is no such decision.

    Of a space that names values (``Choices``) the cells are values, of others numbers of options.
    """
    given = {name: cell for name, cell in cells.items() if not _is_empty(cell)}
    if isinstance(space.decode(space.sample(np.random.default_rng(0))), Mapping):
        text = ",".join(f"{name}={_whole(cell)}" for name, cell in given.items())
        try:
            return space.parse(text)
        except InvalidArchitecture:
            return space.parse(",".join(f"{name}={cell}" for name, cell in given.items()))
    prefix: Architecture = ()
    while space.arity(prefix):
        label = space.label(prefix)
        if label not in given:
            raise InvalidArchitecture(f"no value in a column called {label!r}, which is the next decision")
        cell = _whole(given.pop(label))
        if not isinstance(cell, int) or not 0 <= cell < space.arity(prefix):
            raise InvalidArchitecture(
                f"{label!r}: expected an option from 0 to {space.arity(prefix) - 1}, got {cell!r}"
            )
        prefix = (*prefix, cell)
    if given:
        raise InvalidArchitecture(f"{', '.join(given)}: no such decision after the others")
    return prefix


def _is_empty(cell: Any) -> bool:
    return cell is None or cell == "" or (isinstance(cell, float) and math.isnan(cell))


def _whole(cell: Any) -> Any:
    """A float that is whole as an int: so pandas writes columns of ints with empty cells."""
    return int(cell) if isinstance(cell, float) and cell.is_integer() else cell


def _mean(evaluations: Sequence[Evaluation]) -> Evaluation:
    if len(evaluations) == 1:
        return evaluations[0]
    names = list(dict.fromkeys(_names(evaluations)))
    metrics = {}
    for name in names:
        values = [each.metrics[name] for each in evaluations if name in each.metrics]
        metrics[name] = sum(values) / len(values)
    n = len(evaluations)
    seconds = sum(each.cost.recorded_seconds for each in evaluations) / n
    return Evaluation(
        sum(each.score for each in evaluations) / n, metrics, Cost(recorded_seconds=seconds) if seconds else NO_COST
    )


def _names(evaluations: Sequence[Evaluation]) -> Iterator[str]:
    for each in evaluations:
        yield from each.metrics


def _other_numbers(table: pa.Table, taken: Sequence[Any]) -> list[str]:
    import pyarrow.types as types

    fields = [field for field in table.schema if field.name not in taken]
    names = [field.name for field in fields if types.is_integer(field.type) or types.is_floating(field.type)]
    return [name for name in names if table[name].null_count < table.num_rows]
