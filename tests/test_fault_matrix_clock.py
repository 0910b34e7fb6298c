"""The fault matrix, clocks: the time of day jumps back, for Python and for all processes."""

import shutil
import subprocess
import sys
import time

import pytest
from fault_lab import SPACE, Causing, expected_faults
from fault_matrix_lab import SETTINGS, TESTS, check, finish

from archsearch import search
from archsearch.controllers import RegularizedEvolution

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


def test_clock_jumps_back(row, tmp_path, monkeypatch):
    row(fault="clock jumps back an hour", how="local, Python's clock")
    real = time.time
    seconds = []

    def jump(trial):
        seconds.append((trial.started, trial.started + trial.seconds))
        if trial.id == 40:
            monkeypatch.setattr(time, "time", lambda: real() - 3600)

    evaluator = Causing({"hangs": 0.05}, tmp_path)
    arguments = {"trials": 120, "timeout": 0.2, "out": tmp_path / "r", "on_trial": jump, **SETTINGS}
    result = search(SPACE, RegularizedEvolution(20, 5), evaluator, **arguments)
    check(row, tmp_path / "r", 120, expected_faults(tmp_path))
    times = [moment for both in seconds for moment in both]
    assert times == sorted(times)
    assert times[-1] <= result.seconds < 1_800, "no hour is in it"


SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int jumped(void) { const char *f = getenv("CLOCK_FILE"); return f && access(f, F_OK) == 0; }

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int answer = real(clock, now);
    if (clock == CLOCK_REALTIME && jumped()) now->tv_sec -= 3600;
    return answer;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    now->tv_sec = t.tv_sec;
    now->tv_usec = t.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *where) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (where) *where = t.tv_sec;
    return t.tv_sec;
}
"""


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["local", "ray"])
def test_clock_of_all_processes_jumps_back(executor, row, no_ray, tmp_path):
    """A library before the C library gives driver, workers and all of Ray the time that is an hour less."""
    row(
        fault="clock jumps back an hour",
        how=f"{'Ray, all its processes' if executor == 'ray' else executor}, by a shim",
    )
    if not (compiler := shutil.which("cc")):
        pytest.skip("needs a C compiler")
    (tmp_path / "shim.c").write_text(SHIM)
    library = str(tmp_path / "shim.so")
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, str(tmp_path / "shim.c"), "-ldl"], check=True)
    command = [sys.executable, str(TESTS / "fault_lab.py"), "clock", executor]
    done = finish(command, tmp_path, LD_PRELOAD=library, CLOCK_FILE=str(tmp_path / "jumped"))
    assert done.returncode == 0, done.stderr
    before, after, seconds = map(float, done.stdout.split())
    assert after < before - 3000, "the clock did not jump: this test shows nothing"
    trials = check(row, tmp_path / "run", 200, expected_faults(tmp_path, once=("timeout",)))
    assert min(trial.started for trial in trials) >= 0.0
    assert max(trial.started + trial.seconds for trial in trials) <= seconds < 1_800, "no hour is in it"
    assert min(trial.seconds for trial in trials) >= 0.0
    if executor == "local":
        starts = [trial.started for trial in trials]
        assert starts == sorted(starts)
