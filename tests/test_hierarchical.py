"""The hierarchical space: motifs of operations, and a cell of motifs."""

import collections
import itertools

import networkx
import numpy as np
import pytest
import torch
from cells_lab import DIGITS, images, on_meta, sampled
from hypothesis import given
from hypothesis import strategies as st
from networkx.algorithms.isomorphism import categorical_multiedge_match
from scipy import stats
from spaces_lab import ALPHA, QUICK

from archsearch import search
from archsearch.controllers import RandomSearch
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.evaluators import OneShot, Training
from archsearch.networks.multiply_adds import parameter_count
from archsearch.networks.network import InputShape, build
from archsearch.spaces import Hierarchical
from archsearch.spaces.hierarchical import OPERATIONS

SPACE = Hierarchical(channels=4)
TINY = Hierarchical(motifs=1, nodes=3, cell_nodes=3)
"""7^3 * 2^3 = 2,744 encodings, all of which are looked at."""


def assembled(space, architecture):
    """The flat graph by another way: each cell edge is replaced by a relabelled copy of a motif's own graph."""
    graphs, options = [], list(architecture)
    for nodes in [space.nodes] * space.motifs + [space.cell_nodes]:
        graph = networkx.DiGraph()
        graph.add_nodes_from(range(nodes))
        for end in range(1, nodes):
            for begin in range(end):
                option = options.pop(0)
                if option:
                    graph.add_edge(begin, end, option=option)
        graphs.append(graph)
    assert not options
    *motifs, cell = graphs
    flat = networkx.MultiDiGraph()
    flat.add_nodes_from((str(node),) for node in cell)
    for begin, end, motif in cell.edges(data="option"):
        names = {node: (str(begin), str(end), node) for node in motifs[motif - 1]}
        names |= {0: (str(begin),), space.nodes - 1: (str(end),)}
        for s, t, option in motifs[motif - 1].edges(data="option"):
            flat.add_edge(names[s], names[t], label=OPERATIONS[option])
    return flat


def pruned(space, flat):
    """Without what lies on no path from the input to the output."""
    begin, end = ("0",), (str(space.cell_nodes - 1),)
    kept = ({begin} | networkx.descendants(flat, begin)) & ({end} | networkx.ancestors(flat, end))
    graph = flat.subgraph(kept | {begin, end}).copy() if begin in kept else networkx.MultiDiGraph()
    graph.add_node(begin, end="input")
    graph.add_node(end, end="output")
    return graph


def labels(graph):
    return collections.Counter(label for *_, label in graph.edges(data="label"))


# -- counts, texts ---------------------------------------------------------------------------------


def test_the_count_of_encodings():
    space = Hierarchical()
    assert space.size() == 7**46
    assert f"{space.size():.1e}" == "7.5e+38"
    assert space.arities == (7,) * (6 * 6 + 10)
    assert TINY.size() == 2744 == len(list(TINY.enumerate()))
    names = [space.label((0,) * i) for i in (0, 3, 35, 36, 45)]
    assert names == ["motif 1 0->1", "motif 1 0->3", "motif 6 2->3", "cell 0->1", "cell 3->4"]


def test_texts():
    space = Hierarchical(motifs=2, nodes=3, cell_nodes=3)
    text = "motif 1: conv_1x1(0) | max_pool_3x3(0) identity(1) ; motif 2: - | separable_3x3(0) ; cell: 2(0) | 1(0) 2(1)"
    architecture = (1, 4, 6, 0, 3, 0, 2, 1, 2)
    assert space.parse(text) == architecture
    assert space.format(architecture) == text
    chain = "identity(0) | identity(1)"
    assert space.format(space.parse("identity")) == f"motif 1: {chain} ; motif 2: {chain} ; cell: 1(0) | 1(1)"
    for old, new in [
        ("2(1)", "3(1)"), ("2(1)", "2(2)"), ("2(1)", "2(1) 1(1)"), ("identity(1)", "none(1)"), ("- |", "|"),
        ("motif 2", "motif 3"), (" ; cell: 2(0) | 1(0) 2(1)", ""), ("conv_1x1(0)", "conv_9x9(0)"), ("2(1)", "2(1) | -"),
    ]:  # fmt: skip
        with pytest.raises(InvalidArchitecture, match="expected identity or a text such as"):
            space.parse(text.replace(old, new))


@QUICK
@given(st.integers(1, 3), st.integers(2, 5), st.integers(2, 5), st.integers(0, 2**32))
def test_texts_and_mutations_of_any_setting(motifs, nodes, cell_nodes, seed):
    space, rng = Hierarchical(motifs, nodes, cell_nodes), np.random.default_rng(seed)
    architecture = space.sample(rng)
    for _ in range(20):
        assert space.parse(space.format(architecture)) == architecture
        mutant = space.mutate(architecture, rng)
        assert mutant in space
        assert sum(a != b for a, b in zip(architecture, mutant, strict=True)) == 1
        assert mutant in set(space.neighbours(architecture))
        architecture = mutant


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"motifs": 0}, "motifs"), ({"nodes": 1}, "nodes"), ({"cell_nodes": 8}, "cell_nodes"), ({"cells": 0}, "cells")],
)
def test_settings_out_of_range(wrong, message):
    with pytest.raises(UsageError, match=f"Hierarchical: {message}: expected a whole number"):
        Hierarchical(**wrong)


# -- mutation --------------------------------------------------------------------------------------


def test_a_mutation_draws_level_motif_end_and_begin():
    """Half of all mutations are in the cell; an edge that ends in node t is one of t, and t is uniform."""
    space, rng = Hierarchical(motifs=2, nodes=3, cell_nodes=4), np.random.default_rng(0)
    architecture, n = space.sample(rng), 6000
    changes = collections.Counter()
    for _ in range(n):
        mutant = space.mutate(architecture, rng)
        changes[next((i, b) for i, (a, b) in enumerate(zip(architecture, mutant, strict=True)) if a != b)] += 1
    ends = [1, 2, 2, 1, 2, 2, 1, 2, 2, 3, 3, 3]
    expected = {}
    for i, end in enumerate(ends):
        share = 1 / (2 * 2 * 2 * end) if i < 6 else 1 / (2 * 3 * end)
        others = [option for option in range(space.arities[i]) if option != architecture[i]]
        expected |= {(i, option): n * share / len(others) for option in others}
    assert sum(expected.values()) == pytest.approx(n)
    assert set(changes) == set(expected)
    assert stats.chisquare([changes[key] for key in expected], list(expected.values())).pvalue > ALPHA


def test_a_thousand_mutations_of_the_identity_are_as_good_as_uniform():
    """The paper's first population. Each mutation leaves 1 - 7/6 p of an edge's bias, p its probability to be drawn."""
    rarest = 1 / 2 * 1 / 6 * 1 / 3 * 1 / 3
    assert (1 - 1 / 7) * (1 - 7 / 6 * rarest) ** 1000 < 2e-5
    space, rng, n = Hierarchical(), np.random.default_rng(0), 150
    drawn = []
    for _ in range(n):
        architecture = space.parse("identity")
        for _ in range(1000):
            architecture = space.mutate(architecture, rng)
        drawn.append(architecture)
    counts = np.array([np.bincount(column, minlength=7) for column in np.array(drawn).T])
    statistic = ((counts - n / 7) ** 2 / (n / 7)).sum()
    assert stats.chi2.sf(statistic, 46 * 6) > ALPHA


# -- the flat graph --------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [SPACE, Hierarchical(2, 2, 4), Hierarchical(3, 5, 3)], ids=["paper", "flat", "deep"])
def test_the_flat_graph_is_that_of_an_assembly(space):
    for architecture in [space.parse("identity"), *sampled(space, 30)]:
        expected = assembled(space, architecture)
        graph = space.graph(architecture)
        assert labels(graph) == labels(expected)
        assert labels(graph) == collections.Counter(space.flat(architecture).values())
        names = {node: f"{node[0]}->{node[1]}.{node[2]}" if len(node) > 1 else node[0] for node in expected}
        names |= {("0",): "input", (str(space.cell_nodes - 1),): "output"}
        relabelled = networkx.relabel_nodes(expected, names)
        assert set(relabelled) == set(graph)
        assert sorted(relabelled.edges(data="label")) == sorted(graph.edges(data="label"))


def test_a_change_of_a_motif_changes_every_place_that_uses_it():
    rng, seen = np.random.default_rng(0), set()
    for architecture in sampled(SPACE, 60):
        before = SPACE.flat(architecture)
        motif, edge = int(rng.integers(6)), int(rng.integers(6))
        uses = [SPACE.cell_edges[i] for i, option in enumerate(architecture[36:]) if option == motif + 1]
        position = motif * 6 + edge
        other = (architecture[position] + 1 + int(rng.integers(6))) % 7
        after = SPACE.flat((*architecture[:position], other, *architecture[position + 1 :]))
        changed = {place for place in before.keys() | after.keys() if before.get(place) != after.get(place)}
        assert changed == {(use, SPACE.motif_edges[edge]) for use in uses}
        seen.add(len(uses))
    assert seen >= {0, 1, 2, 3}, "motifs that are used so often"


def test_encodings_have_the_paths_of_the_flat_graph():
    space = Hierarchical(motifs=2, nodes=3, cell_nodes=3)
    architectures = sampled(space, 40)
    graphs = space.operation_graphs(architectures)
    assert graphs.longest == 4
    assert not np.tril(graphs.adjacency).any(), "edges lead to later places"
    kinds = {name: kind for kind, name in enumerate(OPERATIONS[1:])}
    sequences = [s for length in range(5) for s in itertools.product(range(6), repeat=length)]
    found = graphs.paths(columns=len(sequences))
    assert found.shape == (40, len(sequences))
    for row, architecture in zip(found, architectures, strict=True):
        flat = assembled(space, architecture)
        expected = collections.Counter(
            tuple(kinds[flat.edges[step]["label"]] for step in path)
            for path in networkx.all_simple_edge_paths(flat, ("0",), ("2",))
        )
        assert {s: int(n) for s, n in zip(sequences, row, strict=True) if n} == dict(expected)


# -- canonical form --------------------------------------------------------------------------------


def test_equal_forms_are_isomorphic_graphs():
    """All encodings of a small space; graphs without what lies on no path, with operations, input and output."""
    groups = collections.defaultdict(list)
    for architecture in TINY.enumerate():
        groups[TINY.canonical(architecture)].append(pruned(TINY, assembled(TINY, architecture)))
    match = {"edge_match": categorical_multiedge_match("label", None), "node_match": lambda a, b: a == b}
    for first, *others in groups.values():
        distinct = {tuple(sorted(other.edges(data="label"))): other for other in others}
        assert all(networkx.is_isomorphic(first, other, **match) for other in distinct.values())
    assert 200 < len(groups) < 2744
    none = [pruned(TINY, assembled(TINY, a)).number_of_edges() == 0 for a in TINY.enumerate()]
    assert sum(none) > 1
    dead = {TINY.canonical(a) for a, dead in zip(TINY.enumerate(), none, strict=True) if dead}
    assert dead == {()}, "all that computes nothing is one"


def test_what_does_not_count():
    rng = np.random.default_rng(0)
    for architecture in sampled(SPACE, 40):
        motifs = [architecture[i : i + 6] for i in range(0, 36, 6)]
        form = SPACE.canonical(architecture)
        order = rng.permutation(6).tolist()  # motif i becomes number order[i]
        permuted = sorted(zip(order, motifs, strict=True))
        cell = tuple(order[option - 1] + 1 if option else 0 for option in architecture[36:])
        assert SPACE.canonical((*itertools.chain.from_iterable(m for _, m in permuted), *cell)) == form
        for unused in set(range(6)) - {option - 1 for option in architecture[36:]}:
            other = tuple(rng.integers(7, size=6).tolist())
            changed = [*motifs[:unused], other, *motifs[unused + 1 :]]
            assert SPACE.canonical((*itertools.chain.from_iterable(changed), *architecture[36:])) == form
        # Nodes 1 and 2 of a motif have no edge between them once it is cut: they may change their numbers.
        one, two = ((*m[:2], 0, *m[3:]) for m in motifs[:2])
        swapped = (one[1], one[0], 0, one[3], one[5], one[4])
        rest = itertools.chain.from_iterable([two, *motifs[2:], architecture[36:]])
        rest = tuple(rest)
        assert SPACE.canonical((*swapped, *rest)) == SPACE.canonical((*one, *rest))


def test_what_counts():
    identity = SPACE.parse("identity")
    forms = {SPACE.canonical(other) for other in SPACE.neighbours(identity)}
    # A used motif's chain with another operation: 3 edges, 5 others; they are told apart by place.
    chain = [(0, 1), (1, 2), (2, 3)]
    changed = {
        SPACE.canonical((*identity[:i], option, *identity[i + 1 :]))
        for i, edge in enumerate(SPACE.motif_edges)
        if edge in chain
        for option in range(1, 6)
    }
    assert len(changed) == 15
    assert changed < forms
    assert SPACE.canonical(identity) not in changed


# -- networks --------------------------------------------------------------------------------------


def test_weights_belong_to_places():
    """A convolution of 1x1 in motif 1, which all four edges of the chain use, is there four times in each cell."""
    identity = SPACE.parse("identity")
    conv = (1, *identity[1:])
    sizes = [parameter_count(on_meta(lambda a=a: SPACE.network(a, DIGITS))) for a in (identity, conv)]
    # A convolution, and scale and shift, for 4, 8 and 16 channels.
    assert sizes[1] - sizes[0] == 4 * sum(c * c + 2 * c for c in (4, 8, 16))
    doubled = on_meta(lambda: SPACE.network(conv, DIGITS, cells=2))
    assert parameter_count(doubled) - sizes[1] == sizes[1] - sizes[0]
    assert parameter_count(on_meta(lambda: Hierarchical(channels=8).network(identity, DIGITS))) > sizes[0]


def test_an_identity_passes_the_stem_on():
    network = build(lambda: SPACE.network(SPACE.parse("identity"), DIGITS), 0).eval()
    x = network.stem(images())
    for layer in (network.layers[1], network.layers[3], network.layers[5]):
        x = layer(x)
    assert torch.equal(network(images()), network.head(x))
    nothing = (0,) * 46
    constant = build(lambda: SPACE.network(nothing, DIGITS), 0).eval()(images())
    assert torch.equal(constant, constant[:1].expand_as(constant))


def pulled(node, options, x, edge, join):
    """What a node of a graph is, asked from behind; None if nothing arrives. Node 0 is ``x``."""
    if node == 0:
        return x
    arrived = {}
    for source in range(node):
        option = options[node * (node - 1) // 2 + source]
        value = pulled(source, options, x, edge, join) if option else None
        output = None if value is None else edge(source, node, option, value)
        if output is not None:
            arrived[source] = output
    return join(node, arrived) if len(arrived) > 1 else next(iter(arrived.values()), None)


def test_the_cell_computes_what_is_pulled_from_its_output():
    def joined(graph):
        return lambda node, arrived: graph.joins[str(node)](list(arrived.values()), list(arrived))

    def of_motif(motif):
        return lambda s, t, option, value: motif.edges[f"{s}-{t}"][OPERATIONS[option]](value)

    x, computed = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2)), 0
    for architecture in [*sampled(SPACE, 12), SPACE.parse("identity"), (0,) * 46]:
        cell = build(lambda a=architecture: SPACE.network(a, DIGITS), 0).eval().layers[0]

        def motif(s, t, option, value, cell=cell, architecture=architecture):
            options, there = architecture[6 * option - 6 : 6 * option], f"{s}-{t}" in cell.edges
            inside = cell.edges[f"{s}-{t}"] if there else None
            return pulled(3, options, value, of_motif(inside), joined(inside))

        expected = pulled(4, architecture[36:], x, motif, joined(cell))
        computed += expected is not None
        found = cell(x, SPACE.plan(architecture))
        assert torch.equal(found, torch.zeros_like(x) if expected is None else expected)
    assert computed > 8


@pytest.mark.parametrize("side", [8, 9, 32])
def test_gradients_reach_all_weights(side):
    task = InputShape((3, side, side), 5)
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    for architecture in sampled(SPACE, 3):
        network = build(lambda a=architecture: SPACE.network(a, task), 0)
        again = build(lambda a=architecture: SPACE.network(a, task), 0)
        assert torch.equal(network(x), again(x))
        network(x).sum().backward()
        assert all(value.grad is not None for value in network.parameters())


@pytest.mark.parametrize("shared", [False, True])
def test_trained_alone_and_shared(shared):
    training = Training(epochs=1, train_examples=32, batch_size=16)
    evaluator = OneShot(training=training, epochs=1) if shared else training
    history = search(Hierarchical(2, 3, 3, channels=2), RandomSearch(), evaluator, trials=2, seed=0).history
    assert [trial.failure for trial in history] == ["", ""]
    assert all(0 <= trial.score <= 100 for trial in history)
