"""What a damaged journal still holds behind the first damage, until the search asks for it again.

A replay ends where something is missing: the controller has to hear of it before it proposes what follows. So the
search goes on from there, evaluates what is missing, and takes each later trial that is sound from here, as soon as the
controller proposes it again, instead of evaluating it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from archsearch.files.damage import Notices
from archsearch.trial import Architecture, Budget, Cost, Trial


class Remembered:
    """Trials and advances that need not be done again.

    Attributes:
        advances: What advances have cost that the evaluator has made already, in order.
    """

    def __init__(self) -> None:
        self.advances: list[Cost] = []
        self._trials: dict[int, Trial] = {}
        self._strange = 0

    def __len__(self) -> int:
        return len(self._trials)

    def add(self, trials: Iterable[Trial]) -> None:
        """Adds trials; of equal ids the first is kept."""
        for trial in trials:
            self._trials.setdefault(trial.id, trial)

    def forget(self, known: Iterable[int]) -> None:
        """Leaves out what the replay has brought back already."""
        for id_ in known:
            self._trials.pop(id_, None)

    @property
    def clock(self) -> float:
        """When the last of them ended, in seconds on the run's clock."""
        return max((trial.started + trial.seconds for trial in self._trials.values()), default=0.0)

    def take(self, id_: int, architecture: Architecture, parent: int | None, budget: Budget | None) -> Trial | None:
        """The outcome of a proposal, if it is known and the search has taken the same path as before."""
        trial = self._trials.pop(id_, None)
        if trial is None:
            return None
        if (trial.architecture, trial.parent, trial.budget) != (tuple(architecture), parent, budget):
            self._strange += 1
            return None
        return trial

    def tell(self, notices: Notices, folder: Path) -> None:
        """Tells how many could not be used, since the search took another path."""
        if self._strange:
            notices.tell(
                folder / "damaged",
                f"has {self._strange:,} sound trials that the search did not propose again: it took another path, "
                "since what was lost came out differently",
            )
            self._strange = 0

    def trials(self) -> list[Trial]:
        """What is left."""
        return list(self._trials.values())
