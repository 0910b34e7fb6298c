"""Co-evolution of blueprints and modules, each kept apart in species (CoDeepNEAT).

Reference: Miikkulainen et al., "Evolving deep neural networks", 2017 (arXiv 1703.00548), after Stanley & Miikkulainen,
"Evolving neural networks through augmenting topologies", 2002 (speciation). Two populations: blueprints, whose nodes
name species of modules, and modules. A network is a blueprint and a module of each species; the fitness of both is the
mean of the scores of the networks that they were in.

Where we differ: proposals never wait, so there are no generations. The first networks are random, and their parts are
the first populations. Then each proposal draws a species of blueprints and, by a tournament, a blueprint of it, and a
module of each species likewise; some of them are children, by crossover within the species and mutation. A population
that is too large loses the worst of its largest species. Species are as many as the space has modules; one of
blueprints is begun by what differs enough. In a space without modules everything is blueprint: evolution in species.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from archsearch.abilities import Modular
from archsearch.basics.checks import at_least_one, number
from archsearch.controller import Controller
from archsearch.trial import Architecture, Trial

Genes = dict[str, int]
"""Name of each decision to what is meant (``Space.meanings``)."""
DISTANT = 0.5
"""Share of decisions that differ, from which on a blueprint begins a species of its own."""


class CoEvolution(Controller):
    """Co-evolution of blueprints and modules in species (CoDeepNEAT, Miikkulainen et al. 2017).

    Args:
        blueprints: Size of the population of blueprints, >= 1.
        modules: Size of the population of modules, >= 1.
        first: Random networks at the beginning, >= 1.
        species: The most species of blueprints, >= 1.
        tournament: Members drawn, with replacement, to choose one from, >= 1.
        crossover: Probability that a child has two parents, 0 to 1.
        fresh: Probability that a module is a new child instead of an existing one, 0 to 1. If no module is new, the
            blueprint is.

    Raises:
        UsageError: If a setting is out of range.
    """

    def __init__(
        self,
        blueprints: int = 25,
        modules: int = 45,
        first: int = 20,
        species: int = 3,
        tournament: int = 3,
        crossover: float = 0.2,
        fresh: float = 0.5,
    ) -> None:
        self.blueprints = at_least_one("CoEvolution", "blueprints", blueprints)
        self.modules = at_least_one("CoEvolution", "modules", modules)
        self.first = at_least_one("CoEvolution", "first", first)
        self.species = at_least_one("CoEvolution", "species", species)
        self.tournament = at_least_one("CoEvolution", "tournament", tournament)
        self.crossover = number("CoEvolution", "crossover", crossover, low=0, high=1)
        self.fresh = number("CoEvolution", "fresh", fresh, low=0, high=1)

    def _start(self) -> None:
        self._modular = self.space if isinstance(self.space, Modular) else None  # asked once: it is slow to tell
        self._slots = self._modular.modules if self._modular else 0
        self._begun = 0  # proposals, which is also the id of the next one
        self._plans = _Population(self.blueprints, self.species, DISTANT)
        self._parts = _Population(self.modules, max(1, self._slots), 0.0)
        self._uses: dict[int, list[int]] = {}  # of each pending proposal its blueprint, then its modules; -1: new ones

    # -- asking ----------------------------------------------------------------------------------

    def _ask(self) -> Architecture | tuple[Architecture, int | None]:
        self._begun += 1
        uses = self._uses[self._begun - 1] = [-1] * (1 + self._slots)
        if self._begun <= self.first or not self._plans.members:
            return self.space.sample(self.rng)
        plan = self._plans.drawn(int(self.rng.integers(len(self._plans.founders))), self.tournament, self.rng)
        wishes: dict[tuple[int | None, str], int] = {(None, name): gene for name, gene in plan.genes.items()}
        fresh: list[int | None] = []
        for slot in range(self._slots):
            part = self._parts.drawn(slot, self.tournament, self.rng)
            genes = part.genes
            if self.rng.random() < self.fresh:
                genes = self._crossed(self._parts, part)
                fresh.append(slot)
            else:
                uses[1 + slot] = part.id
            wishes |= {(slot, name): meaning for name, meaning in genes.items()}
        if not fresh or self.rng.random() < self.fresh:
            crossed = self._crossed(self._plans, plan)
            wishes |= {(None, name): meaning for name, meaning in crossed.items()}
            fresh.append(None)
        else:
            uses[0] = plan.id
        return self._assembled(wishes, fresh), plan.trial

    def _crossed(self, population: _Population, one: _Member) -> Genes:
        """The genes of a member, or of two of its species."""
        if self.rng.random() >= self.crossover:
            return dict(one.genes)
        genes = dict(population.drawn(one.species, self.tournament, self.rng).genes)
        for name, meaning in one.genes.items():
            if name not in genes or self.rng.random() < 0.5:
                genes[name] = meaning
        return genes

    def _assembled(self, wishes: Mapping[tuple[int | None, str], int], fresh: list[int | None]) -> Architecture:
        """The architecture with these genes, in which one decision of each of some parts is changed."""
        whole = self._walked(wishes, {})
        places: dict[int | None, list[str]] = {part: [] for part in fresh}
        for i in range(len(whole)):
            part, name = self._part(self.space.label(whole[:i]))
            if part in places and self.space.arity(whole[:i]) > 1:
                places[part].append(name)
        changed = {(part, names[int(self.rng.integers(len(names)))]) for part, names in places.items() if names}
        return self._walked(wishes, dict.fromkeys(changed))

    def _walked(self, wishes: Mapping[tuple[int | None, str], int], changed: Mapping[Any, Any]) -> Architecture:
        prefix: Architecture = ()
        while n := self.space.arity(prefix):
            gene = self._part(self.space.label(prefix))
            wish, meanings = wishes.get(gene), self.space.meanings(prefix)
            there = None if wish is None or wish not in meanings else meanings.index(wish)
            if there is None:
                option = int(self.rng.integers(n))
            elif gene in changed and n > 1:
                option = int(self.rng.integers(n - 1))
                option += option >= there
            else:
                option = there
            prefix = (*prefix, option)
        return prefix

    def _part(self, label: str) -> tuple[int | None, str]:
        return self._modular.module_of(label) if self._modular else (None, label)

    # -- telling ---------------------------------------------------------------------------------

    def _tell(self, trial: Trial) -> None:
        plan, *parts = self._uses.pop(trial.id, [-1] * (1 + self._slots))
        if trial.evaluation is None:
            return
        genes: dict[int | None, Genes] = {None: {}, **{slot: {} for slot in range(self._slots)}}
        for i, option in enumerate(trial.architecture):
            prefix = trial.architecture[:i]
            part, name = self._part(self.space.label(prefix))
            genes[part][name] = self.space.meanings(prefix)[option]
        score = trial.evaluation.score
        self._plans.told(plan, genes[None], score, trial.id)
        used = self._modular.used_modules(trial.architecture) if self._modular else frozenset()
        for slot, part_id in enumerate(parts):
            if slot in used:
                self._parts.told(part_id, genes[slot], score, trial.id)

    # -- state -----------------------------------------------------------------------------------

    def _state_dict(self) -> dict[str, Any]:
        return {
            "begun": self._begun,
            "uses": [[id_, list(uses)] for id_, uses in self._uses.items()],
            "populations": [population.state() for population in (self._plans, self._parts)],
        }

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        self._begun = state["begun"]
        self._uses = {id_: list(uses) for id_, uses in state["uses"]}
        for population, kept in zip((self._plans, self._parts), state["populations"], strict=True):
            population.load(kept)


class _Member:
    """A blueprint or a module: its genes, and the scores of the networks that it was in."""

    def __init__(self, id_: int, genes: Genes, species: int, trial: int, total: float = 0.0, uses: int = 0) -> None:
        self.id, self.genes, self.species, self.trial = id_, genes, species, trial
        self.total, self.uses = total, uses

    @property
    def fitness(self) -> float:
        """The mean score."""
        return self.total / self.uses


class _Population:
    """Members in species, each of which is what is nearest to its founder.

    Args:
        size: Most members.
        species: Most species.
        distant: A member farther than that from all founders founds a species, while there are fewer.
    """

    def __init__(self, size: int, species: int, distant: float) -> None:
        self.size, self.species, self.distant = size, species, distant
        self.members: list[_Member] = []
        self.founders: list[Genes] = []
        self._next = 0

    def told(self, id_: int, genes: Genes, score: float, trial: int) -> None:
        """A score of a network with a member, or, by the id -1, with a new one."""
        member = next((member for member in self.members if id_ != -1 and member.id == id_), None)
        if member is None:  # new, or lost in the meantime
            member = _Member(self._next, genes, self._species_of(genes), trial)
            self._next += 1
            self.members.append(member)
        member.total += score
        member.uses += 1
        if len(self.members) > self.size:
            sizes = [sum(member.species == k for member in self.members) for k in range(len(self.founders))]
            largest = sizes.index(max(sizes))
            self.members.remove(
                min((m for m in self.members if m.species == largest), key=lambda member: (member.fitness, -member.id))
            )

    def _species_of(self, genes: Genes) -> int:
        distances = [distance(genes, founder) for founder in self.founders]
        if not distances or (len(distances) < self.species and min(distances) > self.distant):
            self.founders.append(genes)
            return len(self.founders) - 1
        return int(np.argmin(distances))

    def drawn(self, species: int, tournament: int, rng: np.random.Generator) -> _Member:
        """The fittest of some members of a species, of all if it has none."""
        some = [member for member in self.members if member.species == species] or self.members
        drawn: list[_Member] = [some[i] for i in rng.integers(len(some), size=tournament).tolist()]
        return max(drawn, key=lambda member: member.fitness)

    def state(self) -> dict[str, Any]:
        """What ``load`` needs, as JSON data."""
        members = [[m.id, dict(m.genes), m.species, m.trial, m.total, m.uses] for m in self.members]
        return {"members": members, "founders": [dict(genes) for genes in self.founders], "next": self._next}

    def load(self, state: dict[str, Any]) -> None:
        """Goes on from what ``state`` gave."""
        self.members = [_Member(*member) for member in state["members"]]
        self.founders, self._next = [dict(genes) for genes in state["founders"]], state["next"]


def distance(one: Genes, other: Genes) -> float:
    """The share of the decisions of two genomes that only one has, or in which they differ; 0 to 1."""
    names = one.keys() | other.keys()
    return sum(one.get(name) != other.get(name) for name in names) / max(1, len(names))
