"""Inheriting weights: values picked out of a super-network by name, and statistics of batch normalisation made anew."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy.typing as npt
import torch

from archsearch.elastic import part_of
from archsearch.networks.network import Network
from archsearch.networks.undisturbed import batch_norms
from archsearch.trial import Architecture


def inherit(network: Network, values: Mapping[str, torch.Tensor], share: float = 1.0) -> None:
    """Gives a stand-alone network the super-network's values of the same names, or what it has of larger ones.

    Args:
        network: Has initial values.
        values: Of the super-network.
        share: Of the super-network's values, 0 to 1; the rest is the network's own.
    """
    with torch.no_grad():
        parts = part_of(values, network)
        for name, value in network.state_dict().items():
            inherited = parts[name]
            if share == 1 or not value.is_floating_point():
                value.copy_(inherited)
            else:
                value.lerp_(inherited.to(value), share)


def recompute_statistics(network: Network, architecture: Architecture | None, batches: Iterable[torch.Tensor]) -> None:
    """Means and variances over some batches of images take the place of those that a network has."""
    layers = batch_norms(network)
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the mean over all batches
    network.train()
    with torch.no_grad():
        for images in batches:
            network(images, architecture)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def stored(value: torch.Tensor) -> npt.NDArray[Any]:
    """A NumPy array, which Ray gives to all workers of a machine without a copy; of images' weights channels last."""
    array: npt.NDArray[Any] = (
        (value.permute(0, 2, 3, 1) if value.ndim == 4 else value).clone().cpu().contiguous().numpy()
    )
    return array


def as_tensor(array: npt.NDArray[Any]) -> torch.Tensor:
    """What ``stored`` took; it shares the array's memory, and must not be written to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        value = torch.from_numpy(array)
    return value.permute(0, 3, 1, 2) if value.ndim == 4 else value
