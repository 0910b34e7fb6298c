"""Quick models, fitted, for the tests of models."""

import numpy as np
import pytest

from archsearch import models
from archsearch.models import (
    LSTM,
    GaussianProcess,
    GradientBoosting,
    GraphNetwork,
    MLPEnsemble,
    RandomForest,
    Stack,
)

QUICK = {
    "GaussianProcess": GaussianProcess,
    "GradientBoosting": lambda: GradientBoosting(2, iterations=5),
    "GraphNetwork": lambda: GraphNetwork(2, width=4, epochs=2),
    "LSTM": lambda: LSTM(2, width=4, epochs=2),
    "MLPEnsemble": lambda: MLPEnsemble(2, layers=2, width=4, epochs=2),
    "RandomForest": lambda: RandomForest(3),
    "Stack": lambda: Stack([GaussianProcess(), RandomForest(3, extra=True), LSTM(2, width=4, epochs=2)], folds=2),
}

every_model = pytest.mark.parametrize("name", models.ALL)
with_features = pytest.mark.parametrize("name", [name for name in models.ALL if getattr(models, name).takes_features])


def some(space, n, seed=0):
    rng = np.random.default_rng(seed)
    return [space.sample(rng) for _ in range(n)]


def fitted(make, space, n=20, seed=0, features=None):
    model = make()
    model.fit(space, some(space, n), np.random.default_rng(2).normal(size=n), seed, features)
    return model


def additive(space, architectures, seed=0):
    """Each option adds something of its own."""
    gains = np.random.default_rng(seed).normal(size=space.one_hot(architectures).shape[1])
    return space.one_hot(architectures) @ gains
