"""`scripts/minimums` and `scripts/smoke`: which versions, which tests, which Pythons."""

import re
import sys
import tomllib

import pytest
from pages import ROOT
from script_lab import load_script

minimums, smoke = load_script("minimums"), load_script("smoke")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

SMALL = {
    "name": "mine",
    "dependencies": ["torch>=2.6", "ray[tune]>=2.43", "numpy >= 2.0, <3"],
    "optional-dependencies": {
        "rl": ["agents>=1"],
        "cluster": ["ray[default]>=2.43"],
        "pictures": ["pillow>=10"],
        "test": ["mine[pictures]", "pytest>=8"],
    },
}


def name_of(line):
    return re.match(r"[\w.-]+", line)[0]


def test_the_lowest_version_of_each_is_listed_and_extras_are_followed():
    assert minimums.minimums(SMALL, ("test", "cluster")) == [
        "torch==2.6",
        "ray[tune]==2.43",
        "numpy==2.0",
        "pytest==8",
        "ray[default]==2.43",
        "pillow==10",
    ]


def test_another_torch_or_none():
    assert minimums.minimums(SMALL, ("rl",), "2.13.0") == [
        "torch==2.13.0",
        "ray[tune]==2.43",
        "numpy==2.0",
        "agents==1",
    ]
    assert minimums.minimums(SMALL, ("rl",), "none") == ["ray[tune]==2.43", "numpy==2.0"]  # agents would bring it


@pytest.mark.parametrize(
    "requirement", ["numpy", "numpy<3", "numpy==2.0", "numpy~=2.0", "numpy>=2; python_version > '3'"]
)
def test_a_requirement_without_a_lowest_version_is_refused(requirement):
    with pytest.raises(ValueError, match="expected NAME>=VERSION"):
        minimums.lowest(requirement)


def test_an_unknown_extra_is_named():
    with pytest.raises(SystemExit, match="no extra nothing; it has rl, cluster, pictures, test"):
        minimums.minimums(SMALL, ("nothing",))


def test_all_bounds_of_this_project_are_tried_but_those_of_tools_and_heavy_extras():
    tried = {name_of(line) for line in minimums.minimums(PROJECT)}
    listed = [
        *PROJECT["dependencies"],
        *(each for extra in PROJECT["optional-dependencies"].values() for each in extra),
    ]
    left_out = {name_of(each) for each in listed} - tried
    tools = {"ruff", "mypy", "import-linter", "build", "types-PyYAML"}
    heavy = {
        "torchvision",
        "lightning",
        "transformers",
        "accelerate",
        "wandb",
        "sphinx",
        "furo",
        "myst-parser",
    }  # of extras that the tests do without
    assert left_out == {"archsearch", *tools, *heavy}


def test_every_library_has_smoke_tests_and_these_exist():
    tried = {name_of(line) for line in minimums.minimums(PROJECT)}
    runners = {"pytest", "pytest-cov", "pytest-xdist", "hypothesis", "setuptools"}  # that run or install all of them
    assert tried - runners == smoke.SMOKE.keys()
    chosen = smoke.listed(torch=True)
    assert len(chosen) == len(set(chosen))
    for each in chosen:
        file, name = each.split("::")
        assert f"\ndef {name}(" in (ROOT / file).read_text()
    assert {each.partition("::")[2] for each in set(chosen) - set(smoke.listed(torch=False))} == smoke.NEED_TORCH


def test_a_smoke_test_that_has_gone_is_named(monkeypatch):
    monkeypatch.setitem(smoke.SMOKE, "torch", ["test_that_nobody_wrote"])
    with pytest.raises(smoke.SmokeError, match="expected test_that_nobody_wrote in one file of tests/, got no file"):
        smoke.listed(torch=True)


# -- environments, with a pip that only notes what it is asked for ---------------------------------------


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """What would be run; commands that hold a word of the set ``fails`` fail."""
    commands, fails = [], set()

    def run(*command, what):
        commands.append(" ".join(map(str, command)).replace(str(tmp_path), "."))
        if fails & set(commands[-1].split()):
            raise smoke.SmokeError(f"{what} failed, status 1")
        if "venv" in command:
            command[-1].mkdir(parents=True)

    monkeypatch.setattr(smoke, "run", run)
    monkeypatch.setattr(smoke, "ROOT", tmp_path)
    monkeypatch.setattr(smoke, "ENVIRONMENTS", tmp_path / ".smoke")
    monkeypatch.setattr(
        smoke, "listed", lambda torch: ["tests/test_a.py::test_b", "tests/test_a.py::test_c"][: 1 + torch]
    )
    monkeypatch.setattr(smoke, "wanted_of_constraints", lambda torch: ["-c", "pins", "numpy"])
    monkeypatch.setattr(smoke, "wanted_of_minimums", lambda torch: [f"torch=={torch}", "numpy==2.0"])
    return commands, fails


def script(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["smoke", *arguments])
    return smoke.main()


def test_minimums_are_installed_in_an_environment_of_their_own(asked, monkeypatch):
    commands, _ = asked
    assert script(monkeypatch, "--minimums", "--torch", "2.13.0") == 0
    python = "./.smoke/minimums/bin/python"
    assert commands[0] == f"{sys.executable} -m venv ./.smoke/minimums"
    assert commands[2] == f"{python} -m pip install --quiet torch==2.13.0 numpy==2.0"
    assert commands[3].endswith("--no-deps --no-build-isolation -e .")
    assert commands[4] == f"{python} -m pip check"
    assert commands[5] == (
        f"{python} -m pytest -m slow or not slow -W ignore::DeprecationWarning -W ignore::PendingDeprecationWarning "
        "-W ignore::FutureWarning tests/test_a.py::test_b tests/test_a.py::test_c"
    )


def test_without_torch_nothing_may_bring_it_and_the_tests_left_out_are_counted(asked, monkeypatch, capsys):
    commands, _ = asked
    assert script(monkeypatch, "--pythons", sys.executable, "--torch", "none") == 0
    folder = f".smoke/{sys.version_info[0]}.{sys.version_info[1]}"
    assert commands[2].endswith(f"install --quiet -c ./{folder}/no_torch.txt -c pins numpy")
    assert (smoke.ROOT / folder / "no_torch.txt").read_text() == "torch<0\n"
    assert commands[-1].endswith("-m pytest -m slow or not slow tests/test_a.py::test_b")
    printed = capsys.readouterr().out
    assert "smoke: 1 tests; 1 that need PyTorch are left out" in printed
    assert printed.endswith("passed without PyTorch\n")


def test_pythons_that_are_not_there_are_said_and_skipped(asked, monkeypatch, capsys, tmp_path):
    shim = tmp_path / "python3.77"  # a program that only says which Pythons could be had
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    assert script(monkeypatch, "--pythons", "python3.99", str(shim), sys.executable) == 0
    printed = capsys.readouterr().out
    assert "smoke: python3.99: not found, skipped\n" in printed
    assert f"smoke: {shim}: not found, skipped\n" in printed
    assert f"smoke: {sys.executable}: Python {sys.version_info[0]}.{sys.version_info[1]}, passed\n" in printed


def test_where_none_is_there_nothing_was_tried_and_that_is_no_success(asked, monkeypatch, capsys):
    assert script(monkeypatch, "--pythons", "python3.98", "python3.99") == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("smoke: no Python was found, so nothing was tried; ")


@pytest.mark.parametrize(
    ("word", "what"), [("venv", "making an environment"), ("pytest", "the smoke part"), ("check", "pip")]
)
def test_what_fails_is_named_and_the_status_tells(word, what, asked, monkeypatch, capsys):
    asked[1].add(word)
    assert script(monkeypatch, "--pythons", "python3.99", sys.executable) == 1
    assert re.search(rf"Python 3\.\d+, {what}.* failed, status 1", capsys.readouterr().out)
    assert script(monkeypatch, "--minimums") == 1
    assert capsys.readouterr().err.startswith(f"smoke: {what}")


def test_versions_are_those_of_the_constraints_and_another_torch_takes_its_place(monkeypatch, tmp_path):
    monkeypatch.setattr(smoke, "ENVIRONMENTS", tmp_path / ".smoke")
    flag, pins, *names = smoke.wanted_of_constraints(None)
    assert flag == "-c"
    assert (tmp_path / ".smoke" / "constraints.txt").read_text() == (ROOT / "constraints.txt").read_text()
    assert pins == str(tmp_path / ".smoke" / "constraints.txt")
    assert {"torch", "ray[tune]", "optuna"} <= set(names)
    assert not any("==" in name for name in names)
    names = smoke.wanted_of_constraints("2.9.1")
    assert "torch==2.9.1" in names
    assert "torch==" not in (tmp_path / ".smoke" / "constraints.txt").read_text()
    assert not [name for name in smoke.wanted_of_constraints("none") if name.startswith(("torch", "stable"))]
