"""What the tests of ``Differentiable`` and ``Derived`` share."""

import dataclasses

import torch

from archsearch.evaluators import Differentiable, Training
from archsearch.spaces import NASBench201

SPACE = NASBench201()
SMALL = {"task": "digits", "train_examples": 64, "epochs": 2, "batch_size": 16, "skeleton": {"channels": 4, "cells": 1}}


def make(training=None, **settings):
    return Differentiable(Training(**{**SMALL, **(training or {})}), **{"epochs": 2, **settings})


def started(space=SPACE, folder=None, **settings):
    evaluator = make(**settings)
    evaluator.start(space)
    evaluator.folder = folder
    return evaluator


def prepared(space=SPACE, **settings):
    evaluator = started(space, **settings)
    evaluator.prepare()
    return evaluator


def untimed(cost):
    return dataclasses.replace(cost, wall_seconds=0.0, device_seconds=0.0)


def learnt(evaluator):
    """All that a search by gradient has learnt."""
    values = {name: value.clone() for name, value in evaluator._shared.values().items()}
    return values, evaluator._shared._facts["strengths"], [*evaluator.records]


def same(first, second):
    (values, *facts), (other, *others) = learnt(first), learnt(second)
    return facts == others and all(torch.equal(value, other[name]) for name, value in values.items())


class Killed(Exception):
    pass


def kill_after(evaluator, epoch):
    def told(what, done, total):
        if done == epoch:
            raise Killed

    evaluator.on_progress = told
