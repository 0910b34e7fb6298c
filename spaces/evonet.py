"""EvoNet: graphs that evolve from next to nothing, by eleven actions, the learning rate among them.

Reference: Real, Moore, Selle, Saxena, Suematsu, Tan, Le & Kurakin, "Large-scale evolution of image classifiers", ICML
2017 (arXiv 1703.01041), section 3.3. Sizes are our own: small enough for 8x8 images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from archsearch.basics.checks import at_least_one, whole_number
from archsearch.graphs.graph import Graph, Node, attributes_of
from archsearch.graphs.moves import (
    Kind,
    connected,
    disconnected,
    inserted,
    removed,
    setting_stepped,
    stepped,
    unchanged,
)
from archsearch.graphs.shapes import channels_of
from archsearch.graphs.space import GraphSpace, Operations
from archsearch.trial import Architecture

RATES = (0.003125, 0.00625, 0.0125, 0.025, 0.05, 0.1, 0.2, 0.4)
"""Learning rates; one step is a factor of 2, the most by which the paper's mutation changes a number."""


class EvoNet(GraphSpace):
    """Graphs of convolutions and identities that evolve from a model without convolutions (large-scale evolution).

    The eleven actions are moves: ``alter learning rate``, ``identity`` (the child goes on training), ``reset weights``
    (it begins anew), ``insert convolution`` (3x3, stride 1 or 2, as many channels as what it reads, with batch
    normalisation and ReLU or linear), ``remove convolution``, ``alter stride``, ``alter channels``, ``alter filter``
    (height or width, odd), ``insert one-to-one``, ``add skip``, ``remove skip``. Where several edges meet, one is
    primary, and the others are brought to its shape by zeroth-order interpolation and padding, and added. A child keeps
    its parent's weights wherever shapes allow. ``learning_rate`` is part of an architecture, and of its ``recipe``.

    The number of histories of ``t`` actions, of at most ``c`` possible ones each, is at most ``histories(c, t)``.

    Args:
        nodes: Most convolutions and identities, >= 1. The paper has no bound.
        channels: Of the narrowest convolution, >= 1; there are 1, 1.5, 2, 3, 4, 6 and 8 times as wide ones, rounded.

    Raises:
        UsageError: If a setting is out of range.
    """

    idle_mutations = True  # identity, and weights that are reset

    def __init__(self, nodes: int = 16, channels: int = 8) -> None:
        self.nodes = at_least_one("EvoNet", "nodes", nodes)
        self.channels = at_least_one("EvoNet", "channels", channels)
        widths = sorted({round(channels * factor) for factor in (1, 1.5, 2, 3, 4, 6, 8)})
        operations: Operations = {
            "conv": {
                "channels": widths,
                "height": [1, 3, 5],
                "width": [1, 3, 5],
                "stride": [1, 2, 4],
                "activation": ["relu", "none"],
            },
            "identity": {},
        }
        super().__init__(operations, nodes, inputs=3, settings={"learning_rate": RATES})

    @property
    def start(self) -> Architecture:
        """The input, pooled and classified: no convolution; at the learning rate 0.1 of the paper."""
        return self.encode(Graph(settings=(("learning_rate", 0.1),)))

    def recipe(self, architecture: Architecture) -> Mapping[str, Any]:
        """What an architecture says of its training: the learning rate."""
        return dict(self.decode(architecture).settings)

    def edits(self) -> Mapping[str, Kind]:
        """The eleven actions."""
        options = self.tree.operations
        return {
            "alter learning rate": Kind(setting_stepped("learning_rate", RATES, (-1, 1)), "alter learning rate"),
            "identity": Kind(unchanged, "identity"),
            "reset weights": Kind(unchanged, inherits=False),
            "insert convolution": Kind(inserted(self._convolutions), "remove convolution"),
            "remove convolution": Kind(removed(lambda graph, number: graph.node(number).operation == "conv")),
            "alter stride": Kind(stepped("stride", options, (-1, 1)), "alter stride"),
            "alter channels": Kind(stepped("channels", options, (-2, -1, 1, 2)), "alter channels"),
            "alter filter": Kind(_filters(options), "alter filter"),
            "insert one-to-one": Kind(inserted(lambda _graph, _before: [Node("identity")])),
            "add skip": Kind(connected(self.tree.merges), "remove skip"),
            "remove skip": Kind(disconnected, "add skip"),
        }

    def _convolutions(self, graph: Graph, before: int) -> Iterator[Node]:
        """Those that may be inserted behind a node."""
        declared = self.tree.operations["conv"]
        wanted = channels_of(graph)[before]
        enough = [width for width in declared["channels"] if int(width) >= wanted]
        channels = enough[0] if enough else declared["channels"][-1]
        for stride in (1, 2):
            for activation in declared["activation"]:
                given = {"channels": channels, "height": 3, "width": 3, "stride": stride, "activation": activation}
                yield Node("conv", attributes_of(declared, **given))


def _filters(options: Operations) -> Any:
    height, width = (stepped(side, options, (-1, 1)) for side in ("height", "width"))
    return lambda graph: (*height(graph), *width(graph))


def histories(choices: int, steps: int) -> int:
    """Most histories of up to t actions, each of at most c: 1 + c + ... + c^t = (c^(t+1) - 1) / (c - 1).

    Args:
        choices: Possible actions at each step, >= 1.
        steps: Actions, >= 0.
    """
    whole_number("histories", "choices", choices, 1)
    whole_number("histories", "steps", steps)
    return sum(choices**step for step in range(steps + 1))
