"""Failures teach: what is learnt of them, by scikit-learn and by counting; what is thinned out, and how it goes on."""

import json
import math
import os
import signal
from pathlib import Path

import forked
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from archsearch import Evaluation, Evaluator, Space, cli, resume, search
from archsearch.controllers import RandomSearch, RegularizedEvolution, SuccessiveHalving
from archsearch.errors import RunFolderError, UsageError
from archsearch.failing.calibration import calibrate, reliability
from archsearch.failing.classifier import OTHER, Classifier, logistic
from archsearch.failing.features import Features
from archsearch.failing.forecast import Forecast, Judged
from archsearch.failing.thinning import Thinning
from archsearch.spaces import Choices
from archsearch.trial import Trial

SPACE = Space(arities=[4] * 12)
CONDITIONAL = Choices(
    {"depth": [1, 2, 3], "op": {"options": ["a", "b", "c"], "repeat": "depth"}, "rate": {"real": [0.1, 1]}}
)


class Region(Evaluator):
    """Fails where it is too large and, in another way, for two options; or by chance alone. The best is elsewhere."""

    def __init__(self, chance: float = 0.0) -> None:
        self.chance = chance

    def evaluate(self, architecture, seed):
        if self.chance:
            if np.random.default_rng(seed).random() < self.chance:
                raise ValueError("bad luck")
        elif sum(architecture) >= 20:
            raise MemoryError("too large")
        elif architecture[0] == 3 or architecture[5] == 2:
            return Evaluation(math.nan)
        return Evaluation(-float(abs(sum(architecture) - 12)) - (architecture[0] != 1))


SETTINGS = {"trials": 120, "max_failures": 1_000, "retries": {"out_of_memory": 0}}


def run(controller=None, evaluator=None, **settings):
    return search(SPACE, controller or RandomSearch(), evaluator or Region(), **{**SETTINGS, "seed": 0, **settings})


def path(history):
    return sorted((t.id, t.architecture, t.parent, t.score, t.failure) for t in history)


# -- the classifier --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(200, 12), (30, 80)], ids=["tall", "wide"])
def test_the_regression_is_that_of_scikit_learn(shape):
    rng = np.random.default_rng(0)
    columns = rng.normal(size=shape)
    labels = (columns[:, 0] - columns[:, 1] + rng.normal(size=shape[0]) > 0).astype(float)
    theirs = LogisticRegression(C=1.0, tol=1e-10, max_iter=5_000).fit(columns, labels)
    ours = logistic(columns, labels)
    np.testing.assert_allclose(ours, np.r_[theirs.intercept_, theirs.coef_[0]], atol=2e-4)


def test_one_label_alone_is_no_certainty():
    weights = logistic(np.ones((10, 2)), np.ones(10))
    assert np.isfinite(weights).all()


def test_kinds_are_causes_of_their_own():
    rng = np.random.default_rng(1)
    columns = rng.integers(0, 2, (600, 3)).astype(float)
    outcomes = np.where(columns[:, 0] == 1, "out_of_memory", np.where(columns[:, 1] == 1, "timeout", "")).tolist()
    outcomes[:4] = ["exception"] * 4
    classifier = Classifier()
    classifier.fit(columns, outcomes)
    assert set(classifier.weights) == {"out_of_memory", "timeout", OTHER}, "four failures are too few for a kind"
    large, slow, sound = np.eye(3)[[0, 1, 2]]
    chances = classifier.by_kind(np.stack([large, slow, sound]))
    assert chances["out_of_memory"][0] > 0.9 > 0.25 > chances["timeout"][0]
    assert chances["timeout"][1] > 0.9 > 0.25 > chances["out_of_memory"][1]
    both = 1 - np.prod([1 - chance for chance in chances.values()], axis=0)
    np.testing.assert_allclose(classifier.predict(np.stack([large, slow, sound])), both)
    again = Classifier()
    again.load(json.loads(json.dumps(classifier.state())))
    np.testing.assert_array_equal(again.predict(columns), classifier.predict(columns))


@pytest.mark.parametrize("space", [SPACE, CONDITIONAL], ids=["fixed", "conditional"])
def test_columns_tell_architectures_apart_and_count_kinds(space):
    rng = np.random.default_rng(0)
    drawn = list({space.sample(rng) for _ in range(200)})
    columns = Features(space)(drawn)
    assert columns.shape[0] == len(drawn) == len({tuple(row) for row in columns.tolist()})
    np.testing.assert_array_equal(Features(space)(drawn[:1]), columns[:1])
    assert columns.min() >= 0
    if space is SPACE:  # 12 decisions of 4 options; no names of one kind but those of places
        hot = space.one_hot(drawn)
        assert (columns[:, : hot.shape[1]] == hot).all()


# -- thinning --------------------------------------------------------------------------------------


def test_far_fewer_failures_and_the_optimum_as_often():
    failed, best, refused = {}, {}, 0
    for thin in (None, 0.9):
        results = [run(seed=seed, thin=thin) for seed in range(4)]
        failed[thin] = sum(result.failed for result in results)
        best[thin] = sum(result.best.score for result in results)
        refused += sum(result.thinned for result in results)
    assert failed[0.9] < 0.6 * failed[None]
    assert best[0.9] >= best[None]
    assert refused > 100


def test_random_failures_are_not_thinned():
    for chance in (0.3, 0.6):
        plain, thinned = (run(evaluator=Region(chance), thin=thin) for thin in (None, 0.9))
        assert thinned.thinned <= 0.01 * (thinned.completed + thinned.failed)
        assert thinned.failed <= plain.failed + 5


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_never_more_than_the_share_is_refused_and_no_region_is_closed(share):
    """Even by a model that is sure, and wrong: all that it was told of failed, and all that is proposed is of that."""
    thinning = Thinning(SPACE, 0, share)
    rng = np.random.default_rng(0)
    for id_ in range(200):
        architecture = SPACE.sample(rng)
        failure = "timeout" if architecture[0] == 3 else ""
        thinning.learn(Trial(id_, architecture, failure=failure))
    refused = 0
    for proposed in range(1, 1_001):
        architecture = (3, *SPACE.sample(rng)[1:])
        refused += bool(why := thinning.why(200 + proposed, architecture))
        assert refused <= share * proposed
        assert not why or why.startswith("likely to fail: probability")
    assert refused == thinning.refused
    assert refused == pytest.approx(share * 1_000, rel=0.1)


def test_a_model_that_was_wrong_loses_its_say():
    """The region fails at first, then no more: what is evaluated in spite of the model judges it."""
    thinning, rng = Thinning(SPACE, 0, 0.5), np.random.default_rng(0)
    late = []
    for id_ in range(1_800):
        architecture = SPACE.sample(rng)
        if thinning.why(id_, architecture):
            late.append(id_)
        else:
            thinning.learn(Trial(id_, architecture, failure="timeout" if architecture[0] == 3 and id_ < 500 else ""))
    assert sum(id_ < 500 for id_ in late) > 20
    assert not [id_ for id_ in late if id_ >= 1_300]


def test_what_was_answered_or_refused_teaches_nothing():
    forecast, thinning = Forecast(SPACE), Thinning(SPACE, 0, 0.5)
    assert forecast.learn((0,) * 12, "refused") is None
    thinning.learn(Trial(0, (0,) * 12, failure="limit", attempts=0))
    assert (forecast.seen, thinning.state()["forecast"]["seen"]) == (0, 0)


def test_controllers_hear_of_a_limit_free_of_charge():
    heard = []

    class Listening(RandomSearch):
        def _tell(self, trial):
            heard.append((trial.failure, trial.attempts, trial.error))

    result = run(Listening(), thin=0.9)
    limits = [error for failure, attempts, error in heard if failure == "limit" and attempts == 0]
    assert len(limits) == result.thinned > 20
    assert result.rejected == 0
    assert f"{result.thinned:,} refused as likely to fail" in str(result)
    assert len(heard) == result.completed + result.failed + result.thinned


def test_what_was_trained_a_while_goes_on():
    class Long(Region):
        def evaluate_query(self, query):
            return self.evaluate(query.architecture, query.seed)

        def check_budgets(self, budgets):
            """Any."""

    result = run(SuccessiveHalving(max_budget=3, reduction=3), Long(), thin=0.9)
    assert result.thinned > 0
    assert any(trial.budget.origin is not None for trial in result.history)


# -- reproducible, resumable -----------------------------------------------------------------------


def test_with_a_lag_the_number_of_workers_changes_nothing():
    paths = [
        (path(result.history), result.thinned)
        for result in (
            run(RegularizedEvolution(60, 3), thin=0.8, lag=4, **settings)
            for settings in ({}, {"executor": "simulated", "workers": 3}, {"executor": "simulated", "workers": 9})
        )
    ]
    assert paths[0] == paths[1] == paths[2]
    assert paths[0][1] > 0


@pytest.mark.parametrize("settings", [{}, {"lag": 3}, {"duplicates": "reuse"}])
def test_extended_runs_equal_an_uninterrupted_one(settings, tmp_path, monkeypatch):
    whole = run(RegularizedEvolution(60, 3), thin=0.8, **settings)
    run(RegularizedEvolution(60, 3), thin=0.8, out=tmp_path / "r", **{**settings, "trials": 50})
    with pytest.raises(RunFolderError, match=r"thin: the run was made with 0.8, got 0.5"):
        resume(tmp_path / "r", evaluator=Region(), thin=0.5)
    result = resume(tmp_path / "r", evaluator=Region(), trials=120)
    assert path(result.history) == path(whole.history)
    assert (result.thinned, result.failed) == (whole.thinned, whole.failed)
    assert result.thinned > 0


def killed():
    seen = []

    def kill(trial):
        seen.append(trial)
        if len(seen) == 120:
            os.kill(os.getpid(), signal.SIGKILL)

    run(RegularizedEvolution(60, 3), thin=0.8, out="r", on_trial=kill)


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path):
    assert forked.run(killed, cwd=tmp_path, path=[Path(__file__).parent]).poll() == -signal.SIGKILL
    result = resume(tmp_path / "r", evaluator=Region())
    whole = run(RegularizedEvolution(60, 3), thin=0.8)
    assert path(result.history) == path(whole.history)
    assert result.thinned == whole.thinned > 0


@pytest.mark.parametrize("share", [0, 1, 1.5, -0.1, math.nan, "half", True])
def test_a_share_is_between_0_and_1(share):
    with pytest.raises(UsageError, match="thin: expected a finite number above 0 and below 1, got"):
        run(thin=share)


# -- calibration -----------------------------------------------------------------------------------


def test_brier_score_and_rates_are_those_of_scikit_learn_and_of_counting():
    rng = np.random.default_rng(0)
    trials = []
    for _ in range(400):
        architecture = SPACE.sample(rng)
        chance = 1 / (1 + math.exp(-(sum(architecture) - 20) / 1.5))
        trials.append((architecture, "timeout" if rng.random() < chance else ""))
    found = calibrate(trials, SPACE)
    forecast = Forecast(SPACE)
    judged = [forecast.learn(*trial) for trial in trials][20:]
    predicted, failed = [each.predicted for each in judged], [each.failed for each in judged]
    assert found.brier == pytest.approx(brier_score_loss(failed, predicted))
    assert found.brier < 0.75 * found.plain
    assert found.believed
    assert (found.trials, sum(each.trials for each in found.bins)) == (380, 380)
    for each in found.bins:
        there = [f for p, f in zip(predicted, failed, strict=True) if (each.low < p or p == 0) and p <= each.high]
        assert (each.trials, each.observed) == (len(there), pytest.approx(np.mean(there)))
        assert each.low <= each.predicted <= each.high
    wide = [each for each in found.bins if each.trials >= 40]
    assert wide
    assert all(abs(each.predicted - each.observed) < 0.25 for each in wide)


def test_reliability_of_made_up_predictions():
    judged = [Judged(0.02, 0.5, False), Judged(0.05, 0.5, True), Judged(0.97, 0.5, True), Judged(1.0, 0.5, True)]
    assert [tuple(each) for each in reliability(judged)] == [
        (0.0, 0.05, 2, pytest.approx(0.035), 0.5),
        (0.95, 1.0, 2, pytest.approx(0.985), 1.0),
    ]


def test_nothing_failed_is_nothing_to_predict():
    assert calibrate([((0,) * 12, "")] * 50, SPACE) is None
    assert calibrate([((0,) * 12, "refused")] * 50, SPACE) is None
    few = calibrate([((0,) * 12, "timeout")] * 3, SPACE)
    assert (few.brier, few.believed, few.sentence) == (None, False, "too few trials to predict failures")


def narrow(values):
    if sum(value for name, value in values.items() if name.startswith("w")) > 60:
        raise MemoryError("too wide")
    return float(values["w1"])


WIDTHS = "".join(f"w{number}: [8, 16, 32]\n" for number in range(1, 5))


def test_report_and_status_have_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("widths.yaml").write_text(WIDTHS)
    command = ["run", "--space", "Choices", "--space.decisions", "widths.yaml", "--controller", "RandomSearch"]
    command += ["--evaluator", "Function", "--evaluator.function", "test_failing.narrow", "--max_failures", "99"]
    assert (
        cli.main([*command, "--trials", "70", "--seed", "0", "--thin", "0.8", "--out", "r", "--json", "--quiet"]) == 0
    )
    ended = json.loads(capsys.readouterr().out)
    assert ended["trials"]["thinned"] > 0
    assert cli.main(["status", "r", "--json"]) == 0
    failures = json.loads(capsys.readouterr().out)["failures"]
    assert failures["thinned"] == ended["trials"]["thinned"]
    assert failures["by_kind"] == {"out_of_memory": ended["trials"]["failed"]}
    assert failures["brier"] < failures["brier_of_plain_rate"]
    assert failures["believed"]
    assert cli.main(["status", "r"]) == 0
    assert "Brier score" in capsys.readouterr().out
    assert cli.main(["report", "r"]) == 0
    said = capsys.readouterr().out
    assert "Failures: predicted against observed rate" in said
    assert "were refused as likely to fail" in said
    assert "predicted against observed" in Path("r/report/index.html").read_text()


# -- failures that repeat --------------------------------------------------------------------------


class Counting(Evaluator):
    """Fails for certain in a quarter of the space, by chance elsewhere."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, ...]] = []

    def evaluate(self, architecture, seed):
        self.asked.append(architecture)
        if architecture[0] == 0:
            raise ValueError("no such layer")
        if seed % 20 == 0:
            raise RuntimeError("bad luck")
        return Evaluation(float(sum(architecture)))


def test_reuse_asks_at_most_twice_for_what_fails(tmp_path):
    small = Space(arities=[4, 3, 3])
    evaluator = Counting()
    settings = {"seed": 0, "duplicates": "reuse", "max_failures": 500}
    result = search(small, RandomSearch(), evaluator, trials=1_000, **settings)
    counts = {each: evaluator.asked.count(each) for each in set(evaluator.asked)}
    assert {each: count for each, count in counts.items() if each[0] == 0} == dict.fromkeys(
        [(0, one, two) for one in range(3) for two in range(3)], 2
    )
    assert (result.stopped, result.completed) == ("exhausted", 27)
    assert max(counts.values()) <= 3
    search(small, RandomSearch(), Counting(), trials=15, out=tmp_path / "r", **settings)
    again = resume(tmp_path / "r", evaluator=Counting(), trials=1_000)
    assert path(again.history) == path(result.history)
