"""The networks of random wiring: a stem, stages that are graphs, a 1x1 convolution, a classifier."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from archsearch.networks.network import GlobalAveragePool, InputShape, Network
from archsearch.spaces.randwire import RandWire
from archsearch.trial import Architecture

FEATURES = 1280
"""Channels before the classifier."""


class RandWireNetwork(Network):
    """Stages of nodes, as the class of the space describes them.

    Args:
        space: The space of the architecture.
        architecture: What to build.
        task: Input shape and classes.
        channels: Of the first stage.
    """

    def __init__(self, space: RandWire, architecture: Architecture, task: InputShape, channels: int) -> None:
        super().__init__(architecture)
        half, stride = max(1, channels // 2), space.stem_stride
        self.stem = nn.Sequential(
            nn.Conv2d(task.input_shape[0], half, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(half),
            nn.ReLU(),
            nn.Conv2d(half, channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.stages = nn.ModuleList()
        inputs = channels
        for stage, sources, loose in space.wiring(architecture):
            outputs = channels * 2**stage
            self.stages.append(Stage(inputs, outputs, sources, loose))
            inputs = outputs
        self.head = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(inputs, FEATURES, 1, bias=False),
            nn.BatchNorm2d(FEATURES),
            nn.ReLU(),
            GlobalAveragePool(),
            nn.Linear(FEATURES, task.classes),
        )

    def forward(self, images: torch.Tensor, architecture: Architecture | None = None) -> torch.Tensor:
        """Images, shape (batch, channels, height, width), to logits, shape (batch, classes)."""
        self.path(architecture)
        x = self.stem(images)
        for stage in self.stages:
            x = stage(x)
        logits: torch.Tensor = self.head(x)
        return logits


class Stage(nn.Module):
    """A graph of nodes; those without sources read the stage's input and halve height and width.

    Args:
        inputs: Channels that come in.
        outputs: Channels of all nodes.
        sources: Of each node the earlier nodes that it reads.
        loose: The nodes that no other reads.
    """

    def __init__(self, inputs: int, outputs: int, sources: Sequence[Sequence[int]], loose: Sequence[int]) -> None:
        super().__init__()
        self.sources, self.loose = sources, loose
        self.nodes = nn.ModuleList(
            Node(len(read), outputs, outputs, 1) if read else Node(1, inputs, outputs, 2) for read in sources
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (batch, inputs, height, width) to (batch, outputs, height / 2, width / 2), rounded up."""
        outputs: list[torch.Tensor] = []
        for node, read in zip(self.nodes, self.sources, strict=True):
            outputs.append(node([outputs[source] for source in read] or [x]))
        return torch.stack([outputs[node] for node in self.loose]).mean(0)


class Node(nn.Module):
    """A weighted sum, ReLU, a separable convolution of 3x3 and batch normalisation.

    Args:
        terms: Of the sum; one term is taken as it is.
        inputs: Channels of the terms.
        outputs: Channels that go out.
        stride: Of the convolution.
    """

    def __init__(self, terms: int, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(terms)) if terms > 1 else None
        self.operation = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(inputs, inputs, 3, stride, padding=1, groups=inputs, bias=False),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def initialise(self, generator: torch.Generator) -> None:
        """See ``archsearch.networks.network.initialise``; nothing is drawn: all weights are a half at first."""
        if self.weights is not None:
            nn.init.zeros_(self.weights)

    def forward(self, terms: Sequence[torch.Tensor]) -> torch.Tensor:
        """Maps of one shape to (batch, outputs, height / stride, width / stride)."""
        x = terms[0]
        if self.weights is not None:
            scales = self.weights.sigmoid()
            x = x * scales[0]
            for term, scale in zip(terms[1:], scales[1:], strict=True):
                x = x + term * scale
        output: torch.Tensor = self.operation(x)
        return output
