"""What the tests of the fault matrix have in common.

Every kind of fault is caused for real, on the local executor or on Ray; nothing may be lost, nothing be there twice,
and everything must be counted. ``make faults`` runs all of it and prints the table. Each test is a row: ``check`` looks
at what is in the run folder afterwards.
"""

import json
import os
import subprocess
import time
from collections import Counter
from pathlib import Path

from fault_lab import SPACE, Causing

from archsearch import cli, search
from archsearch.basics.words import format_faults
from archsearch.controllers import RegularizedEvolution
from archsearch.keeping.folder import RunFolder
from archsearch.keeping.stored_run import FAULTS_FILE
from archsearch.showing import status as report

TESTS = Path(__file__).parent
# For Ray's workers, which must find ``fault_lab``, too.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))

SETTINGS = {"seed": 0, "max_failures": 100}


def path(trials):
    return [(t.id, t.architecture, t.parent, t.score, t.failure) for t in trials]


def trials_of(folder, seed=0):
    return list(RunFolder(folder).trials(seed))


def check(row, folder, asked, faults=None, seed=0):
    """Exactly what was asked for, nothing lost, nothing twice; the faults are in every place that shows them."""
    trials = trials_of(folder, seed)
    times = Counter(trial.id for trial in trials)
    completed = sum(not trial.failure for trial in trials)
    lost, twice = len(set(range(len(trials))) - set(times)), sum(n - 1 for n in times.values())
    counted = RunFolder(folder).faults()
    row({"asked": asked, "completed": completed, "failed": len(trials) - completed, "lost": lost, "twice": twice})
    row({"faults counted": format_faults(counted) or "none"})
    assert (completed, lost, twice) == (asked, 0, 0)
    if faults is not None:
        assert counted == faults
    lines = (folder / FAULTS_FILE).read_bytes().splitlines() if counted else []
    assert Counter(json.loads(line)["kind"] for line in lines) == counted, "every line is whole"
    shown = report.status(folder)
    assert "not running" in shown
    assert not counted or format_faults(counted) in shown
    return trials


def check_report(folder, capsys):
    """``archsearch report`` counts them, too."""
    capsys.readouterr()
    assert cli.main(["report", str(folder)]) == 0
    assert f"{format_faults(RunFolder(folder).faults())} (in faults.jsonl)" in capsys.readouterr().out


def environment():
    """As it is now: a Ray that ran in this process may have left there how it checks who connects."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def finish(command, folder, **variables):
    """Runs a command in a folder to its end."""
    return subprocess.run(
        command, cwd=folder, env=environment() | variables, capture_output=True, text=True, timeout=200, check=False
    )


def journaled(folder):
    """The trials on disk of a run that may not have begun yet."""
    return trials_of(folder) if (folder / "config.yaml").exists() else []


def wait_for(what, process, seconds=90):
    end = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, f"it ended by itself: {process.communicate()}"
        assert time.monotonic() < end
        time.sleep(0.02)


def whole_run(tmp_path, trials, **causes):
    """The same search, undisturbed."""
    (tmp_path / "undisturbed").mkdir()
    evaluator = Causing(causes, tmp_path / "undisturbed")
    result = search(SPACE, RegularizedEvolution(20, 5), evaluator, trials=trials, **SETTINGS)
    return path(result.history), result.faults
