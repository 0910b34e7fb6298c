"""The fault matrix, drivers: one that is killed, two on one run folder."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import fault_lab
import pytest
from fault_lab import noted
from fault_matrix_lab import (
    TESTS,
    check,
    check_report,
    environment,
    finish,
    journaled,
    path,
    trials_of,
    wait_for,
    whole_run,
)

from archsearch import cli
from archsearch.keeping.folder import RunFolder

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


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
