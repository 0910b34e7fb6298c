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
        like: Has the device and type of its input.
    """

    def __init__(self, like: torch.Tensor) -> None:
        self.mean = self.variance = like.new_empty(0)
        self.batches = 0
        self.folded: tuple[torch.Tensor, torch.Tensor] | None = None

    def add(self, mean: torch.Tensor, variance: torch.Tensor, batches: int) -> None:
        """Averages in the averages over some batches."""
        # Where a walk comes by again, all batches are averaged in once more, which changes nothing.
        self.batches += batches
        self.folded = None
        if self.batches == batches:
            self.mean, self.variance = mean, variance
        else:
            self.mean.lerp_(mean, batches / self.batches)
            self.variance.lerp_(variance, batches / self.batches)

    def factors(self, layer: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
        """By which the layer multiplies each channel, and what it adds."""
        if self.folded is None:
            self.folded = folded(self.mean, self.variance, layer.weight, layer.bias, layer.eps)
        return self.folded


def folded(
    mean: torch.Tensor, variance: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Batch normalisation with known statistics as a factor and a summand for each channel."""
    scale = weight * (variance + eps).rsqrt()
    return scale, bias - mean * scale


class Normalisation:
    """Takes over a network's batch normalisations while it is entered, and gives them back.

    Args:
        network: The super-network, an ``nn.Module``.
        statistics: As ``score_chains`` takes them.

    Attributes:
        batches: Sizes of the batches that lie one after the other in the images of a prefix, each of which is
            normalised by its own statistics; None: those that were gathered, or inherited, are used.
        prefixes: The decisions up to what is computed; several whose images lie one after the other, with ``batches``.
        counting: Whether operations are being counted, which are to be those of the network.
    """

    def __init__(self, network: nn.Module, statistics: Statistics) -> None:
        self.batches: Sequence[int] | None = None
        self.prefixes: Sequence[Architecture] = ((),)
        self.counting = False
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

    def _convolve(self, module: ConvBN, x: torch.Tensor) -> torch.Tensor:
        """A convolution with what follows it."""
        conv, layer = module.conv, module.bn
        if self.batches is None:
            if self._statistics == "inherited":
                assert layer.running_mean is not None
                assert layer.running_var is not None
                scale, bias = folded(layer.running_mean, layer.running_var, layer.weight, layer.bias, layer.eps)
            else:
                scale, bias = self._gathered[self.prefixes[0]][layer].factors(layer)
            x = _convolved(conv, x, conv.weight * scale[:, None, None, None], bias, self.counting)
        elif self._are_equal(x) and _widens(conv) and not self.counting:
            x = _widened(x, self.batches, conv.weight[:, :, 0, 0], layer, self._found(layer, x))
        else:
            x = self._normalise(layer, conv(x))
        if isinstance(module.activation, nn.ReLU6):
            return functional.hardtanh_(x, 0.0, 6.0)
        return functional.relu_(x) if isinstance(module.activation, nn.ReLU) else module.activation(x)

    def _normalise(self, layer: nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
        n = x.shape[1]  # a layer may have more channels than are used
        weight, bias = layer.weight[:n], layer.bias[:n]
        if self.batches is None:
            known = self._gathered[self.prefixes[0]][layer]
            return functional.batch_norm(x, known.mean, known.variance, weight, bias, training=False, eps=layer.eps)
        if self._statistics == "batch":
            return self._one_by_one(x, weight, bias, layer.eps, None)
        found = self._found(layer, x)
        if self._are_equal(x):
            return _at_once(x, self.batches, weight, bias, layer.eps, found)
        return self._one_by_one(x, weight, bias, layer.eps, found)

    def _found(self, layer: nn.BatchNorm2d, x: torch.Tensor) -> list[Gathered]:
        """What is gathered for a layer behind each prefix."""
        found = []
        for prefix in self.prefixes:
            layers = self._gathered.setdefault(prefix, {})
            if layer not in layers:
                layers[layer] = Gathered(x)
            found.append(layers[layer])
        return found

    def _are_equal(self, x: torch.Tensor) -> bool:
        """Whether there are several batches to gather from, of one size, whose channels lie last."""
        sizes = self.batches or ()
        last = x.is_contiguous(memory_format=torch.channels_last) and x.shape[1] > 1
        return self._statistics == "recomputed" and len(set(sizes)) == 1 < len(sizes) and last

    def _one_by_one(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float, found: Sequence[Gathered] | None
    ) -> torch.Tensor:
        """Normalises batch after batch."""
        parts, sizes = [], list(self.batches or ())
        for i, part in enumerate(torch.split(x, sizes * len(self.prefixes))):
            mean, variance = x.new_zeros(x.shape[1]), x.new_ones(x.shape[1])  # the batch's own, after the call
            parts.append(functional.batch_norm(part, mean, variance, weight, bias, True, 1.0, eps))
            if found is not None:
                found[i // len(sizes)].add(mean, variance, 1)
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def _convolved(
    conv: nn.Conv2d, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, counting: bool
) -> torch.Tensor:
    """A convolution with other weights."""
    size, stride = conv.kernel_size[0], conv.stride[0]
    widens = size == stride == conv.groups == 1 and conv.out_channels > conv.in_channels
    if (
        widens and not counting and x.is_contiguous(memory_format=torch.channels_last)
    ):  # a matrix product takes less time then
        return functional.linear(x.permute(0, 2, 3, 1), weight[:, :, 0, 0], bias).permute(0, 3, 1, 2)
    return functional.conv2d(x, weight, bias, stride, size // 2, groups=conv.groups)


def _widens(conv: nn.Conv2d) -> bool:
    """Whether it is a 1x1 convolution to more channels."""
    return conv.kernel_size[0] == conv.stride[0] == conv.groups == 1 and conv.out_channels > conv.in_channels


def _widened(
    x: torch.Tensor, batches: Sequence[int], weight: torch.Tensor, layer: nn.BatchNorm2d, found: Sequence[Gathered]
) -> torch.Tensor:
    """A widening convolution with batch normalisation, of several batches of one size.

    Means and variances of its outputs follow from means and covariances of its inputs, which are fewer: what is wide
    is computed once, already normalised.
    """
    pixels, mean, centred = _centred(x, len(batches) * len(found))
    covariance = centred.transpose(1, 2) @ centred / pixels.shape[1]
    variance = ((weight @ covariance) * weight).sum(2)
    scale = _add(found, len(batches), mean @ weight.t(), variance, pixels.shape[1], layer.weight, layer.bias, layer.eps)
    y = torch.baddbmm(layer.bias, centred, (weight * scale[:, :, None]).transpose(1, 2))
    return y.view(len(x), *x.shape[2:], -1).permute(0, 3, 1, 2)


def _at_once(
    x: torch.Tensor,
    batches: Sequence[int],
    weight: torch.Tensor,
    bias: torch.Tensor,
    eps: float,
    found: Sequence[Gathered],
) -> torch.Tensor:
    """Normalises several batches of one size, which lie channels last, each by itself."""
    pixels, mean, centred = _centred(x, len(batches) * len(found))
    variance = (centred * centred).mean(1)
    scale = _add(found, len(batches), mean, variance, pixels.shape[1], weight, bias, eps)
    torch.addcmul(bias, centred, scale[:, None], out=centred)
    return centred.view(len(x), *x.shape[2:], -1).permute(0, 3, 1, 2)


def _centred(x: torch.Tensor, batches: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of each batch the pixels, shape (batches, pixels, channels), their means, and what differs from these."""
    pixels = x.permute(0, 2, 3, 1).reshape(batches, -1, x.shape[1])
    mean = pixels.mean(1)
    return pixels, mean, pixels - mean[:, None]


def _add(
    found: Sequence[Gathered],
    batches: int,
    mean: torch.Tensor,
    variance: torch.Tensor,
    n: int,
    weight: torch.Tensor,
    bias: torch.Tensor,
    eps: float,
) -> torch.Tensor:
    """Gathers means and variances over ``n`` pixels, a row a batch; returns by what each is multiplied."""
    means, variances = (values.view(len(found), batches, -1).mean(1) for values in (mean, variance))
    variances = variances * (n / (n - 1))
    factors = zip(*folded(means, variances, weight, bias, eps), strict=True)
    for gathered, own_mean, own_variance, own_factors in zip(found, means, variances, factors, strict=True):
        gathered.add(own_mean, own_variance, batches)
        if gathered.batches == batches:
            gathered.folded = own_factors
    return weight * (variance + eps).rsqrt()
