"""Which paths of a super-network make an update: samplers of paths, and passes through several candidates at once.

References: Guo et al., "Single path one-shot neural architecture search with uniform sampling", ECCV 2020 (SPOS); Chu,
Zhang & Xu, "FairNAS", ICCV 2021; Bender et al., "Understanding and simplifying one-shot architecture search", ICML
2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from archsearch.abilities import Mixing
from archsearch.basics.seeding import stream
from archsearch.networks.multiply_adds import multiply_adds
from archsearch.networks.network import Network
from archsearch.space import Space
from archsearch.trial import Architecture


class Mixture(NamedTuple):
    """A pass through several candidates of each choice at once.

    Attributes:
        options: For each decision the options that are computed.
        macs: Multiply-adds of one image.
    """

    options: Sequence[Sequence[int]]
    macs: int


Route = Architecture | Mixture | None
"""What one pass of a super-network computes; None: a stand-alone network."""


class UniformPaths:
    """One architecture per update, drawn uniformly (SPOS).

    Args:
        space: Where to draw from.
        seed: Root seed, >= 0.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self.space = space
        self.rng = stream(seed, "paths")

    def draw(self, progress: float) -> Sequence[Route]:
        """The paths of the next update; ``progress`` is the share of the updates that are done."""
        return [self.space.sample(self.rng, "architectures")]


class FairPaths(UniformPaths):
    """As many architectures per update as a choice has candidates; each candidate is in exactly one (FairNAS)."""

    def draw(self, progress: float) -> Sequence[Route]:
        """The architectures of the next update: each choice deals out its candidates in random order."""
        assert self.space.arities is not None
        dealt = [self.rng.permutation(arity).tolist() for arity in self.space.arities]
        return list(zip(*dealt, strict=True))


class DroppedPaths(UniformPaths):
    """All candidates of all choices, of which more and more are dropped at random (Bender et al.).

    Where all of a choice would be dropped, one of them, drawn uniformly, stays.

    Args:
        space: Where to draw from.
        seed: Root seed, >= 0.
        dropout: Probability of dropping a whole choice at the end; each of k candidates is dropped with its k-th root.
        macs: Multiply-adds of a single path, and of all candidates at once.
    """

    def __init__(self, space: Space, seed: int, dropout: float, macs: tuple[int, int]) -> None:
        super().__init__(space, seed)
        self.dropout = dropout
        self.macs = macs

    def draw(self, progress: float) -> Sequence[Route]:
        """The candidates of the next update; billed in proportion to how many there are."""
        assert self.space.arities is not None
        options = []
        for arity in self.space.arities:
            kept = np.flatnonzero(self.rng.random(arity) >= progress * self.dropout ** (1 / arity))
            options.append(kept.tolist() or [int(self.rng.integers(arity))])
        choices, everything = len(options), sum(self.space.arities)
        share = (sum(map(len, options)) - choices) / max(everything - choices, 1)
        return [Mixture(options, round(self.macs[0] + share * (self.macs[1] - self.macs[0])))]


class _Mixed(nn.Module):
    """A super-network with a fixed mixture, to count its multiply-adds."""

    def __init__(self, network: Network, options: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.network = network
        self.options = options
        self.input_dtype = network.input_dtype

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert isinstance(self.network, Mixing)
        return self.network.mixture(images, self.options)


def mixed_multiply_adds(network: Network, arities: Sequence[int], input_shape: tuple[int, ...]) -> int:
    """Multiply-adds of one image through all candidates of all choices at once."""
    return multiply_adds(_Mixed(network, [range(arity) for arity in arities]), input_shape)
