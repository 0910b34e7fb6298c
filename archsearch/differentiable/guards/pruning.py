"""A guard that wipes candidates out on the way.

Reference: Bi et al., "GOLD-NAS: gradual, one-level, differentiable", 2020.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from archsearch.basics.checks import at_least_one, number
from archsearch.differentiable.guards.guard import Guard
from archsearch.differentiable.parameters import ArchitectureParameters
from archsearch.differentiable.part import Pass, Record


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
