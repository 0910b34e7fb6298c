"""The networks of NASRL: convolutions, each with batch normalisation and ReLU, and a linear classifier.

The paper shares no weights. Here a layer has weights for each layer that may feed it, of the largest kernel and the
most filters, of which an architecture takes leading parts: its first filters, and the middle of the kernel, whose rows
and columns are stored from the middle outwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional

from archsearch.networks.network import InputShape, Network
from archsearch.spaces.nas_rl import FILTERS, HEIGHTS, NASRL, STRIDES, WIDTHS
from archsearch.spaces.networks.nasbench101 import SlicedBatchNorm
from archsearch.trial import Architecture

LARGEST = (HEIGHTS[-1], WIDTHS[-1], FILTERS[-1], STRIDES[0], STRIDES[0])
IMAGE = "image"
"""Name of what feeds a layer that no other layer does."""


class NASRLNetwork(Network):
    """A chain of convolutions.

    Args:
        space: The space of the chain.
        architecture: The chain, or None for the super-network.
        task: Input shape and classes.
    """

    def __init__(self, space: NASRL, architecture: Architecture | None, task: InputShape) -> None:
        super().__init__(architecture)
        self.space = space
        if architecture is None:
            shapes: list[Sequence[int]] = [LARGEST] * space.layers
            loose = tuple(range(space.layers))
            fed = [[IMAGE, *map(str, range(i))] for i in range(space.layers)]
        else:
            (chain,) = space.read(architecture)
            shapes = [space.values(layer) for layer in chain]
            sources, loose = space.wiring(chain)
            fed = [list(map(str, some)) or [IMAGE] for some in sources.values()]
        widths = {IMAGE: task.input_shape[0], **{str(i): shape[2] for i, shape in enumerate(shapes)}}
        self.layers = nn.ModuleList(
            Convolution({name: widths[name] for name in names}, shape) for names, shape in zip(fed, shapes, strict=True)
        )
        self.classifiers = nn.ModuleDict(
            {str(i): nn.Linear(widths[str(i)], task.classes, bias=i == space.layers - 1) for i in loose}
        )

    def forward(self, images: torch.Tensor, architecture: Architecture | None = None) -> torch.Tensor:
        """Images, shape (batch, channels, height, width), to logits, shape (batch, classes)."""
        (chain,) = self.space.read(self.path(architecture))
        sources, loose = self.space.wiring(chain)
        outputs = {IMAGE: images}
        for i, some in sources.items():
            fed = {name: outputs[name] for name in list(map(str, some)) or [IMAGE]}
            outputs[str(i)] = self.layers[i](fed, self.space.values(chain[i]))
        ends = joined([outputs[str(i)] for i in loose])
        heads = [self.classifiers[str(i)] for i in loose]
        parts = zip(heads, (outputs[str(i)].shape[1] for i in loose), strict=True)
        weight = torch.cat([head.weight[:, :width] for head, width in parts], dim=1)  # type: ignore[index]
        return functional.linear(ends.mean((2, 3)), weight, heads[-1].bias)  # type: ignore[arg-type]


class Convolution(nn.Module):
    """A layer: convolution of what feeds it, concatenated, batch normalisation, ReLU.

    Args:
        inputs: What may feed it, each with its channels.
        shape: Height and width of the kernel, filters, and the strides.
    """

    def __init__(self, inputs: Mapping[str, int], shape: Sequence[int]) -> None:
        super().__init__()
        height, width, filters, *_ = shape
        self.of = nn.ModuleDict(
            {name: nn.Conv2d(channels, filters, (height, width), bias=False) for name, channels in inputs.items()}
        )
        self.norm = SlicedBatchNorm(filters)

    def forward(self, fed: Mapping[str, torch.Tensor], shape: Sequence[int]) -> torch.Tensor:
        """What feeds it, and its shape, to shape (batch, filters, height, width)."""
        height, width, filters, *strides = shape
        parts = [
            self.of[name].weight[:filters, : x.shape[1], :height, :width]  # type: ignore[index]
            for name, x in fed.items()
        ]
        weight = torch.cat(parts, dim=1)[:, :, outwards(height)][:, :, :, outwards(width)]
        x = functional.conv2d(joined(list(fed.values())), weight, None, strides, (height // 2, width // 2))
        output: torch.Tensor = self.norm(x).relu()
        return output


def outwards(side: int) -> list[int]:
    """Of each row of a kernel, where it is stored: the middle first, then what is above and below it, and so on."""
    return [2 * abs(offset) - (offset < 0) for offset in range(-(side // 2), side // 2 + 1)]


def joined(maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """Concatenated in depth; smaller ones get zeros on the right and below."""
    height, width = (max(x.shape[axis] for x in maps) for axis in (2, 3))
    return torch.cat([functional.pad(x, (0, width - x.shape[3], 0, height - x.shape[2])) for x in maps], dim=1)
