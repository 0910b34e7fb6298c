"""Regularized (aging) evolution, and evolution from which nobody is removed.

Reference: Real, Aggarwal, Huang & Le, "Regularized evolution for image classifier architecture search",
AAAI 2019, Algorithm 1. The population is a queue. Each step draws a tournament from it with replacement, mutates
the winner once, appends the child and drops the *oldest* member, whatever its score.

With ``removal="none"`` the population grows, and a tournament may be a share of it: the evolution of Liu et al.,
"Hierarchical representations for efficient architecture search", ICLR 2018, Algorithm 1, which is
``RegularizedEvolution(population_size=200, tournament_size=0.05, removal="none")`` for 7,000 trials, on the space
``Hierarchical`` and with asynchronous workers.

Where we differ: proposals never wait for results. The first ``population_size`` proposals are random; after
them the tournament is drawn from the members that have come back so far (random again if there is none). Failed
trials never enter the population. ``immigrants`` is an addition, off by default.

The paper's population of 100 is random search for the first 100 trials. So what is left out goes by the trials that
the search is to have, where that is known when it begins: a tenth of them are the population, at least ``LEAST`` and
at most the paper's; a tournament is half of these, from 500 trials on a quarter. Measured (regret on three kinds of
problems, 20 seeds, 8 of 1,000 trials): after 100 trials 10 and 5 have 0.09, 3.5 and 8.2, where 20 and 5 have 0.22, 3.8
and 10.0; after 300 trials 20 and 10 have 0.07, 1.0 and 2.0, where 100 and 25 have 0.02, 1.4 and 3.5; after 1,000 trials
100 and 25 have 0.35 and 0.08 on the two that are not solved by then, where 50 and 25 have 0.29 and 0.17.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, get_args

from archsearch.basics.checks import at_least_one, number
from archsearch.controller import Controller, Order
from archsearch.controllers.possible import mutated
from archsearch.errors import UsageError
from archsearch.trial import Architecture, Trial

Removal = Literal["oldest", "none"]
Defaults = Literal["trials", "paper"]

LEAST = 10
"""Members of a population whose size is left out."""

MANY = 500
"""Trials from which a tournament whose size is left out is a quarter of the population."""

POPULATION, TOURNAMENT = 100, 25
"""The paper's."""


class RegularizedEvolution(Controller):
    """Regularized evolution: the winner of a tournament is mutated, the oldest member dies (Real et al. 2019).

    Args:
        population_size: Members of the population, >= 1. The paper uses 100. None: see ``defaults``.
        tournament_size: Members drawn, with replacement, from which a parent is chosen: a whole number >= 1, or, below
            1, a share of the current members, rounded to at least one. The paper uses 25. None: see ``defaults``.
        immigrants: Probability, 0 to 1, that a proposal is drawn at random instead of being mutated. The paper
            has none (0). A small value keeps a converged population moving when repeats are not evaluated.
        removal: Which member dies for each child: the ``oldest``, or ``none``. With ``none``, ``population_size`` is
            that of the first, random population, and memory and saved states grow with the trials.
        defaults: How sizes that are left out are set: ``trials``: by the number of trials (see the module), or as in
            the paper if that is not known; ``paper``: as in the paper.

    Raises:
        UsageError: If a setting is out of range, or there is no such removal.
    """

    order: ClassVar[Order] = "steps"
    state = ("_asked", "_told", "_members", "_scores", "_ids")

    def __init__(
        self,
        population_size: int | None = None,
        tournament_size: int | float | None = None,
        immigrants: float = 0.0,
        removal: Removal = "oldest",
        defaults: Defaults = "trials",
    ) -> None:
        name = "RegularizedEvolution"
        self.population_size = population_size
        if population_size is not None:
            self.population_size = at_least_one(name, "population_size", population_size)
        self.tournament_size: int | float | None = None
        if isinstance(tournament_size, float):
            self.tournament_size = number(name, "tournament_size", tournament_size, above=0, below=1)
        elif tournament_size is not None:
            self.tournament_size = at_least_one(name, "tournament_size", tournament_size)
        self.immigrants = number(name, "immigrants", immigrants, low=0, high=1)
        if removal not in get_args(Removal):
            raise UsageError(f"{name}: removal: expected one of {', '.join(get_args(Removal))}, got {removal!r}")
        self.removal: Removal = removal
        if defaults not in get_args(Defaults):
            raise UsageError(f"{name}: defaults: expected one of {', '.join(get_args(Defaults))}, got {defaults!r}")
        self.defaults: Defaults = defaults

    def _start(self) -> None:
        self._population, self._tournament = self._sizes()
        self._asked = 0
        self._told = 0
        # Three lists; if the oldest dies, a ring: position _told % population holds the oldest member.
        self._members: list[Architecture] = []
        self._scores: list[float] = []
        self._ids: list[int] = []

    def _sizes(self) -> tuple[int, int | float]:
        """Of population and tournament."""
        trials = self.plan.trials if self.defaults == "trials" else None
        usual = POPULATION if trials is None else min(max(LEAST, trials // 10), POPULATION)
        population = self.population_size or usual
        if self.tournament_size is not None:
            return population, self.tournament_size
        if trials is None:
            return population, min(population, TOURNAMENT)
        return population, max(1, population // (2 if trials < MANY else 4))

    def _ask(self) -> Architecture | tuple[Architecture, int | None]:
        self._asked += 1
        if self._asked <= self._population or not self._members:
            return self.space.sample(self.rng)
        if self.immigrants and self.rng.random() < self.immigrants:
            return self.space.sample(self.rng)
        tournament = self.rng.integers(len(self._members), size=self._drawn()).tolist()
        winner = max(tournament, key=self._scores.__getitem__)
        return mutated(self, self._members[winner]), self._ids[winner]

    def _drawn(self) -> int:
        """Members of a tournament."""
        size = self._tournament
        return size if isinstance(size, int) else max(1, round(size * len(self._members)))

    def _hear(self, trial: Trial) -> None:
        """As of its own; there are fewer random ones at the beginning then."""
        self._asked += trial.evaluation is not None and self._asked < self._population
        self._tell(trial)

    def _tell(self, trial: Trial) -> None:
        if trial.evaluation is None:
            if trial.failure in ("limit", "refused") and self._told < self._population:
                self._asked -= 1  # another random one takes its place: certain failures are no part of the beginning
            return
        if self.removal == "none" or len(self._members) < self._population:
            self._members.append(trial.architecture)
            self._scores.append(trial.evaluation.score)
            self._ids.append(trial.id)
        else:
            oldest = self._told % self._population
            self._members[oldest] = trial.architecture
            self._scores[oldest] = trial.evaluation.score
            self._ids[oldest] = trial.id
        self._told += 1

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        super()._load_state_dict(state)
        self._members = [tuple(member) for member in self._members]
