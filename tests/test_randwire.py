"""Random wiring: the graphs of the paper, and the networks that they become."""

from __future__ import annotations

import networkx
import numpy as np
import pytest
import torch

from archsearch.errors import UsageError
from archsearch.networks.network import InputShape, build
from archsearch.spaces import RandWire

PAPER = RandWire()
SMALL = RandWire(nodes=10, stages=2, channels=4, stem_stride=1)


def of_generator(generator, seed=0, **parameters):
    seeds = {f"seed.{stage + 1}": (seed + stage) % 100 for stage in range(PAPER.stages)}
    return PAPER.encode({"generator": generator, **parameters, **seeds})


@pytest.mark.parametrize(
    ("parameters", "edges"),
    [
        ({"generator": "ws", "k": 4, "q": 0.75}, 32 * 4 // 2),  # 64: the paper's best
        ({"generator": "ws", "k": 8, "q": 1.0}, 32 * 8 // 2),
        ({"generator": "ba", "m": 5}, 5 * (32 - 5)),
        ({"generator": "ba", "m": 1}, 31),
    ],
)
def test_graphs_have_as_many_edges_as_their_generator_makes(parameters, edges):
    for seed in range(0, 60, 3):
        for stage in PAPER.edges(of_generator(**parameters, seed=seed)):
            assert len(stage) == edges
            graph = networkx.DiGraph(list(stage))
            assert networkx.is_directed_acyclic_graph(graph)
            assert all(source < target for source, target in stage)


def test_the_mean_number_of_edges_of_erdos_and_renyi():
    found = [len(stage) for seed in range(0, 99, 3) for stage in PAPER.edges(of_generator("er", seed=seed, p=0.2))]
    pairs = 32 * 31 / 2
    assert np.mean(found) == pytest.approx(0.2 * pairs, abs=4 * np.sqrt(pairs * 0.2 * 0.8 / len(found)))


def test_every_node_lies_between_the_input_of_its_stage_and_the_output():
    rng = np.random.default_rng(0)
    for _ in range(10):
        graph = PAPER.graph(PAPER.sample(rng))
        assert networkx.is_directed_acyclic_graph(graph)
        assert {node for node, degree in graph.in_degree if not degree} == {"input"}
        assert {node for node, degree in graph.out_degree if not degree} == {"mean 3"}


def test_a_ring_that_is_not_rewired_is_one_network_whatever_its_seeds():
    forms = {PAPER.canonical(of_generator("ws", seed=seed, k=4, q=0.0)) for seed in range(5)}
    others = {PAPER.canonical(of_generator("ws", seed=seed, k=4, q=0.75)) for seed in range(5)}
    assert (len(forms), len(others)) == (1, 5)


def test_there_are_as_many_architectures_as_parameters_and_seeds():
    assert PAPER.size() == (5 + 7 + 4 * 5) * 100**3


def test_a_node_is_a_sum_with_weights_between_0_and_1():
    architecture = SMALL.sample(np.random.default_rng(1))
    network = build(lambda: SMALL.network(architecture, InputShape((1, 8, 8), 10)), 0)
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    network(images).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    (stage, _), (edges, _) = network.stages, SMALL.edges(architecture)
    for number, node in enumerate(stage.nodes):
        terms = sum(target == number for _, target in edges)
        assert (node.weights is None) if terms < 2 else len(node.weights) == terms
    node = next(node for node in stage.nodes if node.weights is not None)
    node.weights.data.uniform_(-3, 3, generator=torch.Generator().manual_seed(1))
    maps = [torch.rand(2, 4, 4, 4) for _ in node.weights]
    summed = sum(x / (1 + torch.exp(-weight)) for x, weight in zip(maps, node.weights, strict=True))
    assert torch.allclose(node(maps), node.operation(summed), atol=1e-6)


def test_stages_halve_the_maps_and_double_the_channels():
    network = build(lambda: SMALL.network(SMALL.sample(np.random.default_rng(0)), InputShape((1, 8, 8), 10)), 0)
    x = network.stem(torch.rand(1, 1, 8, 8))
    shapes = [tuple((x := stage(x)).shape[1:]) for stage in network.stages]
    assert shapes == [(4, 4, 4), (8, 2, 2)]


def test_too_few_nodes_are_refused():
    with pytest.raises(UsageError, match="RandWire: nodes: expected a whole number >= 9, got 8"):
        RandWire(nodes=8)
