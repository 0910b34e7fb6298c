"""Latency tables as limits: sums over decisions, and tables that cannot be used."""

import math
from pathlib import Path

import numpy as np
import pytest
from limits_lab import SPACE, path, rows, run, table, within, write

from archsearch import Space, resume
from archsearch.errors import TableError
from archsearch.evaluators import Function
from archsearch.limits import LatencyTable
from archsearch.spaces import DARTS, Choices, ConvChain, MobileNet, NASBench101


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    "space",
    [
        SPACE,
        Space(arities=[3, 4, 2]),
        DARTS(),
        MobileNet(),
        NASBench101(),
        ConvChain(),
        Choices({"depth": [1, 2, 3], "op": {"options": ["a", "b"], "repeat": "depth"}}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_latency_is_the_sum_over_the_decisions(space, suffix, tmp_path):
    content = rows(space)
    latency = LatencyTable(write(tmp_path / f"t{suffix}", content), space)
    known = {(decision, option): seconds for decision, option, seconds in content}
    rng = np.random.default_rng(0)
    for _ in range(50):
        architecture = space.sample(rng)
        parts = [known[space.label(architecture[:i]), option] for i, option in enumerate(architecture)]
        assert latency.seconds(architecture) == pytest.approx(0.002 + sum(parts))


def test_a_search_with_a_latency_table(tmp_path, monkeypatch):
    content = [row for row in rows(SPACE) if row[0]]  # without a fixed part
    write(tmp_path / "t.csv", content)
    latency = LatencyTable(tmp_path / "t.csv", SPACE)
    assert latency.seconds((0,) * 6) == pytest.approx(6 * 0.001 + 6 * 4e-6)
    monkeypatch.chdir(tmp_path)
    for evaluator in (table(), Function(len)):  # the table counts, even for one that has latencies of its own
        result = run(evaluator=evaluator, limits={"latency_seconds": 0.015}, latency_table="t.csv", trials=60)
        assert all(latency.seconds(trial.architecture) <= 0.015 for trial in result.history)
        assert result.rejected > 30
    whole = run(limits={"latency_seconds": 0.015, "flops": 9e7}, latency_table=Path("t.csv"), trials=60)
    assert within(whole.history, {"flops": 9e7})
    run(limits={"latency_seconds": 0.015, "flops": 9e7}, latency_table="t.csv", trials=20, out="r")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert path(resume("../r", trials=40, trust=True).history) == path(whole.history)[:40]
    (tmp_path / "t.csv").rename("moved.csv")
    with pytest.raises(TableError, match="no such file"):
        resume("../r", trials=60, trust=True)
    assert path(resume("../r", trials=60, latency_table="moved.csv", trust=True).history) == path(whole.history)


GOOD = rows(Space(arities=[2, 3]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD[:-1], "expected a row for each option .*got none for 1 of 5, the first is decision '1', option 2"),
        ([("x", 0, 1.0)], "got none for 5 of 5, the first is decision '0', option 0"),
        ([*GOOD, GOOD[1]], "row 6: expected one row for decision '0', option 0, got a second one"),
        ([*GOOD, GOOD[0]], "expected one row for the empty decision, the fixed part, got a second one"),
        ([*GOOD, ("1", 3, -0.5)], r"row 6: seconds: expected a finite number >= 0, got -0\.5"),
        ([*GOOD, ("1", 3, math.nan)], "seconds: expected a finite number >= 0, got nothing"),
        ([*GOOD, ("1", 3, math.inf)], "seconds: expected a finite number >= 0, got inf"),
        ([*GOOD, ("1", -1, 1.0)], "row 6: option: expected a whole number >= 0, got -1"),
        ([*GOOD, ("1", None, 1.0)], "option: expected a whole number >= 0, got nothing"),
        ([(name, float(option or 0) + 0.5, seconds) for name, option, seconds in GOOD], r"row 1: option: .*got 0\.5"),
        ([(name, str(option), "fast") for name, option, seconds in GOOD], "holds string, expected numbers"),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_latency_tables_that_cannot_be_used_are_refused(content, message, suffix, tmp_path):
    file = write(tmp_path / f"t{suffix}", content)
    with pytest.raises(TableError, match=message) as caught:
        LatencyTable(file, Space(arities=[2, 3]))
    assert str(file) in str(caught.value)


def test_tables_of_other_columns_are_refused(tmp_path):
    for columns, message in (
        ("decision,option", "no column called seconds; it has decision, option"),
        ("decision,option,seconds,device", "got also device"),
        ("decision,option,seconds,seconds", "two columns have one name"),
    ):
        (tmp_path / "t.csv").write_text(f"{columns}\n{','.join('0' * len(columns.split(',')))}\n")
        with pytest.raises(TableError, match=message):
            LatencyTable(tmp_path / "t.csv", Space(arities=[1]))
    (tmp_path / "t.csv").write_text("decision,option,seconds\n")
    with pytest.raises(TableError, match="the table is empty"):
        LatencyTable(tmp_path / "t.csv", Space(arities=[1]))


def test_a_row_that_the_check_of_a_huge_space_missed_is_warned_of(tmp_path, monkeypatch):
    monkeypatch.setattr("archsearch.basics.decisions.WALKED", 3)
    monkeypatch.setattr("archsearch.basics.decisions.SAMPLED", 1)
    space = ConvChain()
    latency = LatencyTable(write(tmp_path / "t.csv", rows(space)), space)
    architectures = [space.sample(np.random.default_rng(seed)) for seed in range(20)]
    with pytest.warns(UserWarning, match="has no row for decision .*: architectures with it count as too slow"):
        assert any(math.isnan(latency.seconds(architecture)) for architecture in architectures)
