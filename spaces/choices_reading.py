"""Reads the definition of ``Choices``: groups, repetitions and alternatives become a list of plain decisions.

Each repetition of a decision is a decision of its own, which is made if the one that says how often is high enough. So
all that remains of a definition is names, options, and which options of earlier decisions each one waits for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml

from archsearch.errors import UsageError
from archsearch.files.yaml_files import yaml_lines

MOST_DECISIONS = 20_000
"""Decisions that a definition may come to, all repetitions counted."""

Keys = tuple[Any, ...]
"""Where something stands in nested mappings: the keys that lead there."""
Condition = tuple[int, frozenset[int]]
"""An earlier decision, and the options of it that will do."""
Part = tuple[str, int | None]
"""A part of a name between dots, and the number of the repetition that follows it, if there is one."""


class Decision(NamedTuple):
    """A decision.

    Attributes:
        name: Such as ``kernel``, ``op.2`` or ``block.2.kernel``.
        parts: The same, taken apart.
        options: What there is to choose from.
        when: What must have been chosen before, all of it, for the decision to be made.
    """

    name: str
    parts: tuple[Part, ...]
    options: list[Any]
    when: tuple[Condition, ...]


class Alias(NamedTuple):
    """Another name for what a decision is.

    Attributes:
        name: The other name.
        of: The decision's position.
        when: As that of a decision.
    """

    name: str
    of: int
    when: tuple[Condition, ...]


class _Scope(NamedTuple):
    """Where a name stands: the groups around it, what they wait for, and the number of each repetition around it."""

    parts: tuple[Part, ...] = ()
    when: tuple[Condition, ...] = ()
    numbers: Mapping[int, int] = {}
    keys: Keys = ()


def nowhere(keys: Keys) -> str:  # noqa: ARG001
    """The place of what is in no file."""
    return ""


class Reader:
    """Reads a definition.

    Args:
        place: Says where in a file something stands, such as ``space.yaml, line 7: ``; empty where there is no file.

    Attributes:
        decisions: What was read.
        aliases: Other names.
    """

    def __init__(self, place: Callable[[Keys], str]) -> None:
        self.place = place
        self.decisions: list[Decision] = []
        self.aliases: list[Alias] = []
        self._named: dict[str, int] = {}
        self._repeated: dict[str, tuple[int, list[int]]] = {}  # what says how often, and the repetitions

    def read(self, definition: Mapping[Any, Any], keys: Keys = ()) -> None:
        """Reads a mapping from names to decisions and groups."""
        self._read(definition, _Scope(keys=keys))

    def _read(self, definition: Mapping[Any, Any], scope: _Scope) -> None:
        for name, value in definition.items():
            self._read_one(name, value, scope._replace(keys=(*scope.keys, name)))

    def _read_one(self, name: Any, value: Any, scope: _Scope) -> None:
        if not isinstance(name, str) or not name or set(name) & set(",=") or name != name.strip():
            self._refuse(name, scope, "expected a name without commas, equals signs or spaces around it")
        if name == "class_path":
            self._refuse(name, scope, "this name is taken, run folders mark components by it; choose another one")
        details = value if isinstance(value, Mapping) else {"options": value}
        if "same" in details:
            self._read_alias(name, details, scope)
            return
        group = "decisions" in details
        known = ["decisions", "when", "repeat", "optional"] if group else ["options", "when", "repeat"]
        if unknown := sorted(map(str, set(details) - set(known))):
            others = "" if group else "; of a group decisions, when, repeat, optional; of another name same"
            self._refuse(name, scope, f"unknown key {', '.join(unknown)}; expected {', '.join(known)}{others}")
        inside = self._group(name, details, scope) if group else self._alternatives(name, details, scope)
        repeat, times = self._times(name, details, scope)
        made: list[int] = []
        for number, when in times:
            numbers = {**scope.numbers, repeat: number} if repeat is not None and number else scope.numbers
            here = scope._replace(when=(*scope.when, *when), numbers=numbers)
            here = here._replace(when=(*here.when, *self._conditions(name, details, here)))
            here = here._replace(parts=(*scope.parts, (name, number)))
            if group:
                if details.get("optional"):
                    there = self._add(name, [False, True], here)
                    here = here._replace(when=(*here.when, (there, frozenset([1]))))
                self._read(inside, here._replace(keys=(*scope.keys, "decisions")))
                continue
            made.append(self._add(name, list(inside), here))
            for option, (choice, sub) in enumerate(inside.items() if isinstance(inside, Mapping) else ()):
                under = here._replace(
                    parts=(*here.parts, (str(choice), None)),
                    when=(*here.when, (made[-1], frozenset([option]))),
                    keys=(*scope.keys, "options", choice),
                )
                self._read(sub or {}, under)
        if made and repeat is not None:
            self._repeated[_named((*scope.parts, (name, None)))] = (repeat, made)

    def _read_alias(self, name: str, details: Mapping[Any, Any], scope: _Scope) -> None:
        if len(details) > 1:
            self._refuse(name, scope, f"same: expected no other key beside it, got {', '.join(map(str, details))}")
        of = self._earlier(name, "same", details["same"], scope)
        here = scope._replace(parts=(*scope.parts, (name, None)))
        self._check_new(name, here)
        self.aliases.append(Alias(_named(here.parts), of, (*scope.when, *self.decisions[of].when)))
        self._named[_named(here.parts)] = of

    def _add(self, name: str, options: list[Any], here: _Scope) -> int:
        self._check_new(name, here)
        if len(self.decisions) >= MOST_DECISIONS:
            self._refuse(name, here, f"with it there are more than {MOST_DECISIONS:,} decisions; repeat less often")
        self._named[_named(here.parts)] = len(self.decisions)
        self.decisions.append(Decision(_named(here.parts), here.parts, options, here.when))
        return len(self.decisions) - 1

    def _check_new(self, name: str, here: _Scope) -> None:
        if _named(here.parts) in self._named:
            self._refuse(
                name,
                here._replace(parts=here.parts[:-1]),
                f"a repetition of one decision would have the name of {_named(here.parts)!r}, or the reverse",
            )

    # -- the parts of a decision -------------------------------------------------------------------

    def _group(self, name: str, details: Mapping[Any, Any], scope: _Scope) -> Any:
        inside = details["decisions"]
        if not isinstance(inside, Mapping) or not inside:
            self._refuse(name, scope, f"decisions: expected a mapping from names to decisions, got {inside!r}")
        if not isinstance(details.get("optional", False), bool):
            self._refuse(name, scope, f"optional: expected true or false, got {details['optional']!r}")
        return inside

    def _alternatives(self, name: str, details: Mapping[Any, Any], scope: _Scope) -> Any:
        options = details.get("options")
        if not isinstance(options, (list, tuple, Mapping)) or not options:
            self._refuse(name, scope, f"expected a list of at least one option, got {options!r}")
        if isinstance(options, Mapping):
            for option, inside in options.items():
                if inside is not None and not isinstance(inside, Mapping):
                    self._refuse(name, scope, f"option {option!r}: expected a mapping of decisions, got {inside!r}")
        texts = [str(option) for option in options]
        first = [position(list(options), option) for option in options]
        if len(set(texts)) < len(texts) or first != list(range(len(options))):
            self._refuse(name, scope, f"options must be distinct, also as text, got {options!r}")
        if any("," in text or text != text.strip() for text in texts):
            self._refuse(
                name, scope, f"options must, as text, have no commas and no spaces around them, got {options!r}"
            )
        return options

    def _times(
        self, name: str, details: Mapping[Any, Any], scope: _Scope
    ) -> tuple[int | None, list[tuple[int | None, tuple[Condition, ...]]]]:
        """The decision that says how often, and of each time its number and what it waits for."""
        if "repeat" not in details:
            return None, [(None, ())]
        repeat = details["repeat"]
        if isinstance(repeat, int) and not isinstance(repeat, bool) and repeat >= 1:
            return None, [(number, ()) for number in range(1, min(repeat, MOST_DECISIONS + 1) + 1)]
        counter = self._earlier(name, "repeat", repeat, scope)
        counts = self.decisions[counter].options
        if not all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts):
            self._refuse(name, scope, f"repeat: {repeat!r} must have integers >= 0 as options, has {counts!r}")
        times: list[tuple[int | None, tuple[Condition, ...]]] = []
        for number in range(1, min(max(counts), MOST_DECISIONS + 1) + 1):
            enough = frozenset(option for option, count in enumerate(counts) if count >= number)
            times.append((number, ((counter, enough),)))
        return counter, times

    def _conditions(self, name: str, details: Mapping[Any, Any], scope: _Scope) -> list[Condition]:
        conditions = details.get("when") or {}
        if not isinstance(conditions, Mapping):
            self._refuse(name, scope, f"when: expected a mapping from earlier decisions to values, got {conditions!r}")
        found = []
        for other, accepted in conditions.items():
            i = self._earlier(name, "when", other, scope)
            values = accepted if isinstance(accepted, (list, tuple)) else [accepted]
            places = [position(self.decisions[i].options, value) for value in values]
            if None in places or not places:
                has = self.decisions[i].options
                self._refuse(name, scope, f"when: {other!r} has the options {has!r}, got {accepted!r}")
            found.append((i, frozenset(place for place in places if place is not None)))
        return found

    def _earlier(self, name: str, key: str, other: Any, scope: _Scope) -> int:
        """The decision that a name means here: that of the innermost group, and of the same repetition."""
        for depth in range(len(scope.parts), -1, -1):
            if not isinstance(other, str):
                break
            full = _named((*scope.parts[:depth], (other, None)))
            if full in self._named:
                return self._named[full]
            if full in self._repeated:
                repeat, made = self._repeated[full]
                if repeat in scope.numbers:
                    return made[scope.numbers[repeat] - 1]
        known = [decision.name for decision in self.decisions if all(number is None for _, number in decision.parts)]
        one_of = ", ".join(known) or "none so far"
        return self._refuse(name, scope, f"{key}: {other!r} is no earlier decision; expected one of {one_of}")

    def _refuse(self, name: Any, scope: _Scope, why: str) -> NoReturn:
        full = _named((*scope.parts, (name, None))) if isinstance(name, str) and scope.parts else name
        raise UsageError(f"Choices: {self.place(scope.keys)}decision {full!r}: {why}")


def _named(parts: tuple[Part, ...]) -> str:
    return ".".join(name if number is None else f"{name}.{number}" for name, number in parts)


def position(options: list[Any], value: Any) -> int | None:
    """Position of a value among the options; True is not 1."""
    for i, option in enumerate(options):
        if option == value and isinstance(option, bool) == isinstance(value, bool):
            return i
    return None


# -- files -----------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """Refuses a name that is given twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names: list[Any] = []
        for key, _ in node.value:
            if key.value in names:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
            names.append(key.value)
        return super().construct_mapping(node, deep)


# YAML 1.1, which PyYAML reads, takes 1e-3 for a text, since it has no dot.
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789"))


def read_yaml(path: Path) -> tuple[Any, dict[Keys, int]]:
    """What a YAML file holds, and the line, counted from 1, of everything in it that has a key or a place in a list.

    Raises:
        UsageError: If it cannot be read, or is no YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return yaml.load(text, _Loader), yaml_lines(text, _Loader)
    except OSError as error:
        raise UsageError(
            f"Choices: {path} cannot be read ({error.strerror}); expected a YAML file of decisions"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"Choices: {path} is no YAML: {error}") from None
