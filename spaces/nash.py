"""NASH: networks that grow by morphisms, which keep their function.

Reference: Elsken, Metzen & Hutter, "Simple and efficient architecture search for convolutional neural networks", 2017
(arXiv 1711.04528). Sizes are our own: small enough for 8x8 images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from archsearch.basics.checks import at_least_one, whole_number
from archsearch.graphs.graph import ADD, CONCAT, Graph, Node, attributes_of, chain
from archsearch.graphs.moves import Kind, connected, inserted, stepped
from archsearch.graphs.shapes import channels_of
from archsearch.graphs.space import GraphSpace, Operations
from archsearch.trial import Architecture


class NASH(GraphSpace):
    """Convolutional networks that grow by morphisms: deeper, wider, skips that are added or concatenated (NASH).

    Moves: ``deepen`` inserts convolution, batch normalisation and ReLU, ``widen`` makes a convolution 2 or 4 times as
    wide, ``skip by add`` and ``skip by concat`` let a layer read an earlier one as well. Each keeps the function: where
    one could not, as of a ReLU behind images, it is not listed. No move leads back. A search starts from three
    convolutions with max-pooling between them.

    Args:
        nodes: The most layers, pooling among them, >= 5.
        channels: Channels of the narrowest convolution, >= 1; others are 2, 4 and 8 times as wide.
    """

    filters: ClassVar[tuple[str, ...]] = ("conv",)
    """Operations that have them."""

    def __init__(self, nodes: int = 16, channels: int = 8) -> None:
        self.nodes = whole_number(type(self).__name__, "nodes", nodes, 5)
        self.channels = at_least_one(type(self).__name__, "channels", channels)
        layer = {"channels": [channels * factor for factor in (1, 2, 4, 8)], "kernel": [3, 5]}
        operations: Operations = {**dict.fromkeys(self.filters, layer), "max_pool": {"size": [2]}}
        super().__init__(operations, nodes, inputs=3, merges=(ADD, CONCAT))

    @property
    def start(self) -> Architecture:
        """Three convolutions of the least width, with max-pooling between them."""
        conv, pool = self.layer(self.channels), Node("max_pool", attributes_of(self.tree.operations["max_pool"]))
        return self.encode(chain(conv, pool, conv, pool, conv))

    def layer(self, channels: int, kernel: int = 3) -> Node:
        """A convolution."""
        return Node("conv", attributes_of(self.tree.operations["conv"], channels=channels, kernel=kernel))

    def edits(self) -> Mapping[str, Kind]:
        """See the class."""
        return {
            "deepen": Kind(inserted(self._deeper), preserves=True),
            "widen": Kind(stepped("channels", self.tree.operations, (1, 2)), preserves=True),
            "skip by add": Kind(connected((ADD,)), preserves=True),
            "skip by concat": Kind(connected((CONCAT,)), preserves=True),
        }

    def _deeper(self, graph: Graph, before: int) -> Iterator[Node]:
        """Convolutions that can pass on what a node gives."""
        declared, wanted = self.tree.operations["conv"], channels_of(graph)[before]
        enough = [int(width) for width in declared["channels"] if int(width) >= wanted]
        for kernel in declared["kernel"] if enough else ():
            yield self.layer(enough[0], int(kernel))
