"""Progressive search: cells grow block by block, and a model of the scores says which of the larger ones to train.

Reference: Liu et al., "Progressive neural architecture search", ECCV 2018, algorithm 1. All distinct cells of one block
are trained, and a model is fitted to their scores. Then, size after size: all cells with one block more than those of
the beam are predicted, the K best are trained, and are the next beam; the model learns from all results so far. With
K = 256 and five blocks that is 136 + 4 * 256 = 1,160 trainings in ``PNAS(least=1)``.

Where we differ:

- Any space whose architectures have several lengths can be searched: ``archsearch.controllers.growing`` says what is
  one step larger. Any model will do. The paper has an ensemble of 5 networks; ``MLPEnsemble`` and ``LSTM`` are alike.
- Proposals never wait. A size ends when all of it has been proposed: one worker has all results then, as in the paper;
  with n workers the last n - 1 results of a size come too late for the model, which learns from them for the next one.
  Before there are two results, all predictions are equal.
- What computes the same network (``Space.canonical``) is proposed once, in all sizes; the paper says so of one block.
- Equal predictions are put in random order. What failed grows no further.
- The paper ends with the largest size. Here the search goes on until it is stopped: with the next K of the same cells,
  by the model as it has become; when these are used up, with the best of the beam's mutations.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from archsearch.basics.checks import at_least_one, whole_number
from archsearch.controller import Controller, Order
from archsearch.controllers.growing import Growing
from archsearch.controllers.proposed import Proposed
from archsearch.errors import MissingAbility, UsageError
from archsearch.model import Model
from archsearch.models.trees import RandomForest
from archsearch.space import Space
from archsearch.trial import Architecture, Trial

LISTED = 10_000
"""Most architectures of the smallest size that are listed, if ``first`` is no more; of more, as many are drawn."""

MOST_CANDIDATES = 1_000_000
"""Candidates of one size; where there are more, as many are drawn for each architecture of the beam."""

AT_ONCE = 10_000
"""Candidates that the model predicts at once: bounds the memory."""

MUTATIONS = 10
"""Of each architecture of the beam, once nothing can grow."""


class Progressive(Controller):
    """Progressive search: architectures grow block by block, a model picks which to train (PNAS, Liu et al. 2018).

    For spaces of several lengths, such as ``PNAS(least=1)``, or ``Choices`` with a repeated decision. The parent named
    in a proposal is the architecture that it has grown from. The state has a constant 171 KiB for the proposals that
    are remembered, and up to ``labels`` results.

    Args:
        model: The model that predicts scores. None: ``RandomForest()``.
        beam: Architectures of each size that are trained and then grow, >= 1; K in the paper.
        first: The most architectures of the smallest size that are trained, >= 1; they are drawn if there are more.
        labels: The most results that the model is fitted to, the newest ones, >= 2.

    Raises:
        UsageError: If a setting is out of range, or ``model`` is no model.
    """

    order: ClassVar[Order] = "distances"

    def __init__(self, model: Model | None = None, beam: int = 256, first: int = 256, labels: int = 2000) -> None:
        self.model = model
        self.beam = at_least_one("Progressive", "beam", beam)
        self.first = at_least_one("Progressive", "first", first)
        self.labels = whole_number("Progressive", "labels", labels, 2)
        if model is not None and not isinstance(model, Model):
            raise UsageError(f"Progressive: model: expected a model such as RandomForest(), got {model!r}")

    def check(self, space: Space) -> None:
        """Raises ``MissingAbility`` if all architectures of the space have one length, so that none can grow."""
        if space.arities is not None:
            raise MissingAbility(
                f"Progressive lets architectures grow, and all of {type(space).__name__} have "
                f"{len(space.arities)} decisions; expected a space of several lengths, such as PNAS(least=1) or "
                "Choices with a repeated decision, or use another controller, such as Bananas"
            )

    def _start(self) -> None:
        self._model = RandomForest() if self.model is None else self.model.clone()
        self._growing = Growing(self.space)
        self._proposed = Proposed()
        self._asked = 0
        self._labels: list[tuple[float, Architecture]] = []
        self._sources: list[Member] = []  # what the candidates of this size have grown from
        self._beam: list[Member] = []  # proposals of this size that have not failed
        self._queue: list[Candidate] = []  # what is left of this size

    # -- asking ----------------------------------------------------------------------------------

    def _ask(self) -> tuple[Architecture, int | None]:
        if not self._queue:
            self._queue = self._next() if self._asked else self._smallest()
        candidate = self._queue.pop(0)
        self._beam.append(Member(self._asked, candidate.architecture))
        self._asked += 1
        return candidate

    def _smallest(self) -> list[Candidate]:
        found = self._growing.smallest(max(self.first, LISTED), self.rng)
        order = self.rng.permutation(len(found)).tolist()
        return self._new((Candidate(found[place]) for place in order), self.first)

    def _next(self) -> list[Candidate]:
        """The best that have grown from the beam; where nothing grows, more of the same size."""
        beam, self._beam = self._beam, []
        if grown := self._grown(beam):
            self._sources = beam
        else:
            grown = self._grown(self._sources)
        return self._best(grown) or self._best(self._mutations(beam)) or [Candidate(self.space.sample(self.rng))]

    def _grown(self, members: list[Member]) -> list[Candidate]:
        """All that are one step larger than members; each once, with the first that it can have grown from."""
        found: dict[Architecture, Candidate] = {}
        for member in members:
            for architecture in self._growing.grown(member.architecture, MOST_CANDIDATES // len(members), self.rng):
                found.setdefault(architecture, Candidate(architecture, member.parent))
        return list(found.values())

    def _mutations(self, members: list[Member]) -> list[Candidate]:
        found: dict[Architecture, Candidate] = {}
        for member in MUTATIONS * members:
            architecture = self.space.mutate(member.architecture, self.rng)
            found.setdefault(architecture, Candidate(architecture, member.parent))
        return list(found.values())

    def _best(self, candidates: list[Candidate]) -> list[Candidate]:
        """The new ones that the model expects most of, as many as the beam has."""
        if all(self._proposed.has(self.space.canonical(each.architecture)) for each in candidates):
            return []
        order = np.lexsort((self.rng.random(len(candidates)), -self._predicted(candidates)))
        return self._new((candidates[place] for place in order.tolist()), self.beam)

    def _predicted(self, candidates: list[Candidate]) -> npt.NDArray[np.float64]:
        """What a model of all results so far expects of each."""
        if len(self._labels) < 2:
            return np.zeros(len(candidates))
        scores, architectures = zip(*self._labels, strict=True)
        self._model.fit(self.space, architectures, scores, int(self.rng.integers(2**63)))
        asked = [each.architecture for each in candidates]
        parts = [asked[i : i + AT_ONCE] for i in range(0, len(asked), AT_ONCE)]
        return np.concatenate([self._model.predict_targets(part).mean for part in parts])

    def _new(self, candidates: Iterable[Candidate], most: int) -> list[Candidate]:
        """The first that no proposal was equal to: their canonical forms are only looked at until there are enough."""
        new = (each for each in candidates if self._proposed.add(self.space.canonical(each.architecture)))
        return list(itertools.islice(new, most))

    # -- telling ---------------------------------------------------------------------------------

    def _tell(self, trial: Trial) -> None:
        completed = trial.evaluation is not None
        if trial.evaluation is not None:
            self._labels.append((trial.evaluation.score, trial.architecture))
            del self._labels[: -self.labels]
        for members in (self._beam, self._sources):
            for place, member in enumerate(members):
                if member.id == trial.id:
                    members[place : place + 1] = [member._replace(completed=True)] if completed else []

    # -- state -----------------------------------------------------------------------------------

    def _state_dict(self) -> dict[str, Any]:
        return {
            "proposed": self._proposed.state(),
            "asked": self._asked,
            "labels": list(self._labels),
            "sources": list(self._sources),
            "beam": list(self._beam),
            "queue": list(self._queue),
        }

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        self._proposed, self._asked = Proposed(**state["proposed"]), state["asked"]
        self._labels = [(score, tuple(options)) for score, options in state["labels"]]
        self._sources, self._beam = (
            [Member(id_, tuple(options), completed) for id_, options, completed in state[key]]
            for key in ("sources", "beam")
        )
        self._queue = [Candidate(tuple(options), parent) for options, parent in state["queue"]]


class Member(NamedTuple):
    """A proposal that can grow."""

    id: int
    architecture: Architecture
    completed: bool = False

    @property
    def parent(self) -> int | None:
        """The trial that what grows from it names as its parent: one whose result is there."""
        return self.id if self.completed else None


class Candidate(NamedTuple):
    """What may be proposed, and the trial that it has grown from."""

    architecture: Architecture
    parent: int | None = None
