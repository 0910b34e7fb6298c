"""The operations of cells, and the layers that join states.

Unless said otherwise they are as in the code of Liu, Simonyan & Yang, "DARTS", ICLR 2019. Batch normalisation is
affine everywhere; pooling has none. Size n becomes n / stride, rounded up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional


class Carried(NamedTuple):
    """What the output of a layer is made of.

    Attributes:
        channels: All of them; or, where architectures differ in the states that are concatenated, those of each state.
        states: The states that may be concatenated; None: all channels are always there.
    """

    channels: int
    states: tuple[int, ...] | None = None


# -- operations by name --------------------------------------------------------------------------


def identity(channels: int, stride: int) -> nn.Module:
    """Passes its input on; at stride 2, as a factorised reduction."""
    return nn.Identity() if stride == 1 else FactorisedReduction(channels, channels)


def separable(channels: int, stride: int, kernel: int) -> nn.Sequential:
    """The separable convolution, which is applied twice; the stride is in the first."""
    return nn.Sequential(*_depthwise(channels, kernel, stride), *_depthwise(channels, kernel, 1))


def dilated(channels: int, stride: int, kernel: int) -> nn.Sequential:
    """The dilated separable convolution, applied once."""
    return nn.Sequential(*_depthwise(channels, kernel, stride, dilation=2))


def _depthwise(channels: int, kernel: int, stride: int, dilation: int = 1) -> list[nn.Module]:
    """ReLU, depthwise convolution, 1x1 convolution, batch normalisation."""
    padding = dilation * (kernel // 2)
    return [
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
    ]


def crossed(channels: int, stride: int, kernel: int) -> nn.Sequential:
    """ReLU, convolutions of 1 x kernel and kernel x 1, batch normalisation; each has the stride of its long side."""
    half = kernel // 2
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, (1, kernel), (1, stride), (0, half), bias=False),
        nn.Conv2d(channels, channels, (kernel, 1), (stride, 1), (half, 0), bias=False),
        nn.BatchNorm2d(channels),
    )


def bottleneck(channels: int, stride: int, kernel: int, is_crossed: bool) -> nn.Sequential:
    """A convolution, or 1 x kernel and kernel x 1, of a quarter of the channels, between 1x1 convolutions.

    As in the authors' code of AmoebaNet: ReLU before and batch normalisation behind each of them.
    """
    few, half = max(1, channels // 4), kernel // 2
    square = [nn.Conv2d(few, few, kernel, stride, half, bias=False)]
    crossing = [
        nn.Conv2d(few, few, (1, kernel), (1, stride), (0, half), bias=False),
        nn.Conv2d(few, few, (kernel, 1), (stride, 1), (half, 0), bias=False),
    ]
    inner = crossing if is_crossed else square
    ends = nn.Conv2d(channels, few, 1, bias=False), nn.Conv2d(few, channels, 1, bias=False)
    convolutions = (ends[0], *inner, ends[1])
    return nn.Sequential(*(layer for c in convolutions for layer in (nn.ReLU(), c, nn.BatchNorm2d(c.out_channels))))


def max_pool(_channels: int, stride: int, kernel: int) -> nn.Module:
    """Maximum over a square; one of even side reaches one pixel further to the right and down."""
    if kernel % 2 == 0:
        border = nn.ConstantPad2d((0, 1, 0, 1), float("-inf"))
        return nn.Sequential(border, nn.MaxPool2d(kernel, stride, padding=0))
    return nn.MaxPool2d(kernel, stride, padding=kernel // 2)


def avg_pool(_channels: int, stride: int, kernel: int) -> nn.Module:
    """Mean over a square, without the padding."""
    return nn.AvgPool2d(kernel, stride, padding=kernel // 2, count_include_pad=False)


class Noise(nn.Module):
    """Standard normal noise instead of the input (R-DARTS, space S4).

    In evaluation it is the same each time, so that scores are. The network hands its generator over.
    """

    generator: torch.Generator | None = None

    def __init__(self, _channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class; shape as of the input, height and width divided by the stride."""
        shape = x[:, :, :: self.stride, :: self.stride].shape
        if x.device.type == "meta":
            return x.new_empty(shape)
        generator = self.generator if self.training else torch.Generator().manual_seed(0)
        return torch.randn(shape, generator=generator).to(x)


OPERATIONS: Mapping[str, Callable[[int, int], nn.Module]] = {
    "max_pool_2x2": lambda c, s: max_pool(c, s, 2),
    "max_pool_3x3": lambda c, s: max_pool(c, s, 3),
    "max_pool_5x5": lambda c, s: max_pool(c, s, 5),
    "max_pool_7x7": lambda c, s: max_pool(c, s, 7),
    "avg_pool_3x3": lambda c, s: avg_pool(c, s, 3),
    "skip_connect": identity,
    "identity": identity,
    "sep_conv_3x3": lambda c, s: separable(c, s, 3),
    "sep_conv_5x5": lambda c, s: separable(c, s, 5),
    "sep_conv_7x7": lambda c, s: separable(c, s, 7),
    "dil_conv_3x3": lambda c, s: dilated(c, s, 3),
    "dil_conv_5x5": lambda c, s: dilated(c, s, 5),
    "conv_1x1": lambda c, s: relu_conv_bn(c, c, 1, s),
    "conv_3x3": lambda c, s: relu_conv_bn(c, c, 3, s),
    "conv_3x3_dilated": lambda c, s: relu_conv_bn(c, c, 3, s, dilation=2),
    "conv_1x3_3x1": lambda c, s: crossed(c, s, 3),
    "conv_1x7_7x1": lambda c, s: crossed(c, s, 7),
    "bottleneck_3x3": lambda c, s: bottleneck(c, s, 3, is_crossed=False),
    "bottleneck_1x7_7x1": lambda c, s: bottleneck(c, s, 7, is_crossed=True),
    "noise": Noise,
}
"""All operations of cells: functions of channels and stride."""


def candidates(
    names: Sequence[str],
) -> Callable[[int, int], Mapping[str, Callable[[], nn.Module]]]:
    """What makes the operations of these names, for so many channels and that stride."""
    return lambda channels, stride: {
        name: lambda make=OPERATIONS[name]: make(channels, stride)  # type: ignore[misc]
        for name in names
    }


# -- between cells -------------------------------------------------------------------------------


def pointwise(carried: Carried, outputs: int, stride: int = 1) -> nn.Module:
    """A 1x1 convolution without bias."""
    if carried.states is None:
        return nn.Conv2d(carried.channels, outputs, 1, stride, bias=False)
    return StateConv(carried, outputs, stride)


class StateConv(nn.Module):
    """A 1x1 convolution on concatenated states, of which an architecture has some: a part of the weights for each.

    Args:
        carried: What comes in.
        outputs: Channels that go out.
        stride: Of the convolution.
    """

    def __init__(self, carried: Carried, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        states = carried.states or ()
        self.of = nn.ModuleDict({str(state): nn.Conv2d(carried.channels, outputs, 1, bias=False) for state in states})

    def forward(self, x: torch.Tensor, states: Sequence[int]) -> torch.Tensor:
        """Concatenated states and their numbers to shape (batch, outputs, height / stride, width / stride)."""
        weight = torch.cat([part.weight for part in map(self.of.__getitem__, map(str, states))], dim=1)  # type: ignore[misc]
        return functional.conv2d(x, weight, stride=self.stride)


class StateLinear(nn.Module):
    """A linear layer on averages of concatenated states, of which an architecture has some.

    Args:
        carried: What comes in; the last state is always there.
        outputs: Numbers that go out.
    """

    def __init__(self, carried: Carried, outputs: int) -> None:
        super().__init__()
        states = carried.states or ()
        self.of = nn.ModuleDict(
            {str(state): nn.Linear(carried.channels, outputs, bias=state == max(states)) for state in states}
        )

    def forward(self, x: torch.Tensor, states: Sequence[int]) -> torch.Tensor:
        """Shape (batch, states * channels) and the states' numbers to (batch, outputs)."""
        parts = [self.of[str(state)] for state in states]
        weight = torch.cat([part.weight for part in parts], dim=1)  # type: ignore[misc]
        return functional.linear(x, weight, self.of[str(max(states))].bias)  # type: ignore[arg-type]


def through(module: nn.Module, x: torch.Tensor, states: Sequence[int] | None) -> torch.Tensor:
    """The output of a layer that may have to be told which states it is given."""
    output: torch.Tensor = module(x) if states is None else module(x, states)
    return output


def relu_conv_bn(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """ReLU, convolution of odd kernel, batch normalisation."""
    convolved = nn.Conv2d(inputs, outputs, kernel, stride, dilation * (kernel // 2), dilation, bias=False)
    return nn.Sequential(nn.ReLU(), convolved, nn.BatchNorm2d(outputs))


def conv_bn_relu(inputs: int, outputs: int, kernel: int, groups: int = 1) -> nn.Sequential:
    """Convolution of odd kernel, batch normalisation, ReLU."""
    convolved = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolved, nn.BatchNorm2d(outputs), nn.ReLU())


def separable_bn_relu(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Depthwise convolution of odd kernel, 1x1 convolution, batch normalisation, ReLU."""
    depthwise = nn.Conv2d(inputs, inputs, kernel, stride, kernel // 2, groups=inputs, bias=False)
    return nn.Sequential(depthwise, *conv_bn_relu(inputs, outputs, 1))


class Squeeze(nn.Module):
    """As ``relu_conv_bn``, on concatenated states."""

    def __init__(self, carried: Carried, outputs: int) -> None:
        super().__init__()
        self.conv = StateConv(carried, outputs)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor, states: Sequence[int]) -> torch.Tensor:
        """Concatenated states and their numbers to shape (batch, outputs, height, width)."""
        output: torch.Tensor = self.norm(self.conv(functional.relu(x), states))
        return output


class FactorisedReduction(nn.Module):
    """Halves height and width without losing pixels: half of the channels see the even pixels, half the odd ones.

    An odd height or width n becomes (n + 1) / 2, as with the other operations; the pixel that the odd half lacks is 0.

    Args:
        inputs: Channels of the input, or what it is made of.
        outputs: Channels of the output, >= 2.
    """

    def __init__(self, inputs: int | Carried, outputs: int) -> None:
        super().__init__()
        carried = inputs if isinstance(inputs, Carried) else Carried(inputs)
        self.even = pointwise(carried, outputs // 2, stride=2)
        self.odd = pointwise(carried, outputs - outputs // 2, stride=2)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor, states: Sequence[int] | None = None) -> torch.Tensor:
        """Shape (batch, inputs, height, width) to (batch, outputs, height / 2, width / 2), rounded up."""
        x = functional.relu(x)
        shifted = functional.pad(x, (-1, x.shape[3] % 2, -1, x.shape[2] % 2))  # -1 cuts the first row and column off
        halves = [through(self.even, x, states), through(self.odd, shifted, states)]
        output: torch.Tensor = self.norm(torch.cat(halves, dim=1))
        return output


def adapter(carried: Carried, outputs: int, halves: bool) -> nn.Module:
    """What gives the output of an earlier cell the channels of this one, and half the height and width if asked."""
    if halves:
        return FactorisedReduction(carried, outputs)
    return relu_conv_bn(carried.channels, outputs) if carried.states is None else Squeeze(carried, outputs)


class AuxiliaryHead(nn.Module):
    """The auxiliary classifier for CIFAR, which is made for maps of 8x8 pixels.

    Maps that its average pooling does not turn into 2x2 (sides other than 8 to 10) are averaged to 2x2 adaptively, so
    that it fits images of any size with the same parameters.

    Args:
        inputs: Channels of the maps, or what they are made of.
        classes: Number of classes.
    """

    def __init__(self, inputs: int | Carried, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            pointwise(inputs if isinstance(inputs, Carried) else Carried(inputs), 128),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            nn.BatchNorm2d(768),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(768, classes)

    def forward(self, x: torch.Tensor, states: Sequence[int] | None = None) -> torch.Tensor:
        """Maps, shape (batch, channels, height, width), to logits, shape (batch, classes)."""
        x = functional.relu(x)
        if all(8 <= side <= 10 for side in x.shape[2:]):
            x = functional.avg_pool2d(x, 5, stride=3)
        else:
            x = functional.adaptive_avg_pool2d(x, 2)
        x = through(self.features[0], x, states)
        for layer in list(self.features)[1:]:
            x = layer(x)
        logits: torch.Tensor = self.classifier(x.flatten(1))
        return logits
