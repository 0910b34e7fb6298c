"""What is installed: components, presets, and what fits what."""

from __future__ import annotations

import ast
import difflib
import functools
import importlib.metadata
import importlib.util
import inspect
from collections.abc import Mapping
from importlib.abc import InspectLoader
from pathlib import Path
from typing import Any, NamedTuple

from archsearch.components import KINDS, entry_points, load, summary
from archsearch.controller import Controller
from archsearch.errors import ArchsearchError, UnknownName, UsageError
from archsearch.evaluator import Evaluator
from archsearch.model import Model
from archsearch.space import Space

# -- what there is -----------------------------------------------------------------------------


def components(names: list[str]) -> dict[str, dict[str, str]]:
    """What there is, by kind and name, with one line each.

    Args:
        names: Kinds, such as presets, which narrow it down, and import paths of classes.
    """
    known = (*KINDS, "presets")
    found: dict[str, dict[str, str]] = {}
    for kind in [name for name in names if name in known] or ([] if names else known):
        found[kind] = _preset_lines() if kind == "presets" else _kind_lines(kind)
    for path in [name for name in names if name not in known]:
        cls = load(path)
        found.setdefault(_kind(cls), {})[path] = summary(cls)
    return found


def lines_of(components: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What ``components`` found, as lines for people."""
    parts = [[kind, *(f"  {name:<21} {line}" for name, line in each.items()), ""] for kind, each in components.items()]
    return [line for part in parts for line in part][:-1]


def _kind_lines(kind: str) -> dict[str, str]:
    points = entry_points(kind).items()
    return {name: summary(_docstring(point) or load(name, kind)) for name, point in points}


def _docstring(point: importlib.metadata.EntryPoint) -> str | None:
    """Of a component, from its source: importing all of them would take seconds; None: it cannot be had that way."""
    try:
        classes = [node for node in _statements(point.module) if isinstance(node, ast.ClassDef)]
    except (ImportError, OSError, SyntaxError, ValueError):  # which is said when it is imported
        return None
    found = [node for node in classes if node.name == point.attr]
    return ast.get_docstring(found[0]) if len(found) == 1 else None


@functools.lru_cache(maxsize=1)  # a module's components mostly follow each other
def _statements(module: str) -> list[ast.stmt]:
    """The outermost statements of a module; only the package that it is in is imported."""
    spec = importlib.util.find_spec(module)
    source = spec.loader.get_source(module) if spec and isinstance(spec.loader, InspectLoader) else None
    return ast.parse(source or "").body


def _preset_lines() -> dict[str, str]:
    return {name: path.read_text().splitlines()[0].lstrip("# ") for name, path in _presets().items()}


def preset_file(name: str) -> Path:
    """The file of a preset: options of ``archsearch run`` that make up a whole method.

    Raises:
        UnknownName: If there is none of that name; the message lists those there are.
    """
    presets = _presets()
    if name not in presets:
        close = difflib.get_close_matches(name, presets, n=1)
        hint = f"; did you mean {close[0]}?" if close else "."
        raise UnknownName(f"no preset is called {name!r}{hint} Known: {', '.join(presets)}.")
    return presets[name]


def _presets() -> dict[str, Path]:
    return {path.stem: path for path in sorted((Path(__file__).parents[1] / "presets").glob("*.yaml"))}


def _kind(cls: Any) -> str:
    for base, kind in ((Controller, "controllers"), (Evaluator, "evaluators"), (Model, "models"), (Space, "spaces")):
        if inspect.isclass(cls) and issubclass(cls, base):
            return kind
    raise UsageError(
        f"{cls!r} is no controller, evaluator, model or space: expected a subclass of one of these classes"
    )


class Fits(NamedTuple):
    """What fits a component.

    Attributes:
        name: The component.
        kind: Its kind, such as ``spaces``.
        others: ``yes``, or why not, by the names of the components that it may or may not work with.
        note: What is said in their place, or below them.
    """

    name: str
    kind: str
    others: Mapping[str, str]
    note: str

    @property
    def document(self) -> dict[str, Any]:
        """The same as plain data."""
        return {"name": self.name, "kind": self.kind, "fits": dict(self.others), "note": self.note}

    def __str__(self) -> str:
        head = [f"{'spaces' if self.kind == 'evaluators' else 'evaluators'} for {self.name}"] if self.others else []
        return "\n".join(
            [*head, *(f"  {name:<21} {fit}" for name, fit in self.others.items()), *filter(None, [self.note])]
        )


def compatibility(name: str) -> Fits:
    """What fits a component, and for what does not, why."""
    cls = load(name)
    kind = _kind(cls)
    if kind == "models":
        return Fits(name, kind, {}, f"{name} works with every space, in evaluators and controllers that use a model.")
    if kind == "controllers":
        return Fits(name, kind, {}, f"{name} works with every space and every evaluator.")
    others = "spaces" if kind == "evaluators" else "evaluators"
    pairs = {
        other: (cls, load(other, others)) if kind == "evaluators" else (load(other, others), cls)
        for other in entry_points(others)
    }
    note = "every controller works with it" if kind == "spaces" else ""
    return Fits(name, kind, {other: _fit(*pair) for other, pair in pairs.items()}, note)


def _fit(evaluator: type[Evaluator], space: type[Space]) -> str:
    """Whether an evaluator with its default settings scores a space with its default settings."""
    for cls, what in ((evaluator, "evaluator"), (space, "space")):
        needed = [
            parameter.name
            for parameter in inspect.signature(cls).parameters.values()
            if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        ]
        if needed and what == "evaluator":
            return f"depends on its {', '.join(needed)}"
        if needed:
            return _fit_any(evaluator, space)
    try:
        evaluator().check(space())
    except ArchsearchError as error:
        return f"no: {error}"
    return "yes"


def _fit_any(evaluator: type[Evaluator], space: type[Space]) -> str:
    """For spaces that need arguments: judged by a small instance that has none of the optional abilities."""
    stand_in = type(space.__name__, (Space,), {})(arities=[2])
    try:
        evaluator().check(stand_in)
    except ArchsearchError as error:
        return f"no: {error}"
    return "yes"
