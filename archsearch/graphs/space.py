"""A space of graphs that are edited by moves; a published space is a short file of facts on it."""

from __future__ import annotations

import abc
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from archsearch.abilities import Move
from archsearch.errors import UsageError
from archsearch.graphs.correspondence import Correspondence, aligned, correspond
from archsearch.graphs.graph import ADD, CONCAT, Graph, Value
from archsearch.graphs.keys import Key
from archsearch.graphs.moves import Kind
from archsearch.graphs.shapes import IMAGES
from archsearch.graphs.texts import read_graph, written
from archsearch.graphs.tree import Tree
from archsearch.space import Space
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import networkx
    import torch

    from archsearch.networks.network import InputShape, Network

Operations = Mapping[str, Mapping[str, Sequence[Value]]]
"""Name of each operation to its attributes, and of each attribute the values that it can have."""


class GraphSpace(Space, abc.ABC):
    """Base of spaces of graphs of operations; decisions build a graph node by node, moves edit a whole one.

    Decisions are the settings of the whole, then of each node what it is (option 0: the graph ends here), its
    attributes, its primary input among the earlier nodes, its further inputs in rising order, and how several inputs
    are merged. Nodes that no other reads are the output together: pooled, concatenated, and classified. ``sample``
    draws each decision uniformly; over all graphs it is not uniform, nearly all of which have the most nodes.
    ``canonical`` ignores how nodes are numbered. ``mutate`` is a move, ``neighbours`` are all that are one move away.

    Args:
        operations: What nodes can be. Those that ``network`` knows are in ``archsearch/graphs/operations.py``.
        nodes: Most nodes, >= 1.
        inputs: Most inputs of a node, >= 1.
        merges: How several inputs can be merged: ``add``, ``concat``, or both.
        settings: Attributes of the whole, and the values that they can have.

    Raises:
        UsageError: If a number is below 1 or there are no operations.
    """

    def __init__(
        self,
        operations: Operations,
        nodes: int,
        inputs: int = 2,
        merges: Sequence[str] = (ADD,),
        settings: Mapping[str, Sequence[Value]] | None = None,
    ) -> None:
        if not operations or min(nodes, inputs) < 1 or not {*merges} <= {ADD, CONCAT} or not merges:
            raise UsageError(
                f"{type(self).__name__}: expected operations, at least one node and one input, and merges of add and "
                f"concat, got {operations!r}, {nodes!r}, {inputs!r}, {merges!r}"
            )
        self.tree = Tree(operations, nodes, inputs, tuple(merges), settings or {})
        super().__init__(max_length=self.tree.longest, max_options=self.tree.widest)

    @property
    @abc.abstractmethod
    def start(self) -> Architecture:
        """Where a search that grows begins."""

    @abc.abstractmethod
    def edits(self) -> Mapping[str, Kind]:
        """The kinds of moves that there are, by name."""

    # -- the tree of decisions -----------------------------------------------------------------

    def arity(self, prefix: Architecture) -> int:
        """See ``Space.arity``."""
        return self.tree.place(prefix).arity

    def __contains__(self, architecture: object) -> bool:
        return isinstance(architecture, tuple) and self.tree.holds(architecture)

    def label(self, prefix: Architecture) -> str:
        """What is decided, such as ``node 3 channels``."""
        return self.tree.place(prefix).label

    def size(self) -> int | None:
        """None: they are not counted, since ``sample`` is not to draw the largest only."""
        return None

    def _count(self, prefix: Architecture) -> int | None:
        return None

    # -- reading and writing -------------------------------------------------------------------

    def decode(self, architecture: Architecture) -> Graph:
        """The graph."""
        return self.tree.graph(self.validate(architecture))

    def encode(self, graph: Graph) -> Architecture:
        """The architecture that is this graph; the reverse of ``decode``.

        Raises:
            InvalidArchitecture: If the space has no such graph; the message names the node.
        """
        return self.tree.options(graph, type(self).__name__)

    def format(self, architecture: Architecture) -> str:
        """Text such as ``conv 16 3 <- 0 ; conv 16 3 <- 1 + 0``: operation, values of attributes, what it reads.

        Nodes count from 1, 0 is the input; ``+`` adds and ``&`` concatenates, the first input is the primary one.
        Settings of the whole come first, such as ``learning_rate=0.1 |``.
        """
        return written(self.decode(architecture))

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` wrote.

        Raises:
            InvalidArchitecture: If ``text`` is of another form, or no graph of the space.
        """
        return self.encode(read_graph(text, self.tree, type(self).__name__))

    def canonical(self, architecture: Architecture) -> Hashable:
        """Equal for graphs that differ in the numbers of their nodes only; see ``archsearch.graphs.keys``."""
        return Key(self.tree.graph(architecture))

    def graph(self, architecture: Architecture) -> networkx.MultiDiGraph:
        """The graph from ``input`` to ``output``; sums and concatenations are nodes of their own."""
        from archsearch.graphs.texts import drawing

        return drawing(self.decode(architecture))

    # -- moves ---------------------------------------------------------------------------------

    def moves(self, architecture: Architecture) -> list[Move]:
        """All moves that are possible, in the order of their kinds; of several that lead to the same one is kept."""
        graph = self.tree.graph(architecture).begun()
        found: dict[tuple[str, Architecture], Move] = {}
        for name, kind in self.edits().items():
            for child in self._legal(kind, graph):
                move = Move(name, self.encode(child), kind.inverse, kind.preserves, kind.inherits)
                found.setdefault((name, move.architecture), move)
        return list(found.values())

    def move(self, architecture: Architecture, rng: np.random.Generator) -> Move | None:
        """Draws a kind of move by its mass, among those that are possible, then a move of it; None if there is none."""
        graph = self.tree.graph(architecture).begun()
        kinds = dict(self.edits())
        while kinds:
            names = list(kinds)
            masses = np.array([kinds[name].mass for name in names])
            name = names[int(np.searchsorted(masses.cumsum(), rng.random() * masses.sum(), side="right"))]
            kind = kinds.pop(name)
            if children := list(self._legal(kind, graph)):
                child = children[int(rng.integers(len(children)))]
                return Move(name, self.encode(child), kind.inverse, kind.preserves, kind.inherits)
        return None

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """A move, drawn as ``move`` does; where there is none, one decision is changed, as in any space."""
        move = self.move(architecture, rng)
        return super().mutate(architecture, rng) if move is None else move.architecture

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """All that are one move away; where there is no move, all that differ in one decision."""
        found = dict.fromkeys(m.architecture for m in self.moves(architecture) if m.architecture != architecture)
        yield from found or super().neighbours(architecture)

    def preserves(self, parent: Architecture, child: Architecture) -> bool:
        """Whether ``morph`` gives a child the function of a parent, however many moves lead from one to the other.

        Which ones they were is not asked: where nodes lie is found again from the two graphs, and seldom cannot be.
        """
        return self.correspondence(parent, child).exact

    def _legal(self, kind: Kind, graph: Graph) -> Iterator[Graph]:
        for child in self._edited(kind, graph):
            if self.tree.fits(child) and not (kind.preserves and not correspond(graph, child).exact):
                yield child

    def _edited(self, kind: Kind, graph: Graph) -> Iterator[Graph]:
        for each in kind.edit(graph):
            if len(each) <= self.tree.nodes and (child := self.tree.normal(each)) is not None:
                yield child

    # -- networks ------------------------------------------------------------------------------

    def network(self, architecture: Architecture, task: InputShape) -> Network:
        """The stand-alone network of an architecture."""
        from archsearch.graphs.network import GraphNetwork

        return GraphNetwork(architecture, self.decode(architecture), task)

    def correspondence(self, parent: Architecture, child: Architecture, images: int = IMAGES) -> Correspondence:
        """What of a parent's network lives on in a child's, by a move that leads from one to the other.

        If none does, or loses something, nodes are matched in order, as many of one operation as possible.

        Args:
            parent: An architecture.
            child: Another one.
            images: Channels of the input.
        """
        old, new = self.tree.graph(parent), self.tree.graph(child)
        begun = old.begun()
        known = [begun] if old == new else self._ways(begun, new)
        found = (correspond(begun, each, images) for each in (*known, aligned(begun, new)))
        first = next(found)
        return first if first.exact else next((each for each in found if each.exact), first)

    def _ways(self, graph: Graph, child: Graph) -> list[Graph]:
        """The children of all moves that are this graph, each with its nodes' origins."""
        every = (each for kind in self.edits().values() for each in self._edited(kind, graph))
        return [each for each in every if each == child]

    def morph(self, network: Network, child: Network, generator: torch.Generator) -> bool:
        """Gives ``child`` as much of the function of ``network`` as can be.

        A node that a move has left alone keeps its weights, a new one passes its input on where it can, and whatever
        else is new is ignored at first by those that read it: their weights for it are 0. What is smaller in the child
        keeps the first channels and the centre of the kernel.

        Args:
            network: The trained parent, a network of this space.
            child: Another one, with initial weights; changed in place.
            generator: Draws how copies of a node share its part.

        Returns:
            Whether the child computes the same function, up to rounding, in evaluation mode.

        Raises:
            UsageError: If one of them is no network of this space.
        """
        from archsearch.graphs.network import GraphNetwork
        from archsearch.graphs.transfer import transfer
        from archsearch.networks.network import two_to_morph

        parent, child = two_to_morph(self, network, child, GraphNetwork)
        assert parent.architecture is not None
        assert child.architecture is not None
        found = self.correspondence(parent.architecture, child.architecture, parent.channels)
        return transfer(found, parent, child, generator)
