"""``ConvChain``: edits that keep the function of a trained network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conv_chain_lab import EXACT, PAIR, SMALL, SPACE, chain_layers, difference, family, morphed, network_of, train

from archsearch.networks.network import build
from archsearch.spaces.conv_chain import ConvChain


@pytest.mark.parametrize(("old", "new"), EXACT.values(), ids=EXACT)
def test_growing_keeps_the_function(old, new):
    parent, child, exact = family(PAIR, old, new)
    assert exact is True
    assert difference(parent, child) < 1e-5


@pytest.mark.parametrize(("old", "new"), EXACT.values(), ids=EXACT)
def test_growing_keeps_the_function_in_double_precision(old, new):
    # What remains is that the shares of copies, drawn in single precision, do not add up to 1 any better.
    parent = family(PAIR, old, old)[0].double()
    child = network_of(PAIR, new, seed=1).double()
    assert PAIR.morph(parent, child, torch.Generator().manual_seed(0)) is True
    assert difference(parent, child) < 5e-7


def test_statistics_of_the_parent_are_not_trivial():
    parent = family(PAIR, *EXACT["all at once"])[0]
    for module in parent.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean.abs().max() > 0.01
            assert (module.running_var - 1).abs().max() > 0.1
            assert (module.weight - 1).abs().max() > 0.1


def test_two_hundred_random_moves():
    """From parents that are trained anew for each move, so that new layers and skips have left their first values."""
    rng, short = np.random.default_rng(0), ConvChain(max_layers=1)
    count, worst, network = dict.fromkeys(("deepen", "widen", "enlarge", "skip"), 0), 0.0, None
    while (done := sum(count.values())) < 200:
        if network is None:
            network = network_of(SPACE, short.format(short.sample(rng)), channels=4)
        train(network, 2, seed=done)
        grown = SPACE.grow(network.architecture, rng)
        if grown == network.architecture:
            network = None
            continue
        (kind,) = [kind for kind, found in SPACE.morphisms(network.architecture).items() if grown in found]
        child, exact = morphed(SPACE, network, SPACE.format(grown), seed=done, channels=4)
        assert exact is True, (kind, SPACE.format(network.architecture), SPACE.format(grown))
        worst = max(worst, difference(network, child))
        count[kind] += 1
        network = child if done % 10 else None
    assert worst < 1e-5
    assert min(count.values()) > 25, count


def test_many_moves_at_once():
    rng = np.random.default_rng(1)
    for _ in range(40):
        architecture = grown = SPACE.sample(rng)
        parent = train(build(lambda a=architecture: SPACE.network(a, SMALL, channels=4), 0), 2)
        for layer in chain_layers(parent):
            if layer.skip is not None:
                torch.nn.init.constant_(layer.skip.scale, -0.5)  # growing never relies on its sign
        for _ in range(int(rng.integers(2, 12))):
            grown = SPACE.grow(grown, rng)
        child, exact = morphed(SPACE, parent, SPACE.format(grown), channels=4)
        assert exact is True, (SPACE.format(architecture), SPACE.format(grown))
        assert difference(parent, child) < 1e-5


def test_a_chain_of_morphs_up_to_the_largest():
    rng = np.random.default_rng(2)
    network = first = train(network_of(SPACE, "8k3 | 8k3 | 8k3", channels=2))
    steps = 0
    while (grown := SPACE.grow(network.architecture, rng)) != network.architecture:
        network, exact = morphed(SPACE, network, SPACE.format(grown), seed=steps, channels=2)
        assert exact is True
        steps += 1
    assert steps > 12
    assert difference(first, network) < 1e-5
