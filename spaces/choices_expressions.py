"""Expressions of decisions, which are computed bit by bit as decisions are made.

``put`` gives the expression that is left once a decision has a value, as simple as it gets: of ``sum(width) <= 100``
remains the sum so far; nothing but true once the rest cannot exceed the limit, nothing but false once it must. So two
beginnings that leave equal expressions have the same ends, which is what makes counting quick.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

ABSENT = object()
"""What is put in for a decision that is not made."""

Bounds = tuple[float, float]


class Vacuous(Exception):
    """A decision that the expression names alone is not made, or there is none to take the greatest or least of."""


@dataclasses.dataclass(frozen=True, slots=True)
class Expression:
    """A part of an expression."""

    def put(self, i: int, value: Any) -> Expression | None:
        """What is left once decision ``i`` has a value, or is ``ABSENT``.

        Returns:
            None where this is one of several decisions, and is not made.

        Raises:
            Vacuous: If it is named alone, and is not made.
            TypeError: If its value does not suit what is computed.
        """
        return self

    def bounds(self) -> Bounds | None:
        """The least and the greatest number that it can become; None: not known, or no number."""
        return None

    def names(self) -> set[int]:
        """The decisions that it names alone, not as one of several."""
        return set()


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Value(Expression):
    """What is known."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and repr(self.value) == repr(other.value)

    def __hash__(self) -> int:
        return hash(repr(self.value))

    def bounds(self) -> Bounds | None:
        """See ``Expression``."""
        return (self.value, self.value) if isinstance(self.value, (int, float)) else None


TRUE, FALSE = Value(True), Value(False)


@dataclasses.dataclass(frozen=True, slots=True)
class Named(Expression):
    """A decision.

    Attributes:
        i: Its position.
        several: Whether it is one of several that have a name in common, and just left out where it is not made.
        range: Its least and its greatest option, if all are numbers.
        sure: Whether it is made in any case.
    """

    i: int
    several: bool
    range: Bounds | None
    sure: bool

    def put(self, i: int, value: Any) -> Expression | None:
        """See ``Expression``."""
        if i != self.i:
            return self
        if value is not ABSENT:
            return Value(value)
        if not self.several:
            raise Vacuous
        return None

    def bounds(self) -> Bounds | None:
        """See ``Expression``."""
        return self.range

    def names(self) -> set[int]:
        """See ``Expression``."""
        return set() if self.several else {self.i}


def put_all(parts: Sequence[Expression], i: int, value: Any) -> list[Expression]:
    """See ``Expression.put``; without the parts that are not made."""
    changed = (part.put(i, value) for part in parts)
    return [part for part in changed if part is not None]


def _may_lack(part: Expression) -> bool:
    return isinstance(part, Named) and part.several and not part.sure


def names_of(parts: Sequence[Expression]) -> set[int]:
    """See ``Expression.names``."""
    return {i for part in parts for i in part.names()}


@dataclasses.dataclass(frozen=True, slots=True)
class _Parts(Expression):
    """An expression of parts: ``known`` is what those that are known come to, ``parts`` are the others."""

    known: Any
    parts: tuple[Expression, ...]

    def put(self, i: int, value: Any) -> Expression | None:
        """See ``Expression``."""
        return self.made(self.known, put_all(self.parts, i, value))

    @classmethod
    def made(cls, known: Any, parts: Sequence[Expression]) -> Expression:
        """The expression, with what is known of the parts taken in."""
        open_parts: list[Expression] = []
        for part in parts:
            if isinstance(part, cls) and cls in (Sum, Product):  # a sum in a sum
                known = cls.joined(known, part.known)
                open_parts.extend(part.parts)
            elif isinstance(part, Value):
                known = cls.joined(known, part.value)
            else:
                open_parts.append(part)
        return cls(known, tuple(open_parts)) if open_parts else cls.result(known)

    @classmethod
    def joined(cls, known: Any, value: Any) -> Any:
        """What is known, and one value more."""
        raise NotImplementedError

    @classmethod
    def result(cls, known: Any) -> Expression:
        """What all parts come to, once they are known."""
        return Value(known)

    def names(self) -> set[int]:
        """See ``Expression``."""
        return names_of(self.parts)

    def _each(self, lacking: Bounds) -> list[Bounds] | None:
        """The bounds of the parts; of one that may not be there with ``lacking`` among them."""
        found = []
        for part in self.parts:
            bounds = part.bounds()
            if bounds is None:
                return None
            if _may_lack(part):
                bounds = (min(bounds[0], lacking[0]), max(bounds[1], lacking[1]))
            found.append(bounds)
        return found


@dataclasses.dataclass(frozen=True, slots=True)
class Sum(_Parts):
    """Parts added up."""

    @classmethod
    def joined(cls, known: Any, value: Any) -> Any:
        """See ``_Parts``."""
        return known + value

    def bounds(self) -> Bounds | None:
        """See ``Expression``."""
        each = self._each((0, 0))
        if each is None:
            return None
        return self.known + sum(low for low, _ in each), self.known + sum(high for _, high in each)


@dataclasses.dataclass(frozen=True, slots=True)
class Product(_Parts):
    """Parts multiplied."""

    @classmethod
    def joined(cls, known: Any, value: Any) -> Any:
        """See ``_Parts``."""
        return known * value

    def bounds(self) -> Bounds | None:
        """See ``Expression``."""
        each = self._each((1, 1))
        if each is None:
            return None
        low = high = self.known
        for bounds in each:
            corners = [one * other for one in (low, high) for other in bounds]
            low, high = min(corners), max(corners)
        return low, high


@dataclasses.dataclass(frozen=True, slots=True)
class Extreme(_Parts):
    """The greatest or the least of some parts; ``known``: which of the two, and the best so far (``ABSENT``: none)."""

    @classmethod
    def joined(cls, known: Any, value: Any) -> Any:
        """See ``_Parts``."""
        greatest, best = known
        if best is ABSENT or (value > best if greatest else value < best):
            best = value
        return greatest, best

    @classmethod
    def result(cls, known: Any) -> Expression:
        """See ``_Parts``."""
        if known[1] is ABSENT:
            raise Vacuous
        return Value(known[1])

    def bounds(self) -> Bounds | None:
        """See ``Expression``."""
        greatest, best = self.known
        each = [part.bounds() for part in self.parts]
        sure = [bounds for bounds, part in zip(each, self.parts, strict=True) if bounds and not _may_lack(part)]
        if None in each or (best is ABSENT and not sure):
            return None
        known = [] if best is ABSENT else [(best, best)]
        low, high = zip(*[*known, *(bounds for bounds in each if bounds)], strict=True)
        certain_low, certain_high = zip(*[*known, *sure], strict=True)
        return (max(certain_low), max(high)) if greatest else (min(low), min(certain_high))


@dataclasses.dataclass(frozen=True, slots=True)
class Count(_Parts):
    """How many parts are there, or equal a value; ``known``: the value (``ABSENT``: any), and how many so far."""

    @classmethod
    def joined(cls, known: Any, value: Any) -> Any:
        """See ``_Parts``."""
        what, n = known
        return what, n + (what is ABSENT or what == value)

    @classmethod
    def result(cls, known: Any) -> Expression:
        """See ``_Parts``."""
        return Value(known[1])

    def bounds(self) -> Bounds | None:
        """See ``Expression``."""
        return self.known[1], self.known[1] + len(self.parts)


@dataclasses.dataclass(frozen=True, slots=True)
class Distinct(_Parts):
    """How many different values there are; ``known``: their texts so far."""

    @classmethod
    def joined(cls, known: Any, value: Any) -> Any:
        """See ``_Parts``."""
        return known | {repr(value)}

    @classmethod
    def result(cls, known: Any) -> Expression:
        """See ``_Parts``."""
        return Value(len(known))

    def bounds(self) -> Bounds | None:
        """See ``Expression``."""
        return len(self.known), len(self.known) + len(self.parts)
