"""Networks of ``DARTS``: each operation, the auxiliary head, paths that are dropped."""

import functools
import itertools

import pytest
import torch
from darts_lab import ALL_OPERATIONS, CIFAR, DIGITS, SMALL, V2, on_meta, pictures
from torch import nn

from archsearch.grammar.layers import AuxiliaryHead, Carried, FactorisedReduction, candidates
from archsearch.grammar.network import Cell
from archsearch.networks.network import build
from archsearch.spaces.darts import DARTS, OPERATIONS, RULES


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_all_operations_agree_in_size(operation, stride):
    make = candidates(OPERATIONS)(4, stride)[operation]
    module = build(make, 0).eval()
    for height, width in itertools.product((1, 2, 3, 7, 8), repeat=2):
        shape = module(pictures(2, 4, height, width)).shape
        assert shape == (2, 4, -(-height // stride), -(-width // stride))


def test_factorised_reduction_sees_even_and_odd_pixels():
    module = build(lambda: FactorisedReduction(1, 3), 0).eval()
    with torch.no_grad():
        module.even.weight.fill_(1)
        module.odd.weight.fill_(1)
        module.norm.eps = 0.0
        even_side, odd_side = pictures(1, 1, 4, 6).abs(), pictures(1, 1, 5, 3).abs()
        output = module(even_side)
        assert torch.equal(output[:, :1], even_side[:, :, ::2, ::2])
        assert torch.equal(output[:, 1:2], even_side[:, :, 1::2, 1::2])
        output = module(odd_side)
        assert torch.equal(output[:, 1:2, :2, :1], odd_side[:, :, 1::2, 1::2])
        assert output[:, 1:, 2].abs().sum() == output[:, 1:, :, 1].abs().sum() == 0
        assert torch.equal(module(-odd_side), torch.zeros_like(output))  # ReLU comes first


def test_average_pooling_leaves_the_padding_out():
    ones = torch.ones(1, 4, 5, 5)
    for stride in (1, 2):
        pooled = candidates(OPERATIONS)(4, stride)["avg_pool_3x3"]()(ones)
        assert torch.equal(pooled, torch.ones_like(pooled))


def test_pooling_has_no_normalisation_and_all_other_is_affine():
    network = on_meta(lambda: SMALL.super_network(DIGITS))
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert all(norm.affine for norm in norms)
    for cell in network.cells:
        for choice in cell.edges.values():
            assert isinstance(choice["max_pool_3x3"], nn.MaxPool2d)
            assert isinstance(choice["avg_pool_3x3"], nn.AvgPool2d)


def test_plain_forward_leaves_the_auxiliary_head_out():
    space = DARTS(layers=3, channels=4, auxiliary=True)
    network = build(lambda: space.network(V2, DIGITS), 0).eval()
    calls = []
    network.auxiliary_head.register_forward_hook(lambda *_: calls.append(1))
    images = pictures(2, 1, 8, 8)
    logits = network(images)
    assert not calls
    again, auxiliary = network.with_auxiliary(images)
    assert calls == [1]
    assert torch.equal(again, logits)
    assert auxiliary.shape == logits.shape
    assert not torch.equal(auxiliary, logits)
    without = build(lambda: SMALL.network(V2, DIGITS), 0)
    assert without.with_auxiliary(images)[1] is None
    assert not any("auxiliary" in name for name in without.state_dict())


def test_auxiliary_head_is_that_of_the_paper_for_8x8_maps():
    head = build(lambda: AuxiliaryHead(6, 10), 0).eval()
    maps = pictures(2, 6, 8, 8)
    pooled = nn.functional.avg_pool2d(maps.relu(), 5, stride=3)
    assert pooled.shape[2:] == (2, 2)
    assert torch.equal(head(maps), head.classifier(head.features(pooled).flatten(1)))
    for side in (1, 2, 3, 7, 9, 16, 17):
        assert head(pictures(2, 6, side, side)).shape == (2, 10)
    network = on_meta(lambda: DARTS(auxiliary=True).network(V2, CIFAR))
    assert network.auxiliary_after == 13
    assert network.auxiliary_head.features[0].in_channels == 4 * 36 * 4


def test_drop_path_spares_identities():
    plans = RULES.plans(ALL_OPERATIONS)
    for reduces, dropped in ((False, 6), (True, 8)):  # skip connections of stride 2 are no identities
        make = functools.partial(Cell, RULES, reduces, plans[reduces], Carried(4), Carried(4), 4, reduces, False)
        cell = build(make, 0)
        calls = []
        x = pictures(2, 4, 6, 6), None
        cell(x, x, plans[reduces], lambda term, seen=calls: seen.append(1) or term)
        assert len(calls) == dropped


def test_drop_path_acts_in_training_only_and_from_its_own_generator():
    network = build(lambda: SMALL.network(V2, DIGITS), 0)
    images = pictures(4, 1, 8, 8)
    state = torch.get_rng_state()

    def run(drop_path, seed=0):
        network.drop_path, network.generator = drop_path, torch.Generator().manual_seed(seed)
        return network(images)

    assert not torch.equal(run(0.0), run(0.5))
    assert torch.equal(run(0.5), run(0.5))
    assert not torch.equal(run(0.5), run(0.5, seed=1))
    network.eval()
    assert torch.equal(run(0.0), run(0.5))
    assert torch.equal(torch.get_rng_state(), state)
