"""Batches: as large as asked for, billed by candidate, and one bad candidate fails alone."""

import itertools

import pytest
from advance_lab import run
from advancing_lab import Together, is_bad

from archsearch import resume
from archsearch.controllers import RandomSearch, RegularizedEvolution
from archsearch.errors import TooManyFailures, UsageError
from archsearch.evaluators import Function
from archsearch.executors.evaluating import evaluate_batch_safely
from archsearch.trial import Query


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
