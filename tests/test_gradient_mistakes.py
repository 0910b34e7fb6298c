"""Search by gradient: what would go wrong without a word, or with a traceback."""

import numpy as np
import pytest
import torch
from differentiable_lab import CELLS, CHAIN, DIGITS, super_network
from differentiable_search_lab import SPACE, make

from archsearch.differentiable.costs import Mixed, candidate_costs
from archsearch.differentiable.optimisations import FirstOrder, OneLevel, Optimisation
from archsearch.differentiable.relaxations import ExponentiatedGradient, Gumbel, Relaxation, Softmax, TwoPaths
from archsearch.differentiable.resources import Resource
from archsearch.errors import TrainingDiverged, UsageError
from archsearch.networks.multiply_adds import multiply_adds
from archsearch.spaces import DARTS


def prepared(space=SPACE, **settings):
    evaluator = make(**settings)
    evaluator.start(space)
    return evaluator, evaluator.prepare()


@pytest.mark.parametrize("form", ["added", "multiplied"])
def test_a_resource_moves_no_other_than_the_two_paths(form):
    slopes, shares = [], []

    class Watched(FirstOrder):
        def gradient(self, search, batch, held_out):
            (found,) = super().gradient(search, batch, held_out)
            slopes.append(torch.split(found, [len(choice.candidates) for choice in choices]))
            return [found]

    class Paths(TwoPaths):
        def stepped(self, parameters, before, left):
            super().stepped(parameters, before, left)
            for now, then in zip(*map(parameters.by_choice, (parameters.logits.detach(), before)), strict=True):
                shares.append((torch.softmax(now, 0) - torch.softmax(then, 0)).abs() > 1e-6)

    choices = CHAIN.relaxed_choices()
    settings = {"resource": Resource(0.5, form), "architecture_rate": 0.1, "training": {"skeleton": {"channels": 4}}}
    prepared(CHAIN, relaxation=Paths(), optimisation=Watched(), **settings)
    flat = [some for each in slopes for some in each]
    assert any(len(some) > 2 for some in flat)  # else there are no others
    assert all(int((some != 0).sum()) == 2 for some in flat)
    for some, moved in zip(flat, shares, strict=True):
        assert torch.equal(moved, some != 0)


def test_the_loss_that_is_noted_is_that_of_training():
    evaluator, _ = prepared(optimisation=OneLevel(), resource=Resource(100.0))
    assert all(0 < record["train_loss"] < 10 for record in evaluator.records)


@pytest.mark.parametrize("space", [CELLS, DARTS(layers=3, channels=2)], ids=["cells", "darts"])
def test_what_runs_behind_none_is_what_is_counted(space):
    network, choices, draws = super_network(space), space.relaxed_choices(), np.random.default_rng(0)
    costs, less = candidate_costs(network, choices, DIGITS.input_shape), 0
    for _ in range(20 if space is CELLS else 4):
        drawn = [{int(draws.integers(len(choice.candidates)) * draws.integers(2)): 1.0} for choice in choices]
        counted = costs.of(network.running(drawn))
        assert counted == multiply_adds(Mixed(network, drawn), DIGITS.input_shape)
        less += counted < costs.of(drawn)
    assert (less > 0) == (space is CELLS)


def test_hard_draws_are_billed_for_what_they_run():
    drawn = []

    class Noted(Gumbel):
        def weights(self, parameters, now):
            found = super().weights(parameters, now)
            drawn.append([dict.fromkeys(some, 1.0) for some in found])
            return found

    evaluator, cost = prepared(relaxation=Noted(hard=True), epochs=8)
    network = evaluator.trainer.begin(None, 0).network

    def macs(weights):
        return multiply_adds(Mixed(network, weights), (1, 8, 8))

    derived = [SPACE.selected(tuple(record["derived"])) for record in evaluator.records]
    everything = [dict.fromkeys(range(5), 1.0)] * 6
    watched = sum(256 * (macs(everything) + macs(each)) for each in derived)
    assert cost.flops == 2 * (3 * 16 * sum(map(macs, drawn)) + watched)
    assert any(0 in drawn[i][0] and 0 not in drawn[i][2] for i in range(len(drawn)))  # node 1 is fed by nothing


@pytest.mark.parametrize(("every", "frozen"), [(5, 0), (3, 1), (1000, 1)])
def test_parameters_that_would_never_move(every, frozen):
    evaluator = make(optimisation=FirstOrder(every=every), frozen=frozen)
    updates = 2 * (2 - frozen)
    with pytest.raises(UsageError, match=rf"every: expected at most the {updates} updates of the .* got {every}; set"):
        evaluator.start(SPACE)


def test_parameters_that_move_once():
    evaluator, _ = prepared(optimisation=FirstOrder(every=2), frozen=1)
    first, second = (record["parameters"]["logits"] for record in evaluator.records)
    assert first != second


def infinite(self, parameters):
    return parameters.logits.square().sum().mul(0).sqrt()  # 0, with a slope that is no number


@pytest.mark.parametrize(
    ("relaxation", "name"), [(Softmax, "architecture_rate"), (ExponentiatedGradient, "rate of ExponentiatedGradient")]
)
def test_parameters_that_diverge_say_which_rate(relaxation, name):
    broken = type("Broken", (relaxation,), {"penalty": infinite})
    with pytest.raises(TrainingDiverged, match=f"the architecture parameters .* after 0 updates; a smaller {name} may"):
        prepared(relaxation=broken(), epochs=1)


class Mixless(Relaxation):
    pass


class Still(Optimisation):
    pass


class Whole(Relaxation):
    def weights(self, parameters, now):
        return [{1: 1.0} for _ in parameters.sizes]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"relaxation": Mixless()}, "Mixless: expected a method mix or weights of its own, .* Relaxation,"),
        ({"relaxation": Relaxation()}, "Relaxation: expected a method mix or weights of its own"),
        ({"optimisation": Still()}, "Still: expected a method gradient or step of its own, .* Optimisation,"),
        (
            {"relaxation": TwoPaths(), "architecture_decay": 1e-3},
            "architecture_decay: expected none with TwoPaths, which takes none, got 0.001; leave it out$",
        ),
        (
            {"relaxation": TwoPaths(), "architecture_momentum": 0.5},
            "architecture_momentum: expected none with TwoPaths",
        ),
        (
            {"relaxation": ExponentiatedGradient(), "architecture_rate": 0.1},
            "architecture_rate: .* leave it out, or set the rate of ExponentiatedGradient",
        ),
        ({"architecture_momentum": 1.0}, "Differentiable: architecture_momentum: expected .* got 1"),
    ],
)
def test_what_cannot_be_is_said_when_it_is_made(settings, message):
    with pytest.raises(UsageError, match=message):
        make(**settings)


def test_all_weights_at_once_in_place_of_one_choice_after_the_other():
    evaluator, _ = prepared(relaxation=Whole(), epochs=1)
    assert evaluator.derived() in SPACE
