"""Whatever is imported is declared: by everyone who installs the package, not only by those who have everything."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest

import archsearch.components

ROOT = Path(__file__).parent.parent
PACKAGES = ("archsearch", "controllers", "evaluators", "spaces")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OWN = {
    "archsearch",
    "golden",
    "stranger_lab",
    *(path.stem for name in ("tests", "benchmarks") for path in (ROOT / name).glob("*.py")),
}


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements):
    """Names of distributions, with those of the project's own extras that are named among them."""
    names = set()
    for requirement in requirements:
        name, extras = re.match(r"([\w.-]+)(?:\[(.*?)\])?", requirement).groups()
        if name == PROJECT["name"]:
            for extra in extras.split(","):
                names |= declared(PROJECT["optional-dependencies"][extra])
        else:
            names.add(normal(name))
    return names


WITH_TORCH = {"triton"}
"""What builds of PyTorch for CUDA bring along."""


def imported(folder):
    """Packages that are imported anywhere in a folder, inside of functions too, each with one file that does."""
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "find_spec":
                names = [each.value for each in node.args[:1] if isinstance(each, ast.Constant)]
            for name in names:
                found.setdefault(name.partition(".")[0], path.relative_to(ROOT))
    return {name: path for name, path in found.items() if name not in {*sys.stdlib_module_names, *OWN, *WITH_TORCH}}


def undeclared(folder, requirements):
    distributions = importlib.metadata.packages_distributions()
    names = declared(requirements)
    return {
        name: str(path)
        for name, path in imported(folder).items()
        if not {normal(each) for each in distributions.get(name, [name])} & names
    }


EVERYTHING = [*PROJECT["dependencies"], *(r for extra in PROJECT["optional-dependencies"].values() for r in extra)]


@pytest.mark.parametrize("folder", [*PACKAGES, "examples", "benchmarks", "tests"])
def test_every_imported_package_is_declared(folder):
    assert undeclared(folder, EVERYTHING) == {}


OPTIONAL = {
    "datasets": "images",
    "torchvision": "vision",
    "mlflow": "mlflow",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "PIL": "images",
    "argcomplete": "completion",
    "wandb": "wandb",
}
"""Packages that the library imports only where they are asked for, with the extra that has them."""


@pytest.mark.parametrize("folder", PACKAGES)
def test_what_the_library_imports_comes_with_it_or_with_an_extra_that_it_names(folder):
    missing = undeclared(folder, PROJECT["dependencies"])
    assert set(missing) <= set(OPTIONAL)
    for name, path in missing.items():
        extra = OPTIONAL[name]
        assert undeclared(folder, [*PROJECT["dependencies"], *PROJECT["optional-dependencies"][extra]]).keys() == (
            missing.keys() - {other for other in missing if OPTIONAL[other] == extra}
        )
        text = (ROOT / path).read_text()
        assert f"archsearch[{extra}]" in text or f'"{extra}"' in text, f"{path} does not say which extra has {name}"


def test_an_undeclared_import_would_be_found():
    without = [each for each in PROJECT["dependencies"] if not each.startswith("threadpoolctl")]
    assert undeclared("archsearch", without).get("threadpoolctl") == "archsearch/model.py"


def test_constraints_pin_whatever_is_declared():
    """But for what only other machines need: torchvision, and what comes for a cluster."""
    pinned = {normal(line.split("==")[0]) for line in (ROOT / "constraints.txt").read_text().split()}
    assert declared(EVERYTHING) - pinned <= {"torchvision"}


# -- entry points --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", archsearch.components.KINDS)
def test_every_public_class_of_a_shelf_has_an_entry_point_and_every_entry_point_a_class(kind):
    package = importlib.import_module(f"archsearch.{kind}")
    base = {
        "controllers": "archsearch.Controller",
        "evaluators": "archsearch.Evaluator",
        "models": "archsearch.model.Model",
        "spaces": "archsearch.Space",
    }[kind]
    base = archsearch.components.import_object(base)
    public = {name: getattr(package, name) for name in package.__all__}
    classes = {name: cls for name, cls in public.items() if isinstance(cls, type) and issubclass(cls, base)}
    points = PROJECT["entry-points"][f"archsearch.{kind}"]
    assert points.keys() == classes.keys()
    for name, target in points.items():
        assert archsearch.components.import_object(target) is classes[name]
