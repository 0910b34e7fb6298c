"""What the networks of a space are composed of: the blocks of each architecture, and whose decisions they follow."""

from __future__ import annotations

from collections import Counter
from typing import Any

from archsearch.abilities import SharedWeights, trainable
from archsearch.evaluator import Built
from archsearch.networks.blocks import Block, blocks_of
from archsearch.networks.memory import bytes_of
from archsearch.networks.network import Network
from archsearch.networks.structure import Structure
from archsearch.space import Space
from archsearch.trial import Architecture

REMEMBERED = 10_000
"""Architectures whose blocks are remembered."""


class Composition:
    """Says which blocks a network has.

    Args:
        space: Whose networks.
        built: How they are built.
        batch: Examples in a pass.

    Attributes:
        blocks: Those that were met so far, by key.
    """

    def __init__(self, space: Space, built: Built, batch: int = 1) -> None:
        self._space: Any = trainable(space, "a latency table of blocks")
        self._built = built
        self._batch = batch
        self._structure = Structure(self.network, isinstance(space, SharedWeights), values=False)
        self.blocks: dict[str, Block] = {}
        self._known: dict[Architecture, Counter[str]] = {}

    def network(self, architecture: Architecture | None) -> Network:
        """An architecture's network, as it is built; for None the space's super-network."""
        if architecture is None:
            whole: Network = self._space.super_network(self._built, **self._built.skeleton)
            return whole
        alone: Network = self._space.network(architecture, self._built, **self._built.skeleton)
        return alone

    def bytes(self, architecture: Architecture) -> dict[str, int]:
        """What an architecture's network needs memory for; see ``archsearch.networks.memory.bytes_of``."""
        return bytes_of(self._structure.network(architecture), self._built.input_shape, self._batch)

    def count(self, architecture: Architecture) -> Counter[str]:
        """How often an architecture's network calls each block, by key."""
        if architecture in self._known:
            return self._known[architecture]
        found = blocks_of(self._structure.network(architecture), self._built.input_shape, self._batch)
        for block in found:
            self.blocks.setdefault(block.key, block)
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[architecture] = Counter(block.key for block in found)
        return self._known[architecture]
