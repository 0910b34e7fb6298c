"""Controllers, evaluators and spaces by name, and as plain data for ``config.yaml``.

Names come from entry points (groups ``archsearch.controllers``, ``archsearch.evaluators``,
``archsearch.spaces``), so that the engine imports no shelf and other packages can plug in. A component is
stored as its class and the values of its ``__init__`` arguments, which it keeps as attributes.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.metadata
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from archsearch.errors import UnknownName, UsageError

KINDS = ("controllers", "evaluators", "models", "spaces")


@functools.cache
def entry_points(kind: str) -> Mapping[str, importlib.metadata.EntryPoint]:
    """The installed components of a kind, by name."""
    found = importlib.metadata.entry_points(group=f"archsearch.{kind}")
    return {point.name: point for point in sorted(found, key=lambda point: point.name)}


def load(name: str, kind: str | None = None) -> Any:
    """The class of that name, or at that import path such as ``my_lab.Annealing``.

    Raises:
        UnknownName: If there is none; the message lists what there is.
    """
    kinds = KINDS if kind is None else (kind,)
    for each in kinds:
        if name in entry_points(each):
            return entry_points(each)[name].load()
    if "." in name or ":" in name:
        return import_object(name)
    known = [known_name for each in kinds for known_name in entry_points(each)]
    raise UnknownName(_unknown_message(name, " or ".join(each[:-1] for each in kinds), known))


def _unknown_message(name: str, what: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]}?" if close else "."
    return (
        f"no {what} is called {name!r}{hint} Known: {', '.join(known)}. A class of your own works by its import path."
    )


def import_object(path: str) -> Any:
    """Imports ``package.module.Name`` or ``package.module:Name``.

    Raises:
        UnknownName: If the module or the name does not exist.
    """
    module_name, _, attribute = path.replace(":", ".").rpartition(".")
    if not all(part.isidentifier() for part in (*module_name.split("."), attribute)):
        raise UnknownName(f"{path!r}: expected an import path such as my_lab.Annealing")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name + ".").startswith(error.name + "."):
            raise UnknownName(
                f"{path!r}: no module called {error.name!r}; expected an import path such as my_lab.Annealing, "
                "importable from the current folder or the environment"
            ) from None
        raise
    if not hasattr(module, attribute):
        raise UnknownName(f"{path!r}: module {module_name!r} has no {attribute!r}")
    return getattr(module, attribute)


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
    return str(value) if type(value).__module__ == "builtins" else names([value])[0]


def build(description: Mapping[str, Any]) -> Any:
    """Makes the component that ``describe`` described.

    Raises:
        UsageError: If its class is gone or does not take these arguments.
    """
    cls = load(description["class_path"])
    arguments = {name: _built(value) for name, value in (description.get("init_args") or {}).items()}
    try:
        return cls(**arguments)
    except TypeError as error:
        raise UsageError(f"{description['class_path']}: {error}") from None


def _built(value: Any) -> Any:
    """The reverse of ``_plain``: components inside lists and mappings are made too."""
    if isinstance(value, Mapping):
        return build(value) if "class_path" in value else {key: _built(item) for key, item in value.items()}
    return [_built(item) for item in value] if isinstance(value, list) else value


def summary(cls: Callable[..., Any]) -> str:
    """First sentence of a class's docstring, on one line."""
    text = " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())
    # "et al. 2019" does not end a sentence.
    return re.split(r"(?<=[.;])(?<!al\.)\s", text)[0].rstrip(".;")


def lazy_classes(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's ``__getattr__`` that imports each class on first use.

    Args:
        package: The package's ``__name__``.
        modules: Name of the module, inside the package, that holds each class.
    """

    def __getattr__(name: str) -> Any:
        if name in modules:
            return getattr(importlib.import_module(f"{package}.{modules[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return __getattr__
