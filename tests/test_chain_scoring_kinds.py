"""``score_chains`` on chains of all kinds of blocks, and with batches of any sizes."""

from __future__ import annotations

import pytest
import torch
from chain_scoring_lab import (
    BATCH,
    IMAGES,
    SPACES,
    assert_equal,
    data,
    evolved,
    one_by_one,
    sampled,
    super_network,
    together,
)

from archsearch.chain.blocks import MBConv, Shuffle
from archsearch.chain.chain import Chain
from archsearch.chain.rules import Rules
from archsearch.evaluators.chain_scoring import score_chains
from archsearch.spaces import SinglePath

BLOCKS = [MBConv((3, 5), 2, squeeze=0.25), MBConv(3, 1, 2, expands=True), MBConv(5, 3, activation="swish")]
OTHERS = {
    "blocks": Chain(Rules([(8, 2, 1), (12, 2, 2)], BLOCKS, "always", stem_channels=8)),
    "shuffled": Chain(Rules([(8, 2, 1), (12, 2, 2)], [Shuffle(5), Shuffle(3, xception=True)])),
    "single_path": SinglePath([(4, 2, 1), (8, 2, 2)], stem_channels=4, head_channels=None),
}


@pytest.mark.parametrize("statistics", ["recomputed", "inherited"])
@pytest.mark.parametrize("name", OTHERS)
def test_all_chains_can_be_scored_together(name, statistics):
    space = OTHERS[name]
    network, architectures = super_network(space), evolved(space, 4)
    found = together(network, architectures, statistics).scores
    assert_equal(found, one_by_one(network, architectures, *data(IMAGES), statistics))
    assert len({loss for _, loss in found}) == len({space.canonical(each) for each in architectures})


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("sizes", [(5, 5, 5), (6, 5, 5), (5,)])
def test_batches_of_any_sizes_give_the_statistics_of_separate_passes(sizes, channels_last):
    space = SPACES["mobilenet"]
    network, architectures = super_network(space), [*sampled(space, 5), *evolved(space, 5)]
    batches = [data(n, 2 + i)[0] for i, n in enumerate(sizes)]
    if channels_last:
        batches = [batch.to(memory_format=torch.channels_last) for batch in batches]
    images, labels = data(IMAGES)
    found = score_chains(network, architectures, images, labels, "recomputed", batches, BATCH)
    assert_equal(found.scores, one_by_one(network, architectures, images, labels, "recomputed", batches=batches))
    depth_first = score_chains(network, architectures, images, labels, "recomputed", batches, BATCH, 2_000_000)
    assert_equal(depth_first.scores, found.scores)
    assert depth_first.computed == found.computed
