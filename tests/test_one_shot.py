"""One-shot evaluation: what the super-network learns, how its weights are inherited, cost, resume."""

import pickle

import numpy as np
import pytest
import torch

from archsearch import resume, search
from archsearch.controllers import RandomSearch, RegularizedEvolution
from archsearch.errors import MissingAbility, UsageError
from archsearch.evaluators import OneShot, Training
from archsearch.evaluators.one_shot import FairPaths, UniformPaths
from archsearch.spaces import DARTS, Choices, ConvChain, MobileNet, NASBench101, NASBench201, NASBenchMacro

SPACE = NASBench201()
CELL = (3, 1, 2, 3, 4, 3)
SMALL = {"task": "digits", "train_examples": 60, "epochs": 2, "batch_size": 20, "skeleton": {"channels": 2, "cells": 1}}
UPDATES = 2 * 3


def one_shot(space=SPACE, folder=None, training=None, **settings):
    evaluator = OneShot(Training(**{**SMALL, **(training or {})}), **settings)
    evaluator.start(space)
    evaluator.folder = folder
    return evaluator


def prepared(**settings):
    evaluator = one_shot(**settings)
    evaluator.prepare()
    return evaluator


# -- training the super-network ------------------------------------------------------------------


def test_a_path_trains_its_own_parameters_only():
    evaluator = one_shot(training={"weight_decay": 0.1})
    training = evaluator.training
    run = training.begin(None, 0)
    before = {name: value.clone() for name, value in run.network.named_parameters()}
    with training.session() as meter:
        training.train(run, UPDATES, UPDATES, meter, paths=lambda: [CELL])
    own = {name for name, _ in training.network(CELL).named_parameters()}
    after = dict(run.network.named_parameters())
    assert {name for name in before if not torch.equal(before[name], after[name])} == own
    assert own < set(before)


@pytest.mark.parametrize("space", [SPACE, NASBenchMacro()])
def test_fair_updates_hold_every_candidate_of_every_choice_once(space):
    sampler = FairPaths(space, 0)
    for _ in range(50):
        paths = np.array(sampler.draw())
        assert all(tuple(path) in space for path in paths.tolist())
        assert (np.sort(paths, axis=0) == np.arange(space.arities[0])[:, None]).all()


def test_uniform_updates_hold_one_path_each_and_are_spread_as_a_binomial():
    sampler = UniformPaths(SPACE, 0)
    drawn = np.array([path for _ in range(3000) for path in sampler.draw()])
    assert len(drawn) == 3000
    counts = np.array([np.bincount(choice, minlength=5) for choice in drawn.T])
    # Binomial(3000, 1/5): mean 600, standard deviation 21.9; 30 counts within 4 of them.
    assert abs(counts - 600).max() < 88
    assert 10 < counts.std() < 35


@pytest.mark.parametrize(("sampler", "paths"), [("uniform", 1), ("fair", 5)])
def test_set_up_is_billed_by_paths_and_updates(sampler, paths):
    evaluator = one_shot(sampler=sampler)
    cost = evaluator.prepare()
    assert cost.updates == UPDATES
    assert cost.examples == 2 * 60 * paths
    assert cost.flops > 0
    assert evaluator.prepare().updates == 0, "it is trained once"


@pytest.mark.parametrize("sampler", ["uniform", "fair"])
def test_an_interrupted_training_ends_as_an_uninterrupted_one(tmp_path, monkeypatch, sampler):
    whole = one_shot(sampler=sampler)
    bill = whole.prepare()
    cut = one_shot(sampler=sampler, folder=tmp_path)
    write = Training.write

    def write_and_stop(self, run, path, **further):
        write(self, run, path, **further)
        raise KeyboardInterrupt

    monkeypatch.setattr(Training, "write", write_and_stop)
    with pytest.raises(KeyboardInterrupt):
        cut.prepare()
    monkeypatch.setattr(Training, "write", write)
    again = one_shot(sampler=sampler, folder=tmp_path)
    rest = again.prepare()
    assert rest.examples == bill.examples / 2
    assert rest.updates == bill.updates / 2
    assert whole._weights.keys() == again._weights.keys()
    assert all((whole._weights[name] == again._weights[name]).all() for name in whole._weights)


def test_the_seed_decides_the_super_network():
    weights = [prepared(seed=seed)._weights["stem.0.weight"] for seed in (0, 0, 1)]
    assert (weights[0] == weights[1]).all()
    assert not (weights[0] == weights[2]).all()


# -- inheriting and scoring ----------------------------------------------------------------------

FAMILIES = {
    "NASBench201": (SPACE, {"channels": 2, "cells": 1}),
    "DARTS": (DARTS(), {"channels": 2, "layers": 3}),
    "MobileNet": (MobileNet(), {"channels": 4}),
    "NASBenchMacro": (NASBenchMacro(), {"channels": 4}),
    "NASBench101": (NASBench101(), {"channels": 8, "modules": 1}),
}


@pytest.mark.parametrize(("space", "skeleton"), FAMILIES.values(), ids=FAMILIES)
def test_inherited_networks_score_as_the_path_does(space, skeleton):
    evaluator = prepared(space=space, statistics="inherited", training={"skeleton": skeleton, "epochs": 1})
    training = evaluator.training
    shared = training.begin(None, 3).network.eval()
    shared.load_state_dict({name: torch.from_numpy(value) for name, value in evaluator._weights.items()})
    images, labels = training.data.part("valid")
    architecture = space.sample(np.random.default_rng(1))
    with torch.no_grad():
        right = (shared(images, architecture).argmax(1) == labels).double().mean()
    assert evaluator.evaluate(architecture, 5).score == pytest.approx(100 * float(right), abs=0.3)


@pytest.mark.parametrize("statistics", ["recomputed", "batch", "inherited"])
def test_statistics_matter_and_cost(statistics):
    evaluator = prepared(statistics=statistics, statistics_batches=2)
    found = evaluator.evaluate(CELL, 1)
    macs, images = found.metrics["flops"], 449 + 449 + (40 if statistics == "recomputed" else 0)
    assert found.cost.flops == 2 * macs * images
    assert found.cost.updates == found.cost.examples == 0
    others = {
        name: prepared(statistics=name).evaluate(CELL, 1).metrics["valid_loss"]
        for name in ("recomputed", "batch", "inherited")
    }
    assert len(set(others.values())) == 3


def test_steps_lead_from_sharing_to_training():
    found = {steps: prepared(steps=steps).evaluate(CELL, 2) for steps in (0, 2, UPDATES)}
    assert [result.cost.updates for result in found.values()] == [0, 2, UPDATES]
    assert len({result.metrics["valid_loss"] for result in found.values()}) == 3


def test_workers_get_the_weights_and_score_alike():
    evaluator = prepared()
    copy = pickle.loads(pickle.dumps(evaluator))
    first, second = evaluator.evaluate(CELL, 9), copy.evaluate(CELL, 9)
    assert (first.score, first.metrics) == (second.score, second.metrics)


def test_a_search_trains_the_super_network_once(tmp_path):
    evolution = RegularizedEvolution(population_size=4, tournament_size=2)
    evaluator = OneShot(Training(**SMALL))
    whole = search(SPACE, evolution, evaluator, trials=8, seed=0, out=tmp_path / "whole")
    assert whole.setup_cost.updates == UPDATES
    assert whole.cost.updates == 0
    search(SPACE, evolution, OneShot(Training(**SMALL)), trials=3, seed=0, out=tmp_path / "cut")
    rest = resume(tmp_path / "cut", trials=8)
    assert rest.setup_cost.updates == UPDATES
    assert [(t.architecture, t.score) for t in rest.history] == [(t.architecture, t.score) for t in whole.history]


def test_on_ray_it_gives_the_same():
    results = [
        search(SPACE, RandomSearch(), OneShot(Training(**SMALL)), trials=4, seed=0, executor=executor, workers=workers)
        for executor, workers in (("local", 1), ("ray", 2))
    ]
    paths = [sorted((t.id, t.architecture, t.score) for t in result.history) for result in results]
    assert paths[0] == paths[1]


# -- refusals ------------------------------------------------------------------------------------


def test_spaces_that_do_not_suit_are_refused():
    for space in (Choices({"a": [1, 2]}), ConvChain()):
        with pytest.raises(
            MissingAbility, match=f"OneShot shares weights, and {type(space).__name__} has no super-network"
        ):
            one_shot(space)
    for space in (DARTS(), NASBench101(), MobileNet()):
        with pytest.raises(
            MissingAbility, match=f"sampler fair needs choices with equally many candidates, {type(space).__name__}"
        ):
            OneShot(sampler="fair").check(space)
    OneShot(sampler="fair").check(NASBenchMacro())


def test_without_a_super_network_nothing_is_scored():
    with pytest.raises(UsageError, match="call prepare"):
        one_shot().evaluate(CELL, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampler": "greedy"}, "sampler: expected one of uniform, fair, got 'greedy'"),
        ({"statistics": "none"}, "statistics: expected one of recomputed, batch, inherited, got 'none'"),
        ({"statistics_batches": 0}, "statistics_batches: expected a whole number >= 1"),
        ({"steps": -1}, "steps: expected a whole number >= 0"),
        ({"seed": 1.5}, "seed: expected a whole number >= 0"),
        ({"training": Training(repeats=2)}, "expected a Training evaluator without repeats"),
        ({"training": 7}, "expected a Training evaluator without repeats"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(UsageError, match=message):
        OneShot(**settings)
