"""Plain chains of convolutions, for searches that grow a trained network by edits that keep its function.

References: Chen, Goodfellow & Shlens, "Net2Net", ICLR 2016; Wei et al., "Network morphism", ICML 2016; Cai et al.,
"Efficient architecture search by network transformation" (EAS), AAAI 2018; Elsken, Metzen & Hutter, "Simple and
efficient architecture search for convolutional neural networks" (NASH), 2017. Sizes and options are our own: small
enough for 8x8 images.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from archsearch.basics.checks import at_least_one
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.space import Space
from archsearch.spaces.networks.conv_chain_moves import Chain as Chain
from archsearch.spaces.networks.conv_chain_moves import Layer as Layer
from archsearch.spaces.networks.conv_chain_moves import deepened, enlarged, skipped, widened
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import networkx
    import torch

    from archsearch.networks.network import InputShape, Network

Decision = Literal["layers", "width", "kernel", "skip"]
Morphism = Literal["deepen", "widen", "enlarge", "skip"]

_LAYER = re.compile(r"([1-9][0-9]*)k([1-9][0-9]*)(\+?)")


class _Place(NamedTuple):
    """Where in the tree of decisions a prefix ends.

    Attributes:
        decision: What comes next; None: nothing, the architecture is complete.
        stage: Of the next decision.
        layer: Of the next decision.
        layers: Of the stage; 0 if that comes next.
        width: The option that was chosen last, of this layer or the one before; -1: the images come before.
        agrees: Whether this layer's width, if it is chosen, is that of its input.
    """

    decision: Decision | None
    stage: int
    layer: int = 0
    layers: int = 0
    width: int = -1
    agrees: bool = False


class ConvChain(Space):
    """A chain of convolutions in stages, with widths, kernels and skips to choose; 149,382,528 chains by default.

    Decisions of each stage: how many layers it has, then of each layer its width, its kernel and, where its input has
    the same width, whether there is a skip: ``output = ReLU(BN(convolution(input))) + scale * input``, with a learned
    number ``scale``. The first layer of the chain reads the images and never has one. Between stages, 2x2 max-pooling
    halves height and width, rounded up. Texts are such as ``16k3 16k3+ | 32k5 | 32k3``: width, ``k``, kernel, and ``+``
    for a skip.

    ``morph`` hands the weights of a trained network to another one of the space, and keeps its function if the other
    one has grown. ``grow`` draws such a larger network, one step away: the moves of EAS and NASH. ``mutate`` changes
    any decision.

    There is no super-network: candidates differ in width, and share no weights.

    Args:
        stages: Number of stages, >= 1.
        max_layers: The most layers of a stage, >= 1; the fewest is one.
        widths: Channels that a layer can have, rising, >= 1. None: 8, 16, 32.
        kernels: Sizes that a convolution can have, rising odd numbers, >= 1. None: 3, 5.

    Raises:
        UsageError: If a setting is out of range; the message names it.
    """

    def __init__(
        self, stages: int = 3, max_layers: int = 3, widths: list[int] | None = None, kernels: list[int] | None = None
    ) -> None:
        self.stages = at_least_one("ConvChain", "stages", stages)
        self.max_layers = at_least_one("ConvChain", "max_layers", max_layers)
        self.widths = _rising("widths", [8, 16, 32] if widths is None else widths)
        self.kernels = _rising("kernels", [3, 5] if kernels is None else kernels)
        if even := [kernel for kernel in self.kernels if kernel % 2 == 0]:
            raise UsageError(f"ConvChain: kernels: expected odd numbers, got {even[0]}")
        longest = self.stages * (1 + 3 * self.max_layers) - 1  # the first layer has no decision on a skip
        super().__init__(max_length=longest, max_options=max(2, self.max_layers, len(self.widths), len(self.kernels)))

    # -- the tree ------------------------------------------------------------------------------

    def arity(self, prefix: Architecture) -> int:
        """See ``Space.arity``."""
        decision = self._place(prefix).decision
        if decision is None:
            return 0
        return {"layers": self.max_layers, "width": len(self.widths), "kernel": len(self.kernels), "skip": 2}[decision]

    def label(self, prefix: Architecture) -> str:
        """Stage, layer and what is decided, such as ``stage 1 layer 0 width``; stages and layers count from 0."""
        place = self._place(prefix)
        if place.decision == "layers":
            return f"stage {place.stage} layers"
        return f"stage {place.stage} layer {place.layer} {place.decision}"

    def subtree(self, prefix: Architecture) -> Hashable:
        """What comes next, what remains of the stage, and the width that a skip needs."""
        place = self._place(prefix)
        return place._replace(layer=0, layers=place.layers - place.layer)

    def _place(self, prefix: Architecture) -> _Place:
        position, inputs = 0, -1
        for stage in range(self.stages):
            if position == len(prefix):
                return _Place("layers", stage, width=inputs)
            layers = prefix[position] + 1
            position += 1
            for layer in range(layers):
                decided = prefix[position : position + 3]
                if not decided:
                    return _Place("width", stage, layer, layers, inputs)
                width, agrees = decided[0], decided[0] == inputs
                if len(decided) == 1:
                    return _Place("kernel", stage, layer, layers, width, agrees)
                if len(decided) == 2 and agrees:
                    return _Place("skip", stage, layer, layers, width, agrees)
                position += 3 if agrees else 2
                inputs = width
        return _Place(None, self.stages)

    # -- reading and writing -------------------------------------------------------------------

    def decode(self, architecture: Architecture) -> Chain:
        """The layers of each stage."""
        options = iter(self.validate(architecture))
        stages, inputs = [], 0
        for _ in range(self.stages):
            stage: list[Layer] = []
            for _ in range(next(options) + 1):
                width, kernel = self.widths[next(options)], self.kernels[next(options)]
                stage.append(Layer(width, kernel, width == inputs and next(options) == 1))
                inputs = width
            stages.append(tuple(stage))
        return tuple(stages)

    def encode(self, chain: Sequence[Sequence[Layer]]) -> Architecture:
        """The architecture with these layers; the reverse of ``decode``.

        Args:
            chain: The layers of each stage.

        Raises:
            InvalidArchitecture: If there is none; the message names the stage and the layer.
        """
        if len(chain) != self.stages:
            raise InvalidArchitecture(f"ConvChain: expected {self.stages} stages, got {len(chain)}")
        options, inputs = [], 0
        for i, stage in enumerate(chain):
            if not 1 <= len(stage) <= self.max_layers:
                raise InvalidArchitecture(
                    f"ConvChain: stage {i}: expected 1 to {self.max_layers} layers, got {len(stage)}"
                )
            options.append(len(stage) - 1)
            for j, (width, kernel, skip) in enumerate(stage):
                where = f"ConvChain: stage {i} layer {j}"
                options += [_option(f"{where}: width", width, self.widths)]
                options += [_option(f"{where}: kernel", kernel, self.kernels)]
                if width == inputs:
                    options.append(int(skip))
                elif skip:
                    before = f"an input of {inputs} channels" if inputs else "the images as input"
                    raise InvalidArchitecture(f"{where}: a skip needs equal widths, got {width} channels and {before}")
                inputs = width
        return tuple(options)

    def format(self, architecture: Architecture) -> str:
        """Text such as ``16k3 16k3+ | 32k5 | 32k3``; the class's docstring explains it."""
        return " | ".join(" ".join(map(_written, stage)) for stage in self.decode(architecture))

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` wrote.

        Raises:
            InvalidArchitecture: If ``text`` is of another form, or has layers that the space lacks.
        """
        chain = []
        for stage in text.split("|"):
            layers = []
            for word in stage.split():
                match = _LAYER.fullmatch(word)
                if match is None:
                    raise InvalidArchitecture(
                        f"{text!r} is no architecture of {type(self).__name__}: expected layers such as 16k3 or 16k3+, "
                        f"and | between stages, got {word!r}"
                    )
                layers.append(Layer(int(match[1]), int(match[2]), match[3] == "+"))
            chain.append(layers)
        return self.encode(chain)

    def graph(self, architecture: Architecture) -> networkx.MultiDiGraph:
        """The chain from ``input`` to ``output``, with layers such as ``conv 16k3``; skips end in ``add``."""
        import networkx

        graph = networkx.MultiDiGraph()
        graph.add_node(0, label="input")

        def follow(label: str, *sources: int) -> int:
            node = len(graph)
            graph.add_node(node, label=label)
            graph.add_edges_from((source, node) for source in sources)
            return node

        last = 0
        for i, stage in enumerate(self.decode(architecture)):
            last = follow("max pool", last) if i else last
            for layer in stage:
                output = follow(f"conv {layer.width}k{layer.kernel}", last)
                last = follow("add", output, last) if layer.skip else output
        follow("output", last)
        return graph

    # -- growing -------------------------------------------------------------------------------

    def grow(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Draws a larger architecture, one move away, that ``morph`` can give the same function.

        Args:
            architecture: Where to start.
            rng: Draws the kind of move, uniformly among those that are possible, then one of that kind, uniformly.

        Returns:
            The larger one; ``architecture`` itself, if it can grow no further.
        """
        possible = [grown for grown in self.morphisms(architecture).values() if grown]
        if not possible:
            return architecture
        grown = possible[int(rng.integers(len(possible)))]
        return grown[int(rng.integers(len(grown)))]

    def morphisms(self, architecture: Architecture) -> dict[Morphism, list[Architecture]]:
        """All architectures that are one function-preserving move away, by the kind of move.

        ``deepen`` inserts a layer, as wide as its input and with any kernel, into a stage that has room. Not before the
        first layer of all, which reads images, nor behind a layer with a skip: a ReLU changes negative numbers, which
        images hold, and so may outputs with a skip, since ``scale`` can become negative in training.
        ``widen`` gives a layer the next larger width. The layers behind it that have skips, one after another, are
        as wide as it is, across stages too: all of them widen together, and none widens alone.
        ``enlarge`` gives a layer the next larger kernel.
        ``skip`` adds a skip where widths agree.

        Args:
            architecture: Where to start.
        """
        chain = self.decode(architecture)
        return {
            "deepen": self._distinct(deepened(chain, self.max_layers, self.kernels)),
            "widen": self._distinct(widened(chain, self.widths)),
            "enlarge": self._distinct(enlarged(chain, self.kernels)),
            "skip": self._distinct(skipped(chain)),
        }

    def _distinct(self, chains: Iterator[Chain]) -> list[Architecture]:
        return list(dict.fromkeys(map(self.encode, chains)))

    # -- networks ------------------------------------------------------------------------------

    def network(self, architecture: Architecture, task: InputShape, *, channels: int | None = None) -> Network:
        """The stand-alone network of an architecture.

        Args:
            architecture: The chain.
            task: What has an input shape and a number of classes.
            channels: What the smallest of the space's widths becomes; the others are scaled in proportion and rounded.
                None: the space's own widths.
        """
        from archsearch.spaces.networks.conv_chain import ConvChainNetwork

        channels = self.widths[0] if channels is None else at_least_one("ConvChain", "channels", channels)
        return ConvChainNetwork(self.validate(architecture), task, self, channels)

    def scaled_width(self, width: int, channels: int) -> int:
        """``width`` in a network in which the smallest width is ``channels``; equal widths stay equal."""
        return round(width * channels / self.widths[0])

    def morph(self, network: Network, child: Network, generator: torch.Generator) -> bool:
        """Gives ``child`` as much of the function of ``network`` as can be.

        Kept exactly: layers are inserted, made wider, get larger kernels or skips, any number of them at once. Of all
        ways to match the layers of the two, the one that loses least is taken. A new layer passes its input through,
        a wider one replicates channels (Net2Wider; the copies of a channel divide its outgoing weights unequally, so
        that they part in training), a larger kernel has zeros around it, and a new skip has the scale 0. A layer cannot
        be inserted exactly where its input may be negative: before the first layer, and behind a skip whose scale has
        become negative. All other changes lose something: layers that vanish are left out, smaller ones get the first
        channels and the centre of the kernel. The classifier is taken over if the number of classes agrees.

        Function means that of evaluation mode. In training mode a new layer normalises its batch like any other.

        Args:
            network: The trained parent, a network of this space.
            child: Another one, with initial weights; changed in place.
            generator: Draws which channels a wider layer replicates, and how the copies share.

        Returns:
            Whether the child computes the same function, up to rounding, in evaluation mode.

        Raises:
            UsageError: If one of them is no network of this space.
        """
        from archsearch.networks.network import two_to_morph
        from archsearch.spaces.networks.conv_chain import ConvChainNetwork, morph

        return morph(*two_to_morph(self, network, child, ConvChainNetwork), generator)


# -- chains ------------------------------------------------------------------------------------


def _written(layer: Layer) -> str:
    return f"{layer.width}k{layer.kernel}{'+' if layer.skip else ''}"


def _option(where: str, value: int, options: list[int]) -> int:
    if value not in options:
        raise InvalidArchitecture(f"{where}: expected one of {', '.join(map(str, options))}, got {value}")
    return options.index(value)


# -- checks of the settings --------------------------------------------------------------------


def _rising(name: str, numbers: Sequence[int]) -> list[int]:
    if not isinstance(numbers, (list, tuple)) or not numbers:
        raise UsageError(f"ConvChain: {name}: expected a list that is not empty, got {numbers!r}")
    checked = [at_least_one("ConvChain", f"{name}[{i}]", number) for i, number in enumerate(numbers)]
    if checked != sorted(set(checked)):
        raise UsageError(f"ConvChain: {name}: expected rising numbers, got {checked}")
    return checked
