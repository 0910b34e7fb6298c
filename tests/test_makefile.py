"""`make setup`, `make run` and `make test` say what they do, and which Python they need."""

import re
import shutil
import subprocess
import sys
import tomllib

import pytest
from pages import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def make(folder, *arguments):
    return subprocess.run(
        ["make", "-f", str(ROOT / "Makefile"), *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.fixture
def clone(tmp_path):
    """As much of a fresh clone as the first step looks at."""
    folder = tmp_path / "a clone"
    folder.mkdir()
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    return folder


def python_of(version, path):
    """A program that answers as a Python of another version would."""
    path.write_text(
        f"#!{sys.executable}\nimport sys\nsys.version_info = {version}\n"
        "if sys.argv[1] != '-c':\n    sys.exit('went on')\n"
        "code, sys.argv = sys.argv[2], ['-c', *sys.argv[3:]]\nexec(code)\n"
    )
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("minor", range(9, 17))
def test_the_python_that_the_package_needs_is_asked_for_at_once(clone, tmp_path, minor):
    first, end = re.findall(
        r"3\.(\d+)", tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    )
    python = python_of((3, minor, 1), tmp_path / "python")
    done = make(clone, "setup", f"PYTHON={python}")
    assert done.returncode != 0
    refused = "name a Python of version 3.11, 3.12 or 3.13: make setup PYTHON=python3.12" in done.stderr
    assert refused == (not int(first) <= minor < int(end))
    assert ("went on" in done.stderr) == (not refused)
    assert "Traceback" not in done.stderr
    assert not (clone / ".venv").exists()


def test_a_python_that_is_not_there_is_named(clone):
    done = make(clone, "setup", "PYTHON=python3.12345")
    assert "no program is called python3.12345" in done.stdout
    assert done.returncode != 0


@pytest.mark.parametrize("target", ["setup", "run", "test"])
def test_each_step_is_said_and_none_is_silent(clone, target):
    lines = make(clone, "--dry-run", target).stdout
    for number in (1, 2, 3):
        assert f"setup {number}/3: " in lines
    assert target == "setup" or f'echo "{target}: ' in lines
    assert not re.search(r"pip install.*(--quiet|-q\b|>)", lines)


def test_a_setup_that_was_interrupted_goes_on_and_one_that_is_done_is_not_done_again(clone, tmp_path):
    """With a Python that only notes what it was asked for, and is interrupted while it gets PyTorch."""
    log, python = tmp_path / "log", tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\necho "$@" >> "{log}"\ncase "$*" in\n'
        '*venv*) mkdir -p .venv/bin; cp "$0" .venv/bin/python;;\n'
        f'*torch) [ ! -e "{tmp_path}/interrupt" ] || exit 130;;\nesac\n'
    )
    python.chmod(0o755)
    (clone / ".venv").mkdir()  # of one that was interrupted before there was a Python in it
    (tmp_path / "interrupt").touch()
    assert make(clone, "setup", f"PYTHON={python}").returncode != 0
    assert not (clone / ".venv" / "ready").exists()
    (tmp_path / "interrupt").unlink()
    done = make(clone, "setup", f"PYTHON={python}")
    assert done.returncode == 0, done.stderr
    assert "setup: done" in done.stdout
    asked = log.read_text()
    assert asked.count("-m venv --clear .venv") == 1  # the second time it was sound
    assert asked.splitlines()[-1] == "-m pip install -c constraints.txt -e .[dev,rl]"
    make(clone, "setup", f"PYTHON={python}")
    assert log.read_text() == asked
