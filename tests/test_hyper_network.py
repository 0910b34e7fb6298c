"""The hyper-network: what it writes is what it computes, which parameters learn, cost, state."""

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import nn
from torch.nn import functional

from archsearch.errors import UsageError
from archsearch.evaluators import Training, hyper_network
from archsearch.evaluators.hyper_network import HyperNetwork
from archsearch.networks.multiply_adds import multiply_adds
from archsearch.networks.network import InputShape, Network, build
from archsearch.space import Space
from archsearch.spaces import DARTS, MobileNet, NASBench101, NASBench201
from archsearch.task import load_task
from archsearch.training.optimizer import make_optimizer

DIGITS = InputShape((1, 8, 8), 10)
FAMILIES = {
    "NASBench201": (NASBench201(), {"channels": 4, "cells": 1}),
    "MobileNet": (MobileNet(), {"channels": 4}),
    "NASBench101": (NASBench101(), {"channels": 8, "modules": 1}),
    "DARTS": (DARTS(), {"channels": 2, "layers": 3}),
    "DARTS with auxiliary head": (DARTS(auxiliary=True), {"channels": 2, "layers": 3}),
}
every_family = pytest.mark.parametrize(("space", "settings"), FAMILIES.values(), ids=FAMILIES)
CELL = (3, 1, 2, 3, 4, 3)
IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def maker(space, settings):
    def make(architecture):
        if architecture is None:
            return space.super_network(DIGITS, **settings)
        return space.network(architecture, DIGITS, **settings)

    return make


def hyper(space=FAMILIES["NASBench201"][0], settings=FAMILIES["NASBench201"][1], seed=0, **further):
    return build(lambda: HyperNetwork(space, maker(space, settings), **{"embedding": 8, "hidden": 16, **further}), seed)


def samples(space, n, seed=1):
    rng = np.random.default_rng(seed)
    return [space.sample(rng, "architectures") for _ in range(n)]


def learn(network, architectures, updates=3, learning_rate=0.05):
    """A few updates, so that statistics and weights are no longer the initial ones."""
    optimizer = torch.optim.SGD(network.parameters(), learning_rate)
    for i in range(updates):
        optimizer.zero_grad()
        logits = network(IMAGES, architectures[i % len(architectures)])
        functional.cross_entropy(logits, torch.arange(len(IMAGES))).backward()
        optimizer.step()


def key(name):
    return f"maps.{name.replace('.', '/')}"


# -- what is written -------------------------------------------------------------------------------


@every_family
def test_stand_alone_networks_compute_what_the_hyper_network_does(space, settings):
    network, make = hyper(space, settings), maker(space, settings)
    architectures = samples(space, 3)
    learn(network, architectures)
    network.eval()
    for architecture in architectures:
        alone = build(lambda architecture=architecture: make(architecture), 5)
        alone.load_state_dict(network.weights(architecture))  # strict: all names, all shapes
        with torch.no_grad():
            expected = network.with_auxiliary(IMAGES, architecture)
            got = alone.eval().with_auxiliary(IMAGES)
            assert (network(IMAGES, architecture) - got[0]).abs().max() < 1e-6 * (1 + got[0].abs().max())
        assert (expected[0] - got[0]).abs().max() < 1e-6 * (1 + got[0].abs().max())
        assert (expected[1] is None) == (got[1] is None) == (not getattr(space, "auxiliary", False))
        if got[1] is not None:
            assert (expected[1] - got[1]).abs().max() < 1e-6 * (1 + got[1].abs().max())


def test_weights_are_the_written_sum():
    network = hyper(written=0.3)
    name = "layers.0.edges.0-1.nor_conv_3x3.1.weight"
    base, matrix = network.state_dict()[f"shared.{name}"], network.state_dict()[key(name)]
    z = network.embed(CELL).detach()
    assert float(z.norm()) == pytest.approx(1, abs=1e-6)
    expected = np.sqrt(0.7) * base + np.sqrt(0.3) * (matrix @ z).view(base.shape)
    written = network.weights(CELL)[name]
    assert (written - expected).abs().max() < 1e-6
    assert not written.requires_grad


def test_narrower_layers_get_the_leading_slice():
    space, settings = FAMILIES["NASBench101"]
    network, narrow = hyper(space, settings), 0
    for architecture in samples(space, 5):
        z = network.embed(architecture)
        for name, value in network._write(architecture).items():
            full = network._weight(name, network._convolutions[name].weight.shape, z * np.sqrt(network.written))
            assert (value - full[tuple(map(slice, value.shape))]).abs().max() < 1e-6
            narrow += value.shape != full.shape
    assert narrow > 10


def test_initial_weights_are_distributed_as_ordinary_ones():
    space, settings = NASBench201(), {"channels": 16, "cells": 1}
    cells = samples(space, 20)
    for written in (0.1, 1.0):
        network = hyper(space, settings, embedding=32, written=written)
        ordinary = build(lambda: space.super_network(DIGITS, **settings), 1).state_dict()
        for name in ("layers.1.main.0.1.weight", "layers.4.edges.0-1.nor_conv_3x3.1.weight", "stem.0.weight"):
            values = torch.stack(
                [network._weight(name, ordinary[name].shape, _scaled(network, a)) for a in cells]
            ).detach()
            sigma = float(ordinary[name].std())
            assert abs(float(values.mean())) < 0.1 * sigma
            # The stem has 144 weights only.
            assert float(values.std()) == pytest.approx(sigma, rel=0.25 if name.startswith("stem") else 0.06)


def _scaled(network, architecture):
    return np.sqrt(network.written) * network.embed(architecture).detach()


@every_family
def test_embeddings_of_random_architectures_are_apart_and_those_of_neighbours_near(space, settings):
    network = hyper(space, settings, embedding=32, hidden=64)
    z = torch.stack([network.embed(architecture) for architecture in samples(space, 60)]).detach()
    cosines = (z @ z.T)[~torch.eye(60, dtype=bool)]
    assert abs(float(cosines.mean())) < 0.1
    assert float(cosines.std()) < 0.45
    rng = np.random.default_rng(0)
    pairs = [(architecture, space.mutate(architecture, rng)) for architecture in samples(space, 20)]
    near = [(network.embed(one) @ network.embed(other)).item() for one, other in pairs]
    # One mutation of a cell of NAS-Bench-101 often changes many of its decisions.
    assert np.mean(near) > (0.15 if isinstance(space, NASBench101) else 0.5)


# -- what learns -----------------------------------------------------------------------------------


def test_gradients_reach_what_the_path_uses_and_nothing_else():
    network = hyper()
    network(IMAGES, CELL).square().sum().backward()
    alone = dict(NASBench201().network(CELL, DIGITS, channels=4, cells=1).named_parameters())
    expected = {f"shared.{name}" for name in alone}
    expected |= {key(name) for name, value in alone.items() if value.ndim == 4}
    expected |= {"encoder.first.weight", "encoder.second.weight"}
    reached = {name: value.grad for name, value in network.named_parameters() if value.grad is not None}
    assert set(reached) == expected
    for name, gradient in reached.items():
        assert float(gradient.abs().max()) > 0, name
    assert len(expected) < len(list(network.parameters()))


def test_other_parts_are_left_alone_even_by_weight_decay_and_by_batch_statistics():
    network = hyper()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        network(IMAGES, CELL).square().sum().backward()
        optimizer.step()
    own = set(NASBench201().network(CELL, DIGITS, channels=4, cells=1).state_dict())
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {f"shared.{name}" for name in own} | {key(n) for n in own if key(n) in before} | {
        "encoder.first.weight",
        "encoder.second.weight",
    }


def test_only_the_weights_of_the_path_are_computed():
    network = hyper()
    written = network._write(CELL)
    alone = NASBench201().network(CELL, DIGITS, channels=4, cells=1)
    assert set(written) == {name for name, value in alone.named_parameters() if value.ndim == 4}
    assert len(written) < len(network.maps)


def test_each_parameter_is_there_once():
    network = hyper()
    names = [name for name, _ in network.named_parameters(remove_duplicate=False)]
    assert len(names) == len(set(names)) == len({id(value) for value in network.parameters()})
    assert {name.split(".")[0] for name in names} == {"shared", "encoder", "maps"}
    assert set(network.state_dict()) == set(names) | {f"shared.{name}" for name, _ in network.shared.named_buffers()}
    forward = {name: id(value) for name, value in network.named_parameters()}
    network(IMAGES, CELL)
    assert forward == {name: id(value) for name, value in network.named_parameters()}, "a forward pass put others there"


def digits():
    return [values[:256] for values in load_task("digits").part("train")]


def fit(network, path, epochs):
    """Trains on 256 digits, 8 updates an epoch, each of one path; the mean losses of the epochs."""
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    images, labels = digits()
    losses = []
    for epoch in range(epochs):
        for batch in torch.tensor_split(torch.randperm(256, generator=torch.Generator().manual_seed(epoch)), 8):
            optimizer.zero_grad(set_to_none=True)
            loss = functional.cross_entropy(network(images[batch], path(len(losses))), labels[batch])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return np.reshape(losses, (epochs, 8)).mean(axis=1)


@pytest.fixture(scope="module")
def trained():
    """A hyper-network trained on random paths, and the losses of the epochs."""
    network, rng = hyper(embedding=32, hidden=64), np.random.default_rng(0)
    return network, fit(network, lambda _: NASBench201().sample(rng), epochs=10)


def test_training_lowers_the_loss(trained):
    losses = trained[1]
    assert losses[0] > 2.1
    assert losses[-3:].mean() < losses[0] - 0.3


def test_architectures_have_weights_of_their_own(trained):
    network = trained[0]
    first, second = CELL, (3, 2, 0, 3, 1, 2)
    one, other = network.weights(first), network.weights(second)
    for name in ("stem.0.weight", "layers.0.edges.0-1.nor_conv_3x3.1.weight"):
        difference = (one[name] - other[name]).norm() / one[name].norm()
        assert 0.05 < float(difference) < 1.5
    assert torch.equal(one["head.3.weight"], other["head.3.weight"])


def test_weights_written_for_an_architecture_suit_it_better_than_those_written_for_another(monkeypatch):
    network, pair = hyper(embedding=32, hidden=64, written=0.5), ((3, 3, 1, 2, 0, 3), (3, 0, 3, 1, 3, 2))
    fit(network, lambda i: pair[i % 2], epochs=8)
    images, labels = digits()
    with torch.no_grad():
        embeddings = [network.embed(architecture) for architecture in pair]

        def loss(architecture, z):
            monkeypatch.setattr(network, "embed", lambda _: z)
            return float(functional.cross_entropy(network(images, architecture), labels))

        own = [loss(architecture, z) for architecture, z in zip(pair, embeddings, strict=True)]
        foreign = [loss(architecture, z) for architecture, z in zip(pair, embeddings[::-1], strict=True)]
    assert max(own) < min(foreign) - 1


# -- as the training uses it -----------------------------------------------------------------------


def test_training_s_own_code_trains_it():
    training = Training(task="digits", train_examples=60, epochs=1, batch_size=20, skeleton={"channels": 2, "cells": 1})
    space = NASBench201()
    training.start(space)
    run = training.trainer.begin(None, 3)
    run.network = build(lambda: HyperNetwork(space, training.trainer.network), 3).to(memory_format=torch.channels_last)
    run.optimizer = make_optimizer(run.network, training.recipe, training.trainer.where)
    before = {name: value.clone() for name, value in run.network.named_parameters()}
    with training.trainer.session() as meter:
        training.trainer.train(run, 3, 3, meter, paths=lambda *_: [CELL, (2, 2, 2, 2, 2, 2)])
    assert run.step == 3
    changed = {name for name, value in run.network.named_parameters() if not torch.equal(value, before[name])}
    assert {"encoder.first.weight", "shared.stem.0.weight", "maps.stem/0/weight"} <= changed
    assert {name for name in before if "0-2.nor_conv_3x3" in name}.isdisjoint(changed)


def test_without_an_architecture_it_says_so():
    with pytest.raises(UsageError, match="call network\\(images, architecture\\)"):
        hyper()(IMAGES)


def test_drop_path_is_passed_through():
    space, settings = FAMILIES["DARTS"]
    network = hyper(space, settings).train()
    architecture = samples(space, 1)[0]

    def logits(drop_path, seed):
        network.drop_path, network.generator = drop_path, torch.Generator().manual_seed(seed)
        with torch.no_grad():
            return network(IMAGES, architecture)

    assert torch.equal(logits(0.0, 0), logits(0.0, 1))
    assert torch.equal(logits(0.5, 0), logits(0.5, 0))
    assert not torch.equal(logits(0.5, 0), logits(0.5, 1))
    assert not torch.equal(logits(0.5, 0), logits(0.0, 0))


@every_family
def test_state_goes_through_safetensors(space, settings):
    network, other = hyper(space, settings, seed=0), hyper(space, settings, seed=1)
    architecture = samples(space, 1)[0]
    learn(network, [architecture])
    other.load_state_dict(load(save({name: value.contiguous() for name, value in network.state_dict().items()})))
    for each in (network, other):
        each.eval()
    assert torch.equal(network(IMAGES, architecture), other(IMAGES, architecture))
    copied = copy.deepcopy(network)
    learn(network.train(), [architecture])
    assert torch.equal(copied(IMAGES, architecture), other(IMAGES, architecture)), "a copy is a copy"


def test_initial_values_come_from_the_seed_alone():
    before, numpy = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, second, third = hyper(seed=4), hyper(seed=4), hyper(seed=5)
    learn(first, [CELL])
    learn(second, [CELL])
    first.weights(CELL)
    assert torch.equal(before, torch.random.get_rng_state())
    assert (numpy == np.random.get_state()[1]).all()  # noqa: NPY002
    states = [network.state_dict() for network in (first, second, third)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert all(torch.isfinite(value).all() for value in states[2].values())
    for name in ("maps.stem/0/weight", "encoder.first.weight", "shared.stem.0.weight"):
        assert not torch.equal(states[1][name], states[2][name])


# -- cost ------------------------------------------------------------------------------------------


@every_family
def test_multiply_adds_of_an_image_are_those_of_the_network(space, settings):
    with torch.device("meta"):
        network = HyperNetwork(space, maker(space, settings), embedding=8, hidden=16)
        architecture = samples(space, 1)[0]
        alone = space.network(architecture, DIGITS, **settings)
    macs = multiply_adds(network, DIGITS.input_shape, architecture)
    assert macs == multiply_adds(alone, DIGITS.input_shape)
    numbers = sum(module.weight.numel() for module in alone.modules() if isinstance(module, nn.Conv2d))
    encoder = (space.one_hot([architecture]).shape[1] + 8) * 16
    assert network.generation_multiply_adds(architecture) == encoder + 9 * numbers


def test_networks_are_built_once_and_few_are_remembered(monkeypatch):
    monkeypatch.setattr(hyper_network, "REMEMBERED", 3)
    network, built, make = hyper(), [], maker(*FAMILIES["NASBench201"])
    network.make = lambda architecture: built.append(architecture) or make(architecture)
    a, b, c, d = samples(NASBench201(), 4)
    for architecture in (a, b, c, a, a, b):
        network(IMAGES, architecture)
    assert built == [a, b, c]
    network(IMAGES, d)  # c was used longest ago
    network(IMAGES, a)
    assert built == [a, b, c, d]
    network(IMAGES, c)
    assert built == [a, b, c, d, c]
    assert len(network._needs) == 3


# -- refusals --------------------------------------------------------------------------------------


class OneLayer(Network):
    def __init__(self, *layers):
        super().__init__(None)
        self.layers = nn.ModuleList(layers)


def test_networks_that_do_not_suit_are_refused():
    space, convolution = Space(arities=[2, 2]), nn.Conv2d(1, 1, 1)
    with pytest.raises(UsageError, match="OneLayer has none"):
        HyperNetwork(space, lambda _: OneLayer(nn.Linear(2, 2)))
    with pytest.raises(UsageError, match="OneLayer uses one in several places"):
        HyperNetwork(space, lambda _: OneLayer(convolution, convolution))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"embedding": 0}, "embedding: expected a whole number >= 1, got 0"),
        ({"hidden": 1.5}, "hidden: expected a whole number >= 1, got 1.5"),
        ({"written": 0}, "written: expected a number, 0 < written <= 1, got 0"),
        ({"written": 1.5}, "written: expected a number, 0 < written <= 1, got 1.5"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(UsageError, match=message):
        hyper(**settings)
