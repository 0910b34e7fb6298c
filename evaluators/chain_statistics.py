"""Batch normalisation while architectures of a chain space are scored together: with which statistics, and how fast.

Statistics depend on nothing but the layers before: they are kept by prefix. Two things make it quick. Where statistics
are known, a convolution and the batch normalisation behind it are one convolution, whose weights and biases take that
over. Several batches, each of which is normalised by itself, are one tensor with a dimension more.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from archsearch.chain.layers import ConvBN
from archsearch.trial import Architecture

Statistics = Literal["recomputed", "batch", "inherited"]


class Gathered:
    """Statistics of one layer of batch normalisation after one prefix: cumulative averages, as PyTorch has them.

    Args:
        like: Has the device and type of the input, shape (batch, channels, height, width).
    """

    def __init__(self, like: torch.Tensor) -> None:
        self.mean = like.new_zeros(like.shape[1])
        self.variance = like.new_ones(like.shape[1])
        self.batches = 0

    def add(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        """Averages in those of some batches, shape (batches, channels)."""
        # Where a walk comes by again, all batches are averaged in once more, which changes nothing.
        self.batches += len(mean)
        share = len(mean) / self.batches
        self.mean.lerp_(mean.mean(0), share)
        self.variance.lerp_(variance.mean(0), share)


class Normalisation:
    """Takes over a network's batch normalisations while it is entered, and gives them back.

    Args:
        network: The super-network, an ``nn.Module``.
        statistics: As ``score_chains`` takes them.

    Attributes:
        batches: Sizes of the batches that lie one after the other in the images, each of which is normalised by its own
            statistics; None: those that were gathered, or inherited, are used.
        prefix: The decisions up to what is computed.
    """

    def __init__(self, network: nn.Module, statistics: Statistics) -> None:
        self.batches: Sequence[int] | None = None
        self.prefix: Architecture = ()
        self._statistics = statistics
        self._gathered: dict[Architecture, dict[nn.BatchNorm2d, Gathered]] = {}
        self._training = {module: module.training for module in network.modules()}

    def __enter__(self) -> Normalisation:
        for module in self._training:
            module.training = False
            # An attribute of the object comes before the method; the running statistics are never written.
            if type(module) is ConvBN:
                module.__dict__["forward"] = functools.partial(self._convolve, module)
            elif isinstance(module, nn.BatchNorm2d) and self._statistics != "inherited":
                module.__dict__["forward"] = functools.partial(self._normalise, module)
        return self

    def __exit__(self, *_exception: object) -> None:
        for module, training in self._training.items():
            module.training = training
            if type(module) is ConvBN or isinstance(module, nn.BatchNorm2d):
                module.__dict__.pop("forward", None)

    def forget(self) -> None:
        """Forgets what was gathered."""
        self._gathered.clear()

    def _known(self, layer: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and variance that are used for any image."""
        if self._statistics == "inherited":
            assert layer.running_mean is not None
            assert layer.running_var is not None
            return layer.running_mean, layer.running_var
        found = self._gathered[self.prefix][layer]
        return found.mean, found.variance

    def _convolve(self, module: ConvBN, x: torch.Tensor) -> torch.Tensor:
        """A convolution with what follows it."""
        conv, layer = module.conv, module.bn
        if self.batches is None:
            mean, variance = self._known(layer)
            scale = layer.weight * (variance + layer.eps).rsqrt()
            weight, bias = conv.weight * scale[:, None, None, None], layer.bias - mean * scale
            padding, stride = (conv.kernel_size[0] // 2,) * 2, conv.stride[0]
            x = functional.conv2d(x, weight, bias, stride, padding, groups=conv.groups)
        else:
            x = self._normalise(layer, conv(x))
        if isinstance(module.activation, nn.ReLU6):
            return functional.hardtanh_(x, 0.0, 6.0)
        return functional.relu_(x) if isinstance(module.activation, nn.ReLU) else module.activation(x)

    def _normalise(self, layer: nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
        n = x.shape[1]  # a layer may have more channels than are used
        weight, bias = layer.weight[:n], layer.bias[:n]
        if self.batches is None:
            return functional.batch_norm(x, *self._known(layer), weight, bias, training=False, eps=layer.eps)
        if self._statistics == "batch":
            found = None
        else:
            found = self._gathered.setdefault(self.prefix, {}).setdefault(layer, Gathered(x))
        equal = len(set(self.batches)) == 1 < len(self.batches)
        if found is not None and equal and x.is_contiguous(memory_format=torch.channels_last) and n > 1:
            return _at_once(x, len(self.batches), weight, bias, layer.eps, found)
        parts = []
        for part in torch.split(x, list(self.batches)):
            mean, variance = x.new_zeros(1, n), x.new_ones(1, n)
            kept = (None, None) if found is None else (mean[0], variance[0])
            parts.append(functional.batch_norm(part, *kept, weight, bias, True, 1.0, layer.eps))
            if found is not None:
                found.add(mean, variance)
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def _at_once(
    x: torch.Tensor, batches: int, weight: torch.Tensor, bias: torch.Tensor, eps: float, found: Gathered
) -> torch.Tensor:
    """Normalises several batches of one size, which lie channels last, each by itself."""
    _, channels, height, width = x.shape
    pixels = x.permute(0, 2, 3, 1).reshape(batches, -1, channels)
    mean = pixels.mean(1)
    centred = pixels - mean[:, None]
    variance = (centred * centred).mean(1)
    n = pixels.shape[1]
    found.add(mean, variance * (n / (n - 1)))
    scale = weight * (variance + eps).rsqrt()
    torch.addcmul(bias, centred, scale[:, None], out=centred)
    return centred.view(-1, height, width, channels).permute(0, 3, 1, 2)
