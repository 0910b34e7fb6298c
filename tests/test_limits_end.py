"""Limits that nothing keeps within end the search."""

import os
import signal
import time

import pytest
from limits_lab import Sizes, run

from archsearch import Controller, Space, resume, search
from archsearch.controllers import RandomSearch
from archsearch.errors import ConstraintError
from archsearch.evaluators import Function
from archsearch.keeping.folder import RunFolder
from archsearch.running import course as loop
from archsearch.spaces import Choices


@pytest.mark.parametrize("settings", [{}, {"executor": "simulated", "workers": 20}, {"lag": 3}], ids=str)
def test_limits_that_nothing_keeps_within_end_the_search(settings, tmp_path):
    with pytest.raises(ConstraintError, match=r"2,0\d\d proposals in a row that are beyond the limits") as caught:
        run(limits={"flops": 5e6, "params": 1e9}, out=tmp_path / "r", **settings)
    assert "flops <= 5e+06 (least proposed: 7.78305e+06), params <= 1e+09 (least proposed: 73306)" in str(caught.value)
    with pytest.raises(ConstraintError) as again:
        resume(tmp_path / "r", trust=True)
    assert str(again.value) == str(caught.value)


def test_what_was_found_before_the_limits_end_a_search_is_kept(tmp_path, caplog):
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
        with caplog.at_level("WARNING", "archsearch"):
            result = search(
                Space(arities=[2, 3]), Growing(), Sizes(), trials=99, seed=0, limits={"size": 2}, **settings
            )
        assert (result.stopped, result.completed, result.best.architecture) == ("exhausted", 10, (0, 1))
        assert "size <= 2 (least proposed: 3)" in caplog.text
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
