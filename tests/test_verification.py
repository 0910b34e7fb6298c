"""Verification: the best of a run, scored again; stopped, repeated, beside a search that goes on."""

import os
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from archsearch import Evaluation, Evaluator, resume, search
from archsearch.controllers import RandomSearch, RegularizedEvolution, SuccessiveHalving
from archsearch.errors import RunFolderError, TooManyFailures, UsageError
from archsearch.evaluators import Function, OneShot, Tabular, Training
from archsearch.judging.verification import verify
from archsearch.keeping.folder import RunFolder
from archsearch.ranking import kendall_tau
from archsearch.showing.report import report
from archsearch.showing.rows import best_rows
from archsearch.showing.verified import newest_verification
from archsearch.spaces import NASBench201

SPACE = NASBench201()


def reversed_score(name, seed):
    """Worse, the more 3 x 3 convolutions; ``seed`` is among the metrics, and so is a name that is taken."""
    return {"score": -name.count("nor_conv_3x3"), "given": seed % 1000, "rank": 7.0, "cost": 2.0}


def picky(name):
    """Fails for cells with two or more 3 x 3 convolutions."""
    if name.count("nor_conv_3x3") >= 2:
        raise RuntimeError("a cell that is too large")
    return 1.0


def broken(name):
    raise RuntimeError("no such device")


class Stopping(Evaluator):
    """Scores more, the longer the training was."""

    def check_budgets(self, budgets):
        pass

    def evaluate_query(self, query):
        return Evaluation(sum(query.architecture) + query.budget.stop)


@pytest.fixture
def run(tmp_path):
    """A search of 40 random cells by the table."""
    search(SPACE, RandomSearch(), Tabular(), trials=40, seed=3, out=tmp_path / "r")
    return tmp_path / "r"


def best(directory, top):
    folder = RunFolder(directory)
    return best_rows(folder.table(SPACE), top)


def table_of(directory):
    return RunFolder(directory).table(SPACE)


# -- what it finds -------------------------------------------------------------------------------


def test_scores_ranks_and_gaps(run):
    found = verify(run, Function(reversed_score), top=5, seed=0)
    rows = best(run, 5)
    assert [each.trial for each in found.architectures] == [row["id"] for row in rows]
    assert [each.search_score for each in found.architectures] == [row["score"] for row in rows]
    expected = [-row["name"].count("nor_conv_3x3") for row in rows]
    assert [each.score for each in found.architectures] == expected
    assert [each.gap for each in found.architectures] == [
        e - row["score"] for e, row in zip(expected, rows, strict=True)
    ]
    assert [each.rank for each in found.ranked] == [1 + i for i in sorted(range(5), key=lambda i: (-expected[i], i))]
    assert len(set(expected)) > 1
    assert found.kendall_tau == pytest.approx(kendall_tau([row["score"] for row in rows], expected))
    assert found.cost.device_seconds == pytest.approx(10)
    assert len({each.metrics["given"] for each in found.architectures}) > 1  # each has a seed of its own


def test_text_says_whether_the_order_holds(run):
    text = str(verify(run, Function(reversed_score), top=5, seed=0))
    scores = [-row["name"].count("nor_conv_3x3") for row in best(run, 5)]
    winners = [place for place, score in enumerate(scores, start=1) if score == max(scores)]
    assert winners[0] > 1
    assert f"the order changed: number{'s' * (len(winners) > 1)} {' and '.join(map(str, winners))} of the" in text
    assert "the best by Function" in text
    lines = text.splitlines()
    assert len({line.index("|") for line in lines if "|" in line}) == 1  # aligned
    assert "10 s on devices" in text
    same = verify(run, Tabular(), top=5, seed=0)
    assert same.sentence.startswith("the search's best stays the best by Tabular (")
    assert same.sentence.endswith("the order stays the same")
    assert same.kendall_tau == pytest.approx(1)
    assert all(each.gap == 0 for each in same.architectures)
    assert "in the search" in verify(run, Tabular(), top=1).sentence
    assert verify(run, Tabular(), top=1).kendall_tau is None


def test_failures_come_last(run):
    found = verify(run, Function(picky), top=8, seed=0)
    failed = [each for each in found.architectures if each.failure]
    assert 0 < len(failed) < 8
    assert found.ranked[-len(failed) :] == failed
    assert all(each.score is None and each.gap is None and "too large" in each.error for each in failed)
    assert found.architectures[0].failure  # the search's best has many convolutions
    assert "the search's best failed: exception" in found.sentence
    assert "a cell that is too large" in str(found)


def test_when_all_fail_it_begins_anew_the_next_time(run):
    for number in (1, 2):
        with pytest.raises(TooManyFailures, match="no such device"):
            verify(run, Function(broken), top=3, seed=0)
        assert sorted(os.listdir(run / "verification")) == [str(n) for n in range(1, number + 1)]
    assert RunFolder(run).verifications() is None


def test_fewer_architectures_than_asked_for(tmp_path):
    search(SPACE, RandomSearch(), Tabular(), trials=2, seed=0, out=tmp_path / "r")
    assert len(verify(tmp_path / "r", Tabular(), top=9).architectures) == 2


def test_the_longest_trainings_are_verified(tmp_path):
    controller = SuccessiveHalving(min_budget=3, max_budget=9)
    search(SPACE, controller, Stopping(), trials=12, seed=0, out=tmp_path / "r")
    found = verify(tmp_path / "r", Tabular(), top=12, seed=0)
    budgets = [each.search_budget for each in found.architectures]
    assert budgets == sorted(budgets, reverse=True)
    assert set(budgets) == {3, 9}
    keys = [(each.search_budget, each.search_score) for each in found.architectures]
    order = [sorted(set(keys)).index(key) for key in keys]
    assert found.kendall_tau == pytest.approx(kendall_tau(order, [each.score for each in found.architectures]))


def test_training_finds_what_it_would_alone(run):
    training = Training(task="digits", epochs=1, train_examples=60, skeleton={"channels": 2, "cells": 1})
    found = verify(run, training, top=2, seed=5)
    for each, trial in zip(found.architectures, RunFolder(run / "verification" / "1").trials(5), strict=True):
        alone = training.evaluate(each.architecture, trial.seed)
        assert (each.score, each.metrics) == (alone.score, dict(alone.metrics))
    assert found.cost.examples == 120


def test_workers_change_nothing(run, tmp_path):
    one = verify(run, Function(reversed_score), top=6, seed=0)
    (run / "verification" / "verified-000001.parquet").unlink()
    (run / "verification").rename(tmp_path / "aside")
    two = verify(run, Function(reversed_score), top=6, seed=0, executor="simulated", workers=3)
    assert [(e.trial, e.score, e.metrics) for e in one.architectures] == [
        (e.trial, e.score, e.metrics) for e in two.architectures
    ]


# -- done once, and going on -----------------------------------------------------------------------


def test_what_is_done_is_not_done_again(run):
    first = verify(run, Function(reversed_score), top=4)
    assert verify(run, Function(reversed_score), top=4) == first
    assert verify(run, Function(reversed_score), top=4, seed=first.seed) == first
    assert verify(run, Function(reversed_score), top=4, seed=first.seed + 1).number == 2
    assert verify(run, Function(reversed_score), top=3).number == 3
    assert verify(run, Tabular(), top=4).number == 4
    assert verify(run, Function(reversed_score), top=4, seed=first.seed) == first


def test_killed_while_it_scores(run, tmp_path):
    (tmp_path / "slow_lab.py").write_text(
        "import os, signal\n"
        "def score(name):\n"
        "    with open('asked', 'a') as file:\n"
        "        file.write(name + '\\n')\n"
        "    if open('asked').read().count('\\n') == 3 and not os.path.exists('survive'):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return len(name)\n"
    )
    script = (
        "from archsearch.evaluators import Function\nfrom archsearch.judging.verification import verify\n"
        "print(verify('r', Function('slow_lab.score'), top=5, seed=0))"
    )
    command = [sys.executable, "-c", script]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    killed = subprocess.run(command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert RunFolder(run).verifications() is None
    (tmp_path / "survive").touch()
    done = subprocess.run(command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    asked = (tmp_path / "asked").read_text().splitlines()
    names = [row["name"] for row in best(run, 5)]
    assert asked == [*names[:3], *names[2:]]  # the third, which was killed, again; the first two not
    assert sorted(os.listdir(run / "verification")) == ["1", "verified-000001.parquet"]
    assert RunFolder(run).verifications().num_rows == 5


# -- the history -----------------------------------------------------------------------------------


def test_the_search_goes_on_as_if_nothing_had_been(run, tmp_path):
    before = table_of(run)
    for evaluator in (Function(reversed_score), Function(picky)):
        verify(run, evaluator, top=4, seed=0)
    assert table_of(run).equals(before)
    result = resume(run, trials=60)
    search(SPACE, RandomSearch(), Tabular(), trials=60, seed=3, out=tmp_path / "straight")
    columns = ["id", "architecture", "score"]
    assert result.completed == 60
    assert table_of(run).select(columns).equals(table_of(tmp_path / "straight").select(columns))
    verified = RunFolder(run).verifications()
    assert verified["verification"].to_pylist() == [1] * 4 + [2] * 4


def test_files_for_others_to_read(run):
    verify(run, Function(reversed_score), top=3, seed=11)
    verify(run, Function(picky), top=8, seed=0)
    first, second = (pd.read_parquet(run / "verification" / f"verified-00000{n}.parquet") for n in (1, 2))
    assert list(first["rank"]) == [1, 2, 3]
    assert list(first["name"]) == [row["name"] for row in best(run, 3)]
    assert list(first["verified_rank"]) == [7.0] * 3  # a metric whose name is taken
    assert set(first["evaluator"]) == {
        "Function(function='test_verification.reversed_score', higher_is_better=True, save_every=30.0, keep=1000)"
    }
    assert set(first["seed"]) == {11}
    assert pd.to_datetime(first["date"]).dt.tz is not None
    assert list(first["device_seconds"]) == [2.0] * 3
    assert set(second["status"]) == {"completed", "failed"}
    assert (second["failure"] == "exception").equals(second["score"].isna())
    parts = pd.read_parquet(run / "trials" / "part-000001.parquet")
    assert len(parts) == 40
    together = RunFolder(run).verifications().to_pandas()
    assert np.isnan(together["given"][3:]).all()  # which the other evaluator does not report


def test_a_damaged_file_counts_as_none(run):
    verify(run, Tabular(), top=3, seed=0)
    path = run / "verification" / "verified-000001.parquet"
    path.write_bytes(path.read_bytes()[:100])
    assert RunFolder(run).verifications() is None
    again = verify(run, Tabular(), top=3, seed=0)
    assert again.number == 1
    assert RunFolder(run).verifications().num_rows == 3


def test_results_that_are_damaged_in_other_ways(run):
    older = verify(run, Tabular(), top=2, seed=0)
    newer = verify(run, Function(reversed_score), top=3, seed=0)
    path = run / "verification" / "verified-000002.parquet"
    table, data = pq.read_table(path), path.read_bytes()
    half = len(data) // 2
    for damage in (
        lambda: path.write_bytes(data[:4] + b"\xff" * (half - 4) + data[half:]),  # its footer is sound
        lambda: pq.write_table(table.drop_columns(["score"]), path),
        lambda: pq.write_table(table[:0], path),
    ):
        damage()
        with pytest.warns(UserWarning, match=r"verification 2 is damaged \(verified-000002\.parquet\)"):
            assert newest_verification(RunFolder(run), table_of(run)) == older
        again = verify(run, Function(reversed_score), top=3, seed=0)
        assert again.number == 2
        assert [each.score for each in again.architectures] == [each.score for each in newer.architectures]
        assert newest_verification(RunFolder(run), table_of(run)) == again  # without a warning


def test_results_that_are_damaged_do_not_block_the_report(run, capsys):
    verify(run, Function(reversed_score), top=2, seed=0)
    (run / "verification" / "verified-000001.parquet").write_text("damaged")
    with pytest.warns(UserWarning, match="verification 1 is damaged"):
        report(run, 3)
    assert "verification 1" not in capsys.readouterr().out


def without(name):
    return lambda config: yaml.safe_dump({key: value for key, value in config.items() if key != name}).encode()


def changed(**entries):
    return lambda config: yaml.safe_dump(config | entries).encode()


def test_a_configuration_that_is_damaged_blocks_no_other(run):
    verify(run, Function(reversed_score), top=2, seed=0)
    (run / "verification" / "verified-000001.parquet").unlink()  # as if it had been stopped
    path = run / "verification" / "1" / "config.yaml"
    config = yaml.safe_load(path.read_text())
    for change in (
        *(lambda _, data=data: data for data in (b"{", b"\xff\xfe", b"[]", b"", None)),
        *map(without, ("space", "controller", "evaluator", "seed", "settings")),
        changed(seed="many"),
        changed(space={"class_path": "os.getpid", "init_args": {}}),
        changed(settings=config["settings"] | {"trials": 1}),
        changed(settings=config["settings"] | {"max_cost": "much"}),
    ):
        data = change(config)
        path.unlink() if data is None else path.write_bytes(data)
        before = contents(run / "verification" / "1")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = verify(run, Function(reversed_score), top=2)
        assert (found.number, len(found.architectures)) == (2, 2)
        assert contents(run / "verification" / "1") == before
        assert all("verification/1: this verification cannot be read" in str(each.message) for each in caught)
        shutil.rmtree(run / "verification" / "2")
        (run / "verification" / "verified-000002.parquet").unlink()


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_that_a_configuration_is_damaged_is_said(run):
    verify(run, Tabular(), top=3, seed=0)
    (run / "verification" / "1" / "config.yaml").write_text("{")
    with pytest.warns(UserWarning, match=r"verification/1: this verification cannot be read .*config\.yaml"):
        assert verify(run, Tabular(), top=3, seed=0).number == 2
    shutil.rmtree(run / "verification" / "1")
    (run / "verification" / "7").mkdir()
    with pytest.warns(UserWarning, match="verification/7: this verification cannot be read"):
        assert verify(run, Tabular(), top=3, seed=1).number == 8


def test_a_search_in_progress(tmp_path):
    found = []

    def on_trial(trial):
        if trial.id == 25:
            found.append(verify(tmp_path / "r", Function(reversed_score), top=3, seed=0))

    search(SPACE, RegularizedEvolution(10, 3), Tabular(), trials=60, seed=0, out=tmp_path / "r", on_trial=on_trial)
    search(SPACE, RegularizedEvolution(10, 3), Tabular(), trials=60, seed=0, out=tmp_path / "undisturbed")
    assert all(each.trial <= 25 for each in found[0].architectures)
    columns = ["id", "architecture", "score"]
    assert table_of(tmp_path / "r").select(columns).equals(table_of(tmp_path / "undisturbed").select(columns))
    newest = newest_verification(RunFolder(tmp_path / "r"), table_of(tmp_path / "r"))
    assert newest.outdated  # evolution has found better cells since
    assert "verify again" in str(newest)
    assert verify(tmp_path / "r", Function(reversed_score), top=3, seed=0).number == 2


# -- the report ------------------------------------------------------------------------------------


def test_report_shows_the_newest(run, capsys):
    verify(run, Tabular(), top=3, seed=0)
    newest = verify(run, Function(reversed_score), top=4, seed=0)
    report(run, 3)
    out = capsys.readouterr().out
    assert str(newest) in out
    assert "by Tabular (" not in out
    page = Path(run, "report", "index.html").read_text()
    assert "<h2>Verification</h2>" in page
    assert newest.sentence[1:].replace("'", "&#x27;") in page


# -- what is refused -------------------------------------------------------------------------------


def test_refusals(run, tmp_path):
    with pytest.raises(UsageError, match="top: expected a whole number >= 1, got 0"):
        verify(run, Tabular(), top=0)
    with pytest.raises(UsageError, match="OneShot learns during a search"):
        verify(run, OneShot(task="digits", sampler="controller"))
    with pytest.raises(UsageError, match="seed: expected"):
        verify(run, Tabular(), seed=-1)
    with pytest.raises(UsageError, match="NASBenchMacro"):
        verify(run, Tabular("nasbench_macro"))
    with pytest.raises(RunFolderError, match="no run here"):
        verify(tmp_path / "nowhere", Tabular())
    with pytest.raises(TooManyFailures):
        search(SPACE, RandomSearch(), Function(broken), trials=3, seed=0, out=tmp_path / "failed")
    with pytest.raises(RunFolderError, match="no trial has completed"):
        verify(tmp_path / "failed", Tabular())
    assert not (run / "verification").exists()
    assert RunFolder(run).verifications() is None
