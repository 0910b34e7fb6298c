"""Nothing that users' code returns can poison a run: it is judged and made plain once, at the gate."""

import decimal
import fractions
import itertools
import json
import math
import os
import pickle

import numpy as np
import pytest
import torch

from archsearch import Cost, Evaluation, Evaluator, Space, cli, resume, search
from archsearch.basics.texts import name_of, shortened, shown, well_formed
from archsearch.controllers import RandomSearch
from archsearch.errors import UsageError
from archsearch.evaluators import Function
from archsearch.executors.evaluating import evaluate_safely
from archsearch.executors.gate import MAX_CURVE, MAX_METRICS, MAX_NAME, Refused, admit, figures_of, note_of
from archsearch.executors.local import LocalExecutor
from archsearch.keeping.folder import RunFolder
from archsearch.spaces import Choices
from archsearch.trial import NO_METRICS, Query, Trial

pytestmark = pytest.mark.filterwarnings("ignore:Attempting to set identical")  # pictures of equal scores

SPACE = Space(arities=[4, 3, 5, 2])
NOT_UTF8 = os.fsdecode(b"caf\xe9.txt")


class Answers(Evaluator):
    """Answers with what a function makes of the trial's number."""

    def __init__(self, answer):
        self.answer = answer

    def evaluate_query(self, query):
        return self.answer(query.id)


def kept(answer, folder, trials=6, executor="local"):
    """What the folder of a search holds: read from the journal of an earlier session, and from Parquet."""
    search(SPACE, RandomSearch(), Answers(answer), trials=trials, seed=0, out=folder, executor=executor)
    resume(folder, evaluator=Answers(answer), trials=trials + 1)
    assert cli.main(["status", str(folder)]) == cli.main(["report", str(folder)]) == 0
    return sorted(RunFolder(folder).trials(0), key=lambda trial: trial.id)


# -- numbers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2**53 + 1, 2.0**53),
        (10**300, 1e300),
        (True, 1.0),
        (np.int64(3), 3.0),
        (np.float32(0.5), 0.5),
        (np.float64(0.1), 0.1),
        (np.array(2), 2.0),
        (torch.tensor(1.5), 1.5),
        (torch.tensor([2]), 2.0),
        (decimal.Decimal("0.25"), 0.25),
        (fractions.Fraction(1, 4), 0.25),
    ],
    ids=repr,
)
def test_numbers_of_any_kind_become_floats(value, expected):
    plain = admit(Evaluation(value, {"a": value}, Cost(flops=value), [value]))
    figures = [plain.score, plain.metrics["a"], plain.cost.flops, *plain.curve]
    assert figures == [expected] * 4
    assert {type(figure) for figure in figures} == {float}


class Stubborn:
    """Lets nobody have a number, nor a text."""

    def __float__(self):
        raise RuntimeError("two\nlines")

    def __repr__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("evaluation", "text"),
    [
        (None, "expected an Evaluation, got NoneType None"),
        (Evaluation(10**400), "expected a number as score, got 1000"),
        (Evaluation(10**5000), "expected a number as score, got <int> (OverflowError"),
        (Evaluation(Stubborn()), "expected a number as score, got <Stubborn> (RuntimeError: two lines)"),
        (Evaluation(1 + 2j), "expected a number as score, got (1+2j)"),
        (Evaluation(np.complex64(1)), "expected a number as score"),
        (Evaluation(np.str_("1.5")), "expected a number as score"),
        (Evaluation(np.zeros(2)), "expected a number as score, got array([0., 0.]) (TypeError"),
        (Evaluation(torch.zeros(2)), "expected a number as score, got tensor([0., 0.])"),
        (Evaluation(math.nan), "the score is nan, not finite"),
        (Evaluation(decimal.Decimal("1e400")), "the score is inf, not finite"),
        (Evaluation(0.5, {"a": 10**400}), "expected a number as metric 'a'"),
        (Evaluation(0.5, {1: 1.0}), "expected text as the name of a metric, got 1"),
        (Evaluation(0.5, {None: 1.0}), "expected text as the name of a metric, got None"),
        (Evaluation(0.5, {"": 1.0}), "expected text as the name of a metric, got ''"),
        (Evaluation(0.5, {"a" * (MAX_NAME + 1): 1.0}), "at most 200 characters in the name of a metric, got 201"),
        (Evaluation(0.5, {"a\x1b[2J": 1.0}), "no control characters in the name of a metric, got 'a\\x1b[2J'"),
        (Evaluation(0.5, {"score": 1.0}), "rename the metrics score, which are columns"),
        (Evaluation(0.5, {"\udce9": 1.0, "\\udce9": 2.0}), "expected a name of its own for each metric"),
        (Evaluation(0.5, {str(i): 1.0 for i in range(MAX_METRICS + 1)}), "expected at most 1,000 metrics, got more"),
        (Evaluation(0.5, [1.0]), "expected a mapping as metrics and a Cost, got list and Cost"),
        (Evaluation(0.5, {}, 3.0), "expected a mapping as metrics and a Cost, got dict and float"),
        (Evaluation(0.5, {}, Cost(flops=-1.0)), "expected finite amounts >= 0 as cost"),
        (Evaluation(0.5, {}, Cost(flops=math.nan)), "expected finite amounts >= 0 as cost"),
        (Evaluation(0.5, {}, Cost(flops=10**400)), "expected a number as flops of the cost"),
        (Evaluation(0.5, {}, Cost(device_seconds=None)), "expected a number as device_seconds of the cost, got None"),
        (Evaluation(0.5, curve=None), "expected a sequence of numbers as curve, got None"),
        (Evaluation(0.5, curve="0.5"), "expected a sequence of numbers as curve, got '0.5'"),
        (Evaluation(0.5, curve=(0.5, None)), "expected a number as entry of the curve, got None"),
        (Evaluation(0.5, curve=itertools.repeat(0.5)), f"expected at most {MAX_CURVE:,} entries in the curve"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_converted_is_a_failed_trial_with_one_line(evaluation, text):
    with pytest.raises(Refused) as caught:
        admit(evaluation)
    assert text in str(caught.value)
    outcome = evaluate_safely(Answers(lambda _: evaluation), Query(0, (0, 0, 0, 0), 0))
    assert outcome.evaluation is None
    assert outcome.failure == ("invalid_score" if "finite" in text and "score" in text else "exception")
    assert outcome.error.startswith("Answers.evaluate: ")
    assert "\n" not in outcome.error
    assert len(outcome.error) < 1_000


def test_metrics_and_curves_may_have_what_is_not_known(tmp_path):
    trials = kept(lambda _: Evaluation(0.5, {"a": math.nan, "b": math.inf}, curve=[math.nan, 0.5]), tmp_path / "r")
    for trial in trials:
        assert math.isnan(trial.metrics["a"])
        assert trial.metrics["b"] == math.inf
        assert math.isnan(trial.evaluation.curve[0])
        assert trial.evaluation.curve[1] == 0.5


def test_integers_beyond_floats_are_kept_in_every_place(tmp_path):
    big = 2**53 + 1
    trials = kept(lambda _: Evaluation(big, {"operations": big}, Cost(flops=big), (big, big)), tmp_path / "r")
    assert len(trials) == 7
    assert {(t.score, t.metrics["operations"], t.cost.flops, t.evaluation.curve[0]) for t in trials} == {(2.0**53,) * 4}


def test_a_score_too_large_for_a_float_fails_its_trial_alone(tmp_path):
    trials = kept(lambda id_: Evaluation(10**400 if id_ == 2 else id_), tmp_path / "r")
    assert [trial.id for trial in trials if trial.failure] == [2]
    assert [trial.score for trial in trials if not trial.failure] == [0, 1, 3, 4, 5, 6, 7]


# -- what is reused ----------------------------------------------------------------------------------


@pytest.mark.parametrize("executor", ["local", "simulated"])
def test_what_an_evaluator_reuses_is_copied(executor, tmp_path):
    metrics, curve = {}, []

    def answer(id_):
        metrics["number"] = id_
        curve[:] = [id_, id_]
        return Evaluation(1.0, metrics, Cost(recorded_seconds=1.0), curve)

    trials = kept(answer, tmp_path / "r", trials=19, executor=executor)
    assert [trial.metrics["number"] for trial in trials] == [trial.id for trial in trials]
    assert [trial.evaluation.curve for trial in trials] == [(trial.id, trial.id) for trial in trials]
    table = RunFolder(tmp_path / "r").table(SPACE).sort_by("id")
    assert table["number"].to_pylist() == table["id"].to_pylist() == list(range(20))


def test_the_metrics_of_evaluations_that_have_none_cannot_be_written_to():
    for write in (lambda: NO_METRICS.update(a=1.0), lambda: NO_METRICS.__setitem__("a", 1.0)):
        with pytest.raises(TypeError, match="make a dict of your own"):
            write()
    assert pickle.loads(pickle.dumps(Evaluation(1.0))).metrics is NO_METRICS == {}


# -- texts -------------------------------------------------------------------------------------------


def test_an_error_that_names_a_file_which_is_not_utf8_is_kept(tmp_path, capsys):
    def answer(id_):
        return Evaluation(open(NOT_UTF8)) if id_ == 1 else Evaluation(0.5, {NOT_UTF8: 1.0})

    trials = kept(answer, tmp_path / "r")
    assert "caf\\udce9.txt" in trials[1].error
    assert dict(trials[0].metrics) == {"caf\\udce9.txt": 1.0}
    (fault,) = map(json.loads, (tmp_path / "r" / "faults.jsonl").read_text().splitlines())
    assert "caf\\udce9.txt" in fault["error"]


def test_an_error_of_10_mb_is_kept_with_its_begin_and_its_end(tmp_path):
    def answer(id_):
        if id_ % 2:
            raise ValueError("begin" + "x" * 10_000_000 + "end")
        return Evaluation(0.5)

    errors = [trial.error for trial in kept(answer, tmp_path / "r") if trial.failure]
    assert len(errors) >= 3
    for error in errors:
        assert error.startswith("Traceback")
        assert error.rstrip().endswith("xend")
        assert "characters left out] ..." in error
        assert "ValueError: begin" in error
        assert len(error) < 9_000


def test_long_texts_say_how_much_was_left_out():
    assert shortened("abc", 2, 2) == "abc"
    assert shortened("a" * 5 + "b" * 1_000 + "c" * 5, 5, 5) == "aaaaa\n... [1,000 characters left out] ...\nccccc"
    assert well_formed("a\udce9") == "a\\udce9"
    long = shortened("x" * 100_000)
    assert shortened(long) == long, "what was left out before counts"
    assert "[92,000 characters" in long
    assert "[92,004 characters" in shortened("pre\n" + long)
    assert type(well_formed(np.str_("a"))) is str
    assert shown("a\n  b") == "'a\\n b'"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(lambda _: "a\udce9", "a\\udce9"), (lambda _: 7, "1-0-2"), (lambda _: 1 / 0, "1-0-2"), (lambda _: None, "1-0-2")],
)
def test_names_that_a_space_cannot_give_do_not_end_a_run(answer, expected, tmp_path):
    class Odd(Space):
        def __init__(self):
            super().__init__(arities=[2, 2, 3])

        def format(self, architecture):
            return answer(architecture)

    assert name_of(Odd(), (1, 0, 2)) == expected
    result = search(Odd(), RandomSearch(), Answers(Evaluation), trials=4, seed=0, out=tmp_path / "r")
    assert result.best_name
    assert str(result)
    assert RunFolder(tmp_path / "r").table(Odd()).num_rows == 4


def test_labels_of_choices_that_are_not_utf8_are_replaced_in_memory_and_refused_in_a_folder(tmp_path):
    space = Choices({"file": [NOT_UTF8, "b.txt"]})
    result = search(space, RandomSearch(), Function(len), trials=9, seed=0)
    assert set(result.history.table()["name"].to_pylist()) == {"file=caf\\udce9.txt", "file=b.txt"}
    with pytest.raises(UsageError, match="expected texts that UTF-8 can hold"):
        search(space, RandomSearch(), Function(len), trials=9, seed=0, out=tmp_path / "r")
    assert not (tmp_path / "r").exists()


# -- everything else that comes from an evaluator ------------------------------------------------------


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        (None, "expected a Cost, got None"),
        (Cost(flops=10**400), "expected a number as flops of the cost"),
        (Cost(flops="many"), "expected a number as flops of the cost, got 'many'"),
        (Cost(flops=math.nan), "expected finite amounts >= 0 as cost"),
    ],
)
def test_the_cost_of_one_off_work_is_judged(cost, text):
    class Prepares(Answers):
        def prepare(self):
            return cost

    class Advances(Answers):
        interval = 2

        def advance(self, sample):
            return cost

    for kind in (Prepares, Advances):
        with pytest.raises(UsageError) as caught:
            search(SPACE, RandomSearch(), kind(lambda _: Evaluation(1.0)), trials=5, seed=0)
        assert text in str(caught.value)
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(("Prepares.prepare: ", "Advances.advance: "))


def test_integers_in_the_cost_of_one_off_work_become_floats(tmp_path):
    class Prepares(Answers):
        def prepare(self):
            return Cost(flops=2**60, updates=np.int64(3))

    result = search(SPACE, RandomSearch(), Prepares(lambda _: Evaluation(1.0)), trials=2, seed=0, out=tmp_path / "r")
    assert (result.setup_cost.flops, result.setup_cost.updates) == (2.0**60, 3.0)
    assert type(result.setup_cost.flops) is float
    assert RunFolder(tmp_path / "r").setup_cost().flops == 2.0**60


@pytest.mark.parametrize("figures", [[1.0], {"params": "many"}, {"params": 10**400}, {7: 1.0}], ids=repr)
def test_figures_that_are_no_numbers_are_a_usage_error(figures):
    class Measures(Answers):
        def measure(self, architecture):
            return figures

    evaluator = Measures(lambda _: Evaluation(1.0))
    with pytest.raises(UsageError, match=r"^Measures\.measure: expected"):
        search(SPACE, RandomSearch(), evaluator, trials=2, seed=0, limits={"params": 5})


def test_figures_become_floats():
    class Measures(Answers):
        def measure(self, architecture):
            return {"params": np.int64(3), "flops": 2**60}

    assert figures_of(Measures(None), (0, 0, 0, 0)) == {"params": 3.0, "flops": 2.0**60}


def test_a_note_is_a_text_whatever_the_evaluator_says(tmp_path):
    class Notes(Answers):
        keeps_files = True
        said = NOT_UTF8 + "x" * 10_000

        @property
        def note(self):
            return self.said if self.said else 1 / 0

    evaluator = Notes(lambda _: Evaluation(1.0))
    result = search(SPACE, RandomSearch(), evaluator, trials=2, seed=0, out=tmp_path / "r")
    assert result.note.startswith("caf\\udce9.txt")
    assert len(result.note) < 2_100
    assert (tmp_path / "r" / "evaluator" / "note.txt").read_text(encoding="utf-8") == result.note
    evaluator.said = 7
    assert note_of(evaluator) == "7"
    evaluator.said = None
    assert "ZeroDivisionError" in note_of(evaluator)


def test_trials_of_an_executor_of_ones_own_are_judged(tmp_path):
    class Own(LocalExecutor):
        judges = False

        def wait(self, until):
            job = self._jobs.popleft()
            evaluation = Evaluation(2**60, {"a": 10**400 if job.id == 1 else np.float32(1)})
            if job.id == 3:
                return [Trial(job.id, job.architecture, failure="exception", error=NOT_UTF8 + "x" * 100_000)]
            return [Trial(job.id, job.architecture, evaluation=evaluation)]

    evaluator = Answers(None)
    search(SPACE, RandomSearch(), evaluator, trials=4, seed=0, executor=Own(), out=tmp_path / "r")
    trials = sorted(RunFolder(tmp_path / "r").trials(0))
    assert [trial.failure for trial in trials] == ["", "exception", "", "exception", "", ""]
    assert "expected a number as metric 'a'" in trials[1].error
    assert trials[3].error.startswith("caf\\udce9.txt")
    assert len(trials[3].error) < 9_000
    assert trials[0].score == 2.0**60
    assert json.dumps(trials[0].metrics["a"]) == "1.0"


# -- what comes from a controller or a space -----------------------------------------------------------


def test_parents_and_budgets_become_integers_or_a_usage_error(tmp_path):
    class Descends(RandomSearch):
        ancestor = np.int64(0)

        def _ask(self):
            return super()._ask(), None if self._next_id == 0 else self.ancestor

    run = {"trials": 3, "seed": 0}
    search(SPACE, Descends(), Answers(Evaluation), out=tmp_path / "r", **run)
    assert [type(trial.parent) for trial in RunFolder(tmp_path / "r").trials(0)] == [type(None), int, int]
    Descends.ancestor = "first"
    with pytest.raises(UsageError, match=r"Descends: its _ask gave .* the id of an earlier proposal as its parent"):
        search(SPACE, Descends(), Answers(Evaluation), **run)


def test_decisions_with_more_options_than_a_history_holds_are_refused():
    with pytest.raises(UsageError, match="expected at most 2,147,483,647 options of a decision"):
        Space(arities=[2, 2**31])
