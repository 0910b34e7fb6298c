"""Numbers as decisions of ``Choices``: levels in order, evenly spaced or on a logarithmic scale.

A number is a decision with many options that are in order: everything that counts, draws and enumerates options goes on
to work. What is gained by the order: ``mutate`` steps to near levels, and encodings have one column for a number. What
is lost is nothing that training could tell apart: 64 levels of a learning rate over four decades are 16 % apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from archsearch.basics.checks import is_finite

KINDS = ("real", "integer")
KEYS = ("log", "levels")
LEVELS = 64
DIGITS = 6
"""Significant digits of a level."""

NEAR = 0.1
"""Of the whole range: the distance over which the odds of a mutation fall by e."""

FAR = 0.3
"""Share of mutations of a number that go anywhere."""


def Real(low: float, high: float, log: bool = False, levels: int = LEVELS) -> dict[str, Any]:
    """A real number as a decision of ``Choices``: so many levels, both ends among them.

    In a file it is such as ``rate: {real: [1e-5, 0.1], log: true, levels: 64}``.

    Args:
        low: The lowest; with ``log`` above 0.
        high: The highest.
        log: Whether levels are evenly spaced on a logarithmic scale.
        levels: How many, >= 2.
    """
    return {"real": [low, high], "log": log, "levels": levels}


def Integer(low: int, high: int, log: bool = False, levels: int = LEVELS) -> dict[str, Any]:
    """A whole number as a decision of ``Choices``: all of them, or so many levels, both ends among them.

    In a file it is such as ``units: {integer: [1, 512], log: true}``.

    Args:
        low: The lowest; with ``log`` above 0.
        high: The highest.
        log: Whether levels are evenly spaced on a logarithmic scale, up to rounding.
        levels: Most of them, >= 2.
    """
    return {"integer": [low, high], "log": log, "levels": levels}


def with_levels(details: Mapping[Any, Any], refuse: Callable[[str], NoReturn]) -> Mapping[Any, Any]:
    """A decision as it is, or, of a number, with its levels as options and where they lie as ``ordered``.

    Args:
        details: As ``Choices`` takes them.
        refuse: Raises, told what is wrong.
    """
    kind = next((kind for kind in KINDS if kind in details), None)
    if kind is None:
        return details
    rest = {key: value for key, value in details.items() if key not in (kind, *KEYS)}
    if both := [key for key in ("options", "ordered", "decisions", *KINDS) if key in rest]:
        refuse(f"{kind}: expected no {' and no '.join(both)} beside it")
    low, high = _ends(details[kind], kind, refuse)
    log, levels = details.get("log", False), details.get("levels", LEVELS)
    if not isinstance(log, bool) or (log and low <= 0):
        refuse(f"log: expected true or false, and true only of numbers above 0, got {log!r} for {[low, high]}")
    if type(levels) is not int or levels < 2:
        refuse(f"levels: expected a whole number >= 2, got {levels!r}")
    values = _values(low, high, log, levels, kind == "integer")
    return {**rest, "options": values, "ordered": scale_of([math.log(value) if log else value for value in values])}


def _ends(ends: Any, kind: str, refuse: Callable[[str], NoReturn]) -> tuple[Any, Any]:
    whole = kind == "integer"
    sound = isinstance(ends, (list, tuple)) and len(ends) == 2
    if not sound or not all(type(end) is int if whole else is_finite(end) for end in ends) or ends[0] >= ends[1]:
        refuse(f"{kind}: expected the lowest and the highest, two {'whole ' * whole}numbers, got {ends!r}")
    return ends[0], ends[1]


def _values(low: float, high: float, log: bool, levels: int, whole: bool) -> list[Any]:
    """The levels: rising, different, with both ends."""
    if whole:
        levels = min(levels, int(high - low) + 1)
    spaced = np.geomspace(low, high, levels) if log else np.linspace(low, high, levels)
    if whole:
        return sorted({int(low), *(round(value) for value in spaced.tolist()), int(high)})
    return sorted({float(low), *(float(f"{value:.{DIGITS}g}") for value in spaced.tolist()[1:-1]), float(high)})


def scale_of(values: Sequence[float]) -> tuple[float, ...]:
    """Where rising values lie between 0, the first, and 1, the last."""
    span = values[-1] - values[0]
    return tuple((value - values[0]) / span if span else 0.5 for value in values)


def ordered(given: Any, options: Sequence[Any], refuse: Callable[[str], NoReturn]) -> tuple[float, ...] | None:
    """Where options lie between 0 and 1; None: they are in no order."""
    if isinstance(given, tuple):
        return given
    if not isinstance(given, bool):
        refuse(f"ordered: expected true or false, got {given!r}")
    return scale_of(range(len(options))) if given else None


def near(scale: Sequence[float], current: int, rng: np.random.Generator) -> int:
    """Another option, the likelier the nearer it is.

    Args:
        scale: Where two or more options lie, between 0 and 1.
        current: The option that it is not to be.
        rng: Where chance comes from.
    """
    weights = np.exp(-np.abs(np.asarray(scale) - scale[current]) / NEAR)
    weights[current] = 0.0
    share = (1 - FAR) * weights / weights.sum() if weights.sum() > 0 else np.zeros(len(scale))
    share = share + FAR / (len(scale) - 1)
    share[current] = 0.0
    return int(rng.choice(len(scale), p=share / share.sum()))
