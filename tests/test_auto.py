"""``Auto``, and settings that go by what is known of a search when it begins."""

import pytest

from archsearch import search
from archsearch.controller import Plan
from archsearch.controllers import Auto, RegularizedEvolution
from archsearch.errors import UsageError
from archsearch.evaluators import Function
from archsearch.running.search import resume
from archsearch.spaces import Choices
from archsearch.testing import FixedSpace
from archsearch.trial import Evaluation, Trial

SPACE = Choices({f"d{i}": [0, 1, 2, 3] for i in range(5)})


def hits(values):
    return float(sum(value == i % 4 for i, value in enumerate(values.values())))


def started(controller, plan):
    said = []
    controller.plan, controller.say = plan, said.append
    controller.start(FixedSpace(), 0)
    return said


@pytest.mark.parametrize(
    ("controller", "plan", "said"),
    [
        (Auto(), Plan(100), "Auto: BayesianOptimization, since a model makes most of the first 300 results"),
        (Auto(), Plan(8), "Auto: BayesianOptimization, since 8 trials are few, which a model makes most of"),
        (
            Auto(modelled=50),
            Plan(100),
            "Auto: BayesianOptimization, since a model makes most of the first 50 results; "
            "LocalSearch follows from the best of them",
        ),
        (Auto(), Plan(100, 64), "Auto: RegularizedEvolution, since 64 workers are too many for a model that waits for"),
        (Auto({"score": "max", "params": "min"}), Plan(), "Auto: NSGA2, since there are 2 objectives"),
    ],
)
def test_what_is_chosen_and_why(controller, plan, said):
    (told,) = started(controller, plan)
    assert told.startswith(said)


def test_local_search_follows_from_the_best_without_repeats():
    controller = Auto(modelled=20)
    said = started(controller, Plan())
    scores, proposed = {}, []
    for _ in range(60):
        (proposal,) = controller.ask()
        score = -float(sum(abs(option - 2) for option in proposal.architecture))
        scores[proposal.id] = score
        proposed.append(proposal)
        controller.tell([Trial(proposal.id, proposal.architecture, proposal.parent, Evaluation(score))])
    assert said[1] == "Auto: LocalSearch from the best of 20 results, since more of them help a model little"
    assert len({proposal.architecture for proposal in proposed}) == 60
    best = max(range(20), key=scores.__getitem__)
    assert proposed[20].parent == best


def test_it_is_resumed_on_either_side_of_the_switch(tmp_path):
    whole = search(SPACE, Auto(modelled=15), Function(hits), seed=1, trials=40).history
    expected = [trial.architecture for trial in whole]
    search(SPACE, Auto(modelled=15), Function(hits), seed=1, trials=14, out=tmp_path / "run")
    for trials in (25, 40):
        result = resume(tmp_path / "run", evaluator=Function(hits), trials=trials)
        assert [trial.architecture for trial in result.history] == expected[:trials]


@pytest.mark.parametrize(
    ("settings", "trials", "sizes"),
    [
        ({}, None, (100, 25)),
        ({}, 30, (10, 5)),
        ({}, 300, (30, 15)),
        ({}, 5000, (100, 25)),
        ({"defaults": "paper"}, 30, (100, 25)),
        ({"population_size": 8}, None, (8, 8)),
        ({"population_size": 8}, 30, (8, 4)),
        ({"tournament_size": 3}, 30, (10, 3)),
        ({"population_size": 200, "tournament_size": 0.05}, 7000, (200, 0.05)),
    ],
)
def test_sizes_that_are_left_out_go_by_the_trials(settings, trials, sizes):
    controller = RegularizedEvolution(**settings)
    controller.plan = Plan(trials)
    controller.start(FixedSpace(), 0)
    assert (controller._population, controller._tournament) == sizes


def test_an_unknown_word_is_refused():
    with pytest.raises(UsageError, match="defaults: expected one of trials, paper, got 'mine'"):
        RegularizedEvolution(defaults="mine")
