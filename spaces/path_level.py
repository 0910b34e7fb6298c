"""Path-level transformation: layers become branches of layers, and the network keeps its function.

Reference: Cai, Yang, Zhang, Han & Yu, "Path-level network transformation for efficient architecture search", ICML 2018
(arXiv 1806.02639). There the tree is a cell of a DenseNet or PyramidNet, here it is the whole network. Sizes are our
own: small enough for 8x8 images.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from archsearch.basics.checks import at_least_one, whole_number
from archsearch.graphs.graph import ADD, CONCAT, Graph, Node, attributes_of, chain
from archsearch.graphs.moves import Kind, inserted
from archsearch.graphs.shapes import channels_of
from archsearch.graphs.space import GraphSpace
from archsearch.spaces.path_level_tree import MERGE, Nested, read_series, written_series
from archsearch.trial import Architecture


class PathLevel(GraphSpace):
    """Trees of series and branches, in which layers become branches (path-level network transformation).

    Moves: ``replicate and add`` puts two copies of a layer, each with a part of its output, in the place of one,
    ``split and concat`` two layers with half the filters each, ``deepen`` inserts a convolution, separable or not. All
    keep the function. Texts are such as ``conv 8 3 ; ( conv 8 3 + separable 8 3 ; conv 8 1 ) ; max_pool 2``: layers one
    after another, branches between parentheses, which ``+`` adds and ``&`` concatenates. A search starts from three
    convolutions with max-pooling between them.

    Args:
        nodes: Most layers and merges, >= 5.
        branches: Most branches side by side, >= 2.
        depth: How deep branches can be nested, >= 1.
        channels: Of the narrowest convolution, >= 1; there are 2, 4 and 8 times as wide ones.

    Raises:
        UsageError: If a setting is out of range.
    """

    tree: Nested

    def __init__(self, nodes: int = 16, branches: int = 3, depth: int = 3, channels: int = 4) -> None:
        self.nodes = whole_number("PathLevel", "nodes", nodes, 5)
        self.branches = whole_number("PathLevel", "branches", branches, 2)
        self.depth = at_least_one("PathLevel", "depth", depth)
        self.channels = at_least_one("PathLevel", "channels", channels)
        layer = {"channels": [channels * factor for factor in (1, 2, 4, 8)], "kernel": [1, 3, 5]}
        operations = {"conv": layer, "separable": layer, "max_pool": {"size": [2]}, MERGE: {}}
        super().__init__(operations, nodes, branches, (ADD, CONCAT))
        self.tree = Nested(operations, nodes, branches, depth)
        self.max_length, self.max_options = self.tree.longest, self.tree.widest

    @property
    def start(self) -> Architecture:
        """Three convolutions, twice as wide as the narrowest, with max-pooling between them."""
        conv, pool = self._layer("conv", 2 * self.channels, 3), Node("max_pool", (("size", 2),))
        return self.encode(chain(conv, pool, conv, pool, conv))

    def edits(self) -> Mapping[str, Kind]:
        """See the class."""
        return {
            "replicate and add": Kind(_replicated, preserves=True),
            "split and concat": Kind(self._split, preserves=True),
            "deepen": Kind(inserted(self._deeper), preserves=True),
        }

    def format(self, architecture: Architecture) -> str:
        """The tree as text; the class's docstring explains it."""
        return written_series(self.tree.series(self.decode(architecture)))

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` wrote.

        Raises:
            InvalidArchitecture: If ``text`` is of another form, or no tree of the space.
        """
        return self.encode(read_series(text, self.tree, type(self).__name__))

    def _layer(self, operation: str, channels: int, kernel: int) -> Node:
        return Node(operation, attributes_of(self.tree.operations[operation], channels=channels, kernel=kernel))

    def _split(self, graph: Graph) -> Iterator[Graph]:
        """Two layers with half the filters each, whose outputs are concatenated."""
        for number in graph.numbers():
            node = graph.node(number)
            half = node.number("channels", 0) / 2
            if node.has("channels") and half in self.tree.operations[node.operation]["channels"]:
                narrow = node.with_value("channels", int(half))
                yield _doubled(graph, number, narrow, dataclasses.replace(narrow, part=int(half)), CONCAT)

    def _deeper(self, graph: Graph, before: int) -> Iterator[Node]:
        wanted = channels_of(graph)[before]
        for operation in ("conv", "separable"):
            declared = self.tree.operations[operation]
            for kernel in declared["kernel"] if wanted in declared["channels"] else ():
                yield self._layer(operation, wanted, int(kernel))


def _replicated(graph: Graph) -> Iterator[Graph]:
    """Two copies of a layer, whose outputs are added, each with a part."""
    for number in graph.numbers():
        if (node := graph.node(number)).operation != MERGE:
            yield _doubled(graph, number, node, node, ADD)


def _doubled(graph: Graph, number: int, first: Node, second: Node, merge: str) -> Graph:
    """Two nodes side by side, and one that merges them, in the place of one."""
    readers = graph.readers(number)
    found = graph.replaced(number, first).inserted(number + 1, second)
    merging = Node(MERGE, (), (number, number + 1), merge)
    return found.inserted(number + 2, merging, [reader + 1 for reader in readers], number)
