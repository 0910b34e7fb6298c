"""What the documentation says is run: Python blocks, with the output printed under them, commands and examples."""

import doctest
import importlib
import importlib.util
import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib

import forked
import pytest
from common import run_command
from pages import FENCE, PAGES, ROOT, blocks

PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"]
MODULES = [
    f"{package}.{path.stem}"
    for package, folder in PACKAGES.items()
    for path in sorted((ROOT / folder).glob("*.py"))
    if path.stem != "__init__"
]


def cases(language):
    return [
        pytest.param(text, output, id=f"{page.name}-{number}")
        for page in PAGES
        for number, found, text, output in blocks(page)
        if found == language
    ]


def execute(command, folder):
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=300, env=environment
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


OWN_PROCESS = re.compile(r"^\s*import (archsearch|ray|scipy|sklearn)\b|[Rr]ay\b|archsearch\.testing", re.MULTILINE)
"""Of scripts that can tell how their process began or ends: they have one of their own."""


def execute_script(name, folder, *arguments):
    """What a script prints, in a fresh Python; where it makes no difference, one that has done its imports."""
    if OWN_PROCESS.search((folder / name).read_text()):
        return execute([sys.executable, name, *arguments], folder)
    done = forked.run(as_program, name, arguments, cwd=folder, path=[folder], environment={"COLUMNS": "200"})
    assert done.poll() == 0, f"{name}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def as_program(name, arguments):
    sys.argv = [name, *arguments]
    runpy.run_path(name, run_name="__main__")


EXTRA_OF = {"sb3_contrib": "rl", "lightning": "loops", "transformers": "loops"}
"""Packages that ``make setup`` may leave out, with their extra: what imports one is skipped where it is not there."""


def skip_if_lacking(text, names=()):
    for name in [*re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE), *names]:
        if name in EXTRA_OF and importlib.util.find_spec(name) is None:
            pytest.skip(f"needs the extra {EXTRA_OF[name]}")


@pytest.mark.parametrize(("text", "output"), cases("python"))
def test_python_block_runs_and_prints_what_is_shown(text, output, tmp_path):
    skip_if_lacking(text)
    (tmp_path / "block.py").write_text(text)
    printed = execute_script("block.py", tmp_path)
    if output is not None:
        assert printed == output


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_commands_run_and_print_what_is_shown(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # one folder: later commands go on with earlier runs
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "path", [*sys.path])
    for _, language, text, output in blocks(page):
        if language == "sh":
            printed = "".join(command(line, capsys) for line in text.splitlines())
            assert output is None or timeless(printed) == timeless(output)


def command(line, capsys):
    """What a command prints; in this process, since one of its own would only take longer to start."""
    name, *arguments = shlex.split(line, comments=True)
    assert name == "archsearch", line
    status, printed, errors = run_command(capsys, *arguments)
    assert status == 0, f"{line}\n{printed}\n{errors}"
    return printed


def timeless(text):
    """Without what differs from run to run: the measured time."""
    return re.sub(r"\S+ (s|min|h|days) on the run's clock", "some time on the run's clock", text)


def test_readme_begins_with_a_complete_run_and_its_output(tmp_path):
    beginning = "".join((ROOT / "README.md").read_text().splitlines(keepends=True)[:40])
    (language, text), (below, output) = FENCE.findall(beginning)[:2]
    assert (language, below) == ("python", "output")
    assert len(text.splitlines()) <= 15
    (tmp_path / "block.py").write_text(text)
    assert execute([sys.executable, "block.py"], tmp_path) == output


SHORTER = {
    "07_train_on_digits": {"TRIALS = 10": "TRIALS = 4", "train_examples=300": "train_examples=60"},
    "09_inherit_weights": {"TRIALS = 12": "TRIALS = 8", "epochs=6": "epochs=2"},
    "10_one_shot": {"CELLS = 12": "CELLS = 4", "epochs=6": "epochs=1", "epochs=30": "epochs=2"},
    "11_random_sharing": {"train_examples=300": "train_examples=60", "epochs=20": "epochs=1"},
    "12_spos": {"epochs=16": "epochs=1", 'Training("digits", ': 'Training("digits", train_examples=100, '},
    "13_fairnas": {
        '("uniform", 24), ("fair", 8)': '("uniform", 3), ("fair", 1)',
        "train_examples=400": "train_examples=60",
    },
    "14_enas": {"EPOCHS, PROPOSALS = 16, 60": "EPOCHS, PROPOSALS = 16, 10", "train_examples=400": "train_examples=64"},
    "15_cascade": {
        "CELLS = 40": "CELLS = 10",
        "epochs=6, train_examples=200": "epochs=1, train_examples=70",
        "labels=20": "labels=10",
        "epochs=12": "epochs=1",
        "reference=16": "reference=6",
    },
    "19_elastic_vit": {
        "epochs=30": "epochs=5",
        'Training("digits", ': 'Training("digits", train_examples=60, ',
        "trials=60": "trials=6",
    },
    "20_own_loop": {"EPOCHS = 9": "EPOCHS = 2", "trials=40": "trials=6"},
    "21_lightning": {"trials=12": "trials=4"},
    "22_transformers": {"trials=8": "trials=3", "EPOCHS = 4": "EPOCHS = 2"},
    "24_own_network": {"epochs=5": "epochs=1", "trials=40": "trials=4"},
    "25_own_transformer": {"epochs=12": "epochs=1", "trials=40": "trials=4"},
    "26_joint_search": {"trials=20": "trials=4", "max_iter=20": "max_iter=3"},
    "16_predictor": {"cells = truth.architectures": "cells = truth.architectures[::50]"},
}
"""Of examples that train for long: what is replaced by less of the same; ``make slow`` runs them as they are."""

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(example, tmp_path):
    """Without arguments, but for the one that trains an agent, which gets a tiny budget."""
    arguments = []
    text = example.read_text()
    if example.stem == "05_stable_baselines3":
        skip_if_lacking(text, ["sb3_contrib"])  # which it imports late
        arguments = ["--steps", "480"]
    skip_if_lacking(text)
    assert len(text.splitlines()) < (120 if example.stem == "19_elastic_vit" else 80)
    for whole, shorter in SHORTER.get(example.stem, {}).items():
        assert text.count(whole) == 1, f"SHORTER: {example.name} has no single {whole!r} any more"
        text = text.replace(whole, shorter)
    (tmp_path / example.name).write_text(text)
    assert execute_script(example.name, tmp_path, *arguments).strip()


@pytest.mark.slow
@pytest.mark.parametrize("example", [path for path in EXAMPLES if path.stem in SHORTER], ids=lambda path: path.stem)
def test_example_runs_in_full(example, tmp_path):
    assert execute([sys.executable, str(example)], tmp_path).strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("name", MODULES)
def test_doctests(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
