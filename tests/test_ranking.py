"""How well scores agree with the truth: figures against scipy, brute force and known values."""

import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ranking_lab import noisy, quick
from scipy import stats

from archsearch.ranking import (
    best_of,
    kendall_tau,
    regret,
    regret_of_best,
    spearman,
    tau_within,
    top_k_precision,
    top_k_recall,
)


@st.composite
def columns(draw, number=2, minimum=2, maximum=12):
    """Some vectors of one length; few different values, so that there are many ties."""
    length = draw(st.integers(minimum, maximum))
    values = st.lists(st.integers(-3, 3), min_size=length, max_size=length)
    return tuple(np.array(draw(values), dtype=float) for _ in range(number))


def brute_tau(a, b):
    """Tau-b straight from its definition over all pairs."""
    pairs = list(itertools.combinations(range(len(a)), 2))
    signs = [(np.sign(a[i] - a[j]), np.sign(b[i] - b[j])) for i, j in pairs]
    untied_a, untied_b = sum(x != 0 for x, _ in signs), sum(y != 0 for _, y in signs)
    if not untied_a * untied_b:
        return 0.0
    return sum(x * y for x, y in signs) / math.sqrt(untied_a * untied_b)


def brute_recall(truth, scores, k):
    """Mean over all ways to break ties of the scores; whatever is as good as the k-th best is one of the best."""
    border = sorted(truth, reverse=True)[k - 1]
    orders = [order for order in itertools.permutations(range(len(truth))) if _descends(scores, order)]
    return np.mean([sum(truth[i] >= border for i in order[:k]) / k for order in orders])


def brute_regret(truth, scores):
    orders = [order for order in itertools.permutations(range(len(truth))) if _descends(scores, order)]
    return np.mean([max(truth) - truth[order[0]] for order in orders])


def brute_precision(truth, scores, k, best):
    border = sorted(truth, reverse=True)[best - 1]
    orders = [order for order in itertools.permutations(range(len(truth))) if _descends(scores, order)]
    return np.mean([sum(truth[i] >= border for i in order[:k]) / k for order in orders])


def brute_best_of(truth, scores, n):
    """Mean over all draws of ``n``, and over those that share the highest score."""
    return np.mean(
        [
            np.mean([truth[i] for i in drawn if scores[i] == max(scores[j] for j in drawn)])
            for drawn in itertools.combinations(range(len(truth)), n)
        ]
    )


def _descends(scores, order):
    return all(scores[i] >= scores[j] for i, j in itertools.pairwise(order))


def test_every_tiny_case_agrees_with_the_definitions():
    for length in (2, 3, 4):
        vectors = list(itertools.product(range(min(length, 3)), repeat=length))
        vectors = [vector for vector in vectors if set(vector) == set(range(max(vector) + 1))]  # each order once
        for truth, scores in itertools.product(vectors, repeat=2):
            assert kendall_tau(truth, scores) == pytest.approx(brute_tau(truth, scores), abs=1e-12)
    for truth, scores in itertools.product(itertools.product(range(3), repeat=3), repeat=2):
        assert regret(truth, scores) == pytest.approx(brute_regret(truth, scores))
        for k in (1, 2, 3):
            assert top_k_recall(truth, scores, k) == pytest.approx(brute_recall(truth, scores, k))
            assert best_of(truth, scores, k) == pytest.approx(brute_best_of(truth, scores, k))
            # 0.6 of 3 architectures is 2, rounded.
            assert top_k_precision(truth, scores, k, share=0.6) == pytest.approx(brute_precision(truth, scores, k, 2))


@pytest.mark.parametrize("options", [2, 5, 30, 10_000])
def test_tau_and_rho_with_ties_agree_with_scipy_and_brute_force(options):
    rng = np.random.default_rng(options)
    for _ in range(5):
        a = rng.integers(options, size=80)
        b = a + rng.integers(options, size=80)
        assert kendall_tau(a, b) == pytest.approx(brute_tau(a, b), abs=1e-12)
        assert kendall_tau(a, b) == pytest.approx(stats.kendalltau(a, b).statistic, abs=1e-12)
        assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)


def test_known_values():
    assert kendall_tau([1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx(4 / 6)
    assert spearman([1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx(0.8)
    assert kendall_tau([1, 2], [2, 1]) == spearman([1, 2], [2, 1]) == -1
    # Two places, one taken by the best score; three share the other, of whom one is truly among the best.
    assert top_k_recall([9, 8, 1, 0], [5, 3, 3, 3], 2) == pytest.approx((1 + 1 / 3) / 2)
    assert top_k_recall([9, 8, 8, 0], [1, 2, 3, 0], 2) == 1, "either of the two that share the second place will do"
    assert regret([9, 8, 1, 0], [0, 3, 3, 1]) == pytest.approx((1 + 8) / 2)


@quick
@given(columns())
def test_figures_keep_their_ranges_and_symmetry(pair):
    truth, scores = pair
    for figure in (kendall_tau, spearman):
        assert -1 <= figure(truth, scores) <= 1
        assert figure(truth, scores) == pytest.approx(figure(scores, truth), abs=1e-12)
        assert figure(truth, -scores) == pytest.approx(-figure(truth, scores), abs=1e-12)
        if np.ptp(truth):
            assert figure(truth, truth) == pytest.approx(1, abs=1e-12)
    assert 0 <= regret(truth, scores) <= np.ptp(truth)
    assert regret(truth, truth) == 0
    for k in range(1, len(truth) + 1):
        assert 0 <= top_k_recall(truth, scores, k) <= 1
        assert top_k_recall(truth, truth, k) == 1
    assert top_k_recall(truth, scores, len(truth)) == 1


@quick
@given(columns(number=3, minimum=4), st.randoms(use_true_random=False))
def test_only_the_order_counts_and_no_order_of_architectures(triple, shuffler):
    truth, scores, sizes = triple
    order = list(range(len(truth)))
    shuffler.shuffle(order)

    def figures(truth, scores, sizes):
        within = tau_within(truth, scores, sizes, groups=2)
        recalls = [top_k_recall(truth, scores, k) for k in (1, 2, 3)]
        return [kendall_tau(truth, scores), spearman(truth, scores), *recalls, within.tau, *within.taus]

    expected = pytest.approx(figures(truth, scores, sizes), abs=1e-12)
    assert figures(2 * truth**3 + 7, np.exp(scores), np.arctan(sizes)) == expected
    assert figures(truth[order], scores[order], sizes[order]) == expected
    assert regret(truth[order], np.exp(scores)[order]) == pytest.approx(regret(truth, scores), abs=1e-12)


def test_random_scores_find_their_share():
    rng = np.random.default_rng(0)
    found = [top_k_recall(rng.permutation(40), rng.permutation(40), 10) for _ in range(2_000)]
    assert np.mean(found) == pytest.approx(0.25, abs=0.01)  # the standard error is 0.0027
    assert top_k_recall(rng.permutation(40), np.zeros(40), 10) == pytest.approx(0.25), "no score at all: exactly"


@pytest.mark.parametrize("figure", [kendall_tau, spearman])
def test_constant_values_rank_nothing(figure):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert figure([1, 2, 3], [5, 5, 5]) == figure([0, 0], [1, 2]) == figure([1, 1], [2, 2]) == 0.0


@pytest.mark.parametrize("options", [1, 3, 100])
def test_best_of_agrees_with_all_draws(options):
    rng = np.random.default_rng(options)
    truth, scores = rng.normal(size=9), rng.integers(options, size=9)
    for n in range(1, 10):
        assert best_of(truth, scores, n) == pytest.approx(brute_best_of(truth, scores, n), abs=1e-12)
        lost = brute_best_of(truth, truth, n) - brute_best_of(truth, scores, n)
        assert regret_of_best(truth, scores, n) == pytest.approx(lost, abs=1e-12)


def test_best_of_at_its_ends_and_of_many():
    truth, scores = noisy(5_000, 1.0)
    assert best_of(truth, scores, 1) == pytest.approx(np.mean(truth), abs=1e-12)
    assert best_of(truth, scores, 5_000) == truth[np.argmax(scores)]
    assert regret_of_best(truth, scores, 5_000) == pytest.approx(regret(truth, scores), abs=1e-12)
    assert best_of(truth, np.zeros(5_000), 700) == pytest.approx(np.mean(truth), abs=1e-12), "no score at all"
    assert best_of(1e300 * truth, scores, 700) == pytest.approx(1e300 * best_of(truth, scores, 700))
    # In whole numbers: C(N - 1 - r, n - 1) / C(N, n) for the architecture with r better ones.
    total = math.comb(5_000, 700)
    exact = sum(
        float(math.comb(4_999 - r, 699) * 10**30 // total) / 1e30 * value
        for r, value in enumerate(truth[np.argsort(-scores)])
    )
    assert best_of(truth, scores, 700) == pytest.approx(exact, abs=1e-12)


def test_regret_of_best_of_normal_scores():
    # Scores with the correlation rho keep rho of the standardised truth; the best of 10 is 1.53875 in the mean.
    rho, count = 0.6, 200_000
    truth, scores = noisy(count, math.sqrt(1 - rho**2) / rho)
    assert regret_of_best(truth, scores, 10) == pytest.approx((1 - rho) * 1.53875, abs=0.01)  # standard error: 0.003
    assert regret_of_best(truth, truth, 10) == 0
    assert regret_of_best(truth, scores, 1) == pytest.approx(0, abs=1e-9), "one of one is no choice"


def test_precision_and_recall_ask_different_questions():
    truth = np.arange(100)
    scores = np.where(truth >= 90, 200 - truth, truth)  # the best ten in reverse
    assert top_k_recall(truth, scores, 5) == 0
    assert top_k_precision(truth, scores, 5) == top_k_recall(truth, scores, 10) == 1
    assert top_k_precision(truth, scores, 20) == 0.5, "there are but ten"
    assert top_k_precision(truth, scores, 10, share=0.001) == 0.1, "at least one is the best"
    assert top_k_precision(truth, np.zeros(100), 7) == pytest.approx(0.1)
    assert top_k_precision(truth, -scores, 3, share=1) == 1
    # 0.1 * 30 is a little above 3 in floating point: still three.
    assert top_k_precision(np.arange(30), np.arange(30), 4) == 0.75
