"""How many layers with weights an architecture has, and sizes that are sums over decisions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from archsearch.basics.kinds import kinds_of
from archsearch.basics.seeding import stream
from archsearch.networks.network import EXAMPLES, Network
from archsearch.networks.structure import Structure
from archsearch.space import Space
from archsearch.trial import Architecture

TRIED = 20
"""Random architectures whose size must be the sum of their parts."""


def layer_count(network: nn.Module) -> int:
    """Modules with a kernel or a matrix of their own: convolutions and linear layers, not normalisation."""
    return sum(any(each.dim() > 1 for each in module.parameters(recurse=False)) for module in network.modules())


class Layers:
    """Counts the trainable layers of the networks of a space, in the skeleton that the space has by itself.

    Args:
        space: A space that builds networks: ``archsearch.abilities.Trainable``.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._structure = Structure(self._network, hasattr(space, "super_network"), values=False)
        self._parts: list[list[int]] | None = parts(space, self._count)

    def __call__(self, architecture: Architecture) -> int:
        """The layers of an architecture's network."""
        if self._parts is None:
            return self._count(architecture)
        return sum(part[option] for part, option in zip(self._parts, architecture, strict=True))

    def _count(self, architecture: Architecture) -> int:
        return layer_count(self._structure.network(architecture))

    def _network(self, architecture: Architecture | None) -> Network:
        space: Any = self._space
        example = EXAMPLES[kinds_of(space)[0]]
        network: Network = (
            space.super_network(example) if architecture is None else space.network(architecture, example)
        )
        return network


def parts(space: Space, size: Callable[[Architecture], int]) -> list[list[int]] | None:
    """What each option of each decision adds to the size of a network, if that is all there is to it.

    The size of one architecture is shared among the decisions, so that those of an architecture's options add up to its
    own. Tried on ``TRIED`` random architectures: a single one that is of another size tells that options do not add up,
    as where the width of a layer counts in the next one.

    Args:
        space: The space.
        size: The true size.

    Returns:
        The sizes by decision and option; None if they do not add up, or the space is of no fixed length.
    """
    if space.arities is None:
        return None
    first = (0,) * space.max_length
    whole = size(first)
    found = [
        [size((*first[:place], option, *first[place + 1 :])) - whole for option in range(arity)]
        for place, arity in enumerate(space.arities)
    ]
    found[0] = [part + whole for part in found[0]]
    rng = stream(0, "parts")
    for _ in range(TRIED):
        architecture = space.sample(rng)
        if sum(part[option] for part, option in zip(found, architecture, strict=True)) != size(architecture):
            return None
    return found
