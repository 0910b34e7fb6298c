"""The space ``ConvChain``: the tree of decisions, texts, and the moves that grow a chain."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
from conv_chain_lab import SPACE

from archsearch.components import build as rebuild
from archsearch.components import describe
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.spaces.conv_chain import ConvChain, Layer
from archsearch.testing import check_space

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
        if all(a[-1].width == b[-1].width for a, b in zip(after, before, strict=True)) and after[0][0].width == 16:
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
