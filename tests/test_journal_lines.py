"""The journal line of a trial, put together by hand, says what a JSON encoder makes of the same trial."""

import json
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsearch.evaluators import Tabular
from archsearch.executors.gate import Refused, admit, judged
from archsearch.files.checksums import open_line, seal_line
from archsearch.keeping.events import event_to_trial, trial_line, trial_to_event
from archsearch.spaces import NASBench201
from archsearch.trial import NO_COST, Budget, Cost, Evaluation, JudgedMetrics, Query, Trial

FLOATS = st.floats(allow_nan=True, allow_infinity=True)
AMOUNTS = st.floats(min_value=0.0, allow_infinity=False)
TIMES = st.floats(min_value=0.0, max_value=1e12)
METRICS = st.dictionaries(st.text(min_size=1, max_size=5).filter(lambda text: text.isprintable()), FLOATS, max_size=4)
COSTS = st.just(NO_COST) | st.builds(lambda *amounts: Cost(0.0, *amounts), AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS)
EVALUATIONS = st.builds(
    Evaluation, st.floats(allow_nan=False, allow_infinity=False), METRICS, COSTS, st.just(()) | st.just((0.5, 1.0))
)
TRIALS = st.builds(
    Trial,
    id=st.integers(0, 10**9),
    architecture=st.lists(st.integers(0, 300), max_size=9).map(tuple),
    parent=st.none() | st.integers(0, 10**6),
    evaluation=st.none() | EVALUATIONS,
    started=TIMES,
    seconds=TIMES,
    worker=st.integers(0, 99),
    attempts=st.integers(1, 5),
    failure=st.sampled_from(["", "timeout"]),
    error=st.text(max_size=9),
    budget=st.none() | st.just(Budget(3, 1, 0)),
    lost_seconds=st.just(0.0) | TIMES,
    repeat_of=st.none() | st.integers(0, 9),
)


@settings(max_examples=300, deadline=None)
@given(TRIALS)
def test_a_line_holds_what_the_encoder_writes(trial):
    expected = json.dumps(json.loads(json.dumps(trial_to_event(trial))))  # equal texts: NaN equals NaN
    assert json.dumps(json.loads(trial_line(trial))) == expected
    event, place = open_line(seal_line(trial_line(trial), 7))
    assert (json.dumps(event), place) == (expected, 7)


@pytest.mark.parametrize("score", [1.0, -0.0, 1e-300, 12345678901234567.0])
def test_a_line_keeps_every_bit(score):
    metrics = {"third": 1 / 3, "nan": math.nan, "inf": -math.inf, "np": np.float64(0.1)}
    trial = Trial(3, (1, 2), 1, Evaluation(score, metrics), started=1 / 3, seconds=2 / 3)
    found = event_to_trial(json.loads(trial_line(trial)), 0)
    assert math.copysign(1.0, found.score) == math.copysign(1.0, score)
    assert found.score == score
    assert found.metrics["third"] == 1 / 3
    assert math.isnan(found.metrics["nan"])
    assert found.metrics["inf"] == -math.inf
    assert found.metrics["np"] == 0.1
    assert (found.started, found.seconds) == (round(1 / 3, 6), round(2 / 3, 7))


def test_what_was_judged_is_not_judged_again_and_cannot_change():
    once = judged(Evaluation(1, {"a": 2, "b": np.float32(0.5)}, Cost(recorded_seconds=3)))
    assert admit(once) is once
    assert once == Evaluation(1.0, {"a": 2.0, "b": 0.5}, Cost(recorded_seconds=3.0))
    for change in (lambda m: m.update(a=1.0), lambda m: m.pop("a"), lambda m: m.__setitem__("a", 1.0)):
        with pytest.raises(TypeError, match="make a dict of your own"):
            change(once.metrics)
    again = pickle.loads(pickle.dumps(once))
    assert again == once
    assert type(again.metrics) is dict
    # Another score or cost with its metrics is judged, and written, as its own.
    with pytest.raises(Refused):
        admit(once._replace(score=math.nan))
    first = Trial(0, (1,), None, once)
    assert json.loads(trial_line(first))[8] == 1.0 == json.loads(trial_line(first))[8]
    assert json.loads(trial_line(first._replace(evaluation=once._replace(score=2.0))))[8] == 2.0
    dearer = once._replace(cost=Cost(recorded_seconds=4.0))
    assert json.loads(trial_line(first._replace(evaluation=dearer)))[-1][-1] == 4.0
    assert judged(Evaluation(math.inf)).score == math.inf  # refused: as it was


def test_a_table_gives_judged_results_where_the_seed_makes_no_difference():
    table = Tabular()
    table.start(NASBench201())
    cell = (1, 2, 3, 4, 0, 1)
    found = table.evaluate_query(Query(0, cell, 5))
    assert type(found.metrics) is JudgedMetrics
    assert table.evaluate_query(Query(1, cell, 6)) is found
    assert found == admit(table.evaluate(cell, 0))
    assert type(table.evaluate(cell, 0).metrics) is dict

    class Own(Tabular):
        def evaluate(self, architecture, seed):
            return Evaluation(float(seed))

    own = Own()
    own.start(NASBench201())
    assert [own.evaluate_query(Query(i, cell, i)).score for i in (1, 2)] == [1.0, 2.0]
