"""The space ``DARTS``: sizes, neighbours, texts, settings."""

import itertools
from collections import Counter

import numpy as np
import pytest
from darts_lab import DIGITS, SPACE, V2, sampled

from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.spaces.darts import CELLS, DARTS, GENOTYPES, NODES, PAIRS, Edge
from archsearch.testing import check_space


def test_contract():
    check_space(DARTS)
    check_space(lambda: DARTS(layers=8, channels=16, auxiliary=True))


def test_published_sizes():
    # DARTS section 3.1: about 10^9 cells, 10^18 pairs of cells; 180 topologies times 7^8 choices of operations.
    assert SPACE.size() == 1_037_664_180**2
    assert np.prod(SPACE.arities[:12:3]) == 180
    assert SPACE.arities == (1, 7, 7, 3, 7, 7, 6, 7, 7, 10, 7, 7) * 2
    assert f"{SPACE.size():.4e}" == "1.0767e+18"


def test_all_inputs_of_a_node_are_different_earlier_nodes():
    for node in NODES:
        pairs = PAIRS[: node * (node - 1) // 2]
        assert set(pairs) == set(itertools.combinations(range(node), 2))
    for cells in map(SPACE.decode, sampled(50)):
        for cell in cells:
            for node, (first, second) in zip(NODES, cell, strict=True):
                assert 0 <= first.source < second.source < node


def as_edges(architecture):
    """Set of (cell, node, source, operation), independent of the encoding."""
    return {
        (name, node, *edge)
        for name, cell in zip(CELLS, SPACE.decode(architecture), strict=True)
        for node, edges in zip(NODES, cell, strict=True)
        for edge in edges
    }


@pytest.mark.parametrize("architecture", [V2, *sampled(5)])
def test_120_neighbours(architecture):
    near = list(SPACE.neighbours(architecture))
    assert len(near) == len(set(near)) == 120
    kinds = Counter()
    for other in near:
        (old,), (new,) = as_edges(architecture) - as_edges(other), as_edges(other) - as_edges(architecture)
        assert old[:2] == new[:2]
        changed = [name for name, a, b in zip(("input", "operation"), old[2:], new[2:], strict=True) if a != b]
        assert len(changed) == 1
        kinds[changed[0]] += 1
    assert kinds == {"operation": 96, "input": 24}


def test_mutation_is_uniform_over_the_neighbours():
    (architecture,) = sampled(1, seed=7)
    rng = np.random.default_rng(0)
    counts = Counter(SPACE.mutate(architecture, rng) for _ in range(12_000))
    assert set(counts) == set(SPACE.neighbours(architecture))
    chi_square = sum((count - 100) ** 2 / 100 for count in counts.values())
    assert chi_square < 119 + 5 * np.sqrt(2 * 119)


def test_format_and_parse():
    assert SPACE.format(V2) == GENOTYPES["DARTS_V2"]
    for architecture in sampled(50):
        assert SPACE.parse(SPACE.format(architecture)) == architecture
    for name, text in GENOTYPES.items():
        assert SPACE.parse(name) == SPACE.parse(text)
        assert SPACE.format(SPACE.parse(f" {name} ")) == text


def test_edges_of_a_node_are_read_in_any_order():
    # P-DARTS and PC-DARTS list the higher input first here and there.
    turned = (
        "normal:sep_conv_3x3(1) sep_conv_3x3(0)|sep_conv_3x3(1) sep_conv_3x3(0)|"
        "sep_conv_3x3(1)   skip_connect(0)|dil_conv_3x3(2) skip_connect(0);"
        "reduce: max_pool_3x3(1) max_pool_3x3(0)|skip_connect(2) max_pool_3x3(1)|"
        "skip_connect(2) max_pool_3x3(0)|max_pool_3x3(1) skip_connect(2)\n"
    )
    assert SPACE.parse(turned) == V2


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("sep_conv_3x3(0)", "none(0)", "none of these operations"),
        ("dil_conv_3x3(2)", "dil_conv_3x3(5)", "from 0 to 4"),
        ("dil_conv_3x3(2)", "dil_conv_3x3(0)", "different inputs"),
        ("dil_conv_3x3(2)", "dil_conv_3x3(²)", "none of these operations"),
        ("dil_conv_3x3(2)", "", "two operations"),
        ("dil_conv_3x3(2)", "dil_conv_3x3(2) skip_connect(1)", "two operations"),
        ("reduce:", "normal:", "is not 'reduce'"),
        (";", "", "1 parts"),
        ("; reduce", "| skip_connect(0) skip_connect(1) ; reduce", "4 nodes"),
        ("DARTS_V2", "DARTS_V3", "DARTS_V1, DARTS_V2, PC_DARTS, P_DARTS"),
    ],
)
def test_bad_text_is_refused_and_the_reason_told(old, new, why):
    text = "DARTS_V2" if old == "DARTS_V2" else GENOTYPES["DARTS_V2"]
    assert old in text
    with pytest.raises(InvalidArchitecture, match=why):
        SPACE.parse(text.replace(old, new, 1))


def test_known_genotypes_as_published():
    normal, reduce = SPACE.decode(SPACE.parse("P_DARTS"))
    assert normal[3] == (Edge(0, "sep_conv_3x3"), Edge(4, "dil_conv_5x5"))
    assert reduce[0] == (Edge(0, "avg_pool_3x3"), Edge(1, "sep_conv_5x5"))
    for name in GENOTYPES:
        for cell in SPACE.decode(SPACE.parse(name)):
            assert all(first.source != second.source for first, second in cell)


def test_graph_shows_both_cells():
    graph = SPACE.graph(V2)
    labels = [label for _, label in graph.nodes(data="label")]
    assert len(labels) == len(set(labels)) == 14
    assert {"normal 2", "reduce 5", "normal c[k-2]", "reduce output"} <= set(labels)
    operations = Counter(label for _, _, label in graph.edges(data="label"))
    assert operations == {
        "sep_conv_3x3": 5, "skip_connect": 5, "dil_conv_3x3": 1, "max_pool_3x3": 5, None: 8
    }  # fmt: skip
    assert list(graph.get_edge_data("normal 2", "normal 5").values()) == [{"label": "dil_conv_3x3"}]


def test_labels():
    assert SPACE.label(()) == "normal 2: inputs"
    assert SPACE.label(V2[:17]) == "reduce 3: operation on the higher input"


@pytest.mark.parametrize("settings", [{"layers": 0}, {"channels": 1.5}, {"auxiliary": 1}])
def test_wrong_settings(settings):
    with pytest.raises(UsageError, match=next(iter(settings))):
        DARTS(**settings)
    if "auxiliary" not in settings:
        with pytest.raises(UsageError, match=next(iter(settings))):
            SPACE.network(V2, DIGITS, **settings)
