"""The networks of ``MLP``: linear layers and ReLU, and a linear layer to the outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from archsearch.elastic import ElasticLinear
from archsearch.networks.network import InputShape, Network
from archsearch.trial import Architecture

if TYPE_CHECKING:
    from archsearch.spaces.mlp import MLP


class MLPNetwork(Network):
    """Hidden layers, of which an architecture has the first ones with their leading units, and the outputs.

    Args:
        architecture: What it stands for, or None for the super-network.
        task: How many columns come in, and how many values go out.
        space: Knows what architectures stand for.
    """

    def __init__(self, architecture: Architecture | None, task: InputShape, space: MLP) -> None:
        super().__init__(architecture)
        self._space = space
        (features,) = task.input_shape
        hidden = space.widths[-1:] * space.depths[-1] if architecture is None else space.hidden(architecture)
        self.hidden = nn.ModuleList()
        sizes = [features]
        for width in hidden:
            self.hidden.append(ElasticLinear(sizes[-1], width))
            sizes.append(width)
        # Whatever comes last goes out: of the super-network the outputs of any depth, the columns of depth 0 included.
        self.output = ElasticLinear(
            max(sizes[min(space.depths) :]) if architecture is None else sizes[-1], task.classes
        )

    def forward(self, rows: torch.Tensor, architecture: Architecture | None = None) -> torch.Tensor:
        """Rows, shape (batch, columns), to logits or numbers, shape (batch, classes)."""
        widths = self._space.hidden(self.path(architecture))
        for layer, width in zip(self.hidden, widths, strict=False):
            rows = layer(rows, width).relu()
        outputs: torch.Tensor = self.output(rows)
        return outputs
