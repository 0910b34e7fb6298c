"""Layers of which smaller ones are parts: leading channels, and inner kernels.

The kernels are those of Cai et al., "Once-for-all", ICLR 2020, section 3.3: a smaller kernel is the centre of the next
larger one, transformed by a matrix that all channels of the layer share and that begins as the identity; or, without
the matrices, that centre as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional


class ElasticConv2d(nn.Conv2d):
    """A convolution that computes smaller ones, too; padded so that stride 1 keeps height and width.

    Args:
        inputs: Most channels that come in, >= 1.
        outputs: Most channels that go out, >= 1.
        kernels: Sizes of its kernel, odd; the largest is stored.
        stride: Its stride.
        depthwise: Whether each channel has a kernel of its own; as many go out as come in.
        transform: Whether smaller kernels are transformed by matrices, which are parameters, or plain centres.
        bias: Whether it has biases.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernels: Sequence[int] = (1,),
        stride: int = 1,
        depthwise: bool = False,
        transform: bool = False,
        bias: bool = False,
    ) -> None:
        self.sizes = sorted(kernels, reverse=True)
        largest = self.sizes[0]
        groups = inputs if depthwise else 1
        super().__init__(inputs, outputs, largest, stride, largest // 2, groups=groups, bias=bias)
        self.depthwise = depthwise
        self.transforms = Transforms(self.sizes[1:]) if transform and self.sizes[1:] else None

    def forward(self, x: torch.Tensor, outputs: int | None = None, kernel: int | None = None) -> torch.Tensor:
        """Shape (batch, inputs, height, width) to (batch, outputs, height / stride, width / stride), rounded up.

        Args:
            x: With up to ``in_channels`` channels, of which the kernels for the leading ones are used.
            outputs: How many channels go out, up to ``out_channels``; None: all. Of a depthwise one, as come in.
            kernel: One of the sizes; None: the largest.
        """
        inputs = x.shape[1]
        outputs = inputs if self.depthwise else outputs or self.out_channels
        weight, size = self.weight, self.sizes[0]
        if outputs != self.out_channels or inputs != self.in_channels:
            weight = weight[:outputs] if self.depthwise else weight[:outputs, :inputs]
        if kernel is not None and kernel != size:
            weight, size = smaller_kernel(weight, kernel, self.sizes, self.transforms), kernel
        bias = self.bias if self.bias is None else self.bias[:outputs]
        groups = inputs if self.depthwise else 1
        return functional.conv2d(x, weight, bias, self.stride, size // 2, groups=groups)

    def inherited(self, values: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """See ``archsearch.elastic.inheriting.Inherits``: the inner kernels, transformed as they are used."""
        weight, size = values["weight"], self.sizes[0]
        weight = weight[: self.weight.shape[0], : self.weight.shape[1]]
        if weight.shape[-1] == size:
            return {}
        own = {int(name.rpartition("_")[2]): value for name, value in values.items() if name.startswith("transforms.")}
        sizes = sorted({weight.shape[-1], size, *own}, reverse=True)
        return {"weight": smaller_kernel(weight, size, sizes, own)}


class Transforms(nn.Module):
    """The matrices that make smaller kernels of larger ones' centres.

    Args:
        sizes: Of the kernels that are made.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        for size in sizes:
            self.register_parameter(f"to_{size}", nn.Parameter(torch.empty(size**2, size**2)))

    def initialise(self, generator: torch.Generator) -> None:
        """At first a smaller kernel is the centre as it is."""
        with torch.no_grad():
            for matrix in self.parameters():
                matrix.copy_(torch.eye(len(matrix)))

    def __getitem__(self, size: int) -> torch.Tensor:
        matrix: torch.Tensor = getattr(self, f"to_{size}")
        return matrix

    def __contains__(self, size: int) -> bool:
        return f"to_{size}" in self._parameters


def smaller_kernel(
    weight: torch.Tensor, kernel: int, sizes: Sequence[int], matrices: Mapping[int, torch.Tensor] | Transforms | None
) -> torch.Tensor:
    """The kernels of a size, out of the largest ones: centre after centre, each transformed if there is a matrix.

    Args:
        weight: Shape (outputs, inputs, largest, largest).
        kernel: The size that is wanted, one of ``sizes``.
        sizes: In falling order.
        matrices: For each size but the largest what takes a centre, row by row, to a kernel; None: centres as they are.
    """
    for size in sizes:
        cut = (weight.shape[-1] - size) // 2
        if cut > 0 and (matrices or size == kernel):
            weight = weight[..., cut : cut + size, cut : cut + size]
            if matrices and size in matrices:
                weight = (weight.flatten(2) @ matrices[size].t()).view(weight.shape)
        if size == kernel:
            break
    return weight


class ElasticBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation of the leading channels, if there are fewer than it has.

    Its running statistics are those of all the sizes that were trained: an architecture's own are to be recomputed, as
    ``OneShot`` does before it scores one.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (batch, n, height, width), n up to all channels."""
        n = x.shape[1]
        if n == self.num_features:
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        tracks, share = self.training and self.track_running_stats, self.momentum or 0.0
        if tracks:
            self.num_batches_tracked.add_(1)
            share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        keeps = tracks or not self.training
        return functional.batch_norm(
            x,
            self.running_mean[:n] if keeps else None,
            self.running_var[:n] if keeps else None,
            self.weight[:n],
            self.bias[:n],
            self.training,
            share,
            self.eps,
        )


class ElasticLinear(nn.Linear):
    """A linear layer of the leading inputs, to the leading outputs."""

    def forward(self, x: torch.Tensor, outputs: int | None = None) -> torch.Tensor:
        """Shape (..., inputs) to (..., outputs); None: all outputs."""
        inputs, outputs = x.shape[-1], outputs or self.out_features
        weight: torch.Tensor = self.weight
        bias: torch.Tensor | None = self.bias
        if outputs < weight.shape[0]:  # each cut takes time, forwards and backwards
            weight, bias = weight[:outputs], bias if bias is None else bias[:outputs]
        if inputs < weight.shape[1]:
            weight = weight[:, :inputs]
        return functional.linear(x, weight, bias)


class ElasticLayerNorm(nn.LayerNorm):
    """Layer normalisation of the leading features, if there are fewer than it has.

    Args:
        features: Most of them, >= 1.
    """

    def __init__(self, features: int) -> None:
        super().__init__(features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (..., n), n up to all features."""
        n = x.shape[-1]
        return functional.layer_norm(x, (n,), self.weight[:n], self.bias[:n], self.eps)

    def initialise(self, generator: torch.Generator) -> None:
        """See ``archsearch.networks.network.initialise``: as PyTorch does."""
        self.reset_parameters()


class Leading(nn.Module):
    """Numbers that are learnt, such as positions or a token for the class, of which the leading ones are used.

    Args:
        shape: Of all of them; the last one is elastic.
    """

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(*shape))

    def forward(self, features: int) -> torch.Tensor:
        """Shape (..., features)."""
        return self.weight[..., :features]

    def initialise(self, generator: torch.Generator) -> None:
        """Normally distributed, with a standard deviation of one by the root of the features."""
        nn.init.normal_(self.weight, std=1 / math.sqrt(self.weight.shape[-1]), generator=generator)
