"""What the tests of ``Differentiable`` and ``Derived`` share."""

from archsearch.evaluators import Differentiable, Training
from archsearch.spaces import NASBench201

SPACE = NASBench201()
SMALL = {"task": "digits", "train_examples": 64, "epochs": 2, "batch_size": 16, "skeleton": {"channels": 4, "cells": 1}}


def make(training=None, **settings):
    return Differentiable(Training(**{**SMALL, **(training or {})}), **{"epochs": 2, **settings})
