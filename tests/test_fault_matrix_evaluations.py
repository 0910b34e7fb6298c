"""The fault matrix, evaluations: what goes wrong in one, or takes its worker along; locally and on Ray."""

import os
import random
import signal
import threading
import time
from pathlib import Path

import fault_lab
import pytest
from fault_lab import SPACE, Causing, expected_faults, noted
from fault_matrix_lab import SETTINGS, check, check_report

from archsearch import RayExecutor, search
from archsearch.controllers import RandomSearch, RegularizedEvolution

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


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
    monkeypatch.setattr("archsearch.executors.ray.executor.GRACE_SECONDS", 0.5)
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

    monkeypatch.setattr("archsearch.executors.ray.executor.GRACE_SECONDS", -4.9)
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
