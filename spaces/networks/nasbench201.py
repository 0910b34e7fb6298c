"""The networks of NAS-Bench-201: a stem, three stages of N equal cells, a residual block between stages, a classifier.

Reference: Dong & Yang, "NAS-Bench-201", ICLR 2020, section 2.1. With 16 channels and 5 cells a stage, parameters and
multiply-adds of all 15,625 cells equal the published ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import nn

from archsearch.networks.network import Choice, GlobalAveragePool, InputShape, Network, mean
from archsearch.spaces.nasbench201 import EDGES, OPERATIONS
from archsearch.trial import Architecture


class NASBench201Network(Network):
    """A network made of NAS-Bench-201 cells.

    Args:
        architecture: The cell, or None for the super-network with all operations on every edge.
        task: Input shape and classes.
        channels: Channels of the first stage; each later stage has twice as many.
        cells: Cells per stage.
    """

    def __init__(self, architecture: Architecture | None, task: InputShape, channels: int, cells: int) -> None:
        super().__init__(architecture)
        self.stem = nn.Sequential(
            nn.Conv2d(task.input_shape[0], channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        layers: list[nn.Module] = []
        for stage in range(3):
            width = channels * 2**stage
            if stage:
                layers.append(ResidualReduction(width // 2, width))
            layers += [Cell(architecture, width) for _ in range(cells)]
        self.layers = nn.ModuleList(layers)
        self.head = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), GlobalAveragePool(), nn.Linear(width, task.classes))

    def forward(self, images: torch.Tensor, architecture: Architecture | None = None) -> torch.Tensor:
        """Images, shape (batch, channels, height, width), to logits, shape (batch, classes)."""
        return self._compute(images, [(option,) for option in self.path(architecture)])

    def mixture(self, images: torch.Tensor, options: Sequence[Collection[int]]) -> torch.Tensor:
        """Logits with several operations on each edge, of which ``none`` is zero; see ``abilities.Mixing``."""
        return self._compute(images, self.kept(options, [len(OPERATIONS)] * len(EDGES)))

    def _compute(self, images: torch.Tensor, kept: Sequence[tuple[int, ...]]) -> torch.Tensor:
        x = self.stem(images)
        for layer in self.layers:
            x = layer(x, kept) if isinstance(layer, Cell) else layer(x)
        logits: torch.Tensor = self.head(x)
        return logits


class Cell(nn.Module):
    """Four nodes; each is the sum of the edges that end in it, an edge the mean of its operations; ``none`` is zero."""

    def __init__(self, architecture: Architecture | None, channels: int) -> None:
        super().__init__()
        only = [None] * len(EDGES) if architecture is None else [OPERATIONS[option] for option in architecture]
        self.edges = nn.ModuleDict(
            {f"{source}-{target}": Choice(_candidates(channels), only[i]) for i, (source, target) in enumerate(EDGES)}
        )

    def forward(self, x: torch.Tensor, kept: Sequence[tuple[int, ...]]) -> torch.Tensor:
        """The output node, of the shape of the input; ``kept`` says which operations each edge has."""
        nodes: list[torch.Tensor | None] = [x, None, None, None]
        for (source, target), options in zip(EDGES, kept, strict=True):
            value = nodes[source]
            names = [OPERATIONS[option] for option in options if OPERATIONS[option] != "none"]
            if value is None or not names:
                continue
            candidates = self.edges[f"{source}-{target}"]
            term = mean([candidates(value, name) for name in names], len(options))
            total = nodes[target]
            nodes[target] = term if total is None else total + term
        output = nodes[3]
        return torch.zeros_like(x) if output is None else output


def _candidates(channels: int) -> Mapping[str, Callable[[], nn.Module]]:
    return {
        "skip_connect": nn.Identity,
        "nor_conv_1x1": lambda: relu_conv_bn(channels, channels, 1),
        "nor_conv_3x3": lambda: relu_conv_bn(channels, channels, 3),
        "avg_pool_3x3": lambda: nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
    }


class ResidualReduction(nn.Module):
    """The basic residual block between stages: half the height and width, twice the channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.main = nn.Sequential(relu_conv_bn(inputs, outputs, 3, stride=2), relu_conv_bn(outputs, outputs, 3))
        # ceil_mode: odd heights and widths shrink as they do in the main branch.
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        output: torch.Tensor = self.main(x) + self.shortcut(x)
        return output


def relu_conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """ReLU, convolution, batch normalisation."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )
