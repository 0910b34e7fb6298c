"""Networks of graphs: what they compute, and children that begin as their parents."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from graphs_lab import SHAPE, images, network_of, trained
from torch.nn import functional

from archsearch.errors import UsageError
from archsearch.graphs.correspondence import aligned, correspond
from archsearch.networks.network import InputShape
from archsearch.spaces import EAS, LEMONADE, NASBOT, NASH, EvoNet, PathLevel

CLAIMING = {"EAS": EAS, "LEMONADE": LEMONADE, "NASH": NASH, "PathLevel": PathLevel}


def outputs(network):
    with torch.inference_mode():
        return network.eval()(images())


def morphed(space, parent, child, seed=1):
    """Whether the child's function is the parent's, and the largest difference of their outputs."""
    new = network_of(space, child, seed)
    kept = space.morph(parent, new, torch.Generator().manual_seed(seed))
    return kept, (outputs(parent) - outputs(new)).abs().max().item()


@pytest.mark.parametrize("name", CLAIMING)
def test_every_kind_of_move_that_claims_it_keeps_the_function(name):
    space, rng = CLAIMING[name](), np.random.default_rng(0)
    architecture = space.start
    for _ in range(3):
        architecture = space.mutate(architecture, rng)
    for start in (space.start, architecture):
        parent = trained(space, start)
        by_kind = {}
        for move in space.moves(start):
            if move.preserves:
                by_kind.setdefault(move.kind, []).append(move.architecture)
        assert by_kind.keys() == {kind for kind, each in space.edits().items() if each.preserves}
        for children in by_kind.values():
            for child in (children[0], children[-1]):
                assert space.preserves(start, child)
                kept, apart = morphed(space, parent, child)
                assert kept
                assert apart < 1e-5


def test_many_moves_at_once_keep_the_function_where_the_two_graphs_say_so():
    space, rng = NASH(), np.random.default_rng(1)
    found = 0
    for seed in range(6):
        child = space.start
        for _ in range(5):
            child = space.mutate(child, rng)
        kept, apart = morphed(space, trained(space, space.start, seed), child)
        assert kept == space.preserves(space.start, child)
        assert not kept or apart < 1e-5
        found += kept
    assert found >= 3


def test_what_the_graphs_say_is_what_the_networks_do_whatever_the_edit():
    """No move that is said to keep the function changes it, and most that are said to lose something do."""
    lost = 0
    for space in (EvoNet(), LEMONADE(), NASBOT()):
        rng, architecture = np.random.default_rng(2), space.start
        for _ in range(10):
            child = space.move(architecture, rng).architecture
            kept, apart = morphed(space, trained(space, architecture), child)
            assert kept == space.preserves(architecture, child)
            assert not kept or apart < 1e-5
            lost += not kept and apart > 1e-3
            architecture = child
    assert lost >= 5


def test_a_layer_that_is_made_separable_is_the_best_approximation_of_rank_one():
    space = LEMONADE()
    parent = trained(space, space.parse("conv 8 3 <- 0 ; conv 8 3 <- 1"))
    child = network_of(space, space.parse("conv 8 3 <- 0 ; separable 8 3 <- 1"), 1)
    assert not space.morph(parent, child, torch.Generator())
    whole = parent.nodes[1].operation.conv.weight
    new = child.nodes[1].operation
    product = new.conv.weight * new.depthwise.weight.transpose(0, 1)
    # Eckart and Young: what is left over are the other singular values.
    values = torch.linalg.svdvals(whole.detach().flatten(2).transpose(0, 1))
    assert (whole - product).square().sum().item() == pytest.approx(values[:, 1:].square().sum().item(), rel=1e-4)
    assert torch.equal(child.nodes[0].operation.conv.weight, parent.nodes[0].operation.conv.weight)


def test_smaller_layers_keep_the_first_channels():
    space = LEMONADE()
    parent = trained(space, space.parse("conv 16 3 <- 0 ; conv 8 3 <- 1"))
    child = network_of(space, space.parse("conv 8 3 <- 0 ; conv 8 3 <- 1"), 1)
    assert not space.morph(parent, child, torch.Generator())
    assert torch.equal(child.nodes[0].operation.conv.weight, parent.nodes[0].operation.conv.weight[:8])
    assert torch.equal(child.nodes[1].operation.conv.weight, parent.nodes[1].operation.conv.weight[:, :8])


def test_other_classes_keep_their_classifier_and_other_spaces_are_refused():
    space = NASH()
    parent = trained(space, space.start)
    more = network_of(space, space.start, 1, InputShape((1, 8, 8), 7))
    before = more.classifier.weight.clone()
    assert not space.morph(parent, more, torch.Generator())
    assert torch.equal(more.classifier.weight, before)
    with pytest.raises(UsageError, match=r"^NASBOT\.morph: expected two stand-alone networks"):
        NASBOT().morph(parent, parent, torch.Generator())


def test_a_graph_computes_what_its_text_says():
    space = EvoNet()
    text = "learning_rate=0.1 | conv 8 3 3 2 none <- 0 ; conv 12 1 3 1 relu <- 1 ; identity <- 2 + 0"
    network = network_of(space, space.parse(text)).eval()
    x = images()
    first, second = (node.operation for node in network.nodes[:2])
    one = functional.conv2d(x, first.conv.weight, first.conv.bias, 2, 1)
    two = functional.relu(
        functional.batch_norm(
            functional.conv2d(one, second.conv.weight, None, 1, (0, 1)),
            second.norm.running_mean,
            second.norm.running_var,
            second.norm.weight,
            second.norm.bias,
        )
    )
    # The images are brought to 4x4 by taking every second pixel, and to 12 channels by zeros.
    sum_ = two.clone()
    sum_[:, :1] += x[:, :, ::2, ::2]
    expected = functional.linear(sum_.mean((2, 3)), network.classifier.weight, network.classifier.bias)
    assert torch.allclose(outputs(network), expected, atol=1e-6)
    assert network(torch.rand(2, 1, 1, 1)).shape == (2, SHAPE.classes)


def test_several_loose_ends_are_pooled_and_concatenated():
    space = NASH()
    network = network_of(space, space.parse("conv 8 3 <- 0 ; conv 16 3 <- 0")).eval()
    ends = [functional.adaptive_avg_pool2d(node([images()]), 1).flatten(1) for node in network.nodes]
    assert torch.allclose(outputs(network), network.classifier(torch.cat(ends, 1)), atol=1e-6)


def test_without_a_move_as_many_nodes_as_possible_are_matched_in_order():
    space = NASH()
    old = space.decode(space.parse("conv 8 3 <- 0 ; max_pool 2 <- 1 ; conv 16 3 <- 2"))
    new = space.decode(space.parse("conv 8 3 <- 0 ; conv 8 5 <- 1 ; max_pool 2 <- 2 ; conv 32 3 <- 3"))
    found = aligned(old, new)
    assert [node.origin for node in found.nodes] == [1, None, 2, 3]
    assert correspond(old, found).exact
    assert not correspond(new, aligned(new, old)).exact
