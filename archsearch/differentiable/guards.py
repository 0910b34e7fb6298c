"""Guards: what keeps search by gradient from going wrong.

References: Zela et al., "Understanding and robustifying differentiable architecture search", ICLR 2020 (R-DARTS: stop
when the largest eigenvalue rises); Liang et al., "DARTS+", 2019 (stop when skip connections take over, or nothing
changes any more); Chen & Hsieh, "Stabilizing differentiable architecture search via perturbation-based regularization",
ICML 2020, with the authors' code (SmoothDARTS: weights are trained under random or adversarial perturbation).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch

from archsearch.basics.checks import at_least_one, number
from archsearch.differentiable.part import Part, Pass
from archsearch.errors import UsageError
from archsearch.networks.network import Weights

Record = Mapping[str, Any]
"""What was noted of an epoch: ``epoch`` (from 1), ``eigenvalue``, ``skips``, ``derived``, ..."""


LossOf = Callable[[list[Weights]], torch.Tensor]
"""The training loss with these weights of candidates, of a new pass that is billed with its way back; the network, its
statistics of batches included, stays as it is."""

LossAt = Callable[[list[torch.Tensor]], torch.Tensor]
"""The same, of the weights of each choice as a tensor."""


class Guard(Part):
    """Base of all guards; an author overrides one of the methods.

    Attributes:
        needs_eigenvalue: Whether the largest eigenvalue is to be noted after each epoch, which takes time.
    """

    needs_eigenvalue: bool = False

    def perturbed(self, weights: list[Weights], now: Pass, loss: LossOf) -> list[Weights]:
        """Changes the weights of candidates while the weights of the network are trained.

        Args:
            weights: Of each choice.
            now: Which pass it is.
            loss: Tries others on the same images.
        """
        return weights

    def stop(self, records: Sequence[Record]) -> int | None:
        """Whether to stop, told of all epochs so far: the epoch whose architecture parameters are taken, or None."""
        return None


class EigenvalueStop(Guard):
    """Stops when the largest eigenvalue of the validation loss has risen too much (R-DARTS).

    Its mean over the last ``window`` epochs is compared with that of ``lag`` epochs before, to which the search then
    goes back.

    Args:
        ratio: By how much it may have risen, > 1. The paper uses 1.3.
        window: Epochs in the mean, >= 1.
        lag: Epochs between the two, >= 1.
        first: The first epoch in which it may stop, >= 1.
    """

    needs_eigenvalue = True

    def __init__(self, ratio: float = 1.3, window: int = 5, lag: int = 4, first: int = 10) -> None:
        self.ratio = number("EigenvalueStop", "ratio", ratio, above=1)
        self.window = at_least_one("EigenvalueStop", "window", window)
        self.lag = at_least_one("EigenvalueStop", "lag", lag)
        self.first = at_least_one("EigenvalueStop", "first", first)

    def stop(self, records: Sequence[Record]) -> int | None:
        """See ``Guard``."""
        n = len(records)
        if n < self.first or n < self.window + self.lag:
            return None
        values = [record["eigenvalue"] for record in records]
        now, before = (sum(values[end - self.window : end]) / self.window for end in (n, n - self.lag))
        return n - self.lag if before > 0 and now / before > self.ratio else None


class SkipStop(Guard):
    """Stops when the derived architecture has too many skip connections, or has not changed for long (DARTS+).

    Args:
        skips: Skip connections at which to stop, >= 1, counted in the first kind of cell, such as the normal one. The
            paper stops at two.
        stable: Epochs without a change of the derived architecture after which to stop, >= 1. The paper uses 10.
        first: The first epoch in which it may stop, >= 1.
    """

    def __init__(self, skips: int = 2, stable: int = 10, first: int = 1) -> None:
        self.skips = at_least_one("SkipStop", "skips", skips)
        self.stable = at_least_one("SkipStop", "stable", stable)
        self.first = at_least_one("SkipStop", "first", first)

    def stop(self, records: Sequence[Record]) -> int | None:
        """See ``Guard``."""
        n = len(records)
        if n < self.first:
            return None
        if records[-1]["skips"] >= self.skips:
            return n
        last = [tuple(record["derived"]) for record in records[-self.stable - 1 :]]
        return n if len(last) > self.stable and len(set(last)) == 1 else None


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


def skips_in_first_cell(names: Sequence[str], skips: Sequence[bool]) -> int:
    """Skip connections of an architecture in the first kind of cell.

    Args:
        names: Of the choices, such as ``normal 0->2``; where they have one word, there is one kind of cell.
        skips: Whether each has a skip connection.
    """
    kinds = [name.split(" ")[0] if " " in name and not name.startswith("layer") else "" for name in names]
    return sum(skip for kind, skip in zip(kinds, skips, strict=True) if kind == kinds[0])
