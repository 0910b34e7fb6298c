"""What the tests of ``OneShot`` have in common: small evaluators, and how their results are compared."""

import dataclasses
import pickle
from pathlib import Path

import numpy as np

from archsearch import Evaluation, search
from archsearch.basics.seeding import stream
from archsearch.controllers import Reinforce
from archsearch.evaluators import OneShot, Training
from archsearch.spaces import NASBench201
from archsearch.trial import Query, Trial

TESTS = Path(__file__).parent
SPACE = NASBench201()
CELL = (3, 1, 2, 3, 4, 3)
SMALL = {"task": "digits", "train_examples": 60, "epochs": 2, "batch_size": 20, "skeleton": {"channels": 2, "cells": 1}}
MACRO = {"skeleton": {"channels": 4}}
PER_EPOCH = 3
UPDATES = 2 * PER_EPOCH
VALID = 449


def make(training=None, **settings):
    return OneShot(training=Training(**{**SMALL, **(training or {})}), **{"epochs": 2, **settings})


def started(space=SPACE, folder=None, **settings):
    evaluator = make(**settings)
    evaluator.start(space)
    evaluator.folder = folder
    return evaluator


def prepared(**settings):
    evaluator = started(**settings)
    evaluator.prepare()
    return evaluator


def like(evaluator, **settings):
    """The same super-network, as a worker gets it, scored in another way."""
    twin = pickle.loads(pickle.dumps(evaluator))
    vars(twin).update(settings)
    return twin


def samples(space, n, seed=0):
    rng = np.random.default_rng(seed)
    return [space.sample(rng) for _ in range(n)]


def queries(space, n, seed=0):
    return [Query(i, architecture, i) for i, architecture in enumerate(samples(space, n, seed))]


def same_values(first, second):
    """Whether two super-networks are equal bit by bit."""
    assert first._shared._values.keys() == second._shared._values.keys()
    return all(np.array_equal(value, second._shared._values[name]) for name, value in first._shared._values.items())


def untimed(cost):
    return dataclasses.replace(cost, wall_seconds=0.0, device_seconds=0.0)


def outcome(evaluation):
    return evaluation.score, evaluation.metrics, untimed(evaluation.cost)


def watching(evaluator, points=2):
    """Multiply-adds of what the curve cost."""
    architectures = [evaluator.space.sample(stream(i, "watched")) for i in range(4)]
    macs = sum(256 * evaluator.trainer.size(architecture)[0] for architecture in architectures)
    if evaluator.source == "hyper_network":
        macs += sum(
            evaluator._shared.network().generation_multiply_adds(architecture) for architecture in architectures
        )
    return points * macs


def finished(space, n, seed=0, first=0):
    """Completed trials, as a search hands them over."""
    return [Trial(first + i, a, evaluation=Evaluation(1.0)) for i, a in enumerate(samples(space, n, seed))]


def enas(folder=None, **settings):
    return started(folder=folder, sampler="controller", trials_per_epoch=4, **{"epochs": 3, **settings})


def enas_search(folder=None, trials=11, **settings):
    evaluator = make(sampler="controller", trials_per_epoch=3, epochs=3, validation_batches=5)
    return search(SPACE, Reinforce("softmax"), evaluator, trials=trials, seed=3, out=folder, **settings)


def facts(result):
    trials = sorted(result.history, key=lambda trial: trial.id)
    return [(t.id, t.architecture, t.seed, t.score, t.metrics, untimed(t.cost)) for t in trials], untimed(
        result.setup_cost
    )
