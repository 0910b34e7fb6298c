"""Comparisons of controllers: figures against hand and brute force, what is claimed, going on, refusals."""

from __future__ import annotations

import dataclasses
import html
import itertools
import os
import shutil
import signal

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from archsearch import Controller, Cost, Evaluation, Evaluator, Space
from archsearch.controller_comparison import compare_controllers
from archsearch.controllers import LocalSearch, RandomSearch, RegularizedEvolution, SuccessiveHalving
from archsearch.errors import RunFolderError, TooManyFailures, UsageError
from archsearch.evaluators import Tabular
from archsearch.history import RunFolder
from archsearch.ranking import bootstrap
from archsearch.spaces import NASBench101, NASBench201
from archsearch.testing import SeparableSpace

CHARGE = 7.0


class Options(Space):
    """One decision with 12 options."""

    def __init__(self) -> None:
        super().__init__(arities=(12,))


class Additive(Evaluator):
    """Sums the options; counts in a file how often it was asked.

    Args:
        asked: File.
        fails: Fails with architectures whose first option is this.
    """

    interrupted_after = 10**9

    def __init__(self, asked: str = os.devnull, fails: int = -1) -> None:
        self.asked = asked
        self.fails = fails

    def evaluate(self, architecture, seed):
        with open(self.asked, "a") as file:
            file.write("x")
            file.flush()
            if self.asked != os.devnull and os.path.getsize(self.asked) == self.interrupted_after:
                signal.raise_signal(signal.SIGINT)
        if architecture[0] == self.fails:
            raise RuntimeError("it was bound to fail")
        return Evaluation(float(sum(architecture)), {"half": sum(architecture) / 2}, Cost(device_seconds=CHARGE))


class Priced(Evaluator):
    """Scores and bills what is told for each option; the metric ``test`` is another order."""

    SCORES = (3.0, 1.0, 4.0, 1.5, 5.0, 9.0, 2.0, 6.0, 5.5, 3.5, 8.0, 7.0)
    SECONDS = (10.0, 1.0, 5.0, 100.0, 20.0, 2.0, 30.0, 4.0, 50.0, 6.0, 70.0, 8.0)

    def evaluate(self, architecture, seed):
        (option,) = architecture
        return Evaluation(self.SCORES[option], {"test": 10.0 - option}, Cost(device_seconds=self.SECONDS[option]))


class Table(Priced):
    @property
    def architectures(self):
        return [(option,) for option in range(12)]


class Script(Controller):
    """Proposes given options, one after the other, then the first ones again.

    Args:
        options: Which.
    """

    state = ("_asked",)

    def __init__(self, options: list[int]) -> None:
        self.options = options

    def _start(self):
        self._asked = 0

    def _ask(self):
        self._asked += 1
        return (self.options[(self._asked - 1) % len(self.options)],)


class Oracle(Controller):
    """Proposes the best at once, then random ones."""

    state = ("_asked",)

    def _start(self):
        self._asked = 0

    def _ask(self):
        self._asked += 1
        return tuple(n - 1 for n in self.space.arities) if self._asked == 1 else self.space.sample(self.rng)


class OtherRandomSearch(RandomSearch):
    """Random search with random numbers of its own."""

    def start(self, space, seed):
        super().start(space, seed + 1)


def rows(table, **where):
    return [row for row in table.to_pylist() if all(row[name] == value for name, value in where.items())]


def points(comparison, **where):
    found = rows(comparison.curves(), **where)
    return {name: np.array([np.nan if row[name] is None else row[name] for row in found]) for name in NUMBERS}


NUMBERS = ("at", "mean", "low", "high")


def scripted(options=(0, 2, 5), truth="score", evaluator=None, **settings):
    settings = {"trials": 3, "seeds": 2, **settings}
    return compare_controllers(Options(), [Script(list(options))], [evaluator or Priced()], truth=truth, **settings)


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


# -- figures -------------------------------------------------------------------------------------


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
        compare_controllers(Options(), [Script([1])], [Additive(fails=1)], trials=5, seeds=2, max_failures=3)


def test_a_controller_with_budgets_is_compared_over_cost():
    tasks = {"cells": Tabular("ecnas_4v")}
    halving = SuccessiveHalving(min_budget=4, max_budget=108)
    comparison = compare_controllers(
        NASBench101(max_vertices=4), [halving], tasks, truth="test_accuracy", trials=30, seeds=2
    )
    assert len(rows(comparison.curves(), axis="cost", controller=comparison.controllers[1])) > 100
    assert all(standing.regret.low >= 0 for standing in comparison.standings)


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


# -- going on ------------------------------------------------------------------------------------


def interruptible(tmp_path, seeds=3):
    return compare_controllers(
        SeparableSpace(),
        [RegularizedEvolution(5, 3)],
        {"sum": Additive(str(tmp_path / "asked"))},
        trials=20,
        seeds=seeds,
        out=tmp_path / "out",
    )


def test_an_interrupted_comparison_goes_on_where_it_was(tmp_path, monkeypatch):
    (tmp_path / "whole").mkdir()
    whole = interruptible(tmp_path / "whole")
    for after in (1, 47, 110):
        monkeypatch.setattr(Additive, "interrupted_after", after)
        with pytest.raises(KeyboardInterrupt):
            interruptible(tmp_path)
    resumed = interruptible(tmp_path)
    assert resumed.curves() == whole.curves()
    assert resumed.figures().drop_columns("value") == whole.figures().drop_columns("value")
    assert figures_but_set_up(resumed) == figures_but_set_up(whole)
    assert (tmp_path / "asked").stat().st_size == 2 * 3 * 20 + 3  # no more than the interrupted ones was done again


def figures_but_set_up(comparison):
    return [row for row in comparison.figures().to_pylist() if row["figure"] != "set-up"]  # wall time


def test_lost_searches_are_done_again_and_further_seeds_are_added(tmp_path):
    before = interruptible(tmp_path)
    done = (tmp_path / "asked").stat().st_size
    folder = tmp_path / "out" / "searches" / "sum"
    shutil.rmtree(folder / "RandomSearch-1")
    after = interruptible(tmp_path)
    assert (tmp_path / "asked").stat().st_size == done + 20
    assert after.curves() == before.curves()
    assert figures_but_set_up(after) == figures_but_set_up(before)
    assert interruptible(tmp_path, seeds=4).seeds == 4
    assert (tmp_path / "asked").stat().st_size == done + 20 + 2 * 20


def test_other_conditions_are_refused_before_anything_runs(tmp_path):
    settings = {"trials": 5, "seeds": 2, "out": tmp_path}
    compare_controllers(SeparableSpace(), [Oracle()], [Additive()], **settings)
    for change, message in (
        ({"trials": 6}, "begun with trials=5, got trials=6"),
        ({"max_cost": 9.0}, "begun with max_cost=None, got max_cost=9.0"),
        ({"seed": 1}, "begun with seed="),
        ({"executor": "simulated", "workers": 2}, "begun with executor=local, workers=1, got executor=simulated"),
    ):
        with pytest.raises(RunFolderError, match=message):
            compare_controllers(SeparableSpace(), [Oracle()], [Additive()], **{**settings, **change})
    with pytest.raises(RunFolderError, match="controller differs"):
        compare_controllers(SeparableSpace(), {"Oracle": Script([1])}, [Additive()], **settings)
    with pytest.raises(RunFolderError, match="evaluator differs"):
        compare_controllers(SeparableSpace(), [Oracle()], {"Additive": Additive(fails=0)}, **settings)


def test_names_that_are_no_names_of_folders_stay_apart(tmp_path):
    names = ["a/b", "a_b", "..", "x" * 300]
    controllers = {name: Script([number]) for number, name in enumerate(names)}
    comparison = compare_controllers(Options(), controllers, {"../up": Priced()}, trials=1, seeds=2, out=tmp_path)
    (task,) = (tmp_path / "searches").iterdir()
    folders = [path.parent for path in task.glob("*/config.yaml")]
    assert len(folders) == 2 * (1 + len(names))
    assert comparison.controllers == ("RandomSearch", *names)


# -- files ---------------------------------------------------------------------------------------


def test_saved_files_hold_the_comparison(tmp_path):
    comparison = compare_controllers(
        SeparableSpace(),
        [RegularizedEvolution(5, 3), Oracle()],
        {"a_{b": Additive(), "$c": Additive()},
        trials=8,
        seeds=2,
    )
    path = comparison.save(tmp_path / "new" / "folder", command="archsearch compare <this>")
    assert path == tmp_path / "new" / "folder" / "index.html"
    assert pq.read_table(path.with_name("figures.parquet")) == comparison.figures()
    assert pq.read_table(path.with_name("curves.parquet")) == comparison.curves()
    for picture in ("regret_evaluations.png", "regret_cost.png"):
        assert path.with_name(picture).read_bytes().startswith(b"\x89PNG")
    text = path.read_text()
    assert text.count("data:image/png;base64,") == 2
    for forbidden in ("<script", "http://", "https://", 'src="regret'):
        assert forbidden not in text
    for shown in (*comparison.sentences, "archsearch compare <this>", "a_{b", "RegularizedEvolution"):
        assert html.escape(shown) in text
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot write the comparison"):
        comparison.save(tmp_path / "file")


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
