"""AdaNet: an ensemble with two ways to grow, whose function is kept, and the greedy growth of it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from archsearch.controllers import GreedyGrowth
from archsearch.controllers.growing import Growing
from archsearch.networks.network import InputShape, build
from archsearch.spaces import AdaNet, NASBench201
from archsearch.trial import Evaluation, Trial

SPACE = AdaNet(members=4, depth=3, channels=4)
SHAPE = InputShape((1, 8, 8), 3)


def test_ensembles_are_all_sequences_of_depths_that_rise_by_one_at_most():
    expected = {
        depths
        for n in range(1, 5)
        for depths in itertools.product(range(1, 4), repeat=n)
        if depths[0] == 1 and all(later - sooner in (0, 1) for sooner, later in itertools.pairwise(depths))
    }
    assert {SPACE.decode(architecture) for architecture in SPACE.enumerate()} == expected
    assert SPACE.size() == len(expected)
    # Of n members the depths rise at k of n - 1 places, at most 4 times.
    assert AdaNet().size() == sum(math.comb(n - 1, k) for n in range(1, 9) for k in range(5))


def test_two_candidates_a_step():
    growing, rng = Growing(SPACE), np.random.default_rng(0)
    assert [SPACE.format(each) for each in growing.smallest(5, rng)] == ["1"]
    for text, grown in {"1": {"1 1", "1 2"}, "1 2": {"1 2 2", "1 2 3"}, "1 2 3": {"1 2 3 3"}, "1 1 1 1": set()}.items():
        assert {SPACE.format(each) for each in growing.grown(SPACE.parse(text), 5, rng)} == grown


def made(text, seed):
    return build(lambda: SPACE.network(SPACE.parse(text), SHAPE), seed)


def test_a_grown_ensemble_computes_what_its_parent_did_and_learns_in_all_parts():
    images = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for parent, child in [("1", "1 2"), ("1 2", "1 2 2"), ("1 2 2", "1 2 2 3"), ("1", "1 1 2 3")]:
        old, new = made(parent, 0), made(child, 1)
        for _ in range(3):  # batch statistics that are not those of the beginning
            old(images)
        assert SPACE.morph(old, new, torch.Generator())
        assert torch.allclose(old.eval()(images), new.eval()(images), atol=1e-6)
        optimizer = torch.optim.SGD(new.parameters(), 0.1)
        for _ in range(2):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(new.train()(images), torch.arange(8) % 3).backward()
            optimizer.step()
        assert all(parameter.grad.abs().sum() > 0 for parameter in new.members[-1].parameters() if parameter.dim() > 1)
    assert not SPACE.morph(made("1 2", 0), made("1 1", 1), torch.Generator())


def test_layers_read_the_member_before():
    network = made("1 2 3", 0)
    assert [[layer[0].in_channels for layer in member.layers] for member in network.members] == [[1], [1, 8], [1, 8, 8]]
    assert SPACE.complexity(SPACE.parse("1 2 3")) == pytest.approx(1 + math.sqrt(2) + math.sqrt(3))


def searched(score, trials, **settings):
    controller, texts = GreedyGrowth(**settings), []
    controller.start(SPACE, 0)
    for _ in range(trials):
        (proposal,) = controller.ask()
        texts.append(SPACE.format(proposal.architecture))
        controller.tell([Trial(*proposal[:3], Evaluation(score(SPACE.decode(proposal.architecture))))])
    return texts, controller


def test_growth_is_greedy_and_goes_on_as_long_as_it_is_better():
    texts, _ = searched(lambda depths: float(sum(depths)), 6)
    assert texts[0] == "1"
    assert set(texts[1:3]) == {"1 1", "1 2"}
    assert set(texts[3:5]) == {"1 2 2", "1 2 3"}
    assert texts[5] == "1 2 3 3"


def test_the_penalty_on_complexity_ends_growth():
    gains = {(1,): 1.0, (1, 1): 1.5, (1, 2): 1.6}
    for penalty, best in ((0.0, "1 2"), (0.3, "1 1"), (1.0, "1")):
        _, controller = searched(lambda depths: gains.get(depths, 0.0), 5, penalty=penalty)
        assert SPACE.format(tuple(controller._parent[2])) == best


def test_where_nothing_grows_the_best_is_mutated():
    controller, space = GreedyGrowth(), NASBench201()
    controller.start(space, 0)
    proposals = controller.ask(3)
    controller.tell([Trial(*proposals[0][:3], Evaluation(1.0))])
    (child,) = controller.ask()
    assert child.parent == 0
    assert sum(a != b for a, b in zip(child.architecture, proposals[0].architecture, strict=True)) >= 1


def test_growth_goes_on_where_others_are_asked_for_while_results_are_due():
    controller, due, longest = GreedyGrowth(), [], 0
    controller.start(SPACE, 0)
    for _ in range(12):
        due += controller.ask(8 - len(due))
        proposal = due.pop(0)
        depths = SPACE.decode(proposal.architecture)
        longest = max(longest, len(depths))
        controller.tell([Trial(*proposal[:3], Evaluation(float(sum(depths))))])
    assert longest >= 2
    assert controller._grows, "to end a generation early is not to find nothing better"
