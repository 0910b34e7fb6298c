"""What the trials of a history have cost: every try of each is billed, those that failed included."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from archsearch.files.arrow import numbers, scalar
from archsearch.keeping.columns import COST_COLUMNS, EVALUATED, LOST, USED_COLUMNS, has_status
from archsearch.trial import Cost, Used

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa


def total_cost(table: pa.Table) -> Cost:
    """Cost of all trials in a table of the history, or of rows of it: as in ``Result.cost``."""
    amounts = {field: float(_column(table, COST_COLUMNS[field]).sum()) for field in EVALUATED}
    wall = float(_column(table, COST_COLUMNS["wall_seconds"]).sum())
    return Cost(wall_seconds=wall, failed_seconds=float(_failed_seconds(table).sum()), **amounts)


def used_of(table: pa.Table) -> Used:
    """What trials in a table of the history used: the largest memory, and the energy of all whose was measured."""
    import pyarrow.compute as pc

    def found(field: str, add: Callable[..., Any]) -> float | None:
        name = USED_COLUMNS[field]
        return None if name not in table.column_names else add(table[name]).as_py()

    return Used(found("memory_bytes", pc.max), found("device_bytes", pc.max), found("joules", pc.sum))


def billed_seconds(table: pa.Table) -> npt.NDArray[np.float64]:
    """What each trial in a table of the history was billed, shape (rows,); in seconds, as ``Cost.billed_seconds``."""
    import numpy as np

    recorded, device, wall = (
        _column(table, COST_COLUMNS[field]) for field in ("recorded_seconds", "device_seconds", "wall_seconds")
    )
    failed = _failed_seconds(table)
    own = np.where(recorded > 0, recorded, np.where(device > 0, device, wall - failed))
    return np.asarray(own + failed)


def ends(table: pa.Table) -> npt.NDArray[np.float64]:
    """When the last try of each trial ended, shape (rows,); in seconds on the run's clock."""
    return _column(table, "started_seconds") + _column(table, COST_COLUMNS["wall_seconds"]) - _column(table, LOST)


def _failed_seconds(table: pa.Table) -> npt.NDArray[np.float64]:
    """Seconds of each trial's tries that failed: of a completed one those before the last, of a failed one all."""
    import numpy as np

    completed = numbers(has_status(table, "completed"))
    return np.where(completed, _column(table, LOST), _column(table, COST_COLUMNS["wall_seconds"]))


def _column(table: pa.Table, name: str) -> npt.NDArray[np.float64]:
    """A column of numbers, 0 where there is none: version 0.1.0 did not write all of them."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if name not in table.column_names:
        return np.zeros(len(table))
    return numbers(pc.fill_null(table[name], scalar(0.0, pa.float64()))).astype(np.float64)
