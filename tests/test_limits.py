"""Limits: nothing beyond them is evaluated, whoever proposes, wherever it runs, however often the run is killed."""

import functools
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import yaml

from archsearch import Controller, Evaluation, Evaluator, Space, cli, history, loop, resume, search
from archsearch.controllers import RandomSearch, RegularizedEvolution, Reinforce, SuccessiveHalving
from archsearch.errors import ConstraintError, RunFolderError, TableError, UsageError
from archsearch.evaluators import Function, Tabular
from archsearch.history import RunFolder
from archsearch.limits import LatencyTable, rows_needed
from archsearch.spaces import DARTS, Choices, ConvChain, MobileNet, NASBench101, NASBench201
from archsearch.trial import Cost

TESTS = Path(__file__).parent
SPACE = NASBench201()
LIMITS = {"flops": 40e6, "params": 3e5, "latency_seconds": 0.013}
"""What one cell in eight keeps within."""

CONTROLLERS = [RandomSearch(), RegularizedEvolution(10, 3), Reinforce("softmax")]
of_each_controller = pytest.mark.parametrize("controller", CONTROLLERS, ids=lambda value: type(value).__name__)


@functools.cache
def table():
    evaluator = Tabular()
    evaluator.start(SPACE)
    return evaluator


def path(trials):
    return sorted((t.id, t.architecture, t.parent, t.score) for t in trials)


def run(controller=None, evaluator=None, **settings):
    settings = {"trials": 80, "seed": 3, "limits": LIMITS, **settings}
    return search(SPACE, controller or RegularizedEvolution(10, 3), evaluator or table(), **settings)


def within(trials, limits=LIMITS):
    figures = [table().measure(trial.architecture) for trial in trials]
    return bool(figures) and all(each[name] <= limit for each in figures for name, limit in limits.items())


class Spy(Tabular):
    """Notes what it is asked to score. Kills its process, as kill -9 would, at a given call of ``measure``."""

    scored = ()
    left = int(os.environ.get("ARCHSEARCH_TEST_KILL_AT", "0"))

    def evaluate(self, architecture, seed):
        self.scored = (*self.scored, architecture)
        return super().evaluate(architecture, seed)

    def measure(self, architecture):
        Spy.left -= 1
        if Spy.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().measure(architecture)


class Sizes(Evaluator):
    """The size is the sum of the options, of some architectures it is not known; the score is the size."""

    def evaluate(self, architecture, seed):
        return Evaluation(float(sum(architecture)), {}, Cost(device_seconds=1.0 + seed % 3))

    def measure(self, architecture):
        return {"size": math.nan if architecture[0] == 2 else np.float64(sum(architecture))}


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
    assert result.rejected > 50
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
        assert result.rejected > 5


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


# -- lag, resume, kill -9, Ray ---------------------------------------------------------------------


@of_each_controller
def test_with_a_lag_the_number_of_workers_changes_nothing(controller):
    for duplicates in ("evaluate", "reuse"):
        settings = {"lag": 4, "duplicates": duplicates}
        local = run(controller, **settings)
        for workers in (1, 3, 16):
            other = run(controller, executor="simulated", workers=workers, **settings)
            assert path(other.history) == path(local.history)
        assert within(local.history)


@of_each_controller
@pytest.mark.parametrize("settings", [{}, {"lag": 3}, {"duplicates": "reuse"}, {"duplicates": "reuse", "lag": 3}])
def test_extended_and_killed_runs_equal_an_uninterrupted_one(controller, settings, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(trial):
        finished.append(trial.id)
        if len(finished) == 20:
            raise Killed

    finished = []
    whole = run(controller, **settings)
    monkeypatch.setattr(history, "PART_ROWS", 13)
    run(controller, trials=40, out=tmp_path / "r", **settings)
    with monkeypatch.context() as patch:
        patch.setattr(history.History, "close", lambda self, state: self.folder._lock.close())
        with pytest.raises(Killed):
            resume(tmp_path / "r", trials=80, on_trial=kill, trust=True)
    resumed = resume(tmp_path / "r", trials=80, limits=dict(LIMITS), trust=True)
    assert path(resumed.history) == path(whole.history)
    assert (resumed.rejected, resumed.reused) == (whole.rejected, whole.reused)


@pytest.mark.parametrize(
    "options",
    [["--executor", "simulated", "--workers", "5"], ["--duplicates", "reuse", "--lag", "3"]],
    ids=["simulated", "reuse-lag"],
)
def test_killed_among_rejections_it_equals_an_uninterrupted_run(options, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(TESTS)
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "archsearch.cli"]
    begin = [*command, "run", "--evaluator", "test_limits.Spy", "--seed", "3", "--trials", "150", "--out", "r"]
    begin += ["--controller", "RandomSearch", "--limits.flops", "40e6", "--limits.latency_seconds", "0.013", "--quiet"]
    for arguments, at in (([*begin, *options], "400"), ([*command, "resume", "r", "--quiet", "--trust"], "700")):
        environment["ARCHSEARCH_TEST_KILL_AT"] = at
        done = subprocess.run(arguments, cwd=tmp_path, env=environment, check=False, capture_output=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
    before = len(list(RunFolder(tmp_path / "r").trials(3)))
    assert 0 < before < 150, "the run must be killed in its middle, or this test shows nothing"
    settings = {"lag": 3, "duplicates": "reuse"} if "--lag" in options else {"executor": "simulated", "workers": 5}
    limits = {"flops": 40e6, "latency_seconds": 0.013}
    whole = run(RandomSearch(), trials=150, limits=limits, **settings)
    resumed = resume(tmp_path / "r", trust=True)
    assert path(resumed.history) == path(whole.history)
    assert (resumed.rejected, resumed.reused) == (whole.rejected, whole.reused)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_workers_on_ray_obey():
    import ray

    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        result = run(lag=4, executor="ray", workers=2)
        assert within(result.history)
        assert {trial.worker for trial in result.history} <= {0, 1}
        assert path(result.history) == path(run(lag=4).history)
    finally:
        ray.shutdown()


def test_limits_belong_to_a_run(tmp_path):
    run(out=tmp_path / "r", trials=10)
    for other in ({"flops": 1e9}, {}):
        with pytest.raises(RunFolderError, match=r"limits: the run was made with .*'flops': 40000000.0.*start a new"):
            resume(tmp_path / "r", limits=other, trust=True)
    assert resume(tmp_path / "r", trials=12, trust=True).completed == 12


# -- limits that nothing keeps within --------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"executor": "simulated", "workers": 20}, {"lag": 3}], ids=str)
def test_limits_that_nothing_keeps_within_end_the_search(settings, tmp_path):
    with pytest.raises(ConstraintError, match=r"2,0\d\d proposals in a row that are beyond the limits") as caught:
        run(limits={"flops": 5e6, "params": 1e9}, out=tmp_path / "r", **settings)
    assert "flops <= 5e+06 (least proposed: 7.78305e+06), params <= 1e+09 (least proposed: 73306)" in str(caught.value)
    with pytest.raises(ConstraintError) as again:
        resume(tmp_path / "r", trust=True)
    assert str(again.value) == str(caught.value)


def test_what_was_found_before_the_limits_end_a_search_is_kept(tmp_path):
    class Growing(Controller):
        """Proposes 10 small architectures, then large ones only."""

        state = ("asked",)

        def _start(self):
            self.asked = 0

        def _ask(self):
            self.asked += 1
            return (0, 1) if self.asked <= 10 else (1, 2)

    for executor, workers in (("local", 1), ("simulated", 4)):
        settings = {"executor": executor, "workers": workers, "out": tmp_path / executor}
        with pytest.raises(ConstraintError, match=r"size <= 2 \(least proposed: 3\)"):
            search(Space(arities=[2, 3]), Growing(), Sizes(), trials=99, seed=0, limits={"size": 2}, **settings)
        assert len(list(RunFolder(tmp_path / executor).trials(0))) == 10


@pytest.mark.parametrize("end", ["max_seconds", "interrupted"])
def test_asking_for_long_outlasts_neither_max_seconds_nor_an_interrupt(end):
    class Slow(Sizes):
        def measure(self, architecture):
            measured.append(architecture)
            if end == "interrupted" and len(measured) == 20:
                os.kill(os.getpid(), signal.SIGINT)
            if end == "max_seconds":
                time.sleep(0.01)
            return {"size": 9.0}

    measured = []
    settings = {"limits": {"size": 5}, "max_seconds": 0.2 if end == "max_seconds" else 1e6}
    result = search(Space(arities=[100] * 3), RandomSearch(), Slow(), trials=5, seed=0, **settings)
    assert (result.stopped, result.completed) == (end, 0)
    assert result.rejected == len(measured) - 1 < 100


class Waiting(Controller):
    """Proposes what is too large, or known, until it hears of a result, then one small architecture."""

    def __init__(self, meanwhile):
        self.meanwhile = meanwhile

    def _start(self):
        self.results, self.used, self.asked = 1, 0, 0

    def _ask(self):
        self.asked += 1
        if self.results > self.used:
            self.used += 1
            return (0, self.used - 1, 0)
        return self.meanwhile

    def _tell(self, trial):
        self.results += trial.attempts > 0 and trial.architecture == (0, self.used - 1, 0)


@pytest.mark.parametrize("meanwhile", [(1, 99, 0), (0, 0, 0)], ids=["rejected", "known"])
@pytest.mark.parametrize("room", [1, 3])
def test_while_results_are_due_it_waits_for_them(meanwhile, room, monkeypatch):
    """With workers to spare, asking on and on would never let the virtual clock reach the pending result."""
    monkeypatch.setattr(loop, "MAX_REJECTED_IN_A_ROW", 50)
    monkeypatch.setattr(loop, "MAX_REUSED_IN_A_ROW", 50)
    controller, space = Waiting(meanwhile), Space(arities=[2, 100, 2])
    settings = {"executor": "simulated", "workers": 1 + room, "duplicates": "reuse", "limits": {"size": 90}}
    result = search(space, controller, Sizes(), trials=20, seed=0, **settings)
    assert result.completed == 20
    assert max(result.rejected, result.reused) >= 17 * 50
    assert controller.asked <= 20 * (50 + room)


def test_a_search_of_few_architectures_ends_with_workers_idle():
    """All are known, or beyond the limits, while the last result is due."""
    tiny = Choices({"a": [1, 2, 3], "b": [1, 2]})
    for limits, found in ((None, 6), ({"size": 1}, 3)):

        class Measured(Function):
            def measure(self, architecture):
                return {"size": sum(architecture)}

        evaluator = Measured(lambda values: {"score": values["a"], "cost": 1.0})
        settings = {"duplicates": "reuse", "executor": "simulated", "workers": 4, "limits": limits}
        result = search(tiny, RandomSearch(), evaluator, trials=100, seed=0, **settings)
        assert result.stopped == "exhausted"
        assert len({trial.architecture for trial in result.history}) == found


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


# -- latency tables --------------------------------------------------------------------------------


def rows(space, seconds=lambda decision, option: 0.001 * (1 + option) + 1e-6 * len(decision), fixed=0.002):
    keys = dict.fromkeys(rows_needed(space))
    return [("", None, fixed), *((decision, option, seconds(decision, option)) for decision, option in keys)]


def write(file, rows):
    decisions, options, seconds = zip(*rows, strict=True)
    columns = {"decision": pa.array(decisions, pa.string()), "option": options, "seconds": seconds}
    writer = pq.write_table if file.suffix == ".parquet" else pyarrow.csv.write_csv
    writer(pa.table(columns), file)
    return file


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
    monkeypatch.setattr("archsearch.limits.WALKED", 3)
    monkeypatch.setattr("archsearch.limits.SAMPLED", 1)
    space = ConvChain()
    latency = LatencyTable(write(tmp_path / "t.csv", rows(space)), space)
    architectures = [space.sample(np.random.default_rng(seed)) for seed in range(20)]
    with pytest.warns(UserWarning, match="has no row for decision .*: architectures with it count as too slow"):
        assert any(math.isnan(latency.seconds(architecture)) for architecture in architectures)


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
        assert cli.main(["run", *options, "--trials", "30", "--seed", "0", "--quiet", "--out", out]) == 0
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
        (["--limits.flops", "5e6"], 1, r"made 2,000 proposals in a row that are beyond the limits: flops <= 5e\+06"),
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
