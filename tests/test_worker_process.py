"""The local worker process: the same trials as in this process, and nothing that outlives the search."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import misbehaving_lab
import pytest
from misbehaving_lab import SPACE, Hanging, Misbehaving

from archsearch import Evaluation, Evaluator, LocalExecutor, cli, resume, search
from archsearch.controllers import RandomSearch, RegularizedEvolution, Reinforce, SuccessiveHalving
from archsearch.errors import ExecutorError, UsageError
from archsearch.evaluators import Cascade, Function, Inherit, OneShot, Tabular, Training, ZeroCost
from archsearch.keeping.folder import RunFolder
from archsearch.spaces import NASBench201

TESTS = Path(__file__).parent
SMALL = {"task": "digits", "train_examples": 60, "epochs": 2, "batch_size": 20, "skeleton": {"channels": 2, "cells": 1}}


def path(trials):
    return [
        (t.id, t.architecture, t.parent, t.seed, t.budget, t.failure, t.evaluation and t.evaluation[:2], billed(t.cost))
        for t in trials
    ]


def billed(cost):
    """What does not depend on the machine."""
    return cost.examples, cost.updates, cost.flops, cost.recorded_seconds


def environment():
    return os.environ | {"PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}


def wait_for(condition, seconds=120.0):
    """For what takes as long as it takes; the limit is for what never comes."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def runs(process):
    """Whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# -- the same trials -----------------------------------------------------------------------------------


class Together(Evaluator):
    """Says how many were evaluated together; those of one architecture in seven raise."""

    def evaluate(self, architecture, seed):
        return self.evaluate_batch([(0, architecture)])[0]

    def evaluate_batch(self, queries):
        if any(sum(query[1]) % 7 == 0 for query in queries):
            raise ValueError("no such layer")
        return [Evaluation(float(sum(query[1])), {"together": len(queries)}) for query in queries]


def training():
    return Training(**SMALL)


def learning():
    """A super-network that learns on with what the controller proposes: the worker is given it anew."""
    return OneShot(training=training(), sampler="controller", trials_per_epoch=3, epochs=3, validation_batches=2)


CASES = {
    "table": (NASBench201(), lambda: RegularizedEvolution(10, 3), Tabular, {"trials": 60}),
    "lambda": (SPACE, lambda: RegularizedEvolution(10, 3), lambda: Function(lambda x: sum(x) / 3), {"trials": 60}),
    "lag": (SPACE, lambda: RegularizedEvolution(10, 3), lambda: Function(sum), {"trials": 30, "lag": 3, "batch": 4}),
    "batches": (SPACE, RandomSearch, Together, {"trials": 40, "batch": 8, "max_failures": 99}),
    "reuse": (NASBench201(), RandomSearch, Tabular, {"trials": 60, "duplicates": "reuse"}),
    "training": (NASBench201(), RandomSearch, training, {"trials": 3}),
    "budgets": (
        NASBench201(),
        lambda: SuccessiveHalving(min_budget=1, max_budget=2, reduction=2),
        training,
        {"trials": 6},
    ),
    "checkpoints": (NASBench201(), lambda: RegularizedEvolution(3, 2), lambda: Inherit(training()), {"trials": 6}),
    "advances": (NASBench201(), lambda: Reinforce("softmax"), learning, {"trials": 8}),
    "zero-cost": (NASBench201(), RandomSearch, lambda: ZeroCost("synflow", training()), {"trials": 5}),
    "cascade": (
        NASBench201(),
        RandomSearch,
        lambda: Cascade([ZeroCost("params"), Tabular()], keep=[0.3], reference=20),
        {"trials": 8, "batch": 4},
    ),
}
"""Space, controller, evaluator and settings."""


@pytest.mark.parametrize("case", CASES)
def test_the_same_trials_as_in_this_process(case, tmp_path):
    space, controller, evaluator, settings = CASES[case]
    here = search(space, controller(), evaluator(), seed=3, **settings)
    there = search(space, controller(), evaluator(), seed=3, executor=LocalExecutor(isolate=True), **settings)
    assert path(there.history) == path(here.history)
    assert there.faults == here.faults


def test_classes_of_the_users_own_script(tmp_path):
    """As on Ray; the script needs no guard, since the worker process does not run it."""
    done = subprocess.run(
        [sys.executable, str(TESTS / "misbehaving_lab.py")],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.split("\n") == ["script runs", "4 True", ""]


def test_what_cannot_be_sent_is_refused_before_anything_is_written(tmp_path):
    class Locked(Evaluator):
        def __init__(self):
            self.lock = threading.Lock()

        def evaluate(self, architecture, seed):
            return Evaluation(0.0)

    for settings in ({"timeout": 5.0}, {"executor": LocalExecutor(isolate=True)}):
        with pytest.raises(UsageError, match=r"Locked cannot be sent to the worker process .*lock"):
            search(SPACE, RandomSearch(), Locked(), trials=5, out=tmp_path / "r", **settings)
    assert not (tmp_path / "r").exists()


def test_an_evaluator_that_cannot_be_loaded_ends_the_search_with_one_line():
    class Here(Evaluator):
        def __reduce__(self):
            return misbehaving_lab.made_in, (os.getpid(),)

        def evaluate(self, architecture, seed):
            return Evaluation(0.0)

    with pytest.raises(ExecutorError, match="cannot be loaded in the worker process: ImportError: no such module here"):
        search(SPACE, RandomSearch(), Here(), trials=5, timeout=5.0)


# -- time-outs -----------------------------------------------------------------------------------------


def test_a_time_out_holds_outside_the_main_thread():
    results = []
    arguments = (SPACE, RandomSearch(), Misbehaving(["hangs_and_swallows_everything"]))
    thread = threading.Thread(
        target=lambda: results.append(search(*arguments, trials=4, seed=0, timeout=1.0)), daemon=True
    )
    thread.start()
    thread.join(120)
    assert [trial.failure for trial in results[0].history] == ["", "timeout", "", "", ""]


def test_a_batch_that_hangs_or_dies_is_evaluated_one_by_one():
    class Batch(Evaluator):
        def evaluate(self, architecture, seed):
            return Evaluation(float(sum(architecture)))

        def evaluate_batch(self, queries):
            if queries[0].id < 4:
                time.sleep(3600)
            os._exit(3)

    with pytest.warns(UserWarning, match="evaluated one by one, not together"):
        result = search(SPACE, RandomSearch(), Batch(), trials=8, seed=0, batch=4, timeout=0.3)
    assert (result.completed, result.failed) == (8, 0)
    assert result.faults == {"timeout": 1, "worker_died": 1}


# -- how it ends ---------------------------------------------------------------------------------------


def test_processes_of_an_evaluator_end_with_the_search():
    class Leaves(Evaluator):
        def evaluate(self, architecture, seed):
            child = subprocess.Popen(["sleep", "3600"])
            return Evaluation(0.0, {"child": child.pid, "process": os.getpid()})

    result = search(SPACE, RandomSearch(), Leaves(), trials=3, seed=0, executor=LocalExecutor(isolate=True))
    processes = {int(trial.metrics[name]) for trial in result.history for name in ("child", "process")}
    assert len(processes) == 4
    wait_for(lambda: not any(map(runs, processes)))


def test_a_worker_that_dies_between_two_evaluations_is_replaced_and_counted():
    def kill(trial):
        if trial.id == 5:
            process = int(trial.metrics["process"])
            os.kill(process, signal.SIGKILL)
            wait_for(lambda: not runs(process))

    executor = LocalExecutor(isolate=True)
    evaluator = Function("misbehaving_lab.says_its_process")
    result = search(SPACE, RandomSearch(), evaluator, trials=12, seed=0, executor=executor, on_trial=kill)
    assert (result.failed, result.faults) == (0, {"worker_died": 1})
    assert {trial.attempts for trial in result.history} == {1}, "no trial is to blame"
    assert len({trial.metrics["process"] for trial in result.history}) == 2


def begin(folder, *options):
    """A search of the command line whose third trial hangs in native code."""
    command = [sys.executable, "-m", "archsearch.cli", "run", "--evaluator", "misbehaving_lab.Hanging", "--quiet"]
    command += ["--evaluator.folder", str(folder), "--controller", "RandomSearch", "--trials", "20", "--seed", "0"]
    process = subprocess.Popen(
        [*command, "--out", "run", *options],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    numbers = lambda: [int(file.name) for file in folder.iterdir() if file.name.isdecimal()]  # noqa: E731
    wait_for(lambda: len(numbers()) == 2 or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    return process, numbers()


def test_when_the_driver_is_killed_the_worker_and_its_children_end(tmp_path):
    """Even where native code keeps the interpreter's lock for ever."""
    process, others = begin(tmp_path, "--isolate")
    assert all(map(runs, others))
    process.kill()
    process.communicate()
    wait_for(lambda: not any(map(runs, others)))
    (tmp_path / "healed").touch()
    result = resume(tmp_path / "run", trust=True)
    assert (result.completed, result.faults) == (20, {"driver_died": 1})


def test_ctrl_c_interrupts_the_search_and_fails_no_trial(tmp_path):
    """As a terminal does it: to all of the driver's process group. What was interrupted is evaluated again."""
    process, others = begin(tmp_path, "--isolate")
    os.killpg(process.pid, signal.SIGINT)
    out, error = process.communicate(timeout=120)
    assert process.returncode == 130, error
    assert "interrupted; go on by 'archsearch resume run --trust'" in out
    wait_for(lambda: not any(map(runs, others)))
    (tmp_path / "healed").touch()
    result = resume(tmp_path / "run", trust=True)
    assert (result.completed, result.failed, result.faults) == (20, 0, {})
    whole = search(NASBench201(), RandomSearch(), Hanging(str(tmp_path)), trials=20, seed=0)
    assert path(result.history) == path(whole.history)


# -- the setting ---------------------------------------------------------------------------------------


def test_a_run_folder_knows_its_executor(tmp_path, monkeypatch):
    evaluator = Function("misbehaving_lab.says_its_process")
    executor = LocalExecutor(isolate=True, memory_gib=4.0)
    search(SPACE, RandomSearch(), evaluator, trials=3, seed=0, executor=executor, out=tmp_path / "r")
    assert RunFolder(tmp_path / "r").config()["executor_settings"]["init_args"] == {"isolate": True, "memory_gib": 4.0}
    resume(tmp_path / "r", trials=6, trust=True)
    resume(tmp_path / "r", trials=9, executor="local", trust=True)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["resume", "r", "--trials", "12", "--quiet", "--trust"]) == 0
    assert cli.main(["resume", "r", "--trials", "15", "--quiet", "--no_isolate", "--trust"]) == 0
    processes = [int(trial.metrics["process"]) for trial in RunFolder(tmp_path / "r").trials(0)]
    here = [process == os.getpid() for process in processes]
    assert here == [False] * 6 + [True] * 3 + [False] * 6, "with a limit of memory it has a process in any case"


def test_the_last_setting_decides_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evaluator = ["--evaluator", "Function", "--evaluator.function", "misbehaving_lab.says_its_process", "--quiet"]
    here = []
    for options in ([], ["--isolate"], ["--isolate", "true"], ["--no_isolate"], ["--timeout", "60"]):
        out = f"r{len(here)}"
        assert cli.main(["run", *evaluator, *options, "--trials", "1", "--out", out]) == 0
        (trial,) = RunFolder(tmp_path / out).trials(RunFolder(tmp_path / out).config()["seed"])
        here.append(int(trial.metrics["process"]) == os.getpid())
    assert here == [True, False, False, True, False]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--isolate", "--executor", "simulated"], "--isolate: only together with --executor local"),
        (["--memory_gib", "2", "--executor", "ray"], "--memory_gib: only together with --executor local"),
        (["--memory_gib", "0"], "memory_gib: expected a finite number above 0, got 0"),
        (["--isolate", "--workers", "2"], "the local executor has one worker, got workers=2"),
    ],
)
def test_what_cannot_be_is_refused(options, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "--trials", "3", "--out", "r", *options]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "r").exists()


# -- what the command line says ------------------------------------------------------------------------


def run_program(folder, *arguments):
    command = [sys.executable, "-m", "archsearch.cli", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, check=False, timeout=300
    )


def options_for(function):
    options = ["--space", "Choices", "--space.decisions", "{a: [0, 1, 2, 3, 4], b: [0, 1, 2, 3, 4]}"]
    return [*options, "--evaluator", "Function", "--evaluator.function", f"misbehaving_lab.{function}", "--seed", "0"]


@pytest.mark.parametrize("isolate", [False, True])
def test_sys_exit_in_an_evaluator_fails_trials_and_says_so(isolate, tmp_path):
    more = ["--isolate"] if isolate else []
    done = run_program(tmp_path, "run", *options_for("exits_at_times"), "--trials", "20", "--out", "run", *more)
    assert done.returncode == 0, done.stderr
    assert "trials    20 completed," in done.stdout
    assert "SystemExit: 0" in done.stderr


def test_a_run_that_died_with_its_evaluator_says_what_to_do(tmp_path):
    """In process nothing can be said when it happens; the next command does, and in a worker process it goes on."""
    done = run_program(tmp_path, "run", *options_for("ends_the_process"), "--trials", "40", "--out", "run", "--quiet")
    assert (done.returncode, done.stdout) == (0, ""), "the evaluator has ended it: this test shows nothing otherwise"
    done = run_program(tmp_path, "resume", "run", "--trust")
    assert done.returncode == 0
    assert "driver_died" in done.stderr
    assert "perhaps in trial" in done.stderr
    assert "--isolate" in done.stderr
    done = run_program(tmp_path, "resume", "run", "--isolate", "--trust")
    assert done.returncode == 0, done.stderr
    assert "trials    40 completed," in done.stdout
    assert "its process ended with exit code 0" in done.stderr
    trials = RunFolder(tmp_path / "run").trials(0)
    assert {(trial.failure, trial.attempts) for trial in trials if trial.failure} == {("worker_died", 4)}


@pytest.mark.parametrize("isolate", [False, True])
def test_threads_of_an_evaluator_do_not_keep_the_program_alive(isolate, tmp_path):
    more = ["--isolate"] if isolate else []
    done = run_program(
        tmp_path, "run", *options_for("leaves_threads"), "--trials", "3", "--quiet", "--out", "run", *more
    )
    assert done.returncode == 0
    assert "trials    3 completed" in done.stdout
    said = "archsearch: ended without waiting for what still runs: left behind"
    assert (said in done.stderr) is not isolate
    assert "driver_died" not in RunFolder(tmp_path / "run").faults()


def test_what_an_evaluator_prints_goes_through(tmp_path):
    done = run_program(tmp_path, "run", *options_for("prints"), "--trials", "3", "--isolate", "--quiet", "--out", "run")
    assert done.stdout.count("to the output\n") == 3
    assert done.stderr.count("to the errors\n") == 3
