"""Models that predict scores: each against its definition."""

import math

import numpy as np
import pytest
import torch
from models_lab import QUICK, additive, fitted, some
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern, WhiteKernel

from archsearch import Space
from archsearch.models import (
    GaussianProcess,
    GraphNetwork,
    MLPEnsemble,
    RandomForest,
    Stack,
    gaussian_process,
    kernels,
    networks,
    stack,
)
from archsearch.models.encoding import encode
from archsearch.spaces import DARTS, NASBench101, NASBench201

# -- Gaussian process ------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothness", [0.5, 1.5, 2.5])
@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("linear_until", [0, 40])
def test_the_gaussian_process_is_that_of_scikit_learn(smoothness, quick, linear_until):
    space, asked = NASBench201(), some(NASBench201(), 50, seed=1)
    model = GaussianProcess(["one_hot"], smoothness=smoothness, linear_until=linear_until)
    model.quick = quick
    model.fit(space, some(space, 40), additive(space, some(space, 40)))
    length, *linear, weight, noise = np.exp(model._logs)
    kernel = ConstantKernel(weight) * Matern(length, nu=smoothness)
    if linear_until:
        kernel += ConstantKernel(linear[0] / length**2) * DotProduct(0.0, "fixed")
    noisy = kernel + WhiteKernel(noise + gaussian_process.JITTER)
    other = GaussianProcessRegressor(noisy, alpha=0.0, optimizer=None)
    inputs, questions = space.one_hot(some(space, 40)).astype(float), space.one_hot(asked).astype(float)
    mean, deviation = other.fit(inputs, model.targets).predict(questions, return_std=True)
    found = model.predict_targets(asked)
    np.testing.assert_allclose(found.mean, mean, atol=2e-3)
    without_noise = np.sqrt(np.maximum(deviation**2 - noise - gaussian_process.JITTER, gaussian_process.JITTER))
    np.testing.assert_allclose(found.spread, without_noise, atol=2e-3)


def test_the_linear_kernel_is_there_for_few_labels_only():
    space = NASBench201()
    learnt = []
    for n in (40, 41):
        model = GaussianProcess(["one_hot"], linear_until=40)
        model.fit(space, some(space, n), additive(space, some(space, n)))
        learnt.append(len(model.learnt))
    assert learnt == [4, 3]


def test_with_a_linear_kernel_few_labels_say_more_of_what_adds_up():
    """Mean squared error of 200 others, of ten draws; scores are normal, so that targets are on their scale."""
    space, errors = Space(arities=[3] * 8), {0: 0.0, 40: 0.0}
    for seed in range(10):
        rng = np.random.default_rng(seed)
        effects = rng.normal(0, 1 / math.sqrt(8 * 2 / 3), (8, 3))
        drawn = [space.sample(rng) for _ in range(215)]
        scores = [float(effects[range(8), each].sum()) for each in drawn]
        for until in errors:
            model = GaussianProcess(linear_until=until)
            model.fit(space, drawn[:15], scores[:15])
            errors[until] += float(np.square(model.predict(drawn[15:]).mean - scores[15:]).mean()) / 10
    assert errors[40] < 0.95 * errors[0]


@pytest.mark.parametrize("smoothness", [0.5, 1.5, 2.5])
@pytest.mark.parametrize("linear", [False, True])
def test_the_gaussian_process_follows_the_gradient_of_the_likelihood_to_its_top(smoothness, linear):
    rng = np.random.default_rng(0)
    groups = [rng.normal(size=(20, 3)) for _ in range(2)]
    squares = [np.square(group[:, None] - group[None]).sum(2) for group in groups]
    products = [group @ group.T for group in groups] if linear else []
    logs = np.array([0.3, -0.2, *[-0.6] * linear, 0.5, -1.0])
    targets, priors = rng.normal(size=20), np.array([(0.0, 1.0)] * len(logs))

    def loss(logs):
        return kernels.loss_and_gradient(logs, squares, products, targets, priors, smoothness)[0]

    gradient = kernels.loss_and_gradient(logs, squares, products, targets, priors, smoothness)[1]
    step = 1e-5 * np.eye(len(logs))
    np.testing.assert_allclose(gradient, [(loss(logs + e) - loss(logs - e)) / 2e-5 for e in step], rtol=1e-5, atol=1e-6)
    scaled = np.concatenate([group / np.exp(log) for group, log in zip(groups, logs, strict=False)], axis=1)
    kernel = ConstantKernel(math.exp(0.5)) * Matern(1.0, nu=smoothness)
    if linear:
        kernel += ConstantKernel(math.exp(-0.6)) * DotProduct(0.0, "fixed")
    kernel += WhiteKernel(math.exp(-1.0) + gaussian_process.JITTER)
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
