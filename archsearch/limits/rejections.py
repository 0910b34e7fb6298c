"""Proposals that are not evaluated: beyond the limits, or of no use to ask for."""

from __future__ import annotations

import math
from typing import Any

from archsearch.evaluator import Evaluator
from archsearch.limits.limits import Limits
from archsearch.trial import Architecture

ENOUGH_REJECTED, MAX_LOOKED_AT = 20, 20_000
"""So many proposals in a row are enough if the controller has looked at so many more in vain: 2,000 proposals of 200
draws would take minutes."""


class Rejections:
    """Says what is not to be evaluated, and keeps count of how much in a row was not.

    Args:
        limits: What may be evaluated; None: everything.
        evaluator: Started; it may say what it can never score.

    Attributes:
        count: How many there were.
        in_a_row: How many there were since something could be evaluated.
        looked_at: How many more the controller has asked about meanwhile, and did not propose.
    """

    def __init__(self, limits: Limits | None, evaluator: Evaluator) -> None:
        self._limits = limits
        self._evaluator = evaluator
        self.count = 0
        self.in_a_row = 0
        self.looked_at = 0
        self._least: dict[str, float] = {}  # figures of those in a row
        self._most: dict[str, float] = {}
        self._first = ""

    def limit(self, limits: Limits | None) -> None:
        """Has other limits hold from here on."""
        self._limits = limits

    def why(self, architecture: Architecture) -> str:
        """Why an architecture is not to be evaluated; empty: it may be."""
        beyond = "" if self._limits is None else self._limits.excess(architecture)
        return beyond or self._evaluator.refusal(architecture)

    def refusal(self, architecture: Architecture) -> str:
        """The same for a controller that asks before it proposes; what it asks about in vain is counted."""
        why = self.why(architecture)
        self.looked_at += bool(why)
        return why

    def in_vain(self, most: int) -> bool:
        """Whether the controller finds nothing that may be evaluated, by ``most`` proposals in a row or fewer."""
        return self.in_a_row >= most or (self.in_a_row >= ENOUGH_REJECTED and self.looked_at >= MAX_LOOKED_AT)

    def add(self, architecture: Architecture, why: str) -> None:
        """Counts one."""
        if not self.in_a_row:
            self.looked_at = 0
            self._least, self._most, self._first = {}, {}, why
        figures = {} if self._limits is None else self._limits.figures(architecture)
        for name, figure in figures.items():
            if figure < self._least.get(name, math.inf):
                self._least[name] = figure
            if figure > self._most.get(name, -math.inf):
                self._most[name] = figure
        self.count += 1
        self.in_a_row += 1

    def told(self, who: str) -> str:
        """What to tell of those in a row.

        Args:
            who: Who proposed them.
        """
        told = f"{who} made {self.in_a_row:,} proposals in a row that"
        if self._limits is None or (self._first and not self._least):
            return f"{told} cannot be scored; the first of them: {self._first}"
        seen = self._limits.describe(self._least, self._most)
        return f"{told} are beyond the limits: {seen}. Set wider limits, or search a space that keeps within these"

    def state(self) -> dict[str, Any]:
        """What ``load`` needs, as JSON data."""
        return {
            "rejected": self.count,
            "rejected_in_a_row": self.in_a_row,
            "looked_at": self.looked_at,
            "least": self._least,
            "most": self._most,
            "first_rejection": self._first,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Takes what ``state`` gave out of the state of a search."""
        self.count = state.get("rejected", 0)
        self.in_a_row = state.get("rejected_in_a_row", 0)
        self.looked_at = state.get("looked_at", 0)
        self._least = state.get("least", {})
        self._most = state.get("most", {})
        self._first = state.get("first_rejection", "")
