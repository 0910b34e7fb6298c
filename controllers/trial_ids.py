"""What trials of a search are called by a controller inside another one, which counts its own proposals only."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from archsearch.trial import Trial


class First(NamedTuple):
    """The first proposal after others that are not of the inner controller; until the next such both ids rise by one.

    Attributes:
        inner_id: As the inner controller counts.
        id: Of the trial.
    """

    inner_id: int
    id: int


class TrialIds:
    """The trials of the newest proposals of an inner controller, so that these can be named as parents.

    Args:
        firsts: What ``state`` gave.
        runs: Most uninterrupted runs of proposals that are remembered, >= 1; None: no limit.
        proposals: Most proposals before the newest one that are remembered, >= 1; None: no limit.
    """

    def __init__(
        self, firsts: Iterable[Sequence[int]] = (), *, runs: int | None = None, proposals: int | None = None
    ) -> None:
        self._firsts = [First(*first) for first in firsts]
        self._runs, self._proposals = runs, proposals

    def add(self, inner_id: int, id_: int) -> None:
        """Notes the trial of the newest proposal; older ones beyond the limits are forgotten."""
        firsts = self._firsts
        if not firsts or id_ - inner_id != firsts[-1].id - firsts[-1].inner_id:
            firsts.append(First(inner_id, id_))
        if self._runs is not None:
            del firsts[: -self._runs]
        if self._proposals is not None:
            oldest = inner_id - self._proposals
            while len(firsts) > 1 and firsts[1].inner_id <= oldest:
                del firsts[0]
            late = max(0, oldest - firsts[0].inner_id)
            firsts[0] = First(firsts[0].inner_id + late, firsts[0].id + late)

    def of(self, inner_id: int | None) -> int | None:
        """The trial that the inner controller calls ``inner_id``; None if it is too old, or that is None.

        What both have heard from outside has the same negative id.
        """
        if inner_id is None or inner_id < 0:
            return inner_id
        run = bisect.bisect_right(self._firsts, inner_id, key=lambda first: first.inner_id)
        return self._firsts[run - 1].id + inner_id - self._firsts[run - 1].inner_id if run else None

    def state(self) -> list[First]:
        """What makes an equal one, as JSON data."""
        return list(self._firsts)


def comparable(trial: Trial, length: int) -> Trial:
    """A result of others as a controller hears it that compares scores of trainings of this length.

    That is the trial itself where it was trained so long, else its curve's score there; without a curve, which a
    controller can learn nothing from, a failure.
    """
    evaluation = trial.evaluation
    if evaluation is None or (trial.budget is not None and trial.budget.stop == length):
        return trial
    if len(evaluation.curve) >= length:
        return trial._replace(evaluation=evaluation._replace(score=evaluation.curve[length - 1]))
    error = f"the evaluation has no curve, so no score at {length} to compare with others"
    return trial._replace(evaluation=None, failure="invalid_score", error=error)
