"""NAS-Bench-Macro: parameters and multiply-adds are the published ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mobilenet_lab import CIFAR10, images
from torch.nn import functional

from archsearch.files.embedded import embedded_columns
from archsearch.networks.multiply_adds import multiply_adds, parameter_count
from archsearch.networks.network import InputShape, build
from archsearch.spaces.mobilenet import FAIRNAS, MobileNet, NASBenchMacro

PARAMS_OF_MACRO = (
    387_882,
    [
        *((0, 8_416, 21_952), (0, 27_200, 60_416)),
        *((0, 31_168, 76_672), (0, 103_552, 219_136), (0, 103_552, 219_136)),
        *((0, 119_680, 284_416), (0, 403_712, 831_488), (0, 403_712, 831_488)),
    ],
)
"""Published parameters of NAS-Bench-Macro: those of 00000000, and what each option of each layer adds."""
FLOPS_OF_MACRO = (
    7_713_280,
    [
        *((0, 4_415_488, 10_141_696), (0, 6_733_824, 15_040_512)),
        *((0, 4_304_896, 9_527_296), (0, 6_512_640, 13_811_712), (0, 6_512_640, 13_811_712)),
        *((0, 4_249_600, 9_220_096), (0, 6_402_048, 13_197_312), (0, 6_402_048, 13_197_312)),
    ],
)
"""The same of the published multiply-adds. Both columns of all 6,561 rows are sums of these."""


def published(architecture, costs):
    base, added = costs
    return base + sum(options[option] for options, option in zip(added, architecture, strict=True))


def closed_form(space: NASBenchMacro):
    """Parameters and multiply-adds of everything, from widths, strides and sizes alone.

    Returns:
        Of the stem and the head together, and of each option of each layer: pairs (params, flops).
    """
    size = CIFAR10.input_shape[1]
    stem = (27 * 32 + 2 * 32, 27 * 32 * size**2)
    layers = []
    for layer in space.layers:
        area, area_after = size**2, (size // layer.stride) ** 2
        width, out = layer.inputs, layer.outputs
        options = [(0, 0) if layer.residual else (width * out + 2 * out, width * out * area_after)]
        for kernel, expansion in space.candidates:
            hidden = width * expansion
            weights = (width * hidden, kernel**2 * hidden, hidden * out)
            params = sum(weights) + 2 * (hidden + hidden + out)
            options.append((params, weights[0] * area + (weights[1] + weights[2]) * area_after))
        layers.append(options)
        size //= layer.stride
    head = (256 * 1280 + 2 * 1280 + 1280 * 10 + 10, 256 * 1280 * size**2 + 1280 * 10)
    return tuple(map(sum, zip(stem, head, strict=True))), layers


def test_closed_form_equals_the_published_sizes_of_all():
    space = NASBenchMacro()
    rest, layers = closed_form(space)
    for architecture in space.enumerate():
        chosen = [options[option] for options, option in zip(layers, architecture, strict=True)]
        params, flops = map(sum, zip(rest, *chosen, strict=True))
        assert params == published(architecture, PARAMS_OF_MACRO)
        assert flops == published(architecture, FLOPS_OF_MACRO)


def test_published_sizes_are_those_of_the_table():
    space = NASBenchMacro()
    table = embedded_columns("nasbench_macro", ("arch", "params", "flops"))
    architectures = [space.parse(code) for code in table["arch"]]
    assert sorted(architectures) == list(space.enumerate())
    assert [published(each, PARAMS_OF_MACRO) for each in architectures] == table["params"]
    assert [published(each, FLOPS_OF_MACRO) for each in architectures] == table["flops"]


@pytest.mark.parametrize("samples", [50, pytest.param(205, marks=pytest.mark.slow)])
def test_networks_have_the_published_sizes(samples):
    space, rng = NASBenchMacro(), np.random.default_rng(0)
    sampled = {space.sample(rng) for _ in range(samples)} | {(option,) * 8 for option in range(3)}
    assert len(sampled) >= samples - 5
    for architecture in sampled:
        with torch.device("meta"):
            network = space.network(architecture, CIFAR10)
        assert parameter_count(network) == published(architecture, PARAMS_OF_MACRO)
        # The table counts the classifier without its 10 biases.
        assert multiply_adds(network, (3, 32, 32)) - 10 == published(architecture, FLOPS_OF_MACRO)


def test_first_layers_of_stages_have_a_convolution_as_identity():
    space = NASBenchMacro()
    assert [(layer.inputs, layer.outputs, layer.stride) for layer in space.layers if not layer.residual] == [
        (32, 64, 2),
        (64, 128, 2),
        (128, 256, 2),
    ]
    network = build(lambda: space.network((0,) * 8, CIFAR10), 0).eval()
    x = network.stem(images(task=CIFAR10))
    assert not any(isinstance(module, torch.nn.ReLU6) for module in network.modules())
    shortcut = network.layers[0]["identity"]
    assert torch.allclose(network.layer(0, x, 0), shortcut.bn(functional.conv2d(x, shortcut.conv.weight, stride=2)))
    after = network.layer(0, x, 0)
    assert after.shape == (4, 64, 16, 16)
    assert network.layer(1, after, 0) is after


def test_fairnas_c_has_its_published_size():
    # Chu, Zhang & Xu, ICCV 2021: 321M multiply-adds, 4.4M parameters, without squeeze-and-excitation.
    space = MobileNet(**FAIRNAS)
    names = "k5e3 k3e3 k7e3 k3e3 k3e3 k3e3 k3e3 k3e3 k3e3 k3e6 k3e3 k3e3 k3e3 k3e3 k7e6 k7e6 k3e6 k3e6 k5e6"
    with torch.device("meta"):
        network = space.network(space.parse(names.replace(" ", "-")), InputShape((3, 224, 224), 1000))
    assert round(multiply_adds(network, (3, 224, 224)) / 1e6) == 321
    assert round(parameter_count(network) / 1e6, 1) == 4.4
