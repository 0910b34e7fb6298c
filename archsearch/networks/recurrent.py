"""Recurrent networks: tokens are embedded, a cell goes over them one after the other, and its outputs tell the next.

A recurrent space writes a cell; everything around it is here, alike for all of them: embedding, hidden state that is
carried from one segment of a text to the next, dropout, decoder.

Dropout is variational (Gal & Ghahramani 2016): one mask for a segment, the same at all its positions, on the cell's
inputs, its hidden state and its outputs. The decoder may have the embedding's weights (Inan et al. 2017, Press & Wolf
2017).
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional

from archsearch.networks.network import InputShape, Network
from archsearch.trial import Architecture

States = tuple[torch.Tensor, ...]
"""Hidden states, each of the shape (batch, width); the first one is the cell's output."""

EMBEDDED = 0.1
"""Initial embeddings are uniform between plus and minus this."""


class CarriedState:
    """The hidden state between the segments of a text; gradients do not flow through it.

    Several passes over one segment all begin with ``before``; the last one says what comes ``after``.
    """

    def __init__(self) -> None:
        self.before: States | None = None
        self.after: States | None = None

    def go_on(self) -> None:
        """To the next segment."""
        self.before = self.after


class RecurrentCell(nn.Module, abc.ABC):
    """Base class of the cells of recurrent spaces.

    An author writes ``step``, and ``projected`` if some of the work can be done for all positions at once.

    Attributes:
        hidden: How many hidden states are carried.
    """

    hidden: int = 1

    def projected(self, x: torch.Tensor, choice: Any) -> torch.Tensor:
        """What ``step`` is given of the inputs, shape (length, batch, width); the first dimension stays."""
        return x

    @abc.abstractmethod
    def step(self, x: torch.Tensor, states: States, choice: Any) -> States:
        """The new hidden states.

        Args:
            x: Of one position, as ``projected`` made it.
            states: The previous ones.
            choice: What to compute, as the network's ``chosen`` gives it.
        """


class RecurrentNetwork(Network):
    """Embedding, cell, decoder.

    Args:
        architecture: As of ``Network``.
        task: ``classes`` is the size of the vocabulary.
        cell: The cell.
        width: Of embeddings and hidden states, >= 1.
        tied: Whether the decoder has the embedding's weights.
    """

    input_dtype: ClassVar[torch.dtype] = torch.int64

    def __init__(
        self, architecture: Architecture | None, task: InputShape, cell: RecurrentCell, width: int, tied: bool
    ) -> None:
        super().__init__(architecture)
        self.width = width
        self.embedding = Embedding(task.classes, width)
        self.cell = cell
        self.decoder = Decoder(task.classes, None if tied else width)

    def chosen(self, architecture: Architecture) -> Any:
        """What the cell's ``step`` is told to compute; by default the architecture itself."""
        return architecture

    def forward(
        self, tokens: torch.Tensor, architecture: Architecture | None = None, carried: CarriedState | None = None
    ) -> torch.Tensor:
        """Logits of the next token at each position, shape (batch, length, vocabulary).

        Args:
            tokens: Shape (batch, length).
            architecture: The path, of a super-network.
            carried: The hidden state to begin with, and where to leave that at the end; None: zeros.
        """
        return self.unrolled(tokens, self.chosen(self.path(architecture)), carried)

    def unrolled(self, tokens: torch.Tensor, choice: Any, carried: CarriedState | None = None) -> torch.Tensor:
        """As ``forward``, for what the cell's ``step`` is told."""
        x = self.embedding(tokens.t())
        states = None if carried is None else carried.before
        if states is None:
            states = tuple(x.new_zeros(x.shape[1:]) for _ in range(self.cell.hidden))
        masks = [self._mask(x[0]) for _ in range(3)]
        outputs = []
        for given in self.cell.projected(_masked(x, masks[0]), choice).unbind(0):
            states = self.cell.step(given, tuple(_masked(state, masks[1]) for state in states), choice)
            outputs.append(states[0])
        if carried is not None:
            carried.after = tuple(state.detach() for state in states)
        found: torch.Tensor = self.decoder(_masked(torch.stack(outputs), masks[2]), self.embedding.weight)
        return found.transpose(0, 1)

    def _mask(self, like: torch.Tensor) -> torch.Tensor | None:
        if not self.training or self.dropout <= 0:
            return None
        kept = torch.rand(like.shape, generator=self.generator).to(like.device) >= self.dropout
        return kept / (1 - self.dropout)


def _masked(x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    return x if mask is None else x * mask


class Embedding(nn.Module):
    """A vector for each token."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(tokens, width))

    def initialise(self, generator: torch.Generator) -> None:
        """See ``archsearch.networks.network.initialise``."""
        nn.init.uniform_(self.weight, -EMBEDDED, EMBEDDED, generator=generator)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return functional.embedding(tokens, self.weight)


class Decoder(nn.Module):
    """Logits of tokens: a linear map, with weights of its own or those that it is given.

    Args:
        tokens: Size of the vocabulary.
        width: Of its own weights; None: it has none.
    """

    def __init__(self, tokens: int, width: int | None) -> None:
        super().__init__()
        self.weight = None if width is None else nn.Parameter(torch.empty(tokens, width))
        self.bias = nn.Parameter(torch.empty(tokens))

    def initialise(self, generator: torch.Generator) -> None:
        """See ``archsearch.networks.network.initialise``."""
        nn.init.zeros_(self.bias)
        if self.weight is not None:
            nn.init.uniform_(self.weight, -EMBEDDED, EMBEDDED, generator=generator)

    def forward(self, x: torch.Tensor, tied: torch.Tensor) -> torch.Tensor:
        """Logits; ``tied`` are the weights to use if there are none of its own."""
        return functional.linear(x, tied if self.weight is None else self.weight, self.bias)


ACTIVATIONS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "identity": lambda x: x,
}


def highway(state: torch.Tensor, both: torch.Tensor, activations: Sequence[tuple[str, Any]]) -> torch.Tensor:
    """A node that lets some of its input by: the gate and what it mixes in are two halves of one linear map.

    Args:
        state: What the node reads, shape (batch, width).
        both: The linear map of it, shape (batch, 2 * width).
        activations: Names, each with a weight; with the number 1 it is left as it is.
    """
    gate, value = both.chunk(2, dim=-1)
    gate = torch.sigmoid(gate)
    total: torch.Tensor | None = None
    for name, weight in activations:
        term = torch.lerp(state, ACTIVATIONS[name](value), gate)
        term = term if isinstance(weight, (int, float)) and weight == 1 else term * weight
        total = term if total is None else total + term
    assert total is not None
    return total
