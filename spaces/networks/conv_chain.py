"""The networks of ``ConvChain``: convolutions in stages, a classifier; and the edits that keep their function.

References: Chen, Goodfellow & Shlens, "Net2Net", ICLR 2016, sections 2.3 (wider) and 2.4 (deeper); Wei et al., "Network
morphism", ICML 2016 (width, depth and kernel size); Elsken, Metzen & Hutter (NASH), 2017 (skips by addition).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from archsearch.chain.layers import ConvBN
from archsearch.chain.morphs import outgoing_shares, replicated_channels
from archsearch.networks.network import GlobalAveragePool, InputShape, Network
from archsearch.spaces.conv_chain import ConvChain
from archsearch.trial import Architecture


class ConvChainNetwork(Network):
    """A chain of convolutions: stages with max-pooling between them, global average pooling, a classifier.

    Drop-path does nothing here: a skip that was added by an edit carries nothing yet, so no path can be spared.

    Args:
        architecture: The chain.
        task: Input shape and classes.
        space: Says what the options mean.
        channels: What the smallest of the space's widths becomes; see ``ConvChain.scaled_width``.
    """

    def __init__(self, architecture: Architecture, task: InputShape, space: ConvChain, channels: int) -> None:
        super().__init__(architecture)
        inputs = task.input_shape[0]
        self.stages = nn.ModuleList()
        for stage in space.decode(architecture):
            layers: list[nn.Module] = []
            for width, kernel, skip in stage:
                outputs = space.scaled_width(width, channels)
                layers.append(ChainLayer(inputs, outputs, kernel, skip))
                inputs = outputs
            self.stages.append(nn.Sequential(*layers))
        # ceil_mode: no row or column is lost, and images of one pixel remain.
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.average = GlobalAveragePool()
        self.classifier = nn.Linear(inputs, task.classes)

    def forward(self, images: torch.Tensor, architecture: Architecture | None = None) -> torch.Tensor:
        """Images, shape (batch, channels, height, width), to logits, shape (batch, classes)."""
        self.path(architecture)
        x = images
        for i, stage in enumerate(self.stages):
            x = stage(self.pool(x) if i else x)
        logits: torch.Tensor = self.classifier(self.average(x))
        return logits


class ChainLayer(ConvBN):
    """Convolution, batch normalisation, ReLU, and perhaps a skip.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        kernel: Size of the convolution, odd.
        skip: Whether the input, scaled, is added to the output; the two then need equal widths.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, skip: bool) -> None:
        super().__init__(inputs, outputs, kernel, activation=nn.ReLU)
        self.inputs, self.outputs, self.kernel = inputs, outputs, kernel
        self.skip = Scaled() if skip else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (batch, inputs, height, width) to (batch, outputs, height, width)."""
        output = super().forward(x)
        return output if self.skip is None else output + self.skip(x)


class Scaled(nn.Module):
    """Multiplies by a learned number, ``scale``, which is 1 at first."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def initialise(self, generator: torch.Generator) -> None:
        """See ``archsearch.networks.network.initialise``; nothing is drawn."""
        nn.init.ones_(self.scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.scale * x


# -- function-preserving edits -----------------------------------------------------------------
#
# Every channel of the child copies a channel of the parent. The edits go through the child from the images to the
# classifier and carry along ``copied``: for each channel of the child at this point, the number of the channel of the
# parent that it copies. Its first entries are always 0, 1, 2, ..., so that a prefix as wide as the parent has it all.
# Pooling works on each channel alone, and changes nothing in that.


@torch.no_grad()
def morph(network: ConvChainNetwork, child: ConvChainNetwork, generator: torch.Generator) -> bool:
    """See ``ConvChain.morph``; both are networks of one space."""
    old_stages, new_stages = _stages(network), _stages(child)
    images, new_images = old_stages[0][0].inputs, new_stages[0][0].inputs
    copied = replicated_channels(images, new_images, generator)
    exact, nonnegative = images == new_images, False
    for old, new in zip(old_stages, new_stages, strict=True):
        signs = _nonnegative(old, nonnegative)
        alignment = _align(old, new, signs)
        for source, target in alignment.steps:
            copied = _step(source, target, copied, generator)
        exact = exact and alignment.losses == 0
        nonnegative = signs[-1]
    return _copy_classifier(network.classifier, child.classifier, copied, generator) and exact


def _stages(network: ConvChainNetwork) -> list[list[ChainLayer]]:
    return [[layer for layer in stage.children() if isinstance(layer, ChainLayer)] for stage in network.stages]


def _nonnegative(layers: Sequence[ChainLayer], first: bool) -> list[bool]:
    """Whether the input of each layer, and last the output of them all, can have no negative number."""
    known = [first]
    for layer in layers:
        known.append(layer.skip is None or (known[-1] and layer.skip.scale.item() >= 0))
    return known


# Which layer of the parent becomes which layer of the child.

Step = tuple[ChainLayer | None, ChainLayer | None]
"""A layer of the parent and what becomes of it; no first: the layer is new; no second: it is left out."""


_ALL = 3
"""Changes that a layer counts for that comes or goes: width, kernel and skip."""


class _Alignment(NamedTuple):
    """Steps that turn some layers into others.

    Attributes:
        losses: How many of them change the function.
        changes: How much they change, to choose among those that lose as much.
        steps: In the order of the layers.
    """

    losses: int
    changes: int
    steps: tuple[Step, ...]

    def then(self, step: Step, loses: bool, changes: int) -> _Alignment:
        return _Alignment(self.losses + loses, self.changes + changes, (*self.steps, step))


def _align(old: Sequence[ChainLayer], new: Sequence[ChainLayer], nonnegative: Sequence[bool]) -> _Alignment:
    """The best way to turn the layers of a stage into others, by dynamic programming over prefixes of both.

    Whether a step loses something depends on its own layers alone and, for a new layer, on the parent's numbers there.
    """
    widths = [old[0].inputs, *(layer.outputs for layer in old)]
    best = {(0, 0): _Alignment(0, 0, ())}
    for i in range(len(old) + 1):
        for j in range(len(new) + 1):
            ways = []
            if j:  # the new layer comes first among equals, so that it stands behind the old ones
                lost = not nonnegative[i] or new[j - 1].outputs < widths[i]
                ways.append(best[i, j - 1].then((None, new[j - 1]), lost, _ALL))
            if i and j:
                lost, changes = _compare(old[i - 1], new[j - 1])
                ways.append(best[i - 1, j - 1].then((old[i - 1], new[j - 1]), lost, changes))
            if i:
                ways.append(best[i - 1, j].then((old[i - 1], None), True, _ALL))
            if ways:
                best[i, j] = min(ways, key=lambda way: way[:2])
    return best[len(old), len(new)]


def _compare(source: ChainLayer, target: ChainLayer) -> tuple[bool, int]:
    """Whether something is lost when one layer becomes another, and how many of its settings change."""
    pairs = (
        (source.outputs, target.outputs),
        (source.kernel, target.kernel),
        (source.skip is not None, target.skip is not None),
    )
    return any(old > new for old, new in pairs), sum(old != new for old, new in pairs)


# The steps themselves: each takes ``copied`` of a layer's input and gives that of its output.


def _step(
    source: ChainLayer | None, target: ChainLayer | None, copied: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    if target is None:
        assert source is not None
        return replicated_channels(source.outputs, len(copied), generator)
    if source is None:
        return _insert(target, copied, generator)
    return _copy(source, target, copied, generator)


def _insert(target: ChainLayer, copied: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Makes a layer that passes its input on, some channels more than once if it is wider: ReLU(x) is x for x >= 0."""
    channels = replicated_channels(len(copied), target.outputs, generator)
    centre = target.kernel // 2
    nn.init.zeros_(target.conv.weight)
    target.conv.weight[torch.arange(target.outputs), channels, centre, centre] = 1
    target.bn.reset_parameters()
    nn.init.constant_(target.bn.weight, math.sqrt(1 + target.bn.eps))  # the running variance is 1
    if target.skip is not None:
        nn.init.zeros_(target.skip.scale)
    return copied[channels]


def _copy(source: ChainLayer, target: ChainLayer, copied: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Replicates or cuts channels, sets the kernel in zeros or cuts its rim off; a new skip adds nothing."""
    # Where input and output are added, the same channels must lie upon each other.
    tied = source.skip is not None and target.skip is not None
    outputs = copied if tied else replicated_channels(source.outputs, target.outputs, generator)
    rim = (target.kernel - source.kernel) // 2
    shares = outgoing_shares(copied, source.inputs, target.outputs, generator).to(source.conv.weight)
    weight = source.conv.weight[outputs][:, copied] * shares[:, :, None, None]
    target.conv.weight.copy_(functional.pad(weight, [rim] * 4))
    statistics = source.bn.state_dict()
    for name, tensor in target.bn.state_dict().items():
        tensor.copy_(statistics[name][outputs] if statistics[name].dim() else statistics[name])
    if target.skip is not None:
        target.skip.scale.copy_(source.skip.scale if source.skip is not None else torch.zeros(()))
    return outputs


def _copy_classifier(source: nn.Linear, target: nn.Linear, copied: torch.Tensor, generator: torch.Generator) -> bool:
    """Takes the classifier over; False if there are other classes, which keep their initial weights."""
    if source.out_features != target.out_features:
        return False
    shares = outgoing_shares(copied, source.in_features, target.out_features, generator).to(source.weight)
    target.weight.copy_(source.weight[:, copied] * shares)
    target.bias.copy_(source.bias)
    return True
