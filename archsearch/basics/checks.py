"""What users give, checked once, with one message: numbers, which are turned into Python's own, and objects.

NaN passes every comparison with ``<`` or ``>`` that is made the wrong way round, infinity makes an end that never
comes, and True is 1 where nobody meant it: none of them is taken where a number is expected. NumPy's numbers are.
"""

from __future__ import annotations

import math
import numbers
from typing import Any

from archsearch.errors import UsageError


def is_finite(value: object) -> bool:
    """Whether ``value`` is a number, and neither infinite nor NaN; True and False are none."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number above every float
        return False


def is_option(option: object, n: int) -> bool:
    """Whether ``option`` is one of the ``n`` options of a decision, counted from 0; True and False are none."""
    return isinstance(option, int) and not isinstance(option, bool) and 0 <= option < n


def whole_number(owner: str, name: str, value: int, low: int = 0, high: int | None = None) -> int:
    """``value`` as an ``int`` if it is a whole number from ``low`` up to ``high``.

    Args:
        owner: Whose setting it is, for the message.
        name: Of the setting.
        value: What came; NumPy's integers are taken, True, False and floats are not.
        low: The least.
        high: The most; None: any.

    Raises:
        UsageError: If it is none; the message names the owner and the setting.
    """
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        asked = f">= {low}" if high is None else f"from {low} to {high}"
        raise _refused(owner, name, f"a whole number {asked}", value)
    return int(value)


def at_least_one(owner: str, name: str, value: int) -> int:
    """``value`` as an ``int`` if it is a whole number >= 1; see ``whole_number``."""
    return whole_number(owner, name, value, 1)


def number(
    owner: str,
    name: str,
    value: float,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    below: float | None = None,
) -> float:
    """``value`` as Python's own number if it is finite and within the bounds; a whole number stays one.

    Args:
        owner: Whose setting it is, for the message.
        name: Of the setting.
        value: What came; NumPy's numbers are taken, True and False are not.
        low: The least; None: any.
        above: It must be above this; None: any.
        high: The most; None: any.
        below: It must be below this; None: any.

    Raises:
        UsageError: If it is none; the message names the owner and the setting.
    """
    sound = (
        is_finite(value)
        and (low is None or value >= low)
        and (above is None or value > above)
        and (high is None or value <= high)
        and (below is None or value < below)
    )
    if not sound:
        raise _refused(owner, name, f"a finite number{_bounds(low, above, high, below)}", value)
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def instance_of(owner: str, name: str, value: object, base: type[Any], *, function: str = "") -> None:
    """Refuses what is no instance of a class, and says what to write.

    Args:
        owner: Whose argument it is, for the message.
        name: Of the argument.
        value: What came.
        base: Of which class it must be.
        function: What makes one of a function, such as ``Function(...)``; empty: nothing does.

    Raises:
        UsageError: If it is none; a class where an instance is meant, a function, or something else.
    """
    if isinstance(value, base):
        return
    expected = f"{owner}: {name}: expected an instance of {base.__name__}"
    if isinstance(value, type) and issubclass(value, base):
        raise UsageError(f"{expected}, got the class {value.__name__}; write {value.__name__}(...)")
    if function and callable(value):
        raise UsageError(f"{expected}, got a function; write {function}")
    if isinstance(value, str):
        raise UsageError(f"{expected}, got the text {value!r:.80}; import the class and write {value:.40}(...)")
    raise UsageError(
        f"{expected}, got {type(value).__name__}; are the arguments in order: space, controller, evaluator?"
    )


def _bounds(low: float | None, above: float | None, high: float | None, below: float | None) -> str:
    """In words, such as ``from 0 to below 1``."""
    end = f"{high:g}" if high is not None else "" if below is None else f"below {below:g}"
    if low is not None:
        return f" from {low:g} to {end}" if end else f" >= {low:g}"
    if above is not None:
        return f" above {above:g}" + (f" and {'up to ' if high is not None else ''}{end}" if end else "")
    return f" {'up to ' if high is not None else ''}{end}" if end else ""


def _refused(owner: str, name: str, expected: str, value: object) -> UsageError:
    text = repr(value)
    if len(text) > 80:
        text = f"{text[:80]}..."
    return UsageError(f"{owner}: {name}: expected {expected}, got {text}")
