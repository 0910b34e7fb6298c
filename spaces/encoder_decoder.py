"""Encoder-decoder chains for dense prediction: what each layer on the way down and up again is.

The skeleton is that of Ronneberger, Fischer & Brox, "U-Net: convolutional networks for biomedical image segmentation",
MICCAI 2015, with what a level of the encoder gives added to that level of the decoder, as in Chaurasia & Culurciello,
"LinkNet", VCIP 2017; the blocks are those of the chains for classification.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from archsearch.basics.checks import at_least_one
from archsearch.basics.kinds import PIXELS
from archsearch.chain.blocks import MBConv
from archsearch.chain.chain import Chain
from archsearch.chain.rules import Rules, Stage
from archsearch.errors import UsageError
from archsearch.trial import Architecture

if TYPE_CHECKING:
    from archsearch.networks.network import InputShape, Network


class EncoderDecoder(Chain):
    """Encoder-decoder chains for segmentation: a block for each layer of each level, down and up.

    The first level has the size of the images; each other one halves it, and is wider. The decoder goes back, level by
    level: it doubles the size and adds, after the first layer there, what the encoder gave at that level. Blocks are
    inverted bottlenecks of kernel 3 or 5 with an expansion of 1, 3 or 6, and ``identity`` where a layer can be left
    out.

    Args:
        widths: Channels of the levels, rising, at least two levels.
        encoder_layers: Layers of each level on the way down, >= 1.
        decoder_layers: Layers of each level on the way up, >= 1.

    Raises:
        UsageError: If a setting is out of range.
    """

    kinds: ClassVar[tuple[str, ...]] = (PIXELS,)

    def __init__(self, widths: Sequence[int] = (8, 16, 24), encoder_layers: int = 2, decoder_layers: int = 1) -> None:
        if not isinstance(widths, (list, tuple)) or len(widths) < 2:
            raise UsageError(f"EncoderDecoder: widths: expected a list of at least two numbers, got {widths!r}")
        self.widths = [at_least_one("EncoderDecoder", "widths", width) for width in widths]
        if self.widths != sorted(set(self.widths)):
            raise UsageError(f"EncoderDecoder: widths: expected rising numbers, got {list(widths)}")
        self.encoder_layers = at_least_one("EncoderDecoder", "encoder_layers", encoder_layers)
        self.decoder_layers = at_least_one("EncoderDecoder", "decoder_layers", decoder_layers)
        down = [Stage(width, self.encoder_layers, 2 if i else 1) for i, width in enumerate(self.widths)]
        up = [Stage(width, self.decoder_layers, 1) for width in reversed(self.widths[:-1])]
        blocks = [MBConv(kernel, expansion) for kernel in (3, 5) for expansion in (1, 3, 6)]
        super().__init__(Rules([*down, *up], blocks, "residual", stem_channels=self.widths[0], activation="relu"))

    def label(self, prefix: Architecture) -> str:
        """The layer, such as ``down 1 layer 0`` or ``up 0 layer 0``: the way, the level, and the layer there."""
        encoder = self.encoder_layers * len(self.widths)
        if len(prefix) < encoder:
            level, layer = divmod(len(prefix), self.encoder_layers)
            return f"down {level} layer {layer}"
        risen, layer = divmod(len(prefix) - encoder, self.decoder_layers)
        return f"up {len(self.widths) - 2 - risen} layer {layer}"

    def _network(self, architecture: Architecture | None, task: InputShape, channels: int | None) -> Network:
        from archsearch.spaces.networks.encoder_decoder import EncoderDecoderNetwork

        width = self.rules.first_width(type(self).__name__, channels)
        return EncoderDecoderNetwork(architecture, task, self.rules, width, self.encoder_layers, self.decoder_layers)
