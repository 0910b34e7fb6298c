"""(1 + lambda) evolution with neutral drift: children of one parent, changed until something active has changed.

Reference: Suganuma, Shirakawa & Nagao, "A genetic programming approach to designing convolutional neural network
architectures", GECCO 2017: lambda = 2, on the space ``CGP``. Each generation has lambda children of the parent, each
mutated until an active gene has changed (forced mutation). The best child replaces the parent if it is better; if none
is, the parent's silent genes drift.

What is active is for the space to say: a child with the canonical form of its parent computes the same network. It is
not evaluated; it is mutated on, and what was changed so far stays changed.

Where we differ: proposals never wait. A generation ends when its results are in; if more is asked for before, the next
one begins with the best that there is, and a late child counts in the generation in which it comes in. Random
architectures are proposed until the first result is in. With one worker it is the paper's.
"""

from __future__ import annotations

from typing import Any, ClassVar

from archsearch.abilities import Drifting
from archsearch.basics.checks import at_least_one
from archsearch.controller import Controller
from archsearch.trial import Architecture, Trial

MUTATIONS = 100
"""Mutations of a child, until its canonical form is another one than the parent's."""


class OnePlusLambda(Controller):
    """Evolution (1 + lambda): children of the best, changed until it shows; silent genes drift (Suganuma et al. 2017).

    Args:
        children: Of a generation, the paper's lambda, >= 1. The paper has 2.

    Raises:
        UsageError: If a setting is out of range.
    """

    state: ClassVar[tuple[str, ...]] = ("_parent", "_proposed", "_size", "_asked", "_due", "_won")

    def __init__(self, children: int = 2) -> None:
        self.children = at_least_one("OnePlusLambda", "children", children)

    def _start(self) -> None:
        self._parent: list[Any] | None = None  # score, id, architecture
        self._proposed = 0  # which is also the id of the next proposal
        self._begin()

    def _begin(self) -> None:
        """Begins a generation."""
        self._size = self.children
        self._asked = 0
        self._due: list[int] = []
        self._won: list[Any] | None = None  # like the parent: its best child so far, if better

    def _ask(self) -> Architecture | tuple[Architecture, int | None]:
        self._proposed += 1
        if self._parent is None:
            return self._first()
        if self._asked == self._size:
            self._end()
        child = self._child()
        self._asked += 1
        self._due.append(self._proposed - 1)
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
        form = self.space.canonical(child)
        for _ in range(MUTATIONS):
            child = self.space.mutate(child, self.rng)
            if self.space.canonical(child) != form:
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
