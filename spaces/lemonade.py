"""LEMONADE: networks that grow by morphisms, and shrink by edits that keep the function nearly.

Reference: Elsken, Metzen & Hutter, "Efficient multi-objective neural architecture search via Lamarckian evolution",
ICLR 2019 (arXiv 1804.09081), section 3.2. Sizes are our own: small enough for 8x8 images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from archsearch.graphs.graph import Attributes, Graph, Node
from archsearch.graphs.moves import Kind, disconnected, exchanged, removed, stepped
from archsearch.spaces.nash import NASH


class LEMONADE(NASH):
    """Networks that grow by morphisms and shrink approximately (LEMONADE).

    The moves of ``NASH``, which keep the function, and approximate ones, which do not: ``remove layer`` leaves out a
    convolution, ``remove skip`` an edge, ``prune filters`` makes a convolution 2 or 4 times narrower and keeps the
    first channels, ``make separable`` puts a depthwise and a 1x1 convolution, the best of that rank, in the place of a
    convolution. Of those ``preserves`` is False; the child keeps what it can of the weights. Growing moves have
    inverses among them.

    Args:
        nodes: The most layers, pooling among them, >= 5.
        channels: Channels of the narrowest convolution, >= 1; others are 2, 4 and 8 times as wide.
    """

    filters: ClassVar[tuple[str, ...]] = ("conv", "separable")

    def edits(self) -> Mapping[str, Kind]:
        """See the class."""
        inverses = {
            "deepen": "remove layer",
            "widen": "prune filters",
            "skip by add": "remove skip",
            "skip by concat": "remove skip",
        }
        growing = {name: kind._replace(inverse=inverses[name]) for name, kind in super().edits().items()}
        return growing | {
            "remove layer": Kind(removed(_has_filters)),
            "remove skip": Kind(disconnected),
            "prune filters": Kind(stepped("channels", self.tree.operations, (-2, -1)), "widen"),
            "make separable": Kind(exchanged(_separable)),
        }


def _has_filters(graph: Graph, number: int) -> bool:
    return graph.node(number).has("channels")


def _separable(node: Node) -> Iterator[tuple[str, Attributes]]:
    if node.operation == "conv":
        yield "separable", node.attributes
