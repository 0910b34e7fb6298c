"""What is noted of a search by gradient, the truth that is looked up afterwards, and its part of the report."""

import math
import re

import pyarrow as pa
import pytest
import torch
from common import run_command as run
from differentiable_search_lab import SPACE, make

from archsearch import search
from archsearch.controllers import Derived, RandomSearch
from archsearch.differentiable.guards import EigenvalueStop
from archsearch.differentiable.optimisations import SecondOrder
from archsearch.differentiable.relaxations import Gumbel, Softmax
from archsearch.errors import UsageError
from archsearch.evaluators import Tabular, Training
from archsearch.files.parquet import read_parquet
from archsearch.ranking import kendall_tau
from archsearch.ranking.derived import inherited_agreement, read_searched, table_of_task, truth_of
from archsearch.showing.report import report
from archsearch.spaces import DARTS, NASBench101, NASBenchMacro


def true_accuracy(architecture, table=None):
    table = table or Tabular()
    table.start(SPACE)
    return table.evaluate(architecture, 0).metrics["test_accuracy"]


def prepared(folder=None, **settings):
    evaluator = make(**settings)
    evaluator.start(SPACE)
    evaluator.folder = folder
    evaluator.prepare()
    return evaluator


@pytest.fixture(scope="module")
def searched_run(tmp_path_factory):
    """A run whose evaluator searched by gradient, and that evaluator."""
    folder, evaluator = tmp_path_factory.mktemp("run") / "r", make(guards=[EigenvalueStop()])
    search(SPACE, RandomSearch(), evaluator, trials=12, seed=0, out=folder)
    return folder, evaluator


def test_what_is_noted_of_each_epoch(tmp_path):
    evaluator = prepared(tmp_path, relaxation=Softmax())
    searched = read_searched(tmp_path)
    assert (searched.task, searched.derived) == ("digits", evaluator.derived())
    assert [name for name, _ in searched.choices] == [choice.name for choice in SPACE.relaxed_choices()]
    for epoch, record in enumerate(evaluator.records):
        logits = torch.tensor(record["parameters"]["logits"]).reshape(6, 5)
        noted = torch.tensor([[share[epoch] for share in candidates] for candidates in searched.shares()])
        assert torch.allclose(noted, torch.softmax(logits, 1))


def test_memory_of_one_path_is_below_that_of_all():
    everything, path, second = (
        prepared(epochs=1, **settings).records[0]["activation_bytes"]
        for settings in ({}, {"relaxation": Gumbel(hard=True)}, {"optimisation": SecondOrder()})
    )
    assert 0 < path < 0.5 * everything
    assert second == everything  # its passes come one after the other


# -- the truth -------------------------------------------------------------------------------------


def test_the_table_of_a_task():
    assert table_of_task(SPACE, "digits").dataset == "digits201"
    assert table_of_task(SPACE, "cifar10").dataset == "cifar10"
    assert table_of_task(SPACE, "cifar100").dataset == "cifar100"
    assert table_of_task(NASBenchMacro(), "cifar10").dataset == "nasbench_macro"
    assert table_of_task(NASBench101(max_vertices=4), "cifar10").dataset == "ecnas_4v"
    for space, task in ((DARTS(), "cifar10"), (SPACE, "digits:shift=2"), (SPACE, "mine")):
        assert table_of_task(space, task) is None


def test_truth_is_that_of_the_table_and_null_where_it_has_no_row(searched_run):
    searched = read_searched(searched_run[0] / "evaluator")
    derived = [tuple(record["derived"]) for record in searched_run[1].records]
    table = searched.with_truth(truth_of(SPACE, Tabular()))
    assert table["true_accuracy"].to_pylist() == [true_accuracy(each) for each in derived]
    digits = Tabular("digits201")
    truth = truth_of(SPACE, digits)
    listed = {each: true_accuracy(each, digits) for each in digits.architectures}
    assert truth.known == listed
    assert truth.best == max(listed.values())
    assert math.isnan(truth.of([next(each for each in SPACE.enumerate() if each not in listed)])[0])
    assert searched.with_truth(None)["true_accuracy"].null_count == 2


def test_agreement_of_the_inherited_scores(searched_run):
    result = pa.table(
        {
            "architecture": [[0, 1, 2, 3, 4, i % 5] for i in range(12)],
            "score": [float(i % 5) for i in range(12)],
            "status": ["completed"] * 12,
        }
    )
    assert inherited_agreement(result, truth_of(SPACE, Tabular())) is None  # five are different: too few
    folder, truth = searched_run[0], truth_of(SPACE, Tabular())
    from archsearch.keeping.folder import RunFolder

    trials = RunFolder(folder).table(SPACE)
    rows = {tuple(row["architecture"]): row["score"] for row in trials.to_pylist()}
    tau, count = inherited_agreement(trials, truth)
    assert count == len(rows) >= 10
    assert tau == pytest.approx(kendall_tau([true_accuracy(each) for each in rows], list(rows.values())))


# -- the report ------------------------------------------------------------------------------------


def test_the_report_draws_the_search_and_keeps_what_it_draws(searched_run, capsys):
    folder, evaluator = searched_run
    status, out, err = run(capsys, "report", str(folder), "--truth", "Tabular")
    assert status == 0, err
    said = out.partition("Search by gradient")[2]
    assert re.search(r"^derived +" + re.escape(SPACE.format(evaluator.derived())), said, re.MULTILINE)
    last = evaluator.records[-1]
    assert f"{last['relaxed_accuracy'] - last['derived_accuracy']:+.1f} points by discretisation alone" in said
    assert f"{true_accuracy(evaluator.derived()):.6g} of what was derived, the best is 94.3733" in said
    assert "known of what 2 of 2 epochs" in said
    assert re.search(r"agreement +Kendall's tau -?0\.\d+ of the scores of 1\d trials", said)
    page = (folder / "report" / "index.html").read_text()
    for title in ("Search by gradient", "The search, epoch by epoch", "Architecture parameters"):
        assert f"<h2>{title}</h2>" in page
    table = read_parquet(folder / "report" / "search.parquet")
    columns = {"entropy", "skip_share", "eigenvalue", "relaxed_accuracy", "derived_accuracy", "activation_bytes"}
    assert columns < {*table.column_names}
    assert table["true_accuracy"].null_count == 0
    assert "true_accuracy" not in read_parquet(folder / "evaluator" / "search.parquet").column_names


def test_the_table_of_the_task_is_asked_by_itself(searched_run, capsys):
    report(searched_run[0])
    assert "(test_accuracy of Tabular(dataset=digits201))" in capsys.readouterr().out


def test_what_cannot_be_looked_up_is_refused(searched_run, tmp_path):
    with pytest.raises(UsageError, match=r"truth: expected a table, .* got Training, which would have to train"):
        report(searched_run[0], truth=Training("digits"))
    search(SPACE, RandomSearch(), Tabular(), trials=3, seed=0, out=tmp_path / "plain")
    with pytest.raises(UsageError, match="plain is no search by gradient"):
        report(tmp_path / "plain", truth=Tabular())


def test_a_damaged_note_is_said_and_passed_over(tmp_path):
    folder = tmp_path / "r"
    search(SPACE, Derived(), make(epochs=1), trials=2, seed=0, out=folder)
    path = folder / "evaluator" / "search.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.warns(UserWarning, match="what was noted of the epochs is damaged"):
        page = report(folder)
    assert "Search by gradient" not in page.read_text()


def test_notes_of_an_earlier_version_are_shown_as_far_as_they_go(searched_run, tmp_path):
    rows = read_parquet(searched_run[0] / "evaluator" / "search.parquet")
    from archsearch.files.parquet import write_parquet

    write_parquet(tmp_path / "search.parquet", rows.drop_columns(["shares"]).replace_schema_metadata(None))
    searched = read_searched(tmp_path)
    assert (searched.choices, searched.derived, searched.shares()) == ([], None, [])
    assert len(searched.architectures) == 2
