"""The decisions of a conditional space by name: which there are, and architectures as tables with a column for each.

Decisions stand at other places of an architecture according to what was decided before, so that a place says little:
behind ``depth`` and three operations it may have a width, behind four the fourth operation. Their names
(``Space.label``) stay. What an architecture does not decide is a level of its own, ``ABSENT``.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from archsearch.trial import Architecture

ABSENT = -1

WALKED = 5_000
"""Different decisions of a space, each with what follows it, that are walked through."""

SAMPLED = 500
"""Random architectures whose decisions are known too, where there are more than that."""

REMEMBERED = 200_000
"""Prefixes whose decision is remembered."""


class Tree(Protocol):
    """What is asked of a space."""

    arities: tuple[int, ...] | None
    max_length: int
    max_options: int

    @property
    def by_name(self) -> Decisions:
        """See ``Space``."""
        ...

    def arity(self, prefix: Architecture) -> int:
        """See ``Space``."""
        ...

    def label(self, prefix: Architecture) -> str:
        """See ``Space``."""
        ...

    def meanings(self, prefix: Architecture) -> Sequence[int]:
        """See ``Space``."""
        ...

    def positions(self, prefix: Architecture) -> Sequence[float] | None:
        """See ``Space``."""
        ...

    def subtree(self, prefix: Architecture) -> Hashable:
        """See ``Space``."""
        ...

    def sample(self, rng: np.random.Generator) -> Architecture:
        """See ``Space``."""
        ...


def uniform_leaf(
    arity: Callable[[Architecture], int], count: Callable[[Architecture], int | None], rng: np.random.Generator
) -> Architecture:
    """A leaf of a tree, each as likely as any other.

    Args:
        arity: Options of the decision that follows a prefix; 0 at a leaf.
        count: Leaves below a prefix, all of which can be counted.
        rng: Where chance comes from.
    """
    prefix: Architecture = ()
    while n := arity(prefix):
        total, target, chosen = count(prefix) or 1, rng.random(), n - 1
        for option in range(n - 1):
            target -= (count((*prefix, option)) or 0) / total  # a quotient: counts may exceed any float
            if target < 0:
                chosen = option
                break
        prefix = (*prefix, chosen)
    return prefix


class Found(NamedTuple):
    """A decision: its name, how many options it has, and where these lie if they are in order."""

    name: str
    options: int
    scale: Sequence[float] | None


def _found(tree: Tree, prefix: Architecture) -> Found:
    return Found(tree.label(prefix), 1 + max(tree.meanings(prefix)), tree.positions(prefix))


def walk(tree: Tree) -> Iterator[Found | None]:
    """The decisions of a space, the first ones first, some several times.

    If there are too many to walk through: of the first ones, and of random architectures; the last answer is None.
    """
    seen: set[tuple[str, Hashable]] = set()
    waiting: deque[Architecture] = deque([()])
    while waiting and len(seen) < WALKED:
        prefix = waiting.popleft()
        arity = tree.arity(prefix)
        if not arity:
            continue
        name = tree.label(prefix)
        key = (name, tree.subtree(prefix))
        if key not in seen:
            seen.add(key)
            yield _found(tree, prefix)
            waiting.extend((*prefix, option) for option in range(arity))
    if waiting:
        rng = np.random.default_rng(0)
        for _ in range(SAMPLED):
            architecture = tree.sample(rng)
            for i in range(len(architecture)):
                yield _found(tree, architecture[:i])
        yield None


class Decisions:
    """The decisions of a conditional space by name.

    Where there are too many to be walked through, what is not known by name is known by its place, in further columns.

    Args:
        tree: The space.

    Attributes:
        names: Of the columns.
        options: How many the decision of each column has at most.
        scales: Where they lie between 0 and 1, if they are in order.
    """

    def __init__(self, tree: Tree) -> None:
        found: dict[str, int] = {}
        scales: dict[str, Sequence[float] | None] = {}
        places = 0
        for decision in walk(tree):
            if decision is None:
                places = tree.max_length
            else:
                found[decision.name] = max(decision.options, found.get(decision.name, 0))
                scales[decision.name] = decision.scale
        most = max(found.values(), default=1)
        self.names = [*found, *(f"at place {place}" for place in range(places))]
        self.options = np.array([*found.values(), *[most] * places], np.int64)
        self.scales = [*scales.values(), *[None] * places]
        self._columns = {name: column for column, name in enumerate(found)}
        self._tree = tree
        self._known: dict[Architecture, tuple[int, Sequence[int]]] = {}

    def column(self, prefix: Architecture) -> int:
        """Of the decision that follows ``prefix``."""
        return self._at(prefix)[0]

    def _at(self, prefix: Architecture) -> tuple[int, Sequence[int]]:
        """The column of the decision that follows ``prefix``, and what its options stand for."""
        known = self._known.get(prefix)
        if known is None:
            column = self._columns.get(self._tree.label(prefix), len(self._columns) + len(prefix))
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            known = self._known[prefix] = column, self._tree.meanings(prefix)
        return known

    def table(self, architectures: Sequence[Architecture]) -> npt.NDArray[np.int64]:
        """The option of each decision, shape (n, columns); ``ABSENT`` where an architecture has no such decision."""
        found = np.full((len(architectures), len(self.names)), ABSENT)
        for row, architecture in enumerate(architectures):
            for i, option in enumerate(architecture):
                column, meanings = self._at(architecture[:i])
                found[row, column] = meanings[option]
        return found

    def one_hot(self, architectures: Sequence[Architecture]) -> npt.NDArray[np.float32]:
        """For each decision its options, and whether it is absent: shape (n, sum of options + columns)."""
        table = self.table(architectures)
        widths = self.options + 1
        starts = np.cumsum(widths) - widths
        encoded = np.zeros((len(table), int(widths.sum())), np.float32)
        encoded[np.arange(len(table))[:, None], starts + np.where(table == ABSENT, self.options, table)] = 1.0
        return encoded

    def tokens(self, architectures: Sequence[Architecture], length: int, most: int) -> npt.NDArray[np.int64]:
        """Decision by decision, 1 + column * ``most`` + option, shape (n, ``length``); 0 behind the last one."""
        found = np.zeros((len(architectures), length), np.int64)
        for row, architecture in enumerate(architectures):
            for i, option in enumerate(architecture):
                column, meanings = self._at(architecture[:i])
                found[row, i] = 1 + column * most + meanings[option]
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Copies remember for themselves."""
        return {**self.__dict__, "_known": {}}


def tokens(space: Tree, architectures: Sequence[Architecture] | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The decisions one by one, for models that read sequences.

    Returns:
        Shape (n, ``space.max_length``); a token is 1 + decision * ``space.max_options`` + option, where a decision is
        its place in a space of fixed length, else its number by name; 0 where an architecture has no such decision.
    """
    if space.arities is None:
        return space.by_name.tokens(as_tuples(architectures), space.max_length, space.max_options)
    return options_of(space, architectures) + 1 + np.arange(space.max_length) * space.max_options


def vocabulary(space: Tree) -> int:
    """How many tokens there can be."""
    return (space.max_length if space.arities is not None else len(space.by_name.names)) * space.max_options


class Columns(NamedTuple):
    """The decisions of a space; of a conditional one by name.

    Attributes:
        names: Of the decisions.
        counts: Of options of each, shape (decisions,).
        scales: Where they lie, if they are in order.
    """

    names: Sequence[str]
    counts: npt.NDArray[np.int64]
    scales: Sequence[Sequence[float] | None]


def columns_of(space: Tree) -> Columns:
    """The decisions that ``options_of`` has a column for."""
    if space.arities is None:
        known = space.by_name
        return Columns(known.names, known.options, known.scales)
    return Columns(_labels(space), np.array(space.arities, np.int64), scales(space))


def options_of(space: Tree, architectures: Sequence[Architecture] | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The option of each decision, shape (n, decisions); ``ABSENT`` where an architecture has no such decision."""
    if space.arities is None:
        return space.by_name.table(as_tuples(architectures))
    return np.asarray(architectures, np.int64).reshape(len(architectures), space.max_length)


def scales(space: Tree) -> Sequence[Sequence[float] | None]:
    """Where the options of each decision lie, if they are in order; in a conditional space by name."""
    if space.arities is None:
        return space.by_name.scales
    return [space.positions((0,) * place) for place in range(space.max_length)]


def in_order(space: Tree) -> list[str]:
    """Names of the decisions whose options are in order."""
    names = space.by_name.names if space.arities is None else _labels(space)
    return [name for name, scale in zip(names, scales(space), strict=True) if scale is not None]


def _labels(space: Tree) -> list[str]:
    """Names of the decisions of a space of fixed length."""
    return [space.label((0,) * place) for place in range(space.max_length)]


def as_tuples(architectures: Sequence[Architecture] | npt.NDArray[np.int64]) -> Sequence[Architecture]:
    """Architectures that may be rows of an array."""
    return [tuple(each) for each in architectures.tolist()] if isinstance(architectures, np.ndarray) else architectures


def kinds_of_names(names: Sequence[str]) -> list[int]:
    """Numbers the kinds of decisions: names that differ in their numbers only, such as ``op.1``, are of one kind."""
    kinds: dict[str, int] = {}
    return [kinds.setdefault(re.sub(r"\d+", "#", name), len(kinds)) for name in names]
