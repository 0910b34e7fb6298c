"""``archsearch watch``: a search in another process, one that has ended, one that was killed, none."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from common import run_command as run

from archsearch import cli
from archsearch.cli import looking

COMMAND = [sys.executable, "-m", "archsearch.cli"]


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(looking, "WATCH_SECONDS", 0.05)


@pytest.fixture
def _ended():
    assert cli.main(["run", "--trials", "12", "--seed", "0", "--out", "ended", "--quiet"]) == 0


@pytest.fixture
def slow():
    """A search in another process that waits after three trials until there is a file ``go``."""
    Path("slow_lab.py").write_text(
        "import pathlib, time\n"
        "def score(values):\n"
        "    count = pathlib.Path('count')\n"
        "    while count.exists() and count.read_text() == '...' and not pathlib.Path('go').exists():\n"
        "        time.sleep(0.02)\n"
        "    with count.open('a') as file:\n"
        "        file.write('.')\n"
        "    if count.read_text() == '..':\n"
        "        raise RuntimeError('one of them fails')\n"
        "    return 1.0\n"
    )
    command = [*COMMAND, "run", "--evaluator", "Function", "--trials", "6", "--quiet", "--out", "slow"]
    command += ["--evaluator.function", "slow_lab.score", "--seed", "1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while not Path("count").exists() or Path("count").read_text() != "...":
            assert process.poll() is None
            time.sleep(0.02)
        yield process
        Path("go").touch()


@pytest.mark.usefixtures("_ended")
def test_a_run_is_followed_to_its_end_a_line_for_each_change(slow, capsys, monkeypatch):
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        Path("go").touch()  # once the first look is shown
        slow.wait(timeout=120)

    monkeypatch.setattr(looking, "time", SimpleNamespace(sleep=pause, process_time=time.process_time))
    files = {path: path.stat().st_mtime_ns for path in Path("ended").rglob("*")}
    status, out, err = run(capsys, "watch", "slow", "ended")
    assert (status, err) == (0, "")
    first, other, last = out.splitlines()
    assert first.startswith("slow: running; 2 completed, 1 failed; best 1 (trial ")
    assert " left" in first
    assert other.startswith("ended: not running; 12 completed; best ")
    assert last.startswith("slow: not running; 6 completed, 1 failed; best 1 (trial ")
    assert len(pauses) == 1
    assert pauses[0] >= looking.WATCH_SECONDS
    assert {path: path.stat().st_mtime_ns for path in Path("ended").rglob("*")} == files, "only read"


def test_once_and_as_a_document(slow, capsys):
    status, out, _ = run(capsys, "watch", "slow", "--once")
    assert status == 0
    lines = out.splitlines()
    assert lines[:2] == ["run       slow", "state     running"]
    assert "newest" in lines
    status, out, _ = run(capsys, "watch", "slow", "--once", "--json")
    (found,) = json.loads(out)["runs"]
    assert found["trials"] == {"completed": 2, "failed": 1, "pending": 0}
    assert found["seconds_left"] > 0
    assert [each["trial"] for each in found["newest"]] == [2, 1, 0]
    assert [each["failure"] for each in found["newest"]] == [None, "exception", None]
    slow.send_signal(signal.SIGKILL)
    slow.wait(timeout=60)
    status, out, _ = run(capsys, "watch", "slow")
    assert status == 0
    assert out.startswith("slow: killed; 2 completed, 1 failed;")


def test_what_is_pending_of_several_workers(capsys, monkeypatch):
    """As the simulated executor leaves it in the journal, seen while the search goes on."""
    from archsearch import search
    from archsearch.controllers import RandomSearch
    from archsearch.evaluators import Tabular
    from archsearch.showing.status import standing
    from archsearch.spaces import NASBench201

    seen = []

    def look(trial):
        document = standing("many").document
        seen.append((document["state"], document["trials"]["pending"]))

    search(
        NASBench201(), RandomSearch(), Tabular(), trials=6, seed=0, out="many", executor="simulated", workers=4,
        on_trial=look,
    )  # fmt: skip
    assert {state for state, _ in seen} == {"running"}
    assert max(pending for _, pending in seen) in (3, 4)
    assert standing("many").document["trials"]["pending"] == 0


@pytest.mark.usefixtures("_ended")
def test_a_terminal_is_redrawn():
    main, other = pty.openpty()
    done = subprocess.run(
        [*COMMAND, "watch", "ended"], stdout=other, env={**os.environ, "TERM": "xterm", "COLUMNS": "80"}, check=False
    )
    os.close(other)
    shown = b""
    while True:
        try:
            data = os.read(main, 65536)
        except OSError:  # its end, on Linux
            break
        if not data:
            break
        shown += data
    os.close(main)
    assert done.returncode == 0
    assert b"\x1b[" in shown
    text = shown.decode()
    assert "state     not running" in text
    assert "12 completed" in text
    assert "  trial 11" in text


@pytest.mark.usefixtures("_ended")
def test_no_folder_is_a_wrong_usage(capsys):
    status, out, err = run(capsys, "watch", "ended", "nothing")
    assert (status, out) == (2, "")
    assert "no run here" in err


@pytest.mark.usefixtures("_ended")
def test_leaving_it_is_an_interrupt(slow, capsys, monkeypatch):
    def leave(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(looking, "time", SimpleNamespace(sleep=leave, process_time=time.process_time))
    assert run(capsys, "watch", "slow")[0] == 130
    assert slow.poll() is None
