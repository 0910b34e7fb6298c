"""Derived: proposes what was learnt to be best, the learner's own answer first.

Search by gradient (Liu et al., "DARTS", ICLR 2019, section 2.4) ends in one architecture, which is derived from what
was learnt over all of them. Sampling methods draw several and score them with the shared weights (Pham et al., "ENAS",
ICML 2018, section 2.3). Both are here: first the derived one, then others that were drawn.

What was learnt is a distribution: of an evaluator that learns one before the search, or of a controller that learns a
policy while it searches, as in ENAS.
"""

from __future__ import annotations

from typing import Any, ClassVar

from archsearch.abilities import Distribution, draw
from archsearch.basics.checks import at_least_one
from archsearch.controller import Answer, Controller, Order, without_budgets
from archsearch.errors import UsageError
from archsearch.trial import Architecture, Proposal, Trial

ATTEMPTS = 4
"""Draws for each architecture that is wanted; if too few of them are different, fewer are proposed."""


class Derived(Controller):
    """Proposes what a distribution derives, then draws from it, the most probable architectures first.

    Without a ``controller`` it needs an evaluator that has a distribution, such as ``Differentiable``; a search with
    another evaluator is refused before anything is spent. If it is asked outside of a search, before it was given a
    distribution, it draws uniformly. With a ``controller``, such as ``Reinforce``, that controller searches first, with
    any evaluator, and the distribution is the policy that it has learnt. All proposals are drawn at once, each
    architecture once. Then the search is over; it may end with fewer than ``limit`` if the distribution has no more to
    give.

    Args:
        limit: The most architectures that are derived or drawn, >= 1.
        controller: The controller that searches first; it must have a distribution, and must not ask for budgets. None:
            none.
        after: Trials of ``controller``, >= 1. If the evaluator keeps learning, as in ENAS, give a multiple of its
            ``interval``: then all results are in, and what is derived is scored with the last weights.

    Attributes:
        learns: That of the controller that searches first.

    Raises:
        UsageError: If a setting is out of range, or that controller has no distribution.
    """

    order: ClassVar[Order] = "inner"
    state = ("queue", "handed")
    learns = False
    reads_distribution = True

    def __init__(self, limit: int = 1000, controller: Controller | None = None, after: int = 1000) -> None:
        self.limit = at_least_one("Derived", "limit", limit)
        self.controller = controller
        self.after = at_least_one("Derived", "after", after)
        if controller is not None:
            without_budgets("Derived", controller)
            if not isinstance(controller, Distribution):
                raise UsageError(
                    f"Derived: controller: expected one whose policy is a distribution, such as Reinforce(), got "
                    f"{type(controller).__name__}, which has none"
                )
            self.learns, self.reads_distribution = controller.learns, False

    def _start(self) -> None:
        self.queue: list[Architecture] = []
        self.handed = False
        self._searched = 0
        if self.controller is not None:
            self.begin(self.controller)

    # -- the controller that searches first ----------------------------------------------------

    @property
    def _searcher(self) -> Controller | None:
        """Who proposes now; None: nobody does any more. Its proposals come first, so that they have the same ids."""
        searches = self.controller is not None and self._searched < self.after and not self.controller.finished
        return self.controller if searches else None

    def _tell(self, trial: Trial) -> None:
        if self.controller is not None and trial.id < self._searched:
            self.controller.tell([trial])

    def _hear(self, trial: Trial) -> None:
        if self.controller is not None:
            self.controller.hear([trial])

    def expect_again(self, proposal: Proposal) -> None:
        """See ``Controller``."""
        super().expect_again(proposal)
        if self.controller is not None and proposal.id < self._searched:
            self.controller.expect_again(proposal)

    # -- what was learnt -----------------------------------------------------------------------

    def read(self, distribution: Distribution) -> None:
        """Draws all that will be proposed."""
        derived = self.space.validate(distribution.derived())
        drawn: dict[Architecture, float] = {}
        for _ in range(ATTEMPTS * self.limit):
            if len(drawn) >= self.limit:
                break
            log_probability, architecture = draw(distribution, self.space, self.rng)
            drawn[architecture] = log_probability
        drawn.pop(derived, None)
        likely = sorted(drawn, key=lambda architecture: (-drawn[architecture], architecture))
        self.queue = [derived, *likely][: self.limit]
        self.handed = True

    @property
    def finished(self) -> bool:
        """Whether all was proposed."""
        return self.handed and not self.queue

    def _ask(self) -> Answer:
        if (searcher := self._searcher) is not None:
            (proposal,) = searcher.ask()
            self._searched += 1
            return proposal.architecture, proposal.parent
        if not self.handed and self.controller is None:
            return self.space.sample(self.rng)
        if not self.handed:
            assert isinstance(self.controller, Distribution)
            self.read(self.controller)
        return tuple(self.queue.pop(0))

    def _ask_many(self, n: int) -> list[Answer]:
        found: list[Answer] = []
        while len(found) < n and not self.finished:
            found.append(self._ask())
        return found

    def _state_dict(self) -> dict[str, Any]:
        inner = None if self.controller is None else self.controller.state_dict()
        return super()._state_dict() | {"searched": self._searched, "inner": inner}

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        super()._load_state_dict(state)
        self._searched = state.get("searched", 0)
        if self.controller is not None:
            self.controller.load_state_dict(state["inner"])
