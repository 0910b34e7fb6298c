"""The networks of NAS-Bench-201: a stem, three stages of N equal cells, a residual block between stages, a classifier.

Reference: Dong & Yang, "NAS-Bench-201", ICLR 2020, section 2.1. With 16 channels and 5 cells a stage, parameters and
multiply-adds of all 15,625 cells equal the published ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import nn

from archsearch.grammar.layers import relu_conv_bn
from archsearch.networks.network import (
    Choice,
    GlobalAveragePool,
    InputShape,
    Network,
    Weights,
    equal_weights,
    show_only,
)
from archsearch.networks.partial import choice_of
from archsearch.spaces.nasbench201 import EDGES, OPERATIONS
from archsearch.trial import Architecture

ARITIES = [len(OPERATIONS)] * len(EDGES)
"""Operations of each edge."""


class NASBench201Network(Network):
    """A network made of NAS-Bench-201 cells.

    Args:
        architecture: The cell, or None for the super-network with all operations on every edge.
        task: Input shape and classes.
        channels: Channels of the first stage; each later stage has twice as many.
        cells: Cells per stage.
        part: Of a super-network: each operation sees one of so many channels (PC-DARTS).
    """

    def __init__(
        self, architecture: Architecture | None, task: InputShape, channels: int, cells: int, part: int = 1
    ) -> None:
        super().__init__(architecture)
        self.stem = nn.Sequential(
            nn.Conv2d(task.input_shape[0], channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        layers: list[nn.Module] = []
        for stage in range(3):
            width = channels * 2**stage
            if stage:
                layers.append(ResidualReduction(width // 2, width))
            layers += [Cell(architecture, width, part) for _ in range(cells)]
        self.layers = nn.ModuleList(layers)
        self.head = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), GlobalAveragePool(), nn.Linear(width, task.classes))

    def forward(self, images: torch.Tensor, architecture: Architecture | None = None) -> torch.Tensor:
        """Images, shape (batch, channels, height, width), to logits, shape (batch, classes)."""
        return self._compute(images, [{option: 1.0} for option in self.path(architecture)])

    def mixture(self, images: torch.Tensor, options: Sequence[Collection[int]]) -> torch.Tensor:
        """Logits with several operations on each edge, of which ``none`` is zero; see ``abilities.Mixing``."""
        return self._compute(images, [equal_weights(kept) for kept in self.kept(options, ARITIES)])

    def relaxed(self, images: torch.Tensor, weights: Sequence[Weights]) -> torch.Tensor:
        """Logits with a weighted sum of operations on each edge; see ``archsearch.relaxing.Relaxed``."""
        return self._compute(images, self.weighed(weights, ARITIES))

    def running(self, weights: Sequence[Weights]) -> Sequence[Weights]:
        """See ``Network``: not ``none``, nor what starts at a node that nothing feeds."""
        fed, found = {0}, []
        for (source, target), options in zip(EDGES, weights, strict=True):
            some = {i: w for i, w in options.items() if OPERATIONS[i] != "none"} if source in fed else {}
            fed |= {target} if some else set()
            found.append(some)
        return found

    def show(self, architecture: Architecture | None) -> bool:
        """See ``Network``."""
        self.architecture = architecture
        for layer in self.layers:
            if isinstance(layer, Cell):
                for i, choice in enumerate(layer.edges.values()):
                    show_only(choice, None if architecture is None else (OPERATIONS[architecture[i]],))
        return True

    def _compute(self, images: torch.Tensor, weights: Sequence[Weights]) -> torch.Tensor:
        x, weights = self.stem(images), self.running(weights)
        for layer in self.layers:
            x = layer(x, weights) if isinstance(layer, Cell) else layer(x)
        logits: torch.Tensor = self.head(x)
        return logits


class Cell(nn.Module):
    """Four nodes; each is the sum of the edges that end in it, an edge a weighted sum of operations; none is zero."""

    def __init__(self, architecture: Architecture | None, channels: int, part: int = 1) -> None:
        super().__init__()
        only = [None] * len(EDGES) if architecture is None else [OPERATIONS[option] for option in architecture]
        self.edges = nn.ModuleDict(
            {
                f"{source}-{target}": choice_of(_candidates, channels, 1, part, only[i])
                for i, (source, target) in enumerate(EDGES)
            }
        )

    def forward(self, x: torch.Tensor, weights: Sequence[Weights]) -> torch.Tensor:
        """The output node, of the shape of the input; ``weights`` has the operations of each edge that run."""
        nodes: list[torch.Tensor | None] = [x, None, None, None]
        for (source, target), options in zip(EDGES, weights, strict=True):
            if not options:
                continue
            value, candidates = nodes[source], self.edges[f"{source}-{target}"]
            assert value is not None
            assert isinstance(candidates, Choice)
            term = candidates.mixed(value, {OPERATIONS[option]: weight for option, weight in options.items()})
            total = nodes[target]
            nodes[target] = term if total is None else total + term
        output = nodes[3]
        return torch.zeros_like(x) if output is None else output


def _candidates(channels: int, _stride: int) -> Mapping[str, Callable[[], nn.Module]]:
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
