"""The space ``NASBench201``: its strings, its indices, what is canonical, uniform draws."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from spaces_lab import assert_uniform, naive_one_hot

from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.spaces import NASBench201
from archsearch.spaces.nasbench201 import EDGES, OPERATIONS

RULES = {"skip": 12_751, "published": 6_466, "drop_zeros": 5_390, "flatten": 4_930}
"""Distinct canonical forms under each rule, from the weakest rule to the strongest."""


@pytest.fixture(scope="module")
def cells():
    return list(NASBench201().enumerate())


def test_published_strings_and_indices():
    space = NASBench201()
    best = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
    assert space.parse(best) == (3, 3, 3, 1, 3, 3)
    assert space.index((3, 3, 3, 1, 3, 3)) == 9930
    assert space.format(space.from_index(9930)) == best
    assert space.parse("9930") == space.parse(f"  {best}\n") == space.from_index(9930)
    assert space.index(space.parse("6111")) == 6111
    assert space.decode((3, 3, 3, 1, 3, 3)) == best


def test_every_cell_round_trips(cells):
    space = NASBench201()
    assert len(set(cells)) == len(cells) == space.size() == 15_625
    assert [space.parse(space.format(cell)) for cell in cells] == cells
    assert [space.from_index(i) for i in map(space.index, cells)] == cells
    assert sorted(map(space.index, cells)) == list(range(15_625))


def test_canonical_forms_are_as_many_as_published(cells):
    space = NASBench201()
    forms = {rule: [space.canonical(cell, rule) for cell in cells] for rule in RULES}
    assert {rule: len(set(found)) for rule, found in forms.items()} == RULES
    for weaker, stronger in itertools.combinations(RULES, 2):
        # Cells that are equal under the weaker rule are equal under the stronger one, but for the terms that the
        # published rule leaves in the order in which an inner sum had them: it compares texts.
        exceptions = 56 if (weaker, stronger) == ("skip", "published") else 0
        assert len(set(zip(forms[weaker], forms[stronger], strict=True))) == RULES[weaker] + exceptions
    for rule in RULES:
        assert [NASBench201(rule).canonical(cell) for cell in cells[:500]] == forms[rule][:500]


def test_constant_zero_cells(cells):
    space = NASBench201()
    zero = {cell for cell in cells if space.is_constant_zero(cell)}
    assert len(zero) == 341
    for cell in cells:
        reached = {0}
        for (source, target), option in sorted(zip(EDGES, cell, strict=True)):
            if option and source in reached:
                reached.add(target)
        assert (3 in reached) == (cell not in zero)


def test_canonical_by_hand():
    space = NASBench201()
    assert space.canonical((1, 0, 0, 0, 3, 0)) == space.canonical((0, 0, 0, 3, 0, 0)) == "(0)@nor_conv_3x3"
    assert space.canonical((0, 0, 0, 0, 0, 0)) == "#"
    assert space.canonical((2, 0, 3, 0, 0, 1)) == "((0)@nor_conv_1x1)@nor_conv_3x3"


@pytest.mark.parametrize(
    "text", ["", "15625", "-1", "3-3-3-3-3-3", "|none~0|", "|none~0|+|none~0|none~1|+|none~0|none~1|max_pool~2|"]
)
def test_what_is_no_cell_is_refused(text):
    with pytest.raises(InvalidArchitecture, match=r"indices 0 to 15624|index from 0 to 15624"):
        NASBench201().parse(text)


def test_errors_name_what_is_wrong():
    with pytest.raises(UsageError, match="rule: expected one of skip, published, drop_zeros, flatten, got 'weak'"):
        NASBench201("weak")
    with pytest.raises(UsageError, match="rule: expected one of"):
        NASBench201().canonical((0,) * 6, "weak")
    with pytest.raises(InvalidArchitecture, match="index from 0 to 15624"):
        NASBench201().parse("9" * 5000)  # Python itself refuses to read so many digits
    with pytest.raises(InvalidArchitecture, match="index -1"):
        NASBench201().from_index(-1)
    with pytest.raises(InvalidArchitecture, match="not in NASBench201"):
        NASBench201().index((5, 0, 0, 0, 0, 0))


def test_a_cell_has_24_neighbours(cells):
    space = NASBench201()
    for cell in cells[::1500]:
        near = list(space.neighbours(cell))
        assert len(near) == 24
        assert set(near) == {other for other in cells if sum(a != b for a, b in zip(cell, other, strict=True)) == 1}


def test_graph_of_a_cell():
    space = NASBench201()
    cell = space.from_index(9930)
    graph = space.graph((0, *cell[1:]))
    assert [graph.nodes[node]["label"] for node in range(4)] == ["input", "node 1", "node 2", "output"]
    edges = {(source, target): label for source, target, label in graph.edges(data="label")}
    assert edges == {edge: OPERATIONS[option] for edge, option in zip(EDGES, cell, strict=True) if edge != (0, 1)}
    assert [space.label(cell[:i]) for i in range(6)] == ["0->1", "0->2", "1->2", "0->3", "1->3", "2->3"]


def test_cells_are_sampled_uniformly(cells):
    space, rng = NASBench201(), np.random.default_rng(0)
    batch = space.sample_batch(rng, 200_000)
    assert batch.shape == (200_000, 6)
    assert batch.dtype == np.int64
    assert_uniform(map(tuple, batch.tolist()), cells)
    # One at a time: every edge's operations, and the pairs of neighbouring edges.
    singly = [space.sample(rng) for _ in range(20_000)]
    assert all(cell in space for cell in singly)
    for i in range(5):
        assert_uniform((cell[i : i + 2] for cell in singly), list(itertools.product(range(5), repeat=2)))


def test_cells_are_mutated_uniformly():
    space, rng = NASBench201(), np.random.default_rng(0)
    cell = (0, 1, 2, 3, 4, 0)
    assert_uniform((space.mutate(cell, rng) for _ in range(20_000)), list(space.neighbours(cell)))
    children = [space.crossover(cell, (4, 4, 4, 4, 0, 4), rng) for _ in range(20_000)]
    assert_uniform(children, list(itertools.product(*zip(cell, (4, 4, 4, 4, 0, 4), strict=True))))


def test_one_hot_of_cells(cells):
    space = NASBench201()
    encoded = space.one_hot(cells[::10])
    assert encoded.shape == (1563, 30)
    assert np.array_equal(encoded, naive_one_hot(space, cells[::10]))
    assert np.array_equal(encoded, space.one_hot(np.array(cells[::10])))
