"""The new processes of the contract suites know nothing of this one, and end with it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from archsearch.testing import ContractError, looking
from archsearch.testing.looking import in_new_process

NOTES = []


def facts(name):
    return NOTES, name in sys.modules, hash("text"), os.environ.get("ARCHSEARCH_NOTE"), os.getpid(), os.getcwd()


def ends():
    os._exit(3)


def raises(message):
    raise ZeroDivisionError(message)


def gives_what_cannot_be_sent():
    return lambda: None


def raises_what_cannot_be_sent():
    error = ZeroDivisionError("by nothing")
    error.function = lambda: None
    raise error


@pytest.fixture(params=["as here", "without fork"])
def way(request, monkeypatch):
    looking._fresh_processes.cache_clear()
    if request.param == "without fork":
        monkeypatch.setattr(looking.sys, "platform", "darwin")
        assert looking._fresh_processes().get_start_method() == "spawn"
    yield
    looking._fresh_processes.cache_clear()


def test_they_know_nothing_of_this_one_but_its_environment_and_of_each_other(way, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "NOTES", ["written here"])
    monkeypatch.setitem(sys.modules, "an_invention", sys)
    monkeypatch.setattr(looking, "SLOW_TO_IMPORT", ("torch",))
    monkeypatch.setenv("ARCHSEARCH_NOTE", "first")
    first = in_new_process(facts, "an_invention")
    monkeypatch.setenv("ARCHSEARCH_NOTE", "second")
    second = in_new_process(facts, "an_invention")
    assert first[:2] == second[:2] == ([], False)
    assert (first[3], second[3]) == ("first", "second")
    assert first[2] == second[2] != hash("text")
    assert len({first[4], second[4], os.getpid()}) == 3
    assert first[5] == second[5] == os.getcwd()


def test_what_goes_wrong_there_is_raised_here(way):
    with pytest.raises(ZeroDivisionError, match="by nothing"):
        in_new_process(raises, "by nothing")
    with pytest.raises(RuntimeError, match="ZeroDivisionError: by nothing"):
        in_new_process(raises_what_cannot_be_sent)
    with pytest.raises(Exception, match="lambda"):
        in_new_process(gives_what_cannot_be_sent)
    with pytest.raises(ContractError, match="ended before it gave an answer"):
        in_new_process(ends)


SCRIPT = """
import multiprocessing, os, time
from archsearch.testing import looking

def waits(folder):
    open(os.path.join(folder, f"{os.getpid()}.waits"), "w").close()
    time.sleep(600)

def parent():
    return os.getppid()

if __name__ == "__main__":
    server = looking.in_new_process(parent)
    if looking._fresh_processes().get_start_method() == "forkserver":
        assert server != os.getpid()
        open(f"{server}.serves", "w").close()
    looking.in_new_process(waits, os.getcwd())
"""
"""As a user would run a suite: a script, without a test runner, whose classes are those of ``__main__``."""


def alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_they_and_their_server_end_when_this_process_is_killed(tmp_path):
    (tmp_path / "suite.py").write_text(SCRIPT)
    process = subprocess.Popen([sys.executable, "suite.py"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    wait_for(lambda: process.poll() is not None or list(tmp_path.glob("*.waits")))
    others = [int(path.stem) for path in tmp_path.iterdir() if path.stem.isdecimal()]
    assert len(others) == 2
    assert all(map(alive, others))
    process.kill()
    process.wait()
    wait_for(lambda: not any(map(alive, others)))
