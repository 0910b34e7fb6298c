"""Faults, caused: kill -9 at any moment."""

import random
import sys
import time

import faulty_lab
import forked
import pytest
from faulty_lab import path

from archsearch import cli
from archsearch.keeping.folder import RunFolder


@pytest.mark.parametrize(
    "options",
    [[], ["--executor", "simulated", "--workers", "7"], ["--duplicates", "reuse", "--lag", "3"]],
    ids=["local", "simulated", "reuse-lag"],
)
def test_killed_at_random_moments_it_equals_an_uninterrupted_run(options, tmp_path, monkeypatch):
    begin = ["run", "--evaluator", "Function", "--evaluator.function", "faulty_lab.logged", "--seed", "5"]
    begin += [
        "--controller",
        "RegularizedEvolution",
        "--controller.population_size",
        "20",
        "--trials",
        "1500",
        "--quiet",
        *options,
    ]
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path / "whole")
        patch.setattr(sys, "path", [*sys.path])
        patch.setenv(faulty_lab.PAUSE, "0")
        assert cli.main([*begin, "--out", "run"]) == 0

    delays = random.Random(1)
    kills = 0
    folder = tmp_path / "killed" / "run"
    while True:
        started = (folder / "config.yaml").exists()
        arguments = ["resume", "run", "--quiet", "--trust"] if started else [*begin, "--out", "run"]
        pause = {} if kills < 4 else {faulty_lab.PAUSE: "0"}
        process = forked.Process(cli.main, arguments, cwd=tmp_path / "killed", environment=pause)
        if kills < 4 and process.wait(timeout=delays.uniform(0.1, 0.6)) is None:
            process.kill()
            process.wait()
            kills += 1
            continue
        assert process.wait() == 0, process.stderr
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
    drive = faulty_lab.drive, executor, workers
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    assert forked.run(*drive, cwd=tmp_path / "whole", environment={faulty_lab.PAUSE: "0"}).poll() == 0

    def calls():
        log = tmp_path / "killed" / "calls.log"
        return [int(line) for line in log.read_text().split()] if log.exists() else []

    delays = random.Random(2)
    saved = []  # at each kill: the seeds of the trials on disk, and how many evaluations had begun
    for kill in range(6):
        process = forked.Process(*drive, cwd=tmp_path / "killed")
        if kill % 2:
            time.sleep(delays.uniform(0.0, 0.3))
        else:
            begun = len(calls())
            while len(calls()) < begun + delays.randrange(20, 90) and process.poll() is None:
                time.sleep(0.002)
        assert process.poll() is None, "the run ended before it could be killed: this test shows nothing"
        process.kill()
        process.wait()
        trials = RunFolder(tmp_path / "killed" / "run").trials(faulty_lab.SEED)
        saved.append(({trial.seed for trial in trials}, len(calls())))
    assert forked.run(*drive, cwd=tmp_path / "killed", environment={faulty_lab.PAUSE: "0"}).poll() == 0

    whole, killed = (list(RunFolder(tmp_path / name / "run").trials(faulty_lab.SEED)) for name in ("whole", "killed"))
    assert path(killed) == path(whole)
    assert len(killed) == len({trial.id for trial in killed}) == faulty_lab.TRIALS
    for seeds, begun in saved:
        assert not seeds & set(calls()[begun:]), "a trial that was on disk was evaluated again"
    assert len(calls()) - len(set(calls())) <= len(saved) * workers, "only pending ones are evaluated again"
