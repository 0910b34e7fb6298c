"""The rows of a latency table: one for each option of each decision where these add up, else one for each block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from archsearch.limits.composition import Composition
from archsearch.space import Space
from archsearch.trial import Architecture

QUIET = 50
MOST = 3_000
"""Random architectures are drawn until so many in a row had no new block, or so many were drawn in all."""

TRIED = 30
"""Random architectures by which is tried whether the blocks of a space add up over its decisions."""

Counts = Mapping[str, int]


def discover(space: Space, composition: Composition, rng: np.random.Generator) -> None:
    """Meets the blocks that a space can need: all of them, in most spaces."""
    for architecture in _one_by_one(space):
        composition.count(architecture)
    known, quiet = len(composition.blocks), 0
    for _ in range(MOST):
        composition.count(space.sample(rng))
        quiet = quiet + 1 if len(composition.blocks) == known else 0
        known = len(composition.blocks)
        if quiet >= QUIET:
            return


def _one_by_one(space: Space) -> Iterator[Architecture]:
    """Every option of every decision once, the others as they are in the first architecture."""
    if space.arities is None:
        return
    for position, arity in enumerate(space.arities):
        for option in range(arity):
            architecture = [0] * len(space.arities)
            architecture[position] = option
            if tuple(architecture) in space:
                yield tuple(architecture)


def by_decision(
    space: Space, count: Callable[[Architecture], Counter[str]], rng: np.random.Generator
) -> dict[tuple[str, int], Counter[str]] | None:
    """The blocks of each option of each decision, and of the fixed part, ``("", 0)``; None if they do not add up.

    Args:
        space: Any.
        count: Says how often an architecture calls each block.
        rng: Draws architectures that it is tried by.
    """
    if space.arities is None:
        return None
    base = (0,) * len(space.arities)
    fixed = Counter(count(base))
    found: dict[tuple[str, int], Counter[str]] = {}
    for position, arity in enumerate(space.arities):
        changed = [(*base[:position], option, *base[position + 1 :]) for option in range(arity)]
        if any(each not in space for each in changed):
            return None
        counts = [count(each) for each in changed]
        # What all options have is none of theirs.
        shared = Counter({key: min(each[key] for each in counts) for each in counts for key in each})
        fixed.subtract(counts[0])
        fixed.update(shared)
        for option, each in enumerate(counts):
            own = Counter(each)
            own.subtract(shared)
            found[space.label(base[:position]), option] = +own
    # ``fixed`` has by now lost the first option's own blocks of every decision: that is what is shared by all.
    if any(times < 0 for times in fixed.values()):
        return None
    found["", 0] = +fixed
    for _ in range(TRIED):
        architecture = space.sample(rng)
        total = Counter(found["", 0])
        for position, option in enumerate(architecture):
            total.update(found[space.label(architecture[:position]), option])
        if +total != count(architecture):
            return None
    return found


def added(counts: Counts, seconds: Mapping[str, float]) -> float:
    """The sum over blocks."""
    return sum(times * seconds[key] for key, times in counts.items())


def as_columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Rows as columns."""
    return {name: [row[name] for row in rows] for name in rows[0]}
