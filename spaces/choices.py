"""A flat space of named categorical decisions, for users' own problems.

    Choices({"kernel": [3, 5, 7], "width": [16, 32, 64], "skip": [False, True]})

A decision may depend on earlier ones, and may be repeated as often as an earlier one says:

    Choices({
        "block": ["conv", "pool"],
        "kernel": {"options": [3, 5, 7], "when": {"block": "conv"}},
        "depth": [1, 2, 3, 4],
        "op": {"options": ["conv", "pool"], "repeat": "depth"},       # op.1, op.2, ...
    })
"""

from __future__ import annotations

import copy
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.space import Space
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import networkx

MOST_REMEMBERED = 200_000
"""Decisions in all the prefixes, together, whose place in the tree is remembered; bounds the memory."""


class Choices(Space):
    """Named categorical decisions, some of which may depend on earlier ones.

    Args:
        decisions: Name of each decision to its options: a list, or a mapping with ``options`` and, optionally, ``when``
            (name of an earlier decision to the value, or list of values, that it must have; all must hold) and
            ``repeat`` (name of an earlier decision whose value, an integer >= 0, says how many times this one is made).
            Or the path of a YAML file that holds such a mapping.

    Raises:
        UsageError: If the mapping is not of that form; the message names the decision.
    """

    def __init__(self, decisions: dict[str, Any] | str | Path) -> None:
        if isinstance(decisions, (str, Path)):
            decisions = _read_yaml(Path(decisions))
        if not isinstance(decisions, Mapping) or not decisions:
            raise UsageError(f"Choices: expected a mapping from names to lists of options, got {decisions!r}")
        self.decisions = copy.deepcopy(dict(decisions))  # the caller's lists may change
        self._entries: list[_Entry] = []
        for name, value in self.decisions.items():
            self._entries.append(_entry(name, value, self._entries))
        # By position: the earlier decisions that this one or a later one refers to.
        self._needed = [
            sorted({i for entry in self._entries[position:] for i in entry.needs if i < position})
            for position in range(len(self._entries) + 1)
        ]
        self._walks: dict[Architecture, _Walk] = {}
        if any(entry.when or entry.repeat is not None for entry in self._entries):
            longest = sum(entry.most for entry in self._entries)
            super().__init__(max_length=longest, max_options=max(len(entry.options) for entry in self._entries))
        else:
            super().__init__(arities=[len(entry.options) for entry in self._entries])

    @classmethod
    def from_yaml(cls, path: str | Path) -> Choices:
        """The space whose decisions a YAML file holds."""
        return cls(path)

    # -- the tree ------------------------------------------------------------------------------

    def arity(self, prefix: Architecture) -> int:
        """See ``Space.arity``."""
        if self.arities is not None:
            return super().arity(prefix)
        walk = self._walk(prefix)
        return len(self._entries[walk.entry].options) if walk.entry < len(self._entries) else 0

    def label(self, prefix: Architecture) -> str:
        """The decision's name; repeated decisions are numbered, such as ``op.2``."""
        walk = self._walk(prefix)
        entry = self._entries[walk.entry]
        return entry.name if entry.repeat is None else f"{entry.name}.{walk.repetition + 1}"

    def subtree(self, prefix: Architecture) -> Hashable:
        """The position and the earlier values that later decisions refer to."""
        walk = self._walk(prefix)
        return walk.entry, walk.repetition, tuple([walk.values.get(i) for i in self._needed[walk.entry]])

    def _walk(self, prefix: Architecture) -> _Walk:
        """Where in the list of decisions ``prefix`` ends, from where its own prefix ends."""
        start = len(prefix)
        while start and prefix[:start] not in self._walks:
            start -= 1
        walk = self._walks[prefix[:start]] if start else self._settle(_Walk(0, 0, {}))
        for i in range(start, len(prefix)):
            entry = self._entries[walk.entry]
            values = walk.values if entry.repeat is not None else {**walk.values, walk.entry: prefix[i]}
            walk = self._settle(_Walk(walk.entry, walk.repetition + 1, values))
            if len(self._walks) * self.max_length >= MOST_REMEMBERED:
                self._walks.clear()
            self._walks[prefix[: i + 1]] = walk
        return walk

    def _settle(self, walk: _Walk) -> _Walk:
        """Moves on to the next decision that is to be made."""
        entry, repetition = walk.entry, walk.repetition
        while entry < len(self._entries) and repetition >= self._times(self._entries[entry], walk.values):
            entry, repetition = entry + 1, 0
        return _Walk(entry, repetition, walk.values)

    def _times(self, entry: _Entry, values: Mapping[int, int]) -> int:
        if any(values.get(i) not in accepted for i, accepted in entry.when):
            return 0
        if entry.repeat is None:
            return 1
        chosen = values.get(entry.repeat)
        return 0 if chosen is None else int(self._entries[entry.repeat].options[chosen])

    def __getstate__(self) -> dict[str, Any]:
        """Workers count and walk for themselves, so that what is sent to them stays small."""
        return {**self.__dict__, "_counts": {}, "_walks": {}, "_named": None}

    # -- values --------------------------------------------------------------------------------

    def decode(self, architecture: Architecture) -> dict[str, Any]:
        """The decisions by name, such as ``{"kernel": 3, "op.1": "conv"}``."""
        decoded = {}
        for i, option in enumerate(architecture):
            prefix = architecture[:i]
            decoded[self.label(prefix)] = self._entries[self._walk(prefix).entry].options[option]
        return decoded

    def encode(self, values: Mapping[str, Any]) -> Architecture:
        """The architecture with these values, by name.

        Raises:
            InvalidArchitecture: If a decision is missing, is not asked for, or has no such option.
        """
        return self._encode(values, lambda entry, value: _position(entry.options, value))

    def _encode(self, values: Mapping[str, Any], find: Any) -> Architecture:
        prefix: Architecture = ()
        names = []
        while self.arity(prefix):
            name = self.label(prefix)
            entry = self._entries[self._walk(prefix).entry]
            if name not in values:
                raise InvalidArchitecture(f"Choices: no value for {name!r}; expected one of {list(entry.options)}")
            option = find(entry, values[name])
            if option is None:
                raise InvalidArchitecture(
                    f"Choices: {name}={values[name]!r}: expected one of {', '.join(map(repr, entry.options))}"
                )
            names.append(name)
            prefix = (*prefix, option)
        spare = [name for name in values if name not in names]
        if spare:
            raise InvalidArchitecture(f"Choices: {', '.join(spare)}: no such decision after the others; asked: {names}")
        return prefix

    def format(self, architecture: Architecture) -> str:
        """The decisions as text, such as ``kernel=3,width=16,skip=False``."""
        return ",".join(f"{name}={value}" for name, value in self.decode(architecture).items())

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` wrote.

        Raises:
            InvalidArchitecture: If ``text`` is no architecture of this space.
        """
        parts = [part.partition("=") for part in text.strip().split(",") if part]
        if not all(equals for _, equals, _ in parts):
            raise InvalidArchitecture(
                f"{text!r}: expected decisions such as {self._entries[0].name}=VALUE, joined by commas"
            )
        values = {name.strip(): value.strip() for name, _, value in parts}
        if len(values) < len(parts):
            raise InvalidArchitecture(f"{text!r}: a decision is given twice; expected each one once")
        return self._encode(values, lambda entry, value: _position([str(option) for option in entry.options], value))

    def graph(self, architecture: Architecture) -> networkx.MultiDiGraph:
        """The chain of decisions, each node labelled with its name and value, such as ``kernel=3``."""
        graph = super().graph(architecture)
        for node, (name, value) in enumerate(self.decode(architecture).items()):
            graph.nodes[node]["label"] = f"{name}={value}"
        return graph


class _Entry(NamedTuple):
    """A decision: its options, and what it depends on, by position in the list of decisions."""

    name: str
    options: list[Any]
    when: list[tuple[int, list[int]]]
    repeat: int | None
    most: int

    def makes(self, label: str) -> bool:
        """Whether one of the repetitions is called that."""
        name, _, number = label.rpartition(".")
        return self.repeat is not None and name == self.name and number.isdecimal() and 1 <= int(number) <= self.most

    @property
    def needs(self) -> list[int]:
        return [i for i, _ in self.when] + ([] if self.repeat is None else [self.repeat])


class _Walk(NamedTuple):
    """A place in the tree: which decision is next, how often it was made, and the options chosen so far."""

    entry: int
    repetition: int
    values: Mapping[int, int]


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


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise UsageError(
            f"Choices: {path} cannot be read ({error.strerror}); expected a YAML file of decisions"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"Choices: {path} is no YAML: {error}") from None


def _entry(name: Any, value: Any, earlier: list[_Entry]) -> _Entry:
    where = f"Choices: decision {name!r}"
    if not isinstance(name, str) or not name or set(name) & set(",=") or name != name.strip():
        raise UsageError(f"{where}: expected a name without commas, equals signs or spaces around it")
    if name == "class_path":
        raise UsageError(f"{where}: this name is taken, run folders mark components by it; choose another one")
    details = value if isinstance(value, Mapping) else {"options": value}
    unknown = sorted(map(str, set(details) - {"options", "when", "repeat"}))
    if unknown:
        raise UsageError(f"{where}: unknown key {', '.join(unknown)}; expected options, when, repeat")
    options = details.get("options")
    if not isinstance(options, (list, tuple)) or not options:
        raise UsageError(f"{where}: expected a list of at least one option, got {options!r}")
    texts = [str(option) for option in options]
    first = [_position(list(options), option) for option in options]
    if len(set(texts)) < len(texts) or first != list(range(len(options))):
        raise UsageError(f"{where}: options must be distinct, also as text, got {options!r}")
    if any("," in text or text != text.strip() for text in texts):
        raise UsageError(f"{where}: options must, as text, have no commas and no spaces around them, got {options!r}")
    positions = {entry.name: i for i, entry in enumerate(earlier) if entry.repeat is None}
    conditions = details.get("when") or {}
    if not isinstance(conditions, Mapping):
        raise UsageError(f"{where}: when: expected a mapping from earlier decisions to values, got {conditions!r}")
    when = [_condition(where, other, accepted, positions, earlier) for other, accepted in conditions.items()]
    repeat, most = None, 1
    if "repeat" in details:
        repeat = _earlier(where, "repeat", details["repeat"], positions)
        counts = earlier[repeat].options
        if not all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts):
            raise UsageError(
                f"{where}: repeat: {details['repeat']!r} must have integers >= 0 as options, has {counts!r}"
            )
        most = max(counts)
    entry = _Entry(name, list(options), when, repeat, most)
    for other in earlier:
        if entry.makes(other.name) or other.makes(name):
            raise UsageError(
                f"{where}: a repetition of one decision would have the name of {other.name!r}, or the reverse"
            )
    return entry


def _condition(
    where: str, name: str, accepted: Any, positions: Mapping[str, int], earlier: list[_Entry]
) -> tuple[int, list[int]]:
    i = _earlier(where, "when", name, positions)
    values = accepted if isinstance(accepted, (list, tuple)) else [accepted]
    found = [_position(earlier[i].options, value) for value in values]
    if None in found or not found:
        raise UsageError(f"{where}: when: {name!r} has the options {earlier[i].options!r}, got {accepted!r}")
    return i, [option for option in found if option is not None]


def _earlier(where: str, key: str, name: Any, positions: Mapping[str, int]) -> int:
    if not isinstance(name, str) or name not in positions:
        raise UsageError(
            f"{where}: {key}: {name!r} is no earlier decision; expected one of {', '.join(positions) or 'none so far'}"
        )
    return positions[name]


def _position(options: list[Any], value: Any) -> int | None:
    """Position of a value among the options; True is not 1."""
    for i, option in enumerate(options):
        if option == value and isinstance(option, bool) == isinstance(value, bool):
            return i
    return None
