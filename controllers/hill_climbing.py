"""Hill climbing by morphisms: children of the best, and the best is replaced by no worse one.

Reference: Elsken, Metzen & Hutter, "Simple and efficient architecture search for convolutional neural networks", 2017
(NASH, arXiv 1711.04528), Algorithm 1. Of 8 neighbours of the incumbent seven are five morphisms away from it, and the
eighth is the incumbent itself, which is trained as long as the others; the best of them is the next incumbent. With the
evaluator ``Inherit`` a child begins as its parent, and is trained for a few epochs (17 in the paper).

Where we differ: the incumbent stays unless a neighbour is at least as good, so its score never falls. Proposals never
wait for results: more neighbours of the same incumbent are proposed meanwhile, and every eighth result decides.
"""

from __future__ import annotations

from typing import ClassVar

from archsearch.abilities import Moving
from archsearch.basics.checks import at_least_one
from archsearch.controller import Controller, Order
from archsearch.controllers.moved import begun, known, moved
from archsearch.controllers.possible import mutated
from archsearch.trial import Architecture, Trial


class HillClimbing(Controller):
    """Children of the best architecture, several moves away; the best never gets worse (NASH, Elsken et al. 2017).

    In spaces with moves that keep the function, such as ``NASH``, ``Inherit`` starts each child with its parent's
    function; a move that does not claim to keep it is the last of a child. In spaces without moves a child is one
    mutation away.

    Args:
        neighbours: Results after which the best one may replace the incumbent, >= 1. The paper has 8.
        moves: The most moves from the incumbent to a child, >= 1. The paper has 5.

    Attributes:
        incumbent: The best architecture so far; None: there is none yet.

    Raises:
        UsageError: If a setting is out of range.
    """

    order: ClassVar[Order] = "steps"
    state = ("_asked", "incumbent", "_score", "_id", "_told", "_best")

    def __init__(self, neighbours: int = 8, moves: int = 5) -> None:
        self.neighbours = at_least_one("HillClimbing", "neighbours", neighbours)
        self.moves = at_least_one("HillClimbing", "moves", moves)

    def _start(self) -> None:
        self._asked = 0
        self.incumbent: Architecture | None = None
        self._score = 0.0
        self._id: int | None = None
        self._told = 0  # results since the incumbent was last judged
        self._best: list[object] | None = None  # the best of them: score, architecture, id

    def _ask(self) -> Architecture | tuple[Architecture, int | None]:
        self._asked += 1
        if self.incumbent is None:
            first = begun(self.space, self.rng)
            return first if self._asked == 1 else self._child(first)
        incumbent = tuple(self.incumbent)
        if isinstance(self.space, Moving) and self._asked % self.neighbours == 0:
            return incumbent, self._id
        return self._child(incumbent), self._id

    def _child(self, parent: Architecture) -> Architecture:
        if not isinstance(self.space, Moving):
            return mutated(self, parent)
        ways: list[Architecture] = []
        for _ in range(self.moves):
            move = moved(self.space, ways[-1] if ways else parent, self.rng)
            ways.append(move.architecture)
            if not move.preserves:
                return move.architecture
        return ways[known(self.space, parent, ways) - 1]

    def _tell(self, trial: Trial) -> None:
        score = None if trial.evaluation is None else trial.evaluation.score
        if score is not None and self.incumbent is None:
            self.incumbent, self._score, self._id = trial.architecture, score, trial.id
            return
        self._told += 1
        if score is not None and (self._best is None or score > self._best[0]):  # type: ignore[operator]
            self._best = [score, trial.architecture, trial.id]
        if self._told >= self.neighbours:
            if self._best is not None and self._best[0] >= self._score:  # type: ignore[operator]
                self._score, self.incumbent, self._id = self._best  # type: ignore[assignment]
            self._told, self._best = 0, None
