"""Scores as arrays of one length, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from archsearch.errors import UsageError

if TYPE_CHECKING:
    import numpy.typing as npt


def ratio(above: npt.NDArray[np.float64], below: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """``above / below``, and 0 for 0 / 0."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


# -- checks ------------------------------------------------------------------------------------


def checked(**given: npt.ArrayLike) -> list[npt.NDArray[np.float64]]:
    """The given values as vectors of one length, at least 2, all finite."""
    vectors = {name: numbers(name, values) for name, values in given.items()}
    first, count = next((name, len(vector) if vector.ndim else 0) for name, vector in vectors.items())
    for name, vector in vectors.items():
        if vector.ndim != 1:
            raise UsageError(f"{name}: expected one number per architecture, got an array of shape {vector.shape}")
        if len(vector) != count:
            raise UsageError(f"{name}: expected {count} values, as many as {first} has, got {len(vector)}")
    if count < 2:
        raise UsageError(f"{first}: expected at least 2 architectures, since one cannot be ranked, got {count}")
    return list(vectors.values())


def truth_and_rows(
    truth: npt.ArrayLike, scores: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The truth, and the scores with the shape (rows, architectures)."""
    table = numbers("scores", scores)
    if table.ndim != 2:
        quality, score = checked(truth=truth, scores=table)
        return quality, score[np.newaxis]
    (quality,) = checked(truth=truth)
    if table.shape[0] < 1 or table.shape[1] != len(quality):
        shapes = f"({len(quality)},) or (runs of the evaluator, {len(quality)})"
        raise UsageError(f"scores: expected the shape {shapes}, got {table.shape}")
    return quality, table


def check_count(name: str, value: int, count: int) -> None:
    """Raises ``UsageError`` unless 1 <= value <= count."""
    if not 1 <= value <= count:
        raise UsageError(f"{name}: expected 1 to {count}, the number of architectures, got {value}")


def check_repeats(repeats: int) -> None:
    """Raises ``UsageError`` unless there is at least one."""
    if repeats < 1:
        raise UsageError(f"repeats: expected at least 1, got {repeats}")


def numbers(name: str, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """As an array of one dimension; raises ``UsageError`` if it is none."""
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name}: expected numbers, got something else ({error})") from None
    finite = np.isfinite(numbers)
    if not finite.all():
        place = tuple(map(int, np.argwhere(~finite)[0]))
        where = ", ".join(map(str, place))
        raise UsageError(
            f"{name}: expected finite numbers, got {numbers[place]} at [{where}]; leave failed architectures out"
        )
    return numbers


def constant(values: npt.NDArray[np.float64]) -> bool:
    """Whether all values are equal."""
    return bool((values == values[0]).all())


def kth_highest(values: npt.NDArray[np.float64], k: int) -> float:
    """The k-th highest value, k >= 1."""
    return float(np.partition(values, -k)[-k])


def ranked(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Ranks from 1; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: npt.NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


def words(values: Sequence[int]) -> str:
    """The numbers as they are said in an error."""
    return " and ".join(map(str, values))
