"""Several methods compared by rank tests, against scipy."""

import itertools

import numpy as np
import pytest
from scipy import stats

from archsearch.ranking import RankTest, rank_test
from archsearch.ranking import rank_tests as ranking


def test_rank_test_agrees_with_scipy():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(12, 4)) + np.array([0, 0, 0.5, 2])
    found = rank_test(values)
    assert found.blocks == 12
    assert found.p == pytest.approx(stats.friedmanchisquare(*values.T).pvalue, rel=1e-12)
    assert found.mean_ranks == pytest.approx(stats.rankdata(-values, axis=1).mean(axis=0))
    assert np.argmin(found.mean_ranks) == 3, "1 is the best"
    pairs = list(itertools.combinations(range(4), 2))
    single = [stats.wilcoxon(values[:, i], values[:, j]).pvalue for i, j in pairs]
    assert list(found.pairwise) == pairs
    assert list(found.pairwise.values()) == pytest.approx(holm(single))
    assert rank_test(values[:, ::-1]).pairwise[0, 1] == pytest.approx(found.pairwise[2, 3])


def holm(p_values):
    """Straight from the definition: the largest of all corrected values up to one's own place."""
    ordered = sorted(p_values)
    count = len(ordered)
    return [min(1.0, max((count - place) * ordered[place] for place in range(ordered.index(p) + 1))) for p in p_values]


def test_holm_by_hand():
    # Times 4, 3, 2 and 1 in rising order: 0.02, 0.03, 0.06 and 0.04, which must not fall below 0.06.
    assert ranking._holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert ranking._holm([0.6, 0.5]) == [1.0, 1.0]


def test_two_methods_are_compared_by_the_signed_rank_test_alone():
    found = rank_test([[1, 0], [3, 1], [4, 1], [9, 5], [7, 2], [8, 2]])
    # All 6 differences have one sign: 2 of 2^6 signs are as extreme.
    assert found == RankTest((1.0, 2.0), 2 / 64, {(0, 1): 2 / 64}, 6)
    # The equal block counts for nothing, which leaves the differences 1, 2, 3 and 4: 2 of 2^4 signs.
    assert rank_test([[5, 5], [2, 1], [4, 2], [6, 3], [8, 4]]).p == pytest.approx(2 / 16)


def test_equal_methods_do_not_differ():
    same = rank_test(np.ones((4, 3)))
    assert same == RankTest((2.0,) * 3, 1.0, {(0, 1): 1.0, (0, 2): 1.0, (1, 2): 1.0}, 4)
    assert rank_test([[1, 1], [2, 2]]).p == 1.0
    tied = rank_test([[3, 3, 1], [5, 5, 2], [4, 4, 1], [6, 6, 9]])
    assert tied.mean_ranks == pytest.approx((1.75, 1.75, 2.5))
    assert tied.pairwise[0, 1] == 1.0


def test_chance_is_found_significant_as_often_as_the_level_says():
    rng = np.random.default_rng(0)
    found = [rank_test(rng.normal(size=(10, 3))) for _ in range(400)]
    # The standard error of 400 is 1.1 %; Friedman's test of 10 blocks is a little strict.
    assert 0.02 <= np.mean([each.p < 0.05 for each in found]) <= 0.08
    assert np.mean([min(each.pairwise.values()) < 0.05 for each in found]) <= 0.08
