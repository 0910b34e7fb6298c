"""Several objectives: which points no other one beats in all of them, and how much a set of them is worth.

All objectives are maximised here: negate what is to be small. One point *dominates* another if it is at least as good
in every objective and better in one. The *hypervolume* of a set is the volume of what its points dominate, bounded by a
reference point that is worse than all of interest; it depends on the units and on that reference, so compare only what
was computed with the same ones.

Sources: Zitzler & Thiele, "Multiobjective optimization using evolutionary algorithms: a comparative case study", PPSN
1998 (hypervolume); Knowles, "Local-search and hybrid evolutionary algorithms for Pareto optimization", 2002 (slicing).
DEAP has had no function for the hypervolume itself since 1.4.4: its own names the point that contributes least.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from archsearch.errors import UsageError

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

__all__ = ["Direction", "Front", "front_of", "hypervolume", "non_dominated"]

Direction = Literal["max", "min"]

GROWTH_POINTS = 100
"""At so many moments of a search the hypervolume is computed."""


@dataclasses.dataclass(frozen=True)
class Front:
    """The best compromises of a run between several objectives.

    Attributes:
        objectives: Name of each, and whether it is to be large (``max``) or small (``min``).
        rows: Trials that no other one beats in all of them, one per architecture, by the first objective.
        points: Of all trials that were compared, shape (trials, objectives), as they were reported.
        on_front: Which of these are not dominated, shape (trials,).
        hypervolume: Of the front, above the worst of each objective: its share of the box up to the best of each.
        growth: The hypervolume as the search went on, shape (moments, 2): completed trials, and share of that box.
    """

    objectives: Mapping[str, Direction]
    rows: list[dict[str, Any]]
    points: npt.NDArray[np.float64]
    on_front: npt.NDArray[np.bool_]
    hypervolume: float
    growth: npt.NDArray[np.float64]

    def __str__(self) -> str:
        wanted = ", ".join(f"{name} {direction}" for name, direction in self.objectives.items())
        return (
            f"{len(self.rows):,} compromises of {wanted}; hypervolume {self.hypervolume:.4f} of the box that was seen"
        )


def front_of(table: pa.Table, objectives: Mapping[str, Direction]) -> Front | None:
    """The best compromises of a run; with budgets, among the trials that were trained longest.

    Args:
        table: Its trials, as ``History.table`` gives them.
        objectives: Names of the score or metrics, two or more, each ``max`` or ``min``.

    Returns:
        The front; None if no trial has completed with finite values.

    Raises:
        UsageError: If there are fewer than two, or one is no column, or its direction none.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if len(objectives) < 2:
        raise UsageError(
            f"objectives: expected two or more, such as {{'score': 'max', 'params': 'min'}}, got {objectives}"
        )
    numbers = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    for name, direction in objectives.items():
        if name not in numbers or direction not in ("max", "min"):
            raise UsageError(
                f"objectives: expected the score or a metric and max or min for each, got {name!r}: {direction!r}; "
                f"there are {', '.join(numbers)}"
            )
    completed = table.filter(pc.equal(table["status"], "completed"))
    if "budget" in table.column_names:  # scores of unequally long trainings cannot be compared
        completed = completed.filter(pc.equal(completed["budget"], pc.max(completed["budget"])))
    if "repeat_of" in table.column_names:  # of what was scored again the first score counts, as that of all others
        completed = completed.filter(pc.is_null(completed["repeat_of"]))
    points = np.array([completed[name].to_numpy() for name in objectives], np.float64).T
    sound = np.isfinite(points).all(axis=1)
    if not sound.any():
        return None
    completed, points = completed.filter(sound), points[sound]
    upwards = points * [1.0 if direction == "max" else -1.0 for direction in objectives.values()]
    mask = non_dominated(upwards)
    found: dict[str, dict[str, Any]] = {}
    for row in completed.filter(mask).to_pylist():
        found.setdefault(row["name"], row)
    first, direction = next(iter(objectives.items()))
    rows = sorted(found.values(), key=lambda row: -row[first] if direction == "max" else row[first])
    growth = _growth(upwards)
    return Front(dict(objectives), rows, points, mask, float(growth[-1, 1]), growth)


def _growth(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """After so many points: their hypervolume, as a share of the box from the worst to the best of each objective."""
    worst, volume = points.min(axis=0), np.ptp(points, axis=0).prod()
    moments = np.unique(np.linspace(1, len(points), GROWTH_POINTS).astype(int))
    front, shares, before = points[:0], [], 0
    for moment in moments:
        front = np.vstack([front, points[before:moment]])
        front, before = front[non_dominated(front)], moment
        shares.append(hypervolume(front, worst) / volume if volume else 0.0)
    return np.column_stack([moments, shares])


def non_dominated(points: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Which points no other one dominates; equal points do not dominate each other.

    Args:
        points: One row per point, one column per objective, all maximised.

    Returns:
        One truth value per row.

    Raises:
        UsageError: If it is not a table of finite numbers.
    """
    if not np.size(points):
        return np.empty(0, dtype=bool)
    table, back = np.unique(_table(points), axis=0, return_inverse=True)  # repeats of the best may be many
    mask = np.ones(len(table), dtype=bool)
    # The best by the first objective first, then by the second and so on: none is dominated by what comes later.
    for i in np.lexsort(-table.T[::-1]):
        if mask[i]:
            mask &= (table > table[i]).any(1) | (table == table[i]).all(1)
    return mask[back.reshape(-1)]


def hypervolume(points: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """The exact volume of what the points dominate, above the reference.

    Time rises steeply with the number of objectives: n log n for two and n² log n for three, then by a factor of up to
    n for each further one.

    Args:
        points: One row per point, one column per objective, all maximised. Dominated ones change nothing, nor do those
            that are not better than the reference in every objective.
        reference: One value per objective.

    Returns:
        The volume, in the product of the objectives' units; 0.0 if there are no points.

    Raises:
        UsageError: If points or reference are not finite numbers, or their objectives differ in number.
    """
    corner = np.asarray(reference, dtype=float)
    table = _table(points) if np.size(points) else np.empty((0, corner.size))
    if corner.shape != table.shape[1:] or not np.isfinite(corner).all():
        raise UsageError(
            f"hypervolume: reference: expected finite numbers, one for each of {table.shape[1]} objectives, "
            f"got {reference!r}"
        )
    heights = table[(table > corner).all(1)] - corner
    return _volume(heights) if len(heights) else 0.0


def _table(points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    table = np.asarray(points, dtype=float)
    if table.ndim != 2 or not np.isfinite(table).all():
        raise UsageError(
            "points: expected a table of finite numbers, one row per point and one column per objective, "
            f"got the shape {table.shape}" + (" with numbers that are not finite" if table.ndim == 2 else "")
        )
    return table


def _volume(heights: npt.NDArray[np.float64]) -> float:
    """The volume between the origin and points whose coordinates are all above 0."""
    heights = heights[np.argsort(-heights[:, -1], kind="stable")]
    depths = heights[:, -1] - np.append(heights[1:, -1], 0.0)
    if heights.shape[1] == 1:
        return float(heights[0, 0])
    if heights.shape[1] == 2:
        return float(depths @ np.maximum.accumulate(heights[:, 0]))
    # Slices between neighbours along the last axis, each as thick as they are apart: within one, all points above
    # it count, by their other coordinates.
    volume = 0.0
    front = np.empty((0, heights.shape[1] - 1))
    for point, depth in zip(heights[:, :-1], depths.tolist(), strict=True):
        front = np.vstack([front, point])
        front = front[non_dominated(front)]
        if depth > 0:
            volume += depth * _volume(front)
    return volume
