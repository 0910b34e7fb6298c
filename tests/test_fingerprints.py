"""What a run reads from outside is what it began with, or the run is not resumed."""

import pickle

import pytest
import yaml

from archsearch import resume, search
from archsearch.controllers import RandomSearch
from archsearch.errors import RunFolderError, TableError
from archsearch.evaluators import Cascade, Function, Predictor, Tabular
from archsearch.files.fingerprints import embedded_fingerprint, file_fingerprint, fingerprints_of
from archsearch.judging.comparison import compare
from archsearch.keeping.folder import RunFolder
from archsearch.spaces import Choices, NASBench201

SPACE = Choices({"a": [1, 2, 3, 4], "b": [1, 2, 3, 4]})


def write(path, offset=0.0):
    """A table of the user's own."""
    rows = [f"{SPACE.format(each)!r},{sum(each) + offset}".replace("'", '"') for each in SPACE.enumerate()]
    path.write_text("\n".join(["arch,acc", *rows]) + "\n")
    return Tabular(table=str(path), architecture="arch", score="acc")


def begin(evaluator, out, **settings):
    return search(SPACE, RandomSearch(), evaluator, trials=5, seed=0, out=out, **settings)


def test_a_table_edited_between_run_and_resume_is_refused(tmp_path):
    evaluator = write(tmp_path / "own.csv")
    assert begin(evaluator, tmp_path / "run").best.score <= 6
    write(tmp_path / "own.csv", offset=1000.0)
    with pytest.raises(RunFolderError, match=r"run: evaluator\.table has changed since this run began") as caught:
        resume(tmp_path / "run", trials=10)
    assert "\n" not in str(caught.value)
    assert RunFolder(tmp_path / "run").table(SPACE).num_rows == 5  # nothing was added


def test_a_table_that_was_put_back_is_taken(tmp_path):
    write(tmp_path / "own.csv")
    begin(write(tmp_path / "own.csv"), tmp_path / "run")
    write(tmp_path / "own.csv", offset=1000.0)
    write(tmp_path / "own.csv")
    assert resume(tmp_path / "run", trials=10).completed == 10


def test_an_equal_table_elsewhere_is_taken_another_is_not(tmp_path):
    begin(write(tmp_path / "own.csv"), tmp_path / "run")
    (tmp_path / "own.csv").rename(tmp_path / "moved.csv")
    moved = Tabular(table=str(tmp_path / "moved.csv"), architecture="arch", score="acc")
    with pytest.raises(TableError, match=r"own\.csv: no such file"):
        resume(tmp_path / "run", trials=10)
    assert resume(tmp_path / "run", trials=10, evaluator=moved).completed == 10
    with pytest.raises(RunFolderError, match=r"evaluator\.table has changed"):
        resume(tmp_path / "run", trials=20, evaluator=write(tmp_path / "moved.csv", offset=1.0))
    other = Tabular(table=str(tmp_path / "moved.csv"), architecture="arch", score="acc", maximize=False)
    with pytest.raises(RunFolderError, match="evaluator differs"):
        resume(tmp_path / "run", trials=20, evaluator=other)


def test_a_changed_embedded_table_is_refused(tmp_path):
    search(NASBench201(), RandomSearch(), Tabular(), trials=3, seed=0, out=tmp_path / "run")
    path = tmp_path / "run" / "config.yaml"
    config = yaml.safe_load(path.read_text())
    assert config["fingerprints"] == {"evaluator.embedded": embedded_fingerprint("nasbench201")}
    path.write_text(yaml.safe_dump(config | {"fingerprints": {"evaluator.embedded": "0" * 32}}))
    with pytest.raises(RunFolderError, match=r"evaluator\.embedded has changed .* expected the content 0000"):
        resume(tmp_path / "run", trials=6)


def test_runs_of_an_older_version_go_on_and_that_is_said_once(tmp_path, caplog):
    begin(write(tmp_path / "own.csv"), tmp_path / "run")
    path = tmp_path / "run" / "config.yaml"
    config = yaml.safe_load(path.read_text())
    del config["fingerprints"]
    path.write_text(yaml.safe_dump(config))
    assert resume(tmp_path / "run", trials=8).completed == 8
    assert caplog.text.count("noted no fingerprints") == 1


def test_latency_tables(tmp_path):
    class Plain(Function):
        pass

    table = tmp_path / "latency.csv"

    def write_latency(seconds):
        rows = [f"{name},{option},{seconds}" for name in "ab" for option in range(4)]
        table.write_text("\n".join(["decision,option,seconds", *rows]))

    write_latency(0.1)
    settings = {"limits": {"latency_seconds": 1.0}, "latency_table": table}
    begin(Function("builtins.len"), tmp_path / "run", **settings)
    assert resume(tmp_path / "run", trials=7, trust=True).completed == 7
    write_latency(0.2)
    with pytest.raises(RunFolderError, match="latency_table has changed"):
        resume(tmp_path / "run", trials=10, trust=True)
    write_latency(0.1)
    table.rename(tmp_path / "moved.csv")
    moved = str(tmp_path / "moved.csv")
    assert resume(tmp_path / "run", trials=9, latency_table=moved, trust=True).completed == 9


def test_tables_inside_other_evaluators_are_found(tmp_path):
    own = write(tmp_path / "own.csv")
    print_ = file_fingerprint(tmp_path / "own.csv")
    assert fingerprints_of(evaluator=Cascade([Function(len), own])) == {"evaluator.evaluators.1.table": print_}
    predictor = Predictor(own, labels=12, features=None)
    assert fingerprints_of(evaluator=predictor) == {"evaluator.evaluator.table": print_}
    assert fingerprints_of(evaluator=Predictor()) == {"evaluator.source.embedded": embedded_fingerprint("nasbench201")}


def test_a_predictor_whose_labels_come_from_an_edited_table_is_refused(tmp_path):
    evaluator = Predictor(write(tmp_path / "own.csv"), labels=10, folds=0)
    begin(evaluator, tmp_path / "run")
    write(tmp_path / "own.csv", offset=1000.0)
    with pytest.raises(RunFolderError, match=r"evaluator\.evaluator\.table has changed"):
        resume(tmp_path / "run", trials=10)


def test_labels_of_another_run_are_kept_with_the_model(tmp_path):
    """They are read once, before the first trial: that the other run goes on changes nothing."""
    own = write(tmp_path / "own.csv")
    search(SPACE, RandomSearch(), own, trials=20, seed=1, out=tmp_path / "labels")

    def predictor():
        return Predictor(labelled=str(tmp_path / "labels"), folds=0)

    whole = search(SPACE, RandomSearch(), predictor(), trials=10, seed=0, out=tmp_path / "whole")
    search(SPACE, RandomSearch(), predictor(), trials=5, seed=0, out=tmp_path / "run")
    resume(tmp_path / "labels", trials=40)
    result = resume(tmp_path / "run", trials=10)
    assert [trial.score for trial in result.history] == [trial.score for trial in whole.history]


def test_a_worker_that_reads_an_edited_table_says_so(tmp_path):
    """On a cluster each worker reads the table itself, perhaps hours later."""
    evaluator = write(tmp_path / "own.csv")
    evaluator.start(SPACE)
    sent = pickle.dumps(evaluator)
    assert pickle.loads(sent).evaluate((0, 0), 0).score == 0
    write(tmp_path / "own.csv", offset=1.0)
    with pytest.raises(TableError, match="was edited while the search runs"):
        pickle.loads(sent)


def test_the_table_in_memory_counts_not_the_file(tmp_path):
    evaluator = write(tmp_path / "own.csv")
    begin(evaluator, tmp_path / "run")
    write(tmp_path / "own.csv", offset=1000.0)  # evaluator has read it before
    assert resume(tmp_path / "run", trials=10, evaluator=evaluator).best.score <= 6


def test_a_comparison_does_not_go_on_with_an_edited_table(tmp_path):
    def run(offset):
        own = write(tmp_path / "own.csv", offset)
        return compare(SPACE, [Function("builtins.sum")], own, samples=12, seed=0, out=tmp_path / "out")

    run(0.0)
    run(0.0)
    with pytest.raises(RunFolderError, match="has changed since this run began"):
        run(1000.0)
