"""AZ-NAS's scores of a network's blocks: how rich their features are, how that grows, and what gradients pass.

Reference: Lee & Ham, "AZ-NAS: assembling zero-cost proxies for network architecture search", CVPR 2024, section 3; its
fourth score is the multiply-adds. What a block is: see ``untrained_passes.blocks``; in NAS-Bench-201 the stem, each
cell and each residual block between stages, as in the paper. Otherwise than there the images may be any (the paper has
noise only), the initial values are the network's own, and the random signs are the same in every call.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch.nn import functional

from archsearch.evaluators.untrained_passes import UNSCORABLE, blocks, constant, entropy, unchanged
from archsearch.networks.network import Network

SMALLEST = 1e-6
"""Added to a singular value whose reciprocal is taken, as in the paper's code."""


def expressivity(network: Network, images: torch.Tensor, _labels: torch.Tensor) -> float:
    """In how many directions features spread: the entropy of their principal components, summed over blocks.

    The features of a block are its channels, at each position of each image. The eigenvalues of their covariance, as
    shares of their sum, have an entropy between 0 (one direction) and log(channels) nats. Where the output is the same
    for all images it is 0.
    """
    return sum(_entropies(network, images))


def progressivity(network: Network, images: torch.Tensor, _labels: torch.Tensor) -> float:
    """The least increase of a block's entropy (see ``expressivity``) over that of the block before.

    0 where there is one block alone, and ``UNSCORABLE`` where the output is the same for all images.
    """
    found = _entropies(network, images)
    if not found:
        return UNSCORABLE
    return min((after - before for before, after in itertools.pairwise(found)), default=0.0)


def trainability(network: Network, images: torch.Tensor, _labels: torch.Tensor) -> float:
    """How near a block's gradients are to keeping their length: 2 - s - 1 / s, averaged over blocks; 0 is the best.

    s is the largest singular value of a block's Jacobian, from its output to that of the block before, estimated with
    random signs g at the output: the mean over images and positions of (gradient at the input) g'. Where a block has
    fewer positions than the one before, all that become one count as channels.

    A block that passes on what it is given, and no more, plays no part (the paper gives such a network the worst
    score); one that does not see the block before is measured from the images, as is one that is alone. ``UNSCORABLE``
    where no block is left, and where the output is the same for all images.
    """
    inputs = images.detach().clone().requires_grad_()
    with unchanged(network):
        outputs, found = blocks(network, inputs)
        if constant(outputs):
            return UNSCORABLE
        generator = torch.Generator().manual_seed(0)
        pairs = list(itertools.pairwise(found)) if len(found) > 1 else [(inputs, each) for each in found]
        values = [_largest(before, after, inputs, generator) for before, after in pairs]
    scores = [2 - value - 1 / (value + SMALLEST) for value in values if value is not None]
    return sum(scores) / len(scores) if scores else UNSCORABLE


def _entropies(network: Network, images: torch.Tensor) -> list[float]:
    """Of each block; none at all: the output is the same for all images."""
    with unchanged(network), torch.no_grad():
        outputs, found = blocks(network, images)
        return [] if constant(outputs) else [_entropy(_rows(each)) for each in found]


def _entropy(rows: torch.Tensor) -> float:
    """Of the principal components of rows, in nats; 0 where all rows are equal."""
    centred = rows - rows.mean(0)
    values = torch.linalg.eigvalsh((centred.T @ centred).double().cpu()).clamp(min=0)
    return entropy(values)


def _largest(
    before: torch.Tensor, after: torch.Tensor, images: torch.Tensor, generator: torch.Generator
) -> float | None:
    """A block's largest singular value; None: it passes on what it is given."""
    signs = torch.randint(2, after.shape, generator=generator).to(after) * 2 - 1
    gradient = None
    for source in (before, images):
        if gradient is None and source.requires_grad:
            (gradient,) = torch.autograd.grad(after, [source], signs, retain_graph=True, allow_unused=True)
    if gradient is None or torch.equal(gradient, signs):
        return None
    given, passed = _rows(signs), _rows(_folded(gradient, after))
    return float(torch.linalg.matrix_norm((passed.T @ given).double().cpu() / len(given), 2))


def _folded(gradient: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """A gradient with the positions of ``after``: windows become channels; 0 where the last ones stick out."""
    if gradient.shape[2:] == after.shape[2:]:
        return gradient
    if after.dim() == 2 or gradient.dim() == 2:
        return gradient.flatten(1)
    (height, width), (rows, columns) = gradient.shape[2:], after.shape[2:]
    stride = max(math.ceil(height / rows), math.ceil(width / columns))
    padded = functional.pad(gradient, (0, stride * columns - width, 0, stride * rows - height))
    return functional.pixel_unshuffle(padded, stride)


def _rows(features: torch.Tensor) -> torch.Tensor:
    """Shape (images, channels, height, width) or (images, channels) to (images and positions, channels)."""
    return features.movedim(1, -1).flatten(0, -2)
