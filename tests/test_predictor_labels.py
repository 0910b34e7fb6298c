"""The predictor: which labels it has, who evaluates them, what they cost."""

from __future__ import annotations

import signal

import pytest
from predictor_lab import Additive, Slow, prepared, queries

from archsearch import SimulatedExecutor, models, search
from archsearch.controllers import RandomSearch, SuccessiveHalving
from archsearch.errors import RunFolderError, TooManyFailures, UsageError
from archsearch.evaluators import Function, Predictor, Tabular
from archsearch.keeping.folder import RunFolder
from archsearch.spaces import Choices, NASBench201
from archsearch.testing import SeparableSpace


def test_labels_are_billed_as_set_up_and_predictions_are_nearly_free():
    predictor, cost = prepared()
    assert cost.updates == 40 * 3
    assert 40 * 7 < cost.device_seconds < 40 * 7 + 30  # the rest is fitting
    found = predictor.evaluate_batch(queries(predictor.space, 100))
    assert all(evaluation.cost.updates == 0 for evaluation in found)
    assert 0 < sum(evaluation.cost.device_seconds for evaluation in found) < 5


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


def test_labels_are_evaluated_by_the_workers_of_the_search():
    seen = {}
    for name, executor in (("one", SimulatedExecutor(1)), ("five", SimulatedExecutor(5))):
        predictor = Predictor(Additive(), labels=25)
        result = search(SeparableSpace(), RandomSearch(), predictor, trials=10, seed=0, executor=executor)
        seen[name] = predictor.labelled_scores
        assert result.completed == 10
    assert seen["one"] == seen["five"]  # the labels do not depend on the number of workers


def test_interrupted_labelling_ends_the_search(monkeypatch, tmp_path):
    class Interrupting(Additive):
        def evaluate(self, architecture, seed):
            signal.raise_signal(signal.SIGINT)
            return super().evaluate(architecture, seed)

    with pytest.raises(KeyboardInterrupt):
        search(SeparableSpace(), RandomSearch(), Predictor(Interrupting(), labels=20), trials=5, out=tmp_path / "run")


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
        search(
            SeparableSpace(),
            RandomSearch(),
            Predictor(Slow(), labels=20),
            trials=5,
            seed=0,
            timeout=0.02,
            max_failures=2,
        )
