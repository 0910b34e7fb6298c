"""The package: its wheel has what the tree has, imports are light, names are public."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import archsearch

ROOT = Path(__file__).parent.parent
SHELVES = ("controllers", "evaluators", "spaces")


def python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "import archsearch",
        "import archsearch.loop, archsearch.testing, archsearch.cli",
        "from archsearch import search, resume, Controller, Evaluator, Space",
        "from archsearch.controllers import RandomSearch, RegularizedEvolution",
        "from archsearch.spaces import NASBench201, Choices",
        "from archsearch.evaluators import Tabular, Function",
        "from archsearch import cli; cli.main(['--help'])",
    ],
)
def test_light_imports_load_neither_torch_nor_ray(code):
    loaded = python(
        f"{code}\nimport sys\nprint('LOADED', [m for m in ('torch', 'ray', 'matplotlib') if m in sys.modules])"
    )
    assert loaded.splitlines()[-1] == "LOADED []"


def test_importing_the_package_is_free_of_numpy_too():
    assert python("import archsearch, sys; print('numpy' in sys.modules)").strip() == "False"


def test_public_names_exist():
    for name in archsearch.__all__:
        assert getattr(archsearch, name) is not None


def test_no_public_name_is_the_name_of_a_module():
    # Importing the module would hide the name: ``from archsearch import search`` would give the module.
    assert not set(archsearch.__all__) & {path.stem for path in (ROOT / "archsearch").glob("*.py")}


def test_versions_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == archsearch.__version__


def test_no_second_copy_of_a_shelf_is_imported():
    assert not set(SHELVES) & set(sys.modules)


def test_constraints_pin_torch():
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text()


def test_wheel_holds_what_the_tree_holds(tmp_path):
    # In a copy: a build leaves files behind that a later build would take along.
    tree = tmp_path / "tree"
    for folder in ("archsearch", *SHELVES):
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "THIRD_PARTY_NOTICES.md"):
        shutil.copy(ROOT / name, tree)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*build, "--wheel-dir", str(tmp_path), str(tree)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {f"archsearch/{path.name}" for path in (ROOT / "archsearch").glob("*.py")} | {"archsearch/py.typed"}
    expected |= {f"archsearch/data/{path.name}" for path in (ROOT / "archsearch/data").iterdir() if path.is_file()}
    for room in ("models", "training"):
        expected |= {f"archsearch/{room}/{path.name}" for path in (ROOT / "archsearch" / room).glob("*.py")}
    expected |= {f"archsearch/presets/{path.name}" for path in (ROOT / "archsearch/presets").glob("*.yaml")}
    for shelf in SHELVES:
        expected |= {f"archsearch/{shelf}/{path.name}" for path in (ROOT / shelf).glob("*.py")}
    assert names == expected
    licences = [name for name in zipfile.ZipFile(wheel).namelist() if "licenses/" in name]
    assert len(licences) == 2
