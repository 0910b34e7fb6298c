"""Any table of one's own: what is sound is found again, what is damaged is refused by row and column."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tabular_lab import started

from archsearch import search
from archsearch.controllers import NSGA2, RandomSearch
from archsearch.errors import InvalidArchitecture, TableError
from archsearch.spaces import Choices, NASBench201

SPACE = Choices(
    {
        "depth": [1, 2],
        "op": {"options": ["conv", "3", "skip"], "repeat": "depth"},
        "rate": [0.5, 1.0, 2.0],
        "norm": [True, False],
    }
)
"""Whole numbers, texts that look like numbers, numbers with fractions and without, truth values; 72 architectures."""

MEMBERS = list(SPACE.enumerate())
KEYS = ["depth", "op.1", "op.2", "rate", "norm"]
SCORES = st.one_of(st.none(), st.sampled_from([math.nan, math.inf, -math.inf]), st.floats(-1e6, 1e6))
ROWS = st.lists(
    st.tuples(st.sampled_from(MEMBERS), SCORES, st.one_of(st.none(), st.integers(-9, 9))), min_size=1, max_size=12
)
QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


def cells_of(rows: Sequence[tuple]) -> dict[str, list]:
    """A column for each decision, one score, one figure, and what says which rows count."""
    decoded = [SPACE.decode(architecture) for architecture, _, _ in rows]
    columns = {key: [each.get(key) for each in decoded] for key in KEYS}
    return columns | {
        "name": [SPACE.format(architecture) for architecture, _, _ in rows],
        "score": [score for _, score, _ in rows],
        "size": [size for _, _, size in rows],
        "part": [i % 2 for i in range(len(rows))],
    }


def written(path, columns: dict[str, list], kind: str) -> str:
    """With a last row that has everything, so that no column is empty; it belongs to no part."""
    last = dict(
        zip([*KEYS, "name", "score", "size", "part"], [2, "conv", "conv", 0.5, True, "", 0.0, 0, 2], strict=True)
    )
    types = {"score": pa.float64(), "depth": pa.float64()}  # as pandas has columns of whole numbers with empty cells
    table = pa.table({key: pa.array([*cells, last[key]], types.get(key)) for key, cells in columns.items()})
    file = path / f"table.{kind}"
    pyarrow.csv.write_csv(table, file) if kind == "csv" else pq.write_table(table, file)
    return str(file)


def finite(score) -> bool:
    return score is not None and math.isfinite(score)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("key", [KEYS, "name"], ids=["columns", "text"])
@QUICK
@given(rows=ROWS, maximize=st.booleans(), repeated=st.sampled_from(["mean", "runs"]))
def test_what_is_sound_is_found_again(kind, key, rows, maximize, repeated, tmp_path):
    table = written(tmp_path, cells_of(rows), kind)
    evaluator = started(
        SPACE,
        table=table,
        architecture=key,
        score="score",
        metrics=["size"],
        maximize=maximize,
        where={"part": [0, 1.0]},
        repeated=repeated,
    )
    sign = 1 if maximize else -1
    expected: dict = {}
    for architecture, score, size in rows:
        expected.setdefault(architecture, []).extend([(sign * score, size)] if finite(score) else [])
    assert evaluator.architectures == [each for each, found in expected.items() if found]
    for architecture, found in expected.items():
        if not found:
            assert "score is empty or not finite" in evaluator.refusal(architecture)
            continue
        assert evaluator.refusal(architecture) == ""
        if repeated == "runs":
            seen = [evaluator.evaluate(architecture, seed) for seed in range(len(found))]
            assert [(each.score, each.metrics.get("size")) for each in seen] == found
        else:
            scores = [score for score, _ in found]
            assert evaluator.evaluate(architecture, 0).score == pytest.approx(np.mean(scores), abs=1e-9)
        sizes = [size for _, size in found if size is not None]
        known = evaluator.measure(architecture)["size"] if sizes else math.nan
        assert known == (pytest.approx(np.mean(sizes)) if sizes else pytest.approx(math.nan, nan_ok=True))
    for other in set(MEMBERS) - expected.keys():
        assert "has no architecture" in evaluator.refusal(other)
        with pytest.raises(InvalidArchitecture):
            evaluator.evaluate(other, 0)


@QUICK
@given(rows=ROWS)
def test_rows_that_repeat_are_named(rows, tmp_path):
    table = written(tmp_path, cells_of(rows), "parquet")
    architectures = [architecture for architecture, _, _ in rows]
    twice = next((each for each in architectures if architectures.count(each) > 1), None)
    ask = {"table": table, "architecture": KEYS, "score": "score", "where": {"part": [0, 1]}}
    if twice is None:
        assert len(started(SPACE, **ask)._evaluations) == len(rows)
        return
    numbers = [str(i) for i, each in enumerate(architectures) if each == twice]
    with pytest.raises(TableError) as caught:
        started(SPACE, **ask)
    assert f"{SPACE.format(twice)} (rows {', '.join(numbers[:3])}" in str(caught.value)


WRONG = {
    "depth": [None, 0.0, 1.5, math.nan, math.inf],
    "op.1": [None, "", "Conv", "conv "],
    "op.2": ["pool"],
    "rate": [None, 0.25, math.inf],
    "norm": [None],
}
"""Cells that no architecture has, by decision."""


@QUICK
@given(data=st.data(), rows=ROWS)
def test_a_damaged_key_is_refused_by_row_and_column(data, rows, tmp_path):
    columns = cells_of(rows)
    row = data.draw(st.integers(0, len(rows) - 1))
    key = data.draw(st.sampled_from(KEYS))
    columns[key][row] = data.draw(st.sampled_from(WRONG[key]))
    table = written(tmp_path, columns, "parquet")
    with pytest.raises(TableError) as caught:
        started(SPACE, table=table, architecture=KEYS, score="score", where={"part": [0, 1]}, repeated="mean")
    assert f"{table}, row {row}, columns 'depth', " in str(caught.value)
    assert key in str(caught.value).partition("Choices: ")[2]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("column", ["score", "size", "cost"])
@pytest.mark.parametrize(
    ("cell", "column_type"),
    [
        ("good", pa.string()),
        ([1.0], pa.list_(pa.float64())),
        ({"a": 1}, pa.struct({"a": pa.int64()})),
        (b"1x", pa.binary()),
    ],
)
def test_cells_of_a_wrong_type_are_refused_by_row_and_column(column, cell, column_type, tmp_path):
    columns = {"depth": [1, 2], "score": [1.0, 2.0], "size": [1, 2], "cost": [1, 2]}
    table = pa.table(columns | {column: pa.array([None, cell], column_type)})
    pq.write_table(table, tmp_path / "table.parquet")
    settings_ = {"architecture": ["depth"], "score": "score", "metrics": ["size"], "cost": "cost"}
    with pytest.raises(TableError, match=rf"column '{column}' holds .*, expected numbers, row 1: "):
        started(Choices({"depth": [1, 2]}), table=str(tmp_path / "table.parquet"), **settings_)


@QUICK
@given(data=st.data())
def test_damaged_bytes_are_one_message_or_a_table(data, tmp_path):
    """A file that is cut or overwritten never ends in anything but a ``TableError`` that names it."""
    rows = [(architecture, float(i), i) for i, architecture in enumerate(MEMBERS[:5])]
    kind = data.draw(st.sampled_from(["csv", "parquet"]))
    path = Path(written(tmp_path, cells_of(rows), kind))
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[at:]
    else:
        content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(content))
    with contextlib.suppress(NamesIt):
        try:
            started(SPACE, table=str(path), architecture=KEYS, score="score", repeated="mean")
        except TableError as error:
            raise (NamesIt if str(path) in str(error) else AssertionError)(error) from error


class NamesIt(Exception):
    """A message as it should be."""


# -- what the user does with them ------------------------------------------------------------------


def test_one_decision_needs_no_column_of_text(tmp_path):
    pyarrow.csv.write_csv(pa.table({"width": [16, 32], "loss": [0.5, 0.25]}), tmp_path / "t.csv")
    evaluator = started(
        Choices({"width": [16, 32]}),
        table=str(tmp_path / "t.csv"),
        architecture=["width"],
        score="loss",
        maximize=False,
    )
    assert [evaluator.evaluate((i,), 0).score for i in (0, 1)] == [-0.5, -0.25]


def test_runs_are_those_of_what_computes_the_same(tmp_path):
    space = NASBench201()
    lost, plain = (3, 0, 0, 3, 0, 2), (0, 0, 0, 3, 0, 0)
    pyarrow.csv.write_csv(pa.table({"cell": [space.format(plain)] * 2, "score": [1.0, 3.0]}), tmp_path / "t.csv")
    evaluator = started(space, table=str(tmp_path / "t.csv"), architecture="cell", score="score", repeated="runs")
    assert [evaluator.evaluate(lost, seed).score for seed in range(3)] == [1.0, 3.0, 1.0]


def test_a_sample_is_searched_for_several_objectives_and_within_limits(tmp_path):
    """Sixty of 972 architectures, a loss to minimise, any other column as an objective or a limit."""
    space = Choices({name: [1, 2, 3] for name in "abcde"} | {"f": [1, 2, 4, 8]})
    some = [space.decode(space.sample(np.random.default_rng(i))) for i in range(60)]
    some = list({tuple(each.items()): each for each in some}.values())
    columns = {name: [each[name] for each in some] for name in "abcdef"}
    loss = [10 / sum(each.values()) for each in some]
    size = [float(math.prod(each.values())) for each in some]
    pyarrow.csv.write_csv(pa.table(columns | {"loss": loss, "size": size}), tmp_path / "t.csv")
    settings_ = {"table": str(tmp_path / "t.csv"), "architecture": list("abcdef"), "score": "loss", "maximize": False}
    controller = NSGA2({"score": "max", "size": "min"}, population_size=10)
    evaluator = started(space, **settings_)
    result = search(space, controller, evaluator, trials=40, seed=0, duplicates="reuse")
    assert result.failed == 0
    assert {trial.architecture for trial in result.history} <= set(evaluator.architectures)
    assert len(controller.pareto_front) > 1
    limited = search(space, RandomSearch(), started(space, **settings_), trials=10, seed=0, limits={"size": 64})
    assert max(trial.metrics["size"] for trial in limited.history) <= 64
