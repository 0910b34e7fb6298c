"""Small networks and batches for the tests of scores at initialisation."""

import torch
from torch import nn

from archsearch.networks.network import Network


def batch(n=12, shape=(1, 8, 8), classes=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, *shape, generator=generator), torch.randint(classes, (n,), generator=generator)


class Flat(Network):
    """Layers on images of one pixel, so that channels are all there is."""

    def __init__(self, *layers):
        super().__init__((0,))
        self.layers = nn.Sequential(*layers)

    def forward(self, images, architecture=None):
        return self.layers(images.flatten(1))


def filled(make, seed):
    """A network with random numbers everywhere, statistics of batch normalisation included."""
    with torch.device("meta"):
        network = make()
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.uniform_(-0.5, 0.5, generator=generator)
    return network


def array(tensor):
    return tensor.detach().flatten(1).double().numpy()
