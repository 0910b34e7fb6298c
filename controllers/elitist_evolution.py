"""Elitist evolution: children of the best architectures found so far, none proposed twice (SPOS, OFA).

References: Guo et al., "Single path one-shot neural architecture search with uniform sampling", ECCV 2020, and the
authors' code (defaults). Cai, Gan, Wang, Zhang & Han, "Once-for-all: train one network and specialize it for efficient
deployment", ICLR 2020, search alike: ``ElitistEvolution(population_size=100, mutations=50, crossovers=50,
parents=25)``; in their code repeats are allowed, kernel and expansion of a block are redrawn together, and the
resolution is redrawn with probability 0.5.

A first population is random. Each generation then has so many children by mutation, followed by so many by uniform
crossover. Parents are drawn, uniformly and with replacement, from the best architectures of the whole search: there
is no ageing. A decision that is mutated is redrawn among *all* its options, as in both codes, so that it changes with
probability ``mutation_probability * (1 - 1 / options)``.

Where we differ:

- Proposals never wait. Generations are counted by proposals, and the parents are the best of the results that were
  told so far. The papers wait until a generation is scored; one worker here has new parents after every result.
- A child that was proposed before is drawn again, ``CHILD_DRAWS`` times in all. Then a random architecture takes its
  place, the first of ``RANDOM_DRAWS`` that was not proposed before; if all were, the last of them is a repeat. SPOS has
  as many draws of children, but pooled over the 25 of a kind, and fills up with random ones too.
- Memory is bounded: see ``Proposed``.
- SPOS draws again what exceeds a limit on its cost; here the search refuses it, a failed trial.
- In conditional spaces the decisions are walked through in order. Those that the parent has too, by name, keep its
  option or are redrawn as above; others are drawn uniformly. The space's own ``mutate`` changes one decision, so it
  is not used; its ``crossover`` is.
"""

from __future__ import annotations

import bisect
from typing import Any, ClassVar, NamedTuple

from archsearch.basics.checks import at_least_one, number, whole_number
from archsearch.controller import Controller, Order
from archsearch.controllers.proposed import Proposed
from archsearch.errors import UsageError
from archsearch.trial import Architecture, Trial

CHILD_DRAWS = 10
"""Draws of a child, until it is one that was not proposed before."""


class ElitistEvolution(Controller):
    """Elitist evolution: mutations and crossovers of the best so far, without repeats (SPOS, Guo et al. 2020).

    The parent named in a proposal is, after a crossover, the first of the two. Of equal scores, the older trial counts
    as better. The state has a constant 171 KiB for the proposals that are remembered.

    Args:
        population_size: Random architectures at the beginning, >= 1.
        mutations: Children by mutation in each generation, >= 0.
        crossovers: Children by crossover in each generation, >= 0; with ``mutations`` at least one.
        mutation_probability: Probability that a decision of a mutated child is redrawn, above 0 and up to 1.
        parents: How many of the best architectures are parents, >= 1.

    Raises:
        UsageError: If a setting is out of range.
    """

    order: ClassVar[Order] = "steps"

    def __init__(
        self,
        population_size: int = 50,
        mutations: int = 25,
        crossovers: int = 25,
        mutation_probability: float = 0.1,
        parents: int = 10,
    ) -> None:
        self.population_size = at_least_one("ElitistEvolution", "population_size", population_size)
        self.mutations = whole_number("ElitistEvolution", "mutations", mutations)
        self.crossovers = whole_number("ElitistEvolution", "crossovers", crossovers)
        self.mutation_probability = number(
            "ElitistEvolution", "mutation_probability", mutation_probability, above=0, high=1
        )
        self.parents = at_least_one("ElitistEvolution", "parents", parents)
        if self.mutations + self.crossovers < 1:
            raise UsageError("ElitistEvolution: expected mutations + crossovers >= 1, got 0: no children at all")

    def _start(self) -> None:
        self._asked = 0
        self._best: list[_Parent] = []
        self._proposed = Proposed()

    # -- asking ----------------------------------------------------------------------------------

    def _ask(self) -> Architecture | tuple[Architecture, int | None]:
        place = self._asked - self.population_size
        self._asked += 1
        if place >= 0 and self._best:
            by_mutation = place % (self.mutations + self.crossovers) < self.mutations
            for _ in range(CHILD_DRAWS):
                parent = self._draw_parent()
                child = self._mutated(parent.architecture) if by_mutation else self._crossed(parent.architecture)
                if self._proposed.add(child):
                    return child, parent.id
        return self._proposed.sample(lambda: self.space.sample(self.rng))

    def _draw_parent(self) -> _Parent:
        return self._best[int(self.rng.random() * len(self._best))]

    def _mutated(self, parent: Architecture) -> Architecture:
        space, probability = self.space, self.mutation_probability
        if space.arities is not None:
            chances, draws = self.rng.random((2, len(parent))).tolist()
            each = zip(parent, space.arities, chances, draws, strict=True)
            return tuple([int(draw * n) if chance < probability else option for option, n, chance, draw in each])
        wishes = {space.label(parent[:i]): space.meanings(parent[:i])[option] for i, option in enumerate(parent)}
        child: Architecture = ()
        while n := space.arity(child):
            wish, meanings = wishes.get(space.label(child)), space.meanings(child)
            if wish is None or wish not in meanings or self.rng.random() < probability:
                option = int(self.rng.integers(n))
            else:
                option = meanings.index(wish)
            child = (*child, option)
        return child

    def _crossed(self, first: Architecture) -> Architecture:
        return self.space.crossover(first, self._draw_parent().architecture, self.rng)

    # -- telling ---------------------------------------------------------------------------------

    def _hear(self, trial: Trial) -> None:
        """As of its own; there are fewer random ones at the beginning then."""
        self._asked += trial.evaluation is not None and self._asked < self.population_size
        self._tell(trial)

    def _tell(self, trial: Trial) -> None:
        if trial.evaluation is None:
            return
        result = _Parent(-trial.evaluation.score, trial.id, trial.architecture)
        for i, other in enumerate(self._best):
            if other.architecture == result.architecture:  # a repeat: one place, for the better result
                self._best[i] = min(result, other)
                self._best.sort()
                return
        bisect.insort(self._best, result)
        del self._best[self.parents :]

    # -- state -----------------------------------------------------------------------------------

    def _state_dict(self) -> dict[str, Any]:
        return {"asked": self._asked, "best": list(self._best), "proposed": self._proposed.state()}

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        self._asked = state["asked"]
        self._best = [_Parent(score, id_, tuple(options)) for score, id_, options in state["best"]]
        self._proposed = Proposed(**state["proposed"])


class _Parent(NamedTuple):
    """A result among the best. In sorted order the best comes first, and among equals the oldest."""

    negative_score: float
    id: int
    architecture: Architecture
