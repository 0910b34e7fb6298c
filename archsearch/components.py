"""Controllers, evaluators and spaces by name, and as plain data for ``config.yaml``.

Names come from entry points (groups ``archsearch.controllers``, ``archsearch.evaluators``,
``archsearch.spaces``), so that the engine imports no shelf and other packages can plug in. A component is
stored as its class and the values of its ``__init__`` arguments, which it keeps as attributes.

What is stored can be anyone's: ``build`` makes nothing of it but installed components, unless it is told to trust it.
"""

from __future__ import annotations

import contextlib
import contextvars
import difflib
import functools
import importlib
import importlib.metadata
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from archsearch.basics.descriptions import describe as describe
from archsearch.basics.descriptions import import_path as import_path
from archsearch.basics.descriptions import names as names
from archsearch.basics.descriptions import one_line as one_line
from archsearch.errors import ArchsearchError, NotTrusted, UnknownName, UsageError

BASES = {
    "controllers": "archsearch.controller.Controller",
    "evaluators": "archsearch.evaluator.Evaluator",
    "measures": "archsearch.studies.measure.Measure",
    "models": "archsearch.model.Model",
    "spaces": "archsearch.space.Space",
}
"""What the components of a kind are subclasses of."""

PART = "archsearch.differentiable.part.Part"
"""What parts of components are subclasses of: they are made with them, and are no components of their own."""

PARTS = {
    "relaxations": "Relaxation",
    "optimisations": "Optimisation",
    "guards": "Guard",
    "resources": "Resource",
    "discretisations": "Discretisation",
    "stages": "Stages",
}
"""Modules of parts, each with its base class."""

KINDS = tuple(kind for kind in BASES if kind != "measures")
"""What searches are made of; measures are for studies."""

C = TypeVar("C")

_untrusted: contextvars.ContextVar[str | None] = contextvars.ContextVar("_untrusted", default=None)
"""The file of which something is being built that is not trusted: what it names by path is not imported."""


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


def part(name: str, role: str) -> type | None:
    """The part of that name, if an argument of that name takes parts, such as ``relaxation``; None: it takes none.

    Args:
        name: Name of a class.
        role: Name of the argument; that of parts of a method is the name of their base.

    Raises:
        UnknownName: If it takes parts, and none has that name; the message lists what there is.
    """
    module = f"{role.removesuffix('s')}s"
    if module not in PARTS:
        return None
    base = getattr(importlib.import_module(f"archsearch.differentiable.{module}"), PARTS[module])
    known: dict[str, type] = {}
    waiting = [base]
    while waiting:
        cls = waiting.pop()
        waiting.extend(cls.__subclasses__())
        # The bases of these three are parts themselves.
        if f"{cls.__module__}.".startswith(f"archsearch.differentiable.{module}.") and (
            cls is not base or module in ("resources", "discretisations", "stages")
        ):
            known[cls.__name__] = cls
    if name not in known:
        raise UnknownName(_unknown_message(name, module[:-1], sorted(known)))
    return known[name]


def with_paths(description: Any, kind: str | None = None, role: str = "") -> Any:
    """The same plain data, with import paths wherever classes are named by their short names.

    Args:
        description: As ``describe`` gives it, but for the names.
        kind: Of the outermost component: controllers, evaluators, ...; None: any.
        role: The argument that it is given for, if any.

    Raises:
        UnknownName: If nothing is called so; the message lists what there is.
    """
    if isinstance(description, list):
        return [with_paths(each, None, role) for each in description]
    if not isinstance(description, Mapping):
        return description
    if not isinstance(path := description.get("class_path"), str):
        return {name: with_paths(each, None, role) for name, each in description.items()}
    if path.isidentifier():
        path = import_path(part(path, role) or load(path, kind))
    given = _arguments(description).items()
    return {"class_path": path, "init_args": {name: with_paths(each, None, name) for name, each in given}}


def _unknown_message(name: str, what: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]}?" if close else "."
    return (
        f"no {what} is called {name!r}{hint} Known: {', '.join(known)}. A class of your own works by its import path."
    )


def import_object(path: str) -> Any:
    """Imports ``package.module.Name`` or ``package.module:Name``.

    Components whose arguments name code by its path import that by this function, which refuses while something is
    built that is not trusted.

    Raises:
        UnknownName: If the module or the name does not exist.
        NotTrusted: If something is being built that is not trusted.
    """
    if (where := _untrusted.get()) is not None:
        raise NotTrusted(not_trusted_message(where, path))
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


# -- what is stored, which can be anyone's -----------------------------------------------------


def build(description: Mapping[str, Any], kind: str | None = None, *, trust: bool = False, where: str = "") -> Any:
    """Makes the component that ``describe`` described.

    Args:
        description: Plain data, which can be anyone's.
        kind: controllers, evaluators, models or spaces; None: any of these.
        trust: Whether code that it names may be run. If not, nothing is imported or called but installed components.
        where: The file that it is from, for messages.

    Raises:
        NotTrusted: If it names something that is not installed, and is not trusted.
        UsageError: If its class is gone, is of another kind, or does not take these arguments.
    """
    kinds = KINDS if kind is None else (kind,)
    if not trust and (foreign := not_installed(description, kinds)) is not None:
        raise NotTrusted(not_trusted_message(where, foreign, kind))
    token = _untrusted.set(None if trust else where)
    try:
        return _build(description, kinds, where)
    finally:
        _untrusted.reset(token)


def not_trusted_message(where: str, what: str, kind: str | None = None) -> str:
    """What to say of something that is neither installed nor trusted."""
    kind_text = f" as one of the {kind}" if kind else ""
    return (
        f"{where or 'a description'}: {what} is not installed{kind_text}, and what a file names is not run unasked; "
        "if you made it or trust who did: --trust (in Python trust=True, or hand the object itself over)"
    )


def not_installed(description: Any, kinds: Sequence[str] = KINDS) -> str | None:
    """The first thing that a description names and no installed package offers as a component; None: there is none.

    Args:
        description: Plain data, which can be anyone's. Nothing that it names is imported but installed components.
        kinds: What the outermost component may be.
    """
    waiting: list[tuple[Any, Sequence[str]]] = [(description, kinds)]
    while waiting:
        value, kinds = waiting.pop()
        if isinstance(value, list):
            waiting.extend((each, kinds) for each in value)
        elif isinstance(value, Mapping) and "class_path" not in value:
            waiting.extend((each, kinds) for each in value.values())
        elif isinstance(value, Mapping):
            cls, arguments = installed(value["class_path"], kinds), _arguments(value)
            if cls is None:
                return str(value["class_path"])
            for name, argument in arguments.items():
                annotation = _annotation(cls, name)
                may_be_path = isinstance(argument, str) and re.search("[.:]", argument)
                if may_be_path and re.search(r"\b(Callable|[Tt]ype)\b", annotation):
                    return f"{argument} ({cls.__name__}.{name})"
                waiting.append((argument, _kinds_of(annotation)))
    return None


def installed(path: Any, kinds: Sequence[str] = KINDS) -> type | None:
    """The installed component that is meant by an import path; None: none is. Imports nothing else.

    Installed are the entry points of all packages, and what archsearch itself defines.
    """
    if not isinstance(path, str):
        return None
    module, _, name = path.replace(":", ".").rpartition(".")
    if module.split(".")[0] == "archsearch" and (own := _defined_here(module, name)) is not None:
        return own if issubclass(own, _bases(kinds)) else None
    for point in (point for kind in kinds for point in entry_points(kind).values()):
        if point.attr != name:
            continue
        try:
            cls: type = point.load()
        except Exception as error:  # of a package that is broken
            if point.module == module:
                raise UsageError(f"{path} cannot be imported: {type(error).__name__}: {error}") from None
            continue
        offered = getattr(sys.modules.get(module), name, None)  # a package above its module may offer it, too
        if module in (point.module, cls.__module__) or (point.module.startswith(f"{module}.") and offered is cls):
            return cls
    return None


def _defined_here(module: str, name: str) -> type | None:
    try:
        cls = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None
    return cls if inspect.isclass(cls) and cls.__module__ == module else None


def _bases(kinds: Sequence[str]) -> tuple[type, ...]:
    paths = [BASES[kind] for kind in kinds] + ([PART] if tuple(kinds) == KINDS else [])
    return tuple(
        getattr(importlib.import_module(path), name) for path, _, name in (each.rpartition(".") for each in paths)
    )


def _annotation(cls: type, name: str) -> str:
    parameter = inspect.signature(cls).parameters.get(name)
    annotation = "" if parameter is None else parameter.annotation
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _kinds_of(annotation: str) -> Sequence[str]:
    """The kinds of component that an argument takes, by its annotation; all, where that names none."""
    named = [kind for kind, base in BASES.items() if re.search(rf"\b{base.rpartition('.')[2]}\b", annotation)]
    return named or KINDS


def _arguments(description: Mapping[str, Any]) -> Mapping[str, Any]:
    arguments = description.get("init_args") or {}
    if not isinstance(arguments, Mapping) or not all(isinstance(name, str) for name in arguments):
        raise UsageError(f"{description['class_path']}: init_args: expected settings by name, got {arguments!r:.80}")
    return arguments


def _build(description: Mapping[str, Any], kinds: Sequence[str], where: str) -> Any:
    if not isinstance(description, Mapping) or not isinstance(description.get("class_path"), str):
        raise UsageError(f"{where or 'a description'}: expected a class_path and init_args, got {description!r:.80}")
    path, trusted = description["class_path"], _untrusted.get() is None
    cls = check_class(load(path) if trusted else installed(path, kinds), kinds, path, where)
    arguments = {
        name: _built(value, _kinds_of(_annotation(cls, name)), where) for name, value in _arguments(description).items()
    }
    with _told(path, where, trusted):
        return cls(**arguments)


@contextlib.contextmanager
def _told(path: str, where: str, trusted: bool) -> Iterator[None]:
    """Whatever a class says of arguments that nobody has checked is an error of who gave them."""
    try:
        yield
    except ArchsearchError:
        raise
    except Exception as error:
        if trusted and not isinstance(error, TypeError):
            raise
        raise UsageError(f"{where}: {path}: {error}" if where else f"{path}: {error}") from None


def check_class(cls: Any, kinds: Sequence[str], path: str, where: str = "") -> type:
    """The class, if it is a component; it is not called.

    Raises:
        UsageError: If it is none of these kinds.
    """
    bases = _bases(kinds)
    if not (inspect.isclass(cls) and issubclass(cls, bases)):
        expected = " or ".join(base.__name__ for base in bases)
        raise UsageError(f"{where or 'a description'}: {path}: expected a class of {expected}, got {cls!r:.80}")
    return cls


def _built(value: Any, kinds: Sequence[str], where: str) -> Any:
    """The reverse of ``_plain``: components inside lists and mappings are made too."""
    if isinstance(value, Mapping):
        if "class_path" in value:
            return _build(value, kinds, where)
        return {key: _built(item, kinds, where) for key, item in value.items()}
    return [_built(item, kinds, where) for item in value] if isinstance(value, list) else value


def summary(cls: Callable[..., Any] | str) -> str:
    """First sentence of the docstring of a class (or of that docstring), on one line."""
    text = " ".join((cls if isinstance(cls, str) else inspect.getdoc(cls) or "").split("\n\n")[0].split())
    # "et al. 2019" does not end a sentence.
    return re.split(r"(?<=[.;])(?<!al\.)\s", text)[0].rstrip(".;")
