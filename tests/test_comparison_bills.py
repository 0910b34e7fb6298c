"""What a comparison bills and draws: one cost an evaluator, none where it is not known, no warming up."""

import math
from typing import ClassVar

import numpy as np
import pytest
import torch
from comparison_lab import SPACE, Known, quality

from archsearch import Cost, Evaluation, Evaluator
from archsearch.evaluators import Cascade, Predictor, Tabular
from archsearch.judging import comparison_pictures
from archsearch.judging.bench import Random, Size
from archsearch.judging.comparison import compare
from archsearch.judging.comparison_figures import figures
from archsearch.spaces import NASBench201, NASBenchMacro
from archsearch.training import meter


class Looked(Known):
    """A table without seconds."""

    priced = False

    def evaluate(self, architecture, seed):
        return Evaluation(quality(architecture))


class SlowAtFirst(Known):
    """Bills ten times as much for the first architecture that this process is asked for, as PyTorch does."""

    asked = 0

    def evaluate(self, architecture, seed):
        SlowAtFirst.asked += 1
        cost = Cost(device_seconds=100.0 if SlowAtFirst.asked == 1 else 10.0)
        return Evaluation(super().evaluate(architecture, seed).score, cost=cost)


class Counts(Evaluator):
    """Counts an architecture once, slowly, and remembers it."""

    def __init__(self) -> None:
        self.known = {}

    def measure(self, architecture):
        if architecture not in self.known:
            self.known[architecture] = float(sum(range(100_000 + architecture[0])) > 0)
        return {"flops": self.known[architecture]}


def quick(evaluators, reference, **settings):
    return compare(SPACE, evaluators, reference, **{"samples": 60, "seeds": 2, "trials": 0, "seed": 0, **settings})


def test_the_reference_has_one_cost_wherever_it_stands():
    SlowAtFirst.asked = 0
    found = quick({"cheap": Known(each=1.0)}, SlowAtFirst(0.1))
    row = next(row for row in found.rows if row.kind == "reference")
    assert row.each == found.reference_cost
    assert row.each.device_seconds == pytest.approx(10 + 90 / 180)  # 60 architectures, three times
    assert row.total(100) == pytest.approx(100 * found.reference_cost.billed_seconds)


def test_counting_the_size_costs_the_same_on_the_sample_and_in_a_search():
    size = Size(Counts(), "flops")
    first, again = size.evaluate((1, 2, 3), 0), size.evaluate((1, 2, 3), 1)
    assert first == again
    assert first.cost.device_seconds > 0


def test_random_numbers_are_billed_in_processor_seconds():
    assert Random().evaluate((0,), 0).cost.device_seconds > 0


def test_sizes_are_counted_by_an_evaluator_that_has_counted_none():
    class Remembers(Known):
        counted: ClassVar[list[int]] = []

        def measure(self, architecture):
            Remembers.counted.append(id(self))
            return {"flops": 1.0 + architecture[0]}

        def evaluate(self, architecture, seed):
            self.measure(architecture)
            return super().evaluate(architecture, seed)

    quick({"cheap": Known()}, Remembers())
    judge = Remembers.counted[0]
    assert any(each != judge for each in Remembers.counted)


# -- what is not known -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def looked_up():
    evaluators = {"table": Looked(), "cheap": Known(noise=2.0, each=1.0), "dear": Known(each=50.0)}
    return quick(evaluators, Known(each=10.0), trials=20, seeds=3, budgets=[30.0, 3_000.0])


def test_what_was_looked_up_without_seconds_has_no_cost(looked_up):
    assert not looked_up["table"].priced
    assert math.isnan(looked_up.break_even("table"))
    assert math.isnan(looked_up.break_even("cheap", "table"))
    line = next(line for line in str(looked_up).splitlines() if line.startswith("table "))
    assert line.split("  ")[-1].strip() == "not known"
    table = figures(looked_up).to_pylist()
    assert [each["value"] for each in table if each["evaluator"] == "table" and each["figure"] == "priced"] == [0.0]


def test_it_is_not_advised_for_a_budget(looked_up):
    assert looked_up["table"].agreement.tau.value == 1  # though it knows the truth
    for each in looked_up.recommendations():
        assert "table" not in (each.name, *each.level)
    assert "Not advised, since what they cost is not known: table." in looked_up.sentences


def test_where_nothing_has_a_cost_all_are_advised():
    found = quick({"other": Looked()}, Looked(), trials=10, budgets=[1.0])
    assert found.recommendations()[0].name is not None
    assert "cost of it  not known: it was looked up in a table without seconds" in str(found)


def test_which_tables_have_seconds():
    def priced(evaluator, space=None):
        evaluator.start(space or NASBench201())
        return evaluator.priced

    assert priced(Tabular())
    assert priced(Tabular(epochs=12))
    assert not priced(Tabular(zero_cost="synflow"))
    assert not priced(Predictor(Tabular(zero_cost="synflow"), labels=20))
    assert not priced(Cascade([Tabular(zero_cost="synflow"), Tabular()]))
    assert priced(Predictor(Tabular(), labels=20))
    assert not priced(Tabular("nasbench_macro"), NASBenchMacro())


# -- pictures --------------------------------------------------------------------------------------


def test_the_front_runs_through_what_is_told_from_chance_and_has_a_cost(looked_up):
    figure = comparison_pictures.draw_cost_and_rank(looked_up, None)
    front = next(line for line in figure.axes[0].get_lines() if str(line.get_label()).startswith("Pareto front"))
    taus = set(np.round(np.asarray(front.get_ydata(), float), 9))
    eligible = {round(row.agreement.tau.value, 9) for row in looked_up.rows if row.priced and row.agreement.tau.low > 0}
    assert taus <= eligible
    assert round(looked_up["random"].agreement.tau.value, 9) not in taus


def test_no_line_with_a_name_leaves_the_frame(looked_up):
    axes = comparison_pictures.draw_search(looked_up, None).axes[0]
    top = axes.get_ylim()[1]
    for line in axes.get_lines():
        heights = np.atleast_1d(np.asarray(line.get_ydata(), float))
        assert line.get_label() == "others" or np.nanmax(heights) <= top


def test_pictures_of_what_costs_nothing_that_is_known(tmp_path):
    quick({"other": Looked()}, Looked(), trials=10, budgets=[1.0]).save(tmp_path)
    assert (tmp_path / "break_even.png").stat().st_size > 1_000


# -- random search and its noise -------------------------------------------------------------------


def test_random_search_is_no_worse_with_more_budget_where_seeds_even_out_the_noise():
    found = quick([Known(1.0, each=1.0)], Known(1.0, each=1.0), seeds=12, trials=50, budgets=[5, 15, 45])
    means = [mean for mean, _ in found.random_search]
    assert means == sorted(means)


# -- warming up ------------------------------------------------------------------------------------


def test_a_meter_does_not_count_what_pytorch_does_once(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(meter, "clock", lambda device: now[0])
    warm = meter._Warm()
    monkeypatch.setattr(meter, "WARM", warm)
    device = torch.device("cpu")
    done = []

    def load(_device):
        done.append(1)
        now[0] += 100.0

    measured = meter.Meter(device)
    now[0] += 1.0
    warm.up(device, load)
    warm.up(device, load)
    now[0] += 2.0
    assert done == [1]
    assert measured.cost().device_seconds == pytest.approx(3.0)
    assert meter.Meter(device).cost().device_seconds == 0


def test_warming_up_draws_no_random_numbers():
    before = torch.random.get_rng_state()
    for what in (meter.warm_kernels, meter.warm_optimisers):
        what(torch.device("cpu"))
    assert torch.equal(torch.random.get_rng_state(), before)
