"""Small spaces and trained networks, for the tests of ``MobileNet``."""

from __future__ import annotations

import itertools

import torch
from torch.nn import functional

from archsearch.networks.network import InputShape
from archsearch.spaces.mobilenet import MobileNet

CIFAR10 = InputShape((3, 32, 32), 10)
SMALL = InputShape((3, 12, 12), 4)


def small(**settings) -> MobileNet:
    """Two stages of 2 layers, 12x12 images."""
    given = {"stages": [(8, 2, 1), (12, 2, 2)], "stem_channels": 8, "head_channels": 16}
    return MobileNet(**{**given, **settings})


def images(n=4, seed=0, task=SMALL):
    return torch.randn(n, *task.input_shape, generator=torch.Generator().manual_seed(seed))


def train(network, steps=6, seed=0, architectures=(None,)):
    """A few steps on noise, from scales and shifts that are not 1 and 0, so that no statistic keeps its first value."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5, generator=generator)
    optimiser = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    network.train()
    for step, architecture in zip(range(steps), itertools.cycle(architectures), strict=False):
        labels = torch.randint(SMALL.classes, (16,), generator=generator)
        optimiser.zero_grad()
        functional.cross_entropy(network(1 + 2 * images(16, step), architecture), labels).backward()
        optimiser.step()
    return network
