"""What the preparation of an evaluator costs, and the progress of one-off work."""

import io
import pickle
import re
import sys

import pytest
from advance_lab import events, killed_run, run
from advancing_lab import Learner

from archsearch import Cost, Evaluation, Evaluator, resume
from archsearch.evaluators import Function
from archsearch.running import progress
from archsearch.running.progress import Display
from archsearch.running.settings import Settings

# -- set-up cost -----------------------------------------------------------------------------------


class Prepares(Evaluator):
    """Bills seven examples for its preparation, and says how long that took, if so asked."""

    def __init__(self, wall: float = 0.0) -> None:
        self.wall = wall

    def prepare(self):
        return Cost(wall_seconds=self.wall, examples=7)

    def evaluate(self, architecture, seed):
        return Evaluation(float(sum(architecture)))


class KeepsFiles(Prepares):
    keeps_files = True


@pytest.mark.parametrize(("make", "examples"), [(Prepares, 14), (KeepsFiles, 7)])
def test_preparation_is_added_up_unless_the_evaluator_keeps_count(make, examples, tmp_path, monkeypatch):
    run(make(), trials=5, out=tmp_path / "ended")
    assert resume(tmp_path / "ended", evaluator=make(), trials=9).setup_cost.examples == examples
    again = resume(tmp_path / "ended", evaluator=make())
    assert again.setup_cost.examples == examples, "a run that has ended prepares nothing"
    killed_run(tmp_path / "killed", monkeypatch, 3, make(), trials=9)
    assert [event[0] for event in events(tmp_path / "killed")] == ["s", "t", "t", "t"]
    assert resume(tmp_path / "killed", evaluator=make()).setup_cost.examples == examples


@pytest.mark.parametrize(
    ("make", "wall", "expected"), [(Prepares, 50.0, 0), (KeepsFiles, 50.0, 50), (KeepsFiles, 0.0, 0)], ids=str
)
def test_wall_time_of_the_preparation(make, wall, expected, tmp_path):
    """Measured, or what the evaluator knows of all sessions; if it does not say, sessions add up."""
    first = run(make(wall), trials=5, out=tmp_path / "r").setup_cost.wall_seconds
    second = resume(tmp_path / "r", evaluator=make(wall), trials=9).setup_cost.wall_seconds
    if expected:
        assert first == second == expected
    else:
        assert 0 < first < second < 5


def test_evaluators_that_cost_nothing_leave_no_mark_in_the_journal(tmp_path, monkeypatch):
    killed_run(tmp_path / "r", monkeypatch, 4, Function(sum))
    assert [event[0] for event in events(tmp_path / "r")] == ["t"] * 4


def test_numbers_of_numpy_in_set_up_costs_can_bestored(tmp_path):
    numpy = pytest.importorskip("numpy")

    class Numpy(Learner):
        def prepare(self):
            super().prepare()
            return Cost(updates=numpy.int64(100))

        def advance(self, sample):
            super().advance(sample)
            return Cost(examples=numpy.float32(0.5))

    result = run(Numpy(), trials=30, out=tmp_path / "r")
    assert (result.setup_cost.updates, result.setup_cost.examples) == (100, 0.5)


# -- progress --------------------------------------------------------------------------------------


def test_progress_of_one_off_work_is_logged(capsys, monkeypatch):
    run(trials=30)
    assert capsys.readouterr().err == ""
    run(trials=30, progress=True)
    assert "preparing" not in capsys.readouterr().err, "not before LOG_SECONDS are over"
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    run(trials=30, progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines.count("preparing  1/2") == lines.count("advancing  2/2") == 1
    assert any(re.match("30 trials", line) for line in lines)


def test_progress_of_one_off_work_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "REFRESH_SECONDS", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    evaluator = Learner()
    with Display(Settings(trials=5), enabled=True) as display:
        with display.watching(evaluator):
            evaluator.on_progress("training the super-network", 1_234, 5_000)
            display._bar.refresh()
            assert len(display._bar.tasks) == 2
        assert len(display._bar.tasks) == 1
        assert evaluator.on_progress is None
    assert "1,234/5,000" in terminal.getvalue()
    assert "training the super-network" in terminal.getvalue()


def test_nobody_listens_outside_of_one_off_work():
    listening = []

    class Watched(Learner):
        def prepare(self):
            listening.append(self.on_progress is not None)
            return super().prepare()

        def evaluate(self, architecture, seed):
            listening.append(self.on_progress is not None)
            pickle.dumps(self.__getstate__())
            return Evaluation(1.0)

        def advance(self, sample):
            listening.append(self.on_progress is not None)
            return super().advance(sample)

    evaluator = Watched(interval=3)
    run(evaluator, trials=5)
    assert listening == [True, False, False, False, True, False, False]
    assert evaluator.on_progress is None

    class Fails(Learner):
        def prepare(self):
            raise ZeroDivisionError

    evaluator = Fails()
    with pytest.raises(ZeroDivisionError):
        run(evaluator)
    assert evaluator.on_progress is None
