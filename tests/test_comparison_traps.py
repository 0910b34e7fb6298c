"""Comparisons of evaluators: references with a seed or a set-up of their own, failures, odd names, damaged files."""

import math

import numpy as np
import pytest
from comparison_lab import SHARED, SPACE, Known, quality

from archsearch import Cost, Evaluation, Evaluator
from archsearch.basics.seeding import stream
from archsearch.errors import RunFolderError, UsageError
from archsearch.evaluators import Tabular
from archsearch.judging.comparison import compare
from archsearch.judging.comparison_figures import figures
from archsearch.spaces import NASBench201


class OwnNoise(Known):
    """Noise from its own seed alone, as that of a super-network."""

    def evaluate(self, architecture, seed):
        return Evaluation(float(stream(self.seed, repr(architecture)).standard_normal()))


class Plain(Evaluator):
    """No arguments, no cost."""

    def evaluate(self, architecture, seed):
        return Evaluation(quality(architecture), {"maybe": math.nan if architecture[0] == 3 else 1.0 * architecture[0]})


class Flaky(Known):
    """Cannot score a third of the architectures, whatever the seed; says of all which they are."""

    def evaluate(self, architecture, seed):
        if sum(architecture) % 3 == 0:
            raise RuntimeError("cannot train that")
        return super().evaluate(architecture, seed)


class Broken(Known):
    """Scores the sample, and nothing else."""

    def evaluate(self, architecture, seed):
        if Broken.enough:
            raise RuntimeError("broken")
        return super().evaluate(architecture, seed)


class Half(Known):
    """A table of a part of the space."""

    @property
    def architectures(self):
        return [each for each in SPACE.enumerate() if each[0] < 2]

    def evaluate(self, architecture, seed):
        if architecture[0] >= 2:
            raise RuntimeError("not in the table")
        return super().evaluate(architecture, seed)


class Unprepared(Known):
    """A table that is read when it is prepared."""

    table = None

    @property
    def architectures(self):
        return list(SPACE.enumerate())

    def prepare(self):
        self.table = {each: quality(each) for each in SPACE.enumerate()}
        return Cost(device_seconds=5.0)

    def evaluate(self, architecture, seed):
        return Evaluation(self.table[architecture], cost=Cost(recorded_seconds=1.0))


def quick(evaluators, reference, **settings):
    return compare(SPACE, evaluators, reference, **{"samples": 60, "seeds": 2, "trials": 0, "seed": 0, **settings})


def test_a_reference_with_a_seed_of_its_own_is_not_compared_with_itself():
    found = quick([Known()], OwnNoise())
    assert found["OwnNoise"].kind == "reference"
    assert abs(found["OwnNoise"].agreement.tau.value) < 0.3  # it was 0.5 while one of its 2 seeds was the reference's
    assert found.ceiling_known


def test_a_reference_that_is_the_same_again_has_no_ceiling():
    found = quick([Known()], Plain())
    assert not found.ceiling_known
    assert "ceiling     unknown: the reference does not depend on the seed" in str(found)
    assert "Plain (reference)" in str(found)


def test_the_set_up_of_the_reference_counts():
    found = quick({"p": Known(each=1.0)}, Unprepared(), trials=20, budgets=[3.0, 10.0])
    assert found.reference_set_up.device_seconds == 5
    assert found.break_even("p") == 1  # as dear for each, but without a set-up
    assert math.isnan(found.random_search[0][0])
    assert found.random_search[1][0] > -math.inf
    assert found.best == pytest.approx(max(quality(each) for each in SPACE.enumerate()))


def test_goes_on_with_a_reference_that_needs_its_set_up(tmp_path):
    first, second = (quick([Known(0.5)], Unprepared(), trials=5, out=tmp_path, seed=None) for _ in range(2))
    assert first.seed == second.seed  # that of the folder
    assert first.best == second.best
    assert first["Known(noise=0.5)"].agreement == second["Known(noise=0.5)"].agreement


def test_failed_evaluations_are_part_of_the_cost():
    class Burns(Known):
        def evaluate(self, architecture, seed):
            if architecture[0] == 0:
                begun = np.float64(sum(range(300_000)))  # some milliseconds
                raise RuntimeError(f"wasted {begun}")
            return Evaluation(quality(architecture), cost=Cost(device_seconds=1e-9))

    row = quick({"burns": Burns()}, Known(), seeds=1)["burns"]
    assert row.failed > 0
    assert row.each.wall_seconds > 1e-4
    assert row.each.device_seconds == pytest.approx(1e-9 * (60 - row.failed) / 60)


def test_random_search_of_more_than_the_sample_is_not_told():
    found = quick([Known(each=1.0)], Known(0.1, each=1.0), trials=100, budgets=[30, 90])
    assert np.isfinite(found.random_search[0]).all()
    assert math.isnan(found.random_search[1][0])


def test_where_the_reference_cannot_score_a_pick_the_one_before_counts():
    found = quick({"p": Known(each=1.0)}, Flaky(each=1.0), trials=60, seeds=4, budgets=[10, 60])
    assert np.isfinite(found["p"].picks).all()
    assert found.recommendations()[0].name is not None
    assert found["p"].evaluations[-1] == pytest.approx(60)


def test_one_evaluator_that_breaks_does_not_end_the_comparison(tmp_path):
    Broken.enough = True
    found = quick({"fine": Known(0.1), "broken": Broken()}, Known(), trials=15, budgets=[100], out=tmp_path)
    assert found["broken"].failed == 60
    assert found["broken"].agreement is None
    assert found["broken"].note.startswith("no search with it succeeds")
    assert found.recommendations()[0].name is not None
    assert "broken" in found.save(tmp_path).read_text()
    again = quick({"fine": Known(0.1)}, Known(), trials=15, budgets=[100], out=tmp_path)  # without it
    assert again["fine"].agreement == found["fine"].agreement
    with pytest.raises(RunFolderError, match="differs in evaluators: fine"):
        quick({"fine": Known(0.2)}, Known(), trials=15, budgets=[100], out=tmp_path)


def test_searches_stay_in_what_a_partial_table_holds():
    found = quick({"half": Half(each=1.0), "noisy": Known(0.5, each=1.0)}, Known(each=1.0), trials=30, budgets=[30])
    assert found.controller == "random search among the 200 architectures that all can score"
    assert found["half"].evaluations[-1] == pytest.approx(30)
    assert found["half"].failed == 0
    assert np.isfinite(found["half"].picks).all()


def test_the_executor_changes_nothing_but_the_clock():
    local, simulated = (quick([SHARED], Unprepared(), trials=10, executor=each) for each in ("local", "simulated"))
    assert local.best == simulated.best
    name = local.rows[0].name
    assert local[name].agreement == simulated[name].agreement
    np.testing.assert_array_equal(local[name].picks, simulated[name].picks)


def test_names_of_evaluators_decide_nothing():
    one, other = (quick({name: Known(0.8)}, Known())[name].agreement for name in ("one", "another name"))
    assert one == other


def test_a_truth_that_is_not_a_number_counts_as_a_failure():
    found = quick([Known()], Plain(), truth="maybe", samples=100)
    assert 60 < found.samples < 100
    assert math.isfinite(found.average)
    with pytest.raises(UsageError, match="the reference reports no 'beauty'; expected score or one of maybe"):
        quick([Known()], Plain(), truth="beauty")


@pytest.mark.parametrize("amount", [math.nan, math.inf, -1.0])
def test_costs_that_are_no_amounts_are_failures(amount):
    found = quick({"odd": Known(each=amount)}, Known(), samples=20)
    assert found["odd"].failed == found.samples
    with pytest.raises(UsageError, match=r"Known.prepare: expected finite amounts >= 0 as cost"):
        quick({"odd": Known(set_up=amount)}, Known(), samples=20)


def test_odd_names_are_drawn_and_written(tmp_path):
    names = ["a/b$x^$", "_hidden", "ü <b>", "x" * 120]
    found = quick({name: Known(0.5) for name in names}, Known(0.1), trials=5, samples=20, seeds=1)
    text = found.save(tmp_path).read_text()
    assert "ü &lt;b&gt;" in text
    with pytest.raises(UsageError, match=r"expected evaluators by name .text., got 1:"):
        quick({1: Known()}, Known())


@pytest.mark.parametrize("content", ["[", "", "[1]", "evaluators: 3"])
def test_a_damaged_configuration_is_said(content, tmp_path):
    (tmp_path / "comparison.yaml").write_text(content)
    with pytest.raises(RunFolderError, match=r"cannot be read|no configuration of a comparison"):
        quick([Known()], Known(), out=tmp_path)


def test_ceiling_of_others_is_in_their_own_units():
    again = [Tabular(run=777), Tabular(run=888)]
    settings = {"truth": "test_accuracy", "samples": 50, "seeds": 1, "trials": 0}
    found = compare(NASBench201(), [Tabular(epochs=12)], Tabular(), again=again, **settings)
    units = {(row["evaluator"], row["unit"]) for row in figures(found).to_pylist() if row["figure"] == "regret"}
    assert ("noise ceiling", "score") in units
    assert ("Tabular(epochs=12)", "test_accuracy") in units
