"""What the tests of the parts of a search by gradient share."""

import torch

from archsearch.differentiable.parameters import ArchitectureParameters
from archsearch.differentiable.part import Pass
from archsearch.networks.network import InputShape, build
from archsearch.spaces import MobileNet, NASBench201

DIGITS = InputShape((1, 8, 8), 10)
CELLS = NASBench201(channels=4, cells=1)
CHAIN = MobileNet(stages=[(8, 2, 1), (12, 2, 2)], candidates=[(3, 1), (5, 2)], stem_channels=8, head_channels=16)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def now(searching=True, progress=0.0, seed=0):
    return Pass(searching, progress, generator(seed))


def parameters(space=CELLS, edges=False, seed=0, scale=1.0):
    found = ArchitectureParameters(space.relaxed_choices(), edges, generator(seed))
    with torch.no_grad():
        for leaf in found.leaves:
            leaf.mul_(scale / 1e-3)
    return found


def super_network(space=CELLS, **settings):
    return build(lambda: space.super_network(DIGITS, **settings), 0)


def plain(weights):
    """The weights of one choice as numbers."""
    return [torch.as_tensor(weight).detach().item() for weight in weights.values()]


def images(n=4, seed=1):
    return torch.randn(n, *DIGITS.input_shape, generator=generator(seed))


def tiny(seed=0):
    """A training and a validation loss of two layers, mixed by a softmax; all in double precision."""
    draw = generator(seed)
    x, y = (torch.randn(2, 12, 3, dtype=torch.float64, generator=draw) for _ in range(2))
    layers = [torch.randn(3, 3, dtype=torch.float64, generator=draw).requires_grad_() for _ in range(3)]
    alpha = torch.randn(3, dtype=torch.float64, generator=draw).requires_grad_()

    def loss(part, weights, alpha):
        share = torch.softmax(alpha, 0)
        hidden = sum(s * torch.tanh(x[part] @ w) for s, w in zip(share, weights, strict=True))
        return (hidden - y[part]).square().mean()

    return loss, layers, alpha
