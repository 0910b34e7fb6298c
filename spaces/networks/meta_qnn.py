"""The networks of MetaQNN: convolutions and poolings, dense layers or global average pooling, a classifier."""

from __future__ import annotations

import math

import torch
from torch import nn

from archsearch.grammar.layers import conv_bn_relu
from archsearch.networks.network import GlobalAveragePool, InputShape, Network
from archsearch.spaces.meta_qnn import MetaQNN
from archsearch.trial import Architecture


class MetaQNNNetwork(Network):
    """A chain of layers.

    Args:
        space: The space of the chain.
        architecture: The chain.
        task: Input shape and classes.
        channels: What the smallest number of filters becomes; see ``MetaQNN.scaled``.
    """

    def __init__(self, space: MetaQNN, architecture: Architecture, task: InputShape, channels: int) -> None:
        super().__init__(architecture)
        width, height, breadth = task.input_shape
        flat = False
        layers: list[nn.Module] = []
        for kind, size, extent in space.decode(architecture):
            if kind == "C":
                layers.append(_convolution(width, space.scaled(size, channels), extent, space.batch_norm))
                width = space.scaled(size, channels)
            elif kind == "P":  # an image of another size than the rules go out from may leave smaller maps
                sides = min(size, height), min(size, breadth)
                layers.append(nn.MaxPool2d(sides, extent))
                height, breadth = ((n - side) // extent + 1 for n, side in zip((height, breadth), sides, strict=True))
            elif kind == "GAP":
                layers.append(GlobalAveragePool())
            else:
                if not flat:
                    layers.append(nn.Flatten())
                    width, flat = width * math.prod((height, breadth)), True
                if kind == "FC":
                    layers.append(nn.Sequential(nn.Linear(width, space.scaled(size, channels)), nn.ReLU()))
                    width = space.scaled(size, channels)
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(width, task.classes)

    def forward(self, images: torch.Tensor, architecture: Architecture | None = None) -> torch.Tensor:
        """Images, shape (batch, channels, height, width), to logits, shape (batch, classes)."""
        self.path(architecture)
        logits: torch.Tensor = self.classifier(self.layers(images))
        return logits


def _convolution(inputs: int, outputs: int, kernel: int, normalised: bool) -> nn.Module:
    if normalised:
        return conv_bn_relu(inputs, outputs, kernel)
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), nn.ReLU())
