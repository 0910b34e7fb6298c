"""The token that guards a Ray, and a Ray that cannot start. None is started here but by a command of its own."""

import contextlib
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from archsearch import RayExecutor, Space, search
from archsearch.controllers import RandomSearch
from archsearch.errors import ExecutorError, UsageError
from archsearch.evaluators import Function
from archsearch.executors.ray import private as ray_private
from archsearch.executors.ray.authentication import ensure_token, may_show_token

pytestmark = pytest.mark.skipif(not ray_private.knows_tokens(), reason="this Ray knows no tokens")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home folder without a token, and nothing in the environment."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "ARCHSEARCH_OPEN_RAY"):
        monkeypatch.setenv(name, "")  # so that it is as before afterwards, whatever Ray sets
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    ray_private.forget_token()
    yield tmp_path / "home"
    monkeypatch.undo()  # another test in this process may have begun a Ray with a token: Ray is to know of it again
    ray_private._set_mode(os.environ.get("RAY_AUTH_MODE"))
    ray_private.forget_token()


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_token_is_made_that_only_its_owner_can_read(home):
    before = os.umask(0)
    try:
        ensure_token()
    finally:
        os.umask(before)
    token = home / ".ray" / "auth_token"
    assert (mode_of(token), mode_of(token.parent)) == (0o600, 0o700)
    assert len(token.read_text()) == 64
    assert list(token.parent.iterdir()) == [token]
    text = token.read_text()
    ensure_token()
    assert token.read_text() == text, "a token that is there stays"


def test_a_token_that_ray_left_readable_by_all_is_closed_and_an_empty_one_made_anew(home):
    token = home / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("0" * 64)
    token.chmod(0o644)
    ensure_token()
    assert (mode_of(token), token.read_text()) == (0o600, "0" * 64)
    token.write_text("")
    ensure_token()
    assert (mode_of(token), len(token.read_text())) == (0o600, 64)


def test_processes_that_make_it_at_the_same_time_agree(home):
    command = [sys.executable, "-c", "from archsearch.executors.ray.authentication import ensure_token; ensure_token()"]
    several = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait() for process in several] == [0, 0, 0]
    assert [path.name for path in (home / ".ray").iterdir()] == ["auth_token"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("RAY_AUTH_MODE", "disabled", "RAY_AUTH_MODE: expected token, .*got 'disabled'.*ARCHSEARCH_OPEN_RAY=1"),
        ("RAY_AUTH_MODE", "tokn", "got 'tokn'"),
        ("RAY_AUTH_TOKEN_PATH", "/nowhere/token", "RAY_AUTH_TOKEN_PATH: expected a file .*'/nowhere/token'"),
    ],
)
def test_without_a_token_none_is_started(name, value, message, monkeypatch, tmp_path):
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=message):
        search(
            Space(arities=[3]), RandomSearch(), Function(sum), trials=1, executor=RayExecutor(1), out=tmp_path / "run"
        )
    assert not (tmp_path / "run").exists()
    import ray

    assert not ray.is_initialized()


def test_one_may_be_told_to_do_without(home, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("ARCHSEARCH_OPEN_RAY", "1")
    ensure_token()
    assert not (home / ".ray").exists()


def test_a_home_that_cannot_be_written_is_one_line(home, monkeypatch):
    (home / "file").touch()
    monkeypatch.setenv("HOME", str(home / "file"))
    with pytest.raises(ExecutorError, match=r"no token can be written to .*auth_token .*set RAY_AUTH_TOKEN_PATH"):
        ensure_token()


@pytest.mark.parametrize("asks", [False, True])
def test_a_token_is_shown_only_to_a_cluster_that_asks(asks, monkeypatch):
    """Shown to one that does not ask, it has Ray lose every actor."""
    import ray

    from archsearch.executors.ray.cluster import _connect

    tried = []

    def init(address, **settings):
        tried.append((os.environ.get("RAY_AUTH_MODE"), os.environ.get(ray_private.START_WAIT)))
        if asks and tried[-1][0] != "token":
            raise ConnectionError("Failed to connect")

    monkeypatch.setattr(ray, "init", init)
    ensure_token()
    _connect("10.0.0.1:6379", {})
    assert tried == [(None, "3"), ("token", None)][: 1 + asks]


def test_one_may_forbid_to_show_it_and_without_one_there_is_none(monkeypatch):
    assert not may_show_token()
    ensure_token()
    assert may_show_token()
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert not may_show_token()


@pytest.mark.parametrize("folder", ["a file", "too long"])
def test_a_ray_that_cannot_start_is_one_line_with_what_to_do(folder, tmp_path, monkeypatch):
    place = tmp_path / ("f" if folder == "a file" else "long" * 30)
    place.touch() if folder == "a file" else place.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(place))
    with pytest.raises(ExecutorError, match=r"Ray cannot be started on this machine: .*RAY_TMPDIR names") as caught:
        search(Space(arities=[3]), RandomSearch(), Function(sum), trials=1, executor=RayExecutor(1))
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_ray_that_starts_slowly_is_tried_again_until_the_time_is_over(monkeypatch):
    import ray

    from archsearch.executors.ray.cluster import Wish, _start

    asked, clock = [], [0.0]

    def init(*_, **settings):
        asked.append(os.environ[ray_private.START_WAIT])
        clock[0] += 30.0
        raise Exception("The current node timed out during startup. This could happen because ...")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr("archsearch.executors.ray.cluster.time.monotonic", lambda: clock[0])
    with pytest.raises(ExecutorError, match=r"cannot be started .*timed out.* raise start_seconds"):
        _start(Wish(None, {"CPU": 1}, None, 80.0), {})
    assert asked == ["80"] * 3
    assert ray_private.START_WAIT not in os.environ


@pytest.mark.slow
@pytest.mark.parametrize("token", [False, True], ids=["before", "after"])
def test_first_block_of_the_page_on_clusters_works_before_and_after_a_first_local_run(token, home, tmp_path):
    """``ray start --head`` asks for a token from the first local run on."""
    from shipping_lab import free_port, wait_for

    page = (Path(__file__).parent.parent / "docs" / "cluster.md").read_text()
    commands = [line.partition("#")[0].split() for line in page.splitlines() if line.startswith("    ")][:5]
    start = commands[1]
    assert start[:3] == ["ray", "start", "--head"]
    if token:
        ensure_token()
    environment = {name: value for name, value in os.environ.items() if name not in ("RAY_AUTH_MODE", "RAY_ADDRESS")}
    environment |= {"RAY_USAGE_STATS_ENABLED": "0"}
    port, folder = free_port(), Path(tempfile.mkdtemp(prefix="ray-"))  # the paths of sockets must be short
    head = [sys.executable, "-m", "ray.scripts.scripts", *start[1:], "--port", str(port), "--block", "--num-cpus", "2"]
    head += ["--temp-dir", str(folder), "--include-dashboard=false", "--object-store-memory", "100000000"]
    head += ["--ray-client-server-port", str(free_port()), "--dashboard-agent-listen-port", str(free_port())]
    with (tmp_path / "log").open("w") as log, contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        process = subprocess.Popen(head, env=environment, stdout=log, stderr=log, cwd=tmp_path)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        wait_for(lambda: "Ray runtime started" in (tmp_path / "log").read_text() or process.poll() is not None, 100)
        assert process.poll() is None, (tmp_path / "log").read_text()
        text = (tmp_path / "log").read_text()
        host = re.search(r"Local node IP.*?(\d+\.\d+\.\d+\.\d+)", text)[1]
        for address in ("auto", f"{host}:{port}"):
            command = [sys.executable, "-m", "archsearch.cli", "run", "--executor", "ray", "--workers", "2"]
            command += ["--address", address, "--trials", "20", "--quiet"]
            command += ["--evaluator", "Tabular", "--space", "NASBench201", "--controller", "RandomSearch"]
            own = environment | ({"RAY_ADDRESS": f"{host}:{port}"} if address == "auto" else {})
            done = subprocess.run(
                command, env=own, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=200
            )
            assert done.returncode == 0, done.stderr[-3000:]
