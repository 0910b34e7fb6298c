"""The networks of ``EncoderDecoder``: a stem, layers down and up again with connections between, a class per pixel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from archsearch.chain.layers import ACTIVATIONS, ConvBN
from archsearch.chain.network import LayeredNetwork
from archsearch.chain.rules import Rules
from archsearch.networks.network import InputShape, Weights
from archsearch.trial import Architecture


class EncoderDecoderNetwork(LayeredNetwork):
    """A stem, a chain of layers whose second half goes back to the size of the images, and logits of each pixel.

    Args:
        architecture: One option per layer, or None for the super-network with all options of every layer.
        task: Input shape and classes.
        rules: Says which layers.
        channels: Width of the first level; the other widths are ``rules.scaled_width``.
        encoder_layers: Layers of each level on the way down.
        decoder_layers: Layers of each level on the way up.
    """

    def __init__(
        self,
        architecture: Architecture | None,
        task: InputShape,
        rules: Rules,
        channels: int,
        encoder_layers: int,
        decoder_layers: int,
    ) -> None:
        super().__init__(architecture, rules)
        self.levels = (len(rules.rows) + 1) // 2
        self.encoder_layers, self.decoder_layers = encoder_layers, decoder_layers
        width = rules.scaled_width(rules.stem_channels, channels)
        self.first = ConvBN(task.input_shape[0], width, 3, activation=ACTIVATIONS[rules.activation])
        self.add_layers(rules, channels)
        self.classifier = nn.Conv2d(rules.scaled_width(rules.layers[-1].outputs, channels), task.classes, 1)

    def _compute(self, images: torch.Tensor, weights: Sequence[Weights]) -> torch.Tensor:
        x = self.first(images)
        passed: list[torch.Tensor] = []  # what each level of the encoder gives to the decoder
        encoder = self.encoder_layers * self.levels
        for i, options in enumerate(weights[:encoder]):
            x = self._weighed(i, x, options)
            if (i + 1) % self.encoder_layers == 0:
                passed.append(x)
        passed.pop()  # the deepest level goes on by itself
        for i, options in enumerate(weights[encoder:]):
            if i % self.decoder_layers == 0:
                beside = passed.pop()
                x = functional.interpolate(x, beside.shape[2:], mode="nearest")
                x = self._weighed(encoder + i, x, options) + beside
            else:
                x = self._weighed(encoder + i, x, options)
        logits: torch.Tensor = self.classifier(x)
        return logits
