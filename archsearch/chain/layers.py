"""The modules of a chain's layers.

References: Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018, section 3; Wu et al.,
"FBNet", CVPR 2019, figure 3 (groups); Hu, Shen & Sun, "Squeeze-and-excitation networks", CVPR 2018; Tan & Le,
"MixConv: mixed depthwise convolutional kernels", BMVC 2019, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from archsearch.errors import UsageError
from archsearch.networks.partial import shuffled

ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "relu6": nn.ReLU6, "swish": nn.SiLU}


class MBConvLayer(nn.Module):
    """Inverted bottleneck: 1x1 convolution to ``expansion`` times the channels, depthwise convolution, 1x1 convolution.

    Each is followed by batch normalisation, and all but the last by the activation. The residual connection is the
    network's.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        kernels: Sizes of the depthwise convolution, odd; several share the channels.
        expansion: Hidden channels per input channel.
        stride: Of the depthwise convolution.
        activation: Makes an activation.
        groups: Of both 1x1 convolutions; with more than one, channels are shuffled after the first.
        squeeze: Ratio to ``inputs`` of the channels inside squeeze-and-excitation, which follows the depthwise
            convolution; 0 for none.
        expands: Whether there is the first 1x1 convolution; None: with any expansion but 1.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernels: Sequence[int],
        expansion: int,
        stride: int,
        activation: Callable[[], nn.Module],
        groups: int = 1,
        squeeze: float = 0.0,
        expands: bool | None = None,
    ) -> None:
        super().__init__()
        self.inputs, self.hidden, self.outputs = inputs, inputs * expansion, outputs
        self.kernels, self.groups = tuple(kernels), groups
        hidden, expands = self.hidden, expansion > 1 if expands is None else expands
        self.expand = ConvBN(inputs, hidden, 1, groups=groups, activation=activation) if expands else None
        self.depthwise: ConvBN | MixedConvBN = (
            ConvBN(hidden, hidden, self.kernels[0], stride, groups=hidden, activation=activation)
            if len(self.kernels) == 1
            else MixedConvBN(hidden, self.kernels, stride, activation)
        )
        self.squeeze = SqueezeExcite(hidden, max(1, int(inputs * squeeze)), activation) if squeeze else None
        self.project = ConvBN(hidden, outputs, 1, groups=groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (batch, inputs, height, width) to (batch, outputs, height / stride, width / stride), rounded up."""
        if self.expand is not None:
            x = self.expand(x)
        if self.groups > 1:
            x = shuffled(x, self.groups)
        x = self.depthwise(x)
        if self.squeeze is not None:
            x = self.squeeze(x)
        output: torch.Tensor = self.project(x)
        return output


class SqueezeExcite(nn.Module):
    """Multiplies each channel by a number between 0 and 1 that depends on the means of all channels.

    Args:
        channels: How many.
        inside: Of the bottleneck.
        activation: Makes the activation inside.
    """

    def __init__(self, channels: int, inside: int, activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, inside, 1)
        self.expand = nn.Conv2d(inside, channels, 1)
        self.activation = activation()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (batch, channels, height, width) to the same."""
        return x * self.expand(self.activation(self.reduce(x.mean((2, 3), keepdim=True)))).sigmoid()


class ConvBN(nn.Module):
    """Convolution, batch normalisation and, if one is given, an activation.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        kernel: Size of the convolution, odd.
        stride: Of the convolution.
        groups: Of the convolution.
        activation: Makes the activation.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        activation: Callable[[], nn.Module] = nn.Identity,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.activation = activation()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (batch, inputs, height, width) to (batch, outputs, height / stride, width / stride), rounded up."""
        output: torch.Tensor = self.activation(self.bn(self.conv(x)))
        return output


class MixedConvBN(nn.Module):
    """A depthwise convolution with kernels of several sizes, batch normalisation, and an activation.

    Each size has an equal part of the channels; the first one has those that are left over, too.

    Args:
        channels: How many, at least one for each size.
        kernels: The sizes, odd.
        stride: Of all.
        activation: Makes the activation.

    Raises:
        UsageError: If there are fewer channels than sizes.
    """

    def __init__(self, channels: int, kernels: Sequence[int], stride: int, activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        part = channels // len(kernels)
        if not part:
            raise UsageError(f"kernels {list(kernels)}: expected at least as many channels, got {channels}")
        self.parts = [channels - part * (len(kernels) - 1), *[part] * (len(kernels) - 1)]
        self.convs = nn.ModuleList(
            nn.Conv2d(n, n, kernel, stride, padding=kernel // 2, groups=n, bias=False)
            for n, kernel in zip(self.parts, kernels, strict=True)
        )
        self.bn = nn.BatchNorm2d(channels)
        self.activation = activation()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (batch, channels, height, width) to (batch, channels, height / stride, width / stride), rounded up."""
        parts = zip(self.convs, x.split(self.parts, dim=1), strict=True)
        output: torch.Tensor = self.activation(self.bn(torch.cat([conv(part) for conv, part in parts], dim=1)))
        return output
