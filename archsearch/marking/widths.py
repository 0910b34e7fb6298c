"""Numbers of channels that may change: whole numbers that layers are made with, and layers of leading channels.

A ``Width`` is a whole number, so that a model is written as ever: ``nn.Conv2d(3, width, 3)``. It remembers its options,
also when it is multiplied or divided. A layer keeps the sizes that it was made with: that is how it is found which ones
are elastic. Leading channels are those of Yu & Huang, "Universally slimmable networks", ICCV 2019.
"""

from __future__ import annotations

import contextlib
import contextvars
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from archsearch.elastic import ElasticBatchNorm2d, ElasticLayerNorm, ElasticLinear
from archsearch.errors import UsageError


class WidthMark:
    """One call of ``choose.width``.

    Args:
        options: Rising.
        name: Of its decision; None: where it is first used.
        number: Of the call, counted from 0 in a model's construction.
    """

    def __init__(self, options: Sequence[int], name: str | None, number: int) -> None:
        self.options = tuple(options)
        self.name = name
        self.number = number
        self.chosen = len(options) - 1

    def select(self, option: int) -> None:
        """Chooses an option, until the next call."""
        self.chosen = option


class Width(int):
    """A number of channels with several options; as a whole number it is the one that a model is made with.

    Equal to no other number but the same width: code that asks whether two numbers of channels are the same gets one
    answer, whichever options they are made with.

    Args:
        value: The number.
        mark: Whose options it follows.
        sizes: For each option of the mark, the number.
    """

    mark: WidthMark
    sizes: tuple[int, ...]

    def __new__(cls, value: int, mark: WidthMark, sizes: tuple[int, ...]) -> Width:
        """See the class."""
        made = super().__new__(cls, value)
        made.mark, made.sizes = mark, sizes
        return made

    def __getnewargs__(self) -> tuple[Any, ...]:
        return int(self), self.mark, self.sizes

    @property
    def now(self) -> int:
        """The number for the option that is chosen."""
        return self.sizes[self.mark.chosen]

    def __mul__(self, other: Any) -> Any:
        return self._each(other, operator.mul)

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        if isinstance(other, int) and any(a % b for a, b in zip(self.sizes, self._sizes(other), strict=True)):
            raise UsageError(f"choose.width: expected options that {int(other)} divides, got {list(self.sizes)}")
        return self._each(other, operator.floordiv)

    def _each(self, other: Any, operation: Callable[[int, int], int]) -> Any:
        """The result for each of the options; a plain number where it is the same for all."""
        if not isinstance(other, int) or (isinstance(other, Width) and other.mark is not self.mark):
            raise UsageError(
                f"choose.width: expected a width times or divided by a whole number, got {other!r} as the other one"
            )
        sizes = tuple(operation(a, b) for a, b in zip(self.sizes, self._sizes(other), strict=True))
        value = operation(int(self), int(other))
        return value if len(set(sizes)) == 1 else Width(value, self.mark, sizes)

    def _sizes(self, other: int) -> Sequence[int]:
        return other.sizes if isinstance(other, Width) else (other,) * len(self.sizes)

    def __add__(self, other: Any) -> Any:
        raise UsageError(
            "choose.width: expected a width, or one times or divided by a whole number, got a sum or a difference; the "
            "channels of two things side by side have no leading ones in common: choose the width of what follows"
        )

    __radd__ = __sub__ = __rsub__ = __add__

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Width):
            return self.mark is other.mark and self.sizes == other.sizes
        return set(self.sizes) == {other}

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.sizes)


class Calls:
    """The calls of ``choose.width`` while a model is made.

    Args:
        chosen: By the number of the call, the option that the model is made with; None: with the largest of each.
    """

    def __init__(self, chosen: Mapping[int, int] | None = None) -> None:
        self.chosen = chosen
        self.count = 0

    def width(self, options: Sequence[int], name: str | None) -> Width:
        """The answer to the next call."""
        mark = WidthMark(options, name, self.count)
        self.count += 1
        if self.chosen is not None:
            mark.select(self.chosen.get(mark.number, 0))
        return Width(mark.options[mark.chosen], mark, mark.options)


_calls: contextvars.ContextVar[Calls | None] = contextvars.ContextVar("_calls", default=None)


@contextlib.contextmanager
def counted(calls: Calls) -> Iterator[None]:
    """Inside, these answer the calls of ``choose.width``."""
    token = _calls.set(calls)
    try:
        yield
    finally:
        _calls.reset(token)


def width(*options: int, name: str | None = None) -> Width:
    """A number of channels to choose: a whole number, to make layers with.

    Convolutions, linear layers, and batch and layer normalisation that are made with it compute, in the super-network,
    with their leading channels. It can be multiplied, and divided by what divides all options.

    Args:
        options: Two or more whole numbers >= 1, rising.
        name: Of the decision; marks of one name are one decision. None: the place of the first layer that has it.

    Raises:
        UsageError: If the options are not of that kind.
    """
    whole = all(type(option) is int and option >= 1 for option in options)
    if len(options) < 2 or not whole or list(options) != sorted(set(options)):
        raise UsageError(
            f"choose.width: expected two or more whole numbers >= 1, rising, such as choose.width(8, 16), got {options}"
        )
    return (_calls.get() or Calls()).width(options, name)


# -- layers of leading channels --------------------------------------------------------------------


def now(size: int) -> int:
    """A size that a layer was made with, as it is to be now."""
    return size.now if isinstance(size, Width) else size


class LeadingConv(nn.modules.conv._ConvNd):
    """A convolution of the leading channels, 1 or 2 dimensions; grouped only by channel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of as many channels as its sizes say now, to as many."""
        inputs, outputs, weight, bias = now(self.in_channels), now(self.out_channels), self.weight, self.bias
        if outputs < weight.shape[0]:  # each cut takes time, forwards and backwards
            weight, bias = weight[:outputs], None if bias is None else bias[:outputs]
        if self.groups == 1 and inputs < weight.shape[1]:
            weight = weight[:, :inputs]
        if self.groups == 1:
            return self._conv_forward(x, weight, bias)
        convolve = functional.conv2d if weight.ndim == 4 else functional.conv1d
        return convolve(x, weight, bias, self.stride, self.padding, self.dilation, inputs)


class LeadingConv1d(LeadingConv, nn.Conv1d):
    """See ``LeadingConv``."""


class LeadingConv2d(LeadingConv, nn.Conv2d):
    """See ``LeadingConv``."""


class LeadingLinear(ElasticLinear):
    """A linear layer of the leading inputs, to as many outputs as its size says now."""

    def forward(self, x: torch.Tensor, outputs: int | None = None) -> torch.Tensor:
        """See ``ElasticLinear``."""
        return super().forward(x, now(self.out_features))


LEADING: Mapping[type[nn.Module], type[nn.Module]] = {
    nn.Conv1d: LeadingConv1d,
    nn.Conv2d: LeadingConv2d,
    nn.Linear: LeadingLinear,
    nn.BatchNorm2d: ElasticBatchNorm2d,
    nn.LayerNorm: ElasticLayerNorm,
}
"""What layers become in a super-network; their parameters stay."""


def widths_of(module: nn.Module) -> list[Width]:
    """The widths that a module was made with."""
    values = [value for value in vars(module).values() if isinstance(value, (Width, tuple))]
    return [each for value in values for each in (value if isinstance(value, tuple) else (value,)) if _is_width(each)]


def _is_width(value: object) -> bool:
    return isinstance(value, Width)


def check_layer(module: nn.Module, path: str) -> bool:
    """Whether a module is a layer that has a width.

    Raises:
        UsageError: If it has one, and is none that can be narrowed.
    """
    widths = widths_of(module)
    if not widths or not isinstance(module, tuple(nn_layers())):
        return False
    known = ", ".join(cls.__name__ for cls in LEADING)
    if type(module) not in LEADING:
        raise UsageError(
            f"choose.width: {path}: a {type(module).__name__} has no leading channels here; expected any of {known}"
        )
    if isinstance(module, nn.modules.conv._ConvNd):
        by_channel = module.groups == module.in_channels == module.out_channels and module.padding_mode == "zeros"
        if not (by_channel or module.groups == 1):
            raise UsageError(
                f"choose.width: {path}: expected a convolution in one group, or with a group for each channel and "
                f"padded by zeros, got {module}"
            )
    if isinstance(module, nn.LayerNorm) and (len(module.normalized_shape) != 1 or module.bias is None):
        raise UsageError(f"choose.width: {path}: expected a LayerNorm of one dimension with biases, got {module}")
    return True


def nn_layers() -> tuple[type[nn.Module], ...]:
    """Layers of PyTorch that have parameters of the size of a width."""
    return (
        nn.modules.conv._ConvNd,
        nn.modules.batchnorm._NormBase,
        nn.modules.rnn.RNNBase,
        nn.Linear,
        nn.Bilinear,
        nn.LayerNorm,
        nn.GroupNorm,
        nn.Embedding,
        nn.MultiheadAttention,
        nn.TransformerEncoderLayer,
        nn.TransformerDecoderLayer,
        nn.RMSNorm,
    )


def make_elastic(model: nn.Module) -> None:
    """Layers with a width become layers of leading channels."""
    for path, module in model.named_modules():
        if check_layer(module, path):
            module.__class__ = LEADING[type(module)]


def make_plain(model: nn.Module) -> None:
    """Widths become the whole numbers that they are."""
    for module in model.modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, Width):
                setattr(module, name, int(value))
            elif isinstance(value, tuple) and any(map(_is_width, value)):
                setattr(module, name, tuple(int(each) if _is_width(each) else each for each in value))
