"""Learning-curve extrapolation: what is stopped, what it costs, resume."""

import json
import math
import pickle

import numpy as np
import pytest
from learning_curve_lab import CELLS, EPOCHS, SPACE, Curves, completed, make, run, whole

from archsearch import Cost, Evaluation, resume
from archsearch.controllers import RegularizedEvolution
from archsearch.evaluators import LearningCurve, Tabular, Training
from archsearch.evaluators.learning_curve import FILE, fit, probability_above
from archsearch.keeping.folder import RunFolder
from archsearch.keeping.history import History
from archsearch.spaces import NASBench101
from archsearch.testing import EVALUATOR_CHECKS
from archsearch.trial import Budget, Query

PAUSES = (10, 20, 30)

CELL = (3, 1, 2, 3, 4, 3)


def path(trials):
    return [
        (t.id, t.architecture, t.parent, t.failure, t.score, dict(t.metrics), t.cost.updates, t.evaluation.curve)
        for t in sorted(trials, key=lambda trial: trial.id)
        if t.evaluation is not None
    ]


@pytest.fixture(scope="module")
def found():
    return run()


@pytest.fixture(scope="module")
def learnt():
    """An evaluator that has learnt from 60 trainings."""
    evaluator = make(sound=True)
    run(evaluator, trials=62)
    assert len(evaluator._regressions) == len(PAUSES)
    return evaluator


# -- what it saves ---------------------------------------------------------------------------------


def test_a_higher_threshold_stops_more(found):
    bold = run(make(threshold=0.4))
    assert bold.cost.updates < found.cost.updates


# -- what is stopped, and what that costs ----------------------------------------------------------


def test_all_are_trained_in_full_until_it_has_learnt(found):
    trials = list(found.history)
    before = [trial for trial in trials[:60] if trial.evaluation is not None]  # two intervals had too many failures
    assert len(before) >= 40
    assert all(whole(trial) and "predicted" not in trial.metrics for trial in before)
    after = [trial for trial in trials[60:] if trial.evaluation is not None]
    assert all("predicted" in trial.metrics for trial in after)
    assert sum(not whole(trial) for trial in after) > len(after) / 2
    assert {10, EPOCHS} <= {trial.metrics["stopped_at"] for trial in after} <= {*PAUSES, EPOCHS}


def test_cost_and_curve_are_of_what_was_trained(found):
    for trial in completed(found):
        epochs = trial.metrics["stopped_at"]
        assert (trial.cost.updates, len(trial.evaluation.curve), trial.metrics["trained"]) == (epochs, epochs, epochs)
    assert found.cost.updates == sum(trial.metrics["stopped_at"] for trial in completed(found))
    assert found.setup_cost.examples == 5


def test_a_stopped_one_scores_what_was_predicted_below_the_best(found):
    stopped = [trial for trial in completed(found) if not whole(trial)]
    for trial in stopped:
        before = [other.score for other in completed(found) if other.id < trial.id and whole(other)]
        assert trial.score == trial.metrics["predicted"] < max(before)
    truth = {t.id: t.score for t in completed(run(Curves()))}
    errors = [trial.score - truth[trial.id] for trial in stopped]
    assert np.sqrt(np.mean(np.square(errors))) < 3, "scores spread by 7; 1.5 when this was written"


def test_a_training_goes_on_from_where_it_paused(found):
    evaluator = make()
    run(evaluator, trials=45)
    asked = {}
    for id_, budget in evaluator.evaluator.asked:
        asked.setdefault(id_, []).append(budget)
    for id_, budgets in asked.items():
        expected = [Budget(10), Budget(20, 10, id_), Budget(30, 20, id_), Budget(40, 30, id_)]
        assert budgets == expected[: len(budgets)]
    assert [Budget(10), Budget(20, 10, 44), Budget(30, 20, 44), Budget(40, 30, 44)] in asked.values()


def test_a_real_training_ends_as_one_without_pauses_and_costs_as_much(tmp_path):
    training = {"epochs": 4, "train_examples": 32, "batch_size": 16, "skeleton": {"channels": 2}}
    evaluator, plain = LearningCurve(Training(**training)), Training(**training)
    for each in (evaluator, plain):
        each.start(CELLS)
    evaluator.folder = tmp_path
    evaluator.prepare()
    paused, straight = (each.evaluate_query(Query(3, CELL, 5)) for each in (evaluator, plain))
    assert (paused.score, paused.curve) == (straight.score, straight.curve)
    assert paused.metrics == {**straight.metrics, "stopped_at": 4}
    assert (paused.cost.updates, paused.cost.examples) == (straight.cost.updates, straight.cost.examples)


def test_curves_are_made_of_the_scores_at_the_pauses_if_the_evaluator_gives_none():
    evaluator = LearningCurve(Tabular("ecnas_4v", run=1), check_at=[4, 12, 36])
    evaluator.start(NASBench101(max_vertices=4))
    evaluator.prepare()
    table = evaluator.evaluator
    architecture = table.architectures[5]
    found = evaluator.evaluate(architecture, 0)
    lengths = [table.evaluate_query(Query(0, architecture, 0, budget=Budget(stop))) for stop in (4, 12, 36, 108)]
    assert found.curve == tuple(each.score for each in lengths)
    assert found.score == lengths[-1].score
    assert found.cost.recorded_seconds == pytest.approx(sum(each.cost.recorded_seconds for each in lengths))


def test_the_last_of_equal_scores_is_no_reason_to_go_on():
    assert probability_above(5.0, 5.0, 0.0) == 0
    assert probability_above(5.0, 6.0, 0.0) == 1
    assert probability_above(5.0, 5.0, 2.0) == 0.5
    assert probability_above(5.0, 1.71, 2.0) == pytest.approx(0.05, abs=0.001)


@pytest.mark.parametrize("unknown", [0.0, 0.3])
def test_regression_says_how_far_it_is_off(unknown):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 4)) * (1, 100, 1e-3, 1)
    rises = 70 + features @ (2, 0.05, 1000, 0) + rng.normal(size=300)
    features[rng.random(features.shape) < unknown] = np.nan
    features[:, 3] = 7.0
    model = fit(features[:200], rises[:200])
    errors = [model.predict(row) - rise for row, rise in zip(features[200:], rises[200:], strict=True)]
    assert model.spread == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=0.4)
    assert unknown or model.spread < 1.5, "the noise is 1, what is learnt spreads by 5.5"


# -- determinism and resume ------------------------------------------------------------------------


def test_equal_seeds_give_equal_searches(found):
    assert path(found.history) == path(run().history)
    assert path(found.history) != path(run(seed=2).history)


def test_workers_get_little_that_does_the_same(learnt):
    copy = pickle.loads(pickle.dumps(learnt))
    assert copy._facts["curves"] == []
    assert len(pickle.dumps(learnt)) < 100_000
    for i in range(20):
        architecture = SPACE.sample(np.random.default_rng(i))
        assert copy.evaluate(architecture, i) == learnt.evaluate(architecture, i)


@pytest.mark.parametrize(
    "check",
    ["batch_equals_one_by_one", "costs_are_not_negative", "evaluation_leaves_global_generators", "order_plays_no_part"],
)
def test_one_that_has_learnt_keeps_the_contract(check, learnt):
    """Those of the suites have learnt nothing."""

    def make_learnt():
        evaluator = pickle.loads(pickle.dumps(learnt))
        evaluator.start = lambda space: None  # it would forget
        return evaluator

    EVALUATOR_CHECKS[check](make_learnt, SPACE)


def test_fitting_leaves_global_generators_alone():
    before = pickle.dumps(np.random.get_state())  # noqa: NPY002
    rng = np.random.default_rng(0)
    fit(rng.normal(size=(30, 3)), rng.normal(size=30))
    assert pickle.dumps(np.random.get_state()) == before  # noqa: NPY002


class Killed(BaseException):
    pass


def killed_run(folder, monkeypatch, after, **settings):
    """A run that was stopped as if by kill -9 after some trials."""
    seen = []

    def stop(trial):
        seen.append(trial)
        if len(seen) == after:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(History, "close", lambda self, state: self.folder._lock.close())
        with pytest.raises(Killed):
            run(out=folder, on_trial=stop, **settings)


SIMULATED = {"controller": RegularizedEvolution(10, 3), "executor": "simulated", "workers": 3}


@pytest.mark.parametrize(("after", "settings"), [(5, {}), (60, {}), (61, {}), (85, SIMULATED)])
def test_a_killed_run_goes_on_as_if_it_had_not_been(after, settings, found, tmp_path, monkeypatch):
    expected = run(**settings) if settings else found
    killed_run(tmp_path / "r", monkeypatch, after, **settings)
    resumed = resume(tmp_path / "r", evaluator=make())
    assert path(resumed.history) == path(expected.history)
    assert resumed.setup_cost.examples == 2 * 5, "the evaluator below keeps no files and prepares in each session"


def test_killed_between_learning_and_the_journal_it_does_not_learn_twice(found, tmp_path, monkeypatch):
    advance, states = LearningCurve.advance, []

    def die(self, sample):
        advance(self, sample)
        states.append(json.loads((self.folder / FILE).read_text()))
        if len(states) == 4:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(LearningCurve, "advance", lambda self, sample: die(self, sample) or Cost())
        patch.setattr(History, "close", lambda self, state: self.folder._lock.close())
        with pytest.raises(Killed):
            run(out=tmp_path / "r")
    finished = len(path(RunFolder(tmp_path / "r").trials(1)))
    resumed = resume(tmp_path / "r", evaluator=make(), trials=finished + 1)
    assert path(resumed.history) == path(found.history)[: finished + 1]
    kept = json.loads((tmp_path / "r" / "evaluator" / FILE).read_text())
    for name in ("curves", "best", "sample", "advanced"):
        assert kept[name] == states[-1][name]
    assert resumed.setup_cost.device_seconds == pytest.approx(states[-1]["advanced"][1])
    assert states[-1]["advanced"][1] > 0


# -- errors ----------------------------------------------------------------------------------------


def test_a_score_that_is_not_finite_fails_its_trial(learnt, monkeypatch):
    copy = pickle.loads(pickle.dumps(learnt))
    monkeypatch.setattr(Curves, "evaluate_query", lambda self, query: Evaluation(math.nan, {}, Cost(updates=10)))
    found = copy.evaluate((0, 0, 0, 0, 0), 0)
    assert math.isnan(found.score)
    assert (found.metrics["stopped_at"], found.cost.updates) == (10, 10)
