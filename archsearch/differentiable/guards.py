"""Guards: what keeps search by gradient from going wrong.

References: Zela et al., "Understanding and robustifying differentiable architecture search", ICLR 2020 (R-DARTS: stop
when the largest eigenvalue rises, or go back and regularise more); Liang et al., "DARTS+", 2019 (stop when skip
connections take over, or the ranking of operations stays); Chen & Hsieh, "Stabilizing differentiable architecture
search via perturbation-based regularization", ICML 2020 (SmoothDARTS: weights are trained under random perturbation);
Chen et al., "Progressive differentiable architecture search", ICCV 2019 (P-DARTS: dropout of skip connections); Tian et
al., "Discretization-aware architecture search", Pattern Recognition 2021 (DA2S: the weights' entropy in the loss).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from archsearch.basics.checks import at_least_one, number
from archsearch.differentiable.parameters import ArchitectureParameters
from archsearch.differentiable.part import Part, Pass, Schedule
from archsearch.differentiable.relaxations import Relaxation
from archsearch.networks.network import Weights

Record = Mapping[str, Any]
"""What was noted of an epoch: ``epoch`` (from 1), ``eigenvalue``, ``skips``, ``derived``, ``ranking``, ..."""


class Retry(NamedTuple):
    """To go back, and on with another weight decay.

    Attributes:
        epoch: The epoch after whose end the search goes on, from 1.
        decay: Weight decay of the network's weights from there on.
    """

    epoch: int
    decay: float


class Guard(Part):
    """Base of all guards; an author overrides one of the methods.

    Attributes:
        needs_eigenvalue: Whether the largest eigenvalue is to be noted after each epoch, which takes time.
        perturbs_all: Whether it perturbs passes for the architecture parameters, too.
        keeps: So many epochs before the last one ``retry`` may go back; the states of all of them are kept.
    """

    needs_eigenvalue: bool = False
    perturbs_all: bool = False
    keeps: int = 0

    def perturbed(self, weights: list[Weights], now: Pass) -> list[Weights]:
        """Changes the weights of candidates while the weights of the network are trained."""
        return weights

    def penalty(self, relaxation: Relaxation, parameters: ArchitectureParameters, now: Pass) -> torch.Tensor | None:
        """What is added to the loss of the architecture parameters; None: nothing."""
        return None

    def retry(self, records: Sequence[Record], decay: float) -> Retry | None:
        """Whether to go back, told of all epochs so far and of the weight decay; asked before ``stop``."""
        return None

    def stop(self, records: Sequence[Record]) -> int | None:
        """Whether to stop, told of all epochs so far: the epoch whose architecture parameters are taken, or None."""
        return None

    def prune(self, parameters: ArchitectureParameters, now: Pass, records: Sequence[Record]) -> None:
        """May set entries of ``parameters.alive`` to False after an epoch, but for the last candidate of a choice."""


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


class AdaptiveDecay(EigenvalueStop):
    """Goes back when the largest eigenvalue has risen too much, and on with a greater weight decay (DARTS-ADA).

    Weights, optimisers, architecture parameters and the source of randomness go back ``lag`` epochs, whose states are
    kept for that: in the run folder, or in memory where there is none. What was spent remains spent. With the greatest
    decay it stops as ``EigenvalueStop`` does.

    Args:
        ratio: See ``EigenvalueStop``.
        window: See ``EigenvalueStop``.
        lag: See ``EigenvalueStop``; so many states are kept, each with the weights and their momenta.
        first: See ``EigenvalueStop``.
        factor: By what the weight decay is multiplied, > 1. The authors' code has 3.
        most: The greatest weight decay, > 0. The authors' code has 0.0243, which is 3e-4 multiplied four times.
    """

    def __init__(
        self,
        ratio: float = 1.3,
        window: int = 5,
        lag: int = 4,
        first: int = 10,
        factor: float = 3.0,
        most: float = 0.0243,
    ) -> None:
        super().__init__(ratio, window, lag, first)
        self.factor = number("AdaptiveDecay", "factor", factor, above=1)
        self.most = number("AdaptiveDecay", "most", most, above=0)
        self.keeps = self.lag

    def retry(self, records: Sequence[Record], decay: float) -> Retry | None:
        """See ``Guard``."""
        back = self.stop(records)
        return Retry(back, min(decay * self.factor, self.most)) if back is not None and decay < self.most else None


class SkipStop(Guard):
    """Stops when the derived architecture has too many skip connections (DARTS+, first criterion).

    Args:
        skips: Skip connections at which to stop, >= 1, counted in the first kind of cell, such as the normal one. The
            paper stops at two.
        first: The first epoch in which it may stop, >= 1.
    """

    def __init__(self, skips: int = 2, first: int = 1) -> None:
        self.skips = at_least_one("SkipStop", "skips", skips)
        self.first = at_least_one("SkipStop", "first", first)

    def stop(self, records: Sequence[Record]) -> int | None:
        """See ``Guard``."""
        n = len(records)
        return n if n >= self.first and records[-1]["skips"] >= self.skips else None


class StableRanking(Guard):
    """Stops when the order of the learnable candidates of each choice has stayed for long (DARTS+, second criterion).

    Learnable are those that are neither ``none`` nor a skip connection nor pooling; they are ordered by their
    architecture parameters. Epochs in which these are frozen do not count.

    Args:
        epochs: Epochs without a change, >= 1. The paper uses 10.
        first: The first epoch in which it may stop, >= 1.
    """

    def __init__(self, epochs: int = 10, first: int = 1) -> None:
        self.epochs = at_least_one("StableRanking", "epochs", epochs)
        self.first = at_least_one("StableRanking", "first", first)

    def stop(self, records: Sequence[Record]) -> int | None:
        """See ``Guard``."""
        n, last = len(records), [record["ranking"] for record in records[-self.epochs - 1 :]]
        stays = len(last) > self.epochs and last[0] is not None and all(order == last[0] for order in last)
        return n if n >= self.first and stays else None


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

    def perturbed(self, weights: list[Weights], now: Pass) -> list[Weights]:
        """See ``Guard``."""
        dropped = self.probability(now.progress)
        keeps = torch.rand(len(weights), generator=now.generator) >= dropped
        found: list[Weights] = []
        for some, choice, kept in zip(weights, now.choices, keeps.tolist(), strict=True):
            factor = kept / (1 - dropped)
            found.append({i: weight * factor if i == choice.skip else weight for i, weight in some.items()})
        return found


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


def mean_entropy(strengths: Sequence[torch.Tensor]) -> torch.Tensor:
    """The mean of the entropies of some distributions, in nats; each is divided by its sum first."""
    shares = (some / some.sum() for some in strengths)
    entropies = [-(share * share.clamp_min(torch.finfo(share.dtype).tiny).log()).sum() for share in shares]
    return torch.stack(entropies).mean()


def ranking(parameters: ArchitectureParameters) -> list[int]:
    """The learnable candidates that are left, choice by choice, those with the greatest parameters first."""
    found: list[int] = []
    logits, alive_ones = parameters.by_choice(parameters.logits.detach()), parameters.by_choice(parameters.alive)
    for choice, own, alive in zip(parameters.choices, logits, alive_ones, strict=True):
        found += sorted((i for i in choice.learnable if alive[i]), key=lambda i: -float(own[i]))
    return found


def in_first_cell(names: Sequence[str]) -> list[bool]:
    """Which choices belong to the first kind of cell, such as the normal one.

    Args:
        names: Of the choices, such as ``normal 0->2``; where they have one word, there is one kind of cell.
    """
    kinds = [name.split(" ")[0] if " " in name and not name.startswith("layer") else "" for name in names]
    return [kind == kinds[0] for kind in kinds]
