"""Networks of ``MobileNet``: what they compute, how wide they are, which paths are dropped."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from mobilenet_lab import CIFAR10, SMALL, images, small, train

from archsearch.abilities import Morphable, SharedWeights, Trainable, skeleton_settings
from archsearch.errors import UsageError
from archsearch.networks.multiply_adds import parameter_count
from archsearch.networks.network import build
from archsearch.spaces.mobilenet import MobileNet, NASBenchMacro


def test_abilities():
    for space in (MobileNet(), NASBenchMacro()):
        assert isinstance(space, Trainable)
        assert isinstance(space, SharedWeights)
        assert isinstance(space, Morphable)
        assert skeleton_settings(space) == ("channels",)


@pytest.mark.parametrize("space", [small(), small(identity="always", first_channels=8, candidates=[(3, 1), (5, 2)])])
def test_stand_alone_networks_compute_what_the_super_network_does(space):
    super_network = build(lambda: space.super_network(SMALL), 0)
    train(super_network, architectures=[space.sample(np.random.default_rng(i)) for i in range(4)])
    super_network.eval()
    weights = super_network.state_dict()
    for architecture in [space.sample(np.random.default_rng(i)) for i in range(10, 16)]:
        network = build(lambda a=architecture: space.network(a, SMALL), 1)
        network.load_state_dict({name: weights[name] for name in network.state_dict()})
        network.eval()
        with torch.no_grad():
            assert torch.equal(network(images()), super_network(images(), architecture))
    with pytest.raises(UsageError, match="one architecture at a time"):
        super_network(images())


def test_a_shared_prefix_is_computed_once():
    space = small()
    network = build(lambda: space.super_network(SMALL), 0).eval()
    with torch.no_grad():
        prefix = network.layer(1, network.layer(0, network.stem(images()), 1), 0)
        for third, fourth in itertools.product((0, 5), (0, 3)):
            logits = network.head(network.layer(3, network.layer(2, prefix, third), fourth))
            assert torch.equal(logits, network(images(), (1, 0, third, fourth)))
    assert logits.shape == (4, SMALL.classes)


def test_parts_of_a_layer():
    space = small(candidates=[(3, 1), (5, 3)])
    network = build(lambda: space.super_network(SMALL), 0).eval()
    assert network.layers[0]["k3e1"].expand is None
    branch = network.layers[1]["k5e3"]
    shapes = [tuple(part.conv.weight.shape) for part in (branch.expand, branch.depthwise, branch.project)]
    assert shapes == [(24, 8, 1, 1), (24, 1, 5, 5), (8, 24, 1, 1)]
    with torch.no_grad():
        x = network.stem(images())
        assert torch.equal(network.layer(1, x, 2), x + branch(x))
        assert network.layer(1, x, 0) is x
        reduced = network.layer(2, x, 1)
        assert reduced.shape == (4, 12, 6, 6)
        assert torch.equal(reduced, network.layers[2]["k5e3"](x))  # no residual where the size changes
        hidden = branch.depthwise(branch.expand(100 * x))
        assert hidden.min() >= 0
        assert hidden.max() == 6
        assert branch.project(hidden).min() < 0


def test_widths_are_scaled_in_proportion():
    space = MobileNet()
    with torch.device("meta"):
        network = space.network((1,) * 8, CIFAR10, channels=12)
        same = space.network((1,) * 8, CIFAR10, channels=24)
        own = space.network((1,) * 8, CIFAR10)
        tiny = space.network((1,) * 8, CIFAR10, channels=1)
    widths = [network.first[0].conv.out_channels] + [next(iter(c.values())).outputs for c in network.layers]
    assert widths == [8, 12, 12, 20, 20, 20, 40, 40, 40]
    assert network.last[0].conv.out_channels == network.classifier.in_features == 80
    assert parameter_count(same) == parameter_count(own) > parameter_count(network)
    assert [next(iter(c.values())).outputs for c in tiny.layers] == [1, 1, 4, 4, 4, 4, 4, 4]
    with pytest.raises(UsageError, match="channels: expected a whole number >= 1, got 0"):
        space.network((1,) * 8, CIFAR10, channels=0)


def test_rounding_of_widths_makes_no_layer_residual():
    space = MobileNet(stages=[(80, 2, 1), (96, 2, 1)], stem_channels=40)
    network = build(lambda: space.super_network(SMALL, channels=4), 0).eval()
    assert "identity" not in network.layers[2]
    x = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(network.layer(2, x, 0), network.layers[2]["k3e3"](x))


def test_without_head_convolution():
    space = small(head_channels=None)
    network = build(lambda: space.network((1, 1, 1, 1), SMALL), 0)
    assert network.classifier.in_features == 12
    assert network(images()).shape == (4, 4)


def test_drop_path_acts_on_residual_branches_only():
    space = small()
    network = build(lambda: space.network((1, 1, 1, 1), SMALL), 0)
    network.drop_path, network.generator = 0.5, torch.Generator().manual_seed(0)
    x = network.stem(images(64))
    branch, output = network.layers[1]["k3e3"](x), network.layer(1, x, 1)
    dropped = torch.tensor([torch.equal(a, b) for a, b in zip(output, x, strict=True)])
    assert 16 < dropped.sum() < 48
    assert torch.allclose(output[~dropped], (x + 2 * branch)[~dropped], atol=1e-5)
    assert torch.equal(network.layer(2, x, 1), network.layers[2]["k3e6"](x))
    network.eval()
    assert torch.equal(network.layer(1, x, 1), x + network.layers[1]["k3e3"](x))
