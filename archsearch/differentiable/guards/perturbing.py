"""Guards that change the weights of candidates while a network is trained.

References: Chen & Hsieh, "Stabilizing differentiable architecture search via perturbation-based regularization", ICML
2020, with the authors' code (SmoothDARTS: weights are trained under random or adversarial perturbation); Chen et al.,
"Progressive differentiable architecture search", ICCV 2019 (P-DARTS: dropout of skip connections).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch

from archsearch.basics.checks import at_least_one, number
from archsearch.differentiable.guards.guard import Guard, LossOf
from archsearch.differentiable.part import Pass
from archsearch.errors import UsageError
from archsearch.networks.network import Weights

LossAt = Callable[[list[torch.Tensor]], torch.Tensor]
"""The same, of the weights of each choice as a tensor."""


class OperationDropout(Guard):
    """Drops skip connections at random, less and less, so that they do not take over early (P-DARTS).

    In a pass, each choice's skip connection is dropped with a probability; where it is kept, its weight is divided by
    the probability of that. This is so in all passes of the training, as in the paper, but the authors' code drops
    single numbers of the skip connection's output: here it is the candidate, for all images and cells of a pass.

    Args:
        rate: The probability at the begin, 0 <= rate < 1, and again when the architecture parameters begin to move.
        decay: It is multiplied by ``exp(-decay)`` from then to the end, >= 0. The authors' code has 3: 0.2 in each of
            15 epochs.
        frozen: Share of the search, 0 to below 1, after which they begin to move. In it the probability falls linearly,
            as in the authors' code, as if it were 0 at the end of the search.
    """

    perturbs_all = True

    def __init__(self, rate: float = 0.4, decay: float = 3.0, frozen: float = 0.0) -> None:
        self.rate = number("OperationDropout", "rate", rate, low=0, below=1)
        self.decay = number("OperationDropout", "decay", decay, low=0)
        self.frozen = number("OperationDropout", "frozen", frozen, low=0, below=1)

    def probability(self, progress: float) -> float:
        """That of dropping, when that share of the search is done."""
        if progress < self.frozen:
            return self.rate * (1 - progress)
        return self.rate * math.exp(-self.decay * (progress - self.frozen) / (1 - self.frozen))

    def perturbed(self, weights: list[Weights], now: Pass, loss: LossOf) -> list[Weights]:
        """See ``Guard``."""
        dropped = self.probability(now.progress)
        keeps = torch.rand(len(weights), generator=now.generator) >= dropped
        found: list[Weights] = []
        for some, choice, kept in zip(weights, now.choices, keeps.tolist(), strict=True):
            factor = kept / (1 - dropped)
            found.append({i: weight * factor if i == choice.skip else weight for i, weight in some.items()})
        return found


class RandomPerturbation(Guard):
    """Trains the weights of the network with candidates' weights moved at random, more and more (SDARTS-RS).

    The weights of a choice remain between 0 and 1, and their sum what it was.

    Args:
        first: How far at the begin, >= 0: uniformly up to that, in both directions.
        last: How far at the end, >= 0; in between linearly.
        frozen: Share of the search, 0 to 1, in which nothing is moved.
    """

    def __init__(self, first: float = 0.03, last: float = 0.3, frozen: float = 0.0) -> None:
        name = type(self).__name__
        self.first = number(name, "first", first, low=0)
        self.last = number(name, "last", last, low=0)
        self.frozen = number(name, "frozen", frozen, low=0, high=1)

    def perturbed(self, weights: list[Weights], now: Pass, loss: LossOf) -> list[Weights]:
        """See ``Guard``."""
        if now.progress < self.frozen:
            return weights
        reach = self.first + (self.last - self.first) * now.progress
        start = [torch.stack([torch.as_tensor(value, dtype=torch.float32) for value in w.values()]) for w in weights]
        return _named(self.moved(start, reach, now, lambda values: loss(_named(values, weights))), weights)

    def moved(self, start: list[torch.Tensor], reach: float, now: Pass, loss: LossAt) -> list[torch.Tensor]:
        """The weights of each choice's candidates, moved by up to ``reach``."""
        return [confined(values + _noise(values, reach, now), values.sum()) for values in start]


class AdversarialPerturbation(RandomPerturbation):
    """Trains the weights of the network with candidates' weights moved to where the loss is high (SDARTS-ADV).

    The training loss climbs by projected gradient ascent from a random start, in steps of twice the reach over their
    number. Each step is a pass of the network and its way back, which is billed. Ours: the passes use the statistics
    of the batch, as the one that follows does, where the authors' code takes running ones; and of the slope what is
    common to a choice is left out, since the sum of its weights stays.

    Args:
        first: Radius of the ball at the begin, >= 0. The paper uses 0.03.
        last: Radius at the end. The authors' code uses 0.3.
        frozen: Share of the search, 0 to 1, in which nothing is moved.
        steps: Of the ascent, >= 1. The authors' code uses 7.
        norm: Of the ball around the weights of each choice: max, as in the authors' code, or l2.
    """

    def __init__(
        self,
        first: float = 0.03,
        last: float = 0.3,
        frozen: float = 0.0,
        steps: int = 7,
        norm: Literal["max", "l2"] = "max",
    ) -> None:
        super().__init__(first, last, frozen)
        self.steps = at_least_one("AdversarialPerturbation", "steps", steps)
        if norm not in ("max", "l2"):
            raise UsageError(f"AdversarialPerturbation: norm: expected max or l2, got {norm!r}")
        self.norm = norm

    def moved(self, start: list[torch.Tensor], reach: float, now: Pass, loss: LossAt) -> list[torch.Tensor]:
        """See ``RandomPerturbation``; where one candidate of each choice runs, nothing can be moved."""
        if not reach or all(len(values) == 1 for values in start):
            return start
        values = [self._within(some + _noise(some, reach, now), some, reach) for some in start]
        for _ in range(self.steps):
            leaves = [some.detach().requires_grad_() for some in values]
            slopes = torch.autograd.grad(loss(leaves), leaves, allow_unused=True)
            values = [
                some if slope is None else self._within(some + 2 * reach / self.steps * self._way(slope), own, reach)
                for some, slope, own in zip(values, slopes, start, strict=True)
            ]
        return values

    def _way(self, slope: torch.Tensor) -> torch.Tensor:
        """The steepest way of length 1; what is common to all weights of a choice would change their sum."""
        slope = slope - slope.mean()
        return slope.sign() if self.norm == "max" else slope / slope.norm().clamp_min(torch.finfo(slope.dtype).tiny)

    def _within(self, values: torch.Tensor, start: torch.Tensor, reach: float) -> torch.Tensor:
        """The values, brought back to what weights can be and then, along a straight line, into the ball."""
        way = confined(values, start.sum()) - start
        length = float(way.abs().max() if self.norm == "max" else way.norm())
        return start + way * min(1.0, reach / length) if length else start


def _noise(values: torch.Tensor, reach: float, now: Pass) -> torch.Tensor:
    """Uniform between minus and plus ``reach``."""
    return reach * (torch.rand(len(values), generator=now.generator).to(values) * 2 - 1)


def _named(values: Sequence[torch.Tensor], like: Sequence[Weights]) -> list[Weights]:
    """Weights of the same candidates, with other values."""
    return [dict(zip(some, own.unbind(), strict=True)) for some, own in zip(like, values, strict=True)]


def confined(values: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    """The nearest values that lie between 0 and 1 and add up to ``total``, which is from 0 to their number.

    They are the values less a number that is the same for all, cut off at 0 and 1; it is found by halving.
    """
    shift = (values.sum() - total) / len(values)
    plain = values - shift
    if bool((plain >= 0).all()) and bool((plain <= 1).all()):
        return plain
    low, high = values.min() - 1, values.max()
    for _ in range(30):
        shift = (low + high) / 2
        over = bool((values - shift).clamp(0, 1).sum() > total)
        low, high = (shift, high) if over else (low, shift)
    return (values - shift).clamp(0, 1)
