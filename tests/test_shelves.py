"""Files of the shelves and of the models import each other in no circle, for types neither."""

import ast
import graphlib
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"]
OURS = ("archsearch.controllers", "archsearch.evaluators", "archsearch.models", "archsearch.spaces")
FILES = {
    f"{package}.{path.stem}": path
    for package, folder in FOLDERS.items()
    if package.startswith(OURS)
    for path in sorted((ROOT / folder).glob("*.py"))
    if path.stem != "__init__"  # which names its classes for editors, and loads them on first use
}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def imported(node):
    """Modules that a file imports when it is imported itself, or for its types; not those inside functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ImportFrom):
            yield from (child.module, *(f"{child.module}.{alias.name}" for alias in child.names))
        elif not isinstance(child, FUNCTIONS):
            yield from imported(child)


def test_imports_make_no_circle():
    edges = {name: {*imported(ast.parse(path.read_text()))} & FILES.keys() for name, path in FILES.items()}
    assert edges["archsearch.spaces.networks.conv_chain"] >= {"archsearch.spaces.conv_chain"}
    list(graphlib.TopologicalSorter(edges).static_order())  # raises CycleError, which names the circle
