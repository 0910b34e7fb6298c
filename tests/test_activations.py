"""What a pass keeps for its way back, counted, against what can be counted by hand."""

import torch
from torch import nn

from archsearch.networks.memory import Activations

FLOAT = 4
IMAGES, INPUTS, HIDDEN, OUTPUTS = 5, 4, 8, 3


def network():
    return nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, OUTPUTS))


def test_inputs_and_outputs_that_are_kept_count_once_and_weights_do_not():
    found = network()
    images = torch.ones(IMAGES, INPUTS)
    with Activations(found) as memory:
        loss = found(images).exp().sum()
        # The images for the first layer, tanh's output for itself and for the second layer, exp's output for itself.
        expected = FLOAT * IMAGES * (INPUTS + HIDDEN + OUTPUTS)
        assert memory.bytes == expected
        loss.backward()
        assert memory.bytes == 0
        assert memory.peak == expected


def test_one_pass_after_another_needs_no_more_than_one_and_both_at_once_need_both():
    found, images = network(), torch.ones(IMAGES, INPUTS)
    with Activations(found) as single:
        found(images).sum().backward()
    with Activations(found) as turns:
        found(images).sum().backward()
        found(images).sum().backward()
    with Activations(found) as together:
        losses = [found(images).sum(), found(images).sum()]
        sum(losses).backward()
    assert turns.peak == single.peak
    assert together.peak == 2 * single.peak - FLOAT * images.numel()  # the images are the same ones


def test_a_graph_that_is_thrown_away_lets_go_what_it_kept():
    found = network()
    with Activations(found) as memory:
        loss = found(torch.ones(IMAGES, INPUTS)).softmax(1).sum()
    assert memory.bytes == memory.peak > 0
    del loss
    assert memory.bytes == 0


def test_gradients_are_the_same_when_counted():
    found, images = network(), torch.linspace(-1, 1, IMAGES * INPUTS).reshape(IMAGES, INPUTS)
    plain = torch.autograd.grad(found(images).exp().sum(), [*found.parameters()])
    with Activations(found):
        counted = torch.autograd.grad(found(images).exp().sum(), [*found.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(plain, counted, strict=True))
