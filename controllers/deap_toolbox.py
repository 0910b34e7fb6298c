"""A DEAP toolbox of one's own: its crossover, mutation and selection under our loop.

Reference: Fortin, De Rainville, Gardner, Parizeau & Gagné, "DEAP: evolutionary algorithms made easy", Journal of
Machine Learning Research 2012.

The toolbox brings three operators, as DEAP's algorithms call them. ``mate`` takes two individuals and returns two,
``mutate`` takes one and returns a tuple of one, both may change what they are given; ``select`` takes a list of
individuals and a number, and returns so many of them. An individual is a list of options with a ``fitness``, whose only
value is the score, to be maximised: this controller has one objective. An ``evaluate`` is not needed: evaluators score.

``generational`` is DEAP's ``eaSimple``: a population as large as the last is selected from it, neighbours are mated
with ``crossover_probability``, each is mutated with ``mutation_probability``. Those that were neither keep their
score and are not scored again. ``steady_state`` makes one child at a time, of one or two parents that are selected from
the population as it is then; its result takes the place of the oldest member.

DEAP's operators draw from the global generators of Python and NumPy. Around every call of the toolbox these are put
into a state that belongs to the controller, made from its seed, and put back afterwards; so the search is the same
whatever was drawn elsewhere, it can be resumed, and what the rest of the program draws is the same as without it. That
holds as long as operators draw from nothing else and keep nothing between calls, and no other thread draws just then.

Where we differ from DEAP:

- The first population is drawn by the space.
- Proposals never wait. A generation is full when ``population_size`` results, scores that were kept included, are
  there, whenever they come; one worker walks DEAP's path exactly. If all children of a generation are proposed and
  results are due, there are more children of the same parents, until it is full. As long as the first is not, the
  results so far are the parents.
- A failed trial is no member of a population: a generation waits for another child instead.
- What an operator makes that is not in the space is drawn again, ``OPERATOR_DRAWS`` times in all.
- Only options and scores last: other attributes that an operator gives an individual are lost.
- Children that no operator touched are drawn again, ``CHILD_DRAWS`` times in all, where there is nothing else to
  propose; then they are repeats.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from deap import algorithms, base, tools

from archsearch.basics.checks import number, whole_number
from archsearch.components import import_object
from archsearch.controller import Controller, Order
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.space import Space
from archsearch.trial import Architecture, Trial

OPERATORS = ("mate", "mutate", "select")

OPERATOR_DRAWS = 100
"""Calls of an operator, until what it makes is in the space."""

CHILD_DRAWS = 10
"""Draws of a child or of a generation of them, until an operator changed something."""


def space_toolbox(space: Space) -> Any:
    """A toolbox of the space's own crossover and mutation, and tournaments of three; others may begin with it."""
    toolbox = base.Toolbox()
    toolbox.register("mate", _crossed, space)
    toolbox.register("mutate", _mutated, space)
    toolbox.register("select", tools.selTournament, tournsize=3)
    return toolbox


class DeapToolbox(Controller):
    """Your own DEAP toolbox (mate, mutate, select) as a controller (Fortin et al. 2012).

    The parent named in a proposal is, after a crossover, the first of the two parents for the first child and the
    second one for the second child.

    Args:
        make: A function from the space to a ``deap.base.Toolbox`` with ``mate``, ``mutate`` and ``select``, or its
            import path, such as ``my_lab.toolbox``. None: ``space_toolbox``, the space's own operators.
        population_size: Members of the population, >= 2.
        crossover_probability: Probability that two individuals are mated, 0 to 1.
        mutation_probability: Probability that a child is mutated, 0 to 1.
        scheme: "steady_state", one child at a time, or "generational".

    Raises:
        UsageError: If a setting is out of range, the toolbox lacks an operator, or an operator does not return what
            DEAP's do, or nothing that is in the space.
    """

    order: ClassVar[Order] = "steps"
    state = ("_asked", "_population", "_arrived", "_queue", "_bred")

    def __init__(
        self,
        make: Callable[..., Any] | str | None = None,
        population_size: int = 20,
        crossover_probability: float = 0.5,
        mutation_probability: float = 0.5,
        scheme: Literal["steady_state", "generational"] = "steady_state",
    ) -> None:
        self.make = make
        self.population_size = whole_number("DeapToolbox", "population_size", population_size, 2)
        self.crossover_probability = _probability("crossover_probability", crossover_probability)
        self.mutation_probability = _probability("mutation_probability", mutation_probability)
        self.scheme = scheme
        self._make = import_object(make) if isinstance(make, str) else make or space_toolbox
        if not callable(self._make):
            raise UsageError(
                "DeapToolbox: make: expected a function from the space to a toolbox, or its import path, such as "
                f"my_lab.toolbox, got {make!r}"
            )
        if crossover_probability == mutation_probability == 0:
            raise UsageError("DeapToolbox: expected a probability above 0, got 0 and 0: no child would ever be new")
        if scheme not in ("steady_state", "generational"):
            raise UsageError(f'DeapToolbox: scheme: expected "steady_state" or "generational", got {scheme!r}')

    def _start(self) -> None:
        self._asked = 0
        self._population: list[_Member] = []  # in a steady state the oldest first
        # What follows is for generations only.
        self._arrived: list[tuple[float, _Member]] = []  # members of the next one, with their places in it
        self._queue: list[tuple[Architecture, int]] = []  # children to propose, with their parents
        self._bred = False  # whether the members that are neither mated nor mutated have arrived
        self._generators = _GlobalGenerators(*self.rng.integers(2**32, size=2).tolist())
        with self._generators.in_place():
            self._toolbox = self._make(self.space)
        for name in OPERATORS:
            if not callable(getattr(self._toolbox, name, None)):
                raise UsageError(
                    f"DeapToolbox: make: expected a deap.base.Toolbox with {', '.join(OPERATORS)}, got "
                    f"{type(self._toolbox).__name__} without {name}; add toolbox.register({name!r}, ...)"
                )

    # -- asking ----------------------------------------------------------------------------------

    def _ask(self) -> Architecture | tuple[Architecture, int | None]:
        self._asked += 1
        parents = self._population or [member for _, member in self._arrived]
        if self._asked <= self.population_size or len(parents) < 2:
            return self.space.sample(self.rng)
        if self.scheme == "steady_state":
            with self._generators.in_place():
                return self._child(parents)
        if not self._queue:
            with self._generators.in_place():
                self._breed(parents)
        return self._queue.pop(0)

    def _child(self, parents: Sequence[_Member]) -> tuple[Architecture, int]:
        for _ in range(CHILD_DRAWS):
            crossed = random.random() < self.crossover_probability
            selected = [Individual(each, each.trial) for each in self._select(parents, 2 if crossed else 1)]
            child = self._mate(*selected)[0] if crossed else selected[0]
            mutated = random.random() < self.mutation_probability
            if mutated:
                (child,) = self._mutate(child)
            if crossed or mutated:
                break
        return tuple(child), child.trial

    def _breed(self, parents: Sequence[_Member]) -> None:
        """Fills the queue with a generation of children."""
        toolbox = base.Toolbox()  # DEAP's own algorithm, with operators that are checked
        toolbox.register("clone", lambda each: Individual(each, each.trial, each.fitness.values))
        toolbox.register("mate", self._mate)
        toolbox.register("mutate", self._mutate)
        # Members that are kept arrive once, and not while the first population, where they are, is incomplete.
        keep = bool(self._population) and not self._bred
        self._bred = self._bred or keep
        for _ in range(CHILD_DRAWS):
            selected = self._select(parents, self.population_size)
            offspring = algorithms.varAnd(selected, toolbox, self.crossover_probability, self.mutation_probability)
            if not all(each.fitness.valid for each in offspring):
                break
            if keep:  # a generation that needs no results
                parents = self._population = [each.member() for each in offspring]
        else:
            for each in offspring:
                del each.fitness.values
        for each in offspring:
            if not each.fitness.valid:
                self._queue.append((tuple(each), each.trial))
            elif keep:
                # Between the ids that the children before and after it will have: DEAP's order.
                self._arrived.append((self._asked - 1.5 + len(self._queue), each.member()))

    # -- the operators, checked --------------------------------------------------------------------

    def _select(self, members: Sequence[_Member], n: int) -> list[Individual]:
        candidates = [Individual(member.architecture, member.id, (member.score,)) for member in members]
        selected = self._toolbox.select(candidates, n)
        if not _is_group(selected, n, Individual) or not all(each.fitness.valid for each in selected):
            raise UsageError(
                f"DeapToolbox: select: expected {n} of the {len(members)} individuals that it was given, got "
                f"{selected!r:.200}; selRoulette, for one, needs scores above 0"
            )
        return list(selected)

    def _mate(self, first: Individual, second: Individual) -> list[Individual]:
        return self._vary("mate", [first, second])

    def _mutate(self, individual: Individual) -> list[Individual]:
        return self._vary("mutate", [individual])

    def _vary(self, name: str, individuals: Sequence[Individual]) -> list[Individual]:
        operator = getattr(self._toolbox, name)
        for _ in range(OPERATOR_DRAWS):
            # Copies, since operators change what they are given.
            given = [Individual(each, each.trial, each.fitness.values) for each in individuals]
            made = operator(*given)
            if not _is_group(made, len(given), Iterable):
                raise UsageError(
                    f"DeapToolbox: {name}: expected a tuple of {len(given)} individuals, as DEAP's operators return, "
                    f"got {made!r:.200}"
                )
            try:
                options = [self.space.validate(list(each)) for each in made]
            except InvalidArchitecture as error:
                refused = error
                continue
            return [Individual(each, parent.trial) for each, parent in zip(options, individuals, strict=True)]
        raise UsageError(
            f"DeapToolbox: {name}: {OPERATOR_DRAWS} draws from {list(individuals)} gave nothing in the space; "
            f"the last: {refused}"
        )

    # -- telling ---------------------------------------------------------------------------------

    def _tell(self, trial: Trial) -> None:
        if trial.evaluation is None:
            return
        member = _Member(trial.id, trial.architecture, trial.evaluation.score)
        if self.scheme == "steady_state":
            self._population = [*self._population, member][-self.population_size :]
            return
        self._arrived.append((trial.id, member))
        if len(self._arrived) >= self.population_size:
            # Too many only where late results met many that were kept: then the latest.
            self._population = [
                each for _, each in sorted(self._arrived, key=lambda each: each[0])[-self.population_size :]
            ]
            self._arrived, self._queue, self._bred = [], [], False

    # -- state -----------------------------------------------------------------------------------

    def _state_dict(self) -> dict[str, Any]:
        return {**super()._state_dict(), "generators": self._generators.state()}

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        super()._load_state_dict(state)
        self._population = [_member(*each) for each in self._population]
        self._arrived = [(place, _member(*each)) for place, each in self._arrived]
        self._queue = [(tuple(options), parent) for options, parent in self._queue]
        self._generators.restore(state["generators"])


class Fitness(base.Fitness):  # type: ignore[misc]  # DEAP has no types
    """One score, higher is better."""

    weights = (1.0,)


class Individual(list[int]):
    """What operators are given: a list of options. No class of ``deap.creator``, whose classes are global state.

    Attributes:
        fitness: With the score as its only value, if the individual was scored.
        trial: Id of the trial that scored it; of a child, that of its parent.
    """

    def __init__(self, options: Iterable[int] = (), trial: int = -1, values: Sequence[float] = ()) -> None:
        super().__init__(options)
        self.trial = trial
        self.fitness = Fitness(values)

    def member(self) -> _Member:
        """It as a member of a population; only if it was scored."""
        return _Member(self.trial, tuple(self), self.fitness.values[0])


class _Member(NamedTuple):
    id: int
    architecture: Architecture
    score: float


def _member(id_: int, options: Sequence[int], score: float) -> _Member:
    return _Member(id_, tuple(options), score)


class _GlobalGenerators:
    """The states of the global generators of Python and NumPy, as the operators of one search find them."""

    def __init__(self, python_seed: int, numpy_seed: int) -> None:
        self._python: Any = random.Random(python_seed).getstate()
        self._numpy: Any = np.random.RandomState(numpy_seed).get_state()  # the kind that the global one is

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the global generators go on from these states; outside, they are as if nothing had been drawn."""
        python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
        random.setstate(self._python)
        np.random.set_state(self._numpy)  # noqa: NPY002
        try:
            yield
        finally:
            self._python, self._numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002

    def state(self) -> dict[str, Any]:
        """Both as JSON data."""
        version, words, normal = self._python
        name, keys, *rest = self._numpy
        return {"python": [version, list(words), normal], "numpy": [name, keys.tolist(), *rest]}

    def restore(self, state: dict[str, Any]) -> None:
        """Puts back what ``state`` took."""
        version, words, normal = state["python"]
        name, keys, *rest = state["numpy"]
        self._python = (version, tuple(words), normal)
        self._numpy = (name, np.array(keys, np.uint32), *rest)


def _crossed(space: Space, first: Sequence[int], second: Sequence[int]) -> tuple[list[int], list[int]]:
    one, other, rng = tuple(first), tuple(second), _drawn_generator()
    return list(space.crossover(one, other, rng)), list(space.crossover(other, one, rng))


def _mutated(space: Space, individual: Sequence[int]) -> tuple[list[int]]:
    return (list(space.mutate(tuple(individual), _drawn_generator())),)


def _drawn_generator() -> np.random.Generator:
    """What a space draws from, seeded by Python's global generator, as everything in a toolbox should be."""
    return np.random.default_rng(random.getrandbits(64))


def _is_group(answer: Any, n: int, kind: Any) -> bool:
    """Whether it is a list or tuple of so many; an individual is none, its tuple was forgotten."""
    if not isinstance(answer, (list, tuple)) or isinstance(answer, Individual) or len(answer) != n:
        return False
    return all(isinstance(each, kind) for each in answer)


def _probability(name: str, value: float) -> float:
    return number("DeapToolbox", name, value, low=0, high=1)
