"""AZ-NAS's scores of blocks and VKDNW, against NumPy, SciPy, autograd and closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from torch import nn
from torch.nn import functional
from zero_cost_lab import Flat, array, batch, filled

from archsearch.evaluators.block_scores import expressivity, progressivity, trainability
from archsearch.evaluators.fisher_spectrum import DIRECTIONS, QUANTILES, _directions, _information, evenness, vkdnw
from archsearch.evaluators.untrained_passes import UNSCORABLE, LayerCalls, blocks
from archsearch.networks.layers import layer_count
from archsearch.networks.network import EXAMPLES, Network, build
from archsearch.spaces import DARTS, MnasNet, MobileNet, NASBench101, NASBench201


class Chain(Network):
    """Blocks one after another, and a classifier; ``pool`` makes its images one pixel."""

    def __init__(self, *parts, channels=4, classes=3):
        super().__init__((0,))
        self.parts = nn.ModuleList(parts)
        self.head = nn.Linear(channels, classes)

    def forward(self, images, architecture=None):
        for part in self.parts:
            images = part(images)
        return self.head(images.mean((2, 3)))


def convolution(inputs, outputs, kernel=1, stride=1, weight=None):
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    if weight is not None:
        layer.weight = nn.Parameter(torch.as_tensor(weight, dtype=torch.float32)[:, :, None, None])
    return layer


def orthogonal(n, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]


def spread(features):
    """The entropy of principal components, as NumPy has it."""
    rows = np.moveaxis(features.detach().double().numpy(), 1, -1).reshape(-1, features.shape[1])
    return entropy(np.linalg.eigvalsh(np.cov(rows.T)).clip(0))


# -- blocks ----------------------------------------------------------------------------------------


def test_expressivity_and_progressivity_are_entropies_of_principal_components():
    network = filled(lambda: Chain(convolution(3, 6, 3), nn.Sequential(convolution(6, 4, 3, 2), nn.BatchNorm2d(4))), 1)
    images, labels = batch(5, (3, 8, 8), 3)
    first = network.parts[0](images)
    network.parts[1].train()
    second = network.parts[1](first)
    found = [spread(first), spread(second)]
    network = filled(lambda: Chain(convolution(3, 6, 3), nn.Sequential(convolution(6, 4, 3, 2), nn.BatchNorm2d(4))), 1)
    assert expressivity(network, images, labels) == pytest.approx(sum(found), rel=1e-5)
    assert progressivity(network, images, labels) == pytest.approx(found[1] - found[0], rel=1e-3)


def test_features_that_are_white_have_the_highest_entropy_and_those_in_one_direction_none():
    white, line = np.eye(4), np.outer([1, 2, 3, 4], [1, 0, 0, 0])
    images, labels = torch.randn(64, 4, 16, 16, generator=torch.Generator().manual_seed(0)), torch.zeros(64).long()
    for weight, expected in ((white, math.log(4)), (line, 0.0)):
        network = Chain(convolution(4, 4, weight=weight), convolution(4, 4, weight=weight))
        assert expressivity(network, images, labels) == pytest.approx(2 * expected, abs=1e-3)


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_an_orthogonal_layer_is_as_trainable_as_its_scale_is_near_1(scale):
    parts = [convolution(4, 4, weight=scale * orthogonal(4, i)) for i in range(3)]
    images, labels = batch(32, (4, 16, 16), 3)
    # Random signs of 8,192 positions: their covariance is the identity up to some percent.
    expected = 2 - scale - 1 / scale
    assert trainability(Chain(*parts), images, labels) == pytest.approx(expected, abs=0.04 * (1 + scale))


def test_trainability_is_that_of_the_jacobian_of_a_block_with_stride():
    """A 2 x 2 convolution of stride 2: the four pixels under it are channels."""
    network = filled(lambda: Chain(convolution(4, 4), nn.Conv2d(4, 6, 2, 2, bias=False), channels=6), 4)
    images, labels = batch(64, (4, 16, 16), 3)
    largest = np.linalg.norm(array(network.parts[1].weight), 2)
    assert trainability(network, images, labels) == pytest.approx(2 - largest - 1 / largest, abs=0.05)


def test_blocks_that_pass_on_what_they_are_given_play_no_part_in_trainability():
    images, labels = batch(4, (4, 6, 6), 3)
    twice = [convolution(4, 4, weight=orthogonal(4)), convolution(4, 4, weight=2 * np.eye(4))]
    with_identity = [twice[0], nn.Identity(), twice[1]]
    assert trainability(Chain(twice[0], nn.Identity()), images, labels) == UNSCORABLE
    plain, other = (trainability(Chain(*parts), images, labels) for parts in (twice, with_identity))
    assert plain == pytest.approx(-0.5, abs=0.4)
    assert other < -0.1  # with the identity's 0 it would be half


@pytest.mark.parametrize("size", [7, 8, 9])
def test_odd_sizes_are_padded(size):
    network = filled(lambda: Chain(convolution(3, 4), convolution(4, 4, 3, 2)), 2)
    images, labels = batch(4, (3, size, size), 3)
    assert -1e3 < trainability(network, images, labels) < 0


def test_layers_are_the_blocks_where_there_are_no_others():
    network = filled(lambda: Flat(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)), 1)
    images, labels = batch(7, (5, 1, 1), 3)
    hidden = network.layers[0](images.flatten(1))
    assert expressivity(network, images, labels) == pytest.approx(spread(hidden[:, :, None, None]), rel=1e-5)
    assert progressivity(network, images, labels) == 0
    signs = torch.randint(2, (7, 4), generator=torch.Generator().manual_seed(0)).numpy() * 2 - 1
    largest = np.linalg.norm((signs @ array(network.layers[0].weight)).T @ signs / 7, 2)
    assert trainability(network, images, labels) == pytest.approx(2 - largest - 1 / largest, abs=1e-5)


@pytest.mark.parametrize(
    ("space", "architecture", "expected"),
    [
        (NASBench201(channels=4, cells=2), (3,) * 6, 1 + 3 * 2 + 2),  # stem, cells, residual blocks
        (DARTS(layers=3, channels=4), None, 1 + 3),
        (MnasNet(), None, None),  # stages are lists of choices, which are not called themselves
    ],
)
def test_blocks_are_stem_and_cells(space, architecture, expected):
    architecture = architecture or space.sample(np.random.default_rng(0))
    network = build(lambda: space.network(architecture, EXAMPLES["image classification"]), 0)
    expected = expected or 1 + sum(map(len, network.stages)) + 1
    assert len(blocks(network, torch.randn(2, 3, 32, 32))[1]) == expected


# -- the spectrum of the Fisher information --------------------------------------------------------


def information(network, images, weights):
    """The Fisher information by its definition: the mean over images and classes of p g g', g of log p."""
    total = np.zeros((len(weights), len(weights)))
    for image in images:
        logs = functional.log_softmax(network(image[None]), 1)[0]
        for each in logs:
            gradients = torch.autograd.grad(each, [weight for weight, _ in weights], retain_graph=True)
            g = np.array([gradient[place].item() for gradient, (_, place) in zip(gradients, weights, strict=True)])
            total += each.exp().item() * np.outer(g, g)
    return total / len(images)


def given_information(network, images):
    network.train()
    with LayerCalls(steady=True) as layers:
        outputs = network(images)
    return _information(outputs, layers.calls).numpy()


def test_fisher_information_of_a_linear_softmax_model():
    network = filled(lambda: Flat(nn.Linear(5, 3)), 3)
    images, labels = batch(7, (5, 1, 1), 3)
    outputs = array(network(images))
    share = (np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True))[:, 0]
    expected = (array(images)[:, 0] ** 2 * share * (1 - share)).mean()
    assert given_information(network, images) == pytest.approx(expected, rel=1e-5)
    assert vkdnw(network, images, labels) == pytest.approx(2)  # one layer, all deciles equal


def test_fisher_information_is_that_of_its_definition():
    """Kernels, strides, groups, a ReLU in place and batch normalisation, which has fixed statistics there."""

    def make():
        return Chain(
            nn.Conv2d(3, 4, 3, 2, 1),
            nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(inplace=True)),
            nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2),
            nn.ReLU(inplace=True),
            nn.Conv2d(4, 4, 1),
        )

    network = filled(make, 12)
    images, _ = batch(6, (3, 9, 9), 3)
    found = given_information(network, images)
    norm = network.parts[1][0]
    features = network.parts[0](images).detach()
    norm.running_mean.copy_(features.mean((0, 2, 3)))
    norm.running_var.copy_(features.var((0, 2, 3), correction=0))
    network.eval()
    places = [(network.parts[i].weight, (0, 0, k, k)) for i, k in ((0, 1), (2, 1), (4, 0))]
    expected = information(network, images, [*places, (network.head.weight, (0, 0))])
    assert np.linalg.matrix_rank(expected) == 4
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("values", [[1, 1, 1], [0, 1, 4, 9, 30], list(range(40)), [0, 0, 0, 1]])
def test_evenness_is_the_entropy_of_deciles(values):
    deciles = np.quantile(np.array(values, float), [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    expected = entropy(deciles) / math.log(8)
    assert len(QUANTILES) == 8
    assert evenness(torch.tensor(values, dtype=torch.float64)) == pytest.approx(expected)
    assert evenness(torch.zeros(5, dtype=torch.float64)) == 0


@pytest.mark.parametrize("classes", [2, DIRECTIONS, 1000])
def test_directions_are_orthogonal_and_average_to_all(classes):
    found = _directions(classes).double().numpy()
    n = min(classes, DIRECTIONS)
    assert found.T @ found == pytest.approx(np.eye(n) * classes / n, abs=1e-6)
    assert np.trace(found @ found.T) == pytest.approx(classes)


@pytest.mark.parametrize("space", [NASBench201(channels=4, cells=1), MobileNet(), NASBench101()])
def test_the_whole_part_counts_the_layers(space):
    architecture = space.sample(np.random.default_rng(2))
    network = build(lambda: space.network(architecture, EXAMPLES["image classification"]), 0)
    images, labels = batch(4, (3, 32, 32))
    assert int(vkdnw(network, images, labels)) == layer_count(network)
