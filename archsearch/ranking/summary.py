"""All figures of one evaluator at once, with intervals from the same redraws."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from archsearch.basics.seeding import root_seed, stream
from archsearch.errors import UsageError
from archsearch.ranking.checks import check_repeats, checked, ratio, truth_and_rows, words
from archsearch.ranking.figures import (
    SIZE_GROUPS,
    kendall_tau,
    mean_best_of,
    regret,
    regret_of_best,
    size_groups,
    spearman,
    tau_within,
)
from archsearch.ranking.intervals import Interval, interval, redrawn
from archsearch.ranking.top import BEST_SHARE, ndcg, top_k_precision, top_k_recall, weighted_tau

if TYPE_CHECKING:
    import numpy.typing as npt


DENSE = 2_000
"""Most architectures whose pairs ``agreement`` holds in a matrix; the redraws of more are ranked one by one."""

BLOCK = 1_000
"""Redraws that ``agreement`` multiplies at once."""


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
        weighted_tau: ``weighted_tau``; None unless it was asked for.
        ndcg: ``ndcg`` of all places.
    """

    architectures: int
    tau: Interval
    spearman: Interval
    recall: Mapping[int, Interval]
    regret: Interval
    tau_within: Interval | None = None
    precision: Mapping[int, Interval] = dataclasses.field(default_factory=dict)
    regret_of_best: Mapping[int, Interval] = dataclasses.field(default_factory=dict)
    weighted_tau: Interval | None = None
    ndcg: Interval | None = None

    def table(self) -> str:
        """The figures as aligned lines: name, value, interval."""
        figures = {"Kendall tau": self.tau}
        if self.tau_within is not None:
            figures["Kendall tau within similar size"] = self.tau_within
        if self.weighted_tau is not None:
            figures["Kendall tau, the top weighing most"] = self.weighted_tau
        figures["Spearman rho"] = self.spearman
        if self.ndcg is not None:
            figures["nDCG"] = self.ndcg
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
    weighted: bool = False,
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
        weighted: Whether ``weighted_tau`` is wanted, whose interval takes several times as long as all others.

    Returns:
        The figures; print it for a table.

    Raises:
        UsageError: If lengths differ, there are fewer than 2 architectures, a value is not finite, or a setting is out
            of range.
    """
    for name, counts in (("top", top), ("best_of", best_of)):
        if any(each < 1 for each in counts):
            raise UsageError(f"{name}: expected counts of at least 1, got {words(counts)}")
    check_repeats(repeats)
    draws = _Redraws(*truth_and_rows(truth, scores), repeats, seed)
    count = len(draws.truth)
    within = None
    if sizes is not None:
        size, groups = checked(truth=truth, sizes=sizes)[1], min(SIZE_GROUPS, count // 2)
        within = draws.tau(lambda a, b: tau_within(a, b, size, groups).tau, size_groups(size, groups))
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
        weighted_tau=draws.each(weighted_tau) if weighted else None,
        ndcg=draws.each(ndcg),
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
        for number, drawn in enumerate(redrawn(len(self.truth), self.repeats, self.seed)):
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
        return interval(float(np.mean(values)), (draws * self._weights).sum(axis=1))

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
        for number, drawn in enumerate(redrawn(count, self.repeats, self.seed)):
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
                total[:, row] += weight * ratio(_paired(drawn, signs * other), both)
            pairs[:, 0] += weight
        return ratio(total, pairs)

    def _rhos(self, counts: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        weights = counts.astype(np.float64)
        ranks = counts @ _signs(self.truth)
        rhos, square = np.empty((len(counts), len(self.rows))), (weights * ranks * ranks).sum(axis=1)
        for row, scores in enumerate(self.rows):
            other = counts @ _signs(scores)
            both = np.sqrt(square * (weights * other * other).sum(axis=1))
            rhos[:, row] = np.clip(ratio((weights * ranks * other).sum(axis=1), both), -1.0, 1.0)
        return rhos

    def _regrets(self, counts: npt.NDArray[np.float32], n: int) -> npt.NDArray[np.float64]:
        best = mean_best_of(self.truth, self.truth, n, counts)
        return np.column_stack([np.maximum(best - mean_best_of(self.truth, row, n, counts), 0) for row in self.rows])


def _signs(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The sign of ``values[i] - values[j]`` for each pair."""
    place = np.unique(values, return_inverse=True)[1].astype(np.float32)  # differences of values may overflow
    return np.sign(np.subtract.outer(place, place))


def _paired(counts: npt.NDArray[np.float32], matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """``w' M w`` for each row ``w`` of ``counts``."""
    sums: npt.NDArray[np.float64] = (counts @ matrix * counts).sum(axis=1, dtype=np.float64)
    return sums


def _tau_in_parts(
    truth: npt.NDArray[np.float64], scores: npt.NDArray[np.float64], label: npt.NDArray[np.intp]
) -> float:
    """Tau within the parts that ``label`` numbers from 0, weighted by their pairs; 0.0 without any."""
    parts = [np.flatnonzero(label == number) for number in range(int(label.max()) + 1)]
    pairs = [math.comb(len(part), 2) for part in parts]
    taus = [kendall_tau(truth[part], scores[part]) if len(part) >= 2 else 0.0 for part in parts]
    return float(np.average(taus, weights=pairs)) if any(pairs) else 0.0
