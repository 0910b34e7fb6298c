"""``NASBench101``: mutation and neighbours, against what is written here a second time."""

from __future__ import annotations

import collections
import itertools

import networkx
import numpy as np
import pytest
from nasbench101_lab import on_paths
from scipy import stats

from archsearch.spaces.nasbench101 import NASBench101
from archsearch.spaces.networks.nasbench101_cell import OPERATIONS

ALPHA = 1e-4
"""Margin of the chi-square tests. Seeds are fixed: a right sampler that passes once always passes."""


def mutants(space: NASBench101, architecture) -> dict[tuple[int, ...], float]:
    """Probability of each mutant, from all that can be drawn; written from the rule, with matrices."""
    slots = space.max_vertices
    matrix, operations = space.decode(architecture)
    pairs = list(itertools.combinations(range(slots), 2))
    ways = [
        (places, free)
        for places in itertools.combinations(range(1, slots - 1), len(matrix) - 2)
        for free in itertools.product(OPERATIONS, repeat=slots - len(matrix))
    ]
    total: collections.Counter[tuple[int, ...]] = collections.Counter()
    for places, free in ways:
        spread, rest = np.zeros((slots, slots), int), list(free)
        spread[np.ix_([0, *places, slots - 1], [0, *places, slots - 1])] = matrix
        names = [operations[1 + places.index(i)] if i in places else rest.pop() for i in range(1, slots - 1)]
        found: collections.Counter[tuple[int, ...]] = collections.Counter()
        for flips in itertools.product((0, 1), repeat=len(pairs)):
            changed = spread.copy()
            for pair, flip in zip(pairs, flips, strict=True):
                changed[pair] ^= flip
            kept = on_paths(changed)
            pruned = changed[np.ix_(kept, kept)]
            if not kept or pruned.sum() > space.max_edges:
                continue
            p = 1 / len(pairs)
            edges = p ** sum(flips) * (1 - p) ** (len(pairs) - sum(flips))
            for new in itertools.product(OPERATIONS, repeat=slots - 2):
                differing = sum(a != b for a, b in zip(names, new, strict=True))
                q = 1 / (slots - 2)
                chance = edges * (q / 2) ** differing * (1 - q) ** (slots - 2 - differing)
                cell = ["input", *(new[vertex - 1] for vertex in kept[1:-1]), "output"]
                child = space.parse("".join(map(str, pruned.flatten())) + " " + ",".join(cell))
                if child != architecture:
                    found[child] += chance
        for child, chance in found.items():
            total[child] += chance / sum(found.values()) / len(ways)
    return total


@pytest.mark.parametrize(
    ("max_edges", "text"),
    [
        (9, "0110001100010000 input,conv1x1-bn-relu,maxpool3x3,output"),
        (5, "0111000100010000 input,maxpool3x3,maxpool3x3,output"),
        (9, "011001000 input,conv3x3-bn-relu,output"),
        (9, "0100 input,output"),
    ],
)
def test_mutation_follows_the_rule(max_edges, text):
    space, rng = NASBench101(4, max_edges), np.random.default_rng(0)
    parent = space.parse(text)
    chances = mutants(space, parent)
    assert sum(chances.values()) == pytest.approx(1)
    n = 10_000
    drawn = collections.Counter(space.mutate(parent, rng) for _ in range(n))
    assert set(drawn) <= set(chances)
    common = [each for each, chance in chances.items() if chance * n >= 5]
    expected = [chances[each] * n for each in common]
    observed = [drawn[each] for each in common]
    assert len(common) > 20
    rare = n - sum(expected)
    assert stats.chisquare([*observed, n - sum(observed)], [*expected, rare]).pvalue > ALPHA


def test_mutation_changes_how_many_vertices_there_are():
    space, rng = NASBench101(), np.random.default_rng(0)
    sizes = collections.Counter()
    architecture = space.parse("0100 input,output")
    for _ in range(3_000):
        mutant = space.mutate(architecture, rng)
        assert mutant in space
        assert mutant != architecture
        sizes[mutant[0] - architecture[0]] += 1
        architecture = mutant
    assert sum(n for step, n in sizes.items() if step > 0) > 100
    assert sum(n for step, n in sizes.items() if step < 0) > 100


def by_hand(space: NASBench101, architecture, everything) -> set[tuple[int, ...]]:
    """The neighbours, found by comparing with all cells of the space."""
    matrix, operations = (np.array(part) for part in space.decode(architecture))
    n = len(matrix)
    near = set()

    def add(smaller, names):
        kept = on_paths(smaller)
        if kept:
            text = "".join(map(str, smaller[np.ix_(kept, kept)].flatten())) + " " + ",".join(names[kept])
            near.add(space.parse(text))

    def without(cell, vertex):
        """What is left of a cell if a vertex with one edge in and one out goes, without and with an edge instead."""
        source, target = np.flatnonzero(cell[:, vertex])[0], np.flatnonzero(cell[vertex])[0]
        for bridge in (cell[source, target], 1):
            smaller = cell.copy()
            smaller[source, target] = bridge
            yield target, np.delete(np.delete(smaller, vertex, 0), vertex, 1)

    for source, target in np.argwhere(matrix):
        smaller = matrix.copy()
        smaller[source, target] = 0
        add(smaller, operations)
    for vertex in range(1, n - 1):
        if matrix[vertex].sum() == matrix[:, vertex].sum() == 1:
            for _, smaller in without(matrix, vertex):
                add(smaller, np.delete(operations, vertex))
    for other in everything:
        longer, names = (np.array(part) for part in space.decode(other))
        if len(longer) == n:
            if (longer != matrix).sum() + (names != operations).sum() == 1:
                near.add(other)
        elif len(longer) == n + 1:
            for vertex in range(1, n):
                if longer[vertex].sum() != 1 or longer[:, vertex].sum() != 1:
                    continue
                for target, smaller in without(longer, vertex):
                    same = (smaller == matrix).all() and (np.delete(names, vertex) == operations).all()
                    if same and target == vertex + 1:
                        near.add(other)
    return near - {architecture}


@pytest.mark.parametrize("max_edges", [9, 5])
def test_neighbours_are_one_step_away(max_edges):
    space = NASBench101(5, max_edges)
    everything = list(space.enumerate())
    for architecture in everything[:: len(everything) // 12]:
        near = list(space.neighbours(architecture))
        assert len(near) == len(set(near))
        assert set(near) == by_hand(space, architecture, everything)


@pytest.mark.parametrize("settings", [(5, 9), (5, 5), (4, 3), (3, 2)], ids=str)
def test_every_cell_can_be_reached(settings):
    space = NASBench101(*settings)
    graph = networkx.DiGraph()
    for architecture in space.enumerate():
        code = space.canonical(architecture)
        graph.add_edges_from((code, space.canonical(other)) for other in space.neighbours(architecture))
    assert len(graph) == len(set(map(space.canonical, space.enumerate())))
    assert networkx.is_strongly_connected(graph)
