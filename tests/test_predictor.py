"""The predictor: labels, their cost, what the model makes of them, and that nothing is paid for twice."""

from __future__ import annotations

import json
import math
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from common import run_command

from archsearch import Cost, Evaluation, Evaluator, SimulatedExecutor, models, search
from archsearch.controllers import RandomSearch, RegularizedEvolution, SuccessiveHalving
from archsearch.errors import MissingAbility, RunFolderError, TooManyFailures, UsageError
from archsearch.evaluators import Function, Predictor, Tabular
from archsearch.history import RunFolder
from archsearch.loop import resume
from archsearch.model import Model, load_model
from archsearch.models import GaussianProcess
from archsearch.ranking import kendall_tau
from archsearch.spaces import Choices, NASBench201
from archsearch.testing import SeparableSpace
from archsearch.trial import Query, Trial


class Additive(Evaluator):
    """Sums the options, for a price; counts in a file how often it was asked.

    Args:
        asked: File.
        fails: Share of the seeds with which it fails.
    """

    def __init__(self, asked: str = os.devnull, fails: float = 0.0) -> None:
        self.asked = asked
        self.fails = fails

    def evaluate(self, architecture, seed):
        with open(self.asked, "a") as file:
            file.write("x")
        if seed / 2**63 < self.fails:
            raise RuntimeError("it was bound to fail")
        return Evaluation(float(sum(architecture)), {}, Cost(device_seconds=7.0, updates=3))


def prepared(space=None, **settings):
    predictor = Predictor(Additive(), **{"labels": 40, **settings})
    predictor.start(space or SeparableSpace())
    return predictor, predictor.prepare()


def queries(space, n, seed=1):
    rng = np.random.default_rng(seed)
    return [Query(i, space.sample(rng), 0) for i in range(n)]


def test_labels_are_billed_as_set_up_and_predictions_are_nearly_free():
    predictor, cost = prepared()
    assert cost.updates == 40 * 3
    assert 40 * 7 < cost.device_seconds < 40 * 7 + 30  # the rest is fitting
    found = predictor.evaluate_batch(queries(predictor.space, 100))
    assert all(evaluation.cost.updates == 0 for evaluation in found)
    assert 0 < sum(evaluation.cost.device_seconds for evaluation in found) < 5


def test_predictions_rank_as_the_truth_does_and_say_how_well():
    predictor, _ = prepared(labels=100)
    asked = queries(predictor.space, 200)
    truth = [sum(query.architecture) for query in asked]
    found = predictor.evaluate_batch(asked)
    tau = kendall_tau(truth, [evaluation.score for evaluation in found])
    assert tau > 0.8  # 0.95 when written; a constant gives 0
    agreement = predictor.agreement
    assert agreement.low <= agreement.value <= agreement.high
    assert abs(agreement.value - tau) < 0.15
    assert f"{agreement}" in predictor.note
    assert "GaussianProcess of 100 labels" in predictor.note
    # The predictions are on the scale of the labels.
    assert np.abs(np.array(truth) - [evaluation.score for evaluation in found]).mean() < np.std(truth) / 2
    assert all(evaluation.metrics["spread"] >= 0 for evaluation in found)


def test_agreement_of_labels_without_pattern_is_about_zero():
    predictor = Predictor(Function(noise), labels=150, model=models.RandomForest(trees=20))
    predictor.start(NASBench201())
    predictor.prepare()
    assert abs(predictor.agreement.value) < 0.2  # labels leaking into their own prediction give 0.5 and more
    assert predictor.agreement.low < 0 < predictor.agreement.high


class Shy(Model):
    """Takes no features."""


def noise(architecture, seed):
    return seed / 2**63


def test_batches_and_single_queries_agree():
    predictor, _ = prepared()
    asked = queries(predictor.space, 150)
    together = [evaluation.score for evaluation in predictor.evaluate_batch(asked)]
    alone = [predictor.evaluate_query(query).score for query in asked]
    assert together == alone


def test_equal_seeds_give_equal_labels_and_predictions_and_others_do_not():
    first, second, other = (prepared(seed=seed)[0] for seed in (3, 3, 4))
    asked = queries(first.space, 20)
    scores = [[e.score for e in each.evaluate_batch(asked)] for each in (first, second, other)]
    assert scores[0] == scores[1]
    assert scores[0] != scores[2]
    assert first.labelled_scores == second.labelled_scores
    assert set(first.labelled_scores) != set(other.labelled_scores)


def test_labels_are_different_architectures_and_failures_are_replaced():
    predictor = Predictor(Additive(fails=0.3), labels=50, folds=0)
    predictor.start(SeparableSpace())
    predictor.prepare()
    assert len(predictor.labelled_scores) == 50
    assert predictor.agreement is None
    assert predictor.note == "GaussianProcess of 50 labels"


def test_the_labelled_set_can_be_told():
    space = NASBench201()
    names = [space.format(query.architecture) for query in queries(space, 30)]
    predictor = Predictor(names=names)
    predictor.start(space)
    predictor.prepare()
    assert [space.format(each) for each in predictor.labelled_scores] == names
    table = Tabular()
    table.start(space)
    assert all(score == table.evaluate(each, 0).score for each, score in predictor.labelled_scores.items())


def test_labels_can_be_those_of_another_run(tmp_path):
    space = NASBench201()
    search(space, RandomSearch(), Tabular(), trials=50, seed=5, out=tmp_path / "labels")
    predictor = Predictor(labelled=str(tmp_path / "labels"))
    predictor.start(space)
    cost = predictor.prepare()
    assert 45 <= len(predictor.labelled_scores) <= 50
    assert cost.recorded_seconds > 50 * 1_000  # as it was then
    few = Predictor(labelled=str(tmp_path / "labels"), folds=60)
    few.start(space)
    with pytest.raises(UsageError, match="expected 60 or more different architectures"):
        few.prepare()


def test_labels_of_a_partial_table_are_among_those_that_it_has():
    predictor = Predictor(Tabular(dataset="digits201"), labels=60)
    predictor.start(NASBench201())
    predictor.prepare()
    assert set(predictor.labelled_scores) <= set(predictor._source.architectures)
    greedy = Predictor(Tabular(dataset="digits201"), labels=10_000)
    with pytest.raises(UsageError, match="architectures of NASBench201 only, got 10,000"):
        greedy.start(NASBench201())


def test_features_are_learned_from_and_billed():
    space = SeparableSpace()
    plain = Predictor(Additive(), labels=30, folds=0, model=models.RandomForest())
    helped = Predictor(Additive(), labels=30, folds=0, model=models.RandomForest(), features=[Additive()])
    taus = []
    for predictor in (plain, helped):
        predictor.start(space)
        cost = predictor.prepare()
        asked = queries(space, 100)
        found = predictor.evaluate_batch(asked)
        taus.append(kendall_tau([sum(q.architecture) for q in asked], [e.score for e in found]))
    assert taus[1] > taus[0] + 0.1  # the feature is the truth itself
    assert cost.updates == 2 * 30 * 3
    assert sum(evaluation.cost.updates for evaluation in found) == pytest.approx(100 * 3)


def test_refit_labels_the_best_and_bills_it():
    space = SeparableSpace()
    result = search(
        space,
        RegularizedEvolution(20, 5),
        predictor := Predictor(Additive(), labels=20, refit=25, relabels=4),
        trials=100,
        seed=0,
    )
    assert len(predictor.labelled_scores) in range(20 + 3 * 4 - 2, 20 + 4 * 4 + 1)
    extra = len(predictor.labelled_scores) - 20
    assert result.setup_cost.updates == 3 * (20 + extra)
    new = list(predictor.labelled_scores.values())[20:]
    assert np.mean(new) > np.mean(list(predictor.labelled_scores.values())[:20])


def test_advancing_again_with_the_same_sample_changes_and_costs_nothing(tmp_path):
    predictor, _ = prepared(refit=10)
    predictor.folder = tmp_path
    sample = [
        Trial(q.id, q.architecture, evaluation=e)
        for q, e in zip(
            queries(predictor.space, 10), predictor.evaluate_batch(queries(predictor.space, 10)), strict=True
        )
    ]
    cost = predictor.advance(sample)
    labels = predictor.labelled_scores
    again = Predictor(Additive(), labels=40, refit=10)
    again.start(predictor.space)
    again.folder = tmp_path
    again.prepare()
    assert again.advance(sample) == cost
    assert again.labelled_scores == labels


def test_resume_neither_labels_nor_fits_again(tmp_path, capsys):
    asked = tmp_path / "asked"
    settings = {"trials": 30, "seed": 0, "out": tmp_path / "run"}
    first = search(SeparableSpace(), RandomSearch(), Predictor(Additive(str(asked)), labels=25), **settings)
    assert asked.read_text() == "x" * 25
    status, out, _ = run_command(capsys, "report", str(tmp_path / "run"))
    assert status == 0
    assert first.note in out
    second = resume(tmp_path / "run", trials=60, trust=True)
    assert asked.read_text() == "x" * 25
    assert second.setup_cost.updates == first.setup_cost.updates == 75
    assert second.note == first.note
    straight = search(SeparableSpace(), RandomSearch(), Predictor(Additive(), labels=25), trials=60, seed=0)
    assert [t.score for t in second.history] == [t.score for t in straight.history]


def test_a_killed_preparation_goes_on_where_it_was(tmp_path):
    code = f"""
import sys, time
sys.path.insert(0, {str(os.path.dirname(__file__))!r})
from archsearch import search
from archsearch.controllers import RandomSearch
from archsearch.testing import SeparableSpace
from test_predictor import Slow
from archsearch.evaluators import Predictor
search(SeparableSpace(), RandomSearch(), Predictor(Slow({str(tmp_path / "asked")!r}), labels=20), trials=5, seed=0,
       out={str(tmp_path / "run")!r})
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    asked = tmp_path / "asked"
    while not asked.exists() or len(asked.read_text()) < 6:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = len(asked.read_text())
    result = resume(tmp_path / "run", evaluator=Predictor(Slow(str(asked)), labels=20))
    assert result.completed == 5
    assert len(asked.read_text()) <= 20 + 1  # at most the one that was being evaluated
    assert before < 20
    assert result.setup_cost.updates == 20 * 3


class Slow(Additive):
    """As ``Additive``, in its own time."""

    def evaluate(self, architecture, seed):
        time.sleep(0.1)
        return super().evaluate(architecture, seed)


def test_labels_are_evaluated_by_the_workers_of_the_search():
    seen = {}
    for name, executor in (("one", SimulatedExecutor(1)), ("five", SimulatedExecutor(5))):
        predictor = Predictor(Additive(), labels=25)
        result = search(SeparableSpace(), RandomSearch(), predictor, trials=10, seed=0, executor=executor)
        seen[name] = predictor.labelled_scores
        assert result.completed == 10
    assert seen["one"] == seen["five"]  # the labels do not depend on the number of workers


def test_workers_get_a_predictor_that_predicts():
    predictor, _ = prepared()
    other = pickle.loads(pickle.dumps(predictor))
    asked = queries(predictor.space, 3)
    assert [e.score for e in other.evaluate_batch(asked)] == [e.score for e in predictor.evaluate_batch(asked)]
    assert predictor.executor is None


def test_what_is_kept_is_read_without_pickle(tmp_path):
    search(SeparableSpace(), RandomSearch(), Predictor(Additive(), labels=20), trials=5, seed=0, out=tmp_path / "run")
    file = tmp_path / "run" / "evaluator" / "predictor.safetensors"
    model = load_model(file, SeparableSpace())
    assert len(model.scores) == 20
    assert math.isfinite(model.notes["tau"][0])
    header = file.read_bytes()
    length = int.from_bytes(header[:8], "little")
    assert json.loads(header[8 : 8 + length])  # safetensors
    file.write_bytes(b"nothing of the kind")
    with pytest.raises(UsageError, match="expected a model of SeparableSpace"):
        load_model(file, SeparableSpace())
    with pytest.warns(UserWarning, match=r"predictor\.safetensors is damaged .*; the model is fitted anew"):
        again = resume(tmp_path / "run", evaluator=Predictor(Additive(), labels=20), trials=10)
    assert again.completed == 10
    assert load_model(file, SeparableSpace()).scores.tolist() == model.scores.tolist()


def test_interrupted_labelling_ends_the_search(monkeypatch, tmp_path):
    class Interrupting(Additive):
        def evaluate(self, architecture, seed):
            signal.raise_signal(signal.SIGINT)
            return super().evaluate(architecture, seed)

    with pytest.raises(KeyboardInterrupt):
        search(SeparableSpace(), RandomSearch(), Predictor(Interrupting(), labels=20), trials=5, out=tmp_path / "run")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": 5}, "labels: expected a whole number >= 10, got 5"),
        ({"folds": 1}, "folds: expected 0, or 2 up to the 200 labels, got 1"),
        ({"folds": 201}, "folds: expected 0, or 2 up to the 200 labels"),
        ({"names": ["0", "1"]}, "names: expected 10 or more different ones, got 2"),
        ({"names": list("0123456789"), "labelled": "runs/x"}, "give one"),
        ({"relabels": 0}, "relabels: expected a whole number >= 1"),
        ({"features": [Additive()], "model": Shy()}, "Shy takes none"),
        ({"evaluator": Predictor(refit=5)}, "Predictor learns on during a search"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(UsageError, match=message):
        Predictor(**settings)


def test_a_space_that_the_labels_evaluator_cannot_score_is_refused():
    with pytest.raises(
        MissingAbility, match="Predictor: labels, Tabular, cannot score SeparableSpace: Tabular's table"
    ):
        Predictor().check(SeparableSpace())
    with pytest.raises(MissingAbility, match="Predictor: feature 2, Tabular, cannot score SeparableSpace"):
        Predictor(Additive(), features=[Additive(), Tabular()]).check(SeparableSpace())


def test_a_space_with_too_few_architectures_is_refused():
    predictor = Predictor(Additive(), labels=10)
    with pytest.raises(UsageError, match="scores 3 different architectures of Choices only, got 10"):
        predictor.start(Choices({"a": [1, 2, 3]}))


def test_evaluating_before_preparing_is_an_error():
    predictor = Predictor(Additive(), model=GaussianProcess())
    predictor.start(SeparableSpace())
    with pytest.raises(UsageError, match="call prepare first"):
        predictor.evaluate((0,) * 6, 0)


# -- what goes wrong, and what is done once ----------------------------------------------------------


class Prepared(Additive):
    """Must be prepared in every process, which is work once for a run; keeps how often that was done in its folder."""

    keeps_files = True
    ready = False

    def prepare(self):
        assert self.folder is not None
        done = self.folder / "done"
        done.write_text(done.read_text() if done.exists() else "once")
        self.ready = True
        return Cost(updates=1_000)

    def evaluate(self, architecture, seed):
        if not self.ready:
            raise UsageError("call prepare first")
        return super().evaluate(architecture, seed)


@pytest.mark.parametrize("labelled", [False, True])
def test_what_gives_labels_is_ready_for_a_refit_after_a_resume(tmp_path, labelled):
    if labelled:
        search(SeparableSpace(), RandomSearch(), Additive(), trials=20, seed=7, out=tmp_path / "labels")
    where = {"labelled": str(tmp_path / "labels")} if labelled else {"labels": 20}

    def predictor():
        return Predictor(Prepared(), refit=10, relabels=2, folds=0, **where)

    run = tmp_path / "run"
    first = search(SeparableSpace(), RandomSearch(), predictor(), trials=5, seed=0, out=run)
    assert first.setup_cost.updates == 20 * 3 + 1_000
    second = resume(run, evaluator=predictor(), trials=25)
    assert second.setup_cost.updates == 20 * 3 + 1_000 + 2 * 2 * 3  # prepared again, but billed once


def test_features_are_prepared_once_for_a_run(tmp_path):
    def predictor():
        return Predictor(Additive(), labels=20, features=[Prepared()], model=models.RandomForest(5), folds=0)

    first = search(SeparableSpace(), RandomSearch(), predictor(), trials=5, seed=0, out=tmp_path / "run")
    second = resume(tmp_path / "run", evaluator=predictor(), trials=10)
    assert first.setup_cost.updates == second.setup_cost.updates == 1_000 + 2 * 20 * 3
    assert (tmp_path / "run" / "evaluator" / "feature_1" / "done").read_text() == "once"


def test_a_refit_passes_over_what_cannot_be_labelled():
    predictor = Predictor(Tabular(dataset="digits201"), labels=20, refit=20, relabels=3, folds=0)
    result = search(NASBench201(), RandomSearch(), predictor, trials=60, seed=0)
    assert result.completed == 60
    failing = Predictor(Additive(fails=0.5), labels=20, refit=10, relabels=4, folds=0)
    search(SeparableSpace(), RandomSearch(), failing, trials=40, seed=0)
    assert 20 < len(failing.labelled_scores) < 20 + 4 * 4


def test_labels_without_their_features_are_left_out():
    features = [Tabular(zero_cost="naswot_paper")]  # 341 of 15,625 cells have none
    predictor = Predictor(labels=150, features=features, folds=0)
    predictor.start(NASBench201())
    predictor.prepare()
    assert 140 <= len(predictor.labelled_scores) < 150
    none = Predictor(Additive(), labels=20, features=[Additive(fails=2.0)], model=models.RandomForest(), folds=0)
    none.start(SeparableSpace())
    with pytest.raises(UsageError, match=r"could be computed for 0 of 20 labels.*bound to fail"):
        none.prepare()


def test_labels_of_a_run_with_budgets_are_those_trained_longest(tmp_path):
    halving = SuccessiveHalving(min_budget=1, max_budget=9)
    table = Tabular(dataset="digits201")
    table.start(NASBench201())
    search(NASBench201(), Listed(halving, table), table, trials=150, seed=0, out=tmp_path / "run")
    predictor = Predictor(labelled=str(tmp_path / "run"), folds=0)
    predictor.start(NASBench201())
    predictor.prepare()
    full = {trial.architecture: trial.score for trial in RunFolder(tmp_path / "run").trials(0) if trial.rank[0] == 9}
    assert predictor.labelled_scores == full


class Listed(SuccessiveHalving):
    """Successive halving over the cells of a table."""

    def __init__(self, controller, table):
        super().__init__(min_budget=controller.min_budget, max_budget=controller.max_budget)
        self.controller, self.table = None, None
        self._cells = table.architectures

    def start(self, space, seed):
        super().start(space, seed)
        self._inner._ask = lambda: self._cells[int(self._inner.rng.integers(len(self._cells)))]


def test_labels_of_another_space_or_of_no_run_are_refused(tmp_path):
    other = Choices({name: [1, 2, 3] for name in "abcdef"})
    search(other, RandomSearch(), Function(process_size), trials=20, seed=0, out=tmp_path / "run")
    with pytest.raises(UsageError, match=r"searched Choices.*expected NASBench201"):
        Predictor(labelled=str(tmp_path / "run")).start(NASBench201())
    predictor = Predictor(labelled=str(tmp_path / "run"), folds=0)
    predictor.check(other)  # nobody is needed to give labels
    predictor.start(other)
    predictor.prepare()
    assert len(predictor.labelled_scores) <= 20
    with pytest.raises(RunFolderError, match="nothing"):
        Predictor(labelled=str(tmp_path / "nothing")).start(other)


def test_labels_of_a_run_whose_scores_changed_on_the_way_are_refused(tmp_path):
    learning = Predictor(Additive(), labels=20, refit=10, folds=0)
    search(SeparableSpace(), RandomSearch(), learning, trials=30, seed=0, out=tmp_path / "run")
    with pytest.raises(UsageError, match=r"the scores of Predictor in .* changed as it learned on"):
        Predictor(labelled=str(tmp_path / "run")).start(SeparableSpace())


def process_size(values):
    return float(sum(values.values()))


def test_named_architectures_are_labelled_once_each_and_failures_are_named():
    space = SeparableSpace()
    names = [space.format(query.architecture) for query in queries(space, 15)]
    predictor = Predictor(Additive(), names=[*names, *names[:5]], folds=0)
    predictor.start(space)
    assert predictor.prepare().updates == 15 * 3
    failing = Predictor(Additive(fails=0.3), names=names, folds=0)
    failing.start(space)
    with pytest.raises(UsageError, match=r"of 15 architectures could not be labelled: .*\(exception\)"):
        failing.prepare()


def test_most_architectures_may_fail_and_the_labels_are_as_many_as_wanted():
    predictor = Predictor(Additive(fails=0.55), labels=30, folds=0)
    predictor.start(SeparableSpace())
    assert predictor.prepare().updates == 30 * 3
    assert len(predictor.labelled_scores) == 30


def test_the_timeout_of_a_search_holds_for_labels():
    with pytest.raises(TooManyFailures, match=r"no result within 0\.02 s"):
        search(SeparableSpace(), RandomSearch(), Predictor(Slow(), labels=20), trials=5, seed=0, timeout=0.02)


def test_the_note_says_which_labels_were_cross_validated():
    predictor = Predictor(Additive(), labels=20, refit=20, relabels=5, folds=3)
    result = search(SeparableSpace(), RandomSearch(), predictor, trials=30, seed=0)
    assert "of 25 labels" in result.note
    assert "(3 folds of the first 20)" in result.note
