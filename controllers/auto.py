"""Auto: picks a controller by what is known at the start of a search, switches when another is better, and says so.

It is no published method. Its order follows ``docs/controllers.md`` and ``docs/arena.md``; its thresholds are guesses.

- With several ``objectives``: ``NSGA2``.
- With one: ``BayesianOptimization`` for the first ``modelled`` results. From then on ``LocalSearch`` from the best that
  was found, which takes a millisecond a trial at most, where fits of the model go on growing and bring little.
- More workers than ``MANY_WORKERS``: ``RegularizedEvolution``, since a model that waits for so many results proposes
  what it expects least of.
- An evaluation budget of at most ``FEW`` trials: ``BayesianOptimization`` begins to fit after three results.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from archsearch.basics.checks import at_least_one
from archsearch.controller import Answer, Controller, Order
from archsearch.controllers.bayesian_optimization import BayesianOptimization
from archsearch.controllers.local_search import LocalSearch, _Point
from archsearch.controllers.nsga2 import NSGA2
from archsearch.controllers.regularized_evolution import RegularizedEvolution
from archsearch.space import Space
from archsearch.trial import Trial

MANY_WORKERS = 32
FEW = 12


class Auto(Controller):
    """Switches between other controllers: first a model, later local search, NSGA-II for several objectives.

    It says what it picked, and why.

    Args:
        objectives: Several objectives, as ``NSGA2`` takes them, such as ``{"score": "max", "flops": "min"}``. None: the
            score.
        modelled: For how many results the model is in charge, >= 1; see the module.

    Raises:
        UsageError: If a setting is out of range.
    """

    order: ClassVar[Order] = "inner"

    def __init__(self, objectives: dict[str, Literal["max", "min"]] | None = None, modelled: int = 300) -> None:
        self.objectives = objectives
        self.modelled = at_least_one("Auto", "modelled", modelled)
        self._several = None if objectives is None or len(objectives) < 2 else NSGA2(objectives=objectives)

    def _start(self) -> None:
        self._told = 0
        self._best: list[Any] | None = None  # score, id, architecture
        self._switched = False
        chosen, why = self._first()
        self._inner = chosen
        self._begin(chosen)
        self._explain(f"Auto: {type(chosen).__name__}, since {why}")

    def _first(self) -> tuple[Controller, str]:
        """The controller for the beginning, and why."""
        trials, workers = self.plan.trials, self.plan.workers
        if self._several is not None:
            return self._several, f"there are {len(self.objectives or {})} objectives"
        if workers > MANY_WORKERS:
            return RegularizedEvolution(), f"{workers} workers are too many for a model that waits for their results"
        if self.space.max_options == 1:
            return RegularizedEvolution(), "there is nothing to choose"
        few = trials is not None and trials <= FEW
        why = f"a model makes most of the first {self.modelled} results"
        if few:
            why = f"{trials} trials are few, which a model makes most of"
        elif trials is None or trials > self.modelled:
            why += "; LocalSearch follows from the best of them"
        return BayesianOptimization(initial=3 if few else 6), why

    def _begin(self, inner: Controller) -> None:
        """Has an inner controller take part in this search: one space, one generator, one count of what is due."""
        inner.space, inner.rng, inner.plan, inner.refusal = self.space, self.rng, self.plan, self.refusal
        inner._pending = self._pending
        inner._start()

    def _explain(self, text: str) -> None:
        if self.say is not None:
            self.say(text)

    def check(self, space: Space) -> None:
        """Nothing is asked of a space."""

    # -- asking and telling ----------------------------------------------------------------------

    def _ask(self) -> Answer:
        self._inner._next_id, self._inner._heard = self._next_id, self._heard
        return self._inner._ask()

    def _ask_many(self, n: int) -> list[Answer]:
        return [self._ask() for _ in range(n)]

    def _tell(self, trial: Trial) -> None:
        self._inner._tell(trial)
        if trial.evaluation is None:
            return
        self._told += 1
        score = trial.evaluation.score
        if self._best is None or score > self._best[0]:
            self._best = [score, trial.id, trial.architecture]
        if isinstance(self._inner, BayesianOptimization) and self._told >= self.modelled:
            self._switch()

    def _hear(self, trial: Trial) -> None:
        self._inner._heard = self._heard
        self._tell(trial)

    def _switch(self) -> None:
        known = self._inner
        assert isinstance(known, BayesianOptimization)
        assert self._best is not None
        local = LocalSearch()
        self._begin(local)
        local._proposed = known._proposed  # nothing is proposed twice
        local._asked = self._next_id
        local._beginning, local._begun = _Point(*self._best), local.initial
        self._inner, self._switched = local, True
        self._explain(
            f"Auto: LocalSearch from the best of {self._told:,} results, since more of them help a model little"
        )

    # -- state -----------------------------------------------------------------------------------

    def _state_dict(self) -> dict[str, Any]:
        best = None if self._best is None else [self._best[0], self._best[1], list(self._best[2])]
        return {"told": self._told, "best": best, "switched": self._switched, "inner": self._inner._state_dict()}

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        self._told, self._switched = state["told"], state["switched"]
        best = state["best"]
        self._best = None if best is None else [best[0], best[1], tuple(best[2])]
        if self._switched:
            self._inner = LocalSearch()
            self._begin(self._inner)
        self._inner._pending = self._pending
        self._inner._load_state_dict(state["inner"])
