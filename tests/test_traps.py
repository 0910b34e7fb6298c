"""Traps of controllers, evaluators and spaces: what looks harmless is refused, told or right."""

import contextlib
import json
import math

import numpy as np
import pytest

from archsearch import Evaluation, Evaluator, search
from archsearch.controllers import NSGA2, RandomSearch
from archsearch.errors import ConstraintError, TableError, UsageError
from archsearch.evaluators import Cascade, Function, Predictor, Tabular
from archsearch.judging.comparison import compare
from archsearch.spaces import Choices, NASBench101
from archsearch.trial import Budget

SPACE = Choices({"a": [1, 2, 3], "b": [1, 2, 3]})
SUM = Function(lambda values: values["a"] + values["b"])


class Sums(Evaluator):
    def evaluate(self, architecture, seed):
        return Evaluation(float(sum(architecture)))


# -- proposals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        None,
        5,
        "ab",
        [0, 1.5],
        ((9, 9), None, None, None),
        ((0, 1), "x"),
        ((0, 1), 99),
        ((0, 1), True),
        ((0, 1), None, 5),
    ],
)
def test_what_is_no_proposal_is_named_with_its_controller(answer):
    class Wrong(RandomSearch):
        def _ask_many(self, n):
            return [answer] * n

        def _ask(self):
            return answer

    for batch in (1, 2):
        with pytest.raises(UsageError, match=r"Wrong: its _ask gave .* expected an architecture") as caught:
            search(SPACE, Wrong(), SUM, trials=2, seed=0, batch=batch)
        assert "\n" not in str(caught.value)


def test_parents_and_budgets_are_taken():
    class Derived(RandomSearch):
        def _ask(self):
            return (0, 1), (self._next_id - 1 if self._next_id else None)

    result = search(SPACE, Derived(), SUM, trials=3, seed=0)
    assert [trial.parent for trial in result.history] == [None, 0, 1]
    controller = Derived()
    controller.start(SPACE, 0)
    assert controller._proposal(((0, 1), None, Budget(3))).budget == Budget(3)


# -- limits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("figure", [math.nan, -math.inf, math.inf, "many", None])
def test_a_figure_that_is_no_number_exceeds_its_limit(figure):
    class Measured(Sums):
        def measure(self, architecture):
            return {"params": figure if architecture[0] == 0 else 5.0}

    no_number = pytest.warns(UserWarning, match="Measured.measure failed.* expected a number as figure 'params'")
    with contextlib.nullcontext() if isinstance(figure, float) else no_number:
        result = search(SPACE, RandomSearch(), Measured(), trials=20, seed=0, limits={"params": 6})
    assert result.rejected
    assert all(trial.architecture[0] for trial in result.history)


def test_a_measure_that_fails_is_told(recwarn):
    class Failing(Sums):
        def measure(self, architecture):
            if architecture[0] == 0:
                raise ValueError("no such figure")
            return {"params": 5.0}

    space = Choices({"a": [1, 2], "b": [1, 2, 3]})
    first = space.sample(np.random.default_rng(0))
    assert first[0], "the first that is measured"
    result = search(space, RandomSearch(), Failing(), trials=20, seed=0, limits={"params": 6})
    assert result.rejected
    assert any("Failing.measure failed" in str(each.message) for each in recwarn)

    class Always(Sums):
        def measure(self, architecture):
            raise ValueError("no such figure")

    with pytest.raises(UsageError, match=r"limits: Always\.measure failed.*ValueError: no such figure"):
        search(SPACE, RandomSearch(), Always(), trials=1, limits={"params": 6})


def test_limits_that_nothing_is_known_to_keep_end_the_search():
    class Unknown(Sums):
        def measure(self, architecture):
            return {"params": math.nan}

    with pytest.raises(ConstraintError, match="the first of them: params not known"):
        search(SPACE, RandomSearch(), Unknown(), trials=1, seed=0, limits={"params": 6})


# -- spaces and tables -----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [[1, "1"], [1, 1.0], [math.nan, math.nan], [True, "True"], ["a", "a"]])
def test_options_that_read_alike_are_refused(options):
    with pytest.raises(UsageError, match="options must be distinct, also as text"):
        Choices({"a": options})


def test_rows_of_one_architecture_are_refused_in_whatever_notation(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text('arch,acc\n"a=1,b=2",1\n"b=2,a=1",2\n')
    with pytest.raises(TableError, match="more than one row, the first is a=1,b=2"):
        search(SPACE, RandomSearch(), Tabular(table=str(path), architecture="arch", score="acc"), trials=1)


def test_rows_that_compute_the_same_network_keep_their_own_scores(tmp_path):
    """Tables of all encodings are common, and the scores are of trainings of their own: each is looked up as it is."""
    space = NASBench101(max_vertices=4)
    forms = {}
    for architecture in space.enumerate():
        forms.setdefault(space.canonical(architecture), []).append(architecture)
    first, second = next(each for each in forms.values() if len(each) > 1)[:2]
    path = tmp_path / "own.csv"
    path.write_text(f'arch,acc\n"{space.format(first)}",1\n"{space.format(second)}",2\n')
    evaluator = Tabular(table=str(path), architecture="arch", score="acc")
    evaluator.start(space)
    assert [evaluator.evaluate(each, 0).score for each in (first, second)] == [1, 2]


# -- evaluators that ask others --------------------------------------------------------------------------


def test_labels_that_a_space_cannot_give_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UsageError, match="scores 9 different architectures of Choices only, got 10"):
        search(SPACE, RandomSearch(), Predictor(SUM, labels=10), trials=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("keep", "count"), [(1e-9, 2), (0.009, 2), ([0.5, 0.01], 3), ([0.01, 0.5], 3)])
def test_shares_that_leave_nothing_are_refused(keep, count):
    with pytest.raises(UsageError, match=r"keep: .* references is less than one"):
        Cascade([Function(len)] * count, keep=keep, reference=50)


def test_several_equal_shares_are_all_counted():
    with pytest.raises(UsageError, match=r"keep: 0\.1 of 5 references is less than one"):
        Cascade([Function(len)] * 4, keep=0.1, reference=500)


def test_repeats_answered_from_memory_have_the_first_score():
    """Also where the evaluator would give another one each time."""

    class Drawn(Evaluator):
        def evaluate(self, architecture, seed):
            return Evaluation(float(np.random.default_rng(seed).random()))

    told = {}

    class Listening(RandomSearch):
        def _tell(self, trial):
            told.setdefault(trial.architecture, set()).add(trial.score)

    result = search(SPACE, Listening(), Drawn(), trials=50, seed=0, duplicates="reuse")
    assert result.reused
    assert all(len(scores) == 1 for scores in told.values())


@pytest.mark.parametrize("settings", [{"timeout": math.inf}, {"timeout": 0}, {"best": math.nan}, {"best": True}])
def test_comparisons_take_finite_numbers(settings):
    with pytest.raises(UsageError, match=r"compare: (timeout|best): expected a finite number"):
        compare(SPACE, [SUM], SUM, samples=10, **settings)


# -- several objectives ----------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [{}, {"m": math.nan}, {"m": math.inf}])
def test_results_without_an_objective_are_not_on_the_front(missing):
    class Some(Evaluator):
        def evaluate(self, architecture, seed):
            return Evaluation(float(sum(architecture)), missing if architecture[0] == 0 else {"m": 1.0})

    controller = NSGA2(objectives={"score": "max", "m": "min"}, population_size=4)
    said = "results whose m is no finite number count as failed" if missing else "results without m count as failed"
    with pytest.warns(UserWarning, match=said):
        search(SPACE, controller, Some(), trials=30, seed=0)
    assert controller.pareto_front
    assert all(each.architecture[0] for each in controller.pareto_front)
    json.dumps(controller.state_dict(), allow_nan=False)
