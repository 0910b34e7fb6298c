"""Cascades: who passes, how the rejected rank, what is billed, batches, resume, errors, Ray."""

import json
import math
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

TESTS = Path(__file__).parent
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))

from cascade_lab import SPACE, Stage  # noqa: E402  (the workers must find it, too)

from archsearch import RayExecutor, resume, search  # noqa: E402
from archsearch.components import build, describe  # noqa: E402
from archsearch.controllers import RandomSearch, RegularizedEvolution, SuccessiveHalving  # noqa: E402
from archsearch.errors import ArchsearchError, InvalidArchitecture, MissingAbility, UsageError  # noqa: E402
from archsearch.evaluators import Cascade, Function, LearningCurve, OneShot, Tabular, Training  # noqa: E402
from archsearch.evaluators.cascade import gate  # noqa: E402
from archsearch.evaluators.reference_sample import FILE  # noqa: E402
from archsearch.keeping.history import History  # noqa: E402
from archsearch.spaces import MobileNet, NASBench101, NASBench201  # noqa: E402
from archsearch.testing import EVALUATOR_CHECKS  # noqa: E402
from archsearch.trial import Query  # noqa: E402


def stages(**settings):
    """Ever better and dearer ones."""
    return [Stage(noise, price, **settings) for noise, price in ((3.0, 1.0), (2.0, 10.0), (1.0, 100.0), (0.0, 1000.0))]


def make(evaluators=None, **settings):
    return Cascade(stages() if evaluators is None else evaluators, **{"reference": 64, **settings})


def ready(evaluator=None, folder=None):
    evaluator = evaluator or make()
    evaluator.start(SPACE)
    evaluator.folder = folder
    evaluator.prepare()
    return evaluator


def run(evaluator=None, trials=200, controller=None, **settings):
    settings = {"seed": 1, "max_failures": 99, **settings}
    return search(SPACE, controller or RandomSearch(), evaluator or make(), trials=trials, **settings)


def path(result):
    return sorted(
        (t.id, t.architecture, t.parent, t.score, t.cost.updates, {**t.metrics, "process": 0}) for t in result.history
    )


def queries(n, seed=0):
    rng = np.random.default_rng(seed)
    return [Query(i, SPACE.sample(rng), i) for i in range(n)]


@pytest.fixture(scope="module")
def found():
    return run(trials=1000)


# -- who passes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shares", [[0.5, 0.5, 0.5], [0.3, 0.5, 0.7]])
def test_about_the_share_that_is_to_be_kept_reaches_each_stage(shares):
    """To 3 standard errors, of the references that set the threshold and of the trials."""
    result = run(make(keep=shares, reference=400), trials=2000)
    reached = [sum(trial.metrics["stage"] >= stage for trial in result.history) for stage in (1, 2, 3, 4)]
    assert reached[0] == 2000
    references = 400.0
    for share, before, after in zip(shares, reached, reached[1:], strict=False):
        margin = 3 * math.sqrt(share * (1 - share) * (1 / references + 1 / before))
        assert after / before == pytest.approx(share, abs=margin)
        assert margin < 0.25
        references *= share


def test_the_best_of_all_is_found_and_has_the_last_score(found):
    reached = [trial for trial in found.history if trial.metrics["stage"] == 4]
    assert found.best == max(reached, key=lambda trial: trial.score)
    for trial in reached:
        assert trial.score == trial.metrics["stage_4"] == 10 + sum(trial.architecture)
    mean = sum(sum(trial.architecture) for trial in found.history) / 1000
    assert sum(sum(trial.architecture) for trial in reached) / len(reached) > mean + 3, "chance: 0.3"


def test_whatever_is_rejected_scores_below_all_that_passed(found):
    by_stage = {}
    for trial in found.history:
        by_stage.setdefault(trial.metrics["stage"], []).append(trial)
    assert set(by_stage) == {1, 2, 3, 4}
    for stage in (1, 2, 3):
        scores = [trial.score for trial in by_stage[stage]]
        assert stage - 4 < min(scores) < max(scores) < stage - 3
        assert max(scores) < min(trial.score for trial in by_stage[stage + 1])
        ranked = sorted(by_stage[stage], key=lambda trial: trial.metrics[f"stage_{stage}"])
        assert [trial.score for trial in ranked] == sorted(scores), "within a stage, its own score ranks"


@pytest.mark.parametrize("distance", [0.0, 1e-12, 1e-3, 1.0, 1e8, 1e300, math.inf])
def test_no_rejected_score_leaves_its_stage(distance):
    entry = gate([5.0, 3.0, 2.5, 1.0], 0.5)
    assert (entry.threshold, entry.scale) == (3.0, 1.25)
    assert 0 <= entry.rank(3.0 - distance) < 1
    assert math.isnan(entry.rank(math.nan))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_ties_with_the_threshold_pass(share):
    entry = gate([1.0] * 10, share)
    assert (entry.threshold, entry.scale) == (1.0, 1.0)
    everyone = make([Function(len), Function(sum)])
    assert {trial.metrics["stage"] for trial in run(everyone, trials=20).history} == {2}


def test_the_metrics_of_the_last_are_those_of_what_passed_all(found):
    for trial in found.history:
        stage = int(trial.metrics["stage"])
        scores = {f"stage_{i}" for i in range(1, stage + 1)}
        assert set(trial.metrics) == scores | {"stage"} | ({"size", "process"} if stage == 4 else set())
        assert trial.evaluation.curve == ((0.0, trial.score) if stage == 4 else ())


# -- what is billed --------------------------------------------------------------------------------


def test_costs_add_up_exactly(found):
    prices = [1, 11, 111, 1111]
    for trial in found.history:
        assert trial.cost.updates == prices[int(trial.metrics["stage"]) - 1]
    assert found.cost.updates == sum(trial.cost.updates for trial in found.history)


def test_set_up_is_all_preparation_and_the_reference_sample():
    evaluator = make()
    result = run(evaluator, trials=1)
    asked = [sum(id_ < 0 for id_ in stage.asked) for stage in evaluator.evaluators]
    assert asked == [64, 32, 16, 0]
    assert result.setup_cost.examples == 100 * 1111
    assert result.setup_cost.updates == 64 * 1 + 32 * 10 + 16 * 100
    assert [stage.prepared for stage in evaluator.evaluators] == [1] * 4


def test_references_that_fail_take_no_part():
    evaluator = make([Stage(3.0, fails=True), Stage(0.0, 10.0)], reference=100)
    result = run(evaluator, trials=50)
    scores = evaluator._facts[0]["scores"].values()
    sound = [score for score in scores if score is not None]
    assert 60 < len(sound) < len(scores) == 100
    assert sum(score >= evaluator._gates[0].threshold for score in sound) == round(len(sound) / 2)
    assert result.setup_cost.updates == len(sound)
    assert result.failed > 0


def test_references_are_of_those_that_an_evaluator_lists():
    evaluator = Cascade([Tabular("ecnas_4v", epochs=4), Tabular("ecnas_4v")], reference=60)
    evaluator.start(NASBench101(max_vertices=4))
    evaluator.prepare()
    known = set(evaluator.evaluators[1].architectures)
    assert {query.architecture for query in evaluator._draw().values()} <= known
    assert evaluator._gates[0].threshold > 50


def test_progress_is_told():
    told = []
    evaluator = make()
    evaluator.start(SPACE)
    evaluator.on_progress = lambda *what: told.append(what)
    evaluator.prepare()
    assert told[0] == ("preparing", 1, 1)
    assert ("reference of stage 3", 16, 16) in told
    assert len(told) == 4 + 64 + 32 + 16
    assert all(stage.on_progress is None and stage.executor is None for stage in evaluator.evaluators)


# -- batches, order, workers -----------------------------------------------------------------------


def test_a_batch_is_asked_stage_by_stage_and_changes_nothing():
    evaluator = ready()
    before = [len(stage.asked) for stage in evaluator.evaluators]
    together = evaluator.evaluate_batch(queries(40))
    sizes = [stage.sizes[-1] for stage in evaluator.evaluators]
    assert sizes[0] == 40 > sizes[1] > sizes[2] > sizes[3] > 0
    asked = [len(stage.asked) - n for stage, n in zip(evaluator.evaluators, before, strict=True)]
    assert asked == sizes
    assert together == [evaluator.evaluate_query(query) for query in queries(40)]
    assert path(run(batch=16)) == path(run())


@pytest.mark.parametrize("check", ["order_plays_no_part", "batch_equals_one_by_one", "evaluator_survives_pickling"])
def test_keeps_the_contract_with_stages_that_reject(check):
    EVALUATOR_CHECKS[check](make, SPACE)


def test_the_thresholds_follow_from_the_seed_alone():
    one, same, other = ready(), ready(), ready(make(seed=1))
    assert one._gates == same._gates != other._gates
    assert pickle.loads(pickle.dumps(one)).evaluate_batch(queries(20)) == one.evaluate_batch(queries(20))


def test_one_that_fails_does_not_take_the_others_along():
    evaluator = make([Stage(1.0), Stage(0.0, 10.0, fails=True)])
    result = run(evaluator, batch=10, trials=60)
    assert result.failed > 0
    for trial in result.history:
        if trial.failure:
            assert "no such layer" in trial.error


@pytest.mark.slow  # it starts a Ray of its own; tests/test_ray.py has the same path in a predictor
def test_on_ray_two_workers_give_the_same():
    ray = pytest.importorskip("ray")
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        remote = run(trials=40, executor=RayExecutor(2), batch=5)
    finally:
        ray.shutdown()
    local = run(trials=40)
    assert path(remote) == path(local)
    for name in ("updates", "examples"):
        assert getattr(remote.setup_cost, name) == getattr(local.setup_cost, name)
    processes = {trial.metrics["process"] for trial in remote.history if "process" in trial.metrics}
    assert os.getpid() not in processes


# -- resume ----------------------------------------------------------------------------------------


class Killed(BaseException):
    pass


def killed_run(folder, monkeypatch, evaluator, **settings):
    """A run that was stopped as if by kill -9."""
    with monkeypatch.context() as patch:
        patch.setattr(History, "close", lambda self, state: self.folder._lock.close())
        with pytest.raises(Killed):
            run(evaluator, out=folder, **settings)


def test_a_killed_run_pays_its_set_up_once(tmp_path, monkeypatch):
    def stop(trial):
        if trial.id == 50:
            raise Killed

    settings = {"controller": RegularizedEvolution(20, 5), "trials": 100}
    whole = run(**settings)
    killed_run(tmp_path / "r", monkeypatch, make(), on_trial=stop, **settings)
    evaluator = make()
    resumed = resume(tmp_path / "r", evaluator=evaluator)
    assert path(resumed) == path(whole)
    assert (resumed.setup_cost.updates, resumed.setup_cost.examples) == (64 + 320 + 1600, 111_100)
    assert all(min(stage.asked, default=0) >= 0 for stage in evaluator.evaluators), "no reference is scored again"
    assert [stage.prepared for stage in evaluator.evaluators] == [0] * 4
    folders = sorted(each.name for each in (tmp_path / "r" / "evaluator").iterdir())
    assert folders == [FILE, "stage_1", "stage_2", "stage_3", "stage_4"]


@pytest.mark.parametrize("after", [1, 64, 65, 80, 112])
def test_killed_in_the_middle_of_the_references_it_goes_on_with_the_others(after, tmp_path, monkeypatch):
    save = Cascade._save

    def stop(self):
        save(self)
        if sum(len(stage["scores"]) for stage in self._facts) == after:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Cascade, "_save", stop)
        killed_run(tmp_path / "r", patch, make(stages(keeps=False)))
    evaluator = make(stages(keeps=False))
    resumed = resume(tmp_path / "r", evaluator=evaluator)
    assert sum(id_ < 0 for stage in evaluator.evaluators for id_ in stage.asked) == 112 - after
    assert path(resumed) == path(run())
    assert resumed.setup_cost.updates == 64 + 320 + 1600
    again = 1 if after <= 64 else 11 if after <= 96 else 111
    assert resumed.setup_cost.examples == 100 * (1111 + again), "what keeps no files is prepared in each session"


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"evaluators": [Stage()]}, "evaluators: expected a list of two or more evaluators"),
        ({"evaluators": []}, "evaluators"),
        ({"evaluators": [Stage(), "Training"]}, "evaluators"),
        ({"evaluators": Stage()}, "evaluators"),
        ({"keep": 0}, "keep: expected a share, 0 < keep < 1, or 3 of them, one for each evaluator but the last, got 0"),
        ({"keep": 1.0}, "keep"),
        ({"keep": True}, "keep"),
        ({"keep": math.nan}, "keep"),
        ({"keep": [0.5, 0.5]}, "keep"),
        ({"keep": [0.5, 0.5, 1.5]}, "keep"),
        ({"keep": [0.5, 0.5, 0.5, 0.5]}, "keep"),
        ({"reference": 0}, "reference: expected a whole number >= 1, got 0"),
        ({"reference": 4, "keep": 0.25}, "reference: of 4 architectures 1 would reach the last threshold"),
        ({"floor": math.inf}, "floor: expected a finite number, got inf"),
        ({"seed": -1}, "seed: expected a whole number >= 0, got -1"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(UsageError, match=f"Cascade: {message}"):
        make(**settings)


def test_evaluators_that_learn_during_the_search_are_refused():
    for evaluator in (LearningCurve(Training()), OneShot(sampler="controller")):
        with pytest.raises(UsageError, match=f"Cascade: evaluators: {type(evaluator).__name__} learns during the"):
            make([Stage(), evaluator])


@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_the_evaluator_that_cannot_score_a_space_is_named(wrong, tmp_path):
    evaluators = [Stage() for _ in range(3)]
    evaluators[wrong] = Tabular() if wrong < 2 else Stage(width=3)
    name = type(evaluators[wrong]).__name__
    with pytest.raises(MissingAbility, match=rf"Cascade: stage {wrong + 1}, {name}, cannot score Space"):
        run(make(evaluators), out=tmp_path / "r")
    assert not (tmp_path / "r").exists()
    with pytest.raises(UsageError, match=r"Cascade: stage 1, Training: Training: skeleton: networks of NASBench201"):
        Cascade([Training(skeleton={"colour": 3}), Stage(width=9)]).check(NASBench201())
    with pytest.raises(MissingAbility, match="MobileNet"):
        Cascade([Tabular(), Tabular()]).start(MobileNet())


def test_a_score_below_the_floor_is_told_of():
    evaluator = make([Stage(1.0), Stage(level=-20.0)])
    result = run(evaluator, trials=10)
    below = [trial for trial in result.history if trial.failure]
    assert below
    assert "Stage gave -" in below[0].error
    assert "below the floor of 0" in below[0].error
    result = run(make([Stage(1.0), Stage(level=-20.0)], floor=-20), trials=50)
    assert result.failed == 0
    rejected = [trial.score for trial in result.history if trial.metrics["stage"] == 1]
    assert -21 < min(rejected) < max(rejected) < -20


def test_a_stage_that_fails_for_all_references_is_told_of():
    class Broken(Stage):
        def evaluate(self, architecture, seed):
            raise ValueError("out of order")

    with pytest.raises(ArchsearchError, match=r"(?s)Cascade: stage 2, Broken, failed for all \d+ .*out of order"):
        run(make([Stage(), Broken(), Stage()]))


def test_misuse_is_told_of():
    evaluator = make()
    evaluator.start(SPACE)
    with pytest.raises(UsageError, match="call prepare first"):
        evaluator.evaluate((0,) * 5, 0)
    with pytest.raises(InvalidArchitecture):
        ready().evaluate((0,) * 6, 0)
    with pytest.raises(UsageError, match="Cascade scores architectures in one go"):
        run(controller=SuccessiveHalving())


def test_settings_survive_with_the_evaluators():
    evaluator = Cascade([Tabular(epochs=12), Tabular()], keep=[0.2], floor=-1.0)
    twin = build(json.loads(json.dumps(describe(evaluator))), trust=True)
    assert describe(twin) == describe(evaluator)
    assert [each.epochs for each in twin.evaluators] == [12, None]


def test_parts_in_common_are_copied_so_that_each_keeps_its_own_files(tmp_path):
    training = Training(epochs=1, train_examples=32, skeleton={"channels": 2})
    shot = OneShot(training=training, epochs=1)
    evaluator = Cascade([shot, training, training], reference=4)
    assert evaluator.evaluators[0] is shot
    assert len({id(shot.training), *map(id, evaluator.evaluators)}) == 4
    evaluator.folder = tmp_path
    folders = [each.folder for each in (shot, shot.training, *evaluator.evaluators[1:])]
    assert folders == [tmp_path / f"stage_{stage}" for stage in (1, 1, 2, 3)]
    assert describe(evaluator)["init_args"]["evaluators"][2] == describe(training)


def test_figures_are_those_of_the_dearest():
    assert ready().measure((1,) * 5) == {"params": 5000}
