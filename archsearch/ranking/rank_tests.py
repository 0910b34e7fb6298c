"""Whether one of several methods is better than others over many tasks: tests on ranks."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from archsearch.errors import UsageError
from archsearch.ranking.checks import constant, numbers, ranked

if TYPE_CHECKING:
    import numpy.typing as npt


# -- several methods ---------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class RankTest:
    """Whether methods differ on the same blocks.

    Attributes:
        mean_ranks: Mean rank of each method over the blocks; 1 is best, equal values share their mean rank.
        p: p-value of "all methods are equally good".
        pairwise: p-value of "these two are equally good" for each pair of methods (i, j), i < j, after Holm's
            correction for the number of pairs.
        blocks: How many blocks there are.
    """

    mean_ranks: tuple[float, ...]
    p: float
    pairwise: Mapping[tuple[int, int], float]
    blocks: int


def rank_test(values: npt.ArrayLike) -> RankTest:
    """Whether methods differ that were run on the same blocks, such as tasks or seeds: Friedman, Wilcoxon, Holm.

    Friedman's test of all methods at once depends on their ranks within the blocks only; it is approximate, and rough
    for few blocks. With two methods, it would be a sign test, and Wilcoxon's signed-rank test takes its place. Pairs
    are compared by Wilcoxon's test without blocks of equal values. Below 6 blocks, none of its p-values is below 0.05,
    whatever was measured.

    Args:
        values: Shape (blocks, methods), higher is better; at least 2 of each.

    Returns:
        Mean ranks and p-values, two-sided.

    Raises:
        UsageError: If the shape is another one or a value is not finite.
    """
    table = numbers("values", values)
    if table.ndim != 2 or table.shape[0] < 2 or table.shape[1] < 2:
        raise UsageError(f"values: expected the shape (blocks, methods) with at least 2 of each, got {table.shape}")
    ranks = np.array([ranked(-row) for row in table])
    pairs = list(itertools.combinations(range(table.shape[1]), 2))
    single = [_signed_rank_p(table[:, first] - table[:, second]) for first, second in pairs]
    return RankTest(
        mean_ranks=tuple(ranks.mean(axis=0).tolist()),
        p=single[0] if len(single) == 1 else _friedman_p(table),
        pairwise=dict(zip(pairs, _holm(single), strict=True)),
        blocks=len(table),
    )


def _friedman_p(table: npt.NDArray[np.float64]) -> float:
    from scipy.stats import friedmanchisquare  # here, since it takes a second to import

    if all(map(constant, table)):
        return 1.0  # the formula is 0 / 0
    return float(friedmanchisquare(*table.T).pvalue)


def _signed_rank_p(differences: npt.NDArray[np.float64]) -> float:
    from scipy.stats import wilcoxon  # here, since it takes a second to import

    differing = differences[differences != 0]
    return float(wilcoxon(differing).pvalue) if len(differing) else 1.0


def _holm(p_values: Sequence[float]) -> list[float]:
    """p-values after Holm's correction: the smallest of m times m, the next times m - 1, and so on, never falling."""
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected
