"""Which paths of a super-network make an update: samplers of paths, and passes through several candidates at once.

References: Guo et al., "Single path one-shot neural architecture search with uniform sampling", ECCV 2020 (SPOS); Chu,
Zhang & Xu, "FairNAS", ICCV 2021; Bender et al., "Understanding and simplifying one-shot architecture search", ICML
2018; Yu & Huang, "Universally slimmable networks", ICCV 2019 (the sandwich rule); Cai et al., "Once-for-all", ICLR 2020
(progressive shrinking).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from archsearch.abilities import Elastic, Mixing
from archsearch.basics.seeding import stream
from archsearch.networks.multiply_adds import multiply_adds
from archsearch.networks.network import Network
from archsearch.relaxing import RelaxedDecisions
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


SIZED = 16
"""Random architectures whose mean size is billed for each of an update."""

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

    def opened(self, progress: float) -> Sequence[str]:
        """What becomes elastic for the first time exactly then; see ``SandwichPaths``."""
        return ()

    def multiply_adds(self, progress: float, size: Callable[[Architecture | None], int]) -> int:
        """What a pass is billed: the mean of some paths.

        Args:
            progress: Share of the updates that are done.
            size: Gives the multiply-adds of an architecture; for None the mean of random ones.
        """
        return size(None)


class FairPaths(UniformPaths):
    """As many architectures per update as a choice has candidates; each candidate is in exactly one (FairNAS)."""

    def draw(self, progress: float) -> Sequence[Route]:
        """The architectures of the next update: each choice deals out its candidates in random order."""
        assert self.space.arities is not None
        dealt = [self.rng.permutation(arity).tolist() for arity in self.space.arities]
        return list(zip(*dealt, strict=True))


class CandidatePaths(UniformPaths):
    """One architecture per update; candidates with weights to learn and those without are drawn in different ways.

    Sources: groups of operators with and without weights (Xie et al., "Weight-sharing neural architecture search",
    2020, sections 3.3.1 and 3.3.2, which names them as a remedy); dropping operators that are cheap to learn (P-DARTS).

    Args:
        space: Where to draw from, ``RelaxedDecisions``.
        seed: Root seed, >= 0.
        grouped: Whether a choice is made in two steps, with equal chances: with weights or without, then which one.
        alone: Share of the updates, 0 to 1, at the begin of which only candidates with weights are drawn.
        dropout: Probability, 0 to 1, with which ``none`` takes the place of one without weights, where there is such.
    """

    def __init__(self, space: Space, seed: int, grouped: bool, alone: float, dropout: float) -> None:
        super().__init__(space, seed)
        self.grouped = grouped
        self.alone = alone
        self.dropout = dropout
        assert isinstance(space, RelaxedDecisions)
        self._choices = [
            (choice.learnable, tuple(set(range(len(choice.candidates))) - set(choice.learnable)), choice.none)
            for choice in space.relaxed_choices()
        ]

    def draw(self, progress: float) -> Sequence[Route]:
        """See ``UniformPaths``."""
        return [self._path(progress, self.rng)]

    def _path(self, progress: float, rng: np.random.Generator) -> Architecture:
        path = []
        for learnable, others, none in self._choices:
            options = (*learnable, *others)
            if learnable and others and progress < self.alone:
                options = learnable
            elif learnable and others and self.grouped:
                options = learnable if rng.random() < 0.5 else others
            option = options[int(rng.integers(len(options)))]
            if self.dropout and none is not None and option in others and rng.random() < self.dropout:
                option = none
            path.append(option)
        return tuple(path)

    def multiply_adds(self, progress: float, size: Callable[[Architecture | None], int]) -> int:
        """The mean over several paths that are drawn so."""
        rng = stream(0, "size")
        return round(float(np.mean([size(self._path(progress, rng)) for _ in range(SIZED)])))


class SandwichPaths(UniformPaths):
    """The largest architecture, the smallest, and some random ones per update (Yu & Huang), in stages (OFA).

    Without stages, everything is elastic from the beginning, as in BigNAS. With them the largest architecture is
    trained alone at first; then, stage after stage, one more dimension becomes elastic, as far as ``stages`` says.

    Random ones are uniform over the options of each decision, one after another.

    Args:
        space: Where to draw from, ``Elastic``.
        seed: Root seed, >= 0.
        random: How many random ones, >= 0.
        stages: Dimensions in the order in which they become elastic; one that is named several times gets so many more
            options each time, the larger ones first, and all at the last time. Empty: all at once.
        begins: Share of the updates at which each stage begins, rising.
    """

    def __init__(
        self, space: Space, seed: int, random: int, stages: Sequence[str] = (), begins: Sequence[float] = ()
    ) -> None:
        super().__init__(space, seed)
        self.random = random
        self.stages = tuple(stages)
        self.begins = tuple(begins)

    def draw(self, progress: float) -> Sequence[Route]:
        """The architectures of the next update, the largest first; that one alone as long as nothing is elastic."""
        shares = self.elastic(progress)
        largest = self.walk(lambda options, _: options - 1)
        if shares is not None and not any(shares.values()):
            return [largest]
        return [largest, self.smallest(shares), *(self._random(shares, self.rng) for _ in range(self.random))]

    def elastic(self, progress: float) -> Mapping[str, float] | None:
        """Of each dimension how much of it is elastic, 0 to 1; None: everything."""
        if not self.stages:
            return None
        times = Counter(self.stages)
        done = Counter(stage for stage, begin in zip(self.stages, self.begins, strict=True) if begin <= progress)
        return {dimension: done[dimension] / times[dimension] for dimension in times}

    def opened(self, progress: float) -> Sequence[str]:
        """The dimensions that become elastic for the first time exactly then."""
        first = dict(reversed(list(zip(self.stages, self.begins, strict=True))))
        return [stage for stage, begin in first.items() if begin == progress]

    def smallest(self, shares: Mapping[str, float] | None) -> Architecture:
        """The smallest architecture, as far as dimensions are elastic."""
        return self.walk(lambda options, dimension: _least(options, dimension, shares))

    def walk(self, choose: Callable[[int, str], int]) -> Architecture:
        """The architecture that a rule gives, which is told how many options there are, and the dimension."""
        assert isinstance(self.space, Elastic)
        prefix: Architecture = ()
        while options := self.space.arity(prefix):
            prefix = (*prefix, choose(options, self.space.dimension(prefix)))
        return prefix

    def _random(self, shares: Mapping[str, float] | None, rng: np.random.Generator) -> Architecture:
        return self.walk(lambda options, dimension: int(rng.integers(_least(options, dimension, shares), options)))

    def multiply_adds(self, progress: float, size: Callable[[Architecture | None], int]) -> int:
        """The mean over the architectures of an update; of random ones over several."""
        shares = self.elastic(progress)
        if shares is not None and not any(shares.values()):
            return size(self.draw(progress)[0])  # type: ignore[arg-type]
        rng = stream(0, "size")
        drawn = [size(self._random(shares, rng)) for _ in range(SIZED)] if self.random else [0]
        ends = size(self.walk(lambda options, _: options - 1)) + size(self.smallest(shares))
        return round((ends + self.random * float(np.mean(drawn))) / (2 + self.random))


def dimensions(space: Space) -> set[str]:
    """What decisions of an ``Elastic`` space are about, as far as its largest architecture has them."""
    assert isinstance(space, Elastic)
    found: set[str] = set()
    prefix: Architecture = ()
    while options := space.arity(prefix):
        found.add(space.dimension(prefix))
        prefix = (*prefix, options - 1)
    return found


def _least(options: int, dimension: str, shares: Mapping[str, float] | None) -> int:
    """The smallest option that may be chosen: of a dimension that is half elastic, half of the others are not."""
    return 0 if shares is None else (options - 1) - math.floor((options - 1) * shares.get(dimension, 0.0) + 1e-9)


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
