"""Searches on Ray: completeness, equality with local runs, workers that die or hang, batching, resume."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
os.environ["PYTHONPATH"] = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])

import faulty_lab  # noqa: E402  (the workers must find it, too)

from archsearch import RayExecutor, Space, search  # noqa: E402
from archsearch.controllers import RandomSearch, RegularizedEvolution, Reinforce  # noqa: E402
from archsearch.errors import ExecutorError, UsageError  # noqa: E402
from archsearch.evaluators import Function, Tabular  # noqa: E402
from archsearch.history import RunFolder  # noqa: E402
from archsearch.spaces import NASBench201  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own
SPACE = Space(arities=[4, 3, 5, 2])


@pytest.fixture(scope="module", autouse=True)
def _ray(tmp_path_factory):
    import ray

    os.environ["ARCHSEARCH_TEST_FOLDER"] = str(tmp_path_factory.mktemp("markers"))
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


def run(function, trials=60, workers=3, controller=None, **settings):
    executor = settings.pop("executor", None) or RayExecutor(workers)
    controller = controller or RandomSearch()
    return search(SPACE, controller, Function(function), trials=trials, seed=0, executor=executor, **settings)


def ids(result):
    return [trial.id for trial in result.history]


def test_exactly_what_was_asked_for_and_nothing_twice():
    result = run(faulty_lab.score, trials=301)
    assert sorted(ids(result)) == list(range(301))
    local = search(SPACE, RandomSearch(), Function(faulty_lab.score), trials=301, seed=0)
    assert sorted((t.id, t.architecture, t.score, t.seed) for t in result.history) == [
        (t.id, t.architecture, t.score, t.seed) for t in local.history
    ]
    assert {trial.worker for trial in result.history} == {0, 1, 2}


@pytest.mark.parametrize(
    "controller", [RegularizedEvolution(10, 3), Reinforce("softmax")], ids=["evolution", "reinforce"]
)
def test_with_a_lag_it_walks_the_local_path(controller):
    settings = {"trials": 90, "seed": 2, "lag": 5}
    remote = search(NASBench201(), controller, Tabular(), executor=RayExecutor(3), **settings)
    local = search(NASBench201(), controller, Tabular(), **settings)
    assert sorted((t.id, t.architecture, t.parent, t.score) for t in remote.history) == [
        (t.id, t.architecture, t.parent, t.score) for t in local.history
    ]


def test_short_evaluations_share_batches_long_ones_do_not():
    executor = RayExecutor(2)
    run(faulty_lab.brief, trials=2000, executor=executor)
    assert executor._batch_size(None) > 10
    executor = RayExecutor(2)
    run(faulty_lab.slow, trials=20, executor=executor)
    assert executor._batch_size(None) <= 3


def test_a_worker_that_dies_costs_only_the_trial_that_kills_it():
    result = run(faulty_lab.dies, trials=25, retries={"worker_died": 1}, max_failures=20)
    trials = list(result.history)
    assert result.completed == 25
    assert len(set(ids(result))) == len(trials)
    for trial in trials:
        killer = sum(trial.architecture) % 5 == 0
        assert trial.failure == ("worker_died" if killer else "")
        assert trial.attempts == (2 if killer else 1)
    assert result.failed > 0


def test_workers_killed_from_outside_lose_nothing():
    result = run(faulty_lab.kills_itself_now_and_then, trials=40)
    assert (result.completed, result.failed) == (40, 0)
    assert sorted(ids(result)) == list(range(40))
    markers = os.listdir(os.environ["ARCHSEARCH_TEST_FOLDER"])
    assert len(markers) > 2, "no worker was killed: this test shows nothing"


def test_workers_killed_by_the_system_at_random_lose_nothing():
    kills = random.Random(3)
    killed = []

    def kill(trial):
        if kills.random() < 0.08 and len(killed) < 5:
            with contextlib.suppress(ProcessLookupError):  # that worker is dead already
                os.kill(int(trial.metrics["process"]), signal.SIGKILL)
                killed.append(trial.id)

    result = run(faulty_lab.slow_with_process, trials=90, on_trial=kill)
    assert len(killed) >= 3, "too few workers were killed: this test shows nothing"
    assert (result.completed, result.failed) == (90, 0)
    assert sorted(ids(result)) == list(range(90))


def test_a_ray_that_was_there_before_is_left_running(tmp_path):
    import ray

    result = search(
        SPACE, RandomSearch(), faulty_lab.NumpyNumbers(), trials=20, seed=0, executor="ray", out=tmp_path / "r"
    )
    assert ray.is_initialized()
    assert (result.completed, type(result.best.score)) == (20, float)


def test_a_hang_in_native_code_is_killed():
    result = run(faulty_lab.hangs_in_native_code, trials=12, timeout=0.5, max_failures=20)
    assert result.completed == 12
    kinds = {trial.failure for trial in result.history if sum(trial.architecture) % 5 == 0}
    assert kinds == {"timeout"}
    assert all(not t.failure for t in result.history if sum(t.architecture) % 5)


def test_stops_at_the_time_limit_with_work_pending():
    result = run(faulty_lab.slow, trials=None, max_seconds=0.5)
    assert result.stopped == "max_seconds"
    assert 0 < result.completed < 200


def test_too_large_workers_are_a_clear_error():
    with pytest.raises(ExecutorError, match="each needs 64 CPUs"):
        run(faulty_lab.score, executor=RayExecutor(1, cpus=64, start_seconds=1.0))
    with pytest.raises(UsageError, match="workers >= 1"):
        RayExecutor(0)
    assert run(faulty_lab.score, trials=5).completed == 5


def test_a_killed_driver_is_resumed(tmp_path):
    command = [sys.executable, "-m", "archsearch.cli"]
    begin = [*command, "run", "--evaluator", "Function", "--evaluator.function", "faulty_lab.logged", "--seed", "0"]
    begin += ["--executor", "ray", "--workers", "2", "--trials", "20000", "--quiet", "--out", "run"]
    process = subprocess.Popen(begin, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    journal = tmp_path / "run" / "trials" / "journal-000001.jsonl"
    end = time.monotonic() + 90
    while time.monotonic() < end and (not journal.exists() or journal.stat().st_size < 20_000):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = {trial.id: trial for trial in RunFolder(tmp_path / "run").trials(0)}
    assert len(before) > 50
    total = len(before) + 300
    resumed = [*command, "resume", "run", "--trials", str(total), "--quiet"]
    done = subprocess.run(resumed, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    after = list(RunFolder(tmp_path / "run").trials(0))
    assert len(after) == len({trial.id for trial in after}) == total
    assert {trial.id: trial for trial in after if trial.id in before} == before
    if missing := set(range(max(before))) - set(before):
        assert missing <= {trial.id for trial in after}, "what was pending is dispatched again"
