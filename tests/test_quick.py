"""`scripts/quick`: what was changed, in a git repository made for it, says which tests are due."""

import os
import shutil
import subprocess
import sys

import pytest
from pages import ROOT
from script_lab import load_script

quick = load_script("quick")

FILES = {
    "pyproject.toml": """[project]
name = "archsearch"
[project.entry-points."archsearch.controllers"]
Walk = "archsearch.controllers.walk:Walk"
Jump = "archsearch.controllers.jump:Jump"
Leap = "archsearch.controllers.leap:Leap"
Guess = "archsearch.controllers.guess:Guess"
[project.entry-points."archsearch.models"]
Line = "archsearch.models.line:Line"
[project.entry-points."archsearch.spaces"]
Cell = "archsearch.spaces.cell:Cell"
""",
    "archsearch/running/loop.py": "",
    "archsearch/models/line.py": "",
    "controllers/__init__.py": "from archsearch.controllers.walk import Walk\n",
    "controllers/walk.py": "",
    "controllers/jump.py": "from archsearch.controllers.walk import Walk\n",
    "controllers/leap.py": "import archsearch.controllers.jump\n",
    "controllers/guess.py": "from archsearch.models import line\n",
    "spaces/cell.py": "def network():\n    from archsearch.spaces.networks.cell import Network\n",
    "spaces/networks/cell.py": "",
    "docs/page.md": "",
    "tests/test_walk.py": "",
    ".gitignore": "ignored/\n",
}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """On a branch that left ``main``, where main has gone on since."""
    for variable in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    for path, text in FILES.items():
        write(tmp_path, path, text)
    git(tmp_path, "init", "-q", "-b", "main")
    commit(tmp_path)
    git(tmp_path, "checkout", "-q", "-b", "mine")
    git(tmp_path, "checkout", "-q", "main")
    write(tmp_path, "archsearch/running/loop.py", "of_somebody_else = 1\n")
    commit(tmp_path)
    git(tmp_path, "checkout", "-q", "mine")
    return tmp_path


def write(folder, path, text="changed = 1\n"):
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text)


def git(folder, *arguments):
    command = ["git", "-C", str(folder), "-c", "user.name=n", "-c", "user.email=e", *arguments]
    subprocess.run(command, check=True, capture_output=True)


def commit(folder):
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "m")


def selection(folder):
    """The ``-k`` of the contract suites, as a list, and whether the smoke part is run."""
    found = quick.commands(quick.changed(folder), folder, "python")
    smoke = ["python", "scripts/smoke"]
    suites = [command for command in found if command != smoke]
    assert all(command[:-1] == ["python", "-m", "pytest", "tests/test_contracts.py", "-k"] for command in suites)
    words = [word for command in suites for word in command[-1].split(" or ")]
    return words, smoke in found


def suites_of(*names):
    return [word for name in names for word in (f"[{name}-", f"[{name}]")]


def test_nothing_changed_runs_nothing(repository):
    assert quick.changed(repository) == []
    assert quick.commands([], repository) == []


def test_all_that_was_changed_here_is_seen_and_nothing_of_others(repository):
    write(repository, "controllers/walk.py")
    commit(repository)
    write(repository, "controllers/jump.py")
    git(repository, "add", "controllers/jump.py")  # staged
    write(repository, "controllers/leap.py")  # not staged
    write(repository, "controllers/new.py")  # not known to git
    write(repository, "ignored/thing.py")
    (repository / "docs" / "page.md").unlink()
    git(repository, "mv", "archsearch/models/line.py", "archsearch/models/curve.py")
    assert quick.changed(repository) == [
        "archsearch/models/curve.py",
        "archsearch/models/line.py",
        "controllers/jump.py",
        "controllers/leap.py",
        "controllers/new.py",
        "controllers/walk.py",
        "docs/page.md",
    ]


def test_on_main_what_is_not_committed_counts_and_without_a_main_too(repository):
    git(repository, "checkout", "-q", "main")
    write(repository, "controllers/walk.py")
    assert quick.changed(repository) == ["controllers/walk.py"]
    git(repository, "branch", "-q", "-m", "main", "trunk")
    assert quick.changed(repository) == ["controllers/walk.py"]


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("controllers/leap.py", ["Leap"]),
        ("controllers/walk.py", ["Walk", "Jump", "Leap"]),  # what imports it, and what imports that
        ("controllers/jump.py", ["Jump", "Leap"]),
        ("controllers/__init__.py", []),
        ("archsearch/models/line.py", ["Guess", "Line"]),
        ("spaces/networks/cell.py", ["Cell"]),  # which is imported inside of a method
    ],
)
def test_a_file_of_a_shelf_has_the_suites_of_its_classes_and_of_those_built_on_them(path, names, repository):
    write(repository, path, FILES[path] + "changed = 1\n")
    assert selection(repository) == ([*suites_of(*names), *quick.SHELF_TESTS], False)


def test_a_file_that_is_deleted_has_the_suites_of_what_imported_it(repository):
    (repository / "archsearch" / "models" / "line.py").unlink()
    assert selection(repository) == ([*suites_of("Guess", "Line"), *quick.SHELF_TESTS], False)


@pytest.mark.parametrize(
    "path", ["archsearch/space.py", "archsearch/deep/room.py", "pyproject.toml", "constraints.txt"]
)
def test_a_change_of_the_engine_runs_the_smoke_part(path, repository):
    write(repository, path, FILES.get(path, "") + "\n")
    assert selection(repository) == ([], True)


@pytest.mark.parametrize("path", ["tests/broken.py", "tests/golden/Walk.json", "tests/test_contracts.py"])
def test_a_change_of_the_suites_runs_what_tries_them(path, repository):
    write(repository, path)
    assert selection(repository) == (list(quick.SUITE_TESTS), False)


@pytest.mark.parametrize("path", ["docs/page.md", "README.md", "tests/test_walk.py", "archsearch/data/table.parquet"])
def test_other_files_have_no_suite(path, repository):
    write(repository, path)
    assert selection(repository) == ([], False)


def test_test_files_beside_what_was_changed_are_named_and_not_run(repository):
    write(repository, "tests/test_jump.py")
    assert quick.beside(["controllers/walk.py"], repository) == ["tests/test_walk.py"]
    assert quick.beside(["tests/test_jump.py", "controllers/leap.py"], repository) == ["tests/test_jump.py"]


def test_the_script_lists_and_runs_the_commands(repository):
    """With a pytest that fails, whose status it hands on."""
    (repository / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "quick", repository / "scripts")
    write(repository, "pytest.py", "import sys\nprint('asked for', sys.argv[1:])\nsys.exit(7)\n")
    commit(repository)
    write(repository, "controllers/walk.py")

    def script(*arguments):
        command = [sys.executable, str(repository / "scripts" / "quick"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=repository)

    done = script("--base", "HEAD", "--list")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "quick: 1 changed files; contract suites: Walk, Jump, Leap"
    assert "asked for" not in done.stdout
    assert done.stdout.splitlines()[-1] == "quick: not run: tests/test_walk.py"
    done = script()
    assert done.returncode == 7
    assert "asked for ['tests/test_contracts.py', '-k', '[Walk- or [Walk] or [Jump-" in done.stdout
    done = script("--base", "nowhere")
    assert done.returncode == 1
    assert done.stderr.startswith("quick: git cannot compare with nowhere; ")


# -- this project --------------------------------------------------------------------------------------


def test_every_class_is_selected_by_its_own_file():
    for kind, points in quick.entry_points(ROOT).items():
        for name, module in points.items():
            path = quick.folder_of(kind) + module.removeprefix(f"archsearch.{kind}.").replace(".", "/") + ".py"
            assert (ROOT / path).exists()
            assert name in quick.components([path], ROOT)


def test_controllers_that_are_built_on_another_are_tried_with_it():
    built = ["Auto", "Bananas", "BayesianOptimization", "HypervolumeImprovement"]
    built += ["MOBSTER", "MultiFidelityBayesianOptimization", "NAO"]
    assert quick.components(["controllers/bayesian_optimization.py"], ROOT) == built
    assert "BayesianOptimization" in quick.components(["archsearch/models/gaussian_process.py"], ROOT)


def test_the_selected_tests_exist_and_are_those_of_the_class_alone():
    """Asked of pytest itself, which would find none, or those of other classes, if names were written otherwise."""
    command = quick.commands(["controllers/random_search.py"], ROOT)[0]
    command = [*command[:-1], " or ".join(suites_of("NSGA2")), "--collect-only", "-n", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    ids = [line.partition("::")[2] for line in done.stdout.splitlines() if "::" in line]
    assert "test_controller_proposes_what_is_recorded[NSGA2]" in ids
    assert any(each.startswith("test_controller[NSGA2-") for each in ids)
    assert all("[NSGA2" in each for each in ids)
    text = (ROOT / quick.SUITES).read_text()
    for name in (*quick.SHELF_TESTS, *quick.SUITE_TESTS):
        assert name in text
