"""Single-Path: smaller options are inner slices of one super-kernel, and thresholds of norms say which is used."""

import numpy as np
import pytest
import torch
from differentiable_lab import DIGITS, generator, images, now, parameters, super_network
from torch import nn
from torch.nn import functional

from archsearch.abilities import Morphable
from archsearch.differentiable.costs import candidate_costs
from archsearch.differentiable.optimisations import OneLevel, gradients
from archsearch.differentiable.relaxations import Gumbel, KernelThresholds
from archsearch.differentiable.resources import Resource
from archsearch.errors import MissingAbility
from archsearch.evaluators import Differentiable, Training
from archsearch.evaluators.inheriting import inherit
from archsearch.networks.multiply_adds import multiply_adds, parameter_count
from archsearch.networks.network import build
from archsearch.spaces import MobileNet, SinglePath
from archsearch.spaces.networks.single_path import Shells

SETTINGS = {"stages": [(8, 2, 1), (12, 2, 2)], "stem_channels": 8, "head_channels": 16}
SPACE = SinglePath(**SETTINGS)
PLAIN = MobileNet(candidates=[(3, 3), (3, 6), (5, 3), (5, 6)], **SETTINGS)


def alone(architecture, space=SPACE):
    return build(lambda: space.network(architecture, DIGITS), 0)


def some(n=4):
    return [SPACE.sample(np.random.default_rng(seed)) for seed in range(n)]


# -- one super-kernel ----------------------------------------------------------------------------


def test_the_3x3_is_the_inner_slice_of_the_5x5():
    shells = build(lambda: Shells(4, 5), 0)
    whole, inner = shells.inner(5), shells.inner(3)
    assert whole.shape == (4, 1, 5, 5)
    assert torch.equal(whole[..., 1:4, 1:4], inner)
    assert torch.equal(whole.flatten(1).sort(1).values, shells.weight.flatten(1).sort(1).values)  # each once
    small = Shells(4, 3)
    with torch.no_grad():
        small.weight.copy_(shells.weight[..., :9])  # as weights are inherited
    assert torch.equal(small.inner(3), inner)
    for outer, kernel in ((1.0, whole), (0.0, functional.pad(inner, [1] * 4))):
        assert torch.equal(shells.mixed(torch.tensor(outer)), kernel)


def test_a_super_network_has_the_parameters_of_the_largest_candidates():
    shared = parameter_count(super_network(SPACE))
    largest = SPACE.parse("k5e6-k5e6-k5e6-k5e6")
    assert shared == parameter_count(alone(largest)) == parameter_count(alone(largest, PLAIN))
    assert shared < 0.5 * parameter_count(super_network(PLAIN))


def test_architectures_cost_what_those_of_mobilenet_do():
    assert SPACE.arities == PLAIN.arities == (5, 5, 4, 5)
    for architecture in some():
        ours, theirs = alone(architecture), alone(architecture, PLAIN)
        assert parameter_count(ours) == parameter_count(theirs)
        assert multiply_adds(ours, DIGITS.input_shape) == multiply_adds(theirs, DIGITS.input_shape)
    assert not isinstance(SPACE, Morphable)
    assert isinstance(PLAIN, Morphable)


def test_an_option_computes_what_mobilenets_does():
    """An MBConv of plain modules, given the inner slices, computes the same in a training step."""
    shared = super_network(SPACE)
    for option in ("k3e3", "k3e6", "k5e3", "k5e6"):
        layer, name = shared.layers[2], option
        size, expansion = int(name[1]), int(name[3])
        plain = PLAIN.network(PLAIN.parse(f"identity-identity-{name}-identity"), DIGITS).layers[2][name]
        hidden = 8 * expansion
        with torch.no_grad():
            plain.expand.conv.weight.copy_(layer.expand.weight[:hidden])
            plain.depthwise.conv.weight.copy_(layer.depthwise.inner(size)[:hidden])
            plain.project.conv.weight.copy_(layer.project.weight[:, :hidden])
        x = torch.randn(4, 8, 8, 8, generator=generator())
        torch.testing.assert_close(layer(x, name), plain(x), rtol=1e-4, atol=1e-5)


def test_weight_one_gives_the_stand_alone_network_and_its_statistics_exactly():
    for architecture in some():
        shared, own = super_network(SPACE), alone(architecture)
        inherit(own, shared.state_dict())
        assert torch.equal(shared.relaxed(images(), SPACE.selected(architecture)), own(images()))
        after = shared.state_dict()
        for name, value in own.state_dict().items():
            assert torch.equal(value, after[name][tuple(map(slice, value.shape))]), name
        with torch.no_grad():
            assert torch.equal(shared.eval()(images(), architecture), own.eval()(images()))


def test_gates_of_zero_and_one_give_the_option_and_a_gradient_to_all():
    architecture = SPACE.parse("k3e3-identity-k5e3-k3e6")
    network = super_network(SPACE)
    leaves = [torch.zeros(n, requires_grad=True) for n in SPACE.arities]
    weights = []
    for leaf, option in zip(leaves, architecture, strict=True):
        with torch.no_grad():
            leaf[option] = 1
        weights.append(dict(enumerate(leaf.unbind())))
    logits = network.relaxed(images(8), weights)
    own = alone(architecture)
    inherit(own, super_network(SPACE).state_dict())
    torch.testing.assert_close(logits, own(images(8)), rtol=1e-4, atol=1e-4)
    for slope in gradients(logits.square().sum(), leaves):
        assert slope.isfinite().all()
        assert (slope != 0).any()


def test_one_path_runs_whatever_the_weights():
    network = super_network(SPACE)
    everything = [dict.fromkeys(range(n), 1 / n) for n in SPACE.arities]
    ran = []
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda module, *_: ran.append(module))
    network.relaxed(images(), everything)
    assert len(ran) == len(set(ran)) == 1 + 3 * 4 + 1  # stem, three in each layer, head: each once


# -- what it costs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["flops", "params"])
def test_costs_of_paths_are_those_of_their_networks(of):
    costs = candidate_costs(super_network(SPACE), SPACE.relaxed_choices(), DIGITS.input_shape, of)
    for architecture in some(6):
        network = alone(architecture)
        true = parameter_count(network) if of == "params" else multiply_adds(network, DIGITS.input_shape)
        assert costs.of(SPACE.selected(architecture)) == true


# -- thresholds --------------------------------------------------------------------------------------


def with_rings(network, found):
    found.rings = network.rings
    return found


def thresholds(found, layer, **values):
    choice = SPACE.relaxed_choices()[layer]
    first = sum(SPACE.arities[:layer])
    with torch.no_grad():
        for name, value in values.items():
            found.logits[first + choice.candidates.index(name)] = value


def test_norms_above_their_thresholds_are_used():
    network = super_network(SPACE)
    found = with_rings(network, parameters(SPACE, scale=0.0))
    for rings in network.rings():
        assert all(0.7 < value.item() < 1.3 for value in rings.values())  # as at the begin
    thresholds(found, 0, k5e3=2.0)
    thresholds(found, 1, identity=2.0)
    thresholds(found, 2, k5e3=2.0, k3e6=2.0)
    strengths = KernelThresholds().all_strengths(found)
    derived = tuple(int(some.argmax()) for some in strengths)
    assert SPACE.format(derived) == "k3e6-identity-k3e3-k5e6"
    assert all(sorted(some.tolist()) == [0.0] * (len(some) - 1) + [1.0] for some in strengths)
    assert KernelThresholds().weights(found, now(searching=False)) == [{option: 1.0} for option in derived]


def test_a_threshold_is_pushed_where_the_loss_falls_and_kernels_are_pushed_along():
    network = super_network(SPACE)
    found = with_rings(network, parameters(SPACE, scale=0.0))
    costs = candidate_costs(network, SPACE.relaxed_choices(), DIGITS.input_shape)
    loss = Resource(1.0).loss(torch.tensor(0.0), costs, KernelThresholds().all_strengths(found))
    kernel = network.layers[2].depthwise.weight
    slope, along = gradients(loss, [found.logits, kernel])
    first = sum(SPACE.arities[:2])
    names = SPACE.relaxed_choices()[2].candidates
    for name in ("k5e3", "k3e6"):  # higher thresholds are cheaper
        assert slope[first + names.index(name)] < 0
    ring = along[..., 9:] * kernel[..., 9:]
    assert (ring >= 0).all()  # downhill the ring shrinks
    assert ring.sum() > 0


@pytest.mark.parametrize(("relaxation", "first"), [(KernelThresholds(), True), (Gumbel(hard=True), False)])
def test_searches(relaxation, first, tmp_path):
    evaluator = Differentiable(
        Training("digits", train_examples=64, batch_size=16),
        epochs=3,
        relaxation=relaxation,
        optimisation=OneLevel(),
        resource=Resource(0.5),
        architecture_rate=0.2,
        frozen=1,
    )
    evaluator.folder = tmp_path
    evaluator.start(SPACE)
    evaluator.prepare()
    assert evaluator.derived() in SPACE
    assert evaluator.records[0]["parameters"] != evaluator.records[2]["parameters"]
    if first:
        assert all(0 <= record["entropy"] < 1e-6 for record in evaluator.records)
    score = evaluator.evaluate(evaluator.derived(), 0).score
    assert 0 <= score <= 100


def test_thresholds_need_kernels_that_are_mixed():
    with pytest.raises(MissingAbility, match=r"KernelThresholds compares parts of kernels, .* use the space Sin"):
        Differentiable(Training("digits"), relaxation=KernelThresholds()).check(PLAIN)
