"""Whole searches with ``OneShot``: resumed, on workers, with weights of another run; contracts and refusals."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from one_shot_lab import (
    CELL,
    MACRO,
    PER_EPOCH,
    SMALL,
    SPACE,
    UPDATES,
    enas,
    enas_search,
    facts,
    finished,
    like,
    make,
    outcome,
    prepared,
    queries,
    same_values,
    started,
    untimed,
)

from archsearch import RayExecutor, resume, search
from archsearch.controllers import RandomSearch, RegularizedEvolution
from archsearch.errors import MissingAbility, UsageError
from archsearch.evaluators import OneShot, Training, one_shot, super_network
from archsearch.evaluators.inheriting import stored
from archsearch.evaluators.super_network import FILE
from archsearch.spaces import DARTS, Choices, ConvChain, MobileNet, NASBench101, NASBench201, NASBenchMacro
from archsearch.testing import EVALUATOR_CHECKS, check_evaluator
from archsearch.training.trainer import Trainer

# -- whole searches ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster():
    import ray

    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


def test_a_search_trains_the_super_network_once(tmp_path):
    evolution = RegularizedEvolution(population_size=4, tournament_size=2)
    evaluator = make()
    whole = search(SPACE, evolution, evaluator, trials=8, seed=0, out=tmp_path / "whole")
    assert whole.setup_cost.updates == UPDATES
    assert whole.cost.updates == 0
    search(SPACE, evolution, make(), trials=3, seed=0, out=tmp_path / "cut")
    rest = resume(tmp_path / "cut", trials=8)
    assert untimed(rest.setup_cost) == untimed(whole.setup_cost)
    assert [(t.architecture, t.score) for t in rest.history] == [(t.architecture, t.score) for t in whole.history]
    # The same object once more, for another space: nothing is left of the first.
    assert evaluator.folder is None
    other = search(NASBench201(cells=2), evolution, evaluator, trials=2, seed=0)
    assert other.setup_cost.updates == UPDATES
    assert evaluator.folder is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_on_ray_it_gives_the_same(cluster):
    here, there = enas_search(lag=2), enas_search(lag=2, executor=RayExecutor(2))
    assert here.setup_cost.updates == 3 * PER_EPOCH
    assert facts(here) == facts(there), "with a lag, the number of workers makes no difference"


# -- memory that workers share -----------------------------------------------------------------------


def test_read_only_memory_is_used_without_a_copy(trained):
    buffers = []
    data = pickle.dumps(trained, protocol=5, buffer_callback=buffers.append)
    frozen = [bytes(buffer.raw()) for buffer in buffers]  # as Ray's store: it cannot be written to
    kept = list(map(hash, frozen))
    assert sum(map(len, frozen)) >= sum(value.nbytes for value in trained._shared._values.values())
    evaluator = pickle.loads(data, buffers=frozen)
    network = evaluator._shared.network()
    for name, value in network.named_parameters():
        array = evaluator._shared._values[name]
        assert not array.flags.writeable
        assert np.shares_memory(array, value.detach().permute(0, 2, 3, 1).numpy() if value.ndim == 4 else value.numpy())
    arrays = {name: value.__array_interface__["data"][0] for name, value in evaluator._shared._values.items()}
    assert all(value.data_ptr() != arrays[name] for name, value in network.named_buffers())
    for statistics in ("recomputed", "batch", "inherited"):
        twin = pickle.loads(data, buffers=frozen)
        twin.statistics = statistics
        assert outcome(twin.evaluate(CELL, 0)) == outcome(like(trained, statistics=statistics).evaluate(CELL, 0))
    assert outcome(like(evaluator, steps=2).evaluate(CELL, 0)) == outcome(like(trained, steps=2).evaluate(CELL, 0))
    assert list(map(hash, map(bytes, frozen))) == kept
    assert len(pickle.dumps(evaluator)) < 1.2 * len(pickle.dumps(trained)), "the network is not sent along"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_workers_of_a_machine_hold_the_weights_once(cluster, trained):
    large = untrained(channels=96)
    total = sum(value.nbytes for value in large._shared._values.values())
    assert total > 40e6
    small, large = cluster.put(trained), cluster.put(large)

    def private():
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))

    class Worker:
        def grow(self, references):
            import ray

            small, large = references
            ray.get(small).evaluate((1, 1, 1, 3, 1, 1), 0)  # what any evaluation takes
            before = private()
            evaluator = ray.get(large)
            evaluator.evaluate((1, 1, 1, 3, 1, 1), 0)
            values = evaluator._shared._values
            shared = [
                value.data_ptr() == values[name].__array_interface__["data"][0]
                for name, value in evaluator._shared.network().named_parameters()
            ]
            return all(shared) and not any(value.flags.writeable for value in values.values()), private() - before

    workers = [cluster.remote(Worker).remote() for _ in range(2)]
    for shared, growth in cluster.get([worker.grow.remote([small, large]) for worker in workers]):
        assert shared
        assert growth < total / 2


def untrained(channels):
    """A large super-network, as if it had been trained, that is scored on few images."""
    skeleton = {"channels": channels, "cells": 1}
    evaluator = started(validation_batches=1, statistics_batches=1, training={"skeleton": skeleton, "batch_size": 4})
    network = evaluator.trainer.begin(None, 0).network
    evaluator._shared._values = {name: stored(value) for name, value in network.state_dict().items()}
    return evaluator


# -- weights of another run ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished search and its super-network."""
    folder = tmp_path_factory.mktemp("run") / "run"
    result = search(SPACE, RandomSearch(), make(), trials=3, seed=0, out=folder)
    return result, folder / "evaluator" / FILE


def test_weights_of_another_run_are_billed_and_score_as_there(run, tmp_path, monkeypatch):
    result, file = run
    monkeypatch.setattr(Trainer, "train", None)
    monkeypatch.chdir(file.parent)
    again = search(SPACE, RandomSearch(), make(weights=FILE), trials=2, seed=0, out=tmp_path / "again")
    monkeypatch.chdir("/")
    again = resume(tmp_path / "again", trials=3)
    assert [(t.architecture, t.score, t.metrics) for t in again.history] == [
        (t.architecture, t.score, t.metrics) for t in result.history
    ]
    assert untimed(again.setup_cost) == untimed(result.setup_cost)
    assert again.setup_cost.device_seconds == result.setup_cost.device_seconds
    evaluator = prepared(weights=str(file), steps=0)
    assert again.setup_cost.wall_seconds >= evaluator.prepare().wall_seconds > 0, "as it was noted then"
    assert evaluator.curve
    assert like(evaluator).evaluate(CELL, 0).score == evaluator.evaluate(CELL, 0).score
    assert not list((tmp_path / "again" / "evaluator").glob("*.safetensors"))


def test_weights_that_a_controller_trained_are_billed_in_full(tmp_path):
    evaluator = enas(tmp_path)
    costs = [evaluator.prepare(), *(evaluator.advance(finished(SPACE, 4, first=4 * i)) for i in range(3))]
    found = started(weights=tmp_path / FILE)
    assert untimed(found.prepare()) == untimed(sum(costs, one_shot.NO_COST))
    assert found.prepare().updates == 3 * PER_EPOCH
    assert same_values(found, evaluator)


def test_weights_that_do_not_suit_are_refused(run, tmp_path):
    _, file = run
    (tmp_path / "text").write_text("no tensors")
    training = Training(**SMALL)
    training.start(SPACE)
    super_network.write_run(training.trainer.begin(CELL, 0), tmp_path / "stand-alone.safetensors")
    for path in ("nowhere", "text", "stand-alone.safetensors", "."):
        with pytest.raises(UsageError, match=r"weights: .* is no super-network; expected evaluator/super-network"):
            prepared(weights=tmp_path / path)
    for settings in (
        {"training": {"skeleton": {"channels": 3, "cells": 1}}},
        {"training": {"skeleton": {"channels": 2, "cells": 2}}},
        {"space": NASBenchMacro(), "training": MACRO},
        {"source": "hyper_network"},
        {"training": {"task": "digits:seed=7"}},
    ):
        with pytest.raises(UsageError, match="is the super-network of another space, skeleton or data"):
            prepared(weights=file, **settings)


# -- contracts and refusals ------------------------------------------------------------------------

SEVERAL = {
    "hyper-network": (SPACE, {"source": "hyper_network", "validation_batches": 3}),
    "dropout": (NASBenchMacro(), {"sampler": "dropout", "training": MACRO}),
    "chain": (MobileNet(), {"training": MACRO}),
    "controller": (SPACE, {"sampler": "controller"}),
}
"""What tests/test_contracts.py does not have."""


def tiny(training=None, **settings):
    training = {"train_examples": 20, "epochs": 1, **(training or {})}
    return make(**settings, epochs=1, statistics_batches=1, training=training)


@pytest.mark.slow
@pytest.mark.parametrize(("space", "settings"), SEVERAL.values(), ids=SEVERAL)
def test_contract(space, settings):
    check_evaluator(lambda: tiny(**settings), space, skip=["default_settings_evaluate"])


@pytest.mark.parametrize("check", ["evaluation_leaves_global_generators", "evaluator_round_trip"])
@pytest.mark.parametrize("name", ["hyper-network", "dropout"])
def test_quick_contract(name, check):
    space, settings = SEVERAL[name]
    EVALUATOR_CHECKS[check](lambda: tiny(**settings), space)


def test_workers_get_the_values_and_score_alike(trained, hyper):
    for evaluator in (trained, hyper):
        copy = pickle.loads(pickle.dumps(evaluator))
        assert outcome(copy.evaluate(CELL, 9)) == outcome(evaluator.evaluate(CELL, 9))
        assert copy._shared._run is None
        assert copy._images.keys() <= {"statistics"}


def test_spaces_that_do_not_suit_are_refused():
    for space in (Choices({"a": [1, 2]}), ConvChain()):
        with pytest.raises(
            MissingAbility, match=f"OneShot shares weights, and {type(space).__name__} has no super-network"
        ):
            started(space)
    for space in (DARTS(), NASBench101(), MobileNet()):
        with pytest.raises(
            MissingAbility, match=f"sampler fair needs choices with equally many candidates, {type(space).__name__}"
        ):
            OneShot(sampler="fair").check(space)
    OneShot(sampler="fair").check(NASBenchMacro())
    with pytest.raises(MissingAbility, match=r"sampler dropout needs .* NASBench101 has no method mixture"):
        OneShot(sampler="dropout").check(NASBench101())
    OneShot(sampler="dropout").check(DARTS())


def test_without_a_super_network_nothing_is_scored():
    for ask in (lambda: started().evaluate(CELL, 0), lambda: started().evaluate_batch(queries(SPACE, 2))):
        with pytest.raises(UsageError, match="call prepare"):
            ask()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"sampler": "greedy"},
            "sampler: expected one of uniform, grouped, fair, dropout, controller, sandwich, got 'greedy'",
        ),
        ({"statistics": "none"}, "statistics: expected one of recomputed, batch, inherited, got 'none'"),
        ({"source": "air"}, "source: expected one of shared, hyper_network, got 'air'"),
        ({"epochs": 0}, "epochs: expected a whole number >= 1"),
        ({"uniform_epochs": 0}, "uniform_epochs: expected a whole number >= 1"),
        ({"trials_per_epoch": 0}, "trials_per_epoch: expected a whole number >= 1"),
        ({"statistics_batches": 0}, "statistics_batches: expected a whole number >= 1"),
        ({"validation_batches": 0}, "validation_batches: expected a whole number >= 1"),
        ({"dropout": 0.0}, "dropout: expected a finite number above 0 and below 1, got 0.0"),
        ({"dropout": 1.0}, "dropout: expected a finite number above 0 and below 1, got 1.0"),
        ({"steps": -1}, "steps: expected a whole number >= 0"),
        ({"seed": 1.5}, "seed: expected a whole number >= 0"),
        ({"learning_rate": 0.0}, "learning_rate: expected a finite number above 0, got 0.0"),
        ({"learning_rate": "0.1"}, "learning_rate: expected a finite number above 0, got '0.1'"),
        ({"training": Training(repeats=2)}, "expected a Training evaluator without repeats"),
        ({"training": 7}, "expected a Training evaluator without repeats"),
        ({"task": "digits", "training": Training()}, "task: the training has one of its own"),
        ({"sampler": "dropout", "source": "hyper_network"}, "the sampler dropout mixes candidates"),
        ({"sampler": "controller", "weights": "a"}, "the sampler controller trains weights during the search"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(UsageError, match=message):
        OneShot(**settings)
