"""Networks of spaces of cells: published sizes, weights that are shared, states that are concatenated."""

import copy

import pytest
import torch
from cells_lab import CIFAR, DIGITS, FAMILIES, images, inheriting, on_meta, sampled

from archsearch.grammar.layers import OPERATIONS, Carried, FactorisedReduction, Noise, StateConv, StateLinear
from archsearch.networks.multiply_adds import multiply_adds, parameter_count
from archsearch.networks.network import build
from archsearch.spaces import PNAS, AmoebaNet, ENASMicro, NASNet

EACH = pytest.mark.parametrize("space", FAMILIES.values(), ids=FAMILIES)


@pytest.mark.parametrize(
    ("space", "name", "layers", "channels", "millions"),
    [
        (NASNet(), "NASNet-A", 20, 32, 3.3),  # 6 @ 768
        (AmoebaNet(), "AmoebaNet-A", 20, 32, 2.6),
        (AmoebaNet(), "AmoebaNet-A", 20, 36, 3.2),
        (AmoebaNet("released"), "AmoebaNet-B", 20, 36, 2.8),
        (PNAS(), "PNASNet-5", 9, 48, 3.2),  # N = 3: the two that halve are among 3N
    ],
)
def test_published_parameters(space, name, layers, channels, millions):
    """Trainable parameters without an auxiliary head, batch normalisation's included."""
    network = on_meta(lambda: space.network(space.parse(name), CIFAR, layers=layers, channels=channels))
    assert round(parameter_count(network) / 1e6, 1) == millions


def test_parameters_of_enas_are_those_of_its_code():
    """With what it has besides 3,894,372, and 494,848 of its auxiliary head; 4.6 million are printed."""
    space = ENASMicro()
    network = on_meta(lambda: space.network(space.parse("ENAS-micro"), CIFAR))
    again = sum(n * (width**2 + 2 * width) for n, width in ((5, 36), (6, 72), (6, 144)))  # of the latest state
    bias = 10
    assert parameter_count(network) == 3_729_430
    assert parameter_count(network) + again - bias == 3_894_372
    latest = 5 * 144
    assert latest * 128 + 2 * 128 + 4 * 128 * 768 + 2 * 768 + 768 * 10 == 494_848


@EACH
def test_inherited_weights_compute_what_the_super_network_computes(space):
    space = copy.copy(space)
    space.auxiliary = True
    architectures = [space.parse(name) for name in list(space.rules.names)[:1]] + sampled(space, 2)
    for architecture, alone, shared in inheriting(space, architectures):
        assert multiply_adds(alone, (1, 8, 8)) == multiply_adds(shared, (1, 8, 8), architecture)


@EACH
def test_the_path_and_nothing_else_receives_gradients(space):
    shared = build(lambda: space.super_network(DIGITS), 0)
    for architecture in sampled(space, 1):
        shared.zero_grad(set_to_none=True)
        (shared(images(8), architecture) * images(8).flatten(1)[:, :10]).sum().backward()
        reached = {name for name, parameter in shared.named_parameters() if parameter.grad is not None}
        alone = on_meta(lambda a=architecture: space.network(a, DIGITS))
        assert reached == {name for name, _ in alone.named_parameters()}


@EACH
@pytest.mark.parametrize("layers", [1, 4])
def test_layers_and_odd_sizes(space, layers):
    (architecture,) = sampled(space, 1, layers)
    network = build(lambda: space.network(architecture, DIGITS, layers=layers, channels=4), 0).eval()
    for side in (1, 7, 8):
        logits = network(images(2, side))
        assert logits.shape == (2, 10)
        assert bool(logits.isfinite().all())


def test_operations_agree_in_size_at_both_strides():
    for name, make in OPERATIONS.items():
        for stride in (1, 2):
            module = build(lambda m=make, s=stride: m(4, s), 0).eval()
            for height, width in ((1, 1), (2, 3), (7, 8), (8, 7)):
                x = torch.randn(2, 4, height, width, generator=torch.Generator().manual_seed(0))
                assert module(x).shape == (2, 4, -(-height // stride), -(-width // stride)), name


def test_an_even_maximum_reaches_right_and_down():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    pool = OPERATIONS["max_pool_2x2"]
    assert pool(1, 1)(x)[0, 0, 0].tolist() == [5, 6, 7, 7]
    assert pool(1, 2)(x)[0, 0].tolist() == [[5, 7], [13, 15]]


def test_noise_comes_from_the_networks_generator_and_is_steady_in_evaluation():
    space = FAMILIES["S4"]
    network = build(lambda: space.super_network(DIGITS), 0)
    architecture = (0,) * 24  # noise everywhere
    state = torch.get_rng_state()

    def run(seed):
        network.generator = torch.Generator().manual_seed(seed)
        return network(images(), architecture)

    assert torch.equal(run(0), run(0))
    assert not torch.equal(run(0), run(1))
    network.eval()
    assert torch.equal(network(images(), architecture), network(images(seed=2), architecture))
    assert torch.equal(torch.get_rng_state(), state)
    x = images(500)
    noise = Noise(1, 2)(x)
    assert noise.shape == (500, 1, 4, 4)
    assert abs(noise.mean()) < 5 / 8000**0.5
    assert abs(noise.std() - 1) < 5 / 16000**0.5


def test_layers_of_some_states_are_plain_layers_with_the_weights_put_together():
    carried, states = Carried(3, (0, 2, 5)), (0, 5)
    x = torch.randn(2, 6, 4, 4, generator=torch.Generator().manual_seed(0))
    layer = build(lambda: StateConv(carried, 7), 0)
    plain = torch.nn.Conv2d(6, 7, 1, bias=False)
    plain.weight.data = torch.cat([layer.of["0"].weight, layer.of["5"].weight], dim=1)
    torch.testing.assert_close(layer(x, states), plain(x))
    linear = build(lambda: StateLinear(carried, 7), 0)
    averages = x.mean((2, 3))
    parts = linear.of["0"](averages[:, :3]) + linear.of["5"](averages[:, 3:])
    torch.testing.assert_close(linear(averages, states), parts)
    assert [part.bias is None for part in linear.of.values()] == [True, True, False]
    reduction = build(lambda: FactorisedReduction(carried, 8), 0)
    assert reduction(x, states).shape == (2, 8, 2, 2)


def test_a_cell_written_out():
    """ENAS's reduction: sums, an input that is not read, concatenation of what no node reads."""
    space = FAMILIES["ENASMicro"]
    nodes = "0 3 0 4 2 4 0 3 2 2 3 4 0 3 4 4 0 3 0 3"  # state 1 is not read, nor are 5 and 6
    architecture = space.parse(f"{nodes} {nodes}")
    network = build(lambda: space.network(architecture, DIGITS), 0).eval()
    cell = network.cells[1]  # a reduction
    assert cell.carried.states == (1, 5, 6)
    before, last = images(2).repeat(1, 12, 1, 1), network.cells[0]
    calls = []
    cell.register_forward_hook(lambda _m, inputs, output: calls.append((inputs, output)))
    network(images(2))
    (((before, last, _plan, _drop), output),) = calls
    with torch.no_grad():
        zero, one = cell.inputs[0](before[0]), cell.inputs[1](last[0], last[1])
        pool = torch.nn.MaxPool2d(3, 2, 1)
        skip = {slot: choice["identity"] for slot, choice in cell.edges.items() if "identity" in choice}
        two = pool(zero) + skip["0-2-b"](zero)
        three = two + pool(zero)
        four = torch.nn.functional.avg_pool2d(two, 3, 1, 1, count_include_pad=False) + three
        five, six = pool(zero) + four, pool(zero) + pool(zero)
        torch.testing.assert_close(output, torch.cat([cell.halved["1"](one), five, six], dim=1))


def test_a_concatenated_node_is_brought_back_to_its_channels():
    space = FAMILIES["NASNet"]
    architecture = space.parse(space.format(space.parse("NASNet-A-DARTS")).replace(" |", " concat |"))
    network = build(lambda: space.network(architecture, DIGITS), 0)
    assert sorted(network.cells[0].joins) == ["2", "3", "4", "5"]
    assert network.cells[0].joins["2"][1].weight.shape == (4, 8, 1, 1)
    assert network(images()).shape == (4, 10)
