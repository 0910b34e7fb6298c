"""The door of a search that is steered: who may enter, what comes in, trials that are ended, and damage."""

import json
import os
import signal
import socket
import stat
import threading
import time

import pytest
from common import run_command
from control_lab import PUT, SPACE, ask_raw, score, steered

from archsearch import LocalExecutor, SimulatedExecutor, control, resume, search
from archsearch.controllers import RandomSearch, RegularizedEvolution
from archsearch.errors import RunFolderError, UsageError
from archsearch.evaluators import Function, Tabular
from archsearch.files.damage import DamageWarning
from archsearch.keeping.folder import RunFolder
from archsearch.spaces import NASBench201
from archsearch.steering.address import address

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
        found["folder"] = stat.S_IMODE(address(out).parent.stat().st_mode)
        found["socket"] = stat.S_IMODE(address(out).stat().st_mode)
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
    assert not address(out).exists(), "a search that has ended leaves no socket"


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
        silent.connect(str(address(out)))  # it says nothing, and stays
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
    (tmp_path / f"archsearch-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setattr("archsearch.steering.address.SHARED", tmp_path)

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
