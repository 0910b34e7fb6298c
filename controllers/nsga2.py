"""NSGA-II: the best compromises between several objectives, such as accuracy, latency and parameters.

References: Deb, Pratap, Agarwal & Meyarivan, "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE
Transactions on Evolutionary Computation 2002. Used by NSGA-Net (Lu et al., GECCO 2019) and FairNAS (Chu, Zhang & Xu,
ICCV 2021).

A parent is the better of two members of the population: that of the lower rank, or of equal ranks the one with more
room around it. Rank 0 is what nobody dominates, rank 1 what only those dominate, and so on; the room is the crowding
distance within a rank. A child is crossed from two parents with ``crossover_probability``, or else a copy of one, and
one of its decisions is mutated by the space. When as many results have come in as the population has members, the best
of both together, by rank and then crowding distance, are the next population.

Sorting and crowding distance are DEAP's. Its tournament draws from Python's global generator, so ours is not.

Where we differ:

- Proposals never wait. A generation is ``population_size`` results, whenever they come and whoever their parents were;
  one worker walks the path of the paper. As long as the population is not full, every result enters it at once.
- Every child is mutated, in one decision: the paper's probability of 1 / decisions for each, without its variance.
- An architecture has one place in the population: a repeat counts for the front only. A child that is there, or among
  the results since, is drawn again, ``CHILD_DRAWS`` times in all; the last of them may be a repeat.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar, Literal, NamedTuple

from deap import base, tools

from archsearch.basics.checks import at_least_one, number, whole_number
from archsearch.controller import Controller, Order
from archsearch.controllers.objectives import Compromise, check_objectives, compromises, signs_of, values_of
from archsearch.controllers.possible import is_possible, mutated, sampled
from archsearch.trial import Architecture, Trial

CHILD_DRAWS = 10
"""Draws of a child, until it is one that is not in the population, nor among the results since."""


class NSGA2(Controller):
    """NSGA-II: evolution towards the best compromises between several objectives (Deb et al. 2002).

    ``pareto_front`` has the best compromises at any time. The parent named in a proposal is, after a crossover, the
    first of the two. A result that lacks an objective, or whose objective is not finite, counts as failed: nothing is
    learnt from it.

    State and time per trial grow with the number of trials on the front; trials with equal values count once.

    Args:
        objectives: What is wanted, as ``{"score": "max", "latency_seconds": "min"}``: "score" or any metrics that the
            evaluator reports, each as large ("max") or as small ("min") as possible. None: the score alone.
        population_size: Members of the population, and results of a generation, >= 2. The paper uses 100, NSGA-Net 40.
        crossover_probability: That a child has two parents, 0 to 1. The paper uses 0.9.
        initial: Random architectures at the beginning, >= 1; None: ``population_size``.

    Raises:
        UsageError: If a setting is out of range.
    """

    order: ClassVar[Order] = "steps"
    state = ("_asked", "_told", "_population", "_arrived", "_front")

    def __init__(
        self,
        objectives: dict[str, Literal["max", "min"]] | None = None,
        population_size: int = 40,
        crossover_probability: float = 0.9,
        initial: int | None = None,
    ) -> None:
        self.objectives = objectives
        self.population_size = whole_number("NSGA2", "population_size", population_size, 2)
        self.crossover_probability = number("NSGA2", "crossover_probability", crossover_probability, low=0, high=1)
        self.initial = None if initial is None else at_least_one("NSGA2", "initial", initial)
        check_objectives("NSGA2", objectives)

    @property
    def pareto_front(self) -> list[Compromise]:
        """The trials that no other result dominates, the best by the first objective first.

        Of several with equal values it is the one with the lowest id.
        """
        return compromises(self._front, signs_of(self.objectives))

    def _start(self) -> None:
        self._asked = 0
        self._told = 0  # results since the population was chosen
        self._population: list[_Member] = []
        self._arrived: list[_Member] = []  # results that are not in the population yet, each architecture once
        self._front: list[_Member] = []

    # -- asking ----------------------------------------------------------------------------------

    def _ask(self) -> Architecture | tuple[Architecture, int | None]:
        self._asked += 1
        if self._asked <= (self.initial or self.population_size):
            return sampled(self)
        if self._arrived and len(self._population) < self.population_size:
            self._choose()
        if not self._population:
            return sampled(self)
        taken = {member.architecture for member in (*self._population, *self._arrived)}
        for _ in range(CHILD_DRAWS):
            parent, child = self._draw_child()
            if child not in taken and is_possible(self, child):
                break
        else:
            if not is_possible(self, child):
                child = mutated(self, parent.architecture)
        return child, parent.id

    def _draw_child(self) -> tuple[_Member, Architecture]:
        parent = self._draw_parent()
        child = parent.architecture
        if self.rng.random() < self.crossover_probability:
            child = self.space.crossover(child, self._draw_parent().architecture, self.rng)
        return parent, self.space.mutate(child, self.rng)

    def _draw_parent(self) -> _Member:
        one, other = (self._population[int(draw * len(self._population))] for draw in self.rng.random(2).tolist())
        return other if other.place < one.place else one

    # -- telling ---------------------------------------------------------------------------------

    def _hear(self, trial: Trial) -> None:
        """As of its own; there are fewer random ones at the beginning then."""
        self._asked += trial.evaluation is not None and self._asked < (self.initial or self.population_size)
        self._tell(trial)

    def _tell(self, trial: Trial) -> None:
        values = values_of("NSGA2", trial, signs_of(self.objectives))
        if values is None:
            return
        member = _Member(trial.id, trial.architecture, values)
        self._front = _with(self._front, member)
        if all(member.architecture != other.architecture for other in (*self._population, *self._arrived)):
            self._arrived.append(member)
        self._told += 1
        if self._told >= self.population_size:
            self._choose()

    def begin_with(self, results: Iterable[tuple[int, Architecture, tuple[float, ...]]]) -> None:
        """Has the best of some results, by rank and crowding, for a first population: nothing is drawn at random then.

        Args:
            results: At least one: id of the trial, architecture, and all objectives, to be maximised. Of an
                architecture the first counts.
        """
        members: dict[Architecture, _Member] = {}
        for result in results:
            member = _Member(*result)
            members.setdefault(member.architecture, member)
            self._front = _with(self._front, member)
        self._asked = max(self._next_id, self.population_size)
        self._population = _best(list(members.values()), self.population_size)

    def _choose(self) -> None:
        """The next population: the best of the one before and of what has arrived since."""
        self._population = _best([*self._population, *self._arrived], self.population_size)
        self._arrived = []
        self._told = 0

    # -- state -----------------------------------------------------------------------------------

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        super()._load_state_dict(state)
        self._population, self._arrived, self._front = (
            [_Member(id_, tuple(architecture), tuple(values), place) for id_, architecture, values, place in members]
            for members in (self._population, self._arrived, self._front)
        )


class _Member(NamedTuple):
    """A result. All values are to be maximised; the lower the place, the better, equal ones being as good."""

    id: int
    architecture: Architecture
    values: tuple[float, ...]
    place: int = 0


def _best(members: Sequence[_Member], size: int) -> list[_Member]:
    """Up to ``size`` of them by rank, then by crowding distance, the best first, with their places."""
    # A class per number of objectives, as DEAP wants it. Sorted, so that the order of arrival plays no part.
    fitness = type("_Fitness", (base.Fitness,), {"weights": (1.0,) * len(members[0].values)})
    individuals = [SimpleNamespace(member=member, fitness=fitness(member.values)) for member in sorted(members)]
    ranked: list[tuple[tuple[int, float], _Member]] = []
    for rank, front in enumerate(tools.sortNondominated(individuals, size)):
        tools.emo.assignCrowdingDist(front)
        ranked += [((rank, -individual.fitness.crowding_dist), individual.member) for individual in front]
    ranked = sorted(ranked, key=lambda each: each[0])[:size]
    places = {key: place for place, key in enumerate(dict.fromkeys(key for key, _ in ranked))}
    return [member._replace(place=places[key]) for key, member in ranked]


def _with(front: list[_Member], new: _Member) -> list[_Member]:
    """The front after a result; of equal values the oldest trial stays."""
    for i, member in enumerate(front):
        if member.values == new.values:
            return [*front[:i], min(member, new), *front[i + 1 :]]
        if _nowhere_worse(member.values, new.values):
            return front
    return [*(member for member in front if not _nowhere_worse(new.values, member.values)), new]


def _nowhere_worse(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(a >= b for a, b in zip(one, other, strict=True))
