"""Finalists: many architectures are scored cheaply, and the best of them once more, at length.

Reference: Li & Talwalkar, "Random search and reproducibility for neural architecture search", UAI 2019, and the
authors' code: of 1,000 random architectures with shared weights, each scored on 10 batches of validation images, the
10 best are scored on all of them; several rounds of that.

Where we differ:

- Architectures come from any controller (the paper: random search). It hears of each of its proposals exactly once,
  with the cheap score: cheap and full scores cannot be compared.
- Nothing waits. A round is so many cheap *scores*: with the last one its finalists are chosen, and proposed next. Until
  then sampling goes on, so that with several workers some samples of a round are asked before the finalists of the
  round before. Failed samples do not count, nor do those whose result never comes.
- The finalists of a round are different architectures, even if the samples are not. Ties go to the older trial.
- Rounds follow one another until the search stops.
"""

from __future__ import annotations

import bisect
from typing import Any, ClassVar, NamedTuple

from archsearch.basics.checks import at_least_one
from archsearch.controller import Answer, Controller, Order, without_budgets
from archsearch.controllers.random_search import RandomSearch
from archsearch.controllers.trial_ids import TrialIds, comparable
from archsearch.errors import UsageError
from archsearch.trial import Architecture, Budget, Trial

ROUNDS = 40
"""Newest rounds whose samples can be named as parents; older parents are left out."""


class Finalists(Controller):
    """Scores many architectures cheaply, then the best of them at length, round after round (Li & Talwalkar 2019).

    Budgets are in the evaluator's unit: batches of validation images for ``OneShot``, where more than there are means
    all of them; epochs for ``Training``. A finalist continues the trial that began it, with the same seed. A round has
    ``samples + finalists`` completed trials. Allow some more for a search by several workers, which keep sampling while
    the last finalists are scored.

    Args:
        controller: The controller that proposes architectures; it must not ask for budgets itself. None:
            ``RandomSearch()``.
        samples: Cheap scores in a round, >= 1.
        finalists: How many of them are scored once more, >= 1 and up to ``samples``.
        budget: Budget of a cheap score, >= 1.
        full_budget: Budget of a finalist, above ``budget``. The default stands for all validation images; for
            ``Training``, give the epochs of a full training.

    Attributes:
        learns: That of the inner controller: whether results change which *new* architectures are proposed. Which
            architectures become finalists depends on results in any case.

    Raises:
        UsageError: If a setting is out of range, or the inner controller has budgets.
    """

    order: ClassVar[Order] = "inner"

    def __init__(
        self,
        controller: Controller | None = None,
        samples: int = 1000,
        finalists: int = 10,
        budget: int = 10,
        full_budget: int = 1000,
    ) -> None:
        self.controller = controller
        self.samples = at_least_one("Finalists", "samples", samples)
        self.finalists = at_least_one("Finalists", "finalists", finalists)
        self.budget = at_least_one("Finalists", "budget", budget)
        self.full_budget = at_least_one("Finalists", "full_budget", full_budget)
        if self.finalists > self.samples or self.full_budget <= self.budget:
            raise UsageError(
                "Finalists: expected finalists <= samples and full_budget > budget, "
                f"got {finalists} of {samples} and {full_budget} after {budget}"
            )
        self._inner = without_budgets("Finalists", RandomSearch() if controller is None else controller)
        self.learns = self._inner.learns
        self.budgets = (self.budget, self.full_budget)

    def _start(self) -> None:
        self.begin(self._inner)
        self._asked = 0
        self._running: dict[int, _Running] = {}
        self._trial_ids = TrialIds(runs=ROUNDS)
        self._scores = 0  # in this round
        self._best: list[_Sample] = []  # of this round
        self._chosen: list[_Sample] = []  # of the rounds before, to be proposed

    # -- asking ----------------------------------------------------------------------------------

    def _ask(self) -> Answer:
        id_ = self._asked  # the base class counts only when all of its ask() is done
        self._asked += 1
        if self._chosen:
            finalist = self._chosen.pop(0)
            return finalist.architecture, finalist.id, Budget(self.full_budget, self.budget, finalist.id)
        (proposal,) = self._inner.ask()
        self._trial_ids.add(proposal.id, id_)
        self._running[id_] = _Running(proposal.id, proposal.parent)
        return proposal.architecture, self._trial_ids.of(proposal.parent), Budget(self.budget)

    # -- telling ---------------------------------------------------------------------------------

    def _tell(self, trial: Trial) -> None:
        sample = self._running.pop(trial.id, None)
        if sample is None:  # a finalist: whose score is the best is for the search to say
            return
        self._inner.tell([trial._replace(id=sample.inner_id, parent=sample.inner_parent)])
        if trial.evaluation is not None:
            self._add(_Sample(-trial.evaluation.score, trial.id, trial.architecture))

    def _hear(self, trial: Trial) -> None:
        self._inner.hear([comparable(trial, self.budget)])

    def _add(self, sample: _Sample) -> None:
        same = [other for other in self._best if other.architecture == sample.architecture]
        if not same or sample < same[0]:
            self._best = [other for other in self._best if other not in same]
            bisect.insort(self._best, sample)
            del self._best[self.finalists :]
        self._scores += 1
        if self._scores == self.samples:
            self._chosen += self._best
            self._scores, self._best = 0, []

    # -- state -----------------------------------------------------------------------------------

    def _state_dict(self) -> dict[str, Any]:
        return {
            "inner": self._inner.state_dict(),
            "asked": self._asked,
            "running": [[id_, *running] for id_, running in self._running.items()],
            "firsts": self._trial_ids.state(),
            "scores": self._scores,
            "best": list(self._best),
            "chosen": list(self._chosen),
        }

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        self._inner.load_state_dict(state["inner"])
        self._asked, self._scores = state["asked"], state["scores"]
        self._running = {id_: _Running(*running) for id_, *running in state["running"]}
        self._trial_ids = TrialIds(state["firsts"], runs=ROUNDS)
        self._best, self._chosen = (
            [_Sample(score, id_, tuple(options)) for score, id_, options in state[key]] for key in ("best", "chosen")
        )


class _Running(NamedTuple):
    """What the inner controller calls a sample whose result is due."""

    inner_id: int
    inner_parent: int | None


class _Sample(NamedTuple):
    """A cheap score. In sorted order the best comes first, and among equals the oldest."""

    negative_score: float
    id: int
    architecture: Architecture
