"""The commands in a model card: from anywhere, and all of them, they do what the card says."""

import re
import shlex
from pathlib import Path

import pytest
from common import run_command

from archsearch import search
from archsearch.bridges.export import export
from archsearch.controllers import RandomSearch
from archsearch.evaluators import Tabular
from archsearch.judging.verification import verify
from archsearch.keeping.folder import RunFolder
from archsearch.spaces import NASBench201


@pytest.fixture
def verified(tmp_path, monkeypatch):
    """A run with a verification, both made by relative paths."""
    monkeypatch.chdir(tmp_path)
    search(NASBench201(), RandomSearch(), Tabular(epochs=12), trials=20, seed=2, out="runs/a b")
    verify("runs/a b", Tabular(epochs=200), top=3, seed=5)
    return "runs/a b"


def commands(card):
    return [shlex.split(line)[1:] for line in card.splitlines() if line.startswith("archsearch ")]


def test_an_export_elsewhere_names_the_folder_of_the_run_from_anywhere(verified, tmp_path, monkeypatch, capsys):
    (folder,) = export(verified, out="elsewhere")
    card = (folder / "README.md").read_text()
    capsys.readouterr()
    again = commands(card)[0]
    assert again[:2] == ["export", str((tmp_path / verified).resolve())]
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    status, out, err = run_command(capsys, *again, "--out", "again")
    assert status == 0, err
    written = Path(re.search(r"exported  (\S+)", out)[1]) / "genotype.json"
    assert written.read_text() == (tmp_path / "elsewhere" / folder.name / "genotype.json").read_text()


def test_the_commands_of_a_card_search_verify_and_export_again(verified, tmp_path, monkeypatch, capsys):
    (folder,) = export(verified)
    card = (folder / "README.md").read_text()
    all_again = commands(card)[1:]
    assert [command[0] for command in all_again] == ["run", "verify", "export"]
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    for command in all_again:
        status, _, err = run_command(capsys, *command)
        assert status == 0, err
    (new,) = Path("NEW_FOLDER/export").iterdir()
    assert (new / "genotype.json").read_text() == (tmp_path / folder / "genotype.json").read_text()
    before, after = (RunFolder(path).verification(1).to_pylist() for path in (tmp_path / verified, "NEW_FOLDER"))
    assert [(row["trial"], row["score"]) for row in before] == [(row["trial"], row["score"]) for row in after]


def test_a_run_that_was_not_verified_has_no_such_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    search(NASBench201(), RandomSearch(), Tabular(epochs=12), trials=3, seed=2, out="r")
    (folder,) = export("r")
    assert [command[0] for command in commands((folder / "README.md").read_text())] == ["export", "run", "export"]
