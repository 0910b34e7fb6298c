"""The networks of AdaNet: members that read the member before, and a weighted sum of their logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from archsearch.networks.network import InputShape, Network
from archsearch.trial import Architecture

PLACES = 4
"""Height and width to which a member's maps are averaged before its classifier: even one layer can tell much then."""


class AdaNetNetwork(Network):
    """An ensemble.

    Args:
        architecture: What it stands for.
        depths: Layers of each member.
        task: Input shape and classes.
        channels: Of all layers.
    """

    def __init__(self, architecture: Architecture, depths: Sequence[int], task: InputShape, channels: int) -> None:
        super().__init__(architecture)
        self.depths = tuple(depths)
        before = [0, *depths[:-1]]
        self.members = nn.ModuleList(
            Member(depth, below, task.input_shape[0], channels, task.classes)
            for depth, below in zip(depths, before, strict=True)
        )

    def forward(self, images: torch.Tensor, architecture: Architecture | None = None) -> torch.Tensor:
        """Images, shape (batch, channels, height, width), to logits, shape (batch, classes)."""
        self.path(architecture)
        logits: list[torch.Tensor] = []
        below: list[torch.Tensor] = []
        for member in self.members:
            assert isinstance(member, Member)
            below = member.outputs(images, below)
            logits.append(member.weight * member.head(below[-1]))
        return torch.stack(logits).sum(0)


class Member(nn.Module):
    """A subnetwork.

    Args:
        depth: Its layers.
        below: Layers of the member before; 0: it is the first.
        inputs: Channels of the images.
        channels: Of all layers.
        classes: Number of classes.
    """

    def __init__(self, depth: int, below: int, inputs: int, channels: int, classes: int) -> None:
        super().__init__()
        self.reads = [0 < layer <= below for layer in range(depth)]
        sizes = [inputs] + [channels * (2 if reads else 1) for reads in self.reads[1:]]
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(size, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())
            for size in sizes
        )
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(PLACES), nn.Flatten(), nn.Linear(channels * PLACES**2, classes))
        self.weight = nn.Parameter(torch.ones(()))

    def initialise(self, generator: torch.Generator) -> None:
        """See ``archsearch.networks.network.initialise``; nothing is drawn: the weight is 1."""
        nn.init.ones_(self.weight)

    def outputs(self, images: torch.Tensor, below: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """What all layers give, shape (batch, channels, height, width) each; ``below``: those of the member before."""
        found: list[torch.Tensor] = []
        for layer, (convolution, reads) in enumerate(zip(self.layers, self.reads, strict=True)):
            x = found[-1] if layer else images
            found.append(convolution(torch.cat([x, below[layer - 1]], dim=1) if reads else x))
        return found


def morph(network: AdaNetNetwork, child: AdaNetNetwork) -> bool:
    """See ``AdaNet.morph``."""
    alike = 0
    while alike < min(len(network.depths), len(child.depths)) and network.depths[alike] == child.depths[alike]:
        alike += 1
    for old, new in zip(network.members[:alike], child.members[:alike], strict=True):
        new.load_state_dict(old.state_dict())
    with torch.no_grad():
        for added in child.members[alike:]:
            assert isinstance(added, Member)
            added.weight.zero_()
    return alike == len(network.depths)
