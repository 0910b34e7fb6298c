"""``ConvChain``: edits that lose something say so, and what an edit writes."""

from __future__ import annotations

import pytest
import torch
from conv_chain_lab import EXACT, PAIR, SPACE, chain_layers, difference, family, images, morphed, network_of, train
from torch.nn import functional

from archsearch.errors import UsageError
from archsearch.networks.network import InputShape
from archsearch.spaces.conv_chain import ConvChain

INEXACT = {
    "narrower": ("16k3 16k5 | 8k3", "8k3 16k5 | 8k3"),
    "smaller kernel": ("8k3 8k5 | 8k3", "8k3 8k3 | 8k3"),
    "layer left out": ("8k3 16k5 | 8k3", "8k3 | 8k3"),
    "layer left out before the classifier": ("8k3 16k5 | 8k3 16k3", "8k3 16k5 | 8k3"),
    "skip left out": ("8k3 8k5+ | 8k3", "8k3 8k5 | 8k3"),
    "skip of a group that parts": ("8k3 8k5+ | 8k3", "16k3 8k5 | 8k3"),
    "inserted before the first": ("8k5 | 8k3", "8k3 8k5 | 8k3"),
    "inserted and too narrow": ("16k5 | 8k3", "16k5 8k5 | 8k3"),
    "one grows, one shrinks": ("8k3 8k5 | 8k3", "16k3 8k3 | 8k3"),
    "everything": ("16k5 8k3 8k3+ | 16k3", "8k3 32k5 | 8k3 8k3+"),
    "layer left out that narrows": ("32k3 8k3 8k5 | 8k3", "32k3 8k5 | 8k3"),
    "left out before a skip": ("8k3 32k3 8k5 8k5+ | 16k3", "8k3 8k5+ | 16k3"),
}


@pytest.mark.parametrize(("old", "new"), INEXACT.values(), ids=INEXACT)
def test_shrinking_says_that_it_loses_something(old, new):
    parent, child, exact = family(PAIR, old, new)
    assert exact is False
    assert difference(parent, child) > 1e-3
    assert all(tensor.isfinite().all() for tensor in child.state_dict().values())


def test_what_it_says_is_true():
    """Neither does it promise too much, nor does it overlook a way, among half the 26 * 26 pairs of a small space."""
    space = ConvChain(stages=1, max_layers=3, widths=[4, 6], kernels=[1])
    texts = [space.format(architecture) for architecture in space.enumerate()]
    told = []
    for i, old in enumerate(texts):
        parent = family(space, old, old)[0]
        for new in texts[i % 2 :: 2]:
            child, exact = morphed(space, parent, new)
            different = difference(parent, child)
            assert different < 1e-5 if exact else different > 1e-3, (old, new)
            told.append(exact)
    assert (len(told), min(told.count(True), told.count(False)) > 100) == (338, True)


def test_a_negative_scale_forbids_to_insert_behind_it():
    parent = family(PAIR, "8k3 8k3+ | 8k5", "8k3 8k3+ | 8k5")[0]
    skip = chain_layers(parent)[1].skip.scale
    at_its_place = ("8k3 8k3+ 8k5 | 8k5", "8k3 8k3+ | 8k3 8k5")
    elsewhere = ("8k3 8k5 8k3+ | 8k5", "8k3 8k3+ | 8k5 8k3", "16k3 16k5+ | 16k5")
    for scale, expected in ((0.5, True), (0.0, True), (-0.5, False), (float("nan"), False)):
        torch.nn.init.constant_(skip, scale)
        for text in (*at_its_place, *elsewhere):
            child, exact = morphed(PAIR, parent, text)
            assert exact is (expected or text in elsewhere), (scale, text)
            if scale == scale:
                assert (difference(parent, child) < 1e-5) is exact, (scale, text)


def test_shrinking_copies_what_fits():
    parent, child, _ = family(PAIR, "8k3 32k5 | 16k3", "8k3 16k3 | 16k3")
    old, new = chain_layers(parent)[1], chain_layers(child)[1]
    assert torch.equal(new.conv.weight, old.conv.weight[:16, :, 1:4, 1:4])
    assert torch.equal(new.bn.running_var, old.bn.running_var[:16])
    old, new = chain_layers(parent)[2], chain_layers(child)[2]
    assert torch.equal(new.conv.weight, old.conv.weight[:, :16])
    assert torch.equal(child.classifier.weight, parent.classifier.weight)


def test_layers_are_matched_by_what_they_are():
    parent, child, _ = family(PAIR, "8k3 16k5 32k3 | 8k3", "8k3 32k3 | 8k3")
    assert torch.equal(chain_layers(child)[0].conv.weight, chain_layers(parent)[0].conv.weight)
    assert torch.equal(chain_layers(child)[1].conv.weight[:, :8], chain_layers(parent)[2].conv.weight[:, :8])
    parent, child, _ = family(PAIR, "8k3 16k5 32k3 | 8k3", "8k3 16k3 16k5 32k3 | 8k3")
    for i, j in ((0, 0), (2, 1), (3, 2), (4, 3)):
        assert chain_layers(child)[i].bn.running_mean[0] == chain_layers(parent)[j].bn.running_mean[0]


def test_an_unchanged_architecture_gets_equal_weights():
    parent, child, exact = family(PAIR, *EXACT["nothing"])
    assert exact is True
    assert all(torch.equal(value, child.state_dict()[name]) for name, value in parent.state_dict().items())
    assert chain_layers(child)[2].skip.scale.item() == pytest.approx(1.0)


def test_what_the_edits_write():
    parent, child, _ = family(PAIR, "8k3 8k3 | 8k3", "8k3 16k5 8k3 | 8k3")
    inserted = chain_layers(child)[1]
    assert inserted.bn.running_mean.count_nonzero() == inserted.bn.bias.count_nonzero() == 0
    assert torch.equal(inserted.bn.running_var, torch.ones(16))
    assert torch.allclose(inserted.bn.weight**2, torch.full((16,), 1 + inserted.bn.eps))
    assert inserted.conv.weight.sum() == inserted.conv.weight[:, :, 2, 2].count_nonzero() == 16
    assert torch.equal(inserted.conv.weight[:8, :, 2, 2], torch.eye(8))

    parent, child, _ = family(PAIR, "8k3 8k3 | 8k3", "8k3 16k5 | 8k3")
    old, new = (chain_layers(network)[1] for network in (parent, child))
    rows = old.conv.weight.flatten(1)
    origin = torch.cdist(new.conv.weight[:, :, 1:4, 1:4].flatten(1), rows).argmin(1)
    assert origin[:8].tolist() == list(range(8))
    assert torch.equal(new.conv.weight, functional.pad(old.conv.weight[origin], [1] * 4))
    assert torch.equal(new.bn.weight, old.bn.weight[origin])
    # What leaves the copies of a channel adds up to what left the channel, and differs among them.
    old, new = (chain_layers(network)[2].conv.weight for network in (parent, child))
    assert torch.allclose(torch.zeros_like(old).index_add_(1, origin, new), old, atol=1e-6)
    assert len(new[0, origin == origin[8], 0, 0].unique()) == int((origin == origin[8]).sum()) > 1

    _, child, _ = family(PAIR, "8k3 8k3 | 8k3", "8k3 8k3+ | 8k3+")
    assert [layer.skip.scale.item() for layer in chain_layers(child)[1:]] == [0, 0]


@pytest.mark.parametrize("optimiser", [torch.optim.SGD, torch.optim.Adam])
def test_everything_learns_after_morphing(optimiser):
    _, child, exact = family(PAIR, "8k3 | 8k3 8k3", "16k5 16k3+ | 16k3 8k5 8k3+")
    assert exact is True
    child.train()
    step = optimiser(child.parameters(), 0.01, fused=True)
    first = chain_layers(child)[0].conv.weight
    before = {name: parameter.detach().clone() for name, parameter in child.named_parameters()}
    apart = torch.cdist(first.flatten(1), first.flatten(1)).detach()
    copies = (apart < 1e-6).triu(1).nonzero().tolist()
    assert len(copies) >= 8
    losses = []
    for i in range(10):
        step.zero_grad()
        loss = functional.cross_entropy(child(images(32)), torch.arange(32) % 4)
        loss.backward()
        if i == 0:
            assert all(float(parameter.grad.abs().max()) > 0 for parameter in child.parameters())
        step.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.01
    assert not any(torch.equal(parameter, before[name]) for name, parameter in child.named_parameters())
    assert min((first[i] - first[j]).norm().item() for i, j in copies) > 1e-6


def test_morph_depends_on_its_generator_only():
    state = torch.get_rng_state()
    children = [family(PAIR, *EXACT["all at once"], seed=seed)[1].state_dict() for seed in (0, 0, 1)]
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(children[0][name], children[1][name]) for name in children[0])
    assert not all(torch.equal(children[0][name], children[2][name]) for name in children[0])


def test_networks_of_other_widths_or_tasks():
    parent = train(network_of(PAIR, "8k3 8k3+ | 16k3", channels=4))
    wider, exact = morphed(PAIR, parent, "8k3 8k3+ | 16k3", channels=6)
    assert exact is True  # all layers widen
    assert difference(parent, wider) < 1e-5
    assert morphed(PAIR, parent, "8k3 8k3+ | 16k3", channels=3)[1] is False
    for task in (InputShape((3, 9, 7), 5), InputShape((1, 9, 7), 4), InputShape((5, 9, 7), 4)):
        child = network_of(PAIR, "8k3 8k3+ | 16k3", task, channels=4)
        assert PAIR.morph(parent, child, torch.Generator().manual_seed(0)) is False
        assert torch.equal(chain_layers(child)[1].conv.weight, chain_layers(parent)[1].conv.weight)


def test_morph_refuses_what_is_no_network_of_the_space():
    network = network_of(PAIR, "8k3 | 8k3")
    for other in (network_of(SPACE, "8k3 | 8k3 | 8k3"), torch.nn.Linear(1, 1)):
        other.architecture = getattr(other, "architecture", None)
        for pair in ((network, other), (other, network)):
            with pytest.raises(UsageError, match="expected two stand-alone networks that this space's network"):
                PAIR.morph(*pair, torch.Generator())
