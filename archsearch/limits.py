"""Limits on what may be evaluated, such as parameters, multiply-adds and latency.

They belong to the search, whoever proposes: the search asks here before it evaluates anything. The latency of an
architecture can come from a table of measured parts, as in ProxylessNAS (Cai, Zhu & Han, ICLR 2019), FBNet (Wu et
al., CVPR 2019) and Once-for-All (Cai et al., ICLR 2020): it is the sum over the architecture's decisions.
"""

from __future__ import annotations

import functools
import math
import numbers
import warnings
from collections import deque
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path

import numpy as np

from archsearch.checks import is_finite
from archsearch.errors import ArchsearchError, TableError, UsageError
from archsearch.evaluator import Evaluator
from archsearch.gate import figures_of
from archsearch.space import Space
from archsearch.tables import numbers as column_of_numbers
from archsearch.tables import read_table
from archsearch.trial import Architecture

LATENCY = "latency_seconds"
"""What a latency table gives."""

REMEMBERED = 10_000
"""Architectures whose figures are remembered: proposals repeat, and measuring a network takes milliseconds."""

WALKED = 5_000
SAMPLED = 200
"""So many decisions of a conditional space are looked for in a latency table and, if it has more, so many samples."""


class Limits:
    """Says whether an architecture may be evaluated.

    Args:
        space: What is searched.
        evaluator: Started; its ``measure`` gives the figures.
        limits: The most that each figure may be.
        latency_table: File from which ``latency_seconds`` is taken instead; see ``LatencyTable``.

    Raises:
        UsageError: If a limit is on something that is not measured.
        TableError: If the table cannot be used.
    """

    def __init__(
        self, space: Space, evaluator: Evaluator, limits: Mapping[str, float], latency_table: str | Path | None = None
    ) -> None:
        self.limits = dict(limits)
        self._evaluator = evaluator
        self._latency = None if latency_table is None else LatencyTable(latency_table, space)
        self._check_names(self._first_measure(space.sample(np.random.default_rng(0))))
        self.figures = functools.lru_cache(maxsize=REMEMBERED)(self._figures)

    def _first_measure(self, architecture: Architecture) -> Mapping[str, float]:
        try:
            return figures_of(self._evaluator, architecture)
        except ArchsearchError:
            raise
        except Exception as error:
            name = type(self._evaluator).__name__
            raise UsageError(
                f"limits: {name}.measure failed, so nothing can be limited: {type(error).__name__}: {error}"
            ) from error

    def _check_names(self, measured: Mapping[str, float]) -> None:
        known = [*measured, *([LATENCY] if self._latency and LATENCY not in measured else [])]
        unknown = [name for name in self.limits if name not in known]
        if not unknown:
            return
        name = type(self._evaluator).__name__
        gives = ", ".join(measured) if measured else "nothing of an architecture before it scores it"
        hint = f"; give a latency_table for {LATENCY}" if LATENCY in unknown else ""
        raise UsageError(f"limits: {', '.join(unknown)} cannot be limited: {name} measures {gives}{hint}")

    def _figures(self, architecture: Architecture) -> dict[str, float]:
        """What is limited, of one architecture; NaN: not known."""
        measured: Mapping[str, float] = {}
        if self.limits.keys() - {LATENCY} or not self._latency:
            try:
                measured = figures_of(self._evaluator, architecture)
            except Exception as error:  # of somebody's own code, which must not end a search
                warnings.warn(
                    f"{type(self._evaluator).__name__}.measure failed, so such architectures count as beyond the "
                    f"limits: {type(error).__name__}: {error}",
                    stacklevel=2,
                )
        # Infinity as the least of all is as unknown as NaN.
        found = {name: measured[name] if is_finite(measured.get(name)) else math.nan for name in self.limits}
        if self._latency and LATENCY in found:
            found[LATENCY] = self._latency.seconds(architecture)
        return found

    def excess(self, architecture: Architecture) -> str:
        """Which limits an architecture exceeds, such as ``flops 4.1e+08 > 3.3e+08``; empty: none.

        A figure that is not known exceeds its limit.

        Args:
            architecture: A member of the space.
        """
        figures = self.figures(architecture)
        return ", ".join(
            f"{name} {'not known' if math.isnan(figures[name]) else f'{figures[name]:g} > {limit:g}'}"
            for name, limit in self.limits.items()
            if not figures[name] <= limit
        )

    def describe(self, least: Mapping[str, float]) -> str:
        """The limits as text, with the least that was seen of each figure."""
        return ", ".join(
            f"{name} <= {limit:g} (least proposed: {f'{least[name]:g}' if name in least else 'not known'})"
            for name, limit in self.limits.items()
        )


def checked_limits(limits: Mapping[str, float] | None) -> dict[str, float] | None:
    """Limits as plain data; None if there are none.

    Raises:
        UsageError: If one of them is no finite number above 0.
    """
    if not limits:
        return None
    if not isinstance(limits, Mapping):
        raise UsageError(f"limits: expected names and numbers, such as {{'flops': 3e8}}, got {limits!r}")
    for name, limit in limits.items():
        number = isinstance(limit, numbers.Real) and not isinstance(limit, bool)
        if not (number and 0 < limit < math.inf):
            raise UsageError(f"limits: {name}: expected a finite number above 0, got {limit!r}")
    return {str(name): float(limit) for name, limit in limits.items()}


class LatencyTable:
    """The seconds of each option of each decision, whose sum is the latency of an architecture.

    A Parquet or CSV file with the columns ``decision`` (its name, ``space.label``), ``option`` (counted from 0) and
    ``seconds``. A row with an empty decision has the seconds of the fixed part, which are added once. Rows of decisions
    and options that the space lacks are passed over, so that one table serves several spaces.

    Args:
        path: The file.
        space: Whose decisions it must cover.

    Raises:
        TableError: If the file cannot be read, columns or rows are missing, a row is there twice, or seconds are
            negative, infinite or missing.
    """

    def __init__(self, path: str | Path, space: Space) -> None:
        self._where = str(path)
        self._space = space
        self._seconds = self._read()
        self._fixed = self._seconds.pop(("", 0), 0.0)
        self._check_complete()

    def _read(self) -> dict[tuple[str, int], float]:
        where = self._where
        table = read_table(where, ("decision", "option", "seconds"), text=("decision",))
        if wrong := [name for name in table.column_names if name not in ("decision", "option", "seconds")]:
            raise TableError(f"{where}: expected the columns decision, option and seconds, got also {', '.join(wrong)}")
        decisions = [str(name or "") for name in table["decision"].to_pylist()]
        options = column_of_numbers(table, "option", where)
        seconds = column_of_numbers(table, "seconds", where)
        found: dict[tuple[str, int], float] = {}
        for row, (decision, option, value) in enumerate(zip(decisions, options, seconds, strict=True)):
            if not decision:
                option = 0.0  # the fixed part has no options
            if option is None or not 0 <= option < math.inf or option != int(option):
                raise TableError(f"{where}, row {row}: option: expected a whole number >= 0, got {_cell(option)}")
            if value is None or not 0 <= value < math.inf:
                raise TableError(f"{where}, row {row}: seconds: expected a finite number >= 0, got {_cell(value)}")
            key = (decision, int(option))
            if key in found:
                raise TableError(f"{where}, row {row}: expected one row for {_name(*key)}, got a second one")
            found[key] = value
        return found

    def _check_complete(self) -> None:
        needed = dict.fromkeys(rows_needed(self._space))
        missing = [key for key in needed if key not in self._seconds]
        if missing:
            raise TableError(
                f"{self._where}: expected a row for each option of each decision of {type(self._space).__name__}, got "
                f"none for {len(missing):,} of {len(needed):,}, the first is {_name(*missing[0])}"
            )

    def seconds(self, architecture: Architecture) -> float:
        """The latency of an architecture; NaN, with a warning, where the table lacks a row for it."""
        total = self._fixed
        for position, option in enumerate(architecture):
            key = (self._space.label(architecture[:position]), option)
            if key not in self._seconds:
                warnings.warn(
                    f"{self._where} has no row for {_name(*key)}: architectures with it count as too slow", stacklevel=2
                )
                return math.nan
            total += self._seconds[key]
        return total


def rows_needed(space: Space) -> Iterator[tuple[str, int]]:
    """Name and option of the decisions of a space, some several times.

    Of a conditional space with too many decisions to walk through: of the first ones, and of random architectures.
    """
    if space.arities is not None:
        for position, arity in enumerate(space.arities):
            name = space.label((0,) * position)
            yield from ((name, option) for option in range(arity))
        return
    seen: set[tuple[str, Hashable]] = set()
    waiting: deque[Architecture] = deque([()])
    while waiting and len(seen) < WALKED:
        prefix = waiting.popleft()
        arity = space.arity(prefix)
        if not arity:
            continue
        name = space.label(prefix)
        key = (name, space.subtree(prefix))
        if key not in seen:
            seen.add(key)
            yield from ((name, option) for option in range(arity))
            waiting.extend((*prefix, option) for option in range(arity))
    if waiting:
        rng = np.random.default_rng(0)
        for _ in range(SAMPLED):
            architecture = space.sample(rng)
            yield from ((space.label(architecture[:i]), option) for i, option in enumerate(architecture))


def _name(decision: str, option: int) -> str:
    return f"decision {decision!r}, option {option}" if decision else "the empty decision, the fixed part"


def _cell(value: float | None) -> str:
    return "nothing" if value is None else f"{value:g}"
