"""A super-network that shows one architecture is the architecture's own network, and whole again afterwards."""

import pickle

import numpy as np
import pytest
import torch

from archsearch.evaluators import OneShot, Training, ZeroCost
from archsearch.evaluators.untrained_scores import PROXIES
from archsearch.networks.multiply_adds import multiply_adds, parameter_count
from archsearch.networks.network import InputShape, build, initialise
from archsearch.networks.structure import Structure, showing
from archsearch.spaces import (
    DARTS,
    GOLDNAS,
    RDARTS,
    Hierarchical,
    MobileNet,
    NASBench101,
    NASBench201,
    NASNet,
    SinglePath,
)
from archsearch.trial import Query

TASK = InputShape((3, 16, 16), 10)
SPACES = {
    "NASBench201": (NASBench201(), {"channels": 4, "cells": 2}),
    "DARTS": (DARTS(), {"channels": 4, "layers": 3}),
    "MobileNet": (MobileNet(), {"channels": 8}),
    "GOLDNAS": (GOLDNAS(layers=2), {"channels": 4}),
    "RDARTS": (RDARTS(), {"channels": 4, "layers": 3}),
    "Hierarchical": (Hierarchical(), {"channels": 4}),
    "NASBench101": (NASBench101(), {"channels": 8}),
    "NASNet": (NASNet(), {"channels": 4, "layers": 3}),
    "SinglePath": (SinglePath(), {"channels": 8}),
}
CANNOT = ("NASBench101", "NASNet", "SinglePath")
"""Those that cannot show one architecture: widths depend on the cell, or smaller options are parts of larger ones."""


def structure_of(space, skeleton, values: bool) -> Structure:
    def make(architecture):
        if architecture is None:
            return space.super_network(TASK, **skeleton)
        return space.network(architecture, TASK, **skeleton)

    return Structure(make, shared=True, values=values)


@pytest.mark.parametrize("name", SPACES)
def test_networks_of_a_structure_are_those_that_are_made_alone(name: str) -> None:
    space, skeleton = SPACES[name]
    rng = np.random.default_rng(0)
    sized, valued = (structure_of(space, skeleton, values) for values in (False, True))
    images = torch.randn(4, *TASK.input_shape, generator=torch.Generator().manual_seed(0))
    made = set()
    for seed in range(6):
        architecture = space.sample(rng)
        alone = build(lambda a=architecture: space.network(a, TASK, **skeleton), seed)
        zeros = sized.network(architecture)
        assert {each.untyped_storage().nbytes() for each in zeros.parameters()} == {4}, "they take no memory"
        assert parameter_count(zeros) == parameter_count(alone)
        assert multiply_adds(zeros, TASK.input_shape) == multiply_adds(alone, TASK.input_shape)
        network = valued.network(architecture)
        made.add(id(network))
        initialise(network, torch.Generator().manual_seed(seed))
        expected = alone.state_dict()
        assert list(network.state_dict()) == list(expected)
        for key, value in network.state_dict().items():
            assert torch.equal(value, expected[key]), key
        assert torch.equal(network.train()(images), alone.train()(images))
    assert (len(made) == 1) == (name not in CANNOT)


@pytest.mark.parametrize("score", PROXIES)
def test_scores_without_training_are_those_of_a_network_that_is_made_alone(score: str) -> None:
    evaluator = ZeroCost(score, Training("digits", skeleton={"channels": 4, "cells": 1}), batch=16)
    space, rng = NASBench201(), np.random.default_rng(1)
    evaluator.start(space)
    for seed in range(4):
        architecture = space.sample(rng)
        alone = build(lambda a=architecture: evaluator.trainer.network(a), seed)
        found = evaluator.evaluate(architecture, seed)
        assert found.score == PROXIES[score].score(alone, *evaluator._images(seed))
        assert found.metrics["params"] == parameter_count(alone)
        assert found.metrics["flops"] == multiply_adds(alone, (1, 8, 8))


def test_a_score_leaves_the_super_network_whole_even_if_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluator = OneShot(Training("digits", train_examples=64), epochs=1)
    evaluator.start(NASBench201(channels=4, cells=1))
    evaluator.prepare()
    network = evaluator._shared.network()
    names = list(network.state_dict())
    first = evaluator.evaluate_query(Query(0, (3, 1, 2, 3, 4, 3), 0))
    assert (list(network.state_dict()), network.architecture) == (names, None)

    def fail(*_arguments: object) -> None:
        raise RuntimeError("on the way")

    with monkeypatch.context() as patched:
        patched.setattr(evaluator.trainer, "judge", fail)
        with pytest.raises(RuntimeError, match="on the way"):
            evaluator.evaluate_query(Query(1, (3, 3, 3, 3, 3, 3), 0))
    assert (list(network.state_dict()), network.architecture) == (names, None)
    assert evaluator.evaluate_query(Query(0, (3, 1, 2, 3, 4, 3), 0))[:2] == first[:2]


def test_showing_hides_in_a_super_network_alone() -> None:
    space, skeleton = SPACES["NASBench201"]
    alone = space.network((3, 3, 3, 3, 3, 3), TASK, **skeleton)
    shared = space.super_network(TASK, **skeleton)
    whole = len(list(shared.modules()))
    with showing(alone, alone.architecture), showing(shared, (0, 0, 0, 0, 0, 1)):
        assert len(list(alone.modules())) > len(list(shared.modules())) < whole
    assert len(list(shared.modules())) == whole


class Made:
    def __call__(self, architecture):
        return NASBench201().super_network(TASK, channels=4, cells=1)


def test_other_processes_are_not_sent_the_network() -> None:
    structure = Structure(Made(), shared=True, values=True)
    before = len(pickle.dumps(structure))
    structure.network((3, 3, 3, 3, 3, 3))
    assert len(pickle.dumps(structure)) == before
