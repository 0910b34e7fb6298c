"""Local search: move to a better neighbour as long as there is one, then begin anew.

Reference: White, Nolen & Savani, "Exploring the loss landscape in neural architecture search", UAI 2021, and the
authors' code. A climb begins at the best of some random architectures. All its neighbours, which differ from it in one
decision, are scored; if the best of them is better, the climb goes on from there, else another climb begins. With
``first_improvement`` the first better neighbour is taken at once, which is the authors' default.

Where we differ:

- Proposals never wait. When all neighbours have been asked and results are due, random architectures are proposed: the
  next climb begins at the best of them. Neighbours whose results come too late or never are given up, see ``PATIENCE``.
- Nothing is proposed twice, nor what computes the same network (``Space.canonical``), as long as others are found:
  neighbours that were proposed before are passed over, as in the authors' code.
- Neighbours are asked in random order. Where an architecture has more than ``LISTED`` of them, which is possible in
  conditional spaces only, so many mutations are drawn instead.
- Failed trials are passed over.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

from archsearch.basics.checks import at_least_one
from archsearch.controller import Controller
from archsearch.controllers.proposed import Proposed
from archsearch.errors import UsageError
from archsearch.trial import Architecture, Trial

LISTED = 1_000
"""Most neighbours of an architecture that are listed."""

PATIENCE = 20
"""Neighbours are given up when so many random architectures that were asked after the last of them have results."""


class LocalSearch(Controller):
    """Local search: moves to the best neighbour as long as that is better, then starts again (White et al. 2021).

    The parent named in a proposal is the architecture that it is a neighbour of. Equal scores are no improvement. The
    state has a constant 171 KiB for the proposals that are remembered.

    Args:
        initial: Random architectures, >= 1; the best of them is the start of a climb. The authors' code has 10, the
            simplest form in the paper 1.
        first_improvement: Whether the first better neighbour is taken at once, instead of the best of all.
        neighbours: The most neighbours of an architecture that are tried, drawn at random, >= 1. None: all.

    Raises:
        UsageError: If a setting is out of range.
    """

    def __init__(self, initial: int = 10, first_improvement: bool = True, neighbours: int | None = None) -> None:
        self.initial = at_least_one("LocalSearch", "initial", initial)
        self.first_improvement = first_improvement
        self.neighbours = None if neighbours is None else at_least_one("LocalSearch", "neighbours", neighbours)
        if not isinstance(first_improvement, bool):
            raise UsageError(f"LocalSearch: first_improvement: expected true or false, got {first_improvement!r}")

    def _start(self) -> None:
        self._asked = 0
        self._proposed = Proposed()
        self._begun = 0  # results for the beginning of the next climb
        self._beginning: _Point | None = None  # the best of them
        self._current: _Point | None = None  # where the climb is
        self._better: _Point | None = None  # the best neighbour so far, if it is better
        self._queue: list[Architecture] = []  # neighbours to be asked, the next one last
        self._due: set[int] = set()  # neighbours that were asked
        self._last = -1  # the last of them
        self._waited = 0  # results of architectures that were asked after it

    # -- asking ----------------------------------------------------------------------------------

    def _ask(self) -> Architecture | tuple[Architecture, int | None]:
        id_ = self._asked
        self._asked += 1
        self._go_on()
        while self._queue and self._current:
            neighbour = self._queue.pop()
            if self._is_new(neighbour):
                self._due.add(id_)
                self._last, self._waited = id_, 0
                return neighbour, self._current.id
            self._go_on()
        return self._random()

    def _random(self) -> Architecture:
        return self._proposed.sample(lambda: self.space.sample(self.rng), self.space.canonical)

    def _is_new(self, architecture: Architecture) -> bool:
        return self._proposed.add(self.space.canonical(architecture))

    # -- climbing --------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Moves, ends the climb or begins another one, as far as the results that are there decide it."""
        while not self._queue and not self._due:
            if self._better:
                self._move(self._better)
            elif self._beginning and self._begun >= self.initial:
                beginning, self._beginning, self._begun = self._beginning, None, 0
                self._move(beginning)
            else:
                self._current = None
                return

    def _move(self, point: _Point) -> None:
        self._current, self._better = point, None
        listed = list(itertools.islice(self.space.neighbours(point.architecture), LISTED + 1))
        if len(listed) > LISTED:
            drawn = (self.space.mutate(point.architecture, self.rng) for _ in range(self.neighbours or LISTED))
            listed = list(dict.fromkeys(drawn))
        order = self.rng.permutation(len(listed))[: self.neighbours]
        self._queue = [listed[place] for place in order.tolist()]

    # -- telling ---------------------------------------------------------------------------------

    def _tell(self, trial: Trial) -> None:
        score = None if trial.evaluation is None else trial.evaluation.score
        point = None if score is None else _Point(score, trial.id, trial.architecture)
        if trial.id in self._due:
            self._due.remove(trial.id)
            self._take_neighbour(point)
        else:
            self._take_beginning(point, trial.id > self._last)

    def _hear(self, trial: Trial) -> None:
        """What is better than the neighbours so far is taken as one, all else for a beginning."""
        point = None if trial.score is None else _Point(trial.score, trial.id, trial.architecture)
        to_beat = self._better or self._current
        if point and to_beat and point.score > to_beat.score:
            self._take_neighbour(point)
        else:
            self._take_beginning(point, later=False)

    def _take_neighbour(self, point: _Point | None) -> None:
        to_beat = self._better or self._current
        if point and to_beat and point.score > to_beat.score:
            self._better = point
            if self.first_improvement:
                self._move(point)  # others that are due are still welcome if they are better

    def _take_beginning(self, point: _Point | None, later: bool) -> None:
        if point:
            self._begun += 1
            if self._beginning is None or point.score > self._beginning.score:
                self._beginning = point
        self._waited += later
        if self._waited >= PATIENCE and not self._queue:
            self._due.clear()  # what still comes is taken for a beginning

    # -- state -----------------------------------------------------------------------------------

    def _state_dict(self) -> dict[str, Any]:
        return {
            "asked": self._asked,
            "proposed": self._proposed.state(),
            "begun": self._begun,
            "points": [self._beginning, self._current, self._better],
            "queue": list(self._queue),
            "due": sorted(self._due),
            "last": self._last,
            "waited": self._waited,
        }

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        self._asked, self._last, self._waited = state["asked"], state["last"], state["waited"]
        self._proposed = Proposed(**state["proposed"])
        self._begun = state["begun"]
        self._beginning, self._current, self._better = (_point(fields) for fields in state["points"])
        self._queue = [tuple(options) for options in state["queue"]]
        self._due = set(state["due"])


class _Point(NamedTuple):
    """A result."""

    score: float
    id: int
    architecture: Architecture


def _point(fields: list[Any] | None) -> _Point | None:
    return None if fields is None else _Point(fields[0], fields[1], tuple(fields[2]))
