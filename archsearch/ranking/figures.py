"""Figures of agreement: rank correlation, regret, noise ceiling; ``top.py`` has those that look at the best."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

from archsearch.errors import UsageError
from archsearch.ranking.checks import check_count, checked, constant, numbers, ranked, ratio

if TYPE_CHECKING:
    import numpy.typing as npt


SIZE_GROUPS = 5
"""Groups of similar size that ``agreement`` looks into."""

# -- figures -----------------------------------------------------------------------------------


def kendall_tau(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Kendall's tau-b: how much more often pairs are ordered alike than oppositely, corrected for ties.

    Without ties, (1 + tau) / 2 is the share of pairs that are ordered alike.

    Args:
        a: One value per architecture.
        b: Another one per architecture.

    Returns:
        From -1 (reverse order) to 1 (same order). 0.0 if either is constant, where the formula is 0 / 0: what makes no
        difference between architectures ranks none of them.

    Raises:
        UsageError: If lengths differ, there are fewer than 2 architectures, or a value is not finite.
    """
    from scipy.stats import kendalltau  # here, since it takes a second to import

    left, right = checked(a=a, b=b)
    if constant(left) or constant(right):
        return 0.0
    return float(kendalltau(left, right, variant="b").statistic)


def spearman(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Spearman's rho: the linear correlation of the ranks; equal values share their mean rank.

    Args:
        a: One value per architecture.
        b: Another one per architecture.

    Returns:
        From -1 to 1. 0.0 if either is constant, as for ``kendall_tau``.

    Raises:
        UsageError: If lengths differ, there are fewer than 2 architectures, or a value is not finite.
    """
    left, right = checked(a=a, b=b)
    if constant(left) or constant(right):
        return 0.0
    middle = (len(left) + 1) / 2
    x, y = ranked(left) - middle, ranked(right) - middle
    return float(np.clip(x @ y / math.sqrt((x @ x) * (y @ y)), -1.0, 1.0))


def regret(truth: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """What trusting the scores loses: the best truth minus that of the architecture scored highest.

    Args:
        truth: True quality of each architecture.
        scores: Cheap score of each. If several share the highest, their mean truth counts.

    Returns:
        At least 0, in units of ``truth``.

    Raises:
        UsageError: If lengths differ, there are fewer than 2 architectures, or a value is not finite.
    """
    quality, score = checked(truth=truth, scores=scores)
    # The mean of losses, not the loss of the mean: rounding cannot make it negative.
    return float(np.mean(quality.max() - quality[score == score.max()]))


def best_of(truth: npt.ArrayLike, scores: npt.ArrayLike, n: int) -> float:
    """What a search gets that scores ``n`` random architectures and takes the best: its expected truth.

    The ``n`` are drawn without replacement from all N. The architecture with r better scored ones is the best of the
    draw if it is drawn and they are not, with probability C(N - 1 - r, n - 1) / C(N, n); tied architectures share
    the probabilities of their places evenly, as if ties were broken at random.

    Args:
        truth: True quality of each of N architectures.
        scores: Cheap score of each.
        n: How many are drawn, from 1 to N. 1 gives the mean truth, N the truth of the best scored.

    Returns:
        The expectation, in units of ``truth``.

    Raises:
        UsageError: If lengths differ, there are fewer than 2 architectures, a value is not finite, or ``n`` is out of
            range.
    """
    quality, score = checked(truth=truth, scores=scores)
    check_count("n", n, len(score))
    return float(mean_best_of(quality, score, n, np.ones((1, len(score)), np.float32))[0])


def regret_of_best(truth: npt.ArrayLike, scores: npt.ArrayLike, n: int) -> float:
    """What trusting the scores loses a search of ``n`` random architectures, against one that knows the truth.

    Its expectation, ``best_of(truth, truth, n) - best_of(truth, scores, n)``. With all architectures drawn, it is
    ``regret``; with fewer, it depends less on a single one.

    The 95 % intervals of ``agreement`` are a little narrow, and too narrow for n near N. In simulations of normal truth
    and scores (correlation 0.3 and 0.8, N from 100 to 500, 1,000 samples or more each), they held the value of the
    population in 92 to 94 % of the samples for n = N / 10, 91 to 94 % for N / 5 to N / 3, 91 to 92 % for N / 2, and
    only 88 to 90 % for all N.

    Args:
        truth: True quality of each of N architectures.
        scores: Cheap score of each.
        n: How many are drawn, from 1 to N.

    Returns:
        At least 0, in units of ``truth``.

    Raises:
        UsageError: If lengths differ, there are fewer than 2 architectures, a value is not finite, or ``n`` is out of
            range.
    """
    # Below 0 by rounding only: no order makes better use of the falling chances than that of the truth.
    return max(0.0, best_of(truth, truth, n) - best_of(truth, scores, n))


def mean_best_of(
    quality: npt.NDArray[np.float64], score: npt.NDArray[np.float64], n: int, counts: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """``best_of`` for each row of ``counts``, which says how often each of the N architectures is there, N in all."""
    count, order = len(score), np.argsort(-score)
    ranked, present = score[order], counts[:, order]
    starts = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1])))  # of tied architectures, best first
    members = np.add.reduceat(present, starts, axis=1).astype(np.float64)
    sums = np.add.reduceat(present * quality[order], starts, axis=1)
    # The chance that none of the best r is drawn, C(N - r, n) / C(N, n): a product, since binomials would overflow.
    above = np.arange(count)
    missed = np.concatenate(([1.0], np.cumprod(np.maximum(count - n - above, 0) / (count - above))))
    reached = np.cumsum(members, axis=1).astype(np.intp)
    chances = missed[reached - members.astype(np.intp)] - missed[reached]
    found: npt.NDArray[np.float64] = (chances * ratio(sums, members)).sum(axis=1)
    return found


@dataclasses.dataclass(frozen=True, slots=True)
class TauWithin:
    """Kendall's tau among architectures of similar size.

    Attributes:
        tau: Mean over the groups, weighted by their pairs.
        taus: Tau of each group, smallest sizes first.
        counts: Architectures in each group.
        sizes: Smallest and largest size in each group.
    """

    tau: float
    taus: tuple[float, ...]
    counts: tuple[int, ...]
    sizes: tuple[tuple[float, float], ...]


def tau_within(
    truth: npt.ArrayLike, scores: npt.ArrayLike, sizes: npt.ArrayLike, groups: int = SIZE_GROUPS
) -> TauWithin:
    """Kendall's tau within groups of architectures of similar size.

    A score that only tells large from small networks has a high tau over all sizes; of what weight sharing gives,
    little is left within equal complexity, as the survey of Xie et al. (2020) reports. Groups have equal counts, as
    far as ties allow: architectures of one size are never parted, so the order of the architectures has no effect. A
    group with fewer than 2 architectures has no pairs and is left out.

    Args:
        truth: True quality of each of n architectures.
        scores: Cheap score of each.
        sizes: Size of each, such as its FLOPs.
        groups: How many groups, from 1 to n // 2.

    Returns:
        The mean with n (n - 1) / 2 pairs as weights, and the groups. The taus are those of ``kendall_tau``.

    Raises:
        UsageError: If lengths differ, there are fewer than 2 architectures, a value is not finite, or ``groups`` is
            out of range.
    """
    quality, score, size = checked(truth=truth, scores=scores, sizes=sizes)
    count = len(size)
    if not 1 <= groups <= count // 2:
        raise UsageError(
            f"groups: expected 1 to {count // 2}, so that {count} architectures make groups of 2 or more, got {groups}"
        )
    parts = size_groups(size, groups)
    taus = tuple(kendall_tau(quality[part], score[part]) for part in parts)
    return TauWithin(
        tau=float(np.average(taus, weights=[math.comb(len(part), 2) for part in parts])),
        taus=taus,
        counts=tuple(len(part) for part in parts),
        sizes=tuple((float(size[part].min()), float(size[part].max())) for part in parts),
    )


def size_groups(size: npt.NDArray[np.float64], groups: int) -> list[npt.NDArray[np.intp]]:
    """The architectures of each group that has 2 or more."""
    group = np.floor((ranked(size) - 0.5) * groups / len(size))
    return [part for part in (np.flatnonzero(group == number) for number in range(groups)) if len(part) >= 2]


def noise_ceiling(repeats: npt.ArrayLike) -> float:
    """How well one more training of the same architectures agrees with another: what a single run can reach.

    Args:
        repeats: Shape (architectures, runs): results of trainings that differ in the seed only, at least 2 runs.

    Returns:
        Mean of ``kendall_tau`` over all pairs of runs, from -1 to 1.

    Raises:
        UsageError: If the shape is another one, there are fewer than 2 architectures or runs, or a value is not finite.
    """
    table = numbers("repeats", repeats)
    if table.ndim != 2 or table.shape[0] < 2 or table.shape[1] < 2:
        raise UsageError(
            f"repeats: expected the shape (architectures, runs) with at least 2 of each, got {table.shape}"
        )
    return float(np.mean([kendall_tau(first, second) for first, second in itertools.combinations(table.T, 2)]))


def misorder_probability(gap: float, deviation: float) -> float:
    """How likely noisy scores put two architectures in the wrong order: Phi(-gap / (deviation sqrt(2))).

    Holds for independent noise from a normal distribution with mean 0, the same for both: the difference of two such
    has the variance 2 deviation^2, and the order flips when it exceeds the gap.

    Args:
        gap: True difference of the two, >= 0.
        deviation: Standard deviation of the noise of one score, >= 0, in the same units.

    Returns:
        From 0 to 0.5; 0.5 if there is no gap, whatever the noise.

    Raises:
        UsageError: If a value is negative or not finite.
    """
    for name, value in (("gap", gap), ("deviation", deviation)):
        if not (math.isfinite(value) and value >= 0):
            raise UsageError(f"{name}: expected a finite number >= 0, got {value}")
    if gap == 0:
        return 0.5
    return 0.5 * math.erfc(gap / (2 * deviation)) if deviation > 0 else 0.0
