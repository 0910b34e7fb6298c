"""What the tests of trainings have in common."""

from archsearch.evaluators import Training
from archsearch.spaces import NASBench201

SPACE = NASBench201()
CELL = (3, 1, 2, 3, 4, 3)
SMALL = {"task": "digits", "train_examples": 60, "epochs": 3, "batch_size": 16, "skeleton": {"channels": 2, "cells": 1}}
UPDATES = 3 * 4


def started(space=SPACE, **settings):
    evaluator = Training(**{**SMALL, **settings})
    evaluator.start(space)
    return evaluator


def same(first, second):
    """Whether two evaluations agree in everything but the time."""
    return (first.score, first.metrics, first.curve) == (second.score, second.metrics, second.curve)
