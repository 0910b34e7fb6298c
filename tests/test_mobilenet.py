"""``MobileNet`` and ``NASBenchMacro``: sizes, canonical forms, networks, and edits that keep the function."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional

from archsearch.components import build as rebuild
from archsearch.components import describe
from archsearch.embedded import embedded_columns
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.evaluator import Morphable, SharedWeights, Trainable
from archsearch.network import InputShape, build, multiply_adds, parameter_count, skeleton_settings
from archsearch.spaces.mobilenet import FAIRNAS, PROXYLESSNAS, MobileNet, NASBenchMacro
from archsearch.testing import check_space

CIFAR10 = InputShape((3, 32, 32), 10)
SMALL = InputShape((3, 12, 12), 4)

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


def small(**settings) -> MobileNet:
    """Two stages of 2 layers, 12x12 images."""
    given = {"stages": [(8, 2, 1), (12, 2, 2)], "stem_channels": 8, "head_channels": 16}
    return MobileNet(**{**given, **settings})


def images(n=4, seed=0, task=SMALL):
    return torch.randn(n, *task.input_shape, generator=torch.Generator().manual_seed(seed))


def published(architecture, costs):
    base, added = costs
    return base + sum(options[option] for options, option in zip(added, architecture, strict=True))


# -- the spaces ------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [MobileNet, NASBenchMacro])
def test_contract(make):
    check_space(make)


def test_sizes_are_the_published_ones():
    proxyless, fair = MobileNet(**PROXYLESSNAS), MobileNet(**FAIRNAS)
    assert proxyless.size() == 6**6 * 7**15
    # Those that cannot be left out are the first ones of the stages: all change the width.
    assert [i for i, n in enumerate(proxyless.arities) if n == 6] == [0, 4, 8, 12, 16, 20]
    assert fair.size() == 6**19
    assert MobileNet().arities == (6, 7, 6, 7, 7, 6, 7, 7)
    assert NASBenchMacro().arities == (3,) * 8


def test_order_of_options():
    space = MobileNet(stages=[(16, 2, 2)], candidates=[(5, 6), (3, 1)])
    assert space.layers[0].options == ("k5e6", "k3e1")
    assert space.layers[1].options == ("identity", "k5e6", "k3e1")
    assert MobileNet().layers[1].options == ("identity", "k3e3", "k3e6", "k5e3", "k5e6", "k7e3", "k7e6")
    assert NASBenchMacro().layers[0].options == ("identity", "k3e3", "k5e6")


def test_which_layers_can_be_left_out():
    stages = [(16, 2, 1), (16, 1, 2), (24, 1, 1)]
    options = {identity: MobileNet(stages, identity=identity).arities for identity in ("never", "residual", "always")}
    assert options == {"never": (6, 6, 6, 6), "residual": (7, 7, 6, 6), "always": (7, 7, 7, 7)}
    assert MobileNet(stages, first_channels=8).arities == (6, 7, 6, 6)  # the first layer now changes the width


def test_texts():
    space = small()
    architecture = space.parse(" identity-k3e6-k5e3-identity\n")
    assert architecture == (0, 2, 2, 0)
    assert space.format(architecture) == space.decode(architecture) == "identity-k3e6-k5e3-identity"
    assert [space.label(architecture[:i]) for i in range(4)] == ["layer 0", "layer 1", "layer 2", "layer 3"]
    assert list(dict(space.graph(architecture).nodes(data="label")).values())[1:3] == ["layer 1: k3e6", "layer 2: k5e3"]
    with pytest.raises(InvalidArchitecture, match=r"layer 2: expected one of k3e3, .*k7e6, got 'identity'"):
        space.parse("identity-k3e6-identity-identity")
    with pytest.raises(InvalidArchitecture, match=r"expected 4 layers joined by dashes, such as .*, got 3"):
        space.parse("identity-k3e6-k5e3")


def test_texts_of_macro_are_the_digits_of_the_table():
    space = NASBenchMacro()
    assert space.parse(" 22212202\n") == (2, 2, 2, 1, 2, 2, 0, 2)
    assert space.format((2, 2, 2, 1, 2, 2, 0, 2)) == "22212202"
    for wrong in ("2221220", "222122022", "22212203", "2221-202", "k3e3", "２２２１２２０２"):
        with pytest.raises(InvalidArchitecture, match="expected 8 digits"):
            space.parse(wrong)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stages": []}, "stages: expected a list that is not empty"),
        ({"stages": [(16, 2)]}, r"stages\[0\]: expected \[channels, layers, stride\], got \(16, 2\)"),
        ({"stages": [(16, 2, 1), (0, 2, 1)]}, r"stages\[1\]: channels: expected a whole number >= 1, got 0"),
        ({"stages": [(16, True, 1)]}, r"stages\[0\]: layers: expected a whole number >= 1, got True"),
        ({"stages": [(16, 1, 3)]}, r"stages\[0\]: stride: expected one of 1, 2, got 3"),
        ({"candidates": []}, "candidates: expected a list that is not empty"),
        ({"candidates": [3, 5]}, r"candidates\[0\]: expected \[kernel, expansion\], got 3"),
        ({"candidates": [(4, 3)]}, r"candidates\[0\]: kernel: expected an odd number, got 4"),
        ({"candidates": [(3, 0.5)]}, r"candidates\[0\]: expansion: expected a whole number >= 1, got 0.5"),
        ({"candidates": [(3, 3), (5, 3), (3, 3)]}, r"candidates\[2\]: k3e3 is there already"),
        ({"identity": True}, "identity: expected one of never, residual, always, got True"),
        ({"stem_channels": 0}, "stem_channels: expected a whole number >= 1, got 0"),
        ({"stem_stride": True}, "stem_stride: expected a whole number from 1 to 2, got True"),
        ({"first_channels": 0}, "first_channels: expected a whole number >= 1, got 0"),
        ({"head_channels": "128"}, "head_channels: expected a whole number >= 1, got '128'"),
        ({"activation": "gelu"}, "activation: expected one of relu, relu6, got 'gelu'"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(UsageError, match=f"^MobileNet: {message}"):
        MobileNet(**settings)


def test_settings_are_plain_data():
    for space in (MobileNet(**PROXYLESSNAS), small(identity="always"), NASBenchMacro()):
        assert rebuild(json.loads(json.dumps(describe(space)))) == space
    assert describe(NASBenchMacro())["init_args"] == {}
    assert MobileNet() == MobileNet(stages=[[24, 2, 1], [40, 3, 2], [80, 3, 2]])
    assert MobileNet() != MobileNet(head_channels=None)


def test_the_space_does_not_load_torch():
    code = (
        "import sys; from archsearch.spaces import mobilenet; mobilenet.NASBenchMacro(); print('torch' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "False"
    )


# -- canonical forms -------------------------------------------------------------------------------


def test_number_of_canonical_forms():
    stage = MobileNet(stages=[(24, 4, 2)])
    tails = {stage.canonical((0, *tail)) for tail in itertools.product(range(7), repeat=3)}
    assert len(tails) == 1 + 6 + 36 + 216 == 259
    assert stage.size() == 6 * 343
    assert len({stage.canonical(each) for each in stage.enumerate()}) == 6 * 259
    macro = NASBenchMacro()
    # The first layer of a stage is always a layer; behind it are 1 or 2 that can be left out.
    assert len({macro.canonical(each) for each in macro.enumerate()}) == (3 * 3) * (3 * 7) * (3 * 7) == 3_969


def test_runs_end_at_layers_that_change_the_width():
    space = small(identity="always", candidates=[(3, 3), (5, 6)])
    assert space.canonical((0, 1, 2, 0)) == space.canonical((1, 0, 2, 0)) == "k3e3|k5e6|"
    assert space.canonical((0, 1, 0, 2)) == "k3e3|identity|k5e6"
    forms = {space.canonical(each) for each in ((1, 0, 2, 1), (2, 0, 1, 1), (0, 0, 2, 1), (1, 0, 1, 2), (1, 0, 0, 2))}
    assert len(forms) == 5


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("k5e1-identity-k3e3-k5e1-k3e3-identity", "k5e1-k3e3-k5e1-identity-k3e3-identity"),
        ("identity-identity-k3e3-identity-k5e1-identity", "k3e3-identity-identity-identity-k5e1-identity"),
    ],
)
def test_equal_forms_compute_the_same_network(first, second):
    space = MobileNet(stages=[(8, 4, 1), (12, 2, 1)], candidates=[(3, 3), (5, 1)], stem_channels=8, head_channels=None)
    architectures = [space.parse(text) for text in (first, second)]
    assert space.canonical(architectures[0]) == space.canonical(architectures[1])
    # Weights depend on the order of the modules, not on their names: equal seeds give both networks the same.
    network, twin = (build(lambda a=a: space.network(a, SMALL), 0).eval() for a in architectures)
    assert set(network.state_dict()) != set(twin.state_dict())
    with torch.no_grad():
        assert torch.equal(network(images()), twin(images()))


# -- NAS-Bench-Macro -------------------------------------------------------------------------------


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


# -- networks --------------------------------------------------------------------------------------


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


# -- function-preserving edits ---------------------------------------------------------------------


def train(network, steps=6, seed=0, architectures=(None,)):
    """A few steps on noise, from scales and shifts that are not 1 and 0, so that no statistic keeps its first value."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5, generator=generator)
    optimiser = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    network.train()
    for step, architecture in zip(range(steps), itertools.cycle(architectures), strict=False):
        labels = torch.randint(SMALL.classes, (16,), generator=generator)
        optimiser.zero_grad()
        functional.cross_entropy(network(1 + 2 * images(16, step), architecture), labels).backward()
        optimiser.step()
    return network


def morphed(space, old: str, new: str, seed=0, **settings):
    """The trained parent, its child, and what ``morph`` said."""
    parent = train(build(lambda: space.network(space.parse(old), SMALL, **settings), 0))
    child = build(lambda: space.network(space.parse(new), SMALL, **settings), 1)
    for module in child.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.constant_(module.bias, 0.3)  # what was there must not matter
    exact = space.morph(parent, child, torch.Generator().manual_seed(seed))
    return parent, child, exact


def difference(parent, child, mode="eval"):
    with torch.no_grad():
        outputs = []
        for network in (parent, child):
            network.train(mode == "train")
            outputs.append(network(images(16, 9)))
    assert outputs[0].std() > 0.01
    return float((outputs[0] - outputs[1]).abs().max())


EXACT = {
    "nothing": ("k3e3-k5e3-k3e3-identity", "k3e3-k5e3-k3e3-identity"),
    "widening": ("k3e3-k3e3-k3e3-k3e3", "k3e3-k3e6-k3e3-k3e3"),
    "widening where the width changes": ("k3e3-k3e3-k5e3-k3e3", "k3e3-k3e3-k5e6-k3e3"),
    "kernel": ("k3e3-k3e3-k3e3-k3e3", "k3e3-k5e3-k3e3-k7e3"),
    "kernel with stride": ("k3e3-k3e3-k3e3-k3e3", "k3e3-k3e3-k7e3-k3e3"),
    "deepening": ("identity-k3e3-k5e3-identity", "k5e6-k3e3-k5e3-k3e3"),
    "kernel and widening of one layer": ("k3e3-k3e3-k3e3-k3e3", "k3e3-k5e6-k3e3-k3e3"),
    "all": ("identity-k3e3-k3e3-k5e3", "k7e3-k5e6-k5e6-k7e6"),
}


@pytest.mark.parametrize(("old", "new"), EXACT.values(), ids=EXACT)
def test_growing_keeps_the_function(old, new):
    parent, child, exact = morphed(small(), old, new)
    assert exact is True
    assert difference(parent, child) < 1e-5
    # Copies have the statistics of their originals in every batch, so that it holds in training mode too.
    assert difference(parent, child, "train") < 1e-4


def test_statistics_of_the_parent_are_not_trivial():
    parent = morphed(small(), *EXACT["all"])[0]
    for module in parent.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean.abs().max() > 0.01
            assert (module.running_var - 1).abs().max() > 0.1
            assert (module.weight - 1).abs().max() > 0.1


SHRINKING = {
    "expansion": ("k3e3-k3e6-k3e3-k3e3", "k3e3-k3e3-k3e3-k3e3"),
    "kernel": ("k3e3-k7e3-k3e3-k3e3", "k3e3-k3e3-k3e3-k3e3"),
    "kernel grows, expansion shrinks": ("k3e3-k3e6-k3e3-k3e3", "k3e3-k5e3-k3e3-k3e3"),
    "layer left out": ("k3e3-k3e6-k3e3-k3e3", "k3e3-identity-k3e3-k3e3"),
    "one layer grows, one shrinks": ("k3e3-k3e3-k3e3-k5e3", "k3e3-k3e6-k3e3-k3e3"),
}


@pytest.mark.parametrize(("old", "new"), SHRINKING.values(), ids=SHRINKING)
def test_shrinking_says_that_it_loses_something(old, new):
    parent, child, exact = morphed(small(), old, new)
    assert exact is False
    assert difference(parent, child) > 1e-3


def test_shrinking_copies_what_fits():
    parent, child, _ = morphed(small(), "k3e3-k7e6-k3e3-k3e3", "k3e3-k3e3-k3e3-k3e3")
    old, new = parent.layers[1]["k7e6"], child.layers[1]["k3e3"]
    assert torch.equal(new.expand.conv.weight, old.expand.conv.weight[:24])
    assert torch.equal(new.depthwise.conv.weight, old.depthwise.conv.weight[:24, :, 2:5, 2:5])
    assert torch.equal(new.depthwise.bn.running_var, old.depthwise.bn.running_var[:24])
    assert torch.equal(new.project.conv.weight, old.project.conv.weight[:, :24])
    assert torch.equal(child.layers[3]["k3e3"].project.bn.bias, parent.layers[3]["k3e3"].project.bn.bias)
    assert torch.equal(child.classifier.weight, parent.classifier.weight)


def test_widening_replicates_channels():
    parent, child, _ = morphed(small(), "k3e3-k3e3-k3e3-k3e3", "k3e3-k5e6-k3e3-k3e3")
    old, new = parent.layers[1]["k3e3"], child.layers[1]["k5e6"]
    rows = old.expand.conv.weight.flatten(1)
    origin = torch.cdist(new.expand.conv.weight.flatten(1), rows).argmin(1)
    assert origin[:24].tolist() == list(range(24))
    assert torch.equal(new.expand.conv.weight, old.expand.conv.weight[origin])
    assert torch.equal(new.depthwise.conv.weight[:, :, 1:4, 1:4], old.depthwise.conv.weight[origin])
    assert new.depthwise.conv.weight.count_nonzero() <= 48 * 9
    assert torch.equal(new.depthwise.bn.running_mean, old.depthwise.bn.running_mean[origin])
    # What leaves the copies of a channel adds up to what left the channel.
    sums = torch.zeros_like(old.project.conv.weight).index_add_(1, origin, new.project.conv.weight)
    assert torch.allclose(sums, old.project.conv.weight, atol=1e-6)
    once = (origin.bincount(minlength=24) == 1).nonzero().flatten()
    assert 0 < len(once) < 24
    assert torch.equal(new.project.conv.weight[:, once], old.project.conv.weight[:, once])


@pytest.mark.parametrize("optimiser", [torch.optim.SGD, torch.optim.Adam])
def test_copies_part_in_training(optimiser):
    _, child, _ = morphed(small(), "k3e3-k3e3-k3e3-k3e3", "k3e3-k3e6-k3e3-k3e3")
    weight = child.layers[1]["k3e6"].expand.conv.weight
    apart = torch.cdist(weight.flatten(1), weight.flatten(1)).detach()
    copies = (apart < 1e-6).triu(1).nonzero()
    assert len(copies) >= 24
    child.train()
    step = optimiser(child.parameters(), 0.01)
    for i in range(5):
        step.zero_grad()
        functional.cross_entropy(child(images(16, i)), torch.arange(16) % 4).backward()
        step.step()
    distances = torch.stack([(weight[i] - weight[j]).norm() for i, j in copies.tolist()])
    assert distances.min() > 1e-6


def test_a_new_layer_learns():
    _, child, _ = morphed(small(), "k3e3-identity-k3e3-k3e3", "k3e3-k3e3-k3e3-k3e3")
    branch = child.layers[1]["k3e3"]
    before = branch.expand.conv.weight.detach().clone()
    assert branch.project.bn.weight.count_nonzero() == 0
    train(child, 3)
    assert branch.project.bn.weight.count_nonzero() == 8
    assert not torch.equal(branch.expand.conv.weight, before)


def test_morph_depends_on_its_generator_only():
    children = [morphed(small(), *EXACT["all"], seed=seed)[1].state_dict() for seed in (0, 0, 1)]
    assert all(torch.equal(children[0][name], children[1][name]) for name in children[0])
    assert not all(torch.equal(children[0][name], children[2][name]) for name in children[0])


def test_expansion_one_cannot_be_widened_exactly():
    # There is no first convolution whose channels could be replicated, and no activation after the input.
    space = small(candidates=[(3, 1), (5, 1), (3, 2)])
    parent, child, exact = morphed(space, "k3e1-k3e1-k3e1-k3e1", "k3e1-k3e2-k3e1-k3e1")
    assert exact is False
    assert difference(parent, child) > 1e-3
    parent, child, exact = morphed(space, "k3e1-k3e1-k3e1-k3e1", "k3e1-k5e1-k5e1-k3e1")
    assert exact is True
    assert difference(parent, child) < 1e-5


def test_morphing_macro():
    space = NASBenchMacro()
    exact = {"01011011": "02012022", "00000000": "01012021", "22212202": "22212212", "10010110": "20010210"}
    lossy = {"01011011": "11011011", "20010000": "10010000"}  # a convolution that halves the size is no identity
    for pairs, expected in ((exact, True), (lossy, False)):
        for old, new in pairs.items():
            parent, child, told = morphed(space, old, new, channels=8)
            assert told is expected
            assert (difference(parent, child) < 1e-5) is expected


def test_networks_of_other_widths_are_not_exact():
    space = small()
    parent = build(lambda: space.network((1, 1, 0, 1), SMALL), 0)
    child = build(lambda: space.network((1, 2, 0, 1), SMALL, channels=16), 1)
    assert space.morph(parent, child, torch.Generator().manual_seed(0)) is False
    more = build(lambda: space.network((1, 2, 0, 1), InputShape((3, 12, 12), 7)), 1)
    assert space.morph(parent, more, torch.Generator().manual_seed(0)) is False
    with torch.no_grad():
        x = images()
        for i, (old, new) in enumerate(zip((1, 1, 0, 1), (1, 2, 0, 1), strict=True)):
            x, after = parent.eval().layer(i, parent.stem(x) if i == 0 else x, old), x
            same = more.eval().layer(i, more.stem(after) if i == 0 else after, new)
            assert torch.allclose(x, same, atol=1e-5)


def test_morph_refuses_what_is_no_stand_alone_network():
    space = small()
    network = build(lambda: space.network((1, 1, 0, 1), SMALL), 0)
    for other in (build(lambda: space.super_network(SMALL), 0), build(lambda: MobileNet().network((1,) * 8, SMALL), 0)):
        with pytest.raises(UsageError, match="expected two stand-alone networks"):
            space.morph(network, other, torch.Generator())
        with pytest.raises(UsageError, match="expected two stand-alone networks"):
            space.morph(other, network, torch.Generator())
