"""Networks of ``DARTS``: published sizes, weights that are shared, layers of all sizes."""

import pytest
import torch
from darts_lab import ALL_OPERATIONS, CIFAR, DIGITS, SMALL, SPACE, V2, on_meta, pictures, sampled

from archsearch.abilities import SharedWeights, Trainable
from archsearch.errors import UsageError
from archsearch.grammar.network import reduction_layers
from archsearch.networks.multiply_adds import multiply_adds, parameter_count
from archsearch.networks.network import InputShape, build
from archsearch.spaces.darts import DARTS, GENOTYPES, OPERATIONS


def test_published_parameters():
    """The papers print 3.3 (DARTS, second order), 3.4 (P-DARTS) and 3.6 million (PC-DARTS), auxiliary head left out.

    Exact numbers: V2 is widely reported; those of P-DARTS, with and without its auxiliary head, are what a user of
    the authors' code counted (github.com/chenxin061/pdarts, issue 7).
    """
    counts = {name: parameter_count(on_meta(lambda n=name: SPACE.network(SPACE.parse(n), CIFAR))) for name in GENOTYPES}
    assert counts["DARTS_V2"] == 3_349_342
    assert counts["P_DARTS"] == 3_433_798
    assert f"{counts['PC_DARTS'] / 1e6:.1f}" == "3.6"
    with_head = on_meta(lambda: DARTS(auxiliary=True).network(SPACE.parse("P_DARTS"), CIFAR))
    assert parameter_count(with_head) == 3_910_224


def test_multiply_adds_counted_by_hand():
    c, size = 4, 8
    pixels = size * size
    network = on_meta(lambda: DARTS(1, c).network(V2, DIGITS))
    adapt = 2 * 3 * c * c  # the two inputs of the cell, from 3c to c channels
    separable, dilated = 2 * (9 * c + c * c), 9 * c + c * c
    expected = pixels * (9 * 3 * c + adapt + 5 * separable + dilated) + 4 * c * 10 + 10
    assert multiply_adds(network, DIGITS.input_shape) == expected
    # 523 to 545 million are reported for this network (github.com/quark0/darts, issue 46); ours are 528.
    full = multiply_adds(on_meta(lambda: SPACE.network(V2, CIFAR)), CIFAR.input_shape)
    assert 523e6 <= full <= 545e6


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_inherited_weights_compute_what_the_super_network_computes(seed):
    images = pictures(6, 1, 8, 8)
    space = DARTS(layers=4, channels=4, auxiliary=True)
    architecture, stranger = (V2, sampled(1)[0]) if seed == 0 else sampled(2, seed)
    shared = build(lambda: space.super_network(DIGITS), seed)
    for chosen in (architecture, stranger, architecture):  # batch statistics become other than 0 and 1
        shared(images, chosen)
    shared.eval()
    alone = build(lambda: space.network(architecture, DIGITS), seed + 1).eval()
    assert not torch.equal(alone(images), shared(images, architecture))
    weights = shared.state_dict()
    alone.load_state_dict({name: weights[name] for name in alone.state_dict()})
    assert torch.equal(alone(images), shared(images, architecture))
    for one, other in zip(alone.with_auxiliary(images), shared.with_auxiliary(images, architecture), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(shared(images, stranger), shared(images, architecture))
    with pytest.raises(UsageError, match="stands for"):
        alone(images, stranger)
    with pytest.raises(UsageError, match="one architecture at a time"):
        shared(images)


def test_what_networks_hold():
    alone = on_meta(lambda: SMALL.network(V2, DIGITS))
    shared = on_meta(lambda: SMALL.super_network(DIGITS))
    for cell in alone.cells:
        assert len(cell.edges) == 8
        assert all(len(choice) == 1 for choice in cell.edges.values())
    for cell in shared.cells:
        assert len(cell.edges) == 14
        assert all(tuple(choice) == OPERATIONS for choice in cell.edges.values())
    assert isinstance(SPACE, Trainable)
    assert isinstance(SPACE, SharedWeights)


def test_only_the_chosen_path_receives_gradients():
    for architecture in sampled(2):
        shared = build(lambda: SMALL.super_network(DIGITS), 0)
        shared(pictures(4, 1, 8, 8), architecture).square().sum().backward()
        reached = {name for name, parameter in shared.named_parameters() if parameter.grad is not None}
        alone = on_meta(lambda a=architecture: SMALL.network(a, DIGITS))
        assert reached == {name for name, _ in alone.named_parameters()}


@pytest.mark.parametrize("architecture", [V2, *sampled(2)])
def test_gradient_reaches_every_parameter(architecture):
    space = DARTS(layers=5, channels=4, auxiliary=True)
    network = build(lambda: space.network(architecture, DIGITS), 0)
    logits, auxiliary = network.with_auxiliary(pictures(8, 1, 8, 8))
    weights = pictures(8, 10)
    ((logits + auxiliary) * weights).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
        assert bool((parameter.grad != 0).any()), name


@pytest.mark.parametrize("layers", range(1, 9))
def test_layers_and_odd_sizes(layers):
    space = DARTS(layers=layers, channels=2, auxiliary=True)
    network = build(lambda: space.network(ALL_OPERATIONS, InputShape((1, 7, 7), 3)), 0)
    assert len(network.cells) == layers
    sizes = []
    for cell in network.cells:
        cell.register_forward_hook(lambda _module, _inputs, output: sizes.append(output.shape[2:]))
    assert [cell.reduces for cell in network.cells] == [i in reduction_layers(layers) for i in range(layers)]
    for height, width in ((8, 8), (7, 7), (1, 1), (5, 2), (9, 12)):
        sizes.clear()
        logits, auxiliary = network.with_auxiliary(pictures(3, 1, height, width))
        assert logits.shape == auxiliary.shape == (3, 3)
        for i, size in enumerate(sizes):
            halvings = sum(layer <= i for layer in reduction_layers(layers))
            assert tuple(size) == tuple(-(-side // 2**halvings) for side in (height, width))


def test_where_reductions_lie():
    assert [sorted(reduction_layers(layers)) for layers in (1, 2, 3, 4, 8, 20)] == [
        [], [1], [1, 2], [1, 2], [2, 5], [6, 13]
    ]  # fmt: skip
    for layers in range(2, 30):  # both cells are used
        assert 0 < len(reduction_layers(layers)) < layers
        assert 0 not in reduction_layers(layers)


def test_settings_of_a_call_go_before_those_of_the_space():
    def description(network):
        return len(network.cells), network.stem[0].out_channels

    assert description(on_meta(lambda: SMALL.network(V2, DIGITS))) == (3, 12)
    assert description(on_meta(lambda: SMALL.network(V2, DIGITS, channels=2, layers=5))) == (5, 6)
    assert description(on_meta(lambda: SMALL.super_network(DIGITS, channels=3, layers=1))) == (1, 9)


def test_all_weights_come_from_the_seed():
    one, twin, other = (build(lambda: SMALL.super_network(DIGITS), seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], twin[name]) for name in one)
    assert not torch.equal(one["head.1.weight"], other["head.1.weight"])
