"""Hierarchical space: motifs of operations, and a cell that is a motif of motifs.

Reference: Liu, Simonyan, Vinyals, Fernando & Kavukcuoglu, "Hierarchical representations for efficient architecture
search", ICLR 2018, sections 2 and 3.

With the defaults a motif is a graph of 4 nodes, which has 4 * 3 / 2 = 6 edges, and the cell one of 5 nodes, which has
10. An edge of a motif has one of 6 operations or none, an edge of the cell one of the 6 motifs or none: 7 options each,
so that there are 7^(6 * 6 + 10) = 7^46 = 7.5e38 encodings.

Where we differ: a mutation draws one of the *other* options, where in the paper it may draw the one that is there.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from archsearch.basics.checks import at_least_one, whole_number
from archsearch.errors import InvalidArchitecture
from archsearch.space import Space
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import networkx

    from archsearch.basics.operation_graphs import OperationGraphs
    from archsearch.networks.network import InputShape, Network

OPERATIONS = ("none", "conv_1x1", "depthwise_3x3", "separable_3x3", "max_pool_3x3", "avg_pool_3x3", "identity")

Edge = tuple[int, int]
"""The nodes where it begins and ends. Node 0 is the input of a graph, its last node the output."""
Plan = Mapping[Edge, Mapping[Edge, str]]
"""The edges of a cell, each with the edges of its motif, each with its operation."""


class Hierarchical(Space):
    """Cells made of motifs, which are made of operations: 7^46 encodings (Liu et al., ICLR 2018).

    Decisions are the edges of each motif, then those of the cell; each begins at an earlier node than it ends. A motif
    may be used at several edges of the cell, or at none: a change in it changes all places that use it.

    Sampling is uniform. The paper draws otherwise, by 1,000 mutations of ``identity``, in which all is a chain; but
    after these every edge of the paper's space has every option with a probability that is 1/7 up to 2e-5.

    Args:
        motifs: Number of motifs, >= 1.
        nodes: Nodes of a motif, 2 to 7.
        cell_nodes: Nodes of the cell, 2 to 7.
        channels: Channels of the first of the network's three stages, >= 1; each later stage has twice as many.
        cells: Cells in each of the three stages, >= 1.

    Raises:
        UsageError: If a number is out of range.
    """

    def __init__(
        self, motifs: int = 6, nodes: int = 4, cell_nodes: int = 5, channels: int = 16, cells: int = 1
    ) -> None:
        self.motifs = at_least_one("Hierarchical", "motifs", motifs)
        self.nodes = whole_number("Hierarchical", "nodes", nodes, 2, 7)
        self.cell_nodes = whole_number("Hierarchical", "cell_nodes", cell_nodes, 2, 7)
        self.channels = at_least_one("Hierarchical", "channels", channels)
        self.cells = at_least_one("Hierarchical", "cells", cells)
        self.motif_edges, self.cell_edges = edges_of(self.nodes), edges_of(self.cell_nodes)
        self._begin_of_cell = self.motifs * len(self.motif_edges)
        arities = [len(OPERATIONS)] * self._begin_of_cell + [self.motifs + 1] * len(self.cell_edges)
        super().__init__(arities=arities)

    def label(self, prefix: Architecture) -> str:
        """Motif, counted from 1, or cell, and the edge, such as ``motif 1 0->2``."""
        motif, edge = divmod(len(prefix), len(self.motif_edges))
        if motif < self.motifs:
            return f"motif {motif + 1} {_arrow(self.motif_edges[edge])}"
        return f"cell {_arrow(self.cell_edges[len(prefix) - self._begin_of_cell])}"

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Draws a level, a graph of it, the end and then the begin of an edge, and another option for that edge."""
        level, motif, end, begin, what = rng.random(5).tolist()
        first = int(motif * self.motifs) * len(self.motif_edges) if level < 0.5 else self._begin_of_cell
        target = 1 + int(end * ((self.nodes if level < 0.5 else self.cell_nodes) - 1))
        position = first + target * (target - 1) // 2 + int(begin * target)
        option = int(what * (len(OPERATIONS) - 1 if level < 0.5 else self.motifs))
        option += option >= architecture[position]
        return (*architecture[:position], option, *architecture[position + 1 :])

    # -- what an encoding stands for ---------------------------------------------------------------

    def flat(self, architecture: Architecture) -> dict[tuple[Edge, Edge], str]:
        """The operations of the assembled graph by their places: an edge of the cell and an edge of its motif.

        All that are not ``none``, also where they lie on no path from the input to the output.
        """
        motifs, cell = self._read(architecture)
        return {
            (edge, inner): OPERATIONS[option]
            for edge, motif in cell.items()
            if motif
            for inner, option in motifs[motif - 1].items()
            if option
        }

    def plan(self, architecture: Architecture) -> Plan:
        """What is computed: the parts of ``flat`` that lie on a path from the input of the cell to its output."""
        motifs, cell = self._read(architecture)
        parts: list[dict[Edge, str]] = [{}]
        for motif in motifs:
            live = _on_paths(motif, self.nodes - 1)
            parts.append({edge: OPERATIONS[option] for edge, option in live.items()})
        used = {edge: option if parts[option] else 0 for edge, option in cell.items()}
        return {edge: parts[option] for edge, option in _on_paths(used, self.cell_nodes - 1).items()}

    def canonical(self, architecture: Architecture) -> Hashable:
        """The edges that are computed, under the least of all numberings of the inner nodes of motifs and cell.

        So neither the order of motifs counts, nor motifs that are not used, edges that lie on no path from input to
        output (a motif without such a path is as good as none), numbers of nodes. These are the same function of
        weights that lie elsewhere. It does not look beyond the levels: a chain of two motifs of one edge, and one motif
        that is this chain, are told apart, and so are a node and that node behind an ``identity``.
        """
        forms: dict[int, Hashable] = {}
        plan = self.plan(architecture)
        for motif in plan.values():  # often the same object at several edges
            if id(motif) not in forms:
                forms[id(motif)] = _least_numbering(motif)
        return _least_numbering({edge: forms[id(motif)] for edge, motif in plan.items()})

    def _read(self, architecture: Architecture) -> tuple[list[dict[Edge, int]], dict[Edge, int]]:
        """Options of the edges of each motif, and of the cell."""
        size, begin = len(self.motif_edges), self._begin_of_cell
        motifs = [architecture[first : first + size] for first in range(0, begin, size)]
        read = [dict(zip(self.motif_edges, motif, strict=True)) for motif in motifs]
        return read, dict(zip(self.cell_edges, architecture[begin:], strict=True))

    # -- texts and graphs --------------------------------------------------------------------------

    def format(self, architecture: Architecture) -> str:
        """What enters each node, as operation or motif and the node it comes from; ``-``: nothing.

        Such as ``motif 1: conv_1x1(0) | - | max_pool_3x3(0) identity(1) ; ... ; cell: 1(0) | ...``.
        """
        motifs, cell = self._read(architecture)
        names = ["none", *(str(motif + 1) for motif in range(self.motifs))]
        texts = [f"motif {i}: {_text(motif, OPERATIONS, self.nodes)}" for i, motif in enumerate(motifs, 1)]
        return " ; ".join([*texts, f"cell: {_text(cell, names, self.cell_nodes)}"])

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` wrote, or ``identity``: chains of identities, and a cell that is a chain of motif 1.

        Raises:
            InvalidArchitecture: If ``text`` is neither.
        """
        chains = [OPERATIONS.index("identity") * (t == s + 1) for s, t in self.motif_edges] * self.motifs
        identity = (*chains, *(int(t == s + 1) for s, t in self.cell_edges))
        if text.strip() == "identity":
            return identity
        parts = [part.partition(":")[2].split("|") for part in text.split(";")]
        numbers = ["none", *map(str, range(1, self.motifs + 1))]
        graphs = [(self.motif_edges, OPERATIONS)] * self.motifs + [(self.cell_edges, tuple(numbers))]
        options: list[int] = []
        for (edges, names), nodes in zip(graphs, parts + [[]] * len(graphs), strict=False):
            words = [node.split() for node in nodes] + [[]] * self.max_length
            for s, t in edges:
                options.append(next((i for i, name in enumerate(names) if f"{name}({s})" in words[t - 1]), 0))
        read = tuple(options)
        if "".join(self.format(read).split()) != "".join(text.split()):  # something else stands there, too
            raise InvalidArchitecture(
                f"{text!r:.400} is no architecture of Hierarchical: expected identity or a text such as "
                f"{self.format(identity)!r}, with the operations {', '.join(OPERATIONS[1:])}"
            )
        return read

    def graph(self, architecture: Architecture) -> networkx.MultiDiGraph:
        """The flat graph, see ``flat``: nodes are cell nodes and, such as ``0->2.1``, inner nodes of motifs in use."""
        import networkx

        graph = networkx.MultiDiGraph()
        names = {0: "input", self.cell_nodes - 1: "output"}
        for node in range(self.cell_nodes):
            graph.add_node(names.get(node, str(node)), label=names.get(node, f"node {node}"))
        for (edge, inner), operation in self.flat(architecture).items():
            ends = [self._flat_node(edge, node) for node in inner]
            texts = [names.get(node, str(node)) if isinstance(node, int) else node for node in ends]
            for text in texts:
                if text not in graph:
                    graph.add_node(text, label=text)
            graph.add_edge(*texts, label=operation)
        return graph

    def _flat_node(self, edge: Edge, node: int) -> int | str:
        """What a node of the motif on an edge of the cell is in the flat graph."""
        return {0: edge[0], self.nodes - 1: edge[1]}.get(node, f"{_arrow(edge)}.{node}")

    def operation_graphs(self, architectures: Sequence[Architecture] | npt.NDArray[np.int64]) -> OperationGraphs:
        """The flat graphs: an operation is fed by those that end where it begins; at most 4 * 3 = 12 in a row."""
        from archsearch.basics.operation_graphs import OperationGraphs

        options = np.asarray(architectures, np.int64).reshape(-1, self.max_length)
        rows, begin, size = np.arange(len(options)), self._begin_of_cell, len(self.motif_edges)
        motifs = np.zeros((len(options), self.motifs + 1, size), np.int64)
        motifs[:, 1:] = options[:, :begin].reshape(-1, self.motifs, size)
        places = itertools.product(self.cell_edges, self.motif_edges)
        begins, ends = zip(*([self._flat_node(e, node) for node in inner] for e, inner in places), strict=True)
        labels = np.full((len(options), len(begins) + 2), -1)
        labels[:, 1:-1] = motifs[rows[:, None], options[:, begin:]].reshape(len(options), -1) - 1
        sources, targets = [None, *begins, self.cell_nodes - 1], [0, *ends, None]
        follows = np.array([[end is not None and end == source for source in sources] for end in targets])
        there = labels >= 0
        there[:, 0] = there[:, -1] = True
        adjacency = follows & there[:, :, None] & there[:, None, :]
        return OperationGraphs(len(OPERATIONS) - 1, labels, adjacency, (self.cell_nodes - 1) * (self.nodes - 1))

    # -- networks ----------------------------------------------------------------------------------

    def network(
        self, architecture: Architecture, task: InputShape, *, channels: int | None = None, cells: int | None = None
    ) -> Network:
        """The stand-alone network, in which each use of a motif has weights of its own.

        Args:
            architecture: What to build.
            task: What has an input shape and a number of classes.
            channels: Instead of the space's own.
            cells: Instead of the space's own.
        """
        return self._network(self.validate(architecture), task, channels, cells)

    def super_network(self, task: InputShape, *, channels: int | None = None, cells: int | None = None) -> Network:
        """The network with all operations in all places of the flat graph, whatever motif puts one there."""
        return self._network(None, task, channels, cells)

    def _network(
        self, architecture: Architecture | None, task: InputShape, channels: int | None, cells: int | None
    ) -> Network:
        from archsearch.spaces.networks.hierarchical import HierarchicalNetwork

        channels = at_least_one("Hierarchical", "channels", self.channels if channels is None else channels)
        cells = at_least_one("Hierarchical", "cells", self.cells if cells is None else cells)
        return HierarchicalNetwork(self, architecture, task, channels, cells)


def edges_of(nodes: int) -> tuple[Edge, ...]:
    """From each node to all later ones, ordered by where they end."""
    return tuple((source, target) for target in range(1, nodes) for source in range(target))


def _arrow(edge: Edge) -> str:
    return f"{edge[0]}->{edge[1]}"


def _text(graph: Mapping[Edge, int], names: Sequence[str], nodes: int) -> str:
    words = [[f"{names[graph[s, t]]}({s})" for s in range(t) if graph[s, t]] for t in range(1, nodes)]
    return " | ".join(" ".join(node) or "-" for node in words)


def _on_paths(graph: Mapping[Edge, int], output: int) -> dict[Edge, int]:
    """The edges with an option other than 0 that lie on a path of such edges from node 0 to the output."""
    reached, leading = {0}, {output}
    for source, target in graph:  # ordered by where they end
        if graph[source, target] and source in reached:
            reached.add(target)
    for source, target in reversed(tuple(graph)):
        if graph[source, target] and target in leading:
            leading.add(source)
    return {(s, t): option for (s, t), option in graph.items() if option and s in reached and t in leading}


def _least_numbering(graph: Mapping[Edge, Any]) -> Hashable:
    """The sorted edges under the numbering of inner nodes that makes them least; nodes without edges have no number."""
    output = max((target for _, target in graph), default=0)
    inner = sorted({node for edge in graph for node in edge} - {0, output})
    forms = []
    for numbers in itertools.permutations(range(1, len(inner) + 1)):
        new = {0: 0, output: len(inner) + 1, **dict(zip(inner, numbers, strict=True))}
        forms.append(tuple(sorted(((new[s], new[t]), what) for (s, t), what in graph.items())))
    return min(forms)
