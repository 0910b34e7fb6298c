"""Spaces of cells, small, and what their tests share."""

import itertools

import numpy as np
import torch

from archsearch.networks.network import InputShape, build
from archsearch.spaces import DARTS, PNAS, RDARTS, AmoebaNet, ENASMicro, NASNet

CIFAR = InputShape((3, 32, 32), 10)
DIGITS = InputShape((1, 8, 8), 10)
TABLE = [("skip_connect", "dil_conv_5x5"), ("max_pool_3x3", "sep_conv_3x3")] * 14
SMALL = {"layers": 2, "channels": 4}
FAMILIES = {
    "NASNet": NASNet(**SMALL),
    "PNAS": PNAS(**SMALL),
    "growing": PNAS(least=1, **SMALL),
    "AmoebaNet": AmoebaNet(**SMALL),
    "released": AmoebaNet("released", **SMALL),
    "ENASMicro": ENASMicro(**SMALL),
    "S1": RDARTS("S1", TABLE, **SMALL),
    "S2": RDARTS("S2", **SMALL),
    "S3": RDARTS("S3", **SMALL),
    "S4": RDARTS("S4", **SMALL),
    "DARTS": DARTS(**SMALL),
}


def sampled(space, n, seed=0):
    rng = np.random.default_rng(seed)
    return [space.sample(rng) for _ in range(n)]


def images(n=4, side=8, seed=1):
    return torch.randn(n, 1, side, side, generator=torch.Generator().manual_seed(seed))


def on_meta(make):
    with torch.device("meta"):
        return make()


def inheriting(space, architectures):
    """Each architecture's network with the super-network's weights, once it was seen to compute the same.

    Yields:
        The architecture, its own network and the super-network, both in evaluation mode.
    """
    shared = build(lambda: space.super_network(DIGITS), 0)
    for architecture in architectures:  # batch statistics become other than 0 and 1
        shared(images(6), architecture)
    weights = shared.eval().state_dict()
    for architecture in architectures:
        alone = build(lambda a=architecture: space.network(a, DIGITS), 1).eval()
        alone.load_state_dict({name: weights[name] for name in alone.state_dict()})
        for one, other in zip(
            alone.with_auxiliary(images()), shared.with_auxiliary(images(), architecture), strict=True
        ):
            torch.testing.assert_close(one, other)
        yield architecture, alone, shared


def renumbered(rules, cell, new):
    """A cell whose nodes have other numbers (old to new), with their inputs in the other order; None if forbidden."""
    nodes = {}
    for target, (first, second, combiner) in zip(rules.targets_of(cell), rules.joints(cell), strict=True):
        one, two = ((new[source], option) for source, option in (second, first))
        if max(one[0], two[0]) >= new[target]:
            return None
        nodes[new[target]] = rules.write(one, two, combiner)
    return tuple(itertools.chain.from_iterable(nodes[target] for target in rules.targets_of(cell)))
