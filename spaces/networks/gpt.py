"""Networks of ``GPT``: decoders with rotary positions, attention and perceptron side by side.

Rotary positions: Su, Lu, Pan, Murtadha, Wen & Liu, "RoFormer: enhanced transformer with rotary position embedding",
2021. Attention and perceptron read the same residual stream and are added to it together, as in GPT-J and GPT-NeoX.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from archsearch.elastic.layers import ElasticLayerNorm
from archsearch.networks.network import InputShape, Network
from archsearch.networks.recurrent import CarriedState, Embedding
from archsearch.trial import Architecture

BASE = 10_000.0
"""The slowest pair of features turns once in 2 pi times as many positions, about."""


class GPTNetwork(Network):
    """Embedding, layers, and an output that has the embedding's weights.

    Args:
        architecture: What it stands for.
        task: ``classes`` is the size of the vocabulary.
        width: Of the embedding, >= 1.
        head: Features of a head, a multiple of 4.
        bias: Whether linear layers have biases.
        layers: Of each its hidden units per feature, and its heads.
    """

    input_dtype: ClassVar[torch.dtype] = torch.int64

    def __init__(
        self,
        architecture: Architecture,
        task: InputShape,
        width: int,
        head: int,
        bias: bool,
        layers: Sequence[tuple[int, int]],
    ) -> None:
        super().__init__(architecture)
        self.head = head
        self.embedding = Embedding(task.classes, width)
        self.layers = nn.ModuleList([_Layer(width, ratio * width, heads, head, bias) for ratio, heads in layers])
        self.norm = ElasticLayerNorm(width)

    def forward(
        self, tokens: torch.Tensor, architecture: Architecture | None = None, carried: CarriedState | None = None
    ) -> torch.Tensor:
        """Logits of the next token at each position, shape (batch, length, vocabulary).

        Args:
            tokens: Shape (batch, length): a context each.
            architecture: None, or what the network stands for.
            carried: Left as it is: nothing is remembered from one context to the next.
        """
        self.path(architecture)
        x = self.embedding(tokens)
        turns = _turns(tokens.shape[1], self.head // 2, x)
        for layer in self.layers:
            x = layer(x, turns)
        return functional.linear(self.norm(x), self.embedding.weight)


class _Layer(nn.Module):
    def __init__(self, width: int, hidden: int, heads: int, head: int, bias: bool) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = ElasticLayerNorm(width), ElasticLayerNorm(width)
        self.attention = _Attention(width, heads, head, bias)
        self.first = nn.Linear(width, hidden, bias)
        self.second = nn.Linear(hidden, width, bias)

    def forward(self, x: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
        mixed = self.attention(self.attention_norm(x), turns)
        output: torch.Tensor = x + mixed + self.second(functional.gelu(self.first(self.mlp_norm(x))))
        return output


class _Attention(nn.Module):
    """Causal attention, with the first half of each head's features turned by position."""

    def __init__(self, width: int, heads: int, head: int, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.inputs = nn.Linear(width, 3 * heads * head, bias)
        self.output = nn.Linear(heads * head, width, bias)

    def forward(self, x: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
        query, key, value = self.inputs(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(
            _turned(query, turns), _turned(key, turns), value, is_causal=True
        )
        output: torch.Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return output


def _turns(length: int, features: int, like: torch.Tensor) -> torch.Tensor:
    """Cosine and sine for each position and pair of features, shape (2, length, features / 2)."""
    pairs = torch.arange(features // 2, device=like.device, dtype=torch.float32)
    angles = torch.arange(length, device=like.device, dtype=torch.float32)[:, None] * BASE ** (-2 * pairs / features)
    return torch.stack([angles.cos(), angles.sin()]).to(like.dtype)


def _turned(x: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Shape (batch, heads, length, features); a feature of the first quarter is turned with one of the second."""
    cosine, sine = turns
    first, second, rest = x.tensor_split([sine.shape[-1], 2 * sine.shape[-1]], dim=-1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine, rest], dim=-1)
