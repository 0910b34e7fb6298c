"""Spaces of recurrent cells: what all of them have, and those whose nodes form a tree (``DARTSCell``, ``ENASCell``)."""

from __future__ import annotations

import abc
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from archsearch.basics.checks import at_least_one
from archsearch.basics.kinds import TOKENS
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.space import Space
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import networkx

    from archsearch.basics.operation_graphs import OperationGraphs
    from archsearch.networks.network import InputShape, Network


class RecurrentSpace(Space, abc.ABC):
    """Base of spaces whose networks read tokens: their width, and whether the decoder has the embedding's weights.

    Args:
        width: Of hidden states and embeddings, >= 1.
        tied: Whether the decoder has the embedding's weights.
        arities: See ``Space``.
        max_length: See ``Space``.
        max_options: See ``Space``.

    Raises:
        UsageError: If the width is below 1, or ``tied`` is neither true nor false.
    """

    kinds: ClassVar[tuple[str, ...]] = (TOKENS,)

    def __init__(
        self,
        width: int,
        tied: bool,
        *,
        arities: Sequence[int] | None = None,
        max_length: int | None = None,
        max_options: int | None = None,
    ) -> None:
        super().__init__(arities=arities, max_length=max_length, max_options=max_options)
        self.width = at_least_one(type(self).__name__, "width", width)
        if not isinstance(tied, bool):
            raise UsageError(f"{type(self).__name__}: tied: expected true or false, got {tied!r}")
        self.tied = tied

    def network(self, architecture: Architecture, task: InputShape, *, width: int | None = None) -> Network:
        """The stand-alone network of a cell.

        Args:
            architecture: The cell.
            task: What has a vocabulary of ``classes`` tokens.
            width: Instead of the space's own.
        """
        return self._network(self.validate(architecture), task, self._width(width))

    def _width(self, width: int | None) -> int:
        return at_least_one(type(self).__name__, "width", self.width if width is None else width)

    @abc.abstractmethod
    def _network(self, architecture: Architecture | None, task: InputShape, width: int) -> Network:
        """The network; None: the super-network, if there is one."""


class SharedRecurrentSpace(RecurrentSpace):
    """Base of those that have a super-network."""

    def super_network(self, task: InputShape, *, width: int | None = None) -> Network:
        """The network of all cells; see ``network``."""
        return self._network(None, task, self._width(width))


# -- trees -----------------------------------------------------------------------------------------

ACTIVATIONS = ("tanh", "relu", "sigmoid", "identity")
FIXED = "tanh"
"""Activation of a first node that has no choice."""

_NODE = re.compile(r"(\w+)\(([0-9]{1,3})\)")


class Node(NamedTuple):
    """A node but the first.

    Attributes:
        source: The earlier node that it reads.
        activation: One of ``ACTIVATIONS``.
    """

    source: int
    activation: str


class Cell(NamedTuple):
    """A cell written out.

    Attributes:
        first: Activation of node 0.
        nodes: Nodes 1, 2, ...
    """

    first: str
    nodes: tuple[Node, ...]


class TreeCell(SharedRecurrentSpace):
    """Base of cells whose nodes form a tree.

    The first node reads the input and the previous hidden state. Every other node reads one earlier node, through a
    linear map, an activation and a highway gate. Node k of those after the first has two decisions: its input, one of
    k, and its activation, one of 4.

    Args:
        nodes: Nodes after the first, >= 1.
        chooses_first: Whether the activation of the first node is a decision, then the first one.
        width: See ``RecurrentSpace``.
        tied: See ``RecurrentSpace``.
        known: Published cells by name, for ``parse``.

    Raises:
        UsageError: If a number is below 1, or ``tied`` is neither true nor false.
    """

    def __init__(self, nodes: int, chooses_first: bool, width: int, tied: bool, known: Mapping[str, str]) -> None:
        first = [len(ACTIVATIONS)] if chooses_first else []
        nodes = at_least_one(type(self).__name__, "nodes", nodes)
        places = [arity for k in range(1, nodes + 1) for arity in (k, len(ACTIVATIONS))]
        super().__init__(width, tied, arities=[*first, *places])
        self._first = len(first)
        self._known = known

    @property
    @abc.abstractmethod
    def averages_all(self) -> bool:
        """Whether the output is the average of all nodes after the first, or else of those that no other node reads."""

    def label(self, prefix: Architecture) -> str:
        """The node and what is decided, such as ``node 3: activation``."""
        if len(prefix) < self._first:
            return "node 0: activation"
        node, what = divmod(len(prefix) - self._first, 2)
        return f"node {node + 1}: {('input', 'activation')[what]}"

    # -- reading and writing -------------------------------------------------------------------

    def decode(self, architecture: Architecture) -> Cell:
        """The nodes with names of activations."""
        first, rest = architecture[: self._first], architecture[self._first :]
        nodes = (Node(rest[i], ACTIVATIONS[rest[i + 1]]) for i in range(0, len(rest), 2))
        return Cell(ACTIVATIONS[first[0]] if first else FIXED, tuple(nodes))

    def format(self, architecture: Architecture) -> str:
        """Nodes as ``activation(input)``, such as ``sigmoid(0) relu(1)``; before them a first activation, if chosen."""
        cell = self.decode(architecture)
        nodes = [f"{node.activation}({node.source})" for node in cell.nodes]
        return " ".join([cell.first, *nodes] if self._first else nodes)

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` wrote, or the name of a published cell.

        Raises:
            InvalidArchitecture: If ``text`` is neither.
        """
        words = self._known.get(text.strip(), text).split()
        found: list[int] = []
        if self._first and words and words[0] in ACTIVATIONS:
            found.append(ACTIVATIONS.index(words.pop(0)))
        for number, word in enumerate(words, 1):
            matched = _NODE.fullmatch(word)
            if matched is None or matched[1] not in ACTIVATIONS or int(matched[2]) >= number:
                raise self._refused(text, f"node {number}, {word!r}, is no activation of an earlier node")
            found += [int(matched[2]), ACTIVATIONS.index(matched[1])]
        if tuple(found) not in self:
            raise self._refused(text, f"it has {len(words)} nodes")
        return tuple(found)

    def _refused(self, text: str, why: str) -> InvalidArchitecture:
        names = f" or a name: {', '.join(self._known)}" if self._known else ""
        return InvalidArchitecture(
            f"{text!r} is no {type(self).__name__}: {why}; expected a text such as "
            f"{self.format((0,) * self.max_length)} with the activations {', '.join(ACTIVATIONS)}{names}"
        )

    def canonical(self, architecture: Architecture) -> str:
        """The tree as a text in which the nodes that read one node have no order.

        Cells of equal form are the same family of functions: nodes are numbered otherwise, and the average that is the
        output does not tell them apart. Their weights lie elsewhere, so trainings differ by more than the seed.
        """
        cell = self.decode(architecture)
        below: list[list[str]] = [[] for _ in range(len(cell.nodes) + 1)]
        for number, node in reversed(list(enumerate(cell.nodes, 1))):
            below[node.source].append(_written(node.activation, below[number]))
        return _written(cell.first, below[0])

    # -- pictures and encodings ----------------------------------------------------------------

    def ends(self, architecture: Architecture) -> tuple[int, ...]:
        """The nodes whose average is the output."""
        numbers = range(1, len(self.decode(architecture).nodes) + 1)
        if self.averages_all:
            return tuple(numbers)
        read = {node.source for node in self.decode(architecture).nodes}
        return tuple(number for number in numbers if number not in read)

    def graph(self, architecture: Architecture) -> networkx.MultiDiGraph:
        """Inputs, nodes and output; edges into nodes carry activations."""
        import networkx

        cell, graph = self.decode(architecture), networkx.MultiDiGraph()
        for name in ("x[t]", "h[t-1]", *(f"node {i}" for i in range(len(cell.nodes) + 1)), "h[t]"):
            graph.add_node(name, label=name)
        for name in ("x[t]", "h[t-1]"):
            graph.add_edge(name, "node 0", label=cell.first)
        for number, node in enumerate(cell.nodes, 1):
            graph.add_edge(f"node {node.source}", f"node {number}", label=node.activation)
        for number in self.ends(architecture):
            graph.add_edge(f"node {number}", "h[t]")
        return graph

    def operation_graphs(self, architectures: Sequence[Architecture] | npt.NDArray[np.int64]) -> OperationGraphs:
        """An operation per node, its activation; the first node is fed by the input, the average feeds the output."""
        from archsearch.basics.operation_graphs import OperationGraphs

        rows = [self.validate(row) for row in np.asarray(architectures, np.int64).reshape(-1, self.max_length)]
        nodes = self.max_length // 2 + 1
        labels = np.full((len(rows), nodes + 2), -1)
        adjacency = np.zeros((len(rows), nodes + 2, nodes + 2), bool)
        adjacency[:, 0, 1] = True
        for row, architecture in enumerate(rows):
            cell = self.decode(architecture)
            for place, activation in enumerate([cell.first, *(node.activation for node in cell.nodes)], 1):
                labels[row, place] = ACTIVATIONS.index(activation)
            for number, node in enumerate(cell.nodes, 1):
                adjacency[row, 1 + node.source, 1 + number] = True
            adjacency[row, [1 + number for number in self.ends(architecture)], -1] = True
        return OperationGraphs(len(ACTIVATIONS), labels, adjacency, longest=nodes)


def tree_edges(nodes: int) -> tuple[tuple[int, int], ...]:
    """Source and target of all edges of a relaxed tree of so many nodes after the first."""
    return tuple((source, node) for node in range(1, nodes + 1) for source in range(node))


def _written(activation: str, below: Sequence[str]) -> str:
    return f"{activation}[{' '.join(sorted(below))}]" if below else activation
