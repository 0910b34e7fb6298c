"""The embedded tables beside NAS-Bench-201's: look-ups, runs, lengths, budgets, refusals."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from archsearch import search
from archsearch.controllers import RandomSearch, SuccessiveHalving
from archsearch.errors import InvalidArchitecture, MissingAbility, UsageError
from archsearch.evaluators import Tabular, Training
from archsearch.files.embedded import embedded_columns
from archsearch.spaces import DARTS, NASBench101, NASBench201, NASBenchMacro
from archsearch.testing import EVALUATOR_CHECKS
from archsearch.trial import Budget, Query


def started(space, **settings):
    evaluator = Tabular(**settings)
    evaluator.start(space)
    return evaluator


def test_nasbench_macro_searches_one_run_and_tests_the_others():
    space = NASBenchMacro()
    columns = ("arch", "test_acc_run1", "test_acc_run2", "test_acc_run3", "params", "flops")
    rows = list(zip(*embedded_columns("nasbench_macro", columns).values(), strict=True))
    mean, second = started(space, dataset="nasbench_macro"), started(space, dataset="nasbench_macro", run=2)
    assert len(mean.architectures) == 6_561
    for text, first, middle, last, params, flops in rows[::7]:
        found = second.evaluate(space.parse(text), 0)
        assert (found.score, found.metrics["test_accuracy"]) == (middle, pytest.approx((first + last) / 2))
        assert (found.metrics["params"], found.metrics["flops"]) == (params, flops)
        assert mean.evaluate(space.parse(text), 0).score == pytest.approx((first + middle + last) / 3)
    best = max(mean.architectures, key=lambda architecture: mean.evaluate(architecture, 0).score)
    assert space.format(best) == "22212202"
    assert mean.evaluate(best, 0).score == pytest.approx(93.1267, abs=5e-5)


@pytest.mark.parametrize("epochs", [4, 12, 36, 108])
def test_ecnas_looks_up_every_length_and_run(epochs):
    space = NASBench101(max_vertices=4)
    columns = ("hash", "adjacency", "ops", "epochs", "run", "valid_acc", "test_acc", "train_seconds", "energy_kwh")
    rows = [row for row in zip(*embedded_columns("ecnas_4v", columns).values(), strict=True) if row[3] == epochs]
    assert len(rows) == 3 * 91
    evaluators = {run: started(space, dataset="ecnas_4v", epochs=epochs, run=run) for run in (1, 2, 3, "mean")}
    for _, adjacency, ops, _, run, valid, test, seconds, energy in rows:
        found = evaluators[run].evaluate(space.parse(f"{adjacency} {ops}"), 0)
        assert found.score == pytest.approx(100 * valid)
        assert found.metrics["test_accuracy"] == pytest.approx(100 * test)
        assert found.metrics["energy_kwh"] == pytest.approx(energy)
        assert found.cost.recorded_seconds == pytest.approx(seconds)
    architecture = space.parse(f"{rows[0][1]} {rows[0][2]}")
    scores = [evaluators[run].evaluate(architecture, 0).score for run in (1, 2, 3)]
    assert evaluators["mean"].evaluate(architecture, 0).score == pytest.approx(np.mean(scores))
    assert len(evaluators["mean"].architectures) == 97, "every numbering of the 91 cells"


def test_ecnas_of_five_vertices_is_complete():
    space = NASBench101(max_vertices=5)
    evaluator = started(space, dataset="ecnas_5v")
    assert len(evaluator.architectures) == space.size() == 3_364
    by_form = {}
    for architecture in evaluator.architectures:
        by_form.setdefault(space.canonical(architecture), set()).add(evaluator.evaluate(architecture, 0).score)
    assert len(by_form) == 2_532
    assert all(len(scores) == 1 for scores in by_form.values())


def test_successive_halving_replays_the_lengths():
    space = NASBench101(max_vertices=4)
    table = Tabular(dataset="ecnas_4v", run=1)
    halving = SuccessiveHalving(RandomSearch(), min_budget=4, max_budget=108)
    result = search(space, halving, table, trials=150, seed=0, executor="simulated", workers=4)
    lengths = {epochs: started(space, dataset="ecnas_4v", run=1, epochs=epochs) for epochs in (4, 12, 36, 108)}
    paid = 0.0
    for trial in result.history:
        found = lengths[trial.budget.stop].evaluate(trial.architecture, 0)
        assert trial.score == found.score
        paid += found.cost.recorded_seconds  # each length was a training of its own
    assert result.cost.recorded_seconds == pytest.approx(paid)
    assert result.best.budget.stop == 108
    full = [trial for trial in result.history if trial.budget.stop == 108]
    assert result.best.score == max(trial.score for trial in full)
    assert 1 <= len(full) < 12


def test_digits201_is_a_ground_truth():
    space = NASBench201()
    runs = [started(space, dataset="digits201", run=run) for run in (0, 1, 2)]
    mean = started(space, dataset="digits201")
    cells = mean.architectures
    assert len(cells) >= 1_000
    scores = np.array([[run.evaluate(cell, 0).score for cell in cells] for run in runs])
    np.testing.assert_allclose([mean.evaluate(cell, 0).score for cell in cells], scores.mean(axis=0))
    ceiling = np.mean([kendalltau(scores[i], scores[j]).statistic for i, j in ((0, 1), (0, 2), (1, 2))])
    assert ceiling > 0.65, "the noise ceiling; 0.687 when the table was made"
    found = mean.evaluate(cells[0], 0)
    assert len(found.curve) == 9
    assert found.curve[-1] == found.score
    assert started(space, dataset="digits201", epochs=3).evaluate(cells[0], 0).curve == found.curve[:3]
    # Uniform: about a fifth of all edges carry each operation.
    shares = np.bincount(np.array(cells).ravel(), minlength=5) / (6 * len(cells))
    assert abs(shares - 0.2).max() < 0.03


def test_digits201_can_be_made_again():
    space, columns = NASBench201(), ("arch", "run", "seed", "params", "flops", "train_examples", "valid_accuracy_9")
    arch, run, seed, params, flops, examples, accuracy = next(
        zip(*embedded_columns("digits201", columns).values(), strict=True)
    )
    evaluator = Training(preset="digits201")
    evaluator.start(space)
    again = evaluator.evaluate(space.parse(arch), seed)
    assert (again.metrics["params"], again.metrics["flops"], again.cost.examples) == (params, flops, examples)
    # Other processors round otherwise; seeds differ by 2.6 points (standard deviation) on average.
    assert again.score == pytest.approx(accuracy, abs=8)
    assert run == 0


def test_digits201_can_be_stopped_and_continued():
    space = NASBench201()
    evaluator = started(space, dataset="digits201", run=1)
    cell = evaluator.architectures[5]
    evaluator.check_budgets((1, 3, 9))
    parts = [
        evaluator.evaluate_query(Query(i, cell, 0, budget=budget))
        for i, budget in enumerate((Budget(1), Budget(3, 1, 0), Budget(9, 3, 0)))
    ]
    whole = evaluator.evaluate(cell, 0)
    assert parts[-1].score == whole.score
    assert sum(p.cost.recorded_seconds for p in parts) == pytest.approx(whole.cost.recorded_seconds)
    assert [len(part.curve) for part in parts] == [1, 3, 9]
    EVALUATOR_CHECKS["stopping_changes_nothing"](lambda: Tabular("digits201"), Sampled())


class Sampled(NASBench201):
    """Proposes trained cells only."""

    def sample(self, rng, over="decisions"):
        trained = started(NASBench201(), dataset="digits201").architectures
        return trained[int(rng.integers(len(trained)))]


def test_cells_that_were_not_trained_are_named():
    evaluator = started(NASBench201(), dataset="digits201")
    trained = set(evaluator.architectures)
    missing = next(cell for cell in NASBench201().enumerate() if cell not in trained)
    with pytest.raises(InvalidArchitecture, match=r"the embedded table \(digits201\) has no architecture"):
        evaluator.evaluate(missing, 0)


@pytest.mark.parametrize(
    ("space", "dataset", "message"),
    [
        (NASBench201(), "nasbench_macro", "holds networks of NAS-Bench-Macro, which NASBench201 does not describe"),
        (NASBench101(), "ecnas_4v", r"use the space NASBench101\(max_vertices=4\)"),
        (NASBench101(max_vertices=5), "ecnas_4v", r"use the space NASBench101\(max_vertices=4\)"),
        (NASBench101(), "ecnas_5v", r"use the space NASBench101\(max_vertices=5\)"),
        (DARTS(), "digits201", "use the space NASBench201"),
    ],
)
def test_spaces_that_a_table_does_not_cover_are_refused(space, dataset, message):
    with pytest.raises(MissingAbility, match=message):
        Tabular(dataset=dataset).check(space)


@pytest.mark.parametrize(
    ("settings", "budgets", "message"),
    [
        (
            {},
            (12, 200),
            "cifar10 has no results of a training that is stopped after 12, 200 epochs, only after whole ones; take",
        ),
        ({"dataset": "ecnas_4v"}, (4, 13), "stopped after 13 epochs, only after 4, 12, 36, 108; choose among these"),
        ({"dataset": "digits201"}, (1, 27), "stopped after 27 epochs"),
    ],
)
def test_budgets_that_a_table_lacks_are_refused(settings, budgets, message):
    with pytest.raises(UsageError, match=message):
        Tabular(**settings).check_budgets(budgets)
    Tabular(**settings).check_budgets(())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataset": "ecnas_4v", "epochs": 5}, "epochs: expected one of 4, 12, 36, 108, got 5"),
        (
            {"dataset": "ecnas_5v", "run": 2},
            "run=2 with dataset=ecnas_5v, epochs=4 is not in the table; it has mean, 1",
        ),
        ({"dataset": "digits201", "run": 3}, "it has mean, 0, 1, 2"),
        ({"dataset": "nasbench_macro", "run": 0}, "it has mean, 1, 2, 3"),
    ],
)
def test_lengths_and_runs_that_a_table_lacks_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        Tabular(**settings)
