"""``Tabular`` on the embedded table: settings, spaces, devices, and what does not matter."""

from __future__ import annotations

import math
import pickle

import pytest
from tabular_lab import Numbers, started

from archsearch.components import build, describe
from archsearch.errors import InvalidArchitecture, MissingAbility, UsageError
from archsearch.evaluators import Tabular
from archsearch.evaluators.embedded_tables import Selection
from archsearch.spaces import Choices, NASBench201
from archsearch.trial import Query


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataset": "mnist"}, "dataset: expected one of cifar10, cifar100, ImageNet16-120, nasbench_macro"),
        ({"epochs": 90}, "epochs: expected one of 12, 200, got 90"),
        ({"run": 111}, "run=111 with dataset=cifar10, epochs=200 is not in the table; it has mean, 777, 888, 999"),
        ({"run": "777"}, "run='777' with"),
        ({"cost": "s", "score": "x"}, "score, cost goes with a table of your own; give table=PATH too"),
        ({"maximize": False}, "maximize goes with a table of your own"),
        ({"table": "t.csv"}, "table='t.csv' needs the names of two columns: architecture and score"),
        ({"table": "t.csv", "architecture": "a"}, "needs the names of two columns"),
        ({"zero_cost": "snap"}, "zero_cost: expected one of epe_nas, fisher, grad_norm"),
        (
            {"dataset": "ImageNet16-120", "zero_cost": "naswot_paper"},
            "snip, synflow, zen, expressivity, progressivity, trainability, vkdnw with dataset=ImageNet16",
        ),
        (
            {"dataset": "cifar100", "zero_cost": "zen"},
            "zero_cost: published for dataset=cifar10 and ImageNet16-120, not",
        ),
        ({"epochs": 12, "zero_cost": "zen"}, "epochs and run select an accuracy to search on"),
        ({"run": 777, "zero_cost": "zen"}, "epochs and run select an accuracy to search on"),
        (
            {"table": "t.csv", "architecture": "a", "score": "s", "zero_cost": "zen"},
            "dataset, epochs, run, zero_cost, device and attacks select from the embedded table",
        ),
        (
            {"table": "t.csv", "architecture": "a", "score": "s", "epochs": 12},
            "dataset, epochs, run, zero_cost, device and attacks select from the embedded table",
        ),
    ],
)
def test_settings_that_exclude_each_other_are_refused(settings, message):
    with pytest.raises(UsageError) as caught:
        Tabular(**settings)
    assert message in str(caught.value)


def test_a_second_start_does_not_read_the_table_again(monkeypatch):
    evaluator = started()
    kept = evaluator._evaluations
    monkeypatch.setattr(Selection, "rows", lambda *_: pytest.fail("the table was read again"))
    evaluator.start(NASBench201())
    assert evaluator._evaluations is kept


def test_the_seed_does_not_matter_and_batches_are_single_look_ups():
    space = NASBench201()
    evaluator = started(space, epochs=12)
    cells = [space.from_index(i) for i in (0, 11, 284, 0)]
    queries = [Query(i, cell, i) for i, cell in enumerate(cells)]
    assert evaluator.evaluate_batch(queries) == [evaluator.evaluate(cell, 7) for cell in cells]


@pytest.mark.parametrize("space", [Numbers(), Choices({"kernel": [3, 5]})])
def test_another_space_lacks_what_the_table_needs(space):
    with pytest.raises(MissingAbility, match=f"{type(space).__name__} does not describe; use the space NASBench201"):
        Tabular().start(space)


def test_what_is_outside_the_space_is_refused():
    evaluator = started()
    with pytest.raises(InvalidArchitecture, match="not in NASBench201"):
        evaluator.evaluate((9, 0, 0, 0, 0, 0), 0)


def test_pickles_are_small_and_work():
    evaluator = started(dataset="cifar100", epochs=12)
    pickled = pickle.dumps(evaluator)
    assert len(pickled) < 5_000
    copy = pickle.loads(pickled)
    assert copy.evaluate((3, 3, 3, 1, 3, 3), 0) == evaluator.evaluate((3, 3, 3, 1, 3, 3), 0)
    fresh = pickle.loads(pickle.dumps(Tabular("cifar10", 12)))
    fresh.start(NASBench201())
    assert fresh.evaluate((0,) * 6, 0).score > 0


def test_descriptions_make_the_same_evaluator():
    for evaluator in (
        Tabular("cifar100", 200, 888),
        Tabular(table="t.csv", architecture="a", score="s", metrics=["m"]),
    ):
        again = build(describe(evaluator))
        assert describe(again) == describe(evaluator)


# -- devices ---------------------------------------------------------------------------------------


def test_latency_and_energy_of_devices():
    """Cell 0 on CIFAR-10, as the page of HW-NAS-Bench prints it."""
    space = NASBench201()
    cell = space.parse(
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    )
    printed = {
        "edgegpu": (5.807418537139893, 24.226614330768584),
        "raspi4": (10.481976820010459, None),
        "edgetpu": (0.9571811309997429, None),
        "pixel3": (3.6058499999999998, None),
        "eyeriss": (3.645620000000001, 0.6872827644999999),
        "fpga": (2.57296, 18.01072),
    }
    plain = Tabular()
    plain.start(space)
    for device, (latency, energy) in printed.items():
        table = Tabular(device=device)
        table.start(space)
        found = table.evaluate(cell, 0)
        assert found.score == plain.evaluate(cell, 0).score
        assert found.metrics["latency_seconds"] == pytest.approx(latency / 1_000, rel=1e-6)
        assert found.metrics.get("energy_joules") == (
            None if energy is None else pytest.approx(energy / 1_000, rel=1e-6)
        )
        assert table.measure(cell)["latency_seconds"] == found.metrics["latency_seconds"]
    cannot = Tabular(device="edgetpu")
    cannot.start(space)
    without = [each for each in cannot.architectures if "latency_seconds" not in cannot.evaluate(each, 0).metrics]
    assert len(without) == 4_699
    assert math.isnan(cannot.measure(without[0])["latency_seconds"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": "abacus"}, "device: expected one of edgegpu, edgetpu"),
        (
            {"device": "fpga", "dataset": "digits201"},
            "device: fpga is known for dataset=cifar10, cifar100, ImageNet16-120",
        ),
        (
            {"device": "fpga", "table": "x.csv", "architecture": "a", "score": "b"},
            "device and attacks select from the embedded table",
        ),
    ],
)
def test_devices_that_are_not_there(settings, message):
    with pytest.raises(UsageError, match=message):
        Tabular(**settings)


def test_a_table_is_read_once_for_equal_spaces_and_settings():
    first, again, other = Tabular(), Tabular(), Tabular(epochs=12)
    for evaluator in (first, again, other):
        evaluator.start(NASBench201())
    assert first._evaluations is again._evaluations
    cell = (3, 1, 2, 3, 4, 3)
    assert first.evaluate(cell, 0) == again.evaluate(cell, 0) != other.evaluate(cell, 0)
