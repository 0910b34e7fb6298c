"""Curvature, guards, resources and discretisation of a search by gradient, against brute force."""

import itertools
import math

import numpy as np
import pytest
import torch
from differentiable_lab import CELLS, CHAIN, DIGITS, generator, images, now, parameters, plain, super_network, tiny
from scipy.stats import entropy
from torch import nn
from torch.nn import functional

from archsearch.differentiable.costs import Mixed, candidate_costs
from archsearch.differentiable.curvature import largest_eigenvalue
from archsearch.differentiable.discretisations import Discretisation, Threshold
from archsearch.differentiable.guards import (
    AdaptiveDecay,
    EigenvalueStop,
    EntropyPenalty,
    OperationDropout,
    RandomPerturbation,
    SkipStop,
    StableRanking,
)
from archsearch.differentiable.guards.entropy import mean_entropy
from archsearch.differentiable.guards.stopping import in_first_cell, ranking
from archsearch.differentiable.optimisations import gradients
from archsearch.differentiable.part import Pass
from archsearch.differentiable.relaxations import (
    PartialChannels,
    Softmax,
)
from archsearch.differentiable.resources import Resource
from archsearch.errors import UsageError
from archsearch.networks.multiply_adds import multiply_adds
from archsearch.spaces import DARTS

# -- curvature and guards ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_largest_eigenvalue_is_that_of_the_whole_hessian(seed):
    loss, layers, alpha = tiny(seed)
    exact = torch.autograd.functional.hessian(lambda a: loss(1, layers, a), alpha.detach())
    values = torch.linalg.eigvalsh(exact)
    largest = float(values[values.abs().argmax()])
    found, products = largest_eigenvalue(loss(1, layers, alpha), [alpha])
    assert found == pytest.approx(largest, rel=0.01)
    assert 1 < products <= 30


def test_largest_eigenvalue_through_a_relaxed_network():
    network, found = super_network().double(), parameters()
    labels = torch.arange(8) % 10

    def loss(logits):
        shares = [dict(enumerate(torch.softmax(some, 0).unbind())) for some in found.by_choice(logits)]
        return functional.cross_entropy(network.relaxed(images(8).double(), shares), labels)

    start = found.logits.detach().double()
    values = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, start))
    largest = float(values[values.abs().argmax()])
    leaf = start.clone().requires_grad_()
    assert largest_eigenvalue(loss(leaf), [leaf], 200, 1e-5)[0] == pytest.approx(largest, rel=0.01)


def test_eigenvalue_stop_on_a_scripted_trace():
    guard = EigenvalueStop(ratio=1.3, window=2, lag=3, first=6)
    flat = [1.0] * 10

    def stops(values):
        records = [{"eigenvalue": value} for value in values]
        return [guard.stop(records[:n]) for n in range(1, len(values) + 1)]

    assert stops(flat) == [None] * 10
    # After epoch 8 the mean of the last two is 1.4; that of epochs 4 and 5 was 1: back to epoch 5.
    assert stops([1, 1, 1, 1, 1, 1, 1.2, 1.6]) == [None] * 7 + [5]
    assert stops([1, 1, 1, 9, 9, 9])[:5] == [None] * 5  # not before the first epoch in which it may
    assert stops([1, 1, 1, 1, 9, 9])[5] == 3


def test_skip_stop():
    guard = SkipStop(skips=2, first=3)
    stops = [guard.stop([{"skips": each} for each in trace]) for trace in ([2, 2], [2, 2, 1], [0, 1, 2], [0, 0, 0, 3])]
    assert stops == [None, None, 3, 4]
    names = [choice.name for choice in DARTS().relaxed_choices()]
    assert in_first_cell(names) == [True] * 14 + [False] * 14
    assert in_first_cell(["layer 0", "layer 1"]) == [True, True]


def test_stable_ranking_on_a_scripted_trace():
    guard = StableRanking(epochs=3)

    def stops(orders):
        records = [{"ranking": order} for order in orders]
        return [guard.stop(records[:n]) for n in range(1, len(orders) + 1)]

    a, b = [3, 2, 2, 3], [2, 3, 2, 3]
    assert stops([a, b, b, b, b, b]) == [None] * 4 + [5, 6]
    assert stops([a, b, a, b, a, b]) == [None] * 6
    assert stops([None, None, a, a, a, a]) == [None] * 5 + [6]  # not while parameters are frozen
    assert StableRanking(epochs=1, first=4).stop([{"ranking": a}] * 3) is None
    found = parameters()
    with torch.no_grad():
        found.logits.copy_(torch.arange(30.0) % 5)
        found.logits[7] = 9.0
    # Of none, skip_connect, nor_conv_1x1, nor_conv_3x3 and avg_pool_3x3 the convolutions are learnable.
    assert ranking(found) == [3, 2, 2, 3, 3, 2, 3, 2, 3, 2, 3, 2]
    found.alive[8] = False
    assert ranking(found) == [3, 2, 2, 3, 2, 3, 2, 3, 2, 3, 2]
    assert DARTS().relaxed_choices()[0].learnable == (4, 5, 6, 7)


def test_adaptive_decay_on_a_scripted_trace():
    guard = AdaptiveDecay(ratio=1.3, window=2, lag=3, first=6, factor=3.0, most=0.0243)
    assert (guard.keeps, guard.needs_eigenvalue) == (3, True)
    records = [{"eigenvalue": value} for value in [1, 1, 1, 1, 1, 1, 1.2, 1.6]]
    assert [guard.retry(records[:n], 3e-4) for n in range(1, 8)] == [None] * 7
    decays = [3e-4]
    while (found := guard.retry(records, decays[-1])) is not None:
        assert found.epoch == 5  # as EigenvalueStop's
        decays.append(found.decay)
    assert decays == pytest.approx([3e-4, 9e-4, 2.7e-3, 8.1e-3, 0.0243])
    assert guard.stop(records) == 5
    assert guard.retry(records, 0.02).decay == 0.0243


def test_operation_dropout_drops_the_skip_alone_and_less_and_less():
    guard = OperationDropout(rate=0.7, decay=3.0, frozen=0.4)
    epochs = [guard.probability(epoch / 25) for epoch in range(25)]
    # As in the authors' code, where the first 10 of 25 epochs are frozen (there one epoch further while it is linear).
    assert epochs[:10] == pytest.approx([0.7 * (25 - epoch) / 25 for epoch in range(10)])
    assert epochs[10:] == pytest.approx([0.7 * math.exp(-0.2 * (epoch - 10)) for epoch in range(10, 25)])
    weights, draws, kept = Softmax().weights(parameters(), now()), generator(3), []
    skip = CELLS.relaxed_choices()[0].skip
    for _ in range(1000):
        moved = OperationDropout(0.3).perturbed(weights, Pass(True, 0.0, draws, CELLS.relaxed_choices()), None)
        for before, after in zip(weights, moved, strict=True):
            assert all(after[i] is before[i] for i in before if i != skip)
            kept.append((after[skip] / before[skip]).item())
    assert {round(each, 5) for each in kept} == {0.0, round(1 / 0.7, 5)}
    assert np.mean(kept) == pytest.approx(1, abs=0.05)  # six standard errors
    assert OperationDropout.perturbs_all


def test_entropy_penalty_is_the_mean_entropy_and_pushes_to_the_ends():
    found = parameters(edges=True)
    relaxation = PartialChannels(2)
    guard = EntropyPenalty(first=0.0, last=2.0)
    penalty = guard.penalty(relaxation, found, now(progress=0.5))
    shares = [torch.softmax(own, 0).detach() for own in found.by_choice(found.logits)]
    into = [torch.softmax(found.edges[group], 0).detach() for group in found.groups()]
    expected = np.mean([entropy(own) for own in shares]) + np.mean([entropy(own) for own in into])
    assert penalty.item() == pytest.approx(expected, rel=1e-5)
    assert guard.penalty(relaxation, found, now(progress=0.0)).item() == 0
    logits, edges = gradients(penalty, [found.logits, found.edges])
    for slope, own in zip(found.by_choice(logits), found.by_choice(found.logits), strict=True):
        assert int(slope.argmin()) == int(own.argmax())  # the strongest gains most
    assert edges.abs().max() > 0
    found.alive[[i for i in range(30) if i % 5]] = False  # one is left of each choice: nothing to push, nor NaN
    assert mean_entropy(relaxation.all_strengths(parameters(scale=0.0))).item() == pytest.approx(math.log(5))
    assert gradients(guard.penalty(Softmax(), found, now(progress=1.0)), [found.logits])[0].abs().max() == 0


def no_pass(weights):
    raise AssertionError("no pass of the network is needed")


def test_random_perturbation_keeps_sums_and_grows():
    weights = Softmax().weights(parameters(), now())
    reach = {}
    for progress in (0.0, 1.0):
        guard = RandomPerturbation(first=0.03, last=0.3)
        moved = guard.perturbed(weights, Pass(False, progress, generator(2)), no_pass)
        pairs = [pair for a, b in zip(weights, moved, strict=True) for pair in zip(plain(a), plain(b), strict=True)]
        reach[progress] = np.mean([abs(a - b) for a, b in pairs])
        assert all(0 <= b <= 1 for _, b in pairs)
        assert all(sum(plain(some)) == pytest.approx(1) for some in moved)
    assert 0.003 < reach[0.0] < 0.03 < reach[1.0] < 0.3
    assert RandomPerturbation(frozen=0.5).perturbed(weights, Pass(False, 0.4, generator()), no_pass) is weights


# -- resources and discretisation ------------------------------------------------------------------------


@pytest.mark.parametrize("space", [CHAIN, CELLS], ids=["chain", "cells"])
def test_expected_costs_are_the_mean_over_all_architectures(space):
    network, choices = super_network(space), space.relaxed_choices()
    costs = candidate_costs(network, choices, DIGITS.input_shape)
    found = parameters(space)
    strengths = Softmax().all_strengths(found)
    shares = [some.double().tolist() for some in strengths]
    total, mass = 0.0, 0.0
    for architecture in itertools.islice(space.enumerate(), 300):
        p = math.prod(share[option] for share, option in zip(shares, architecture, strict=True))
        cost = costs.fixed + sum(own[option] for own, option in zip(costs.candidates, architecture, strict=True))
        if space is CHAIN or 0 not in architecture:  # where nothing is fed by zero, which costs nothing
            assert cost == multiply_adds(network, DIGITS.input_shape, architecture)
        total, mass = total + p * cost, mass + p
    if space is CHAIN:
        assert mass == pytest.approx(1, abs=1e-6)  # all of them
        assert costs.expected(strengths).item() == pytest.approx(total, rel=1e-6)


def test_costs_of_a_darts_network_add_up():
    space = DARTS(layers=3, channels=2)
    network, choices = super_network(space), space.relaxed_choices()
    costs = candidate_costs(network, choices, DIGITS.input_shape)
    everything = [dict.fromkeys(range(8), 1.0) for _ in choices]
    assert costs.of(everything) == multiply_adds(Mixed(network, everything), DIGITS.input_shape)
    architecture = space.sample(np.random.default_rng(0))
    assert costs.of(space.selected(architecture)) == multiply_adds(network, DIGITS.input_shape, architecture)


def test_a_resource_pulls_towards_what_is_cheap():
    costs = candidate_costs(super_network(CHAIN), CHAIN.relaxed_choices(), DIGITS.input_shape)
    for resource in (Resource(0.5), Resource(0.2, "multiplied"), Resource(1.0, "multiplied", 0.07, 1e5)):
        found = parameters(CHAIN, scale=0.0)
        loss = resource.loss(torch.tensor(2.0), costs, Softmax().all_strengths(found))
        (slope,) = gradients(loss, [found.logits])
        for some, own in zip(found.by_choice(slope), costs.candidates, strict=True):
            assert int(some.argmax()) == int(np.argmax(own))  # the dearest loses most
    equal = Resource(0.5).loss(torch.tensor(2.0), costs, Softmax().all_strengths(parameters(CHAIN, scale=0.0)))
    assert equal.item() == pytest.approx(2.5)
    with pytest.raises(UsageError, match="Resource: form: expected added or multiplied, got 'squared'"):
        Resource(form="squared")


def test_thresholds_leave_what_is_weak_empty():
    choices = CELLS.relaxed_choices()
    strengths = [[0.9, 0.2, 0.86, 0.1, 0.3], [0.1, 0.2, 0.3, 0.84, 0.5], *[[0.1] * 5] * 4]
    derived = [int(np.argmax(some)) for some in Threshold(0.85).strengths(strengths, choices)]
    assert derived == [2, 0, 0, 0, 0, 0]
    assert Discretisation().strengths(strengths, choices) == strengths


def test_parameters_as_data():
    found, other = parameters(edges=True), parameters(edges=True, seed=1)
    found.alive[3] = False
    other.load(found.state())
    assert all(torch.equal(getattr(found, name), getattr(other, name)) for name in ("logits", "edges", "alive"))
    assert other.logits.requires_grad


def test_every_module_that_is_computed_has_a_gradient_under_partial_channels():
    network = super_network(part=2)
    weights = PartialChannels(2).weights(parameters(edges=True), now(searching=False))
    network.relaxed(images(), weights).square().sum().backward()
    assert all(p.grad is not None for m in network.modules() if isinstance(m, nn.Conv2d) for p in m.parameters())
