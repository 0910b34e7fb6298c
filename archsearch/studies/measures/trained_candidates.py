"""How unequally the candidates of a super-network are trained.

Source: Xie et al., "Weight-Sharing Neural Architecture Search: A Battle to Shrink the Optimization Gap", 2020, section
3.3.2; Chu, Zhang & Xu, "FairNAS", ICCV 2021, whose strict fairness is meant to make it equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from archsearch.errors import UsageError
from archsearch.evaluator import Evaluator
from archsearch.running.scoring import anew
from archsearch.space import Space
from archsearch.studies.measure import Measure, Measured, as_billed


@runtime_checkable
class NotesUpdates(Protocol):
    """An evaluator that notes how candidates are trained, such as ``OneShot(note_updates=True)``."""

    @property
    def noted(self) -> Mapping[str, Sequence[float]]:
        """Of each candidate in how many updates it had gradients, and the sum of their norms."""
        ...


class TrainedCandidates(Measure):
    """How unequally the candidates with weights of a super-network are trained.

    A candidate of a choice that stands in several cells counts in each of them: it has weights of its own there.

    Args:
        space: Whose super-network is trained.
        evaluator: Trains it and notes how; its own seed is raised by the seed of the measurement.

    Raises:
        UsageError: If the evaluator notes nothing.
    """

    figures: ClassVar[Mapping[str, str]] = {
        "spread": "standard deviation of the candidates' numbers of updates, as a share of their mean",
        "least": "updates of the candidate with the fewest, as a share of the mean",
        "gradients": "standard deviation of the candidates' mean norms of gradients, as a share of their mean",
        "updates": "mean number of updates of a candidate",
    }

    def __init__(self, space: Space, evaluator: Evaluator) -> None:
        self.space = space
        self.evaluator = evaluator
        if not isinstance(evaluator, NotesUpdates):
            raise UsageError(
                "TrainedCandidates: evaluator: expected one that notes updates, such as OneShot with note_updates, got "
                f"{type(evaluator).__name__}"
            )

    def measure(self, seed: int) -> Measured:
        """See ``Measure``."""
        evaluator = anew(self.evaluator, seed)
        evaluator.start(self.space)
        cost = evaluator.prepare()
        assert isinstance(evaluator, NotesUpdates)
        if not evaluator.noted:
            raise UsageError("TrainedCandidates: evaluator: nothing was noted; expected note_updates: true")
        updates, norms = np.array(list(evaluator.noted.values()), dtype=np.float64).T
        means = norms / updates
        figures = {
            "spread": float(updates.std() / updates.mean()),
            "least": float(updates.min() / updates.mean()),
            "gradients": float(means.std() / means.mean()),
            "updates": float(updates.mean()),
        }
        return Measured(figures, as_billed(cost))
