"""Comparisons of controllers: what is claimed, equal conditions, refusals."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import yaml
from controller_comparison_lab import CHARGE, Additive, Oracle, points, rows

from archsearch import Cost
from archsearch.contests.controller_comparison import compare_controllers
from archsearch.controllers import LocalSearch, RandomSearch, RegularizedEvolution, SuccessiveHalving
from archsearch.errors import UsageError
from archsearch.evaluators import Tabular
from archsearch.spaces import NASBench201
from archsearch.testing import SeparableSpace


class OtherRandomSearch(RandomSearch):
    """Random search with random numbers of its own."""

    def start(self, space, seed):
        super().start(space, seed + 1)


# -- what is claimed -----------------------------------------------------------------------------


def test_knowing_the_best_at_once_is_better_than_random_search():
    comparison = compare_controllers(SeparableSpace(), [Oracle()], [Additive()], trials=40, seeds=10)
    assert comparison.controllers == ("RandomSearch", "Oracle")
    assert comparison.baseline == "RandomSearch"
    random, oracle = comparison.standings
    assert (oracle.regret.value, oracle.regret.high, oracle.mean_rank, oracle.evaluations) == (0, 0, 1, 1)
    assert (random.regret.low > 0, random.mean_rank, random.speed_up) == (True, 2, 1)
    assert oracle.speed_up == random.evaluations
    assert oracle.seconds == CHARGE
    (sentence,) = comparison.sentences
    assert sentence.startswith("Oracle is better than RandomSearch (mean rank 1.00 against 2.00, p = 0.002 after Holm")
    assert "10 seeds x 1 task)" in sentence


def test_random_search_is_not_better_than_itself():
    twins = {"one": RandomSearch(), "other": OtherRandomSearch()}
    comparison = compare_controllers(SeparableSpace(), twins, [Additive()], trials=30, seeds=12)
    assert comparison.controllers == ("one", "other")  # none was added
    (sentence,) = comparison.sentences
    assert sentence.startswith("No difference that 12 seeds x 1 task could tell between")
    assert "better" not in sentence


def test_with_two_seeds_nothing_can_be_told():
    comparison = compare_controllers(SeparableSpace(), [Oracle()], [Additive()], trials=20, seeds=2)
    assert comparison.standings[1].mean_rank == 1
    assert not any("better" in sentence for sentence in comparison.sentences)


def test_ranks_that_point_the_other_way_than_the_pair_claim_nothing():
    comparison = compare_controllers(SeparableSpace(), [Oracle()], [Additive()], trials=20, seeds=10)
    assert comparison.wins == {(0, 1): -10}
    turned = dataclasses.replace(comparison, wins={(0, 1): 2})
    assert turned.sentences[0].startswith("No difference")


def test_tasks_and_checkpoints_are_reported_apart_and_together():
    comparison = compare_controllers(
        SeparableSpace(),
        {"evolution": RegularizedEvolution(5, 3), "oracle": Oracle()},
        {"a": Additive(), "b": Additive()},
        trials=20,
        seeds=5,
        checkpoints=[7],
    )
    assert list(comparison.tests) == [7, 20]
    assert comparison.tests[20].blocks == 10
    assert comparison.tests[20].mean_ranks[2] < 1.5
    figures = comparison.figures()
    assert figures.column_names == ["task", "controller", "figure", "at", "value", "low", "high", "unit"]
    for task, name, at in itertools.product("ab", comparison.controllers, (7, 20)):
        (row,) = rows(figures, task=task, controller=name, figure="regret", at=at)
        assert row["low"] <= row["value"] <= row["high"]
        curve = points(comparison, task=task, controller=name, axis="evaluations")
        assert row["value"] == curve["mean"][at - 1]
    assert len(rows(figures, figure="Holm p", at=20.0, task="")) == 3
    assert len(rows(figures, figure="Friedman p")) == 2
    text = str(comparison)
    assert "5 seeds x 2 tasks" in text
    for line in ("a: up to 20 evaluations", "b: up to 20", "all 2 tasks", "regret at 7", "Friedman's test after 20"):
        assert line in text
    assert len(comparison.sentences) == 1 + 3


# -- conditions ----------------------------------------------------------------------------------


def test_all_controllers_have_the_same_seeds(tmp_path):
    compare_controllers(
        SeparableSpace(),
        [RegularizedEvolution(5, 3)],
        {"a": Additive(), "b": Additive()},
        trials=3,
        seeds=2,
        out=tmp_path,
    )
    seeds = {}
    for config in tmp_path.glob("searches/*/*/config.yaml"):
        task, search = config.parts[-3:-1]
        seeds.setdefault((task, search[-1]), []).append(yaml.safe_load(config.read_text())["seed"])
    assert all(len(each) == 2 and each[0] == each[1] for each in seeds.values())
    assert len({each[0] for each in seeds.values()}) == len(seeds) == 4


def test_equal_arguments_give_equal_results_and_other_seeds_others():
    def run(seed):
        return compare_controllers(
            SeparableSpace(), [RegularizedEvolution(5, 3)], [Additive()], trials=12, seeds=2, seed=seed
        )

    assert run(1).curves() == run(1).curves()
    assert run(1).curves() != run(2).curves()


class Prepares(Additive):
    """Is prepared, in a file; keeps one for each trial."""

    keeps_files = True

    def prepare(self):
        ready = self.folder / "ready"
        if not ready.exists():
            ready.write_text("")
            with open(self.asked, "a") as file:
                file.write("P")
        return Cost(device_seconds=100.0)

    def evaluate_query(self, query):
        assert not (self.folder / str(query.id)).exists()
        (self.folder / str(query.id)).write_text("")
        return self.evaluate(query.architecture, query.seed)


@pytest.mark.parametrize("kept", [False, True])
def test_an_evaluator_is_prepared_once_and_files_of_searches_stay_apart(tmp_path, kept):
    evaluator = Prepares(str(tmp_path / "asked"))
    settings = {"trials": 4, "seeds": 2, "out": tmp_path if kept else None}
    comparison = compare_controllers(SeparableSpace(), [Oracle()], {"task": evaluator}, **settings)
    assert (tmp_path / "asked").read_text() == "P" + "x" * 2 * 2 * 4
    assert rows(comparison.figures(), figure="set-up")[0]["value"] == 100
    assert all(standing.billed_seconds == 4 * CHARGE for standing in comparison.standings)
    assert evaluator.folder is None
    if kept:
        assert (tmp_path / "searches" / "task" / "evaluator" / "ready").exists()
        again = compare_controllers(
            SeparableSpace(), [Oracle()], {"task": Prepares(str(tmp_path / "asked"))}, **{**settings, "seeds": 3}
        )
        assert (tmp_path / "asked").read_text() == "P" + "x" * 3 * 2 * 4
        assert again.set_up["task"].device_seconds == 100


# -- refusals ------------------------------------------------------------------------------------


class Learns(Additive):
    interval = 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"controllers": [RandomSearch()]}, "expected at least one beside RandomSearch, got RandomSearch only"),
        ({"controllers": {}}, "controllers: expected at least one"),
        ({"controllers": [Oracle]}, "controllers: expected objects of the class Controller"),
        ({"controllers": Oracle()}, "controllers: expected a list"),
        ({"controllers": {"": Oracle()}}, "each with a name"),
        ({"tasks": []}, "tasks: expected at least one"),
        ({"tasks": [Oracle()]}, "tasks: expected objects of the class Evaluator"),
        ({"tasks": [Learns()]}, "learns on after every 5 trials"),
        ({"controllers": [SuccessiveHalving()]}, "cannot stop at"),
        ({"seeds": 1}, "seeds: expected a whole number >= 2, got 1"),
        ({"seed": -1}, "seed: expected"),
        ({"trials": 0}, "trials: expected a whole number >= 1"),
        ({"trials": None}, "nothing would stop this search"),
        ({"checkpoints": [0]}, "checkpoints: expected a whole number >= 1"),
        ({"checkpoints": [6]}, "checkpoints: expected at most trials=5, got 6"),
        ({"best": {"other": 1.0}}, "best: expected finite numbers by names of tasks"),
        ({"best": {"Additive": np.nan}}, "best: expected finite numbers"),
        ({"truth": "accuracy"}, "no finite 'accuracy'; it has score, half"),
        ({"workers": 2}, "the local executor has one worker"),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    arguments = {"controllers": [Oracle()], "tasks": [Additive()], "trials": 5, "seeds": 2, **changes}
    with pytest.raises(UsageError, match=message):
        compare_controllers(SeparableSpace(), arguments.pop("controllers"), arguments.pop("tasks"), **arguments)


def test_a_comparison_on_the_tables_is_quick_and_shows_what_is_known():
    comparison = compare_controllers(
        NASBench201(), [LocalSearch()], {"cifar10": Tabular("cifar10")}, trials=100, seeds=10, progress=True
    )
    # The best of the table, and that local search beats random search there (White et al., 2021).
    assert comparison.best["cifar10"] == pytest.approx(91.61, abs=0.01)
    assert comparison.sentences[0].startswith("LocalSearch is better than RandomSearch")
