"""Discretisations: what the strengths of candidates come to, before the space's rule makes an architecture of them.

The space says how strengths become decisions (``Relaxable.relaxed_probabilities``): by the strongest candidate of each
choice, or in ``DARTS`` by the two strongest edges into each node, from distinct nodes, and never ``none``.
"""

from __future__ import annotations

from collections.abc import Sequence

from archsearch.basics.checks import number
from archsearch.differentiable.part import Part
from archsearch.relaxing import RelaxedChoice


class Discretisation(Part):
    """The space's own rule; base of all others."""

    def strengths(self, strengths: Sequence[Sequence[float]], choices: Sequence[RelaxedChoice]) -> list[list[float]]:
        """What the space's rule is given.

        Args:
            strengths: Of the candidates of each choice.
            choices: The choices.
        """
        return [list(some) for some in strengths]


class Threshold(Discretisation):
    """Leaves a choice empty where no candidate is strong enough (Fair DARTS); only where there is ``none`` to be left.

    In ``DARTS``, whose nodes have two edges each, candidates below it lose to all that are above.

    Args:
        least: Strength, 0 < least < 1, that a candidate must have. The default is ours.
    """

    def __init__(self, least: float = 0.85) -> None:
        self.least = number("Threshold", "least", least, above=0, below=1)

    def strengths(self, strengths: Sequence[Sequence[float]], choices: Sequence[RelaxedChoice]) -> list[list[float]]:
        """See ``Discretisation``."""
        found = []
        for some, choice in zip(strengths, choices, strict=True):
            real = [strength for i, strength in enumerate(some) if i != choice.none]
            if choice.none is None or max(real, default=0.0) >= self.least:
                found.append([strength if i != choice.none else 0.0 for i, strength in enumerate(some)])
            else:
                weak = [strength * 1e-6 for strength in some]
                weak[choice.none] = 1.0
                found.append(weak)
        return found
