"""The networks of Single-Path NAS: those of MobileNet, with a super-kernel in place of each layer's candidates.

Reference: Stamoulis et al., "Single-Path NAS: designing hardware-efficient ConvNets in less than 4 hours", ECML PKDD
2019, section 3. Where we differ: channels that are left out are zero after batch normalisation, too, so that a gate
that is closed gives exactly the smaller option.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional

from archsearch.chain.blocks import IDENTITY, Layer, MBConv
from archsearch.chain.layers import ACTIVATIONS
from archsearch.chain.network import ChainNetwork
from archsearch.elastic import ElasticBatchNorm2d
from archsearch.errors import UsageError
from archsearch.networks.network import Weights
from archsearch.spaces.single_path import CANDIDATES
from archsearch.trial import Architecture

SIZES: Mapping[str, tuple[int, int]] = {MBConv(*candidate).name: candidate for candidate in CANDIDATES}
"""Kernel and expansion of each MBConv."""

LARGE = max(SIZES.values())


class SinglePathNetwork(ChainNetwork):
    """A chain of super-kernels; see ``ChainNetwork``.

    ``relaxed`` mixes kernels in place of outputs, so that a pass runs one path, whatever the weights.
    """

    def layer_of(self, layer: Layer, only: str | None) -> nn.Module:
        """A super-kernel, as large as the option that is needed, or, of the super-network, as the largest."""
        kernel, expansion = LARGE if only is None else SIZES.get(only, (0, 0))
        names = [name for name in SIZES if only in (None, name)]
        return SuperKernel(
            layer.inputs, layer.outputs, kernel, expansion, layer.stride, ACTIVATIONS[layer.activation], names
        )

    def show(self, architecture: Architecture | None) -> bool:
        """See ``Network``; smaller options are parts of the largest one, which cannot be hidden."""
        return False

    def relaxed(self, images: torch.Tensor, weights: Sequence[Weights]) -> torch.Tensor:
        """Logits with kernels that are mixed by the weights of the options; see ``archsearch.relaxing.Relaxed``.

        The outer ring of a layer's kernel, its second half of channels and its whole branch are each multiplied by the
        share of the options that have them; with weight 1 for one option that is this option.
        """
        if not all(weights):
            raise UsageError("relaxed: expected a weight for at least one option of each layer")
        x = self.stem(images)
        for i, some in enumerate(self.weighed(weights, self._arities)):
            (option, weight), *others = some.items()
            if not others and isinstance(weight, float) and weight == 1:
                x = self.layer(i, x, option)
            else:
                x = self._mixed(i, x, some)
        return self.head(x)

    def _mixed(self, i: int, x: torch.Tensor, weights: Weights) -> torch.Tensor:
        layer, kernel = self.specification[i], self.layers[i]
        assert isinstance(kernel, SuperKernel)
        named = {layer.options[option]: weight for option, weight in weights.items()}
        total = _total([torch.as_tensor(weight, dtype=x.dtype) for weight in named.values()])
        if set(named) == {IDENTITY}:
            return x * total
        branch = self.drop(kernel.mixed(x, named))
        return x * total + branch if layer.residual else branch

    def rings(self) -> list[Mapping[str, torch.Tensor]]:
        """See ``archsearch.relaxing.MixesKernels``."""
        return [layer.rings() for layer in self.layers if isinstance(layer, SuperKernel)]


class SuperKernel(nn.Module):
    """An inverted bottleneck of which smaller ones are parts.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        kernel: Size of the largest depthwise convolution, odd; 0: there is nothing but the identity.
        expansion: Most hidden channels per input channel.
        stride: Of the depthwise convolution.
        activation: Makes an activation.
        names: The options that it has, but for the identity.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        expansion: int,
        stride: int,
        activation: Callable[[], nn.Module],
        names: Sequence[str],
    ) -> None:
        super().__init__()
        self.inputs, self.kernel, self.stride = inputs, kernel, stride
        hidden = inputs * expansion
        self.options = nn.ModuleDict({name: Slice(inputs, outputs, *SIZES[name]) for name in names})
        if hidden:
            self.expand = nn.Conv2d(inputs, hidden, 1, bias=False)
            self.expand_bn = LeadingBatchNorm(hidden)
            self.depthwise = Shells(hidden, kernel)
            self.depthwise_bn = LeadingBatchNorm(hidden)
            self.project = nn.Conv2d(hidden, outputs, 1, bias=False)
            self.project_bn = LeadingBatchNorm(outputs)
            self.activation = activation()

    def forward(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """The output of the option called ``name``, without a residual connection."""
        output: torch.Tensor = x if name == IDENTITY else self.options[name](self, x)
        return output

    def slice(self, x: torch.Tensor, kernel: int, expansion: int) -> torch.Tensor:
        """The inner part of the kernel, and the leading channels, of one option."""
        return self._compute(x, self.inputs * expansion, self.depthwise.inner(kernel), None)

    def mixed(self, x: torch.Tensor, weights: Mapping[str, float | torch.Tensor]) -> torch.Tensor:
        """The branch with weighed parts; of the options that are named, one is no identity."""
        own = {name: torch.as_tensor(weight, dtype=x.dtype) for name, weight in weights.items() if name in SIZES}
        present = _total(list(own.values()))
        least = torch.finfo(x.dtype).tiny ** 0.5
        shares = [
            _total([weight for name, weight in own.items() if SIZES[name][place] == LARGE[place]] or [present * 0])
            / present.clamp_min(least)
            for place in (0, 1)
        ]
        hidden = len(self.depthwise.weight)
        kernel = self.depthwise.mixed(shares[0])
        return present * self._compute(x, hidden, kernel, shares[1])

    def _compute(self, x: torch.Tensor, hidden: int, kernel: torch.Tensor, second: torch.Tensor | None) -> torch.Tensor:
        x = self.activation(self.expand_bn(functional.conv2d(x, self.expand.weight[:hidden])))
        padding = kernel.shape[-1] // 2
        x = functional.conv2d(x, kernel[:hidden], stride=self.stride, padding=padding, groups=hidden)
        x = self.activation(self.depthwise_bn(x))
        if second is not None:  # what of the second half is left
            x = torch.cat([x[:, : hidden // 2], x[:, hidden // 2 :] * second], dim=1)
        output: torch.Tensor = self.project_bn(functional.conv2d(x, self.project.weight[:, :hidden]))
        return output

    def rings(self) -> Mapping[str, torch.Tensor]:
        """See ``archsearch.relaxing.MixesKernels``."""
        weight, begin = self.depthwise.weight, 1 / (3 * self.kernel**2)  # the variance of a uniform distribution
        half = len(weight) // 2
        parts = {"inner": weight[:half, :, :9], "outer": weight[..., 9:], "second": weight[half:]}
        return {name: part.square().mean() / begin for name, part in parts.items()}


def _total(values: Sequence[torch.Tensor]) -> torch.Tensor:
    """Their sum, in order."""
    return torch.stack(list(values)).sum()


class Slice(nn.Module):
    """Computes an option of a super-kernel; a module, so that whoever counts by modules sees the options apart.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        kernel: Of the option.
        expansion: Of the option.

    Attributes:
        parameters_used: By the option, which has none of its own.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, expansion: int) -> None:
        super().__init__()
        self.kernel, self.expansion = kernel, expansion
        hidden = inputs * expansion
        self.parameters_used = hidden * (inputs + kernel**2 + outputs + 4) + 2 * outputs

    def forward(self, kernel: SuperKernel, x: torch.Tensor) -> torch.Tensor:
        """See ``SuperKernel.slice``."""
        return kernel.slice(x, self.kernel, self.expansion)


class Shells(nn.Module):
    """The kernels of a depthwise convolution, stored from the centre outwards: a smaller one is the leading part.

    Args:
        channels: How many kernels.
        kernel: Their size, odd.

    Attributes:
        weight: Shape (channels, 1, kernel * kernel): the centre, the ring around it, the next ring.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.weight = nn.Parameter(torch.empty(channels, 1, kernel * kernel))

    def initialise(self, generator: torch.Generator) -> None:
        """As PyTorch initialises a depthwise convolution."""
        nn.init.uniform_(self.weight, -1 / self.kernel, 1 / self.kernel, generator=generator)

    def inner(self, size: int) -> torch.Tensor:
        """The inner part of that size, shape (channels, 1, size, size)."""
        inside = self.weight[..., : size * size][..., _places(size)]
        return inside.reshape(-1, 1, size, size)

    def mixed(self, outer: torch.Tensor) -> torch.Tensor:
        """The whole kernels, with all but their inner 3x3 multiplied by ``outer``."""
        weight = torch.cat([self.weight[..., :9], self.weight[..., 9:] * outer], dim=-1)
        return weight[..., _places(self.kernel)].reshape(-1, 1, self.kernel, self.kernel)


def _places(size: int) -> list[int]:
    """Where each position of a kernel, row by row, is among the positions from the centre outwards."""
    middle = size // 2
    by_ring = sorted(
        range(size * size), key=lambda i: (max(abs(i // size - middle), abs(i % size - middle)), i // size, i % size)
    )
    return [by_ring.index(i) for i in range(size * size)]


class LeadingBatchNorm(ElasticBatchNorm2d):
    """Batch normalisation of the leading channels, if there are fewer than it has."""

    parameters_used = 0  # its slice says
