"""The blocks that a network is made of, as one forward pass calls them: what a device is measured by.

A block is a module that holds no ``Choice`` while what holds it does, or is called by the network itself: the MBConv
of a chain, an operation of a cell, the stem. What a network computes between its blocks, such as a sum of two states or
their concatenation, is a block for each operation. Blocks that do the same operations at the same shapes are one: they
have the same ``key``, whatever space they come from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from archsearch.networks.network import Choice

KINDS = ("depthwise", "convolution", "linear", "attention", "pooling", "normalisation", "other")
"""Of blocks, by the operation that tells most of them; in this order the first that one has is its kind."""

_NAMES = {
    "attention": ("scaled_dot_product", "bmm", "softmax"),
    "linear": ("addmm", "linear", "mm.default", "matmul"),
    "pooling": ("pool", "mean"),
    "normalisation": ("norm",),
}


class Shaped(NamedTuple):
    """A tensor that a block is called with.

    Attributes:
        size: Its shape, the batch included.
        dtype: Of its values.
    """

    size: tuple[int, ...]
    dtype: torch.dtype


class Block(NamedTuple):
    """A part of a network, and what it is called with.

    Attributes:
        key: Equal where the same operations are done at the same shapes.
        name: For people, such as ``MBConv 1x16x8x8``.
        kind: One of ``KINDS``.
        module: What computes it.
        arguments: Positional ones; ``Shaped`` stands for tensors, also inside lists.
        keywords: Those by name.
    """

    key: str
    name: str
    kind: str
    module: nn.Module
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]


class Operation(nn.Module):
    """One operation of PyTorch as a module.

    Args:
        operation: What it calls.
    """

    def __init__(self, operation: Any) -> None:
        super().__init__()
        self.operation = operation

    def forward(self, *arguments: Any, **keywords: Any) -> Any:
        """What the operation gives."""
        return self.operation(*arguments, **keywords)


def blocks_of(network: nn.Module, input_shape: Sequence[int], batch: int = 1) -> list[Block]:
    """The blocks that one forward pass calls, in their order, as often as they are called.

    Args:
        network: A stand-alone one in evaluation mode, on the processor; its values do not matter.
        input_shape: Of one example.
        batch: Examples in the pass, >= 1.
    """
    inputs = torch.zeros(batch, *input_shape, dtype=getattr(network, "input_dtype", None))
    with torch.no_grad(), _Trace(network) as trace:
        network(inputs)
    found: list[Block] = trace.blocks
    return found


class _Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the blocks of what runs inside.

    Args:
        network: Whose blocks.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.blocks: list[Block] = []
        self._network = network
        self._stack = ExitStack()
        self._calls: list[tuple[nn.Module, tuple[Any, ...], dict[str, Any]]] = []
        self._operations: list[str] = []

    def __enter__(self) -> Any:
        for module in _outermost(self._network):
            for handle in (
                module.register_forward_pre_hook(self._begin, with_kwargs=True),
                module.register_forward_hook(self._end),
            ):
                self._stack.callback(handle.remove)
        return super().__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *failure: Any) -> None:
        super().__exit__(*failure)  # type: ignore[no-untyped-call]
        self._stack.close()

    def _begin(self, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self._calls.append((module, shapes_only(arguments), shapes_only(keywords)))
        if len(self._calls) == 1:
            self._operations = []

    def _end(self, module: nn.Module, _arguments: Any, _output: Any) -> None:
        module, arguments, keywords = self._calls.pop()
        if not self._calls and self._operations:  # else it computes nothing, or is part of another block
            self._note(type(module).__name__, self._operations, module, arguments, keywords)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if not _is_view(func, args, output):
            arguments, keywords = shapes_only(args), shapes_only(kwargs or {})
            operation = f"{func} {arguments} {keywords}"
            if self._calls:
                self._operations.append(operation)
            else:
                self._note(str(func), [operation], Operation(func), arguments, keywords)
        return output

    def _note(
        self, name: str, operations: list[str], module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> None:
        key = hashlib.sha256("\n".join(operations).encode()).hexdigest()[:16]
        sizes = ["x".join(map(str, each.size)) for each in tensors_in((arguments, keywords))]
        self.blocks.append(Block(key, " ".join([name, *sizes]), _kind(operations), module, arguments, keywords))


def _outermost(module: nn.Module) -> Iterator[nn.Module]:
    """The modules inside that are blocks if they are called."""
    for child in module.children():
        if isinstance(child, (nn.ModuleList, nn.ModuleDict)) or any(isinstance(m, Choice) for m in child.modules()):
            yield from _outermost(child)
        else:
            yield child


def _is_view(func: Any, args: tuple[Any, ...], output: Any) -> bool:
    """Whether an operation only looks at a tensor in another way, which takes next to no time."""
    if func._schema.is_mutable or not isinstance(output, torch.Tensor) or not args:
        return False
    first = args[0]
    return isinstance(first, torch.Tensor) and output.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()


def _kind(operations: Sequence[str]) -> str:
    if any("aten.convolution" in each for each in operations):
        return "depthwise" if any(_groups(each) > 1 for each in operations) else "convolution"
    found = [kind for kind, names in _NAMES.items() for each in operations if any(n in each for n in names)]
    return min(found, key=KINDS.index, default="other")


def _groups(operation: str) -> int:
    """Of a convolution, the last of its arguments."""
    if not operation.startswith("aten.convolution"):
        return 1
    return int(operation.rpartition("{")[0].strip(" )").rpartition(" ")[2])


# -- arguments -----------------------------------------------------------------------------------


def shapes_only(value: Any) -> Any:
    """Arguments with ``Shaped`` in place of tensors."""
    if isinstance(value, torch.Tensor):
        return Shaped(tuple(value.shape), value.dtype)
    return _mapped(shapes_only, value)


def filled(value: Any, device: torch.device | str, generator: torch.Generator) -> Any:
    """The same with tensors of random values, where ``shapes_only`` has put shapes in place of them."""
    if isinstance(value, Shaped):
        if not value.dtype.is_floating_point:
            return torch.zeros(value.size, dtype=value.dtype, device=device)
        return torch.randn(value.size, dtype=value.dtype, generator=generator).to(device)
    return _mapped(lambda each: filled(each, device, generator), value)


def _mapped(function: Any, value: Any) -> Any:
    if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
        return type(value)(map(function, value))
    if isinstance(value, dict):
        return {name: function(each) for name, each in value.items()}
    return value


def tensors_in(value: Any) -> list[Any]:
    """The ``Shaped``, or tensors, in arguments, in their order."""
    if isinstance(value, (Shaped, torch.Tensor)):
        return [value]
    if isinstance(value, (list, tuple)):
        return [found for each in value for found in tensors_in(each)]
    if isinstance(value, dict):
        return tensors_in(list(value.values()))
    return []


@contextmanager
def threads_set(threads: int) -> Iterator[None]:
    """Inside, PyTorch uses so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
