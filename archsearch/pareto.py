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

from typing import TYPE_CHECKING

import numpy as np

from archsearch.errors import UsageError

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["hypervolume", "non_dominated"]


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
    table = _table(points)
    mask = np.ones(len(table), dtype=bool)
    # The best by the first objective first, then by the second and so on: none is dominated by what comes later.
    for i in np.lexsort(-table.T[::-1]):
        if mask[i]:
            mask &= (table > table[i]).any(1) | (table == table[i]).all(1)
    return mask


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
