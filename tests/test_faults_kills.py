"""Faults, caused: kill -9 at any moment."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import faulty_lab
import pytest
from faulty_lab import path

from archsearch import cli
from archsearch.keeping.folder import RunFolder

TESTS = Path(__file__).parent


@pytest.mark.parametrize(
    "options",
    [[], ["--executor", "simulated", "--workers", "7"], ["--duplicates", "reuse", "--lag", "3"]],
    ids=["local", "simulated", "reuse-lag"],
)
def test_killed_at_random_moments_it_equals_an_uninterrupted_run(options, tmp_path, monkeypatch):
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "archsearch.cli"]
    begin = [*command, "run", "--evaluator", "Function", "--evaluator.function", "faulty_lab.logged", "--seed", "5"]
    begin += ["--controller.population_size", "20", "--trials", "1500", "--quiet", *options]
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    with monkeypatch.context() as patch:  # a process of its own would only take longer to start
        patch.chdir(tmp_path / "whole")
        patch.setattr(sys, "path", [*sys.path])
        assert cli.main([*begin[len(command) :], "--out", "run"]) == 0

    delays = random.Random(1)
    kills = 0
    folder = tmp_path / "killed" / "run"
    while True:
        started = (folder / "config.yaml").exists()
        arguments = [*command, "resume", "run", "--quiet", "--trust"] if started else [*begin, "--out", "run"]
        with subprocess.Popen(arguments, cwd=tmp_path / "killed", env=environment, stdout=subprocess.PIPE) as process:
            try:
                out, _ = process.communicate(timeout=delays.uniform(0.8, 1.4) if kills < 4 else 120)
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
                continue
        assert process.returncode == 0, out
        break
    assert kills >= 2, "the run ended before it could be killed: this test shows nothing"

    whole = path(RunFolder(tmp_path / "whole" / "run").trials(5))
    killed = list(RunFolder(folder).trials(5))
    assert path(killed) == whole
    calls = [int(line) for line in (tmp_path / "killed" / "calls.log").read_text().split()]
    again = len(calls) - len(set(calls))
    pending = 7 if "simulated" in options else 1
    assert again <= kills * pending, "only what was pending when it was killed is evaluated again"
    assert {trial.seed for trial in killed} <= set(calls)


@pytest.mark.parametrize(("executor", "workers"), [("local", 1), ("simulated", 5)])
def test_kills_while_parts_are_written_lose_nothing(executor, workers, tmp_path):
    """A part every 40 trials; odd kills come at any time after the start, even ones in the middle of the work."""
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    drive = [sys.executable, str(TESTS / "faulty_lab.py"), executor, str(workers)]
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    subprocess.run(drive, cwd=tmp_path / "whole", env=environment, check=True, capture_output=True)

    def calls():
        log = tmp_path / "killed" / "calls.log"
        return [int(line) for line in log.read_text().split()] if log.exists() else []

    delays = random.Random(2)
    saved = []  # at each kill: the seeds of the trials on disk, and how many evaluations had begun
    for kill in range(6):
        process = subprocess.Popen(drive, cwd=tmp_path / "killed", env=environment)
        if kill % 2:
            time.sleep(delays.uniform(0.1, 0.9))
        else:
            begun = len(calls())
            while len(calls()) < begun + delays.randrange(20, 90) and process.poll() is None:
                time.sleep(0.002)
        assert process.poll() is None, "the run ended before it could be killed: this test shows nothing"
        process.kill()
        process.wait()
        trials = RunFolder(tmp_path / "killed" / "run").trials(faulty_lab.SEED)
        saved.append(({trial.seed for trial in trials}, len(calls())))
    subprocess.run(drive, cwd=tmp_path / "killed", env=environment, check=True, capture_output=True)

    whole, killed = (list(RunFolder(tmp_path / name / "run").trials(faulty_lab.SEED)) for name in ("whole", "killed"))
    assert path(killed) == path(whole)
    assert len(killed) == len({trial.id for trial in killed}) == faulty_lab.TRIALS
    for seeds, begun in saved:
        assert not seeds & set(calls()[begun:]), "a trial that was on disk was evaluated again"
    assert len(calls()) - len(set(calls())) <= len(saved) * workers, "only pending ones are evaluated again"
