"""How a search that grows begins and goes on, in spaces with moves and in all others."""

from __future__ import annotations

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
