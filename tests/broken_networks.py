"""Deliberately wrong trainable spaces, as ``broken.py`` says; apart, since they need PyTorch."""

from __future__ import annotations

import torch
from broken import case
from broken_spaces import Small
from torch import nn

from archsearch.networks.network import Choice, Network


class Linear(Network):
    """One linear map per option of the first decision."""

    def __init__(self, architecture, classes):
        super().__init__(architecture)
        only = None if architecture is None else f"map{architecture[0]}"
        self.maps = Choice({f"map{i}": lambda: nn.Linear(64, classes) for i in range(3)}, only)

    def forward(self, images, architecture=None):
        return self.maps(images.flatten(1), f"map{self.path(architecture)[0]}")


class Networked(Small):
    """A right one, too."""

    def network(self, architecture, task):
        return Linear(architecture, task.classes)

    def super_network(self, task):
        return Linear(None, task.classes)


class ForgetsAClass(Networked):
    def network(self, architecture, task):
        return Linear(architecture, task.classes - 1)


class StartsFromZeros(Networked):
    def network(self, architecture, task):
        network = Linear(architecture, task.classes)
        network.forward = lambda images, architecture=None: torch.zeros(len(images), task.classes)
        return network


class SharesUnderOtherNames(Networked):
    def super_network(self, task):
        return Linear(None, task.classes).maps


class ComputesAnotherPath(Networked):
    def super_network(self, task):
        network = Linear(None, task.classes)
        path = network.path
        network.path = lambda architecture: ((path(architecture)[0] + 1) % 3,)
        return network


SPACES = [
    case("networks_are_built_right", ForgetsAClass),
    case("networks_are_built_right", StartsFromZeros),
    case("networks_are_built_right", SharesUnderOtherNames),
    case("networks_are_built_right", ComputesAnotherPath),
]
