"""The fault matrix: every kind of fault, caused; nothing lost, nothing twice, everything counted.

``make faults`` runs all of it and prints the table. Each test is a row: it causes the fault for real, on the local
executor or on Ray, and ``check`` looks at what is in the run folder afterwards.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))

import fault_lab  # noqa: E402  (the workers must find it, too)
from fault_lab import SPACE, Causing, expected_faults, noted  # noqa: E402

from archsearch import RayExecutor, cli, history, report, resume, search  # noqa: E402
from archsearch.controllers import RandomSearch, RegularizedEvolution  # noqa: E402
from archsearch.errors import InvalidArchitecture, RunFolderError, StorageError  # noqa: E402
from archsearch.history import FAULTS_FILE, RunFolder  # noqa: E402
from archsearch.loop import format_faults  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own
SETTINGS = {"seed": 0, "max_failures": 100}


@pytest.fixture
def row(record_property):
    """Fills in columns of this test's row of the table."""
    facts = {}
    record_property("fault matrix", facts)
    return facts.update


def path(trials):
    return [(t.id, t.architecture, t.parent, t.score, t.failure) for t in trials]


def trials_of(folder, seed=0):
    return list(RunFolder(folder).trials(seed))


def check(row, folder, asked, faults=None, seed=0):
    """Exactly what was asked for, nothing lost, nothing twice; the faults are in every place that shows them."""
    trials = trials_of(folder, seed)
    times = Counter(trial.id for trial in trials)
    completed = sum(not trial.failure for trial in trials)
    lost, twice = len(set(range(len(trials))) - set(times)), sum(n - 1 for n in times.values())
    counted = RunFolder(folder).faults()
    row({"asked": asked, "completed": completed, "failed": len(trials) - completed, "lost": lost, "twice": twice})
    row({"faults counted": format_faults(counted) or "none"})
    assert (completed, lost, twice) == (asked, 0, 0)
    if faults is not None:
        assert counted == faults
    lines = (folder / FAULTS_FILE).read_bytes().splitlines() if counted else []
    assert Counter(json.loads(line)["kind"] for line in lines) == counted, "every line is whole"
    shown = report.status(folder)
    assert "not running" in shown
    assert not counted or format_faults(counted) in shown
    return trials


def check_report(folder, capsys):
    """``archsearch report`` counts them, too."""
    capsys.readouterr()
    assert cli.main(["report", str(folder)]) == 0
    assert f"{format_faults(RunFolder(folder).faults())} (in faults.jsonl)" in capsys.readouterr().out


@pytest.fixture
def no_ray():
    """For tests that start a Ray of their own."""
    import ray

    ray.shutdown()
    yield
    ray.shutdown()


@pytest.fixture
def on_ray():
    """A Ray on this machine, kept for the next test that wants it."""
    import ray

    if not ray.is_initialized():
        ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")


@pytest.fixture(scope="module", autouse=True)
def _ray_ends():
    yield
    import ray

    ray.shutdown()


# -- evaluations that go wrong -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cause", "timeout"), [("raises", None), ("nan", None), ("hangs", 0.2)], ids=["raises", "nan", "hangs"]
)
def test_evaluator(cause, timeout, row, tmp_path, capsys):
    row(fault=f"evaluator {cause}", how="local")
    evaluator = Causing({cause: 0.08}, tmp_path)
    result = search(
        SPACE, RegularizedEvolution(20, 5), evaluator, trials=150, timeout=timeout, out=tmp_path / "r", **SETTINGS
    )
    trials = check(row, tmp_path / "r", 150, expected_faults(tmp_path))
    assert result.faults == expected_faults(tmp_path)
    assert result.failed == len(noted(tmp_path)) > 5
    assert {trial.failure for trial in trials} == {"", fault_lab.KINDS[cause]}
    check_report(tmp_path / "r", capsys)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.02], ids=["batches", "alone"])
@pytest.mark.parametrize(
    ("cause", "share", "timeout"),
    [
        ("raises", 0.1, None),
        ("nan", 0.1, None),
        ("hangs", 0.05, 0.4),
        ("hangs_in_native_code", 0.03, 0.4),
        ("exits", 0.05, None),
        ("is_killed", 0.05, None),
        ("is_killed_afterwards", 0.05, None),
    ],
)
def test_evaluator_on_ray(cause, share, timeout, seconds, row, on_ray, tmp_path, monkeypatch):
    monkeypatch.setattr("archsearch.ray_executor.GRACE_SECONDS", 0.5)
    row(fault=f"evaluator {cause.replace('_', ' ')}", how=f"Ray, {'alone' if seconds else 'in batches'}")
    evaluator = Causing({cause: share}, tmp_path, seconds)
    result = search(
        SPACE,
        RegularizedEvolution(20, 5),
        evaluator,
        trials=120,
        timeout=timeout,
        executor=RayExecutor(3),
        out=tmp_path / "r",
        **SETTINGS,
    )
    assert len(noted(tmp_path)) > 1, "nothing was caused: this test shows nothing"
    faults = expected_faults(tmp_path, once=("exception", "invalid_score") if cause != "hangs" else ("timeout",))
    check(row, tmp_path / "r", 120, faults)
    assert result.faults == faults
    kind = fault_lab.KINDS[cause]
    assert result.failed == (0 if kind == "worker_died" else len(set(noted(tmp_path))))


@pytest.mark.slow
def test_a_killer_among_innocents(row, on_ray, tmp_path):
    row(fault="evaluator exits on every try", how="Ray, in batches with others")
    evaluator = Causing({"exits": 0.008}, tmp_path, always=True)
    result = search(
        SPACE,
        RandomSearch(),
        evaluator,
        trials=400,
        executor=RayExecutor(3),
        out=tmp_path / "r",
        **SETTINGS,
        retries={"worker_died": 1},
    )
    trials = check(row, tmp_path / "r", 400, {"worker_died": len(noted(tmp_path))})
    guilty = {seed for _, seed in noted(tmp_path)}
    assert {trial.seed for trial in trials if trial.failure} == guilty
    assert result.failed == len(guilty) > 1
    innocent = [trial for trial in trials if not trial.failure]
    assert all((trial.attempts > 1) == (trial.lost_seconds > 0) for trial in innocent), "each lost try is billed"


@pytest.mark.slow
def test_overdue_and_done_just_now(row, on_ray, tmp_path, monkeypatch):
    """A result that comes between the look at the results and the look at the time is no time-out."""
    row(fault="result comes as its time is over", how="Ray")
    kill_overdue = RayExecutor._kill_overdue

    def late(self):
        time.sleep(0.3)
        return kill_overdue(self)

    monkeypatch.setattr("archsearch.ray_executor.GRACE_SECONDS", -4.9)
    monkeypatch.setattr(RayExecutor, "_kill_overdue", late)
    arguments = {"trials": 30, "timeout": 5.0, "executor": RayExecutor(2), "out": tmp_path / "r", **SETTINGS}
    result = search(SPACE, RandomSearch(), Causing({}, tmp_path, 0.03), **arguments)
    check(row, tmp_path / "r", 30, {})
    assert result.failed == 0


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.001, 0.02], ids=["batches", "alone"])
def test_worker_killed_at_random(seconds, row, on_ray, tmp_path):
    """By another thread, at any moment: in the middle of a call, between two, while its result travels."""
    row(fault="worker killed (SIGKILL)", how=f"Ray, at random, {'alone' if seconds > 0.01 else 'in batches'}")
    moments, killed, seen = random.Random(4), [], []
    trials = 3000 if seconds < 0.01 else 300

    def kill(trial):
        process = int(trial.metrics["process"])
        seen.append(process)
        if len(seen) < 0.8 * trials and moments.random() < 8 / trials and process not in killed:
            killed.append(process)
            threading.Timer(moments.uniform(0.0, 0.03), os.kill, (process, signal.SIGKILL)).start()

    result = search(
        SPACE,
        RegularizedEvolution(20, 5),
        Causing({}, tmp_path, seconds),
        trials=trials,
        executor=RayExecutor(3),
        out=tmp_path / "r",
        on_trial=kill,
        **SETTINGS,
    )
    assert len(killed) >= 3, "too few were killed: this test shows nothing"
    check(row, tmp_path / "r", trials, {"worker_died": len(killed)})
    assert (result.failed, result.faults) == (0, {"worker_died": len(killed)})


@pytest.mark.slow
def test_out_of_memory(row, no_ray, tmp_path, monkeypatch):
    """Ray's memory monitor kills the worker; if that takes a while, perhaps another one too, that may be innocent."""
    row(fault="evaluator fills memory", how="Ray's memory monitor")
    figures = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total, free = (int(figures[name].split()[0]) / 2**20 for name in ("MemTotal", "MemAvailable"))
    if free < 7:
        pytest.skip("needs 7 GB of free memory")
    monkeypatch.setenv("RAY_memory_usage_threshold", f"{(total - free + 2.5) / total:.4f}")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "50")
    result = search(
        SPACE,
        RegularizedEvolution(20, 5),
        Causing({"fills_memory": 0.04}, tmp_path, 0.005),
        trials=60,
        executor=RayExecutor(2),
        out=tmp_path / "r",
        **SETTINGS,
    )
    caused = len(noted(tmp_path))
    assert caused > 0
    check(row, tmp_path / "r", 60)
    assert result.faults.keys() == {"out_of_memory"}
    assert caused <= result.faults["out_of_memory"] <= 3 * caused
    assert result.failed <= result.faults["out_of_memory"] - caused, "what caused it went well when tried again"


# -- nodes and the head ----------------------------------------------------------------------------------


@contextlib.contextmanager
def cluster_of(*cpus):
    """A cluster whose head has no worker's place, and nodes with these CPUs."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        nodes = [cluster.add_node(num_cpus=each) for each in cpus]
        yield cluster, nodes
    finally:
        cluster.shutdown()


@pytest.mark.slow
def test_node_removed(row, no_ray, tmp_path):
    row(fault="node removed", how="Ray, 2 of 4 workers on it")
    with cluster_of(2, 2) as (cluster, (_, second)):

        def remove(trial):
            if len(seen) == 60:
                cluster.remove_node(second, allow_graceful=False)
            seen.append(trial.worker)

        seen = []
        executor = RayExecutor(4, address=cluster.address)
        result = search(
            SPACE,
            RegularizedEvolution(20, 5),
            Causing({}, tmp_path, 0.03),
            trials=400,
            executor=executor,
            out=tmp_path / "r",
            on_trial=remove,
            **SETTINGS,
        )
        import ray

        ray.shutdown()
    assert len(set(seen[:60])) == 4
    check(row, tmp_path / "r", 400, {"node_died": 2})
    assert (result.failed, result.faults) == (0, {"node_died": 2})
    assert any(trial.attempts > 1 for trial in result.history)
    assert all((trial.attempts > 1) == (trial.lost_seconds > 0) for trial in result.history), "each lost try is billed"


@pytest.mark.slow
@pytest.mark.parametrize("again", ["local", "ray"])
def test_head_lost(again, row, no_ray, tmp_path):
    row(fault="head node lost", how=f"Ray cluster; resumed on {'a new cluster' if again == 'ray' else 'this machine'}")
    command = [sys.executable, "-m", "archsearch.cli"]
    options = ["--evaluator", "fault_lab.Causing", "--evaluator.causes", "{}", "--evaluator.folder", str(tmp_path)]
    options += ["--evaluator.seconds", "0.02", "--space", "Choices", "--space.decisions", CHOICES]
    begin = [*command, "run", *options, "--seed", "0", "--trials", "50000", "--quiet", "--out", "run"]
    with cluster_of(2) as (cluster, _):
        begin += ["--executor", "ray", "--workers", "2", "--address", cluster.address]
        driver = subprocess.Popen(
            begin, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        wait_for(lambda: len(journaled(tmp_path / "run")) > 100, driver)
        cluster.remove_node(cluster.head_node, allow_graceful=False)
        _, error = driver.communicate(timeout=60)  # Ray itself would end it after as long, with another message
    assert driver.returncode == 1
    assert "has been out of reach for 20 s" in error
    assert "resume" in error
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) == 1
    before = trials_of(tmp_path / "run")
    total = str(len(before) + 200)
    resumed = [*command, "resume", "run", "--trust", "--trials", total, "--quiet"]
    with contextlib.ExitStack() as stack:
        if again == "ray":
            cluster, _ = stack.enter_context(cluster_of(2))
            resumed += ["--executor", "ray", "--workers", "2", "--address", cluster.address]
        else:
            resumed += ["--executor", "local"]
        done = finish(resumed, tmp_path)
    assert done.returncode == 0, done.stderr
    after = check(row, tmp_path / "run", int(total))
    assert path(after[: len(before)]) == path(before)
    assert "driver_died" not in RunFolder(tmp_path / "run").faults(), "it ended in order"


CHOICES = json.dumps({name: [0, 1, 2, 3, 4] for name in "abcdefgh"})


def environment():
    """As it is now: a Ray that ran in this process may have left there how it checks who connects."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def finish(command, folder, **variables):
    """Runs a command in a folder to its end."""
    return subprocess.run(
        command, cwd=folder, env=environment() | variables, capture_output=True, text=True, timeout=200, check=False
    )


def journaled(folder):
    """The trials on disk of a run that may not have begun yet."""
    return trials_of(folder) if (folder / "config.yaml").exists() else []


def wait_for(what, process, seconds=90):
    end = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, f"it ended by itself: {process.communicate()}"
        assert time.monotonic() < end
        time.sleep(0.02)


# -- the driver is killed --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("executor", "kills", "trials"), [("local", 50, 25_000), ("ray", 8, 4000)])
def test_driver_killed(executor, kills, trials, row, no_ray, tmp_path, capsys):
    """Half of the kills come at any time after the start, half in the middle of the work."""
    row(fault=f"driver killed (SIGKILL) {kills} times", how=f"{'Ray' if executor == 'ray' else executor}, at random")
    causes = {"raises": 0.2} | ({"exits": 0.0005} if executor == "ray" else {})
    workers = "2" if executor == "ray" else "1"
    command = [sys.executable, str(TESTS / "fault_lab.py"), executor, workers, str(trials), "0", json.dumps(causes)]
    moments, run = random.Random(5), tmp_path / "run"
    worked = 0
    for kill in range(kills):
        before = len(noted(tmp_path))
        driver = subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)
        if kill % 2 and executor == "local":
            time.sleep(moments.uniform(0.3, 1.5))
        else:
            goal = before + moments.randrange(1, 40)
            wait_for(lambda goal=goal: len(noted(tmp_path)) >= goal, driver)
        assert driver.poll() is None, f"it ended before it could be killed: {driver.communicate()}"
        family = fault_lab.descendants(driver.pid)
        driver.kill()
        driver.communicate()
        end_all(family)
        worked += len(noted(tmp_path)) > before
    faults_before = RunFolder(run).faults()
    done = finish(command, tmp_path)
    assert done.returncode == 0, done.stderr
    found = check(row, run, trials)
    check_report(run, capsys)
    died = RunFolder(run).faults()["driver_died"]
    # One that was killed before it had looked at the folder, or had noted the one before it, left no trace.
    assert worked <= died <= kills
    assert executor == "local" or died == kills
    assert faults_before["driver_died"] < died
    # What was on its way when a driver was killed was caused, and is caused again.
    caused, counted = (
        len([note for note in noted(tmp_path) if note[0] == "raises"]),
        RunFolder(run).faults()["exception"],
    )
    failed = sum(bool(trial.failure) for trial in found)
    assert failed == len({note for note in noted(tmp_path) if note[0] == "raises"})
    assert failed <= counted <= caused
    if executor == "local":
        assert caused <= counted + kills
        (tmp_path / "whole").mkdir()
        subprocess.run(command, cwd=tmp_path / "whole", env=environment(), check=True, timeout=200)
        assert path(found) == path(trials_of(tmp_path / "whole" / "run"))


def end_all(family, seconds=2.0):
    """Ends the processes that a killed driver has left, and no other; those that end by themselves may do so."""
    end = time.monotonic() + seconds
    while fault_lab.still_there(family) and time.monotonic() < end:
        time.sleep(0.1)
    left = fault_lab.still_there(family)
    for process in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


# -- the run folder ----------------------------------------------------------------------------------------


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


def whole_run(tmp_path, trials, **causes):
    """The same search, undisturbed."""
    (tmp_path / "undisturbed").mkdir()
    evaluator = Causing(causes, tmp_path / "undisturbed")
    result = search(SPACE, RegularizedEvolution(20, 5), evaluator, trials=trials, **SETTINGS)
    return path(result.history), result.faults


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


def test_two_drivers(row, tmp_path, capsys):
    row(fault="two drivers on one run folder", how="local, the second by resume and by run")
    command = [sys.executable, str(TESTS / "fault_lab.py"), "local", "1", "1500", "0", "{}"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True) as first:
        wait_for(lambda: len(journaled(tmp_path / "run")) > 50, first)
        capsys.readouterr()
        assert cli.main(["resume", str(tmp_path / "run"), "--quiet", "--trust"]) == 2
        assert "another process is running this search" in capsys.readouterr().err
        assert cli.main(["run", "--out", str(tmp_path / "run"), "--quiet"]) == 2
        assert "there is a run here already" in capsys.readouterr().err
        assert first.poll() is None, "the first had ended: this test shows nothing"
        assert RunFolder(tmp_path / "run").in_use()
        _, error = first.communicate(timeout=60)
    assert first.returncode == 0, error
    trials = check(row, tmp_path / "run", 1500, {})
    assert path(trials) == whole_run(tmp_path, 1500)[0]


# -- the clock --------------------------------------------------------------------------------------------


def test_clock_jumps_back(row, tmp_path, monkeypatch):
    row(fault="clock jumps back an hour", how="local, Python's clock")
    real = time.time
    seconds = []

    def jump(trial):
        seconds.append((trial.started, trial.started + trial.seconds))
        if trial.id == 40:
            monkeypatch.setattr(time, "time", lambda: real() - 3600)

    evaluator = Causing({"hangs": 0.05}, tmp_path)
    arguments = {"trials": 120, "timeout": 0.2, "out": tmp_path / "r", "on_trial": jump, **SETTINGS}
    result = search(SPACE, RegularizedEvolution(20, 5), evaluator, **arguments)
    check(row, tmp_path / "r", 120, expected_faults(tmp_path))
    times = [moment for both in seconds for moment in both]
    assert times == sorted(times)
    assert times[-1] <= result.seconds < 1_800, "no hour is in it"


SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int jumped(void) { const char *f = getenv("CLOCK_FILE"); return f && access(f, F_OK) == 0; }

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int answer = real(clock, now);
    if (clock == CLOCK_REALTIME && jumped()) now->tv_sec -= 3600;
    return answer;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    now->tv_sec = t.tv_sec;
    now->tv_usec = t.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *where) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (where) *where = t.tv_sec;
    return t.tv_sec;
}
"""


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["local", "ray"])
def test_clock_of_all_processes_jumps_back(executor, row, no_ray, tmp_path):
    """A library before the C library gives driver, workers and all of Ray the time that is an hour less."""
    row(
        fault="clock jumps back an hour",
        how=f"{'Ray, all its processes' if executor == 'ray' else executor}, by a shim",
    )
    if not (compiler := shutil.which("cc")):
        pytest.skip("needs a C compiler")
    (tmp_path / "shim.c").write_text(SHIM)
    library = str(tmp_path / "shim.so")
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, str(tmp_path / "shim.c"), "-ldl"], check=True)
    command = [sys.executable, str(TESTS / "fault_lab.py"), "clock", executor]
    done = finish(command, tmp_path, LD_PRELOAD=library, CLOCK_FILE=str(tmp_path / "jumped"))
    assert done.returncode == 0, done.stderr
    before, after, seconds = map(float, done.stdout.split())
    assert after < before - 3000, "the clock did not jump: this test shows nothing"
    trials = check(row, tmp_path / "run", 200, expected_faults(tmp_path, once=("timeout",)))
    assert min(trial.started for trial in trials) >= 0.0
    assert max(trial.started + trial.seconds for trial in trials) <= seconds < 1_800, "no hour is in it"
    assert min(trial.seconds for trial in trials) >= 0.0
    if executor == "local":
        starts = [trial.started for trial in trials]
        assert starts == sorted(starts)


# -- a controller that raises --------------------------------------------------------------------------------


class Author(RegularizedEvolution):
    """With a bug that the author mends."""

    broken = ""

    def _tell(self, trial):
        if self.broken == "tell" and trial.id == 70:
            self._members.clear()  # in the middle of a change
            raise ZeroDivisionError("a bug of the author's")
        super()._tell(trial)

    def _ask(self):
        answer = super()._ask()
        if self.broken == "ask" and self._asked == 70:
            raise ZeroDivisionError("a bug of the author's")
        if self.broken == "proposal" and self._asked == 70:
            return (9, 9)
        return answer


@pytest.mark.parametrize("where", ["tell", "ask", "proposal"])
@pytest.mark.parametrize("executor", ["local", "local-lag", pytest.param("ray", marks=pytest.mark.slow)])
def test_controller_raises(executor, where, row, request, tmp_path, monkeypatch):
    row(fault=f"controller raises ({where})", how="Ray, results in batches" if executor == "ray" else executor)
    engine = "local"
    if executor == "ray":
        request.getfixturevalue("on_ray")
        engine = RayExecutor(2)
    arguments = {"trials": 600, "lag": 3 if executor == "local-lag" else None, **SETTINGS}
    whole = search(SPACE, Author(20, 5), Causing({"raises": 0.1}, tmp_path), **arguments)
    told = []
    monkeypatch.setattr(Author, "broken", where)
    evaluator = Causing({"raises": 0.1}, tmp_path)
    arguments |= {"executor": engine, "out": tmp_path / "r", "on_trial": told.append}
    with pytest.raises((ZeroDivisionError, InvalidArchitecture)):
        search(SPACE, Author(20, 5), evaluator, **arguments)
    before = trials_of(tmp_path / "r")
    assert path(told) == path(before)[: len(told)], "all that it was told was on disk"
    with pytest.raises((ZeroDivisionError, InvalidArchitecture)):
        resume(tmp_path / "r", executor=engine, trust=True)
    monkeypatch.setattr(Author, "broken", "")
    result = resume(tmp_path / "r", executor=engine, trust=True)
    trials = check(row, tmp_path / "r", 600)
    assert path(trials)[: len(before)] == path(before)
    assert "driver_died" not in result.faults
    assert result.failed == sum(bool(trial.failure) for trial in trials)
    if executor != "ray":
        assert path(trials) == path(whole.history), "and the controller was told of everything once"


@pytest.mark.slow
def test_listener_raises_on_ray(row, on_ray, tmp_path):
    """In the middle of results that came together."""
    row(fault="listener raises", how="Ray, results in batches")

    def fail(trial):
        if trial.id in (300, 301):
            raise ZeroDivisionError("a bug of the user's")

    arguments = {"trials": 900, "executor": RayExecutor(2), "out": tmp_path / "r", **SETTINGS}
    with pytest.raises(ZeroDivisionError):
        search(SPACE, RegularizedEvolution(20, 5), Causing({}, tmp_path), on_trial=fail, **arguments)
    before = trials_of(tmp_path / "r")
    resume(tmp_path / "r", executor=RayExecutor(2), trust=True)
    assert path(check(row, tmp_path / "r", 900, {}))[: len(before)] == path(before)
