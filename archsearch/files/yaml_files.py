"""YAML files: plain data, written as people would write it, and read as YAML 1.2 has it.

PyYAML reads YAML 1.1, where ``010`` is 8, ``12:30`` is 750, ``1e-3`` is a text, and options called ``no`` and ``on``
are booleans. Section 10.3 of https://yaml.org/spec/1.2.2 has the core schema that is read here.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from archsearch.basics.texts import shown
from archsearch.errors import UsageError

# In C where PyYAML was built with it: ten times as fast.
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

MOST_DEPTH = 40
"""Keys that lead to something whose line is known."""

Keys = tuple[str, ...]
"""Where something stands: the keys, and places in lists counted from 0, that lead there."""

_TAG = "tag:yaml.org,2002:"
_PLAIN = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    "merge": (r"<<", "<"),
    "null": (r"~|null|Null|NULL|", "~nN\0"),
}
"""What a text without quotes is read as, and the characters that it begins with; in this order."""


class Loader(_LOADER):  # type: ignore[misc]
    """Reads the core schema of YAML 1.2; of a name that is given twice PyYAML would silently keep the last."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's way)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """See PyYAML."""
        names: list[Any] = []
        for key, _ in node.value:
            if key.value in names:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
            names.append(key.value)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found

    def construct_number(self, node: yaml.ScalarNode) -> int:
        """Decimal, whatever digit comes first."""
        return int(node.value, 16) if node.value.startswith("0x") else int(node.value)


class Dumper(_DUMPER):  # type: ignore[misc]
    """Writes in quotes what either version would not read as a text."""


for _name, (_pattern, _first) in _PLAIN.items():
    for _class in (Loader, Dumper):
        _class.add_implicit_resolver(
            _TAG + _name, re.compile(f"(?:{_pattern})$"), [each.strip("\0") for each in _first]
        )
Loader.add_constructor(f"{_TAG}int", Loader.construct_number)


def yaml_text(data: Any) -> str:
    """Plain data as YAML, in its own order; YAML 1.1 and 1.2 read the same in it.

    Raises:
        UsageError: If a text in it cannot be written, such as the name of a file that is not UTF-8.
    """
    try:
        return yaml.dump(data, Dumper=Dumper, sort_keys=False)
    except UnicodeEncodeError as error:
        raise UsageError(
            f"settings: expected texts that UTF-8 can hold, got {shown(error.object)}; rename what that stands for"
        ) from None


def read_yaml(text: str) -> Any:
    """The plain data in YAML.

    Raises:
        yaml.YAMLError: If it is none.
    """
    return yaml.load(text, Loader=Loader)


def read_yaml_file(name: str, text: str) -> Any:
    """The plain data in a file.

    Args:
        name: Of the file, for the message.
        text: What is in it.

    Raises:
        UsageError: If it is no YAML; the message names file and line.
    """
    try:
        return read_yaml(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{name}: {yaml_problem(error)}") from None


def yaml_lines(text: str, loader: Any = Loader) -> dict[Keys, int]:
    """The line, counted from 1, of everything in YAML that has a key or a place in a list.

    Raises:
        yaml.YAMLError: If it is none.
    """
    lines: dict[Keys, int] = {}
    _find_lines(yaml.compose(text, loader), (), lines)
    return lines


def _find_lines(node: Any, keys: Keys, lines: dict[Keys, int]) -> None:
    if len(keys) > MOST_DEPTH:  # an anchor inside itself
        return
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            lines[(*keys, key.value)] = key.start_mark.line + 1
            _find_lines(value, (*keys, key.value), lines)
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            lines[(*keys, str(i))] = value.start_mark.line + 1
            _find_lines(value, (*keys, str(i)), lines)


def yaml_problem(error: yaml.YAMLError) -> str:
    """What is wrong with a YAML text, in one line, with its place in the text."""
    mark = getattr(error, "problem_mark", None)
    where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
    parts = [getattr(error, name, None) for name in ("context", "problem")]
    return f"{where}no YAML ({', '.join(filter(None, parts)) or error})"
