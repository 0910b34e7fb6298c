"""Where a command writes that was not told where: a new folder for each, whatever the clock says."""

import datetime
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from common import run_command

from archsearch.cli import folders


class Stopped(datetime.datetime):
    """A clock that stands still."""

    @classmethod
    def now(cls, tz=None):
        return cls(2026, 11, 29, 19, 9, 50)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(folders, "datetime", SimpleNamespace(datetime=Stopped))
    return tmp_path


def test_searches_of_the_same_second_each_have_their_own_folder(capsys, here):
    for _ in range(3):
        assert run_command(capsys, "run", "--trials", "2", "--quiet")[0] == 0
    names = sorted(path.parent.name for path in here.glob("runs/*/config.yaml"))
    assert names == ["2026-11-29-190950", "2026-11-29-190950-2", "2026-11-29-190950-3"]


def test_of_commands_that_begin_at_once_no_two_have_the_same_folder(here):
    with ExitStack() as all_of_them, ThreadPoolExecutor(8) as pool:
        opened = [folders.output_folder({"out": None}, "runs") for _ in range(40)]
        found = list(pool.map(all_of_them.enter_context, opened))
        assert len(set(found)) == 40
        assert all(Path(each).is_dir() for each in found)
    # Nothing was written to them; the folder around them stays where who made it had left while others were in it.
    assert list(here.rglob("*")) in ([], [here / "runs"])


def test_a_command_that_is_refused_leaves_nothing(capsys, here):
    status, _, err = run_command(capsys, "run", "--trials", "0", "--quiet")
    assert status == 2
    assert "trials" in err
    status, _, err = run_command(capsys, "compare", "--space", "NASBench201", "--quiet")
    assert status == 2
    assert "evaluators" in err
    assert list(here.iterdir()) == []


def test_a_folder_that_others_write_to_stays(capsys, here):
    (here / "runs" / "own").mkdir(parents=True)
    assert run_command(capsys, "run", "--trials", "0", "--quiet")[0] == 2
    assert [path.name for path in (here / "runs").iterdir()] == ["own"]


def test_where_nothing_can_be_written_is_said_in_one_line(capsys, here):
    (here / "runs").write_text("a file")
    status, _, err = run_command(capsys, "run", "--trials", "2", "--quiet")
    assert status == 2
    assert err.strip() == "archsearch: runs: cannot write here (File exists); name a folder with --out"
