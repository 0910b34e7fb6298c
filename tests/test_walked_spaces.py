"""Spaces in which an agent walks through layers: MetaQNN and BlockQNN."""

import itertools

import networkx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.networks.multiply_adds import parameter_count
from archsearch.networks.network import InputShape, build
from archsearch.spaces import BlockQNN, MetaQNN
from archsearch.spaces.block_qnn import KINDS
from archsearch.spaces.block_qnn import Layer as BlockLayer

DIGITS = InputShape((1, 8, 8), 10)
SMALL = MetaQNN(layers=4, image=8, filters=[8, 16], units=[16, 32])
BLOCK = BlockQNN(layers=6, blocks=1, channels=4)
QUICK = settings(max_examples=50, deadline=None, derandomize=True, database=None)


# -- MetaQNN ---------------------------------------------------------------------------------------


def rules_of_the_paper(layers, image, filters, units):
    """All chains by the rules of the authors' ``state_enumerator.py``, written down for themselves."""

    def bucket(side):
        return 8 if side > 7 else 4 if side > 3 else 1

    def follow(chain, side, kind, dense):
        if chain:
            yield (*chain, "SM")
            if len(chain) < layers and kind != "FC":
                yield (*chain, "GAP")
        if len(chain) == layers:
            return
        if kind != "FC":
            for f, k in itertools.product(filters, (1, 3, 5)):
                if k < bucket(side):
                    yield from follow((*chain, f"C({f},{k},1)"), side, "C", dense)
        if kind == "C":
            for k, s in ((5, 3), (3, 2), (2, 2)):
                if k < bucket(side):
                    yield from follow((*chain, f"P({k},{s})"), (side - k + 1 + s - 1) // s, "P", dense)
        if bucket(side) <= 4 and len(dense) < 2:
            for u in units:
                if not dense or u <= dense[-1]:
                    yield from follow((*chain, f"FC({u})"), side, "FC", (*dense, u))

    return {", ".join(chain) for chain in follow((), image, "", ())}


@pytest.mark.parametrize(("layers", "image"), [(1, 8), (2, 8), (3, 8), (4, 8), (3, 32), (3, 7)])
def test_paths_are_those_of_the_papers_rules_and_counting_finds_as_many(layers, image):
    space = MetaQNN(layers, image, [8, 16], [16, 32])
    texts = [space.format(architecture) for architecture in space.enumerate()]
    assert set(texts) == rules_of_the_paper(layers, image, [8, 16], [16, 32])
    assert space.size() == len(texts) == len(set(texts))


def test_the_size_of_the_papers_space_is_counted():
    assert MetaQNN().size() == 282_710_031_500_590_500_768
    assert MetaQNN(1).size() == 12  # a convolution


def test_layers_of_a_walk():
    space = MetaQNN()
    text = "C(512,5,1), P(3,2), C(64,1,1), P(5,3), C(128,3,1), FC(512), FC(128), SM"
    assert space.format(space.parse(text)) == text
    assert space.format(space.parse(text.replace("FC(512), FC(128), SM", "GAP"))).endswith("C(128,3,1), GAP")
    sides = [space.subtree(space.parse(text)[:i])[1] for i in range(7)]
    assert sides == [32, 32, 15, 15, 4, 4, 0]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("P(2,2), SM", "layer 1: expected one of C"),
        ("C(64,3,1), P(2,2), P(2,2), SM", "layer 3: expected one of C"),
        ("C(64,3,1), FC(128), SM", "layer 2: expected one of C"),
        ("C(64,3,1), P(5,3), P(3,2), SM", "layer 3"),
        ("C(64,3,1), P(5,3), C(64,1,1), P(3,2), FC(128), FC(256), SM", "layer 6: expected one of SM; FC"),
        ("C(64,3,1)", "expected SM or GAP as the end"),
        ("C(64,3,1), SM, SM", "expected the end before it"),
        ("C(64,3,2), SM", "expected layers such as"),
        ("C(65,3,1), SM", "layer 1: expected one of"),
    ],
)
def test_walks_against_the_rules_are_refused(text, why):
    with pytest.raises(InvalidArchitecture, match=why.replace("(", r"\(")):
        MetaQNN().parse(text)


def test_the_end_at_the_greatest_number_of_layers_follows_by_itself():
    text = "C(8,1,1), C(8,1,1), C(8,1,1), C(8,1,1), SM"
    assert len(SMALL.parse(text)) == 4
    with pytest.raises(InvalidArchitecture):
        SMALL.parse(text.replace("SM", "GAP"))
    with pytest.raises(InvalidArchitecture):
        SMALL.parse(text.replace("SM", "C(8,1,1), SM"))


def test_average_pooling_of_one_pixel_changes_nothing():
    text = "C(8,3,1), P(5,3), GAP"  # 8 to 2 pixels
    assert SMALL.canonical(SMALL.parse(text)) != SMALL.canonical(SMALL.parse(text.replace("GAP", "SM")))
    space = MetaQNN(layers=6, image=8, filters=[8], units=[16])
    chain = "C(8,3,1), P(3,2), GAP"  # 3 pixels
    assert space.canonical(space.parse(chain)) == chain
    tiny = MetaQNN(layers=3, image=5, filters=[8])
    one = tiny.parse("C(8,1,1), P(3,2), GAP")
    assert tiny.canonical(one) == "C(8,1,1), P(3,2), GAP"
    other = MetaQNN(layers=4, image=4, filters=[8])
    assert other.canonical(other.parse("C(8,1,1), P(3,2), GAP")) == "C(8,1,1), P(3,2), SM"


@pytest.mark.parametrize("batch_norm", [True, False])
def test_networks_of_walks_have_the_parameters_that_their_layers_say(batch_norm):
    space = MetaQNN(image=8, batch_norm=batch_norm)
    architecture = space.parse("C(64,3,1), P(2,2), C(128,1,1), FC(256), SM")
    network = build(lambda: space.network(architecture, DIGITS, channels=4), 0)
    norm = 2 * (4 + 8) if batch_norm else 4 + 8  # scale and shift, or a bias
    assert parameter_count(network) == 9 * 4 + 4 * 8 + norm + (8 * 16 * 16 + 16) + (16 * 10 + 10)
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    pooled = build(lambda: space.network(space.parse("C(64,3,1), GAP"), DIGITS, channels=4), 0)
    assert pooled.classifier.in_features == 4


def test_a_pooling_is_no_larger_than_the_maps_that_come():
    space = MetaQNN(filters=[4])  # rules for 32 pixels, images of 5
    architecture = space.parse("C(4,1,1), P(5,3), C(4,1,1), P(3,2), C(4,1,1), GAP")
    network = build(lambda: space.network(architecture, InputShape((3, 5, 5), 2)), 0)
    assert network(torch.zeros(2, 3, 5, 5)).shape == (2, 2)


@pytest.mark.parametrize(
    ("settings_", "word"),
    [
        ({"layers": 0}, "layers"),
        ({"filters": [8, 8]}, "filters"),
        ({"units": []}, "units"),
        ({"image": 1}, "image"),
        ({"batch_norm": 1}, "batch_norm"),
        ({"dense": -1}, "dense"),
    ],
)
def test_settings_out_of_range_are_named(settings_, word):
    with pytest.raises(UsageError, match=f"MetaQNN: {word}"):
        MetaQNN(**settings_)


# -- BlockQNN --------------------------------------------------------------------------------------


def blocks_of(layers):
    """How many blocks of exactly so many layers there are: 6 kinds with one source, 2 with two."""
    count = 1
    for earlier in range(layers):
        count *= 6 * (earlier + 1) + 2 * (earlier * (earlier + 1) // 2)
    return count


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_blocks_are_counted_by_dynamic_programming_by_enumeration_and_by_a_product(layers):
    space = BlockQNN(layers)
    assert space.size() == sum(map(blocks_of, range(1, layers + 1)))
    if layers < 4:
        texts = {space.format(architecture) for architecture in space.enumerate()}
        assert len(texts) == space.size()


def test_the_structure_code_is_the_papers():
    text = "1,1,3,0,0 2,2,3,0,0 3,5,0,2,1 4,6,0,3,0 5,4,0,1,0 6,7,0,0,0"
    layers = BLOCK.decode(BLOCK.parse(text))
    assert [KINDS[kind] for kind, _ in layers] == ["conv 3x3", "max pool 3x3", "add", "concat", "identity"]
    assert [sources for _, sources in layers] == [(0,), (0,), (2, 1), (3, 0), (1,)]
    assert BLOCK.format(BLOCK.parse(text)) == text
    assert BLOCK.parse(text.replace("5,0,2,1", "5,0,1,2")) == BLOCK.parse(text)  # a sum has no order
    graph = BLOCK.graph(BLOCK.parse(text))
    assert sorted(graph.predecessors(6)) == [4, 5]  # what nothing reads


@pytest.mark.parametrize(
    "text",
    [
        "1,1,3,0,0",
        "1,7,0,0,0",
        "1,1,3,1,0 2,7,0,0,0",
        "1,1,3,0,0 2,5,0,1,1 3,7,0,0,0",
        "1,1,7,0,0 2,7,0,0,0",
        "2,1,3,0,0 3,7,0,0,0",
        "1,1,3,0,1 2,7,0,0,0",
    ],
)
def test_codes_that_are_none_are_refused(text):
    with pytest.raises(InvalidArchitecture, match="BlockQNN"):
        BLOCK.parse(text)


def renumbered(layers, rng):
    """The same block, its layers in another order that puts sources first."""
    order, left = [0], list(range(1, len(layers) + 1))
    while left:
        ready = [i for i in left if all(source in order for source in layers[i - 1].sources)]
        order.append(ready[int(rng.integers(len(ready)))])
        left.remove(order[-1])
    place = {old: new for new, old in enumerate(order)}
    return [
        BlockLayer(layers[i - 1].kind, tuple(sorted((place[s] for s in layers[i - 1].sources), reverse=True)))
        for i in order[1:]
    ]


def without_identities(space, architecture):
    """The block's graph, with identities contracted by networkx."""
    graph = space.graph(architecture)
    for node in [node for node, label in graph.nodes(data="label") if label == "identity"]:
        (source,) = graph.predecessors(node)
        graph.add_edges_from((source, reader) for _, reader in list(graph.out_edges(node)))
        graph.remove_node(node)
    return graph


@QUICK
@given(st.integers(0, 2**32))
def test_the_form_of_a_block_is_that_of_its_graph(seed):
    rng = np.random.default_rng(seed)
    one = BLOCK.sample(rng)
    layers = BLOCK.decode(one)
    again = BLOCK.encode(renumbered(layers, rng))
    assert BLOCK.canonical(again) == BLOCK.canonical(one)
    mutant = BLOCK.mutate(one, rng)
    alike = networkx.is_isomorphic(
        networkx.DiGraph(without_identities(BLOCK, one)),
        networkx.DiGraph(without_identities(BLOCK, mutant)),
        node_match=lambda a, b: a["label"] == b["label"],
    )
    if BLOCK.canonical(one) == BLOCK.canonical(mutant):
        assert alike


def test_identities_are_passed_through_and_copies_are_not_one():
    def form(text):
        return BLOCK.canonical(BLOCK.parse(text))

    assert form("1,1,3,0,0 2,4,0,1,0 3,7,0,0,0") == form("1,1,3,0,0 2,7,0,0,0")
    assert form("1,1,3,0,0 2,4,0,0,0 3,7,0,0,0") != form("1,1,3,0,0 2,7,0,0,0")  # the input is concatenated, too
    twice = form("1,1,3,0,0 2,1,3,0,0 3,5,0,2,1 4,7,0,0,0")  # two convolutions of the input, added
    assert twice != form("1,1,3,0,0 2,4,0,1,0 3,5,0,2,1 4,7,0,0,0")  # one, added to itself


def test_networks_of_blocks_concatenate_what_nothing_reads():
    space = BlockQNN(blocks=2, channels=4)
    architecture = space.parse("1,1,3,0,0 2,1,1,0,0 3,7,0,0,0")
    network = build(lambda: space.network(architecture, DIGITS), 0)
    assert network.head[1].in_features == 2 * 16  # two loose ends of the last stage
    # First block: 1 to 4 channels, then 3x3 and 1x1, each normalised.
    first = network.stages[0][0]
    assert parameter_count(first) == (4 + 8) + (9 * 16 + 8) + (16 + 8)
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert parameter_count(build(lambda: space.network(architecture, DIGITS, blocks=1), 0)) < parameter_count(network)
