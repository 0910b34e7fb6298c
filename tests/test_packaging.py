"""The package: its wheel has what the tree has, imports are light, names are public."""

import configparser
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import archsearch
import archsearch.spaces
from archsearch.components import load

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
        "import archsearch.running.loop, archsearch.testing, archsearch.cli",
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


def test_pyproject_names_every_folder_that_has_modules():
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {
        path.parent.relative_to(ROOT).as_posix()
        for root in ("archsearch", *SHELVES)
        for path in (ROOT / root).rglob("*.py")
    }
    expected = {(f if f.startswith("archsearch") else f"archsearch/{f}").replace("/", "."): f for f in folders}
    assert setup["package-dir"] == expected
    assert sorted(setup["packages"]) == sorted(expected)


def test_the_shelf_of_spaces_lists_what_can_be_searched():
    modules = {path.stem for path in (ROOT / "spaces").glob("*.py")} - {"__init__"}
    spaces = {load(name, "spaces").__module__.rpartition(".")[2] for name in archsearch.spaces.ALL}
    assert spaces <= modules
    # What a large space has in files of its own is called by its name.
    assert {module for module in modules if not module.startswith(tuple(f"{space}_" for space in spaces))} <= spaces


def test_no_space_needs_torch_until_it_makes_a_network():
    code = (
        "import archsearch.spaces as s\nfor name in s.ALL: getattr(s, name)\nimport sys\nprint('torch' in sys.modules)"
    )
    assert python(code).strip() == "False"


def test_constraints_pin_torch():
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of the tree as it is, with the traces of a use in it, and all files of the packages' folders."""
    # In a copy: a build leaves files behind that a later build would take along.
    tree = tmp_path_factory.mktemp("wheel") / "tree"
    for folder in ("archsearch", *SHELVES):
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    files = {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()}
    for folder in ("archsearch", "archsearch/models", "spaces"):
        (tree / folder / "__pycache__").mkdir()
        (tree / folder / "__pycache__" / "used.cpython-311.pyc").touch()
    for name in ("pyproject.toml", "README.md", "LICENSE", "THIRD_PARTY_NOTICES.md"):
        shutil.copy(ROOT / name, tree)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*build, "--wheel-dir", str(tree.parent), str(tree)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (path,) = tree.parent.glob("*.whl")
    return zipfile.ZipFile(path), files


def test_wheel_holds_every_file_of_the_packages_and_no_other(wheel):
    archive, files = wheel
    names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == {name if name.startswith("archsearch/") else f"archsearch/{name}" for name in files}
    assert "archsearch/comparison.yaml" in names  # without which `archsearch compare` ends in an error


def test_wheel_holds_the_licences_and_the_entry_points(wheel):
    archive, _ = wheel
    information = {Path(name).name: name for name in archive.namelist() if ".dist-info/" in name}
    for name in ("LICENSE", "THIRD_PARTY_NOTICES.md"):
        assert archive.read(information[name]) == (ROOT / name).read_bytes()
    points = configparser.ConfigParser(delimiters="=")
    points.optionxform = str  # names as they are written
    points.read_string(archive.read(information["entry_points.txt"]).decode())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    expected = {**project["entry-points"], "console_scripts": project["scripts"]}
    assert {section: dict(points[section]) for section in points.sections()} == expected
