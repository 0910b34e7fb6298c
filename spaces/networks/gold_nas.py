"""The networks of GOLD-NAS: those of DARTS, with operations of its own in every cell, any number on an edge.

Reference: Bi, Xie, Chen, Wei & Tian, "GOLD-NAS: gradual, one-level, differentiable", 2020, section 3.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from archsearch.networks.network import Choice, GlobalAveragePool, InputShape, Network, Weights
from archsearch.spaces.darts import NODES, RELAXED_EDGES, Edge
from archsearch.spaces.gold_nas import EDGES, OPERATIONS, OPTIONS
from archsearch.spaces.networks.darts import (
    STEM_MULTIPLIER,
    Cell,
    FactorisedReduction,
    Mixture,
    _candidates,
    reduction_layers,
    relu_conv_bn,
)
from archsearch.trial import Architecture

CHOICES = EDGES * len(OPERATIONS)
"""Of a cell."""


class GOLDNetwork(Network):
    """A stem, a row of cells of which two reduce, global average pooling, a classifier.

    Args:
        architecture: The operations of all edges, or None for the super-network with both on each.
        task: Input shape and classes.
        channels: Channels of a node in the first cells; each reduction doubles them.
        layers: Number of cells.
    """

    def __init__(self, architecture: Architecture | None, task: InputShape, channels: int, layers: int) -> None:
        super().__init__(architecture)
        before = last = STEM_MULTIPLIER * channels
        self.stem = nn.Sequential(nn.Conv2d(task.input_shape[0], last, 3, padding=1, bias=False), nn.BatchNorm2d(last))
        self.cells = nn.ModuleList()
        reductions = reduction_layers(layers)
        for layer in range(layers):
            reduces = layer in reductions
            channels *= 2 if reduces else 1
            options = None if architecture is None else architecture[layer * EDGES : (layer + 1) * EDGES]
            self.cells.append(GOLDCell(options, before, last, channels, reduces, layer - 1 in reductions))
            before, last = last, len(NODES) * channels
        self.head = nn.Sequential(GlobalAveragePool(), nn.Linear(last, task.classes))

    def forward(self, images: torch.Tensor, architecture: Architecture | None = None) -> torch.Tensor:
        """Images, shape (batch, channels, height, width), to logits, shape (batch, classes)."""
        chosen: list[Weights] = [
            {int(operation in OPTIONS[option]): 1.0}
            for option in self.path(architecture)
            for operation in range(len(OPERATIONS))
        ]
        return self._compute(images, chosen)

    def relaxed(self, images: torch.Tensor, weights: Sequence[Weights]) -> torch.Tensor:
        """Logits with each operation times its weight; see ``archsearch.relaxing``.

        A node is the sum of all that ends in it; ``none`` is zero.
        """
        return self._compute(images, self.weighed(weights, [2] * CHOICES * len(self.cells)))

    def _compute(self, images: torch.Tensor, weights: Sequence[Weights]) -> torch.Tensor:
        before = last = self.stem(images)
        for layer, cell in enumerate(self.cells):
            nodes = mixture_of(weights[layer * CHOICES : (layer + 1) * CHOICES])
            before, last = last, cell(before, last, nodes, self.drop)
        logits: torch.Tensor = self.head(last)
        return logits


def mixture_of(weights: Sequence[Weights]) -> Mixture:
    """What feeds each node of a cell, given the weights of its choices; ``none``, the first candidate, is left out."""
    nodes: dict[int, dict[Edge, float | torch.Tensor]] = {node: {} for node in NODES}
    for number, some in enumerate(weights):
        edge, operation = divmod(number, len(OPERATIONS))
        source, target = RELAXED_EDGES[edge]
        if 1 in some:
            nodes[target][Edge(source, OPERATIONS[operation])] = some[1]
    both = tuple(nodes.values())
    return Mixture(both, both)  # whichever kind of cell it is


class GOLDCell(Cell):
    """A cell of DARTS that has any number of the two operations on an edge.

    Args:
        options: Of its edges, or None for both operations on each.
        before: Channels of the output of the cell before the previous one.
        last: Channels of the output of the previous cell.
        channels: Channels of every node.
        reduces: Whether the operations on its two inputs have stride 2.
        follows_reduction: Whether the previous cell reduces.
    """

    def __init__(
        self,
        options: Architecture | None,
        before: int,
        last: int,
        channels: int,
        reduces: bool,
        follows_reduction: bool,
    ) -> None:
        nn.Module.__init__(self)
        self.reduces = reduces
        adapt = FactorisedReduction if follows_reduction else relu_conv_bn
        self.inputs = nn.ModuleList([adapt(before, channels), relu_conv_bn(last, channels)])
        self.edges = nn.ModuleDict()
        for edge, (source, target) in enumerate(RELAXED_EDGES):
            kept = range(len(OPERATIONS)) if options is None else OPTIONS[options[edge]]
            make: dict[str, Callable[[], nn.Module]] = {
                name: _candidates(channels, self.stride(source))[name] for name in (OPERATIONS[i] for i in kept)
            }
            if make:
                self.edges[f"{source}-{target}"] = Choice(make)
