"""The search space: a tree of categorical decisions.

A space answers one question, ``arity(prefix)``: given the decisions so far, how many options has the
next one (0: the architecture is complete). Everything else is derived from it. Spaces of fixed
length hand their arities to ``Space.__init__`` and get NumPy-vectorised sampling and encoding.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from archsearch.basics.checks import is_option
from archsearch.basics.decisions import Decisions, as_tuples, uniform_leaf
from archsearch.basics.decisions import tokens as tokens
from archsearch.basics.decisions import vocabulary as vocabulary
from archsearch.basics.descriptions import Described
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import networkx

    from archsearch.basics.operation_graphs import OperationGraphs


COUNT_LIMIT = 200_000
"""Distinct sub-trees that counting visits before it gives up on a conditional space."""

Over = Literal["decisions", "architectures"]
"""What a draw is uniform over: the options of each decision, given those before; or all architectures."""

MOST_OPTIONS = 2**31 - 1
"""Options that a decision can have: histories store them as 32-bit integers."""

MAX_COUNTED_LENGTH = 400
"""Longest conditional architectures that are counted; counting recurses once per decision."""


class Space(Described):
    """Base class of all search spaces.

    A space of fixed length calls ``super().__init__(arities=...)``. A conditional or open-ended one
    calls ``super().__init__(max_length=..., max_options=...)`` and overrides ``arity``. Both may
    override what their paper defines (``mutate``, ``crossover``, ``format``, ``canonical``, ...).

    Every argument of a subclass's ``__init__`` must be readable as an attribute of the same name:
    run folders store a space as its class and these values.

    Args:
        arities: Options of each decision, for spaces of fixed length; all >= 1.
        max_length: Most decisions that an architecture can have, for other spaces.
        max_options: Most options that a decision can have, for other spaces.

    Raises:
        UsageError: If neither form is given, or a number is below 1. With arities the other two follow from them.

    Attributes:
        idle_mutations: Whether ``mutate`` now and then gives an architecture back as it is, where a paper says so.
        in_order: Whether ``positions`` says of any decision that its options are in order.
        partial_sampling: Whether ``sample`` leaves architectures of the space out, where a paper says so.
    """

    idle_mutations: bool = False
    in_order: bool = False
    partial_sampling: bool = False

    def __init__(
        self,
        *,
        arities: Sequence[int] | None = None,
        max_length: int | None = None,
        max_options: int | None = None,
    ) -> None:
        if arities is None and (max_length is None or max_options is None):
            raise UsageError(
                f"{type(self).__name__}: a space needs either arities (fixed length) or both max_length "
                f"and max_options, got arities={arities!r}, max_length={max_length!r}, max_options={max_options!r}"
            )
        self.arities: tuple[int, ...] | None = None if arities is None else tuple(int(n) for n in arities)
        self.max_length: int = len(self.arities) if self.arities is not None else int(max_length or 0)
        self.max_options: int = max(self.arities, default=1) if self.arities is not None else int(max_options or 0)
        if min(self.arities or (), default=1) < 1 or self.max_length < 1 or self.max_options < 1:
            raise UsageError(f"{type(self).__name__}: arities, max_length and max_options must be >= 1")
        if self.max_options > MOST_OPTIONS:
            raise UsageError(
                f"{type(self).__name__}: expected at most {MOST_OPTIONS:,} options of a decision, got "
                f"{self.max_options:,}; split it into several decisions"
            )
        self._counts: dict[Hashable, int] = {}
        self._named: Decisions | None = None
        if self.arities is not None:
            self._arity_array = np.array(self.arities)
            self._offsets = np.concatenate([[0], np.cumsum(self._arity_array)[:-1]])
            self._free = [i for i, n in enumerate(self.arities) if n > 1]

    # -- the primitive -------------------------------------------------------------------------

    def arity(self, prefix: Architecture) -> int:
        """Options of the decision that follows ``prefix``; 0 if ``prefix`` is a whole architecture."""
        if self.arities is None:
            raise NotImplementedError(f"{type(self).__name__} must override arity(), or give arities to __init__")
        return self.arities[len(prefix)] if len(prefix) < len(self.arities) else 0

    def label(self, prefix: Architecture) -> str:
        """Name of the decision that follows ``prefix``; by default its position.

        Mutation and crossover keep the option of a decision as long as a decision of that name remains.
        """
        return str(len(prefix))

    def meanings(self, prefix: Architecture) -> Sequence[int]:
        """What the options of the decision that follows ``prefix`` stand for; by default each for itself.

        Numbers that are equal wherever the same is meant by decisions of that label: mutation and crossover keep that,
        in spaces where some options are not there after some prefixes.
        """
        return range(self.arity(prefix))

    def positions(self, prefix: Architecture) -> Sequence[float] | None:
        """Where the options of the decision that follows ``prefix`` lie, from 0 to 1; None: they are in no order.

        For each of the numbers in ``meanings``, rising; the same for all decisions of that label.
        """
        return None

    def subtree(self, prefix: Architecture) -> Hashable:
        """Equal for prefixes whose possible continuations are the same; speeds up counting."""
        return prefix

    # -- membership, size, enumeration ---------------------------------------------------------

    def __contains__(self, architecture: object) -> bool:
        if not isinstance(architecture, tuple):
            return False
        if self.arities is not None:
            pairs = zip(architecture, self.arities, strict=False)
            plain = all((type(option) is int and 0 <= option < n) or is_option(option, n) for option, n in pairs)
            return plain and len(architecture) == len(self.arities)
        for i, option in enumerate(architecture):
            if not is_option(option, self.arity(architecture[:i])):
                return False
        return self.arity(architecture) == 0

    def validate(self, architecture: object) -> Architecture:
        """Returns ``architecture`` as a tuple of ints if it is in the space.

        Raises:
            InvalidArchitecture: If it is not.
        """
        if isinstance(architecture, (list, np.ndarray)):
            # Whole numbers only: 1.7 or None stays as it is and is refused below.
            architecture = tuple(int(n) if isinstance(n, (int, np.integer)) else n for n in architecture)
        if architecture not in self:
            expected = f"one option per decision, options counted from 0, arities {self.arities}"
            if self.arities is None:
                expected = f"at most {self.max_length} decisions, each a valid option after the ones before it"
            raise InvalidArchitecture(
                f"architecture {architecture!r} is not in {type(self).__name__}: expected {expected}"
            )
        assert isinstance(architecture, tuple)
        return architecture

    def size(self) -> int | None:
        """Number of encodings, or None if there are too many kinds of sub-trees to count."""
        if self.arities is not None:
            return math.prod(self.arities)
        return self._count(())

    def enumerate(self) -> Iterator[Architecture]:
        """All architectures, in lexicographic order; lazy, so the space may be huge."""
        if self.arities is not None:
            yield from itertools.product(*(range(n) for n in self.arities))
        else:
            yield from self._completions(())

    # -- sampling ------------------------------------------------------------------------------

    def sample(self, rng: np.random.Generator, over: Over = "decisions") -> Architecture:
        """Draws an architecture.

        Args:
            rng: Where chance comes from.
            over: ``decisions``: each is uniform over its options, given those before, which is what controllers draw:
                small sub-trees are as likely as large ones. ``architectures``: all encodings are equally likely, which
                is what statistics over a space need; in a conditional space too large to count it is the same as
                ``decisions``. In spaces of fixed length it is the same anyway.

        Raises:
            UsageError: If there is no such ``over``.
        """
        if over not in get_args(Over):
            raise UsageError(f"sample: over: expected {' or '.join(get_args(Over))}, got {over!r}")
        if self.arities is not None:
            return tuple((rng.random(self.max_length) * self._arity_array).astype(int).tolist())
        if over == "architectures" and self.size() is not None:
            return self._uniform(rng)
        return self._complete((), {}, rng)

    def sample_batch(self, rng: np.random.Generator, n: int) -> npt.NDArray[np.int64]:
        """Draws ``n`` architectures of a fixed-length space at once: shape (n, decisions).

        Raises:
            UsageError: If the space is not of fixed length.
        """
        if self.arities is None:
            raise UsageError(f"sample_batch needs a space of fixed length; {type(self).__name__} has no fixed arities")
        options: npt.NDArray[np.int64] = (rng.random((n, self.max_length)) * self._arity_array).astype(np.int64)
        return options

    # -- variation -----------------------------------------------------------------------------

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Changes one decision, drawn uniformly, to another option, drawn uniformly.

        In a conditional space, later decisions keep their option where one of that name remains;
        new ones are drawn. A space with a single architecture returns it unchanged.
        """
        if self.arities is not None:
            if not self._free:
                return architecture
            where, what = rng.random(2).tolist()
            position = self._free[int(where * len(self._free))]
            option = int(what * (self.arities[position] - 1))
            option += option >= architecture[position]
            return (*architecture[:position], option, *architecture[position + 1 :])
        free = [i for i in range(len(architecture)) if self.arity(architecture[:i]) > 1]
        if not free:
            return architecture
        position = free[int(rng.integers(len(free)))]
        option = int(rng.integers(self.arity(architecture[:position]) - 1))
        option += option >= architecture[position]
        return self._complete((*architecture[:position], option), self._by_label(architecture), rng)

    def crossover(self, first: Architecture, second: Architecture, rng: np.random.Generator) -> Architecture:
        """Uniform crossover: each decision comes from either parent with equal probability.

        In a conditional space decisions are matched by name, and those that neither parent has are drawn.
        """
        if self.arities is not None:
            coins = (rng.random(self.max_length) < 0.5).tolist()
            return tuple(a if coin else b for a, b, coin in zip(first, second, coins, strict=True))
        wishes = self._by_label(first)
        for name, option in self._by_label(second).items():
            if name not in wishes or rng.random() < 0.5:
                wishes[name] = option
        return self._complete((), wishes, rng)

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """All architectures that differ in one decision; lazy.

        In a conditional space, where the changed decision opens decisions that ``architecture`` lacks, each
        way of filling them in is a neighbour.
        """
        wishes = self._by_label(architecture)
        for i, current in enumerate(architecture):
            for option in range(self.arity(architecture[:i])):
                if option != current:
                    yield from self._completions((*architecture[:i], option), wishes)

    # -- encoding ------------------------------------------------------------------------------

    def one_hot(self, architectures: Sequence[Architecture] | npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """One-hot encoding, vectorised for fixed-length spaces.

        Returns:
            Shape (n, sum of arities) for a fixed-length space. Else there is a column for each option of each decision,
            by its ``label``, and one that says that an architecture has no such decision.
        """
        n = len(architectures)
        if self.arities is None:
            return self.by_name.one_hot(as_tuples(architectures))
        options = np.asarray(architectures, dtype=np.int64).reshape(n, self.max_length)
        encoded = np.zeros((n, int(self._arity_array.sum())), np.float32)
        encoded[np.arange(n)[:, None], options + self._offsets] = 1.0
        return encoded

    def format(self, architecture: Architecture) -> str:
        """The architecture as text; by default its options joined by dashes, such as ``3-0-2``."""
        return "-".join(map(str, architecture))

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` wrote.

        Raises:
            InvalidArchitecture: If ``text`` is not an architecture of this space.
        """
        try:
            options = tuple(int(part) for part in text.split("-")) if text else ()
        except ValueError:
            raise InvalidArchitecture(
                f"{text!r} is no architecture of {type(self).__name__}: expected options joined by dashes, as in 3-0-2"
            ) from None
        return self.validate(options)

    def decode(self, architecture: Architecture) -> Any:
        """What a user's own function receives; by default the tuple itself."""
        return architecture

    def canonical(self, architecture: Architecture) -> Hashable:
        """Equal for architectures that compute the same network; by default the architecture itself."""
        return architecture

    def graph(self, architecture: Architecture) -> networkx.MultiDiGraph:
        """Operator-labelled graph, for drawings and encoders; by default the chain of decisions.

        Nodes carry ``label``; edges may carry ``label``.
        """
        from archsearch.basics.text_graphs import chain_of

        return chain_of([f"{self.label(architecture[:i])}={option}" for i, option in enumerate(architecture)])

    def operation_graphs(self, architectures: Sequence[Architecture] | npt.NDArray[np.int64]) -> OperationGraphs:
        """The graphs of operations that the architectures stand for; by default a chain with an operation per decision.

        A space whose networks have other shapes overrides it; it is what path, count and graph encodings are made from.
        """
        from archsearch.basics.operation_graphs import chain

        if self.arities is not None:
            options = np.asarray(architectures, dtype=np.int64).reshape(len(architectures), self.max_length)
            return chain(options + self._offsets, sum(self.arities))
        return chain(tokens(self, architectures) - 1, vocabulary(self))

    @property
    def by_name(self) -> Decisions:
        """The decisions of a conditional space by name; walked through once.

        In a space of fixed length a decision is known by its place.
        """
        if self._named is None:
            self._named = Decisions(self)
        return self._named

    # -- helpers -------------------------------------------------------------------------------

    def _by_label(self, architecture: Architecture) -> dict[str, int]:
        return {self.label(architecture[:i]): self.meanings(architecture[:i])[o] for i, o in enumerate(architecture)}

    def _complete(self, prefix: Architecture, wishes: dict[str, int], rng: np.random.Generator) -> Architecture:
        """Extends ``prefix`` to an architecture; wished options are taken where valid, others drawn."""
        while n := self.arity(prefix):
            option = self._wished(prefix, wishes, n)
            prefix = (*prefix, self._draw(prefix, n, rng) if option is None else option)
        return prefix

    def _wished(self, prefix: Architecture, wishes: dict[str, int] | None, n: int) -> int | None:
        """The option, of ``n``, that stands for what is wished; None: nothing is, or there is none."""
        wish = wishes.get(self.label(prefix)) if wishes else None
        known = range(n) if type(self).meanings is Space.meanings else self.meanings(prefix)
        return known.index(wish) if wish is not None and wish in known else None

    def _draw(self, prefix: Architecture, n: int, rng: np.random.Generator) -> int:
        """An option of the decision that follows ``prefix``; a space with chances of its own overrides it."""
        return int(rng.integers(n))

    def _uniform(self, rng: np.random.Generator) -> Architecture:
        """An architecture, each as likely as any other if their tree can be counted."""
        counted = self._count(())  # first, so that draws do not depend on what was counted before
        return uniform_leaf(self.arity, self._count, rng) if counted else self._complete((), {}, rng)

    def _completions(self, prefix: Architecture, wishes: dict[str, int] | None = None) -> Iterator[Architecture]:
        n = self.arity(prefix)
        if n == 0:
            yield prefix
            return
        wished = self._wished(prefix, wishes, n)
        for option in range(n) if wished is None else (wished,):
            yield from self._completions((*prefix, option), wishes)

    def _count(self, prefix: Architecture) -> int | None:
        """Leaves below ``prefix``, or None once ``COUNT_LIMIT`` kinds of sub-trees were seen."""
        if (key := self.subtree(prefix)) in self._counts:
            return self._counts[key]
        if len(self._counts) >= COUNT_LIMIT or self.max_length > MAX_COUNTED_LENGTH:
            return None
        n = self.arity(prefix)
        total = 0 if n else 1
        for option in range(n):
            below = self._count((*prefix, option))
            if below is None:
                return None
            total += below
        self._counts[key] = total
        return total

    def __eq__(self, other: object) -> bool:
        from archsearch.components import describe

        # As text: the order of named decisions counts, and True is not 1.
        return type(self) is type(other) and json.dumps(describe(self)) == json.dumps(describe(other))

    def __hash__(self) -> int:
        return hash((type(self), self.max_length, self.max_options))
