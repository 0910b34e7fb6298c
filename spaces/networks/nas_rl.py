"""The networks of NASRL: convolutions, each with batch normalisation and ReLU, and a linear classifier."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from archsearch.networks.network import GlobalAveragePool, InputShape, Network
from archsearch.spaces.nas_rl import NASRL
from archsearch.trial import Architecture


class NASRLNetwork(Network):
    """A chain of convolutions.

    Args:
        space: The space of the chain.
        architecture: The chain.
        task: Input shape and classes.
    """

    def __init__(self, space: NASRL, architecture: Architecture, task: InputShape) -> None:
        super().__init__(architecture)
        (chain,) = space.read(architecture)
        self.sources, self.loose = space.wiring(chain)
        self.layers = nn.ModuleList()
        widths: list[int] = []
        for layer in chain:
            inputs = sum(widths[source] for source in layer.sources) or task.input_shape[0]
            height, width, filters, down, right = space.values(layer)
            padding = (height // 2, width // 2)
            convolution = nn.Conv2d(inputs, filters, (height, width), (down, right), padding, bias=False)
            self.layers.append(nn.Sequential(convolution, nn.BatchNorm2d(filters), nn.ReLU()))
            widths.append(filters)
        self.head = nn.Sequential(GlobalAveragePool(), nn.Linear(sum(widths[i] for i in self.loose), task.classes))

    def forward(self, images: torch.Tensor, architecture: Architecture | None = None) -> torch.Tensor:
        """Images, shape (batch, channels, height, width), to logits, shape (batch, classes)."""
        self.path(architecture)
        outputs: list[torch.Tensor] = []
        for layer, sources in zip(self.layers, self.sources.values(), strict=True):
            outputs.append(layer(joined([outputs[source] for source in sources] or [images])))
        logits: torch.Tensor = self.head(joined([outputs[i] for i in self.loose]))
        return logits


def joined(maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """Concatenated in depth; smaller ones get zeros on the right and below."""
    height, width = (max(x.shape[axis] for x in maps) for axis in (2, 3))
    return torch.cat([functional.pad(x, (0, width - x.shape[3], 0, height - x.shape[2])) for x in maps], dim=1)
