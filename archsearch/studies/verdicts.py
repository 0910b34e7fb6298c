"""What can be said of a claim: an interval of the effect, held against a threshold that was written before.

The effect is the mean (with ``wilcoxon``: the pseudo-median) over seeds of a figure, or of its difference between two
settings under equal seeds. Its interval is the set of all effects that the test would not reject at the level
``error``, two-sided; so a claim is wrongly said to hold, or not to hold, with a probability of at most half of that,
whatever the true effect. Few seeds give an interval without ends, which tells nothing: the sign-flip and signed-rank
tests need 6 seeds at an error of 0.05.

- ``permutation``: flips of the signs of the differences. Exact if their distribution is symmetric around the effect,
  whatever else it is. Its interval is found from the means of all subsets of the values (Hartigan, "Using subsample
  values as typical values", JASA 64, 1969): between two that follow each other, the true effect lies equally often.
- ``wilcoxon``: ranks of the same; less moved by a single seed. Interval of Hodges & Lehmann, from the means of all
  pairs ("Estimates of location based on rank tests", Annals of Mathematical Statistics 34, 1963).
- ``t``: Student's, exact for normal values, and close to it for means of many; tells most with 3 to 5 seeds.
- ``binomial``: of figures that are 0 or 1, such as whether a search ended badly: the share, after Clopper and Pearson,
  "The use of confidence or fiducial limits", Biometrika 26, 1934.

There is no bootstrap: of so few seeds its intervals are too narrow.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from archsearch.errors import UsageError
from archsearch.ranking.intervals import Interval

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

Test = Literal["permutation", "wilcoxon", "t", "binomial"]
Direction = Literal["above", "below"]
Verdict = Literal["holds", "does not hold", "cannot be told with so few seeds"]

HOLDS: Verdict = "holds"
FAILS: Verdict = "does not hold"
OPEN: Verdict = "cannot be told with so few seeds"

ALL_SUBSETS = 16
"""Most values of which all subsets are taken; of more, so many random ones that the error is that of one in 65,536."""


def effect(values: Floats, test: Test, error: float) -> Interval:
    """The effect with its interval.

    Args:
        values: One for each seed: a figure, or the difference of two.
        test: Whose interval.
        error: Probability, at most, that the true effect lies outside, 0 < error < 1.

    Returns:
        Ends are infinite where so few values exclude nothing.

    Raises:
        UsageError: If a value is not finite, or with ``binomial`` neither 0 nor 1.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.size == 0 or not np.isfinite(values).all():
        raise UsageError(f"values: expected finite numbers, one for each seed, got {values.tolist()}")
    return {"permutation": _permutation, "wilcoxon": _wilcoxon, "t": _student, "binomial": _binomial}[test](
        values, error
    )


def verdict(effect: Interval, threshold: float, direction: Direction) -> Verdict:
    """Whether the whole interval lies beyond the threshold, or none of it, or some."""
    beyond, short = effect.low > threshold, effect.high < threshold
    if direction == "below":
        beyond, short = short, beyond
    return HOLDS if beyond else FAILS if short else OPEN


def _permutation(values: Floats, error: float) -> Interval:
    count = len(values)
    if count <= ALL_SUBSETS:
        bits = (np.arange(1, 2**count)[:, None] >> np.arange(count)) & 1
    else:
        rng = np.random.default_rng(0)  # of the subsets alone: the same values have the same interval
        bits = rng.integers(2, size=(2**ALL_SUBSETS - 1, count))
        bits = bits[bits.any(axis=1)]
    means = np.sort(bits @ values / bits.sum(axis=1))
    return _between(float(values.mean()), means, math.floor(error / 2 * (len(means) + 1)))


def _wilcoxon(values: Floats, error: float) -> Interval:
    first, second = np.triu_indices(len(values))
    means = np.sort((values[first] + values[second]) / 2)
    chances = np.array([1.0])  # that the ranks of the positive ones add up to 0, 1, ...
    for rank in range(1, len(values) + 1):
        chances = (np.pad(chances, (0, rank)) + np.pad(chances, (rank, 0))) / 2
    # Up to this sum, the lower tail is within half of the error.
    return _between(float(np.median(means)), means, int(np.searchsorted(np.cumsum(chances), error / 2, side="right")))


def _between(value: float, typical: Floats, outside: int) -> Interval:
    """The interval that leaves so many of the sorted typical values' gaps outside, on either side."""
    if outside < 1:
        return Interval(value, -math.inf, math.inf)
    return Interval(value, float(typical[outside - 1]), float(typical[-outside]))


def _student(values: Floats, error: float) -> Interval:
    from scipy.stats import t  # here, since it takes a second to import

    mean = float(values.mean())
    if len(values) < 2:
        return Interval(mean, -math.inf, math.inf)
    reach = float(t.ppf(1 - error / 2, len(values) - 1)) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Interval(mean, mean - reach, mean + reach)


def _binomial(values: Floats, error: float) -> Interval:
    from scipy.stats import binomtest  # here, since it takes a second to import

    if not np.isin(values, (0, 1)).all():
        raise UsageError(f"values: the test binomial expects figures that are 0 or 1, got {values.tolist()}")
    found = binomtest(int(values.sum()), len(values)).proportion_ci(1 - error, "exact")
    return Interval(float(values.mean()), float(found.low), float(found.high))
