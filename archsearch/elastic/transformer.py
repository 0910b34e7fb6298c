"""The parts of an elastic transformer: attention with fewer heads, and a perceptron with fewer hidden units.

Their inputs may have fewer features than they were made for: the residual stream is elastic, too.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from archsearch.elastic.layers import ElasticLinear
from archsearch.elastic.sorting import Units, l1_norm


class ElasticAttention(nn.Module):
    """Self-attention of which the leading heads are used; a head's width is always the same.

    Args:
        features: Most that come in and go out, >= 1.
        heads: Most heads, >= 1.
        width: Features of a head, >= 1.
        dimension: What the space calls the decision about the heads.
    """

    def __init__(self, features: int, heads: int, width: int, dimension: str = "heads") -> None:
        super().__init__()
        self.heads, self.width, self.dimension = heads, width, dimension
        self.query = ElasticLinear(features, heads * width)
        self.key = ElasticLinear(features, heads * width)
        self.value = ElasticLinear(features, heads * width)
        self.output = ElasticLinear(heads * width, features)

    def forward(self, x: torch.Tensor, heads: int | None = None) -> torch.Tensor:
        """Shape (batch, length, features) to the same; ``heads``: how many, None for all."""
        batch, length, features = x.shape
        heads = heads or self.heads
        shape = (batch, length, heads, self.width)
        query, key, value = (
            layer(x, heads * self.width).view(shape).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        output: torch.Tensor = self.output(mixed.transpose(1, 2).flatten(2), features)
        return output

    def hidden_units(self) -> Units:
        """The heads, by what they pass on; see ``archsearch.elastic.sorting``."""
        incoming = (self.query, self.key, self.value)
        tensors = [(value, 0) for layer in incoming for value in (layer.weight, layer.bias)]
        importance = l1_norm(self.output.weight.t().reshape(self.heads, -1))
        return Units(self.dimension, importance, [*tensors, (self.output.weight, 1)])


class ElasticMLP(nn.Module):
    """A perceptron with one hidden layer, of whose units the leading ones are used.

    Args:
        features: Most that come in and go out, >= 1.
        hidden: Most hidden units, >= 1.
        dimension: What the space calls the decision about the hidden units.
    """

    def __init__(self, features: int, hidden: int, dimension: str = "width") -> None:
        super().__init__()
        self.dimension = dimension
        self.first = ElasticLinear(features, hidden)
        self.second = ElasticLinear(hidden, features)

    def forward(self, x: torch.Tensor, hidden: int | None = None) -> torch.Tensor:
        """Shape (..., features) to the same; ``hidden``: how many units, None for all."""
        output: torch.Tensor = self.second(functional.gelu(self.first(x, hidden)), x.shape[-1])
        return output

    def hidden_units(self) -> Units:
        """The hidden units, by what they pass on; see ``archsearch.elastic.sorting``."""
        tensors = [(self.first.weight, 0), (self.first.bias, 0), (self.second.weight, 1)]
        return Units(self.dimension, l1_norm(self.second.weight.t()), tensors)
