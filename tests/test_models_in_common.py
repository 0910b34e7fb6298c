"""Models that predict scores: what all of them keep to."""

import math
import pickle
import random

import numpy as np
import pytest
import torch
from common import Tree
from models_lab import QUICK, every_model, fitted, some, with_features

from archsearch import models
from archsearch.errors import UsageError
from archsearch.model import load_model
from archsearch.models import (
    LSTM,
    GaussianProcess,
    GradientBoosting,
    GraphNetwork,
    MLPEnsemble,
    RandomForest,
    Stack,
)
from archsearch.spaces import DARTS, Choices, ConvChain, MobileNet, NASBench101, NASBench201

SPACES = {
    "NASBench201": NASBench201,
    "NASBench101": NASBench101,
    "DARTS": DARTS,
    "MobileNet": MobileNet,
    "ConvChain": ConvChain,
    "Choices": lambda: Choices(
        {"operation": ["conv", "pool"], "width": {"options": [16, 32, 64], "when": {"operation": "conv"}}}
    ),
    "Tree": Tree,
}


def same(first, second):
    return all(np.array_equal(one, two) for one, two in zip(first, second, strict=True))


@every_model
@pytest.mark.parametrize("kind", SPACES)
def test_every_space_will_do(kind, name):
    space = SPACES[kind]()
    model = fitted(QUICK[name], space)
    for prediction in (model.predict(some(space, 7, seed=1)), model.predict_targets(some(space, 7, seed=1))):
        assert prediction.mean.shape == prediction.spread.shape == (7,)
        assert np.isfinite(prediction.mean).all()
        assert np.isfinite(prediction.spread).all()
        assert (prediction.spread >= 0).all()


@every_model
@pytest.mark.parametrize("scores", [[1.0, 2.0], [3.0, 3.0], [5.0] * 9])
def test_few_labels_and_equal_scores_will_do(name, scores):
    space, model = NASBench201(), QUICK[name]()
    model.fit(space, some(space, len(scores)), scores)
    mean, spread = model.predict(some(space, 5, seed=1))
    assert np.isfinite(mean).all()
    assert np.isfinite(spread).all()
    assert np.abs(mean - np.mean(scores)).max() < 5


@every_model
def test_seeds_decide_all_and_global_generators_are_left_alone(name):
    space, asked = NASBench101(), some(NASBench101(), 30, seed=1)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    predictions = [fitted(QUICK[name], space, seed=seed).predict(asked) for seed in (5, 5, 6)]
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002
    assert same(predictions[0], predictions[1])
    assert same(predictions[0], predictions[2]) == (name == "GaussianProcess"), "its fit draws nothing"


@every_model
def test_files_pickles_and_second_fits_give_equal_predictions(name, tmp_path):
    space, asked = NASBench101(), some(NASBench101(), 30, seed=1)
    takes = getattr(models, name).takes_features
    features, figures = (np.random.default_rng(4).normal(size=(n, 2)) if takes else None for n in (20, 30))
    model = fitted(QUICK[name], space, features=features)
    expected = model.predict(asked, figures)
    model.save(tmp_path / "model.safetensors")
    assert same(expected, load_model(tmp_path / "model.safetensors", space).predict(asked, figures))
    assert same(expected, pickle.loads(pickle.dumps(model)).predict(asked, figures))
    model.fit(NASBench201(), some(NASBench201(), 10), range(10), 9)
    assert not same(expected, model.predict(some(NASBench201(), 30)))
    model.fit(space, some(space, 20), np.random.default_rng(2).normal(size=20), 0, features)
    assert same(expected, model.predict(asked, figures))


@with_features
def test_features_are_asked_for_as_they_were_given(name):
    space = NASBench201()
    model = fitted(QUICK[name], space, features=np.arange(40.0).reshape(20, 2))
    for wrong in (None, np.zeros((3, 1))):
        with pytest.raises(UsageError, match="it was fitted with 2 features"):
            model.predict(some(space, 3), wrong)
    with pytest.raises(UsageError, match="it was fitted with no features"):
        fitted(QUICK[name], space).predict(some(space, 3), np.zeros((3, 2)))
    with pytest.raises(UsageError, match="expected finite numbers of shape"):
        model.fit(space, some(space, 3), range(3), features=np.full((3, 1), np.nan))


@pytest.mark.parametrize("name", ["LSTM"])
def test_features_are_refused_where_nothing_learns_from_them(name):
    for make in (QUICK[name], lambda: Stack([QUICK[name]()])):
        with pytest.raises(UsageError, match=r"leave them out|architectures alone"):
            fitted(make, NASBench201(), features=np.zeros((20, 1)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianProcess(encodings=[]), "GaussianProcess: encodings"),
        (
            lambda: GaussianProcess(linear_until=-1),
            "GaussianProcess: linear_until: expected a whole number >= 0, got -1",
        ),
        (lambda: MLPEnsemble(networks=0), "MLPEnsemble: networks: expected a whole number >= 1, got 0"),
        (lambda: MLPEnsemble(learning_rate=0.0), "MLPEnsemble: learning_rate: expected a number > 0, got 0.0"),
        (lambda: MLPEnsemble(encodings=["tokens"]), "MLPEnsemble: encodings"),
        (lambda: LSTM(width=0), "LSTM: width"),
        (lambda: LSTM(learning_rate=math.inf), "LSTM: learning_rate"),
        (lambda: GraphNetwork(epochs=0), "GraphNetwork: epochs"),
        (lambda: GraphNetwork(learning_rate=True), "GraphNetwork: learning_rate"),
        (lambda: RandomForest(trees=0), "RandomForest: trees"),
        (lambda: RandomForest(max_features=1.5), "RandomForest: max_features: expected a share > 0 and <= 1, got 1.5"),
        (lambda: RandomForest(extra=1), "RandomForest: extra: expected true or false, got 1"),
        (lambda: GradientBoosting(members=0), "GradientBoosting: members"),
        (lambda: GradientBoosting(path_columns=0), "GradientBoosting: path_columns"),
        (lambda: Stack([]), "Stack: models: expected a list of one or more models"),
        (lambda: Stack(["GaussianProcess"]), "Stack: models"),
        (lambda: Stack(folds=1), "Stack: folds: expected 0, or 2 and more"),
        (lambda: Stack(folds=-1), "Stack: folds"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()
