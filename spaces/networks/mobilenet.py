"""The networks of ``MobileNet`` and ``NASBenchMacro``: a stem, a chain of MBConv layers, a head.

References: Sandler et al., "MobileNetV2", CVPR 2018, section 3; Chen, Goodfellow & Shlens, "Net2Net", ICLR 2016,
section 2.3 (widening). Parameters and multiply-adds of NAS-Bench-Macro's 6,561 networks equal the published ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional

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
from archsearch.spaces.mobilenet import IDENTITY, Layer, MobileNet, candidate_name
from archsearch.trial import Architecture

ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "relu6": nn.ReLU6}


class MobileNetNetwork(Network):
    """A chain of MBConv layers.

    ``forward`` is ``head(layer(n - 1, ... layer(0, stem(images), option)))``: whoever scores many architectures can
    compute a prefix that they share once. Drop-path acts on the branches of residual layers.

    Args:
        architecture: One option per layer, or None for the super-network with all options of every layer.
        task: Input shape and classes.
        space: Says which layers and which settings.
        channels: Width of the first stage; the other widths are ``space.scaled_width``.
    """

    def __init__(self, architecture: Architecture | None, task: InputShape, space: MobileNet, channels: int) -> None:
        super().__init__(architecture)
        activation = ACTIVATIONS[space.activation]
        width = space.scaled_width(space.stem_channels, channels)
        first: list[nn.Module] = [ConvBN(task.input_shape[0], width, 3, space.stem_stride, activation=activation)]
        if space.first_channels is not None:
            inputs, width = width, space.scaled_width(space.first_channels, channels)
            first.append(MBConv(inputs, width, 3, 1, 1, activation))
        self.first = nn.Sequential(*first)

        chosen = [None] * len(space.layers) if architecture is None else space.names(architecture)
        self.specification = space.layers
        self.layers = nn.ModuleList()
        for layer, only in zip(space.layers, chosen, strict=True):
            inputs, width = (space.scaled_width(n, channels) for n in (layer.inputs, layer.outputs))
            scaled = layer._replace(inputs=inputs, outputs=width)
            self.layers.append(self.layer_of(scaled, space, activation, only))

        last: list[nn.Module] = []
        if space.head_channels is not None:
            inputs, width = width, space.scaled_width(space.head_channels, channels)
            last.append(ConvBN(inputs, width, 1, activation=activation))
        self.last = nn.Sequential(*last, GlobalAveragePool())
        self.classifier = nn.Linear(width, task.classes)

    def layer_of(
        self, layer: Layer, space: MobileNet, activation: Callable[[], nn.Module], only: str | None
    ) -> nn.Module:
        """What computes the options of a layer, called with its input and the option's name; ``only``: one of them."""
        return Choice(_candidates(layer, space, activation), only)

    def forward(self, images: torch.Tensor, architecture: Architecture | None = None) -> torch.Tensor:
        """Images, shape (batch, channels, height, width), to logits, shape (batch, classes)."""
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
            shown = None if architecture is None else (self.specification[i].options[architecture[i]],)
            show_only(choice, shown)
        return True

    @property
    def _arities(self) -> list[int]:
        return [len(layer.options) for layer in self.specification]

    def _compute(self, images: torch.Tensor, weights: Sequence[Weights]) -> torch.Tensor:
        x = self.stem(images)
        for i, options in enumerate(weights):
            x = weighted_sum([self.layer(i, x, option) for option in options], list(options.values()))
        return self.head(x)

    def stem(self, images: torch.Tensor) -> torch.Tensor:
        """What comes before the layers: images to the input of layer 0."""
        x: torch.Tensor = self.first(images)
        return x

    def layer(self, i: int, x: torch.Tensor, option: int) -> torch.Tensor:
        """Layer ``i``, counted from 0, with that option: its input to the input of the next layer."""
        layer = self.specification[i]
        name = layer.options[option]
        output: torch.Tensor = self.layers[i](x, name)
        return x + self.drop(output) if layer.residual and name != IDENTITY else output

    def head(self, x: torch.Tensor) -> torch.Tensor:
        """What comes after the layers: the output of the last layer to logits, shape (batch, classes)."""
        logits: torch.Tensor = self.classifier(self.last(x))
        return logits


def _candidates(
    layer: Layer, space: MobileNet, activation: Callable[[], nn.Module]
) -> Mapping[str, Callable[[], nn.Module]]:
    """The options of a layer by name; the residual connection is not part of them."""

    def mbconv(kernel: int, expansion: int) -> Callable[[], nn.Module]:
        return lambda: MBConv(layer.inputs, layer.outputs, kernel, expansion, layer.stride, activation)

    def shortcut() -> nn.Module:
        return nn.Identity() if layer.residual else ConvBN(layer.inputs, layer.outputs, 1, layer.stride)

    options = {candidate_name(kernel, expansion): mbconv(kernel, expansion) for kernel, expansion in space.candidates}
    return {IDENTITY: shortcut, **options} if IDENTITY in layer.options else options


class MBConv(nn.Module):
    """Inverted bottleneck: 1x1 convolution to ``expansion`` times the channels, depthwise convolution, 1x1 convolution.

    Each is followed by batch normalisation, and all but the last by the activation. With expansion 1 the first one is
    left out. The residual connection is the network's.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        kernel: Size of the depthwise convolution, odd.
        expansion: Hidden channels per input channel.
        stride: Of the depthwise convolution.
        activation: Makes an activation.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        expansion: int,
        stride: int,
        activation: Callable[[], nn.Module],
    ) -> None:
        super().__init__()
        self.inputs, self.hidden, self.outputs, self.kernel = inputs, inputs * expansion, outputs, kernel
        hidden = self.hidden
        self.expand = ConvBN(inputs, hidden, 1, activation=activation) if expansion > 1 else None
        self.depthwise = ConvBN(hidden, hidden, kernel, stride, groups=hidden, activation=activation)
        self.project = ConvBN(hidden, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (batch, inputs, height, width) to (batch, outputs, height / stride, width / stride), rounded up."""
        if self.expand is not None:
            x = self.expand(x)
        output: torch.Tensor = self.project(self.depthwise(x))
        return output


class ConvBN(nn.Module):
    """Convolution, batch normalisation and, if one is given, an activation.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        kernel: Size of the convolution, odd.
        stride: Of the convolution.
        groups: Of the convolution.
        activation: Makes the activation.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        activation: Callable[[], nn.Module] = nn.Identity,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.activation = activation()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (batch, inputs, height, width) to (batch, outputs, height / stride, width / stride), rounded up."""
        output: torch.Tensor = self.activation(self.bn(self.conv(x)))
        return output


# -- function-preserving edits -----------------------------------------------------------------


@torch.no_grad()
def morph(network: MobileNetNetwork, child: MobileNetNetwork, generator: torch.Generator) -> bool:
    """See ``MobileNet.morph``; both are stand-alone networks of one space."""
    changed = [i for i, (old, new) in enumerate(zip(network.path(None), child.path(None), strict=True)) if old != new]
    exact = _copy_unchanged(network, child, tuple(f"layers.{i}." for i in changed))
    for i in changed:
        residual = network.specification[i].residual
        exact = _morph_layer(_only(network, i), _only(child, i), residual, generator) and exact
    return exact


def _copy_unchanged(network: MobileNetNetwork, child: MobileNetNetwork, changed: tuple[str, ...]) -> bool:
    """Copies what agrees by name and shape; whether that was all that the changed layers do not hold."""
    old, complete = network.state_dict(), True
    for name, tensor in child.state_dict().items():
        if name in old and old[name].shape == tensor.shape:
            tensor.copy_(old[name])
        elif not name.startswith(changed):
            complete = False
    return complete


def _only(network: MobileNetNetwork, i: int) -> nn.Module:
    """The option that a stand-alone network holds at layer ``i``."""
    choice = network.layers[i]
    assert isinstance(choice, Choice)
    (option,) = choice.values()
    return option


def _morph_layer(source: nn.Module, target: nn.Module, residual: bool, generator: torch.Generator) -> bool:
    if not isinstance(target, MBConv):
        return False
    if isinstance(source, MBConv):
        return _morph_mbconv(source, target, generator)
    if residual:
        # The new branch adds nothing. In training its last scale moves first, and lets the gradient into the rest.
        nn.init.zeros_(target.project.bn.weight)
        nn.init.zeros_(target.project.bn.bias)
    return residual


def _morph_mbconv(source: MBConv, target: MBConv, generator: torch.Generator) -> bool:
    """Embeds or cuts out the kernel, replicates or drops hidden channels; whether nothing was lost."""
    if (source.inputs, source.outputs) != (target.inputs, target.outputs):
        return False
    origin = replicated_channels(source.hidden, target.hidden, generator)
    if source.expand is not None and target.expand is not None:
        _copy_channels(source.expand, target.expand, origin)
    _copy_channels(source.depthwise, target.depthwise, origin)
    weight = source.project.conv.weight
    shares = outgoing_shares(origin, source.hidden, target.outputs, generator).to(weight)
    target.project.conv.weight.copy_(weight[:, origin] * shares[:, :, None, None])
    target.project.bn.load_state_dict(source.project.bn.state_dict())
    same_form = (source.expand is None) == (target.expand is None)
    return same_form and source.hidden <= target.hidden and source.kernel <= target.kernel


def replicated_channels(old: int, new: int, generator: torch.Generator) -> torch.Tensor:
    """For each of ``new`` channels the one of ``old`` that it copies: itself, and any for those beyond."""
    further = torch.randint(old, (max(0, new - old),), generator=generator, device=generator.device)
    return torch.cat([torch.arange(min(old, new)), further.cpu()])


def outgoing_shares(origin: torch.Tensor, old: int, outputs: int, generator: torch.Generator) -> torch.Tensor:
    """What each copy passes on of the weight to each output, shape (outputs, copies); the copies of one add up to 1.

    Net2Wider gives all copies of a channel equal shares. Their gradients are then equal, so that they stay copies for
    ever, unless noise is added, which changes the function. Unequal shares, drawn anew for each output, keep the
    function and let the copies part in training.
    """
    drawn = 0.5 + torch.rand(outputs, len(origin), generator=generator, device=generator.device).cpu()
    totals = torch.zeros(outputs, old).index_add_(1, origin, drawn)
    return drawn / totals[:, origin]


def _copy_channels(source: ConvBN, target: ConvBN, origin: torch.Tensor) -> None:
    """Convolution and batch normalisation of the channels ``origin``; the kernel is set in zeros or its rim cut off."""
    rim = (target.conv.kernel_size[0] - source.conv.kernel_size[0]) // 2
    target.conv.weight.copy_(functional.pad(source.conv.weight[origin], [rim] * 4))
    old = source.bn.state_dict()
    for name, tensor in target.bn.state_dict().items():
        tensor.copy_(old[name][origin] if old[name].dim() else old[name])
