"""Whether the order of a search holds where its best are scored again: a number and a sentence that say the same.

Equal scores are no order: among them nothing is kept and nothing is changed.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

from archsearch.ranking import kendall_tau


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Two scores of the same architectures, which are in the order of the search, the best first.

    Attributes:
        before: What the search went by: anything that can be compared, higher is better.
        after: Scores of the better evaluator; None: it failed.
    """

    before: Sequence[Any]
    after: Sequence[float | None]

    @property
    def tau(self) -> float | None:
        """Kendall's tau (tau-b) of the two, -1 to 1; None where one of them is no order, all its scores being equal."""
        scored = self._scored()
        places = sorted({before for before, _ in scored})
        if len(places) < 2 or len({after for _, after in scored}) < 2:
            return None
        return kendall_tau([places.index(before) for before, _ in scored], [after for _, after in scored])

    @property
    def kept(self) -> str:
        """What became of the order: ``the order stays the same``, where tau is 1, or another clause."""
        pairs = list(itertools.combinations(self._scored(), 2))
        if any(before > below and after < behind for (before, after), (below, behind) in pairs):
            return "the order below it changed"
        tied = any((before == below) != (after == behind) for (before, after), (below, behind) in pairs)
        if None in self.after:
            return "no two that were scored changed places"
        return "no two changed places, but there are equal scores" if tied else "the order stays the same"

    def sentence(self, by: str, failure: str, numbers: Sequence[str]) -> str:
        """What came of it.

        Args:
            by: Who scored, such as ``by Training``.
            failure: Kind of the failure of the search's best, if it failed.
            numbers: The scores of ``after`` as text.
        """
        scores = [score for score in self.after if score is not None]
        best = max(scores)
        winners = [place for place, score in enumerate(self.after) if score == best]
        lost = f"; the search's best failed: {failure}" if self.after[0] is None else ""
        if len(winners) == len(scores) > 1:
            equal = f"all that were scored are equal {by} ({numbers[winners[0]]})"
            return f"{equal}: their order can neither hold nor change{lost}"
        score, others = numbers[winners[0]], len(winners) - 1
        if winners[0] == 0:
            if others:
                return f"the search's best stays among the best {by} ({score}, as {others} more); {self.kept}"
            return f"the search's best stays the best {by} ({score}); {self.kept}"
        numbers_of_best = " and ".join(str(place + 1) for place in winners)
        are = f"numbers {numbers_of_best} of the search are" if others else f"number {numbers_of_best} of the search is"
        against = "" if self.after[0] is None else f" against {numbers[0]} of the search's best"
        # Of equals in the search one is first by the number of its trial, which says nothing.
        what = "the order changed" if self.before[winners[0]] < self.before[0] else "the search's best had equals"
        return f"{what}: {are} the best {by} ({score}{against}){lost}"

    def _scored(self) -> list[tuple[Any, float]]:
        return [(before, after) for before, after in zip(self.before, self.after, strict=True) if after is not None]
