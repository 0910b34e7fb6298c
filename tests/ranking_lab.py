"""Scores of known noise, for the tests of rankings."""

import numpy as np
from hypothesis import settings

quick = settings(max_examples=100, deadline=None, derandomize=True)


def noisy(count, noise, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=count)
    return truth, truth + noise * rng.normal(size=count)
