"""BlockQNN: blocks in the network structure code, chosen layer by layer until the terminal one.

Reference: Zhong, Yan, Wu, Shao & Liu, "Practical block-wise neural network architecture generation", CVPR 2018.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from archsearch.basics.checks import at_least_one
from archsearch.errors import InvalidArchitecture
from archsearch.space import Space
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import networkx

    from archsearch.basics.operation_graphs import OperationGraphs
    from archsearch.networks.network import InputShape, Network

KINDS = ("conv 1x1", "conv 3x3", "conv 5x5", "max pool 3x3", "avg pool 3x3", "identity", "end", "add", "concat")
"""Options of a layer, ``end`` among them; at the first layer the last three are not there."""

CODES = ((1, 1), (1, 3), (1, 5), (2, 3), (3, 3), (4, 0), (7, 0), (5, 0), (6, 0))
"""Type and kernel of each in the network structure code."""

UNARY = KINDS.index("end")


class Layer(NamedTuple):
    """A layer of a block.

    Attributes:
        kind: Number in ``KINDS``.
        sources: One, or the later and the earlier of two: 0 is the block's input, i the i-th layer, from 1.
    """

    kind: int
    sources: tuple[int, ...]


class _State(NamedTuple):
    """Where in the tree of decisions a prefix ends.

    Attributes:
        layers: That are done.
        kind: Of the next one; None: that comes next.
        later: The first of its two sources.
        done: Whether the architecture is complete.
    """

    layers: tuple[Layer, ...] = ()
    kind: int | None = None
    later: int | None = None
    done: bool = False


class BlockQNN(Space):
    """Blocks of layers, each of 8 kinds, that read the input or earlier layers; stacked in stages (Zhong 2018).

    Decisions of each layer: its kind, then what it reads. Convolutions (1x1, 3x3, 5x5; ReLU before and batch
    normalisation behind), poolings (3x3) and the identity read one earlier layer or the input of the block, ``add`` and
    ``concat`` two different ones. The end, or the greatest number of layers, completes the block; layers that nothing
    reads are concatenated. Texts are the network structure code, five numbers a layer: index, type (1 convolution,
    2 max and 3 average pooling, 4 identity, 5 add, 6 concat, 7 end), kernel, and two predecessors.

    ``canonical`` is equal for blocks that differ in the numbering of layers, and in identities: a layer that reads an
    identity reads what that reads. It is a hash (Weisfeiler and Lehman), so that different blocks could share one.

    Where we differ: poolings have the one kernel 3, since one of 1 is an identity. Each block begins with a 1x1
    convolution to the width of its stage, where its input has another, and so does what is concatenated inside it: in
    the paper the channels grow.

    Args:
        layers: The most layers of a block, >= 1.
        blocks: Blocks in each of the three stages, >= 1, each with weights of its own; between stages there is 2x2
            max-pooling, and the width doubles.
        channels: Width of the first stage, >= 1.

    Raises:
        UsageError: If a setting is out of range.
    """

    def __init__(self, layers: int = 23, blocks: int = 2, channels: int = 32) -> None:
        self.layers = at_least_one("BlockQNN", "layers", layers)
        self.blocks = at_least_one("BlockQNN", "blocks", blocks)
        self.channels = at_least_one("BlockQNN", "channels", channels)
        super().__init__(max_length=3 * self.layers - 1, max_options=max(len(KINDS), self.layers))

    # -- the tree ------------------------------------------------------------------------------

    def arity(self, prefix: Architecture) -> int:
        """See ``Space.arity``."""
        state = self._walk(prefix)
        if state.done:
            return 0
        earlier = len(state.layers)
        if state.kind is None:
            return len(KINDS) if earlier else UNARY
        if state.later is not None:
            return state.later
        return earlier + 1 if state.kind < UNARY else earlier

    def label(self, prefix: Architecture) -> str:
        """Such as ``layer 2 kind``, ``layer 2 source``; layers count from 1."""
        state = self._walk(prefix)
        what = "kind" if state.kind is None else "source" if state.later is None else "second source"
        pair = " of two" if state.kind is not None and state.kind > UNARY and state.later is None else ""
        return f"layer {len(state.layers) + 1} {what}{pair}"

    def subtree(self, prefix: Architecture) -> Hashable:
        """The number of layers, and what is decided of the next one."""
        state = self._walk(prefix)
        two = None if state.kind is None else state.kind > UNARY
        return None if state.done else (len(state.layers), two, state.later)

    def _walk(self, prefix: Architecture) -> _State:
        layers: list[Layer] = []
        kind = later = None
        for option in prefix:
            if kind is None:
                if option == UNARY:
                    return _State(tuple(layers), done=True)
                if layers:
                    kind = option
                    continue
                layers.append(Layer(option, (0,)))  # the first layer can only read the input
            elif later is None and kind > UNARY:
                later = option + 1
                continue
            else:
                layers.append(Layer(kind, (option,) if later is None else (later, option)))
                kind = later = None
        return _State(tuple(layers), kind, later, done=len(layers) == self.layers)

    # -- reading and writing -------------------------------------------------------------------

    def decode(self, architecture: Architecture) -> tuple[Layer, ...]:
        """The layers."""
        return self._walk(self.validate(architecture)).layers

    def encode(self, layers: Sequence[Layer]) -> Architecture:
        """The architecture with these layers; the reverse of ``decode``.

        Raises:
            InvalidArchitecture: If there is none; the message says which layer is wrong.
        """
        options: list[int] = []
        if not 1 <= len(layers) <= self.layers:
            raise InvalidArchitecture(f"BlockQNN: expected 1 to {self.layers} layers, got {len(layers)}")
        for index, (kind, sources) in enumerate(layers, 1):
            two = kind > UNARY
            sound = 0 <= kind < len(KINDS) and kind != UNARY and all(0 <= source < index for source in sources)
            if not sound or len(sources) != 1 + two or len(set(sources)) < len(sources):
                raise InvalidArchitecture(
                    f"BlockQNN: layer {index}: expected one of {', '.join(KINDS)} and earlier layers that it reads, "
                    f"two different ones for add and concat, got kind {kind} with sources {sources}"
                )
            options.append(kind)
            if two:
                options += [max(sources) - 1, min(sources)]
            elif index > 1:
                options += sources
        return tuple(options if len(layers) == self.layers else [*options, UNARY])

    def format(self, architecture: Architecture) -> str:
        """The network structure code, such as ``1,1,3,0,0 2,5,0,1,0 3,7,0,0,0``."""
        layers = self.decode(architecture)
        codes = [(i, *CODES[kind], *sources, 0)[:5] for i, (kind, sources) in enumerate(layers, 1)]
        return " ".join(",".join(map(str, code)) for code in [*codes, (len(layers) + 1, *CODES[UNARY], 0, 0)])

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` wrote.

        Raises:
            InvalidArchitecture: If ``text`` is of another form, or has layers that the space lacks.
        """
        layers: list[Layer] = []
        words = text.split()
        for number, word in enumerate(words, 1):
            code = tuple(map(int, word.split(","))) if re.fullmatch(r"\d{1,4}(,\d{1,4}){4}", word) else (-1,)
            if code[0] != number or code[1:3] not in CODES or (code[1] == 7) != (number == len(words)):
                raise InvalidArchitecture(
                    f"{text!r:.200} is no architecture of BlockQNN: expected five numbers a layer, its index first and "
                    f"type 7 at the end, such as 1,1,3,0,0 2,5,0,1,0 3,7,0,0,0; got {word!r:.40} as number {number}"
                )
            kind = CODES.index(code[1:3])
            if kind < UNARY and code[4]:
                raise InvalidArchitecture(f"BlockQNN: layer {number}: expected one predecessor and 0, got {word}")
            if kind != UNARY:
                layers.append(Layer(kind, code[3:] if kind > UNARY else code[3:4]))
        return self.encode(layers)

    def canonical(self, architecture: Architecture) -> str:
        """A hash of the block without its identities; see the class."""
        layers = self.decode(architecture)
        means = [0]  # of each layer, what stands for it
        for index, (kind, sources) in enumerate(layers, 1):
            means.append(means[sources[0]] if KINDS[kind] == "identity" else index)
        read: list[list[int]] = [[] for _ in means]  # by what each is read
        for index, (_, sources) in enumerate(layers, 1):
            if means[index] == index:
                for source in sources:
                    read[means[source]].append(index)
        loose = sorted(means[index] for index in loose_ends(layers))
        there = sorted(set(means))
        colours = {v: KINDS[layers[v - 1].kind] if v else "input" for v in there}
        for _ in there:
            colours = {
                v: _digest(
                    colours[v],
                    sorted(colours[means[source]] for source in (layers[v - 1].sources if v else ())),
                    sorted(colours[reader] for reader in read[v]),
                    loose.count(v),
                )
                for v in there
            }
        return _digest(sorted(colours.values()))

    def graph(self, architecture: Architecture) -> networkx.MultiDiGraph:
        """The block from ``input`` to ``concat``, which joins the layers that nothing reads."""
        import networkx

        graph, layers = networkx.MultiDiGraph(), self.decode(architecture)
        graph.add_node(0, label="input")
        for index, (kind, sources) in enumerate(layers, 1):
            graph.add_node(index, label=KINDS[kind])
            graph.add_edges_from((source, index) for source in sources)
        graph.add_node(len(layers) + 1, label="output")
        graph.add_edges_from((index, len(layers) + 1) for index in loose_ends(layers))
        return graph

    def operation_graphs(self, architectures: Sequence[Architecture] | npt.NDArray[np.int64]) -> OperationGraphs:
        """The blocks; places are layers."""
        from archsearch.basics.operation_graphs import OperationGraphs

        places = self.layers + 2
        labels = np.full((len(architectures), places), -1)
        adjacency = np.zeros((len(architectures), places, places), bool)
        for row, architecture in enumerate(architectures):
            layers = self.decode(tuple(architecture))
            for index, (kind, sources) in enumerate(layers, 1):
                labels[row, index] = kind
                adjacency[row, list(sources), index] = True
            adjacency[row, list(loose_ends(layers)), -1] = True
        return OperationGraphs(len(KINDS), labels, adjacency, self.layers)

    # -- networks ------------------------------------------------------------------------------

    def network(
        self, architecture: Architecture, task: InputShape, *, channels: int | None = None, blocks: int | None = None
    ) -> Network:
        """The stand-alone network of a block; there is no super-network.

        Args:
            architecture: The block.
            task: What has an input shape and a number of classes.
            channels: Instead of the space's own.
            blocks: Likewise.
        """
        from archsearch.spaces.networks.block_qnn import BlockQNNNetwork

        channels = at_least_one("BlockQNN", "channels", self.channels if channels is None else channels)
        blocks = at_least_one("BlockQNN", "blocks", self.blocks if blocks is None else blocks)
        return BlockQNNNetwork(self, self.validate(architecture), task, channels, blocks)


def loose_ends(layers: Sequence[Layer]) -> tuple[int, ...]:
    """The layers that nothing reads, counted from 1."""
    read = {source for layer in layers for source in layer.sources}
    return tuple(index for index in range(1, len(layers) + 1) if index not in read)


def _digest(*parts: object) -> str:
    return hashlib.blake2b(repr(parts).encode(), digest_size=12).hexdigest()
