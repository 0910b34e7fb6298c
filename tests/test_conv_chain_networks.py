"""Networks of ``ConvChain``: sizes by hand, and what they compute."""

from __future__ import annotations

import pytest
import torch
from conv_chain_lab import SMALL, SPACE, chain_layers, images, network_of
from torch.nn import functional

from archsearch.abilities import Morphable, SharedWeights, Trainable, skeleton_settings
from archsearch.errors import UsageError
from archsearch.networks.multiply_adds import parameter_count
from archsearch.networks.network import InputShape
from archsearch.spaces.conv_chain import ConvChain

DIGITS = InputShape((1, 8, 8), 10)


def test_abilities():
    assert isinstance(SPACE, Trainable)
    assert isinstance(SPACE, Morphable)
    assert not isinstance(SPACE, SharedWeights)
    assert skeleton_settings(SPACE) == ("channels",)


def test_parameters_by_hand():
    plain = network_of(SPACE, "8k3 | 16k5 | 32k3", DIGITS)
    assert parameter_count(plain) == (
        (1 * 8 * 9 + 2 * 8) + (8 * 16 * 25 + 2 * 16) + (16 * 32 * 9 + 2 * 32) + (32 * 10 + 10)
    )
    skips = network_of(SPACE, "16k3 16k5+ | 16k3+ 8k3 | 8k5+", SMALL)
    widths, kernels = (3, 16, 16, 16, 8, 8), (3, 5, 3, 3, 5)
    layers = [a * b * k**2 + 2 * b for a, b, k in zip(widths[:-1], widths[1:], kernels, strict=True)]
    assert parameter_count(skips) == sum(layers) + 3 + (8 * 4 + 4)


@pytest.mark.parametrize(
    ("size", "sizes"),
    [((8, 8), [(8, 8), (4, 4), (2, 2)]), ((9, 7), [(9, 7), (5, 4), (3, 2)]), ((1, 2), [(1, 2), (1, 1), (1, 1)])],
)
def test_sizes_of_the_stages(size, sizes):
    task = InputShape((1, *size), 10)
    network = network_of(SPACE, "8k3 | 8k5 8k3+ | 16k5", task)
    seen = []
    for stage in network.stages:
        stage.register_forward_hook(lambda _, __, output: seen.append(tuple(output.shape[2:])))
    assert network(images(3, task=task)).shape == (3, 10)
    assert seen == sizes


def test_what_a_network_computes():
    space = ConvChain(stages=2)
    network = network_of(space, "8k3 8k5+ | 16k3").eval()
    first, second, third = chain_layers(network)
    with torch.no_grad():
        assert second.skip.scale == 1
        second.skip.scale.fill_(-0.7)
        second.bn.running_mean.fill_(0.1)
        x = functional.relu(first.bn(functional.conv2d(images(), first.conv.weight, padding=1)))
        x = functional.relu(second.bn(functional.conv2d(x, second.conv.weight, padding=2))) - 0.7 * x
        x = functional.max_pool2d(x, 2, ceil_mode=True)
        x = functional.relu(third.bn(functional.conv2d(x, third.conv.weight, padding=1)))
        logits = network.classifier(x.mean((2, 3)))
        assert torch.allclose(network(images()), logits, atol=1e-6)
        assert torch.equal(network(images(), network.architecture), network(images()))
    with pytest.raises(UsageError, match="stands for"):
        network(images(), space.parse("8k3 | 8k3"))


def test_widths_are_scaled_in_proportion():
    text = "8k3 16k3 | 32k3 | 8k3"
    for channels, expected in ((4, [4, 8, 16, 4]), (8, [8, 16, 32, 8]), (None, [8, 16, 32, 8]), (3, [3, 6, 12, 3])):
        network = network_of(SPACE, text, channels=channels)
        assert [layer.outputs for layer in chain_layers(network)] == expected
    close = network_of(ConvChain(widths=[8, 9, 10]), "8k3 | 9k3 | 10k3", channels=2)
    assert [layer.outputs for layer in chain_layers(close)] == [2, 2, 2]
    assert network_of(ConvChain(widths=[8, 9]), "8k3 | 9k3 9k3+ | 8k3", channels=1)(images()).shape == (4, 4)
    with pytest.raises(UsageError, match="channels: expected a whole number >= 1, got 0"):
        SPACE.network(SPACE.parse(text), SMALL, channels=0)
