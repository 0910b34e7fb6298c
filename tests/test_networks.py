"""Networks: sizes against published ones, one definition for stand-alone and shared use, initial values."""

import importlib.resources

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from archsearch.abilities import Morphable, SharedWeights, Trainable, skeleton_settings, trainable
from archsearch.errors import MissingAbility, UsageError
from archsearch.networks.multiply_adds import latency_seconds, multiply_adds, parameter_count
from archsearch.networks.network import InputShape, Network, build, initialise
from archsearch.spaces import DARTS, Choices, ConvChain, MobileNet, NASBench101, NASBench201, NASBenchMacro
from archsearch.spaces.nasbench201 import EDGES, OPERATIONS

DIGITS = InputShape((1, 8, 8), 10)
SHAPES = {
    "cifar10": InputShape((3, 32, 32), 10),
    "cifar100": InputShape((3, 32, 32), 100),
    "imagenet16_120": InputShape((3, 16, 16), 120),
}


@pytest.fixture(scope="module")
def recorded():
    source = importlib.resources.files("archsearch") / "data" / "nasbench201.parquet"
    columns = ["arch", *(f"{dataset}_{what}" for dataset in SHAPES for what in ("params", "flops"))]
    with importlib.resources.as_file(source) as path:
        return pq.read_table(path, columns=columns).to_pydict()


def sizes(network, shape):
    return parameter_count(network), multiply_adds(network, shape.input_shape)


def on_meta(make):
    with torch.device("meta"):
        return make()


@pytest.mark.parametrize("dataset", SHAPES)
def test_sizes_of_all_nasbench201_cells_are_the_published_ones(dataset, recorded):
    # Additive over edges: the empty cell, plus what each operation adds, measured on built networks.
    space, shape = NASBench201(), SHAPES[dataset]
    empty = np.array(sizes(on_meta(lambda: space.network((0,) * 6, shape)), shape))
    added = np.zeros((6, 5, 2), dtype=int)
    for edge, (source, _) in enumerate(EDGES):
        for option in range(5):
            # Edges that start at an inner node count once something reaches that node.
            cell = [0] * 6
            cell[edge] = option
            before = list(cell)
            before[edge] = 0
            if source:
                feed = EDGES.index((0, source))
                cell[feed] = before[feed] = 1
            one = np.array(sizes(on_meta(lambda cell=tuple(cell): space.network(cell, shape)), shape))
            none = np.array(sizes(on_meta(lambda cell=tuple(before): space.network(cell, shape)), shape))
            added[edge, option] = one - none
    cells = np.array([space.parse(text) for text in recorded["arch"]])
    totals = empty + sum(added[edge, cells[:, edge]] for edge in range(6))
    assert totals[:, 0].tolist() == recorded[f"{dataset}_params"]
    assert totals[:, 1].tolist() == recorded[f"{dataset}_flops"]


def reaches(cell):
    """Whether every convolution has an input."""
    fed = {0}
    for (source, target), option in zip(EDGES, cell, strict=True):
        if option and source in fed:
            fed.add(target)
    return all(source in fed for (source, _), option in zip(EDGES, cell, strict=True) if option in (2, 3))


@pytest.mark.parametrize("cells", [24, pytest.param(200, marks=pytest.mark.slow)])
def test_sizes_of_built_nasbench201_networks_are_the_published_ones(recorded, cells):
    space, rng = NASBench201(), np.random.default_rng(0)
    indices = rng.choice(15_625, cells, replace=False)
    for position, index in enumerate(indices):
        dataset = list(SHAPES)[position % 3]
        shape, cell = SHAPES[dataset], space.from_index(int(index))
        network = on_meta(lambda cell=cell, shape=shape: space.network(cell, shape))
        assert parameter_count(network) == recorded[f"{dataset}_params"][index]
        if reaches(cell):  # an operation that nothing reaches is not computed, though the API counts it
            assert multiply_adds(network, shape.input_shape) == recorded[f"{dataset}_flops"][index]


def small(space):
    settings = {"channels": 4, "cells": 1, "layers": 3, "modules": 1}
    return {name: settings[name] for name in skeleton_settings(space)}


TRAINABLE = [NASBench201(), DARTS(), MobileNet(), NASBenchMacro(), NASBench101(), ConvChain()]
IDS = [type(space).__name__ for space in TRAINABLE]


@pytest.mark.parametrize("space", TRAINABLE, ids=IDS)
def test_every_family_trains_on_digits(space):
    assert isinstance(space, Trainable)
    architecture = space.sample(np.random.default_rng(3))
    network = build(lambda: space.network(architecture, DIGITS, **small(space)), 1)
    assert isinstance(network, Network)
    assert network.path(None) == architecture
    network(torch.rand(6, 1, 8, 8)).square().sum().backward()
    assert all(parameter.grad is not None for name, parameter in network.named_parameters() if "head" in name)


@pytest.mark.parametrize("space", TRAINABLE, ids=IDS)
def test_networks_compute_what_they_hold_only(space):
    architecture = space.sample(np.random.default_rng(3))
    other = next(iter(space.neighbours(architecture)))
    network = build(lambda: space.network(architecture, DIGITS, **small(space)), 1)
    with pytest.raises(UsageError, match="stands for"):
        network(torch.rand(2, 1, 8, 8), other)
    if isinstance(space, SharedWeights):
        shared = build(lambda: space.super_network(DIGITS, **small(space)), 1)
        with pytest.raises(UsageError, match="computes one architecture at a time"):
            shared(torch.rand(2, 1, 8, 8))


def test_one_path_leaves_all_other_parameters_alone():
    space = NASBench201(channels=4, cells=1)
    shared = build(lambda: space.super_network(DIGITS), 0)
    cell = (3, 0, 1, 2, 4, 3)
    shared(torch.rand(4, 1, 8, 8), cell).sum().backward()
    alone = {name for name, _ in space.network(cell, DIGITS).named_parameters()}
    assert {name for name, value in shared.named_parameters() if value.grad is not None} == alone


def test_a_cell_without_paths_computes_the_skeleton_alone():
    space = NASBench201(channels=4, cells=2)
    network = build(lambda: space.network((0, 0, 3, 0, 3, 3), DIGITS), 0)
    logits = network(torch.rand(4, 1, 8, 8))
    assert torch.isfinite(logits).all()
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) > sum(
        isinstance(module, nn.Conv2d) for module in space.network((0,) * 6, DIGITS).modules()
    )


@pytest.mark.parametrize("size", [1, 2, 5, 7, 9, 28])
def test_any_image_size_works(size):
    space = NASBench201(channels=2, cells=1)
    network = build(lambda: space.network((3, 1, 4, 2, 3, 1), InputShape((3, size, size + 1), 4)), 0)
    network.eval()
    assert network(torch.rand(2, 3, size, size + 1)).shape == (2, 4)


@pytest.mark.parametrize("settings", [{"channels": 0}, {"cells": 0}, {"channels": 1.5}, {"cells": True}])
def test_wrong_skeletons_are_refused(settings):
    with pytest.raises(UsageError, match="expected a whole number >= 1"):
        NASBench201(**settings)
    with pytest.raises(UsageError, match="expected a whole number >= 1"):
        NASBench201().network((0,) * 6, DIGITS, **settings)


def test_initial_values_come_from_the_generator_alone():
    # As PyTorch draws them: the bounds of its defaults, filled.
    layer = nn.Conv2d(8, 16, 3)
    state = torch.random.get_rng_state()
    initialise(nn.Sequential(layer, nn.BatchNorm2d(16)), torch.Generator().manual_seed(0))
    assert torch.equal(state, torch.random.get_rng_state())
    bound = 1 / np.sqrt(8 * 9)
    assert 0.97 * bound < layer.weight.abs().max() <= bound
    reference = nn.Conv2d(8, 16, 3)
    assert abs(float(layer.weight.detach().std() / reference.weight.detach().std()) - 1) < 0.1


class OwnParameter(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))


def test_unknown_parameters_are_never_left_without_values():
    with pytest.raises(TypeError, match="must offer initialise"):
        build(lambda: nn.Sequential(OwnParameter()), 0)


def test_multiply_adds_leave_the_network_as_it_was():
    network = build(lambda: NASBench201(channels=2, cells=1).network((3,) * 6, DIGITS), 0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert multiply_adds(network, (1, 8, 8)) > 0
    assert latency_seconds(network, torch.rand(2, 1, 8, 8)) > 0
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_drop_path_drops_whole_images_and_keeps_the_mean():
    network = build(lambda: NASBench201(channels=2, cells=1).network((3,) * 6, DIGITS), 0)
    network.drop_path, network.generator = 0.25, torch.Generator().manual_seed(0)
    x = torch.ones(4000, 2, 3, 3)
    dropped = network.drop(x)
    kept = (dropped != 0).float().mean(dim=(1, 2, 3))
    assert set(kept.tolist()) == {0.0, 1.0}
    assert abs(float(dropped.mean()) - 1) < 0.05
    network.eval()
    assert network.drop(x) is x


def test_spaces_without_networks_say_so():
    with pytest.raises(MissingAbility, match="Probe trains networks, which Choices does not build"):
        trainable(Choices({"a": [1, 2]}), "Probe")
    assert isinstance(MobileNet(), Morphable)
    assert not isinstance(NASBench201(), Morphable)
    assert OPERATIONS[0] == "none"


class Transformer(nn.Module):
    """One encoder layer on the rows of an image."""

    def __init__(self, weights):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.weights = weights

    def forward(self, x):
        x = self.layer(x.flatten(0, 1))
        return self.attention(x, x, x, need_weights=self.weights)[0]


@pytest.mark.parametrize("weights", [True, False])
def test_attention_is_counted_in_evaluation_mode(weights):
    """PyTorch's own counter says 0 for the layer, and leaves out the products without weights (findings/)."""
    n, d, hidden = 10, 32, 64
    projections, products = n * (4 * d * d + 4 * d), 2 * n * n * d
    by_hand = 2 * (projections + products) + n * (2 * d * hidden + d + hidden)
    fast_path = torch.backends.mha.get_fastpath_enabled()
    assert multiply_adds(Transformer(weights), (1, n, d)) == by_hand
    assert torch.backends.mha.get_fastpath_enabled() == fast_path
