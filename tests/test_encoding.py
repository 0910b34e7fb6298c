"""Architectures as numbers: against paths that networkx lists, brute-force reachability, and hand-made graphs."""

import itertools

import networkx
import numpy as np
import pytest
from common import Tree

from archsearch.basics.operation_graphs import OperationGraphs, chain, path_columns
from archsearch.errors import UsageError
from archsearch.models.encoding import checked_encodings, encode, has_graphs
from archsearch.space import tokens, vocabulary
from archsearch.spaces import DARTS, Choices, ConvChain, MobileNet, NASBench101, NASBench201, darts, nasbench101

SPACES = {
    "DARTS": DARTS,
    "MobileNet": MobileNet,
    "NASBench101": NASBench101,
    "NASBench201": NASBench201,
    "ConvChain": ConvChain,
    "Choices": lambda: Choices({"operation": ["conv", "pool", "skip"], "width": [16, 32]}),
    "Tree": Tree,
}
KINDS = {"MobileNet": 7, "ConvChain": 10, "Choices": 5, "Tree": 10}
"""Options of all kinds of decisions, where a space says nothing of graphs."""
LAYERED = {
    "depth": [1, 2],
    "op": {"options": ["conv", "pool"], "repeat": "depth"},
    "width": [16, 32],
}
ALL = ["one_hot", "operations", "adjacency", "paths", "path_bits", "counts"]


def some(space, n, seed=0):
    rng = np.random.default_rng(seed)
    return [space.sample(rng) for _ in range(n)]


def column(sequence, kinds):
    """Where the path encoding has a sequence of kinds: after all shorter ones, in lexicographic order."""
    number = 0
    for kind in sequence:
        number = number * kinds + kind
    return sum(kinds**length for length in range(len(sequence))) + number


def expected_paths(sequences, kinds, columns):
    found = np.zeros(columns)
    for sequence in sequences:
        if column(sequence, kinds) < columns:
            found[column(sequence, kinds)] += 1
    return found


# -- graphs of the spaces ------------------------------------------------------------------------


def paths_201(architecture):
    """Operations along each path from input to output, ``none`` left out."""
    graph = NASBench201().graph(architecture)
    names = ("skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    for path in networkx.all_simple_edge_paths(graph, 0, 3):
        yield [names.index(graph.edges[edge]["label"]) for edge in path]


def paths_101(architecture):
    graph = NASBench101().graph(architecture)
    for path in networkx.all_simple_edge_paths(graph, 0, len(graph) - 1):
        yield [nasbench101.OPERATIONS.index(graph.nodes[edge[1]]["label"]) for edge in path[:-1]]


def paths_darts(architecture):
    """The kinds of a cell: its two inputs, then its operations."""
    graph = DARTS().graph(architecture)
    for number, cell in enumerate(darts.CELLS):
        for place, start in enumerate(("c[k-2]", "c[k-1]")):
            for path in networkx.all_simple_edge_paths(graph, f"{cell} {start}", f"{cell} output"):
                operations = [darts.OPERATIONS.index(graph.edges[edge]["label"]) for edge in path[:-1]]
                yield [9 * number + kind for kind in (place, *(2 + operation for operation in operations))]


@pytest.mark.parametrize(
    ("space", "listed", "columns"),
    [(NASBench201(), paths_201, 85), (NASBench101(), paths_101, 364), (DARTS(), paths_darts, 6175)],
    ids=["NASBench201", "NASBench101", "DARTS"],
)
def test_paths_are_those_that_networkx_lists(space, listed, columns):
    architectures = some(space, 60)
    graphs = space.operation_graphs(architectures)
    found = graphs.paths(10_000)
    assert found.shape == (60, columns)
    np.testing.assert_array_equal(found, graphs.pruned().paths(10_000), "what is on no path is on no path")
    for row, architecture in zip(found, architectures, strict=True):
        np.testing.assert_array_equal(row, expected_paths(listed(architecture), graphs.kinds, columns))


def test_the_longest_paths_of_darts_are_a_chain_of_all_nodes():
    graphs = DARTS().operation_graphs(some(DARTS(), 200))
    longest = max(len(path) for architecture in some(DARTS(), 200) for path in paths_darts(architecture))
    assert longest == graphs.longest == 5


def test_nasbench101_has_the_published_number_of_paths():
    # Sequences of 0 to 5 operations out of 3: White et al., section 4.
    assert encode(NASBench101(), some(NASBench101(), 3), ["path_bits"])[0].shape == (3, 364)
    assert path_columns(3, 5) == [1, 3, 9, 27, 81, 243]


def test_renumbering_a_nasbench101_cell_changes_neither_paths_nor_counts():
    space, rng, renumbered = NASBench101(), np.random.default_rng(1), 0
    for architecture in some(space, 40):
        graph = space.graph(architecture)
        order = [0, *(rng.permutation(len(graph) - 2) + 1).tolist(), len(graph) - 1]
        # Vertices in an order that keeps edges leading upwards: the drawn one decides between those that are free.
        order = list(networkx.lexicographical_topological_sort(networkx.DiGraph(graph), key=order.index))
        new = {old: number for number, old in enumerate(order)}
        masks = [sum(1 << new[source] for source in graph.predecessors(old)) for old in order]
        operations = [nasbench101.OPERATIONS.index(graph.nodes[old]["label"]) for old in order[1:-1]]
        other = space.from_cell(nasbench101.Cell(tuple(masks), tuple(operations)))
        renumbered += other != architecture
        for one, two in zip(
            *(encode(space, [each], ["paths", "counts"]) for each in (architecture, other)), strict=True
        ):
            np.testing.assert_array_equal(one, two)
    assert renumbered >= 10


def test_renumbering_the_nodes_of_darts_changes_neither_paths_nor_counts():
    space = DARTS()
    architectures = some(space, 100)
    canonical = [space.canonical(architecture) for architecture in architectures]
    assert sum(one != two for one, two in zip(architectures, canonical, strict=True)) >= 20
    for one, two in zip(
        *(encode(space, each, ["paths", "counts"], 7000) for each in (architectures, canonical)), strict=True
    ):
        np.testing.assert_array_equal(one, two)


def test_a_small_cell_leaves_places_empty():
    space = NASBench101()
    small = space.parse("0100001000010000 input,maxpool3x3,conv3x3-bn-relu,output")
    graphs = space.operation_graphs([small])
    assert graphs.labels.tolist() == [[-1, 2, 0, -1, -1, -1, -1]]
    assert np.argwhere(graphs.adjacency[0]).tolist() == [[0, 1], [1, 2], [2, 6]]


def test_a_cell_without_operations_is_a_path_of_none():
    space = NASBench101()
    graphs = space.operation_graphs([space.parse("0100 input,output")])
    assert graphs.paths().nonzero()[1].tolist() == [0]
    smallest = NASBench101(max_vertices=2)
    assert encode(smallest, [smallest.parse("0100 input,output")], ["paths", "operations"])[0].tolist() == [[1.0]]


def test_a_pruned_cell_of_nasbench201_forgets_what_is_cut_off():
    space = NASBench201()
    # Node 1 has no way on and node 2 no way in, so that the edges 0->1 and 2->3 do not matter.
    lost, plain = (3, 0, 0, 3, 0, 2), (0, 0, 0, 3, 0, 0)
    for encoding in ("operations", "adjacency", "paths", "counts"):
        one, two = encode(space, [lost, plain], [encoding])[0]
        np.testing.assert_array_equal(one, two)
    one, two = encode(space, [lost, plain], ["one_hot"])[0]
    assert (one != two).any()


# -- any graphs ----------------------------------------------------------------------------------


def random_graphs(n, places, kinds=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, kinds, (n, places))
    labels[:, 0] = labels[:, -1] = -1
    there = labels >= 0
    there[:, 0] = there[:, -1] = True
    adjacency = np.triu(rng.random((n, places, places)) < 0.3, 1) & there[:, :, None] & there[:, None, :]
    return OperationGraphs(kinds, labels, adjacency, places - 2)


def test_pruning_agrees_with_reachability():
    graphs = random_graphs(200, 7)
    pruned = graphs.pruned()
    for i in range(200):
        graph = networkx.from_numpy_array(graphs.adjacency[i], create_using=networkx.DiGraph)
        from_input, to_output = networkx.descendants(graph, 0), networkx.ancestors(graph, 6)
        kept = {place for place in range(1, 6) if place in from_input and place in to_output}
        assert set(np.flatnonzero(pruned.labels[i] >= 0)) == kept
        edges = {(a, b) for a, b in graph.edges if {a, b} <= kept | {0, 6}}
        assert set(map(tuple, np.argwhere(pruned.adjacency[i]).tolist())) == edges
    assert (pruned.labels != graphs.labels).any()
    np.testing.assert_array_equal(
        graphs.labels, random_graphs(200, 7).labels, "the graphs that were pruned are as before"
    )


def test_paths_of_random_graphs_are_those_that_networkx_lists():
    graphs = random_graphs(100, 7, seed=1)
    found = graphs.paths()
    for i in range(100):
        graph = networkx.from_numpy_array(graphs.adjacency[i], create_using=networkx.DiGraph)
        listed = [[graphs.labels[i, place] for place in path[1:-1]] for path in networkx.all_simple_paths(graph, 0, 6)]
        np.testing.assert_array_equal(found[i], expected_paths(listed, 3, 364))
    assert found.max() > 1, "paths are counted, not only noted"


def test_truncated_paths_are_the_first_columns():
    graphs = random_graphs(50, 7)
    whole = graphs.paths(364)
    for columns in (1, 3, 4, 12, 13, 100, 363):
        part = graphs.paths(columns)
        assert part.shape[1] <= columns
        assert part.shape[1] in (1, 4, 13, 40, 121, 364), "whole lengths only"
        np.testing.assert_array_equal(part, whole[:, : part.shape[1]])


def test_chains():
    graphs = chain(np.array([[0, 2, 1], [1, -1, -1], [-1, -1, -1]]), 3)
    assert graphs.labels.tolist() == [[-1, 0, 2, 1, -1], [-1, 1, -1, -1, -1], [-1] * 5]
    assert [np.argwhere(each).tolist() for each in graphs.adjacency] == [
        [[0, 1], [1, 2], [2, 3], [3, 4]],
        [[0, 1], [1, 4]],
        [[0, 4]],
    ]
    assert [np.flatnonzero(row).tolist() for row in graphs.paths()] == [[column((0, 2, 1), 3)], [column((1,), 3)], [0]]


# -- rows of numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPACES)
def test_rows_have_one_shape_and_do_not_depend_on_their_company(name):
    space = SPACES[name]()
    architectures = some(space, 12)
    together = encode(space, architectures, ALL)
    graphs = space.operation_graphs(architectures)
    inner, places = graphs.labels.shape[1] - 2, graphs.labels.shape[1]
    paths = [sum(path_columns(graphs.kinds, graphs.longest))] * 2
    one_hot = space.one_hot(architectures).shape[1]
    if has_graphs(space):
        operations = inner * graphs.kinds
        widths = [one_hot, operations, operations + places * (places - 1) // 2, *paths, graphs.kinds]
    else:
        widths = [one_hot, one_hot, one_hot, *paths, KINDS[name]]
    assert [rows.shape for rows in together] == [(12, width) for width in widths]
    assert all(rows.dtype == np.float32 for rows in together)
    for place, architecture in enumerate(architectures):
        for rows, alone in zip(together, encode(space, [architecture], ALL), strict=True):
            np.testing.assert_array_equal(rows[place], alone[0])
    assert [rows.shape for rows in encode(space, [], ALL[1:])] == [(0, width) for width in widths[1:]]
    np.testing.assert_array_equal(together[4], together[3] > 0)
    if has_graphs(space):
        np.testing.assert_array_equal(together[5], together[1].reshape(12, inner, -1).sum(1))
    else:
        assert together[5].sum(1).tolist() == list(map(len, architectures))


@pytest.mark.parametrize("name", SPACES)
def test_tokens_say_decision_and_option(name):
    space = SPACES[name]()
    architectures = some(space, 12)
    found = tokens(space, architectures)
    assert found.shape == (12, space.max_length)
    assert found.max() <= vocabulary(space)
    numbers: dict[int, str] = {}
    for row, architecture in zip(found, architectures, strict=True):
        there = row[row > 0] - 1
        assert tuple(there % space.max_options) == architecture
        names = [space.label(architecture[:i]) for i in range(len(architecture))]
        for number, label in zip((there // space.max_options).tolist(), names, strict=True):
            assert numbers.setdefault(number, label) == label
        assert not row[len(architecture) :].any()
    assert len(set(numbers.values())) == len(numbers)
    assert tokens(space, []).shape == (0, space.max_length)


def test_decisions_are_known_by_name_wherever_they_stand():
    space = Choices(LAYERED)
    one, other = (
        space.encode(each)
        for each in (
            {"depth": 1, "op.1": "pool", "width": 32},
            {"depth": 2, "op.1": "pool", "op.2": "conv", "width": 32},
        )
    )
    assert (one.index(1, 2), other.index(1, 3)) == (2, 3), "the width stands at another place"
    rows = space.one_hot([one, other])
    names = [
        (name, option)
        for name, n in zip(space.by_name.names, space.by_name.options, strict=True)
        for option in [*range(n), None]
    ]
    differ = {names[column] for column in np.flatnonzero(rows[0] != rows[1])}
    assert differ == {("depth", 0), ("depth", 1), ("op.2", 0), ("op.2", None)}
    counts = dict(
        zip(
            [("depth", 0), ("depth", 1), ("op", "conv"), ("op", "pool"), ("width", 16), ("width", 32)],
            encode(space, [other], ["counts"])[0][0].tolist(),
            strict=True,
        )
    )
    assert counts == {
        ("depth", 0): 0,
        ("depth", 1): 1,
        ("op", "conv"): 1,
        ("op", "pool"): 1,
        ("width", 16): 0,
        ("width", 32): 1,
    }


def test_decisions_of_a_space_too_large_to_walk_through_are_known_by_place(monkeypatch):
    monkeypatch.setattr("archsearch.basics.decisions.WALKED", 2)
    monkeypatch.setattr("archsearch.basics.decisions.SAMPLED", 0)
    space = Choices({"depth": [1, 2, 3], "op": {"options": ["conv", "pool"], "repeat": "depth"}})
    everything = list(space.enumerate())
    assert "op.3" not in space.by_name.names
    assert len(np.unique(space.one_hot(everything), axis=0)) == len(everything) == 14


def test_architectures_of_different_lengths_get_different_rows():
    space = Tree()
    architectures = list(space.enumerate())
    assert len(set(map(len, architectures))) == 3
    for rows in (*encode(space, architectures, ["one_hot", "operations", "adjacency"]), tokens(space, architectures)):
        assert len(np.unique(rows, axis=0)) == len(architectures)


def test_adjacency_tells_all_small_cells_apart():
    space = NASBench101(max_vertices=4)
    architectures = list(space.enumerate())
    rows = encode(space, architectures, ["adjacency"])[0]
    assert len(np.unique(rows, axis=0)) == len(architectures) > 50


@pytest.mark.parametrize("encodings", ["paths", [], ["paths", "pathes"]])
def test_unknown_encodings_are_refused(encodings):
    with pytest.raises(UsageError, match="encodings: expected a list of any of one_hot, operations, adjacency"):
        checked_encodings("Model", encodings)


def test_arrays_of_options_are_encoded_as_tuples_are():
    space = NASBench201()
    architectures = list(itertools.islice(space.enumerate(), 0, None, 997))
    for one, two in zip(*(encode(space, each, ALL) for each in (architectures, np.array(architectures))), strict=True):
        np.testing.assert_array_equal(one, two)
