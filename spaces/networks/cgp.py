"""The networks of Cartesian genetic programming: the active nodes of a genome, and a linear classifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.nn import functional

from archsearch.networks.network import InputShape, Network
from archsearch.spaces.cgp import CGP, IMAGE
from archsearch.trial import Architecture


class CGPNetwork(Network):
    """The active nodes of a genome.

    Args:
        space: The space of the genome.
        architecture: The genome.
        task: Input shape and classes.
    """

    def __init__(self, space: CGP, architecture: Architecture, task: InputShape) -> None:
        super().__init__(architecture)
        self.plan = space.decode(architecture)
        self.nodes = nn.ModuleDict()
        shapes: dict[int, tuple[int, ...]] = {IMAGE: tuple(task.input_shape)}
        for node, (function, sources) in self.plan.items():
            fed = [shapes[source] for source in sources]
            channels, sides = [shape[0] for shape in fed], min(shape[1:] for shape in fed)
            if function in ("max_pool", "avg_pool"):
                sides = _halved(sides)
            elif function not in ("sum", "concat"):
                block, size, filters = function.split("_")
                make = ConvBlock if block == "conv" else ResBlock
                self.nodes[str(node)] = make(channels[0], int(filters), int(size.split("x")[0]))
                channels = [int(filters), *(channels if block == "res" else ())]
            shapes[node] = (sum(channels) if function == "concat" else max(channels), *sides)
        channels_out, height, width = shapes[max(self.plan, default=IMAGE)]
        self.classifier = nn.Linear(channels_out * height * width, task.classes)

    def forward(self, images: torch.Tensor, architecture: Architecture | None = None) -> torch.Tensor:
        """Images, shape (batch, channels, height, width), to logits, shape (batch, classes)."""
        self.path(architecture)
        outputs = {IMAGE: images}
        for node, (function, sources) in self.plan.items():
            fed = [outputs[source] for source in sources]
            outputs[node] = self.nodes[str(node)](*fed) if str(node) in self.nodes else FUNCTIONS[function](*fed)
        logits: torch.Tensor = self.classifier(outputs[max(self.plan, default=IMAGE)].flatten(1))
        return logits


class ConvBlock(nn.Sequential):
    """Convolution, batch normalisation, ReLU; height and width stay."""

    def __init__(self, inputs: int, filters: int, kernel: int) -> None:
        convolution = nn.Conv2d(inputs, filters, kernel, padding=kernel // 2, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(filters), nn.ReLU())


class ResBlock(nn.Module):
    """Convolution, batch normalisation, ReLU, convolution, batch normalisation; the input is added, then ReLU.

    There are as many channels as block or input have, whichever has more.
    """

    def __init__(self, inputs: int, filters: int, kernel: int) -> None:
        super().__init__()
        self.first = ConvBlock(inputs, filters, kernel)
        self.second = nn.Sequential(
            nn.Conv2d(filters, filters, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(filters)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (batch, inputs, height, width) to (batch, the larger of inputs and filters, height, width)."""
        return functional.relu(_sum(self.second(self.first(x)), x))


def _halved(sides: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(side // 2 for side in sides) if min(sides) > 1 else sides


def _with_channels(x: torch.Tensor, channels: int) -> torch.Tensor:
    """Zeros for the channels that are missing."""
    return functional.pad(x, (0, 0, 0, 0, 0, max(0, channels - x.shape[1])))


def _of_one_size(first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both maps, the larger one max-pooled to the size of the other: sizes are an image's, halved again and again."""
    while first.shape[2:] != second.shape[2:]:
        if first.shape[2:] > second.shape[2:]:
            first = functional.max_pool2d(first, 2)
        else:
            second = functional.max_pool2d(second, 2)
    return first, second


def _sum(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    first, second = _of_one_size(first, second)
    channels = max(first.shape[1], second.shape[1])
    return _with_channels(first, channels) + _with_channels(second, channels)


def _concat(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return torch.cat(_of_one_size(first, second), dim=1)


FUNCTIONS: Mapping[str, Callable[..., torch.Tensor]] = {
    "max_pool": lambda x: functional.max_pool2d(x, 2) if min(x.shape[2:]) > 1 else x,
    "avg_pool": lambda x: functional.avg_pool2d(x, 2) if min(x.shape[2:]) > 1 else x,
    "sum": _sum,
    "concat": _concat,
}
"""The functions without weights."""
