"""How a search that grows begins and goes on, in spaces with moves and in all others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from archsearch.abilities import Move, Moving
from archsearch.space import Space
from archsearch.trial import Architecture


def begun(space: Space, rng: np.random.Generator) -> Architecture:
    """Where to begin: at the space's start, if it has moves; else anywhere."""
    return space.start if isinstance(space, Moving) else space.sample(rng)


def moved(space: Space, architecture: Architecture, rng: np.random.Generator) -> Move:
    """A move that is drawn; where there is none, a mutation."""
    move = space.move(architecture, rng) if isinstance(space, Moving) else None
    return move or Move("mutation", space.mutate(architecture, rng))


def known(space: Moving, parent: Architecture, ways: Sequence[Architecture]) -> int:
    """How many of the moves from a parent to make, all of which claim to keep its function.

    Only the parent travels with a proposal, so where its nodes lie in the child is found again from the two; of several
    moves at once that seldom fails, of one never.

    Args:
        space: Where.
        parent: Where the moves begin.
        ways: What each of them leads to, one after another; at least one.
    """
    return max((n for n, child in enumerate(ways, 1) if space.preserves(parent, child)), default=1)
