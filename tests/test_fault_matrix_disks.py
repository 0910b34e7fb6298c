"""The fault matrix, run folders: full disks, no more files, read-only, lines that were written by half."""

import contextlib
import subprocess
from pathlib import Path

import pytest
from fault_lab import SPACE, Causing, expected_faults, noted
from fault_matrix_lab import SETTINGS, check, path, trials_of, whole_run

from archsearch import RayExecutor, cli, resume, search
from archsearch.basics.words import format_faults
from archsearch.controllers import RegularizedEvolution
from archsearch.errors import RunFolderError, StorageError
from archsearch.keeping import history
from archsearch.keeping.folder import RunFolder
from archsearch.keeping.stored_run import FAULTS_FILE
from archsearch.showing import status as report

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


@pytest.fixture
def small_disk(tmp_path):
    """Mounts file systems of few bytes, or few files, of their own; skips the test if that is not permitted."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(options, remount=False):
        options = f"remount,{options}" if remount else options
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "archsearch", disk], check=False)
        if done.returncode:
            pytest.skip("needs the right to mount a file system")
        return disk

    yield mount
    while subprocess.run(["umount", "--quiet", "--lazy", disk], check=False).returncode == 0:
        pass


@pytest.mark.parametrize("kilobytes", [24, 40, 60, 100, 160])
def test_disk_full(kilobytes, row, small_disk, tmp_path, monkeypatch):
    """By journals, parts, states and notes of faults: whichever comes when there is no room."""
    row(fault="disk full", how=f"local, {kilobytes} KB")
    monkeypatch.setattr(history, "PART_ROWS", 200)
    disk = small_disk(f"size={kilobytes}k")
    causes = {"raises": 0.1}
    arguments = {"trials": 2000, "out": disk / "r", **SETTINGS}
    with pytest.raises(StorageError, match="No space left on device"):
        search(SPACE, RegularizedEvolution(20, 5), Causing(causes, tmp_path), **arguments)
    assert not RunFolder(disk / "r").in_use()
    before = trials_of(disk / "r")
    deaths = 0
    for _ in range(2):  # it has not become larger
        with contextlib.suppress(StorageError, RunFolderError):
            resume(disk / "r", trust=True)
            pytest.fail("there was room")
        assert not RunFolder(disk / "r").in_use()
        assert path(trials_of(disk / "r"))[: len(before)] == path(before)
        deaths = RunFolder(disk / "r").faults()["driver_died"]
    small_disk("size=50m", remount=True)
    result = resume(disk / "r", trust=True)
    whole, faults = whole_run(tmp_path, 2000, **causes)
    counted = RunFolder(disk / "r").faults()
    row(
        {
            "asked": 2000,
            "completed": result.completed,
            "failed": result.failed,
            "faults counted": format_faults(counted),
        }
    )
    assert path(result.history) == whole
    assert counted["driver_died"] >= max(1, deaths)
    # A trial whose fault was noted, and that itself found no room, was evaluated again.
    assert faults["exception"] <= counted["exception"] <= len(noted(tmp_path))
    row(lost=0, twice=0)


def test_no_more_files(row, small_disk, tmp_path, monkeypatch):
    """A file system on which files, not bytes, run out: at every file of the run in turn."""
    row(fault="disk full", how="local, no file more, at each of them")
    monkeypatch.setattr(history, "PART_ROWS", 40)
    whole, _ = whole_run(tmp_path, 150)
    refused = stopped = 0
    messages = []
    for files in range(3, 20):
        disk = small_disk(f"size=1m,nr_inodes={files}")
        try:
            search(SPACE, RegularizedEvolution(20, 5), Causing({}, tmp_path), trials=150, out=disk / "r", **SETTINGS)
        except RunFolderError as error:
            messages.append(str(error))
            refused += 1
            # Lazily: something of the system may still look at it.
            subprocess.run(["umount", "--lazy", str(disk)], check=True)
            continue
        except StorageError as error:
            messages.append(str(error))
            stopped += 1
        assert not RunFolder(disk / "r").in_use()
        small_disk("nr_inodes=1000", remount=True)
        result = resume(disk / "r", trust=True)
        assert path(result.history) == whole, f"with {files} files"
        assert result.faults == ({"driver_died": 1} if RunFolder(disk / "r").faults() else {})
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
    assert refused >= 1
    assert stopped >= 2
    assert all("No space left on device" in message for message in messages)
    row({"asked": 150, "completed": 150, "failed": 0, "lost": 0, "twice": 0, "faults counted": "driver_died each time"})


@pytest.mark.slow
def test_disk_full_on_ray(row, small_disk, on_ray, tmp_path):
    """Notes of faults need room, too: they come in the middle of collecting results."""
    row(fault="disk full", how="Ray, with faults to be noted")
    disk = small_disk("size=100k")
    evaluator = Causing({"raises": 0.1, "exits": 0.002}, tmp_path)
    arguments = {"trials": 2500, "executor": RayExecutor(2), "out": disk / "r", **SETTINGS}
    with pytest.raises(StorageError, match="No space left on device"):
        search(SPACE, RegularizedEvolution(20, 5), evaluator, **arguments)
    before = trials_of(disk / "r")
    small_disk("size=50m", remount=True)
    result = resume(disk / "r", executor=RayExecutor(2), trust=True)
    after = check(row, disk / "r", 2500)
    assert path(after[: len(before)]) == path(before)
    assert result.faults["driver_died"] == 1
    assert result.failed <= result.faults["exception"] <= sum(cause == "raises" for cause, _ in noted(tmp_path))


@pytest.mark.parametrize("executor", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_no_room_for_the_note_of_a_fault(executor, row, request, tmp_path):
    """Before a failed trial is on disk; on Ray also while a worker that died is being replaced."""
    row(fault="no room for the note of a fault", how="Ray" if executor == "ray" else executor)
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    engine, causes = "local", {"raises": 0.05}
    if executor == "ray":
        request.getfixturevalue("on_ray")
        engine, causes = RayExecutor(2), {"exits": 0.02}
    notes = tmp_path / "r" / FAULTS_FILE

    def fill(trial):
        if not notes.is_symlink():
            notes.symlink_to("/dev/full")

    arguments = {"trials": 150, "executor": engine, "out": tmp_path / "r", "on_trial": fill, **SETTINGS}
    with pytest.raises(StorageError, match="No space left on device"):
        search(SPACE, RegularizedEvolution(20, 5), Causing(causes, tmp_path), **arguments)
    before = trials_of(tmp_path / "r")
    assert 0 < len(before) < 150
    notes.unlink()
    result = resume(tmp_path / "r", executor=engine, trust=True)
    after = check(row, tmp_path / "r", 150)
    assert path(after[: len(before)]) == path(before)
    assert result.faults["driver_died"] == 1
    if executor == "local":  # the evaluation whose fault could not be noted was done again
        assert result.faults == {**expected_faults(tmp_path), "driver_died": 1}
        assert path(after) == whole_run(tmp_path, 150, **causes)[0]
    else:  # the worker whose death could not be noted, and perhaps the other one: dead before the driver stopped
        assert 1 <= expected_faults(tmp_path)["worker_died"] - result.faults.get("worker_died", 0) <= 2


def test_a_fault_after_a_half_written_one_is_counted(tmp_path):
    """A disk that was full in the middle of a line."""
    folder = RunFolder.create(tmp_path / "r", {"space": {}})
    folder.add_fault({"kind": "timeout"})
    with (tmp_path / "r" / FAULTS_FILE).open("ab") as file:
        file.write(b'{"kind": "exce')
    folder.add_fault({"kind": "driver_died"})
    folder.add_fault({"kind": "timeout"})
    folder.close()
    assert RunFolder(tmp_path / "r").faults() == {"timeout": 2, "driver_died": 1}


def test_read_only(row, small_disk, tmp_path, monkeypatch, capsys):
    row(fault="run folder read-only", how="local, killed before")
    monkeypatch.setattr(history, "PART_ROWS", 40)
    disk = small_disk("size=10m")

    class Killed(BaseException):
        pass

    def stop(trial):
        if trial.id == 130:
            raise Killed

    arguments = {"trials": 300, "out": disk / "r", **SETTINGS}
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "close", lambda self: self._lock.close() or self._journal.close())
        with pytest.raises(Killed):
            search(SPACE, RegularizedEvolution(20, 5), Causing({}, tmp_path), on_trial=stop, **arguments)
    small_disk("ro", remount=True)
    for command in (["resume", str(disk / "r"), "--trust"], ["run", "--out", str(disk / "other"), "--quiet"]):
        capsys.readouterr()
        assert cli.main(command) == 2
        error = capsys.readouterr().err
        assert "Read-only file system" in error
        assert len(error.splitlines()) == 1
    assert len(trials_of(disk / "r")) == 131
    assert "not running" in report.status(disk / "r")
    small_disk("rw", remount=True)
    result = resume(disk / "r", trust=True)
    check(row, disk / "r", 300, {"driver_died": 1})
    assert path(result.history) == whole_run(tmp_path, 300)[0]
