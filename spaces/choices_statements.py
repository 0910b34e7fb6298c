"""Statements on decisions, which are decided bit by bit as decisions are made; see ``choices_expressions``."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from archsearch.spaces.choices_expressions import (
    ABSENT,
    FALSE,
    TRUE,
    Bounds,
    Expression,
    Value,
    names_of,
    put_all,
)

COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
DIVISIONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Rising(Expression):
    """Whether no part is less than the one before; ``last``: the one before the first part, ``ABSENT`` if none is."""

    last: Any
    parts: tuple[Expression, ...]

    def put(self, i: int, value: Any) -> Expression | None:
        """See ``Expression``."""
        return self.made(self.last, put_all(self.parts, i, value))

    @classmethod
    def made(cls, last: Any, parts: Sequence[Expression]) -> Expression:
        """The expression without the parts at its begin that are known."""
        for place, part in enumerate(parts):
            if not isinstance(part, Value):
                return cls(last, tuple(parts[place:]))
            if last is not ABSENT and part.value < last:
                return FALSE
            last = part.value
        return TRUE

    def names(self) -> set[int]:
        """See ``Expression``."""
        return names_of(self.parts)


@dataclasses.dataclass(frozen=True, slots=True)
class Pair(Expression):
    """Two parts, and a sign between them."""

    sign: str
    first: Expression
    second: Expression

    @classmethod
    def made(cls, sign: str, first: Expression, second: Expression) -> Expression:
        """The expression, or what is certain of it."""
        raise NotImplementedError

    def put(self, i: int, value: Any) -> Expression | None:
        """See ``Expression``."""
        first, second = self.first.put(i, value), self.second.put(i, value)
        return None if first is None or second is None else self.made(self.sign, first, second)

    def names(self) -> set[int]:
        """See ``Expression``."""
        return names_of((self.first, self.second))


@dataclasses.dataclass(frozen=True, slots=True)
class Divided(Pair):
    """A quotient, its whole part, or a remainder."""

    @classmethod
    def made(cls, sign: str, first: Expression, second: Expression) -> Expression:
        """The expression, or its value; a division by 0 is infinite, its remainder 0."""
        if not isinstance(first, Value) or not isinstance(second, Value):
            return cls(sign, first, second)
        if second.value == 0:
            return Value(0 if sign == "%" else math.inf)
        return Value(DIVISIONS[sign](first.value, second.value))


@dataclasses.dataclass(frozen=True, slots=True)
class Compared(Pair):
    """Whether two parts are in an order."""

    @classmethod
    def made(cls, sign: str, first: Expression, second: Expression) -> Expression:
        """The expression, or whether it holds where that is certain."""
        if isinstance(first, Value) and isinstance(second, Value):
            return Value(bool(COMPARISONS[sign](first.value, second.value)))
        one, other = first.bounds(), second.bounds()
        if one is None or other is None:
            return cls(sign, first, second)
        if sign in (">", ">="):
            one, other = other, one
        if sign in ("<", ">", "<=", ">="):
            compare = COMPARISONS["<" if sign in ("<", ">") else "<="]
            if compare(one[1], other[0]):
                return TRUE
            if not compare(one[0], other[1]):
                return FALSE
        elif one[1] < other[0] or other[1] < one[0]:
            return Value(sign == "!=")
        return cls(sign, first, second)

    def bounds(self) -> Bounds | None:
        """See ``Expression``."""
        return (0, 1)


@dataclasses.dataclass(frozen=True, slots=True)
class Joined(Expression):
    """Whether any part holds, or all do."""

    either: bool
    parts: tuple[Expression, ...]

    def put(self, i: int, value: Any) -> Expression | None:
        """See ``Expression``."""
        return self.made(self.either, put_all(self.parts, i, value))

    @classmethod
    def made(cls, either: bool, parts: Sequence[Expression]) -> Expression:
        """The expression without the parts that are known, or its value."""
        if [part for part in parts if isinstance(part, Value) and bool(part.value) == either]:
            return Value(either)
        unknown = [part for part in parts if not isinstance(part, Value)]
        return cls(either, tuple(unknown)) if unknown else Value(not either)

    def names(self) -> set[int]:
        """See ``Expression``."""
        return names_of(self.parts)


@dataclasses.dataclass(frozen=True, slots=True)
class Not(Expression):
    """Whether a part does not hold."""

    part: Expression

    def put(self, i: int, value: Any) -> Expression | None:
        """See ``Expression``."""
        changed = self.part.put(i, value)
        return changed if changed is None else self.made(changed)

    @classmethod
    def made(cls, part: Expression) -> Expression:
        """The expression, or its value."""
        return Value(not part.value) if isinstance(part, Value) else cls(part)

    def names(self) -> set[int]:
        """See ``Expression``."""
        return self.part.names()


@dataclasses.dataclass(frozen=True, slots=True)
class Called(Expression):
    """What a function of a user's own says of decisions, each one or a list; it is asked when all are known."""

    function: Callable[..., Any]
    arguments: tuple[Expression | tuple[Expression, ...], ...]

    def put(self, i: int, value: Any) -> Expression | None:
        """See ``Expression``."""
        changed: list[Expression | tuple[Expression, ...]] = []
        for argument in self.arguments:
            if isinstance(argument, tuple):
                changed.append(tuple(put_all(argument, i, value)))
            elif (put := argument.put(i, value)) is not None:
                changed.append(put)
        flat = [each for argument in changed for each in (argument if isinstance(argument, tuple) else (argument,))]
        if not all(isinstance(each, Value) for each in flat):
            return Called(self.function, tuple(changed))
        known = [[each.value for each in a] if isinstance(a, tuple) else a.value for a in changed]  # type: ignore[attr-defined]
        return Value(bool(self.function(*known)))

    def names(self) -> set[int]:
        """See ``Expression``."""
        return names_of([argument for argument in self.arguments if not isinstance(argument, tuple)])
