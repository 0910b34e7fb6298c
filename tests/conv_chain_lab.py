"""Networks of ``ConvChain``, trained and morphed, for its tests."""

from __future__ import annotations

import torch
from torch.nn import functional

from archsearch.networks.network import InputShape, build
from archsearch.spaces.conv_chain import ConvChain

SMALL = InputShape((3, 9, 7), 4)
SPACE = ConvChain()
PAIR = ConvChain(stages=2, max_layers=4)


def images(n=4, seed=0, task=SMALL):
    return torch.randn(n, *task.input_shape, generator=torch.Generator().manual_seed(seed))


def network_of(space, text, task=SMALL, seed=0, **settings):
    return build(lambda: space.network(space.parse(text), task, **settings), seed)


def chain_layers(network):
    return [layer for stage in network.stages for layer in stage]


def noise(n, seed):
    """Images of different colours, which global average pooling cannot make alike."""
    colours = torch.randn(n, SMALL.input_shape[0], 1, 1, generator=torch.Generator().manual_seed(seed + 1000))
    return 1 + 2 * colours + 2 * images(n, seed)


def train(network, steps=6, seed=0, rate=0.1):
    """A few steps on noise, from scales and shifts that are not 1 and 0; statistics are of the last batch."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5, generator=generator)
            module.momentum = 1.0
    optimiser = torch.optim.SGD(network.parameters(), rate, momentum=0.9)
    network.train()
    for step in range(steps):
        labels = torch.randint(SMALL.classes, (16,), generator=generator)
        optimiser.zero_grad()
        functional.cross_entropy(network(noise(16, step)), labels).backward()
        optimiser.step()
    return network


def morphed(space, parent, new: str, seed=0, **settings):
    """A child, and what ``morph`` said."""
    child = network_of(space, new, seed=1, **settings)
    for module in child.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.bias, module.running_mean, module.weight, module.running_var):
                torch.nn.init.constant_(tensor, 0.3)  # what was there must not matter
    return child, space.morph(parent, child, torch.Generator().manual_seed(seed))


def family(space, old: str, new: str, seed=0):
    parent = train(network_of(space, old))
    for i, layer in enumerate(chain_layers(parent)):
        if layer.skip is not None:
            torch.nn.init.constant_(layer.skip.scale, 0.6 + 0.2 * i)
    return parent, *morphed(space, parent, new, seed)


def difference(parent, child):
    """Largest difference of the logits in evaluation mode, relative to the largest logit if that is above 1."""
    with torch.no_grad():
        x = noise(16, 9).to(next(child.parameters()).dtype)
        before, after = parent.eval()(x), child.eval()(x)
    assert before.std(0).max() > 0.02
    return float((before - after).abs().max() / max(1.0, float(before.abs().max())))


EXACT = {
    "nothing": ("8k3 16k5 | 16k3+", "8k3 16k5 | 16k3+"),
    "widen the first": ("8k3 16k5 | 8k3", "16k3 16k5 | 8k3"),
    "widen before pooling": ("8k3 16k5 | 8k3", "8k3 32k5 | 8k3"),
    "widen before the classifier": ("8k3 16k5 | 8k3", "8k3 16k5 | 32k3"),
    "widen a group": ("8k3 8k5+ | 8k3+ 8k3", "16k3 16k5+ | 16k3+ 8k3"),
    "widen all": ("8k3 8k5+ | 8k3+ 8k3", "16k3 16k5+ | 16k3+ 32k3"),
    "deepen": ("8k3 | 8k3", "8k3 8k5 | 8k3"),
    "deepen at the end": ("8k3 | 16k3", "8k3 | 16k3 16k3"),
    "deepen behind pooling": ("8k3 | 32k3", "8k3 | 8k5 32k3"),
    "deepen within a group": ("8k3 8k3+ | 8k3", "8k3 8k5 8k3+ | 8k3"),
    "deepen with a wider layer": ("8k3 8k5 | 8k3", "8k3 16k5 8k5 | 8k3"),
    "deepen with a narrower layer than the widened one": ("8k3 | 8k3", "16k3 8k3 | 8k3"),
    "deepen with a skip": ("8k3 | 8k3", "8k3 8k3+ | 8k3"),
    "deepen behind a skip": ("8k3 8k3+ | 8k3", "8k3 8k3+ 8k5 | 8k3"),
    "deepen twice": ("8k3 16k3 | 8k3", "8k3 8k3 8k5 16k3 | 8k3"),
    "enlarge": ("8k3 8k3 | 8k3", "8k5 8k3 | 8k5"),
    "enlarge with a skip": ("8k3 8k3+ | 8k3", "8k3 8k5+ | 8k3"),
    "skip": ("8k3 8k3 | 8k3", "8k3 8k3+ | 8k3"),
    "skip over pooling": ("8k3 8k3 | 8k3", "8k3 8k3 | 8k3+"),
    "skip after widening": ("8k3 16k3 | 8k3", "16k3 16k3+ | 8k3"),
    "all at once": ("8k3 8k5+ | 16k3 8k3", "16k5 16k3 16k5+ | 32k3 16k5 16k3+"),
}
