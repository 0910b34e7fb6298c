"""The space ``NASBench101``: all cells, their hashes and what is no cell, against the tables of EC-NAS.

EC-NAS (Bakhtiarifard, Igel & Selvan, ICASSP 2024) lists all cells of up to 5 vertices with their hashes and parameters.
"""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from nasbench101_lab import on_paths

from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.space import Space
from archsearch.spaces.nasbench101 import NASBench101
from archsearch.spaces.networks.nasbench101_cell import OPERATIONS, Cell
from archsearch.testing import SPACE_CHECKS

LABELLED = {2: 1, 3: 7, 4: 97, 5: 3_364, 6: 128_509, 7: 1_293_208}
"""Labelled cells by most vertices."""
DIFFERENT = {2: 1, 3: 7, 4: 91, 5: 2_532, 6: 64_542, 7: 423_624}


def cells_by_brute_force(max_vertices: int, max_edges: int) -> list[str]:
    """All cells as text, from all matrices."""
    texts = []
    for n in range(2, max_vertices + 1):
        pairs = list(itertools.combinations(range(n), 2))
        for bits in itertools.product((0, 1), repeat=len(pairs)):
            matrix = np.zeros((n, n), int)
            for (source, target), bit in zip(pairs, bits, strict=True):
                matrix[source, target] = bit
            if sum(bits) <= max_edges and on_paths(matrix) == list(range(n)):
                for operations in itertools.product(OPERATIONS, repeat=n - 2):
                    texts.append("".join(map(str, matrix.flatten())) + " " + ",".join(["input", *operations, "output"]))
    return texts


@pytest.mark.parametrize("settings", [{}, {"max_vertices": 4}, {"max_vertices": 6, "max_edges": 4}], ids=str)
@pytest.mark.parametrize("name", SPACE_CHECKS)
def test_keeps_the_contract(name, settings):
    SPACE_CHECKS[name](lambda: NASBench101(**settings))


@pytest.mark.parametrize("settings", [{"max_vertices": 2}, {"max_edges": 1}, {"max_vertices": 3, "max_edges": 2}])
@pytest.mark.parametrize("name", ["mutation_changes_it", "neighbours_are_others", "decisions_keep_their_bounds"])
def test_tiny_spaces_keep_the_contract(name, settings):
    SPACE_CHECKS[name](lambda: NASBench101(**settings))


def test_sizes_are_exact_and_quickly_counted():
    begun = time.perf_counter()
    assert {n: NASBench101(max_vertices=n).size() for n in LABELLED} == LABELLED
    assert time.perf_counter() - begun < 2
    assert NASBench101().size() == 1_293_208


@pytest.mark.parametrize(("max_vertices", "max_edges"), [(4, 9), (5, 9), (5, 5), (5, 4), (4, 3), (5, 2)])
def test_members_are_exactly_the_valid_graphs(max_vertices, max_edges):
    space = NASBench101(max_vertices, max_edges)
    expected = cells_by_brute_force(max_vertices, max_edges)
    everything = list(space.enumerate())
    assert sorted(map(space.format, everything)) == sorted(expected)
    assert [space.parse(space.format(architecture)) for architecture in everything] == everything
    assert [space.from_cell(space.cell(architecture)) for architecture in everything] == everything
    assert max(space.arity(each[:i]) for each in everything for i in range(len(each))) == space.max_options
    assert max(map(len, everything)) == space.max_length
    assert space.most_vertices == max(architecture[0] for architecture in everything) + 2


def test_all_published_cells_and_hashes(published_cells):
    assert len(published_cells) == 2_532
    assert sum(text.count(",") <= 3 for text, _ in published_cells.values()) == 91
    for space in (NASBench101(max_vertices=5), NASBench101()):
        for code, (text, _) in published_cells.items():
            architecture = space.parse(text)
            assert space.canonical(architecture) == code
            assert space.format(architecture) == text
    text = next(iter(published_cells.values()))[0]
    assert space.parse(f"  {text}\n") == space.parse(text)


@pytest.mark.parametrize("max_vertices", [2, 3, 4, 5, *(pytest.param(n, marks=pytest.mark.slow) for n in (6, 7))])
def test_different_cells_are_as_many_as_published(max_vertices):
    space = NASBench101(max_vertices=max_vertices)
    assert len(set(map(space.canonical, space.enumerate()))) == DIFFERENT[max_vertices]


def test_all_numberings_of_a_cell_have_its_hash():
    space, rng = NASBench101(), np.random.default_rng(0)
    several = 0
    for architecture in (space.sample(rng, "architectures") for _ in range(60)):
        matrix, operations = space.decode(architecture)
        edges = np.argwhere(matrix)
        for _ in range(20):
            order = np.array([0, *(1 + rng.permutation(len(matrix) - 2)), len(matrix) - 1])
            if all(order[source] < order[target] for source, target in edges):
                moved = np.zeros_like(matrix)
                moved[order[edges[:, 0]], order[edges[:, 1]]] = 1
                names = [operations[np.flatnonzero(order == vertex)[0]] for vertex in range(len(order))]
                other = space.parse("".join(map(str, moved.flatten())) + " " + ",".join(names))
                several += other != architecture
                assert space.canonical(other) == space.canonical(architecture)
    assert several > 50


def test_decisions_of_a_cell():
    space = NASBench101()
    cell = space.parse("0110000100010000 input,maxpool3x3,conv3x3-bn-relu,output")
    # Four vertices. Into 1: {0}. Into 2: {0}, of {0}, {1}, {0, 1}. Into the output: {1, 2}, of that and {0, 1, 2}.
    assert cell == (2, 0, 0, 0, 2, 0)
    assert [space.arity(cell[:i]) for i in range(7)] == [6, 1, 3, 2, 3, 3, 0]
    assert [space.label(cell[:i]) for i in range(6)] == [
        "vertices",
        "predecessors of 1",
        "predecessors of 2",
        "predecessors of output",
        "operation of 1",
        "operation of 2",
    ]
    assert space.cell(cell) == Cell((0, 0b001, 0b001, 0b110), (2, 0))
    matrix, operations = space.decode(cell)
    assert matrix == [[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    assert operations == ["input", "maxpool3x3", "conv3x3-bn-relu", "output"]
    graph = space.graph(cell)
    assert [graph.nodes[vertex]["label"] for vertex in range(4)] == operations
    assert sorted(graph.edges()) == [(0, 1), (0, 2), (1, 3), (2, 3)]


def test_membership_is_what_the_tree_says():
    space, rng = NASBench101(6, 7), np.random.default_rng(0)
    inside = 0
    for architecture in (space.sample(rng) for _ in range(500)):
        changed = list(architecture)
        changed[rng.integers(len(changed))] = int(rng.integers(-1, 6))
        for other in (tuple(changed), tuple(changed[:-1]), (*architecture, 0), architecture):
            assert (other in space) == Space.__contains__(space, other)
            inside += other in space
    assert 600 < inside < 1_000


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected 1x1 digits"),
        ("0100", "expected 1x1 digits"),
        ("0120 input,output", "expected 2x2 digits 0 or 1 for 2 operations"),
        ("010 input,output", "expected 2x2 digits"),
        ("0 input", "must begin with input and end with output"),
        ("0100 output,input", "must begin with input and end with output"),
        ("011001000 input,skip,output", "unknown operations skip; there are conv3x3-bn-relu, "),
        ("010001100 input,maxpool3x3,output", "unlike 2->0"),
        ("010011000 input,maxpool3x3,output", "unlike 1->1"),
        ("0000 input,output", "on no path from the input to the output: vertex 0, 1"),
        ("001001000 input,maxpool3x3,output", "on no path from the input to the output: vertex 1"),
        ("0111001100010000 input,maxpool3x3,maxpool3x3,output", "expected at most 5 edges, got 6"),
        ("0100000100000100000100000 input,maxpool3x3,maxpool3x3,maxpool3x3,output", "expected 2 to 4 vertices, got 5"),
    ],
)
def test_what_is_no_cell_is_refused(text, reason):
    with pytest.raises(InvalidArchitecture, match="is no cell of NASBench101: .*" + reason):
        NASBench101(max_vertices=4, max_edges=5).parse(text)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"max_vertices": 1}, "max_vertices: expected 2 to 9, got 1"),
        ({"max_vertices": 10}, "max_vertices: expected 2 to 9, got 10"),
        ({"max_edges": 0}, "max_edges: expected a whole number >= 1, got 0"),
        ({"channels": 3}, "channels: expected at least 4, since so many vertices may share them, got 3"),
        ({"modules": True}, "modules: expected a whole number >= 1, got True"),
    ],
)
def test_wrong_settings_are_refused(settings, reason):
    with pytest.raises(UsageError, match=reason):
        NASBench101(**settings)
