"""What a model's marks decide: which decisions there are, what each waits for, and which marks follow it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import nn

from archsearch.errors import UsageError
from archsearch.marking.choosing import Depth, Options
from archsearch.marking.widths import WidthMark, check_layer, widths_of

Condition = Mapping[str, frozenset[int]]
"""Decisions that must have been made before, each with the options of it that will do."""


class Decided(NamedTuple):
    """A decision.

    Attributes:
        kind: choice, depth or width.
        options: Names of alternatives, or numbers.
        when: Where it is made at all; empty: always.
        calls: Of a width: the numbers of the calls of ``choose.width`` that it answers.
    """

    kind: str
    options: tuple[Any, ...]
    when: Condition
    calls: tuple[int, ...] = ()


class Reader:
    """Reads the marks of a model.

    Args:
        model: Made with ``choose``; it is left as it is.
        where: What to call it in messages.

    Attributes:
        decisions: By name, each after those that it waits for.
        marks: What follows each of them.
    """

    def __init__(self, model: nn.Module, where: str) -> None:
        self.where = where
        self._found: dict[str, tuple[str, tuple[Any, ...], list[Any]]] = {}
        self._when: dict[str, list[Condition]] = {}
        self._names: dict[int, str] = {}
        self._layers: dict[str, list[str]] = {}
        self._visit(model, "", {})
        self._name_widths()
        self.decisions: dict[str, Decided] = {}
        for name, (kind, options, marks) in self._found.items():
            calls = tuple(mark.number for mark in marks if isinstance(mark, WidthMark))
            self.decisions[name] = Decided(kind, options, self._joined(name), calls)
        self._sort()
        self.marks: Mapping[str, Sequence[Any]] = {name: self._found[name][2] for name in self.decisions}

    def _visit(self, module: nn.Module, path: str, when: Condition) -> None:
        below = f"{path}." if path else ""
        if isinstance(module, Options):
            name = self._note(module, module.name or path or "model", "choice", module.texts, when)
            for i, (key, child) in enumerate(module._modules.items()):
                if child is not None:
                    self._visit(child, f"{below}{key}", self._and(when, name, {i}))
            return
        if isinstance(module, Depth):
            name = self._note(module, module.name or f"{below}depth", "depth", module.depths, when)
            for i, (key, child) in enumerate(module._modules.items()):
                enough = {option for option, depth in enumerate(module.depths) if depth > i}
                inside = when if i < module.least else self._and(when, name, enough)
                if child is not None:
                    self._visit(child, f"{below}{key}", inside)
            return
        if check_layer(module, path):
            for mark in {id(each.mark): each.mark for each in widths_of(module)}.values():
                name = mark.name or f"width {mark.number}"  # until it is known which layers have it
                self._note(mark, name, "width", mark.options, when)
                if mark.name is None:
                    self._layers.setdefault(name, []).append(path)
        for key, child in module.named_children():
            self._visit(child, f"{below}{key}", when)

    def _and(self, when: Condition, name: str, options: set[int]) -> Condition:
        """A further condition; of the same decision, if the same name stands inside its own alternatives, both."""
        return {**when, name: when.get(name, frozenset(options)) & frozenset(options)}

    def _note(self, mark: Any, name: str, kind: str, options: Sequence[Any], when: Condition) -> str:
        """Notes a mark; the name of its decision."""
        name = self._names.setdefault(id(mark), name)
        if name not in self._found:
            self._found[name] = (kind, tuple(options), [])
        found = self._found[name]
        if found[:2] != (kind, tuple(options)):
            raise UsageError(
                f"{self.where}: {name}: expected the same options of all marks of one name, got {list(found[1])} and "
                f"{list(options)}; give them other names"
            )
        if not any(each is mark for each in found[2]):
            found[2].append(mark)
        self._when.setdefault(name, []).append(when)
        return name

    def _name_widths(self) -> None:
        """Widths without a name are called by the innermost module that has all their layers; numbered if several."""
        places = {name: f"{_common(paths)}width" for name, paths in self._layers.items()}
        several, numbers = Counter(places.values()), Counter[str]()
        for name, place in places.items():
            numbers[place] += 1
            if several[place] > 1:
                places[name] = f"{place}.{numbers[place]}"
        self._found = {places.get(name, name): found for name, found in self._found.items()}
        self._when = {places.get(name, name): found for name, found in self._when.items()}

    def _joined(self, name: str) -> Condition:
        """The conditions of several marks as one: any of them."""
        several = [dict(when) for when in self._when[name]]
        while len(several) > 1:
            for i, j in itertools.combinations(range(len(several)), 2):
                if (union := _union(several[i], several[j])) is not None:
                    several = [each for k, each in enumerate(several) if k not in (i, j)] + [union]
                    break
            else:
                raise UsageError(
                    f"{self.where}: {name}: its marks stand in alternatives of different decisions; give those other "
                    "names, so that each is a decision of its own"
                )
        return {other: options for other, options in several[0].items() if len(options) < self._options(other)}

    def _options(self, name: str) -> int:
        return len(self._found[name][1])

    def _sort(self) -> None:
        """Puts each decision after those that it waits for."""
        waiting, self.decisions = self.decisions, {}
        while waiting:
            ready = next((name for name, each in waiting.items() if not waiting.keys() & each.when.keys()), None)
            if ready is None:
                raise UsageError(f"{self.where}: {' and '.join(waiting)}: each stands inside the other; rename one")
            self.decisions[ready] = waiting.pop(ready)


def _common(paths: Sequence[str]) -> str:
    """The innermost module that has all of some layers, with a dot behind it; empty: the model."""
    parts = [path.split(".")[:-1] for path in paths]
    same = [first for first, *others in zip(*parts, strict=False) if all(other == first for other in others)]
    depth = next((i for i, level in enumerate(zip(*parts, strict=False)) if len(set(level)) > 1), len(same))
    return "".join(f"{part}." for part in same[:depth])


def _union(one: Condition, other: Condition) -> dict[str, frozenset[int]] | None:
    """A condition that holds where one of two does; None: there is none of that form."""
    if all(name in one and one[name] <= options for name, options in other.items()):
        return dict(other)  # the first says more
    if all(name in other and other[name] <= options for name, options in one.items()):
        return dict(one)
    differ = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    if len(differ) == 1 and one.keys() == other.keys():
        return {**one, differ[0]: one[differ[0]] | other[differ[0]]}
    return None


def widths_by_call(decisions: Mapping[str, Decided], chosen: Mapping[str, int]) -> dict[int, int]:
    """By the number of the call of ``choose.width``, the option of the decision that it follows, if that is made."""
    return {call: chosen[name] for name, decided in decisions.items() if name in chosen for call in decided.calls}
