"""Figures about the best architectures: nDCG against scikit-learn, tau with weights against SciPy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ranking_lab import noisy, quick
from scipy.stats import weightedtau
from sklearn.metrics import ndcg_score

from archsearch.errors import UsageError
from archsearch.ranking import agreement, ndcg, weighted_tau


@st.composite
def pairs(draw):
    """Truth, scores and a number of places; few different values, so that there are many ties."""
    length = draw(st.integers(2, 15))
    values = st.lists(st.integers(-3, 3), min_size=length, max_size=length)
    return np.array(draw(values), float), np.array(draw(values), float), draw(st.integers(1, length))


@quick
@given(pairs())
def test_ndcg_is_that_of_scikit_learn_with_gains_above_the_worst(drawn):
    truth, scores, k = drawn
    if (truth == truth[0]).all():
        assert ndcg(truth, scores, k) == 0
        return
    gains = truth - truth.min()
    assert ndcg(truth, scores, k) == pytest.approx(ndcg_score([gains], [scores], k=k))
    assert ndcg(truth, scores) == pytest.approx(ndcg_score([gains], [scores]))


@quick
@given(pairs())
def test_weighted_tau_is_that_of_scipy(drawn):
    truth, scores, _ = drawn
    expected = weightedtau(truth, scores).statistic
    assert weighted_tau(truth, scores) == pytest.approx(0.0 if math.isnan(expected) else expected)


def test_ndcg_of_a_small_ranking_by_hand():
    # Gains 3, 0, 1 in the order of the scores; the best order has 3, 1, 0.
    found = (3 + 0 / math.log2(3) + 1 / 2) / (3 + 1 / math.log2(3) + 0)
    assert ndcg([4, 1, 2], [9, 8, 7]) == pytest.approx(found)
    assert ndcg([4, 1, 2], [9, 8, 7], k=1) == 1
    assert ndcg([4, 1, 2], [8, 8, 8], k=1) == pytest.approx(4 / 3 / 3), "who shares a score shares the places"


def test_ndcg_depends_neither_on_the_unit_nor_on_where_zero_is():
    truth, scores = noisy(50, 0.5)
    assert ndcg(1e3 * truth - 1e5, scores, 10) == pytest.approx(ndcg(truth, scores, 10))
    assert ndcg(truth, truth) == 1
    assert ndcg(truth, -truth) < ndcg(truth, scores) < 1
    assert 0 <= ndcg([-1e308, 1e308, 0], [1, 2, 3]) <= 1


def test_errors_at_the_top_weigh_more():
    truth = np.arange(20.0)
    top, bottom = truth.copy(), truth.copy()
    top[[18, 19]], bottom[[0, 1]] = top[[19, 18]], bottom[[1, 0]]
    assert weighted_tau(truth, top) < weighted_tau(truth, bottom) < 1
    assert weighted_tau(truth, truth) == 1
    assert weighted_tau(truth, np.ones(20)) == 0


@pytest.mark.parametrize("k", [0, 4])
def test_places_out_of_range_are_refused(k):
    with pytest.raises(UsageError, match=f"k: expected 1 to 3.*got {k}"):
        ndcg([1, 2, 3], [1, 2, 3], k)


def test_agreement_has_both_with_intervals():
    truth, scores = noisy(60, 0.5)
    assert agreement(truth, scores, repeats=5).weighted_tau is None
    found = agreement(truth, scores, repeats=30, weighted=True)
    for interval, figure in ((found.ndcg, ndcg), (found.weighted_tau, weighted_tau)):
        assert interval.value == pytest.approx(figure(truth, scores))
        assert interval.low < interval.value <= interval.high
    assert "nDCG" in found.table()
    assert "the top weighing most" in found.table()
