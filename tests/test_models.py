"""Models that predict scores: what they learn. Their contract is in test_contracts."""

import numpy as np
import pytest
from models_lab import QUICK, additive, every_model, some, with_features
from scipy.stats import kendalltau

from archsearch import Space, models
from archsearch.evaluators import Tabular
from archsearch.models import (
    LSTM,
    GradientBoosting,
    GraphNetwork,
    MLPEnsemble,
)
from archsearch.spaces import NASBench201


def test_the_list_is_whole():
    assert set(QUICK) == set(models.ALL)


# -- what they learn ------------------------------------------------------------------------------


LEARNING = {"GraphNetwork": lambda: GraphNetwork(epochs=40), "LSTM": lambda: LSTM(epochs=40)}
"""For models that would take long with their defaults."""
LEARNED = {
    "GaussianProcess": 0.9,
    "GradientBoosting": 0.75,
    "GraphNetwork": 0.8,
    "LSTM": 0.8,
    "MLPEnsemble": 0.8,
    "RandomForest": 0.6,
    "Stack": 0.8,
}
"""Least tau after 200 labels; measured were 0.98, 0.87, 0.96, 0.96, 0.98, 0.75 and 0.96."""


@every_model
def test_additive_landscapes_are_learned(name):
    space = Space(arities=[4] * 8)
    architectures = some(space, 500)
    scores = additive(space, architectures)
    model = LEARNING.get(name, getattr(models, name))()
    model.fit(space, architectures[:200], scores[:200])
    tau = kendalltau(model.predict(architectures[200:]).mean, scores[200:]).statistic
    assert tau >= LEARNED[name]


RANKED = {
    "GaussianProcess": 0.7,
    "GradientBoosting": 0.7,
    "GraphNetwork": 0.65,
    "LSTM": 0.5,
    "MLPEnsemble": 0.7,
    "RandomForest": 0.63,
    "Stack": 0.7,
}
"""Least tau after 100 labels; measured were 0.77, 0.77, 0.75, 0.61, 0.76, 0.72 and 0.77."""


@pytest.fixture(scope="module")
def cells():
    """600 cells of NAS-Bench-201 and their validation accuracy after 200 epochs."""
    table = Tabular()
    table.start(NASBench201())
    found = some(NASBench201(), 600)
    return found, np.array([table.evaluate(cell, 0).score for cell in found])


@every_model
def test_cells_are_ranked_after_100_labels(name, cells):
    architectures, scores = cells
    model = LEARNING.get(name, getattr(models, name))()
    model.fit(NASBench201(), architectures[:100], scores[:100])
    predicted = model.predict(architectures[100:])
    assert kendalltau(predicted.mean, scores[100:]).statistic >= RANKED[name]
    assert np.median(np.abs(predicted.mean - scores[100:])) < 5, "on the scale of the scores, in percent"


@with_features
def test_a_feature_that_tells_all_is_learned(name):
    space = Space(arities=[2] * 10)
    architectures = some(space, 200)
    scores = np.random.default_rng(3).normal(size=200)  # no architecture says anything of another
    features = np.exp(20 * scores)[:, None]  # as heavy a tail as zero-cost scores have
    quicker = {"GradientBoosting": lambda: GradientBoosting(2), "MLPEnsemble": lambda: MLPEnsemble(epochs=50)}
    model = quicker.get(name, getattr(models, name))()
    model.fit(space, architectures[:100], scores[:100], features=features[:100])
    informed = model.predict(architectures[100:], features[100:]).mean
    model.fit(space, architectures[:100], scores[:100])
    assert kendalltau(model.predict(architectures[100:]).mean, scores[100:]).statistic < 0.25
    assert kendalltau(informed, scores[100:]).statistic >= 0.7  # measured: 0.80 and more
