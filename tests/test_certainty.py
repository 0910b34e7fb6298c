"""A winner that is more than noise: error rates hold, races pay, and without noise nothing is spent."""

import math

import certainty_lab
import numpy as np
import pytest
from certainty_lab import Known, Noisy, space, truth
from scipy import integrate, stats

from archsearch import search
from archsearch.controllers import RandomSearch, RegularizedEvolution
from archsearch.errors import UsageError
from archsearch.racing.certainty import Certainty, certainty_of, contenders
from archsearch.racing.evidence import RHO, evidence, least_chi_square, radius, single_radius
from archsearch.racing.noise import Noise
from archsearch.racing.race import ALONE, FAILED, NO_NOISE, WAYS, Race


def found(result):
    """The best of all that were evaluated, the leader, and all that are said to be possibly the best."""
    by_id = {trial.id: trial.architecture for trial in result.history}
    standing = result.certainty
    alike = [each.trial.id for each in standing.raced if each.alike]
    named = {by_id[id_] for id_ in (standing.trial.id, *alike, *standing.unraced)}
    return max(by_id.values(), key=truth), by_id[standing.trial.id], named


# -- the figures, against others' ------------------------------------------------------------------


@pytest.mark.parametrize(("n", "total"), [(1, 0.7), (3, -4.0), (12, 9.5)])
def test_the_radius_is_where_the_mixture_of_likelihood_ratios_reaches_one_over_the_error(n, total):
    """The mixture over normal alternatives, integrated numerically, is the closed form that ``radius`` inverts."""

    def ratio(mean):
        return math.exp(mean * total - n * mean * mean / 2) * stats.norm.pdf(mean, scale=1 / math.sqrt(RHO))

    mixture = integrate.quad(ratio, -20, 20)[0]
    assert mixture == pytest.approx(math.sqrt(RHO / (n + RHO)) * math.exp(total**2 / (2 * (n + RHO))), rel=1e-8)
    error = 1 / mixture
    if error < 1:
        assert radius(n, error) == pytest.approx(abs(total) / n, rel=1e-8)


def test_the_evidence_is_the_product_of_two_mixtures_at_the_common_truth_that_suits_the_denial_best():
    def log_mixture(n, mean, at):
        return 0.5 * math.log(RHO / (n + RHO)) + (n * (mean - at)) ** 2 / (2 * (n + RHO))

    for n, m, gap in ((2, 2, 3.0), (9, 4, 1.5), (40, 3, 2.0)):
        least = min(log_mixture(n, gap, at) + log_mixture(m, 0.0, at) for at in np.linspace(-1, gap + 1, 20_001))
        assert evidence(gap, n, m) == pytest.approx(least, abs=1e-5)
    assert evidence(-1.0, 3, 3) == evidence(0.0, 3, 3) == 0.0


def test_quantiles_are_those_of_scipy():
    for count, error in ((1, 0.01), (7, 0.001), (100, 0.05)):
        assert least_chi_square(count, error) == pytest.approx(stats.chi2.ppf(error, count))
    assert single_radius(0.05) == pytest.approx(stats.norm.isf(0.025))


def test_the_noise_is_measured_and_its_bound_is_one_whoever_chooses_what_is_repeated():
    """Chosen to look small: an architecture is repeated only while its mean is near zero, where squares are least."""
    missed, spreads = 0, []
    for seed in range(400):
        rng, noise = np.random.default_rng(seed), Noise(8, 0.1)
        n, mean = 1, rng.standard_normal()
        while noise.count < 64:
            if abs(mean) > 0.3 or n > 6:
                n, mean = 1, rng.standard_normal()
                continue
            score = rng.standard_normal()
            noise.add(score, mean, n)
            n, mean = n + 1, mean + (score - mean) / (n + 1)
        missed += noise.bound < 1.0
        spreads.append(noise.spread)
    assert missed <= stats.binom.ppf(0.999, 400, 0.1)


def test_pairs_that_nobody_chose_give_the_textbook_estimate_and_a_bound_that_is_not_wasteful():
    even = Noise(8, 0.1)
    pairs = np.random.default_rng(1).normal(scale=3.0, size=(2_048, 2))
    for first, second in pairs:
        even.add(second, first, 1, chosen=False)
    assert even.spread == pytest.approx(math.sqrt(pairs.var(axis=1, ddof=1).mean()))
    assert 3.0 < even.bound < 3.3


def test_races_between_equals_tell_them_apart_no_more_often_than_stated():
    """The hardest case: one is better by next to nothing, the race is long, and any moment may be the wrong one."""
    error, wrong, runs = 0.4, 0, 300
    for seed in range(runs):
        rng, race = np.random.default_rng(seed), Race(3, error, noise=1.0)
        for _ in range(150):
            if (place := race.ask()) is None:
                break
            race.tell(place, rng.standard_normal() + 1e-9 * (place == 0))
        wrong += race.out[0]
    assert wrong <= stats.binom.ppf(0.999, runs, error / WAYS)


# -- the stated error rate -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("evaluator", "error", "searches"), [(Noisy, 0.05, 1_000), (Noisy, 0.4, 250), (Known, 0.4, 250)]
)
def test_the_best_is_missing_in_no_more_searches_than_stated(evaluator, error, searches):
    """By a binomial test at 1 %, with controllers that go by what they see; some decided early, others hopeless."""
    missing = told = 0
    for seed in range(searches):
        controller = RandomSearch() if seed % 2 else RegularizedEvolution(8, 3)
        sigma = (0.1, 0.4, 2.0)[seed % 3]
        certainty = {"error": error, "share": 0.4}
        result = search(space(), controller, evaluator(sigma), trials=40, seed=seed, certainty=certainty)
        best, _, named = found(result)
        missing += best not in named
        told += len(named) < result.certainty.others + 1
        assert result.completed <= 40
    assert missing <= stats.binom.ppf(0.99, searches, error)
    assert told > searches / 4, "it told nothing apart: that is no proof of anything"


def test_a_race_finds_the_best_more_often_than_as_many_more_proposals_do_where_noise_is_large():
    """Paired over seeds, by a sign test on those of which just one of the two found the better."""
    better = worse = 0
    for seed in range(150):
        race = search(space(), RandomSearch(), Noisy(2.0), trials=100, seed=seed, certainty={"share": 0.4})
        more = search(space(), RandomSearch(), Noisy(2.0), trials=100, seed=seed)
        raced, plain = truth(race.best.architecture), truth(more.best.architecture)
        better, worse = better + (raced > plain), worse + (raced < plain)
    assert stats.binomtest(better, better + worse, alternative="greater").pvalue < 0.001


# -- without noise ---------------------------------------------------------------------------------


def proposed(result):
    return [(trial.architecture, trial.score) for trial in result.history if trial.repeat_of is None]


def test_who_says_that_there_is_no_noise_pays_nothing():
    plain = search(space(), RegularizedEvolution(8, 3), Known(0.0), trials=60, seed=4)
    sure = search(space(), RegularizedEvolution(8, 3), Known(0.0), trials=60, seed=4, certainty=0.05)
    assert proposed(sure) == proposed(plain)
    assert sure.best.id == plain.best.id
    assert sure.certainty.repeats == 0
    assert "scores do not depend on the seed" in sure.certainty.sentence


def test_where_nobody_says_so_three_repeats_notice_and_the_rest_goes_to_proposals():
    plain = search(space(), RandomSearch(), Noisy(0.0), trials=57, seed=4)
    sure = search(space(), RandomSearch(), Noisy(0.0), trials=60, seed=4, certainty=0.05)
    assert sure.completed == 60
    assert sure.certainty.repeats == 3 or sure.certainty.repeats == 0  # a search may have repeated three by itself
    assert proposed(sure)[:57] == proposed(plain)
    assert sure.certainty.ended in ("", NO_NOISE)
    assert [trial.id for trial in sure.history] == list(range(60))


def test_equal_scores_are_said_to_be_equal():
    class Coarse(Known):
        def evaluate(self, architecture, seed):
            return super().evaluate(architecture, seed)._replace(score=float(truth(architecture) > 5))

    result = search(space(), RandomSearch(), Coarse(0.0), trials=40, seed=0, certainty=0.05)
    ties = len({a for a, score in proposed(result) if score == 1.0}) - 1
    assert result.certainty.indistinguishable == ties > 3
    assert (
        result.certainty.sentence == f"leads, and {ties} others have the same score; scores do not depend on the seed"
    )


# -- what is given, what fails ---------------------------------------------------------------------


def test_scores_that_a_search_repeated_by_itself_say_what_the_noise_is():
    """``share=0``: nothing is spent, and evolution in a small space proposes the same again and again."""
    result = search(space(), RegularizedEvolution(8, 3), Noisy(0.3), trials=400, seed=0, certainty={"share": 0})
    assert result.certainty.repeats == 0
    assert result.certainty.noise == pytest.approx(0.3, rel=0.25)
    assert result.best.score == max(trial.score for trial in result.history)
    best, _, named = found(result)
    assert best in named
    lone = search(space(), RandomSearch(), Noisy(0.3), trials=3, seed=0, certainty={"share": 0})
    assert "too little was scored twice" in lone.certainty.sentence
    assert lone.certainty.document()["indistinguishable"] is None


def test_repeats_that_fail_are_no_scores_and_do_not_stop_the_race():
    result = search(
        space(), RandomSearch(), Noisy(0.5, fails=5), trials=60, seed=2, certainty={"share": 0.4}, max_failures=50
    )
    repeats = [trial for trial in result.history if trial.repeat_of is not None]
    assert any(trial.failure for trial in repeats)
    assert result.certainty.repeats == len(repeats)
    assert sum(each.repeats for each in result.certainty.raced) == sum(not trial.failure for trial in repeats)


def test_a_contender_that_fails_twice_is_repeated_no_more():
    race = Race(2, 0.05, noise=1.0)
    asked = []
    while (place := race.ask()) is not None:
        asked.append(place)
        race.tell(place, None if place else 0.0)
    assert asked.count(1) == 2
    assert race.ended == FAILED


def test_a_race_that_is_decided_ends_early():
    race = Race(2, 0.05)
    rng = np.random.default_rng(0)
    while (place := race.ask()) is not None:
        race.tell(place, 100.0 * (place == 1) + rng.standard_normal())
        assert race.repeats < 200
    assert (race.ended, race.leader, race.out) == (ALONE, 1, [True, False])


@pytest.mark.parametrize(
    ("given", "trials", "message"),
    [
        (0.0, 100, "error: expected a finite number above 0"),
        (0.7, 100, "error: expected a finite number above 0"),
        ({"share": 1.0}, 100, "share: expected a finite number from 0 to 0.9"),
        ({"alpha": 0.05}, 100, "expected an error rate"),
        ("sure", 100, "expected an error rate"),
        (0.05, 19, "a share of 0.2 of 19 trials is 3 repeats; expected at least 4"),
        (True, 100, "error: expected a finite number"),
    ],
)
def test_what_is_no_certainty_is_refused_in_one_line(given, trials, message):
    with pytest.raises(UsageError, match=message) as refused:
        search(space(), RandomSearch(), Noisy(), trials=trials, certainty=given)
    assert "\n" not in str(refused.value)


def test_a_share_needs_a_budget():
    with pytest.raises(UsageError, match="a share of what"):
        search(space(), RandomSearch(), Noisy(), target=9.0, certainty=0.05)
    certain = search(space(), RandomSearch(), Noisy(), target=9.0, certainty={"share": 0, "error": 0.1}).certainty
    assert certain.error == 0.1
    assert certainty_of(Certainty(error=0.2)) == Certainty(error=0.2)
    assert [contenders(n) for n in (3, 4, 20, 200)] == [0, 2, 4, 40]


def test_an_evaluator_that_learns_has_no_scores_to_compare():
    class Learning(Noisy):
        interval = 10

    with pytest.raises(UsageError, match="certainty: Learning learns during a search"):
        search(space(), RandomSearch(), Learning(), trials=60, certainty=0.05)


def test_the_lab_is_as_it_says():
    scores = [truth(architecture) for architecture in certainty_lab.space().enumerate()]
    assert len(set(scores)) == len(scores) == 216
