"""A guard that pushes mixing weights to the ends.

Reference: Tian et al., "Discretization-aware architecture search", Pattern Recognition 2021 (DA2S).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from archsearch.basics.checks import number
from archsearch.differentiable.guards.guard import Guard
from archsearch.differentiable.parameters import ArchitectureParameters
from archsearch.differentiable.part import Pass, Schedule
from archsearch.differentiable.relaxations import Relaxation


class EntropyPenalty(Guard):
    """Pushes mixing weights to the ends: their entropy is in the loss, more and more (DA2S).

    What is added is the mean entropy of the choices' candidates, in nats, and where choices have weights of their own,
    as in PC-DARTS, the mean entropy of those that end in one node. So a node whose rule keeps two edges is pushed
    towards one.

    Args:
        first: Weight of the entropy at the begin, >= 0.
        last: Weight at the end, >= 0, to which it changes linearly. Both defaults are ours.
    """

    def __init__(self, first: float = 0.0, last: float = 1.0) -> None:
        self.first = number("EntropyPenalty", "first", first, low=0)
        self.last = number("EntropyPenalty", "last", last, low=0)

    def penalty(self, relaxation: Relaxation, parameters: ArchitectureParameters, now: Pass) -> torch.Tensor | None:
        """See ``Guard``."""
        total = mean_entropy(relaxation.all_strengths(parameters))
        if len(parameters.edges):
            total = total + mean_entropy([torch.softmax(parameters.edges[group], 0) for group in parameters.groups()])
        return Schedule(self.first, self.last).at(now.progress) * total


def mean_entropy(strengths: Sequence[torch.Tensor]) -> torch.Tensor:
    """The mean of the entropies of some distributions, in nats; each is divided by its sum first."""
    shares = (some / some.sum() for some in strengths)
    entropies = [-(share * share.clamp_min(torch.finfo(share.dtype).tiny).log()).sum() for share in shares]
    return torch.stack(entropies).mean()
