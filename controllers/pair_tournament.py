"""Pair tournaments: of two members the worse one dies, and the better one has a child; workers never wait.

Reference: Real, Moore, Selle, Saxena, Suematsu, Tan, Le & Kurakin, "Large-scale evolution of image classifiers", ICML
2017 (arXiv 1703.01041), section 3.1. Each worker draws two members, removes the worse of them, copies the better one,
changes the copy by one action, and trains it with the weights of its parent (evaluator ``Inherit``).

Where we differ: where failures have left fewer members than the population has room for, nobody dies. Until two results
are in, whoever asks is given another member of the first population.
"""

from __future__ import annotations

from typing import ClassVar

from archsearch.abilities import Moving
from archsearch.basics.checks import whole_number
from archsearch.controller import Controller, Order
from archsearch.controllers.moved import begun, moved
from archsearch.controllers.possible import mutated
from archsearch.trial import Architecture, Trial


class PairTournament(Controller):
    """Pair tournaments: of two drawn members the worse one dies and the better one has a child (Real et al. 2017).

    In spaces with moves, such as ``EvoNet``, all members begin at the space's start, a child is one move away, and a
    child whose weights are reset names no parent. Elsewhere members begin at random, and a child is a mutation.

    Args:
        population_size: Members, >= 2. The paper has 1,000, of which 250 workers trained one each at a time.

    Raises:
        UsageError: If that is out of range.
    """

    order: ClassVar[Order] = "steps"
    state = ("_asked", "_due", "_members", "_scores", "_ids")

    def __init__(self, population_size: int = 100) -> None:
        self.population_size = whole_number("PairTournament", "population_size", population_size, 2)

    def _start(self) -> None:
        self._asked = 0
        self._due = 0
        self._members: list[Architecture] = []
        self._scores: list[float] = []
        self._ids: list[int] = []

    def _ask(self) -> Architecture | tuple[Architecture, int | None]:
        self._asked += 1
        self._due += 1
        if self._asked <= self.population_size or len(self._members) < 2:
            return begun(self.space, self.rng)
        first, second = self.rng.choice(len(self._members), 2, replace=False).tolist()
        worse, better = sorted((first, second), key=lambda i: (self._scores[i], i == first))
        architecture, id_ = tuple(self._members[better]), self._ids[better]
        # This child is among those that are due.
        if len(self._members) + self._due > self.population_size:
            self._remove(worse)
        if not isinstance(self.space, Moving):
            return mutated(self, architecture), id_
        move = moved(self.space, architecture, self.rng)
        return move.architecture, id_ if move.inherits else None

    def _remove(self, i: int) -> None:
        """The last member takes the place of one."""
        self._members[i], self._scores[i], self._ids[i] = self._members[-1], self._scores[-1], self._ids[-1]
        del self._members[-1], self._scores[-1], self._ids[-1]

    def _hear(self, trial: Trial) -> None:
        """Others' results live among its own, which are as many as before."""
        self._due += 1
        self._tell(trial)
        if len(self._members) > self.population_size:
            self._remove(min(range(len(self._members)), key=self._scores.__getitem__))
        self._asked = max(self._asked, len(self._members))

    def _tell(self, trial: Trial) -> None:
        self._due = max(0, self._due - 1)
        if trial.evaluation is not None:
            self._members.append(trial.architecture)
            self._scores.append(trial.evaluation.score)
            self._ids.append(trial.id)
