"""The meter adds up what a training spends, for the bill; sizes of networks say what a pass of them takes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np
import torch

from archsearch.abilities import SharedWeights
from archsearch.basics.seeding import stream
from archsearch.networks.memory import bytes_of, training_bytes
from archsearch.networks.multiply_adds import multiply_adds, parameter_count, synchronise
from archsearch.networks.network import Network
from archsearch.networks.structure import Structure
from archsearch.space import Space
from archsearch.training.repeats import Finished
from archsearch.trial import Architecture, Cost

SIZED_PATHS = 16
"""Random paths whose mean multiply-adds are billed for each pass of a super-network."""

REMEMBERED = 10_000
"""Architectures whose sizes are remembered."""


class _Warm:
    """What PyTorch has been made to do already, in this process, so that no evaluation pays for it.

    Attributes:
        seconds: What that took, by the clock of each device.
    """

    def __init__(self) -> None:
        self._done: set[tuple[int, str, str]] = set()
        self.seconds: dict[str, float] = {}

    def up(self, device: torch.device, what: Callable[[torch.device], None]) -> None:
        """Does it, once in a process and for a device."""
        key = os.getpid(), str(device), what.__name__
        if key in self._done:
            return
        self._done.add(key)
        begun = clock(device)
        what(device)
        self.seconds[device.type] = self.seconds.get(device.type, 0.0) + clock(device) - begun


WARM = _Warm()


def warm_kernels(device: torch.device) -> None:
    """Has PyTorch load what a first pass forward and backward loads; draws no random numbers."""
    images = torch.zeros(2, 3, 4, 4, device=device).to(memory_format=torch.channels_last)
    weights = torch.zeros(3, 3, 3, 3, device=device, requires_grad=True)
    torch.nn.functional.conv2d(images, weights).relu().sum().backward()  # type: ignore[no-untyped-call]


def warm_optimisers(device: torch.device) -> None:
    """Has PyTorch import what the first optimiser and the first move of a module import: one to two seconds."""
    module = torch.nn.Flatten().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    weight = module(torch.zeros(1, 1, device=device)).requires_grad_()
    weight.grad = torch.zeros_like(weight)
    torch.optim.SGD([weight], lr=0.0).step()


def clock(device: torch.device) -> float:
    """Seconds by which a device's time is billed: a processor's own, so that waiting for other programs is free."""
    synchronise(device)
    return time.process_time() if device.type == "cpu" else time.perf_counter()


class Meter:
    """Adds up what is spent from when it is made, but for what PyTorch does once in a process.

    Args:
        device: Whose time is billed.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._examples = self._updates = self._macs = 0
        self._last = (0, 0, 0)
        self._begun = self._clock()

    def _clock(self) -> float:
        return clock(self._device) - WARM.seconds.get(self._device.type, 0.0)

    def updated(self) -> None:
        """One update."""
        self._updates += 1

    def trained(self, examples: int, macs: int) -> None:
        """A forward and a backward pass over so many examples; backward counts as two forward passes."""
        self._examples += examples
        self._macs += 3 * examples * macs

    def forwarded(self, examples: int, macs: int) -> None:
        """Forward passes alone."""
        self._macs += examples * macs

    def since_last(self) -> tuple[int, int, int]:
        """Examples, updates and multiply-adds since this was last asked."""
        now = self._examples, self._updates, self._macs
        before, self._last = self._last, now
        return now[0] - before[0], now[1] - before[1], now[2] - before[2]

    def kept(self, done: Finished) -> None:
        """A training that an earlier try has done: its seconds were billed with that try, and are not again."""
        self._examples += done.examples
        self._updates += done.updates
        self._macs += done.macs
        self.since_last()

    def cost(self) -> Cost:
        """What was spent so far."""
        seconds = self._clock() - self._begun
        return Cost(0.0, seconds, float(self._examples), float(self._updates), 2.0 * self._macs)


class Sizes:
    """Sizes of the networks of a space.

    Args:
        space: Whose.
        make: Makes an architecture's network; None: the super-network, if the space has one.
        input_shape: Of one example.
    """

    def __init__(
        self, space: Space, make: Callable[[Architecture | None], Network], input_shape: tuple[int, ...]
    ) -> None:
        self._space = space
        self._make = make
        self._structure = Structure(make, isinstance(space, SharedWeights), values=False)
        self._input_shape = input_shape
        self._known: dict[Architecture | None, tuple[int, int]] = {}
        self._bytes: dict[Architecture, dict[str, int]] = {}

    def of(self, architecture: Architecture | None) -> tuple[int, int]:
        """Multiply-adds of one example, and trainable parameters; for None the means of random paths."""
        if architecture not in self._known:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[architecture] = self._mean() if architecture is None else self._measured(architecture)
        return self._known[architecture]

    def bytes(self, architecture: Architecture, batch: int, slots: int) -> dict[str, int]:
        """What an architecture's network needs memory for; see ``archsearch.networks.memory``.

        Args:
            architecture: Whose.
            batch: Examples that pass together in training; 0: no ``training_bytes``.
            slots: Values that the optimiser keeps for each weight.
        """
        found = self._bytes.get(architecture)
        if found is None:
            found = bytes_of(self._structure.network(architecture), self._input_shape)
            if batch:
                with torch.device("meta"):
                    network = self._make(architecture)
                found["training_bytes"] = training_bytes(network, self._input_shape, batch, slots)
            if len(self._bytes) >= REMEMBERED:
                self._bytes.clear()
            self._bytes[architecture] = found
        return found

    def _mean(self) -> tuple[int, int]:
        sizes = [self.of(self._space.sample(stream(i, "size"), "architectures")) for i in range(SIZED_PATHS)]
        macs, parameters = np.mean(sizes, axis=0)
        return round(macs), round(parameters)

    def _measured(self, architecture: Architecture) -> tuple[int, int]:
        # On the processor: operations of the meta device take many times as long.
        network = self._structure.network(architecture)
        return multiply_adds(network, self._input_shape), parameter_count(network)
