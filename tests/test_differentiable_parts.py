"""Parts of search by gradient, against what the papers say and against brute force."""

import itertools
import math

import numpy as np
import pytest
import torch
from differentiable_lab import CHAIN, generator, images, now, parameters, plain, super_network
from scipy.stats import chisquare

from archsearch.differentiable.optimisations import gradients
from archsearch.differentiable.parameters import ArchitectureParameters
from archsearch.differentiable.part import Pass, Schedule
from archsearch.differentiable.relaxations import (
    ExponentiatedGradient,
    Gumbel,
    PartialChannels,
    Sigmoid,
    Softmax,
    TwoPaths,
    gumbel,
)
from archsearch.networks.memory import Activations
from archsearch.networks.network import Choice
from archsearch.relaxing import RelaxedChoice
from archsearch.spaces import DARTS

# -- relaxations: what runs, and what is learnt ------------------------------------------------------


def runs_of(network, weights):
    """Candidates that run in a pass, by the name of their choice, and the logits."""
    ran, hooks = {}, []
    for name, module in network.named_modules():
        if isinstance(module, Choice):
            for option, candidate in module.items():
                hooks.append(
                    candidate.register_forward_hook(
                        lambda *_, name=name, option=option: ran.setdefault(name, []).append(option)
                    )
                )
    logits = network.relaxed(images(), weights)
    for hook in hooks:
        hook.remove()
    return ran, logits


def test_gdas_runs_one_candidate_of_each_choice_and_reaches_all_parameters():
    space, network = CHAIN, super_network(CHAIN)
    found = parameters(space)
    weights = Gumbel(hard=True).weights(found, now())
    ran, logits = runs_of(network, weights)
    assert len(ran) == len(space.relaxed_choices())
    assert all(len(options) == 1 for options in ran.values())
    assert all(plain(some) == pytest.approx([1]) for some in weights)
    (slope,) = gradients(logits.square().sum(), [found.logits])
    assert (slope != 0).all()


def test_proxylessnas_runs_two_for_the_architecture_and_one_for_the_weights():
    found = parameters(CHAIN)
    for searching, count in ((True, 2), (False, 1)):
        weights = TwoPaths().weights(found, now(searching))
        ran, _ = runs_of(super_network(CHAIN), weights)
        assert {len(options) for options in ran.values()} == {count}
        gates = [sorted(plain(some)) for some in weights]
        assert gates == [[0, 1][-count:]] * len(weights)


def test_of_two_paths_the_others_keep_their_probabilities():
    found, relaxation = parameters(CHAIN), TwoPaths()
    optimizer = relaxation.optimizer(found, 0.1, 0.0, 0.0)
    weights = relaxation.weights(found, now())
    before = found.logits.detach().clone()
    shares = [torch.softmax(some, 0) for some in found.by_choice(before)]
    found.logits.grad = gradients(sum(i * w for some in weights for i, w in some.items()), [found.logits])[0]
    optimizer.step()
    relaxation.stepped(found, before, 0)
    for some, then, pair in zip(found.by_choice(found.logits.detach()), shares, weights, strict=True):
        after = torch.softmax(some, 0)
        for option in range(len(then)):
            assert (option in pair) == (abs(float(after[option] - then[option])) > 1e-6)


@pytest.mark.parametrize("relaxation", [Gumbel(hard=True, first=2.0), TwoPaths()], ids=["gdas", "proxylessnas"])
def test_candidates_are_drawn_as_probable_as_they_are(relaxation):
    logits = torch.tensor([0.5, -1.0, 0.0, 1.2])
    draws = generator(3)
    counts = np.zeros(4)
    for _ in range(4000):
        (option,) = relaxation.mix(logits, Pass(False, 0.0, draws))
        counts[option] += 1
    assert chisquare(counts, 4000 * torch.softmax(logits.double(), 0).numpy()).pvalue > 1e-3


def test_pairs_of_paths_are_drawn_without_repeats_and_let_one_through():
    logits, draws = torch.tensor([0.5, -1.0, 0.0]), generator(4)
    p = torch.softmax(logits.double(), 0).numpy()
    pairs = list(itertools.combinations(range(3), 2))
    counts, through = np.zeros(3), np.zeros(3)
    for _ in range(4000):
        mixed = TwoPaths().mix(logits, Pass(True, 0.0, draws))
        counts[pairs.index(tuple(sorted(mixed)))] += 1
        through[next(option for option, weight in mixed.items() if weight > 0.5)] += 1
    expected = [p[i] * p[j] / (1 - p[i]) + p[j] * p[i] / (1 - p[j]) for i, j in pairs]
    assert chisquare(counts, 4000 * np.array(expected)).pvalue > 1e-3
    gates = np.zeros(3)
    for (i, j), count in zip(pairs, expected, strict=True):
        gates[i] += count * p[i] / (p[i] + p[j])
        gates[j] += count * p[j] / (p[i] + p[j])
    assert chisquare(through, 4000 * gates).pvalue > 1e-3


def test_soft_gumbel_weights_are_a_draw_made_smooth():
    logits = torch.tensor([0.5, -1.0, 0.0])
    draws = generator(5)
    hot = Gumbel(hard=False, first=100.0).mix(logits, Pass(True, 0.0, draws))
    cold = Gumbel(hard=False, first=1.0, last=1e-3).mix(logits, Pass(True, 1.0, draws))
    assert sum(plain(hot)) == pytest.approx(1)
    assert max(abs(w - 1 / 3) for w in plain(hot)) < 0.05
    assert max(plain(cold)) > 0.999
    noise = gumbel(20_000, draws).double()
    assert float(noise.mean()) == pytest.approx(0.5772, abs=0.03)
    assert float(noise.std()) == pytest.approx(math.pi / math.sqrt(6), abs=0.03)


def test_temperatures():
    assert [Schedule(10, 0.1).at(p) for p in (0, 0.5, 1)] == pytest.approx([10, 5.05, 0.1])
    fbnet = Schedule(5.0, 5.0 * math.exp(-0.045 * 90), "exponential")
    assert fbnet.at(30 / 90) == pytest.approx(5.0 * math.exp(-0.045 * 30))


def test_sigmoids_do_not_compete_and_are_pushed_apart():
    found, relaxation = parameters(), Sigmoid(zero_one=10.0)
    (some, *_) = relaxation.weights(found, now())
    assert plain(some) == torch.sigmoid(found.by_choice(found.logits)[0]).tolist()
    slope = torch.autograd.grad(relaxation.penalty(found), found.logits)[0]
    assert torch.equal(slope < 0, found.logits > 0)  # downhill is away from 1/2
    assert Sigmoid(zero_one=0).penalty(found) is None


def test_edges_into_a_node_share_one_softmax():
    found, relaxation = parameters(edges=True), PartialChannels(2)
    weights = relaxation.weights(found, now())
    totals = [sum(plain(some)) for some in weights]
    for group in found.groups():
        assert sum(totals[i] for i in group) == pytest.approx(1)
        assert [totals[i] for i in group] == pytest.approx(torch.softmax(found.edges[group], 0).tolist())
    assert found.groups() == [[0], [1, 2], [3, 4, 5]]
    for strengths, total in zip(relaxation.all_strengths(found), totals, strict=True):
        assert strengths.sum().item() == pytest.approx(total)
    slopes = gradients(sum(w.square() for some in weights for w in some.values()), found.leaves)
    assert all((slope != 0).any() for slope in slopes)


def kept_bytes(space, part):
    """Bytes of activations that a pass of the super-network keeps for its way back."""
    network = super_network(space, part=part)
    relaxation = Softmax() if part == 1 else PartialChannels(part)
    weights = relaxation.weights(parameters(space, edges=relaxation.edges), now())
    with Activations(network) as memory:
        network.relaxed(images(16), weights)
    return memory.peak


def test_partial_channels_keep_a_quarter_of_the_activations():
    """And some more: what passes by, the stem and the preprocessing of the cells are whole."""
    space = DARTS(layers=3, channels=16)
    assert kept_bytes(space, 4) <= 0.35 * kept_bytes(space, 1)


def test_a_wiped_out_expert_never_returns():
    found, relaxation = parameters(CHAIN, scale=0.0), ExponentiatedGradient(rate=0.5, bound=1.0)
    optimizer, updates = relaxation.optimizer(found, 1.0, 0.0, 0.0), 60
    draws = np.random.default_rng(0)
    for t in range(updates):
        weights = relaxation.weights(found, now(progress=t / updates))
        alive = found.alive.clone()
        for some, own in zip(weights, found.by_choice(alive), strict=True):
            assert sorted(some) == torch.nonzero(own).flatten().tolist()  # those that are gone do not run
            assert sum(plain(some)) == pytest.approx(1)
        losses = [{i: (0.2 * i + draws.normal(0, 0.3)) for i in some} for some in weights]
        if t > 45:  # the best turn bad: what is gone stays gone
            losses = [{i: -value for i, value in some.items()} for some in losses]
        total = sum(w * losses[c][i] for c, some in enumerate(weights) for i, w in some.items())
        found.logits.grad = gradients(total, [found.logits])[0]
        relaxation.about_to_step(found)
        before = found.logits.detach().clone()
        optimizer.step()
        relaxation.stepped(found, before, updates - t - 1)
        assert not (found.alive & ~alive).any()
        assert all(own.any() for own in found.by_choice(found.alive))
    assert not found.alive.all()
    for strengths, own in zip(relaxation.all_strengths(found), found.by_choice(found.alive), strict=True):
        assert torch.equal(strengths > 0, own)


@pytest.mark.parametrize("seed", range(3))
def test_regret_of_exponentiated_gradient_is_below_its_bound(seed):
    experts, updates, draws = 5, 400, np.random.default_rng(seed)
    choice = RelaxedChoice("x", tuple("abcde"), "x")
    found = ArchitectureParameters([choice], False, generator())
    relaxation = ExponentiatedGradient(rate=math.sqrt(2 * math.log(experts) / updates), bound=1.0)
    optimizer = relaxation.optimizer(found, 1.0, 0.0, 0.0)
    losses = draws.uniform(-1, 1, (updates, experts)) * draws.uniform(0, 1, experts)
    suffered = 0.0
    for t, loss in enumerate(losses):
        (weights,) = relaxation.weights(found, now())
        mean = sum(w * loss[i] for i, w in weights.items())
        suffered += mean.item()
        found.logits.grad = gradients(mean, [found.logits])[0]
        relaxation.about_to_step(found)
        before = found.logits.detach().clone()
        optimizer.step()
        relaxation.stepped(found, before, updates - t - 1)
    assert suffered - losses.sum(0).min() <= math.sqrt(2 * updates * math.log(experts))
