"""A space of named categorical decisions, for users' own problems.

    Choices({"kernel": [3, 5, 7], "width": [16, 32, 64], "skip": [False, True]})

A decision may depend on earlier ones, and may be repeated as often as an earlier one says; decisions may be grouped,
groups be optional or repeated, options open decisions of their own, and constraints leave combinations out:

    Choices(
        {
            "width": [16, 32, 64],
            "depth": [1, 2, 3, 4],
            "block": {                                       # block.1.op, block.2.op, ...
                "repeat": "depth",
                "decisions": {
                    "op": {"options": {"conv": {"kernel": [3, 5]}, "pool": None}},      # block.1.op.conv.kernel
                    "skip": {"optional": True, "decisions": {"scale": [0.5, 1]}},       # block.1.skip
                    "units": {"same": "width"},
                },
            },
        },
        constraints=["depth * width <= 128", "count(block.op, 'pool') <= 1"],
    )

The language is that of Negrinho & Gordon, "DeepArchitect: automatically designing and training deep architectures",
2017, as decisions: alternatives, repetition, options, and what several places share.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from archsearch.basics.text_graphs import chain_of
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.space import COUNT_LIMIT, Space
from archsearch.spaces.choices_constraints import Constraint, Language
from archsearch.spaces.choices_expressions import ABSENT, TRUE
from archsearch.spaces.choices_numbers import near
from archsearch.spaces.choices_reading import Keys, Reader, nowhere, position, read_yaml, written_position
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import networkx
    import numpy as np

MOST_REMEMBERED = 200_000
"""Decisions in all the prefixes, together, whose place in the tree is remembered; bounds the memory."""


class Choices(Space):
    """Named decisions with options or levels, some of which may depend on earlier ones, and constraints on them.

    Args:
        decisions: Name of each decision to its options: a list, or a mapping with ``options`` and, optionally, ``when``
            (name of an earlier decision to the value, or list of values, that it must have; all must hold) and
            ``repeat`` (name of an earlier decision whose value, an integer >= 0, says how many times this one is made,
            or a number). Options may be a mapping from each to the decisions that it opens, or to None. A mapping with
            ``real`` or ``integer`` (the lowest and the highest), ``log`` and ``levels`` is a number (``Real``,
            ``Integer``); ``ordered: true`` beside ``options`` says that they are in order. A mapping with
            ``decisions`` is a group, with ``when`` and ``repeat``, and ``optional``: true makes a decision of whether
            it is there. A mapping with ``same`` is another name for an earlier decision. Names are looked up in the
            innermost group, then outwards; of what is repeated alike, they mean the repetition of the same number.
            Or the path of a YAML file that holds such a mapping, perhaps as its ``decisions`` beside ``constraints``.
        constraints: Expressions, such as ``depth * width <= 64``, of decisions and, for those that are made several
            times, functions of all of them: ``sum``, ``len``, ``min``, ``max``, ``distinct``, ``rising`` and ``count``.
            A constraint that names a decision that is not made does not count. In Python also functions whose
            parameters are names of decisions, or their import paths.

    Raises:
        UsageError: If something is not of that form, or nothing keeps to all constraints; the message names the
            decision or the constraint, and the line of the file.
    """

    def __init__(
        self,
        decisions: dict[str, Any] | str | Path,
        constraints: Sequence[str | Callable[..., Any]] | None = None,
    ) -> None:
        place: Callable[[Keys], str] = nowhere
        within: Keys = ()
        if isinstance(decisions, (str, Path)):
            decisions, constraints, place, within = _read_file(Path(decisions), constraints)
        if not isinstance(decisions, Mapping) or not decisions:
            raise UsageError(f"Choices: expected a mapping from names to lists of options, got {decisions!r}")
        if constraints is not None and (isinstance(constraints, str) or not isinstance(constraints, Sequence)):
            raise UsageError(f"Choices: constraints: expected a list of expressions, got {constraints!r}")
        self.decisions = copy.deepcopy(dict(decisions))  # the caller's lists may change
        self.constraints = list(constraints) if constraints else None
        reader = Reader(place)
        reader.read(self.decisions, within)
        self._decisions, self._aliases = reader.decisions, reader.aliases
        if not self._decisions:
            raise UsageError(f"Choices: expected at least one decision, got {decisions!r}")
        self.in_order = any(decision.scale for decision in self._decisions)
        self._needed = self._needed_by_position()
        self._waited = frozenset(i for decision in self._decisions for i, _ in decision.when)
        self._walks: dict[Architecture, _Walk] = {}
        self._possible: dict[Hashable, bool] = {}
        self._allowed: dict[Hashable, tuple[int, ...]] = {}
        language = Language(self._decisions)
        read = [language.read(c, place(("constraints", i))) for i, c in enumerate(self.constraints or ())]
        self._open = tuple(constraint for constraint in read if constraint.expression != TRUE)
        self._root = self._settle(_Walk(0, {}, self._open))
        if self._open or any(decision.when for decision in self._decisions):
            most = max(len(decision.options) for decision in self._decisions)
            super().__init__(max_length=len(self._decisions), max_options=most)
        else:
            super().__init__(arities=[len(decision.options) for decision in self._decisions])
        if not self._can_end(self._root):
            texts = [c.text for c in read if c.refuses] or [c.text for c in read]
            raise UsageError(f"Choices: constraints: no architecture keeps to {' and '.join(map(repr, texts))}")

    @classmethod
    def from_yaml(cls, path: str | Path) -> Choices:
        """The space whose decisions, and perhaps constraints, a YAML file holds."""
        return cls(path)

    def _needed_by_position(self) -> list[list[int]]:
        """By position: the earlier decisions that this one or a later one waits for."""
        needed: list[list[int]] = [[]]
        waited: set[int] = set()
        for i in range(len(self._decisions) - 1, -1, -1):
            waited = (waited | {other for other, _ in self._decisions[i].when}) - {i}
            needed.append(sorted(waited))
        return needed[::-1]

    # -- the tree ------------------------------------------------------------------------------

    def arity(self, prefix: Architecture) -> int:
        """See ``Space.arity``; options that no architecture keeping to the constraints has are not counted."""
        if self.arities is not None:
            return super().arity(prefix)
        return len(self.meanings(prefix))

    def meanings(self, prefix: Architecture) -> Sequence[int]:
        """See ``Space.meanings``: positions among the options of the definition, of those that constraints leave."""
        walk = self._walk(prefix)
        if walk.position == len(self._decisions):
            return ()
        n = len(self._decisions[walk.position].options)
        return range(n) if not walk.open else self._left(walk)

    def label(self, prefix: Architecture) -> str:
        """The decision's name; repeated decisions are numbered, such as ``op.2``."""
        return self._decisions[self._walk(prefix).position].name

    def positions(self, prefix: Architecture) -> Sequence[float] | None:
        """See ``Space.positions``: of numbers, and of options that are said to be in order."""
        return self._decisions[self._walk(prefix).position].scale

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """As of every space; but a number, and what else is in order, goes to a near option rather than a far one."""
        if not self.in_order:
            return super().mutate(architecture, rng)
        free = [i for i in range(len(architecture)) if self.arity(architecture[:i]) > 1]
        if not free:
            return architecture
        prefix = architecture[: free[int(rng.integers(len(free)))]]
        current, left = architecture[len(prefix)], self.meanings(prefix)
        scale = self.positions(prefix)
        option = near([0.5 if scale is None else scale[meaning] for meaning in left], current, rng)
        return self._complete((*prefix, option), self._by_label(architecture), rng)

    def subtree(self, prefix: Architecture) -> Hashable:
        """The position, the earlier options that later decisions wait for, and what is left of the constraints."""
        return self._key(self._walk(prefix))

    def _key(self, walk: _Walk) -> Hashable:
        return walk.position, tuple([walk.values.get(i) for i in self._needed[walk.position]]), walk.open

    def _walk(self, prefix: Architecture) -> _Walk:
        """Where in the list of decisions ``prefix`` ends, from where its own prefix ends."""
        start = len(prefix)
        while start and prefix[:start] not in self._walks:
            start -= 1
        walk = self._walks[prefix[:start]] if start else self._root
        for i in range(start, len(prefix)):
            there: Sequence[int] = self._left(walk) if walk.open else range(len(self._decisions[walk.position].options))
            walk = self._after(walk, there[prefix[i]])
            if len(self._walks) * self.max_length >= MOST_REMEMBERED:
                self._walks.clear()
            self._walks[prefix[: i + 1]] = walk
        return walk

    def _after(self, walk: _Walk, option: int) -> _Walk:
        """The place after a decision."""
        i = walk.position
        value = self._decisions[i].options[option]
        values = {**walk.values, i: option} if i in self._waited else walk.values
        return self._settle(_Walk(i + 1, values, _put(walk.open, i, value)))

    def _settle(self, walk: _Walk) -> _Walk:
        """Moves on to the next decision that is to be made."""
        i, left = walk.position, walk.open
        while i < len(self._decisions) and any(
            walk.values.get(other) not in accepted for other, accepted in self._decisions[i].when
        ):
            left = _put(left, i, ABSENT)
            i += 1
        return _Walk(i, walk.values, left)

    # -- constraints ---------------------------------------------------------------------------

    def _left(self, walk: _Walk) -> tuple[int, ...]:
        """The options of the next decision after which all constraints can be kept."""
        key = self._key(walk)
        if key not in self._allowed:
            if len(self._allowed) >= COUNT_LIMIT:
                self._allowed.clear()
            n = len(self._decisions[walk.position].options)
            self._allowed[key] = tuple(o for o in range(n) if self._can_end(self._after(walk, o)))
        return self._allowed[key]

    def _can_end(self, walk: _Walk) -> bool:
        """Whether some architecture that goes on from here keeps to the constraints; found by backtracking."""
        if (known := self._known(walk)) is not None:
            return known
        waiting: list[tuple[Hashable, Iterator[_Walk]]] = [(self._key(walk), self._next(walk))]
        while waiting:
            key, going_on = waiting[-1]
            for after in going_on:
                known = self._known(after)
                if known:
                    self._possible.update((key, True) for key, _ in waiting)
                    return True
                if known is None:
                    waiting.append((self._key(after), self._next(after)))
                    break
            else:
                self._possible[key] = False
                waiting.pop()
                if len(self._possible) > COUNT_LIMIT:
                    raise UsageError(
                        f"Choices: constraints: after {COUNT_LIMIT:,} beginnings it is not known whether "
                        f"{' and '.join(repr(c.text) for c in self._open)} can be kept; let them name fewer decisions, "
                        "or put those that they name next to each other"
                    )
        return False

    def _known(self, walk: _Walk) -> bool | None:
        if any(constraint.refuses for constraint in walk.open):
            return False
        if not walk.open or walk.position == len(self._decisions):
            return True
        return self._possible.get(self._key(walk))

    def _next(self, walk: _Walk) -> Iterator[_Walk]:
        return (self._after(walk, option) for option in range(len(self._decisions[walk.position].options)))

    def __getstate__(self) -> dict[str, Any]:
        """Workers count and walk for themselves, so that what is sent to them stays small."""
        return {**self.__dict__, "_counts": {}, "_walks": {}, "_possible": {}, "_allowed": {}, "_named": None}

    # -- values --------------------------------------------------------------------------------

    def decode(self, architecture: Architecture) -> dict[str, Any]:
        """The decisions by name, such as ``{"kernel": 3, "op.1": "conv"}``; other names (``same``) come last."""
        decoded = self._made(architecture)
        for alias in self._aliases:
            if all(self._chosen(decoded, other) in accepted for other, accepted in alias.when):
                decoded[alias.name] = decoded[self._decisions[alias.of].name]
        return decoded

    def _made(self, architecture: Architecture) -> dict[str, Any]:
        """The decisions that are made, by name."""
        made = {}
        for i, option in enumerate(architecture):
            decision = self._decisions[self._walk(architecture[:i]).position]
            made[decision.name] = decision.options[self.meanings(architecture[:i])[option]]
        return made

    def _chosen(self, made: Mapping[str, Any], i: int) -> int | None:
        decision = self._decisions[i]
        return position(decision.options, made[decision.name]) if decision.name in made else None

    def encode(self, values: Mapping[str, Any]) -> Architecture:
        """The architecture with these values, by name.

        Raises:
            InvalidArchitecture: If a decision is missing, is not asked for, has no such option, or a constraint is not
                kept.
        """
        others = {alias.name: alias for alias in self._aliases}
        own = {name: value for name, value in values.items() if name not in others}
        architecture = self._encode(own, position)
        if len(own) < len(values):
            decoded = self.decode(architecture)
            for name in values:
                if name in others and (name not in decoded or decoded[name] != values[name]):
                    raise InvalidArchitecture(
                        f"Choices: {name}={values[name]!r}: expected {decoded.get(name, 'none')!r}, it is another name "
                        f"for {self._decisions[others[name].of].name}"
                    )
        return architecture

    def from_cells(self, cells: Mapping[str, Any]) -> Architecture:
        """The architecture with these values, as tables have them: 3.0 and the text ``3`` stand for 3, too.

        Raises:
            InvalidArchitecture: As of ``encode``.
        """
        return self._encode(cells, written_position)

    def _encode(self, values: Mapping[str, Any], find: Callable[[list[Any], Any], int | None]) -> Architecture:
        prefix: Architecture = ()
        names = []
        while self.arity(prefix):
            walk = self._walk(prefix)
            name, options = self._decisions[walk.position].name, self._decisions[walk.position].options
            if name not in values:
                raise InvalidArchitecture(f"Choices: no value for {name!r}; expected one of {options}")
            option = find(options, values[name])
            left = self.meanings(prefix)
            if option is None or option not in left:
                why = "" if option is None else f"; {self._refusal(walk, option)}"
                raise InvalidArchitecture(
                    f"Choices: {name}={values[name]!r}: expected one of "
                    f"{', '.join(repr(options[o]) for o in left)}{why}"
                )
            names.append(name)
            prefix = (*prefix, left.index(option))
        spare = [name for name in values if name not in names]
        if spare:
            raise InvalidArchitecture(f"Choices: {', '.join(spare)}: no such decision after the others; asked: {names}")
        return prefix

    def _refusal(self, walk: _Walk, option: int) -> str:
        """Why an option is not among those that are left."""
        after = self._after(walk, option)
        broken = [c.text for c in after.open if c.refuses] or [c.text for c in after.open]
        return f"the constraint {' or '.join(map(repr, broken))} would not be kept"

    def format(self, architecture: Architecture) -> str:
        """The decisions as text, such as ``kernel=3,width=16,skip=False``."""
        return ",".join(f"{name}={value}" for name, value in self._made(architecture).items())

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` wrote.

        Raises:
            InvalidArchitecture: If ``text`` is no architecture of this space.
        """
        parts = [part.partition("=") for part in text.strip().split(",") if part]
        if not all(equals for _, equals, _ in parts):
            raise InvalidArchitecture(
                f"{text!r}: expected decisions such as {self._decisions[0].name}=VALUE, joined by commas"
            )
        values = {name.strip(): value.strip() for name, _, value in parts}
        if len(values) < len(parts):
            raise InvalidArchitecture(f"{text!r}: a decision is given twice; expected each one once")
        return self._encode(values, written_position)

    def graph(self, architecture: Architecture) -> networkx.MultiDiGraph:
        """The chain of decisions, each node labelled with its name and value, such as ``kernel=3``."""
        return chain_of([f"{name}={value}" for name, value in self._made(architecture).items()])


class _Walk(NamedTuple):
    """A place in the tree.

    Attributes:
        position: Of the decision that is next.
        values: Options chosen so far, of the decisions that others wait for.
        open: What is left of the constraints.
    """

    position: int
    values: Mapping[int, int]
    open: tuple[Constraint, ...]


def _put(left: tuple[Constraint, ...], i: int, value: Any) -> tuple[Constraint, ...]:
    """The constraints that are left once a decision has a value, or is ``ABSENT``."""
    if not left:
        return left
    after = (constraint.put(i, value) for constraint in left)
    return tuple([constraint for constraint in after if constraint is not None])


def _read_file(
    path: Path, constraints: Sequence[str | Callable[..., Any]] | None
) -> tuple[Any, Sequence[str | Callable[..., Any]] | None, Callable[[Keys], str], Keys]:
    """Decisions and constraints of a YAML file, what says in which line something stands, and where decisions begin."""
    content, lines = read_yaml(path)

    def place(keys: Keys) -> str:
        known = [keys[:n] for n in range(len(keys), 0, -1) if tuple(map(str, keys[:n])) in lines]
        return f"{path.name}, line {lines[tuple(map(str, known[0]))]}: " if known else ""

    inner = content.get("decisions") if isinstance(content, Mapping) else None
    if isinstance(inner, Mapping) and "options" not in inner and set(content) <= {"decisions", "constraints"}:
        if constraints is not None and "constraints" in content:
            raise UsageError(f"Choices: constraints: {path} has some; give them there or here, not in both places")
        return inner, content.get("constraints", constraints), place, ("decisions",)
    return content, constraints, place, ()
