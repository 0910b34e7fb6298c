"""``SuccessiveHalving`` and ``Hyperband`` in searches: what is billed, resumes, trainings that go on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from halving_lab import BOTH

from archsearch import Cost, Evaluation, Evaluator, Result, Space, Trial, resume, search
from archsearch.basics.seeding import evaluation_seed
from archsearch.controllers import RandomSearch, RegularizedEvolution, Reinforce
from archsearch.controllers.successive_halving import SuccessiveHalving
from archsearch.errors import UsageError
from archsearch.evaluators import Function, Tabular
from archsearch.evaluators.training import Training
from archsearch.spaces import NASBench201
from archsearch.testing import FixedSpace
from archsearch.trial import Budget, Query


class Ledger(Evaluator):
    """Bills what was added, and writes down every training; the score grows with length, with noise by the seed."""

    def __init__(self) -> None:
        self.trained: list[tuple[int, int, int]] = []

    def check_budgets(self, budgets: Sequence[int]) -> None:
        pass

    def evaluate_query(self, query: Query) -> Evaluation:
        assert query.budget is not None
        stop, start, origin = query.budget
        self.trained.append((query.id if origin is None else origin, start, stop))
        score = sum(query.architecture) + stop + 2 * np.random.default_rng([query.seed, stop]).random()
        return Evaluation(float(score), cost=Cost(examples=float(stop - start), recorded_seconds=float(stop - start)))


INSIDE = {
    "random": RandomSearch,
    "evolution": lambda: RegularizedEvolution(10, 3),
    "reinforce": lambda: Reinforce("softmax"),
}


def check_trainings(found: Result, ledger: Ledger) -> None:
    trials = {trial.id: trial for trial in found.history}
    billed = 0
    for trial in trials.values():
        assert trial.budget is not None
        stop, start, origin = trial.budget
        billed += stop - start
        if origin is None:
            assert start == 0
            continue
        assert trial.parent is not None
        parent, first = trials[trial.parent], trials[origin]
        assert parent.budget is not None
        assert parent.budget.stop == start
        assert origin == (parent.id if parent.budget.origin is None else parent.budget.origin)
        assert trial.architecture == parent.architecture == first.architecture
        assert trial.seed == first.seed == evaluation_seed(found.seed, origin)
    assert found.cost.examples == billed
    ends = Counter((origin, stop) for origin, _, stop in ledger.trained)
    assert set(ends.values()) == {1}
    assert any(start for _, start, _ in ledger.trained)
    longest = max(trial.budget.stop for trial in trials.values() if trial.budget)
    assert found.best is not None
    assert found.best.budget is not None
    assert found.best.budget.stop == longest == 16
    assert found.best.score == max(t.score or 0 for t in trials.values() if t.budget and t.budget.stop == longest)


@BOTH
@pytest.mark.parametrize("inside", INSIDE)
@pytest.mark.parametrize(("executor", "workers"), [("local", 1), ("simulated", 8)])
def test_search_bills_added_epochs_only(cls: type, inside: str, executor: str, workers: int) -> None:
    ledger = Ledger()
    controller = cls(INSIDE[inside](), max_budget=16, reduction=2)
    found = search(FixedSpace(), controller, ledger, trials=150, seed=3, executor=executor, workers=workers)
    check_trainings(found, ledger)


@BOTH
@pytest.mark.parametrize("inside", INSIDE)
def test_resumed_equals_uninterrupted(cls: type, inside: str, tmp_path) -> None:
    def outcome(found: Result) -> list[tuple]:
        return [(t.id, t.architecture, t.parent, t.budget, t.score, t.seed, t.cost.examples) for t in found.history]

    whole = search(FixedSpace(), cls(INSIDE[inside]()), Ledger(), trials=120, seed=4, out=tmp_path / "whole")
    search(FixedSpace(), cls(INSIDE[inside]()), Ledger(), trials=50, seed=4, out=tmp_path / "cut")
    for trials in (51, 120):
        resumed = resume(tmp_path / "cut", trials=trials, trust=True)  # the nested controller comes from config.yaml
    assert outcome(resumed) == outcome(whole)
    assert resumed.best == whole.best._replace(started=resumed.best.started, seconds=resumed.best.seconds)


@BOTH
def test_resumed_from_the_journal_of_a_killed_run(cls: type, tmp_path) -> None:
    class Killed(BaseException):
        pass

    def kill(trial: Trial) -> None:
        if trial.id == 70:
            raise Killed

    settings = {"trials": 120, "seed": 4, "executor": "simulated", "workers": 8}
    whole = search(FixedSpace(), cls(RegularizedEvolution(10, 3)), Ledger(), **settings)
    with pytest.raises(Killed):
        search(
            FixedSpace(), cls(RegularizedEvolution(10, 3)), Ledger(), out=tmp_path / "run", on_trial=kill, **settings
        )
    resumed = resume(tmp_path / "run", trust=True)
    first, second = (
        [(t.id, t.architecture, t.budget, t.score) for t in each.history][:70] for each in (whole, resumed)
    )
    assert first == second
    assert resumed.completed == 120


@BOTH
@pytest.mark.parametrize("evaluator", [Tabular(), Function("math.fsum")])
def test_evaluators_without_budgets_are_refused_before_anything_is_written(cls, evaluator, tmp_path) -> None:
    with pytest.raises(UsageError, match="1, 3, 9"):
        search(NASBench201(), cls(), evaluator, trials=5, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def tiny() -> Training:
    return Training(epochs=3, train_examples=40, skeleton={"channels": 2, "cells": 1})


@BOTH
def test_training_goes_on_exactly(cls: type[SuccessiveHalving]) -> None:
    space: Space = NASBench201()
    found = search(space, cls(max_budget=3), tiny(), trials=9, seed=1)
    trials = list(found.history)
    assert found.cost.examples == 40 * sum(t.budget.stop - t.budget.start for t in trials if t.budget)
    promoted = [trial for trial in trials if trial.budget and trial.budget.start]
    assert promoted
    evaluator = tiny()
    evaluator.start(space)
    for trial in promoted:
        assert trial.budget == Budget(3, 1, trial.parent)
        assert trial.seed == evaluation_seed(1, trial.budget.origin)
        uninterrupted = evaluator.evaluate(trial.architecture, trial.seed)
        assert (trial.score, trial.evaluation.curve) == (uninterrupted.score, uninterrupted.curve)
        assert trial.metrics == uninterrupted.metrics
        assert trial.evaluation.curve[0] == next(t.score for t in trials if t.id == trial.parent)
    assert found.best is not None
    assert found.best.budget is not None
    assert found.best.budget.stop == 3
    with pytest.raises(UsageError, match="longer than a full training"):
        search(space, cls(max_budget=9), tiny(), trials=9)
