"""Limits: with a lag, on Ray, however often the run is killed, they change nothing else."""

import signal
from pathlib import Path

import forked
import pytest
from limits_lab import LIMITS, of_each_controller, path, run, within

from archsearch import cli, resume
from archsearch.controllers import RandomSearch
from archsearch.errors import RunFolderError
from archsearch.keeping import history
from archsearch.keeping.folder import RunFolder

TESTS = Path(__file__).parent


@of_each_controller
def test_with_a_lag_the_number_of_workers_changes_nothing(controller):
    for duplicates in ("evaluate", "reuse"):
        settings = {"lag": 4, "duplicates": duplicates}
        local = run(controller, **settings)
        for workers in (1, 3, 16):
            other = run(controller, executor="simulated", workers=workers, **settings)
            assert path(other.history) == path(local.history)
        assert within(local.history)


@of_each_controller
@pytest.mark.parametrize("settings", [{}, {"lag": 3}, {"duplicates": "reuse"}, {"duplicates": "reuse", "lag": 3}])
def test_extended_and_killed_runs_equal_an_uninterrupted_one(controller, settings, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(trial):
        finished.append(trial.id)
        if len(finished) == 20:
            raise Killed

    finished = []
    whole = run(controller, **settings)
    monkeypatch.setattr(history, "PART_ROWS", 13)
    run(controller, trials=40, out=tmp_path / "r", **settings)
    with monkeypatch.context() as patch:
        patch.setattr(history.History, "close", lambda self, state: self.folder._lock.close())
        with pytest.raises(Killed):
            resume(tmp_path / "r", trials=80, on_trial=kill, trust=True)
    resumed = resume(tmp_path / "r", trials=80, limits=dict(LIMITS), trust=True)
    assert path(resumed.history) == path(whole.history)
    assert (resumed.rejected, resumed.reused) == (whole.rejected, whole.reused)


@pytest.mark.parametrize(
    "options",
    [["--executor", "simulated", "--workers", "5"], ["--duplicates", "reuse", "--lag", "3"]],
    ids=["simulated", "reuse-lag"],
)
def test_killed_among_rejections_it_equals_an_uninterrupted_run(options, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(TESTS)
    begin = ["run", "--evaluator", "limits_lab.Spy", "--seed", "3", "--trials", "150", "--out", "r"]
    begin += ["--controller", "RandomSearch", "--limits.flops", "40e6", "--limits.latency_seconds", "0.013", "--quiet"]
    for arguments, at in (([*begin, *options], "400"), (["resume", "r", "--quiet", "--trust"], "700")):
        done = forked.run(cli.main, arguments, cwd=tmp_path, environment={"ARCHSEARCH_TEST_KILL_AT": at})
        assert done.poll() == -signal.SIGKILL, done.stderr
    before = len(list(RunFolder(tmp_path / "r").trials(3)))
    assert 0 < before < 150, "the run must be killed in its middle, or this test shows nothing"
    settings = {"lag": 3, "duplicates": "reuse"} if "--lag" in options else {"executor": "simulated", "workers": 5}
    limits = {"flops": 40e6, "latency_seconds": 0.013}
    whole = run(RandomSearch(), trials=150, limits=limits, **settings)
    resumed = resume(tmp_path / "r", trust=True)
    assert path(resumed.history) == path(whole.history)
    assert (resumed.rejected, resumed.reused) == (whole.rejected, whole.reused)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_workers_on_ray_obey():
    import ray

    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        result = run(lag=4, executor="ray", workers=2)
        assert within(result.history)
        assert {trial.worker for trial in result.history} <= {0, 1}
        assert path(result.history) == path(run(lag=4).history)
    finally:
        ray.shutdown()


def test_limits_belong_to_a_run(tmp_path):
    run(out=tmp_path / "r", trials=10)
    for other in ({"flops": 1e9}, {}):
        with pytest.raises(RunFolderError, match=r"limits: the run was made with .*'flops': 40000000.0.*start a new"):
            resume(tmp_path / "r", limits=other, trust=True)
    assert resume(tmp_path / "r", trials=12, trust=True).completed == 12
