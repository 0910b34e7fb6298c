"""Several searches in one process that begin Ray themselves: one Ray, up until its last user is done."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    """What a process with a home of its own found out; one process, since each beginning of Ray takes seconds."""
    folder = tmp_path_factory.mktemp("sharing")
    names = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS", "OMP_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {"HOME": str(folder), "PYTHONPATH": str(TESTS)}
    done = subprocess.run(
        [sys.executable, str(TESTS / "sharing_lab.py"), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_three_searches_at_the_same_moment_share_one_ray(facts):
    assert facts["three"] == [[30, 0]] * 3
    assert facts["begun by three"] == 1
    assert not facts["up after three"], "the last one ends it"


def test_ray_outlives_the_thread_that_began_it(facts):
    """Its processes are killed when the thread that started them ends: Linux takes that for their parent's death."""
    assert facts["outlived"] == [10, 0]
    assert facts["begun by two"] == 1


def test_inside_held_searches_share_it_and_leave_it_up(facts):
    assert facts["inside held"] == [[30, 0], [30, 0], True]
    assert facts["begun in all"] == 3


def test_a_ray_of_ones_own_listens_on_this_machine_alone(facts):
    assert facts["host"] == "127.0.0.1"
    assert facts["listens"] == {"127.0.0.1": True, "127.0.0.2": False}
    assert facts["token"] == "0o600"


def test_a_shutdown_by_somebody_else_is_a_typed_error_and_begins_no_other_cluster(facts):
    assert facts["shut down"].startswith("ExecutorError: Ray was shut down in this process")
    assert not facts["up after shut down"]


def test_what_cannot_be_shared_is_said(facts):
    whole, inner = facts["one executor twice"]
    assert whole == [30, 0]
    assert "UsageError: RayExecutor: this one runs a search already" in inner
    assert "UsageError: runtime_env: another search in this process" in facts["another environment"]
    assert facts["too many gpus"].startswith("ExecutorError: gpus: 1 are needed")
