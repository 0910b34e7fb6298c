"""Repeats of a training: those that are done are kept when the trial is tried again, and billed once."""

import functools
import pickle

import pytest

from archsearch import search
from archsearch.controllers import RandomSearch
from archsearch.evaluators import Training
from archsearch.spaces import NASBench201
from archsearch.trial import Budget, Query

SPACE = NASBench201()
CELL = (3, 1, 2, 3, 4, 3)
SMALL = {"task": "digits", "train_examples": 60, "epochs": 2, "batch_size": 16, "skeleton": {"channels": 2, "cells": 1}}
SMALL["together"] = False  # one after the other: those that are done are kept


class Short(Training):
    """Runs out of memory in the third training that it begins, once."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.begun = 0
        self.trainer.begin = functools.partial(self._begin, self.trainer.begin)

    def _begin(self, begin, *arguments, **more):
        self.begun += 1
        if self.begun == 3:
            raise MemoryError("out of memory")
        return begin(*arguments, **more)


def started(kind=Training, folder=None, **settings):
    evaluator = kind(**{**SMALL, **settings})
    evaluator.start(SPACE)
    evaluator.folder = folder
    return evaluator


def same(first, second):
    return (first.score, first.metrics, first.curve) == (second.score, second.metrics, second.curve)


@pytest.mark.parametrize("keeps_files", [True, False])
@pytest.mark.parametrize("budget", [None, Budget(1)])
def test_repeats_that_are_done_are_kept_and_billed_once(tmp_path, keeps_files, budget):
    evaluator = started(Short, tmp_path if keeps_files else None, repeats=3)
    query = Query(5, CELL, 9, budget=budget)
    with pytest.raises(MemoryError):
        evaluator.evaluate_query(query)
    found = evaluator.evaluate_query(query)
    assert evaluator.begun == 4, "two before the failure, the one that failed, and that one again"
    whole = started(repeats=3).evaluate_query(query)
    assert same(found, whole)
    # The seconds of the first two are those of the try that failed; counts are of all three.
    assert (found.cost.examples, found.cost.updates, found.cost.flops) == (
        whole.cost.examples,
        whole.cost.updates,
        whole.cost.flops,
    )
    evaluator.evaluate_query(query)
    assert evaluator.begun == 7, "once the trial is done nothing is kept"
    assert not list(tmp_path.glob("*.json"))


def test_seconds_of_kept_repeats_are_not_billed_again(monkeypatch):
    seconds = iter(range(100))
    monkeypatch.setattr("time.process_time", lambda: float(next(seconds)))
    evaluator = started(Short, repeats=3, device="cpu")
    with pytest.raises(MemoryError):
        evaluator.evaluate_query(Query(5, CELL, 9))
    begun = next(seconds)
    assert evaluator.evaluate_query(Query(5, CELL, 9)).cost.device_seconds <= next(seconds) - begun


def test_another_worker_finds_them_in_the_folder(tmp_path):
    first = started(Short, tmp_path, repeats=3)
    other = pickle.loads(pickle.dumps(first))
    query = Query(5, CELL, 9)
    with pytest.raises(MemoryError):
        first.evaluate_query(query)
    other.begun = 10
    found = other.evaluate_query(query)
    assert other.begun == 11
    assert same(found, started(repeats=3).evaluate_query(query))


def test_those_of_another_trial_or_damaged_ones_are_not_used(tmp_path):
    evaluator = started(Short, tmp_path, repeats=3)
    with pytest.raises(MemoryError):
        evaluator.evaluate_query(Query(5, CELL, 9))
    assert same(evaluator.evaluate_query(Query(5, CELL, 8)), started(repeats=3).evaluate_query(Query(5, CELL, 8)))
    evaluator = started(Short, tmp_path, repeats=3)
    with pytest.raises(MemoryError):
        evaluator.evaluate_query(Query(5, CELL, 9))
    (path,) = tmp_path.glob("*-repeats.json")
    path.write_bytes(path.read_bytes().replace(b"1", b"2", 1))
    with pytest.warns(UserWarning, match=r"5-repeats\.json is damaged"):
        found = evaluator.evaluate_query(Query(5, CELL, 9))
    assert evaluator.begun == 6
    assert same(found, started(repeats=3).evaluate_query(Query(5, CELL, 9)))


@pytest.mark.parametrize("out", [True, False])
def test_a_search_that_tries_again_trains_only_what_was_not_done(tmp_path, out):
    folder = tmp_path / "run" if out else None
    evaluator = Short(**SMALL, repeats=3)
    result = search(SPACE, RandomSearch(), evaluator, trials=2, seed=0, out=folder)
    assert result.completed == 2
    assert [trial.attempts for trial in result.history] == [2, 1]
    assert evaluator.begun == 3 + 1 + 3
    plain = search(SPACE, RandomSearch(), Training(**SMALL, repeats=3), trials=2, seed=0)
    assert [trial.score for trial in result.history] == [trial.score for trial in plain.history]
    assert result.cost.examples == plain.cost.examples
