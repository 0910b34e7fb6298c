"""The space ``NB1Shot1``: its published sizes, cells of NAS-Bench-101, and what a distribution over parents is."""

import itertools
import re

import numpy as np
import pytest

from archsearch.abilities import most_probable
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.spaces import NASBench101, NB1Shot1
from archsearch.spaces.nb1shot1 import PARENTS
from archsearch.spaces.networks.nasbench101_cell import on_paths

SIZES = {1: (14_580, 3_078), 2: (29_160, 11_178), 3: (1_312_200, 108_135)}
"""Encodings, and those without loose ends."""


def some(space, n, seed=0):
    rng = np.random.default_rng(seed)
    return [space.sample(rng) for _ in range(n)]


@pytest.mark.parametrize("subspace", SIZES)
def test_number_of_encodings_with_and_without_loose_ends(subspace):
    """Counted by brute force over sets of parents, apart from the space's own code; operations are free."""
    space, parents = NB1Shot1(subspace), PARENTS[subspace]
    assert space.size() == SIZES[subspace][0]
    wirings = list(itertools.product(*(itertools.combinations(range(v), k) for v, k in enumerate(parents, start=1))))
    whole = [w for w in wirings if {source for some in w for source in some} == set(range(len(parents)))]
    operations = 3 ** (len(parents) - 1)
    assert (len(wirings) * operations, len(whole) * operations) == SIZES[subspace]
    # The space's own cells are these, whatever the operations.
    own = space.arities[: -(len(parents) - 1)]
    first = [(*chosen, *[0] * (len(parents) - 1)) for chosen in itertools.product(*map(range, own))]
    cells = {space.wired(architecture).predecessors for architecture in first}
    assert len(first) == len(wirings)
    assert cells == {(0, *(sum(1 << source for source in some) for some in wiring)) for wiring in wirings}
    pruned = [space.cell(architecture) for architecture in first]
    assert sum(len(cell.predecessors) == space.most_vertices for cell in pruned) == len(whole)


@pytest.mark.parametrize("subspace", SIZES)
def test_every_cell_is_one_of_nasbench101(subspace):
    space = NB1Shot1(subspace)
    table, loose = space.nasbench101(), 0
    for architecture in some(space, 150):
        matrix, operations = space.decode(architecture)
        there = space.to_nasbench101(architecture)
        assert there in table
        assert table.decode(there) == (matrix, operations)
        assert table.canonical(there) == space.canonical(architecture)
        wired = space.wired(architecture)
        assert [mask.bit_count() for mask in wired.predecessors[1:]] == list(PARENTS[subspace])
        assert sum(map(sum, matrix)) <= sum(mask.bit_count() for mask in wired.predecessors) == 9
        if len(matrix) < space.most_vertices:
            loose += 1
            assert set(on_paths(wired.predecessors)) < set(range(space.most_vertices))
        else:
            assert space.format(architecture) == table.format(there)
        assert space.parse(space.format(architecture)) == architecture
    assert 50 < loose < 150
    assert NASBench101(7, 9).size() == 1_293_208, "the published space has room for all of them"


def test_encodings_of_one_graph_are_equal():
    space = NB1Shot1(1)
    operations = "input,maxpool3x3,conv3x3-bn-relu,{},maxpool3x3,output"
    # Vertices 1, 2 and 4 in a row, and the input to 2, 4 and the output. Vertex 3 feeds nothing.
    wiring = "011{}11 001{}00 000{}10 000000 000001 000000".replace(" ", "")
    texts = [
        wiring.format(*parents) + f" {operations.format(third)}"
        for parents in ("110", "101", "011")
        for third in ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
    ]
    forms = {space.canonical(space.parse(text)) for text in texts}
    whole = NASBench101().parse("0111100100000100000100000 input,maxpool3x3,conv3x3-bn-relu,maxpool3x3,output")
    assert forms == {NASBench101().canonical(whole)}
    other = space.parse(texts[0].replace("conv3x3-bn-relu,c", "conv1x1-bn-relu,c"))
    assert space.canonical(other) not in forms


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "digits 0 or 1"),
        ("0100 input,output", "lead to|expected 6 vertices, got 2"),
        ("011000001011000110000001000001000000 input,a,b,c,d,output", "unknown operations"),
    ],
)
def test_what_is_no_cell_is_refused(text, reason):
    with pytest.raises(InvalidArchitecture, match=f"is no cell of NB1Shot1, sub-space 1: .*({reason})"):
        NB1Shot1(1).parse(text)


def test_a_cell_of_another_sub_space_is_refused():
    text = NB1Shot1(2).format((0,) * NB1Shot1(2).max_length)
    with pytest.raises(InvalidArchitecture, match=r"vertex 2 has 1 parents instead of 2"):
        NB1Shot1(1).parse(text)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"subspace": 4}, "subspace: expected 1, 2 or 3, got 4"),
        ({"subspace": 2, "channels": 2}, "channels: expected at least 3"),
        ({"modules": 0}, "modules"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(UsageError, match=re.escape(f"NB1Shot1: {message}")):
        NB1Shot1(**settings)


# -- parents as a distribution ---------------------------------------------------------------------------


class Strong:
    """Strengths of the candidates of each choice."""

    def __init__(self, space, strengths):
        self.space, self.strengths = space, strengths

    def probabilities(self, prefix):
        return self.space.relaxed_probabilities(self.strengths, prefix)


@pytest.mark.parametrize("subspace", SIZES)
def test_the_strongest_parents_are_derived(subspace):
    space, rng = NB1Shot1(subspace), np.random.default_rng(subspace)
    choices = space.relaxed_choices()
    assert len(choices) == space.max_length
    assert [choice.name for choice in choices] == [space.label((0,) * i) for i in range(space.max_length)]
    for _ in range(20):
        strengths = [rng.dirichlet(np.ones(len(choice.candidates))).tolist() for choice in choices]
        derived = most_probable(Strong(space, strengths), space)
        whole = len(space.cell(derived).predecessors) == space.most_vertices
        for own, chosen, choice in zip(strengths, space.selected(derived), choices, strict=True):
            strongest = set(np.argsort(own)[-len(chosen) :].tolist())
            assert set(chosen) == (strongest if chosen else set()), choice.name
            assert set(chosen.values()) == {1.0} if whole else True
    for i in range(space.max_length):
        p = space.relaxed_probabilities(strengths, derived[:i])
        assert len(p) == space.arities[i]
        assert sum(p) == pytest.approx(1)


def test_a_set_is_as_probable_as_the_product_of_its_parents():
    space = NB1Shot1(1)
    strengths = [[0.5, 0.3, 0.2], [0.4, 0.3, 0.2, 0.1], [0.2] * 5, *[[1 / 3] * 3] * 4]
    # Vertex 3: the nearest is 2, then 1, then the input; sets by rising mask: {0, 1}, {0, 2}, {1, 2}.
    wanted = np.array([0.2 * 0.3, 0.2 * 0.5, 0.3 * 0.5])
    assert space.relaxed_probabilities(strengths, ()) == pytest.approx((wanted / wanted.sum()).tolist())
    # One parent is left where two are needed: any set with it is possible.
    gone = [[1.0, 0.0, 0.0], *strengths[1:]]
    assert space.relaxed_probabilities(gone, ()) == pytest.approx([0, 0.5, 0.5])
