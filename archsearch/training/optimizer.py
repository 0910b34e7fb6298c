"""Optimisers, the course of the learning rate, and what of both depends on the paths of a super-network."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from archsearch.networks.network import Choice, Network
from archsearch.training.paths import Route
from archsearch.training.recipe import Recipe
from archsearch.trial import Architecture


def make_optimizer(network: Network, recipe: Recipe, device: torch.device) -> torch.optim.Optimizer:
    """The recipe's optimiser of all parameters of a network, fused where PyTorch can."""
    weights = list(network.parameters())
    fused = device.type in ("cpu", "cuda")
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(weights, recipe.learning_rate, weight_decay=recipe.weight_decay, fused=fused)
    optimizer = torch.optim.SGD(
        weights,
        recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov and recipe.momentum > 0,
        fused=fused,
    )
    if network.architecture is None and recipe.momentum > 0:
        # A super-network's updates leave weights out; the fused optimiser then needs every momentum from the start.
        for weight in weights:
            optimizer.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
    return optimizer


def share_of_rate(step: int, total: int, rising: int) -> float:
    """Share of the highest learning rate: a linear rise, then half a cosine.

    Args:
        step: Updates that are done.
        total: Updates of the whole schedule, where the rate reaches 0.
        rising: Updates of the rise.
    """
    rising = min(rising, total)
    if step < rising:
        return (step + 1) / rising
    return (1 + math.cos(math.pi * (step - rising) / (total - rising))) / 2


class PathUpdates:
    """What in an update of a super-network depends on its paths; and what is noted of its gradients.

    Complexity-dependent rates and momenta kept apart: Jeon et al., "Subnet-aware dynamic supernet training for neural
    architecture search", CVPR 2025. They cluster paths by structure; here it is by size.

    Args:
        size: Multiply-adds of a path.
        sizes: Those of some random paths, at least one.
        by_size: 0: all paths have one course of the learning rate. Above: the share of the highest rate is raised to
            the power ``(mean size / size) ** by_size``, so that it falls later for heavy paths and earlier for light
            ones; below 0 the other way round.
        groups: Groups of paths of similar size, >= 1, which have moments of their own: those of ``Run.others``, from
            the second on.
        notes: Whether to note how often, and with which gradients, each candidate is trained.

    Attributes:
        noted: Name of a candidate of a choice, to in how many updates it had gradients, and the sum of their norms.
    """

    def __init__(
        self,
        size: Callable[[Architecture], int],
        sizes: Sequence[int],
        by_size: float = 0.0,
        groups: int = 1,
        notes: bool = False,
    ) -> None:
        self._size = size
        self._mean = float(np.mean(sizes))
        self._limits = np.quantile(sizes, np.arange(1, groups) / groups).tolist()
        self._by_size = by_size
        self._notes = notes
        self._candidates: list[tuple[str, list[torch.Tensor]]] | None = None
        self.noted: dict[str, list[float]] = {}

    def power(self, paths: Sequence[Route]) -> float:
        """To which the share of the highest learning rate is raised in an update of these paths."""
        return (self._mean / self._of(paths)) ** self._by_size if self._by_size else 1.0

    def optimizer(
        self, first: torch.optim.Optimizer, others: Mapping[str, torch.optim.Optimizer], paths: Sequence[Route]
    ) -> torch.optim.Optimizer:
        """The one that makes an update of these paths: that of the first group, or one of the others by name."""
        group = bisect.bisect_left(self._limits, self._of(paths)) if self._limits else 0
        return others[moments(group)] if group else first

    def _of(self, paths: Sequence[Route]) -> float:
        return float(np.mean([self._size(path) for path in paths]))  # type: ignore[arg-type]  # no mixtures

    def note(self, network: Network) -> None:
        """Notes the gradients that there are."""
        if not self._notes:
            return
        if self._candidates is None:
            self._candidates = candidates_of(network)
        for name, weights in self._candidates:
            gradients = [weight.grad for weight in weights if weight.grad is not None]
            if gradients:
                row = self.noted.setdefault(name, [0.0, 0.0])
                row[0] += 1
                row[1] += math.hypot(*(norm.item() for norm in torch._foreach_norm(gradients)))


def moments(group: int) -> str:
    """Name among ``Run.others`` of the optimiser of a group of paths."""
    return f"paths {group}"


def candidates_of(network: Network) -> list[tuple[str, list[torch.Tensor]]]:
    """The candidates of all choices that have weights, by the names of their modules, with these."""
    found: list[tuple[str, list[torch.Tensor]]] = [
        (f"{place}.{name}", list(candidate.parameters()))
        for place, choice in network.named_modules()
        if isinstance(choice, Choice)
        for name, candidate in choice.items()
    ]
    return [(name, weights) for name, weights in found if weights]
