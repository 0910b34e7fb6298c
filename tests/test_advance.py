"""Evaluators that learn on as the search goes on: who is scored by what, what is billed, interrupts."""

import signal
import time

import pytest
from advance_lab import killed_run, path, run
from advancing_lab import INTERVAL, Learner

from archsearch import Cost, resume
from archsearch.controllers import RandomSearch
from archsearch.keeping.folder import RunFolder

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
