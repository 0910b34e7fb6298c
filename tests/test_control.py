"""A search that is steered while it runs, by its own process and by others; and everything that goes wrong at that."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import control_lab
import pytest
from control_lab import PUT, SPACE, path_of, score, steered

from archsearch import SimulatedExecutor, control, resume, search
from archsearch.controllers import RandomSearch, RegularizedEvolution
from archsearch.errors import RunFolderError, UsageError
from archsearch.evaluators import Function, Tabular
from archsearch.spaces import NASBench201
from archsearch.steering.address import address

TESTS = Path(__file__).parent


# -- put -----------------------------------------------------------------------------------------


def test_what_is_put_is_proposed_next_and_the_controller_hears_of_it(tmp_path):
    heard = []

    class Hearing(RegularizedEvolution):
        def _hear(self, trial):
            heard.append((trial.id, trial.architecture, trial.score))
            super()._hear(trial)

    def put(running):
        assert running.put(PUT).startswith("put, to be proposed next: ")
        assert running.put("0,0,0,0,1").startswith("put, to be proposed after 1 that were put before: ")

    result = steered(tmp_path / "run", 10, put, controller=Hearing(population_size=5))
    trials = list(result.history)
    assert [(t.id, t.architecture, t.parent, t.proposed_by) for t in trials[11:13]] == [
        (11, PUT, None, "hand"),
        (12, (0, 0, 0, 0, 1), None, "hand"),
    ]
    assert [trial.id for trial in trials] == list(range(40))
    assert heard == [(-1, PUT, 12.0), (-2, (0, 0, 0, 0, 1), 1.0)]
    assert result.best.architecture == PUT
    children = [trial for trial in trials[13:] if trial.parent == 11]
    assert children, "the best is chosen as a parent, by the id of its trial"
    for trial in trials[13:]:
        assert sum(a != b for a, b in zip(trial.architecture, trials[trial.parent].architecture, strict=True)) == 1
    column = result.history.table()["proposed_by"].to_pylist()
    assert [column[10:14], column.count("hand")] == [[None, "hand", "hand", None], 2]


@pytest.mark.parametrize("how", ["order", "evaluation"])
def test_a_kill_between_a_put_and_its_result_changes_nothing(how, tmp_path, monkeypatch):
    whole = control_lab.begin(tmp_path / "whole")
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    arguments = [str(tmp_path / "killed"), "order"] if how == "order" else [str(tmp_path / "killed")]
    if how == "evaluation":
        environment["KILL_ONCE"] = str(tmp_path / "marker")
    begun = subprocess.run([sys.executable, TESTS / "control_lab.py", *arguments], env=environment, check=False)
    assert begun.returncode == -signal.SIGKILL
    assert address(tmp_path / "killed").exists(), "the socket of the killed search is left"
    with pytest.raises(RunFolderError, match="no search is running here; 'archsearch resume"):
        control(tmp_path / "killed").show()
    resumed = control_lab.go_on(tmp_path / "killed")
    expected = path_of(whole.history)
    if how == "order":  # the second one was never put
        assert path_of(resumed.history)[:12] == expected[:12]
        assert resumed.completed == control_lab.TRIALS
    else:
        # What was put second came before the kill, too.
        assert path_of(resumed.history) == expected
    assert expected[11][5] == "hand"


def test_orders_that_no_proposal_followed_are_the_first_of_the_next_session(tmp_path):
    result = steered(tmp_path / "run", 9, lambda running: running.put(PUT), trials=10)
    assert result.completed == 10
    more = resume(tmp_path / "run", evaluator=Function(score), trust=True, trials=12, space=SPACE)
    assert [t.proposed_by for t in more.history] == [""] * 10 + ["hand", ""]
    again = resume(tmp_path / "run", evaluator=Function(score), trust=True, trials=14, space=SPACE)
    assert [t.proposed_by for t in again.history][10:] == ["hand", "", "", ""]


def test_a_search_whose_controller_has_finished_goes_on_with_what_is_put(tmp_path):
    class Five(RandomSearch):
        @property
        def finished(self):
            return self._next_id >= 5

    result = steered(tmp_path / "run", 4, lambda running: running.put(PUT), controller=Five())
    assert [result.completed, result.stopped] == [6, "exhausted"]


def test_what_is_known_or_beyond_the_limits_is_not_evaluated(tmp_path):
    class Telling(Function):
        def measure(self, architecture):
            return {"size": float(sum(architecture))}

    def both(running):
        assert running.show()["limits"] == {"size": 8.0}
        running.put(PUT)
        running.put([0, 0, 0, 0, 1])
        running.put([0, 0, 0, 0, 1])

    result = steered(
        tmp_path / "run", 4, both, evaluator=Telling(score), limits={"size": 8.0}, duplicates="reuse", trials=20
    )
    put = [trial for trial in result.history if trial.proposed_by]
    assert [trial.architecture for trial in put] == [(0, 0, 0, 0, 1)]
    assert result.reused >= 1


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("nonsense", "nonsense"),
        ([9, 9], r"\(9, 9\)"),
        ([0.5], r"\(0.5,\)"),
        ({"a": 1}, "expected an architecture, as a text or as its options"),
        (None, "expected an architecture"),
    ],
)
def test_what_is_no_architecture_is_refused_in_one_line(value, said, tmp_path):
    found = []

    def wrong(running):
        with pytest.raises(UsageError, match=said) as caught:
            running.ask("put", value)
        found.append(str(caught.value))

    result = steered(tmp_path / "run", 3, wrong, trials=8)
    assert result.completed == 8
    assert "\n" not in found[0]
    assert not (tmp_path / "run" / "control.jsonl").exists()


# -- waiting and ending ----------------------------------------------------------------------------


def test_stop_ends_when_what_is_pending_has_ended(tmp_path):
    result = steered(tmp_path / "run", 7, lambda running: running.stop())
    assert [result.completed, result.stopped] == [8, "control"]
    more = resume(tmp_path / "run", evaluator=Function(score), trust=True, space=SPACE)
    whole = search(SPACE, RandomSearch(), Function(score), trials=40, seed=0)
    assert path_of(more.history) == path_of(whole.history)


def test_stop_waits_for_all_virtual_workers(tmp_path):
    result = steered(
        tmp_path / "run", 5, lambda running: running.stop(), executor=SimulatedExecutor(4), evaluator=Function(score)
    )
    assert result.stopped == "control"
    assert result.completed > 6


def test_a_paused_search_proposes_nothing_until_it_is_told_to(tmp_path):
    out, seen = tmp_path / "run", []

    def pause(running):
        running.pause()
        threading.Thread(target=later).start()

    def later():
        running = control(out)
        while running.show()["pending"]:
            time.sleep(0.01)
        seen.append(running.show())
        time.sleep(0.6)
        seen.append(running.show())
        running.resume()

    result = steered(out, 4, pause, trials=20, max_seconds=1000.0)
    assert [each["state"] for each in seen] == ["paused", "paused"]
    assert [each["completed"] for each in seen] == [5, 5]
    assert result.completed == 20
    gap = list(result.history)[5].started - list(result.history)[4].started
    assert gap < 0.5, "a pause is no part of the run's time"


def test_what_a_paused_search_is_told_is_done_and_kept(tmp_path):
    out, said = tmp_path / "run", []

    def change(running):
        running.pause()
        threading.Thread(target=later).start()

    def later():
        running = control(out)
        try:
            said.append(running.timeout(30))
            said.append(running.limits({"params": 3e5}))
            for wrong in (lambda: running.workers(3), lambda: running.limits({"nothing": 1.0})):
                with pytest.raises(UsageError) as caught:
                    wrong()
                said.append(str(caught.value).partition(": ")[2])
            said.append(running.show()["timeout"])
        finally:
            running.resume()

    def listener(trial):
        if trial.id == 4:
            change(control(out))

    begun = search(
        NASBench201(),
        RegularizedEvolution(population_size=5),
        Tabular(),
        trials=25,
        seed=0,
        out=out,
        on_trial=listener,
    )
    assert said[:2] == ["a time-out of 30 s from now on", "from the next proposal on: params <= 300000"]
    assert said[2].startswith("workers: the local executor has one, got 3")
    assert said[3].startswith("limits: nothing cannot be limited: Tabular measures")
    assert said[4] == 30.0
    assert max(t.metrics["params"] for t in list(begun.history)[5:]) <= 3e5
    assert max(t.metrics["params"] for t in list(begun.history)[:5]) > 3e5
    held = []
    more = resume(out, trials=40, on_trial=lambda trial: held.append(control(out).show()))
    assert [held[0]["timeout"], held[0]["limits"]] == [30.0, {"params": 3e5}]
    assert max(t.metrics["params"] for t in list(more.history)[5:]) <= 3e5
    anew = []
    resume(out, trials=45, timeout=7.0, on_trial=lambda trial: anew.append(control(out).show()["timeout"]))
    assert set(anew) == {7.0}, "what is asked for anew holds"


def test_changed_limits_after_a_kill_are_as_without_it(tmp_path, monkeypatch):
    """The journal alone is left: the search is asked from its beginning, and limits change where they did."""
    monkeypatch.setattr("archsearch.running.steered.ERRAND_SECONDS", 0.0)

    class Telling(Function):
        def measure(self, architecture):
            return {"size": float(sum(architecture))}

    def change(running):
        assert running.limits({"size": 5.0}).startswith("noted")

    whole = steered(tmp_path / "whole", 6, change, evaluator=Telling(score), controller=RegularizedEvolution())
    sizes = [sum(trial.architecture) for trial in whole.history]
    assert max(sizes[:7]) > 5 >= max(sizes[8:])

    class Killed(BaseException):
        pass

    def dies(trial):
        if trial.id == 6:
            change(control(tmp_path / "killed"))
        if trial.id >= 20:
            raise Killed

    with pytest.raises(Killed):
        search(SPACE, RegularizedEvolution(), Telling(score), trials=40, seed=0, out=tmp_path / "killed", on_trial=dies)
    resumed = resume(tmp_path / "killed", evaluator=Telling(score), space=SPACE, trust=True)
    assert path_of(resumed.history) == path_of(whole.history)


@pytest.mark.parametrize(
    "how", [{}, {"executor": SimulatedExecutor(3)}, {"batch": 4}, {"lag": 3}], ids=["one", "virtual", "batch", "lag"]
)
def test_what_was_put_into_a_parallel_search_is_replayed_where_it_was(how, tmp_path):
    class Killed(BaseException):
        pass

    def billed(architecture):  # else virtual workers would take as long as this machine
        return {"score": score(architecture), "cost": 1.0 + architecture[0]}

    def listener(out, dies):
        def listen(trial):
            if trial.id == 6:
                control(out).put(PUT)
                control(out).put("0,0,0,0,1")
            if dies and trial.id == 15:
                raise Killed

        return listen

    def begin(out, dies):
        return search(
            SPACE,
            RegularizedEvolution(population_size=5),
            Function(billed),
            trials=40,
            seed=0,
            out=out,
            on_trial=listener(out, dies),
            **how,
        )

    whole = begin(tmp_path / "whole", dies=False)
    with pytest.raises(Killed):
        begin(tmp_path / "killed", dies=True)
    resumed = resume(tmp_path / "killed", evaluator=Function(billed), space=SPACE, trust=True)
    assert path_of(resumed.history) == path_of(whole.history)
    by_id = sorted(whole.history, key=lambda trial: trial.id)
    assert [trial.architecture for trial in by_id if trial.proposed_by] == [PUT, (0, 0, 0, 0, 1)]
