"""Guards: what keeps search by gradient from going wrong.

References: Zela et al., "Understanding and robustifying differentiable architecture search", ICLR 2020 (R-DARTS: stop
when the largest eigenvalue rises); Liang et al., "DARTS+", 2019 (stop when skip connections take over, or nothing
changes any more); Chen & Hsieh, "Stabilizing differentiable architecture search via perturbation-based regularization",
ICML 2020 (SmoothDARTS: weights are trained under random perturbation); Bi et al., "GOLD-NAS: gradual, one-level,
differentiable", 2020 (gradual pruning).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from archsearch.basics.checks import at_least_one, number
from archsearch.differentiable.parameters import ArchitectureParameters
from archsearch.differentiable.part import Part, Pass, Record
from archsearch.networks.network import Weights


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

    def prune(self, parameters: ArchitectureParameters, now: Pass, records: Sequence[Record]) -> None:
        """Called after each epoch that does not end the search: may set some of ``parameters.alive`` to False.

        What is wiped out does not return, and each choice keeps a candidate.
        """


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


class GradualPruning(Guard):
    """Wipes out weak operations after each epoch, a few at a time; each place keeps one (GOLD-NAS).

    The strength of an operation is its share in its choice: against ``none`` alone that is a sigmoid. A place is what a
    group of choices leads to, such as a node: its last operation stays, however weak. ``none`` is never wiped out.

    Args:
        least: Operations weaker than that go, 0 < least < 1. The paper uses 0.01.
        weak: Those weaker than that go, the weakest first, but at most ``most`` in an epoch; least <= weak < 1. The
            paper uses 0.05.
        most: See ``weak``; >= 1. The paper uses 4.
        first: The first epoch after which it prunes, >= 1.
    """

    def __init__(self, least: float = 0.01, weak: float = 0.05, most: int = 4, first: int = 1) -> None:
        self.least = number("GradualPruning", "least", least, above=0, below=1)
        self.weak = number("GradualPruning", "weak", weak, low=least, below=1)
        self.most = at_least_one("GradualPruning", "most", most)
        self.first = at_least_one("GradualPruning", "first", first)

    def prune(self, parameters: ArchitectureParameters, now: Pass, records: Sequence[Record]) -> None:
        """See ``Guard``."""
        if len(records) < self.first:
            return
        strengths = _shares(parameters)
        operations = _operations(parameters)
        left: dict[str, int] = {}
        for candidate, group in operations.items():
            left[group] = left.get(group, 0) + bool(parameters.alive[candidate])
        weakest = sorted((c for c in operations if parameters.alive[c]), key=lambda c: float(strengths[c]))
        gone = 0
        for candidate in weakest:
            if strengths[candidate] >= (self.weak if gone < self.most else self.least):
                break
            if left[operations[candidate]] > 1:
                left[operations[candidate]] -= 1
                gone += 1
                parameters.alive[candidate] = False


def skips_in_first_cell(names: Sequence[str], skips: Sequence[bool]) -> int:
    """Skip connections of an architecture in the first kind of cell.

    Args:
        names: Of the choices, such as ``normal 0->2``; where they have one word, there is one kind of cell.
        skips: Whether each has a skip connection.
    """
    kinds = [name.split(" ")[0] if " " in name and not name.startswith("layer") else "" for name in names]
    return sum(skip for kind, skip in zip(kinds, skips, strict=True) if kind == kinds[0])


def _shares(parameters: ArchitectureParameters) -> torch.Tensor:
    """The softmax over what is left of each choice; 0 for what is gone."""
    logits = parameters.logits.detach().cpu().masked_fill(~parameters.alive, -torch.inf)
    return torch.cat([torch.softmax(some, 0) for some in parameters.by_choice(logits)])


def _operations(parameters: ArchitectureParameters) -> dict[int, str]:
    """The candidates that are not ``none``, by their number among those of all choices, and their groups."""
    found: dict[int, str] = {}
    first = 0
    for choice in parameters.choices:
        found |= {first + i: choice.group for i in range(len(choice.candidates)) if i != choice.none}
        first += len(choice.candidates)
    return found
