"""Evaluators that learn on, in runs that are killed and go on."""

import json
import random
import signal
import time

import advancing_lab
import forked
import pytest
import yaml
from advance_lab import events, killed_run, path, run
from advancing_lab import INTERVAL, SEED, Learner

from archsearch import resume
from archsearch.errors import RunFolderError
from archsearch.keeping.folder import RunFolder


@pytest.mark.parametrize("after", [3, INTERVAL - 1, INTERVAL, INTERVAL + 1, 2 * INTERVAL, 95])
@pytest.mark.parametrize("settings", [{}, {"executor": "simulated", "workers": 6}, {"duplicates": "reuse", "lag": 4}])
@pytest.mark.parametrize("rows", [17, 1000])
def test_a_killed_run_goes_on_as_if_it_had_not_been(after, settings, rows, tmp_path, monkeypatch):
    monkeypatch.setattr("archsearch.keeping.history.PART_ROWS", rows)
    whole = run(**settings)
    killed_run(tmp_path / "r", monkeypatch, after, **settings)
    evaluator = Learner()
    resumed = resume(tmp_path / "r", evaluator=evaluator)
    assert path(resumed) == path(whole)
    for name in ("updates", "device_seconds"):
        assert getattr(resumed.setup_cost, name) == getattr(whole.setup_cost, name)
    assert resumed.cost.device_seconds == whole.cost.device_seconds


def test_an_advance_on_disk_is_not_done_again(tmp_path, monkeypatch):
    killed_run(tmp_path / "r", monkeypatch, INTERVAL + 1)
    (advanced,) = events(tmp_path / "r", "v")
    assert advanced[1] > 0
    assert advanced[3:5] == [2.0, 0.0], "device seconds, examples"
    evaluator = Learner()
    resume(tmp_path / "r", evaluator=evaluator)
    assert evaluator.samples[0][0] >= INTERVAL


def test_runs_of_older_versions_go_on(tmp_path):
    """Their folders know nothing of batches and advances."""
    run(Learner(), trials=50, out=tmp_path / "r")
    config = yaml.safe_load((tmp_path / "r" / "config.yaml").read_text())
    del config["settings"]["batch"]
    (tmp_path / "r" / "config.yaml").write_text(yaml.safe_dump(config))
    (file,) = (tmp_path / "r" / "journal").glob("state-*")
    state = json.loads(file.read_text())
    for entry in ("advances", "checksum", "parts", "remembered", "remembered_advances"):
        del state[entry]
    (tmp_path / "r" / "trials" / file.name).write_text(json.dumps(state))
    file.unlink()
    evaluator = Learner()
    finished = len(list(RunFolder(tmp_path / "r").trials(1)))
    resumed = resume(tmp_path / "r", evaluator=evaluator, trials=95, batch=3)
    assert resumed.completed == 95
    ids = sorted(trial.id for trial in resumed.history if not trial.failure)
    assert evaluator.samples[0] == [id_ for id_ in ids if finished <= id_ < finished + INTERVAL]


def test_an_evaluator_that_no_longer_advances_is_refused(tmp_path, monkeypatch):
    killed_run(tmp_path / "r", monkeypatch, INTERVAL + 5)
    monkeypatch.setattr(Learner, "start", lambda self, space: setattr(self, "interval", 0))
    with pytest.raises(RunFolderError, match="Learner advanced in this run, and now its interval is 0"):
        resume(tmp_path / "r", trust=True)


@pytest.mark.parametrize(
    ("executor", "workers", "batch", "lag", "duplicates"),
    [
        ("local", 1, 1, 0, "evaluate"),
        ("local", 1, 6, 0, "reuse"),
        ("local", 1, 4, 9, "reuse"),
        ("simulated", 6, 1, 0, "evaluate"),
    ],
)
def test_killed_at_random_moments_it_equals_an_uninterrupted_run(executor, workers, batch, lag, duplicates, tmp_path):
    """Kill -9: right after an advance that the journal does not know of yet, then in the middle of the work."""
    drive = advancing_lab.drive, executor, workers, batch, lag, duplicates
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    done = forked.run(*drive, cwd=whole)
    assert done.poll() == 0, done.stderr

    def calls():
        log = killed / "calls.log"
        return log.read_text().count("\n") if log.exists() else 0

    delays = random.Random(batch)
    for version in (2, 5):
        (killed / "kill-at-version").write_text(str(version))
        died = forked.run(*drive, cwd=killed)
        assert died.poll() == -signal.SIGKILL, died.stderr
    for _ in range(3):
        process = forked.Process(*drive, cwd=killed)
        begun = calls()
        while calls() < begun + delays.randrange(5, 50) and process.poll() is None:
            time.sleep(0.002)
        assert process.poll() is None, "the run ended before it could be killed: this test shows nothing"
        process.kill()
        process.wait()
    ended = forked.run(*drive, cwd=killed)
    assert ended.poll() == 0, ended.stderr

    paths = [
        [(t.id, t.architecture, t.parent, t.score, dict(t.metrics)) for t in RunFolder(folder / "run").trials(SEED)]
        for folder in (whole, killed)
    ]
    assert paths[0] == paths[1]
    assert len({trial[4]["version"] for trial in paths[0] if trial[4]}) > 15
    assert json.loads(ended.stdout) == json.loads(done.stdout), "costs and counts"
