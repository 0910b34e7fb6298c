"""The networks of graphs: nodes that merge what they read, global average pooling, a classifier."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from archsearch.graphs.graph import ADD, Graph, Node
from archsearch.graphs.operations import OPERATIONS
from archsearch.graphs.shapes import channels_of, clips, merged_channels, signs_of
from archsearch.networks.network import GlobalAveragePool, InputShape, Network
from archsearch.trial import Architecture


class GraphNetwork(Network):
    """The network of a graph; its nodes are called by their numbers.

    Drop-path does nothing here: a branch that was added by a move carries nothing yet, so no path can be spared.

    Args:
        architecture: What it stands for.
        graph: The graph that this is.
        task: Input shape and classes.

    Attributes:
        channels: Of the images.
    """

    def __init__(self, architecture: Architecture, graph: Graph, task: InputShape) -> None:
        super().__init__(architecture)
        self.channels = task.input_shape[0]
        self.loose = graph.loose()
        widths, signs = channels_of(graph, self.channels), signs_of(graph)
        self.nodes = nn.ModuleList(GraphNode(node, widths, signs) for node in graph.nodes)
        self.average = GlobalAveragePool()
        self.classifier = nn.Linear(sum(widths[number] for number in self.loose), task.classes)

    def forward(self, images: torch.Tensor, architecture: Architecture | None = None) -> torch.Tensor:
        """Images, shape (batch, channels, height, width), to logits, shape (batch, classes)."""
        self.path(architecture)
        outputs = [images]
        for node in self.nodes:
            outputs.append(node(outputs))
        pooled = torch.cat([self.average(outputs[number]) for number in self.loose], dim=1)
        logits: torch.Tensor = self.classifier(pooled)
        return logits


class GraphNode(nn.Module):
    """Merges what a node reads, and computes its operation.

    Where inputs are added, each is multiplied by a learned number, 1 at first; where none of them can be negative, the
    sum is kept so by a ReLU.

    Args:
        node: The node.
        channels: Of all nodes, by number.
        signs: Of all nodes whether they are never negative.
    """

    def __init__(self, node: Node, channels: Sequence[int], signs: Sequence[bool]) -> None:
        super().__init__()
        self.inputs = node.inputs
        several = len(node.inputs) > 1
        self.scales = nn.Parameter(torch.ones(len(node.inputs))) if several and node.merge == ADD else None
        self.clips = clips(node, signs)
        self.operation = OPERATIONS[node.operation](merged_channels(node, channels), node)

    def initialise(self, generator: torch.Generator) -> None:
        """See ``archsearch.networks.network.initialise``; nothing is drawn."""
        if self.scales is not None:
            nn.init.ones_(self.scales)

    def forward(self, outputs: Sequence[torch.Tensor]) -> torch.Tensor:
        """Outputs of earlier nodes, by number, to this one's."""
        first, *others = (outputs[number] for number in self.inputs)
        result: torch.Tensor = self.operation(self._merged(first, others) if others else first)
        return result

    def _merged(self, first: torch.Tensor, others: Sequence[torch.Tensor]) -> torch.Tensor:
        others = [_sized(x, first) for x in others]
        if self.scales is None:
            return torch.cat([first, *others], dim=1)
        total = first * self.scales[0]
        for scale, x in zip(self.scales[1:], others, strict=True):
            total = total + scale * _widened(x, first.shape[1])
        return functional.relu(total) if self.clips else total


def _sized(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """``x`` at the height and width of another, by zeroth-order interpolation."""
    return x if x.shape[2:] == like.shape[2:] else functional.interpolate(x, like.shape[2:], mode="nearest")


def _widened(x: torch.Tensor, channels: int) -> torch.Tensor:
    """``x`` with so many channels: more are zeros, fewer the first."""
    if x.shape[1] > channels:
        return x[:, :channels]
    return x if x.shape[1] == channels else functional.pad(x, (0, 0, 0, 0, 0, channels - x.shape[1]))
