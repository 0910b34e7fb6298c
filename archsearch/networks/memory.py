"""How many bytes a network takes: its weights, what a pass computes, what a training keeps for the way back.

All are counted, not measured: they are the same on every device and every time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from archsearch.networks.multiply_adds import without_fast_path


class Activations:
    """Inside, what autograd keeps for the way back is counted: exactly, and the same on every device and every time.

    A storage counts once, however many operations keep it, for as long as one of them does. Parameters and buffers are
    not counted; images are. It can be entered again, and goes on then.

    Args:
        network: Whose parameters and buffers are not counted.

    Attributes:
        bytes: Kept now.
        peak: The most that were kept at one time.
    """

    def __init__(self, network: nn.Module) -> None:
        self.bytes = 0
        self.peak = 0
        self._network = network
        self._held: dict[int, int] = {}

    def __enter__(self) -> Activations:
        """Counts from here on."""
        tensors = [*self._network.parameters(), *self._network.buffers()]
        self._own = {tensor.untyped_storage()._cdata for tensor in tensors}
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda kept: kept.tensor)
        self._hooks.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """What is kept by then still counts until it is let go."""
        self._hooks.__exit__()

    def _pack(self, tensor: torch.Tensor) -> _Kept:
        return _Kept(tensor, self)

    def hold(self, storage: int, size: int) -> None:
        """An operation keeps a storage."""
        if storage in self._own:
            return
        self._held[storage] = self._held.get(storage, 0) + 1
        if self._held[storage] == 1:
            self.bytes += size
            self.peak = max(self.peak, self.bytes)

    def let_go(self, storage: int, size: int) -> None:
        """An operation no longer keeps it."""
        if storage not in self._held:
            return
        self._held[storage] -= 1
        if not self._held[storage]:
            del self._held[storage]
            self.bytes -= size


class _Kept:
    """A tensor that an operation keeps; it goes when the graph does.

    Args:
        tensor: Which.
        counted: Who counts it.
    """

    __slots__ = ("counted", "place", "tensor")

    def __init__(self, tensor: torch.Tensor, counted: Activations) -> None:
        storage = tensor.untyped_storage()
        self.tensor = tensor.detach()  # an output that keeps its graph would be kept by it
        self.counted = counted
        self.place = storage._cdata, storage.nbytes()  # on the meta device there is no other identity
        counted.hold(*self.place)

    def __del__(self) -> None:
        self.counted.let_go(*self.place)


# -- inference -----------------------------------------------------------------------------------


def bytes_of(network: nn.Module, input_shape: Sequence[int], batch: int = 1) -> dict[str, int]:
    """What a network needs memory for where it is only used, in bytes.

    ``weight_bytes``: parameters and buffers. ``activation_bytes``: the most that a forward pass holds at one time of
    its inputs and of what it computes, operation by operation as PyTorch does it, without work spaces. ``cache_bytes``:
    the keys and values of all attention for these examples, which a transformer keeps as it goes on; 0 without
    attention.

    Args:
        network: A stand-alone one in evaluation mode, on the processor; its values do not matter.
        input_shape: Of one example.
        batch: Examples in the pass, >= 1.
    """
    weights = [*network.parameters(), *network.buffers()]
    inputs = torch.zeros(batch, *input_shape, dtype=getattr(network, "input_dtype", None))
    with torch.no_grad(), without_fast_path(), _Live(inputs) as live, _Cached() as cached:
        network(inputs)
    return {
        "weight_bytes": _bytes(weights),
        "activation_bytes": live.peak,
        "cache_bytes": cached.bytes,
    }


# -- training ------------------------------------------------------------------------------------


def training_bytes(network: nn.Module, input_shape: Sequence[int], batch: int, slots: int) -> int:
    """What a network needs memory for where it is trained, in bytes, without work spaces.

    Parameters and buffers; of what is trained a gradient and ``slots`` further values a weight; and the most that
    autograd keeps of one batch for the way back.

    Args:
        network: On the meta device, where nothing is computed, or any other.
        input_shape: Of one example.
        batch: Examples that pass together, >= 1.
        slots: Values that the optimiser keeps for each weight: 1 with momentum, 2 of Adam.
    """
    everything = [*network.parameters(), *network.buffers()]
    trained = [each for each in network.parameters() if each.requires_grad]
    return _bytes(everything) + (1 + slots) * _bytes(trained) + kept_bytes(network, input_shape, batch)


def kept_bytes(network: nn.Module, input_shape: Sequence[int], batch: int) -> int:
    """The most that autograd keeps of a forward pass in training for the way back; arguments as above."""
    device = next(network.parameters()).device
    inputs = torch.zeros(batch, *input_shape, dtype=getattr(network, "input_dtype", None), device=device)
    network.train()
    with torch.enable_grad(), without_fast_path(), Activations(network) as kept:
        network(inputs)
    return kept.peak


def _bytes(tensors: Sequence[torch.Tensor]) -> int:
    return sum(each.numel() * each.element_size() for each in tensors)


class _Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what operations make, for as long as it is there.

    Args:
        inputs: Counted from the start.

    Attributes:
        peak: The most bytes at one time.
    """

    def __init__(self, inputs: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._there: dict[int, tuple[StorageWeakRef, int]] = {}
        self._count(inputs)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = {each.untyped_storage()._cdata for each in _tensors((args, kwargs))} - self._there.keys()
        output = func(*args, **(kwargs or {}))
        for tensor in _tensors(output):
            if tensor.untyped_storage()._cdata not in given:  # a view of a weight, which is counted as such
                self._count(tensor)
        return output

    def _count(self, tensor: torch.Tensor) -> None:
        self._there = {key: each for key, each in self._there.items() if not each[0].expired()}  # type: ignore[no-untyped-call]
        storage = tensor.untyped_storage()
        self._there[storage._cdata] = StorageWeakRef(storage), storage.nbytes()  # type: ignore[no-untyped-call]
        self.peak = max(self.peak, sum(size for _, size in self._there.values()))


class _Cached(TorchFunctionMode):
    """Counts the keys and values that attention reads.

    Attributes:
        bytes: So far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if func is functional.scaled_dot_product_attention:
            key, value = (given[n] if n in given else args[i] for i, n in ((1, "key"), (2, "value")))
            self.bytes += key.numel() * key.element_size() + value.numel() * value.element_size()
        elif func is functional.multi_head_attention_forward:
            key = given["key"] if "key" in given else args[1]
            width = given["embed_dim_to_check"] if "embed_dim_to_check" in given else args[3]
            self.bytes += 2 * key.shape[:-1].numel() * width * key.element_size()
        return func(*args, **given)


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, (list, tuple)):
        return [found for each in value for found in _tensors(each)]
    return _tensors(list(value.values())) if isinstance(value, dict) else []
