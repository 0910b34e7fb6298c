"""What the shipped measures say of evaluators whose worth and price are known."""

import math
import pickle

import numpy as np
import pytest

from archsearch import Evaluation, Evaluator
from archsearch.components import describe
from archsearch.controllers import RandomSearch
from archsearch.errors import ArchsearchError, UsageError
from archsearch.space import Space
from archsearch.studies.measures import Agreement, FoundAtCost
from archsearch.trial import Cost


class Digits(Space):
    """Numbers from 0 to 999."""

    def __init__(self):
        super().__init__(arities=[10, 10, 10])


def number_of(architecture):
    return float(sum(10**place * digit for place, digit in enumerate(reversed(architecture))))


class Priced(Evaluator):
    """The number itself, or what a table has of it.

    Args:
        price: Recorded seconds of an evaluation.
        set_up: Those of the preparation.
        sign: -1 turns the order around.
        top: Numbers from here on have the score of the number turned around.
        listed: Whether it lists its architectures: the even numbers.
        size: A number that grows with the budget.
        seed: Its own.
    """

    def __init__(self, price=1.0, set_up=0.0, sign=1, top=10_000, listed=False, size=1, seed=0):
        self.price, self.set_up, self.sign, self.top = price, set_up, sign, top
        self.listed, self.size, self.seed = listed, size, seed

    @property
    def architectures(self):
        return [each for each in self.space.enumerate() if not each[-1] % 2] if self.listed else None

    def refusal(self, architecture):
        return "odd" if self.listed and architecture[-1] % 2 else ""

    def prepare(self):
        return Cost(recorded_seconds=self.set_up * self.size)

    def evaluate(self, architecture, seed):
        number = number_of(architecture)
        score = self.sign * (number if number < self.top else self.top + 999 - number)
        return Evaluation(score, {"truth": number, "seed": seed}, Cost(recorded_seconds=self.price))


def agreement(evaluator, **settings):
    return Agreement(Digits(), evaluator, Priced(), truth="truth", **{"samples": 100, **settings}).measure(3).figures


def test_agreement_of_what_is_right_wrong_and_right_but_for_the_best():
    right, wrong, partly = agreement(Priced()), agreement(Priced(sign=-1)), agreement(Priced(top=900))
    assert [right[name] for name in ("tau", "tau_top", "drop", "regret")] == pytest.approx([1, 1, 0, 0])
    assert [wrong[name] for name in ("tau", "tau_top", "spearman")] == pytest.approx([-1, -1, -1])
    assert partly["tau"] > 0.9
    assert partly["tau_top"] < 0
    assert partly["drop"] == partly["tau"] - partly["tau_top"]
    assert partly["regret"] > 50


def test_agreement_bills_the_evaluator_and_not_the_reference():
    measured = Agreement(Digits(), Priced(price=2, set_up=7), Priced(price=50), "truth", samples=20).measure(0)
    assert measured.cost.billed_seconds == measured.cost.recorded_seconds == 7 + 2 * measured.figures["compared"]


def test_agreement_draws_the_same_sample_for_all_evaluators_and_another_under_another_seed():
    first, second = (Agreement(Digits(), Priced(sign=sign), Priced(), "truth") for sign in (1, -1))
    assert first._sample(4) == second._sample(4) != first._sample(5)


def test_agreement_needs_scores():
    class Fails(Priced):
        def evaluate(self, architecture, seed):
            raise ValueError("never")

    with pytest.raises(ArchsearchError, match="only 0 could be scored"):
        agreement(Fails(), samples=10)


def found(evaluator=None, seconds=50.0, seed=0, **settings):
    settings = {"reference": Priced(listed=True), "otherwise": Priced(), "truth": "truth", **settings}
    return FoundAtCost(Digits(), RandomSearch(), evaluator or Priced(), seconds, **settings).measure(seed)


def test_what_is_found_is_paid_for_set_up_included():
    for set_up, paid in ((0, 50), (20.5, 29)):
        measured = found(Priced(set_up=set_up))
        assert measured.figures["trials"] == paid
        assert measured.figures["set_up"] == set_up / 50
        assert measured.cost.billed_seconds == paid + set_up
        assert measured.figures["regret"] == 998 - measured.figures["truth"]
        assert math.isnan(measured.figures["tau"])


def test_more_budget_finds_more_and_a_wrong_score_finds_little():
    means = [np.mean([found(e, s, seed).figures["truth"] for seed in range(5)]) for e, s in
             ((Priced(), 5), (Priced(), 200), (Priced(sign=-1), 200))]  # fmt: skip
    assert means[0] < means[1]
    assert means[2] < 50


def test_a_set_up_beyond_the_budget_leaves_a_random_architecture():
    measured = found(Priced(set_up=60))
    assert measured.figures["trials"] == 0
    assert measured.figures["truth"] % 2 == 0, "one of the reference's"
    assert measured.cost.billed_seconds == 60


def test_the_ranking_is_held_against_the_truth_and_billed_to_nobody():
    measured = found(Priced(sign=-1), ranked=40)
    assert measured.figures["tau"] == pytest.approx(-1)
    assert measured.cost.billed_seconds == 50


def test_only_what_is_known_is_evaluated_where_asked():
    for seed in range(5):
        assert found(seed=seed, known=True).figures["truth"] % 2 == 0
    assert any(found(seed=seed).figures["truth"] % 2 for seed in range(5)), "judged by the other one"
    with pytest.raises(ArchsearchError, match="has no truth"):
        [found(seed=seed, otherwise=None, reference=Refusing()) for seed in range(5)]


class Refusing(Priced):
    def evaluate(self, architecture, seed):
        raise ValueError("unknown")


def test_settings_grow_with_the_budget():
    measured = found(Priced(set_up=2.0), per_second={"size": 0.1})
    assert measured.figures["set_up"] == 2.0 * 5 / 50
    assert found(Priced(set_up=2.0), 1.0, per_second={"size": 0.1}).figures["set_up"] == 2.0, "at least 1"
    assert found(Priced(set_up=2.0, size=7), per_second={"size": 0.1}).figures["set_up"] == 2.0 * 7 / 50
    with pytest.raises(UsageError, match="Priced has no setting called epochs; it has price"):
        found(per_second={"epochs": 1})


@pytest.mark.parametrize(
    "settings",
    [{"seconds": 0}, {"seconds": math.inf}, {"repeats": 0}, {"trials": 0}, {"ranked": -1}, {"best": math.nan}],
)
def test_found_at_cost_checks_its_settings(settings):
    with pytest.raises(UsageError, match=f"FoundAtCost: {next(iter(settings))}: expected"):
        FoundAtCost(
            **{"space": None, "controller": None, "evaluator": None, "seconds": 1, "reference": None} | settings
        )
    with pytest.raises(UsageError, match="per_second: epochs: expected"):
        found(per_second={"epochs": -1})


@pytest.mark.parametrize("settings", [{"samples": 9}, {"top": 0}, {"top": 1}, {"samples": 10.5}])
def test_agreement_checks_its_settings(settings):
    with pytest.raises(UsageError, match=f"Agreement: {next(iter(settings))}: expected"):
        agreement(Priced(), **settings)


def test_measures_can_be_described_and_sent():
    for measure in (
        Agreement(Digits(), Priced(), Priced(), "truth", samples=10),
        FoundAtCost(Digits(), RandomSearch(), Priced(), 5.0, Priced(listed=True), truth="truth"),
    ):
        assert describe(pickle.loads(pickle.dumps(measure))) == describe(measure)
