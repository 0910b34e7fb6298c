"""Networks of one shape side by side in one network, whose channels are theirs, one network after the other.

A convolution of K networks is one with K times the channels in K groups; batch normalisation, activations and pooling
look at each channel alone anyhow; a linear layer is K products of matrices at once. So K small networks take little
more than the calls of one. Each computes what it would alone, but for the order in which numbers are added up.

What is made of other parts, or mixes channels in a way of its own, is found out (``standing_of``): two networks with
random weights must compute together what they compute alone.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, get_args

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from archsearch.networks.network import Network

Standing = Literal["plain", "joined"]
"""How networks stand side by side: as they are; or so that what they put together and take apart, channels that is, is
put together and taken apart network by network, which costs some microseconds for each operation."""

AGREEMENT = 1e-4
"""How far outputs together may be from those apart, relative to the largest: orders of addition, no more."""

RANDOM = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
"""Parts that draw numbers of their own, which cannot be those that each network would draw alone."""


class Unstackable(Exception):
    """A network has a part that cannot stand beside others."""


class SideBySide:
    """Networks of one shape as one; values go in when it is made, and come back by ``give_back``.

    Args:
        networks: Two or more, of one architecture, on one device.
        standing: What ``standing_of`` says of them.

    Attributes:
        network: All of them; takes images of shape (batch, networks x channels, height, width), and gives logits of
            shape (batch, networks x classes).

    Raises:
        Unstackable: If a part cannot stand beside others.
    """

    def __init__(self, networks: Sequence[Network], standing: Standing = "joined") -> None:
        self.count = len(networks)
        self._joined: list[tuple[torch.Tensor, list[torch.Tensor]]] = []
        self._mode = _Channels(self.count) if standing == "joined" else contextlib.nullcontext()
        self.network: Network = copy.deepcopy(networks[0])
        self.network.generator = None
        self._join(self.network, networks, {})
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _join(self, module: nn.Module, networks: Sequence[nn.Module], made: dict[int, nn.Module]) -> None:
        """Replaces the parts of a module by those of all networks; a part that stands in two places is made once."""
        for name, child in list(module.named_children()):
            parts = [part for each in networks if (part := each._modules[name]) is not None]
            part = made.get(id(parts[0])) or self._joined_part(parts)
            if part is None:
                self._join(child, parts, made)
            else:
                made[id(parts[0])] = module._modules[name] = part

    def _joined_part(self, parts: Sequence[nn.Module]) -> nn.Module | None:
        """One part for all; None: it has no values of its own, and its own parts are looked at."""
        first = parts[0]
        if isinstance(first, RANDOM):
            raise Unstackable(type(first).__name__)
        make = JOINED.get(type(first))
        if make is None:
            own = [*first.parameters(recurse=False), *first.buffers(recurse=False)]
            if own:
                raise Unstackable(type(first).__name__)
            return None
        part = make(first, self.count)
        for name, empty in [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)]:
            pieces = [getattr(each, name) for each in parts]
            whole = joined(pieces, empty.shape)
            if name in part._parameters:
                whole = nn.Parameter(whole)
            setattr(part, name, whole)
            self._joined.append((whole, pieces))
        return part.train(first.training)

    def __call__(self, call: Callable[[], Any]) -> Any:
        """Runs a pass of the network."""
        with self._mode:
            return call()

    def apart(self, outputs: torch.Tensor) -> Sequence[torch.Tensor]:
        """The outputs of each network, shape (batch, classes)."""
        return outputs.reshape(len(outputs), self.count, -1, *outputs.shape[2:]).unbind(1)

    def together(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        """The inputs of all networks as one."""
        whole = torch.cat(list(inputs), 1)
        return whole.contiguous(memory_format=torch.channels_last) if whole.dim() == 4 else whole

    def weights(self) -> Iterator[tuple[torch.Tensor, list[torch.Tensor]]]:
        """Each parameter, with those of the networks that are in it."""
        return ((whole, pieces) for whole, pieces in self._joined if isinstance(whole, nn.Parameter))

    def give_back(self) -> None:
        """Gives the networks the values that theirs have here."""
        with torch.no_grad():
            for whole, pieces in self._joined:
                for piece, value in zip(pieces, shares(whole, self.count, pieces[0].shape), strict=True):
                    piece.copy_(value)


def joined(pieces: Sequence[torch.Tensor], shape: torch.Size) -> torch.Tensor:
    """Tensors of each network as one of a shape, one after the other; what counts updates is the same for all."""
    return pieces[0].detach().clone() if not shape else torch.cat([each.detach() for each in pieces]).view(shape)


def shares(whole: torch.Tensor, count: int, shape: torch.Size) -> Sequence[torch.Tensor]:
    """The tensors of each network, of a shape, that one holds."""
    if not shape:
        return [whole] * count
    return whole.detach().flatten(0, whole.dim() - len(shape)).chunk(count)


class _Linear(nn.Module):
    """Linear layers side by side; weights have shape (networks, outputs, inputs)."""

    def __init__(self, first: nn.Linear, count: int) -> None:
        super().__init__()
        self.count = count
        self.weight = nn.Parameter(torch.empty(count, *first.weight.shape, device="meta"))
        bias = None if first.bias is None else nn.Parameter(torch.empty(count, len(first.bias), device="meta"))
        self.register_parameter("bias", bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (batch, networks x inputs) to (batch, networks x outputs)."""
        outputs: torch.Tensor = x.reshape(len(x), self.count, -1).transpose(0, 1) @ self.weight.transpose(1, 2)
        if isinstance(self.bias, torch.Tensor):
            outputs = outputs + self.bias[:, None]
        return outputs.transpose(0, 1).flatten(1)


def _convolution(first: nn.Module, count: int) -> nn.Module:
    assert isinstance(first, nn.Conv2d)
    if first.padding_mode != "zeros":
        raise Unstackable(f"Conv2d(padding_mode={first.padding_mode!r})")
    return nn.Conv2d(
        first.in_channels * count,
        first.out_channels * count,
        first.kernel_size,  # type: ignore[arg-type]
        first.stride,  # type: ignore[arg-type]
        first.padding,  # type: ignore[arg-type]
        first.dilation,  # type: ignore[arg-type]
        first.groups * count,
        first.bias is not None,
        device="meta",
    )


def _normalisation(first: nn.Module, count: int) -> nn.Module:
    assert isinstance(first, nn.BatchNorm2d)
    if not first.track_running_stats:
        raise Unstackable("BatchNorm2d(track_running_stats=False)")
    return nn.BatchNorm2d(first.num_features * count, first.eps, first.momentum, first.affine, device="meta")


def _linear(first: nn.Module, count: int) -> nn.Module:
    assert isinstance(first, nn.Linear)
    return _Linear(first, count)


JOINED: dict[type[nn.Module], Callable[[nn.Module, int], nn.Module]] = {
    nn.Conv2d: _convolution,
    nn.BatchNorm2d: _normalisation,
    nn.Linear: _linear,
}


class _Channels(TorchFunctionMode):
    """Has ``cat``, ``chunk`` and ``split`` along channels work network by network."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in (torch.cat, torch.concat):
            tensors, dim = args[0], args[1] if len(args) > 1 else kwargs.get("dim", 0)
            if dim in (1, -3) and tensors[0].dim() == 4:
                return self._one(torch.cat([self._many(each) for each in tensors], -1))
        elif function in (torch.chunk, torch.split, torch.Tensor.chunk, torch.Tensor.split):
            dim = args[2] if len(args) > 2 else kwargs.get("dim", 0)
            if dim in (1, -3) and args[0].dim() == 4:
                size = args[1] if len(args) > 1 else next(v for k, v in kwargs.items() if k != "dim")
                return tuple(self._one(each) for each in function(self._many(args[0]), size, -1))
        return function(*args, **kwargs)

    def _many(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (batch, height, width, networks, channels)."""
        return x.permute(0, 2, 3, 1).reshape(len(x), *x.shape[2:], self.count, -1)

    def _one(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(-2).permute(0, 3, 1, 2)


# -- whether it can be done ------------------------------------------------------------------------


def standing_of(network: Network, input_shape: Sequence[int]) -> Standing | None:
    """How networks like this one stand so that they compute together what they compute alone; None: they cannot.

    Args:
        network: Of one architecture; it is not changed.
        input_shape: Channels, height and width.
    """
    generator = torch.Generator().manual_seed(0)
    two = [_with_random_values(network, generator) for _ in range(2)]
    images = [torch.randn(2, *input_shape, generator=generator) for _ in two]
    with torch.inference_mode():
        alone = [each.with_auxiliary(x) for each, x in zip(two, images, strict=True)]
    return next((standing for standing in get_args(Standing) if _agrees(two, standing, images, alone)), None)


def _agrees(two: Sequence[Network], standing: Standing, images: Sequence[torch.Tensor], alone: Sequence[Any]) -> bool:
    """Whether two networks that stand so compute what they do alone."""
    try:
        both = SideBySide(two, standing)
        with torch.inference_mode():
            inputs = both.together(images)
            outputs = both(lambda: both.network.with_auxiliary(inputs))
            return all(_equal(both, outputs[i], [each[i] for each in alone]) for i in range(2))
    except (Unstackable, RuntimeError, ValueError, TypeError):
        return False


def _equal(both: SideBySide, outputs: torch.Tensor | None, alone: Sequence[torch.Tensor | None]) -> bool:
    if outputs is None:
        return all(each is None for each in alone)
    if outputs.shape[1] % both.count:
        return False
    pairs = [(a, b) for a, b in zip(both.apart(outputs), alone, strict=True) if b is not None]
    return all(bool(((a - b).abs().max() <= AGREEMENT * b.abs().max().clamp(min=1e-3)).item()) for a, b in pairs)


def _with_random_values(network: Network, generator: torch.Generator) -> Network:
    """A copy in which no value is 0, so that nothing hides what it computes; to be asked for outputs only."""
    with torch.no_grad():
        own = copy.deepcopy(network).to("cpu").eval()
        own.generator = None
        for value in [*own.parameters(), *own.buffers()]:
            if value.is_floating_point():
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))
                if value.dim() > 1:
                    value.sub_(1.0)
    return own
