"""Distributions over a space: what has learnt how good architectures are can say how probable each is.

Search by gradient ends in one, and a policy is one. A controller may read it: ``Derived`` proposes what it says is
best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from archsearch.errors import MissingAbility
from archsearch.space import Space
from archsearch.trial import Architecture


@runtime_checkable
class Distribution(Protocol):
    """What knows how probable the architectures of its space are; an evaluator does so after ``prepare``."""

    def probabilities(self, prefix: Architecture) -> Sequence[float]:
        """Of the options of the decision that follows ``prefix``; >= 0, with the sum 1.

        Raises:
            UsageError: If it has not learnt anything yet.
        """
        ...

    def derived(self) -> Architecture:
        """The architecture that the method itself ends with.

        Raises:
            UsageError: If it has not learnt anything yet.
        """
        ...


def distribution_of(evaluator: object, who: str) -> Distribution:
    """The evaluator, if it has a distribution.

    Args:
        evaluator: Any evaluator.
        who: Name of the controller that asks.

    Raises:
        MissingAbility: If it has none.
    """
    if not isinstance(evaluator, Distribution):
        raise MissingAbility(
            f"{who} proposes what an evaluator's distribution says is best, and {type(evaluator).__name__} has none; "
            "use an evaluator that learns one, such as Differentiable, or another controller"
        )
    return evaluator


class Probable(Protocol):
    """What gives probabilities, without being learnt."""

    def probabilities(self, prefix: Architecture) -> Sequence[float]:
        """See ``Distribution``."""
        ...


def draw(distribution: Probable, space: Space, rng: np.random.Generator) -> tuple[float, Architecture]:
    """Draws an architecture, decision by decision; with the logarithm of its probability."""
    prefix: Architecture = ()
    log_probability = 0.0
    while space.arity(prefix):
        p = np.asarray(distribution.probabilities(prefix), float)
        cumulative = p.cumsum()
        # A draw at the very end must not fall on an option that has probability 0.
        option = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
        option = min(option, int(p.nonzero()[0][-1]))
        log_probability += math.log(p[option])
        prefix = (*prefix, option)
    return log_probability, prefix


def most_probable(distribution: Probable, space: Space) -> Architecture:
    """The most probable option of each decision, one after another; of equal ones the first."""
    prefix: Architecture = ()
    while space.arity(prefix):
        prefix = (*prefix, int(np.argmax(distribution.probabilities(prefix))))
    return prefix
