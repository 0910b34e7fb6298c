"""Limits: nothing beyond them is evaluated, whoever proposes; wrong ones are refused."""

import math
import re
from pathlib import Path

import pytest
import yaml
from limits_lab import LIMITS, SPACE, Sizes, Spy, of_each_controller, path, rows, run, table, within, write

from archsearch import Space, cli, search
from archsearch.controllers import RandomSearch, RegularizedEvolution, SuccessiveHalving
from archsearch.errors import UsageError
from archsearch.evaluators import Function, Tabular
from archsearch.keeping.folder import RunFolder
from archsearch.spaces import NASBench101

# -- nothing beyond the limits is evaluated --------------------------------------------------------


@of_each_controller
@pytest.mark.parametrize(("executor", "workers"), [("local", 1), ("simulated", 7)])
@pytest.mark.parametrize("duplicates", ["evaluate", "reuse"])
def test_no_trial_is_beyond_the_limits(controller, executor, workers, duplicates):
    spy = Spy()
    settings = {"executor": executor, "workers": workers, "duplicates": duplicates}
    result = run(controller, spy, **settings)
    trials = list(result.history)
    assert within(trials)
    assert not within(run(controller, limits=None, **settings).history), "the limits must matter"
    assert set(spy.scored) == {trial.architecture for trial in trials}
    assert (result.completed, result.failed) == (80, 0)
    assert result.rejected > 20
    assert f"{result.rejected:,} beyond the limits" in str(result)
    assert path(run(controller, **settings).history) == path(trials)
    if duplicates == "reuse" and executor == "local":  # else one may be proposed again while it is pending
        assert len({SPACE.canonical(architecture) for architecture in spy.scored}) == len(spy.scored) == 80
        assert result.reused > 0


def test_each_limit_counts_alone():
    for name, limit in LIMITS.items():
        result = run(RandomSearch(), limits={name: limit})
        assert within(result.history, {name: limit})
        assert not within(result.history), "the others are not limited"


def test_without_limits_nothing_is_measured():
    class Blind(Tabular):
        def measure(self, architecture):
            raise AssertionError

    result = run(evaluator=Blind(), limits=None)
    assert (result.completed, result.rejected) == (80, 0)
    assert "limits" not in str(result)


def test_trainings_that_are_stopped_and_continued():
    space, limits = NASBench101(max_vertices=4), {"params": 9e6}
    evaluator = Tabular("ecnas_4v")
    halving = SuccessiveHalving(RegularizedEvolution(10, 3), min_budget=4, max_budget=108)
    for settings in ({"executor": "simulated", "workers": 3}, {"duplicates": "reuse"}):
        result = search(space, halving, evaluator, trials=60, seed=0, limits=limits, **settings)
        assert all(evaluator.measure(trial.architecture)["params"] <= 9e6 for trial in result.history)
        assert {trial.budget.stop for trial in result.history} >= {4, 12, 36}
        assert result.rejected >= 1


def test_a_figure_that_is_not_known_is_beyond_its_limit():
    space = Space(arities=[3, 3, 3])
    result = search(space, RandomSearch(), Sizes(), trials=50, seed=0, limits={"size": 5})
    assert {trial.architecture[0] for trial in result.history} == {0, 1}
    assert max(trial.score for trial in result.history) == 5, "a limit may be reached"
    # Of digits201 a thousand cells are known; the others are not proposed to it.
    limits = {"flops": 5e5}
    result = search(SPACE, RandomSearch(), Tabular("digits201"), trials=30, seed=0, limits=limits)
    assert (result.completed, result.failed) == (30, 0)
    assert all(trial.metrics["flops"] <= 5e5 for trial in result.history)


def test_what_the_controller_hears():
    class Listening(RandomSearch):
        def _tell(self, trial):
            heard.append(trial)

    heard = []
    result = run(Listening(), limits={"flops": 40e6}, trials=20)
    rejected = [trial for trial in heard if trial.evaluation is None]
    assert [trial.id for trial in heard] == list(range(len(heard))), "told at once"
    assert len(rejected) == result.rejected == len(heard) - 20
    flops = table().measure(rejected[0].architecture)["flops"]
    assert (rejected[0].failure, rejected[0].error) == ("limit", f"flops {flops:g} > 4e+07")
    assert result.cost.recorded_seconds == sum(trial.cost.recorded_seconds for trial in heard)


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("evaluator", "settings", "message"),
    [
        (Function(len), {"limits": {"flops": 1e6}}, "flops cannot be limited: Function measures nothing"),
        (table(), {"limits": {"macs": 1e6}}, "macs cannot be limited: Tabular measures params, flops, latency_seconds"),
        (Function(len), {"limits": {"latency_seconds": 1}}, "give a latency_table for latency_seconds"),
        (table(), {"limits": {"flops": 0}}, "flops: expected a finite number above 0, got 0"),
        (table(), {"limits": {"flops": -1.0}}, "got -1.0"),
        (table(), {"limits": {"flops": math.nan}}, "got nan"),
        (table(), {"limits": {"flops": math.inf}}, "got inf"),
        (table(), {"limits": {"flops": "3e8"}}, "got '3e8'"),
        (table(), {"limits": {"flops": True}}, "got True"),
        (table(), {"limits": [3e8]}, "limits: expected names and numbers"),
        (table(), {"latency_table": "t.csv", "limits": {"flops": 1e6}}, "set a limit on that"),
        (table(), {"latency_table": "t.csv", "limits": {"latency_seconds": 1}}, "t.csv: no such file"),
        (table(), {"retries": {"limit": 1}}, "retries"),
    ],
)
def test_wrong_limits_are_refused_before_anything_is_written(evaluator, settings, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        run(evaluator=evaluator, out=tmp_path / "r", **settings)
    assert not (tmp_path / "r").exists()


# -- the command line ------------------------------------------------------------------------------


def test_options_json_and_yaml_mean_the_same(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "t.csv", rows(SPACE))
    Path("run.yaml").write_text("limits:\n  flops: 90e6\n  latency_seconds: 0.018\nlatency_table: t.csv\n")
    forms = {
        "a": ["--limits.flops", "90e6", "--limits.latency_seconds", "0.018", "--latency_table", "t.csv"],
        "b": ["--limits", '{"flops": 9e7, "latency_seconds": 0.018}', "--latency_table", "t.csv"],
        "c": ["--config", "run.yaml"],
    }
    for out, options in forms.items():
        begin = ["run", "--controller", "RandomSearch", *options]
        assert cli.main([*begin, "--trials", "30", "--seed", "0", "--quiet", "--out", out]) == 0
        assert "beyond the limits; stopped by trials" in capsys.readouterr().out
    configs = [yaml.safe_load(Path(out, "config.yaml").read_text()) for out in forms]
    assert configs[0] == configs[1] == configs[2]
    assert configs[0]["settings"]["limits"] == {"flops": 9e7, "latency_seconds": 0.018}
    assert configs[0]["settings"]["latency_table"] == str(tmp_path / "t.csv")
    assert cli.main(["resume", "a", "--trust", "--trials", "40", "--quiet"]) == 0
    assert within(RunFolder("a").trials(0), {"flops": 9e7})


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--limits.flops", "5e6"], 1, r"made 201 proposals in a row that are beyond the limits: flops <= 5e\+06"),
        (["--limits.flops", "-1"], 2, "limits: flops: expected a finite number above 0"),
        (["--limits.macs", "1e6"], 2, "macs cannot be limited: Tabular measures params, flops"),
        (["--latency_table", "t.csv"], 2, "set a limit on that"),
    ],
)
def test_the_command_line_says_in_one_line_what_is_wrong(options, status, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", *options, "--trials", "30", "--seed", "0", "--quiet", "--out", "r"]) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.search(message, captured.err)
    assert captured.err.count("\n") == 1
