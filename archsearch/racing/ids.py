"""Ids of trials where a search has made some of its own: those of proposals, moved on."""

from __future__ import annotations

from archsearch.trial import Budget, Proposal, Trial


class Ids:
    """Which trial answers which proposal: the same ids, but for those that repeats have taken.

    Attributes:
        moves: From which proposal on ids are moved, and how far, in order; empty if none are.
    """

    def __init__(self) -> None:
        self.moves: list[tuple[int, int]] = []

    def trial(self, proposal: Proposal, next_id: int) -> Proposal:
        """A proposal with the ids of trials.

        Args:
            proposal: With its controller's ids.
            next_id: That of the next trial.
        """
        id_ = proposal.id
        if id_ == next_id and not self.moves:
            return proposal
        if id_ + (self.moves[-1][1] if self.moves else 0) != next_id:
            self.moves.append((id_, next_id - id_))
        if not self.moves:
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

    def _moved(self, id_: int) -> int:
        return id_ + next((move for first, move in reversed(self.moves) if id_ >= first), 0)

    def _moved_back(self, id_: int) -> int:
        return id_ - next((move for first, move in reversed(self.moves) if id_ >= first + move), 0)
