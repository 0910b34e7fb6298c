"""What the scores at initialisation share: a pass that leaves a network as it was, and what its layers do in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from archsearch.networks.network import Network

UNUSED: Mapping[str, Any] = {"allow_unused": True, "materialize_grads": True}
"""Of weights that no path uses the gradient is 0."""

UNSCORABLE = -1e8
"""The lowest score of those that have no lowest one: what NAS-Bench-Suite-Zero has where it could not score."""


def constant(outputs: torch.Tensor) -> bool:
    """Whether a network gives the same for all images."""
    return bool((outputs == outputs[:1]).all())


@contextlib.contextmanager
def unchanged(network: Network) -> Iterator[None]:
    """Makes batch normalisation use the statistics of the batch for a while; then all is as before."""
    training = network.training
    kept = [(buffer, buffer.clone()) for buffer in network.buffers()]
    network.train()
    try:
        yield
    finally:
        network.train(training)
        for buffer, value in kept:
            buffer.copy_(value)


def entropy(values: torch.Tensor) -> float:
    """Of values >= 0, as shares of their sum, in nats; 0 where all are 0."""
    total = values.sum()
    return float(torch.special.entr(values / total).sum()) if total > 0 else 0.0


class LayerCall(NamedTuple):
    """A convolution or a linear layer as it was computed.

    Attributes:
        images: What it was given, shape (images, channels, ...).
        weight: Its kernel or matrix; convolution with groups has fewer channels in than ``images``.
        options: Of a convolution: stride, padding, dilation, as PyTorch takes them; None: a linear layer.
        output: What it gave, shape (images, channels, ...).
    """

    images: torch.Tensor
    weight: torch.Tensor
    options: tuple[Any, ...] | None
    output: torch.Tensor


class LayerCalls(TorchFunctionMode):
    """Keeps what convolutions and linear layers do while it is entered, those that are no modules included.

    Args:
        steady: Whether batch normalisation has the statistics of its batch as constants, so that what a network says of
            an image has no gradient with respect to what it does with the others.

    Attributes:
        calls: The layers, in the order in which they were computed.
    """

    def __init__(self, steady: bool = False) -> None:
        super().__init__()
        self.calls: list[LayerCall] = []
        self._steady = steady

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if func is functional.batch_norm and self._steady:
            return _with_constants(*args, **named)
        output = func(*args, **named)
        if func in (torch.conv2d, torch._C._nn.linear):
            options = _options(*args[2:], **named) if func is torch.conv2d else None
            self.calls.append(LayerCall(args[0], args[1], options, output))
            return output.clone()  # what comes next may work in place
        return output


def _options(_bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, *_: Any, **__: Any) -> Any:
    return stride, padding, dilation


def _with_constants(
    x: torch.Tensor,
    mean: torch.Tensor | None,
    variance: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> torch.Tensor:
    """As ``functional.batch_norm``, but where it would use the statistics of the batch they have no gradient."""
    if training or mean is None or variance is None:
        axes = [axis for axis in range(x.dim()) if axis != 1]
        variance, mean = torch.var_mean(x.detach(), axes, correction=0)
    return functional.batch_norm(x, mean, variance, weight, bias, False, momentum, eps)


def blocks(network: Network, images: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """A network's output, and what its blocks put out, in the order in which they were computed.

    Blocks are the network's direct parts, such as its stem and its cells, of lists of parts each one, if they put out
    images. Where there are fewer than two (a network that is one sequence, or that computes by functions), each layer
    with weights is one, but for the last, the classifier, unless that is all there is.

    Returns:
        Logits, and tensors of shape (images, channels, height, width), or, if they are layers, also (images, units).
    """
    found: list[torch.Tensor] = []

    def keep(_module: nn.Module, _given: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor) and output.dim() == 4:
            found.append(output)

    with contextlib.ExitStack() as hooks, LayerCalls() as layers:
        for part in _direct(network.children()):
            hooks.callback(part.register_forward_hook(keep).remove)
        outputs = network(images)
    if len(found) < 2:
        each = [call.output for call in layers.calls if call.output.dim() in (2, 4)]
        return outputs, each[:-1] or each
    return outputs, found


def _direct(modules: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """Modules, and of lists and choices of them each one."""
    for module in modules:
        if isinstance(module, (nn.ModuleList, nn.ModuleDict)):
            yield from _direct(module.children())
        else:
            yield module
