"""Auto: picks a controller by what is known at the start of a search, switches when another is better, and says so.

It is no published method. Its rules follow ``docs/arena.md``; ``docs/controllers.md`` has them in a table.

- Several ``objectives``: ``HypervolumeImprovement``, then ``NSGA2`` from the front that it has found. With many workers
  ``NSGA2`` at once, whose population goes by the trials: few of them make no generations of 40.
- One: ``BayesianOptimization``, which is ahead up to some hundred trials on every kind of space of the arena.
- What follows once ``modelled`` results are there, when fits go on growing and bring little: ``LocalSearch`` from the
  best of them, where scores have no noise. It compares single scores, so with noise, or where nobody knows, the model
  stays, which averages; after ``NOISY`` results ``RegularizedEvolution`` goes on with the newest of them.
- Look-ups in a flat space, more of them than a model makes the most of: ``LocalSearch`` at once, a tenth of a
  millisecond a trial. No controller of the package that costs as little is ahead of it there.
- More workers than ``MANY_WORKERS``: a model that waits for so many results proposes what it expects least of.
  ``OnePlusLambda`` is ahead of others that cost little, with noise ``RegularizedEvolution``.
- At most ``FEW`` trials: ``BayesianOptimization`` begins to fit after three results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from archsearch.basics.checks import at_least_one
from archsearch.controller import Answer, Controller, Order
from archsearch.errors import RunFolderError
from archsearch.space import Space
from archsearch.trial import Evaluation, Trial

if TYPE_CHECKING:
    from archsearch.controllers.bayesian_optimization import BayesianOptimization

MANY_WORKERS = 32
FEW = 12
NOISY = 1_000
"""Results of a model, where scores are noisy or nobody knows."""

SMALLEST, LARGEST, GENERATIONS = 10, 40, 20
"""Populations of ``NSGA2``, and generations that the trials are to make."""


class _Part(NamedTuple):
    """What Auto does for a while.

    Attributes:
        name: Of the controller.
        why: For the user, with what follows.
        settings: Of the controller.
        until: Results from which the next part goes on; None: it is the last.
    """

    name: str
    why: str
    settings: dict[str, Any]
    until: int | None = None


class Auto(Controller):
    """Switches between other controllers: first a model, later local search, or NSGA-II for several objectives.

    It says what it picked, and why.

    Args:
        objectives: Several objectives, as ``NSGA2`` takes them, such as ``{"score": "max", "flops": "min"}``. None: the
            score.
        modelled: For how many results the model is in charge, >= 1; see the module.

    Raises:
        UsageError: If a setting is out of range.
        RunFolderError: If a state is of an Auto with other rules.
    """

    order: ClassVar[Order] = "inner"

    def __init__(self, objectives: dict[str, Literal["max", "min"]] | None = None, modelled: int = 300) -> None:
        self.objectives = objectives
        self.modelled = at_least_one("Auto", "modelled", modelled)
        if objectives is not None:
            _make("NSGA2", {"objectives": objectives})  # which says what is wrong with them

    def _start(self) -> None:
        self._told = 0
        self._best: list[Any] | None = None  # score, id, architecture
        self._parts = self._planned()
        self._at = 0
        self._enter()

    # -- what is done ------------------------------------------------------------------------------

    def _planned(self) -> list[_Part]:
        """What is done, one after another."""
        trials, workers, noise, instant = self.plan
        if self.objectives is not None and self.objectives != {"score": "max"}:
            return self._several(self.objectives)
        if self.space.max_options == 1:
            return [_Part("RandomSearch", "there is nothing to choose", {})]
        if workers > MANY_WORKERS:
            name = "OnePlusLambda" if noise == 0 else "RegularizedEvolution"
            return [_Part(name, f"{workers} workers are too many for a model that waits for their results", {})]
        if trials is not None and trials <= FEW:
            return [
                _Part("BayesianOptimization", f"{trials} trials are few, which a model makes most of", {"initial": 3})
            ]
        many = trials is not None and trials > self.modelled
        if instant and noise == 0 and many and self.space.arities is not None:
            why = f"{trials:,} look-ups without noise in a space of fixed length need no model"
            return [_Part("LocalSearch", why, {})]
        return self._modelled(noise == 0)

    def _several(self, objectives: dict[str, Literal["max", "min"]]) -> list[_Part]:
        """A model for each objective, and evolution of what they have found."""
        trials, workers, _, _ = self.plan
        evolution: dict[str, Any] = {"objectives": objectives}
        if trials is not None:
            evolution["population_size"] = min(max(SMALLEST, trials // GENERATIONS), LARGEST)
        n = len(objectives)
        why = f"there are {n} objectives" if n > 1 else "the score is no objective"
        if workers > MANY_WORKERS:
            return [_Part("NSGA2", f"{why}, and {workers} workers are too many for models that wait", evolution)]
        why += f", and models make most of the first {self.modelled:,} results"
        if trials is None or trials > self.modelled:
            why += "; NSGA2 follows"
        last = "since more of them help models little"
        return [
            _Part("HypervolumeImprovement", why, {"objectives": objectives}, self.modelled),
            _Part("NSGA2", last, evolution),
        ]

    def _modelled(self, exact: bool) -> list[_Part]:
        """A model, and what follows where there are more trials than it makes most of."""
        until = self.modelled if exact else max(self.modelled, NOISY)
        follows = "LocalSearch" if exact else "RegularizedEvolution"
        why = f"a model makes most of the first {until:,} results"
        if self.plan.trials is None or self.plan.trials > until:
            why += f"; {follows} follows"
        last = "since more of them help a model little"
        return [_Part("BayesianOptimization", why, {}, until), _Part(follows, last, {})]

    def _enter(self) -> None:
        """Begins the part that is due, and says so."""
        part = self._parts[self._at]
        self._inner = _make(part.name, part.settings)
        self._begin(self._inner)
        if self._at:
            self._explain(f"Auto: {part.name} from {self._told:,} results, {part.why}")
        else:
            self._explain(f"Auto: {part.name}, since {part.why}")

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
        if (until := self._parts[self._at].until) is not None and self._told >= until:
            self._switch()

    def _hear(self, trial: Trial) -> None:
        self._inner._heard = self._heard
        self._tell(trial)

    def _switch(self) -> None:
        """From the model to what follows, which knows what the model knew."""
        known: Any = self._inner
        self._at += 1
        self._enter()
        if self._parts[self._at].name == "LocalSearch":
            self._climb_from(known)
        elif self._parts[self._at].name == "NSGA2":
            # The front and what is near it.
            evolution: Any = self._inner
            evolution._next_id = self._next_id
            evolution.begin_with((label.id, label.architecture, label.values) for label in known._labels)
        else:
            self._evolve_from(known)

    def _climb_from(self, known: BayesianOptimization) -> None:
        """Local search from the best result; nothing is proposed twice."""
        from archsearch.controllers.local_search import _Point

        local: Any = self._inner
        local._proposed, local._asked = known._proposed, self._next_id
        assert self._best is not None
        local._beginning, local._begun = _Point(*self._best), local.initial

    def _evolve_from(self, known: BayesianOptimization) -> None:
        """Evolution whose first population are the newest results."""
        evolution: Any = self._inner
        evolution._asked = max(self._next_id, evolution._population)  # nothing more is drawn at random
        for id_, score, architecture, _ in known._labels:
            evolution._tell(Trial(id_, architecture, None, Evaluation(score)))

    # -- state -----------------------------------------------------------------------------------

    def _state_dict(self) -> dict[str, Any]:
        best = None if self._best is None else [self._best[0], self._best[1], list(self._best[2])]
        name = self._parts[self._at].name
        return {"told": self._told, "best": best, "part": self._at, "name": name, "inner": self._inner._state_dict()}

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        several = self._parts[0].name == "HypervolumeImprovement"
        # A state of before names no controller; of several objectives it was NSGA2.
        if "part" not in state or (several and "name" not in state):
            raise RunFolderError("Auto: the run was begun under other rules of choice; start a new run")
        self._told, self._at, best = state["told"], state["part"], state["best"]
        self._best = None if best is None else [best[0], best[1], tuple(best[2])]
        part = self._parts[self._at]
        self._inner = _make(part.name, part.settings)
        self._begin(self._inner)
        self._inner._load_state_dict(state["inner"])


def _make(name: str, settings: dict[str, Any]) -> Controller:
    """A controller of the package, imported only where it is wanted: some need libraries that take long to import."""
    from archsearch import controllers

    made: Controller = getattr(controllers, name)(**settings)
    return made
