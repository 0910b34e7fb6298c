"""A search that is steered while it runs, by its own process and by others; and everything that goes wrong at that."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import control_lab
import pytest
from common import run_command
from control_lab import PUT, SPACE, score

from archsearch import LocalExecutor, SimulatedExecutor, control, resume, search
from archsearch.controllers import RandomSearch, RegularizedEvolution
from archsearch.errors import RunFolderError, UsageError
from archsearch.evaluators import Function, Tabular
from archsearch.files.damage import DamageWarning
from archsearch.keeping.folder import RunFolder
from archsearch.spaces import NASBench201

TESTS = Path(__file__).parent


def path_of(trials):
    return [(t.id, t.architecture, t.parent, t.score, t.failure, t.proposed_by) for t in trials]


def steered(out, at, what, trials=40, controller=None, evaluator=None, **options):
    """A search in which something is done after a trial."""

    def listener(trial):
        if trial.id == at:
            what(control(out))

    return search(
        SPACE,
        controller or RandomSearch(),
        evaluator or Function(score),
        trials=trials,
        seed=0,
        out=out,
        on_trial=listener,
        **options,
    )


def ask_raw(out, data):
    """What the door answers to any bytes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(out / "control" / "socket"))
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(1 << 16)


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
    assert (tmp_path / "killed" / "control" / "socket").exists(), "the socket of the killed search is left"
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


# -- cancel ------------------------------------------------------------------------------------------


def test_a_trial_in_a_worker_process_is_ended(tmp_path):
    out, said = tmp_path / "run", []

    def hang(running):
        running.put(PUT)
        threading.Thread(target=later).start()

    def later():
        running = control(out)
        while [each["trial"] for each in running.show()["pending"]] != [4]:
            time.sleep(0.02)
        time.sleep(0.2)
        said.append(running.cancel(4))

    result = steered(
        out,
        3,
        hang,
        trials=8,
        evaluator=Function("control_lab.slow"),
        executor=LocalExecutor(isolate=True),
        retries={"worker_died": 3},
        max_failures=1,
    )
    assert said == ["trial 4 is ended"]
    trial = list(result.history)[4]
    assert [trial.failure, trial.error, trial.attempts] == ["cancelled", "cancelled by hand", 1]
    assert [result.completed, result.failed, result.faults] == [8, 1, {}]
    assert trial.seconds < 30


def test_a_trial_in_the_own_process_cannot_be_ended(tmp_path):
    said = []

    class Asking(Function):
        def evaluate(self, architecture, seed):
            if not said:
                with pytest.raises(UsageError) as caught:
                    control(tmp_path / "run").cancel(0)
                said.append(str(caught.value))
            return super().evaluate(architecture, seed)

    result = search(SPACE, RandomSearch(), Asking(score), trials=3, seed=0, out=tmp_path / "run")
    assert "evaluated in the search's own process" in said[0]
    assert result.completed == 3


def test_a_pending_trial_of_virtual_workers_is_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr("archsearch.running.steered.ERRAND_SECONDS", 0.0)
    chosen = []

    def cancel(running):
        chosen.append(running.show()["pending"][-1]["trial"])
        assert running.cancel(chosen[0]).startswith("noted")
        with pytest.raises(UsageError, match="cancel: expected the id of a pending trial"):
            running.cancel(999)

    result = steered(
        tmp_path / "run", 3, cancel, executor=SimulatedExecutor(4), controller=RegularizedEvolution(), trials=20
    )
    ended = [trial.id for trial in result.history if trial.failure == "cancelled"]
    assert ended == chosen
    assert [result.completed, result.failed] == [20, 1]


def test_virtual_workers_come_and_go_and_a_resume_keeps_them(tmp_path, monkeypatch):
    monkeypatch.setattr("archsearch.running.steered.ERRAND_SECONDS", 0.0)
    pending = {}

    def watch(trial):
        running = control(tmp_path / "run")
        if trial.id in (5, 40):
            running.workers(6 if trial.id == 5 else 1)
        pending[len(pending)] = len(running.show()["pending"])

    search(
        NASBench201(),
        RandomSearch(),
        Tabular(),
        trials=80,
        seed=0,
        out=tmp_path / "run",
        executor=SimulatedExecutor(2),
        on_trial=watch,
    )
    assert max(list(pending.values())[:5]) == 1
    assert max(list(pending.values())[10:35]) == 5
    assert max(list(pending.values())[60:]) == 0
    shown = []
    resume(tmp_path / "run", trials=82, on_trial=lambda _: shown.append(control(tmp_path / "run").show()["workers"]))
    resume(tmp_path / "run", trials=84, workers=3, on_trial=lambda _: shown.append(control(tmp_path / "run").show()))
    assert shown[0] == 1
    assert shown[-1]["workers"] == 3


# -- the door --------------------------------------------------------------------------------------


def test_only_its_owner_may_enter(tmp_path, monkeypatch):
    out, found = tmp_path / "run", {}

    def look(_running):
        found["folder"] = stat.S_IMODE(os.stat(out / "control").st_mode)
        found["socket"] = stat.S_IMODE(os.stat(out / "control" / "socket").st_mode)
        # The kernel says who connects: the search takes it for another user's when it is another one itself.
        with monkeypatch.context() as other:
            user = os.geteuid()
            other.setattr("archsearch.steering.address.os.geteuid", lambda: user + 1)
            found["refused"] = json.loads(ask_raw(out, b'{"verb": "stop"}\n'))
            with pytest.raises(RunFolderError, match="belongs to another user"):
                control(out).show()

    result = steered(out, 2, look, trials=5)
    assert found == {"folder": 0o700, "socket": 0o600, "refused": {"error": "this search belongs to another user"}}
    assert [result.completed, result.stopped] == [5, "trials"]
    assert not (out / "control").exists(), "a search that has ended leaves no socket"


GARBAGE = [
    b"",
    b"\n",
    b"\x00\xff" * 1000,
    b"{",
    b"[]\n",
    b'"put"\n',
    b'{"verb": 3}\n',
    b"[" * 100_000,
    b'{"verb": "fly"}\n',
]


def test_garbage_is_answered_and_harms_nothing(tmp_path):
    answers = []

    def throw(running):
        out = running.directory
        for data in GARBAGE:
            answers.append(json.loads(ask_raw(out, data)))
        silent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        silent.connect(str(out / "control" / "socket"))  # it says nothing, and stays
        answers.append(running.show())
        silent.close()

    result = steered(tmp_path / "run", 2, throw, trials=6)
    assert all("\n" not in each["error"] for each in answers[:-1])
    assert answers[-2]["error"].startswith("expected one of pause, resume, stop, put,")
    assert answers[-1]["completed"] == 3
    assert result.completed == 6


def test_too_long_a_request_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("archsearch.steering.door.LONGEST_LINE", 100)
    answers = []
    steered(
        tmp_path / "run",
        1,
        lambda running: answers.append(json.loads(ask_raw(running.directory, b'{"verb": "' + b"x" * 200))),
        trials=3,
    )
    assert "error" in answers[0]


def test_two_clients_are_served_at_once(tmp_path):
    found = []

    def both(running):
        threads = [threading.Thread(target=lambda: found.append(running.put(PUT))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    result = steered(tmp_path / "run", 2, both, trials=20)
    assert len(found) == 8
    assert [trial.architecture for trial in result.history if trial.proposed_by] == [PUT] * 8
    orders = (tmp_path / "run" / "control.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)[1] for line in orders if json.loads(line)[0] == "o") == list(range(1, 9))


def test_a_path_may_be_longer_than_a_socket_address(tmp_path):
    out = tmp_path / ("long" * 30) / ("longer" * 20) / "run"
    out.parent.mkdir(parents=True)
    seen = []
    steered(out, 2, lambda running: seen.append(running.show()["completed"]), trials=5)
    assert seen == [3]


def test_a_folder_of_somebody_else_is_not_used(tmp_path, monkeypatch):
    """A link in place of the folder would have the socket made elsewhere: the search goes on without."""
    out, said = tmp_path / "run", []
    (tmp_path / "elsewhere").mkdir()
    out.mkdir()
    (out / "control").symlink_to(tmp_path / "elsewhere")

    def look(trial):
        with pytest.raises(RunFolderError) as caught:
            control(out).show()
        said.append(str(caught.value))

    result = search(SPACE, RandomSearch(), Function(score), trials=2, seed=0, out=out, on_trial=look)
    assert result.completed == 2
    assert "cannot be reached" in said[0]
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_child_that_outlives_the_search_does_not_keep_its_door_open(tmp_path):
    out, children = tmp_path / "run", []

    def fork(_running):
        child = os.fork()
        if not child:
            time.sleep(20)
            os._exit(0)
        children.append(child)

    steered(out, 1, fork, trials=4)
    try:
        with pytest.raises(RunFolderError, match="no search is running here"):
            control(out).show()
    finally:
        os.kill(children[0], signal.SIGKILL)
        os.waitpid(children[0], 0)


def test_no_search_is_one_line(tmp_path, capsys):
    for arguments in (["show"], ["put", "3,1"], ["stop"]):
        status, out, err = run_command(capsys, "control", str(tmp_path), *arguments)
        assert (status, out) == (2, "")
        assert err.count("\n") == 1
        assert "no run here" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fly"], "verb: expected one of show, pause"),
        (["put"], "put: expected ARCHITECTURE"),
        (["pause", "3"], "pause: expected nothing behind it"),
        (["cancel", "x"], "cancel: expected a number or none, got 'x'"),
        (["cancel", "1.5"], "cancel: expected a whole number, got '1.5'"),
        (["workers", "2", "3"], "workers: expected N"),
        (["limits", "flops"], "limits: flops: expected a number or none, got ''"),
        (["timeout", "soon"], "timeout: expected a number or none"),
    ],
)
def test_wrong_usage_is_one_line(arguments, said, tmp_path, capsys):
    status, out, err = run_command(capsys, "control", str(tmp_path), *arguments)
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_the_command_says_what_the_search_says(tmp_path, capsys):
    found = []

    def command(running):
        for arguments in (["put", "3,2,4,1,2"], ["put", "0", "0", "0", "0", "1"], ["show"], ["stop", "--json"]):
            found.append(run_command(capsys, "control", str(running.directory), *arguments))

    steered(tmp_path / "run", 2, command, trials=9)
    assert [each[0] for each in found] == [0, 2, 0, 0]
    assert found[0][1] == "put, to be proposed next: 3-2-4-1-2\n"
    assert found[2][1] == "running; 3 completed, 0 failed, 0 trials pending\nput      3-2-4-1-2\n"
    assert json.loads(found[3][1])["said"].startswith("nothing more is proposed")


# -- damage ----------------------------------------------------------------------------------------


def test_damage_to_orders_is_told(tmp_path):
    out = tmp_path / "run"
    steered(out, 5, lambda running: running.put(PUT), trials=10)
    log = out / "control.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(lines[0].replace(b"3", b"2", 1) + lines[1] + b'["o", 2, "put"')
    with pytest.warns(DamageWarning, match=r"control\.jsonl is damaged: at least 1 of its lines lost"):
        result = resume(out, evaluator=Function(score), trust=True, space=SPACE, trials=14)
    assert result.completed == 14, "all that was put had its result before"


def test_a_torn_line_is_no_part_of_the_next(tmp_path):
    out = tmp_path / "run"
    steered(out, 5, lambda running: running.put(PUT), trials=10)
    with open(out / "control.jsonl", "ab") as log:
        log.write(b'["o",2,"pu')
    more = resume(
        out,
        evaluator=Function(score),
        trust=True,
        space=SPACE,
        trials=14,
        on_trial=lambda trial: control(out).put(PUT) if trial.id == 11 else None,
    )
    assert [trial.id for trial in more.history if trial.proposed_by] == [6, 12]
    again = resume(out, evaluator=Function(score), trust=True, space=SPACE, trials=16)
    assert again.completed == 16
    assert RunFolder(out).table(SPACE)["proposed_by"].to_pylist().count("hand") == 2
