"""What a user hears of workers: what evaluators print, interrupted evaluations, no place, a Tune trial without room."""

import os
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
os.environ["PYTHONPATH"] = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])

import output_lab  # noqa: E402  (the workers must find it, too)
from ray import tune  # noqa: E402

from archsearch import RayExecutor, Space, search  # noqa: E402
from archsearch.controllers import RandomSearch  # noqa: E402
from archsearch.errors import ExecutorError  # noqa: E402
from archsearch.evaluators import Function  # noqa: E402
from archsearch.executors.ray.places import cannot_be_set_up  # noqa: E402
from archsearch.executors.ray.worker import MAX_PRINTED, MAX_PRINTED_LINES  # noqa: E402
from archsearch.tune import ControllerSearch, trainable  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own
SPACE = Space(arities=[4, 3, 5, 2])


@pytest.fixture(scope="module", autouse=True)
def _ray():
    import ray

    ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


class _Enough(RandomSearch):
    """Random search that proposes a few architectures."""

    count = 4

    @property
    def finished(self):
        return self._next_id >= self.count


def failures(function, count=4, **settings):
    controller = _Enough()
    controller.count = count
    settings = {"max_failures": 99, "retries": {"worker_died": 0}, **settings}
    result = search(SPACE, controller, Function(function), trials=count, seed=0, executor=RayExecutor(1), **settings)
    return [trial for trial in result.history if trial.failure]


PRINTED = ("printed by Python", "complaint by Python", "printed by native code", "printed by a child")


@pytest.mark.parametrize(
    ("how", "kind"), [("raises", "exception"), ("interrupts", "exception"), ("dies", "worker_died")]
)
def test_the_last_lines_that_an_evaluation_printed_go_with_its_error(how, kind):
    found = failures(getattr(output_lab, how), count=2)
    assert {trial.failure for trial in found} == {kind}
    for trial in found:
        assert trial.error.startswith("printed last:\n")
        for words in PRINTED:
            assert words in trial.error
    last = found[0].error.strip().splitlines()[-1]
    assert not any(words in last for words in PRINTED), "the line that says what it was is still the last"
    assert {"raises": "no such layer", "interrupts": "KeyboardInterrupt", "dies": ""}[how] in last


def test_nothing_of_other_trials_goes_with_it_and_not_more_than_anybody_reads():
    found = failures(output_lab.succeeds_then_fails, count=20)
    assert found
    for trial in found:
        assert trial.error.startswith("printed last:\nonly this\n\n")
        assert "another trial" not in trial.error
    (trial,) = failures(output_lab.prints_without_end, count=1)
    printed = trial.error.removeprefix("printed last:\n").partition("\n\n")[0]
    assert len(printed) <= MAX_PRINTED
    lines = printed.splitlines()
    assert lines[-1] == "line 4999"
    assert len(lines) == MAX_PRINTED_LINES


def test_the_rest_lies_where_the_page_on_clusters_says():
    import ray

    failures(output_lab.raises, count=1)
    page = (TESTS.parent / "docs" / "cluster.md").read_text()
    assert "session_latest/logs/worker-*.out" in page
    (logs,) = {Path(path) for path in Path("/tmp/ray").glob(f"{_session(ray)}/logs")}
    assert any("printed by Python" in path.read_text(errors="replace") for path in logs.glob("worker-*.out"))


def _session(ray):
    return ray.get_runtime_context().get_session_name()


def test_no_worker_started_names_what_is_free():
    import ray

    @ray.remote(num_cpus=3)
    class Other:
        def ready(self):
            return True

    other = Other.remote()
    assert ray.get(other.ready.remote())
    try:
        with pytest.raises(ExecutorError, match=r"each needs 2 CPU, 0 GPU, free in the cluster are 1 of 4 CPU, 0 of 0"):
            search(SPACE, RandomSearch(), Function(sum), trials=1, executor=RayExecutor(1, cpus=2, start_seconds=1.0))
    finally:
        ray.kill(other)


# -- code that is not shipped ------------------------------------------------------------------------


def test_code_that_was_left_out_of_what_is_shipped_is_named(tmp_path):
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "parts.py").touch()
    for module, found in (("lab", "lab"), ("lab.parts", "lab/parts.py")):
        text = str(cannot_be_set_up(f"ModuleNotFoundError: No module named '{module}'", {"working_dir": str(tmp_path)}))
        assert f"{tmp_path / found} is there, but was not shipped: Ray leaves out what .gitignore" in text
        assert "RAY_RUNTIME_ENV_IGNORE_GITIGNORE=1" in text
    text = str(cannot_be_set_up("No module named 'lab.parts'", {"py_modules": [str(tmp_path / "lab")]}))
    assert "was not shipped" in text
    for environment in (None, {"working_dir": str(tmp_path)}):
        text = str(cannot_be_set_up("ModuleNotFoundError: No module named 'other'", environment))
        assert "must be importable on every node" in text


# -- inside Tune -------------------------------------------------------------------------------------


def a_search_inside(config):
    """What a user's own function for Tune may do."""
    result = search(SPACE, RandomSearch(), Function(sum), trials=5, seed=0, executor=RayExecutor(2, start_seconds=60.0))
    tune.report({"score": float(result.completed)})


def fit(function, folder, **settings):
    config = {"metric": "score", "mode": "max", **settings.pop("tune_config", {})}
    return tune.Tuner(
        function,
        tune_config=tune.TuneConfig(**config),
        run_config=tune.RunConfig(name="run", storage_path=str(folder), verbose=0),
        **settings,
    ).fit()


def test_a_search_inside_a_trial_of_tune_says_what_room_it_needs(tmp_path):
    (result,) = fit(a_search_inside, tmp_path)
    text = str(result.error)
    assert "no worker can start: this process is part of a placement group" in text
    advice = "tune.with_resources(trainable, tune.PlacementGroupFactory([{'CPU': 1.0}] + [{'CPU': 1.0}] * 2))"
    assert advice in text
    bundles = tune.PlacementGroupFactory([{"CPU": 1.0}] + [{"CPU": 1.0}] * 2)
    (result,) = fit(tune.with_resources(a_search_inside, bundles), tmp_path / "again")
    assert result.error is None
    assert result.metrics["score"] == 5.0


def test_an_interrupted_evaluation_fails_its_trial_of_tune(tmp_path):
    searcher = ControllerSearch(RandomSearch(), SPACE, seed=0)
    (result,) = fit(
        trainable(Function(output_lab.interrupts), SPACE),
        tmp_path,
        tune_config={"search_alg": searcher, "num_samples": 1},
    )
    assert "ArchsearchError: exception: " in str(result.error)
    assert str(result.error).endswith("KeyboardInterrupt")


class Listening(RandomSearch):
    """Remembers what it is told."""

    def _start(self):
        super()._start()
        self.told = []

    def _tell(self, trial):
        self.told.append((trial.id, trial.failure, trial.score))


class FailsUntil(Function):
    """Fails as long as a file is there, for every second architecture."""

    def __init__(self, file):
        super().__init__(sum)
        self.file = file

    def evaluate(self, architecture, seed):
        if sum(architecture) % 2 and Path(self.file).exists():
            raise ValueError("not yet")
        return super().evaluate(architecture, seed)


@pytest.mark.parametrize("how", ["restart_errored", pytest.param("resume_errored", marks=pytest.mark.slow)])
def test_failures_that_tune_runs_again_are_taken_back(how, tmp_path):
    file = tmp_path / "broken"
    file.touch()
    searcher = ControllerSearch(Listening(), SPACE, seed=1)
    function = trainable(FailsUntil(str(file)), SPACE)
    results = fit(function, tmp_path, tune_config={"search_alg": searcher, "num_samples": 2})
    told = {id_: failure for id_, failure, _ in searcher.controller.told}
    broken = {id_ for id_, failure in told.items() if failure}
    assert 0 < len(broken) < 2
    assert len(results.errors) == len(broken)
    file.unlink()
    tuner = tune.Tuner.restore(str(tmp_path / "run"), function, **{how: True})
    results = tuner.fit()
    assert not results.errors
    # The searcher that Tune restored is not the one above.
    state = max((tmp_path / "run").glob("searcher-state-*"), key=lambda path: path.name).read_text()
    assert '"failed": []' in state
