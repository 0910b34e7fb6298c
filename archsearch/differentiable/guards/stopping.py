"""Guards that end a search, or take it back.

References: Zela et al., "Understanding and robustifying differentiable architecture search", ICLR 2020 (R-DARTS: stop
when the largest eigenvalue rises, or go back and regularise more); Liang et al., "DARTS+", 2019 (stop when skip
connections take over, or the ranking of operations stays).
"""

from __future__ import annotations

from collections.abc import Sequence

from archsearch.basics.checks import at_least_one, number
from archsearch.differentiable.guards.guard import Guard, Retry
from archsearch.differentiable.parameters import ArchitectureParameters
from archsearch.differentiable.part import Record


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
