"""Ids of trials where a search has made some that nobody proposed: those of proposals, moved on.

A controller calls by negative ids what it did not propose: first what it was told of older runs, which are no trials of
this one, then what a person has put.
"""

from __future__ import annotations

from archsearch.trial import Budget, Proposal, Trial


class Ids:
    """Which trial answers which proposal: the same ids, but for those that repeats have taken.

    Attributes:
        moves: From which proposal on ids are moved, and how far, in order; empty if none are.
        told: Results of older runs that the controller has heard.
        put: Trials that it has heard and not proposed, in the order in which it heard.
    """

    def __init__(self) -> None:
        self.moves: list[tuple[int, int]] = []
        self.told = 0
        self.put: list[int] = []

    def trial(self, proposal: Proposal, next_id: int) -> Proposal:
        """A proposal with the ids of trials.

        Args:
            proposal: With its controller's ids.
            next_id: That of the next trial.
        """
        id_ = proposal.id
        if id_ + (self.moves[-1][1] if self.moves else 0) != next_id:
            self.moves.append((id_, next_id - id_))
        if not self.moves and not self.told:
            return proposal
        parent, budget = proposal.parent, proposal.budget
        if isinstance(parent, int):
            parent = self._moved(parent)
        if isinstance(budget, Budget) and isinstance(budget.origin, int):
            budget = budget._replace(origin=self._moved(budget.origin))
        return Proposal(next_id, proposal.architecture, parent, budget)

    def proposal(self, trial: Trial) -> Trial:
        """A trial with the ids of proposals."""
        if not self.moves:
            return trial
        budget = trial.budget
        if budget is not None and budget.origin is not None:
            budget = budget._replace(origin=self._moved_back(budget.origin))
        parent = None if trial.parent is None else self._moved_back(trial.parent)
        return trial._replace(id=self._moved_back(trial.id), parent=parent, budget=budget)

    def _moved(self, id_: int) -> int | None:
        if id_ < 0:
            place = -id_ - 1 - self.told
            return self.put[place] if 0 <= place < len(self.put) else None
        return id_ + next((move for first, move in reversed(self.moves) if id_ >= first), 0)

    def _moved_back(self, id_: int) -> int:
        if id_ in self.put:
            return -1 - self.told - self.put.index(id_)
        return id_ - next((move for first, move in reversed(self.moves) if id_ >= first + move), 0)
