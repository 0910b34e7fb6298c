"""``ConvChain``: the tree of decisions, networks, and edits that keep the function of a trained network."""

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
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.evaluator import Morphable, SharedWeights, Trainable
from archsearch.network import InputShape, build, parameter_count, skeleton_settings
from archsearch.spaces.conv_chain import ConvChain, Layer
from archsearch.testing import check_space

DIGITS = InputShape((1, 8, 8), 10)
SMALL = InputShape((3, 9, 7), 4)

SPACE = ConvChain()
PAIR = ConvChain(stages=2, max_layers=4)


def images(n=4, seed=0, task=SMALL):
    return torch.randn(n, *task.input_shape, generator=torch.Generator().manual_seed(seed))


def network_of(space, text, task=SMALL, seed=0, **settings):
    return build(lambda: space.network(space.parse(text), task, **settings), seed)


def chain_layers(network):
    return [layer for stage in network.stages for layer in stage]


# -- the space -------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [ConvChain, lambda: ConvChain(stages=1, max_layers=1)])
def test_contract(make):
    check_space(make)


def all_texts(space):
    """Every text whose skips have equal widths on both sides, by trying all combinations."""
    words = [(w, k, s) for w in space.widths for k in space.kernels for s in (False, True)]
    stages = [stage for n in range(1, space.max_layers + 1) for stage in itertools.product(words, repeat=n)]
    for chain in itertools.product(stages, repeat=space.stages):
        flat = [layer for stage in chain for layer in stage]
        if not flat[0][2] and all(a[0] == b[0] for a, b in itertools.pairwise(flat) if b[2]):
            yield " | ".join(" ".join(f"{w}k{k}{'+' * s}" for w, k, s in stage) for stage in chain)


@pytest.mark.parametrize(
    ("space", "size"),
    [
        (ConvChain(2, 2, [4, 8], [1, 3]), 1176),
        (ConvChain(stages=1, max_layers=3, widths=[1, 2, 3], kernels=[3]), 3 * (1 + 4 + 16)),
        (ConvChain(stages=3, max_layers=1, widths=[8], kernels=[3, 5]), 2 * 4 * 4),
        (ConvChain(stages=1, max_layers=1), 6),
    ],
)
def test_size_by_brute_force(space, size):
    texts = list(all_texts(space))
    assert len(texts) == len(set(texts)) == space.size() == size
    assert sorted(texts) == sorted(map(space.format, space.enumerate()))


def test_size_of_the_default():
    # A layer behind another has kernels * (widths + 1) options, for every width of that one; the first of all has 6.
    layer = 2 * (3 + 1)
    assert ConvChain().size() == 6 * (1 + layer + layer**2) * (layer + layer**2 + layer**3) ** 2 == 149_382_528


def test_decisions_and_their_names():
    architecture = SPACE.parse("16k3 16k5+ | 16k3 32k3 | 8k5")
    names = [SPACE.label(architecture[:i]) for i in range(len(architecture))]
    assert dict(zip(names, architecture, strict=True)) == {
        "stage 0 layers": 1,
        "stage 0 layer 0 width": 1,
        "stage 0 layer 0 kernel": 0,
        "stage 0 layer 1 width": 1,
        "stage 0 layer 1 kernel": 1,
        "stage 0 layer 1 skip": 1,
        "stage 1 layers": 1,
        "stage 1 layer 0 width": 1,
        "stage 1 layer 0 kernel": 0,
        "stage 1 layer 0 skip": 0,
        "stage 1 layer 1 width": 2,
        "stage 1 layer 1 kernel": 0,
        "stage 2 layers": 0,
        "stage 2 layer 0 width": 0,
        "stage 2 layer 0 kernel": 1,
    }
    assert [SPACE.arity(architecture[:i]) for i in (0, 1, 2, 5, len(architecture))] == [3, 3, 2, 2, 0]
    longest = SPACE.parse("8k3 8k3 8k3 | 8k3 8k3 8k3 | 8k3 8k3 8k3")
    assert len(longest) == SPACE.max_length == 29


def test_mutation_leaves_other_layers_alone():
    architecture, rng = SPACE.parse("16k3 16k5+ | 16k3 32k3 | 8k5"), np.random.default_rng(0)
    before = SPACE.decode(architecture)
    for _ in range(100):
        after = SPACE.decode(SPACE.mutate(architecture, rng))
        differ = [i for i in range(3) if before[i][: len(after[i])] != after[i][: len(before[i])]]
        assert len(differ) <= 2  # of a layer whose width changes, and of the next, the skip may come and go
        if after[0][0].width == 16:
            assert sum(len(a) != len(b) for a, b in zip(before, after, strict=True)) + len(differ) == 1


def test_texts():
    text = "16k3 16k3+ | 32k5 | 32k3"
    architecture = SPACE.parse(f" {text.replace(' | ', '|')}\n")
    assert SPACE.format(architecture) == text
    assert SPACE.decode(architecture) == ((Layer(16, 3), Layer(16, 3, True)), (Layer(32, 5),), (Layer(32, 3),))
    assert SPACE.encode(SPACE.decode(architecture)) == architecture


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("16k3 | 16k3", "expected 3 stages, got 2"),
        ("16k3 | | 16k3", "stage 1: expected 1 to 3 layers, got 0"),
        ("16k3 | 16k3 | 8k3 8k3 8k3 8k3", "stage 2: expected 1 to 3 layers, got 4"),
        ("16k3 | 16k3 12k3 | 8k3", "stage 1 layer 1: width: expected one of 8, 16, 32, got 12"),
        ("16k3 | 16k7 | 8k3", "stage 1 layer 0: kernel: expected one of 3, 5, got 7"),
        ("16k3+ | 16k3 | 8k3", "stage 0 layer 0: a skip needs equal widths, got 16 channels and the images"),
        ("16k3 | 16k3+ | 8k3+", "stage 2 layer 0: a skip needs equal widths, got 8 channels and an input of 16"),
        ("16k3 | 16k3- | 8k3", "expected layers such as 16k3 or 16k3.*, got '16k3-'"),
        ("16k3 | 16k03 | 8k3", "got '16k03'"),
        ("16k3 | １６k3 | 8k3", "got '１６k3'"),
    ],
)
def test_wrong_texts(text, message):
    with pytest.raises(InvalidArchitecture, match=message):
        SPACE.parse(text)


def test_graph():
    graph = SPACE.graph(SPACE.parse("16k3 | 16k3+ | 32k5"))
    labels = dict(graph.nodes(data="label"))
    names = ["input", "conv 16k3", "max pool", "conv 16k3", "add", "max pool", "conv 32k5", "output"]
    assert list(labels.values()) == names
    assert set(graph.edges()) == {(0, 1), (1, 2), (2, 3), (2, 4), (3, 4), (4, 5), (5, 6), (6, 7)}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stages": 0}, "stages: expected a whole number >= 1, got 0"),
        ({"max_layers": True}, "max_layers: expected a whole number >= 1, got True"),
        ({"widths": []}, r"widths: expected a list that is not empty, got \[\]"),
        ({"widths": 8}, "widths: expected a list that is not empty, got 8"),
        ({"widths": [8, 0]}, r"widths\[1\]: expected a whole number >= 1, got 0"),
        ({"widths": [8, 8]}, r"widths: expected rising numbers, got \[8, 8\]"),
        ({"kernels": [5, 3]}, r"kernels: expected rising numbers, got \[5, 3\]"),
        ({"kernels": [3, 4]}, "kernels: expected odd numbers, got 4"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(UsageError, match=f"^ConvChain: {message}"):
        ConvChain(**settings)


def test_settings_are_plain_data():
    assert rebuild(json.loads(json.dumps(describe(ConvChain(2, 2, [4, 8], [1, 3]))))) == ConvChain(2, 2, [4, 8], [1, 3])
    assert ConvChain() == ConvChain(3, 3, [8, 16, 32], [3, 5]) != ConvChain(kernels=[3])


def test_the_space_does_not_load_torch():
    code = "import sys; from archsearch.spaces import conv_chain; conv_chain.ConvChain(); print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


# -- moves -----------------------------------------------------------------------------------------


def moves(space, text):
    found = space.morphisms(space.parse(text))
    return {kind: {space.format(architecture) for architecture in grown} for kind, grown in found.items()}


def test_moves_of_the_smallest():
    assert moves(SPACE, "8k3 | 8k3 | 8k3") == {
        "deepen": {
            *("8k3 8k3 | 8k3 | 8k3", "8k3 | 8k3 8k3 | 8k3", "8k3 | 8k3 | 8k3 8k3"),
            *("8k3 8k5 | 8k3 | 8k3", "8k3 | 8k3 8k5 | 8k3", "8k3 | 8k5 8k3 | 8k3", "8k3 | 8k3 | 8k3 8k5"),
            "8k3 | 8k3 | 8k5 8k3",
        },
        "widen": {"16k3 | 8k3 | 8k3", "8k3 | 16k3 | 8k3", "8k3 | 8k3 | 16k3"},
        "enlarge": {"8k5 | 8k3 | 8k3", "8k3 | 8k5 | 8k3", "8k3 | 8k3 | 8k5"},
        "skip": {"8k3 | 8k3+ | 8k3", "8k3 | 8k3 | 8k3+"},
    }


def test_layers_with_skips_widen_together():
    space = ConvChain(widths=[8, 16, 32], kernels=[3])
    assert moves(space, "8k3 16k3 16k3+ | 16k3+ 16k3 | 32k3")["widen"] == {
        "16k3 16k3 16k3+ | 16k3+ 16k3 | 32k3",
        "8k3 32k3 32k3+ | 32k3+ 16k3 | 32k3",
        "8k3 16k3 16k3+ | 16k3+ 32k3 | 32k3",
    }


def test_nothing_is_inserted_behind_a_skip():
    space = ConvChain(stages=2, max_layers=3, kernels=[3])
    assert moves(space, "8k3 8k3+ | 8k3")["deepen"] == {"8k3 8k3 8k3+ | 8k3", "8k3 8k3+ | 8k3 8k3"}
    assert moves(space, "8k3 16k3 16k3+ | 16k3+")["deepen"] == set()  # the first stage has no room


def test_the_largest_cannot_grow():
    space, rng = ConvChain(stages=2, max_layers=2), np.random.default_rng(0)
    architecture = space.parse("32k5 32k5+ | 32k5+ 32k5+")
    assert not any(space.morphisms(architecture).values())
    assert space.grow(architecture, rng) == architecture
    with pytest.raises(InvalidArchitecture):
        space.grow((9,), rng)


def test_growth_depends_on_its_generator_and_draws_every_move():
    architecture = SPACE.parse("8k3 | 8k3 | 8k3")
    drawn = [SPACE.grow(architecture, rng) for rng in [np.random.default_rng(0)] for _ in range(400)]
    again = [SPACE.grow(architecture, rng) for rng in [np.random.default_rng(0)] for _ in range(400)]
    assert drawn == again
    found = SPACE.morphisms(architecture)
    assert set(drawn) == set(itertools.chain(*found.values()))
    for grown in found.values():  # each kind is as likely as any other, however many moves it has
        assert 70 < sum(architecture in grown for architecture in drawn) < 130


# -- networks --------------------------------------------------------------------------------------


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


# -- function-preserving edits ---------------------------------------------------------------------


def noise(n, seed):
    """Images of different colours, which global average pooling cannot make alike."""
    colours = torch.randn(n, SMALL.input_shape[0], 1, 1, generator=torch.Generator().manual_seed(seed + 1000))
    return 1 + 2 * colours + 2 * images(n, seed)


def train(network, steps=6, seed=0, rate=0.1):
    """A few steps on noise, from scales and shifts that are not 1 and 0; statistics are of the last batch."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5, generator=generator)
            module.momentum = 1.0
    optimiser = torch.optim.SGD(network.parameters(), rate, momentum=0.9)
    network.train()
    for step in range(steps):
        labels = torch.randint(SMALL.classes, (16,), generator=generator)
        optimiser.zero_grad()
        functional.cross_entropy(network(noise(16, step)), labels).backward()
        optimiser.step()
    return network


def morphed(space, parent, new: str, seed=0, **settings):
    """A child, and what ``morph`` said."""
    child = network_of(space, new, seed=1, **settings)
    for module in child.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.bias, module.running_mean, module.weight, module.running_var):
                torch.nn.init.constant_(tensor, 0.3)  # what was there must not matter
    return child, space.morph(parent, child, torch.Generator().manual_seed(seed))


def family(space, old: str, new: str, seed=0):
    parent = train(network_of(space, old))
    for i, layer in enumerate(chain_layers(parent)):
        if layer.skip is not None:
            torch.nn.init.constant_(layer.skip.scale, 0.6 + 0.2 * i)
    return parent, *morphed(space, parent, new, seed)


def difference(parent, child):
    """Largest difference of the logits in evaluation mode, relative to the largest logit if that is above 1."""
    with torch.no_grad():
        x = noise(16, 9).to(next(child.parameters()).dtype)
        before, after = parent.eval()(x), child.eval()(x)
    assert before.std(0).max() > 0.02
    return float((before - after).abs().max() / max(1.0, float(before.abs().max())))


EXACT = {
    "nothing": ("8k3 16k5 | 16k3+", "8k3 16k5 | 16k3+"),
    "widen the first": ("8k3 16k5 | 8k3", "16k3 16k5 | 8k3"),
    "widen before pooling": ("8k3 16k5 | 8k3", "8k3 32k5 | 8k3"),
    "widen before the classifier": ("8k3 16k5 | 8k3", "8k3 16k5 | 32k3"),
    "widen a group": ("8k3 8k5+ | 8k3+ 8k3", "16k3 16k5+ | 16k3+ 8k3"),
    "widen all": ("8k3 8k5+ | 8k3+ 8k3", "16k3 16k5+ | 16k3+ 32k3"),
    "deepen": ("8k3 | 8k3", "8k3 8k5 | 8k3"),
    "deepen at the end": ("8k3 | 16k3", "8k3 | 16k3 16k3"),
    "deepen behind pooling": ("8k3 | 32k3", "8k3 | 8k5 32k3"),
    "deepen within a group": ("8k3 8k3+ | 8k3", "8k3 8k5 8k3+ | 8k3"),
    "deepen with a wider layer": ("8k3 8k5 | 8k3", "8k3 16k5 8k5 | 8k3"),
    "deepen with a narrower layer than the widened one": ("8k3 | 8k3", "16k3 8k3 | 8k3"),
    "deepen with a skip": ("8k3 | 8k3", "8k3 8k3+ | 8k3"),
    "deepen behind a skip": ("8k3 8k3+ | 8k3", "8k3 8k3+ 8k5 | 8k3"),
    "deepen twice": ("8k3 16k3 | 8k3", "8k3 8k3 8k5 16k3 | 8k3"),
    "enlarge": ("8k3 8k3 | 8k3", "8k5 8k3 | 8k5"),
    "enlarge with a skip": ("8k3 8k3+ | 8k3", "8k3 8k5+ | 8k3"),
    "skip": ("8k3 8k3 | 8k3", "8k3 8k3+ | 8k3"),
    "skip over pooling": ("8k3 8k3 | 8k3", "8k3 8k3 | 8k3+"),
    "skip after widening": ("8k3 16k3 | 8k3", "16k3 16k3+ | 8k3"),
    "all at once": ("8k3 8k5+ | 16k3 8k3", "16k5 16k3 16k5+ | 32k3 16k5 16k3+"),
}


@pytest.mark.parametrize(("old", "new"), EXACT.values(), ids=EXACT)
def test_growing_keeps_the_function(old, new):
    parent, child, exact = family(PAIR, old, new)
    assert exact is True
    assert difference(parent, child) < 1e-5


@pytest.mark.parametrize(("old", "new"), EXACT.values(), ids=EXACT)
def test_growing_keeps_the_function_in_double_precision(old, new):
    # What remains is that the shares of copies, drawn in single precision, do not add up to 1 any better.
    parent = family(PAIR, old, old)[0].double()
    child = network_of(PAIR, new, seed=1).double()
    assert PAIR.morph(parent, child, torch.Generator().manual_seed(0)) is True
    assert difference(parent, child) < 5e-7


def test_statistics_of_the_parent_are_not_trivial():
    parent = family(PAIR, *EXACT["all at once"])[0]
    for module in parent.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean.abs().max() > 0.01
            assert (module.running_var - 1).abs().max() > 0.1
            assert (module.weight - 1).abs().max() > 0.1


def test_two_hundred_random_moves():
    """From parents that are trained anew for each move, so that new layers and skips have left their first values."""
    rng, short = np.random.default_rng(0), ConvChain(max_layers=1)
    count, worst, network = dict.fromkeys(("deepen", "widen", "enlarge", "skip"), 0), 0.0, None
    while (done := sum(count.values())) < 200:
        if network is None:
            network = network_of(SPACE, short.format(short.sample(rng)), channels=4)
        train(network, 2, seed=done)
        grown = SPACE.grow(network.architecture, rng)
        if grown == network.architecture:
            network = None
            continue
        (kind,) = [kind for kind, found in SPACE.morphisms(network.architecture).items() if grown in found]
        child, exact = morphed(SPACE, network, SPACE.format(grown), seed=done, channels=4)
        assert exact is True, (kind, SPACE.format(network.architecture), SPACE.format(grown))
        worst = max(worst, difference(network, child))
        count[kind] += 1
        network = child if done % 10 else None
    assert worst < 1e-5
    assert min(count.values()) > 25, count


def test_many_moves_at_once():
    rng = np.random.default_rng(1)
    for _ in range(40):
        architecture = grown = SPACE.sample(rng)
        parent = train(build(lambda a=architecture: SPACE.network(a, SMALL, channels=4), 0), 2)
        for layer in chain_layers(parent):
            if layer.skip is not None:
                torch.nn.init.constant_(layer.skip.scale, -0.5)  # growing never relies on its sign
        for _ in range(int(rng.integers(2, 12))):
            grown = SPACE.grow(grown, rng)
        child, exact = morphed(SPACE, parent, SPACE.format(grown), channels=4)
        assert exact is True, (SPACE.format(architecture), SPACE.format(grown))
        assert difference(parent, child) < 1e-5


def test_a_chain_of_morphs_up_to_the_largest():
    rng = np.random.default_rng(2)
    network = first = train(network_of(SPACE, "8k3 | 8k3 | 8k3", channels=2))
    steps = 0
    while (grown := SPACE.grow(network.architecture, rng)) != network.architecture:
        network, exact = morphed(SPACE, network, SPACE.format(grown), seed=steps, channels=2)
        assert exact is True
        steps += 1
    assert steps > 12
    assert difference(first, network) < 1e-5


INEXACT = {
    "narrower": ("16k3 16k5 | 8k3", "8k3 16k5 | 8k3"),
    "smaller kernel": ("8k3 8k5 | 8k3", "8k3 8k3 | 8k3"),
    "layer left out": ("8k3 16k5 | 8k3", "8k3 | 8k3"),
    "layer left out before the classifier": ("8k3 16k5 | 8k3 16k3", "8k3 16k5 | 8k3"),
    "skip left out": ("8k3 8k5+ | 8k3", "8k3 8k5 | 8k3"),
    "skip of a group that parts": ("8k3 8k5+ | 8k3", "16k3 8k5 | 8k3"),
    "inserted before the first": ("8k5 | 8k3", "8k3 8k5 | 8k3"),
    "inserted and too narrow": ("16k5 | 8k3", "16k5 8k5 | 8k3"),
    "one grows, one shrinks": ("8k3 8k5 | 8k3", "16k3 8k3 | 8k3"),
    "everything": ("16k5 8k3 8k3+ | 16k3", "8k3 32k5 | 8k3 8k3+"),
    "layer left out that narrows": ("32k3 8k3 8k5 | 8k3", "32k3 8k5 | 8k3"),
    "left out before a skip": ("8k3 32k3 8k5 8k5+ | 16k3", "8k3 8k5+ | 16k3"),
}


@pytest.mark.parametrize(("old", "new"), INEXACT.values(), ids=INEXACT)
def test_shrinking_says_that_it_loses_something(old, new):
    parent, child, exact = family(PAIR, old, new)
    assert exact is False
    assert difference(parent, child) > 1e-3
    assert all(tensor.isfinite().all() for tensor in child.state_dict().values())


def test_what_it_says_is_true():
    """Neither does it promise too much, nor does it overlook a way, among half the 26 * 26 pairs of a small space."""
    space = ConvChain(stages=1, max_layers=3, widths=[4, 6], kernels=[1])
    texts = [space.format(architecture) for architecture in space.enumerate()]
    told = []
    for i, old in enumerate(texts):
        parent = family(space, old, old)[0]
        for new in texts[i % 2 :: 2]:
            child, exact = morphed(space, parent, new)
            different = difference(parent, child)
            assert different < 1e-5 if exact else different > 1e-3, (old, new)
            told.append(exact)
    assert (len(told), min(told.count(True), told.count(False)) > 100) == (338, True)


def test_a_negative_scale_forbids_to_insert_behind_it():
    parent = family(PAIR, "8k3 8k3+ | 8k5", "8k3 8k3+ | 8k5")[0]
    skip = chain_layers(parent)[1].skip.scale
    at_its_place = ("8k3 8k3+ 8k5 | 8k5", "8k3 8k3+ | 8k3 8k5")
    elsewhere = ("8k3 8k5 8k3+ | 8k5", "8k3 8k3+ | 8k5 8k3", "16k3 16k5+ | 16k5")
    for scale, expected in ((0.5, True), (0.0, True), (-0.5, False), (float("nan"), False)):
        torch.nn.init.constant_(skip, scale)
        for text in (*at_its_place, *elsewhere):
            child, exact = morphed(PAIR, parent, text)
            assert exact is (expected or text in elsewhere), (scale, text)
            if scale == scale:
                assert (difference(parent, child) < 1e-5) is exact, (scale, text)


def test_shrinking_copies_what_fits():
    parent, child, _ = family(PAIR, "8k3 32k5 | 16k3", "8k3 16k3 | 16k3")
    old, new = chain_layers(parent)[1], chain_layers(child)[1]
    assert torch.equal(new.conv.weight, old.conv.weight[:16, :, 1:4, 1:4])
    assert torch.equal(new.bn.running_var, old.bn.running_var[:16])
    old, new = chain_layers(parent)[2], chain_layers(child)[2]
    assert torch.equal(new.conv.weight, old.conv.weight[:, :16])
    assert torch.equal(child.classifier.weight, parent.classifier.weight)


def test_layers_are_matched_by_what_they_are():
    parent, child, _ = family(PAIR, "8k3 16k5 32k3 | 8k3", "8k3 32k3 | 8k3")
    assert torch.equal(chain_layers(child)[0].conv.weight, chain_layers(parent)[0].conv.weight)
    assert torch.equal(chain_layers(child)[1].conv.weight[:, :8], chain_layers(parent)[2].conv.weight[:, :8])
    parent, child, _ = family(PAIR, "8k3 16k5 32k3 | 8k3", "8k3 16k3 16k5 32k3 | 8k3")
    for i, j in ((0, 0), (2, 1), (3, 2), (4, 3)):
        assert chain_layers(child)[i].bn.running_mean[0] == chain_layers(parent)[j].bn.running_mean[0]


def test_an_unchanged_architecture_gets_equal_weights():
    parent, child, exact = family(PAIR, *EXACT["nothing"])
    assert exact is True
    assert all(torch.equal(value, child.state_dict()[name]) for name, value in parent.state_dict().items())
    assert chain_layers(child)[2].skip.scale.item() == pytest.approx(1.0)


def test_what_the_edits_write():
    parent, child, _ = family(PAIR, "8k3 8k3 | 8k3", "8k3 16k5 8k3 | 8k3")
    inserted = chain_layers(child)[1]
    assert inserted.bn.running_mean.count_nonzero() == inserted.bn.bias.count_nonzero() == 0
    assert torch.equal(inserted.bn.running_var, torch.ones(16))
    assert torch.allclose(inserted.bn.weight**2, torch.full((16,), 1 + inserted.bn.eps))
    assert inserted.conv.weight.sum() == inserted.conv.weight[:, :, 2, 2].count_nonzero() == 16
    assert torch.equal(inserted.conv.weight[:8, :, 2, 2], torch.eye(8))

    parent, child, _ = family(PAIR, "8k3 8k3 | 8k3", "8k3 16k5 | 8k3")
    old, new = (chain_layers(network)[1] for network in (parent, child))
    rows = old.conv.weight.flatten(1)
    origin = torch.cdist(new.conv.weight[:, :, 1:4, 1:4].flatten(1), rows).argmin(1)
    assert origin[:8].tolist() == list(range(8))
    assert torch.equal(new.conv.weight, functional.pad(old.conv.weight[origin], [1] * 4))
    assert torch.equal(new.bn.weight, old.bn.weight[origin])
    # What leaves the copies of a channel adds up to what left the channel, and differs among them.
    old, new = (chain_layers(network)[2].conv.weight for network in (parent, child))
    assert torch.allclose(torch.zeros_like(old).index_add_(1, origin, new), old, atol=1e-6)
    assert len(new[0, origin == origin[8], 0, 0].unique()) == int((origin == origin[8]).sum()) > 1

    _, child, _ = family(PAIR, "8k3 8k3 | 8k3", "8k3 8k3+ | 8k3+")
    assert [layer.skip.scale.item() for layer in chain_layers(child)[1:]] == [0, 0]


@pytest.mark.parametrize("optimiser", [torch.optim.SGD, torch.optim.Adam])
def test_everything_learns_after_morphing(optimiser):
    _, child, exact = family(PAIR, "8k3 | 8k3 8k3", "16k5 16k3+ | 16k3 8k5 8k3+")
    assert exact is True
    child.train()
    step = optimiser(child.parameters(), 0.01, fused=True)
    first = chain_layers(child)[0].conv.weight
    before = {name: parameter.detach().clone() for name, parameter in child.named_parameters()}
    apart = torch.cdist(first.flatten(1), first.flatten(1)).detach()
    copies = (apart < 1e-6).triu(1).nonzero().tolist()
    assert len(copies) >= 8
    losses = []
    for i in range(10):
        step.zero_grad()
        loss = functional.cross_entropy(child(images(32)), torch.arange(32) % 4)
        loss.backward()
        if i == 0:
            assert all(float(parameter.grad.abs().max()) > 0 for parameter in child.parameters())
        step.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.01
    assert not any(torch.equal(parameter, before[name]) for name, parameter in child.named_parameters())
    assert min((first[i] - first[j]).norm().item() for i, j in copies) > 1e-6


def test_morph_depends_on_its_generator_only():
    state = torch.get_rng_state()
    children = [family(PAIR, *EXACT["all at once"], seed=seed)[1].state_dict() for seed in (0, 0, 1)]
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(children[0][name], children[1][name]) for name in children[0])
    assert not all(torch.equal(children[0][name], children[2][name]) for name in children[0])


def test_networks_of_other_widths_or_tasks():
    parent = train(network_of(PAIR, "8k3 8k3+ | 16k3", channels=4))
    wider, exact = morphed(PAIR, parent, "8k3 8k3+ | 16k3", channels=6)
    assert exact is True  # all layers widen
    assert difference(parent, wider) < 1e-5
    assert morphed(PAIR, parent, "8k3 8k3+ | 16k3", channels=3)[1] is False
    for task in (InputShape((3, 9, 7), 5), InputShape((1, 9, 7), 4), InputShape((5, 9, 7), 4)):
        child = network_of(PAIR, "8k3 8k3+ | 16k3", task, channels=4)
        assert PAIR.morph(parent, child, torch.Generator().manual_seed(0)) is False
        assert torch.equal(chain_layers(child)[1].conv.weight, chain_layers(parent)[1].conv.weight)


def test_morph_refuses_what_is_no_network_of_the_space():
    network = network_of(PAIR, "8k3 | 8k3")
    for other in (network_of(SPACE, "8k3 | 8k3 | 8k3"), torch.nn.Linear(1, 1)):
        other.architecture = getattr(other, "architecture", None)
        for pair in ((network, other), (other, network)):
            with pytest.raises(UsageError, match="expected two stand-alone networks that this space's network"):
                PAIR.morph(*pair, torch.Generator())
