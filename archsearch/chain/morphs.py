"""Edits of a chain's trained network that keep its function.

Reference: Chen, Goodfellow & Shlens, "Net2Net", ICLR 2016, section 2.3 (widening).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from archsearch.chain.layers import ConvBN, MBConvLayer
from archsearch.chain.network import ChainNetwork
from archsearch.networks.network import Choice


@torch.no_grad()
def morph(network: ChainNetwork, child: ChainNetwork, generator: torch.Generator) -> bool:
    """See ``MorphableChain.morph``; both are stand-alone networks of one space."""
    changed = [i for i, (old, new) in enumerate(zip(network.path(None), child.path(None), strict=True)) if old != new]
    exact = _copy_unchanged(network, child, tuple(f"layers.{i}." for i in changed))
    for i in changed:
        residual = network.specification[i].residual
        exact = _morph_layer(_only(network, i), _only(child, i), residual, generator) and exact
    return exact


def _copy_unchanged(network: ChainNetwork, child: ChainNetwork, changed: tuple[str, ...]) -> bool:
    """Copies what agrees by name and shape; whether that was all that the changed layers do not hold."""
    old, complete = network.state_dict(), True
    for name, tensor in child.state_dict().items():
        if name in old and old[name].shape == tensor.shape:
            tensor.copy_(old[name])
        elif not name.startswith(changed):
            complete = False
    return complete


def _only(network: ChainNetwork, i: int) -> nn.Module:
    """The option that a stand-alone network holds at layer ``i``."""
    choice = network.layers[i]
    assert isinstance(choice, Choice)
    (option,) = choice.values()
    return option


def _morph_layer(source: nn.Module, target: nn.Module, residual: bool, generator: torch.Generator) -> bool:
    if not isinstance(target, MBConvLayer):
        return False
    if isinstance(source, MBConvLayer):
        return _morph_mbconv(source, target, generator)
    if residual:
        # The new branch adds nothing. In training its last scale moves first, and lets the gradient into the rest.
        nn.init.zeros_(target.project.bn.weight)
        nn.init.zeros_(target.project.bn.bias)
    return residual


def _morph_mbconv(source: MBConvLayer, target: MBConvLayer, generator: torch.Generator) -> bool:
    """Embeds or cuts out the kernel, replicates or drops hidden channels; whether nothing was lost."""
    if (source.inputs, source.outputs) != (target.inputs, target.outputs):
        return False
    kernel, new_kernel = _plain(source), _plain(target)
    if kernel is None or new_kernel is None:
        return False
    origin = replicated_channels(source.hidden, target.hidden, generator)
    if source.expand is not None and target.expand is not None:
        _copy_channels(source.expand, target.expand, origin)
    _copy_channels(kernel, new_kernel, origin)
    weight = source.project.conv.weight
    shares = outgoing_shares(origin, source.hidden, target.outputs, generator).to(weight)
    target.project.conv.weight.copy_(weight[:, origin] * shares[:, :, None, None])
    target.project.bn.load_state_dict(source.project.bn.state_dict())
    same_form = (source.expand is None) == (target.expand is None)
    return same_form and source.hidden <= target.hidden and source.kernels <= target.kernels


def _plain(layer: MBConvLayer) -> ConvBN | None:
    """The depthwise convolution, if every hidden channel stands for itself, with a kernel of one size."""
    if layer.groups != (1, 1) or layer.squeeze is not None or not isinstance(layer.depthwise, ConvBN):
        return None
    return layer.depthwise


def replicated_channels(old: int, new: int, generator: torch.Generator) -> torch.Tensor:
    """For each of ``new`` channels the one of ``old`` that it copies: itself, and any for those beyond."""
    further = torch.randint(old, (max(0, new - old),), generator=generator, device=generator.device)
    return torch.cat([torch.arange(min(old, new)), further.cpu()])


def outgoing_shares(origin: torch.Tensor, old: int, outputs: int, generator: torch.Generator) -> torch.Tensor:
    """What each copy passes on of the weight to each output, shape (outputs, copies); the copies of one add up to 1.

    Net2Wider gives all copies of a channel equal shares. Their gradients are then equal, so that they stay copies for
    ever, unless noise is added, which changes the function. Unequal shares, drawn anew for each output, keep the
    function and let the copies part in training.
    """
    drawn = 0.5 + torch.rand(outputs, len(origin), generator=generator, device=generator.device).cpu()
    totals = torch.zeros(outputs, old).index_add_(1, origin, drawn)
    return drawn / totals[:, origin]


def _copy_channels(source: ConvBN, target: ConvBN, origin: torch.Tensor) -> None:
    """Convolution and batch normalisation of the channels ``origin``; the kernel is set in zeros or its rim cut off."""
    rim = (target.conv.kernel_size[0] - source.conv.kernel_size[0]) // 2
    target.conv.weight.copy_(functional.pad(source.conv.weight[origin], [rim] * 4))
    old = source.bn.state_dict()
    for name, tensor in target.bn.state_dict().items():
        tensor.copy_(old[name][origin] if old[name].dim() else old[name])
