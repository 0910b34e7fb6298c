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
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))

import advancing_lab  # noqa: E402  (the workers must find these, too)
import certainty_lab  # noqa: E402
import faulty_lab  # noqa: E402

from archsearch import RayExecutor, Space, search  # noqa: E402
from archsearch.controllers import RandomSearch, RegularizedEvolution, Reinforce  # noqa: E402
from archsearch.errors import ExecutorError, UsageError  # noqa: E402
from archsearch.evaluators import Function, Predictor, Tabular, Training  # noqa: E402
from archsearch.executors.ray import watch as ray_watch  # noqa: E402
from archsearch.keeping.folder import RunFolder  # noqa: E402
from archsearch.spaces import NASBench201  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own
SPACE = Space(arities=[4, 3, 5, 2])


@pytest.fixture(scope="module", autouse=True)
def _ray(tmp_path_factory):
    import ray

    os.environ["ARCHSEARCH_TEST_FOLDER"] = str(tmp_path_factory.mktemp("markers"))
    ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def _everyone(monkeypatch):
    """A search begins when all its workers are there, however long that takes: each then takes part."""
    monkeypatch.setattr("archsearch.executors.ray.crew.SETTLE_SECONDS", 100.0)


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
    remote = search(NASBench201(), controller, Tabular(), executor=RayExecutor(2), **settings)
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
    result = run(faulty_lab.dies, trials=16, retries={"worker_died": 1}, max_failures=20)
    trials = list(result.history)
    assert result.completed == 16
    assert len(set(ids(result))) == len(trials)
    for trial in trials:
        killer = sum(trial.architecture) % 5 == 0
        assert trial.failure == ("worker_died" if killer else "")
        # A killer is tried twice on its own; before, a try of any may have been lost with the worker that they shared.
        assert trial.attempts >= (2 if killer else 1)
        assert (trial.lost_seconds > 0) == (trial.attempts > 1)
    assert result.failed >= 2


def test_workers_killed_from_outside_lose_nothing():
    result = run(faulty_lab.kills_itself_now_and_then, trials=24)
    assert (result.completed, result.failed) == (24, 0)
    assert sorted(ids(result)) == list(range(24))
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

    result = run(faulty_lab.slow_with_process, trials=45, on_trial=kill)
    assert len(killed) >= 3, "too few workers were killed: this test shows nothing"
    assert (result.completed, result.failed) == (45, 0)
    assert sorted(ids(result)) == list(range(45))


def test_a_ray_that_was_there_before_is_left_running(tmp_path):
    import ray

    result = search(
        SPACE, RandomSearch(), faulty_lab.NumpyNumbers(), trials=20, seed=0, executor="ray", out=tmp_path / "r"
    )
    assert ray.is_initialized()
    assert (result.completed, type(result.best.score)) == (20, float)


def test_a_hang_in_native_code_is_killed(monkeypatch):
    monkeypatch.setattr("archsearch.executors.ray.executor.GRACE_SECONDS", 1.0)
    result = run(faulty_lab.hangs_in_native_code, trials=12, workers=2, timeout=1.0, max_failures=20)
    assert result.completed == 12
    kinds = {trial.failure for trial in result.history if sum(trial.architecture) % 5 == 0}
    assert kinds == {"timeout"}
    assert all(not t.failure for t in result.history if sum(t.architecture) % 5)


def test_stops_at_the_time_limit_with_work_pending():
    result = run(faulty_lab.slow, trials=None, workers=2, max_seconds=0.5)
    assert result.stopped == "max_seconds"
    assert result.completed < 200


def test_too_large_workers_are_a_clear_error():
    with pytest.raises(ExecutorError, match="each needs 64 CPU"):
        run(faulty_lab.score, executor=RayExecutor(1, cpus=64, start_seconds=1.0))
    assert run(faulty_lab.score, trials=5, workers=1).completed == 5


def test_a_retry_that_waits_for_another_worker_holds_up_no_other():
    settings = {"retries": {"exception": 1}, "trials": 9}
    result = run(faulty_lab.one_is_long_one_fails, workers=2, **settings)
    assert (result.completed, result.failed, dict(result.faults)) == (9, 0, {"exception": 1})
    assert {trial.metrics["in_vain"] for trial in result.history} == {0.0}
    (retried,) = (trial for trial in result.history if trial.attempts == 2)
    long = next(trial for trial in result.history if trial.id == 0)
    assert retried.worker == long.worker, "elsewhere than it failed"


def test_metrics_that_only_a_worker_can_read_are_made_plain_there():
    evaluator = faulty_lab.OddMetrics(os.getpid())
    result = search(SPACE, RandomSearch(), evaluator, trials=60, seed=0, executor=RayExecutor(2), max_failures=99)
    assert any(sum(trial.architecture) % 5 == 0 for trial in result.history)
    assert [dict(trial.metrics) for trial in result.history] == [{"size": 1.0}] * 60
    assert not result.faults


def test_what_cannot_be_is_said_before_anything_is_written(tmp_path):
    import ray

    arguments = {"trials": 5, "out": tmp_path / "r"}
    evaluator = Training("digits")
    with pytest.raises(UsageError, match="speculate: Training keeps files"):
        search(NASBench201(), RandomSearch(), evaluator, executor=RayExecutor(1, speculate=2.0), **arguments)
    with pytest.raises(UsageError, match="Ray runs in this process already, at"):
        run(faulty_lab.score, executor=RayExecutor(1, address="127.0.0.1:1"), **arguments)
    with pytest.raises(UsageError, match="give it to your ray"):
        run(faulty_lab.score, executor=RayExecutor(1, runtime_env={"env_vars": {"A": "1"}}), **arguments)
    assert not (tmp_path / "r").exists()
    with pytest.raises(UsageError, match="Locked cannot be sent to the workers"):
        search(SPACE, RandomSearch(), faulty_lab.Locked(), executor=RayExecutor(2), trials=5)
    assert ray.is_initialized()
    assert (
        run(faulty_lab.score, trials=5, executor=RayExecutor(1, ray.get_runtime_context().gcs_address)).completed == 5
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"workers": 0}, "workers: expected a whole number >= 1"),
        ({"gpus": 1.5}, "gpus: expected an amount >= 0, above 1 a whole number"),
        ({"cpus": -1}, "cpus: expected a finite number >= 0"),
        ({"resources": {"fast": 1.5}}, "fast: expected"),
        ({"resources": {"CPU": 1}}, "resources: CPU is Ray's own"),
        ({"batch_seconds": 0.0}, "batch_seconds: expected a finite number above 0"),
        ({"speculate": 1.0}, "speculate: expected a finite number above 1"),
        ({"runtime_env": {"py_modules": "tests"}}, "py_modules: expected a list of paths"),
        ({"runtime_env": {"working_dir": "README.md"}}, "working_dir: expected a folder or a .zip file"),
        ({"runtime_env": {"wrking_dir": "."}}, "expected any of"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_refused(settings, message, monkeypatch):
    monkeypatch.chdir(TESTS.parent)
    with pytest.raises(UsageError, match=message):
        RayExecutor(**settings)


def test_a_short_absence_of_the_head_ends_nothing(monkeypatch):
    clock, there = [0.0], [True]
    monkeypatch.setattr(ray_watch.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(ray_watch, "can_connect", lambda _: there[0])
    head = ray_watch.Head("somewhere:1")

    def after(seconds, reachable):
        clock[0] += seconds
        there[0] = reachable
        head.check()

    after(30, False)  # the driver was busy before, and asks for the first time
    after(15, False)
    after(6, True)
    after(6, False)
    after(19, False)
    assert not head.lost
    with pytest.raises(ExecutorError, match="has been out of reach for 20 s"):
        after(6, False)
    assert head.lost


# -- batches ---------------------------------------------------------------------------------------


def test_workers_evaluate_together_what_a_batch_holds():
    evaluator = advancing_lab.Together()
    result = search(SPACE, RandomSearch(), evaluator, trials=60, seed=0, executor=RayExecutor(2), batch=6)
    assert sorted(ids(result)) == list(range(60))
    assert {trial.metrics["together"] for trial in result.history} == {6}
    assert {trial.worker for trial in result.history} == {0, 1}


@pytest.mark.parametrize(("kind", "failure"), [("raises", "exception"), ("hangs", "timeout")])
def test_one_bad_candidate_fails_neither_its_batch_nor_its_worker(kind, failure, monkeypatch):
    monkeypatch.setattr("archsearch.executors.ray.executor.GRACE_SECONDS", 1.0)  # a second round has its own time
    monkeypatch.setattr(RayExecutor, "_lose", lambda self, worker, error, failure: pytest.fail(error))
    settings = {"trials": 12, "batch": 6, "timeout": 0.2 if kind == "hangs" else None, "max_failures": 99}
    evaluator = advancing_lab.Together(kind)
    result = search(SPACE, RandomSearch(), evaluator, seed=0, executor=RayExecutor(2), **settings)
    trials = list(result.history)
    assert result.completed == 12
    assert result.failed > 0
    for trial in trials:
        assert trial.failure == (failure if advancing_lab.is_bad(trial.architecture) else "")
        assert trial.attempts == 1


# -- evaluators that advance -------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"lag": 6}, {"batch": 4}], ids=str)
def test_all_workers_have_what_the_evaluator_has_become(settings):
    evaluator = advancing_lab.Learner(interval=15)
    result = search(
        SPACE, RandomSearch(), evaluator, trials=80, seed=0, executor=RayExecutor(2), max_failures=99, **settings
    )
    trials = list(result.history)
    assert {trial.worker for trial in trials} == {0, 1}
    for position, trial in enumerate(trials):
        if not trial.failure:
            assert trial.metrics["version"] == position // 15, "the barrier holds, and no worker is left behind"
    samples = [sorted(t.id for t in trials[i : i + 15] if not t.failure) for i in range(0, len(trials), 15)]
    assert evaluator.samples == samples[: (len(trials) - 1) // 15]
    local = search(SPACE, RandomSearch(), advancing_lab.Learner(15), trials=80, seed=0, max_failures=99, lag=6)
    if "lag" in settings:
        assert sorted((t.id, t.score) for t in trials) == sorted((t.id, t.score) for t in local.history)


def test_workers_that_replace_dead_ones_have_the_newest_evaluator():
    killed = []

    def kill(trial):
        if trial.id in (25, 50, 55):
            os.kill(int(trial.metrics["process"]), signal.SIGKILL)
            killed.append(trial.id)

    evaluator = advancing_lab.LearnerWithProcess(interval=20)
    result = search(SPACE, RandomSearch(), evaluator, trials=80, seed=0, executor=RayExecutor(2), on_trial=kill)
    trials = list(result.history)
    assert len(killed) == 3
    assert (result.completed, result.failed) == (80, 0)
    assert [trial.metrics["version"] for trial in trials] == [position // 20 for position in range(80)]
    assert len({trial.metrics["process"] for trial in trials}) > 3


def test_a_driver_killed_after_an_advance_goes_on_as_if_it_had_not_been(tmp_path):
    drive = [sys.executable, str(TESTS / "advancing_lab.py"), "ray", "2", "1", "8", "evaluate"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    printed = {}
    for folder in (whole, killed):
        folder.mkdir()
        (folder / "kill-at-version").write_text("3" if folder is killed else "99")
        for returncode in (-signal.SIGKILL, 0) if folder is killed else (0,):
            done = subprocess.run(drive, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
            assert done.returncode == returncode, done.stderr
            printed[folder] = done.stdout
    seed = advancing_lab.SEED
    paths = [
        sorted((t.id, t.architecture, t.parent, t.score) for t in RunFolder(folder / "run").trials(seed))
        for folder in (whole, killed)
    ]
    assert paths[0] == paths[1]
    assert printed[whole] == printed[killed]


def test_a_killed_driver_is_resumed(tmp_path):
    command = [sys.executable, "-m", "archsearch.cli"]
    begin = [*command, "run", "--evaluator", "Function", "--evaluator.function", "faulty_lab.logged", "--seed", "0"]
    begin += ["--executor", "ray", "--workers", "2", "--trials", "20000", "--quiet", "--out", "run"]
    process = subprocess.Popen(begin, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    journal = tmp_path / "run" / "journal" / "journal-000001.jsonl"
    end = time.monotonic() + 90
    while time.monotonic() < end and (not journal.exists() or journal.stat().st_size < 20_000):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = {trial.id: trial for trial in RunFolder(tmp_path / "run").trials(0)}
    assert len(before) > 50
    total = len(before) + 300
    resumed = [*command, "resume", "run", "--trust", "--trials", str(total), "--quiet"]
    done = subprocess.run(resumed, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    after = list(RunFolder(tmp_path / "run").trials(0))
    assert len(after) == len({trial.id for trial in after}) == total
    assert {trial.id: trial for trial in after if trial.id in before} == before
    if missing := set(range(max(before))) - set(before):
        assert missing <= {trial.id for trial in after}, "what was pending is dispatched again"


def process_id(values):
    time.sleep(0.01)
    return float(os.getpid())


def test_labels_of_a_predictor_are_evaluated_by_the_workers(tmp_path):
    predictor = Predictor(Function(process_id), labels=20, folds=0)
    executor = RayExecutor(workers=2)
    result = search(SPACE, RandomSearch(), predictor, trials=5, seed=0, executor=executor, out=tmp_path / "run")
    processes = set(predictor.labelled_scores.values())
    assert len(processes) == 2
    assert os.getpid() not in processes
    assert len(predictor.labelled_scores) == 20
    assert result.completed == 5


def test_a_race_is_the_same_on_ray():
    settings = {"trials": 60, "seed": 1, "lag": 4, "certainty": {"error": 0.05, "share": 0.5}}
    found = [
        search(certainty_lab.space(), RandomSearch(), certainty_lab.Noisy(0.5), executor=executor, **settings)
        for executor in (RayExecutor(3), "local")
    ]
    paths = [sorted((t.id, t.architecture, t.score, t.repeat_of) for t in result.history) for result in found]
    assert paths[0] == paths[1]
    assert found[0].certainty.repeats > 10
    free = search(
        certainty_lab.space(),
        RandomSearch(),
        certainty_lab.Noisy(0.5),
        executor=RayExecutor(3),
        **settings | {"lag": None},
    )
    assert free.certainty.repeats > 10
    assert free.stopped == "trials"
