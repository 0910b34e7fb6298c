"""NASBOT: graphs that are changed by nine modifiers, and the distance between them.

Reference: Kandasamy, Neiswanger, Schneider, Poczos & Xing, "Neural architecture search with Bayesian optimisation and
optimal transport", NeurIPS 2018 (arXiv 1802.07191). Sizes are our own: small enough for 8x8 images.

Where we differ: what is changed en masse are all convolutions or half of them, in order; a branch duplicates a path of
up to three layers; skips need no pooling, since inputs of a sum are brought to one size anyway. The distance is of the
paper's kind (OTMANN): layers of one graph are matched with those of another, at costs of the masses of layers, their
operations, and their places on paths; numbers are ours.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping

import numpy as np

from archsearch.basics.checks import at_least_one, whole_number
from archsearch.graphs.graph import ADD, CONCAT, Attributes, Graph, Node, attributes_of, chain
from archsearch.graphs.moves import Kind, connected, exchanged, inserted_on_edges, removed, stepped
from archsearch.graphs.space import GraphSpace
from archsearch.spaces.nasbot_distance import distance
from archsearch.trial import Architecture

MASSES = {
    "increase units": 0.1,
    "decrease units": 0.1,
    "increase units en masse": 0.1,
    "decrease units en masse": 0.1,
    "swap": 0.2,
    "wedge": 0.1,
    "remove": 0.1,
    "branch": 0.2,
    "skip": 0.2,
}
"""How often modifiers are drawn. They sum to 1.2 in the authors' code; only their ratios count."""

STEPS = (0.5, 0.25, 0.125, 0.075, 0.05)
"""Probabilities of 1 to 5 modifiers in one mutation."""

CONVOLUTIONS = {"conv3": 3, "conv5": 5, "conv7": 7}
POOLS = ("max_pool", "avg_pool")
LONGEST_BRANCH = 3


class NASBOT(GraphSpace):
    """Graphs of convolutions and poolings, changed by nine modifiers, with a distance between them (NASBOT).

    Modifiers: ``increase units`` and ``decrease units`` by about 1/8, of one convolution or ``en masse``; ``swap`` the
    operation; ``wedge`` a layer between two; ``remove`` one; ``branch`` duplicates a path, of which some layers are
    left out; ``skip``. None keeps the function. A mutation makes 1 to 5 of them, drawn by ``MASSES`` and ``STEPS``.

    Args:
        nodes: The most layers, >= 5.
        channels: Channels of the narrowest convolution, >= 1; the widest has 8 times as many, each step is 9/8,
            rounded.

    Raises:
        UsageError: If a setting is out of range.
    """

    def __init__(self, nodes: int = 16, channels: int = 8) -> None:
        self.nodes = whole_number("NASBOT", "nodes", nodes, 5)
        self.channels = at_least_one("NASBOT", "channels", channels)
        widths = sorted({round(channels * (9 / 8) ** step) for step in range(19)})
        pools = {"size": [2]}
        convolutions = {name: {"channels": widths, "kernel": [kernel]} for name, kernel in CONVOLUTIONS.items()}
        super().__init__(convolutions | dict.fromkeys(POOLS, pools), nodes, inputs=3, merges=(ADD, CONCAT))

    @property
    def start(self) -> Architecture:
        """Three convolutions of about twice the least width, with max-pooling between them."""
        widths = self.tree.operations["conv3"]["channels"]
        conv, pool = self._layer("conv3", int(widths[len(widths) // 3])), self._layer("max_pool", 0)
        return self.encode(chain(conv, pool, conv, pool, conv))

    def edits(self) -> Mapping[str, Kind]:
        """See the class."""
        options = self.tree.operations
        kinds = {
            "increase units": Kind(stepped("channels", options, (1,)), "decrease units"),
            "decrease units": Kind(stepped("channels", options, (-1,)), "increase units"),
            "increase units en masse": Kind(lambda graph: self._en_masse(graph, 1)),
            "decrease units en masse": Kind(lambda graph: self._en_masse(graph, -1)),
            "swap": Kind(exchanged(self._others), "swap"),
            "wedge": Kind(inserted_on_edges(self._wedged)),
            "remove": Kind(removed(lambda _graph, _number: True)),
            "branch": Kind(_branches),
            "skip": Kind(connected((ADD, CONCAT))),
        }
        return {name: kind._replace(mass=MASSES[name]) for name, kind in kinds.items()}

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """1 to 5 modifiers, one after another; they never add up to none."""
        changed = architecture
        for _ in range(1 + int(rng.choice(len(STEPS), p=STEPS))):
            changed = super().mutate(changed, rng)
        return changed if changed != architecture else super().mutate(architecture, rng)

    def distance(self, first: Architecture, second: Architecture) -> float:
        """How far two architectures are apart: a pseudo-metric, >= 0; see ``spaces/nasbot_distance.py``."""
        return distance(self.decode(first), self.decode(second))

    def _layer(self, operation: str, channels: int) -> Node:
        return Node(operation, attributes_of(self.tree.operations[operation], channels=channels))

    def _en_masse(self, graph: Graph, step: int) -> Iterator[Graph]:
        """All convolutions, the first half of them, and the second, a step wider or narrower where they can be."""
        found = [i for i in graph.numbers() if graph.node(i).has("channels")]
        half = len(found) // 2
        for some in (found, found[:half], found[half:]):
            changed = graph
            for i in some:
                node = graph.node(i)
                widths = self.tree.operations[node.operation]["channels"]
                at = widths.index(node["channels"]) + step
                if 0 <= at < len(widths):
                    changed = changed.replaced(i, node.with_value("channels", widths[at]))
            if changed != graph:
                yield changed

    def _others(self, node: Node) -> Iterator[tuple[str, Attributes]]:
        """The other operations of the kind that a node is."""
        for operation in CONVOLUTIONS if node.has("channels") else POOLS:
            if operation != node.operation:
                yield operation, self._layer(operation, node.number("channels")).attributes

    def _wedged(self, graph: Graph, before: int) -> Iterator[Node]:
        """What may come between two layers: any operation, as wide as the last convolution before it."""
        widths = [node.number("channels") for node in graph.nodes[:before] if node.has("channels")]
        for operation in self.tree.operations:
            yield self._layer(operation, widths[-1] if widths else int(self.channels))


def _branches(graph: Graph) -> Iterator[Graph]:
    """A second path beside one of up to three layers, with some of its layers, that ends where the first one does."""
    for target in graph.numbers():
        path: list[int] = []
        at = graph.node(target).inputs[0]
        while at and len(path) < LONGEST_BRANCH:
            path.insert(0, at)
            at = graph.node(at).inputs[0]
            for kept in _some(path):
                yield _branched(graph, at, kept, target)


def _some(path: list[int]) -> Iterator[tuple[int, ...]]:
    for count in range(len(path), 0, -1):
        yield from itertools.combinations(path, count)


def _branched(graph: Graph, source: int, kept: tuple[int, ...], target: int) -> Graph:
    """Copies of some nodes, one after another, from a source to a target, which reads the last one as well."""
    reads = source
    for place, number in enumerate(kept):
        copy = dataclasses.replace(graph.node(number), inputs=(reads,), merge=ADD)
        copy = dataclasses.replace(copy, origin=number)
        graph = graph.inserted(target + place, copy)
        reads = target + place
    return graph.connected(reads, target + len(kept))
