"""Moves weights from a network to another one, as a correspondence says.

Reference: Chen, Goodfellow & Shlens, "Net2Net", ICLR 2016, section 2.4: a new layer begins as an identity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from archsearch.graphs.correspondence import FREE, Correspondence, Part
from archsearch.graphs.network import GraphNetwork, GraphNode
from archsearch.graphs.operations import Conv, Separable


@torch.no_grad()
def transfer(found: Correspondence, network: GraphNetwork, child: GraphNetwork, generator: torch.Generator) -> bool:
    """Gives ``child`` what ``found`` says of the weights of ``network``; see ``GraphSpace.morph``."""
    for part, node in zip(found.nodes, child.nodes, strict=True):
        assert isinstance(node, GraphNode)
        if part.role == "copies":
            assert part.origin is not None
            source = network.nodes[part.origin - 1]
            assert isinstance(source, GraphNode)
            _share(part, source, node, generator)
            if isinstance(source.operation, Conv) and isinstance(node.operation, Conv):
                _copy(part, source.operation, node.operation)
        elif part.role == "passes":
            _share(part, None, node, generator)
            if isinstance(node.operation, Conv):
                _pass_on(part, node.operation)
    return _copy_classifier(found.output.inputs, network.classifier, child.classifier) and found.exact


def _share(part: Part, source: GraphNode | None, node: GraphNode, generator: torch.Generator) -> None:
    """Sets the numbers by which inputs are multiplied; copies of one share unequally, so that they part in training."""
    if node.scales is None:
        return
    left: dict[int | None, float] = {}
    drawn = torch.rand(len(part.scales), generator=generator) + 0.5
    for scale, weight in zip(part.scales, drawn.tolist(), strict=True):
        if scale.sharers:
            left[scale.position] = left.get(scale.position, 0.0) + weight
    for i, (scale, weight) in enumerate(zip(part.scales, drawn.tolist(), strict=True)):
        if not scale.sharers:
            node.scales[i] = 0
            continue
        old = 1.0
        if source is not None and source.scales is not None and scale.position is not None:
            old = source.scales[scale.position].item()
        node.scales[i] = old * weight / left[scale.position]


def _taken(weight: torch.Tensor, channels: Sequence[int], dim: int) -> torch.Tensor:
    """These channels of a weight along a dimension; zeros in place of ``FREE``."""
    at = torch.tensor(channels, device=weight.device)
    taken = weight.index_select(dim, at.clamp(min=0))
    free = (at == FREE).reshape([-1 if d == dim else 1 for d in range(weight.ndim)])
    return taken.masked_fill(free, 0)


def _copy(part: Part, source: Conv, target: Conv) -> None:
    """Filters: those that are the origin's, the others as they are; channels that are free are not read by them."""
    rows = [c for c, channel in enumerate(part.outputs) if channel != FREE]
    kept = [part.outputs[c] for c in rows]
    if not rows:
        return
    filters = _taken(source.conv.weight[kept], part.inputs, 1)
    if isinstance(target, Separable) and not isinstance(source, Separable):
        filters = _separated(target, _resized(filters, target.depthwise.kernel_size))
    target.conv.weight[rows] = _resized(filters, target.conv.kernel_size)
    if source.conv.bias is not None and target.conv.bias is not None:
        target.conv.bias[rows] = source.conv.bias[kept]
    if source.norm is not None and target.norm is not None:
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(target.norm, name)[rows] = getattr(source.norm, name)[kept]
    if isinstance(source, Separable) and isinstance(target, Separable):
        rows = [c for c, channel in enumerate(part.inputs) if channel != FREE]
        depthwise = source.depthwise.weight[[part.inputs[c] for c in rows]]
        target.depthwise.weight[rows] = _resized(depthwise, target.depthwise.kernel_size)


def _separated(target: Separable, filters: torch.Tensor) -> torch.Tensor:
    """The separable convolution nearest to some filters: of each input channel the best approximation of rank 1.

    Sets the depthwise filters, and gives those of the 1x1 convolution.
    """
    left, values, right = torch.linalg.svd(filters.flatten(2).transpose(0, 1), full_matrices=False)
    target.depthwise.weight.copy_(right[:, :1].reshape_as(target.depthwise.weight))
    pointwise: torch.Tensor = left[:, :, 0] * values[:, :1]
    return pointwise.T[:, :, None, None]


def _resized(filters: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Filters of another size: zeros around them, or their centre."""
    height, width = ((now - old) // 2 for now, old in zip(size, filters.shape[2:], strict=True))
    return nn.functional.pad(filters, (width, width, height, height))  # below 0 it cuts


def _pass_on(part: Part, target: Conv) -> None:
    """Makes an identity of the first channels; further ones keep their initial filters, and nobody relies on them."""
    channels = torch.arange(min(len(part.inputs), len(part.outputs)))
    target.conv.weight[channels] = 0
    height, width = (size // 2 for size in target.conv.kernel_size)
    target.conv.weight[channels, channels, height, width] = 1
    if target.conv.bias is not None:
        target.conv.bias[channels] = 0
    if target.norm is not None:
        target.norm.weight[channels] = math.sqrt(1 + target.norm.eps)  # the running variance is 1
    if isinstance(target, Separable):
        height, width = (size // 2 for size in target.depthwise.kernel_size)
        target.depthwise.weight[channels] = 0
        target.depthwise.weight[channels, 0, height, width] = 1


def _copy_classifier(channels: Sequence[int], source: nn.Linear, target: nn.Linear) -> bool:
    """Takes the classifier over; False if there are other classes, which keep their initial weights."""
    if source.out_features != target.out_features:
        return False
    target.weight.copy_(_taken(source.weight, channels, 1))
    target.bias.copy_(source.bias)
    return True
