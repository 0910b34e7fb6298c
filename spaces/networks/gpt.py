"""Networks of ``GPT``: decoders with rotary positions, attention and perceptron side by side.

Rotary positions: Su, Lu, Pan, Murtadha, Wen & Liu, "RoFormer: enhanced transformer with rotary position embedding",
2021. Attention and perceptron read the same residual stream and are added to it together, as in GPT-J and GPT-NeoX.
From one segment of a text to the next, keys and values are carried on without gradients: Dai et al., "Transformer-XL:
attentive language models beyond a fixed-length context", ACL 2019.
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
        memory: How many tokens before a segment are still seen, >= 0.
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
        memory: int,
    ) -> None:
        super().__init__(architecture)
        self.head, self.memory = head, memory
        self.embedding = Embedding(task.classes, width)
        self.layers = nn.ModuleList([_Layer(width, ratio * width, heads, head, bias) for ratio, heads in layers])
        self.norm = ElasticLayerNorm(width)

    def forward(
        self, tokens: torch.Tensor, architecture: Architecture | None = None, carried: CarriedState | None = None
    ) -> torch.Tensor:
        """Logits of the next token at each position, shape (batch, length, vocabulary).

        Args:
            tokens: Shape (batch, length).
            architecture: None, or what the network stands for.
            carried: The keys and values of the tokens before, of each layer, and where to leave those at the end.
        """
        self.path(architecture)
        x = self.embedding(tokens)
        before = None if carried is None else carried.before
        seen = 0 if before is None else before[0].shape[-2]
        turns = _turns(seen + tokens.shape[1], self.head // 2, x)
        after = []
        for i, layer in enumerate(self.layers):
            x, kept = layer(x, turns, None if before is None else before[i])
            after.append(kept[..., kept.shape[-2] - min(self.memory, kept.shape[-2]) :, :].detach())
        if carried is not None:
            carried.after = tuple(after)
        return functional.linear(self.norm(x), self.embedding.weight)


class _Layer(nn.Module):
    def __init__(self, width: int, hidden: int, heads: int, head: int, bias: bool) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = ElasticLayerNorm(width), ElasticLayerNorm(width)
        self.attention = _Attention(width, heads, head, bias)
        self.first = nn.Linear(width, hidden, bias)
        self.second = nn.Linear(hidden, width, bias)

    def forward(
        self, x: torch.Tensor, turns: torch.Tensor, before: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        mixed, kept = self.attention(self.attention_norm(x), turns, before)
        return x + mixed + self.second(functional.gelu(self.first(self.mlp_norm(x)))), kept


class _Attention(nn.Module):
    """Causal attention, with the first half of each head's features turned by position.

    Keys and values of earlier tokens, and those that are given back, have the shape (2, batch, heads, tokens, head);
    keys are not turned yet, since positions count from the first token that is still seen.
    """

    def __init__(self, width: int, heads: int, head: int, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.inputs = nn.Linear(width, 3 * heads * head, bias)
        self.output = nn.Linear(heads * head, width, bias)

    def forward(
        self, x: torch.Tensor, turns: torch.Tensor, before: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        length = x.shape[1]
        query, *pair = self.inputs(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        kept = torch.stack(pair) if before is None else torch.cat([before, torch.stack(pair)], dim=-2)
        query, key = _turned(query, turns[:, -length:]), _turned(kept[0], turns)
        seen = kept.shape[-2] - length
        # With as many queries as keys PyTorch needs no mask, and takes its quickest way.
        mask = torch.ones(length, seen + length, dtype=torch.bool, device=x.device).tril(seen) if seen else None
        mixed = functional.scaled_dot_product_attention(query, key, kept[1], mask, is_causal=not seen)
        output: torch.Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return output, kept


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
