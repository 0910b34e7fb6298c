"""ENAS, macro: a chain of layers, each with one of six operations and skips from any earlier layers.

Reference: Pham et al., "Efficient neural architecture search via parameter sharing", ICML 2018, section 2.3. Texts are
the lists of tokens of the authors' scripts, which are the decisions themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from archsearch.basics.checks import whole_number
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.grammar.links import Layer, ScaledLinks
from archsearch.grammar.texts import read_tokens
from archsearch.trial import Architecture

if TYPE_CHECKING:
    from archsearch.networks.network import InputShape, Network

OPERATIONS = ("conv_3x3", "sep_conv_3x3", "conv_5x5", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3")
ARCHITECTURES: Mapping[str, str] = {
    "ENAS-macro": (
        "0 | 3 0 | 0 1 0 | 2 0 0 1 | 2 0 0 0 0 | 3 1 1 0 1 0 | 2 0 0 0 0 0 1 | 2 0 1 1 0 1 1 1 | "
        "1 0 1 1 1 0 1 0 1 | 0 0 0 0 0 0 0 0 0 0 | 2 0 0 0 0 0 1 0 0 0 0 | 0 1 0 0 1 1 0 0 0 0 1 1 | "
        "2 0 1 0 0 0 0 0 1 0 1 1 0 | 1 0 0 1 0 0 0 1 1 1 0 1 0 1 | 0 1 1 0 1 0 1 0 0 0 0 0 1 0 0 | "
        "2 0 0 1 0 0 0 0 0 0 0 1 0 1 0 1 | 2 0 1 0 0 0 1 0 0 1 1 1 1 0 0 1 0 | "
        "2 0 0 0 0 1 0 1 0 1 0 0 1 0 1 0 0 1 | 3 0 1 1 0 1 0 0 0 0 0 1 0 1 0 1 0 0 0 | "
        "3 0 1 1 0 0 0 0 0 0 0 0 0 1 1 0 0 0 0 1 | 0 1 0 0 1 0 1 1 0 0 0 1 0 0 0 0 0 1 1 0 0 | "
        "3 0 1 0 1 1 0 0 1 0 1 1 0 1 1 0 1 0 0 1 0 0 | 0 1 0 1 0 1 0 0 0 0 0 0 0 0 1 0 1 0 0 1 0 0 0 | "
        "0 1 1 0 0 0 1 1 1 0 1 0 0 0 1 0 1 0 0 1 1 0 0 0"
    ),
}
"""The published chain of 24 layers, which ``parse`` knows by name: that of the authors' ``cifar10_macro_final.sh``."""
PUBLISHED_LAYERS = 24


class ENASMacro(ScaledLinks):
    """Chains of ENAS: 6^12 * 2^66 = 1.606e29 encodings of 12 layers.

    A layer's decisions are its operation (6 options) and a bit for each earlier layer. The operation always reads the
    layer before; its output is concatenated with the layers whose bits are set, and a 1x1 convolution brings that back
    to the channels of a layer. So a bit for the layer before adds its output unchanged. Every encoding is a network of
    its own: ``canonical`` is the architecture itself.

    Args:
        layers: Layers of the chain, 1 to 60. The authors search with 12 and train a chain of 24.
        channels: Channels of the first layers, >= 1; each of two reductions, at one and two thirds, doubles them. (In
            the authors' search they stay at 36.)
        auxiliary: Whether networks have an auxiliary classifier, behind the first layer after the second reduction; its
            parameters are counted.

    Raises:
        UsageError: If a number is out of range, or ``auxiliary`` is neither true nor false.
    """

    def __init__(self, layers: int = 12, channels: int = 36, auxiliary: bool = False) -> None:
        self.layers = whole_number("ENASMacro", "layers", layers, 1, 60)
        if not isinstance(auxiliary, bool):
            raise UsageError(f"ENASMacro: auxiliary: expected true or false, got {auxiliary!r}")
        self.auxiliary = auxiliary
        super().__init__(channels, [self.layers], {"operation": OPERATIONS})

    def fed(self, layers: Sequence[Layer]) -> list[tuple[int, ...]]:
        """The layer before, and the layers whose bits are set."""
        return [tuple(sorted({*layer.sources, i - 1} - {-1})) for i, layer in enumerate(layers)]

    def decode(self, architecture: Architecture) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Of each layer the operation, and the layers, counted from 0, whose bits are set."""
        (layers,) = self.read(architecture)
        return tuple((OPERATIONS[options[0]], skips) for options, skips in layers)

    def format(self, architecture: Architecture) -> str:
        """The tokens: operation and bits of each layer."""
        return " ".join(map(str, architecture))

    def parse(self, text: str) -> Architecture:
        """Reads tokens, or the name of the published chain, which has 24 layers.

        Raises:
            InvalidArchitecture: If ``text`` is neither.
        """
        if text.strip() in ARCHITECTURES and self.layers != PUBLISHED_LAYERS:
            raise InvalidArchitecture(
                f"{text.strip()} is an architecture of ENASMacro with layers {PUBLISHED_LAYERS}; set that"
            )
        return read_tokens(self, ARCHITECTURES.get(text.strip(), text))

    def _network(self, architecture: Architecture | None, task: InputShape, channels: int) -> Network:
        from archsearch.spaces.networks.enas_macro import ENASMacroNetwork

        return ENASMacroNetwork(self, architecture, task, channels)
