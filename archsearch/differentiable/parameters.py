"""Architecture parameters: one number for each candidate of each choice, and perhaps one for each choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from archsearch.relaxing import RelaxedChoice

INITIAL_DEVIATION = 1e-3
"""Standard deviation of the initial parameters, around 0 (DARTS)."""


class ArchitectureParameters:
    """The architecture parameters of a search.

    Args:
        choices: The choices of the space.
        edges: Whether each choice has a number of its own, too (PC-DARTS).
        generator: Of the initial values.
        device: Where they are.

    Attributes:
        logits: Of the candidates of all choices, one after another, shape (n,).
        edges: Of the choices, shape (choices,), or (0,) if they have none.
        alive: Which candidates there still are, shape (n,).
        rings: What the kernels of each layer are like, where the network mixes them; see ``MixesKernels``.
    """

    def __init__(
        self,
        choices: Sequence[RelaxedChoice],
        edges: bool,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
    ) -> None:
        self.choices = tuple(choices)
        self.sizes = [len(choice.candidates) for choice in choices]
        counts = sum(self.sizes), len(self.choices) if edges else 0
        values = [INITIAL_DEVIATION * torch.randn(n, generator=generator) for n in counts]
        self.logits, self.edges = (value.to(device).requires_grad_() for value in values)
        self.alive = torch.ones(counts[0], dtype=torch.bool)
        self.rings: Callable[[], Sequence[Mapping[str, torch.Tensor]]] | None = None

    @property
    def leaves(self) -> list[torch.Tensor]:
        """The tensors that are learnt."""
        return [self.logits, self.edges] if len(self.edges) else [self.logits]

    def by_choice(self, values: torch.Tensor) -> list[torch.Tensor]:
        """The values of each choice's candidates, which lie one after another."""
        return list(torch.split(values, self.sizes))

    def living(self) -> list[list[int]]:
        """The candidates of each choice that there still are."""
        return [torch.nonzero(alive).flatten().tolist() for alive in self.by_choice(self.alive)]

    def groups(self) -> list[list[int]]:
        """The choices of each group, in the order of their first ones."""
        found: dict[str, list[int]] = {}
        for i, choice in enumerate(self.choices):
            found.setdefault(choice.group, []).append(i)
        return list(found.values())

    def state(self) -> dict[str, Any]:
        """All values, as JSON data."""
        return {name: getattr(self, name).detach().tolist() for name in ("logits", "edges", "alive")}

    def load(self, state: dict[str, Any]) -> None:
        """Takes what ``state`` gave."""
        with torch.no_grad():
            for name in ("logits", "edges", "alive"):
                value = getattr(self, name)
                value.copy_(torch.tensor(state[name], dtype=value.dtype).view_as(value))
