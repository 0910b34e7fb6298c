"""The space of GOLD-NAS: published counts, its rule of equality, its networks, its distribution."""

import itertools
import math

import networkx
import numpy as np
import pytest
import torch
from test_mixture import DIGITS

from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.networks.multiply_adds import multiply_adds, parameter_count
from archsearch.networks.network import build
from archsearch.spaces import GOLDNAS
from archsearch.spaces.darts import RELAXED_EDGES
from archsearch.spaces.gold_nas import CELL_SIZE, LETTERS, OPTIONS

SPACE = GOLDNAS(layers=3, channels=4)


def some(n, space=SPACE):
    return [space.sample(np.random.default_rng(seed)) for seed in range(n)]


def bits(architecture):
    """Operations that there are: (place of the edge, operation)."""
    return {(i, operation) for i, option in enumerate(architecture) for operation in OPTIONS[option]}


def test_published_counts():
    assert GOLDNAS(1).size() == CELL_SIZE == math.prod(4**k - 1 for k in (2, 3, 4, 5)) == 246_517_425
    assert GOLDNAS(14).size() == pytest.approx(3.06e117, rel=2e-3)
    assert GOLDNAS(20).size() == pytest.approx(6.9e167, rel=5e-3)
    for layers in (1, 3, 14):  # as counted decision by decision
        assert GOLDNAS(layers)._count(()) == CELL_SIZE**layers


def test_the_decisions_of_a_node_are_its_states():
    """All ways through the edges into nodes 2 and 3: 15 times 63."""
    space = GOLDNAS(1)
    prefixes = [()]
    for _ in range(5):
        prefixes = [(*prefix, option) for prefix in prefixes for option in range(space.arity(prefix))]
    assert len(set(prefixes)) == 15 * 63
    assert all(set(p[:2]) != {3} and set(p[2:]) != {3} for p in prefixes)


def test_neighbours_flip_one_bit_and_leave_no_node_empty():
    for architecture in some(3):
        near = list(SPACE.neighbours(architecture))
        assert all(len(bits(other) ^ bits(architecture)) == 1 for other in near)
        lost = sum(
            len([b for b in bits(architecture) if b[0] // 14 == cell and RELAXED_EDGES[b[0] % 14][1] == node]) == 1
            for cell in range(3)
            for node in (2, 3, 4, 5)
        )
        assert len(near) == len(set(near)) == 2 * len(architecture) - lost
    bare = SPACE.parse(" ".join(["c-|s--|---c|----s"] * 3))
    assert len(list(SPACE.neighbours(bare))) == 84 - 12


def test_samples_reach_all_states_of_a_node_equally_often():
    rng, counts = np.random.default_rng(0), {}
    for _ in range(3000):
        state = GOLDNAS(1).sample(rng)[:2]
        counts[state] = counts.get(state, 0) + 1
    assert len(counts) == 15
    assert all(120 < count < 280 for count in counts.values())  # 200 expected; six standard deviations


def test_texts():
    text = "cb|-s-|bccs|----c sc|b--|---b|c-c-c cc|ccc|cccc|ccccc"
    architecture = SPACE.parse(text)
    assert SPACE.format(architecture) == text
    assert architecture[:5] == (0, 2, 3, 1, 3)
    for wrong, said in [
        ("cb|-s-|bccs|----c", "expected 3 cells"),
        (text.replace("-s-", "---"), "cell 0: expected nodes of 2, 3, 4 and 5 letters"),
        (text.replace("-s-", "-s"), "cell 0: expected"),
        (text.replace("ccccc", "ccxcc"), "cell 2: expected"),
    ]:
        with pytest.raises(InvalidArchitecture, match=said):
            SPACE.parse(wrong)
    with pytest.raises(UsageError, match="GOLDNAS: layers"):
        GOLDNAS(0)


# -- equality ------------------------------------------------------------------------------------


def renumbered(cell, order):
    """The cell whose node ``order[i]`` is called 2 + i; None if an edge would lead backwards."""
    new = {0: 0, 1: 1, **{node: 2 + i for i, node in enumerate(order)}}
    at = {}
    for (source, target), option in zip(RELAXED_EDGES, cell, strict=True):
        if option != 3 and new[source] > new[target]:
            return None
        at[new[source], new[target]] = option
    return tuple(at.get(edge, 3) for edge in RELAXED_EDGES)


def test_forms_are_those_of_all_allowed_numberings():
    for (first, *rest), order in zip(
        ([a[:14], a[14:]] for a in some(40)), itertools.cycle(itertools.permutations((2, 3, 4, 5)))
    ):
        other = renumbered(first, order)
        if other is not None:
            assert SPACE.canonical((*other, *rest[0])) == SPACE.canonical((*first, *rest[0]))
    for architecture in some(10):
        form = SPACE.canonical(architecture)
        assert form in SPACE
        assert SPACE.canonical(form) == form <= architecture


def test_equal_forms_are_isomorphic_graphs_and_others_are_not():
    """Of small cells, against a search for isomorphisms that keep inputs and labels."""
    space, rng = GOLDNAS(1), np.random.default_rng(0)
    cells = []
    for _ in range(14):
        cell = [3] * 14
        for target in (2, 3, 4, 5):
            cell[RELAXED_EDGES.index((int(rng.integers(target)), target))] = int(rng.integers(2))
        cells.append(tuple(cell))

    def graph(cell):
        found = networkx.DiGraph()
        for node in range(6):
            found.add_node(node, name=node if node < 2 else "node")
        for edge, option in zip(RELAXED_EDGES, cell, strict=True):
            if option != 3:
                found.add_edge(*edge, option=option)
        return found

    equal = 0
    for one, other in itertools.combinations([*cells, *filter(None, (renumbered(c, (3, 2, 4, 5)) for c in cells))], 2):
        same = networkx.is_isomorphic(
            graph(one), graph(other), lambda a, b: a["name"] == b["name"], lambda a, b: a["option"] == b["option"]
        )
        assert same == (space.canonical(one) == space.canonical(other))
        equal += same
    assert equal >= 5


# -- networks and graphs --------------------------------------------------------------------------


def test_a_cell_is_the_sum_of_all_operations_written_out():
    architecture = some(1)[0]
    network = build(lambda: SPACE.network(architecture, DIGITS), 0).eval()
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = last = network.stem(x)
        for number, cell in enumerate(network.cells):
            states = [cell.inputs[0](before), cell.inputs[1](last)]
            for target in (2, 3, 4, 5):
                total = 0
                for (source, end), option in zip(RELAXED_EDGES, architecture[14 * number :], strict=False):
                    for name in {"c": ["sep_conv_3x3"], "s": ["skip_connect"], "-": []}.get(
                        LETTERS[option], ["sep_conv_3x3", "skip_connect"]
                    ):
                        if end == target:
                            total = total + cell.edges[f"{source}-{target}"][name](states[source])
                states.append(total)
            before, last = last, torch.cat(states[2:], 1)
        torch.testing.assert_close(network(x), network.head(last))
    assert [cell.reduces for cell in network.cells] == [False, True, True]


def test_cells_have_operations_of_their_own():
    small, large = (
        SPACE.parse(f"{cell} cc|ccc|cccc|ccccc {cell}") for cell in ("s-|s--|s---|s----", "bb|ccc|cccc|cccccc"[:-1])
    )
    with torch.device("meta"):
        one, other = (SPACE.network(a, DIGITS) for a in (small, large))
    assert parameter_count(one.cells[1]) == parameter_count(other.cells[1])
    assert parameter_count(one.cells[0]) < parameter_count(other.cells[0])
    assert multiply_adds(one, DIGITS.input_shape) < multiply_adds(other, DIGITS.input_shape)


def test_graphs_of_operations_have_an_edge_for_each_that_follows_another():
    architectures = some(3)
    found = SPACE.operation_graphs(architectures)
    for i, architecture in enumerate(architectures):
        assert (found.labels[i] >= 0).sum() == 3 * 2 + len(bits(architecture))
        followers = 0
        for cell in range(3):
            own = [(RELAXED_EDGES[p - 14 * cell], o) for p, o in bits(architecture) if p // 14 == cell]
            ends = [0, 1, *(edge[1] for edge, _ in own)]
            followers += sum(end == edge[0] for end in ends for edge, _ in own)
        inner = found.adjacency[i, 1:-1, 1:-1]
        assert inner.sum() == followers
    assert (found.pruned().labels == found.labels).all()  # all nodes are fed and lead to the output
    graph = SPACE.graph(architectures[0])
    assert sum(label is not None for *_, label in graph.edges(data="label")) == len(bits(architectures[0]))


# -- the distribution --------------------------------------------------------------------------------


def test_probabilities_are_those_of_independent_operations_given_that_no_node_is_empty():
    space, rng = GOLDNAS(1), np.random.default_rng(0)
    strengths = [rng.random(2).tolist() for _ in space.relaxed_choices()]
    on = [s[1] / sum(s) for s in strengths]
    states = [p for p in itertools.product(range(4), repeat=3) if p != (3, 3, 3)]  # of node 3
    mass = {
        state: math.prod(
            on[4 + 2 * i + o] if o in OPTIONS[option] else 1 - on[4 + 2 * i + o]
            for i, option in enumerate(state)
            for o in (0, 1)
        )
        for state in states
    }
    total = sum(mass.values())
    for state in states:
        p = math.prod(space.relaxed_probabilities(strengths, (0, 0, *state[:i]))[state[i]] for i in range(3))
        assert p == pytest.approx(mass[state] / total)


def test_what_is_left_is_derived():
    """Operations that were wiped out have no strength; the others are kept once a threshold says so."""
    from archsearch.differentiable.discretisations import Threshold

    for architecture in some(5):
        kept = bits(architecture)
        strengths = [[0.9, 0.1] if divmod(i, 2) in kept else [1.0, 0.0] for i in range(len(SPACE.relaxed_choices()))]
        found = Threshold(1e-6).strengths(strengths, SPACE.relaxed_choices())
        prefix = ()
        while SPACE.arity(prefix):
            prefix += (int(np.argmax(SPACE.relaxed_probabilities(found, prefix))),)
        assert prefix == architecture
    nothing = [[1.0, 0.0]] * len(SPACE.relaxed_choices())
    assert sum(SPACE.relaxed_probabilities(nothing, ())) == pytest.approx(1)
