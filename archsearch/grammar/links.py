"""Spaces of layers that say of each earlier layer whether it feeds them, in one stage or several."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from archsearch.basics.checks import at_least_one
from archsearch.space import Space
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import networkx

    from archsearch.basics.operation_graphs import OperationGraphs
    from archsearch.networks.network import InputShape, Network


class Layer(NamedTuple):
    """A layer of an architecture.

    Attributes:
        options: Its own decisions.
        sources: The earlier layers of its stage that feed it, counted from 0.
    """

    options: Architecture
    sources: tuple[int, ...]


class Wiring(NamedTuple):
    """How the layers of a stage hang together in a network.

    Attributes:
        sources: For each layer that is there, the layers that feed it; none: the stage's input does.
        loose: The layers that feed no other, which go into the stage's output.
    """

    sources: Mapping[int, tuple[int, ...]]
    loose: tuple[int, ...]


class Links(Space):
    """Base of such spaces.

    The decisions of a layer are those of its own, then a bit for each earlier layer of its stage. What feeds no layer
    goes into the output of its stage; what nothing feeds gets the stage's input.

    Args:
        stages: Layers of each stage.
        options: A layer's own decisions, with the names of their options.
        direct: Whether the layer before feeds a layer without a decision, so that it has no bit.
        ends: Whether each stage begins and ends with an operation of its own, and drops layers that have neither input
            nor output; else there must be a single stage.
    """

    def __init__(
        self, stages: Sequence[int], options: Mapping[str, Sequence[str]], direct: bool = False, ends: bool = False
    ) -> None:
        self._stages, self._options, self._direct, self._ends = tuple(stages), dict(options), direct, ends
        own = [len(names) for names in options.values()]
        super().__init__(arities=[n for size in stages for i in range(size) for n in (*own, *[2] * len(self._bits(i)))])
        self._labels = list(self._all_labels())

    @property
    def skip_decisions(self) -> frozenset[int]:
        """Positions of the bits for earlier layers."""
        layers, own = (i for size in self._stages for i in range(size)), len(self._options)
        bits = [bit for i in layers for bit in (*[False] * own, *[True] * len(self._bits(i)))]
        return frozenset(position for position, bit in enumerate(bits) if bit)

    def _bits(self, layer: int) -> range:
        """The earlier layers of which a layer has a bit."""
        return range(max(0, layer - self._direct))

    def _all_labels(self) -> Iterator[str]:
        for stage, size in enumerate(self._stages):
            where = f"stage {stage + 1}, " if len(self._stages) > 1 else ""
            for i in range(size):
                for name in (*self._options, *(f"from layer {j + 1}" for j in self._bits(i))):
                    yield f"{where}layer {i + 1}: {name}"

    def label(self, prefix: Architecture) -> str:
        """Stage, layer and what is decided, such as ``layer 3: from layer 1``."""
        return self._labels[len(prefix)]

    def read(self, architecture: Architecture) -> list[list[Layer]]:
        """The layers of each stage."""
        stages, at = [], 0
        for size in self._stages:
            layers = []
            for i in range(size):
                options = architecture[at : at + len(self._options)]
                at += len(self._options)
                bits = self._bits(i)
                sources = tuple(j for j, bit in zip(bits, architecture[at : at + len(bits)], strict=True) if bit)
                at += len(bits)
                layers.append(Layer(options, (*sources, i - 1) if self._direct and i else sources))
            stages.append(layers)
        return stages

    def write(self, stages: Sequence[Sequence[Layer]]) -> Architecture:
        """The decisions that ``read`` turns into these layers."""
        found: list[int] = []
        for layers in stages:
            for i, layer in enumerate(layers):
                found += [*layer.options, *(int(j in layer.sources) for j in self._bits(i))]
        return tuple(found)

    # -- graphs --------------------------------------------------------------------------------------

    def fed(self, layers: Sequence[Layer]) -> list[tuple[int, ...]]:
        """The earlier layers that a network of the space feeds to each layer of a stage."""
        return [layer.sources for layer in layers]

    def wiring(self, layers: Sequence[Layer]) -> Wiring:
        """How the layers of a stage hang together."""
        fed = self.fed(layers)
        read = {source for sources in fed for source in sources}
        there = [i for i, sources in enumerate(fed) if not self._ends or sources or i in read]
        return Wiring({i: fed[i] for i in there}, tuple(i for i in there if i not in read))

    def named(self, options: Architecture) -> str:
        """What a layer is called in pictures."""
        return " ".join(names[option] for names, option in zip(self._options.values(), options, strict=True))

    def _edges(self, architecture: Architecture) -> list[tuple[int, int]]:
        """Edges between places: 0 is the input, then the layers of all stages, between their ends if there are some."""
        edges, before, first = [], 0, 1
        for size, layers in zip(self._stages, self.read(architecture), strict=True):
            begin = before
            if self._ends:
                edges.append((before, first))
                begin, first = first, first + 1
            sources, loose = self.wiring(layers)
            for i, some in sources.items():
                edges += [(first + j, first + i) for j in some] or [(begin, first + i)]
            end = first + size
            edges += [(first + i, end) for i in loose]
            before = end if sources else begin
            first = end + self._ends
        if self._ends:
            edges.append((before, first))
        return edges

    def _places(self, architecture: Architecture) -> list[tuple[str, int]]:
        """Name and kind of the operation at each place between input and output."""
        places = []
        kinds = math.prod(len(names) for names in self._options.values())
        for stage, layers in enumerate(self.read(architecture)):
            named = []
            for i, (options, _) in enumerate(layers):
                kind = 0
                for names, option in zip(self._options.values(), options, strict=True):
                    kind = kind * len(names) + option
                named.append((f"{i + 1} {self.named(options)}".strip(), stage * kinds + kind))
            if self._ends:
                ends = len(self._stages) * kinds
                named = [("first", ends), *named, ("last", ends + 1)]
                named = [(f"stage {stage + 1}: {name}", kind) for name, kind in named]
            places += named
        return places

    def graph(self, architecture: Architecture) -> networkx.MultiDiGraph:
        """The layers that are there, between input and output."""
        import networkx

        edges = self._edges(architecture)
        there = {place for edge in edges for place in edge}
        places = self._places(architecture)
        names = ["input", *(name for name, _ in places), "output"]
        graph = networkx.MultiDiGraph()
        for place, name in enumerate(names):
            if place in there:
                graph.add_node(place, label=name)
        graph.add_edges_from(edges)
        return graph

    def operation_graphs(self, architectures: Sequence[Architecture] | npt.NDArray[np.int64]) -> OperationGraphs:
        """The layers; a layer's kind are its decisions together, in each stage others."""
        from archsearch.basics.operation_graphs import OperationGraphs

        kinds = len(self._stages) * math.prod(len(names) for names in self._options.values()) + 2 * self._ends
        operations = sum(self._stages) + 2 * self._ends * len(self._stages)
        labels = np.full((len(architectures), operations + 2), -1)
        adjacency = np.zeros((len(architectures), operations + 2, operations + 2), bool)
        for row, architecture in enumerate(architectures):
            decisions = tuple(int(option) for option in architecture)
            sources, targets = zip(*self._edges(decisions), strict=True)
            adjacency[row, sources, targets] = True
            there = sorted({*sources, *targets} - {0, operations + 1})
            every = [kind for _, kind in self._places(decisions)]
            labels[row, there] = [every[place - 1] for place in there]
        return OperationGraphs(kinds, labels, adjacency, longest=operations)


class ScaledLinks(Links):
    """Base of those whose networks have as many channels as one likes.

    Args:
        channels: Channels of the first layers, >= 1.
        stages: See ``Links``.
        options: See ``Links``.
        ends: See ``Links``.

    Raises:
        UsageError: If ``channels`` is below 1.
    """

    def __init__(
        self, channels: int, stages: Sequence[int], options: Mapping[str, Sequence[str]], ends: bool = False
    ) -> None:
        super().__init__(stages, options, ends=ends)
        self.channels = at_least_one(type(self).__name__, "channels", channels)

    def network(self, architecture: Architecture, task: InputShape, *, channels: int | None = None) -> Network:
        """The stand-alone network; ``channels`` instead of the space's own."""
        return self._network(self.validate(architecture), task, self._channels(channels))

    def super_network(self, task: InputShape, *, channels: int | None = None) -> Network:
        """The network with everything that any architecture has; see ``network``."""
        return self._network(None, task, self._channels(channels))

    def _channels(self, channels: int | None) -> int:
        return at_least_one(type(self).__name__, "channels", self.channels if channels is None else channels)

    def _network(self, architecture: Architecture | None, task: InputShape, channels: int) -> Network:
        """The network; None: the super-network."""
        raise NotImplementedError
