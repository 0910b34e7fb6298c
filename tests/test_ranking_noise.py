"""How well scores agree with the truth: among architectures of similar size, and where the truth is noisy."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ranking_lab import quick
from scipy import stats

from archsearch.errors import UsageError
from archsearch.files.embedded import embedded_columns
from archsearch.ranking import kendall_tau, misorder_probability, noise_ceiling, tau_within

# -- similar size ------------------------------------------------------------------------------


def test_a_score_that_knows_only_the_size_has_no_tau_within_sizes():
    rng = np.random.default_rng(0)
    sizes = rng.permutation(1_000)
    truth = sizes / 100 + rng.normal(size=1_000)
    scores = sizes / 100 + rng.normal(size=1_000)
    crude = sizes // 200 + 0.0
    assert kendall_tau(truth, crude) > 0.7
    assert tau_within(truth, crude, sizes).tau == 0
    found = tau_within(truth, scores, sizes)
    assert 0 < found.tau < kendall_tau(truth, scores) - 0.2
    assert found.counts == (200,) * 5
    assert found.sizes == ((0, 199), (200, 399), (400, 599), (600, 799), (800, 999))
    for number, tau in enumerate(found.taus):
        part = sizes // 200 == number
        assert tau == kendall_tau(truth[part], scores[part])


def test_equal_sizes_stay_together_and_pairs_are_the_weights():
    truth = [1, 2, 3, 4, 5, 6, 7]
    scores = [1, 3, 2, 4, 5, 7, 6]
    found = tau_within(truth, scores, [10, 10, 10, 10, 10, 20, 20], groups=2)
    assert found.counts == (5, 2)
    assert found.taus == pytest.approx((0.8, -1))
    assert found.tau == pytest.approx((10 * 0.8 + 1 * -1) / 11)
    alone = tau_within(truth, scores, [10] * 7, groups=3)
    assert (alone.counts, alone.tau) == ((7,), kendall_tau(truth, scores))
    lonely = tau_within(truth, scores, [10, 10, 10, 10, 10, 10, 99], groups=2)
    assert lonely.counts == (6,), "one architecture has no pairs"


@quick
@given(st.integers(2, 60).flatmap(lambda count: st.tuples(st.just(count), st.integers(1, count // 2))))
def test_groups_have_equal_counts_where_sizes_differ(case):
    count, groups = case
    counts = tau_within(range(count), range(count), range(count), groups).counts
    assert len(counts) == groups
    assert sum(counts) == count
    assert max(counts) - min(counts) <= 1


# -- noise -------------------------------------------------------------------------------------


def test_noise_ceiling_of_digits201():
    column = "valid_accuracy_9"
    table = embedded_columns("digits201", ("index", "run", column))
    runs = {(index, run): value for index, run, value in zip(*table.values(), strict=True)}
    cells = sorted(set(table["index"]))
    repeats = np.array([[runs[cell, run] for run in (0, 1, 2)] for cell in cells])
    taus = [kendall_tau(repeats[:, i], repeats[:, j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert sorted(taus, reverse=True) == pytest.approx([0.694, 0.689, 0.677], abs=5e-4)
    assert noise_ceiling(repeats) == pytest.approx(np.mean(taus), abs=1e-12)
    assert noise_ceiling(repeats[:, :2]) == pytest.approx(taus[0])


def test_noise_ceiling_has_no_nan():
    assert noise_ceiling([[1, 5, 1], [2, 5, 2]]) == pytest.approx(1 / 3), "a run without differences agrees with none"
    assert noise_ceiling(np.ones((4, 3))) == 0


@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.5, 1.0, 2.0])
def test_synthetic_noise_misorders_as_often_as_the_formula_says(ratio):
    deviation, pairs = 3.0, 400_000
    gap = ratio * deviation
    first, second = np.random.default_rng(7).normal(scale=deviation, size=(2, pairs))
    rate = np.mean(gap + first < second)
    expected = misorder_probability(gap, deviation)
    assert rate == pytest.approx(expected, rel=0.02)  # the largest standard error, at the ratio 2, is 0.5 %
    assert expected == pytest.approx(stats.norm.cdf(-gap / (deviation * math.sqrt(2))), rel=1e-12)


def test_noise_of_a_known_deviation_gives_a_known_tau():
    truth, deviation = np.arange(30) / 10, 0.7
    rng = np.random.default_rng(3)
    taus = [kendall_tau(truth, truth + deviation * rng.normal(size=30)) for _ in range(1_000)]
    wrong = [misorder_probability(abs(a - b), deviation) for a, b in itertools.combinations(truth, 2)]
    assert np.mean(taus) == pytest.approx(1 - 2 * np.mean(wrong), abs=0.01)  # the standard error is 0.002


def test_misorder_probability_at_its_ends():
    assert misorder_probability(0, 1) == misorder_probability(0, 0) == 0.5
    assert misorder_probability(1, 0) == misorder_probability(1e3, 1) == 0.0
    for gap, deviation in ((-1, 1), (1, -1), (math.nan, 1), (1, math.inf)):
        with pytest.raises(UsageError, match="expected a finite number >= 0, got"):
            misorder_probability(gap, deviation)
