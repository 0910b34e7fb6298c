"""EAS: plain networks that are made wider and deeper, and keep their function.

Reference: Cai, Chen, Zhang, Yu & Wang, "Efficient architecture search by network transformation", AAAI 2018 (arXiv
1707.04873). The moves are those of Net2Net (Chen, Goodfellow & Shlens, ICLR 2016). Sizes are our own: small enough for
8x8 images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from archsearch.basics.checks import whole_number
from archsearch.errors import UsageError
from archsearch.graphs.graph import Graph, Node, attributes_of, chain
from archsearch.graphs.moves import Kind, inserted, stepped
from archsearch.graphs.shapes import channels_of
from archsearch.graphs.space import GraphSpace
from archsearch.trial import Architecture


class EAS(GraphSpace):
    """Chains of convolutions, with pooling between them, that are made wider and deeper (EAS).

    Moves: ``wider`` takes a convolution to the next number of channels; ``deeper`` inserts one with a kernel of 1, 3 or
    5 behind another layer. Both keep the function: none is inserted directly behind the images, whose numbers a ReLU
    could change. A search starts from three convolutions with pooling between them.

    Args:
        nodes: The most layers, >= 5.
        channels: Numbers of channels that a convolution can have, rising. None: 8, 16, 24, 32, 48, 64; the paper's are
            16, 32, 64, 96, ...

    Raises:
        UsageError: If a setting is out of range.
    """

    def __init__(self, nodes: int = 12, channels: list[int] | None = None) -> None:
        self.nodes = whole_number("EAS", "nodes", nodes, 5)
        self.channels = _rising([8, 16, 24, 32, 48, 64] if channels is None else channels)
        operations = {"conv": {"channels": self.channels, "kernel": [1, 3, 5]}, "max_pool": {"size": [2]}}
        super().__init__(operations, nodes, inputs=1)

    @property
    def start(self) -> Architecture:
        """Three convolutions of the least width, with max-pooling between them."""
        conv, pool = self._layer(self.channels[0], 3), Node("max_pool", (("size", 2),))
        return self.encode(chain(conv, pool, conv, pool, conv))

    def edits(self) -> Mapping[str, Kind]:
        """See the class."""
        return {
            "wider": Kind(stepped("channels", self.tree.operations, (1,)), preserves=True),
            "deeper": Kind(inserted(self._deeper), preserves=True),
        }

    def _layer(self, channels: int, kernel: int) -> Node:
        return Node("conv", attributes_of(self.tree.operations["conv"], channels=channels, kernel=kernel))

    def _deeper(self, graph: Graph, before: int) -> Iterator[Node]:
        wanted = channels_of(graph)[before]
        for kernel in (1, 3, 5) if wanted in self.channels else ():
            yield self._layer(wanted, kernel)


def _rising(channels: Sequence[int]) -> list[int]:
    if not isinstance(channels, (list, tuple)) or not channels:
        raise UsageError(f"EAS: channels: expected a list that is not empty, got {channels!r}")
    checked = [whole_number("EAS", f"channels[{i}]", number, 1) for i, number in enumerate(channels)]
    if checked != sorted(set(checked)):
        raise UsageError(f"EAS: channels: expected rising numbers, got {checked}")
    return checked
