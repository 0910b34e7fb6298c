"""``MobileNet`` and ``NASBenchMacro``: edits that keep the function of a trained network."""

from __future__ import annotations

import pytest
import torch
from mobilenet_lab import SMALL, images, small, train
from torch.nn import functional

from archsearch.errors import UsageError
from archsearch.networks.network import InputShape, build
from archsearch.spaces.mobilenet import MobileNet, NASBenchMacro


def morphed(space, old: str, new: str, seed=0, **settings):
    """The trained parent, its child, and what ``morph`` said."""
    parent = train(build(lambda: space.network(space.parse(old), SMALL, **settings), 0))
    child = build(lambda: space.network(space.parse(new), SMALL, **settings), 1)
    for module in child.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.constant_(module.bias, 0.3)  # what was there must not matter
    exact = space.morph(parent, child, torch.Generator().manual_seed(seed))
    return parent, child, exact


def difference(parent, child, mode="eval"):
    with torch.no_grad():
        outputs = []
        for network in (parent, child):
            network.train(mode == "train")
            outputs.append(network(images(16, 9)))
    assert outputs[0].std() > 0.01
    return float((outputs[0] - outputs[1]).abs().max())


EXACT = {
    "nothing": ("k3e3-k5e3-k3e3-identity", "k3e3-k5e3-k3e3-identity"),
    "widening": ("k3e3-k3e3-k3e3-k3e3", "k3e3-k3e6-k3e3-k3e3"),
    "widening where the width changes": ("k3e3-k3e3-k5e3-k3e3", "k3e3-k3e3-k5e6-k3e3"),
    "kernel": ("k3e3-k3e3-k3e3-k3e3", "k3e3-k5e3-k3e3-k7e3"),
    "kernel with stride": ("k3e3-k3e3-k3e3-k3e3", "k3e3-k3e3-k7e3-k3e3"),
    "deepening": ("identity-k3e3-k5e3-identity", "k5e6-k3e3-k5e3-k3e3"),
    "kernel and widening of one layer": ("k3e3-k3e3-k3e3-k3e3", "k3e3-k5e6-k3e3-k3e3"),
    "all": ("identity-k3e3-k3e3-k5e3", "k7e3-k5e6-k5e6-k7e6"),
}


@pytest.mark.parametrize(("old", "new"), EXACT.values(), ids=EXACT)
def test_growing_keeps_the_function(old, new):
    parent, child, exact = morphed(small(), old, new)
    assert exact is True
    assert difference(parent, child) < 1e-5
    # Copies have the statistics of their originals in every batch, so that it holds in training mode too.
    assert difference(parent, child, "train") < 1e-4


def test_statistics_of_the_parent_are_not_trivial():
    parent = morphed(small(), *EXACT["all"])[0]
    for module in parent.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean.abs().max() > 0.01
            assert (module.running_var - 1).abs().max() > 0.1
            assert (module.weight - 1).abs().max() > 0.1


SHRINKING = {
    "expansion": ("k3e3-k3e6-k3e3-k3e3", "k3e3-k3e3-k3e3-k3e3"),
    "kernel": ("k3e3-k7e3-k3e3-k3e3", "k3e3-k3e3-k3e3-k3e3"),
    "kernel grows, expansion shrinks": ("k3e3-k3e6-k3e3-k3e3", "k3e3-k5e3-k3e3-k3e3"),
    "layer left out": ("k3e3-k3e6-k3e3-k3e3", "k3e3-identity-k3e3-k3e3"),
    "one layer grows, one shrinks": ("k3e3-k3e3-k3e3-k5e3", "k3e3-k3e6-k3e3-k3e3"),
}


@pytest.mark.parametrize(("old", "new"), SHRINKING.values(), ids=SHRINKING)
def test_shrinking_says_that_it_loses_something(old, new):
    parent, child, exact = morphed(small(), old, new)
    assert exact is False
    assert difference(parent, child) > 1e-3


def test_shrinking_copies_what_fits():
    parent, child, _ = morphed(small(), "k3e3-k7e6-k3e3-k3e3", "k3e3-k3e3-k3e3-k3e3")
    old, new = parent.layers[1]["k7e6"], child.layers[1]["k3e3"]
    assert torch.equal(new.expand.conv.weight, old.expand.conv.weight[:24])
    assert torch.equal(new.depthwise.conv.weight, old.depthwise.conv.weight[:24, :, 2:5, 2:5])
    assert torch.equal(new.depthwise.bn.running_var, old.depthwise.bn.running_var[:24])
    assert torch.equal(new.project.conv.weight, old.project.conv.weight[:, :24])
    assert torch.equal(child.layers[3]["k3e3"].project.bn.bias, parent.layers[3]["k3e3"].project.bn.bias)
    assert torch.equal(child.classifier.weight, parent.classifier.weight)


def test_widening_replicates_channels():
    parent, child, _ = morphed(small(), "k3e3-k3e3-k3e3-k3e3", "k3e3-k5e6-k3e3-k3e3")
    old, new = parent.layers[1]["k3e3"], child.layers[1]["k5e6"]
    rows = old.expand.conv.weight.flatten(1)
    origin = torch.cdist(new.expand.conv.weight.flatten(1), rows).argmin(1)
    assert origin[:24].tolist() == list(range(24))
    assert torch.equal(new.expand.conv.weight, old.expand.conv.weight[origin])
    assert torch.equal(new.depthwise.conv.weight[:, :, 1:4, 1:4], old.depthwise.conv.weight[origin])
    assert new.depthwise.conv.weight.count_nonzero() <= 48 * 9
    assert torch.equal(new.depthwise.bn.running_mean, old.depthwise.bn.running_mean[origin])
    # What leaves the copies of a channel adds up to what left the channel.
    sums = torch.zeros_like(old.project.conv.weight).index_add_(1, origin, new.project.conv.weight)
    assert torch.allclose(sums, old.project.conv.weight, atol=1e-6)
    once = (origin.bincount(minlength=24) == 1).nonzero().flatten()
    assert 0 < len(once) < 24
    assert torch.equal(new.project.conv.weight[:, once], old.project.conv.weight[:, once])


@pytest.mark.parametrize("optimiser", [torch.optim.SGD, torch.optim.Adam])
def test_copies_part_in_training(optimiser):
    _, child, _ = morphed(small(), "k3e3-k3e3-k3e3-k3e3", "k3e3-k3e6-k3e3-k3e3")
    weight = child.layers[1]["k3e6"].expand.conv.weight
    apart = torch.cdist(weight.flatten(1), weight.flatten(1)).detach()
    copies = (apart < 1e-6).triu(1).nonzero()
    assert len(copies) >= 24
    child.train()
    step = optimiser(child.parameters(), 0.01)
    for i in range(5):
        step.zero_grad()
        functional.cross_entropy(child(images(16, i)), torch.arange(16) % 4).backward()
        step.step()
    distances = torch.stack([(weight[i] - weight[j]).norm() for i, j in copies.tolist()])
    assert distances.min() > 1e-6


def test_a_new_layer_learns():
    _, child, _ = morphed(small(), "k3e3-identity-k3e3-k3e3", "k3e3-k3e3-k3e3-k3e3")
    branch = child.layers[1]["k3e3"]
    before = branch.expand.conv.weight.detach().clone()
    assert branch.project.bn.weight.count_nonzero() == 0
    train(child, 3)
    assert branch.project.bn.weight.count_nonzero() == 8
    assert not torch.equal(branch.expand.conv.weight, before)


def test_morph_depends_on_its_generator_only():
    children = [morphed(small(), *EXACT["all"], seed=seed)[1].state_dict() for seed in (0, 0, 1)]
    assert all(torch.equal(children[0][name], children[1][name]) for name in children[0])
    assert not all(torch.equal(children[0][name], children[2][name]) for name in children[0])


def test_expansion_one_cannot_be_widened_exactly():
    # There is no first convolution whose channels could be replicated, and no activation after the input.
    space = small(candidates=[(3, 1), (5, 1), (3, 2)])
    parent, child, exact = morphed(space, "k3e1-k3e1-k3e1-k3e1", "k3e1-k3e2-k3e1-k3e1")
    assert exact is False
    assert difference(parent, child) > 1e-3
    parent, child, exact = morphed(space, "k3e1-k3e1-k3e1-k3e1", "k3e1-k5e1-k5e1-k3e1")
    assert exact is True
    assert difference(parent, child) < 1e-5


def test_morphing_macro():
    space = NASBenchMacro()
    exact = {"01011011": "02012022", "00000000": "01012021", "22212202": "22212212", "10010110": "20010210"}
    lossy = {"01011011": "11011011", "20010000": "10010000"}  # a convolution that halves the size is no identity
    for pairs, expected in ((exact, True), (lossy, False)):
        for old, new in pairs.items():
            parent, child, told = morphed(space, old, new, channels=8)
            assert told is expected
            assert (difference(parent, child) < 1e-5) is expected


def test_networks_of_other_widths_are_not_exact():
    space = small()
    parent = build(lambda: space.network((1, 1, 0, 1), SMALL), 0)
    child = build(lambda: space.network((1, 2, 0, 1), SMALL, channels=16), 1)
    assert space.morph(parent, child, torch.Generator().manual_seed(0)) is False
    more = build(lambda: space.network((1, 2, 0, 1), InputShape((3, 12, 12), 7)), 1)
    assert space.morph(parent, more, torch.Generator().manual_seed(0)) is False
    with torch.no_grad():
        x = images()
        for i, (old, new) in enumerate(zip((1, 1, 0, 1), (1, 2, 0, 1), strict=True)):
            x, after = parent.eval().layer(i, parent.stem(x) if i == 0 else x, old), x
            same = more.eval().layer(i, more.stem(after) if i == 0 else after, new)
            assert torch.allclose(x, same, atol=1e-5)


def test_morph_refuses_what_is_no_stand_alone_network():
    space = small()
    network = build(lambda: space.network((1, 1, 0, 1), SMALL), 0)
    for other in (build(lambda: space.super_network(SMALL), 0), build(lambda: MobileNet().network((1,) * 8, SMALL), 0)):
        with pytest.raises(UsageError, match="expected two stand-alone networks"):
            space.morph(network, other, torch.Generator())
        with pytest.raises(UsageError, match="expected two stand-alone networks"):
            space.morph(other, network, torch.Generator())
