"""The modules of a chain's layers.

References: Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018, section 3; Wu et al.,
"FBNet", CVPR 2019, figure 3 (groups); Ma et al., "ShuffleNet V2", ECCV 2018, figure 3; Guo et al., "Single path
one-shot neural architecture search with uniform sampling", ECCV 2020 (its Xception-like unit); Hu, Shen & Sun,
"Squeeze-and-excitation networks", CVPR 2018; Tan & Le, "MixConv: mixed depthwise convolutional kernels", BMVC 2019.
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
        groups: Of the two 1x1 convolutions.
        shuffles: Whether channels are shuffled between the groups after the first of them.
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
        groups: tuple[int, int] = (1, 1),
        shuffles: bool = False,
        squeeze: float = 0.0,
        expands: bool | None = None,
    ) -> None:
        super().__init__()
        self.inputs, self.hidden, self.outputs = inputs, inputs * expansion, outputs
        self.kernels, self.groups, self.shuffles = tuple(kernels), groups, shuffles
        hidden, expands = self.hidden, expansion > 1 if expands is None else expands
        self.expand = ConvBN(inputs, hidden, 1, groups=groups[0], activation=activation) if expands else None
        self.depthwise: ConvBN | MixedConvBN = (
            ConvBN(hidden, hidden, self.kernels[0], stride, groups=hidden, activation=activation)
            if len(self.kernels) == 1
            else MixedConvBN(hidden, self.kernels, stride, activation)
        )
        self.squeeze = SqueezeExcite(hidden, max(1, int(inputs * squeeze)), activation) if squeeze else None
        self.project = ConvBN(hidden, outputs, 1, groups=groups[1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (batch, inputs, height, width) to (batch, outputs, height / stride, width / stride), rounded up."""
        if self.expand is not None:
            x = self.expand(x)
        if self.shuffles:
            x = shuffled(x, self.groups[0])
        x = self.depthwise(x)
        if self.squeeze is not None:
            x = self.squeeze(x)
        output: torch.Tensor = self.project(x)
        return output


class ShuffleLayer(nn.Module):
    """A unit of ShuffleNetV2: half of the channels pass by, the others go through a branch.

    Where the layer changes width or size, all go through the branch, and once more through a depthwise and a 1x1
    convolution. The branch of a plain unit is an inverted bottleneck of as many channels as ``middle``; that of an
    Xception unit has three depthwise convolutions, each before a 1x1 convolution. Channels 0, 2, 4, ... pass by, which
    is the shuffle.

    Args:
        inputs: Channels that come in, an even number.
        outputs: Channels that go out, an even number.
        middle: Channels inside the branch.
        kernel: Size of the depthwise convolutions, odd.
        stride: Of the first of them.
        activation: Makes an activation.
        xception: Whether it is an Xception unit.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        middle: int,
        kernel: int,
        stride: int,
        activation: Callable[[], nn.Module],
        xception: bool,
    ) -> None:
        super().__init__()
        self.splits = stride == 1 and inputs == outputs
        entering = inputs // 2 if self.splits else inputs
        passing = entering if self.splits else min(inputs, outputs // 2)
        leaving = outputs - passing

        def pointwise(come: int, go: int) -> ConvBN:
            return ConvBN(come, go, 1, activation=activation)

        def depthwise(channels: int, step: int = 1) -> ConvBN:
            return ConvBN(channels, channels, kernel, step, groups=channels)

        if xception:
            parts = [depthwise(entering, stride), pointwise(entering, middle), depthwise(middle)]
            parts += [pointwise(middle, middle), depthwise(middle), pointwise(middle, leaving)]
        else:
            parts = [pointwise(entering, middle), depthwise(middle, stride), pointwise(middle, leaving)]
        self.branch = nn.Sequential(*parts)
        self.shortcut = None if self.splits else nn.Sequential(depthwise(inputs, stride), pointwise(inputs, passing))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (batch, inputs, height, width) to (batch, outputs, height / stride, width / stride), rounded up."""
        passing, entering = (x[:, 0::2], x[:, 1::2]) if self.shortcut is None else (self.shortcut(x), x)
        return torch.cat([passing, self.branch(entering)], dim=1)


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
        factors: torch.Tensor = self.expand(self.activation(self.reduce(x.mean((2, 3), keepdim=True))))
        return x * factors.sigmoid()


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
        parts = zip(self.convs, torch.split(x, self.parts, dim=1), strict=True)
        output: torch.Tensor = self.activation(self.bn(torch.cat([conv(part) for conv, part in parts], dim=1)))
        return output
