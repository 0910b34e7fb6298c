"""(1 + lambda) evolution with neutral drift: children of one parent, changed until something active has changed.

Reference: Suganuma, Shirakawa & Nagao, "A genetic programming approach to designing convolutional neural network
architectures", GECCO 2017: lambda = 2, on the space ``CGP``. Each generation has lambda children of the parent, each
mutated until an active gene has changed (forced mutation). The best child replaces the parent if it is better; if none
is, the parent's silent genes drift.

What is active is for the space to say: a child with the canonical form of its parent computes the same network. It is
not evaluated; it is mutated on, and what was changed so far stays changed.

Where we differ: proposals never wait. A generation ends when its results are in; if more is asked for before, the next
one begins with the best that there is, and a late child counts in the generation in which it comes in. Random
architectures are proposed until the first result is in. What was proposed before is not proposed again as long as
others are found: such a child is mutated on, too. With one worker the rest is the paper's.
"""

from __future__ import annotations

from typing import Any, ClassVar

from archsearch.abilities import Drifting
from archsearch.basics.checks import at_least_one
from archsearch.controller import Controller, Order
from archsearch.controllers.proposed import Proposed
from archsearch.trial import Architecture, Trial

MUTATIONS = 100
"""Mutations of a child, until its canonical form is one that was not proposed before."""


class OnePlusLambda(Controller):
    """Evolution (1 + lambda): children of the best, changed until an active gene changes (Suganuma et al. 2017).

    Silent genes drift.

    The state has a constant 171 KiB for the proposals that are remembered.

    Args:
        children: Children per generation, the paper's lambda, >= 1. The paper has 2.

    Raises:
        UsageError: If a setting is out of range.
    """

    order: ClassVar[Order] = "steps"
    state: ClassVar[tuple[str, ...]] = ("_parent", "_count", "_size", "_asked", "_due", "_won")

    def __init__(self, children: int = 2) -> None:
        self.children = at_least_one("OnePlusLambda", "children", children)

    def _start(self) -> None:
        self._parent: list[Any] | None = None  # score, id, architecture
        self._count = 0  # of proposals, which is also the id of the next one
        self._proposed = Proposed()
        self._begin()

    def _begin(self) -> None:
        """Begins a generation."""
        self._size = self.children
        self._asked = 0
        self._due: list[int] = []
        self._won: list[Any] | None = None  # like the parent: its best child so far, if better

    def _ask(self) -> Architecture | tuple[Architecture, int | None]:
        self._count += 1
        if self._parent is None:
            first = self._first()
            self._proposed.add(self.space.canonical(first))
            return first
        if self._asked == self._size:
            self._end()
        child = self._child()
        self._asked += 1
        self._due.append(self._count - 1)
        return child, self._parent[1]

    def _first(self) -> Architecture:
        """What is proposed while nothing has come back yet."""
        return self.space.sample(self.rng)

    def _objective(self, trial: Trial) -> float:
        """What is to be great."""
        assert trial.score is not None
        return trial.score

    def _child(self) -> Architecture:
        assert self._parent is not None
        child = tuple(self._parent[2])
        for _ in range(MUTATIONS):
            child = self.space.mutate(child, self.rng)
            if self._proposed.add(self.space.canonical(child)):
                break
        return child

    def _end(self) -> None:
        """The best child replaces the parent, if one is better; else the parent's silent genes drift."""
        assert self._parent is not None
        if self._won is not None:
            self._parent = self._won
        elif isinstance(self.space, Drifting):
            self._parent[2] = list(self.space.drift(tuple(self._parent[2]), self.rng))
        self._begin()

    def _tell(self, trial: Trial) -> None:
        if trial.evaluation is not None:
            result = [self._objective(trial), trial.id, list(trial.architecture)]
            if self._parent is None:
                self._parent = result
                self._begin()
            elif result[0] > (self._won or self._parent)[0]:
                self._won = result
        if trial.id in self._due:
            self._due.remove(trial.id)
            if self._asked == self._size and not self._due:
                self._end()

    def _state_dict(self) -> dict[str, Any]:
        return {**super()._state_dict(), "proposed": self._proposed.state()}

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        super()._load_state_dict(state)
        self._proposed = Proposed(**state["proposed"])
