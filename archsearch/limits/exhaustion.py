"""Whether a small space is used up: nothing that a controller may still propose would be evaluated.

Of interest to searches that answer repeats from memory. Without it such a search ends after thousands of repeats in a
row, for each of which a controller may fit a model.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable

from archsearch.limits.limits import Limits
from archsearch.space import Space
from archsearch.trial import Architecture

SMALL = 20_000
"""Most architectures of a space that are counted by their canonical forms."""

SMALL_WITH_LIMITS = 256
"""As ``SMALL``, where each has to be measured too."""

WORTH_COUNTING = 50
"""Proposals in a row that led to no evaluation after which it is."""


class Exhaustion:
    """Counts what there is to evaluate, once it is asked for.

    Args:
        space: What is searched.
        budgets: Lengths of training that the controller asks for; empty if it leaves that to the evaluator.
        limits: What may be evaluated; None: everything.
        excess: Why an architecture is not to be evaluated; empty: it may be. None: as the limits say.
    """

    def __init__(
        self,
        space: Space,
        budgets: Iterable[int],
        limits: Limits | None,
        excess: Callable[[Architecture], str] | None = None,
    ) -> None:
        self._space = space
        self._lengths = max(1, len(set(budgets)))
        self._limits = limits
        self._excess = excess

    def complete(self, known: Iterable[Hashable], pending: Iterable[Hashable] = ()) -> bool:
        """Whether so many were evaluated, or are about to be, that there are no others.

        Args:
            known: The ``memory_key`` of what was evaluated, all different.
            pending: That of what is being evaluated.
        """
        return self.possible is not None and len({*known, *pending}) >= self.possible

    @functools.cached_property
    def possible(self) -> int | None:
        """Evaluations with answers of their own that there can be; None: too many to count."""
        size = self._space.size()
        if size is None or size > (SMALL if self._limits is None else SMALL_WITH_LIMITS):
            return None
        forms = {self._space.canonical(each) for each in self._space.enumerate() if self._allows(each)}
        return len(forms) * self._lengths

    def _allows(self, architecture: Architecture) -> bool:
        if self._excess is not None:
            return not self._excess(architecture)
        return self._limits is None or not self._limits.excess(architecture)
