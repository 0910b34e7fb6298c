"""Evaluators that learn on as the search goes on, set-up cost, progress of one-off work, and batches."""

import io
import itertools
import json
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from advancing_lab import INTERVAL, SEED, SPACE, Learner, Together, is_bad

from archsearch import Cost, Evaluation, Evaluator, Settings, progress, resume, search
from archsearch.controllers import RandomSearch, RegularizedEvolution
from archsearch.errors import RunFolderError, TooManyFailures, UsageError
from archsearch.evaluators import Function
from archsearch.executor import evaluate_batch_safely
from archsearch.history import History, RunFolder
from archsearch.progress import Display
from archsearch.trial import Query

TESTS = Path(__file__).parent


class Killed(BaseException):
    pass


def run(evaluator=None, controller=None, **settings):
    settings = {"trials": 130, "seed": 1, "max_failures": 99, **settings}
    return search(SPACE, controller or RegularizedEvolution(10, 3), evaluator or Learner(), **settings)


def path(result):
    return sorted((t.id, t.architecture, t.parent, t.score, tuple(t.metrics.values())) for t in result.history)


def events(folder, kind=""):
    """The lines of a run's journals."""
    journals = sorted((folder / "journal").glob("journal-*"))
    lines = [json.loads(line)[:-1] for journal in journals for line in journal.read_text().splitlines()]
    return [line for line in lines if line[0] == kind or (not kind and line[0] != "j")]


def killed_run(folder, monkeypatch, after, evaluator=None, **settings):
    """A run that was stopped as if by kill -9 after some trials."""
    finished = iter(range(after - 1))

    def stop(_):
        if next(finished, None) is None:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(History, "close", lambda self, state: self.folder._lock.close())
        with pytest.raises(Killed):
            run(evaluator, out=folder, on_trial=stop, **settings)


# -- advance ---------------------------------------------------------------------------------------

EXECUTORS = [
    {"executor": "local"},
    {"executor": "local", "batch": 7},
    {"executor": "local", "lag": 5},
    {"executor": "local", "lag": 9, "batch": 4},
    {"executor": "simulated", "workers": 6},
    {"executor": "simulated", "workers": 6, "lag": 8},
    {"executor": "simulated", "workers": 50},
]


@pytest.mark.parametrize("settings", EXECUTORS, ids=str)
def test_all_trials_of_an_interval_are_scored_by_one_version_and_are_the_next_sample(settings):
    evaluator = Learner()
    result = run(evaluator, **settings)
    trials = list(result.history)  # as they finished
    assert result.failed > 5
    for position, trial in enumerate(trials):
        if trial.evaluation is not None:
            assert trial.metrics["version"] == position // INTERVAL
    intervals = [trials[i : i + INTERVAL] for i in range(0, len(trials), INTERVAL)]
    samples = [sorted(trial.id for trial in interval if not trial.failure) for interval in intervals]
    assert evaluator.samples == samples[: (len(trials) - 1) // INTERVAL]
    assert len(evaluator.samples) > 5
    fresh = [trial for trial in trials[len(evaluator.samples) * INTERVAL :] if not trial.failure]
    assert result.best == max(fresh, key=lambda trial: trial.score), "scores of different versions cannot be compared"


@pytest.mark.parametrize("after", [15, 45, None])
def test_what_it_learnt_is_on_the_bill_of_a_running_and_of_a_finished_run(tmp_path, monkeypatch, after):
    if after is None:
        expected = run(out=tmp_path / "run").setup_cost
    else:
        killed_run(tmp_path / "run", monkeypatch, after)
        expected = Cost(updates=100)
        for sample in Learner.samples_of(tmp_path / "run"):
            expected += Cost(updates=len(sample), device_seconds=2.0)
    found = RunFolder(tmp_path / "run").setup_cost()
    assert (found.updates, found.device_seconds) == (expected.updates, expected.device_seconds)
    assert found.updates > 100 or after == 15


def test_with_a_lag_the_number_of_workers_and_the_batch_change_nothing():
    paths = [path(run(lag=8, **settings)) for settings in ({}, {"batch": 3}, {"executor": "simulated", "workers": 5})]
    assert paths[1:] == paths[:-1]


def test_no_advance_when_the_search_ends_at_the_boundary_but_when_it_goes_on(tmp_path):
    whole = run(controller=RandomSearch(), trials=90)
    total = len(whole.history)
    first = Learner()
    trials = sum(not trial.failure for trial in list(whole.history)[:INTERVAL])
    short = run(first, RandomSearch(), trials=trials, out=tmp_path / "r")
    assert (len(short.history), first.samples, short.setup_cost.updates) == (INTERVAL, [], 100)
    resumed = resume(tmp_path / "r", trials=90, trust=True)
    assert len(resumed.history) == total
    assert path(resumed) == path(whole)
    assert resumed.setup_cost.updates == whole.setup_cost.updates


def test_without_an_interval_nothing_is_kept_or_called():
    evaluator = Learner(interval=0)
    result = run(evaluator, trials=50)
    assert evaluator.samples == []
    assert {trial.metrics["version"] for trial in result.history if not trial.failure} == {0}
    assert result.setup_cost.updates == 100


@pytest.mark.parametrize("settings", [{}, {"lag": 6}, {"batch": 5}, {"executor": "simulated", "workers": 4}], ids=str)
def test_answers_from_memory_do_not_outlive_an_advance(settings):
    told = []

    class Listening(RandomSearch):
        def _tell(self, trial):
            told.append(trial)

    result = run(controller=Listening(), trials=300, duplicates="reuse", **settings)
    evaluated = [(t.architecture, t.metrics["version"]) for t in result.history if not t.failure]
    assert len({architecture for architecture, _ in evaluated}) < len(evaluated), "later versions score again"
    together = settings.get("batch") or settings.get("workers") or settings.get("lag") or 1
    repeated = len(evaluated) - len(set(evaluated))
    assert repeated == 0 or (together > 1 and repeated < len(evaluated) / 4), "only what was pending may be repeated"
    assert result.reused > 10
    versions = {trial.id: trial.metrics["version"] for trial in result.history if not trial.failure}
    for trial in told:
        if trial.attempts == 0:
            before = [version for id_, version in versions.items() if id_ < trial.id]
            after = [version for id_, version in versions.items() if id_ > trial.id]
            assert max(before) <= trial.metrics["version"] <= min(after, default=99), "a stale score"


def test_an_evaluator_that_raises_as_it_advances_loses_nothing(tmp_path):
    class Breaks(Learner):
        def advance(self, sample):
            super().advance(sample)
            if not (self.folder / "broke").exists():
                (self.folder / "broke").touch()
                raise ZeroDivisionError("a bug of the author's")
            return Cost(updates=len(sample), device_seconds=2.0)

    with pytest.raises(ZeroDivisionError):
        run(Breaks(), out=tmp_path / "r")
    assert len(list(RunFolder(tmp_path / "r").trials(1))) == INTERVAL
    resumed, whole = resume(tmp_path / "r", evaluator=Breaks()), run()
    assert path(resumed) == path(whole)
    assert resumed.setup_cost.updates == whole.setup_cost.updates


def test_ctrl_c_interrupts_an_advance_at_once(tmp_path):
    class Slow(Learner):
        def advance(self, sample):
            if self.samples:
                return super().advance(sample)
            self.samples.append([])
            signal.raise_signal(signal.SIGINT)
            return time.sleep(60)

    begun = time.monotonic()
    evaluator = Slow()
    result = run(evaluator, out=tmp_path / "r")
    assert time.monotonic() - begun < 30
    assert (result.stopped, len(result.history), evaluator.on_progress) == ("interrupted", INTERVAL, None)
    assert path(resume(tmp_path / "r", evaluator=evaluator)) == path(run())


def test_time_is_looked_at_after_an_advance():
    class Slow(Learner):
        def advance(self, sample):
            time.sleep(1.0)
            return super().advance(sample)

    result = run(Slow(), trials=None, max_seconds=0.9)
    assert (result.stopped, len(result.history)) == ("max_seconds", INTERVAL)


# -- advance and resume ----------------------------------------------------------------------------


@pytest.mark.parametrize("after", [3, INTERVAL - 1, INTERVAL, INTERVAL + 1, 2 * INTERVAL, 95])
@pytest.mark.parametrize("settings", [{}, {"executor": "simulated", "workers": 6}, {"duplicates": "reuse", "lag": 4}])
@pytest.mark.parametrize("rows", [17, 1000])
def test_a_killed_run_goes_on_as_if_it_had_not_been(after, settings, rows, tmp_path, monkeypatch):
    monkeypatch.setattr("archsearch.history.PART_ROWS", rows)
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
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    drive = [sys.executable, str(TESTS / "advancing_lab.py"), executor, str(workers), str(batch), str(lag), duplicates]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    done = subprocess.run(drive, cwd=whole, env=environment, check=True, capture_output=True, text=True)

    def calls():
        log = killed / "calls.log"
        return log.read_text().count("\n") if log.exists() else 0

    delays = random.Random(batch)
    for version in (2, 5):
        (killed / "kill-at-version").write_text(str(version))
        died = subprocess.run(drive, cwd=killed, env=environment, check=False, capture_output=True, text=True)
        assert died.returncode == -signal.SIGKILL, died.stderr
    for _ in range(3):
        process = subprocess.Popen(drive, cwd=killed, env=environment)
        begun = calls()
        while calls() < begun + delays.randrange(5, 50) and process.poll() is None:
            time.sleep(0.002)
        assert process.poll() is None, "the run ended before it could be killed: this test shows nothing"
        process.kill()
        process.wait()
    ended = subprocess.run(drive, cwd=killed, env=environment, check=True, capture_output=True, text=True)

    paths = [
        [(t.id, t.architecture, t.parent, t.score, dict(t.metrics)) for t in RunFolder(folder / "run").trials(SEED)]
        for folder in (whole, killed)
    ]
    assert paths[0] == paths[1]
    assert len({trial[4]["version"] for trial in paths[0] if trial[4]}) > 15
    assert json.loads(ended.stdout) == json.loads(done.stdout), "costs and counts"


# -- set-up cost -----------------------------------------------------------------------------------


class Prepares(Evaluator):
    """Bills seven examples for its preparation, and says how long that took, if so asked."""

    def __init__(self, wall: float = 0.0) -> None:
        self.wall = wall

    def prepare(self):
        return Cost(wall_seconds=self.wall, examples=7)

    def evaluate(self, architecture, seed):
        return Evaluation(float(sum(architecture)))


class KeepsFiles(Prepares):
    keeps_files = True


@pytest.mark.parametrize(("make", "examples"), [(Prepares, 14), (KeepsFiles, 7)])
def test_preparation_is_added_up_unless_the_evaluator_keeps_count(make, examples, tmp_path, monkeypatch):
    run(make(), trials=5, out=tmp_path / "ended")
    assert resume(tmp_path / "ended", evaluator=make(), trials=9).setup_cost.examples == examples
    again = resume(tmp_path / "ended", evaluator=make())
    assert again.setup_cost.examples == examples, "a run that has ended prepares nothing"
    killed_run(tmp_path / "killed", monkeypatch, 3, make(), trials=9)
    assert [event[0] for event in events(tmp_path / "killed")] == ["s", "t", "t", "t"]
    assert resume(tmp_path / "killed", evaluator=make()).setup_cost.examples == examples


@pytest.mark.parametrize(
    ("make", "wall", "expected"), [(Prepares, 50.0, 0), (KeepsFiles, 50.0, 50), (KeepsFiles, 0.0, 0)], ids=str
)
def test_wall_time_of_the_preparation(make, wall, expected, tmp_path):
    """Measured, or what the evaluator knows of all sessions; if it does not say, sessions add up."""
    first = run(make(wall), trials=5, out=tmp_path / "r").setup_cost.wall_seconds
    second = resume(tmp_path / "r", evaluator=make(wall), trials=9).setup_cost.wall_seconds
    if expected:
        assert first == second == expected
    else:
        assert 0 < first < second < 5


def test_evaluators_that_cost_nothing_leave_no_mark_in_the_journal(tmp_path, monkeypatch):
    killed_run(tmp_path / "r", monkeypatch, 4, Function(sum))
    assert [event[0] for event in events(tmp_path / "r")] == ["t"] * 4


def test_numbers_of_numpy_in_set_up_costs_can_bestored(tmp_path):
    numpy = pytest.importorskip("numpy")

    class Numpy(Learner):
        def prepare(self):
            super().prepare()
            return Cost(updates=numpy.int64(100))

        def advance(self, sample):
            super().advance(sample)
            return Cost(examples=numpy.float32(0.5))

    result = run(Numpy(), trials=30, out=tmp_path / "r")
    assert (result.setup_cost.updates, result.setup_cost.examples) == (100, 0.5)


# -- progress --------------------------------------------------------------------------------------


def test_progress_of_one_off_work_is_logged(capsys, monkeypatch):
    run(trials=30)
    assert capsys.readouterr().err == ""
    run(trials=30, progress=True)
    assert "preparing" not in capsys.readouterr().err, "not before LOG_SECONDS are over"
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    run(trials=30, progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines.count("preparing  1/2") == lines.count("advancing  2/2") == 1
    assert any(re.match("30 trials", line) for line in lines)


def test_progress_of_one_off_work_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "REFRESH_SECONDS", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    evaluator = Learner()
    with Display(Settings(trials=5), enabled=True) as display:
        with display.watching(evaluator):
            evaluator.on_progress("training the super-network", 1_234, 5_000)
            display._bar.refresh()
            assert len(display._bar.tasks) == 2
        assert len(display._bar.tasks) == 1
        assert evaluator.on_progress is None
    assert "1,234/5,000" in terminal.getvalue()
    assert "training the super-network" in terminal.getvalue()


def test_nobody_listens_outside_of_one_off_work():
    listening = []

    class Watched(Learner):
        def prepare(self):
            listening.append(self.on_progress is not None)
            return super().prepare()

        def evaluate(self, architecture, seed):
            listening.append(self.on_progress is not None)
            pickle.dumps(self.__getstate__())
            return Evaluation(1.0)

        def advance(self, sample):
            listening.append(self.on_progress is not None)
            return super().advance(sample)

    evaluator = Watched(interval=3)
    run(evaluator, trials=5)
    assert listening == [True, False, False, False, True, False, False]
    assert evaluator.on_progress is None

    class Fails(Learner):
        def prepare(self):
            raise ZeroDivisionError

    evaluator = Fails()
    with pytest.raises(ZeroDivisionError):
        run(evaluator)
    assert evaluator.on_progress is None


# -- batches ---------------------------------------------------------------------------------------


def batched(evaluator, trials=60, controller=None, **settings):
    return run(evaluator, controller or RandomSearch(), trials=trials, **settings)


def test_batches_are_as_large_as_asked_for_and_change_no_proposal_of_random_search():
    evaluator = Together()
    result = batched(evaluator, batch=8)
    assert evaluator.sizes == [8] * 7 + [4]
    assert {trial.metrics["together"] for trial in result.history} == {8, 4}
    alone = batched(Together())
    assert [(t.id, t.architecture, t.score, t.seed) for t in result.history] == [
        (t.id, t.architecture, t.score, t.seed) for t in alone.history
    ]
    assert {trial.metrics["together"] for trial in alone.history} == {1}
    assert batched(Together(), batch=100, trials=7).completed == 7


def test_a_controller_hears_of_a_batch_when_it_is_done():
    told = []

    class Counting(RandomSearch):
        def _ask_many(self, n):
            told.append((n, len(self._pending)))
            return super()._ask_many(n)

    batched(Together(), controller=Counting(), batch=5, trials=20)
    assert told == [(5, 0)] * 4


def test_with_a_lag_batches_are_filled_as_far_as_it_allows():
    for lag, size in ((10, 5), (3, 3)):
        evaluator = Together()
        results = [
            batched(each, controller=RegularizedEvolution(10, 3), lag=lag, batch=batch, trials=30)
            for each, batch in ((evaluator, 5), (Together(), 1))
        ]
        assert set(evaluator.sizes) == {size}
        paths = [[(t.id, t.architecture, t.parent, t.score) for t in result.history] for result in results]
        assert paths[0] == paths[1]


def test_seconds_of_a_batch_are_shared_and_follow_one_another():
    result = batched(Together(seconds=0.002), batch=4, trials=8)
    for trials in (list(result.history)[:4], list(result.history)[4:]):
        assert len({trial.seconds for trial in trials}) == 1
        assert trials[0].seconds >= 0.002
        for one, other in itertools.pairwise(trials):
            assert other.started == pytest.approx(one.started + one.seconds, abs=1e-5)


@pytest.mark.parametrize(
    ("kind", "failure", "alone"),
    [("raises", "exception", True), ("nan", "invalid_score", False), ("hangs", "timeout", True)],
)
def test_one_bad_candidate_does_not_fail_its_batch(kind, failure, alone):
    result = batched(Together(kind), batch=6, trials=30, timeout=0.1 if kind == "hangs" else None)
    trials = list(result.history)
    assert result.completed == 30
    assert result.failed > 2
    for trial in trials:
        assert trial.failure == (failure if is_bad(trial.architecture) else "")
    together = [trial.metrics["together"] for trial in trials[:24] if not trial.failure]  # the last are few
    assert (1 in together) == alone, "a score that is not finite spoils nothing for the others"
    if kind == "raises":
        assert all("no such layer" in trial.error for trial in trials if trial.failure)


def test_a_batch_has_the_time_of_all_its_candidates():
    result = batched(Together(seconds=0.03), batch=8, trials=8, timeout=0.1)
    assert (result.completed, result.failed) == (8, 0)
    assert {trial.metrics["together"] for trial in result.history} == {8}


def queries(n=4):
    return [Query(i, (i % 4, 0, 1, 0), i) for i in range(n)]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (lambda evaluations: evaluations[1:], "expected 4 evaluations, got 3"),
        (lambda evaluations: None, "TypeError"),
        (lambda evaluations: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_batches_that_fail_though_each_candidate_is_fine_are_told_of(answer, problem):
    class Odd(Together):
        def evaluate_batch(self, queries):
            return answer(super().evaluate_batch(queries))

    with pytest.warns(UserWarning, match="4 architectures were evaluated one by one") as caught:
        outcomes = evaluate_batch_safely(Odd(seconds=0.01), queries())
    assert problem in str(caught[0].message)
    assert min(outcome.seconds for outcome in outcomes) >= 0.02, "both attempts took their time"
    assert [outcome.evaluation.metrics["together"] for outcome in outcomes] == [1] * 4


def test_answers_that_are_no_evaluations_fail_alone():
    class Odd(Together):
        def evaluate_batch(self, queries):
            first, _, third, fourth = super().evaluate_batch(queries)
            return [first, "ninety-nine", third._replace(metrics={"size": "large"}), fourth]

    outcomes = evaluate_batch_safely(Odd(), queries())
    assert [outcome.failure for outcome in outcomes] == ["", "exception", "exception", ""]
    assert "got str 'ninety-nine'" in outcomes[1].error
    assert "expected a number as metric 'size', got 'large'" in outcomes[2].error


def test_evaluators_without_batches_of_their_own_are_asked_one_by_one():
    asked = []

    def score(options):
        asked.append(options)
        if is_bad(options):
            raise ValueError("no such layer")
        return float(sum(options))

    result = batched(Function(score), batch=10, trials=40)
    assert len(asked) == result.completed + result.failed, "nothing is evaluated twice"
    assert all(is_bad(trial.architecture) == bool(trial.failure) for trial in result.history)


def test_retries_and_too_many_failures_count_as_ever():
    result = batched(Together("raises"), batch=6, trials=20, retries={"exception": 2})
    assert {trial.attempts for trial in result.history if trial.failure} == {3}

    class Fails(Together):
        def evaluate_batch(self, queries):
            raise ValueError("all")

        def evaluate(self, architecture, seed):
            raise ValueError("each")

    with pytest.raises(TooManyFailures, match="each"):
        batched(Fails(), batch=6, max_failures=7)


@pytest.mark.parametrize("then", [1, 5, 8])
@pytest.mark.parametrize("after", [1, 7, 8, 29])
def test_a_killed_run_in_batches_goes_on(after, then, tmp_path, monkeypatch):
    settings = {"controller": RegularizedEvolution(10, 3), "batch": 5, "trials": 60}
    whole = run(Together(), **settings)
    killed_run(tmp_path / "r", monkeypatch, after, Together(), **settings)
    evaluator = Together()
    resumed = resume(tmp_path / "r", evaluator=evaluator, batch=then)
    assert (resumed.completed, resumed.failed) == (60, 0)
    assert sorted(trial.id for trial in resumed.history) == list(range(60))
    if then == 5:  # whatever size its batches were cut to
        scores = [(t.id, t.architecture, t.parent, t.score) for t in whole.history]
        assert [(t.id, t.architecture, t.parent, t.score) for t in resumed.history] == scores
    else:
        assert max(evaluator.sizes, default=1) == then


@pytest.mark.parametrize("recorded", [0, 2, 4])
@pytest.mark.parametrize("duplicates", ["evaluate", "reuse"])
def test_a_batch_of_which_only_a_part_was_recorded_is_not_filled_up(recorded, duplicates, tmp_path, monkeypatch):
    settings = {"controller": RegularizedEvolution(10, 3), "batch": 6, "trials": 60, "duplicates": duplicates}
    whole = run(Together(), **settings)
    for then in (6, 3):
        folder = tmp_path / f"{then}"
        killed_run(folder, monkeypatch, 30, Together(), **settings)
        (journal,) = (folder / "journal").glob("journal-*")
        lines = journal.read_text().splitlines(keepends=True)
        asked = max(i for i, line in enumerate(lines) if line.startswith('["a"'))
        journal.write_text("".join(lines[: asked + 1 + recorded]))
        (folder / "lock").write_text("running")  # else it would know better
        evaluator = Together()
        resumed = resume(folder, evaluator=evaluator, batch=then)
        assert max(evaluator.sizes) <= then
        assert (resumed.completed, resumed.failed) == (60, 0)
        if then == 6:
            paths = [[(t.id, t.architecture, t.parent) for t in result.history] for result in (whole, resumed)]
            assert paths[0] == paths[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch": 4, "executor": "simulated", "workers": 2}, "batch: the simulated executor gives each evaluation"),
        ({"batch": 0}, "batch: expected a whole number >= 1, got 0"),
        ({"batch": 2.5}, "batch: expected a whole number >= 1, got 2.5"),
    ],
)
def test_batches_that_cannot_be_are_refused(settings, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        batched(Together(), out=tmp_path / "r", **settings)
    assert not (tmp_path / "r").exists()
    batched(Together(), batch=3, trials=9, out=tmp_path / "local")
    with pytest.raises(UsageError, match="batch: the simulated executor"):
        resume(tmp_path / "local", evaluator=Together(), executor="simulated", trials=20)
