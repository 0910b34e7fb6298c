"""Cartesian genetic programming: silent genes, the counts of the paper, (1 + lambda) evolution with neutral drift."""

from __future__ import annotations

import collections
import itertools
import math

import networkx
import numpy as np
import pytest
import torch
from scipy import stats

from archsearch.controllers import OnePlusLambda
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.networks.network import InputShape, build
from archsearch.spaces import CGP, NASBench201
from archsearch.spaces.cgp import IMAGE
from archsearch.trial import Evaluation, Trial

PAPER = CGP()
TINY = CGP(rows=2, columns=3, level_back=2, filters=[4], kernels=[3], least=2, most=4)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def active_by_networkx(space, architecture):
    """The nodes from which the output can be reached, by another library."""
    genes, output = space.genes(architecture)
    graph = networkx.DiGraph([(source, node) for node, gene in enumerate(genes) for source in gene.read])
    graph.add_node(output)
    return sorted((networkx.ancestors(graph, output) | {output}) - {IMAGE})


# -- facts ---------------------------------------------------------------------------------------


def test_the_grid_of_the_paper():
    # 5 x 30 nodes, level-back 10: a node reads the ten columns before its own, the first ten columns the image, too.
    there = [1 + 5 * column if column < 10 else 50 for column in range(30)]
    assert len(PAPER.functions) == 10
    assert PAPER.size() == math.prod(10 * n * n for n in there for _ in range(5)) * 50
    assert len(PAPER.arities) == 3 * 150 + 1


def test_what_is_drawn_has_10_to_50_active_nodes(rng):
    drawn = [PAPER.sample(rng) for _ in range(200)]
    drawn += [PAPER.mutate(genome, rng) for genome in drawn]
    drawn += [PAPER.crossover(one, other, rng) for one, other in zip(drawn[:100], drawn[100:200], strict=True)]
    assert all(10 <= len(PAPER.active(genome)) <= 50 for genome in drawn)
    for genome in drawn[:50]:
        assert PAPER.active(genome) == active_by_networkx(PAPER, genome)


def test_drawing_is_uniform_over_the_genomes_that_fit(rng):
    space = CGP(rows=1, columns=2, level_back=1, filters=[4], kernels=[3], least=2)
    fitting = [genome for genome in space.enumerate() if len(active_by_networkx(space, genome)) == 2]
    assert 0 < len(fitting) == space.size()  # a chain of one row: all are active
    space = CGP(rows=2, columns=2, level_back=2, filters=[4], kernels=[3], least=0, most=1)
    kinds = collections.Counter(len(space.active(space.sample(rng))) for _ in range(3000))
    assert set(kinds) == {1}
    outputs = [space.sample(rng)[-1] for _ in range(3000)]  # of the second column only those that read the image
    # An output in the first column always fits. One in the second: four functions of five (a join with one fifth)
    # are not all joins; max, avg and conv read one source of three, sum and concat two of three.
    chance = 3 / 5 * 1 / 3 + 2 / 5 * 1 / 9
    expected = np.array([1, 1, chance, chance]) * 3000 / (2 + 2 * chance)
    assert stats.chisquare([outputs.count(i) for i in range(4)], expected).pvalue > 1e-4


def test_silent_genes_leave_the_canonical_form_unchanged_and_others_change_it(rng):
    for space in (PAPER, TINY):
        for _ in range(20):
            genome = space.sample(rng)
            form, silent = space.canonical(genome), space.silent(genome)
            assert space.canonical(space.drift(genome, rng)) == form
            everything = list(genome)
            for place in silent:
                everything[place] = int(rng.integers(space.arities[place]))
            assert space.canonical(tuple(everything)) == form
    genome = PAPER.sample(rng)
    free = [place for place in PAPER.silent(genome) if PAPER.arities[place] > 1]
    drifted = np.array([PAPER.drift(genome, rng) for _ in range(300)])
    assert np.mean(drifted[:, free] != np.array(genome)[free]) == pytest.approx(0.05, abs=0.005)


def test_networks_of_one_canonical_form_are_one_network(rng):
    """Enumeration: equal forms exactly where the labelled graphs of active nodes are isomorphic."""
    space = CGP(rows=2, columns=2, level_back=2, filters=[4], kernels=[3], least=0)
    genomes = list(itertools.islice(space.enumerate(), 0, None, 301))

    def graph(genome):
        graph = networkx.MultiDiGraph()
        graph.add_node(IMAGE, label="image")
        nodes = space.decode(genome)
        for node, (function, sources) in nodes.items():
            graph.add_node(node, label=function)
            for source in sources:
                graph.add_edge(source, node)
        graph.add_edge(max(nodes), "output")
        graph.nodes["output"]["label"] = "output"
        return graph

    forms = {}
    for genome in genomes:
        forms.setdefault(space.canonical(genome), []).append(graph(genome))
    match = networkx.algorithms.isomorphism.categorical_node_match("label", None)
    firsts = [graphs[0] for graphs in forms.values()]
    for graphs in forms.values():
        assert all(networkx.is_isomorphic(graphs[0], other, node_match=match) for other in graphs[1:4])
    by_kind = collections.defaultdict(list)
    for graph in firsts:
        by_kind[tuple(sorted(label for _, label in graph.nodes(data="label"))), graph.number_of_edges()].append(graph)
    for graphs in by_kind.values():
        for one, other in itertools.combinations(graphs, 2):
            assert not networkx.is_isomorphic(one, other, node_match=match)


@pytest.mark.parametrize("block", ["conv", "res"])
def test_the_network_has_the_weights_of_the_active_nodes_only(block, rng):
    space = CGP(rows=2, columns=4, level_back=2, block=block, filters=[4, 8], kernels=[3, 5], least=3)
    shape = InputShape((3, 8, 8), 10)
    for _ in range(10):
        genome = space.sample(rng)
        network = build(lambda genome=genome: space.network(genome, shape), 0)
        blocks = [node for node, (function, _) in space.decode(genome).items() if function.startswith(block)]
        assert {int(name) for name in network.nodes} == set(blocks)
        images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        drifted = build(lambda genome=genome: space.network(space.drift(genome, rng), shape), 0)
        assert torch.equal(network(images), drifted(images))
        network(images).sum().backward()
        assert all(p.grad is not None for p in network.parameters())


def test_sums_and_concatenations_bring_maps_to_one_size():
    space = CGP(rows=1, columns=3, level_back=3, filters=[4], kernels=[3], least=0)
    shape = InputShape((3, 8, 8), 10)
    joined = build(
        lambda: space.network(space.parse("conv_3x3_4(-1,-1) | max_pool(-1,-1) | concat(0,1) > 2"), shape), 0
    )
    assert joined.classifier.in_features == (4 + 3) * 4 * 4
    added = build(lambda: space.network(space.parse("conv_3x3_4(-1,-1) | max_pool(-1,-1) | sum(1,0) > 2"), shape), 0)
    assert added.classifier.in_features == 4 * 4 * 4
    images = torch.rand(2, 3, 8, 8)
    halved = torch.nn.functional.max_pool2d
    conv = halved(added.nodes["0"](images), 2)
    conv[:, :3] += halved(images, 2)
    assert torch.allclose(added.classifier(conv.flatten(1)), added(images), atol=1e-6)


def test_texts_and_settings_that_are_wrong_are_named():
    with pytest.raises(InvalidArchitecture, match="'conv_3x3_4\\(7,-1\\)' is no function with two sources from -1 to"):
        TINY.parse("sum(-1,-1) conv_3x3_4(7,-1) | sum(0,0) sum(0,0) | sum(0,0) sum(0,0) > 4")
    with pytest.raises(UsageError, match="block: expected one of conv, res, got 'mlp'"):
        CGP(block="mlp")
    with pytest.raises(UsageError, match="kernels: expected odd numbers, got 4"):
        CGP(kernels=[4])
    with pytest.raises(UsageError, match="none of 10,000 genomes has 5 to 5 active nodes; set a smaller least"):
        CGP(rows=5, columns=1, level_back=1, least=5, most=5).sample(np.random.default_rng(0))


# -- (1 + lambda) --------------------------------------------------------------------------------


def told(controller, proposal, score):
    controller.tell([Trial(*proposal[:3], None if score is None else Evaluation(score))])


def test_a_generation_has_lambda_children_of_one_parent_and_each_changes_what_is_active():
    controller, scores = OnePlusLambda(), np.random.default_rng(1)
    controller.start(PAPER, 0)
    (first,) = controller.ask()
    told(controller, first, 0.5)
    best, form = (0.5, first.id), PAPER.canonical(first.architecture)
    for _ in range(20):
        children = []
        for _ in range(2):  # one worker: ask, tell, ask, tell
            (child,) = controller.ask()
            assert child.parent == best[1]
            assert PAPER.canonical(child.architecture) != form
            score = float(scores.random())
            told(controller, child, score)
            children.append((score, child.id, child.architecture))
        winner = max(children)
        if winner[0] > best[0]:
            best, form = winner[:2], PAPER.canonical(winner[2])
    assert best[0] > 0.9


def test_the_parent_drifts_where_no_child_is_better():
    controller = OnePlusLambda()
    controller.start(PAPER, 0)
    (first,) = controller.ask()
    told(controller, first, 1.0)
    parents = {first.architecture}
    for _ in range(10):
        for _ in range(2):
            told(controller, controller.ask()[0], 0.0)
        parents.add(tuple(controller._parent[2]))
    assert len(parents) == 11
    assert {PAPER.canonical(parent) for parent in parents} == {PAPER.canonical(first.architecture)}


def test_late_and_failed_children_do_not_stop_it():
    controller = OnePlusLambda(children=2)
    controller.start(NASBench201(), 0)
    begun = controller.ask(3)  # before anything is known: random
    assert all(proposal.parent is None for proposal in begun)
    told(controller, begun[0], None)
    told(controller, begun[1], 0.3)
    children = controller.ask(5)
    assert controller._due == [children[4].id]  # two generations are over, the third has one child so far
    assert {child.parent for child in children} == {begun[1].id}
    told(controller, children[4], 0.9)
    told(controller, children[0], None)  # of a generation that is over
    told(controller, begun[2], 0.1)
    assert [child.parent for child in controller.ask(3)][-1] == children[4].id


def test_children_must_be_one_or_more():
    with pytest.raises(UsageError, match="OnePlusLambda: children: expected a whole number >= 1, got 0"):
        OnePlusLambda(children=0)
