"""The networks of BlockQNN: blocks in three stages, and a linear classifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from archsearch.grammar.layers import avg_pool, max_pool, relu_conv_bn
from archsearch.networks.network import GlobalAveragePool, InputShape, Network
from archsearch.spaces.block_qnn import KINDS, BlockQNN, Layer, loose_ends
from archsearch.trial import Architecture

STAGES = 3

MAKE: Mapping[str, Callable[[int], nn.Module]] = {
    "conv 1x1": lambda width: relu_conv_bn(width, width, 1),
    "conv 3x3": lambda width: relu_conv_bn(width, width, 3),
    "conv 5x5": lambda width: relu_conv_bn(width, width, 5),
    "max pool 3x3": lambda width: max_pool(width, 1, 3),
    "avg pool 3x3": lambda width: avg_pool(width, 1, 3),
    "identity": lambda _width: nn.Identity(),
    "add": lambda _width: nn.Identity(),
    "concat": lambda width: relu_conv_bn(2 * width, width),
}
"""What is done to what a layer reads, which has so many channels, and what it gives has, too."""


class BlockQNNNetwork(Network):
    """Blocks in stages.

    Args:
        space: The space of the block.
        architecture: The block.
        task: Input shape and classes.
        channels: Width of the first stage.
        blocks: Of each stage.
    """

    def __init__(
        self, space: BlockQNN, architecture: Architecture, task: InputShape, channels: int, blocks: int
    ) -> None:
        super().__init__(architecture)
        layers, inputs = space.decode(architecture), task.input_shape[0]
        self.stages = nn.ModuleList()
        for stage in range(STAGES):
            width, stacked = channels * 2**stage, []
            for _ in range(blocks):
                stacked.append(Block(layers, inputs, width))
                inputs = width * len(loose_ends(layers))
            self.stages.append(nn.Sequential(*stacked))
        self.pool = nn.MaxPool2d(2, ceil_mode=True)  # images of one pixel remain
        self.head = nn.Sequential(GlobalAveragePool(), nn.Linear(inputs, task.classes))

    def forward(self, images: torch.Tensor, architecture: Architecture | None = None) -> torch.Tensor:
        """Images, shape (batch, channels, height, width), to logits, shape (batch, classes)."""
        self.path(architecture)
        x = images
        for number, stage in enumerate(self.stages):
            x = stage(self.pool(x) if number else x)
        logits: torch.Tensor = self.head(x)
        return logits


class Block(nn.Module):
    """A block; what nothing reads is concatenated.

    Args:
        layers: Of the block.
        inputs: Channels that come in.
        width: Channels of each layer.
    """

    def __init__(self, layers: Sequence[Layer], inputs: int, width: int) -> None:
        super().__init__()
        adapt = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.adapter = nn.Identity() if inputs == width else nn.Sequential(*adapt)
        self.layers = nn.ModuleList(MAKE[KINDS[layer.kind]](width) for layer in layers)
        self.kinds = [KINDS[layer.kind] for layer in layers]
        self.sources = [layer.sources for layer in layers]
        self.loose = loose_ends(layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (batch, inputs, height, width) to (batch, width of a layer * loose ends, height, width)."""
        values = [self.adapter(x)]
        for layer, kind, sources in zip(self.layers, self.kinds, self.sources, strict=True):
            read = [values[source] for source in sources]
            joined = torch.cat(read, dim=1) if kind == "concat" else sum(read[1:], read[0])
            values.append(layer(joined))
        return torch.cat([values[index] for index in self.loose], dim=1)
