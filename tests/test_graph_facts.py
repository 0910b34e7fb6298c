"""Facts of graphs of operations against NetworkX, on random cells."""

import itertools

import networkx
import numpy as np

from archsearch.basics.operation_graphs import FACTS, OperationGraphs, chain, sets_of_kinds
from archsearch.models import GaussianProcess
from archsearch.models.encoding import encode
from archsearch.spaces import Choices, NASBench101, NASBench201

SPACE = NASBench201()


def expected(labels, adjacency, kinds, longest):
    """By enumeration of all paths."""
    graph = networkx.DiGraph(zip(*np.nonzero(adjacency), strict=True))
    graph.add_nodes_from(range(len(labels)))
    inside = {place for place, label in enumerate(labels) if label in kinds}
    paths = [path[1:-1] for path in networkx.all_simple_paths(graph, 0, len(labels) - 1)]
    through = [len(path) for path in paths if inside.issuperset(path)]
    most = [len(inside.intersection(path)) for path in paths]
    fed = sum(place in inside for place in graph.successors(0))
    feeding = sum(place in inside for place in graph.predecessors(len(labels) - 1))
    return [len(inside), min(through, default=longest + 1), max(most, default=0), fed, feeding]


def test_facts_of_cells_are_those_of_all_their_paths():
    rng = np.random.default_rng(0)
    for space in (SPACE, NASBench101()):
        graphs = space.operation_graphs([space.sample(rng) for _ in range(30)]).pruned()
        found = graphs.facts()
        sets = sets_of_kinds(graphs.kinds, 100)
        for row, labels, adjacency in zip(found, graphs.labels, graphs.adjacency, strict=True):
            for number, kinds in enumerate(sets):
                part = row[FACTS * number : FACTS * (number + 1)].tolist()
                assert part == expected(labels.tolist(), adjacency, kinds, graphs.longest)


def test_facts_do_not_depend_on_the_numbering():
    graphs = SPACE.operation_graphs([(3, 1, 2, 3, 4, 2), (2, 2, 0, 1, 3, 3)]).pruned()
    order = [0, 2, 1, 4, 3, 6, 5, 7]  # operations that may change places: no edge leads backwards
    exchanged = OperationGraphs(
        graphs.kinds, graphs.labels[:, order], graphs.adjacency[:, order][:, :, order], graphs.longest
    )
    assert not np.tril(exchanged.adjacency).any()
    assert (exchanged.facts() == graphs.facts()).all()
    assert graphs.facts().shape == (2, FACTS * 15)


def test_sets_of_kinds_are_whole_sizes():
    assert sets_of_kinds(4, 100) == [s for size in (1, 2, 3, 4) for s in itertools.combinations(range(4), size)]
    assert sets_of_kinds(13, 102) == [*((kind,) for kind in range(13)), *itertools.combinations(range(13), 2)]
    assert sets_of_kinds(300, 102) == [(kind,) for kind in range(300)]
    assert chain(np.array([[0, 1, -1]]), 2).facts().tolist() == [[1, 4, 1, 1, 0, 1, 4, 1, 0, 1, 2, 2, 2, 1, 1]]


def test_a_space_without_graphs_has_one_hot_in_their_place():
    space = Choices({"operation": ["conv", "pool", "skip"], "width": [16, 32]})
    drawn = [space.sample(np.random.default_rng(seed)) for seed in range(8)]
    assert (encode(space, drawn, ["facts"])[0] == space.one_hot(drawn)).all()


def test_models_take_facts():
    rng = np.random.default_rng(0)
    cells = [SPACE.sample(rng) for _ in range(40)]
    model = GaussianProcess(["facts"])
    model.fit(SPACE, cells, [sum(option == 3 for option in cell) for cell in cells], 0)
    assert np.isfinite(model.predict(cells).mean).all()
