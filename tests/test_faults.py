"""Faults, caused: exceptions, NaN, time-outs; work per trial does not grow."""

import signal
import subprocess
import sys
import time

import pytest

from archsearch import Evaluation, Evaluator, Space, cli, search
from archsearch.controllers import RandomSearch, RegularizedEvolution
from archsearch.errors import TooManyFailures
from archsearch.evaluators import Function
from archsearch.keeping.folder import RunFolder

SPACE = Space(arities=[4, 3, 5, 2])


# -- evaluations that fail -------------------------------------------------------------------------


class Faulty(Evaluator):
    """Fails in a way of its own for one architecture in four."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def evaluate(self, architecture, seed):
        if sum(architecture) % 4:
            return Evaluation(float(sum(architecture)))
        return getattr(self, self.kind)()

    def raises(self):
        raise ValueError("no such layer")

    def nan(self):
        return Evaluation(float("nan"))

    def infinite(self):
        return Evaluation(float("inf"))

    def text(self):
        return "ninety-nine"

    def out_of_memory(self):
        raise MemoryError("too large")

    def hangs(self):
        time.sleep(60)

    def hangs_and_swallows_exceptions(self):
        while True:
            try:
                time.sleep(60)
            except Exception:
                continue


@pytest.mark.parametrize(
    ("kind", "failure", "text"),
    [
        ("raises", "exception", "no such layer"),
        ("nan", "invalid_score", "nan"),
        ("infinite", "invalid_score", "inf"),
        ("text", "exception", "expected an Evaluation, got str 'ninety-nine'"),
        ("out_of_memory", "out_of_memory", "too large"),
        ("hangs", "timeout", "no result within 0.5 s"),
        ("hangs_and_swallows_exceptions", "timeout", "no result within 0.5 s"),
    ],
)
def test_a_failing_evaluation_is_a_failed_trial_and_the_search_goes_on(kind, failure, text, tmp_path):
    evolution = RegularizedEvolution(10, 3)
    n, timeout = (20, 0.5) if failure == "timeout" else (60, None)
    result = search(
        SPACE, evolution, Faulty(kind), trials=n, seed=0, timeout=timeout, max_failures=30, out=tmp_path / "r"
    )
    trials = list(RunFolder(tmp_path / "r").trials(0))
    failed = [trial for trial in trials if trial.status == "failed"]
    assert result.completed == n
    assert result.failed == len(failed) >= n / 10
    for trial in failed:
        assert (trial.failure, trial.score) == (failure, None)
        assert text in trial.error
        assert trial.attempts == (2 if failure == "out_of_memory" else 1)
        if failure != "timeout":  # a machine that is busy lets others time out, too
            assert sum(trial.architecture) % 4 == 0
    assert all(trial.failure for trial in trials if sum(trial.architecture) % 4 == 0)
    assert result.best.score == max(t.score for t in trials if t.score is not None)
    parents = {trial.parent for trial in trials}
    assert not parents & {trial.id for trial in failed}


def test_retries_by_kind():
    result = search(
        SPACE, RandomSearch(), Faulty("raises"), trials=30, seed=0, retries={"exception": 2}, max_failures=30
    )
    assert {trial.attempts for trial in result.history if trial.failure} == {3}


def test_too_many_failures_in_a_row_stop_with_the_first_error(tmp_path):
    def fails(_):
        fails.calls += 1
        raise RuntimeError(f"call {fails.calls}")

    fails.calls = 0
    with pytest.raises(TooManyFailures, match="7 trials failed one after another") as caught:
        search(SPACE, RandomSearch(), Function(fails), trials=100, seed=0, max_failures=7, out=tmp_path / "r")
    assert "call 1" in str(caught.value)
    assert len(list(RunFolder(tmp_path / "r").trials(0))) == 7


def test_a_controller_that_raises_loses_nothing(tmp_path):
    class Broken(RandomSearch):
        def _tell(self, trial):
            if trial.id == 20:
                raise ZeroDivisionError("a bug of the author's")

    with pytest.raises(ZeroDivisionError):
        search(SPACE, Broken(), Function(sum), trials=100, seed=0, out=tmp_path / "r")
    assert [trial.id for trial in RunFolder(tmp_path / "r").trials(0)] == list(range(21))


# -- growth --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [{}, {"executor": "simulated", "workers": 8, "lag": 16}, {"duplicates": "reuse"}],
    ids=["local", "simulated-lag", "reuse"],
)
def test_work_per_trial_does_not_grow(settings, tmp_path):
    marks = []

    def count(_frame, event, _argument):
        if event == "call":
            count.calls += 1

    count.calls = 0
    space = Space(arities=[10] * 6)
    function = Function(lambda options: {"score": float(sum(options)), "cost": 1.0})
    # As many draws for every proposal, early and late, so that only the engine's own work is compared.
    arguments = {"trials": 19_990, "seed": 0, "out": tmp_path / "r", **settings}
    try:
        sys.setprofile(count)
        search(space, RandomSearch(), function, on_trial=lambda _: marks.append(count.calls), **arguments)
    finally:
        sys.setprofile(None)
    early = marks[2_500] - marks[1_500]
    late = marks[19_900] - marks[18_900]
    assert late <= 1.05 * early


def test_interrupt_signal_is_left_as_it_was():
    before = signal.getsignal(signal.SIGALRM)
    search(SPACE, RandomSearch(), Function(sum), trials=5, seed=0, timeout=5.0)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


EXITS = """
import os
from archsearch import search
from archsearch.controllers import RandomSearch
from archsearch.evaluators import Function
from archsearch.spaces import NASBench201
search(NASBench201(), RandomSearch(), Function(lambda architecture: os._exit(0)), trials=5, seed=0, out="r")
"""


def test_status_says_that_a_run_did_not_end_in_order(tmp_path, monkeypatch, capsys):
    """An evaluator that ends the process leaves nobody who could say so; whoever looks at the folder is told."""
    monkeypatch.chdir(tmp_path)
    assert subprocess.run([sys.executable, "-c", EXITS], check=False, timeout=100).returncode == 0
    assert cli.main(["status", "r"]) == 0
    printed = capsys.readouterr().out
    assert "not running; killed, or ended by its evaluator" in printed
    assert "archsearch resume r" in printed
