"""What a layer of a chain can be: blocks, by name. The modules they make are in ``archsearch.chain.layers``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from archsearch.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

IDENTITY = "identity"


class Layer(NamedTuple):
    """A layer of a chain.

    Attributes:
        inputs: Channels that come in.
        outputs: Channels that go out.
        stride: Of the layer, 1 or 2.
        residual: Whether its input can be added to its output: stride 1, and widths that are equal in the space as
            declared. Rounding that makes the widths of a scaled network equal changes nothing in this.
        blocks: What it can be, in the order of its options.
        activation: Of the chain; a key of ``archsearch.chain.layers.ACTIVATIONS``.
    """

    inputs: int
    outputs: int
    stride: int
    residual: bool
    blocks: tuple[Block, ...]
    activation: str = "relu6"

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the blocks, such as ``identity`` and ``k3e6``."""
        return tuple(block.name for block in self.blocks)

    @property
    def keys(self) -> tuple[str, ...]:
        """Their modules' names, which hold no dots."""
        return tuple(block.name.replace(".", "_") for block in self.blocks)


class Block:
    """What a layer can be. One of your own sets ``name`` and writes ``make``.

    Attributes:
        name: In texts; without blanks, dashes and bars.
        residual: Whether the network adds the layer's input to what the block computes, where the layer is residual.
    """

    name: str
    residual: bool = True

    def make(self, layer: Layer) -> nn.Module:
        """The module, from shape (batch, inputs, height, width) to (batch, outputs, height / stride, width / stride).

        Height and width are rounded up. The residual connection is not part of it.

        Args:
            layer: Where it stands, with the widths of the network.
        """
        raise NotImplementedError

    def shown(self, layer: Layer) -> str:
        """Its name at that layer, where choices are shown."""
        return self.name


class Identity(Block):
    """Leaves a layer out. One that changes width or size becomes a 1x1 convolution with batch normalisation."""

    name = IDENTITY
    residual = False

    def make(self, layer: Layer) -> nn.Module:
        """See ``Block``."""
        from torch import nn

        from archsearch.chain.layers import ConvBN

        return nn.Identity() if layer.residual else ConvBN(layer.inputs, layer.outputs, 1, layer.stride)

    def shown(self, layer: Layer) -> str:
        """Of a layer without a residual connection, identity is no identity."""
        return self.name if layer.residual else "1x1"


class MBConv(Block):
    """Inverted bottleneck (MobileNetV2), such as ``k5e6``: see ``archsearch.chain.layers.MBConvLayer``.

    Args:
        kernels: Of the depthwise convolution, odd; several share its channels (MixConv), as in ``k3.5.7e6``.
        expansion: Hidden channels per input channel.
        groups: Of both 1x1 convolutions, as in ``k3e1g2``, with channels shuffled after the first (FBNet); or one
            number for each of them, and no shuffle (MixNet).
        squeeze: Ratio of squeeze-and-excitation to the layer's inputs, as in ``k3e6se0.25``; 0 for none.
        expands: Whether there is a first 1x1 convolution; None: if it changes the number of channels.
        activation: Instead of the chain's.
        name: Instead of one that says all this.
    """

    def __init__(
        self,
        kernels: int | tuple[int, ...],
        expansion: int,
        groups: int | tuple[int, int] = 1,
        squeeze: float = 0.0,
        expands: bool | None = None,
        activation: str | None = None,
        name: str | None = None,
    ) -> None:
        self.kernels = (kernels,) if isinstance(kernels, int) else tuple(kernels)
        self.expansion = expansion
        self.shuffles = isinstance(groups, int) and groups > 1
        self.groups = (groups, groups) if isinstance(groups, int) else groups
        self.squeeze = squeeze
        self.expands = expansion > 1 if expands is None else expands
        self.activation = activation
        self.name = name or self._says()

    def _says(self) -> str:
        text = f"k{'.'.join(map(str, self.kernels))}e{self.expansion}"
        text += f"g{self.groups[0]}" * self.shuffles + f"se{self.squeeze:g}" * (self.squeeze > 0)
        return text

    def make(self, layer: Layer) -> nn.Module:
        """See ``Block``.

        Raises:
            UsageError: If the layer's channels cannot be cut into the groups.
        """
        from archsearch.chain.layers import ACTIVATIONS, MBConvLayer

        for channels, groups in zip((layer.inputs, layer.outputs), self.groups, strict=True):
            _expect_multiple(self.name, channels, groups)
        return MBConvLayer(
            layer.inputs,
            layer.outputs,
            self.kernels,
            self.expansion,
            layer.stride,
            ACTIVATIONS[self.activation or layer.activation],
            self.groups,
            self.shuffles,
            self.squeeze,
            self.expands,
        )


class Shuffle(Block):
    """A unit of ShuffleNetV2, such as ``shuffle5``: see ``archsearch.chain.layers.ShuffleLayer``.

    Args:
        kernel: Of its depthwise convolutions, odd.
        xception: Whether it is the deeper unit, ``xception``.
        scale: Channels inside the unit, in units of half the outputs, as in ``shuffle5x0.6``.
    """

    residual = False

    def __init__(self, kernel: int, xception: bool = False, scale: float = 1.0) -> None:
        self.kernel = kernel
        self.xception = xception
        self.scale = scale
        self.name = ("xception" if xception else f"shuffle{kernel}") + f"x{scale:g}" * (scale != 1)

    def make(self, layer: Layer) -> nn.Module:
        """See ``Block``.

        Raises:
            UsageError: If a width is odd.
        """
        from archsearch.chain.layers import ACTIVATIONS, ShuffleLayer

        _expect_multiple(self.name, layer.inputs, 2)
        _expect_multiple(self.name, layer.outputs, 2)
        middle = max(1, round(layer.outputs // 2 * self.scale))
        activation = ACTIVATIONS[layer.activation]
        return ShuffleLayer(layer.inputs, layer.outputs, middle, self.kernel, layer.stride, activation, self.xception)


class Bottleneck(Block):
    """An inverted bottleneck, or a plain convolution, of which narrower ones are parts.

    Its name says what has weights: the shortcut has none.

    Args:
        kernel: Of its convolution, odd.
        expansion: Hidden channels per input channel, of an inverted bottleneck; None: a plain convolution.
        squeeze: Ratio of squeeze-and-excitation to the layer's inputs; 0 for none.
        residual: Whether its input is added, where the layer is residual.
        pools: Whether what is added goes through a 3x3 average pooling.
    """

    def __init__(
        self, kernel: int, expansion: int | None, squeeze: float = 0.0, residual: bool = True, pools: bool = False
    ) -> None:
        self.kernel = kernel
        self.expansion = expansion
        self.squeeze = squeeze
        self.residual = residual
        self.pools = pools
        self.name = f"k{kernel}" + ("conv" if expansion is None else f"e{expansion}") + f"se{squeeze:g}" * (squeeze > 0)

    def make(self, layer: Layer) -> nn.Module:
        """See ``Block``; the module is called with its input and how many channels go out."""
        from archsearch.chain.elastic import ElasticMBConv

        return ElasticMBConv(
            layer.inputs, layer.outputs, self.kernel, layer.stride, self.expansion, self.squeeze, layer.activation
        )


def _expect_multiple(name: str, channels: int, of: int) -> None:
    if channels % of:
        raise UsageError(
            f"{name}: expected a number of channels that is a multiple of {of}, got {channels}; use other channels of "
            "the skeleton"
        )
