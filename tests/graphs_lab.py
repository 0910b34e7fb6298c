"""Networks of spaces of graphs, for their tests."""

from __future__ import annotations

import torch

from archsearch.networks.network import InputShape, build

SHAPE = InputShape((1, 8, 8), 4)


def images(n=8):
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def network_of(space, architecture, seed=0, shape=SHAPE):
    return build(lambda: space.network(architecture, shape), seed)


def trained(space, architecture, seed=0):
    """A network whose weights, statistics and scales are those of no initial network; some scales are below 0."""
    network, generator = network_of(space, architecture, seed), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        for name, parameter in network.named_parameters():
            if name.endswith("scales"):
                parameter[-1] -= 1.5
        for _ in range(5):
            network.train()(torch.rand(16, 1, 8, 8, generator=generator))
    return network.eval()
