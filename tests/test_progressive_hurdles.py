"""Progressive dynamic hurdles: who is trained longer, what the inner controller hears, and the paper's toy."""

import json

import numpy as np
import pytest

from archsearch import Space
from archsearch.controllers import (
    NSGA2,
    ProgressiveDynamicHurdles,
    RandomSearch,
    RegularizedEvolution,
    SuccessiveHalving,
)
from archsearch.errors import UsageError
from archsearch.testing import FixedSpace
from archsearch.trial import Budget, Evaluation, Trial

LENGTHS = [1, 3, 9]


def started(space=None, seed=0, **settings):
    controller = ProgressiveDynamicHurdles(**({"lengths": LENGTHS, "controller": RandomSearch()} | settings))
    controller.start(space or FixedSpace(), seed)
    return controller


def answer(controller, scores, n=1):
    """Asks and tells n trials, scores by the length and the number of the proposal; gives the proposals."""
    asked = []
    for _ in range(n):
        (proposal,) = controller.ask()
        asked.append(proposal)
        controller.tell([Trial(*proposal[:3], Evaluation(scores(proposal)), budget=proposal.budget)])
    return asked


def test_hurdles_are_the_means_of_those_before_and_only_later_models_go_on():
    controller = started(models=4)
    values = iter([1.0, 2.0, 3.0, 6.0, 2.9, 3.1])
    asked = answer(controller, lambda proposal: next(values), 6)
    assert [proposal.budget for proposal in asked] == [Budget(1)] * 6  # 6.0 is above the mean, but came before
    assert controller.hurdles == [3.0]
    (longer,) = answer(controller, lambda proposal: 10.0)
    assert (longer.architecture, longer.parent, longer.budget) == (asked[5].architecture, 5, Budget(3, 1, 5))
    assert controller.hurdles == [3.0]  # 2.9 and the longer one are two models
    answer(controller, lambda proposal: 0.0, 2)
    assert controller.hurdles == [3.0, 10.0]
    third = answer(controller, lambda proposal: {1: 4.0, 3: 11.0, 9: 12.0}[proposal.budget.stop], 3)
    assert [proposal.budget for proposal in third] == [Budget(1), Budget(3, 1, 9), Budget(9, 3, 9)]
    assert [proposal.parent for proposal in third] == [None, 9, 10]


def test_the_inner_controller_hears_of_a_model_once_with_its_last_score():
    heard = []

    class Heard(RandomSearch):
        def _tell(self, trial):
            heard.append((trial.id, trial.score))

    controller = started(controller=Heard(), models=1)
    scores = {1: 1.0, 3: 2.0, 9: 3.0}
    rise = iter(range(100))
    answer(controller, lambda proposal: scores[proposal.budget.stop] + next(rise), 4)
    # The first ends at once and sets a hurdle; the second goes on, sets the next one while it does, and so on.
    assert heard[0] == (0, 1.0)
    assert [id_ for id_, _ in heard] == list(range(len(heard)))
    assert heard[1][1] > 2.0


def test_a_training_that_fails_when_it_goes_on_keeps_its_score():
    heard = []

    class Heard(RandomSearch):
        def _tell(self, trial):
            heard.append((trial.score, dict(trial.metrics)))

    controller = started(controller=Heard(), models=1)
    answer(controller, lambda proposal: 1.0)
    (proposal,) = controller.ask()
    controller.tell([Trial(*proposal[:3], Evaluation(5.0, {"params": 7.0}), budget=proposal.budget)])
    (longer,) = controller.ask()
    assert longer.budget.start == 1
    controller.tell([Trial(*longer[:3], failure="exception", budget=longer.budget)])
    assert heard[-1] == (5.0, {"params": 7.0})


def test_parents_are_trials_of_the_search_though_the_inner_controller_counts_its_own():
    controller = started(controller=RegularizedEvolution(population_size=5, tournament_size=2), models=5)
    asked = answer(controller, lambda proposal: proposal.architecture.count(1) + proposal.budget.stop, 120)
    begun = {proposal.id: proposal for proposal in asked if proposal.budget.start == 0}
    children = [proposal for proposal in begun.values() if proposal.parent is not None]
    assert len(children) > 30
    for child in children:
        pairs = zip(begun[child.parent].architecture, child.architecture, strict=True)
        assert sum(mine != theirs for mine, theirs in pairs) == 1


def test_results_may_come_late_and_a_state_of_then_goes_on_alike():
    controller = started(controller=RegularizedEvolution(population_size=6, tournament_size=3), models=8)
    answer(controller, lambda proposal: proposal.architecture.count(1) + proposal.budget.stop, 40)
    due = controller.ask(6)
    again = started(controller=RegularizedEvolution(population_size=6, tournament_size=3), models=8, seed=3)
    again.load_state_dict(json.loads(json.dumps(controller.state_dict())))
    for each in (controller, again):
        each.tell([Trial(*proposal[:3], Evaluation(9.0 - i), budget=proposal.budget) for i, proposal in enumerate(due)])
    assert again.ask(12) == controller.ask(12)
    assert again.hurdles == controller.hurdles


class Bits(Space):
    """A hundred bits."""

    def __init__(self):
        super().__init__(arities=[2] * 100)


def best_within(controller, units, seed):
    """The paper's toy: a unit of training shows a hundredth of the fitness, with noise, a hundred units the fitness."""
    controller.start(Bits(), seed)
    noise = np.random.default_rng([seed, 1])
    spent, best = 0, 0.0
    while spent < units:
        (proposal,) = controller.ask()
        stop, start, _ = proposal.budget or Budget(100)
        spent += stop - start
        fitness = sum(proposal.architecture) / 100
        seen = fitness if stop == 100 else fitness / 100 + noise.normal(0, 0.005)
        best = max(best, seen if stop == 100 else 0)
        controller.tell([Trial(*proposal[:3], Evaluation(seen), budget=proposal.budget)])
    return best


def test_at_equal_cost_hurdles_are_at_least_as_good_as_a_plain_tournament_in_the_papers_toy():
    won = [
        best_within(ProgressiveDynamicHurdles(RegularizedEvolution(), [1, 100]), 20_000, seed)
        >= best_within(RegularizedEvolution(), 20_000, seed)
        for seed in range(10)
    ]
    assert sum(won) >= 8


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"lengths": [1]}, "lengths"),
        ({"lengths": [3, 1]}, "lengths"),
        ({"lengths": [0, 1]}, r"lengths\[0\]"),
        ({"models": 0}, "models"),
        ({"controller": SuccessiveHalving()}, "controller"),
    ],
)
def test_settings_out_of_range_are_named(settings, word):
    with pytest.raises(UsageError, match=f"ProgressiveDynamicHurdles: {word}"):
        ProgressiveDynamicHurdles(**settings)
    assert ProgressiveDynamicHurdles(NSGA2()).learns
