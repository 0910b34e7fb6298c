"""Monte-Carlo tree search, and LaNAS, which learns its tree."""

import json
import math

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from archsearch import Space, search
from archsearch.controllers import LaNAS, TreeSearch
from archsearch.controllers.lanas import RIDGE, _fitted, _Tree
from archsearch.errors import UsageError
from archsearch.evaluators import Function, Tabular
from archsearch.spaces import MetaQNN, NASBench201
from archsearch.testing import ConditionalSpace, VariableLengthSpace
from archsearch.trial import Evaluation, Trial


def started(controller, space, seed=0):
    controller.start(space, seed)
    return controller


def scored(proposal, score):
    return Trial(*proposal[:3], Evaluation(score))


# -- TreeSearch --------------------------------------------------------------------------------------


def test_options_are_tried_once_each_and_then_the_greatest_bound_is_taken():
    controller = started(TreeSearch(exploration=0.5), Space(arities=[3, 50]))
    first = controller.ask(3)
    assert sorted(proposal.architecture[0] for proposal in first) == [0, 1, 2]
    scores = {0: 0.0, 1: 1.0, 2: 0.9}
    controller.tell([scored(proposal, scores[proposal.architecture[0]]) for proposal in first])
    # By hand: visits, means from 0 to 1, and what was tried less.
    visits = {0: 1, 1: 1, 2: 1}
    totals = dict(scores)
    for _ in range(30):
        bonus = 0.5 * math.sqrt(2 * math.log(sum(visits.values())))
        bounds = {option: totals[option] / visits[option] + bonus / math.sqrt(visits[option]) for option in visits}
        (proposal,) = controller.ask()
        option = proposal.architecture[0]
        assert bounds[option] == pytest.approx(max(bounds.values()))
        controller.tell([scored(proposal, scores[option])])
        visits[option] += 1
        totals[option] += scores[option]


def test_results_that_are_due_count_as_visits():
    controller = started(TreeSearch(exploration=0.5), Space(arities=[2, 50]))
    controller.tell([scored(proposal, float(proposal.architecture[0])) for proposal in controller.ask(2)])
    asked = [proposal.architecture[0] for proposal in controller.ask(40)]
    assert asked[0] == 1
    assert asked.count(0) >= 1  # the better option is crowded, as no result comes; by its score alone it would win


@pytest.mark.parametrize("space", [ConditionalSpace(), Space(arities=[3, 4, 5])], ids=["conditional", "fixed"])
def test_a_small_space_is_searched_without_repeats_to_its_end_and_beyond(space):
    controller = started(TreeSearch(exploration=0.1), space)
    seen = []
    for _ in range(space.size()):
        (proposal,) = controller.ask()
        seen.append(proposal.architecture)
        controller.tell([scored(proposal, sum(proposal.architecture))])
    assert len(set(seen)) >= 0.95 * space.size()  # walks that all end in what is known are given up
    assert all(proposal.architecture in space for proposal in controller.ask(30))


def test_the_tree_grows_by_one_node_a_trial_at_most():
    controller = started(TreeSearch(), VariableLengthSpace())
    for trials in range(1, 200):
        controller.tell([scored(proposal, 0.5) for proposal in controller.ask()])
        assert len(controller._nodes) <= 1 + trials + sum(node.closed for node in controller._nodes.values())
    root = controller._nodes[()]
    assert (root.visits, root.due) == (199, 0)


def test_failures_are_no_visits():
    controller = started(TreeSearch(), VariableLengthSpace())
    controller.tell([Trial(*proposal[:3], failure="exception") for proposal in controller.ask(20)])
    assert all((node.visits, node.due) == (0, 0) for node in controller._nodes.values())


def test_it_walks_through_layers_to_what_is_rewarded():
    space = MetaQNN(layers=4, image=8, filters=[8, 16], units=[16])

    def reward(layers):
        return sum(layer.kind == "C" and layer.size == 16 for layer in layers) / 4

    scores = search(space, TreeSearch(), Function(reward), trials=250, seed=0).history.table()["score"].to_pylist()
    assert max(scores) == 1.0
    assert np.mean(scores[-50:]) > np.mean(scores[:50]) + 0.1


# -- LaNAS -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(40, 7), (12, 30)])
def test_nodes_fit_what_scikit_learn_fits(shape):
    rng = np.random.default_rng(0)
    columns, scores = rng.integers(2, size=shape).astype(float), rng.random(shape[0])
    split = _fitted(columns, scores)
    theirs = Ridge(alpha=RIDGE).fit(columns, scores)
    np.testing.assert_allclose(split.weights, theirs.coef_, atol=1e-8)
    np.testing.assert_allclose(columns @ split.weights + split.offset, theirs.predict(columns), atol=1e-8)
    assert split.mean == pytest.approx(scores.mean())


def test_the_tree_puts_good_halves_to_the_left():
    rng = np.random.default_rng(0)
    space = Space(arities=[4] * 6)
    architectures = [space.sample(rng) for _ in range(400)]
    scores = np.array([sum(option == 1 for option in each) + 0.0 for each in architectures])
    tree = _Tree(space.one_hot(architectures).astype(float), scores, 3)
    regions = np.array(tree.regions(space.one_hot(architectures).astype(float)))
    means = {region: scores[regions == region].mean() for region in set(regions.tolist())}
    assert all(tree._means[2 * node + 1] > tree._means[2 * node + 2] for node in tree._splits)
    assert len(means) == len(tree._splits) + 1 >= 4
    best = tree.walk({}, 0.0)
    assert means[best] == max(means.values()) > scores.mean() + 1
    assert tree.walk({best: 10_000}, 0.3) != best  # others have been tried less


def test_proposals_come_from_the_region_where_the_walk_ends():
    space = Space(arities=[4] * 6)
    controller = started(LaNAS(initial=60, every=200), space)
    controller.tell([scored(proposal, proposal.architecture.count(1)) for proposal in controller.ask(60)])
    proposals = controller.ask(80)
    counts = [proposal.architecture.count(1) for proposal in proposals]
    assert np.mean(counts) > 1.5 + 0.5  # at random 1.5
    assert len({proposal.architecture for proposal in proposals}) == 80


def test_it_finds_better_cells_than_chance_with_few_trials():
    best = [
        max(
            search(NASBench201(), LaNAS(), Tabular("cifar10"), trials=150, seed=seed)
            .history.table()["score"]
            .to_pylist()
        )
        for seed in range(4)
    ]
    assert np.mean(best) > 91.4  # random search: 91.1


def test_what_is_learnt_from_is_bounded(monkeypatch):
    monkeypatch.setattr("archsearch.controllers.lanas.REMEMBERED", 50)
    controller = started(LaNAS(initial=20, every=20), Space(arities=[4] * 8))
    for _ in range(300):
        controller.tell([scored(proposal, proposal.architecture.count(1)) for proposal in controller.ask()])
    assert len(controller._results) <= 70
    assert controller._fitted == 50


@pytest.mark.parametrize("make", [TreeSearch, lambda: LaNAS(initial=20, every=15)], ids=["TreeSearch", "LaNAS"])
def test_resumed_in_the_middle_they_go_on_alike(make):
    controller, again = started(make(), VariableLengthSpace()), started(make(), VariableLengthSpace(), 1)
    for _ in range(45):
        controller.tell([scored(proposal, proposal.architecture.count(1)) for proposal in controller.ask()])
    due = controller.ask(5)
    again.load_state_dict(json.loads(json.dumps(controller.state_dict())))
    for each in (controller, again):
        each.tell([scored(proposal, 0.5) for proposal in due])
    assert controller.ask(40) == again.ask(40)


@pytest.mark.parametrize(("make", "settings"), [(TreeSearch, {"exploration": -1}), (LaNAS, {"height": 0})])
def test_settings_out_of_range_are_named(make, settings):
    (name,) = settings
    with pytest.raises(UsageError, match=f"{make.__name__}: {name}"):
        make(**settings)
