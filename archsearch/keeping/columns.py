"""Trials as the rows of a table, and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from archsearch.basics.seeding import evaluation_seed
from archsearch.basics.texts import name_of
from archsearch.files.arrow import array, scalar
from archsearch.files.checksums import Damaged
from archsearch.space import Space
from archsearch.trial import COST_FIELDS, MEASURED, NO_COST, Architecture, Budget, Cost, Evaluation, Trial, Used

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_ONCE = 20_000
"""Rows of a table that are turned into trials together."""

COST_COLUMNS = {
    "wall_seconds": "wall_seconds",
    "device_seconds": "device_seconds",
    "recorded_seconds": "recorded_seconds",
    "examples": "training_examples",
    "updates": "parameter_updates",
    "flops": "floating_point_operations",
    "failed_seconds": "failed_seconds",
}
"""Field of ``Cost`` to column of the history."""

BUDGET_COLUMNS = {"stop": "budget", "start": "budget_start", "origin": "origin"}
"""Field of ``Budget`` to column of the history."""

EVALUATED = tuple(field for field in COST_FIELDS if field not in MEASURED)
"""Fields of ``Cost`` that evaluators fill in."""

OLD_COST = 6
"""Fields of ``Cost`` in journals of version 0.1.0."""

LOST = "lost_seconds"
"""Column that has, of the wall seconds of a trial, those of the tries before the last one."""

REPEAT = "repeat_of"
"""Column that a history with repeats has: of each the trial that it repeats."""

PROPOSED_BY = "proposed_by"
"""Column that a history has in which others than the controller have proposed something: who did."""

USED_COLUMNS = {"memory_bytes": "used_memory_bytes", "device_bytes": "used_device_bytes", "joules": "used_joules"}
"""Field of ``Used`` to column of a history in which something was measured."""

RESERVED_COLUMNS = frozenset(
    (
        REPEAT,
        PROPOSED_BY,
        "id",
        "architecture",
        "name",
        "parent",
        "status",
        "score",
        "started_seconds",
        "worker",
        "attempts",
        "failure",
    )
).union(
    ("error", "curve", LOST),
    BUDGET_COLUMNS.values(),
    USED_COLUMNS.values(),
    (COST_COLUMNS[field] for field in COST_FIELDS[:-1]),
)
"""Names that a metric cannot have."""


def training_seed(seed: int, id_: int, budget: Budget | None) -> int:
    """The seed of a trial's evaluation under a root seed: of the trial that began the training, where one goes on."""
    return evaluation_seed(seed, id_ if budget is None or budget.origin is None else budget.origin)


# -- tables ----------------------------------------------------------------------------------------


def trials_to_table(trials: Sequence[Trial], space: Space | None) -> pa.Table:
    """Trials as an Arrow table: one row a trial, one column a metric.

    Args:
        trials: Which.
        space: Writes their names; None: their options, such as ``3-0-1``, stand for these.
    """
    import pyarrow as pa

    columns: dict[str, Any] = {
        "id": array([t.id for t in trials], pa.int64()),
        "architecture": array([t.architecture for t in trials], pa.list_(pa.int32())),
        "name": array(_names([t.architecture for t in trials], space), pa.string()),
        "parent": array([t.parent for t in trials], pa.int64()),
        "status": array([t.status for t in trials], pa.string()),
        "score": array([t.score for t in trials], pa.float64()),
    }
    columns |= _metric_columns(trials) | _training_columns(trials)
    costs = [NO_COST if t.evaluation is None else t.evaluation.cost for t in trials]
    columns[COST_COLUMNS["wall_seconds"]] = array([t.seconds + t.lost_seconds for t in trials], pa.float64())
    for field in EVALUATED:
        columns[COST_COLUMNS[field]] = array([getattr(cost, field) for cost in costs], pa.float64())
    columns[LOST] = array([t.lost_seconds for t in trials], pa.float64())
    columns["started_seconds"] = array([t.started for t in trials], pa.float64())
    columns["worker"] = array([t.worker for t in trials], pa.int32())
    columns["attempts"] = array([t.attempts for t in trials], pa.int32())
    columns["failure"] = array([t.failure for t in trials], pa.string())
    columns["error"] = array([t.error for t in trials], pa.string())
    return pa.table(columns)


def _names(architectures: Sequence[Architecture], space: Space | None) -> list[str]:
    if space is None:
        return ["-".join(map(str, architecture)) for architecture in architectures]
    known = {architecture: name_of(space, architecture) for architecture in set(architectures)}
    return [known[architecture] for architecture in architectures]


def _metric_columns(trials: Sequence[Trial]) -> dict[str, Any]:
    import pyarrow as pa

    metrics = [t.metrics for t in trials]
    names = dict.fromkeys(name for keys in dict.fromkeys(tuple(m) for m in metrics) for name in keys)
    return {name: array([m.get(name) for m in metrics], pa.float64()) for name in names}


def _training_columns(trials: Sequence[Trial]) -> dict[str, Any]:
    """What not every history has: curves, of evaluators that train; budgets, if the controller gives them; repeats."""
    import pyarrow as pa

    columns = {}
    if any(t.evaluation is not None and t.evaluation.curve for t in trials):
        curves = [t.evaluation.curve or None if t.evaluation else None for t in trials]
        columns["curve"] = array(curves, pa.list_(pa.float64()))
    if any(t.budget is not None for t in trials):
        for field, column in BUDGET_COLUMNS.items():
            columns[column] = array([t.budget and getattr(t.budget, field) for t in trials], pa.int64())
    if any(t.repeat_of is not None for t in trials):
        columns[REPEAT] = array([t.repeat_of for t in trials], pa.int64())
    if any(t.proposed_by for t in trials):
        columns[PROPOSED_BY] = array([t.proposed_by or None for t in trials], pa.string())
    for field, column in USED_COLUMNS.items():
        amounts = [None if t.used is None else getattr(t.used, field) for t in trials]
        if any(amount is not None for amount in amounts):
            columns[column] = array(amounts, pa.float64())
    return columns


def table_to_trials(table: pa.Table, seed: int) -> Iterator[Trial]:
    """The trials that a table made by ``trials_to_table`` holds."""
    metrics = [name for name in table.column_names if name not in RESERVED_COLUMNS]
    for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE):
        for row in batch.to_pylist():
            evaluation = None
            if row["status"] == "completed":
                cost = Cost(0.0, *(row[COST_COLUMNS[field]] for field in EVALUATED))
                figures = {m: row[m] for m in metrics if row[m] is not None}
                evaluation = Evaluation(row["score"], figures, cost, tuple(row.get("curve") or ()))
            budget = None
            if row.get("budget") is not None:
                budget = Budget(*(row[column] for column in BUDGET_COLUMNS.values()))
            lost = row.get(LOST) or 0.0  # 0.1.0 did not keep it
            used = Used(*(row.get(column) for column in USED_COLUMNS.values()))
            yield Trial(
                row["id"],
                tuple(row["architecture"]),
                row["parent"],
                evaluation,
                training_seed(seed, row["id"], budget),
                row["started_seconds"],
                row["wall_seconds"] - lost,
                row["worker"],
                row["attempts"],
                row["failure"],
                row["error"],
                budget,
                lost,
                row.get(REPEAT),
                row.get(PROPOSED_BY) or "",
                None if used == Used() else used,
            )


def check_part(table: pa.Table) -> None:
    """Raises ``Damaged`` if a table is no part of a history: columns are missing, or of another type."""
    import pyarrow as pa

    texts, whole = ("name", "status", "failure", "error"), {"id": pa.int64(), "parent": pa.int64()}
    expected = {"architecture": pa.list_(pa.int32()), **whole, **dict.fromkeys(texts, pa.string())}
    expected |= {"worker": pa.int32(), "attempts": pa.int32()}
    expected |= {name: pa.int64() for name in (REPEAT,) if name in table.column_names}
    expected |= {name: pa.string() for name in (PROPOSED_BY,) if name in table.column_names}
    columns = ("score", "started_seconds", *(COST_COLUMNS[field] for field in COST_FIELDS[:-1]))
    expected |= dict.fromkeys(
        (*columns, *(each for each in USED_COLUMNS.values() if each in table.column_names)), pa.float64()
    )
    types = {field.name: field.type for field in table.schema}
    metrics = dict.fromkeys((name for name in types if name not in RESERVED_COLUMNS), pa.float64())
    for name, kind in (expected | metrics).items():
        found = types.get(name)
        if found != kind and not (name == "architecture" and found is not None and pa.types.is_list(found)):
            raise Damaged(f"column {name}: expected {kind}, got {types.get(name, 'none')}")
    for name in ("id", "architecture", "status", "name"):
        if table[name].null_count:
            raise Damaged(f"column {name}: expected a value in each row")


def has_status(table: pa.Table, status: str) -> pa.ChunkedArray:
    """Whether each trial in a table of the history is ``completed``, or ``failed``."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.equal(table["status"], scalar(status, pa.string()))


def lost_seconds(job: Sequence[Any]) -> float:
    """Of a pending job in a state: what its earlier tries have cost, which 0.1.0 did not keep."""
    return float(job[8]) if len(job) > 8 else 0.0
