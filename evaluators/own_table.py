"""A table of the user's own, row by row: which architecture a row is of, what it says, and what repeats."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

from archsearch.errors import ArchsearchError, InvalidArchitecture, TableError
from archsearch.evaluators.embedded_tables import Rows
from archsearch.files.tables import numbers, read_table
from archsearch.keeping.columns import RESERVED_COLUMNS
from archsearch.space import Space
from archsearch.trial import NO_COST, Architecture, Cost, Evaluation

if TYPE_CHECKING:
    import pyarrow as pa

Repeated = Literal["refuse", "mean", "runs"]


@runtime_checkable
class Named(Protocol):
    """A space whose decisions have names and values, such as ``Choices``."""

    def from_cells(self, cells: Mapping[str, Any]) -> Architecture:
        """The architecture with these values by the names of decisions, as tables write them."""
        ...


class OwnTable(NamedTuple):
    """Which columns of which file say what; see the arguments of ``Tabular``."""

    path: str
    key: str | list[str]
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
        columns = [self.key] if isinstance(self.key, str) else self.key
        needed = [*columns, self.score, *(self.metrics or []), *([self.cost] if self.cost else [])]
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
        found: dict[Architecture, dict[int, Evaluation | None]] = {}
        keys = [table[column].to_pylist() for column in columns]
        for row in wanted:
            architecture = self._architecture(space, [column[row] for column in keys], row)
            score, evaluation = scores[row], None
            if score is not None and math.isfinite(score):  # what diverged has no score, as where it is NaN
                values = {name: column[row] for name, column in metrics.items() if column[row] is not None}
                seconds = costs[row] or 0.0
                cost = Cost(recorded_seconds=seconds) if seconds else NO_COST
                evaluation = Evaluation(score if self.maximize else -score, values, cost)
            found.setdefault(architecture, {})[row] = evaluation
        return self._joined(space, found)

    def _wanted(self, table: pa.Table) -> list[int]:
        """The rows that ``where`` lets through."""
        wanted = list(range(table.num_rows))
        for column, value in self.where.items():
            accepted = {_text(each) for each in (value if isinstance(value, (list, tuple)) else [value])}
            cells = [_text(cell) for cell in table[column].to_pylist()]
            wanted = [row for row in wanted if cells[row] in accepted]
            if not wanted:
                some = ", ".join(itertools.islice(dict.fromkeys(cells), 5))
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
            if not isinstance(self.key, str):
                return _from_columns(space, dict(zip(self.key, cells, strict=True)))
            if _is_empty(cells[0]):
                raise InvalidArchitecture("no architecture: the cell is empty")
            return space.validate(cells[0]) if isinstance(cells[0], list) else space.parse(_text(cells[0]))
        except ArchsearchError as error:
            one = isinstance(self.key, str)
            columns = f"column {self.key!r}" if one else f"columns {', '.join(map(repr, self.key))}"
            raise TableError(f"{self.path}, row {row}, {columns}: {error}") from None

    def _joined(
        self, space: Space, found: Mapping[Architecture, Mapping[int, Evaluation | None]]
    ) -> tuple[Rows, dict[Architecture, list[Evaluation]]]:
        repeated = [(architecture, list(rows)) for architecture, rows in found.items() if len(rows) > 1]
        if repeated and self.repeated == "refuse":
            first, at = repeated[0]
            some = ", ".join(map(str, at[:3])) + (", ..." if len(at) > 3 else "")
            raise TableError(
                f"{self.path}: {len(repeated)} architectures have more than one row, the first is "
                f"{space.format(first)} (rows {some}); say repeated='mean' or 'runs', or keep one row each by where"
            )
        rows: Rows = {}
        runs: dict[Architecture, list[Evaluation]] = {}
        for architecture, evaluations in found.items():
            known = [each for each in evaluations.values() if each is not None]
            rows[architecture] = _mean(known) if known else None
            if self.repeated == "runs" and len(known) > 1:
                runs[architecture] = known
        return rows, runs


def _from_columns(space: Space, cells: Mapping[str, Any]) -> Architecture:
    """An architecture by its decisions: each column has the name of one; empty where there is no such decision.

    Of a space that names values (``Choices``) the cells are values, of others numbers of options.
    """
    given = {name: cell for name, cell in cells.items() if not _is_empty(cell)}
    if isinstance(space, Named):
        return space.from_cells(given)
    prefix: Architecture = ()
    while space.arity(prefix):
        label = space.label(prefix)
        if label not in given:
            raise InvalidArchitecture(f"no value in a column called {label!r}, which is the next decision")
        cell = given.pop(label)
        option = int(cell) if _text(cell).isdecimal() else -1
        if isinstance(cell, bool) or not 0 <= option < space.arity(prefix):
            raise InvalidArchitecture(
                f"{label!r}: expected an option from 0 to {space.arity(prefix) - 1}, got {cell!r}"
            )
        prefix = (*prefix, option)
    if given:
        raise InvalidArchitecture(f"{', '.join(given)}: no such decision after the others; leave the cell empty")
    return prefix


def _is_empty(cell: Any) -> bool:
    return cell is None or cell == "" or (isinstance(cell, float) and math.isnan(cell))


def _text(cell: Any) -> str:
    """A cell as text; a float that is whole as an int: so pandas writes columns of ints with empty cells."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


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
