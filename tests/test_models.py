"""Models that predict scores: what they learn, and each against its definition. Their contract is in test_contracts."""

import math
import pickle
import random

import numpy as np
import pytest
import torch
from common import Tree
from scipy.stats import kendalltau
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from archsearch import Space, models
from archsearch.encoding import encode
from archsearch.errors import UsageError
from archsearch.evaluators import Tabular
from archsearch.model import load_model
from archsearch.models import (
    LSTM,
    GaussianProcess,
    GradientBoosting,
    GraphNetwork,
    MLPEnsemble,
    RandomForest,
    Stack,
    gaussian_process,
    networks,
    stack,
)
from archsearch.spaces import DARTS, Choices, ConvChain, MobileNet, NASBench101, NASBench201

QUICK = {
    "GaussianProcess": GaussianProcess,
    "GradientBoosting": lambda: GradientBoosting(2, iterations=5),
    "GraphNetwork": lambda: GraphNetwork(2, width=4, epochs=2),
    "LSTM": lambda: LSTM(2, width=4, epochs=2),
    "MLPEnsemble": lambda: MLPEnsemble(2, layers=2, width=4, epochs=2),
    "RandomForest": lambda: RandomForest(3),
    "Stack": lambda: Stack([GaussianProcess(), RandomForest(3, extra=True), LSTM(2, width=4, epochs=2)], folds=2),
}
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
every_model = pytest.mark.parametrize("name", models.ALL)
with_features = pytest.mark.parametrize("name", [name for name in models.ALL if getattr(models, name).takes_features])


def some(space, n, seed=0):
    rng = np.random.default_rng(seed)
    return [space.sample(rng) for _ in range(n)]


def fitted(make, space, n=20, seed=0, features=None):
    model = make()
    model.fit(space, some(space, n), np.random.default_rng(2).normal(size=n), seed, features)
    return model


def same(first, second):
    return all(np.array_equal(one, two) for one, two in zip(first, second, strict=True))


def test_the_list_is_whole():
    assert set(QUICK) == set(models.ALL)


# -- what they learn ------------------------------------------------------------------------------


def additive(space, architectures, seed=0):
    """Each option adds something of its own."""
    gains = np.random.default_rng(seed).normal(size=space.one_hot(architectures).shape[1])
    return space.one_hot(architectures) @ gains


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


# -- what all of them keep to ----------------------------------------------------------------------


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


@pytest.mark.parametrize("name", ["LSTM", "GraphNetwork"])
def test_features_are_refused_where_nothing_learns_from_them(name):
    for make in (QUICK[name], lambda: Stack([QUICK[name]()])):
        with pytest.raises(UsageError, match=r"leave them out|architectures alone"):
            fitted(make, NASBench201(), features=np.zeros((20, 1)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianProcess(encodings=[]), "GaussianProcess: encodings"),
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


# -- Gaussian process ------------------------------------------------------------------------------


def test_the_gaussian_process_is_that_of_scikit_learn():
    space, asked = NASBench201(), some(NASBench201(), 50, seed=1)
    model = GaussianProcess(["one_hot"])
    model.fit(space, some(space, 40), additive(space, some(space, 40)))
    length, weight, noise = np.exp(model._logs)
    kernel = ConstantKernel(weight) * Matern(model._scales[0] * length, nu=2.5)
    noisy = kernel + WhiteKernel(noise + gaussian_process.JITTER)
    other = GaussianProcessRegressor(noisy, alpha=0.0, optimizer=None)
    inputs, questions = space.one_hot(some(space, 40)).astype(float), space.one_hot(asked).astype(float)
    mean, deviation = other.fit(inputs, model.targets).predict(questions, return_std=True)
    found = model.predict_targets(asked)
    np.testing.assert_allclose(found.mean, mean, atol=2e-3)
    without_noise = np.sqrt(np.maximum(deviation**2 - noise - gaussian_process.JITTER, gaussian_process.JITTER))
    np.testing.assert_allclose(found.spread, without_noise, atol=2e-3)


def test_the_gaussian_process_follows_the_gradient_of_the_likelihood_to_its_top():
    rng = np.random.default_rng(0)
    groups = [rng.normal(size=(20, 3)) for _ in range(2)]
    squares = [np.square(group[:, None] - group[None]).sum(2) for group in groups]
    targets, priors = rng.normal(size=20), np.array([(0.0, 1.0)] * 4)
    logs = np.array([0.3, -0.2, 0.5, -1.0])

    def loss(logs):
        return gaussian_process._loss_and_gradient(logs, squares, targets, priors)[0]

    gradient = gaussian_process._loss_and_gradient(logs, squares, targets, priors)[1]
    step = 1e-5 * np.eye(4)
    np.testing.assert_allclose(gradient, [(loss(logs + e) - loss(logs - e)) / 2e-5 for e in step], rtol=1e-5, atol=1e-6)
    scaled = np.concatenate([group / np.exp(log) for group, log in zip(groups, logs, strict=False)], axis=1)
    kernel = ConstantKernel(math.exp(0.5)) * Matern(1.0, nu=2.5) + WhiteKernel(math.exp(-1.0) + gaussian_process.JITTER)
    other = GaussianProcessRegressor(kernel, alpha=0.0, optimizer=None).fit(scaled, targets)
    # scikit-learn has the constant of the normal distribution in it, and we the priors.
    ours = loss(logs) - np.square(logs).sum() / 2
    assert ours + 10 * math.log(2 * math.pi) == pytest.approx(-other.log_marginal_likelihood(), rel=1e-9)


# -- networks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("space", "n"), [(NASBench101(), 300), (DARTS(), 60)], ids=["NASBench101", "DARTS"])
def test_the_graph_network_does_not_see_how_nodes_are_numbered(space, n):
    model = fitted(lambda: GraphNetwork(2, width=8, epochs=5), space)
    groups = {}
    rng = np.random.default_rng(3)
    for architecture in some(space, n):
        for other in (architecture, *(space.mutate(architecture, rng) for _ in range(10))):
            form = space.canonical(other)
            groups.setdefault(form, set()).add(other)
            if form in space:  # DARTS: one of the numberings
                groups[form].add(form)
    several = [sorted(group) for group in groups.values() if len(group) > 1]
    assert len(several) >= 5
    for group in several:
        mean, spread = model.predict_targets(group)
        np.testing.assert_allclose(mean, mean[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(spread, spread[0], rtol=1e-4, atol=1e-5)
    assert np.ptp(model.predict_targets([group[0] for group in several]).mean) > 0.01


def test_the_graph_network_does_not_see_operations_that_cannot_matter():
    model = fitted(QUICK["GraphNetwork"], NASBench201())
    lost, plain = (3, 0, 0, 3, 0, 2), (0, 0, 0, 3, 0, 0)
    assert np.ptp(model.predict_targets([lost, plain]).mean) == 0


def test_networks_that_are_trained_together_do_not_touch_each_other():
    """The first of three is what it would be alone: sums over networks, batches and draws are kept apart."""
    shapes = {"layer": (3, 1), "layer.bias": (1,)}
    weights = networks.drawn(3, shapes, torch.Generator().manual_seed(0))
    inputs = torch.rand(16, 3, generator=torch.Generator().manual_seed(1))

    def loss(weights, places):
        return (
            (networks.linear(inputs.expand(len(weights["layer"]), 16, 3), weights, "layer") - 1)
            .square()
            .mean((1, 2))
            .sum()
        )

    settings = {"epochs": 30, "batch": 16, "rate": 0.1}
    together = networks.train(weights, loss, 16, torch.Generator().manual_seed(2), **settings)
    for number in range(3):
        part = {name: each[number : number + 1] for name, each in weights.items()}
        alone = networks.train(part, loss, 16, torch.Generator().manual_seed(2), **settings)
        for name, each in alone.items():
            torch.testing.assert_close(together[name][number], each[0], rtol=1e-4, atol=1e-5)
    assert loss(together, None) < 0.5 * loss(weights, None)


def test_an_epoch_shows_each_network_every_example_once():
    parts = list(networks.batches(3, 10, 4, torch.Generator().manual_seed(0)))
    assert [part.shape for part in parts] == [(3, 4), (3, 4), (3, 2)]
    orders = torch.cat(parts, 1)
    assert (orders.sort(1).values == torch.arange(10)).all()
    assert (orders[0] != orders[1]).any()


def test_a_single_network_has_no_spread_and_several_have():
    asked = some(NASBench201(), 20, seed=1)
    assert not fitted(lambda: MLPEnsemble(1, epochs=2), NASBench201()).predict_targets(asked).spread.any()
    assert (fitted(lambda: MLPEnsemble(2, epochs=2), NASBench201()).predict_targets(asked).spread > 0).all()


# -- trees and stack -------------------------------------------------------------------------------


@pytest.mark.parametrize("extra", [False, True])
def test_the_forest_is_that_of_scikit_learn(extra):
    from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

    space, asked = NASBench201(), some(NASBench201(), 50, seed=1)
    model = fitted(lambda: RandomForest(7, max_features=0.5, extra=extra, encodings=["one_hot", "counts"]), space)
    state = int(np.random.default_rng(0).integers(2**31))
    forest = (ExtraTreesRegressor if extra else RandomForestRegressor)(7, max_features=0.5, random_state=state)
    encodings = ["one_hot", "counts"]
    forest.fit(np.concatenate(encode(space, model.architectures, encodings), 1), model.targets)
    inputs = np.concatenate(encode(space, asked, encodings), 1)
    found = model.predict_targets(asked)
    np.testing.assert_allclose(found.mean, forest.predict(inputs), atol=1e-6)
    each = [tree.predict(inputs) for tree in forest.estimators_]
    np.testing.assert_allclose(found.spread, np.std(each, axis=0), atol=1e-6)


def test_a_stack_is_the_mean_of_its_members_and_wider_than_they_where_they_differ():
    space, asked = NASBench201(), some(NASBench201(), 50, seed=1)
    model = fitted(lambda: Stack(folds=0), space)
    first, second = (member.predict_targets(asked) for member in model._members)
    mean, spread = model.predict_targets(asked)
    np.testing.assert_allclose(mean, (first.mean + second.mean) / 2)
    variance = (first.spread**2 + second.spread**2) / 2 + (first.mean - second.mean) ** 2 / 4
    np.testing.assert_allclose(spread, np.sqrt(variance))


def test_a_stack_trusts_the_better_member():
    space = Space(arities=[4] * 8)
    architectures = some(space, 150)
    model = Stack([RandomForest(2, extra=True), GaussianProcess()])
    model.fit(space, architectures, additive(space, architectures))
    assert model._weights.sum() == pytest.approx(1)
    assert model._weights[1] > 0.7  # measured: 0.9


def test_weights_of_members_that_all_mislead_are_equal():
    targets = np.array([1.0, -1.0, 2.0, -2.0])
    assert stack._best_weights(-100 * np.stack([targets, targets], 1), targets).tolist() == [0.5, 0.5]
    weights = stack._best_weights(np.stack([targets, -targets], 1), targets)
    assert weights[0] > 0.9


def test_members_of_a_stack_are_its_own():
    member = GaussianProcess()
    model = fitted(lambda: Stack([member, member]), NASBench201())
    assert not hasattr(member, "targets")
    assert model._members[0] is not model._members[1]
