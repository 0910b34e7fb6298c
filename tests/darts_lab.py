"""Cells, networks and pictures, for the tests of ``DARTS``."""

import numpy as np
import torch

from archsearch.networks.network import InputShape
from archsearch.spaces.darts import DARTS

CIFAR = InputShape((3, 32, 32), 10)
DIGITS = InputShape((1, 8, 8), 10)
SPACE = DARTS()
SMALL = DARTS(layers=3, channels=4)
V2 = SPACE.parse("DARTS_V2")


def sampled(n, seed=0):
    rng = np.random.default_rng(seed)
    return [SPACE.sample(rng) for _ in range(n)]


def pictures(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def on_meta(make):
    with torch.device("meta"):
        return make()


# Every operation on the inputs of the reduction cell, where strides are.
ALL_OPERATIONS = SPACE.parse(
    "normal: skip_connect(0) dil_conv_5x5(1) | sep_conv_3x3(0) sep_conv_5x5(1) | max_pool_3x3(0) avg_pool_3x3(3) | "
    "dil_conv_3x3(1) skip_connect(4) ; reduce: skip_connect(0) dil_conv_5x5(1) | sep_conv_3x3(0) sep_conv_5x5(1) | "
    "max_pool_3x3(0) avg_pool_3x3(1) | dil_conv_3x3(0) skip_connect(1)"
)
