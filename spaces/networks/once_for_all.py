"""The networks of ``OnceForAll``: a stem, units of elastic MBConv layers, a head.

Reference: Cai et al., "Once-for-all", ICLR 2020, and the authors' code: MobileNetV3-Large's layers. Where we differ:
images are scaled inside the network, so that a stand-alone one takes them as the task has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional

from archsearch.chain.elastic import ElasticConvBN
from archsearch.elastic import ElasticBatchNorm2d, ElasticConv2d, Units
from archsearch.elastic.sorting import l1_norm
from archsearch.networks.network import GlobalAveragePool, InputShape, Network
from archsearch.spaces.once_for_all import Form, OnceForAll, Unit
from archsearch.trial import Architecture

ACTIVATIONS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": functional.relu,
    "hard_swish": functional.hardswish,
}

REDUCTION = 4
"""Hidden channels of squeeze-and-excitation are a layer's, divided by this."""


class OnceForAllNetwork(Network):
    """Units of MBConv layers. Drop-path acts on the branches of residual layers.

    Args:
        architecture: What it stands for, or None for the super-network, which is the largest one.
        task: Input shape and classes.
        space: Says which units and which settings.
    """

    def __init__(self, architecture: Architecture | None, task: InputShape, space: OnceForAll) -> None:
        super().__init__(architecture)
        self.form_of = space.form
        form = _largest(space) if architecture is None else space.form(architecture)
        kernels = None if architecture is None else ()
        width = space.stem_channels
        self.stem = ElasticConvBN(task.input_shape[0], width, 3, space.stem_stride, activation=nn.Hardswish)
        self.first = MBConv(width, width, (3,), 1, 1, "relu", squeeze=False)
        self.units = nn.ModuleList()
        for given, layers in zip(space.units, form.units, strict=True):
            unit, stack = Unit(*given), nn.ModuleList()
            for i, (kernel, expansion) in enumerate(layers):
                sizes = space.kernels if kernels is None else (kernel,)
                stride = 1 if i else unit.stride
                stack.append(
                    MBConv(
                        width, unit.channels, sizes, expansion, stride, unit.activation, unit.squeeze, space.transform
                    )
                )
                width = unit.channels
            self.units.append(stack)
        last, mixed = space.head_channels
        self.last = nn.Sequential(ElasticConvBN(width, last, 1, activation=nn.Hardswish), GlobalAveragePool())
        self.mix = nn.Linear(last, mixed, bias=False)
        self.classifier = nn.Linear(mixed, task.classes)

    def forward(self, images: torch.Tensor, architecture: Architecture | None = None) -> torch.Tensor:
        """Images, shape (batch, channels, height, width), to logits, shape (batch, classes)."""
        form: Form = self.form_of(self.path(architecture))
        x = self.first(self.stem(scaled(images, form.resolution)), 3, 1)
        for stack, layers in zip(self.units, form.units, strict=True):
            assert isinstance(stack, nn.ModuleList)
            for layer, (kernel, expansion) in zip(stack, layers, strict=False):
                branch = layer(x, kernel, expansion)
                x = x + self.drop(branch) if layer.residual else branch
        logits: torch.Tensor = self.classifier(functional.hardswish(self.mix(self.last(x))))
        return logits


def _largest(space: OnceForAll) -> Form:
    layer = (space.kernels[-1], space.expansions[-1])
    return Form(None, ((layer,) * space.depths[-1],) * len(space.units))


def scaled(images: torch.Tensor, resolution: int | None) -> torch.Tensor:
    """Images of that height and width, by bilinear interpolation; None: as they are."""
    if resolution is None or tuple(images.shape[2:]) == (resolution, resolution):
        return images
    return functional.interpolate(images, (resolution, resolution), mode="bilinear", align_corners=False)


class MBConv(nn.Module):
    """Inverted bottleneck, elastic in kernel and expansion; with expansion 1 it has no first convolution.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        kernels: Sizes of the depthwise convolution.
        expansion: Most hidden channels per input channel.
        stride: Of the depthwise convolution.
        activation: Its name.
        squeeze: Whether it has squeeze-and-excitation.
        transform: As of ``ElasticConv2d``.

    Attributes:
        residual: Whether its output is to be added to its input.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernels: Sequence[int],
        expansion: int,
        stride: int,
        activation: str,
        squeeze: bool,
        transform: bool = False,
    ) -> None:
        super().__init__()
        self.inputs, self.residual = inputs, stride == 1 and inputs == outputs
        hidden = inputs * expansion
        self.expand = ElasticConv2d(inputs, hidden) if expansion > 1 else None
        self.expand_bn = ElasticBatchNorm2d(hidden) if expansion > 1 else None
        self.depthwise = ElasticConv2d(hidden, hidden, kernels, stride, depthwise=True, transform=transform)
        self.depthwise_bn = ElasticBatchNorm2d(hidden)
        self.squeeze = Squeeze(hidden) if squeeze else None
        self.project = ElasticConv2d(hidden, outputs)
        self.project_bn = ElasticBatchNorm2d(outputs)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: torch.Tensor, kernel: int, expansion: int) -> torch.Tensor:
        """Shape (batch, inputs, height, width) to (batch, outputs, height / stride, width / stride), rounded up."""
        if self.expand is not None and self.expand_bn is not None:
            x = self.activation(self.expand_bn(self.expand(x, self.inputs * expansion)))
        x = self.activation(self.depthwise_bn(self.depthwise(x, kernel=kernel)))
        if self.squeeze is not None:
            x = x * self.squeeze(x)
        output: torch.Tensor = self.project_bn(self.project(x))
        return output

    def hidden_units(self) -> Units:
        """The hidden channels, by what they pass on; see ``archsearch.elastic.sorting``."""
        tensors = [(self.depthwise.weight, 0), (self.project.weight, 1)]
        norms = [self.depthwise_bn]
        if self.expand is not None and self.expand_bn is not None:
            tensors.append((self.expand.weight, 0))
            norms.append(self.expand_bn)
        for norm in norms:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            tensors += [(value, 0) for value in (norm.weight, norm.bias, norm.running_mean, norm.running_var)]
        if self.squeeze is not None:
            reduce, expand = self.squeeze.reduce, self.squeeze.expand
            assert expand.bias is not None
            tensors += [(reduce.weight, 1), (expand.weight, 0), (expand.bias, 0)]
        return Units("width", l1_norm(self.project.weight.transpose(0, 1)), tensors)


class Squeeze(nn.Module):
    """Squeeze-and-excitation: a factor for each channel, from the means of all (Hu et al., CVPR 2018).

    Args:
        channels: Most of them.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = ElasticConv2d(channels, _squeezed(channels), bias=True)
        self.expand = ElasticConv2d(_squeezed(channels), channels, bias=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (batch, channels, height, width) to (batch, channels, 1, 1)."""
        channels = x.shape[1]
        means = functional.relu(self.reduce(functional.adaptive_avg_pool2d(x, 1), _squeezed(channels)))
        return functional.hardsigmoid(self.expand(means, channels))


def _squeezed(channels: int) -> int:
    """Hidden channels: a multiple of 8 near a quarter, and at least 0.9 of that, as in the authors' code."""
    exact = channels // REDUCTION
    rounded = max(8, (exact + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * exact else rounded
