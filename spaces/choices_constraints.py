"""Constraints of ``Choices``: what a user writes, read as expressions of decisions."""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from archsearch.components import import_object
from archsearch.errors import UsageError
from archsearch.spaces.choices_expressions import (
    ABSENT,
    FALSE,
    Count,
    Distinct,
    Expression,
    Extreme,
    Named,
    Product,
    Sum,
    Vacuous,
    Value,
)
from archsearch.spaces.choices_reading import Decision, Part
from archsearch.spaces.choices_statements import Called, Compared, Divided, Joined, Not, Rising

_COMPARISONS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
_DIVISIONS = {ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%"}
_OF_PARTS: dict[str, Callable[[Sequence[Expression]], Expression]] = {
    "sum": lambda parts: Sum.made(0, parts),
    "len": lambda parts: Count.made((ABSENT, 0), parts),
    "min": lambda parts: Extreme.made((False, ABSENT), parts),
    "max": lambda parts: Extreme.made((True, ABSENT), parts),
    "distinct": lambda parts: Distinct.made(frozenset(), parts),
    "rising": lambda parts: Rising.made(ABSENT, parts),
}
FUNCTIONS = (*_OF_PARTS, "count")
"""What an expression can call."""


class Constraint(NamedTuple):
    """A constraint, as far as it is not decided yet.

    Attributes:
        text: What the user wrote.
        expression: What is left to compute.
        waits: Decisions that it names alone and that may turn out not to be made: then it does not count.
    """

    text: str
    expression: Expression
    waits: frozenset[int]

    def put(self, i: int, value: Any) -> Constraint | None:
        """What is left once decision ``i`` has a value, or is ``ABSENT``; None: it holds.

        Raises:
            UsageError: If the value does not suit what is computed.
        """
        if value is ABSENT and i in self.waits:
            return None
        try:
            expression = self.expression.put(i, value)
        except Vacuous:
            return None
        except (TypeError, OverflowError) as error:
            raise UsageError(f"Choices: constraint {self.text!r}: {error}") from None
        assert expression is not None  # it is no decision
        if isinstance(expression, Value):
            if expression.value:
                return None
            expression = FALSE
        return Constraint(self.text, expression, self.waits - {i})

    @property
    def refuses(self) -> bool:
        """Whether it does not hold, whatever follows."""
        return self.expression == FALSE and not self.waits


class Language:
    """What constraints can say of some decisions.

    Args:
        decisions: The decisions.
    """

    def __init__(self, decisions: Sequence[Decision]) -> None:
        self.decisions = decisions

    def read(self, constraint: Any, place: str) -> Constraint:
        """Reads a constraint: an expression, a function whose parameters are decisions, or its import path.

        Args:
            constraint: What a user gave.
            place: Where it stands, for messages.

        Raises:
            UsageError: If it is none of these, or names what is no decision.
        """
        text = constraint if isinstance(constraint, str) else getattr(constraint, "__qualname__", repr(constraint))
        self._where = f"Choices: {place}constraint {text!r}"
        tree = _parsed(constraint, self._where) if isinstance(constraint, str) else None
        if isinstance(tree, ast.Attribute) and (parts := _parts(tree)) and not self._found(parts):
            constraint, tree = import_object(text), None
        try:
            if tree is not None:
                expression = self._expression(tree)
            elif callable(constraint):
                expression = self._called(constraint)
            else:
                raise UsageError(f"{self._where}: expected an expression such as 'depth * width <= 64', or a function")
        except TypeError as error:
            raise UsageError(f"{self._where}: {error}") from None
        waits = frozenset(i for i in expression.names() if self.decisions[i].when)
        return Constraint(text, expression, waits)

    # -- the parts of an expression ----------------------------------------------------------------

    def _expression(self, tree: ast.AST) -> Expression:
        if isinstance(tree, ast.Constant):
            return Value(tree.value)
        if isinstance(tree, ast.BoolOp):
            return Joined.made(isinstance(tree.op, ast.Or), [self._expression(part) for part in tree.values])
        if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Not):
            return Not.made(self._expression(tree.operand))
        if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
            return Product.made(-1, [self._expression(tree.operand)])
        if isinstance(tree, ast.BinOp):
            return self._calculated(tree)
        if isinstance(tree, ast.Compare):
            return self._compared(tree)
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.args and not tree.keywords:
            return self._computed(tree.func.id, tree.args)
        parts = _parts(tree)
        if parts is None:
            self._not_understood(tree)
        found = self._found(parts)
        if isinstance(found, tuple):
            name = ast.unparse(tree)
            raise UsageError(
                f"{self._where}: {name!r} is made several times; write {name}[1] for one of them, or use a function of "
                f"all: {', '.join(FUNCTIONS)}"
            )
        return found or self._unknown(ast.unparse(tree))

    def _calculated(self, tree: ast.BinOp) -> Expression:
        first, second = self._expression(tree.left), self._expression(tree.right)
        if isinstance(tree.op, ast.Add):
            return Sum.made(0, [first, second])
        if isinstance(tree.op, ast.Sub):
            return Sum.made(0, [first, Product.made(-1, [second])])
        if isinstance(tree.op, ast.Mult):
            return Product.made(1, [first, second])
        if type(tree.op) not in _DIVISIONS:
            self._not_understood(tree)
        return Divided.made(_DIVISIONS[type(tree.op)], first, second)

    def _compared(self, tree: ast.Compare) -> Expression:
        found: list[Expression] = []
        sides = [tree.left, *tree.comparators]
        for one, sign, other in zip(sides[:-1], tree.ops, sides[1:], strict=True):
            first = self._expression(one)
            if isinstance(sign, (ast.In, ast.NotIn)):
                listed = isinstance(other, (ast.List, ast.Tuple, ast.Set))
                among = self._parts(other.elts if listed else [other])  # type: ignore[attr-defined]
                inside = Compared.made(">=", Sum.made(0, [_equal(first, each) for each in among]), Value(1))
                found.append(Not.made(inside) if isinstance(sign, ast.NotIn) else inside)
            elif type(sign) in _COMPARISONS:
                found.append(Compared.made(_COMPARISONS[type(sign)], first, self._expression(other)))
            else:
                self._not_understood(tree)
        return found[0] if len(found) == 1 else Joined.made(False, found)

    def _computed(self, name: str, arguments: Sequence[ast.expr]) -> Expression:
        if name == "count":
            what = self._expression(arguments[1]) if len(arguments) == 2 else None
            if not isinstance(what, Value):
                raise UsageError(f"{self._where}: count: expected decisions and a value, as in count(op, 'conv')")
            return Count.made((what.value, 0), self._parts(arguments[:1]))
        if name not in _OF_PARTS:
            raise UsageError(f"{self._where}: {name!r} is no function; expected one of {', '.join(FUNCTIONS)}")
        return _OF_PARTS[name](self._parts(arguments))

    def _parts(self, arguments: Sequence[ast.expr]) -> list[Expression]:
        """Arguments one by one; a decision that is made several times counts as all of them."""
        found: list[Expression] = []
        for argument in arguments:
            parts = _parts(argument)
            some = self._found(parts) if parts else None
            found.extend(some if isinstance(some, tuple) else [self._expression(argument)])
        return found

    def _called(self, function: Callable[..., Any]) -> Expression:
        arguments = []
        for name in inspect.signature(function).parameters:
            arguments.append(self._found([(name, None)]) or self._unknown(name))
        return Called(function, tuple(arguments))

    # -- names -------------------------------------------------------------------------------------

    def _found(self, parts: Sequence[Part]) -> Expression | tuple[Expression, ...] | None:
        """The decision of a name, or all that have it; None: there is none."""
        name, found, several = [part for part, _ in parts], [], False
        for i, decision in enumerate(self.decisions):
            there = decision.parts
            if [part for part, _ in there] == name or decision.name == ".".join(name):
                numbers = [(asked, has) for (_, asked), (_, has) in zip(parts, there, strict=False)]
                if all(asked in (None, has) for asked, has in numbers):
                    found.append(i)
                    several = several or any(asked is None and has for asked, has in numbers)
        made = tuple(self._named(i, several) for i in found)
        return made if several else made[0] if made else None

    def _named(self, i: int, several: bool) -> Expression:
        options = self.decisions[i].options
        numbers = all(isinstance(option, (int, float)) for option in options)
        return Named(i, several, (min(options), max(options)) if numbers else None, not self.decisions[i].when)

    def _unknown(self, name: str) -> NoReturn:
        known = sorted({".".join(part for part, _ in decision.parts) for decision in self.decisions})
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise UsageError(f"{self._where}: {name!r} is no decision; {hint}expected one of {', '.join(known)}")

    def _not_understood(self, tree: ast.AST) -> NoReturn:
        raise UsageError(
            f"{self._where}: {ast.unparse(tree)!r} is not understood; expected decisions, numbers and texts with "
            f"+ - * / // %, < <= > >= == != in, and or not, and the functions {', '.join(FUNCTIONS)}"
        )


def _equal(first: Expression, second: Expression) -> Expression:
    return Compared.made("==", first, second)


def _parsed(text: str, where: str) -> ast.AST:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UsageError(f"{where}: {error}; expected an expression such as 'depth * width <= 64'") from None


def _parts(tree: ast.AST) -> list[Part] | None:
    """A name such as ``block[2].kernel`` taken apart; None: it is none. ``this["odd name"]`` is any name."""
    if isinstance(tree, ast.Name):
        return [(tree.id, None)]
    if isinstance(tree, ast.Attribute):
        before = _parts(tree.value)
        return None if before is None else [*before, (tree.attr, None)]
    if isinstance(tree, ast.Subscript) and isinstance(tree.slice, ast.Constant):
        before, index = _parts(tree.value), tree.slice.value
        if before == [("this", None)] and isinstance(index, str):
            return [(index, None)]
        if before and type(index) is int:
            return [*before[:-1], (before[-1][0], index)]
    return None
