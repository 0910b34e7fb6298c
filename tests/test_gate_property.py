"""Whatever an evaluator returns: the search ends in order, and its folder can be read, reported and gone on with."""

import decimal
import fractions
import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archsearch import Cost, Evaluation, Evaluator, Space, cli, resume, search
from archsearch.controllers import RandomSearch
from archsearch.keeping import history
from archsearch.keeping.folder import RunFolder
from archsearch.trial import COST_FIELDS

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")  # pictures of odd scores

SPACE = Space(arities=[4, 3, 5, 2])


class Rude:
    """Raises whatever one does with it."""

    def __float__(self):
        raise RuntimeError("no\udce9")

    def __iter__(self):
        raise RuntimeError("no")

    def __repr__(self):
        raise RuntimeError("no")


texts = st.text(st.characters(exclude_categories=()), max_size=8) | st.sampled_from(["score", "\udce9", "a" * 300, ""])
numbers = (
    st.integers()
    | st.floats()
    | st.sampled_from([2**53 + 1, -(2**63), 2**64, 10**400, -(10**400), 5e-324, 1.7e308])
    | st.booleans()
    | st.just(5_000).map(lambda digits: 10**digits)  # of which there is no repr
    | st.decimals()
    | st.fractions()
)
objects = st.one_of(
    numbers,
    numbers.filter(lambda n: not isinstance(n, (decimal.Decimal, fractions.Fraction)) and abs(n) < 2**62).map(
        np.asarray
    ),
    st.floats(width=32).map(np.float32),
    st.floats(width=32).map(torch.tensor),
    st.integers(-5, 5).map(np.int8),
    st.none(),
    texts,
    st.binary(max_size=4),
    st.complex_numbers(),
    st.builds(Rude),
    st.lists(st.floats(), max_size=3),
    st.just(Evaluation(1.0)),
)
costs = st.builds(Cost, **{field: st.just(0.0) | objects for field in COST_FIELDS}) | objects
metrics = st.dictionaries(texts | st.integers() | st.none(), numbers | objects, max_size=4) | objects
curves = st.lists(numbers | objects, max_size=4) | objects
sound = st.builds(Evaluation, st.floats(-1e9, 1e9))
evaluations = st.one_of(
    sound, objects, st.builds(Evaluation, numbers | objects, st.just({}) | metrics, st.just(Cost()) | costs, curves)
)
errors = texts.map(ValueError) | st.just(OSError(2, "no such file", "caf\udce9")) | st.just(MemoryError("\udce9"))


class Nasty(Evaluator):
    """Answers with, or raises, what it is given, in turn."""

    def __init__(self, answers):
        self._answers = answers
        self.answers = 0  # what a run folder is to store of them

    def evaluate_query(self, query):
        answer = self._answers[query.id % len(self._answers)]
        if isinstance(answer, Exception):
            raise answer
        return answer


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(evaluations | errors, min_size=1, max_size=6), st.sampled_from([3, 20_000]), st.booleans())
def test_no_evaluation_can_poison_a_run(tmp_path_factory, monkeypatch, answers, rows, is_reported):
    monkeypatch.setattr(history, "PART_ROWS", rows)
    evaluator = Nasty([*answers, Evaluation(0.0)])  # one in seven or more completes, so that the search ends
    folder = tmp_path_factory.mktemp("run") / "r"
    options = {"seed": 0, "max_failures": 100, "out": folder}
    first = search(SPACE, RandomSearch(), evaluator, trials=2, **options)
    second = resume(folder, evaluator=evaluator, trials=4)
    assert (first.completed, second.completed) == (2, 4)
    table = RunFolder(folder).table(SPACE)
    trials = sorted(RunFolder(folder).trials(0))
    assert table.num_rows == len(trials) == second.completed + second.failed
    assert [trial.id for trial in trials] == list(range(len(trials)))
    for trial in trials:
        if trial.evaluation is None:
            assert trial.failure in ("exception", "invalid_score", "out_of_memory")
            assert len(trial.error) < 9_000
        else:
            assert type(trial.score) is float
            assert math.isfinite(trial.score)
    assert cli.main(["status", str(folder)]) == 0
    if is_reported and rows == 3:
        assert cli.main(["report", str(folder)]) == 0
