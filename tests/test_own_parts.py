"""Executors, loggers and tables of a report that are a user's own, by their import paths."""

import csv

import own_parts_lab
import pytest
from common import run_command

from archsearch import resume, search
from archsearch.bridges.loggers import make_logger
from archsearch.controllers import RandomSearch
from archsearch.errors import NotTrusted, UnknownName, UsageError
from archsearch.evaluators import Tabular
from archsearch.running.search import make_executor
from archsearch.showing.report import report
from archsearch.showing.rows import ReportTable
from archsearch.spaces import NASBench201

THREADS = "own_parts_lab.Threads"


def run(out=None, **settings):
    return search(NASBench201(), RandomSearch(), Tabular(), **{"trials": 40, "seed": 0, "out": out, **settings})


def scores(result):
    """Random search proposes the same whatever order results come in."""
    return {(trial.id, trial.architecture, trial.score) for trial in result.history}


# -- executors -----------------------------------------------------------------------------------


def test_an_executor_of_ones_own_by_its_import_path_finds_what_the_local_one_does(tmp_path):
    own_parts_lab.Threads.made.clear()
    assert scores(run(tmp_path / "r", executor=THREADS, workers=3)) == scores(run())
    assert own_parts_lab.Threads.made == [3]


def test_its_run_goes_on_only_where_that_is_trusted_or_said_anew(tmp_path):
    run(tmp_path / "r", executor=THREADS, workers=3)
    own_parts_lab.Threads.made.clear()
    with pytest.raises(NotTrusted, match=r"executor: own_parts_lab\.Threads is not installed"):
        resume(tmp_path / "r", trials=50)
    assert own_parts_lab.Threads.made == []
    assert resume(tmp_path / "r", trials=50, trust=True).completed == 50
    assert own_parts_lab.Threads.made == [3]
    assert resume(tmp_path / "r", trials=60, executor="local").completed == 60
    assert scores(resume(tmp_path / "r", trials=70, executor=THREADS, workers=2)) == scores(run(trials=70))


def test_a_run_with_an_executor_as_an_object_goes_on_where_one_is_given(tmp_path):
    run(tmp_path / "r", executor=own_parts_lab.Threads(3))
    with pytest.raises(UnknownName, match="no executor is called 'threads'"):
        resume(tmp_path / "r", trials=50)
    assert resume(tmp_path / "r", trials=50, executor=THREADS).completed == 50
    assert resume(tmp_path / "r", trials=60, executor=own_parts_lab.Threads(2)).completed == 60


@pytest.mark.parametrize(
    ("path", "error", "said"),
    [
        ("threads", UnknownName, "no executor is called 'threads'; expected local, ray or simulated; a class of your"),
        ("own_parts_lab.Process", UnknownName, "has no 'Process'"),
        ("own_parts_lab.CsvLogger", UsageError, "expected a class of Executor, got <class 'own_parts_lab.CsvLogger'>"),
        ("own_parts_lab.Alone", UsageError, "expected a class that takes workers"),
    ],
)
def test_what_is_no_executor_is_refused(path, error, said):
    with pytest.raises(error, match=said):
        make_executor(path, 2)


# -- loggers -------------------------------------------------------------------------------------


def test_a_logger_of_ones_own_by_its_import_path_writes_into_the_run_folder(tmp_path):
    result = run(tmp_path / "r", on_trial=make_logger("own_parts_lab.CsvLogger", str(tmp_path / "r")))
    with (tmp_path / "r" / "trials.csv").open() as file:
        assert [(int(step), float(score)) for step, score in csv.reader(file)] == [
            (trial.id, trial.score) for trial in result.history
        ]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (THREADS, "expected a class of Logger, got <class 'own_parts_lab.Threads'>"),
        ("own_parts_lab.Demanding", "expected a class that is made without arguments"),
    ],
)
def test_what_is_no_logger_is_refused(path, said):
    with pytest.raises(UsageError, match=said):
        make_logger(path, "runs/r")


# -- tables of the report ------------------------------------------------------------------------


def test_a_table_of_ones_own_is_in_the_report(tmp_path, capsys):
    run(tmp_path / "r")
    page = report(tmp_path / "r", tables=[lambda trials: ReportTable("Scores", [["n"], [str(len(trials))]])])
    assert "<h2>Scores</h2>" in page.read_text()
    assert "Scores\n\nn\n40\n\nreport " in capsys.readouterr().out


def test_tables_of_the_package_are_in_every_report(tmp_path, monkeypatch):
    from archsearch.showing import rows

    run(tmp_path / "r")
    monkeypatch.setattr(rows, "TABLES", (own_parts_lab.slowest, own_parts_lab.nothing))
    assert "<h2>Slowest trials</h2>" in report(tmp_path / "r").read_text()


@pytest.mark.parametrize("table", [len, "own_parts_lab.__name__"])
def test_what_is_no_table_is_refused(table, tmp_path):
    run(tmp_path / "r")
    with pytest.raises(UsageError, match="expected a function that gives a ReportTable or None, got"):
        report(tmp_path / "r", tables=[table])


def test_a_mistake_in_a_table_is_not_said_to_be_the_run_folders(tmp_path):
    run(tmp_path / "r")
    with pytest.raises(UsageError, match=r"tables: <lambda> failed: KeyError: 'nowhere'"):
        report(tmp_path / "r", tables=[lambda trials: {}["nowhere"]])


# -- on the command line -------------------------------------------------------------------------


def test_all_of_them_on_the_command_line(tmp_path, capsys):
    out = str(tmp_path / "r")
    options = ["--executor", THREADS, "--workers", "2", "--loggers", "own_parts_lab.CsvLogger", "--quiet"]
    status, _, errors = run_command(capsys, "run", "--trials", "20", "--seed", "0", "--out", out, *options)
    assert (status, errors) == (0, "")
    assert len((tmp_path / "r" / "trials.csv").read_text().splitlines()) == 20
    status, _, errors = run_command(capsys, "resume", out, "--trials", "30", "--quiet")
    assert status == 2
    assert "executor: own_parts_lab.Threads is not installed" in errors
    assert run_command(capsys, "resume", out, "--trials", "25", "--quiet", "--executor", THREADS)[0] == 0
    assert run_command(capsys, "resume", out, "--trials", "30", "--quiet", "--trust")[0] == 0
    status, printed, _ = run_command(capsys, "report", out, "--tables", "own_parts_lab.slowest")
    assert status == 0
    assert "Slowest trials\n\ntrial " in printed


@pytest.mark.parametrize("option", [f"executor: {THREADS}", "loggers: [own_parts_lab.CsvLogger]"])
def test_a_file_of_options_that_names_one_is_not_obeyed_unasked(option, tmp_path, capsys):
    (tmp_path / "options.yaml").write_text(f"{option}\ntrials: 5\n")
    arguments = ["run", "--config", str(tmp_path / "options.yaml"), "--out", str(tmp_path / "r"), "--quiet"]
    status, _, errors = run_command(capsys, *arguments)
    assert status == 2
    assert "is not installed, and what a file names is not run unasked" in errors
    assert run_command(capsys, *arguments, "--trust")[0] == 0
