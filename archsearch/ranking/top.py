"""Figures of agreement about the best architectures: recall, precision, nDCG, and a tau that weighs the top most."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from archsearch.errors import UsageError
from archsearch.ranking.checks import check_count, checked, constant, kth_highest

if TYPE_CHECKING:
    import numpy.typing as npt


BEST_SHARE = 0.1
"""Share of the architectures that ``top_k_precision`` calls the best."""


def top_k_recall(truth: npt.ArrayLike, scores: npt.ArrayLike, k: int) -> float:
    """The share of the ``k`` best scored architectures that are among the ``k`` truly best.

    Ties in the truth: whatever is as good as the ``k``-th best counts as one of the best, since finding it loses
    nothing. Ties in the scores at the border: the expectation over picking among them at random, computed exactly.
    The truth has a recall of 1 with itself; without ties, random scores have k / n on average.

    Args:
        truth: True quality of each of n architectures.
        scores: Cheap score of each.
        k: How many to pick, from 1 to n.

    Returns:
        From 0 to 1.

    Raises:
        UsageError: If lengths differ, there are fewer than 2 architectures, a value is not finite, or ``k`` is out of
            range.
    """
    quality, score = checked(truth=truth, scores=scores)
    check_count("k", k, len(score))
    return _share_of_best(quality >= kth_highest(quality, k), score, k)


def top_k_precision(truth: npt.ArrayLike, scores: npt.ArrayLike, k: int, share: float = BEST_SHARE) -> float:
    """The share of the ``k`` best scored architectures that are among the truly best ``share`` of all.

    Unlike in ``top_k_recall``, what counts as good does not become stricter with a smaller ``k``. Ties are treated
    alike. Random scores have about ``share`` on average; even the truth has less than 1 if ``k`` is larger than the
    group of the best.

    Args:
        truth: True quality of each of n architectures.
        scores: Cheap score of each.
        k: How many to pick, from 1 to n.
        share: The best are this share of n, rounded, but at least 1; above 0, at most 1.

    Returns:
        From 0 to 1.

    Raises:
        UsageError: If lengths differ, there are fewer than 2 architectures, a value is not finite, or ``k`` or
            ``share`` is out of range.
    """
    quality, score = checked(truth=truth, scores=scores)
    check_count("k", k, len(score))
    if not 0 < share <= 1:
        raise UsageError(f"share: expected a number above 0 and at most 1, such as {BEST_SHARE}, got {share}")
    best = max(1, round(share * len(score)))
    return _share_of_best(quality >= kth_highest(quality, best), score, k)


def _share_of_best(best: npt.NDArray[np.bool_], score: npt.NDArray[np.float64], k: int) -> float:
    """How many of the ``k`` best scored are ``best``, over ``k``: the expectation over ties of the scores."""
    border = kth_highest(score, k)
    above, tied = score > border, score == border
    places = k - np.count_nonzero(above)
    found = np.count_nonzero(best & above) + places * np.count_nonzero(best & tied) / np.count_nonzero(tied)
    return float(found / k)


def ndcg(truth: npt.ArrayLike, scores: npt.ArrayLike, k: int | None = None) -> float:
    """Normalised discounted cumulative gain: what is gained going down the ranking, of what the best order gains.

    The architecture at place r gains its truth less the lowest one, divided by log2(1 + r). So the size of the
    differences counts, not their order alone, and adding a constant to the truth changes nothing, nor does a factor.
    What shares a score shares its places. Papers take gains of their own (accuracies as they are, or powers of 2):
    a value from print can be compared only where they are known to be these.

    Args:
        truth: True quality of each of n architectures.
        scores: Cheap score of each.
        k: Places that count, from 1 to n; None: all.

    Returns:
        From 0 to 1, which is the best order; 0.0 if the truth is constant, where the formula is 0 / 0.

    Raises:
        UsageError: If lengths differ, there are fewer than 2 architectures, a value is not finite, or ``k`` is out of
            range.
    """
    quality, score = checked(truth=truth, scores=scores)
    places = len(score) if k is None else k
    check_count("k", places, len(score))
    if constant(quality):
        return 0.0
    gains = quality / np.abs(quality).max()  # the difference of two large numbers may overflow
    gains = gains - gains.min()
    discounts = np.where(np.arange(len(score)) < places, 1 / np.log2(np.arange(len(score)) + 2), 0.0)
    _, group, members = np.unique(-score, return_inverse=True, return_counts=True)
    shared = np.add.reduceat(discounts, np.cumsum(members) - members) / members
    found = np.bincount(group, gains) @ shared
    return float(min(1.0, found / (np.sort(gains)[::-1] @ discounts)))


def weighted_tau(truth: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Kendall's tau to which the top matters most: exchanging places r and s counts 1 / r + 1 / s.

    Places are those in the truth and in the scores, and the mean of both taus counts (Vigna, "A weighted correlation
    index for rankings with ties", WWW 2015). It is SciPy's ``weightedtau``.

    Args:
        truth: True quality of each architecture.
        scores: Cheap score of each.

    Returns:
        From -1 to 1. 0.0 if either is constant, as for ``kendall_tau``.

    Raises:
        UsageError: If lengths differ, there are fewer than 2 architectures, or a value is not finite.
    """
    from scipy.stats import weightedtau  # here, since it takes a second to import

    quality, score = checked(truth=truth, scores=scores)
    if constant(quality) or constant(score):
        return 0.0
    return float(np.clip(weightedtau(quality, score).statistic, -1.0, 1.0))
