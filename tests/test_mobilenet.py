"""``MobileNet`` and ``NASBenchMacro``: sizes, texts, settings and canonical forms."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import pytest
import torch
from mobilenet_lab import SMALL, images, small

from archsearch.components import build as rebuild
from archsearch.components import describe
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.networks.network import build
from archsearch.spaces.mobilenet import FAIRNAS, PROXYLESSNAS, MobileNet, NASBenchMacro
from archsearch.testing import check_space

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
