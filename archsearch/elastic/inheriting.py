"""What a small network inherits from a large one: the leading part of each value, or what a layer makes of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import nn


@runtime_checkable
class Inherits(Protocol):
    """A layer that inherits something else than leading parts, such as the inner part of a kernel."""

    def inherited(self, values: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """Values of this layer's size, by name; those that are not named are leading parts.

        Args:
            values: Of the same layer in the large network, parameters and buffers.
        """
        ...


def part_of(values: Mapping[str, torch.Tensor], network: nn.Module) -> dict[str, torch.Tensor]:
    """The values that a network inherits, for all that is in its ``state_dict``.

    Args:
        values: Of a network that is at least as large, by the same names.
        network: The small one; it is left as it is.
    """
    made: dict[str, torch.Tensor] = {}
    for prefix, module in network.named_modules():
        if isinstance(module, Inherits):
            below = f"{prefix}." if prefix else ""
            own = {name: values[below + name] for name in values_below(values, below)}
            made |= {below + name: value for name, value in module.inherited(own).items()}
    return {
        name: made[name] if name in made else values[name][tuple(map(slice, value.shape))]
        for name, value in network.state_dict().items()
    }


def values_below(values: Mapping[str, torch.Tensor], prefix: str) -> list[str]:
    """Names of the values whose names begin so, without that beginning."""
    return [name.removeprefix(prefix) for name in values if name.startswith(prefix)]
