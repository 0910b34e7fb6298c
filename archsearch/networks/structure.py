"""The networks of a space one after another, out of one super-network that shows a candidate of each choice."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from archsearch.networks.network import Network
from archsearch.trial import Architecture


class Structure:
    """Makes the network of an architecture out of one super-network where that can show it, else anew.

    Making modules takes most of the time that a small network needs for a size or a score without training.

    Args:
        make: Makes an architecture's network; for None the super-network.
        shared: Whether there is a super-network.
        values: Whether values will be written: parameters that are all zero and read only take no memory.
    """

    def __init__(self, make: Callable[[Architecture | None], Network], shared: bool, values: bool) -> None:
        self._make = make
        self._shared = shared
        self._values = values
        self._network: Network | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs; the network is made anew."""
        return self.__dict__ | {"_network": None}

    def network(self, architecture: Architecture) -> Network:
        """The network of an architecture, on the processor; good until the next call.

        Its values are zeros, or whatever is there if some will be written. It is in evaluation mode, or as whoever had
        it left it.
        """
        if self._shared and self._network is None:
            network = self._made(None)
            self._shared = network.show(architecture)
            self._network = network if self._shared else None
        if self._network is None:
            return self._made(architecture)
        self._network.show(architecture)
        return self._network

    def _made(self, architecture: Architecture | None) -> Network:
        with torch.device("meta"):
            network = self._make(architecture)
        network.eval()
        if self._values:
            return network.to_empty(device="cpu")
        return network._apply(lambda value: torch.zeros((), dtype=value.dtype).expand(value.shape))  # type: ignore[no-untyped-call,no-any-return]


@contextlib.contextmanager
def showing(network: Network, architecture: Architecture | None) -> Iterator[None]:
    """Inside, a super-network looks like an architecture's own network, if it can; see ``Network.show``."""
    if network.architecture is not None or architecture is None:
        yield
        return
    try:
        network.show(architecture)
        yield
    finally:
        network.show(None)
