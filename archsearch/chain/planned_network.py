"""The networks of chains whose depths and widths are decided."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from archsearch.chain.blocks import Bottleneck, Layer
from archsearch.chain.elastic import ElasticConvBN
from archsearch.chain.layers import ACTIVATIONS
from archsearch.chain.rules import Plan, Rules
from archsearch.elastic import ElasticLinear
from archsearch.networks.network import Choice, GlobalAveragePool, InputShape, Network
from archsearch.trial import Architecture


class PlannedNetwork(Network):
    """A stem, stages of layers, a head. Drop-path acts on the branches of residual layers.

    Args:
        architecture: What it stands for, or None for the super-network.
        task: Input shape and classes.
        hull: What holds all architectures.
        plan: The chain of an architecture.
        width: What a width of the space is in this network.
    """

    def __init__(
        self,
        architecture: Architecture | None,
        task: InputShape,
        hull: Rules,
        plan: Callable[[Architecture], Plan],
        width: Callable[[int], int],
    ) -> None:
        super().__init__(architecture)
        self._plan = functools.lru_cache(maxsize=64)(plan)
        self._width = width
        rules = hull if architecture is None else plan(architecture).rules
        assert rules.head_channels is not None
        activation = ACTIVATIONS[rules.activation]
        channels, head = width(rules.stem_channels), width(rules.head_channels)
        self.stem = ElasticConvBN(task.input_shape[0], channels, 3, rules.stem_stride, activation=activation)
        self.stages = nn.ModuleList()
        for stage in rules.rows:
            layers = nn.ModuleList()
            for j in range(stage.layers):
                inputs, channels = channels, width(stage.channels)
                blocks = stage.blocks or ()
                layer = Layer(inputs, channels, 1 if j else stage.stride, False, blocks, rules.activation)
                made = zip(layer.keys, blocks, strict=True)
                layers.append(Choice({key: functools.partial(block.make, layer) for key, block in made}))
            self.stages.append(layers)
        self.head = ElasticConvBN(channels, head, 1, activation=activation)
        self.pool = GlobalAveragePool()
        self.classifier = ElasticLinear(head, task.classes)

    def forward(self, images: torch.Tensor, architecture: Architecture | None = None) -> torch.Tensor:
        """Images, shape (batch, channels, height, width), to logits, shape (batch, classes)."""
        rules, resolution = self._plan(self.path(architecture))
        assert rules.head_channels is not None
        x = self.stem(resized(images, resolution), self._width(rules.stem_channels))
        declared = rules.stem_channels
        for stage, layers in zip(rules.rows, self.stages, strict=True):
            assert isinstance(layers, nn.ModuleList)
            (block,) = stage.blocks or ()
            assert isinstance(block, Bottleneck)
            key, outputs = block.name.replace(".", "_"), self._width(stage.channels)
            for j in range(stage.layers):
                choice = layers[j]
                assert isinstance(choice, Choice)
                branch = choice[key](x, outputs)
                if block.residual and declared == stage.channels and (j or stage.stride == 1):
                    x = (functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False) if block.pools else x) + self.drop(
                        branch
                    )
                else:
                    x = branch
                declared = stage.channels
        logits: torch.Tensor = self.classifier(self.pool(self.head(x, self._width(rules.head_channels))))
        return logits


def resized(images: torch.Tensor, resolution: float) -> torch.Tensor:
    """Images whose height and width are so many times theirs, rounded, by bilinear interpolation."""
    if resolution == 1:
        return images
    height, width = (max(1, round(size * resolution)) for size in images.shape[2:])
    return functional.interpolate(images, (height, width), mode="bilinear", align_corners=False)
