"""Channels in the order of their importance, so that smaller networks have the most important ones.

Reference: Cai et al., "Once-for-all", ICLR 2020, section 3.3 (elastic width: channels sorted by the L1 norm of their
weights before width becomes elastic). Units that trade places take their incoming and outgoing weights with them, so
that the network computes what it did.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import nn


class Units(NamedTuple):
    """Units inside a layer that can trade places, of which a smaller layer has the leading ones.

    Attributes:
        dimension: What a space calls the decision about how many there are, such as width.
        importance: Of each, shape (units,).
        tensors: All parameters and buffers that have a part for each unit, with the dimension along which these lie;
            a part may be several numbers wide, as that of a head is.
    """

    dimension: str
    importance: torch.Tensor
    tensors: Sequence[tuple[torch.Tensor, int]]


@runtime_checkable
class HasUnits(Protocol):
    """A layer with such units."""

    def hidden_units(self) -> Units:
        """Its units."""
        ...


def sort_units(network: nn.Module, dimension: str, optimizer: torch.optim.Optimizer | None = None) -> int:
    """Sorts the units of a dimension by importance, the most important first; of equal ones the order stays.

    Args:
        network: Its layers with ``hidden_units`` are changed, in place; at full size it computes what it did, up to
            rounding.
        dimension: Of which units.
        optimizer: What it remembers of the parameters, such as momenta, is sorted with them.

    Returns:
        How many layers have such units.
    """
    found = [module.hidden_units() for module in network.modules() if isinstance(module, HasUnits)]
    found = [units for units in found if units.dimension == dimension]
    with torch.no_grad():
        for units in found:
            order = units.importance.argsort(descending=True, stable=True)
            for tensor, along in units.tensors:
                remembered = {} if optimizer is None else optimizer.state.get(tensor, {})
                for value in (tensor, *remembered.values()):
                    if isinstance(value, torch.Tensor) and value.shape == tensor.shape:
                        _permute(value, along, order)
    return len(found)


def _permute(value: torch.Tensor, along: int, order: torch.Tensor) -> None:
    parts = value.reshape(*value.shape[:along], len(order), -1, *value.shape[along + 1 :])
    value.copy_(parts.index_select(along, order.to(value.device)).flatten(along, along + 1))


def l1_norm(weight: torch.Tensor) -> torch.Tensor:
    """Importance of units by the weights that lie along dimension 0: the sum of their absolute values."""
    return weight.detach().abs().flatten(1).sum(1)
