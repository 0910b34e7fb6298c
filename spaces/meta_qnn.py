"""MetaQNN: an agent walks through layer types until it terminates; each state says which layers may come next.

Reference: Baker, Gupta, Naik & Raskar, "Designing neural network architectures using reinforcement learning", ICLR
2017, sections 4.1 and appendix B, and the settings of the authors' code for CIFAR-10.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from archsearch.basics.checks import at_least_one, whole_number
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.space import Space
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import networkx

    from archsearch.basics.operation_graphs import OperationGraphs
    from archsearch.networks.network import InputShape, Network

KERNELS = (1, 3, 5)
POOLS = ((2, 2), (3, 2), (5, 3))
"""Size and stride."""

MOST_FLAT = 4
"""Height of the maps up to which a dense layer may read them."""

_LAYER = re.compile(r"(C)\((\d{1,9}),(\d{1,9}),1\)|(P)\((\d{1,9}),(\d{1,9})\)|(FC)\((\d{1,9})\)|(GAP|SM)")


class Layer(NamedTuple):
    """A layer, or an end.

    Attributes:
        kind: Convolution, pooling, dense layer; ``GAP`` ends with global average pooling before the classifier, ``SM``
            with the classifier on everything.
        size: Filters of a convolution, units of a dense layer, side of a pooling; else 0.
        extent: Kernel of a convolution, stride of a pooling; else 0.
    """

    kind: Literal["C", "P", "FC", "GAP", "SM"]
    size: int = 0
    extent: int = 0

    def __str__(self) -> str:
        """As the authors write it."""
        if self.kind == "C":
            return f"C({self.size},{self.extent},1)"
        return f"P({self.size},{self.extent})" if self.kind == "P" else f"FC({self.size})" if self.size else self.kind


class _State(NamedTuple):
    """Where the agent is.

    Attributes:
        layers: That there are.
        side: Height of the maps.
        kind: Of the last layer; empty at the start.
        dense: Dense layers that there are.
        width: Of the last one.
    """

    layers: int
    side: int
    kind: str = ""
    dense: int = 0
    width: int = 0


class MetaQNN(Space):
    """Chains of convolutions, poolings and dense layers, chosen one by one until the agent terminates (Baker 2017).

    A decision is the next layer; what may come next follows from the layers so far, as in the authors' code:

    - convolutions C(filters, kernel, stride 1), whose kernel is smaller than the maps; they keep the maps' size;
    - behind a convolution only, poolings P(side, stride) whose side is smaller than the maps;
    - where the maps are at most 4 x 4, up to two dense layers FC(units), none wider than the one before;
    - the ends: SM, the classifier on everything, and, before dense layers, GAP, global average pooling and the
      classifier. At the greatest number of layers SM follows by itself.

    What is smaller than the maps is decided by their size in buckets: from 8 on (8), 4 to 7 (4), below 4 (1). Texts are
    the authors': ``C(64,3,1), P(2,2), FC(256), SM``. ``canonical`` takes GAP of maps of one pixel for SM.

    Where we differ: there is at least one layer; a GAP is no layer that is counted; convolutions are normalised unless
    that is turned off (the authors train plain ones, with Adam and dropout behind every second layer).

    Args:
        layers: The most layers, >= 1. The paper has 18 for CIFAR-10.
        image: Height of the images, >= 2, for which the rules are made. The paper has 32.
        filters: Numbers of filters of convolutions, rising, each >= 1. None: 64, 128, 256, 512.
        units: Numbers of units of dense layers, rising, each >= 1. None: 128, 256, 512.
        dense: The most dense layers, >= 0.
        batch_norm: Whether convolutions are followed by batch normalisation.

    Raises:
        UsageError: If a setting is out of range.
    """

    def __init__(
        self,
        layers: int = 18,
        image: int = 32,
        filters: list[int] | None = None,
        units: list[int] | None = None,
        dense: int = 2,
        batch_norm: bool = True,
    ) -> None:
        self.layers = at_least_one("MetaQNN", "layers", layers)
        self.image = whole_number("MetaQNN", "image", image, 2)
        self.filters = _rising("filters", [64, 128, 256, 512] if filters is None else filters)
        self.units = _rising("units", [128, 256, 512] if units is None else units)
        self.dense = whole_number("MetaQNN", "dense", dense)
        if not isinstance(batch_norm, bool):
            raise UsageError(f"MetaQNN: batch_norm: expected true or false, got {batch_norm!r}")
        self.batch_norm = batch_norm
        # In this order, the numbers of those that may come next are much the same from state to state.
        self._vocabulary = [Layer("C", size, kernel) for kernel in KERNELS for size in self.filters]
        self._vocabulary += [Layer("SM"), Layer("GAP")]
        self._vocabulary += [Layer("P", *pool) for pool in POOLS] + [Layer("FC", size) for size in self.units]
        self._next: dict[_State, tuple[Layer, ...]] = {}
        super().__init__(max_length=self.layers, max_options=len(self._vocabulary))

    # -- the tree ------------------------------------------------------------------------------

    def arity(self, prefix: Architecture) -> int:
        """See ``Space.arity``."""
        state = self._walk(prefix)[0]
        return 0 if state is None else len(self._choices(state))

    def label(self, prefix: Architecture) -> str:
        """Which layer it is, and whether it may be a convolution, such as ``layer 3``."""
        state = self._walk(prefix)[0]
        return f"{'dense' if state is not None and state.dense else 'layer'} {len(prefix) + 1}"

    def subtree(self, prefix: Architecture) -> Hashable:
        """The number of layers, the size of the maps, and what the rules ask about the last layer."""
        state = self._walk(prefix)[0]
        return None if state is None else tuple(state)

    def _choices(self, state: _State) -> tuple[Layer, ...]:
        """The layers that may come next: at least one way to end, but not at the start."""
        if state not in self._next:
            self._next[state] = tuple(layer for layer in self._vocabulary if self._may(state, layer))
        return self._next[state]

    def _may(self, state: _State, layer: Layer) -> bool:
        side = 8 if state.side > 7 else 4 if state.side > 3 else 1
        if layer.kind == "FC":
            fits = state.dense < self.dense and (not state.dense or layer.size <= state.width)
            return fits and side <= MOST_FLAT
        if layer.kind == "SM":
            return state.layers > 0
        if state.dense:
            return False
        if layer.kind == "GAP":
            return state.layers > 0
        if layer.kind == "P":
            return state.kind == "C" and layer.size < side
        return layer.extent < side or (not state.layers and layer.extent == 1)  # some layer can always be the first

    def _walk(self, prefix: Architecture) -> tuple[_State | None, list[Layer]]:
        """Where the agent is after a prefix, None at the end; and the layers, without an end that follows by itself."""
        state, layers = _State(0, self.image), []
        for option in prefix:
            layer = self._choices(state)[option]
            layers.append(layer)
            if layer.kind in ("SM", "GAP"):
                return None, layers
            state = _after(state, layer)
        return (None if state.layers == self.layers else state), layers

    # -- reading and writing -------------------------------------------------------------------

    def decode(self, architecture: Architecture) -> tuple[Layer, ...]:
        """The layers; the last one is the end, SM or GAP."""
        layers = self._walk(self.validate(architecture))[1]
        return (*layers, Layer("SM")) if layers[-1].kind not in ("SM", "GAP") else tuple(layers)

    def encode(self, layers: Sequence[Layer]) -> Architecture:
        """The architecture with these layers; the reverse of ``decode``.

        Raises:
            InvalidArchitecture: If a layer may not stand where it does; the message says which.
        """
        state: _State | None = _State(0, self.image)
        found: Architecture = ()
        for number, layer in enumerate(layers, 1):
            if state is None:
                if layer == Layer("SM") and len(found) == len(layers) - 1 == self.layers:
                    return found
                raise InvalidArchitecture(f"MetaQNN: layer {number}, {layer}: expected the end before it")
            choices = self._choices(state)
            if layer not in choices:
                raise InvalidArchitecture(
                    f"MetaQNN: layer {number}: expected one of {'; '.join(map(str, choices))}, got {layer}"
                )
            found = (*found, choices.index(layer))
            state = self._walk(found)[0]
        if state is not None or (len(found) == self.layers and layers[-1].kind not in ("SM", "GAP")):
            raise InvalidArchitecture(f"MetaQNN: expected SM or GAP as the end, got {len(layers)} layers without")
        return found

    def format(self, architecture: Architecture) -> str:
        """Text such as ``C(64,3,1), P(2,2), FC(256), SM``."""
        return ", ".join(map(str, self.decode(architecture)))

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` wrote.

        Raises:
            InvalidArchitecture: If ``text`` is of another form, or a layer stands where it may not.
        """
        layers = []
        for word in re.split(r",\s*(?![^(]*\))", text.strip()):
            match = _LAYER.fullmatch(word)
            if match is None:
                raise InvalidArchitecture(
                    f"{text!r:.200} is no architecture of MetaQNN: expected layers such as C(64,3,1), P(2,2), FC(256), "
                    f"and SM or GAP as the end, got {word!r:.80}"
                )
            kind, *sizes = [group for group in match.groups() if group is not None]
            layers.append(Layer(kind, *map(int, sizes)))  # type: ignore[arg-type]
        return self.encode(layers)

    def canonical(self, architecture: Architecture) -> str:
        """The text; GAP of maps of one pixel is SM."""
        layers = self.decode(architecture)
        state = _State(0, self.image)
        for layer in layers[:-1]:
            state = _after(state, layer)
        end = Layer("SM") if state.side == 1 and not state.dense else layers[-1]
        return ", ".join(map(str, (*layers[:-1], end)))

    def graph(self, architecture: Architecture) -> networkx.MultiDiGraph:
        """The chain from ``input`` to the end."""
        import networkx

        graph = networkx.MultiDiGraph()
        for node, label in enumerate(["input", *map(str, self.decode(architecture))]):
            graph.add_node(node, label=label)
            if node:
                graph.add_edge(node - 1, node)
        return graph

    def operation_graphs(self, architectures: Sequence[Architecture] | npt.NDArray[np.int64]) -> OperationGraphs:
        """Chains of layers; an end is one of them."""
        from archsearch.basics.operation_graphs import chain

        numbers = {layer: number for number, layer in enumerate(self._vocabulary)}
        labels = np.full((len(architectures), self.layers + 1), -1)
        for row, architecture in enumerate(architectures):
            layers = self.decode(tuple(architecture))
            labels[row, : len(layers)] = [numbers[layer] for layer in layers]
        return chain(labels, len(self._vocabulary))

    # -- networks ------------------------------------------------------------------------------

    def network(self, architecture: Architecture, task: InputShape, *, channels: int | None = None) -> Network:
        """The stand-alone network of an architecture; there is no super-network.

        Args:
            architecture: The layers.
            task: What has an input shape and a number of classes; maps of any size: a pooling is no larger than they.
            channels: What the smallest number of filters becomes; all others, and units, are scaled in proportion and
                rounded. None: the space's own.
        """
        from archsearch.spaces.networks.meta_qnn import MetaQNNNetwork

        channels = self.filters[0] if channels is None else at_least_one("MetaQNN", "channels", channels)
        return MetaQNNNetwork(self, self.validate(architecture), task, channels)

    def scaled(self, size: int, channels: int) -> int:
        """Filters or units in a network in which the smallest number of filters is ``channels``."""
        return max(1, round(size * channels / self.filters[0]))


def _after(state: _State, layer: Layer) -> _State:
    """Where the agent is after a layer that is no end."""
    if layer.kind == "FC":
        return _State(state.layers + 1, 0, "FC", state.dense + 1, layer.size)
    side = state.side
    if layer.kind == "P":
        side = -(-(side - layer.size + 1) // layer.extent)  # no padding; rounded up
    return _State(state.layers + 1, side, layer.kind)


def _rising(name: str, numbers: Sequence[int]) -> list[int]:
    if not isinstance(numbers, (list, tuple)) or not numbers:
        raise UsageError(f"MetaQNN: {name}: expected a list that is not empty, got {numbers!r}")
    checked = [at_least_one("MetaQNN", f"{name}[{i}]", each) for i, each in enumerate(numbers)]
    if checked != sorted(set(checked)):
        raise UsageError(f"MetaQNN: {name}: expected rising numbers, got {checked}")
    return checked
