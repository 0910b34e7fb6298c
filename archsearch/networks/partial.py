"""Partial channels: the candidates of a choice see some of the channels, the others pass by.

Reference: Xu et al., "PC-DARTS: partial channel connections for memory-efficient architecture search", ICLR 2020,
section 3.2 and the authors' code: the first of ``part`` equal parts of the channels goes through the candidates; the
rest passes by, through a 2x2 max-pooling where the candidates halve height and width; then channels are shuffled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.nn import functional

from archsearch.errors import UsageError
from archsearch.networks.network import Choice


class PartialChoice(Choice):
    """The candidates of one choice, made for one of ``part`` equal parts of the channels.

    Args:
        candidates: As of ``Choice``, for ``channels / part`` channels.
        part: In how many parts the channels are cut, >= 2.
        stride: Of the candidates, 1 or 2.
    """

    def __init__(self, candidates: Mapping[str, Callable[[], nn.Module]], part: int, stride: int) -> None:
        super().__init__(candidates)
        self.part = part
        self.stride = stride

    def forward(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """The output with one candidate."""
        return self.mixed(x, {name: 1.0})

    def mixed(
        self,
        x: torch.Tensor,
        weights: Mapping[str, float | torch.Tensor],
        drop: Callable[[str, torch.Tensor], torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """See ``Choice``; what passes by is neither weighed nor dropped."""
        seen = x.shape[1] // self.part
        inner, passing = x[:, :seen], x[:, seen:]
        terms = {name: self[name](inner) for name in weights}
        output = Choice.sum(terms, weights, drop)
        if self.stride == 2:
            passing = functional.max_pool2d(passing, 2, ceil_mode=True)
        return shuffled(torch.cat([output, passing], dim=1), self.part)


def choice_of(
    candidates: Callable[[int, int], Mapping[str, Callable[[], nn.Module]]],
    channels: int,
    stride: int,
    part: int = 1,
    only: str | None = None,
) -> Choice:
    """A choice whose candidates see all channels, or, in a super-network, one of ``part`` parts of them.

    Args:
        candidates: Makes them for so many channels and that stride.
        channels: Of the input.
        stride: Of the candidates.
        part: 1: all channels.
        only: As of ``Choice``.

    Raises:
        UsageError: If the channels cannot be cut so.
    """
    if part == 1:
        return Choice(candidates(channels, stride), only)
    if channels % part:
        raise UsageError(
            f"part: expected a divisor of the channels, of which a cell has {channels}, got {part}; use another part, "
            "or other channels of the skeleton"
        )
    return PartialChoice(candidates(channels // part, stride), part, stride)


def shuffled(x: torch.Tensor, groups: int) -> torch.Tensor:
    """The channels, one of each group in turn (ShuffleNet), so that others are seen by the next operation."""
    batch, channels, height, width = x.shape
    return x.view(batch, groups, channels // groups, height, width).transpose(1, 2).reshape(x.shape)
