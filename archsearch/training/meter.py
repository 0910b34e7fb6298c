"""The meter adds up what a training spends, for the bill; sizes of networks say what a pass of them takes."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from archsearch.abilities import SharedWeights
from archsearch.basics.seeding import stream
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


class Meter:
    """Adds up what is spent from when it is made.

    Args:
        device: Whose time is billed: for a processor its own, so that waiting for other programs costs nothing.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._examples = self._updates = self._macs = 0
        self._last = (0, 0, 0)
        self._begun = self._clock()

    def _clock(self) -> float:
        synchronise(self._device)
        return time.process_time() if self._device.type == "cpu" else time.perf_counter()

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
        self._structure = Structure(make, isinstance(space, SharedWeights), values=False)
        self._input_shape = input_shape
        self._known: dict[Architecture | None, tuple[int, int]] = {}

    def of(self, architecture: Architecture | None) -> tuple[int, int]:
        """Multiply-adds of one example, and trainable parameters; for None the means of random paths."""
        if architecture not in self._known:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[architecture] = self._mean() if architecture is None else self._measured(architecture)
        return self._known[architecture]

    def _mean(self) -> tuple[int, int]:
        sizes = [self.of(self._space.sample(stream(i, "size"), "architectures")) for i in range(SIZED_PATHS)]
        macs, parameters = np.mean(sizes, axis=0)
        return round(macs), round(parameters)

    def _measured(self, architecture: Architecture) -> tuple[int, int]:
        # On the processor: operations of the meta device take many times as long.
        network = self._structure.network(architecture)
        return multiply_adds(network, self._input_shape), parameter_count(network)
