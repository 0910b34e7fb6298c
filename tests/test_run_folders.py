"""What a run folder is: who may have it, what lies in it, where it is."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from faulty_lab import path
from folder_lab import SPACE, Sums, begin

from archsearch import Evaluation, Evaluator, resume, search
from archsearch.controllers import RandomSearch
from archsearch.errors import InvalidArchitecture, RunFolderError, UsageError
from archsearch.evaluators import Function
from archsearch.keeping import history
from archsearch.keeping.folder import RunFolder
from archsearch.showing import status as report

TESTS = Path(__file__).parent


# -- the lock ----------------------------------------------------------------------------------------


def test_a_child_that_an_evaluator_has_forked_does_not_keep_the_lock(tmp_path):
    """The driver is killed; its child, which still runs, is nobody who runs the search."""
    code = """
import os, signal, sys, time
from archsearch.keeping.history import RunFolder
folder = RunFolder.create(sys.argv[1], {"space": {}})
reading, writing = os.pipe()
child = os.fork()
if not child:
    os.close(1)  # else the test would wait for the end of this one's output, too
    os.write(writing, b"runs")
    time.sleep(600)
    os._exit(0)
os.read(reading, 4)
print(child, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "r")], stdout=subprocess.PIPE, text=True, check=False
    )
    child = int(done.stdout)
    try:
        os.kill(child, 0)
        assert not RunFolder(tmp_path / "r").in_use()
        RunFolder.open(tmp_path / "r").close()
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_folder_that_is_looked_at_stays_locked(tmp_path):
    """By its own process, too: neither a look nor a child that ends takes the lock away."""
    folder = RunFolder.create(tmp_path / "r", {"space": {}})
    (tmp_path / "r" / "lock").read_bytes()
    if not (child := os.fork()):
        os._exit(0)
    os.waitpid(child, 0)
    assert RunFolder(tmp_path / "r").in_use()
    with pytest.raises(RunFolderError, match="another process is running this search"):
        RunFolder.open(tmp_path / "r")
    folder.close()
    assert not RunFolder(tmp_path / "r").in_use()


def test_the_lock_is_free_after_any_error(tmp_path):
    class Broken(RandomSearch):
        def _tell(self, trial):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        search(SPACE, Broken(), Sums(), trials=5, seed=0, out=tmp_path / "r")
    assert not RunFolder(tmp_path / "r").in_use()


# -- what lies in it -----------------------------------------------------------------------------------


def test_trials_hold_nothing_but_parquet_at_any_time(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "PART_ROWS", 10)
    folder, seen = tmp_path / "r" / "trials", set()
    rename = Path.rename

    def look(self, target):
        seen.update(each.suffix for each in folder.iterdir())
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", look)
    read = []

    def count(trial):
        seen.update(each.suffix for each in folder.iterdir())
        if trial.id == 25:
            read.append(pq.read_table(folder).num_rows)

    search(SPACE, RandomSearch(), Sums(), trials=40, seed=0, out=tmp_path / "r", on_trial=count)
    assert seen == {".parquet"}
    assert read == [20]
    rows = len(list(RunFolder(tmp_path / "r").trials(0)))
    assert pq.read_table(folder).num_rows == rows
    assert len(pd.read_parquet(folder)) == rows
    assert ds.dataset(folder).count_rows() == rows


# -- who may have it -----------------------------------------------------------------------------------


def test_a_folder_with_trials_and_without_a_configuration_is_refused(tmp_path):
    begin("failures", tmp_path / "r", part_rows=30, killed_at=50)
    (tmp_path / "r" / "config.yaml").unlink()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RunFolderError, match=r"trials of a run here, but its config\.yaml is gone"):
        search(SPACE, RandomSearch(), Sums(), trials=5, out=tmp_path / "r")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_search_that_is_refused_leaves_no_folder(tmp_path):
    class Stray(RandomSearch):
        def _ask(self):
            return (9, 9, 9, 9)

    class Picky(Sums):
        def prepare(self):
            raise UsageError("not like this")

    with pytest.raises(InvalidArchitecture):
        search(SPACE, Stray(), Sums(), trials=5, seed=0, out=tmp_path / "r")
    with pytest.raises(UsageError, match="not like this"):
        search(SPACE, RandomSearch(), Picky(), trials=5, seed=0, out=tmp_path / "r")
    assert not (tmp_path / "r").exists()
    assert search(SPACE, RandomSearch(), Sums(), trials=5, seed=0, out=tmp_path / "r").completed == 5


def test_a_search_that_fails_after_trials_were_done_leaves_them(tmp_path):
    class LaterStray(RandomSearch):
        def _ask(self):
            return (9, 9, 9, 9) if self._pending_ids() > 3 else super()._ask()

        def _pending_ids(self):
            self.asked = getattr(self, "asked", 0) + 1
            return self.asked

    with pytest.raises(InvalidArchitecture):
        search(SPACE, LaterStray(), Function(sum), trials=9, seed=0, out=tmp_path / "r")
    assert len(list(RunFolder(tmp_path / "r").trials(0))) == 3


# -- where it is ---------------------------------------------------------------------------------------


class Wanderer(Evaluator):
    """Changes the current directory."""

    def start(self, space):
        """Already here."""
        super().start(space)
        os.chdir("/")

    def evaluate(self, architecture, seed):
        """And at each evaluation."""
        os.chdir("/tmp")
        return Evaluation(sum(architecture))


def test_a_relative_folder_stays_where_it_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "PART_ROWS", 4)
    monkeypatch.chdir(tmp_path)
    whole = search(SPACE, RandomSearch(), Function(sum), trials=20, seed=0)
    search(SPACE, RandomSearch(), Wanderer(), trials=10, seed=0, out="r")
    assert "10 completed" in report.status(tmp_path / "r")
    monkeypatch.chdir(tmp_path)
    result = resume("r", space=SPACE, evaluator=Wanderer(), trials=20)
    assert path(result.history) == path(whole.history)
    assert result.history.table().num_rows == 20
