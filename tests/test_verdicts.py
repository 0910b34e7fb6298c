"""Verdicts: the stated error rate holds, and intervals are those of the tests that they invert."""

import numpy as np
import pytest
from scipy.stats import permutation_test, wilcoxon

from archsearch.errors import UsageError
from archsearch.ranking.intervals import Interval
from archsearch.studies.verdicts import FAILS, HOLDS, OPEN, effect, verdict

STUDIES = 1_000


@pytest.mark.parametrize(
    ("low", "high", "direction", "expected"),
    [
        (1.1, 2, "above", HOLDS),
        (0, 0.9, "above", FAILS),
        (0.5, 1.5, "above", OPEN),
        (0, 0.9, "below", HOLDS),
        (1.1, 2, "below", FAILS),
        (-np.inf, np.inf, "below", OPEN),
        (1, 2, "above", OPEN),
    ],
)
def test_the_whole_interval_must_lie_beyond_the_threshold(low, high, direction, expected):
    assert verdict(Interval(0, low, high), 1.0, direction) == expected


def noise(kind, rng, shape):
    return {
        "normal": lambda: rng.normal(size=shape),
        "heavy tails": lambda: rng.standard_t(2, size=shape),
        "unequal": lambda: rng.normal(size=shape) * rng.uniform(0.1, 5, size=shape[1]),
        "two values": lambda: rng.choice([-1.0, 1.0], size=shape) + 1e-6 * rng.normal(size=shape),
    }[kind]()


@pytest.mark.parametrize("test", ["permutation", "wilcoxon"])
@pytest.mark.parametrize("kind", ["normal", "heavy tails", "unequal", "two values"])
@pytest.mark.parametrize("seeds", [6, 9])
def test_wrong_verdicts_are_as_rare_as_said_whatever_the_noise(test, kind, seeds):
    """At the threshold itself every verdict is wrong; half of the error is for each."""
    table = noise(kind, np.random.default_rng(seeds), (STUDIES, seeds))
    found = [verdict(effect(row, test, 0.1), 0.0, "above") for row in table]
    bound = 0.05 + 4 * np.sqrt(0.05 * 0.95 / STUDIES)
    assert found.count(HOLDS) / STUDIES <= bound
    assert found.count(FAILS) / STUDIES <= bound


def test_students_interval_holds_its_error_for_normal_noise():
    for seeds in (2, 3, 5):
        table = np.random.default_rng(seeds).normal(size=(STUDIES, seeds))
        found = [verdict(effect(row, "t", 0.05), 0.0, "above") for row in table]
        for wrong in (HOLDS, FAILS):
            assert found.count(wrong) / STUDIES <= 0.025 + 4 * np.sqrt(0.025 * 0.975 / STUDIES)


def test_the_share_of_bad_ends_holds_its_error():
    rng = np.random.default_rng(0)
    for share in (0.05, 0.3, 0.5):
        ends = [effect(np.arange(12) < bad, "binomial", 0.1) for bad in range(13)]
        outside = np.mean([not ends[bad].low <= share <= ends[bad].high for bad in rng.binomial(12, share, STUDIES)])
        assert outside <= 0.1 + 4 * np.sqrt(0.09 / STUDIES)


def test_a_large_effect_is_found():
    rng = np.random.default_rng(1)
    for test in ("permutation", "wilcoxon", "t"):
        found = [verdict(effect(2 + rng.normal(size=8), test, 0.05), 0.0, "above") for _ in range(100)]
        assert found.count(HOLDS) > 93


def test_the_permutation_interval_is_what_scipys_sign_flips_do_not_reject():
    rng = np.random.default_rng(2)
    for seeds in (6, 8, 10):
        values = rng.normal(size=seeds)
        found = effect(values, "permutation", 0.05)
        for end, outwards in ((found.low, -1e-6), (found.high, 1e-6)):
            for shift, rejected in ((outwards, True), (-outwards, False)):
                p = permutation_test(
                    (values - end - shift,),
                    np.mean,
                    permutation_type="samples",
                    n_resamples=np.inf,
                    alternative="less" if outwards > 0 else "greater",
                ).pvalue
                assert (p <= 0.025) == rejected, (seeds, end, shift, p)


def test_the_wilcoxon_interval_is_what_scipys_test_does_not_reject():
    rng = np.random.default_rng(3)
    for seeds in (6, 9, 14):
        values = rng.normal(size=seeds)
        found = effect(values, "wilcoxon", 0.05)
        for end, outwards in ((found.low, -1e-6), (found.high, 1e-6)):
            for shift, rejected in ((outwards, True), (-outwards, False)):
                side = "less" if outwards > 0 else "greater"
                p = wilcoxon(values - end - shift, alternative=side, method="exact").pvalue
                assert (p <= 0.025) == rejected, (seeds, end, shift, p)


def test_many_seeds_take_random_subsets_which_the_normal_interval_agrees_with():
    values = np.random.default_rng(4).normal(size=40)
    drawn, exact = effect(values, "permutation", 0.05), effect(values, "t", 0.05)
    assert drawn == effect(values, "permutation", 0.05)
    assert (drawn.low, drawn.high) == pytest.approx((exact.low, exact.high), abs=0.05)


@pytest.mark.parametrize(("test", "seeds"), [("permutation", 5), ("wilcoxon", 5), ("t", 1)])
def test_too_few_seeds_exclude_nothing(test, seeds):
    found = effect(np.arange(seeds) + 100.0, test, 0.05)
    assert (found.low, found.high) == (-np.inf, np.inf)
    assert verdict(found, 0.0, "above") == OPEN


def test_values_are_checked():
    with pytest.raises(UsageError, match="expected finite numbers, one for each seed"):
        effect(np.array([1.0, np.nan]), "t", 0.05)
    with pytest.raises(UsageError, match="0 or 1"):
        effect(np.array([0.5]), "binomial", 0.05)
