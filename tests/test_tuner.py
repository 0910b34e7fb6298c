"""Ray Tune: controllers and evaluators in a tuner, and one whose process is killed."""

import json
import os
import signal
import subprocess
import sys

import pytest
from advancing_lab import Learner
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import ConcurrencyLimiter, Repeater
from tune_lab import PLAIN, TESTS, Listening, drive, evolution, score

from archsearch import search
from archsearch.controllers import RegularizedEvolution
from archsearch.errors import UsageError
from archsearch.evaluators import Function
from archsearch.spaces import NASBench201
from archsearch.trial import Cost
from archsearch.tune import ControllerSearch, trainable
from archsearch.tune.searcher import _finished_trials

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


# -- in a tuner --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def _ray():
    import ray

    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


def fit(function, searcher, folder, samples, scheduler=None, param_space=None, name="run"):
    tuner = tune.Tuner(
        function,
        param_space=param_space,
        tune_config=tune.TuneConfig(
            metric="score", mode="max", search_alg=searcher, scheduler=scheduler, num_samples=samples, reuse_actors=True
        ),
        run_config=tune.RunConfig(name=name, storage_path=str(folder), verbose=0),
    )
    return tuner.fit()


@pytest.mark.usefixtures("_ray")
def test_a_tuner_runs_what_the_controller_asks_for(tmp_path):
    searcher = evolution()
    results = fit(
        trainable(Function(sum), PLAIN), ConcurrencyLimiter(searcher, 1), tmp_path, 8, param_space={"data": "here"}
    )
    alone = search(PLAIN, RegularizedEvolution(6, 3), Function(sum), trials=8, seed=0)
    found = sorted((r.config["proposal"], r.config["architecture"], r.metrics["score"]) for r in results)
    assert found == [(t.id, PLAIN.format(t.architecture), t.score) for t in alone.history]
    assert {r.config["data"] for r in results} == {"here"}
    assert all(r.metrics["billed_seconds"] >= 0 for r in results)
    assert searcher.controller.pending == {}
    assert len(_finished_trials(tmp_path / "run")) == 8, "how Tune writes its trials has changed"


class Epochs(Function):
    """Four epochs, of a second each; the score rises with every one. Some architectures fail after the first."""

    def __init__(self):
        super().__init__(sum)

    def check_budgets(self, budgets):
        if max(budgets) > 4:
            raise UsageError("four epochs")

    def evaluate_query(self, query):
        stop, start, origin = query.budget
        assert origin == (query.id if start else None)
        if stop == 2 and query.architecture[0] == 3:
            raise ValueError("on purpose")
        evaluation = self.evaluate(query.architecture, query.seed)
        return evaluation._replace(score=evaluation.score * stop, cost=Cost(recorded_seconds=stop - start))


@pytest.mark.usefixtures("_ray")
def test_a_scheduler_stops_what_reports_after_each_epoch_and_failures_are_told(tmp_path):
    searcher = ControllerSearch(Listening(), PLAIN, seed=9)
    scheduler = ASHAScheduler(max_t=4, grace_period=2, reduction_factor=2)
    results = fit(trainable(Epochs(), PLAIN), searcher, tmp_path, 6, scheduler)
    told = {trial.id: trial for trial in searcher.controller.told}
    failed = {id_ for id_, trial in told.items() if trial.failure == "exception"}
    assert failed == {id_ for id_, trial in told.items() if trial.architecture[0] == 3}
    assert (len(told), len(failed), results.num_errors) == (6, 1, 1)
    lengths = set()
    for result in results:
        metrics = result.metrics
        lengths.add(metrics["length"])
        assert metrics["training_iteration"] == metrics["length"] == metrics["billed_seconds"]
        if result.config["proposal"] not in failed:
            assert metrics["score"] == told[result.config["proposal"]].score == metrics["length"] * score(result.config)
    assert lengths == {1, 2, 4}


@pytest.mark.usefixtures("_ray")
def test_repetitions_have_their_own_seeds_and_one_mean_is_told(tmp_path):
    searcher = ControllerSearch(Listening(), PLAIN, seed=0)
    results = fit(trainable(Seeds(), PLAIN), Repeater(searcher, repeat=2), tmp_path, 4)
    scores = {}
    for result in results:
        scores.setdefault(result.config["proposal"], []).append(result.metrics["score"])
    assert [len(set(each)) for each in scores.values()] == [2, 2]
    assert {t.id: t.score for t in searcher.controller.told} == {id_: sum(two) / 2 for id_, two in scores.items()}
    assert _finished_trials(tmp_path / "run") == set()


class Seeds(Function):
    """Scores by the seed alone."""

    def __init__(self):
        super().__init__(sum)

    def evaluate(self, architecture, seed):
        return super().evaluate(architecture, seed)._replace(score=seed % 1000)


# -- evaluators as trainables ------------------------------------------------------------------------


@pytest.fixture
def reports(monkeypatch):
    found = []
    monkeypatch.setattr("ray.tune.report", lambda metrics: found.append(dict(metrics)))
    return found


def configuration(architecture="0-1-2-1", **more):
    return {"architecture": architecture, **more}


def test_evaluators_that_cannot_stop_report_once(reports):
    trainable(Function(sum), PLAIN)(configuration())
    assert [(report["score"], "length" in report) for report in reports] == [(4.0, False)]


def test_lengths_can_be_chosen(reports):
    trainable(Epochs(), PLAIN, lengths=[1, 4])(configuration(seed=1, proposal=7))
    assert [(r["length"], r["score"], r["billed_seconds"]) for r in reports] == [(1, 4, 1), (4, 16, 4)]
    with pytest.raises(UsageError, match="four epochs"):
        trainable(Epochs(), PLAIN, lengths=[1, 5])
    with pytest.raises(UsageError, match="rising, got"):
        trainable(Epochs(), PLAIN, lengths=[4, 1])
    with pytest.raises(UsageError, match="Learner learns on after every 5 trials"):
        trainable(Learner(interval=5), PLAIN)
    with pytest.raises(UsageError, match="text under 'architecture'"):
        trainable(Function(sum), PLAIN)({"kernel": 3})


def test_a_training_that_reports_after_each_epoch_is_the_training_in_one_go(reports, tmp_path):
    from archsearch.evaluators import Training

    space = NASBench201()
    settings = {"epochs": 3, "train_examples": 32, "batch_size": 16, "skeleton": {"channels": 2}}
    text = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|none~0|skip_connect~1|avg_pool_3x3~2|"
    trainable(Training(**settings), space, folder=tmp_path / "files")(configuration(text, proposal=4, seed=9))
    whole = Training(**settings)
    whole.start(space)
    expected = whole.evaluate(space.parse(text), 9)
    assert [report["score"] for report in reports] == list(expected.curve)
    assert reports[-1]["valid_loss"] == expected.metrics["valid_loss"]
    billed = [report["billed_seconds"] for report in reports]
    assert 0 < billed[0] < billed[1] < billed[2]
    assert list((tmp_path / "files").iterdir()), "a folder of the user's own is kept"


# -- a process that is killed ------------------------------------------------------------------------


@pytest.mark.slow
def test_a_killed_experiment_is_restored_and_nothing_is_lost(tmp_path):
    drive_it = [sys.executable, str(TESTS / "tune_lab.py"), str(tmp_path)]
    environment = {**os.environ, "TUNE_GLOBAL_CHECKPOINT_S": "0"}
    for expected in (-signal.SIGKILL, 0):
        done = subprocess.run(drive_it, env=environment, capture_output=True, text=True, check=False, timeout=200)
        assert done.returncode == expected, done.stderr[-3000:]
    state = json.loads(done.stdout.splitlines()[-1])
    assert sorted(state["proposals"]) == list(range(10)), "each exactly once"
    assert state["names"] == drive(evolution(), 10), "with one trial at a time, the path of a run that was not killed"
    assert state["pending"] == {}
