"""Blocks whose modules compute narrower ones, too: for chains whose widths are decided.

Stand-alone networks are made of the same modules, in the sizes that they need; parameters have the same names.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from archsearch.chain.layers import ACTIVATIONS
from archsearch.elastic import ElasticBatchNorm2d, ElasticConv2d


class ElasticConvBN(nn.Module):
    """Convolution of the leading channels, batch normalisation, and perhaps an activation.

    Args:
        inputs: Most channels that come in.
        outputs: Most channels that go out.
        kernel: Size of the convolution, odd.
        stride: Of the convolution.
        depthwise: Whether each channel has a kernel of its own.
        activation: Makes the activation.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        depthwise: bool = False,
        activation: Callable[[], nn.Module] = nn.Identity,
    ) -> None:
        super().__init__()
        self.conv = ElasticConv2d(inputs, outputs, (kernel,), stride, depthwise)
        self.bn = ElasticBatchNorm2d(outputs)
        self.activation = activation()

    def forward(self, x: torch.Tensor, outputs: int | None = None) -> torch.Tensor:
        """Shape (batch, inputs, height, width) to (batch, outputs, height / stride, width / stride), rounded up."""
        result: torch.Tensor = self.activation(self.bn(self.conv(x, outputs)))
        return result


class ElasticSqueeze(nn.Module):
    """Squeeze-and-excitation of the leading channels; see ``archsearch.chain.layers.SqueezeExcite``.

    Args:
        channels: Most of them.
        inside: Most channels of the bottleneck.
        activation: Makes the activation inside.
    """

    def __init__(self, channels: int, inside: int, activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.reduce = ElasticConv2d(channels, inside, bias=True)
        self.expand = ElasticConv2d(inside, channels, bias=True)
        self.activation = activation()

    def forward(self, x: torch.Tensor, inside: int) -> torch.Tensor:
        """Shape (batch, channels, height, width) to the same, with so many channels inside."""
        means = self.activation(self.reduce(x.mean((2, 3), keepdim=True), inside))
        factors: torch.Tensor = self.expand(means, x.shape[1])
        return x * factors.sigmoid()


class ElasticMBConv(nn.Module):
    """Inverted bottleneck of the leading channels; see ``archsearch.chain.layers.MBConvLayer``.

    Args:
        inputs: Most channels that come in.
        outputs: Most channels that go out.
        kernel: Of the depthwise convolution, odd.
        stride: Of the depthwise convolution.
        expansion: Hidden channels per input channel; None: a plain convolution of that kernel, and nothing else.
        squeeze: Ratio of squeeze-and-excitation to the inputs; 0 for none.
        activation: A key of ``ACTIVATIONS``.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int,
        expansion: int | None,
        squeeze: float,
        activation: str,
    ) -> None:
        super().__init__()
        self.expansion, self.ratio = expansion, squeeze
        active = ACTIVATIONS[activation]
        hidden = outputs if expansion is None else inputs * expansion
        self.expand = ElasticConvBN(inputs, hidden, 1, activation=active) if (expansion or 1) > 1 else None
        self.spatial = ElasticConvBN(
            hidden if expansion else inputs, hidden, kernel, stride, expansion is not None, active
        )
        self.squeeze = ElasticSqueeze(hidden, squeezed(inputs, squeeze), active) if squeeze else None
        self.project = ElasticConvBN(hidden, outputs, 1) if expansion else None

    def forward(self, x: torch.Tensor, outputs: int) -> torch.Tensor:
        """Shape (batch, inputs, height, width) to (batch, outputs, height / stride, width / stride), rounded up."""
        inside = squeezed(x.shape[1], self.ratio)
        if self.expand is not None:
            x = self.expand(x, x.shape[1] * (self.expansion or 1))
        x = self.spatial(x, outputs)
        if self.squeeze is not None:
            x = self.squeeze(x, inside)
        return x if self.project is None else self.project(x, outputs)


def squeezed(inputs: int, ratio: float) -> int:
    """Channels inside squeeze-and-excitation."""
    return max(1, int(inputs * ratio))
