"""How well scores agree with the truth: figures against scipy and brute force, intervals, refusals."""

import functools
import itertools
import math
import random
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from archsearch.embedded import embedded_columns
from archsearch.errors import UsageError
from archsearch.ranking import (
    Interval,
    agreement,
    bootstrap,
    kendall_tau,
    misorder_probability,
    noise_ceiling,
    regret,
    spearman,
    tau_within,
    top_k_recall,
)

quick = settings(max_examples=100, deadline=None, derandomize=True)


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


def _descends(scores, order):
    return all(scores[i] >= scores[j] for i, j in itertools.pairwise(order))


def noisy(count, noise, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=count)
    return truth, truth + noise * rng.normal(size=count)


# -- figures -----------------------------------------------------------------------------------


def test_every_tiny_case_agrees_with_the_definitions():
    for length in (2, 3, 4):
        vectors = list(itertools.product(range(min(length, 3)), repeat=length))
        for truth, scores in itertools.product(vectors, repeat=2):
            assert kendall_tau(truth, scores) == pytest.approx(brute_tau(truth, scores), abs=1e-12)
    for truth, scores in itertools.product(itertools.product(range(3), repeat=3), repeat=2):
        assert regret(truth, scores) == pytest.approx(brute_regret(truth, scores))
        for k in (1, 2, 3):
            assert top_k_recall(truth, scores, k) == pytest.approx(brute_recall(truth, scores, k))


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


# -- intervals ---------------------------------------------------------------------------------


def test_intervals_of_tau_cover_the_truth_as_often_as_they_say():
    # For a bivariate normal distribution, tau is 2 / pi arcsin(rho).
    rho, count, sets = 0.8, 80, 200
    tau = 2 / math.pi * math.asin(rho)
    covered = 0
    for number in range(sets):
        pair = noisy(count, math.sqrt(1 - rho**2) / rho, seed=number)
        interval = bootstrap(kendall_tau, pair, repeats=100, seed=number, level=0.9)
        covered += interval.low <= tau <= interval.high
    assert 0.84 <= covered / sets <= 0.96  # 0.9 plus or minus 3 standard errors of 200 sets


def test_interval_of_a_mean_is_that_of_theory():
    values = np.random.default_rng(0).normal(size=400)
    interval = bootstrap(np.mean, [values], repeats=4_000, level=0.9)
    half = 1.6449 * np.std(values) / 20
    assert interval.value == np.mean(values)
    assert (interval.low, interval.high) == pytest.approx((interval.value - half, interval.value + half), abs=0.006)


def test_draws_are_paired_and_keep_rows_together():
    def difference(first, second, table):
        assert first.shape == second.shape == (30,)
        assert table.shape == (30, 3)
        assert (table[:, 0] == first).all()
        return np.abs(first - second).max()

    truth = np.arange(30.0)
    interval = bootstrap(difference, [truth, truth, np.column_stack([truth, -truth, truth])], repeats=20)
    assert interval == Interval(0.0, 0.0, 0.0)
    repeats = np.column_stack([noisy(60, 0.5)[0], noisy(60, 0.5)[1]])
    ceiling = bootstrap(noise_ceiling, [repeats], repeats=50)
    assert ceiling.low < ceiling.value < ceiling.high


def test_equal_seeds_give_equal_intervals_and_no_global_generator_is_touched():
    truth, scores = noisy(50, 0.5)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    before = random.getstate(), np.random.get_state()  # noqa: NPY002
    first = agreement(truth, scores, sizes=truth, top=(5,), repeats=20, seed=3)
    assert random.getstate() == before[0]
    assert str(np.random.get_state()) == str(before[1])  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    assert agreement(truth, scores, sizes=truth, top=(5,), repeats=20, seed=3) == first
    other = agreement(truth, scores, sizes=truth, top=(5,), repeats=20, seed=4)
    assert other.tau != first.tau
    assert other.tau.value == first.tau.value


# -- all of it ---------------------------------------------------------------------------------


def test_agreement_holds_every_figure():
    truth, scores = noisy(100, 0.5)
    sizes = np.arange(100)
    found = agreement(truth, scores, sizes, repeats=30, seed=5)
    assert found.architectures == 100
    assert found.tau == bootstrap(kendall_tau, [truth, scores], 30, 5)
    assert found.spearman == bootstrap(spearman, [truth, scores], 30, 5)
    assert found.regret == bootstrap(regret, [truth, scores], 30, 5)
    assert found.recall == {
        k: bootstrap(functools.partial(top_k_recall, k=k), [truth, scores], 30, 5) for k in (10, 50)
    }
    assert found.tau_within is not None
    assert found.tau_within.value == tau_within(truth, scores, sizes).tau
    for interval in (found.tau, found.spearman, found.tau_within, *found.recall.values()):
        assert interval.low < interval.value < interval.high
    assert agreement(truth, scores, repeats=2).tau_within is None


def test_agreement_prints_aligned_lines():
    found = agreement(*noisy(1_000, 0.5), sizes=np.arange(1_000), top=(10,), repeats=3)
    lines = str(found).splitlines()
    names = ["Kendall tau", "Kendall tau within similar size", "Spearman rho", "recall of the top 10", "regret of the"]
    assert lines[0].split() == ["architectures", "1,000"]
    assert all(line.startswith(name) for line, name in zip(lines[1:], names, strict=True))
    assert len({line.index("[") for line in lines[1:]}) == len({len(line) for line in lines[1:]}) == 1
    assert f"{found.tau.value:.3f}  [{found.tau.low:.3f}, {found.tau.high:.3f}]" in lines[1]
    assert str(Interval(0.5, 0.25, 0.75)) == "0.500 [0.250, 0.750]"


def test_agreement_of_few_architectures():
    few = agreement([1, 2, 3], [1, 3, 2], sizes=[1, 1, 2], top=(1, 2, 3, 10), repeats=5)
    assert list(few.recall) == [1, 2], "a recall that is always 1 says nothing"
    assert few.tau.value == pytest.approx(1 / 3)
    assert agreement([1, 2], [2, 1], sizes=[1, 1], repeats=5).tau.value == -1


# -- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kendall_tau([1, 2, 3], [1, 2]), "b: expected 3 values, as many as a has, got 2"),
        (lambda: spearman([1], [1]), "a: expected at least 2 architectures.*got 1"),
        (lambda: spearman([], []), "expected at least 2 architectures.*got 0"),
        (lambda: kendall_tau(1.0, 2.0), r"a: expected one number per architecture, got an array of shape \(\)"),
        (lambda: kendall_tau([1, 2], [[1], [2]]), r"b: expected one number per architecture.*\(2, 1\)"),
        (lambda: regret([1, 2], [1, math.nan]), r"scores: expected finite numbers, got nan at \[1\]"),
        (lambda: regret([1, None], [1, 2]), r"truth: expected finite numbers, got nan at \[1\]"),
        (lambda: regret([math.inf, 1], [1, 2]), r"truth: expected finite numbers, got inf at \[0\]"),
        (lambda: regret(["high", "low"], [1, 2]), "truth: expected numbers, got something else"),
        (lambda: top_k_recall([1, 2], [1, 2], 0), "k: expected 1 to 2.*got 0"),
        (lambda: top_k_recall([1, 2], [1, 2], 3), "k: expected 1 to 2.*got 3"),
        (lambda: tau_within([1, 2], [1, 2], [1, 2], 2), "groups: expected 1 to 1.*got 2"),
        (lambda: tau_within([1, 2], [1, 2], [1, 2, 3], 1), "sizes: expected 2 values"),
        (lambda: noise_ceiling([1, 2, 3]), r"repeats: expected the shape \(architectures, runs\).*got \(3,\)"),
        (lambda: noise_ceiling([[1], [2]]), r"at least 2 of each, got \(2, 1\)"),
        (lambda: noise_ceiling([[1, 2], [2, math.nan]]), r"got nan at \[1, 1\]"),
        (lambda: bootstrap(np.mean, []), "arrays: expected at least 1"),
        (lambda: bootstrap(np.mean, [1.0]), "arrays: expected one entry for each of 2 or more.*got 0 entries"),
        (lambda: bootstrap(kendall_tau, [[1, 2], [1, 2, 3]]), "arrays: .*got 2 and 3 entries"),
        (lambda: bootstrap(np.mean, [[1, 2]], repeats=0), "repeats: expected at least 1, got 0"),
        (lambda: bootstrap(np.mean, [[1, 2]], level=1), "level: expected a number between 0 and 1"),
        (lambda: bootstrap(np.mean, [[1, 2]], seed=-1), "seed: expected an integer >= 0"),
        (lambda: bootstrap(lambda _: math.nan, [[1, 2]]), "statistic: expected a finite number"),
        (lambda: agreement([1, 2, 3], [1, 2]), "scores: expected 3 values"),
        (lambda: agreement([1, 2], [1, 2], sizes=[1, math.nan]), "sizes: expected finite numbers"),
        (lambda: agreement([1, 2], [1, 2], top=(1, 0)), "top: expected counts of at least 1, got 1 and 0"),
    ],
)
def test_refusals_say_what_was_expected(call, message):
    with pytest.raises(UsageError, match=message):
        call()


def test_import_is_light():
    code = "import sys, archsearch.ranking; print(sorted({'torch', 'ray', 'scipy', 'pyarrow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
