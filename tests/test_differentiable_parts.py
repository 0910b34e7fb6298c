"""Parts of search by gradient, against what the papers say and against brute force."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import nn
from torch.nn import functional

from archsearch.abilities import build
from archsearch.differentiable.curvature import largest_eigenvalue
from archsearch.differentiable.discretisations import Discretisation, Threshold
from archsearch.differentiable.guards import EigenvalueStop, RandomPerturbation, SkipStop, skips_in_first_cell
from archsearch.differentiable.optimisations import amended_gradient, gradients, shifted, unrolled_gradient
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
from archsearch.differentiable.resources import Mixed, Resource, candidate_costs
from archsearch.errors import UsageError
from archsearch.networks.multiply_adds import multiply_adds
from archsearch.networks.network import Choice, InputShape
from archsearch.relaxing import RelaxedChoice
from archsearch.spaces import DARTS, MobileNet, NASBench201

DIGITS = InputShape((1, 8, 8), 10)
CELLS = NASBench201(channels=4, cells=1)
CHAIN = MobileNet(stages=[(8, 2, 1), (12, 2, 2)], candidates=[(3, 1), (5, 2)], stem_channels=8, head_channels=16)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def now(searching=True, progress=0.0, seed=0):
    return Pass(searching, progress, generator(seed))


def parameters(space=CELLS, edges=False, seed=0, scale=1.0):
    found = ArchitectureParameters(space.relaxed_choices(), edges, generator(seed))
    with torch.no_grad():
        for leaf in found.leaves:
            leaf.mul_(scale / 1e-3)
    return found


def super_network(space=CELLS, **settings):
    return build(lambda: space.super_network(DIGITS, **settings), 0)


def plain(weights):
    """The weights of one choice as numbers."""
    return [torch.as_tensor(weight).detach().item() for weight in weights.values()]


def images(n=4, seed=1):
    return torch.randn(n, *DIGITS.input_shape, generator=generator(seed))


# -- optimisations -----------------------------------------------------------------------------------


def solve_toy(second, rate=0.05, updates=3000):
    """The problem of DARTS, appendix: L_val = aw - 2a + 1, L_train = w^2 - 2aw + a^2, from (a, w) = (2, -2)."""
    a, w = (torch.tensor(value, requires_grad=True) for value in (2.0, -2.0))

    def train():
        return w * w - 2 * a * w + a * a

    def valid():
        return a * w - 2 * a + 1

    for _ in range(updates):
        (slope,) = unrolled_gradient(train, valid, [w], [a], 0.5) if second else gradients(valid(), [a])
        with torch.no_grad():
            a -= rate * slope
        (step,) = gradients(train(), [w])
        with torch.no_grad():
            w -= rate * step
    return a.item(), w.item()


def test_the_published_toy_problem_needs_second_order():
    assert solve_toy(second=True) == pytest.approx((1, 1), abs=1e-3)
    assert max(abs(value - 1) for value in solve_toy(second=False)) > 0.5


def tiny(seed=0):
    """A training and a validation loss of two layers, mixed by a softmax; all in double precision."""
    draw = generator(seed)
    x, y = (torch.randn(2, 12, 3, dtype=torch.float64, generator=draw) for _ in range(2))
    layers = [torch.randn(3, 3, dtype=torch.float64, generator=draw).requires_grad_() for _ in range(3)]
    alpha = torch.randn(3, dtype=torch.float64, generator=draw).requires_grad_()

    def loss(part, weights, alpha):
        share = torch.softmax(alpha, 0)
        hidden = sum(s * torch.tanh(x[part] @ w) for s, w in zip(share, weights, strict=True))
        return (hidden - y[part]).square().mean()

    return loss, layers, alpha


@pytest.mark.parametrize("seed", range(3))
def test_second_order_is_the_gradient_through_one_step(seed):
    loss, layers, alpha = tiny(seed)
    rate = 0.3
    steps = torch.autograd.grad(loss(0, layers, alpha), layers, create_graph=True)
    unrolled = [w - rate * step for w, step in zip(layers, steps, strict=True)]
    (exact,) = torch.autograd.grad(loss(1, unrolled, alpha), alpha)
    before = [w.clone() for w in layers]
    (found,) = unrolled_gradient(lambda: loss(0, layers, alpha), lambda: loss(1, layers, alpha), layers, [alpha], rate)
    assert (found - exact).norm() <= 1e-3 * exact.norm()
    (first,) = gradients(loss(1, layers, alpha), [alpha])
    assert (first - exact).norm() > 1e-2 * exact.norm()  # else this would show nothing
    assert all(torch.equal(w, kept) for w, kept in zip(layers, before, strict=True))


def quadratic(seed):
    """Losses for which all is known: H of the weights, the mixed derivative -A, the gradients c and d."""
    draw = generator(seed)
    root, mixed = (torch.randn(4, n, dtype=torch.float64, generator=draw) for n in (4, 3))
    c, d = (torch.randn(n, dtype=torch.float64, generator=draw) for n in (4, 3))
    hessian = root @ root.T + torch.eye(4, dtype=torch.float64)
    alpha = torch.randn(3, dtype=torch.float64, generator=draw).requires_grad_()
    best = torch.linalg.solve(hessian, mixed @ alpha.detach()).requires_grad_()
    return (
        lambda: 0.5 * best @ hessian @ best - (mixed @ alpha) @ best,
        lambda: c @ best + d @ alpha,
        (best, alpha),
        (hessian, mixed, c, d),
    )


def test_the_amended_gradient_is_what_it_says():
    for seed in range(5):
        train, valid, (best, alpha), (hessian, mixed, c, d) = quadratic(seed)
        (found,) = amended_gradient(train, valid, [best], [alpha], 0.1)
        torch.testing.assert_close(found, d + 0.1 * mixed.T @ hessian @ c, rtol=1e-3, atol=1e-6)


def test_the_amended_gradient_points_the_right_way_where_the_plain_one_does_not():
    """L_train = w^2 - aw, so that w is a/2, and L_val = a - 4w falls as a rises; at a fixed w it rises."""
    a = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    w = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    true = 1 - 4 / 2
    (plain,) = gradients(a - 4 * w, [a])
    (found,) = amended_gradient(lambda: w * w - a * w, lambda: a - 4 * w, [w], [a], 0.5)
    assert true * plain.item() < 0 < true * found.item()


def test_values_that_are_shifted_come_back():
    values = [torch.rand(3, generator=generator()), torch.rand((), generator=generator(1))]
    kept = [value.clone() for value in values]
    with shifted(values, [torch.ones(3), torch.ones(())], 0.1):
        torch.testing.assert_close(values[0], kept[0] + 0.1)
    assert all(torch.equal(value, before) for value, before in zip(values, kept, strict=True))


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


def saved_bytes(space, part):
    """Bytes of activations that the mixed operations keep for the way back."""
    network = super_network(space, part=part)
    kept, inside = {}, [0]

    def enter(*_):
        inside[0] += 1

    def leave(*_):
        inside[0] -= 1

    for module in network.modules():
        if isinstance(module, Choice):
            for candidate in module.values():
                candidate.register_forward_pre_hook(enter)
                candidate.register_forward_hook(leave)
    owned = {parameter.data_ptr() for parameter in network.parameters()}

    def pack(tensor):
        if inside[0] and tensor.data_ptr() not in owned:
            kept[tensor.data_ptr(), tensor.shape] = tensor.numel() * tensor.element_size()
        return tensor

    relaxation = Softmax() if part == 1 else PartialChannels(part)
    weights = relaxation.weights(parameters(space, edges=relaxation.edges), now())
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network.relaxed(images(16), weights)
    return sum(kept.values())


def test_partial_channels_keep_a_quarter_of_the_activations():
    space = DARTS(layers=3, channels=16)
    assert saved_bytes(space, 4) <= 0.35 * saved_bytes(space, 1)


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
