"""NAS by reinforcement learning: chains of convolutions of any shape, with skips from any earlier layers.

Reference: Zoph & Le, "Neural architecture search with reinforcement learning", ICLR 2017, sections 3.3 and 4.1.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from archsearch.basics.checks import whole_number
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.grammar.links import Layer, Links
from archsearch.trial import Architecture

if TYPE_CHECKING:
    from archsearch.networks.network import InputShape, Network

HEIGHTS = WIDTHS = (1, 3, 5, 7)
FILTERS = (24, 36, 48, 64)
STRIDES = (1, 2, 3)
_LAYER = re.compile(r"([0-9]+)x([0-9]+)x([0-9]+)(?:/([0-9]+)x([0-9]+))?(?: ?<- ?([0-9][0-9 ]*))?")


class NASRL(Links):
    """Chains of convolutions: 64 kinds of layers, 576 with strides, and skips: 5.0e58 encodings of 15 layers.

    A layer's decisions are filter height and width (1, 3, 5, 7), number of filters (24, 36, 48, 64), perhaps strides,
    and a bit for each earlier layer. What feeds a layer is concatenated; a layer that nothing feeds gets the image;
    what feeds no layer is concatenated before the classifier; smaller maps are padded with zeros. So no layer is dead,
    and ``canonical`` is the architecture itself: layers are not sorted.

    Args:
        layers: Layers of the chain, 1 to 40. The paper searches with 6 at first, and adds 2 time and again.
        strides: Whether height and width of the stride are decided (1, 2, 3), else they are 1.
        force_direct: Whether each layer is always fed by the one before, so that 15 layers have 91 bits; otherwise that
            is decided, too, as in the paper's experiments: 105 bits.

    Raises:
        UsageError: If ``layers`` is out of range, or a switch is neither true nor false.
    """

    def __init__(self, layers: int = 15, strides: bool = False, force_direct: bool = False) -> None:
        self.layers = whole_number("NASRL", "layers", layers, 1, 40)
        for name, switch in (("strides", strides), ("force_direct", force_direct)):
            if not isinstance(switch, bool):
                raise UsageError(f"NASRL: {name}: expected true or false, got {switch!r}")
        self.strides = strides
        self.force_direct = force_direct
        self._values: dict[str, tuple[int, ...]] = {
            "filter height": HEIGHTS,
            "filter width": WIDTHS,
            "filters": FILTERS,
        }
        if strides:
            self._values |= {"stride height": STRIDES, "stride width": STRIDES}
        options = {name: [str(value) for value in values] for name, values in self._values.items()}
        super().__init__([self.layers], options, direct=force_direct)

    def values(self, layer: Layer) -> tuple[int, ...]:
        """Filter height and width, number of filters, stride height and width of a layer."""
        found = [values[option] for values, option in zip(self._values.values(), layer.options, strict=True)]
        return tuple(found) if self.strides else (*found, 1, 1)

    def named(self, options: Architecture) -> str:
        """Such as ``3x5x36`` for 36 filters of height 3 and width 5, or ``3x5x36/1x2`` with strides."""
        height, width, filters, *stride = self.values(Layer(options, ()))
        return f"{height}x{width}x{filters}" + (f"/{stride[0]}x{stride[1]}" if self.strides else "")

    def format(self, architecture: Architecture) -> str:
        """Layers between bars, each with the layers, counted from 1, that feed it: ``3x3x24 | 5x5x36 <- 1``."""
        (layers,) = self.read(architecture)
        texts = []
        for layer in layers:
            sources = " ".join(str(j + 1) for j in layer.sources)
            texts.append(self.named(layer.options) + (f" <- {sources}" if sources else ""))
        return " | ".join(texts)

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` wrote.

        Raises:
            InvalidArchitecture: If ``text`` is no chain of this space.
        """
        layers = []
        for i, part in enumerate(text.split("|")):
            match = _LAYER.fullmatch(" ".join(part.split()))
            numbers = [int(number) for number in match.groups()[:5] if number] if match else []
            known = list(self._values.values())
            sources = [int(source) - 1 for source in (match[6] or "").split()] if match else []
            fine = len(numbers) == len(known) and all(n in some for n, some in zip(numbers, known, strict=True))
            direct = not self.force_direct or not i or i - 1 in sources
            if not fine or not direct or len(set(sources)) < len(sources) or not set(sources) <= set(range(i)):
                self._refuse(
                    text, f"layer {i + 1}: {part.strip()!r} is no convolution of this space, fed by earlier layers"
                )
            options = tuple(some.index(n) for n, some in zip(numbers, known, strict=True))
            layers.append(Layer(options, tuple(sorted(sources))))
        if len(layers) != self.layers:
            self._refuse(text, f"{len(layers)} layers instead of {self.layers}")
        return self.write([layers])

    def _refuse(self, text: str, why: str) -> None:
        example = self.format((0,) * self.max_length)
        raise InvalidArchitecture(
            f"{text!r:.200} is no architecture of NASRL: {why}; expected a text such as {example!r}"
        )

    def network(self, architecture: Architecture, task: InputShape) -> Network:
        """The stand-alone network of a chain."""
        return self._network(self.validate(architecture), task)

    def super_network(self, task: InputShape) -> Network:
        """The network with the largest convolutions and all skips; see ``network``."""
        return self._network(None, task)

    def _network(self, architecture: Architecture | None, task: InputShape) -> Network:
        from archsearch.spaces.networks.nas_rl import NASRLNetwork

        return NASRLNetwork(self, architecture, task)
