"""Components as plain data and as text: their class, and the values of its ``__init__`` arguments."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archsearch.errors import UsageError

LONGEST = 80
"""Letters of a setting in a name."""


class Described:
    """Has a ``repr`` with the settings that are not the class's own, such as ``Reinforce(policy=softmax)``."""

    def __repr__(self) -> str:
        name, settings = type(self).__name__, _own_settings(self)
        return f"{name}({', '.join(settings)})"


def import_path(thing: Any) -> str:
    """``module.Name`` of a class or function."""
    return f"{thing.__module__}.{thing.__qualname__}"


def describe(component: Any) -> dict[str, Any]:
    """A component as plain data: ``{"class_path": ..., "init_args": {...}}``.

    Raises:
        UsageError: If an ``__init__`` argument is not kept as an attribute, or is no plain data.
    """
    arguments = {}
    for name, parameter in inspect.signature(type(component).__init__).parameters.items():
        if name == "self" or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if not hasattr(component, name):
            raise UsageError(
                f"{type(component).__name__}.__init__ takes {name!r} but keeps no attribute of that name; "
                f"add self.{name} = {name}, so that a run folder can store it"
            )
        arguments[name] = _plain(getattr(component, name), f"{type(component).__name__}.{name}")
    return {"class_path": import_path(type(component)), "init_args": arguments}


def _plain(value: Any, where: str) -> Any:
    if hasattr(value, "item") and getattr(value, "shape", None) == ():  # a NumPy scalar; np.float64 is also a float
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item, where) for key, item in value.items()}
    if isinstance(value, (list, tuple, range)):
        return [_plain(item, where) for item in value]
    if isinstance(value, type) or inspect.isroutine(value):
        return import_path(value)
    if hasattr(value, "fingerprint"):  # data, which is too large to store: enough to know it again
        return f"{type(value).__name__} {value.fingerprint}"
    if type(value).__module__ != "builtins":
        return describe(value)
    raise UsageError(f"{where}: {value!r} cannot be stored as plain data in config.yaml")


def one_line(description: Mapping[str, Any]) -> str:
    """What ``describe`` gave as text, such as ``RegularizedEvolution(population_size=100)``."""
    arguments = ", ".join(f"{name}={_one_line(value)}" for name, value in description["init_args"].items())
    return f"{description['class_path'].rpartition('.')[2]}({arguments})"


def _one_line(value: Any) -> str:
    is_component = isinstance(value, Mapping) and "class_path" in value and "init_args" in value
    return one_line(value) if is_component else repr(value)


def names(components: Sequence[Any]) -> list[str]:
    """A name for each: its class, with the settings that are not the class's own; numbered where names repeat."""
    found: list[str] = []
    for component in components:
        name = type(component).__name__
        if settings := _own_settings(component):
            name += f"({', '.join(settings)})"
        alike = sum(1 for other in found if other == name or other.startswith(f"{name} #"))
        found.append(f"{name} #{alike + 1}" if alike else name)
    return found


def _own_settings(component: Any) -> list[str]:
    """The arguments of ``__init__`` that differ from their defaults, as text."""
    own = []
    for name, parameter in inspect.signature(type(component).__init__).parameters.items():
        value = getattr(component, name, parameter.default)
        if name == "self" or (type(value) is type(parameter.default) and value == parameter.default):
            continue
        if isinstance(value, list):
            value = f"[{', '.join(map(_short, value))}]"
        own.append(f"{name}={_short(value)}")
    return own


def _short(value: Any) -> str:
    if isinstance(value, type) or inspect.isroutine(value):
        return value.__name__
    text = str(value) if type(value).__module__ == "builtins" else names([value])[0]
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def json_value(value: Any) -> Any:
    """Plain data that any reader of JSON takes: what is not finite becomes null, paths and other objects texts."""
    if isinstance(value, Mapping):
        return {str(name): json_value(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(each) for each in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    return json_value(value.item()) if hasattr(value, "item") else str(value)
