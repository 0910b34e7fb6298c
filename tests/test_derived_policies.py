"""What a policy has learnt is a distribution, by which ``Derived`` ends a search, as ENAS does."""

import json
import math
from collections import Counter

import numpy as np
import pytest
from common import Tree
from one_shot_lab import SPACE, make
from reinforce_lab import POLICIES, Words, result, run, started
from scipy.stats import chisquare

from archsearch import resume, search
from archsearch.abilities import Distribution, most_probable
from archsearch.controllers import Derived, RandomSearch, Reinforce
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.space import Space
from archsearch.testing import CONTROLLER_CHECKS
from archsearch.trial import Evaluation, Trial

SMALL = Space(arities=[3, 2, 4])


def learnt(policy, space, trials=60):
    """A policy that has learnt enough to be far from uniform."""
    controller = started(policy, space, learning_rate=0.05)
    run(controller, lambda architecture: float(sum(architecture)), trials)
    return controller


def product(controller, architecture):
    steps = [controller.probabilities(architecture[:i])[option] for i, option in enumerate(architecture)]
    return math.prod(steps)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("space", [SMALL, Tree(), Words()], ids=["fixed", "conditional", "variable length"])
def test_the_probabilities_of_a_policy_are_those_that_it_draws_by(policy, space):
    controller, everything = learnt(policy, space), list(space.enumerate())
    products = np.array([product(controller, architecture) for architecture in everything])
    assert products.sum() == pytest.approx(1, abs=1e-6)
    assert max(products) > 2 / len(everything), "it has learnt nothing"
    np.testing.assert_allclose(np.log(products), controller.log_probabilities(everything), atol=1e-5)
    drawn = Counter(proposal.architecture for proposal in controller.ask(4000))
    assert set(drawn) <= set(everything)
    # Cells with fewer than five expected draws are put together, as the test's approximation asks.
    often = 4000 * products >= 5
    observed = np.array([drawn[architecture] for architecture in everything])
    kept = slice(None, None if (~often).any() else -1)
    observed, expected = (np.array([*some[often], some[~often].sum()])[kept] for some in (observed, 4000 * products))
    assert chisquare(observed, expected * 4000 / expected.sum()).pvalue > 0.001


@pytest.mark.parametrize("policy", POLICIES)
def test_what_a_policy_derives_takes_the_most_probable_option_each_time(policy):
    controller = learnt(policy, SMALL, 200)
    assert isinstance(controller, Distribution)
    assert controller.derived() == most_probable(controller, SMALL) == (2, 1, 3)
    before = json.dumps(controller.state_dict())
    controller.probabilities((0, 1))
    assert json.dumps(controller.state_dict()) == before


@pytest.mark.parametrize("policy", POLICIES)
def test_asking_a_policy_too_early_or_too_late_is_refused(policy):
    with pytest.raises(UsageError, match="Reinforce: there is no policy yet"):
        Reinforce(policy).probabilities(())
    controller = started(policy, SMALL)
    assert controller.probabilities(()) == pytest.approx([1 / 3] * 3, abs=0.05)
    with pytest.raises(InvalidArchitecture, match="no decision follows"):
        controller.probabilities((0, 0, 0))


# -- a search that ends with what the policy has learnt --------------------------------------------------


def test_the_controller_searches_then_its_policy_is_derived_from():
    inner = Reinforce("softmax", learning_rate=0.02)
    controller = Derived(5, inner, after=100)
    controller.start(SMALL, 0)
    run(controller, lambda architecture: float(sum(architecture)), 100)
    assert not controller.finished
    last = controller.ask(20)
    assert [proposal.id for proposal in last] == list(range(100, 105))
    assert last[0].architecture == inner.derived() == (2, 1, 3)
    likely = [product(inner, proposal.architecture) for proposal in last]
    assert likely == sorted(likely, reverse=True)
    assert len({proposal.architecture for proposal in last}) == 5
    assert controller.finished
    told = inner.state_dict()
    controller.tell([result(proposal, 1.0) for proposal in last])
    assert inner.state_dict() == told, "what was derived teaches the policy nothing"


def enas_search(folder, trials):
    evaluator = make(sampler="controller", trials_per_epoch=3, epochs=3, validation_batches=1)
    controller = Derived(limit=4, controller=Reinforce("softmax", learning_rate=0.3), after=9)
    return search(SPACE, controller, evaluator, trials=trials, seed=3, out=folder)


def test_enas_ends_with_the_best_of_what_its_policy_draws(tmp_path):
    found = enas_search(tmp_path / "whole", 20)
    trials = sorted(found.history, key=lambda trial: trial.id)
    assert len(trials) == 9 + 4
    last = trials[9:]
    assert len({trial.architecture for trial in last}) == 4
    assert found.best is not None
    assert found.best.id >= 9
    assert found.best.score == max(trial.score for trial in last)
    enas_search(tmp_path / "parts", 10)
    again = sorted(resume(tmp_path / "parts", trials=20).history, key=lambda trial: trial.id)
    assert [(t.architecture, t.score) for t in again] == [(t.architecture, t.score) for t in trials]


@pytest.mark.parametrize(
    "check", ["resume_equals_not_stopping", "state_is_plain_data", "results_in_any_order", "failures_never_stop_it"]
)
def test_it_keeps_the_contract_with_a_controller_inside(check):
    CONTROLLER_CHECKS[check](lambda: Derived(limit=500, controller=Reinforce("softmax"), after=40))


def test_a_failure_that_is_tried_again_is_told_to_the_controller():
    inner = Reinforce("softmax", batch_size=1)
    controller = Derived(2, inner, after=3)
    controller.start(SMALL, 0)
    (proposal,) = controller.ask()
    controller.tell([result(proposal, None)])
    controller.expect_again(proposal)
    assert inner.pending == controller.pending == {0: proposal.architecture}
    controller.tell([Trial(0, proposal.architecture, evaluation=Evaluation(7.0))])
    assert inner.baseline == 7.0


def test_controllers_that_cannot_search_first_are_refused():
    with pytest.raises(UsageError, match=r"Derived: controller: .* such as Reinforce\(\), got RandomSearch"):
        Derived(controller=RandomSearch())
    with pytest.raises(UsageError, match="reads no distribution"):
        Derived(controller=Derived())
    with pytest.raises(UsageError, match="Derived: after"):
        Derived(controller=Reinforce(), after=0)
