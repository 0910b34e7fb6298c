"""Faults, caused: damaged files, full disks, folders that cannot be written."""

import errno
import os
from pathlib import Path

import pytest
from faulty_lab import path

from archsearch import Space, resume, search
from archsearch.controllers import RandomSearch, RegularizedEvolution
from archsearch.errors import RunFolderError, StorageError
from archsearch.evaluators import Function
from archsearch.files.damage import DamageWarning
from archsearch.keeping import history
from archsearch.keeping.folder import RunFolder
from archsearch.spaces import NASBench201

SPACE = Space(arities=[4, 3, 5, 2])


def interrupted_run(folder, monkeypatch, after):
    """A run that was stopped as if by kill -9 after some trials, with a part every 25."""
    monkeypatch.setattr(history, "PART_ROWS", 25)

    class Killed(BaseException):
        pass

    def stop(trial):
        if trial.id == after - 1:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(history.History, "close", lambda self, state: self.folder._lock.close())
        with pytest.raises(Killed):
            search(
                NASBench201(), RegularizedEvolution(10, 3), Function(len), trials=200, seed=0, out=folder, on_trial=stop
            )


@pytest.mark.parametrize("after", [1, 24, 25, 26, 60, 99])
@pytest.mark.parametrize("damage", ["none", "journal", "part", "state"])
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_half_written_newest_file_never_blocks_a_resume(after, damage, keep, tmp_path, monkeypatch):
    whole = search(NASBench201(), RegularizedEvolution(10, 3), Function(len), trials=200, seed=0)
    interrupted_run(tmp_path / "r", monkeypatch, after)
    files = sorted((tmp_path / "r").glob(f"*/{damage}-*"))
    if damage != "none" and files:
        size = files[-1].stat().st_size
        os.truncate(files[-1], int(size * keep))
    if damage != "none" and files:
        what = "is damaged|in the middle of a line|end is missing|it is empty"
        with pytest.warns(DamageWarning, match=what):
            result = resume(tmp_path / "r", trust=True)
    else:
        result = resume(tmp_path / "r", trust=True)
    assert path(result.history) == path(whole.history)


def test_trials_of_a_damaged_newest_part_can_be_read_before_a_resume(tmp_path, monkeypatch):
    interrupted_run(tmp_path / "r", monkeypatch, 60)
    whole = path(RunFolder(tmp_path / "r").trials(0))
    assert len(whole) == 60
    newest = max((tmp_path / "r" / "trials").glob("part-*"))
    os.truncate(newest, newest.stat().st_size // 2)
    for read in (lambda: path(RunFolder(tmp_path / "r").trials(0)), lambda: path(RunFolder(tmp_path / "r").trials(1))):
        with pytest.warns(DamageWarning, match="taken from the journal again"):
            assert read() == whole
    with pytest.warns(DamageWarning, match="taken from the journal again"):
        assert RunFolder(tmp_path / "r").table(NASBench201()).num_rows == 60


def test_a_part_that_cannot_be_rebuilt_is_moved_aside(tmp_path):
    search(NASBench201(), RandomSearch(), Function(len), trials=50, seed=0, out=tmp_path / "r")
    part = tmp_path / "r" / "trials" / "part-000001.parquet"
    os.truncate(part, 100)
    with pytest.warns(DamageWarning, match="its trials are lost"):
        result = resume(tmp_path / "r", trials=60, trust=True)
    assert result.stopped == "trials"
    assert not part.exists()
    assert (tmp_path / "r" / "damaged" / part.name).exists()
    assert len(list(RunFolder(tmp_path / "r").trials(0))) == 10


def test_a_full_disk_stops_the_search_and_a_resume_goes_on(tmp_path, monkeypatch):
    whole = search(NASBench201(), RegularizedEvolution(10, 3), Function(len), trials=100, seed=0)
    append = RunFolder.append

    class Full:
        """A file on a disk that has room for one more half line."""

        def __init__(self, file):
            self.file = file

        def write(self, data):
            self.file.write(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def __getattr__(self, name):
            return getattr(self.file, name)

    def fill(self, lines):
        fill.calls += 1
        if fill.calls == 40:
            self._journal._file = Full(self._journal._file)
        append(self, lines)

    fill.calls = 0
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "append", fill)
        with pytest.raises(StorageError, match="No space left on device"):
            search(NASBench201(), RegularizedEvolution(10, 3), Function(len), trials=100, seed=0, out=tmp_path / "r")
    assert len(list(RunFolder(tmp_path / "r").trials(0))) == 39
    assert path(resume(tmp_path / "r", trust=True).history) == path(whole.history)


def test_a_full_file_system_of_its_own(tmp_path):
    """/dev/full refuses every write, as a full disk does."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    folder = RunFolder.create(tmp_path / "r", {"space": {}})
    folder._journal.close()
    folder._journal._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
    with pytest.raises(StorageError, match="No space left"):
        folder.append(["[1]"])
    folder.close()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "run", Path("/proc/archsearch-run")):
        with pytest.raises(RunFolderError, match="cannot write a run here"):
            search(SPACE, RandomSearch(), Function(sum), trials=5, out=place)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere; see the test above and the one below")
def test_a_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RunFolderError, match="Permission denied"):
        search(SPACE, RandomSearch(), Function(sum), trials=5, out=tmp_path / "run")


def test_a_read_only_file_system_is_refused(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        with pytest.raises(RunFolderError, match="Read-only file system"):
            search(SPACE, RandomSearch(), Function(sum), trials=5, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_log_of_events_is_no_pickle(tmp_path):
    search(NASBench201(), RandomSearch(), Function(len), trials=30, seed=0, out=tmp_path / "r")
    suffixes = {file.suffix for file in (tmp_path / "r").rglob("*") if file.is_file()}
    assert suffixes <= {".yaml", ".parquet", ".json", ".jsonl", ""}
