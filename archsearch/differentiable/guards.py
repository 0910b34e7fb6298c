"""Guards: what keeps search by gradient from going wrong.

References: Zela et al., "Understanding and robustifying differentiable architecture search", ICLR 2020 (R-DARTS: stop
when the largest eigenvalue rises); Liang et al., "DARTS+", 2019 (stop when skip connections take over, or nothing
changes any more); Chen & Hsieh, "Stabilizing differentiable architecture search via perturbation-based regularization",
ICML 2020 (SmoothDARTS: weights are trained under random perturbation).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from archsearch.basics.checks import at_least_one, number
from archsearch.differentiable.part import Part, Pass
from archsearch.networks.network import Weights

Record = Mapping[str, Any]
"""What was noted of an epoch: ``epoch`` (from 1), ``eigenvalue``, ``skips``, ``derived``, ..."""


class Guard(Part):
    """Base of all guards; an author overrides one of the methods.

    Attributes:
        needs_eigenvalue: Whether the largest eigenvalue is to be noted after each epoch, which takes time.
    """

    needs_eigenvalue: bool = False

    def perturbed(self, weights: list[Weights], now: Pass) -> list[Weights]:
        """Changes the weights of candidates while the weights of the network are trained."""
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

    Args:
        first: How far at the begin, >= 0: uniformly up to that, in both directions.
        last: How far at the end.
        frozen: Share of the search, 0 to 1, in which nothing is moved.
    """

    def __init__(self, first: float = 0.03, last: float = 0.3, frozen: float = 0.0) -> None:
        self.first = number("RandomPerturbation", "first", first, low=0)
        self.last = number("RandomPerturbation", "last", last, low=0)
        self.frozen = number("RandomPerturbation", "frozen", frozen, low=0, high=1)

    def perturbed(self, weights: list[Weights], now: Pass) -> list[Weights]:
        """See ``Guard``; the weights of a choice remain between 0 and 1, and their sum what it was."""
        if now.progress < self.frozen:
            return weights
        reach = self.first + (self.last - self.first) * now.progress
        moved: list[Weights] = []
        for some in weights:
            values = torch.stack([torch.as_tensor(value, dtype=torch.float32) for value in some.values()])
            noise = torch.rand(len(values), generator=now.generator).to(values) * 2 - 1
            shaken = (values + reach * noise).clamp(0, 1)
            total = shaken.sum()
            values = shaken * (values.sum() / total) if total > 0 else values
            moved.append(dict(zip(some, values.unbind(), strict=True)))
        return moved


def skips_in_first_cell(names: Sequence[str], skips: Sequence[bool]) -> int:
    """Skip connections of an architecture in the first kind of cell.

    Args:
        names: Of the choices, such as ``normal 0->2``; where they have one word, there is one kind of cell.
        skips: Whether each has a skip connection.
    """
    kinds = [name.split(" ")[0] if " " in name and not name.startswith("layer") else "" for name in names]
    return sum(skip for kind, skip in zip(kinds, skips, strict=True) if kind == kinds[0])
