"""``Tabular`` on tables of the user's own."""

from __future__ import annotations

import math
import pickle

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from tabular_lab import SPACE, Numbers, started

from archsearch.errors import InvalidArchitecture, TableError
from archsearch.trial import Cost, Evaluation

TABLE = {
    "cell": ["kernel=3,width=16", "kernel=5,width=16", "kernel=5,width=32"],
    "loss": [0.5, 0.25, None],
    "accuracy": [90, 91, 92],
    "params": [1000, None, 3000],
    "note": ["a", "b", "c"],
    "hours": [1.5, None, 3.0],
}


@pytest.fixture(params=["csv", "parquet"])
def write(request, tmp_path):
    """Writes columns to a file of either kind; returns its path."""

    def write(columns, **other):
        path = tmp_path / f"table.{request.param}"
        table = pa.table({**columns, **other})
        pyarrow.csv.write_csv(table, path) if request.param == "csv" else pq.write_table(table, path)
        return str(path)

    return write


def test_own_table(write):
    evaluator = started(SPACE, table=write(TABLE), architecture="cell", score="accuracy", cost="hours")
    assert evaluator.evaluate((0, 0), 0) == Evaluation(
        90.0, {"loss": 0.5, "params": 1000.0}, Cost(recorded_seconds=1.5)
    )
    assert evaluator.evaluate((1, 0), 0) == Evaluation(91.0, {"loss": 0.25})
    assert evaluator.evaluate((1, 1), 0) == Evaluation(92.0, {"params": 3000.0}, Cost(recorded_seconds=3.0))
    with pytest.raises(InvalidArchitecture, match=r"has no architecture kernel=3,width=32; it has 3 others"):
        evaluator.evaluate((0, 1), 0)


def test_a_score_that_should_be_low_is_negated(write):
    settings = {"table": write(TABLE), "architecture": "cell", "score": "loss", "metrics": ["params"]}
    evaluator = started(SPACE, **settings, maximize=False)
    assert evaluator.evaluate((0, 0), 0) == Evaluation(-0.5, {"params": 1000.0})
    assert started(SPACE, **settings).evaluate((0, 0), 0).score == 0.5
    with pytest.raises(
        InvalidArchitecture, match=r"has no score for kernel=5,width=32 \(loss is empty or not finite\)"
    ):
        evaluator.evaluate((1, 1), 0)


def test_lists_of_options_identify_architectures(tmp_path):
    path = tmp_path / "lists.parquet"
    pq.write_table(pa.table({"options": [[0, 0], [1, 1]], "score": [1.0, 2.0]}), path)
    evaluator = started(SPACE, table=str(path), architecture="options", score="score", metrics=[])
    assert evaluator.evaluate((1, 1), 0) == Evaluation(2.0, {})
    pq.write_table(pa.table({"options": [[0, 0], [1, None]], "score": [1.0, 2.0]}), path)
    with pytest.raises(
        TableError, match=r"lists\.parquet, row 1, column 'options': architecture \(1, None\) is not in Choices"
    ):
        started(SPACE, table=str(path), architecture="options", score="score")


def test_indices_identify_cells(write):
    table = write({"index": [6111, 9930], "speed": [2.0, 1.0]})
    evaluator = started(table=table, architecture="index", score="speed")
    assert evaluator.evaluate((3, 3, 3, 1, 3, 3), 0) == Evaluation(1.0, {})


def test_own_tables_survive_pickling(write):
    evaluator = started(SPACE, table=write(TABLE), architecture="cell", score="accuracy")
    pickled = pickle.dumps(evaluator)
    assert len(pickled) < 5_000
    assert pickle.loads(pickled).evaluate((1, 0), 0) == evaluator.evaluate((1, 0), 0)


def test_columns_without_any_value_are_not_reported_unless_asked_for(write):
    table = write(TABLE, empty=pa.array([None] * 3, pa.float64()))
    evaluator = started(SPACE, table=table, architecture="cell", score="accuracy")
    assert "empty" not in evaluator.evaluate((0, 0), 0).metrics
    with pytest.raises(TableError, match="column 'empty' has no values"):
        started(SPACE, table=table, architecture="cell", score="accuracy", metrics=["empty"])


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({}, {"score": "f1"}, "no column called f1; it has cell, loss, accuracy, params, note, hours"),
        ({}, {"architecture": "arch", "metrics": ["m"], "cost": "c"}, "no column called arch, m, c; it has"),
        ({}, {"score": "note"}, "column 'note' holds string, expected numbers"),
        ({}, {"metrics": ["note"]}, "column 'note' holds string, expected numbers"),
        ({}, {"cost": "note"}, "column 'note' holds string, expected numbers"),
        ({"accuracy": pa.array([None] * 3, pa.float64())}, {}, "column 'accuracy' has no values"),
        ({"cell": ["kernel=3,width=16"] * 3}, {}, "1 architectures have more than one row, the first is kernel=3"),
        (
            {"cell": ["kernel=3,width=16", "kernel=7,width=16", "x"]},
            {},
            "row 1, column 'cell': Choices: kernel='7': expected one of",
        ),
        ({"worker": [1, 2, 3]}, {}, "worker cannot name a metric"),
        ({"hours": [1.0, -1.0, 2.0]}, {"cost": "hours"}, "column 'hours': expected seconds >= 0, got -1.0"),
        ({"hours": [1.0, math.inf, 2.0]}, {"cost": "hours"}, "column 'hours': expected seconds >= 0, got inf"),
    ],
)
def test_unusable_tables_are_refused(write, changes, settings, message):
    path = write(TABLE, **changes)
    with pytest.raises(TableError) as caught:
        started(SPACE, **{"table": path, "architecture": "cell", "score": "accuracy", **settings})
    assert message in str(caught.value)
    assert str(caught.value).startswith(path)


def test_nan_is_empty(write):
    path = write({**TABLE, "accuracy": [math.nan, 91.0, 92.0], "loss": [0.5, math.nan, None]})
    evaluator = started(SPACE, table=path, architecture="cell", score="accuracy", metrics=["loss"])
    assert evaluator.evaluate((1, 0), 0) == Evaluation(91.0, {})
    with pytest.raises(InvalidArchitecture, match=r"accuracy is empty"):
        evaluator.evaluate((0, 0), 0)


def test_empty_tables_are_refused(write):
    path = write({"cell": pa.array([], pa.string()), "score": pa.array([], pa.float64())})
    with pytest.raises(TableError, match="the table is empty"):
        started(SPACE, table=path, architecture="cell", score="score")


def test_two_columns_of_one_name_are_refused(tmp_path):
    path = tmp_path / "twice.csv"
    path.write_text("cell,score,score\nx,1,2\n")
    with pytest.raises(TableError, match="two columns have one name"):
        started(SPACE, table=str(path), architecture="cell", score="score")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("table.txt", "a,b", "expected a file that ends in .parquet or .csv"),
        ("missing.csv", None, "no such file"),
        ("missing.parquet", None, "no such file"),
        ("broken.parquet", "no parquet at all", "cannot be read"),
        ("broken.csv", "a,b\n1\n", "cannot be read"),
        ("empty.csv", "", "cannot be read"),
    ],
)
def test_unreadable_files_are_refused(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(TableError) as caught:
        started(SPACE, table=str(path), architecture="a", score="b")
    assert str(caught.value).startswith(f"{path}: {message}")


def test_a_failed_start_leaves_nothing_of_the_last_space(write):
    evaluator = started(SPACE, table=write(TABLE), architecture="cell", score="accuracy")
    for _ in range(2):
        with pytest.raises(TableError, match="row 0"):
            evaluator.start(Numbers())
    evaluator.start(SPACE)
    assert evaluator.evaluate((0, 0), 0).score == 90.0
