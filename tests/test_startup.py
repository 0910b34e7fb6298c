"""A command loads what it needs: which of the heavy libraries are there after each one, and how that is kept so."""

import inspect
import subprocess
import sys
import typing

import pytest
from common import run_command

from archsearch.basics.classes import settle
from archsearch.components import KINDS, entry_points, load, summary
from archsearch.showing import listing
from archsearch.spaces import NASBench201

HEAVY = (
    *("torch", "ray", "networkx", "pandas", "matplotlib", "sklearn", "scipy", "deap", "gymnasium", "rich"),
    *("pyarrow", "pyarrow.dataset", "jsonargparse", "numpy"),
)
CODE = f"""
import sys
from archsearch import cli
try:
    status = cli.main(sys.argv[1:])
except SystemExit as error:  # as --help ends
    status = error.code
assert not status, status
print("LOADED", *[name for name in {HEAVY!r} if name in sys.modules])
"""
OPTIONS = {"jsonargparse", "numpy"}  # options are made from the signatures of classes
FILES = OPTIONS | {"pyarrow"}
MODEL = FILES | {"scipy"}  # Auto takes a Gaussian process for few trials


def loaded(*arguments, folder):
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a run of the default search is, made by the command itself."""
    folder = tmp_path_factory.mktemp("startup")
    assert loaded("run", "--trials", "150", "--seed", "0", "--out", "done", folder=folder) == MODEL
    return folder


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("--help", set()),
        ("--version", set()),
        ("run --quiet", FILES),
        ("run --trials 20 --quiet", MODEL),
        ("resume done --trials 160 --quiet", MODEL),
        ("run --trials 20 --controller LocalSearch --quiet", FILES),
        ("run --trials 20 --controller Reinforce --quiet", FILES),
        ("status done", FILES),
        ("show done", FILES | {"networkx"}),  # the graph is one of networkx
        ("show done --trial 7", FILES | {"networkx"}),
        ("show 6111", FILES | {"networkx"}),
        ("list", OPTIONS),
        ("list spaces presets", OPTIONS),
        ("run --help", OPTIONS),
        ("resume --help", OPTIONS),
        ("verify --help", OPTIONS),
        ("show --help", OPTIONS),
        ("export --help", OPTIONS),
        ("list --help", {"jsonargparse"}),
        ("status --help", {"jsonargparse"}),
        ("report --help", OPTIONS),
        ("compare --help", OPTIONS),
        ("run --space.help NASBench201", OPTIONS),
        ("run --space.help DARTS", OPTIONS),
        ("run --controller.help RegularizedEvolution", OPTIONS),
        ("run --evaluator.help Tabular", OPTIONS),
        ("run --space.help archsearch.spaces.mobilenet.MobileNet", OPTIONS),
    ],
)
def test_no_command_loads_more_than_it_needs(command, expected, folder):
    assert loaded(*command.split(), folder=folder) == expected


# -- types of settings -------------------------------------------------------------------------


def test_settled_annotations_are_types():
    settle(NASBench201)
    kinds = {name: each.annotation for name, each in inspect.signature(NASBench201).parameters.items()}
    assert not any(isinstance(kind, str) for kind in kinds.values())
    assert kinds["channels"] is int
    settle(NASBench201)  # again changes nothing
    assert kinds == {name: each.annotation for name, each in inspect.signature(NASBench201).parameters.items()}


def test_what_only_type_checkers_import_is_left_to_jsonargparse(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    (tmp_path / "postponed_lab.py").write_text(
        "from __future__ import annotations\n"
        "from typing import TYPE_CHECKING\n"
        "from archsearch import Controller\n"
        "if TYPE_CHECKING:\n"
        "    from collections.abc import Sequence as Several\n"
        "class Always(Controller):\n"
        '    """Always proposes the first architecture."""\n'
        "    def __init__(self, options: Several[int] = (0,), n: int = 1) -> None:\n"
        "        self.options, self.n = options, n\n"
        "    def _ask(self):\n"
        "        return (self.options[0],) * self.space.max_length\n"
    )
    arguments = ["--controller", "postponed_lab.Always", "--controller.options", "[2, 3]", "--trials", "3", "--quiet"]
    status, out, err = run_command(capsys, "run", *arguments, "--out", "own")
    assert status == 0, err
    assert "|avg_pool" in out or "nor_conv_1x1" in out or "2-2-2" in out
    status, _, err = run_command(capsys, "run", *arguments[:2], "--controller.n", "many", "--out", "wrong")
    assert status == 2
    assert "expected a whole number, got 'many'" in err


@pytest.mark.parametrize("thing", [None, "text", load, 3])
def test_what_is_no_class_is_left_alone(thing):
    settle(thing)


def test_a_class_whose_settings_are_its_bases_has_types_too():
    bananas = load("Bananas", "controllers")
    expected = typing.get_type_hints(bananas.__init__)
    settle(bananas)
    assert bananas.__init__.__annotations__ == expected


# -- the list ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_list_says_what_the_classes_say(kind):
    for name, point in entry_points(kind).items():
        text = listing._docstring(point)
        assert text is not None, name
        assert summary(text) == summary(load(name, kind))


@pytest.mark.parametrize("value", ["nowhere_at_all:A", "archsearch.errors:Nothing", "sys:A", "json:dumps"])
def test_what_source_does_not_tell_is_imported(value):
    from importlib.metadata import EntryPoint

    assert listing._docstring(EntryPoint("A", value, "archsearch.spaces")) is None
