"""Which architectures of a space are the smallest, and which are one step larger than a given one.

Size is the number of decisions, so this serves every space whose architectures differ in it: cells of more and more
nodes, ``Choices`` with a decision that is repeated, chains of layers. One step larger are those that differ in one
decision, keep all others that remain, by name, and have the fewest decisions more: where a decision says how many
blocks there are, exactly those with one block more.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator, Mapping

import numpy as np

from archsearch.space import COUNT_LIMIT, Space
from archsearch.trial import Architecture


class Growing:
    """Sizes in a space.

    Args:
        space: Any; in one of fixed length all architectures are the smallest, and none can grow.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self._fewest: dict[Hashable, int] = {}

    def smallest(self, most: int, rng: np.random.Generator) -> list[Architecture]:
        """The architectures with the fewest decisions; so many of them, drawn, where there are more than ``most``."""
        return self._some([()], {}, self._left(()), most, rng)

    def grown(self, architecture: Architecture, most: int, rng: np.random.Generator) -> list[Architecture]:
        """Those one step larger than an architecture; so many of them, drawn, where there are more than ``most``."""
        space = self.space
        if space.arities is not None:
            return []
        wishes = {
            space.label(architecture[:i]): space.meanings(architecture[:i])[o] for i, o in enumerate(architecture)
        }
        begun = []
        for i, current in enumerate(architecture):
            for option in range(space.arity(architecture[:i])):
                if option != current:
                    prefix = self._forced((*architecture[:i], option), wishes)
                    if len(prefix) > len(architecture) or space.arity(prefix):  # most changes end here: no larger
                        begun.append(prefix)
        least = min((len(prefix) + self._left(prefix) for prefix in begun), default=space.max_length + 1)
        for size in range(max(least, len(architecture) + 1), space.max_length + 1):
            if found := self._some(begun, wishes, size, most, rng):
                return found
        return []

    def _forced(self, prefix: Architecture, wishes: Mapping[str, int]) -> Architecture:
        """The prefix with all decisions that follow and are kept, up to the first that is free."""
        while self.space.arity(prefix):
            wish, meanings = wishes.get(self.space.label(prefix)), self.space.meanings(prefix)
            if wish is None or wish not in meanings:
                break
            prefix = (*prefix, meanings.index(wish))
        return prefix

    def _some(
        self,
        begun: list[Architecture],
        wishes: Mapping[str, int],
        size: int,
        most: int,
        rng: np.random.Generator,
    ) -> list[Architecture]:
        """The architectures of a size that begin in one of these ways; drawn, where there are more than ``most``."""
        begun = [prefix for prefix in begun if len(prefix) + self._left(prefix) <= size]
        walks = itertools.chain.from_iterable(self._walk(prefix, wishes, size) for prefix in begun)
        found = list(itertools.islice(walks, most + 1))
        if len(found) <= most:
            return found
        drawn: dict[Architecture, None] = {}
        for _ in range(most):
            prefix = begun[int(rng.integers(len(begun)))]
            drawn.update(dict.fromkeys(itertools.islice(self._walk(prefix, wishes, size, rng), 1)))
        return list(drawn)

    def _walk(
        self, prefix: Architecture, wishes: Mapping[str, int], size: int, rng: np.random.Generator | None = None
    ) -> Iterator[Architecture]:
        """All architectures of a size that begin so, wished options taken where valid; with ``rng`` in random order."""
        prefix = self._forced(prefix, wishes) if wishes else prefix
        if len(prefix) + self._left(prefix) > size:
            return
        n = self.space.arity(prefix)
        if n:
            for option in range(n) if rng is None else rng.permutation(n).tolist():
                yield from self._walk((*prefix, option), wishes, size, rng)
        elif len(prefix) == size:
            yield prefix

    def _left(self, prefix: Architecture) -> int:
        """The fewest decisions that complete a prefix; at least no more, once ``COUNT_LIMIT`` sub-trees were seen."""
        if self.space.arities is not None:
            return self.space.max_length - len(prefix)
        key = self.space.subtree(prefix)
        if key not in self._fewest:
            n = self.space.arity(prefix)
            if len(self._fewest) >= COUNT_LIMIT:
                return min(n, 1)
            self._fewest[key] = 1 + min(self._left((*prefix, option)) for option in range(n)) if n else 0
        return self._fewest[key]
