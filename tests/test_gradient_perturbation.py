"""Weights of candidates that are moved while those of the network are trained: how far, to where, at what cost."""

import dataclasses

import numpy as np
import pytest
import torch
from differentiable_lab import CELLS, DIGITS, generator, images, now, parameters, plain, super_network
from differentiable_search_lab import SPACE, make
from scipy.optimize import minimize
from torch.nn import functional

from archsearch.differentiable.costs import Mixed
from archsearch.differentiable.guards import AdversarialPerturbation, Guard, RandomPerturbation
from archsearch.differentiable.guards.perturbing import confined
from archsearch.differentiable.part import Pass
from archsearch.differentiable.relaxations import Gumbel, Sigmoid, Softmax
from archsearch.errors import UsageError
from archsearch.networks.multiply_adds import multiply_adds

NORMS = {"max": lambda way: np.abs(way).max(), "l2": np.linalg.norm}


def at(progress, seed=0):
    return Pass(False, progress, generator(seed))


def network_loss(seed):
    """The training loss of a network and some images, as a function of the weights of candidates."""
    network, pictures = super_network(CELLS), images(16, seed)
    labels = torch.arange(16) % DIGITS.classes
    return lambda weights: functional.cross_entropy(network.relaxed(pictures, weights), labels)


@pytest.mark.parametrize("relaxation", [Softmax(), Sigmoid()], ids=["softmax", "sigmoid"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(3))
def test_the_loss_rises_within_the_ball(relaxation, norm, seed):
    loss, weights = network_loss(seed), relaxation.weights(parameters(seed=seed), now(searching=False))
    for progress, reach in ((0.0, 0.03), (0.5, 0.165), (1.0, 0.3)):
        moved = AdversarialPerturbation(norm=norm).perturbed(weights, at(progress, seed), loss)
        for some, own in zip(weights, moved, strict=True):
            assert list(some) == list(own)
            assert NORMS[norm](np.subtract(plain(own), plain(some))) <= reach + 1e-6
            assert sum(plain(own)) == pytest.approx(sum(plain(some)), abs=1e-5)
            assert all(-1e-6 <= value <= 1 + 1e-6 for value in plain(own))
        assert loss(moved) >= loss(weights)
        others = [RandomPerturbation().perturbed(weights, at(progress, n), loss) for n in range(5)]
        assert loss(moved) > sum(map(loss, others)) / 5 or norm == "l2"  # a smaller ball


@pytest.mark.parametrize("seed", range(5))
def test_on_a_linear_loss_it_is_near_the_end_of_the_ball(seed):
    """The best that an l2 ball and a fixed sum allow is known: along the slope less its mean."""
    slope = torch.randn(5, generator=generator(seed))
    weights = [dict(enumerate(torch.full((5,), 0.2).unbind()))]
    moved = AdversarialPerturbation(last=0.1, norm="l2").perturbed(
        weights, at(1.0), lambda w: slope @ torch.stack(list(w[0].values()))
    )
    gained = float(slope @ torch.tensor(plain(moved[0])) - slope.mean())
    assert 0.8 < gained / (0.1 * float((slope - slope.mean()).norm())) <= 1 + 1e-5


def test_of_two_candidates_the_worse_gains_the_whole_reach():
    weights = [{1: torch.tensor(0.5), 3: torch.tensor(0.5)}, {0: 1.0}]
    moved = AdversarialPerturbation(last=0.2).perturbed(weights, at(1.0), lambda w: 7 + w[0][1] + 3 * w[0][3])
    assert plain(moved[0]) == pytest.approx([0.3, 0.7])
    assert plain(moved[1]) == [1.0]
    assert AdversarialPerturbation(frozen=0.5).perturbed(weights, at(0.4), None) is weights


def test_where_one_candidate_runs_nothing_is_tried():
    weights = Gumbel(hard=True).weights(parameters(), now(searching=False))
    moved = AdversarialPerturbation().perturbed(weights, at(1.0), None)
    assert [plain(some) for some in moved] == [[1.0]] * len(weights)


@pytest.mark.parametrize("seed", range(5))
def test_confined_is_the_nearest_point_that_weights_can_be(seed):
    draws = np.random.default_rng(seed)
    values, total = draws.normal(0.4, 0.6, 5), draws.uniform(0.5, 4.5)
    found = confined(torch.tensor(values), torch.tensor(total)).numpy()
    best = minimize(
        lambda x: ((x - values) ** 2).sum(),
        np.full(5, total / 5),
        bounds=[(0, 1)] * 5,
        constraints={"type": "eq", "fun": lambda x: x.sum() - total},
        tol=1e-12,
    )
    np.testing.assert_allclose(found, best.x, atol=1e-4)


def test_the_passes_that_it_takes_are_billed():
    evaluator = make(guards=[AdversarialPerturbation(steps=3)])
    evaluator.start(SPACE)
    cost = evaluator.prepare()
    assert cost.examples == 2 * 32 * (1 + 1 + 3)  # epochs, images: for the parameters, the weights, and three steps
    assert cost.updates == 2 * 2 * 2
    run = evaluator.trainer.begin(None, 0)
    everything = [dict.fromkeys(range(5), 1.0)] * 6
    watched = [run.network.running(SPACE.selected(tuple(record["derived"]))) for record in evaluator.records]
    macs = [multiply_adds(Mixed(run.network, each), (1, 8, 8)) for each in (everything, *watched)]
    assert cost.flops == 2 * (3 * cost.examples * macs[0] + 256 * sum(macs[0] + own for own in macs[1:]))


class Curious(Guard):
    """Asks, and changes nothing."""

    def perturbed(self, weights, now, loss):
        loss([dict(reversed(some.items())) for some in weights]).item()
        return weights


def test_what_is_tried_leaves_no_trace_but_its_bill():
    found = []
    for guards in ([], [Curious()]):
        evaluator = make(guards=guards, training={"drop_path": 0.2})
        evaluator.start(SPACE)
        cost = evaluator.prepare()
        found.append((evaluator._shared.values(), evaluator.records, cost))
    (values, records, cost), (others, again, dearer) = found
    assert records == again
    assert all(torch.equal(value, others[name]) for name, value in values.items())
    assert dearer.examples == 1.5 * cost.examples
    assert dataclasses.replace(dearer, examples=0, flops=0, device_seconds=0, wall_seconds=0) == dataclasses.replace(
        cost, examples=0, flops=0, device_seconds=0, wall_seconds=0
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "AdversarialPerturbation: steps: expected a whole number >= 1, got 0"),
        ({"norm": "l1"}, "AdversarialPerturbation: norm: expected max or l2, got 'l1'"),
        ({"last": -1.0}, "AdversarialPerturbation: last"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(UsageError, match=message):
        AdversarialPerturbation(**settings)
