"""The networks of Genetic CNN: stages of equal convolutions with pooling between them, and a linear classifier.

The original has fully connected layers behind its stages; here an average over all places comes before one.
"""

from __future__ import annotations

import functools

import torch
from torch import nn

from archsearch.grammar.layers import conv_bn_relu
from archsearch.grammar.links import Layer
from archsearch.networks.network import GlobalAveragePool, InputShape, Network
from archsearch.spaces.genetic_cnn import GeneticCNN
from archsearch.trial import Architecture


class GeneticCNNNetwork(Network):
    """Stages of convolutions.

    Args:
        space: The space of the stages.
        architecture: Their bits, or None for the super-network with all nodes.
        task: Input shape and classes.
        channels: Channels of the first stage.
    """

    def __init__(self, space: GeneticCNN, architecture: Architecture | None, task: InputShape, channels: int) -> None:
        super().__init__(architecture)
        self.space = space
        read = None if architecture is None else space.read(architecture)
        self.stages = nn.ModuleList()
        inputs = task.input_shape[0]
        for number, size in enumerate(space.stages):
            width = channels * 2**number
            there = list(range(size)) if read is None else list(space.wiring(read[number]).sources)
            stage = nn.ModuleDict({"first": conv_bn_relu(inputs, width, space.kernel)})
            for node in [*map(str, there), *(["last"] if there else [])]:
                stage[node] = conv_bn_relu(width, width, space.kernel)
            self.stages.append(stage)
            inputs = width
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.head = nn.Sequential(GlobalAveragePool(), nn.Linear(inputs, task.classes))

    def forward(self, images: torch.Tensor, architecture: Architecture | None = None) -> torch.Tensor:
        """Images, shape (batch, channels, height, width), to logits, shape (batch, classes)."""
        x = images
        for stage, layers in zip(self.stages, self.space.read(self.path(architecture)), strict=True):
            assert isinstance(stage, nn.ModuleDict)
            x = self.pool(self._stage(stage, layers, x))
        logits: torch.Tensor = self.head(x)
        return logits

    def _stage(self, stage: nn.ModuleDict, layers: list[Layer], x: torch.Tensor) -> torch.Tensor:
        x = stage["first"](x)
        sources, loose = self.space.wiring(layers)
        outputs: dict[int, torch.Tensor] = {}
        for node, some in sources.items():
            outputs[node] = stage[str(node)](functools.reduce(torch.add, [outputs[j] for j in some] or [x]))
        return stage["last"](functools.reduce(torch.add, [outputs[i] for i in loose])) if loose else x
