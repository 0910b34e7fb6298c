"""How well cheap scores agree with the truth: the *optimization gap* of weight sharing, in figures.

The true quality of an architecture is what training it alone gives; an evaluator that shares weights, trains briefly or
predicts gives a cheap score, and the two may rank architectures differently. For both, higher is better (negate a
loss). All figures but the regret depend on the order only. Everything is exact and draws no random number, except
``bootstrap`` and ``agreement``, which redraw architectures with a generator of their own.

Sources: Xie et al., "Weight-Sharing Neural Architecture Search: A Battle to Shrink the Optimization Gap", 2020, section
3 (the gap, and tau between rankings); Kendall, "The treatment of ties in ranking problems", Biometrika 1945 (tau-b);
Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile interval).
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from archsearch.errors import UsageError
from archsearch.seeding import root_seed, stream

if TYPE_CHECKING:
    import numpy.typing as npt

SIZE_GROUPS = 5
"""Groups of similar size that ``agreement`` looks into."""

LEVEL = 0.95
"""Confidence level of the intervals of ``agreement``."""

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

    left, right = _checked(a=a, b=b)
    if _constant(left) or _constant(right):
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
    left, right = _checked(a=a, b=b)
    if _constant(left) or _constant(right):
        return 0.0
    middle = (len(left) + 1) / 2
    x, y = _ranks(left) - middle, _ranks(right) - middle
    return float(np.clip(x @ y / math.sqrt((x @ x) * (y @ y)), -1.0, 1.0))


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
    quality, score = _checked(truth=truth, scores=scores)
    if not 1 <= k <= len(score):
        raise UsageError(f"k: expected 1 to {len(score)}, the number of architectures, got {k}")
    best = quality >= _kth_highest(quality, k)
    border = _kth_highest(score, k)
    above, tied = score > border, score == border
    places = k - np.count_nonzero(above)
    found = np.count_nonzero(best & above) + places * np.count_nonzero(best & tied) / np.count_nonzero(tied)
    return float(found / k)


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
    quality, score = _checked(truth=truth, scores=scores)
    # The mean of losses, not the loss of the mean: rounding cannot make it negative.
    return float(np.mean(quality.max() - quality[score == score.max()]))


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
    quality, score, size = _checked(truth=truth, scores=scores, sizes=sizes)
    count = len(size)
    if not 1 <= groups <= count // 2:
        raise UsageError(
            f"groups: expected 1 to {count // 2}, so that {count} architectures make groups of 2 or more, got {groups}"
        )
    group = np.floor((_ranks(size) - 0.5) * groups / count)
    parts = [part for part in (np.flatnonzero(group == number) for number in range(groups)) if len(part) >= 2]
    taus = tuple(kendall_tau(quality[part], score[part]) for part in parts)
    return TauWithin(
        tau=float(np.average(taus, weights=[math.comb(len(part), 2) for part in parts])),
        taus=taus,
        counts=tuple(len(part) for part in parts),
        sizes=tuple((float(size[part].min()), float(size[part].max())) for part in parts),
    )


def noise_ceiling(repeats: npt.ArrayLike) -> float:
    """How well one more training of the same architectures agrees with another: what a single run can reach.

    Args:
        repeats: Shape (architectures, runs): results of trainings that differ in the seed only, at least 2 runs.

    Returns:
        Mean of ``kendall_tau`` over all pairs of runs, from -1 to 1.

    Raises:
        UsageError: If the shape is another one, there are fewer than 2 architectures or runs, or a value is not finite.
    """
    table = _numbers("repeats", repeats)
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


# -- how sure a figure is ----------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its confidence interval.

    Attributes:
        value: The figure on all architectures.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(
    statistic: Callable[..., float],
    arrays: Sequence[npt.ArrayLike],
    repeats: int = 1000,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """The percentile bootstrap over architectures: how far a figure moves had others been drawn.

    Draws as many architectures as there are, with replacement, the same ones from every array; equal arguments give
    equal intervals, and two statistics see the same draws under one seed. The architectures must be an independent
    sample from what the figure is to say something about; noise from run to run is no part of the interval.

    Figures of the extremes (``regret``, ``top_k_recall`` of a small ``k``) change in jumps, and the best architectures
    are drawn twice or not at all: their intervals are rough. A figure that no draw can change, such as the tau of two
    equal orders, has an interval of no width, which is no proof.

    Args:
        statistic: Called with one redrawn array for each of ``arrays``.
        arrays: Each with one entry per architecture along its first axis.
        repeats: How often to redraw, at least 1.
        seed: Seed of the draws, >= 0.
        level: Confidence level, between 0 and 1.

    Returns:
        The statistic of the arrays as given, and the quantiles (1 - level) / 2 and (1 + level) / 2 over the draws.

    Raises:
        UsageError: If lengths differ, there are fewer than 2 architectures, a setting is out of range, or the statistic
            is not finite.
    """
    if not arrays:
        raise UsageError("arrays: expected at least 1, got none")
    if repeats < 1:
        raise UsageError(f"repeats: expected at least 1, got {repeats}")
    if not 0 < level < 1:
        raise UsageError(f"level: expected a number between 0 and 1, such as {LEVEL}, got {level}")
    columns = [np.asarray(array) for array in arrays]
    lengths = [len(column) if column.ndim else 0 for column in columns]
    if len(set(lengths)) > 1 or lengths[0] < 2:
        raise UsageError(
            f"arrays: expected one entry for each of 2 or more architectures, got {_words(lengths)} entries"
        )
    rng, count = stream(root_seed(seed), "bootstrap"), lengths[0]
    value, draws = float(statistic(*columns)), np.empty(repeats)
    for repeat in range(repeats):
        drawn = rng.integers(count, size=count)
        draws[repeat] = statistic(*(column[drawn] for column in columns))
    if not (math.isfinite(value) and np.isfinite(draws).all()):
        raise UsageError("statistic: expected a finite number for every draw of architectures, got NaN or infinity")
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


# -- all of it ---------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Agreement:
    """How well scores agree with the truth; intervals of 95 % over the architectures.

    Attributes:
        architectures: How many were compared.
        tau: ``kendall_tau``.
        spearman: ``spearman``.
        recall: ``top_k_recall`` for each ``k``.
        regret: ``regret``, in units of the truth.
        tau_within: Mean tau of ``tau_within``; None without sizes.
    """

    architectures: int
    tau: Interval
    spearman: Interval
    recall: Mapping[int, Interval]
    regret: Interval
    tau_within: Interval | None = None

    def table(self) -> str:
        """The figures as aligned lines: name, value, interval."""
        figures = {"Kendall tau": self.tau}
        if self.tau_within is not None:
            figures["Kendall tau within similar size"] = self.tau_within
        figures["Spearman rho"] = self.spearman
        figures |= {f"recall of the top {k:,}": interval for k, interval in self.recall.items()}
        figures["regret of the top 1"] = self.regret
        width = max(map(len, figures))
        ends = [[f"{end:.3f}" for end in (each.value, each.low, each.high)] for each in figures.values()]
        widths = [max(map(len, column)) for column in zip(*ends, strict=True)]
        lines = [f"{'architectures':<{width}}  {self.architectures:>{widths[0]},}"]
        for name, cells in zip(figures, ends, strict=True):
            value, low, high = (cell.rjust(room) for cell, room in zip(cells, widths, strict=True))
            lines.append(f"{name:<{width}}  {value}  [{low}, {high}]")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()


def agreement(
    truth: npt.ArrayLike,
    scores: npt.ArrayLike,
    sizes: npt.ArrayLike | None = None,
    top: Sequence[int] = (10, 50),
    repeats: int = 500,
    seed: int = 0,
) -> Agreement:
    """All figures of how well ``scores`` agree with ``truth``, each with its 95 % bootstrap interval.

    Args:
        truth: True quality of each architecture, higher is better.
        scores: Cheap score of each, higher is better.
        sizes: Size of each, such as its FLOPs, for tau within 5 groups of similar size (fewer below 10 architectures).
        top: Each ``k`` of ``top_k_recall``; one that is not below the number of architectures would always give 1 and
            is left out.
        repeats: Draws of the bootstrap, at least 1.
        seed: Seed of the draws, >= 0.

    Returns:
        The figures; print it for a table.

    Raises:
        UsageError: If lengths differ, there are fewer than 2 architectures, a value is not finite, or a setting is out
            of range.
    """
    pair = _checked(truth=truth, scores=scores)
    count = len(pair[0])
    if any(k < 1 for k in top):
        raise UsageError(f"top: expected counts of at least 1, got {_words(top)}")
    interval = functools.partial(bootstrap, repeats=repeats, seed=seed)
    within = None
    if sizes is not None:
        groups = min(SIZE_GROUPS, count // 2)
        triple = _checked(truth=truth, scores=scores, sizes=sizes)
        within = interval(lambda a, b, size: tau_within(a, b, size, groups).tau, triple)
    return Agreement(
        architectures=count,
        tau=interval(kendall_tau, pair),
        spearman=interval(spearman, pair),
        recall={k: interval(functools.partial(top_k_recall, k=k), pair) for k in top if k < count},
        regret=interval(regret, pair),
        tau_within=within,
    )


# -- checks ------------------------------------------------------------------------------------


def _checked(**given: npt.ArrayLike) -> list[npt.NDArray[np.float64]]:
    """The given values as vectors of one length, at least 2, all finite."""
    vectors = {name: _numbers(name, values) for name, values in given.items()}
    first, count = next((name, len(vector) if vector.ndim else 0) for name, vector in vectors.items())
    for name, vector in vectors.items():
        if vector.ndim != 1:
            raise UsageError(f"{name}: expected one number per architecture, got an array of shape {vector.shape}")
        if len(vector) != count:
            raise UsageError(f"{name}: expected {count} values, as many as {first} has, got {len(vector)}")
    if count < 2:
        raise UsageError(f"{first}: expected at least 2 architectures, since one cannot be ranked, got {count}")
    return list(vectors.values())


def _numbers(name: str, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
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


def _constant(values: npt.NDArray[np.float64]) -> bool:
    return bool((values == values[0]).all())


def _kth_highest(values: npt.NDArray[np.float64], k: int) -> float:
    return float(np.partition(values, -k)[-k])


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Ranks from 1; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: npt.NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


def _words(values: Sequence[int]) -> str:
    return " and ".join(map(str, values))
