"""Searches that are told of older runs before they begin."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from common import run_command

from archsearch import Space, resume, search
from archsearch.components import entry_points, load
from archsearch.controllers import BayesianOptimization, LocalSearch, RandomSearch, RegularizedEvolution
from archsearch.errors import RunFolderError, UsageError
from archsearch.evaluators import Function, Tabular
from archsearch.spaces import NASBench201
from archsearch.steering.told import told_trials
from archsearch.trial import Budget, Evaluation, Trial

SPACE = Space(arities=[4, 3, 5, 2, 3])


def score(architecture):
    return float(sum(architecture))


def path_of(trials):
    return [(t.id, t.architecture, t.parent, t.score) for t in trials]


def begin(controller=None, trials=30, **options):
    controller = controller or RegularizedEvolution(population_size=10)
    return search(SPACE, controller, Function(score), trials=trials, seed=1, **options)


@pytest.fixture(scope="module")
def older(tmp_path_factory):
    """A run folder, and its result."""
    out = tmp_path_factory.mktemp("older") / "run"
    result = search(SPACE, RandomSearch(), Function(score), trials=60, seed=0, out=out)
    return out, result


def test_what_is_told_is_no_trial_and_no_random_beginning_is_needed(older):
    alone, told = begin(), begin(told=older[0])
    assert [told.completed, len(told.history)] == [30, 30]
    assert [trial.id for trial in told.history] == list(range(30))
    trials = list(told.history)
    assert all(trial.parent is None or trial.parent >= 0 for trial in trials)
    assert sum(trial.score for trial in trials[:10]) > sum(trial.score for trial in list(alone.history)[:10]) + 10
    # The first is a change of one of the ten best that were told: it differs from one of these in one decision.
    best = sorted(older[1].history, key=lambda trial: -trial.score)[:12]
    changes = [sum(a != b for a, b in zip(trials[0].architecture, each.architecture, strict=True)) for each in best]
    assert 1 in changes


@pytest.mark.parametrize("name", [name for name in entry_points("controllers") if name != "Derived"])
def test_every_controller_can_be_told(name, older, tmp_path):
    controller = load(name, "controllers")()
    try:
        controller.check(SPACE)
        Function(score).check_budgets(controller.budgets)
    except UsageError:
        pytest.skip("it does not suit; the contract suite has it hear of others")
    result = search(SPACE, controller, Function(score), trials=8, seed=1, told=older[0])
    assert result.completed == 8


def test_a_model_knows_what_was_told(older):
    """Its random beginning is over before it has proposed anything: the first is the best that it expects."""
    told = begin(BayesianOptimization(initial=20), trials=6, told=older[0])
    alone = begin(BayesianOptimization(initial=20), trials=6)
    assert min(trial.score for trial in told.history) > sum(trial.score for trial in alone.history) / 6


def test_a_local_search_climbs_from_the_best_that_was_told(older):
    best = max(older[1].history, key=lambda trial: trial.score).architecture
    first = next(iter(begin(LocalSearch(initial=10), trials=3, told=older[0]).history)).architecture
    assert sum(a != b for a, b in zip(first, best, strict=True)) == 1


def test_a_folder_a_history_a_table_and_files_tell_the_same(older, tmp_path):
    out, result = older
    table = result.history.table()
    pq.write_table(table, tmp_path / "all.parquet")
    pq.write_table(table.select(["architecture", "score"]), tmp_path / "few.parquet")
    pyarrow.csv.write_csv(table.select(["name", "score"]), tmp_path / "few.csv")
    expected = path_of(begin(told=out).history)
    sources = [str(out), result.history, table, list(result.history), [out], table.select(["name", "score"])]
    sources += [tmp_path / "all.parquet", str(tmp_path / "few.parquet"), tmp_path / "few.csv"]
    for source in sources:
        assert path_of(begin(told=source).history) == expected, source
    assert path_of(begin(told=[out, table]).history) != expected, "several are told one after another"
    assert path_of(begin(told=[]).history) == path_of(begin().history)


def test_a_resume_tells_the_same_whatever_became_of_the_older_run(older, tmp_path):
    class Killed(BaseException):
        pass

    def dies(trial):
        if trial.id == 12:
            raise Killed

    table = older[1].history.table()
    pq.write_table(table, tmp_path / "old.parquet")
    whole = begin(told=tmp_path / "old.parquet", out=tmp_path / "whole")
    with pytest.raises(Killed):
        begin(told=tmp_path / "old.parquet", out=tmp_path / "killed", on_trial=dies)
    (tmp_path / "old.parquet").unlink()
    more = resume(tmp_path / "killed", space=SPACE, evaluator=Function(score), trust=True)
    assert path_of(more.history) == path_of(whole.history)
    # Once more, now from a saved state.
    longer = resume(tmp_path / "killed", space=SPACE, evaluator=Function(score), trust=True, trials=40)
    both = resume(tmp_path / "whole", space=SPACE, evaluator=Function(score), trust=True, trials=40)
    assert path_of(longer.history) == path_of(both.history)


def test_without_what_was_told_a_search_does_not_go_on(older, tmp_path):
    class Killed(BaseException):
        pass

    def dies(trial):
        if trial.id == 5:
            raise Killed

    with pytest.raises(Killed):
        begin(told=older[0], out=tmp_path / "run", on_trial=dies)
    told = tmp_path / "run" / "told.parquet"
    data = told.read_bytes()
    for damaged in (b"", data[:-100], data.replace(b"\x01", b"\x02", 1)):
        told.write_bytes(damaged)
        with pytest.raises(RunFolderError, match=r"told\.parquet: what this run was told before it began") as caught:
            resume(tmp_path / "run", space=SPACE, evaluator=Function(score), trust=True)
        assert "\n" not in str(caught.value)
    told.write_bytes(data)
    assert resume(tmp_path / "run", space=SPACE, evaluator=Function(score), trust=True).completed == 30


WRONG = {
    "another space": (lambda: search(NASBench201(), RandomSearch(), Tabular(), trials=3, seed=0).history, "of another"),
    "other options": (lambda: pa.table({"architecture": [[9, 9]], "score": [1.0]}), "row 0"),
    "no names": (lambda: pa.table({"name": ["nonsense"], "score": [1.0]}), "row 0"),
    "no scores": (lambda: pa.table({"architecture": [[0, 0, 0, 0, 0]]}), "expected columns score"),
    "no architectures": (lambda: pa.table({"score": [1.0]}), "expected columns score, and architecture or name"),
    "no numbers": (lambda: pa.table({"name": ["0-0-0-0-0"], "score": ["high"]}), "expected numbers"),
    "a number": (lambda: 3, "expected a run folder"),
    "no file": (lambda: "nowhere.parquet", "no such file"),
    "no table": (lambda: "nowhere.txt", "expected a file that ends in"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_told_is_one_line_and_nothing_begins(what, tmp_path):
    make, said = WRONG[what]
    with pytest.raises(UsageError, match=said) as caught:
        begin(told=make(), out=tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_scores_of_unequal_trainings_are_not_told_as_if_they_were_equal():
    def trial(id_, stop, repeat_of=None):
        budget = None if stop is None else Budget(stop)
        return Trial(id_, (0, 0, 0, 0, id_ % 3), None, Evaluation(float(id_)), budget=budget, repeat_of=repeat_of)

    trials = [trial(0, 1), trial(1, 9), trial(2, 3), trial(3, 9), trial(4, 9, repeat_of=3)]
    plain = told_trials(trials, SPACE, RandomSearch())
    assert [each.score for each in plain] == [1.0, 3.0], "of equal length, the worst first"
    halving = told_trials(trials, SPACE, load("SuccessiveHalving")())
    assert [each.score for each in halving] == [0.0, 2.0, 1.0, 3.0]


def test_failures_are_told_too(tmp_path):
    table = pa.table({"architecture": [[0, 0, 0, 0, 0], [1, 0, 0, 0, 0]], "score": [None, 2.0], "note": ["a", "b"]})
    first, second = told_trials(table, SPACE, RandomSearch())
    assert [first.failure, second.score, second.metrics] == ["exception", 2.0, {}]


def test_the_command_tells_and_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_command(capsys, "run", "--trials", "20", "--seed", "0", "--out", "old", "--quiet")[0] == 0
    command = ("run", "--trials", "10", "--seed", "1", "--out", "new", "--quiet", "--told", "old")
    status, out, _ = run_command(capsys, *command, "--json")
    assert status == 0
    first = json.loads(out)
    again = json.loads(run_command(capsys, *command, "--json")[1])
    assert first["best"] == again["best"]
    assert "told" in Path("new/config.yaml").read_text()
    status, _, err = run_command(capsys, *command[:-1], "other")
    assert status == 2
    assert "there is a run here already, told ['old']; got told ['other']" in err
