"""How sure a search is to be of its winner: the settings, checked."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from archsearch.basics.checks import number
from archsearch.errors import UsageError
from archsearch.evaluator import Evaluator

MOST_ERROR, MOST_SHARE = 0.5, 0.9

REPEATS_EACH = 5
"""Repeats that a race can afford for each of those that it begins with, on average; the better ones get more."""

FEWEST = 4
"""Repeats of which a race can be made: two of each of two."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Certainty:
    """How sure a search is to be of its winner, and what that may cost.

    Args:
        error: Share of searches, above 0 and below 0.5, in which the best that was evaluated may be missing among those
            that are said to be indistinguishable from the leader.
        share: Share of the budget (``trials``, ``max_cost``, ``max_seconds``), from 0 to 0.9, that is kept for scoring
            the best again under other seeds; 0: none is scored again, and the noise is known only where an evaluator
            says it or the search itself scored architectures several times.

    Raises:
        UsageError: If one of them is out of range.
    """

    error: float = 0.05
    share: float = 0.2

    def __post_init__(self) -> None:
        object.__setattr__(self, "error", float(number("certainty", "error", self.error, above=0, below=MOST_ERROR)))
        object.__setattr__(self, "share", float(number("certainty", "share", self.share, low=0, high=MOST_SHARE)))

    def kept(self, amount: int) -> int:
        """Of so many evaluations those that are kept for repeats."""
        return int(self.share * amount + 1e-9)


def certainty_of(value: Any) -> Certainty | None:
    """Settings from what a user may give: an error rate, a mapping of both, such as a file has, or the settings.

    Raises:
        UsageError: If it is none of these.
    """
    if value is None or isinstance(value, Certainty):
        return value
    names = [field.name for field in dataclasses.fields(Certainty)]
    if isinstance(value, Mapping) and set(value) <= set(names):
        return Certainty(**value)
    if isinstance(value, (Mapping, str)):
        raise UsageError(
            f"certainty: expected an error rate, such as 0.05, or {' and '.join(names)}, such as "
            f"{{error: 0.05, share: 0.2}}, got {value!r}"
        )
    return Certainty(error=value)


@functools.lru_cache(maxsize=64)
def contenders(repeats: int) -> int:
    """How many a race begins with that can afford so many repeats; 0: there can be none."""
    return 0 if repeats < FEWEST else max(2, repeats // REPEATS_EACH)


def proposals(trials: int | None, certainty: Any, noise: float | None) -> int | None:
    """How many of so many trials are proposals, without those that are kept for repeats; None: not known.

    Args:
        trials: In all.
        certainty: As ``certainty_of`` takes it.
        noise: What the evaluator says is the standard deviation of a score; None: nothing.
    """
    wanted = certainty_of(certainty)
    if trials is None or wanted is None or noise == 0.0:
        return trials
    return trials - wanted.kept(trials)


def noise_of(evaluator: Evaluator) -> float | None:
    """What an evaluator says is the standard deviation of its scores under other seeds; None: nothing.

    Raises:
        UsageError: If it says anything but a finite number >= 0.
    """
    noise = evaluator.score_noise
    return None if noise is None else float(number(type(evaluator).__name__, "score_noise", noise, low=0))
