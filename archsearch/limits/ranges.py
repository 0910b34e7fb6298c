"""What a limit is: the most that a figure may be, or the least and the most."""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from archsearch.errors import UsageError

Limit = float | Sequence[float | None] | str
"""The most that a figure may be; or the least and the most, as a pair or in words: ``between 1e6 and 2e6``."""

WORDS = re.compile(r"between\s+(?P<low>\S+)\s+and\s+(?P<high>\S+)|at least\s+(?P<least>\S+)|at most\s+(?P<most>\S+)")

EXPECTED = "expected the most, such as 2e6, or the least and the most, such as [1e6, 2e6] or 'between 1e6 and 2e6'"


class Range(NamedTuple):
    """Where a figure may lie, both ends included.

    Attributes:
        low: The least; minus infinity: there is none.
        high: The most; infinity: there is none.
    """

    low: float
    high: float

    def __contains__(self, figure: object) -> bool:
        """Whether a figure lies there; NaN lies nowhere."""
        return isinstance(figure, numbers.Real) and self.low <= float(figure) <= self.high

    def missed(self, figure: float) -> str:
        """Where a figure outside lies, such as ``4.1e+08 > 3.3e+08``."""
        if math.isnan(figure):
            return "not known"
        return f"{figure:g} < {self.low:g}" if figure < self.low else f"{figure:g} > {self.high:g}"

    def of(self, name: str) -> str:
        """The range of a figure, as text."""
        if math.isinf(self.low):
            return f"{name} <= {self.high:g}"
        return f"{name} >= {self.low:g}" if math.isinf(self.high) else f"{self.low:g} <= {name} <= {self.high:g}"


def range_of(limit: Limit) -> Range:
    """The range that a checked limit stands for.

    Args:
        limit: As ``checked_limits`` gives it.
    """
    if isinstance(limit, Sequence) and not isinstance(limit, str):
        low, high = limit
        return Range(-math.inf if low is None else low, math.inf if high is None else high)
    return Range(-math.inf, float(limit))


def checked_limits(limits: Mapping[str, Limit] | None) -> dict[str, Limit] | None:
    """Limits as plain data: a number, or a list of two, of which one may be None. None if there are no limits.

    Raises:
        UsageError: If one of them is no finite number above 0, and no two of such in order (the least may be 0).
    """
    if not limits:
        return None
    if not isinstance(limits, Mapping):
        raise UsageError(f"limits: expected names and numbers, such as {{'flops': 3e8}}, got {limits!r}")
    return {str(name): _checked(name, limit) for name, limit in limits.items()}


def _checked(name: str, limit: Any) -> Limit:
    if _is_number(limit):
        if not 0 < limit < math.inf:
            raise UsageError(f"limits: {name}: expected a finite number above 0, got {limit!r}")
        return float(limit)
    pair = _of_words(limit) if isinstance(limit, str) else limit
    if not (isinstance(pair, Sequence) and len(pair) == 2) or isinstance(pair, str):
        raise UsageError(f"limits: {name}: {EXPECTED}, got {limit!r}")
    low, high = pair
    if not all(each is None or (_is_number(each) and 0 <= each < math.inf) for each in pair):
        raise UsageError(f"limits: {name}: expected finite numbers, the least >= 0, got {limit!r}")
    if high is not None and (high <= 0 or (low is not None and low > high)):
        raise UsageError(f"limits: {name}: expected the least first, then the most, above 0, got {limit!r}")
    if not low:  # nothing is below 0
        if high is None:
            raise UsageError(f"limits: {name}: {EXPECTED}, got {limit!r}, which limits nothing")
        return float(high)
    return [float(low), None if high is None else float(high)]


def _of_words(text: str) -> tuple[float | None, float | None] | None:
    """The two numbers of ``between LOW and HIGH``, ``at least LOW`` or ``at most HIGH``; None: it is none of these."""
    found = WORDS.fullmatch(text.strip())
    if found is None:
        return None
    low, high = (found[one] or found[other] for one, other in (("low", "least"), ("high", "most")))
    try:
        return None if low is None else float(low), None if high is None else float(high)
    except ValueError:
        return None


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
