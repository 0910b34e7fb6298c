"""Networks of ``NASBench101``: published parameters, widths and passes by hand, weights that are shared."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from archsearch.abilities import SharedWeights, Trainable, skeleton_settings
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.networks.multiply_adds import multiply_adds, parameter_count
from archsearch.networks.network import InputShape, build
from archsearch.spaces.nasbench101 import NASBench101
from archsearch.spaces.networks.nasbench101 import vertex_widths
from archsearch.spaces.networks.nasbench101_cell import OPERATIONS, Cell

CIFAR10 = InputShape((3, 32, 32), 10)
SMALL = InputShape((3, 9, 7), 4)

WIRED = [(0, 1), (0, 3), (1, 2), (1, 4), (2, 3), (2, 6), (3, 6), (4, 5), (5, 6)]
"""Seven vertices: 2, 3 and 5 feed the output; 1 has more channels than 4, and on odd shares 2 has more than 3."""
WIRED_OPERATIONS = ("conv3x3-bn-relu", "maxpool3x3", "conv1x1-bn-relu", "conv3x3-bn-relu", "maxpool3x3")
WIDTHS = {
    8: {1: 3, 2: 3, 3: 3, 4: 2, 5: 2},
    16: {1: 6, 2: 6, 3: 5, 4: 5, 5: 5},
    32: {1: 11, 2: 11, 3: 11, 4: 10, 5: 10},
}


def wired(space: NASBench101):
    predecessors = tuple(sum(1 << source for source, target in WIRED if target == vertex) for vertex in range(7))
    return space.from_cell(Cell(predecessors, tuple(map(OPERATIONS.index, WIRED_OPERATIONS))))


def some(space: NASBench101, n: int) -> list[tuple[int, ...]]:
    rng = np.random.default_rng(0)
    return [(0, 0), wired(space), *(space.sample(rng) for _ in range(n))]


def made(make, seed: int = 0):
    """A network whose batch normalisations look as after some training."""
    network = build(make, seed)
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                values.uniform_(0.5, 1.5, generator=generator)
    return network


def images(task: InputShape, n: int = 4) -> torch.Tensor:
    return torch.randn(n, *task.input_shape, generator=torch.Generator().manual_seed(2))


def counted(space: NASBench101, architecture, task: InputShape = CIFAR10) -> int:
    with torch.device("meta"):
        return parameter_count(space.network(architecture, task))


def test_parameters_are_the_published_ones(published_cells):
    space = NASBench101(max_vertices=5)
    smaller = [each for each in published_cells.values() if each[0].count(",") <= 3]
    for text, parameters in [*smaller, *[each for each in published_cells.values() if each not in smaller][::40]]:
        assert counted(space, space.parse(text)) == parameters, text


@pytest.mark.slow
def test_parameters_of_all_cells_are_the_published_ones(published_cells):
    space = NASBench101(max_vertices=5)
    for text, parameters in published_cells.values():
        assert counted(space, space.parse(text)) == parameters, text


def test_widths_by_hand():
    space = NASBench101()
    assert {outputs: vertex_widths(space.cell(wired(space)), outputs) for outputs in WIDTHS} == WIDTHS
    for architecture in some(space, 200):
        cell = space.cell(architecture)
        widths = vertex_widths(cell, 128)
        ends = [vertex for vertex in widths if cell.has_edge(vertex, cell.output)]
        assert sum(widths[vertex] for vertex in ends) == (128 if ends else 0)
        assert list(widths) == list(range(1, cell.output))
        for source, target in itertools.combinations(widths, 2):
            assert not cell.has_edge(source, target) or widths[source] >= widths[target]


def test_forward_pass_by_hand():
    space = NASBench101(channels=8, modules=1)
    network = made(lambda: space.network(wired(space), SMALL)).eval()
    state = network.state_dict()

    def conv_bn_relu(name, x):
        weight = state[f"{name}.conv.weight"]
        x = functional.conv2d(x, weight, padding=weight.shape[-1] // 2)
        norm = [state[f"{name}.norm.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return functional.relu(functional.batch_norm(x, *norm, eps=1e-5))

    def pool(x):
        return functional.max_pool2d(x, 3, stride=1, padding=1)

    x = conv_bn_relu("stem", images(SMALL))
    for layer, outputs in ((0, 8), (2, 16), (4, 32)):
        if layer:
            x = functional.max_pool2d(x, 2, ceil_mode=True)
        at, width = f"layers.{layer}", WIDTHS[outputs]
        one = conv_bn_relu(f"{at}.operations.1.conv3x3-bn-relu", conv_bn_relu(f"{at}.projections.1", x))
        two = pool(one)
        three = conv_bn_relu(f"{at}.projections.3", x) + two[:, : width[3]]
        three = conv_bn_relu(f"{at}.operations.3.conv1x1-bn-relu", three)
        five = pool(conv_bn_relu(f"{at}.operations.4.conv3x3-bn-relu", one[:, : width[4]]))
        x = torch.cat([two, three, five], dim=1)
        assert x.shape[1] == outputs
    logits = functional.linear(x.mean(dim=(2, 3)), state["head.1.weight"], state["head.1.bias"])
    torch.testing.assert_close(network(images(SMALL)), logits)


def test_an_edge_from_input_to_output_adds_to_all_channels():
    space = NASBench101(channels=8, modules=1)
    network = made(lambda: space.network(space.parse("011001000 input,maxpool3x3,output"), SMALL)).eval()
    cell = network.layers[0]
    x = torch.rand(2, 8, 5, 5, generator=torch.Generator().manual_seed(3))
    pooled = functional.max_pool2d(cell.projections["1"](x, 8), 3, stride=1, padding=1)
    expected = pooled + cell.projections["output"](x, 8)
    torch.testing.assert_close(cell(x, space.cell(network.architecture)), expected)


def test_a_stand_alone_network_holds_leading_slices_of_the_super_network():
    space = NASBench101(channels=8, modules=2)
    whole = build(lambda: space.super_network(SMALL), 0).state_dict()
    for architecture in some(space, 10):
        part = build(lambda architecture=architecture: space.network(architecture, SMALL), 0).state_dict()
        assert set(part) <= set(whole)
        for name, values in part.items():
            assert all(a <= b for a, b in zip(values.shape, whole[name].shape, strict=True))
    assert not any(name.startswith("layers.0.operations.6") for name in whole)


def test_inherited_networks_compute_what_the_super_network_computes():
    space = NASBench101(channels=8, modules=2)
    shared = made(lambda: space.super_network(SMALL)).eval()
    x = images(SMALL)
    before = torch.get_rng_state()
    for architecture in some(space, 10):
        child = shared.inherit(architecture)
        assert child.architecture == architecture
        assert not child.training
        assert counted(space, architecture, SMALL) == parameter_count(child)
        torch.testing.assert_close(child(x), shared(x, architecture))
        child.head[1].weight.data.zero_()  # a copy: the super-network keeps its own
    assert shared.head[1].weight.abs().sum() > 0
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(UsageError, match="stands for"):
        child.inherit((0, 0))


def test_training_one_path_touches_only_its_slices():
    space = NASBench101(channels=8, modules=1)
    shared = made(lambda: space.super_network(SMALL)).train()
    before = {name: values.clone() for name, values in shared.state_dict().items()}
    architecture = wired(space)
    child = shared.inherit(architecture)
    assert child.training
    outputs = shared(images(SMALL), architecture)
    torch.testing.assert_close(outputs, child(images(SMALL)))
    outputs.square().sum().backward()
    used = {name: values.shape for name, values in child.state_dict().items()}
    for name, parameter in shared.named_parameters():
        if name not in used:
            assert parameter.grad is None
            continue
        leading = torch.zeros_like(parameter, dtype=torch.bool)
        leading[tuple(map(slice, used[name]))] = True
        assert parameter.grad[leading].abs().sum() > 0
        assert parameter.grad[~leading].abs().sum() == 0
    after, own = shared.state_dict(), child.state_dict()
    for name, values in after.items():
        if "running" in name and name in used:
            n = used[name][0]
            torch.testing.assert_close(values[:n], own[name])
            assert not torch.equal(values[:n], before[name][:n])
            assert torch.equal(values[n:], before[name][n:])
        elif "num_batches" in name:
            assert values == before[name] + (name in used)
        else:
            assert torch.equal(values, before[name])


def test_batch_norm_without_momentum_averages_all_batches():
    space = NASBench101(channels=4, modules=1)
    network = build(lambda: space.network((0, 0), SMALL), 0).train()
    norm = network.stem.norm
    norm.momentum = None
    x = images(SMALL, 8)
    means = []
    for batch in x.split(4):
        means.append(network.stem.conv(batch).mean(dim=(0, 2, 3)))
        network(batch)
    torch.testing.assert_close(norm.running_mean, torch.stack(means).mean(dim=0))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 1, 1), (2, 5, 7), (3, 32, 32)])
def test_images_of_any_size(shape):
    space = NASBench101(channels=4, modules=1)
    task = InputShape(shape, 3)
    shared = build(lambda: space.super_network(task), 0)
    for architecture in some(space, 3):
        network = build(lambda architecture=architecture: space.network(architecture, task), 0)
        for logits in (network(images(task)), shared(images(task), architecture)):
            assert logits.shape == (4, 3)
            assert torch.isfinite(logits).all()


def test_multiply_adds_by_hand():
    space = NASBench101()
    with torch.device("meta"):
        smallest = space.network((0, 0), CIFAR10)
        chain = space.network(space.parse("010001000 input,conv3x3-bn-relu,output"), CIFAR10)
    stages = [(128, 32 * 32), (256, 16 * 16), (512, 8 * 8)]
    projections = sum(pixels * (width // 2 if width > 128 else width) * width for width, pixels in stages)
    projections += sum(2 * pixels * width**2 for width, pixels in stages)
    rest = 3 * 128 * 9 * 32 * 32 + 512 * 10 + 10
    assert multiply_adds(smallest, (3, 32, 32)) == rest + projections == 137_761_802
    convolutions = sum(3 * 9 * pixels * width**2 for width, pixels in stages)
    assert multiply_adds(chain, (3, 32, 32)) == rest + projections + convolutions


def test_the_skeleton_can_be_set():
    space = NASBench101(channels=8, modules=1)
    assert isinstance(space, Trainable)
    assert isinstance(space, SharedWeights)
    assert skeleton_settings(space) == ("channels", "modules")
    with torch.device("meta"):
        network = space.network((0, 0), SMALL, channels=16, modules=2)
        shared = space.super_network(SMALL, channels=16, modules=2)
    assert len(network.layers) == len(shared.layers) == 3 * 2 + 2
    assert network.stem.conv.out_channels == shared.stem.conv.out_channels == 16
    with pytest.raises(UsageError, match="channels: expected at least 4"):
        space.network((0, 0), SMALL, channels=2)
    with pytest.raises(InvalidArchitecture, match="not in NASBench101"):
        space.network((0, 1), SMALL)
    with pytest.raises(UsageError, match="computes one architecture at a time"):
        shared(torch.empty(1, *SMALL.input_shape, device="meta"))
    with pytest.raises(UsageError, match="stands for"):
        network(torch.empty(1, *SMALL.input_shape, device="meta"), wired(space))
