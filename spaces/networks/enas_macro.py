"""The networks of ENAS's macro space: a stem, a chain of layers with skips, global average pooling, a classifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from archsearch.grammar.layers import (
    AuxiliaryHead,
    Carried,
    FactorisedReduction,
    Squeeze,
    conv_bn_relu,
    separable_bn_relu,
)
from archsearch.grammar.network import reduction_layers
from archsearch.networks.network import Choice, GlobalAveragePool, InputShape, Network
from archsearch.spaces.enas_macro import ENASMacro
from archsearch.trial import Architecture


class ENASMacroNetwork(Network):
    """A chain of layers. What comes from before a reduction is halved by a factorised reduction of its own.

    Args:
        space: The space of the chain.
        architecture: The chain, or None for the super-network with all operations and skips.
        task: Input shape and classes.
        channels: Channels of the first layers.
    """

    def __init__(self, space: ENASMacro, architecture: Architecture | None, task: InputShape, channels: int) -> None:
        super().__init__(architecture)
        self.space = space
        last = space.layers - 1
        self.halvings = [sum(r <= i for r in reduction_layers(space.layers)) for i in range(space.layers)]
        widths = [channels * 2**halvings for halvings in self.halvings]
        self.stem = nn.Sequential(
            nn.Conv2d(task.input_shape[0], channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        self.layers, self.joins, self.halved = nn.ModuleList(), nn.ModuleDict(), nn.ModuleDict()
        chain = None if architecture is None else space.decode(architecture)
        for i, width in enumerate(widths):
            operation, skips = (None, tuple(range(i))) if chain is None else chain[i]
            self.layers.append(Choice(_candidates(width), operation))
            if skips:
                self.joins[str(i)] = Squeeze(Carried(width, (*skips, i)), width)
            for source in {*skips, i - 1} - {-1}:
                for halvings in range(self.halvings[source] + 1, self.halvings[i] + 1):
                    width_now = channels * 2**halvings
                    self.halved[f"{source}-{halvings}"] = FactorisedReduction(width_now // 2, width_now)
        self.auxiliary_after = self.halvings.index(self.halvings[last])
        self.auxiliary_head = AuxiliaryHead(widths[last], task.classes) if space.auxiliary else None
        self.head = nn.Sequential(GlobalAveragePool(), nn.Linear(widths[last], task.classes))

    def forward(self, images: torch.Tensor, architecture: Architecture | None = None) -> torch.Tensor:
        """Images, shape (batch, channels, height, width), to logits, shape (batch, classes)."""
        logits: torch.Tensor = self.head(self._outputs(images, architecture)[-1].relu())
        return logits

    def with_auxiliary(
        self, images: torch.Tensor, architecture: Architecture | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits, and those of the auxiliary head, if there is one; both of shape (batch, classes)."""
        outputs = self._outputs(images, architecture)
        auxiliary = None if self.auxiliary_head is None else self.auxiliary_head(outputs[self.auxiliary_after])
        return self.head(outputs[-1].relu()), auxiliary

    def _outputs(self, images: torch.Tensor, architecture: Architecture | None) -> list[torch.Tensor]:
        outputs: list[torch.Tensor] = []
        halved: dict[tuple[int, int], torch.Tensor] = {}

        def at(source: int, halvings: int) -> torch.Tensor:
            if halvings == self.halvings[source]:
                return outputs[source]
            if (source, halvings) not in halved:
                halved[source, halvings] = self.halved[f"{source}-{halvings}"](at(source, halvings - 1))
            return halved[source, halvings]

        for i, (operation, skips) in enumerate(self.space.decode(self.path(architecture))):
            x = at(i - 1, self.halvings[i]) if i else self.stem(images)
            x = self.layers[i](x, operation)
            if skips:  # a layer without skips is the only way through: it is not dropped
                states = [at(source, self.halvings[i]) for source in skips]
                x = self.joins[str(i)](torch.cat([*states, self.drop(x)], dim=1), (*skips, i))
            outputs.append(x)
        return outputs


def _candidates(channels: int) -> Mapping[str, Callable[[], nn.Module]]:
    """A 1x1 convolution, then what has the name; each convolution with batch normalisation and ReLU."""
    made: Mapping[str, Callable[[], nn.Module]] = {
        "conv_3x3": lambda: conv_bn_relu(channels, channels, 3),
        "sep_conv_3x3": lambda: separable_bn_relu(channels, channels, 3),
        "conv_5x5": lambda: conv_bn_relu(channels, channels, 5),
        "sep_conv_5x5": lambda: separable_bn_relu(channels, channels, 5),
        "avg_pool_3x3": lambda: nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False)),
        "max_pool_3x3": lambda: nn.Sequential(nn.MaxPool2d(3, 1, 1)),
    }
    return {
        name: lambda make=make: nn.Sequential(*conv_bn_relu(channels, channels, 1), *make())  # type: ignore[misc]
        for name, make in made.items()
    }
