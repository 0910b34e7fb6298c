"""Latency tables that are measured: timing, blocks, rows, the correction, and what is refused."""

import json
import math
import re
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from mobilenet_lab import small
from torch import nn

from archsearch import cli, search
from archsearch.controllers import NSGA2, ElitistEvolution, RandomSearch
from archsearch.devices import profile
from archsearch.devices.correction import additive, fitted, judged
from archsearch.devices.energy import joules_each
from archsearch.devices.profiler import Measuring
from archsearch.devices.rows import added, by_decision, discover
from archsearch.devices.timing import in_turn, summary
from archsearch.errors import TableError, UsageError
from archsearch.evaluator import Built
from archsearch.evaluators import Function, OnDevice, Training, ZeroCost
from archsearch.executors.counters import Rapl, counter_of
from archsearch.limits import LatencyTable
from archsearch.limits.composition import Composition
from archsearch.limits.latency import FACTS
from archsearch.networks.blocks import KINDS, blocks_of
from archsearch.networks.network import InputShape
from archsearch.spaces import DARTS, MobileNet, NASBench201

TASK = InputShape((1, 8, 8), 10)
QUICK = {"repeats": 2, "warm_up": 1, "networks": 3, "fit": 0, "clock": "processor"}


# -- timing ----------------------------------------------------------------------------------------


def test_intervals_of_the_median_are_those_of_the_tables():
    """Of 20 measurements the 6th to the 15th hold the median with 95.9 % (Conover 1999, section 3.2)."""
    found = summary(list(range(1, 21)))
    assert found == (10.5, 6.0, 15.0)
    assert summary([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)
    draws = np.random.default_rng(0).exponential(size=(500, 20))
    held = [each.low <= math.log(2) <= each.high for each in map(summary, draws)]
    assert np.mean(held) > 0.93
    quarter = [summary(each, 0.25) for each in draws]
    assert np.mean([each.low <= -math.log(0.75) <= each.high for each in quarter]) > 0.93


def test_things_are_called_in_turn():
    calls = []
    things = [lambda i=i: calls.append(i) for i in range(5)]
    found = in_turn(things, warm_up=2, repeats=4, rng=np.random.default_rng(0))
    assert len(found) == 5
    rounds = [calls[i : i + 5] for i in range(10, 30, 5)]
    assert calls[:10] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert all(sorted(each) == list(range(5)) for each in rounds)
    assert len({tuple(each) for each in rounds}) > 1


# -- blocks ----------------------------------------------------------------------------------------


def test_blocks_of_a_chain_are_its_layers():
    space = small()
    network = space.network(space.parse("k3e3-identity-k5e6-k3e3"), InputShape((3, 12, 12), 4)).eval()
    names = [block.name for block in blocks_of(network, (3, 12, 12), batch=2)]
    assert names == [
        "Sequential 2x3x12x12",
        "MBConvLayer 2x8x12x12",
        "aten.add.Tensor 2x8x12x12 2x8x12x12",
        "MBConvLayer 2x8x12x12",
        "MBConvLayer 2x12x6x6",
        "aten.add.Tensor 2x12x6x6 2x12x6x6",
        "Sequential 2x12x6x6",
        "Linear 2x16",
    ]


def test_blocks_of_a_cell_are_its_operations():
    space, composition = NASBench201(), Composition(NASBench201(), Built((1, 8, 8), 10, {"channels": 4, "cells": 2}))
    architecture = space.parse(
        "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_3x3~1|+|none~0|avg_pool_3x3~1|skip_connect~2|"
    )
    count = composition.count(architecture)
    by_name = Counter()
    for key, times in count.items():
        by_name[composition.blocks[key].name.partition(" ")[0]] += times
    # Two cells in each of three stages: two convolutions, a pooling and two sums each; stem and head.
    assert by_name == {"Sequential": 2 + 12, "AvgPool2d": 6, "aten.add.Tensor": 12, "ResidualReduction": 2}
    kinds = {composition.blocks[key].kind for key in count}
    assert kinds <= set(KINDS)
    assert {"convolution", "pooling", "other"} <= kinds


@pytest.mark.parametrize("space", [small(), MobileNet(), small(identity="never")], ids=["small", "default", "never"])
def test_blocks_of_chains_add_up_over_decisions(space):
    composition = Composition(space, Built((1, 8, 8), 10, {}))
    rows = by_decision(space, composition.count, np.random.default_rng(0))
    assert rows is not None
    for seed in range(5):
        architecture = space.sample(np.random.default_rng(100 + seed))
        total = Counter(rows["", 0])
        for i, option in enumerate(architecture):
            total.update(rows[space.label(architecture[:i]), option])
        alone = space.network(architecture, TASK).eval()
        assert total == Counter(block.key for block in blocks_of(alone, (1, 8, 8)))


def test_blocks_of_cells_do_not_and_few_are_missed():
    space, composition = DARTS(), Composition(DARTS(), Built((1, 4, 4), 10, {"channels": 4, "layers": 2}))
    discover(space, composition, np.random.default_rng(0))
    assert by_decision(space, composition.count, np.random.default_rng(0)) is None
    known = len(composition.blocks)
    for seed in range(5):
        composition.count(space.sample(np.random.default_rng(1000 + seed)))
    assert len(composition.blocks) == known


# -- the correction --------------------------------------------------------------------------------


def networks(seed, n, factor=1.0, each=0.0, fixed=1e-5, noise=0.0):
    """Sums by kind, numbers of blocks and seconds of networks that obey such a law."""
    rng = np.random.default_rng(seed)
    sums = [{"depthwise": rng.uniform(1e-4, 3e-4), "convolution": rng.uniform(1e-4, 2e-4)} for _ in range(n)]
    blocks = rng.integers(5, 20, n).tolist()
    seconds = [factor * s["depthwise"] + s["convolution"] + each * b + fixed for s, b in zip(sums, blocks, strict=True)]
    return sums, blocks, np.array(seconds) * (1 + noise * rng.normal(size=n))


def predicted(fit, sums, blocks):
    return np.array(
        [
            fit.fixed + fit.each * b + sum(fit.factors[kind] * seconds for kind, seconds in s.items())
            for s, b in zip(sums, blocks, strict=True)
        ]
    )


def test_the_correction_finds_the_law_and_is_judged_by_others():
    sums, blocks, seconds = networks(0, 40, factor=1.6, each=4e-6, fixed=5e-5, noise=0.01)
    fit = fitted(sums, blocks, seconds, 1e-5)
    others = networks(1, 50, factor=1.6, each=4e-6, fixed=5e-5)
    found, plain = (judged(predicted(each, *others[:2]), others[2]) for each in (fit, additive(1e-5)))
    assert found.error < 0.02 < 0.2 < plain.error
    assert found.rank_correlation > 0.99
    assert min(*fit.factors.values(), fit.each, fit.fixed) >= 0


def test_where_sums_are_right_they_stay():
    sums, blocks, seconds = networks(0, 30)
    assert fitted(sums, blocks, seconds, 1e-5) == additive(1e-5)
    assert fitted(sums[:4], blocks[:4], 2 * seconds[:4], 1e-5) == additive(1e-5), "too few to fit anything"


# -- a table, and searches under it ----------------------------------------------------------------


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    path = tmp_path_factory.mktemp("tables") / "chain.parquet"
    return profile(small(), Training("digits"), path, **QUICK)


def test_the_table_of_a_chain_adds_up(chain):
    space, rows = small(), pq.read_table(chain.path).to_pylist()
    table = LatencyTable(chain.path, space)
    seconds = {(row["decision"], row["option"]): row["seconds"] for row in rows}
    assert len(seconds) == 1 + sum(space.arities)
    assert all(0 <= row["low_seconds"] <= row["measured_seconds"] <= row["high_seconds"] for row in rows)
    assert seconds["layer 1", 0] == 0, "an identity computes nothing"
    for seed in range(5):
        architecture = space.sample(np.random.default_rng(seed))
        parts = [seconds[space.label(architecture[:i]), option] for i, option in enumerate(architecture)]
        assert table.seconds(architecture) == pytest.approx(seconds["", 0] + sum(parts))
    facts = json.loads(pq.read_schema(chain.path).metadata[FACTS])
    assert (facts["device"], facts["runtime"], facts["threads"], facts["batch"]) == ("cpu", "pytorch", 1, 1)
    assert facts["corrected"] == pytest.approx(chain.corrected._asdict(), nan_ok=True)
    assert len(chain.measured) == len(chain.predicted) == 3
    assert "3 random ones measured whole" in str(chain)


def test_the_table_of_cells_adds_up_over_blocks(tmp_path):
    space = NASBench201()
    found = profile(space, Training("digits", skeleton={"channels": 2, "cells": 1}), tmp_path / "t.parquet", **QUICK)
    rows = {row["block"]: row["seconds"] for row in pq.read_table(found.path).to_pylist()}
    table = LatencyTable(found.path, space)
    composition = Composition(space, table.built)
    architecture = (3, 1, 2, 3, 4, 3)
    total = rows[""] + added(composition.count(architecture), rows)
    assert table.seconds(architecture) == pytest.approx(total)
    missing = pq.read_table(found.path).filter(pq.read_table(found.path)["block"].to_numpy(False) == "")
    pq.write_table(missing, tmp_path / "none.parquet")
    with pytest.raises(TableError, match=r"the first is .*; profile that space"):
        LatencyTable(tmp_path / "none.parquet", space)


def test_no_member_of_a_population_breaks_a_limit(chain):
    table, space = LatencyTable(chain.path, small()), small()
    drawn = [table.seconds(space.sample(np.random.default_rng(seed))) for seed in range(30)]
    limit = float(np.median(drawn))
    evaluator = ZeroCost("params", training=Training("digits"))
    controller = ElitistEvolution(population_size=10, parents=4, mutations=5, crossovers=5)
    result = search(
        space, controller, evaluator, trials=40, seed=0, limits={"latency_seconds": limit}, latency_table=chain.path
    )
    assert result.rejected > 0
    assert all(table.seconds(trial.architecture) <= limit for trial in result.history)


def test_tables_of_other_networks_are_refused(chain):
    settings = {"trials": 2, "seed": 0, "limits": {"latency_seconds": 1.0}, "latency_table": chain.path}
    with pytest.raises(TableError, match=r"measured for MobileNet\(.*; profile that one"):
        search(small(identity="never"), NSGA2({"score": "max"}), Training("digits"), **settings)
    wide = Training("digits", skeleton={"channels": 16})
    with pytest.raises(TableError, match=r"channels 8, while Training builds those of .*channels 16; profile these"):
        search(small(), NSGA2({"score": "max"}), wide, **settings)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "abacus"], "device: expected one that PyTorch has here, cpu.*got 'abacus'"),
        (["--runtime", "onnxruntime", "--device", "tpu"], "device: expected one that ONNX Runtime has here, cpu"),
        (["--runtime", "tflite"], "runtime: expected one of pytorch, onnxruntime, got 'tflite'"),
        (["--clock", "processor", "--threads", "2"], "clock: .* says nothing of 2 threads"),
        (["--out", "t.csv"], "out: expected a file that ends in .parquet"),
        (["--evaluator", "Tabular"], "Tabular builds no networks; give an evaluator that does"),
        (["--networks", "1"], "networks: expected a whole number"),
        (["--quantile", "0.9"], "quantile: expected a"),
    ],
)
def test_the_command_line_says_in_one_line_what_is_wrong(options, message, tmp_path, monkeypatch, capsys):
    if "ONNX" in message:
        pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["profile", *options]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert re.search(message, printed.err), printed.err


def test_a_runtime_that_is_not_installed(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r'onnxruntime: pip install "archsearch\[onnx\]"'):
        profile(small(), Training("digits"), "t.parquet", runtime="onnxruntime")


def test_a_preset_is_profiled_as_it_searches(tmp_path, capsys):
    out = str(tmp_path / "spos.parquet")
    options = [f"--{name}={value}" for name, value in QUICK.items()]
    assert cli.main(["profile", "--preset", "spos", "--out", out, "--quiet", *options]) == 0
    assert "identity='never'" in capsys.readouterr().out
    space = MobileNet(candidates=[(3, 3), (3, 6), (5, 3), (5, 6)], identity="never")
    table = LatencyTable(out, space)
    assert table.built == Built((1, 8, 8), 10, {"channels": 8})


def test_onnx_runtime_is_measured(tmp_path):
    pytest.importorskip("onnxruntime")
    space = small(stages=[(4, 1, 2)], candidates=[(3, 3), (3, 6)], head_channels=None)
    found = profile(space, Training("digits"), tmp_path / "t.parquet", runtime="onnxruntime", **QUICK | {"networks": 2})
    assert found.facts["version"].startswith("ONNX Runtime 1.")
    assert all(seconds > 0 for seconds in found.measured)
    assert LatencyTable(found.path, space).seconds((1,)) > 0


def test_settings_are_checked():
    with pytest.raises(UsageError, match="profile: clock: expected one of wall, processor"):
        Measuring(clock="sun")
    with pytest.raises(UsageError, match="says nothing of a GPU"):
        Measuring(device="cuda", clock="processor")


# -- objectives ------------------------------------------------------------------------------------


def accuracy(text):
    """Large kernels and expansions are taken to be good."""
    return 50.0 + sum(map(int, re.findall(r"\d", text)))


def test_the_reward_of_mnasnet(chain):
    evaluator = OnDevice(Function(accuracy), target=0.01)
    assert 1 - evaluator.rewarded(75.0, 0.02) / evaluator.rewarded(75.0, 0.01) == pytest.approx(0.0474, abs=5e-5)
    assert evaluator.rewarded(75.0, 0.01) == 75.0
    hard = OnDevice(Function(accuracy), target=0.01, reward="hard")
    assert hard.rewarded(75.0, 0.004) == 75.0
    assert hard.rewarded(75.0, 0.02) == pytest.approx(37.5)
    assert OnDevice(Function(accuracy), target=0.01, reward="hard", beta=-2).rewarded(75.0, 0.02) == 18.75
    assert OnDevice(Function(accuracy), target=0.01, reward="none").rewarded(-1.0, 0.02) == -1.0
    with pytest.raises(UsageError, match="expected a score above 0, such as an accuracy, got -1 of Function"):
        evaluator.rewarded(-1.0, 0.02)
    with pytest.raises(UsageError, match="Function measures no latency_seconds; give a latency_table"):
        evaluator.start(small())


def test_the_reward_is_searched_by_any_controller(chain, tmp_path):
    table, space = LatencyTable(chain.path, small()), small()
    evaluator = OnDevice(Function(accuracy), target=1e-4, latency_table=str(chain.path))
    front = NSGA2({"accuracy": "max", "latency_seconds": "min"}, population_size=10)
    for controller in (ElitistEvolution(population_size=10, parents=4, mutations=5, crossovers=5), front):
        result = search(space, controller, evaluator, trials=40, seed=0)
        for trial in result.history:
            seconds = table.seconds(trial.architecture)
            assert trial.metrics["latency_seconds"] == seconds
            assert trial.metrics["accuracy"] == accuracy(space.decode(trial.architecture))
            assert trial.score == pytest.approx(accuracy(space.decode(trial.architecture)) * (seconds / 1e-4) ** -0.07)
    points = [tuple(compromise.objectives.values()) for compromise in front.pareto_front]
    assert len(points) > 2
    assert not any(a[0] >= b[0] and a[1] < b[1] for a in points for b in points)


# -- memory ----------------------------------------------------------------------------------------


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x):
        x = self.attention(x, x, x, need_weights=False)[0]
        return nn.functional.scaled_dot_product_attention(x, x, x)


def test_bytes_are_counted_by_hand():
    from archsearch.networks.memory import bytes_of

    network = nn.Sequential(nn.Linear(8, 16, bias=False), nn.ReLU(), nn.Linear(16, 4)).eval()
    # At the most the input, and what goes into the ReLU and comes out of it.
    assert bytes_of(network, (8,)) == {"weight_bytes": 784, "activation_bytes": 4 * (8 + 16 + 16), "cache_bytes": 0}
    assert bytes_of(network, (8,), batch=3)["activation_bytes"] == 3 * 160
    # Keys and values of 5 places, 16 wide, twice.
    assert bytes_of(Attending().eval(), (5, 16))["cache_bytes"] == 2 * (2 * 5 * 16 * 4)


def test_limits_on_bytes_combine():
    space, evaluator = small(), ZeroCost("params", training=Training("digits"))
    composition = Composition(space, Built((1, 8, 8), 10, {"channels": 8}))
    drawn = [composition.bytes(space.sample(np.random.default_rng(seed))) for seed in range(30)]
    limits = {name: float(np.median([each[name] for each in drawn])) for name in ("weight_bytes", "activation_bytes")}
    result = search(space, RandomSearch(), evaluator, trials=20, seed=0, limits=limits)
    assert result.rejected > 0
    for trial in result.history:
        network = space.network(trial.architecture, TASK, channels=8)
        weights = [*network.parameters(), *network.buffers()]
        size = sum(each.numel() * each.element_size() for each in weights)
        assert size == composition.bytes(trial.architecture)["weight_bytes"] <= limits["weight_bytes"]
        assert composition.bytes(trial.architecture)["activation_bytes"] <= limits["activation_bytes"]
    with pytest.raises(UsageError, match=r"weight_bytes cannot be limited: .*Function builds no networks whose bytes"):
        search(space, NSGA2({"score": "max"}), Function(accuracy), trials=2, seed=0, limits={"weight_bytes": 1e6})


def test_bayesian_optimisation_keeps_limits():
    from archsearch.controllers import BayesianOptimization
    from archsearch.evaluators import Tabular

    limits = {"flops": 40e6, "latency_seconds": 0.013}
    controller = BayesianOptimization(labels=40, candidates=100)
    result = search(NASBench201(), controller, Tabular(), trials=30, seed=0, limits=limits)
    assert result.rejected == 0, "one cell in eight keeps these limits, and others are not proposed"
    assert all(trial.metrics[name] <= limit for trial in result.history for name, limit in limits.items())
    assert search(NASBench201(), controller, Tabular(), trials=12, seed=0).completed == 12
    assert controller.refusal is not None
    assert not controller.refusal((3,) * 6), "the limits were those of the search before"


# -- energy ----------------------------------------------------------------------------------------


def test_energy_where_a_counter_exists(tmp_path):
    package = tmp_path / "intel-rapl:0"
    package.mkdir()
    (tmp_path / "intel-rapl:0:0").mkdir()  # a part of the package, which counts it already
    (package / "max_energy_range_uj").write_text("10000000000\n")
    energy = package / "energy_uj"
    energy.write_text("9999000000\n")
    counter = Rapl(tmp_path)

    def burn():
        energy.write_text(f"{(int(energy.read_text()) + 500_000) % 10_000_000_000}\n")

    assert joules_each([burn, burn], counter, lambda: None, seconds=0.02) == pytest.approx(0.5)
    with pytest.raises(OSError, match="no RAPL counter"):
        Rapl(package)


def test_without_a_counter_it_is_said(chain, monkeypatch):
    assert counter_of("cuda:99") is None
    facts = {**chain.facts, "energy": None}
    assert "energy    not measured: there is no counter here" in str(chain._replace(facts=facts))
    facts["energy"] = {"joules": 0.002, "counter": "RAPL"}
    assert "energy    2 mJ a pass (RAPL, with whatever else ran)" in str(chain._replace(facts=facts))
