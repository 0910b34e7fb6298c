"""Small chains, images, and scores by separate passes, for the tests of ``score_chains``."""

from __future__ import annotations

import copy
import functools

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from archsearch.evaluators.chain_scoring import score_chains
from archsearch.networks.network import InputShape, build
from archsearch.spaces.mobilenet import MobileNet, NASBenchMacro

TASK = InputShape((3, 8, 8), 4)
IMAGES = 26
BATCH = 10
MODES = ("inherited", "batch", "recomputed")
SPACES = {
    "mobilenet": MobileNet([(4, 2, 1), (8, 3, 2)], stem_channels=4, head_channels=8),
    "nasbench_macro": NASBenchMacro(),
    # Only narrow layers, most of them at one size, so that what is held weighs more than what is inside a layer.
    "long": MobileNet([(8, 9, 1)], ((3, 1), (5, 1)), stem_channels=8, first_channels=4, head_channels=None),
}


@functools.cache
def data(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n, *TASK.input_shape, generator=generator)
    return images, torch.randint(TASK.classes, (n,), generator=generator)


def super_network(space):
    """With running statistics, scales and shifts that are not the initial ones."""
    network = build(lambda: space.super_network(TASK, channels=4), 0).to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                for values, low in ((layer.weight, 0.5), (layer.bias, -0.5), (layer.running_var, 0.5)):
                    values.copy_(low + torch.rand(len(values), generator=generator))
                layer.running_mean.copy_(torch.randn(layer.num_features, generator=generator) / 4)
                layer.num_batches_tracked.fill_(7)
    return network


def statistics_batches():
    return [data(n, 2 + i)[0] for i, n in enumerate((6, 5, 5))]


def sampled(space, n, seed=0):
    rng = np.random.default_rng(seed)
    return [space.sample(rng) for _ in range(n)]


def evolved(space, n, seed=0):
    rng = np.random.default_rng(seed)
    found = [space.sample(rng)]
    while len(found) < n:
        found.append(space.mutate(found[rng.integers(len(found))], rng))
    return found


def one_by_one(network, architectures, images, labels, statistics, batch_size=BATCH, batches=None):
    """What anyone would write; (right, sum of losses) of each architecture."""
    scores, mine = [], copy.deepcopy(network)
    for architecture in architectures:
        if statistics == "recomputed":
            for layer in mine.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.reset_running_stats()
                    layer.momentum = None
            mine.train()
            with torch.no_grad():
                for batch in batches or statistics_batches():
                    mine(batch, architecture)
        mine.train(statistics == "batch")
        right, loss = 0, 0.0
        with torch.no_grad():
            for begin in range(0, len(labels), batch_size):
                targets = labels[begin : begin + batch_size]
                logits = mine(images[begin : begin + batch_size], architecture)
                right += int((logits.argmax(1) == targets).sum())
                loss += float(functional.cross_entropy(logits, targets, reduction="sum"))
        scores.append((right, loss))
    return scores


def together(network, architectures, statistics, memory_limit=None, n=IMAGES):
    return score_chains(
        network,
        architectures,
        *data(n),
        statistics,
        statistics_batches() if statistics == "recomputed" else (),
        BATCH,
        memory_limit,
    )


def assert_equal(scores, expected, n=IMAGES):
    assert [right for right, _ in scores] == [right for right, _ in expected]
    losses, others = (np.array([loss for _, loss in each]) / n for each in (scores, expected))
    assert np.abs(losses - others).max() < 1e-5
