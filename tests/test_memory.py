"""Bytes of networks, against what PyTorch itself keeps; memory and energy that trials used, by counters and fakes."""

import functools
import json
import math
import resource
import sys
import time
import weakref

import numpy as np
import pytest
import torch
from hungry_lab import Hungry

from archsearch import Controller, Evaluation, Evaluator, Space, search
from archsearch.controllers import NSGA2, RandomSearch
from archsearch.errors import TooManyFailures
from archsearch.evaluators import Function, Training
from archsearch.executors import counters, evaluating, usage
from archsearch.executors.local import LocalExecutor
from archsearch.keeping.columns import check_part, table_to_trials, trials_to_table
from archsearch.keeping.events import event_to_trial, trial_to_event
from archsearch.keeping.folder import RunFolder
from archsearch.keeping.ledger import used_of
from archsearch.networks.memory import kept_bytes, training_bytes
from archsearch.networks.network import build
from archsearch.showing.status import standing
from archsearch.spaces import ConvChain, MobileNet, NASBench201
from archsearch.task.reading import load_task
from archsearch.trial import Trial, Used

DIGITS = load_task("digits")


def alive(network, batch):
    """Bytes that ``saved_tensors_hooks`` says a pass on the processor keeps, each storage once, without weights."""

    class Held:
        def __init__(self, tensor):
            self.tensor = tensor

    holders = weakref.WeakSet()

    def pack(tensor):
        holders.add(held := Held(tensor.detach()))
        return held

    own = {each.untyped_storage().data_ptr() for each in [*network.parameters(), *network.buffers()]}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda held: held.tensor):
        outputs = network.train()(torch.rand(batch, *DIGITS.input_shape))
    kept = {each.tensor.untyped_storage().data_ptr(): each.tensor.untyped_storage().nbytes() for each in holders}
    assert outputs.requires_grad
    return sum(size for place, size in kept.items() if place not in own)


@pytest.mark.parametrize(
    "space", [NASBench201(), ConvChain(max_layers=3), MobileNet()], ids=lambda each: type(each).__name__
)
def test_what_autograd_keeps_is_what_torch_says(space):
    for seed in range(2):
        architecture = space.sample(np.random.default_rng(seed))
        with torch.device("meta"):
            network = space.network(architecture, DIGITS)
        alone = build(functools.partial(space.network, architecture, DIGITS), 0)
        assert kept_bytes(network, DIGITS.input_shape, 8) == alive(alone, 8)


@pytest.mark.parametrize(("optimizer", "momentum", "slots"), [("sgd", 0.9, 1), ("sgd", 0.0, 0), ("adamw", 0.9, 2)])
def test_training_bytes_are_the_sum_of_what_there_is(optimizer, momentum, slots):
    space = ConvChain(max_layers=2)
    architecture = space.sample(np.random.default_rng(3))
    evaluator = Training("digits", batch_size=32, accumulate=2, optimizer=optimizer, momentum=momentum, memory=True)
    evaluator.start(space)
    network = evaluator.trainer.network(architecture)
    updates = [torch.optim.AdamW(network.parameters()), torch.optim.SGD(network.parameters(), 0.1, momentum=momentum)]
    update = updates[optimizer == "sgd"]
    kept = alive(network, 16)
    network(torch.rand(16, *DIGITS.input_shape)).sum().backward()
    update.step()
    state = [each for values in update.state.values() for name, each in values.items() if name != "step"]
    there = [*network.parameters(), *network.buffers(), *(each.grad for each in network.parameters())]
    there += [each for each in state if each is not None]
    expected = sum(each.numel() * each.element_size() for each in there) + kept
    found = evaluator.measure(architecture)
    assert found["training_bytes"] == expected == training_bytes(network, DIGITS.input_shape, 16, slots)
    assert set(found) == {"params", "flops", "weight_bytes", "activation_bytes", "cache_bytes", "training_bytes"}
    assert found["weight_bytes"] >= 4 * found["params"]


def test_bytes_are_metrics_objectives_and_limits():
    space = ConvChain(max_layers=3)
    evaluator = Training("digits", epochs=1, train_examples=64, memory=True)
    evaluator.start(space)
    drawn = [evaluator.measure(space.sample(np.random.default_rng(seed)))["training_bytes"] for seed in range(8)]
    low, high = sorted(drawn)[1], sorted(drawn)[-2]
    controller = NSGA2({"score": "max", "training_bytes": "min"}, population_size=4)
    result = search(space, controller, evaluator, trials=6, seed=0, limits={"training_bytes": (low, high)})
    assert all(low <= trial.metrics["training_bytes"] <= high for trial in result.history)
    assert len(controller.pareto_front) >= 1
    plain = Training("digits", epochs=1, train_examples=64)
    assert "training_bytes" not in search(space, RandomSearch(), plain, trials=1, seed=0).best.metrics


def test_of_tokens_the_bytes_of_training_are_not_known():
    from archsearch.spaces import ENASCell

    evaluator = Training(preset="grammar", memory=True)
    evaluator.start(ENASCell())
    found = evaluator.measure(ENASCell().sample(np.random.default_rng(0)))
    assert math.isnan(found["training_bytes"])
    assert found["weight_bytes"] >= 4 * found["params"]


# -- what trials used ------------------------------------------------------------------------------


class Listed(Controller):
    """Proposes what it is given, in that order."""

    def __init__(self, options: list[tuple[int, int]]) -> None:
        self.options = options

    def _start(self):
        self._next = 0

    def _ask(self):
        self._next += 1
        return self.options[self._next - 1]

    @property
    def finished(self):
        return self._next == len(self.options)


SIZES = Space(arities=[9, 2])


@pytest.mark.skipif(sys.platform != "linux", reason="no other system lets a process begin its peak anew")
def test_a_worker_process_knows_the_peak_of_each_trial(tmp_path):
    order = [(0, 0), (8, 0), (0, 0), (4, 1), (0, 0)]
    settings = {"max_cost": 1e6, "executor": LocalExecutor(isolate=True), "seed": 0, "retries": {"out_of_memory": 0}}
    search(SIZES, Listed(order), Hungry(), **settings, out=tmp_path / "r")
    trials = sorted(RunFolder(tmp_path / "r").trials(0), key=lambda trial: trial.id)
    base, large, after, failed, last = (trial.used.memory_bytes / 25e6 for trial in trials)
    assert large - base == pytest.approx(8, abs=0.8)
    assert after < base + 0.8, "the peak of the trial before is not this one's"
    assert trials[3].failure == "out_of_memory"
    assert failed - after == pytest.approx(4, abs=0.8)
    assert last < large - 7
    table = RunFolder(tmp_path / "r").table(SIZES)
    assert table["used_memory_bytes"].to_pylist()[1] == trials[1].used.memory_bytes
    assert used_of(table).memory_bytes == trials[1].used.memory_bytes
    assert "used_device_bytes" not in table.column_names
    told = standing(tmp_path / "r", trust=True)
    assert told.document["used"] == {"memory_bytes": trials[1].used.memory_bytes, "device_bytes": None, "joules": None}
    assert "MB, device memory not measured, energy not measured" in told.text


def test_in_the_users_own_process_the_peak_is_left_alone():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = search(SIZES, Listed([(0, 0)]), Hungry(), max_cost=1e6, seed=0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >= before
    (trial,) = result.history
    assert trial.used is None or trial.used.memory_bytes >= before * usage.RESIDENT


def test_what_is_quick_is_not_measured():
    result = search(SIZES, RandomSearch(), Function(len), trials=30, seed=0)
    assert all(trial.used is None for trial in result.history)
    assert not [name for name in result.history.table().column_names if name.startswith("used_")]


def test_a_journal_keeps_what_was_used_and_older_lines_are_read():
    trial = Trial(3, (1, 0), evaluation=Evaluation(1.0), used=Used(5.0, None, 2.5))
    for each in (
        trial,
        trial._replace(lost_seconds=1.5),
        trial._replace(used=None),
        trial._replace(used=Used(None, 7.0)),
    ):
        line = json.loads(json.dumps(trial_to_event(each)))
        assert event_to_trial(line, 0)._replace(seed=0) == each
    table = trials_to_table([trial, trial._replace(id=4, used=None)], SIZES)
    check_part(table)
    assert [each.used for each in table_to_trials(table, 0)] == [trial.used, None]
    old = trial_to_event(trial._replace(used=None, lost_seconds=0.5))
    assert event_to_trial(old, 0).used is None
    checked = Function(lambda text: {"score": 1.0, "used_joules": 1.0})
    with pytest.raises(TooManyFailures, match="used_joules"):
        search(SIZES, RandomSearch(), checked, trials=1, seed=0, max_failures=1)


class Machine:
    """A folder as Linux shows RAPL's counters, and a fake of PyTorch's CUDA."""

    def __init__(self, root):
        self.package = root / "intel-rapl:0"
        self.package.mkdir(parents=True)
        (self.package / "max_energy_range_uj").write_text("1000000000\n")
        self.energy = self.package / "energy_uj"
        self.energy.write_text("999000000\n")

    def use(self, joules):
        self.energy.write_text(f"{(int(self.energy.read_text()) + int(joules * 1e6)) % 1_000_000_000}\n")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    made = Machine(tmp_path / "powercap")
    monkeypatch.setattr(counters, "POWERCAP", tmp_path / "powercap")
    monkeypatch.setattr(usage, "_cuda", lambda: None)
    return made


def test_energy_is_what_the_counter_passed_and_nothing_without_one(machine, tmp_path, monkeypatch):
    gauge = usage.Gauge()
    gauge.begin()
    machine.use(2.5)
    assert gauge.end(0.5).joules == pytest.approx(2.5), "the counter comes round in between"
    gauge.begin()
    machine.use(1.0)
    assert (gauge.end(0.05) or Used()).joules is None, "too short for a counter"
    gauge.begin()
    assert (gauge.end(0.5) or Used()).joules is None, "not begun, since those before were short"
    gauge.begin()
    machine.use(3.0)
    assert gauge.end(0.5).joules == pytest.approx(3.0)
    gauge.energy = False
    gauge.begin()
    machine.use(3.0)
    assert (gauge.end(0.5) or Used()).joules is None, "several workers share a counter"
    machine.energy.unlink()
    broken = usage.Gauge()
    broken.begin()
    assert (broken.end(0.5) or Used()).joules is None
    monkeypatch.setattr(counters, "POWERCAP", tmp_path / "none")
    without = usage.Gauge()
    without.begin()
    assert (without.end(0.5) or Used()).joules is None


class Cuda:
    """As ``torch.cuda`` with two devices."""

    def __init__(self):
        self.peaks = [5e6, 7e6]

    def device_count(self):
        return len(self.peaks)

    def reset_peak_memory_stats(self, device):
        self.peaks[device] = 0.0

    def max_memory_allocated(self, device):
        return self.peaks[device]


def test_memory_and_energy_of_devices(machine, monkeypatch):
    cuda, joules = Cuda(), {"cuda:0": 10.0, "cuda:1": 20.0}

    class Board:
        name = "NVML"

        def __init__(self, device):
            self.device = device

        def joules(self):
            return joules[self.device]

    monkeypatch.setattr(usage, "_cuda", lambda: cuda)
    monkeypatch.setattr(usage, "counter_of", lambda device: counters.Rapl() if device == "cpu" else Board(device))
    gauge = usage.Gauge()
    gauge.begin()
    assert cuda.peaks == [0.0, 0.0], "what was allocated before is no part of it"
    cuda.peaks[:] = [1e6, 2e6]
    machine.use(1.0)
    joules["cuda:1"] += 4.0
    used = gauge.end(2.0)
    assert (used.device_bytes, used.joules) == (3e6, pytest.approx(5.0))
    monkeypatch.setattr(usage, "counter_of", lambda device: counters.Rapl() if device == "cpu" else None)
    blind = usage.Gauge()
    blind.begin()
    cuda.peaks[:] = [1e6, 0.0]
    used = blind.end(2.0)
    assert (used.device_bytes, used.joules) == (1e6, None), "a part of the energy is not the energy"


def test_energy_reaches_history_and_bill(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(usage, "GAUGE", usage.Gauge())
    monkeypatch.setattr(evaluating, "GAUGE", usage.Gauge())

    class Burning(Evaluator):
        def evaluate(self, architecture, seed):
            machine.use(1.5)
            time.sleep(usage.ENERGY_SECONDS)
            return Evaluation(1.0)

    search(SIZES, RandomSearch(), Burning(), trials=3, seed=0, out=tmp_path / "r")
    table = RunFolder(tmp_path / "r").table(SIZES)
    assert table["used_joules"].to_pylist() == pytest.approx([1.5] * 3)
    assert "energy 4.5 J" in standing(tmp_path / "r", trust=True).text
