"""Optimisers, and the course of the learning rate."""

from __future__ import annotations

import math

import torch

from archsearch.networks.network import Network
from archsearch.training.recipe import Recipe


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
