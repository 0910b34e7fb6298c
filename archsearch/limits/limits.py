"""Limits on what may be evaluated, such as parameters, multiply-adds and latency.

They belong to the search, whoever proposes: the search asks here before it evaluates anything. The latency of an
architecture can come from a table of measured parts, as in ProxylessNAS (Cai, Zhu & Han, ICLR 2019), FBNet (Wu et
al., CVPR 2019) and Once-for-All (Cai et al., ICLR 2020): it is the sum over the architecture's decisions.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from archsearch.basics.checks import is_finite
from archsearch.errors import ArchsearchError, UsageError
from archsearch.evaluator import Evaluator
from archsearch.executors.gate import figures_of
from archsearch.limits.latency import LatencyTable
from archsearch.limits.ranges import Limit, Range, range_of
from archsearch.space import Space
from archsearch.trial import Architecture

if TYPE_CHECKING:
    from archsearch.limits.composition import Composition

LATENCY = "latency_seconds"
"""What a latency table gives."""

MEMORY = ("weight_bytes", "activation_bytes", "cache_bytes")
"""What is counted of a network that an evaluator builds, for one example; see ``archsearch.networks.memory``."""

REMEMBERED = 10_000
"""Architectures whose figures are remembered: proposals repeat, and measuring a network takes milliseconds."""


class Limits:
    """Says whether an architecture may be evaluated.

    What can be limited: what the evaluator measures; ``latency_seconds`` of a table; and of an evaluator that builds
    networks their bytes: ``weight_bytes``, ``activation_bytes``, ``cache_bytes``.

    Args:
        space: What is searched.
        evaluator: Started; its ``measure`` gives the figures.
        limits: The most that each figure may be, or the least and the most, as ``checked_limits`` gives them.
        latency_table: File from which ``latency_seconds`` is taken instead; see ``LatencyTable``.

    Raises:
        UsageError: If a limit is on something that is not measured.
        TableError: If the table cannot be used.
    """

    def __init__(
        self, space: Space, evaluator: Evaluator, limits: Mapping[str, Limit], latency_table: str | Path | None = None
    ) -> None:
        self.limits = {name: range_of(limit) for name, limit in limits.items()}
        self._evaluator = evaluator
        self._latency = None if latency_table is None else LatencyTable(latency_table, space)
        self._memory: Composition | None = None
        if evaluator.built is not None and not self.limits.keys().isdisjoint(MEMORY):
            from archsearch.limits.composition import Composition

            self._memory = Composition(space, evaluator.built)
        if self._latency is not None:
            self._latency.check_built(evaluator.built, type(evaluator).__name__)
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
        known += MEMORY if self._memory is not None else ()
        unknown = [name for name in self.limits if name not in known]
        if not unknown:
            return
        name = type(self._evaluator).__name__
        gives = ", ".join(measured) if measured else "nothing of an architecture before it scores it"
        hint = f"; give a latency_table for {LATENCY}" if LATENCY in unknown else ""
        hint += f"; {name} builds no networks whose bytes could be counted" if set(unknown) & set(MEMORY) else ""
        raise UsageError(f"limits: {', '.join(unknown)} cannot be limited: {name} measures {gives}{hint}")

    def _figures(self, architecture: Architecture) -> dict[str, float]:
        """What is limited, of one architecture; NaN: not known."""
        measured: Mapping[str, float] = {}
        counted = {*([LATENCY] if self._latency else []), *(MEMORY if self._memory is not None else [])}
        if self.limits.keys() - counted:
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
        if self._memory is not None:
            found |= {name: float(size) for name, size in self._memory.bytes(architecture).items() if name in found}
        return found

    def excess(self, architecture: Architecture) -> str:
        """Which limits an architecture misses, such as ``flops 4.1e+08 > 3.3e+08``; empty: none.

        A figure that is not known misses its limit.

        Args:
            architecture: A member of the space.
        """
        figures = self.figures(architecture)
        return ", ".join(
            f"{name} {limit.missed(figures[name])}" for name, limit in self.limits.items() if figures[name] not in limit
        )

    def allows(self, architecture: Architecture) -> bool:
        """Whether an architecture keeps all limits."""
        return not self.excess(architecture)

    def describe(self, least: Mapping[str, float], most: Mapping[str, float]) -> str:
        """The limits as text, with the least and the most that was seen of each figure, where that matters."""
        return ", ".join(
            f"{limit.of(name)} ({_seen(limit, least.get(name), most.get(name))})" for name, limit in self.limits.items()
        )


def _seen(limit: Range, least: float | None, most: float | None) -> str:
    """What was proposed of a figure, as far as it says on which side of the limit it lay."""
    if least is None or most is None:
        return f"{'most' if math.isinf(limit.high) else 'least'} proposed: not known"
    if math.isinf(limit.low):
        return f"least proposed: {least:g}"
    return f"most proposed: {most:g}" if math.isinf(limit.high) else f"proposed: {least:g} to {most:g}"
