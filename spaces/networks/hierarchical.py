"""The networks of the hierarchical space: a stem, three stages of equal cells, separable convolutions behind each.

Each convolution has batch normalisation and ReLU behind it; a separable one is a depthwise and a 1x1 convolution. The
convolution behind a stage has stride 2 and doubles the channels, except for the last, which keeps both.

Where several edges end in a node, their outputs are concatenated. In the paper, as we read it, channels grow by that;
here a 1x1 convolution brings them back to those of the stage. So weights belong to places of the flat graph and can be
shared; this convolution has a part for each edge that may end there. What enters a node of the cell are outputs of
motifs, each of which was brought back before.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional

from archsearch.grammar.layers import OPERATIONS, Carried, StateConv, conv_bn_relu, separable_bn_relu
from archsearch.networks.network import Choice, GlobalAveragePool, InputShape, Network, show_only
from archsearch.spaces.hierarchical import OPERATIONS as NAMES
from archsearch.spaces.hierarchical import Edge, Hierarchical
from archsearch.trial import Architecture

STAGES = 3


class HierarchicalNetwork(Network):
    """Stages of cells.

    Args:
        space: The space of the cell.
        architecture: The cell, or None for the super-network with all operations in all places.
        task: Input shape and classes.
        channels: Channels of the first stage; each later stage has twice as many.
        cells: Cells per stage.
    """

    def __init__(
        self, space: Hierarchical, architecture: Architecture | None, task: InputShape, channels: int, cells: int
    ) -> None:
        super().__init__(architecture)
        self.space = space
        everything = {edge: dict.fromkeys(space.motif_edges) for edge in space.cell_edges}
        plan = everything if architecture is None else space.plan(architecture)
        self.stem = conv_bn_relu(task.input_shape[0], channels, 3)
        self.layers = nn.ModuleList()
        for stage in range(STAGES):
            last = stage == STAGES - 1
            self.layers.extend(Graph(plan, channels) for _ in range(cells))
            self.layers.append(separable_bn_relu(channels, channels if last else 2 * channels, 3, 1 if last else 2))
            channels *= 1 if last else 2
        self.head = nn.Sequential(GlobalAveragePool(), nn.Linear(channels, task.classes))

    def forward(self, images: torch.Tensor, architecture: Architecture | None = None) -> torch.Tensor:
        """Images, shape (batch, channels, height, width), to logits, shape (batch, classes)."""
        plan = self.space.plan(self.path(architecture))
        x = self.stem(images)
        for layer in self.layers:
            x = layer(x, plan) if isinstance(layer, Graph) else layer(x)
        logits: torch.Tensor = self.head(x)
        return logits

    def show(self, architecture: Architecture | None) -> bool:
        """See ``Network``."""
        self.architecture = architecture
        plan = None if architecture is None else self.space.plan(architecture)
        for layer in self.layers:
            if isinstance(layer, Graph):
                layer.show(plan)
        return True


Parts = Mapping[Edge, Any]
"""The edges of a cell, with the edges of their motif; or those of a motif, with their operation, or None for all."""


class Graph(nn.Module):
    """A cell, or the motif on one of its edges: all that an edge has is either such a graph or an operation.

    Args:
        parts: The edges that it has.
        channels: Of every node.
    """

    def __init__(self, parts: Parts, channels: int) -> None:
        super().__init__()
        self.edges, self.joins = nn.ModuleDict(), nn.ModuleDict()
        for edge, part in parts.items():
            graph = isinstance(part, Mapping)
            self.edges[_name(edge)] = Graph(part, channels) if graph else Choice(_candidates(channels), part)
        for node, sources in _sources(parts).items():
            if len(sources) > 1:
                self.joins[str(node)] = Join(sources, channels)

    def forward(self, x: torch.Tensor, parts: Parts) -> torch.Tensor:
        """The output of the last node; zeros, where there are no edges. Shape as of the input."""
        nodes, output = {0: x}, torch.zeros_like(x) if not parts else x
        for node, sources in _sources(parts).items():
            outputs = [self.edges[_name((s, node))](nodes[s], parts[s, node]) for s in sources]
            output = self.joins[str(node)](outputs, sources) if len(sources) > 1 else outputs[0]
            nodes[node] = output
        return output

    def show(self, parts: Parts | None) -> None:
        """Hides all but some parts; None: none."""
        show_only(self.edges, None if parts is None else [_name(edge) for edge in parts])
        sources = {} if parts is None else {str(n): s for n, s in _sources(parts).items() if len(s) > 1}
        show_only(self.joins, None if parts is None else sources)
        for node, join in self.joins.items():
            show_only(cast(Join, join).conv.of, None if parts is None else [str(s) for s in sources[node]])
        edges = dict.fromkeys(self.edges) if parts is None else {_name(e): p for e, p in parts.items()}
        for name, part in edges.items():
            edge = self.edges[name]
            if isinstance(edge, Graph):
                edge.show(part)
            else:
                show_only(edge, None if part is None else [part])


class Join(nn.Module):
    """What brings several outputs back to the channels of one: 1x1 convolution, batch normalisation, ReLU.

    Args:
        sources: The nodes whose edges may end here.
        channels: Of each output.
    """

    def __init__(self, sources: Sequence[int], channels: int) -> None:
        super().__init__()
        self.conv = StateConv(Carried(channels, tuple(sources)), channels)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, outputs: Sequence[torch.Tensor], sources: Sequence[int]) -> torch.Tensor:
        """The outputs of edges, each of shape (batch, channels, height, width), to that shape."""
        return functional.relu(self.norm(self.conv(torch.cat(list(outputs), dim=1), sources)))


def _candidates(channels: int) -> dict[str, Callable[[], nn.Module]]:
    made: dict[str, Callable[[], nn.Module]] = {
        "conv_1x1": lambda: conv_bn_relu(channels, channels, 1),
        "depthwise_3x3": lambda: conv_bn_relu(channels, channels, 3, groups=channels),
        "separable_3x3": lambda: separable_bn_relu(channels, channels, 3),
    }
    return {name: made.get(name) or functools.partial(OPERATIONS[name], channels, 1) for name in NAMES[1:]}


def _name(edge: Edge) -> str:
    return f"{edge[0]}-{edge[1]}"


def _sources(parts: Parts) -> dict[int, list[int]]:
    """The nodes in which edges end, in order, each with those where they begin."""
    found: dict[int, list[int]] = {}
    for source, target in parts:
        found.setdefault(target, []).append(source)
    return found
