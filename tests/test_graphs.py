"""Graphs that are edited by moves: encodings, texts, canonical forms, inverses, and what moves promise."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys

import networkx
import numpy as np
import pytest

from archsearch.bridges.environment import ArchitectureEnv
from archsearch.components import load
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.evaluators import Function
from archsearch.graphs.graph import ADD, CONCAT, Graph, Node, chain
from archsearch.graphs.keys import Key, coloured, isomorphic
from archsearch.graphs.space import GraphSpace
from archsearch.spaces import EAS, LEMONADE, NASBOT, NASH, EvoNet, PathLevel
from archsearch.spaces.evonet import RATES, histories
from archsearch.spaces.nasbot import MASSES, STEPS

SPACES = {"EAS": EAS, "EvoNet": EvoNet, "LEMONADE": LEMONADE, "NASBOT": NASBOT, "NASH": NASH, "PathLevel": PathLevel}


def walked(space, steps, seed):
    """Architectures on a way of moves from the start."""
    rng, architecture = np.random.default_rng(seed), space.start
    for _ in range(steps):
        yield architecture
        architecture = space.mutate(architecture, rng)


def renumbered(graph: Graph, seed: int) -> Graph:
    """The same graph, its nodes in another order in which each reads earlier ones only."""
    rng, left, order = random.Random(seed), list(graph.numbers()), [0]
    while left:
        ready = [i for i in left if all(source in order for source in graph.node(i).inputs)]
        order.append(rng.choice(ready))
        left.remove(order[-1])
    return Graph(tuple(graph.node(i).reading(order.index(s) for s in graph.node(i).inputs) for i in order[1:]))


# -- every space of the kind -------------------------------------------------------------------


@pytest.mark.parametrize("name", SPACES)
def test_moves_give_connected_acyclic_graphs_of_the_space_and_inverses_restore_the_hash(name):
    space, rng = SPACES[name](), np.random.default_rng(1)
    kinds = set()
    for architecture in walked(space, 24, seed=0):
        if (move := space.move(architecture, rng)) is None:  # as large as it can be
            assert not space.moves(architecture)
            continue
        kinds.add(move.kind)
        child = move.architecture
        assert child in space
        assert space.encode(space.decode(child)) == child == space.parse(space.format(child))
        drawing = space.graph(child)
        assert networkx.is_directed_acyclic_graph(drawing)
        assert networkx.is_weakly_connected(drawing)
        assert networkx.descendants(drawing, 0) == set(drawing) - {0}
        assert networkx.ancestors(drawing, "output") == set(drawing) - {"output"}
        if move.inverse is not None:
            back = [m for m in space.moves(child) if m.kind == move.inverse]
            key = space.canonical(architecture)
            assert any(hash(space.canonical(m.architecture)) == hash(key) for m in back), move
            assert any(space.canonical(m.architecture) == key for m in back), move
    assert len(kinds) >= min(3, len(space.edits()))


@pytest.mark.parametrize("name", SPACES)
def test_what_is_drawn_is_among_the_moves_that_are_listed_and_neighbours_are_those(name):
    space, rng = SPACES[name](), np.random.default_rng(2)
    listed = space.moves(space.start)
    assert len({(m.kind, m.architecture) for m in listed}) == len(listed)
    assert all(space.move(space.start, rng) in listed for _ in range(10))
    assert set(space.neighbours(space.start)) == {m.architecture for m in listed} - {space.start}


@pytest.mark.parametrize("name", SPACES)
def test_sizes_are_bounded(name):
    space = SPACES[name](nodes=5)
    for architecture in walked(space, 15, seed=3):
        assert len(space.decode(architecture)) <= 5
        assert len(architecture) <= space.max_length


# -- canonical form ----------------------------------------------------------------------------


def test_equal_keys_are_isomorphic_graphs_and_others_are_not():
    space, rng = NASH(), np.random.default_rng(4)
    graphs = [space.decode(space.sample(rng)) for _ in range(60)]
    same = 0
    for i, graph in enumerate(graphs):
        twin = renumbered(graph, i)
        assert Key(graph) == Key(twin)
        assert hash(Key(graph)) == hash(Key(twin))
        for other in graphs[:i]:
            exact = networkx.vf2pp_is_isomorphic(coloured(graph), coloured(other), node_label="label")
            same += Key(graph) == Key(other)
            assert exact or Key(graph) != Key(other)
    assert same > 0  # small ones are drawn again


def test_attributes_merge_rules_and_the_primary_input_count():
    one, two = Node("conv", (("channels", 8),)), Node("conv", (("channels", 16),))
    base = chain(one, one, two)
    joined = [
        base.connected(1, 3, ADD),
        base.connected(1, 3, CONCAT),
        base.replaced(3, two.reading((1, 2), ADD)),
        base,
        chain(one, two, two),
        Graph(base.nodes, (("learning_rate", 0.1),)),
    ]
    assert len({Key(graph) for graph in joined}) == len(joined)


def test_where_hashes_agree_the_exact_answer_counts():
    """Two cycles of three nodes and one of six are what Weisfeiler and Leman cannot tell apart."""

    def of(edges):
        pools = [Node("max_pool") for _ in range(6)]
        return Graph((*pools, *(Node("conv", inputs=(min(edge), max(edge))) for edge in edges)))

    triangles = Key(of([(1, 2), (2, 3), (3, 1), (4, 5), (5, 6), (6, 4)]))
    hexagon = Key(of([(1, 2), (2, 3), (3, 4), (4, 5), (5, 6), (6, 1)]))
    assert not isomorphic(triangles.graph, hexagon.graph)
    hexagon.text = triangles.text  # which input is the primary one tells them apart: as if it did not
    assert hash(hexagon) == hash(triangles)
    assert hexagon != triangles


# -- facts of the published spaces -------------------------------------------------------------


def test_evonet_starts_without_convolutions_and_has_the_eleven_actions():
    space = EvoNet()
    assert space.decode(space.start).nodes == ()
    assert len(space.edits()) == 11
    assert [m.kind for m in space.moves(space.start) if not m.inherits] == ["reset weights"]
    assert all(1 < late / early <= 2 for early, late in itertools.pairwise(RATES))
    assert histories(10, 5) == 111_111 == (10**6 - 1) // 9
    assert histories(11, 3) == (11**4 - 1) // 10


def test_evonet_says_its_learning_rate_which_one_action_changes_by_a_factor_of_two_at_most():
    space = EvoNet()
    assert space.recipe(space.start) == {"learning_rate": 0.1}
    rates = [space.recipe(m.architecture)["learning_rate"] for m in space.moves(space.start) if "rate" in m.kind]
    assert rates == [0.05, 0.2]


def test_lemonade_says_which_moves_are_approximate():
    space = LEMONADE()
    shrinking = {"remove layer", "remove skip", "prune filters", "make separable"}
    for architecture in walked(space, 12, seed=5):
        for move in space.moves(architecture):
            assert move.preserves == (move.kind not in shrinking)


def test_nasbot_draws_modifiers_by_the_masses_of_the_source_and_makes_one_to_five():
    space, rng = NASBOT(), np.random.default_rng(6)
    assert sum(MASSES.values()) == pytest.approx(1.2)
    assert list(space.edits()) == list(MASSES)
    assert (len(STEPS), sum(STEPS)) == (5, pytest.approx(1))
    drawn = [space.move(space.start, rng).kind for _ in range(600)]
    possible = {m.kind for m in space.moves(space.start)}
    whole = sum(MASSES[kind] for kind in possible)
    for kind in possible:
        share = MASSES[kind] / whole
        assert drawn.count(kind) / 600 == pytest.approx(share, abs=5 * (share * (1 - share) / 600) ** 0.5)


def test_the_distance_of_nasbot_is_a_pseudo_metric():
    space, rng = NASBOT(), np.random.default_rng(7)
    some = [*walked(space, 8, seed=8), *(space.sample(rng) for _ in range(6))]
    apart = np.array([[space.distance(a, b) for b in some] for a in some])
    assert apart.diagonal() == pytest.approx(0, abs=1e-9)
    assert apart == pytest.approx(apart.T, abs=1e-9)
    assert (apart >= 0).all()
    # All 14 ** 3 triples.
    assert (apart[:, None, :] <= apart[:, :, None] + apart[None] + 1e-9).all()
    assert apart.max() > 0.1


def test_path_level_trees_round_trip_as_texts_and_as_graphs():
    space = PathLevel()
    nested = "( ( conv 4 3 & conv 4 3 ) ; conv 8 1 + max_pool 2 + ( conv 8 1 + conv 8 3 ) )"
    for text in ("conv 8 3 ; ( conv 8 3 + separable 8 3 ; ( conv 4 1 & conv 4 1 ) ) ; max_pool 2", nested):
        architecture = space.parse(text)
        assert space.format(architecture) == text
        assert space.tree.normal(space.decode(architecture)) == space.decode(architecture)
    for wrong in ("( conv 8 3 )", "conv 8 3 ; ( conv 8 3 + conv 8 3 & conv 8 3 )", "identity", "conv 9 3", "conv 8"):
        with pytest.raises(InvalidArchitecture, match="PathLevel"):
            space.parse(wrong)
    crossed = Graph((Node("conv", (("channels", 8), ("kernel", 3))),) * 2)
    with pytest.raises(InvalidArchitecture, match="a series of layers and branches"):
        space.encode(crossed)


# -- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("conv 9 3 <- 0", "channels one of 8, 16, 32, 64, got '9'"),
        ("conv 8 3 <- 1", "node 1: expected different inputs from 0 to 0, got 1"),
        ("conv 8 3 <- 0 ; conv 8 3 <- 1 + 1", "node 2: expected different inputs"),
        ("conv 8 3 <- 0 ; conv 8 3 <- 1 ; conv 8 3 <- 2 + 1 & 0", "between all inputs of a node"),
        ("dense 8 <- 0", "operation, its attributes, and what it reads"),
    ],
)
def test_texts_that_are_no_graph_are_refused_by_name(text, message):
    with pytest.raises(InvalidArchitecture, match="NASH") as caught:
        NASH().parse(text)
    assert message in str(caught.value)


def test_a_space_of_nothing_is_refused():
    class Nothing(GraphSpace):
        start = ()

        def edits(self):
            return {}

    with pytest.raises(UsageError, match=r"^Nothing: expected operations, at least one node"):
        Nothing({}, 3)
    with pytest.raises(UsageError, match="NASH: nodes"):
        NASH(nodes=2)


@pytest.mark.parametrize("name", SPACES)
def test_an_agent_of_gymnasium_builds_a_graph(name):
    space, rng = SPACES[name](), np.random.default_rng(9)
    env = ArchitectureEnv(space, Function(len))
    _, info = env.reset(seed=0)
    done = False
    while not done:
        options = np.flatnonzero(info["action_mask"])
        _, reward, done, _, info = env.step(int(options[rng.integers(len(options))]))
    assert info["architecture"] in space
    assert reward == len(space.decode(info["architecture"]))


def test_the_spaces_need_no_torch():
    code = "import sys; from archsearch.spaces import EAS; s = EAS(); s.moves(s.start); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout.strip() == b"False"


def test_load_finds_all():
    assert all(load(name, "spaces") is cls for name, cls in SPACES.items())
