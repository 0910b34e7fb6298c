"""How many bytes the passes of a network keep for their way back: what a training on it needs memory for."""

from __future__ import annotations

from types import TracebackType

import torch
from torch import nn


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
        self._own = {tensor.untyped_storage().data_ptr() for tensor in tensors}
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
        self.place = storage.data_ptr(), storage.nbytes()
        counted.hold(*self.place)

    def __del__(self) -> None:
        self.counted.let_go(*self.place)
