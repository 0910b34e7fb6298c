"""Resources: what candidates cost, and the loss that this adds.

References: Wu et al., "FBNet", CVPR 2019, equation 2, and Cai, Zhu & Han, "ProxylessNAS", ICLR 2019, section 3.3, with
the authors' code (the cross-entropy times a power of the logarithm of the expected cost); Xie et al., "SNAS", ICLR 2019
(the expected cost, added).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import nn

from archsearch.basics.checks import number
from archsearch.differentiable.part import Part
from archsearch.errors import UsageError
from archsearch.networks.multiply_adds import multiply_adds
from archsearch.networks.network import Network, Weights
from archsearch.relaxing import Relaxed, RelaxedChoice


class CandidateCosts(NamedTuple):
    """Multiply-adds of one image.

    Attributes:
        fixed: Of what is not chosen.
        candidates: Of each candidate of each choice; ``none`` costs nothing.
    """

    fixed: int
    candidates: tuple[tuple[int, ...], ...]

    def of(self, weights: Sequence[Weights]) -> int:
        """Of a pass with these weights: of all candidates that have one.

        Those behind a place that nothing but ``none`` reaches are counted, too, although they need not run.
        """
        return self.fixed + sum(
            costs[option] for costs, some in zip(self.candidates, weights, strict=True) for option in some
        )

    def expected(self, strengths: Sequence[torch.Tensor]) -> torch.Tensor:
        """The mean over architectures that are drawn choice by choice, as strong as each candidate is."""
        total = torch.tensor(float(self.fixed), dtype=torch.float64)
        for costs, some in zip(self.candidates, strengths, strict=True):
            shares = some.double() / some.double().sum()
            total = total.to(shares) + shares @ torch.tensor(costs, dtype=torch.float64, device=shares.device)
        return total


def candidate_costs(network: Network, choices: Sequence[RelaxedChoice], input_shape: tuple[int, ...]) -> CandidateCosts:
    """What each candidate costs, found by adding it to a pass through one candidate of each choice.

    Args:
        network: A relaxed super-network.
        choices: Of its space.
        input_shape: Channels, height and width of an image.
    """

    def cost(weights: Sequence[Weights]) -> int:
        return multiply_adds(Mixed(network, weights), input_shape)

    some: list[int] = [_cheap(choice) for choice in choices]
    base: list[Weights] = [{option: 1.0} for option in some]
    alone, found = cost(base), []
    for i, choice in enumerate(choices):
        costs = []
        for option, name in enumerate(choice.candidates):
            if name == "none" or len(choice.candidates) == 1:
                costs.append(0)
                continue
            changed = list(base)
            if option == some[i]:  # by how much more both cost than the other one alone
                other = next(j for j in range(len(choice.candidates)) if j not in (option, choice.none))
                changed[i] = {other: 1.0}
                without = cost(changed)
                changed[i] = {other: 1.0, option: 1.0}
                costs.append(cost(changed) - without)
            else:
                changed[i] = {some[i]: 1.0, option: 1.0}
                costs.append(cost(changed) - alone)
        found.append(tuple(costs))
    return CandidateCosts(alone - sum(own[option] for own, option in zip(found, some, strict=True)), tuple(found))


def _cheap(choice: RelaxedChoice) -> int:
    """A candidate through which everything behind it is reached."""
    if choice.skip is not None:
        return choice.skip
    return next(i for i in range(len(choice.candidates)) if i != choice.none or len(choice.candidates) == 1)


class Mixed(nn.Module):
    """A relaxed network with fixed weights, to count its multiply-adds."""

    def __init__(self, network: Network, weights: Sequence[Weights]) -> None:
        super().__init__()
        self.network = network
        self.mixing = weights
        self.input_dtype = network.input_dtype

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits."""
        assert isinstance(self.network, Relaxed)
        return self.network.relaxed(images, self.mixing)


class Resource(Part):
    """Makes architectures cheap: the loss of the architecture parameters has the expected multiply-adds in it.

    Args:
        weight: How much that counts, > 0.
        form: added: ``loss + weight * expected / reference``; multiplied: ``loss * weight * (log(expected) /
            log(reference)) ** exponent``.
        exponent: Of the form multiplied, > 0.
        reference: Multiply-adds of one image, > 1. None: with the form added, those of an architecture in which each
            candidate of a choice is as probable as the others; with the form multiplied, e, whose logarithm is 1.
    """

    def __init__(
        self,
        weight: float = 0.1,
        form: Literal["added", "multiplied"] = "added",
        exponent: float = 0.6,
        reference: float | None = None,
    ) -> None:
        self.weight = number("Resource", "weight", weight, above=0)
        if form not in ("added", "multiplied"):
            raise UsageError(f"Resource: form: expected added or multiplied, got {form!r}")
        self.form = form
        self.exponent = number("Resource", "exponent", exponent, above=0)
        self.reference = None if reference is None else number("Resource", "reference", reference, above=1)

    def loss(self, loss: torch.Tensor, costs: CandidateCosts, strengths: Sequence[torch.Tensor]) -> torch.Tensor:
        """The loss of the architecture parameters, of which ``strengths`` are functions."""
        expected = costs.expected(strengths)
        if self.form == "multiplied":
            share = torch.log(expected) / math.log(self.reference or math.e)
            return loss * self.weight * share.pow(self.exponent).to(loss)
        equal = float(costs.expected([torch.ones(len(some)) for some in costs.candidates]))
        return loss + self.weight * (expected / (self.reference or equal)).to(loss)
