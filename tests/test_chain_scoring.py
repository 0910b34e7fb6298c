"""``score_chains`` against one plain forward pass per architecture: results, memory, what was computed."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from chain_scoring_lab import (
    BATCH,
    IMAGES,
    MODES,
    SPACES,
    TASK,
    assert_equal,
    data,
    evolved,
    one_by_one,
    sampled,
    statistics_batches,
    super_network,
    together,
)
from torch import nn
from torch.profiler import ProfilerActivity, profile

from archsearch.errors import UsageError
from archsearch.evaluators.chain_scoring import HEAD, STEM, Chain, score_chains
from archsearch.networks.multiply_adds import multiply_adds
from archsearch.spaces.nasbench201 import NASBench201


def prefixes(architectures):
    return {architecture[:i] for architecture in architectures for i in range(1, len(architecture) + 1)}


# -- results ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("statistics", MODES)
@pytest.mark.parametrize("name", SPACES)
def test_scores_are_those_of_separate_passes(name, statistics):
    space = SPACES[name]
    network = super_network(space)
    architectures = [*sampled(space, 6), *evolved(space, 6, 1)]
    architectures += [architectures[3], architectures[0], architectures[3]]
    scores = together(network, architectures, statistics).scores
    assert_equal(scores, one_by_one(network, architectures, *data(IMAGES), statistics))
    assert len({loss for _, loss in scores}) == len(set(architectures))  # the test would see a mix-up
    assert scores[-1] == scores[-3] == scores[3]


@pytest.mark.parametrize("statistics", MODES)
def test_modes_differ(statistics):
    network, space = super_network(SPACES["mobilenet"]), SPACES["mobilenet"]
    architectures = sampled(space, 3)
    found = {mode: together(network, architectures, mode).scores[0][1] for mode in MODES}
    assert all(abs(found[statistics] - loss) > 1e-2 for mode, loss in found.items() if mode != statistics)


@pytest.mark.parametrize("statistics", MODES)
def test_one_and_none(statistics):
    space = SPACES["mobilenet"]
    network = super_network(space)
    (architecture,) = sampled(space, 1)
    assert_equal(
        together(network, [architecture], statistics).scores,
        one_by_one(network, [architecture], *data(IMAGES), statistics),
    )
    nothing = together(network, [], statistics)
    assert nothing.scores == []
    assert not nothing.computed
    assert nothing.multiply_adds == 0


@pytest.mark.parametrize("statistics", ["inherited", "recomputed"])
def test_batch_size_changes_nothing_but_batch_statistics(statistics):
    space = SPACES["mobilenet"]
    network, architectures = super_network(space), sampled(space, 4)
    expected = one_by_one(network, architectures, *data(IMAGES), statistics, IMAGES)
    assert_equal(together(network, architectures, statistics).scores, expected)


def test_nothing_is_dropped_at_random():
    space = SPACES["long"]
    network, architectures = super_network(space), sampled(space, 3)
    expected = together(network, architectures, "batch").scores
    network.drop_path, network.generator = 0.5, torch.Generator().manual_seed(0)
    before = network.generator.get_state()
    assert together(network, architectures, "batch").scores == expected
    assert torch.equal(network.generator.get_state(), before)


def test_images_keep_their_memory_format():
    space = SPACES["mobilenet"]
    network, seen = super_network(space), []
    network.layers[1].register_forward_pre_hook(
        lambda _module, inputs: seen.append(inputs[0].is_contiguous(memory_format=torch.channels_last))
    )
    images, labels = data(IMAGES)
    batches = [batch.to(memory_format=torch.channels_last) for batch in statistics_batches()]
    images = images.to(memory_format=torch.channels_last)
    score_chains(network, sampled(space, 3), images, labels, "recomputed", batches)
    assert seen
    assert all(seen[2:])  # the first ones are those of the measuring


# -- the network is left as it was -----------------------------------------------------------------


@pytest.mark.parametrize("statistics", MODES)
def test_network_is_left_as_it_was(statistics):
    space = SPACES["mobilenet"]
    network = super_network(space)
    network.train()
    network.first.eval()
    state = copy.deepcopy(network.state_dict())
    modes = [module.training for module in network.modules()]
    tensors = [id(tensor) for tensor in network.buffers()]
    together(network, sampled(space, 4), statistics)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes
    assert [id(tensor) for tensor in network.buffers()] == tensors
    assert all("forward" not in vars(module) for module in network.modules())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    # It can be trained on.
    network(data(4)[0], space.sample(np.random.default_rng(0))).sum().backward()


def test_network_is_left_as_it_was_after_an_error():
    space = SPACES["mobilenet"]
    network = super_network(space).train()
    calls = itertools.count()

    def fail(*_):
        if next(calls) == 20:
            raise RuntimeError("on purpose")

    for layer in network.layers:
        layer.register_forward_hook(fail)
    state = copy.deepcopy(network.state_dict())
    with pytest.raises(RuntimeError, match="on purpose"):
        together(network, sampled(space, 8), "recomputed")
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert all(module.training and "forward" not in vars(module) for module in network.modules())


# -- what is computed ------------------------------------------------------------------------------


@pytest.mark.parametrize("statistics", MODES)
@pytest.mark.parametrize("name", SPACES)
def test_computed_layers_are_the_distinct_prefixes(name, statistics):
    space = SPACES[name]
    network = super_network(space)
    architectures = [*sampled(space, 10), *evolved(space, 10, 1)]
    architectures += architectures[:5]
    passes = IMAGES + (sum(map(len, statistics_batches())) if statistics == "recomputed" else 0)
    found = together(network, architectures, statistics)
    expected = {STEM: passes, HEAD: passes * len(set(architectures))}
    for prefix in prefixes(architectures):
        piece = (len(prefix) - 1, prefix[-1])
        expected[piece] = expected.get(piece, 0) + passes
    assert found.computed == expected
    assert found.multiply_adds < passes * sum(multiply_adds(network, TASK.input_shape, each) for each in architectures)


@pytest.mark.parametrize("name", SPACES)
def test_multiply_adds_are_those_of_the_network(name):
    space = SPACES[name]
    network = super_network(space)
    for architecture in sampled(space, 4):
        expected = IMAGES * multiply_adds(network, TASK.input_shape, architecture)
        assert together(network, [architecture], "inherited").multiply_adds == expected


def test_layers_are_really_computed_so_often():
    space = SPACES["nasbench_macro"]
    network, architectures = super_network(space), evolved(space, 12)
    images = 0

    def count(_module, inputs, _output):
        nonlocal images
        images += len(inputs[0])

    for layer in network.layers:
        layer.register_forward_hook(count)
    together(network, architectures, "inherited")
    measured = 4 * sum(len(set(options)) for options in zip(*architectures, strict=True))  # 4 images of each piece
    assert images - measured == IMAGES * len(prefixes(architectures))


# -- memory ----------------------------------------------------------------------------------------


def peak_bytes(call):
    """Most bytes that PyTorch's allocator had given away at a time during a call, and the call's result."""
    data(IMAGES)
    statistics_batches()  # these are there already
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        result = call()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak, result


def kept_statistics(network, architectures):
    """Bytes of a mean and a variance per channel, for all layers of the tree."""

    def channels(*modules):
        layers = [layer for module in modules for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
        return sum(layer.num_features for layer in layers)

    numbers = channels(network.first) + len(set(architectures)) * channels(network.last)
    for prefix in prefixes(architectures):
        i, option = len(prefix) - 1, prefix[-1]
        numbers += channels(network.layers[i][network.specification[i].options[option]])
    return 2 * 4 * numbers


@pytest.mark.parametrize("statistics", ["inherited", "recomputed"])
@pytest.mark.parametrize("name", SPACES)
def test_memory_limit_by_smaller_chunks(name, statistics):
    space = SPACES[name]
    network = super_network(space)
    architectures = evolved(space, 12)
    free, unlimited = peak_bytes(lambda: together(network, architectures, statistics))
    apart = kept_statistics(network, architectures) if statistics == "recomputed" else 0
    limit = int((free - apart) * 0.8)
    peak, limited = peak_bytes(lambda: together(network, architectures, statistics, limit))
    assert peak - apart <= limit
    assert_equal(limited.scores, unlimited.scores)
    assert limited.computed == unlimited.computed


def test_memory_limit_by_computing_again():
    space = SPACES["long"]
    network, architectures = super_network(space), sampled(space, 24)
    free, unlimited = peak_bytes(lambda: together(network, architectures, "batch"))
    spent = []
    for share in (0.9, 0.75, 0.62):
        peak, limited = peak_bytes(lambda share=share: together(network, architectures, "batch", int(free * share)))
        assert peak <= free * share
        assert_equal(limited.scores, unlimited.scores)
        spent.append(limited.multiply_adds / unlimited.multiply_adds)
    assert 1 < spent[0] < spent[1] < spent[2]


def test_statistics_are_recomputed_within_less_memory_too():
    space = SPACES["long"]
    network, architectures = super_network(space), sampled(space, 24)
    free, _ = peak_bytes(lambda: together(network, architectures, "batch"))  # of 10 images
    kept = kept_statistics(network, architectures)
    # Fewer than the 6 images of a batch: layers are computed again.
    limit = int(0.5 * free)
    peak, limited = peak_bytes(lambda: together(network, architectures, "recomputed", limit))
    assert peak - kept <= limit
    assert limited.multiply_adds > together(network, architectures, "recomputed").multiply_adds
    assert_equal(limited.scores, one_by_one(network, architectures, *data(IMAGES), "recomputed"))


def test_identities_hold_nothing():
    space = SPACES["long"]
    network = super_network(space)
    # Two combs: along the way, layers are left out or not, and branches leave between them.
    left_out = [(1,) + (0,) * i + (1,) * (8 - i) for i in range(9)]
    not_left_out = [(1,) + (2,) * i + (1,) * (8 - i) for i in range(9)]
    few, many = (
        peak_bytes(lambda each=each: together(network, each, "inherited"))[0] for each in (left_out, not_left_out)
    )
    activation = BATCH * 4 * 8 * 8 * 4
    assert few < many - 5 * activation


@pytest.mark.parametrize("statistics", MODES)
def test_limit_that_cannot_be_met(statistics):
    space = SPACES["mobilenet"]
    with pytest.raises(UsageError, match="memory_limit: expected at least"):
        together(super_network(space), sampled(space, 3), statistics, 1_000)


# -- misuse ----------------------------------------------------------------------------------------


def test_what_is_a_chain():
    assert isinstance(super_network(SPACES["mobilenet"]), Chain)
    with torch.device("meta"):
        assert not isinstance(NASBench201().super_network(TASK), Chain)


def test_misuse_is_told():
    space = SPACES["mobilenet"]
    network, architectures = super_network(space), sampled(space, 2)
    with pytest.raises(UsageError, match="statistics_images holds no batch"):
        score_chains(network, architectures, *data(IMAGES), "recomputed")
    with pytest.raises(UsageError, match="expected recomputed, batch, inherited, got 'none'"):
        score_chains(network, architectures, *data(IMAGES), "none")
