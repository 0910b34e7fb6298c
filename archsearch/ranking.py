"""How well cheap scores agree with the truth: the *optimization gap* of weight sharing, in figures.

The true quality of an architecture is what training it alone gives; an evaluator that shares weights, trains briefly or
predicts gives a cheap score, and the two may rank architectures differently. For both, higher is better (negate a
loss). All figures but the regrets depend on the order only. Everything is exact and draws no random number, except
``bootstrap`` and ``agreement``, which redraw architectures with a generator of their own.

Sources: Xie et al., "Weight-Sharing Neural Architecture Search: A Battle to Shrink the Optimization Gap", 2020, section
3 (the gap, and tau between rankings); Kendall, "The treatment of ties in ranking problems", Biometrika 1945 (tau-b);
Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile interval); Dodge et al., "Show Your
Work: Improved Reporting of Experimental Results", EMNLP 2019 (expected best of n; here drawn without replacement);
Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 2006 (Friedman, Wilcoxon and Holm).
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from archsearch.errors import UsageError
from archsearch.seeding import root_seed, stream

if TYPE_CHECKING:
    import numpy.typing as npt

SIZE_GROUPS = 5
"""Groups of similar size that ``agreement`` looks into."""

BEST_SHARE = 0.1
"""Share of the architectures that ``top_k_precision`` calls the best."""

LEVEL = 0.95
"""Confidence level of the intervals of ``agreement``."""

DENSE = 2_000
"""Most architectures whose pairs ``agreement`` holds in a matrix; the redraws of more are ranked one by one."""

BLOCK = 1_000
"""Redraws that ``agreement`` multiplies at once."""

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
    _check_count("k", k, len(score))
    return _share_of_best(quality >= _kth_highest(quality, k), score, k)


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
    quality, score = _checked(truth=truth, scores=scores)
    _check_count("k", k, len(score))
    if not 0 < share <= 1:
        raise UsageError(f"share: expected a number above 0 and at most 1, such as {BEST_SHARE}, got {share}")
    best = max(1, round(share * len(score)))
    return _share_of_best(quality >= _kth_highest(quality, best), score, k)


def _share_of_best(best: npt.NDArray[np.bool_], score: npt.NDArray[np.float64], k: int) -> float:
    """How many of the ``k`` best scored are ``best``, over ``k``: the expectation over ties of the scores."""
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
    quality, score = _checked(truth=truth, scores=scores)
    _check_count("n", n, len(score))
    return float(_best_of(quality, score, n, np.ones((1, len(score)), np.float32))[0])


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


def _best_of(
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
    found: npt.NDArray[np.float64] = (chances * _ratio(sums, members)).sum(axis=1)
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
    quality, score, size = _checked(truth=truth, scores=scores, sizes=sizes)
    count = len(size)
    if not 1 <= groups <= count // 2:
        raise UsageError(
            f"groups: expected 1 to {count // 2}, so that {count} architectures make groups of 2 or more, got {groups}"
        )
    parts = _size_groups(size, groups)
    taus = tuple(kendall_tau(quality[part], score[part]) for part in parts)
    return TauWithin(
        tau=float(np.average(taus, weights=[math.comb(len(part), 2) for part in parts])),
        taus=taus,
        counts=tuple(len(part) for part in parts),
        sizes=tuple((float(size[part].min()), float(size[part].max())) for part in parts),
    )


def _size_groups(size: npt.NDArray[np.float64], groups: int) -> list[npt.NDArray[np.intp]]:
    """The architectures of each group that has 2 or more."""
    group = np.floor((_ranks(size) - 0.5) * groups / len(size))
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
    _check_repeats(repeats)
    if not 0 < level < 1:
        raise UsageError(f"level: expected a number between 0 and 1, such as {LEVEL}, got {level}")
    columns = [np.asarray(array) for array in arrays]
    lengths = [len(column) if column.ndim else 0 for column in columns]
    if len(set(lengths)) > 1 or lengths[0] < 2:
        raise UsageError(
            f"arrays: expected one entry for each of 2 or more architectures, got {_words(lengths)} entries"
        )
    draws = [statistic(*(column[drawn] for column in columns)) for drawn in _redrawn(lengths[0], repeats, seed)]
    return _interval(float(statistic(*columns)), np.array(draws, dtype=np.float64), level)


def _redrawn(count: int, repeats: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """The architectures of each redraw."""
    rng = stream(root_seed(seed), "bootstrap")
    for _ in range(repeats):
        yield rng.integers(count, size=count)


def _interval(value: float, draws: npt.NDArray[np.float64], level: float = LEVEL) -> Interval:
    """The interval that holds the share ``level`` of the draws, around the value."""
    if not (math.isfinite(value) and np.isfinite(draws).all()):
        raise UsageError("statistic: expected a finite number for every draw of architectures, got NaN or infinity")
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


# -- all of it ---------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Agreement:
    """How well scores agree with the truth; intervals of 95 % over the architectures, and over several rows of scores.

    Attributes:
        architectures: How many were compared.
        tau: ``kendall_tau``.
        spearman: ``spearman``.
        recall: ``top_k_recall`` for each ``k``.
        regret: ``regret``, in units of the truth.
        tau_within: Mean tau of ``tau_within``; None without sizes.
        precision: ``top_k_precision`` for each ``k``, the best being a tenth of all.
        regret_of_best: ``regret_of_best`` for each ``n``, in units of the truth.
    """

    architectures: int
    tau: Interval
    spearman: Interval
    recall: Mapping[int, Interval]
    regret: Interval
    tau_within: Interval | None = None
    precision: Mapping[int, Interval] = dataclasses.field(default_factory=dict)
    regret_of_best: Mapping[int, Interval] = dataclasses.field(default_factory=dict)

    def table(self) -> str:
        """The figures as aligned lines: name, value, interval."""
        figures = {"Kendall tau": self.tau}
        if self.tau_within is not None:
            figures["Kendall tau within similar size"] = self.tau_within
        figures["Spearman rho"] = self.spearman
        figures |= {f"recall of the top {k:,}": interval for k, interval in self.recall.items()}
        best = f"(best {100 * BEST_SHARE:.0f} %)"
        figures |= {f"precision of the top {k:,} {best}": interval for k, interval in self.precision.items()}
        figures |= {f"regret of the best of {n:,}": interval for n, interval in self.regret_of_best.items()}
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
    best_of: Sequence[int] = (10, 100),
) -> Agreement:
    """All figures of how well ``scores`` agree with ``truth``, each with its 95 % bootstrap interval.

    Scores of several runs of an evaluator, which differ in its seed only, are rows: every figure is then the mean over
    the rows, and the bootstrap redraws the rows, too, so that intervals hold the noise from run to run. Few rows show
    less than all of it: of R rows, (R - 1) / R of its variance on average.

    Groups of similar size are those of all architectures in every redraw; where a redraw leaves a group less than 2, it
    has no pairs and no weight.

    Args:
        truth: True quality of each of n architectures, higher is better.
        scores: Cheap score of each, higher is better: the shape (n,), or (runs of the evaluator, n).
        sizes: Size of each, such as its FLOPs, for tau within 5 groups of similar size (fewer below 10 architectures).
        top: Each ``k`` of ``top_k_recall`` and ``top_k_precision``; one that is not below the number of architectures
            would always give the same and is left out.
        repeats: Draws of the bootstrap, at least 1.
        seed: Seed of the draws, >= 0.
        best_of: Each ``n`` of ``regret_of_best``; one above the number of architectures is left out.

    Returns:
        The figures; print it for a table.

    Raises:
        UsageError: If lengths differ, there are fewer than 2 architectures, a value is not finite, or a setting is out
            of range.
    """
    for name, counts in (("top", top), ("best_of", best_of)):
        if any(each < 1 for each in counts):
            raise UsageError(f"{name}: expected counts of at least 1, got {_words(counts)}")
    _check_repeats(repeats)
    draws = _Redraws(*_truth_and_rows(truth, scores), repeats, seed)
    count = len(draws.truth)
    within = None
    if sizes is not None:
        size, groups = _checked(truth=truth, sizes=sizes)[1], min(SIZE_GROUPS, count // 2)
        within = draws.tau(lambda a, b: tau_within(a, b, size, groups).tau, _size_groups(size, groups))
    ranked = [k for k in top if k < count]
    return Agreement(
        architectures=count,
        tau=draws.tau(kendall_tau, [np.arange(count)]),
        spearman=draws.spearman(),
        recall={k: draws.each(functools.partial(top_k_recall, k=k)) for k in ranked},
        regret=draws.regret(regret, count),
        tau_within=within,
        precision={k: draws.each(functools.partial(top_k_precision, k=k)) for k in ranked},
        regret_of_best={n: draws.regret(functools.partial(regret_of_best, n=n), n) for n in best_of if n <= count},
    )


@dataclasses.dataclass(frozen=True)
class _Redraws:
    """The bootstrap of ``agreement``: redraws architectures, the same as ``bootstrap`` does, and rows if several.

    Tau and rho of all redraws at once are matrix products. With ``S[i, j]`` the sign of ``a[i] - a[j]`` and ``w`` how
    often each architecture was drawn, ``w' (S_a * S_b) w`` is twice the concordant less the discordant pairs of the
    redraw, ``w' |S_a| w`` twice its pairs untied in ``a``, and ``S_a w`` twice its ranks of ``a``, less their mean.
    Sums in single precision are exact here: they are of integers, at most n^2 <= 4 million < 2^24.
    """

    truth: npt.NDArray[np.float64]
    rows: npt.NDArray[np.float64]
    repeats: int
    seed: int

    def each(self, figure: Callable[..., float], *arrays: npt.NDArray[np.generic]) -> Interval:
        """A figure that is computed anew for each redraw; ``arrays`` are redrawn along with truth and scores."""
        draws = np.zeros((self.repeats, len(self.rows)))
        for number, drawn in enumerate(_redrawn(len(self.truth), self.repeats, self.seed)):
            quality, others = self.truth[drawn], [array[drawn] for array in arrays]
            for row in np.flatnonzero(self._weights[number]):
                draws[number, row] = figure(quality, self.rows[row][drawn], *others)
        return self._mean([figure(self.truth, row, *arrays) for row in self.rows], draws)

    def tau(self, figure: Callable[..., float], parts: Sequence[npt.NDArray[np.intp]]) -> Interval:
        """Tau within ``parts``, weighted by their pairs; ``figure`` gives its value on all architectures."""
        values = [figure(self.truth, row) for row in self.rows]
        if len(self.truth) > DENSE:
            label = np.full(len(self.truth), -1)
            for number, part in enumerate(parts):
                label[part] = number
            return dataclasses.replace(self.each(_tau_in_parts, label), value=float(np.mean(values)))
        return self._mean(values, np.vstack([self._taus(counts, parts) for counts in self._counts]))

    def spearman(self) -> Interval:
        """Spearman's rho."""
        if len(self.truth) > DENSE:
            return self.each(spearman)
        values = [spearman(self.truth, row) for row in self.rows]
        return self._mean(values, np.vstack([self._rhos(counts) for counts in self._counts]))

    def regret(self, figure: Callable[..., float], n: int) -> Interval:
        """``regret_of_best``; ``figure`` gives its value on all architectures."""
        if len(self.truth) > DENSE:
            return self.each(figure)
        values = [figure(self.truth, row) for row in self.rows]
        return self._mean(values, np.vstack([self._regrets(counts, n) for counts in self._counts]))

    def _mean(self, values: Sequence[float], draws: npt.NDArray[np.float64]) -> Interval:
        """The interval of the mean over the rows, of figures with the shape (repeats, rows)."""
        return _interval(float(np.mean(values)), (draws * self._weights).sum(axis=1))

    @functools.cached_property
    def _weights(self) -> npt.NDArray[np.float64]:
        """The share of each row in each redraw; another stream, since rows shall not change the architectures."""
        count = len(self.rows)
        drawn = stream(root_seed(self.seed), "bootstrap rows").integers(count, size=(self.repeats, count))
        return np.array([np.bincount(each, minlength=count) for each in drawn]) / count

    @functools.cached_property
    def _counts(self) -> list[npt.NDArray[np.float32]]:
        """How often each architecture is in each redraw, in blocks."""
        count = len(self.truth)
        table = np.empty((self.repeats, count), dtype=np.float32)
        for number, drawn in enumerate(_redrawn(count, self.repeats, self.seed)):
            table[number] = np.bincount(drawn, minlength=count)
        return [table[start : start + BLOCK] for start in range(0, self.repeats, BLOCK)]

    def _taus(self, counts: npt.NDArray[np.float32], parts: Sequence[npt.NDArray[np.intp]]) -> npt.NDArray[np.float64]:
        total, pairs = np.zeros((len(counts), len(self.rows))), np.zeros((len(counts), 1))
        for part in parts:
            drawn, signs = counts[:, part], _signs(self.truth[part])
            members = drawn.sum(axis=1, dtype=np.float64)
            weight, untied = members * (members - 1) / 2, _paired(drawn, np.abs(signs))
            for row, scores in enumerate(self.rows):
                other = _signs(scores[part])
                both = np.sqrt(untied * _paired(drawn, np.abs(other)))
                total[:, row] += weight * _ratio(_paired(drawn, signs * other), both)
            pairs[:, 0] += weight
        return _ratio(total, pairs)

    def _rhos(self, counts: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        weights = counts.astype(np.float64)
        ranks = counts @ _signs(self.truth)
        rhos, square = np.empty((len(counts), len(self.rows))), (weights * ranks * ranks).sum(axis=1)
        for row, scores in enumerate(self.rows):
            other = counts @ _signs(scores)
            both = np.sqrt(square * (weights * other * other).sum(axis=1))
            rhos[:, row] = np.clip(_ratio((weights * ranks * other).sum(axis=1), both), -1.0, 1.0)
        return rhos

    def _regrets(self, counts: npt.NDArray[np.float32], n: int) -> npt.NDArray[np.float64]:
        best = _best_of(self.truth, self.truth, n, counts)
        return np.column_stack([np.maximum(best - _best_of(self.truth, row, n, counts), 0) for row in self.rows])


def _signs(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The sign of ``values[i] - values[j]`` for each pair."""
    place = np.unique(values, return_inverse=True)[1].astype(np.float32)  # differences of values may overflow
    return np.sign(np.subtract.outer(place, place))


def _paired(counts: npt.NDArray[np.float32], matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """``w' M w`` for each row ``w`` of ``counts``."""
    sums: npt.NDArray[np.float64] = (counts @ matrix * counts).sum(axis=1, dtype=np.float64)
    return sums


def _ratio(above: npt.NDArray[np.float64], below: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """``above / below``, and 0 for 0 / 0."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def _tau_in_parts(
    truth: npt.NDArray[np.float64], scores: npt.NDArray[np.float64], label: npt.NDArray[np.intp]
) -> float:
    """Tau within the parts that ``label`` numbers from 0, weighted by their pairs; 0.0 without any."""
    parts = [np.flatnonzero(label == number) for number in range(int(label.max()) + 1)]
    pairs = [math.comb(len(part), 2) for part in parts]
    taus = [kendall_tau(truth[part], scores[part]) if len(part) >= 2 else 0.0 for part in parts]
    return float(np.average(taus, weights=pairs)) if any(pairs) else 0.0


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
    table = _numbers("values", values)
    if table.ndim != 2 or table.shape[0] < 2 or table.shape[1] < 2:
        raise UsageError(f"values: expected the shape (blocks, methods) with at least 2 of each, got {table.shape}")
    ranks = np.array([_ranks(-row) for row in table])
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

    if all(map(_constant, table)):
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


def _truth_and_rows(
    truth: npt.ArrayLike, scores: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The truth, and the scores with the shape (rows, architectures)."""
    table = _numbers("scores", scores)
    if table.ndim != 2:
        quality, score = _checked(truth=truth, scores=table)
        return quality, score[np.newaxis]
    (quality,) = _checked(truth=truth)
    if table.shape[0] < 1 or table.shape[1] != len(quality):
        shapes = f"({len(quality)},) or (runs of the evaluator, {len(quality)})"
        raise UsageError(f"scores: expected the shape {shapes}, got {table.shape}")
    return quality, table


def _check_count(name: str, value: int, count: int) -> None:
    """Raises ``UsageError`` unless 1 <= value <= count."""
    if not 1 <= value <= count:
        raise UsageError(f"{name}: expected 1 to {count}, the number of architectures, got {value}")


def _check_repeats(repeats: int) -> None:
    """Raises ``UsageError`` unless there is at least one."""
    if repeats < 1:
        raise UsageError(f"repeats: expected at least 1, got {repeats}")


def _numbers(name: str, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
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


def _constant(values: npt.NDArray[np.float64]) -> bool:
    """Whether all values are equal."""
    return bool((values == values[0]).all())


def _kth_highest(values: npt.NDArray[np.float64], k: int) -> float:
    """The k-th highest value, k >= 1."""
    return float(np.partition(values, -k)[-k])


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Ranks from 1; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: npt.NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


def _words(values: Sequence[int]) -> str:
    """The numbers as they are said in an error."""
    return " and ".join(map(str, values))
