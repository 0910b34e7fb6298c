"""Comparisons of controllers: figures against hand and brute force."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from controller_comparison_lab import CHARGE, Additive, Options, Oracle, Priced, Script, points, rows

from archsearch.contests.controller_comparison import compare_controllers
from archsearch.controllers import LocalSearch, RandomSearch, RegularizedEvolution, SuccessiveHalving
from archsearch.errors import TooManyFailures
from archsearch.evaluators import Tabular
from archsearch.keeping.folder import RunFolder
from archsearch.ranking import bootstrap
from archsearch.spaces import NASBench101
from archsearch.testing import SeparableSpace


class Table(Priced):
    @property
    def architectures(self):
        return [(option,) for option in range(12)]


def scripted(options=(0, 2, 5), truth="score", evaluator=None, **settings):
    settings = {"trials": 3, "seeds": 2, **settings}
    return compare_controllers(Options(), [Script(list(options))], [evaluator or Priced()], truth=truth, **settings)


def test_curves_over_evaluations_by_hand():
    comparison = scripted((0, 2, 5), best={"Priced": 10.0})
    curve = points(comparison, controller="Script(options=[0, 2, 5])", axis="evaluations")
    assert curve["at"].tolist() == [1, 2, 3]
    for name in ("mean", "low", "high"):
        assert curve[name].tolist() == [10 - 3, 10 - 4, 10 - 9]


def test_the_incumbent_is_chosen_by_score_and_judged_by_truth():
    comparison = scripted((0, 2, 5), truth="test", best={"Priced": 10.0})
    curve = points(comparison, controller="Script(options=[0, 2, 5])", axis="evaluations")
    assert curve["mean"].tolist() == [0, 2, 5]  # it gets worse
    assert rows(comparison.figures(), figure="best known")[0]["unit"] == "test"


def test_curves_over_cost_by_hand():
    comparison = scripted((0, 2, 5))
    at = points(comparison, controller="RandomSearch", axis="cost")["at"]
    curve = points(comparison, controller="Script(options=[0, 2, 5])", axis="cost")
    assert curve["at"].tolist() == at.tolist()
    steps = {10.0: 3.0, 15.0: 4.0, 17.0: 9.0}  # billed so far: score
    best = comparison.best["Priced"]
    for seconds, mean in zip(curve["at"], curve["mean"], strict=True):
        known = [score for billed, score in steps.items() if billed <= seconds]
        assert np.isnan(mean) if not known else mean == best - known[-1]
    assert curve["at"][-1] >= 17
    assert curve["mean"][-1] == best - 9  # carried on


def test_curves_agree_with_the_run_folders(tmp_path):
    """Brute force, from what is on disk."""
    controllers = {"local": LocalSearch(2), "random": RandomSearch(), "dear": Script([3, 4, 5])}
    comparison = compare_controllers(Options(), controllers, [Priced()], trials=6, seeds=4, out=tmp_path)
    best = comparison.best["Priced"]
    starts, ends = [], []
    for name in controllers:
        after, over_cost = [], []
        grid = points(comparison, controller=name, axis="cost")["at"]
        for number in range(4):
            trials = list(RunFolder(tmp_path / "searches" / "Priced" / f"{name}-{number}").trials(0))
            scores = [trial.score for trial in trials]
            assert len({trial.architecture for trial in trials}) == len(trials)  # no repeat is paid for
            after.append([best - max(scores[: n + 1]) for n in range(len(scores))])
            after[-1] += [after[-1][-1]] * (6 - len(scores))
            billed = np.cumsum([trial.cost.device_seconds for trial in trials])
            starts.append(billed[0])
            ends.append(billed[-1])
            over_cost.append(
                [best - max((s for s, b in zip(scores, billed, strict=True) if b <= at), default=np.nan) for at in grid]
            )
        curve = points(comparison, controller=name, axis="evaluations")
        np.testing.assert_allclose(curve["mean"], np.mean(after, axis=0))
        np.testing.assert_allclose(points(comparison, controller=name, axis="cost")["mean"], np.mean(over_cost, axis=0))
        for at in (0, 2, 5):
            interval = bootstrap(np.mean, [np.array(after)[:, at]], repeats=4000)
            width = interval.high - interval.low
            # Other draws, so the ends differ a little; an interval of another level would be off by 0.3 widths.
            assert curve["low"][at] == pytest.approx(interval.low, abs=0.15 * width)
            assert curve["high"][at] == pytest.approx(interval.high, abs=0.15 * width)
    assert grid[0] == pytest.approx(min(starts))
    assert grid[-1] == pytest.approx(max(ends))
    ratios = grid[1:] / grid[:-1]
    np.testing.assert_allclose(ratios, ratios[0])
    assert np.isnan(points(comparison, controller="dear", axis="cost")["mean"][0])
    # A search that has nothing new to propose ends early, at its last value.
    assert len(rows(comparison.curves(), controller="dear", axis="evaluations")) == 6


def test_target_is_the_median_of_random_search_and_the_median_search_counts(tmp_path):
    comparison = compare_controllers(
        SeparableSpace(), [RegularizedEvolution(5, 3)], [Additive()], trials=50, seeds=7, out=tmp_path
    )
    best, first, finals = comparison.best["Additive"], {}, []
    for name, number in itertools.product(("RandomSearch", "RegularizedEvolution"), range(7)):
        (folder,) = (tmp_path / "searches" / "Additive").glob(f"{name}*-{number}")
        first[name, number] = np.maximum.accumulate([t.score for t in RunFolder(folder).trials(0)])
        if name == "RandomSearch":
            finals.append(best - first[name, number][-1])
    target = np.median(finals)
    for standing, name in zip(comparison.standings, ("RandomSearch", "RegularizedEvolution"), strict=True):
        reached = [
            next((n for n, score in enumerate(first[name, i], 1) if best - score <= target), np.inf) for i in range(7)
        ]
        assert standing.target == target
        assert standing.evaluations == np.median(reached)
        assert standing.seconds == CHARGE * standing.evaluations
        assert standing.billed_seconds == CHARGE * 50
        assert standing.speed_up == comparison.standings[0].evaluations / standing.evaluations


def test_a_target_that_is_not_reached():
    comparison = scripted((1, 3), trials=3)
    random, script = comparison.standings
    assert random.evaluations is not None
    assert (script.evaluations, script.seconds, script.speed_up) == (None, None, None)
    assert "not reached" in comparison.table()


def test_the_best_known_is_given_listed_or_seen():
    assert scripted((1, 3), seeds=2, seed=3).best["Priced"] < 9  # seed 3 does not come across the best
    assert scripted((1, 3), evaluator=Table(), seed=3).best["Table"] == 9
    assert scripted((1, 3), evaluator=Table(), truth="test", seed=3).best["Table"] == 10
    assert scripted((1, 5), best={"Priced": 4.0}).best["Priced"] == 9  # what was seen is known


def test_a_search_may_be_stopped_by_its_cost():
    comparison = compare_controllers(
        SeparableSpace(), [RegularizedEvolution(5, 3)], [Additive()], trials=None, max_cost=10 * CHARGE, seeds=2
    )
    assert comparison.evaluations == 10
    assert {standing.billed_seconds for standing in comparison.standings} == {10 * CHARGE}


def test_without_cost_there_is_no_picture_over_cost(tmp_path):
    comparison = scripted((1, 3))
    kept = tuple(curve for curve in comparison.regrets if curve.axis == "evaluations")
    assert len(kept) == len(comparison.regrets) / 2
    dataclasses.replace(comparison, regrets=kept).save(tmp_path)
    assert (tmp_path / "regret_evaluations.png").exists()
    assert not (tmp_path / "regret_cost.png").exists()


def test_several_workers():
    comparison = compare_controllers(
        SeparableSpace(), [Oracle()], [Additive()], trials=9, seeds=2, executor="simulated", workers=4
    )
    assert comparison.standings[1].regret.value == 0
    assert comparison.standings[0].billed_seconds == 9 * CHARGE


def test_failed_trials_are_no_evaluations():
    comparison = compare_controllers(SeparableSpace(), [Oracle()], [Additive(fails=1)], trials=15, seeds=3)
    assert comparison.evaluations == 15
    assert comparison.standings[1].regret.value == 0
    with pytest.raises(TooManyFailures, match="bound to fail"):
        compare_controllers(Options(), [Script([1])], [Additive(fails=1)], trials=5, seeds=2, max_failures=2)


def test_a_controller_with_budgets_is_compared_over_cost():
    tasks = {"cells": Tabular("ecnas_4v")}
    halving = SuccessiveHalving(min_budget=4, max_budget=108)
    comparison = compare_controllers(
        NASBench101(max_vertices=4), [halving], tasks, truth="test_accuracy", trials=30, seeds=2
    )
    assert len(rows(comparison.curves(), axis="cost", controller=comparison.controllers[1])) > 100
    assert all(standing.regret.low >= 0 for standing in comparison.standings)
