"""Curvature, guards, resources and discretisation of a search by gradient, against brute force."""

import itertools
import math

import numpy as np
import pytest
import torch
from differentiable_lab import CELLS, CHAIN, DIGITS, generator, images, now, parameters, plain, super_network, tiny
from torch import nn
from torch.nn import functional

from archsearch.differentiable.costs import Mixed, candidate_costs
from archsearch.differentiable.curvature import largest_eigenvalue
from archsearch.differentiable.discretisations import Discretisation, Threshold
from archsearch.differentiable.guards import EigenvalueStop, RandomPerturbation, SkipStop, skips_in_first_cell
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
    guard = SkipStop(skips=2, stable=3)

    def records(skips, derived):
        return [{"skips": s, "derived": [d]} for s, d in zip(skips, derived, strict=True)]

    assert guard.stop(records([0, 1, 1], [0, 1, 2])) is None
    assert guard.stop(records([0, 1, 2], [0, 1, 2])) == 3
    assert guard.stop(records([0] * 4, [7] * 4)) == 4
    assert guard.stop(records([0] * 4, [6, 7, 7, 7])) is None
    names = [choice.name for choice in DARTS().relaxed_choices()]
    assert skips_in_first_cell(names, [True] * 3 + [False] * 11 + [True] * 14) == 3
    assert skips_in_first_cell(["layer 0", "layer 1"], [True, True]) == 2


def test_random_perturbation_keeps_sums_and_grows():
    weights = Softmax().weights(parameters(), now())
    reach = {}
    for progress in (0.0, 1.0):
        guard = RandomPerturbation(first=0.03, last=0.3)
        moved = guard.perturbed(weights, Pass(False, progress, generator(2)))
        pairs = [pair for a, b in zip(weights, moved, strict=True) for pair in zip(plain(a), plain(b), strict=True)]
        reach[progress] = np.mean([abs(a - b) for a, b in pairs])
        assert all(0 <= b <= 1 for _, b in pairs)
        assert all(sum(plain(some)) == pytest.approx(1) for some in moved)
    assert 0.003 < reach[0.0] < 0.03 < reach[1.0] < 0.3
    assert RandomPerturbation(frozen=0.5).perturbed(weights, Pass(False, 0.4, generator())) is weights


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
