"""The networks of a chain: a stem, layers with a choice of block each, a head."""

from __future__ import annotations

import abc
import functools
from collections.abc import Collection, Sequence

import torch
from torch import nn

from archsearch.chain.blocks import Layer
from archsearch.chain.layers import ACTIVATIONS, ConvBN
from archsearch.chain.rules import Rules
from archsearch.errors import UsageError
from archsearch.networks.network import (
    Choice,
    GlobalAveragePool,
    InputShape,
    Network,
    Weights,
    equal_weights,
    show_only,
    weighted_sum,
)
from archsearch.trial import Architecture


class LayeredNetwork(Network):
    """Base of networks with a sequence of layers, each with a choice of block.

    A subclass makes what comes before the layers, calls ``add_layers``, and makes what comes after them: initial values
    are drawn in that order.

    Args:
        architecture: One option per layer, or None for the super-network with all options of every layer.
        rules: Says which layers.
    """

    def __init__(self, architecture: Architecture | None, rules: Rules) -> None:
        super().__init__(architecture)
        self.specification = rules.layers
        self._keys = [layer.keys for layer in rules.layers]

    def add_layers(self, rules: Rules, channels: int) -> None:
        """Makes the layers; ``channels``: width of the first stage, the others are ``rules.scaled_width``."""
        self.layers = nn.ModuleList()
        for i, layer in enumerate(rules.layers):
            only = None if self.architecture is None else self._keys[i][self.architecture[i]]
            self.layers.append(self.layer_of(scaled(rules, layer, channels), only))

    def layer_of(self, layer: Layer, only: str | None) -> nn.Module:
        """What computes the options of a layer, called with its input and the option's key; ``only``: one of them."""
        blocks = zip(layer.keys, layer.blocks, strict=True)
        return Choice({key: functools.partial(block.make, layer) for key, block in blocks}, only)

    def forward(self, images: torch.Tensor, architecture: Architecture | None = None) -> torch.Tensor:
        """Images, shape (batch, channels, height, width), to logits, shape (batch, classes, ...)."""
        return self._compute(images, [{option: 1.0} for option in self.path(architecture)])

    def mixture(self, images: torch.Tensor, options: Sequence[Collection[int]]) -> torch.Tensor:
        """Logits with several options of each layer; see ``archsearch.abilities.Mixing``.

        Each option is taken with the layer's residual connection, if it has one.
        """
        return self._compute(images, [equal_weights(kept) for kept in self.kept(options, self._arities)])

    def relaxed(self, images: torch.Tensor, weights: Sequence[Weights]) -> torch.Tensor:
        """Logits with a weighted sum of the options of each layer; see ``archsearch.relaxing.Relaxed``.

        Each option is weighed with the layer's residual connection, if it has one.
        """
        if not all(weights):
            raise UsageError("relaxed: expected a weight for at least one option of each layer")
        return self._compute(images, self.weighed(weights, self._arities))

    def show(self, architecture: Architecture | None) -> bool:
        """See ``Network``."""
        self.architecture = architecture
        for i, choice in enumerate(self.layers):
            shown = None if architecture is None else (self._keys[i][architecture[i]],)
            show_only(choice, shown)
        return True

    @property
    def _arities(self) -> list[int]:
        return [len(layer.options) for layer in self.specification]

    @abc.abstractmethod
    def _compute(self, images: torch.Tensor, weights: Sequence[Weights]) -> torch.Tensor:
        """Logits with the weighted options of each layer."""

    def _weighed(self, i: int, x: torch.Tensor, options: Weights) -> torch.Tensor:
        """Layer ``i`` with weighted options."""
        return weighted_sum([self._option(i, x, option) for option in options], list(options.values()))

    def _option(self, i: int, x: torch.Tensor, option: int) -> torch.Tensor:
        """Layer ``i`` with an option, and its residual connection."""
        layer = self.specification[i]
        output: torch.Tensor = self.layers[i](x, self._keys[i][option])
        return x + self.drop(output) if layer.residual and layer.blocks[option].residual else output


class ChainNetwork(LayeredNetwork):
    """A stem, a chain of layers, a head.

    ``forward`` is ``head(layer(n - 1, ... layer(0, stem(images), option)))``: whoever scores many architectures can
    compute a prefix that they share once. Drop-path acts on the branches of residual layers.

    Args:
        architecture: One option per layer, or None for the super-network with all options of every layer.
        task: Input shape and classes.
        rules: Says which layers, and what lies around them.
        channels: Width of the first stage; the other widths are ``rules.scaled_width``.
    """

    def __init__(self, architecture: Architecture | None, task: InputShape, rules: Rules, channels: int) -> None:
        super().__init__(architecture, rules)
        activation = ACTIVATIONS[rules.activation]
        width = rules.scaled_width(rules.stem_channels, channels)
        first: list[nn.Module] = [ConvBN(task.input_shape[0], width, 3, rules.stem_stride, activation=activation)]
        if rules.first is not None:
            layer = scaled(rules, rules.first, channels)
            first.append(layer.blocks[0].make(layer))
        self.first = nn.Sequential(*first)
        self.add_layers(rules, channels)
        width = rules.scaled_width(rules.layers[-1].outputs, channels)
        last: list[nn.Module] = []
        if rules.head_channels is not None:
            inputs, width = width, rules.scaled_width(rules.head_channels, channels)
            last.append(ConvBN(inputs, width, 1, activation=activation))
        self.last = nn.Sequential(*last, GlobalAveragePool())
        self.classifier = nn.Linear(width, task.classes)

    def _compute(self, images: torch.Tensor, weights: Sequence[Weights]) -> torch.Tensor:
        x = self.stem(images)
        for i, options in enumerate(weights):
            x = self._weighed(i, x, options)
        return self.head(x)

    def stem(self, images: torch.Tensor) -> torch.Tensor:
        """What comes before the layers: images to the input of layer 0."""
        x: torch.Tensor = self.first(images)
        return x

    def layer(self, i: int, x: torch.Tensor, option: int) -> torch.Tensor:
        """Layer ``i``, counted from 0, with that option: its input to the input of the next layer."""
        return self._option(i, x, option)

    def head(self, x: torch.Tensor) -> torch.Tensor:
        """What comes after the layers: the output of the last layer to logits, shape (batch, classes)."""
        logits: torch.Tensor = self.classifier(self.last(x))
        return logits


def scaled(rules: Rules, layer: Layer, channels: int) -> Layer:
    """The layer in a network whose first stage has ``channels`` channels."""
    inputs, outputs = (rules.scaled_width(width, channels) for width in (layer.inputs, layer.outputs))
    return layer._replace(inputs=inputs, outputs=outputs)
