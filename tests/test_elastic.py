"""Elastic layers: at full size what PyTorch's are, smaller ones as parts of them; units sorted by importance."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from archsearch.elastic import (
    ElasticAttention,
    ElasticBatchNorm2d,
    ElasticConv2d,
    ElasticLayerNorm,
    ElasticLinear,
    ElasticMLP,
    Leading,
    part_of,
    sort_units,
)
from archsearch.networks.multiply_adds import multiply_adds, parameter_count
from archsearch.networks.network import InputShape, build
from archsearch.spaces import OnceForAll
from archsearch.spaces.networks.once_for_all import MBConv
from archsearch.spaces.once_for_all import OFA
from archsearch.training.paths import SandwichPaths

DIGITS = InputShape((1, 8, 8), 10)
UNITS = [(4, 1, "relu", False), (6, 2, "hard_swish", True)]
SPACE = OnceForAll(UNITS, resolutions=[6, 8])
EXAMPLE = Path(__file__).parents[1] / "examples" / "19_elastic_vit.py"


def example():
    spec = importlib.util.spec_from_file_location("elastic_vit", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def disturbed(network, seed=0):
    """All values at random, so that nothing is the same by chance."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                value.add_(0.1 * torch.randn(value.shape, generator=generator).abs())
                if "running_var" in name:
                    value.clamp_(min=0.5)
    return network


def samples(space, n=6):
    rng = np.random.default_rng(0)
    return [space.sample(rng) for _ in range(n)]


def ends(space):
    largest, smallest = SandwichPaths(space, 0, 0).draw(0.0)
    return largest, smallest


# -- layers ----------------------------------------------------------------------------------------


def test_layers_at_full_size_are_those_of_pytorch():
    x, rows = random(2, 6, 5, 5), random(2, 5, 6)
    for elastic, plain, given in (
        (ElasticConv2d(6, 8, (3, 5), 2, bias=True), nn.Conv2d(6, 8, 5, 2, 2), x),
        (ElasticConv2d(6, 6, (3,), depthwise=True), nn.Conv2d(6, 6, 3, 1, 1, groups=6, bias=False), x),
        (ElasticBatchNorm2d(6), nn.BatchNorm2d(6), x),
        (ElasticLinear(6, 8), nn.Linear(6, 8), rows),
        (ElasticLayerNorm(6), nn.LayerNorm(6), rows),
    ):
        plain.load_state_dict(disturbed(elastic).state_dict())
        assert torch.equal(elastic(given), plain(given))


def test_smaller_ones_use_the_leading_channels():
    convolution, linear = ElasticConv2d(6, 8, bias=True), ElasticLinear(6, 8)
    x = random(2, 4, 5, 5)
    expected = functional.conv2d(x, convolution.weight[:3, :4], convolution.bias[:3])
    assert torch.equal(convolution(x, 3), expected)
    rows = random(2, 4)
    assert torch.equal(linear(rows, 3), functional.linear(rows, linear.weight[:3, :4], linear.bias[:3]))
    norm = disturbed(ElasticBatchNorm2d(6))
    plain = nn.BatchNorm2d(4)
    plain.load_state_dict(part_of(norm.state_dict(), plain))
    for _ in range(2):
        assert torch.equal(norm(x), plain(x))
    assert torch.equal(norm.running_mean[:4], plain.running_mean)
    assert torch.equal(norm.running_mean[4:], disturbed(ElasticBatchNorm2d(6)).running_mean[4:])
    layer_norm = ElasticLayerNorm(6)
    assert torch.equal(layer_norm(rows), functional.layer_norm(rows, (4,)))


@pytest.mark.parametrize("transform", [False, True])
def test_kernels_are_centres_or_transformed_ones(transform):
    layer = ElasticConv2d(4, 4, (3, 5, 7), depthwise=True, transform=transform)
    if transform:
        layer.transforms.initialise(torch.Generator())
    x = random(2, 4, 9, 9)

    def by_hand(kernel):
        return functional.conv2d(x, kernel, padding=kernel.shape[-1] // 2, groups=4)

    for size in (3, 5, 7):  # matrices begin as the identity
        cut = (7 - size) // 2
        torch.testing.assert_close(layer(x, kernel=size), by_hand(layer.weight[..., cut : 7 - cut, cut : 7 - cut]))
    if transform:
        disturbed(layer)
        five = (layer.weight[..., 1:6, 1:6].reshape(4, 25) @ layer.transforms.to_5.T).view(4, 1, 5, 5)
        three = (five[..., 1:4, 1:4].reshape(4, 9) @ layer.transforms.to_3.T).view(4, 1, 3, 3)
        torch.testing.assert_close(layer(x, kernel=5), by_hand(five))
        torch.testing.assert_close(layer(x, kernel=3), by_hand(three))
        small = ElasticConv2d(3, 3, (3,), depthwise=True)
        torch.testing.assert_close(part_of(layer.state_dict(), small)["weight"], three[:3])


def test_attention_is_pytorchs_and_has_the_leading_heads():
    ours, theirs = ElasticAttention(8, 2, 4), nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key.bias, ours.value.bias]))
        theirs.out_proj.load_state_dict(ours.output.state_dict())
    x = random(3, 5, 8)
    torch.testing.assert_close(ours(x), theirs(x, x, x)[0])
    one = ElasticAttention(6, 1, 4)
    one.load_state_dict(part_of(ours.state_dict(), one))
    torch.testing.assert_close(ours(x[..., :6], 1), one(x[..., :6]))
    mlp, small = ElasticMLP(8, 12), ElasticMLP(6, 4)
    small.load_state_dict(part_of(mlp.state_dict(), small))
    torch.testing.assert_close(mlp(x[..., :6], 4), small(x[..., :6]))


def test_leading_numbers():
    table = build(lambda: Leading(5, 8), 0)
    assert table(6).shape == (5, 6)
    assert torch.equal(table(6), table.weight[:, :6])
    assert 0.2 < float(table.weight.detach().std()) < 0.5  # 1 / sqrt(8)


# -- sorting ---------------------------------------------------------------------------------------


def test_sorting_keeps_the_function_and_takes_momenta_along():
    layer = build(lambda: MBConv(4, 4, (3, 5), 6, 1, "relu", True, True), 0).eval()
    disturbed(layer)
    optimizer = torch.optim.SGD(layer.parameters(), 0.1, momentum=0.9)
    x = random(3, 4, 6, 6)
    layer(x, 5, 6).square().sum().backward()
    optimizer.step()
    with torch.no_grad():
        before, smaller = layer(x, 5, 6), layer(x, 5, 3)
        momentum = optimizer.state[layer.project.weight]["momentum_buffer"].clone()
        order = layer.project.weight.abs().sum((0, 2, 3)).argsort(descending=True)
        assert sort_units(layer, "depth") == 0
        assert sort_units(layer, "width", optimizer) == 1
        torch.testing.assert_close(layer(x, 5, 6), before)
        norms = layer.project.weight.abs().sum((0, 2, 3))
        assert torch.equal(norms, norms.sort(descending=True).values)
        assert torch.equal(optimizer.state[layer.project.weight]["momentum_buffer"], momentum[:, order])
        assert not torch.allclose(layer(x, 5, 3), smaller)  # it has the most important channels now


def test_heads_and_hidden_units_are_sorted():
    layers = nn.ModuleList([ElasticAttention(8, 4, 2), ElasticMLP(8, 12, dimension="ratio")])
    x = random(3, 5, 8)
    before = [layer(x) for layer in layers]
    assert [sort_units(layers, dimension) for dimension in ("heads", "ratio")] == [1, 1]
    for layer, expected in zip(layers, before, strict=True):
        torch.testing.assert_close(layer(x), expected)
    heads = layers[0].output.weight.abs().sum(0).unflatten(0, (4, 2)).sum(1)
    assert torch.equal(heads, heads.sort(descending=True).values)


# -- whole networks --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["OnceForAll", "ElasticViT"])
def test_sub_networks_are_the_stand_alone_ones(name):
    space = SPACE if name == "OnceForAll" else example().ElasticViT()
    shared = disturbed(build(lambda: space.super_network(DIGITS), 0))
    images = random(4, 1, 8, 8)
    largest, smallest = ends(space)
    for architecture in (largest, smallest, *samples(space)):
        alone = build(lambda chosen=architecture: space.network(chosen, DIGITS), 1)
        alone.load_state_dict(part_of(shared.state_dict(), alone))
        for mode in (False, True):
            shared.train(mode)
            alone.train(mode)
            with torch.no_grad():
                torch.testing.assert_close(alone(images), shared(images, architecture), rtol=1e-6, atol=1e-6)
            if mode:  # what it did to the statistics is the same, too
                inherited = part_of(shared.state_dict(), alone)
                assert all(
                    torch.allclose(value, inherited[key])
                    for key, value in alone.state_dict().items()
                    if "running" in key
                )
    whole = build(lambda: space.network(largest, DIGITS), 0)
    left_out = sum(value.numel() for key, value in shared.named_parameters() if "transforms" in key)
    assert parameter_count(whole) == parameter_count(shared) - left_out
    assert parameter_count(build(lambda: space.network(smallest, DIGITS), 0)) < parameter_count(whole) / 2


def test_multiply_adds_of_attention_by_hand():
    space = example().ElasticViT()
    architecture = ends(space)[0]
    network = build(lambda: space.network(architecture, DIGITS), 0)
    n, d = 16, 32
    attention = n * (4 * d * d + 4 * d) + 2 * n * n * d
    perceptron = n * (2 * 4 * d * d + 5 * d)
    # The biases of the embedding PyTorch adds apart, as its inputs are transposed: these additions are not counted.
    by_hand = n * 4 * d + 4 * (attention + perceptron) + 10 * d + 10
    assert multiply_adds(network, DIGITS.input_shape) == by_hand


def test_what_nothing_can_count_is_named_once(recwarn):
    class Bilinear(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Bilinear(4, 4, 3)

        def forward(self, x):
            return self.layer(x, x)

    with pytest.warns(UserWarning, match="nothing can count those of the operation aten::_trilinear") as told:
        assert multiply_adds(Bilinear(), (4,)) == 0
    assert len(told) == 1
    multiply_adds(Bilinear(), (4,))
    assert not recwarn


# -- the space -------------------------------------------------------------------------------------


def test_published_count():
    published = (9**2 + 9**3 + 9**4) ** 5
    assert OnceForAll().size() == published
    assert f"{published:.4e}" == "2.1759e+19"
    assert OnceForAll(**OFA).size() == 25 * published


def test_genes_beyond_the_depth_change_nothing():
    rng = np.random.default_rng(0)
    space = OnceForAll(resolutions=[6, 8])
    depths = [2, 3, 4, 2, 3]
    found = []
    for _ in range(5):
        kernels, expansions = [5] * 20, [4] * 20
        for unit, depth in enumerate(depths):
            for layer in range(depth, 4):
                kernels[4 * unit + layer] = int(rng.choice([3, 5, 7]))
                expansions[4 * unit + layer] = int(rng.choice([3, 4, 6]))
        found.append(space.encode(kernels, expansions, depths, 8))
    assert len({space.canonical(architecture) for architecture in found}) == 1
    assert len(np.unique(space.one_hot(found), axis=0)) == 1
    assert space.one_hot(found).shape == (5, 2 + 5 * (3 + 4 * 6))
    assert space.form(found[0]).units[0] == ((5, 4), (5, 4))
    # A layer has the same columns, whatever the depths of the units before it.
    kernels = [5] * 20
    kernels[4] = 7
    one, other = (space.encode(kernels, [4] * 20, depths, 8) for depths in ([2] * 5, [4] * 5))
    column = 2 + (3 + 4 * 6) + 3 + 2
    assert space.one_hot([one, other])[:, column].tolist() == [1.0, 1.0]


def test_the_published_skeleton():
    space = OnceForAll(**OFA)
    with torch.device("meta"):
        network = space.super_network(InputShape((3, 224, 224), 1000))
    unit = network.units[3]
    assert [layer.project.out_channels for layer in unit] == [112] * 4
    assert [layer.depthwise.stride[0] for stack in network.units for layer in stack][::4] == [2, 2, 2, 1, 2]
    assert unit[0].expand.out_channels == 6 * 80
    assert unit[0].depthwise.transforms.to_5.shape == (25, 25)
    assert [stack[0].squeeze is not None for stack in network.units] == [False, True, False, True, True]
    assert space.parse(space.format(samples(space, 1)[0])) == samples(space, 1)[0]
