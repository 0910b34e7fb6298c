"""DARTS: a normal and a reduction cell of four nodes, each fed by two operations on different earlier nodes.

Reference: Liu, Simonyan & Yang, "DARTS: differentiable architecture search", ICLR 2019, sections 2.1 and 3.1. This is
the space of final cells, in which ``none`` never occurs (section 2.4).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from archsearch.basics.checks import at_least_one
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.relaxing import NONE, RelaxedChoice, shares
from archsearch.space import Space
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import networkx

    from archsearch.basics.operation_graphs import OperationGraphs
    from archsearch.networks.network import InputShape, Network

OPERATIONS = (
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
CELLS = ("normal", "reduce")
NODES = (2, 3, 4, 5)
"""The intermediate nodes; 0 is the output of the cell before the previous one, 1 that of the previous one."""

PAIRS = tuple(sorted(itertools.combinations(range(5), 2), key=lambda pair: pair[::-1]))
"""Pairs of inputs, such that node j chooses among the first j(j-1)/2."""

GENOTYPES: Mapping[str, str] = {
    "DARTS_V1": (
        "normal: sep_conv_3x3(0) sep_conv_3x3(1) | skip_connect(0) sep_conv_3x3(1) | "
        "skip_connect(0) sep_conv_3x3(1) | sep_conv_3x3(0) skip_connect(2) ; "
        "reduce: max_pool_3x3(0) max_pool_3x3(1) | max_pool_3x3(0) skip_connect(2) | "
        "max_pool_3x3(0) skip_connect(2) | avg_pool_3x3(0) skip_connect(2)"
    ),
    "DARTS_V2": (
        "normal: sep_conv_3x3(0) sep_conv_3x3(1) | sep_conv_3x3(0) sep_conv_3x3(1) | "
        "skip_connect(0) sep_conv_3x3(1) | skip_connect(0) dil_conv_3x3(2) ; "
        "reduce: max_pool_3x3(0) max_pool_3x3(1) | max_pool_3x3(1) skip_connect(2) | "
        "max_pool_3x3(0) skip_connect(2) | max_pool_3x3(1) skip_connect(2)"
    ),
    "PC_DARTS": (
        "normal: skip_connect(0) sep_conv_3x3(1) | sep_conv_3x3(0) dil_conv_3x3(1) | "
        "sep_conv_5x5(0) sep_conv_3x3(1) | avg_pool_3x3(0) dil_conv_3x3(1) ; "
        "reduce: max_pool_3x3(0) sep_conv_5x5(1) | sep_conv_5x5(1) sep_conv_5x5(2) | "
        "sep_conv_3x3(0) sep_conv_3x3(3) | sep_conv_3x3(1) sep_conv_3x3(2)"
    ),
    "P_DARTS": (
        "normal: skip_connect(0) dil_conv_3x3(1) | skip_connect(0) sep_conv_3x3(1) | "
        "sep_conv_3x3(1) sep_conv_3x3(3) | sep_conv_3x3(0) dil_conv_5x5(4) ; "
        "reduce: avg_pool_3x3(0) sep_conv_5x5(1) | sep_conv_3x3(0) dil_conv_5x5(2) | "
        "max_pool_3x3(0) dil_conv_3x3(1) | dil_conv_3x3(1) dil_conv_5x5(3)"
    ),
}
"""Published CIFAR-10 architectures that ``parse`` knows by name: first and second order DARTS; PC-DARTS (Xu et al.,
ICLR 2020); P-DARTS (Chen et al., ICCV 2019)."""

RELAXED_EDGES = tuple((source, target) for target in NODES for source in range(target))
"""Source and target of the 14 edges of a relaxed cell."""

_PAIR_NUMBER = {pair: number for number, pair in enumerate(PAIRS)}
_OPTION = {name: option for option, name in enumerate(OPERATIONS)}
_PER_CELL = 3 * len(NODES)
_EDGE = re.compile(r"(\w+)\(([0-9])\)")

# An input change: number of the node (0 to 7, both cells), which of its two inputs, which of the nodes not yet used.
_INPUT_CHANGES = tuple(
    (node, side, other) for node in range(2 * len(NODES)) for side in range(2) for other in range(node % len(NODES))
)
_OPERATION_CHANGES = 2 * 2 * len(NODES) * (len(OPERATIONS) - 1)
_NEIGHBOURS = _OPERATION_CHANGES + len(_INPUT_CHANGES)


class Edge(NamedTuple):
    """What feeds a node.

    Attributes:
        source: The earlier node: 0 and 1 are the cell's inputs.
        operation: One of ``OPERATIONS``.
    """

    source: int
    operation: str


Node = tuple[Edge, Edge]
"""The two edges that end in a node, the one from the lower node first."""


class Genotype(NamedTuple):
    """An architecture written out.

    Attributes:
        normal: Nodes 2 to 5 of the cell that keeps height and width.
        reduce: Nodes 2 to 5 of the cell that halves them.
    """

    normal: tuple[Node, ...]
    reduce: tuple[Node, ...]


class DARTS(Space):
    """Pairs of DARTS cells: 1,037,664,180 encodings of a cell, 1.0767e18 of both.

    Each cell has the nodes 2 to 5, and each node three decisions: its pair of inputs (``PAIRS``: 1, 3, 6 and 10
    options), the operation on the lower input, the operation on the higher one (7 options each). The normal cell comes
    first. ``canonical`` is the rule by which architectures count as equal.

    Args:
        layers: Cells of the network, >= 1. Two of them are reductions (see ``networks.darts.reduction_layers``). The
            paper trains final networks with 20 and searches with 8.
        channels: Channels of the first cells' nodes, >= 1. The paper trains with 36 and searches with 16.
        auxiliary: Whether networks have the paper's auxiliary classifier, which helps in training; it is computed by
            ``with_auxiliary`` alone, but its parameters are counted.

    Raises:
        UsageError: If a number is below 1, or ``auxiliary`` is neither true nor false.
    """

    def __init__(self, layers: int = 20, channels: int = 36, auxiliary: bool = False) -> None:
        cell = [arity for node in NODES for arity in (node * (node - 1) // 2, len(OPERATIONS), len(OPERATIONS))]
        super().__init__(arities=cell * len(CELLS))
        self.layers = at_least_one("DARTS", "layers", layers)
        self.channels = at_least_one("DARTS", "channels", channels)
        if not isinstance(auxiliary, bool):
            raise UsageError(f"DARTS: auxiliary: expected true or false, got {auxiliary!r}")
        self.auxiliary = auxiliary

    def label(self, prefix: Architecture) -> str:
        """Cell, node and what is decided, such as ``normal 3: inputs``."""
        cell, position = divmod(len(prefix), _PER_CELL)
        node, what = divmod(position, 3)
        decision = ("inputs", "operation on the lower input", "operation on the higher input")[what]
        return f"{CELLS[cell]} {NODES[node]}: {decision}"

    # -- variation -----------------------------------------------------------------------------

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """The 120 architectures that differ in one operation (96) or in one input (24).

        An operation stays with its edge when the edge's input changes; the two inputs of a node remain different.
        """
        for number in range(_NEIGHBOURS):
            yield _neighbour(architecture, number)

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """One of the 120 neighbours, drawn uniformly."""
        return _neighbour(architecture, int(rng.integers(_NEIGHBOURS)))

    # -- reading and writing -------------------------------------------------------------------

    def format(self, architecture: Architecture) -> str:
        """The nodes of both cells as in the paper's genotypes, each edge as ``operation(input)``; see ``GENOTYPES``."""
        cells = []
        for name, nodes in zip(CELLS, genotype(architecture), strict=True):
            texts = (" ".join(f"{edge.operation}({edge.source})" for edge in node) for node in nodes)
            cells.append(f"{name}: {' | '.join(texts)}")
        return " ; ".join(cells)

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` wrote, the two edges of a node in any order, or a name such as ``DARTS_V2``.

        Raises:
            InvalidArchitecture: If ``text`` is neither.
        """
        cells = GENOTYPES.get(text.strip(), text).split(";")
        if len(cells) != len(CELLS):
            _refuse(text, f"{len(cells)} parts between semicolons instead of {len(CELLS)}")
        architecture: Architecture = ()
        for name, cell in zip(CELLS, cells, strict=True):
            head, _, body = cell.partition(":")
            nodes = body.split("|")
            if head.strip() != name or len(nodes) != len(NODES):
                _refuse(text, f"{cell.strip()!r} is not {name!r} with a colon and {len(NODES)} nodes between bars")
            for node, edges in zip(NODES, nodes, strict=True):
                architecture += _read_node(text, node, edges)
        return architecture

    def decode(self, architecture: Architecture) -> Genotype:
        """The two cells as lists of edges with operation names."""
        return genotype(architecture)

    def canonical(self, architecture: Architecture) -> Architecture:
        """The least encoding, in lexicographic order, among those that number the nodes of each cell differently.

        A numbering is allowed if every node comes after its inputs. That the inputs of a node have no order is in the
        encoding already. All four nodes are concatenated to the cell's output, so a new numbering reorders its
        channels: networks of equal form are the same family of functions up to the order of channels, which the
        convolutions of the next cells undo. Their weights lie elsewhere, so trainings differ by more than the seed.
        """
        return _least_numbering(architecture[:_PER_CELL]) + _least_numbering(architecture[_PER_CELL:])

    def graph(self, architecture: Architecture) -> networkx.MultiDiGraph:
        """Both cells side by side; edges into the nodes carry operations, those into ``output`` concatenate."""
        import networkx

        graph = networkx.MultiDiGraph()
        for cell, nodes in zip(CELLS, genotype(architecture), strict=True):
            names = [f"{cell} {name}" for name in ("c[k-2]", "c[k-1]", *NODES, "output")]
            for name in names:
                graph.add_node(name, label=name)
            for node, edges in zip(NODES, nodes, strict=True):
                for edge in edges:
                    graph.add_edge(names[edge.source], names[node], label=edge.operation)
            for node in NODES:
                graph.add_edge(names[node], names[-1])
        return graph

    def operation_graphs(self, architectures: Sequence[Architecture] | npt.NDArray[np.int64]) -> OperationGraphs:
        """The two inputs and eight operations of each cell, whose kinds are the cell's own; both cells side by side.

        An operation is fed by the operations that end in its source, or by that input of the cell. All lead to the
        output, which concatenates the nodes.
        """
        from archsearch.basics.operation_graphs import OperationGraphs

        decisions = np.asarray(architectures, np.int64).reshape(-1, len(CELLS), len(NODES), 3)
        n, per_cell, kinds = len(decisions), 2 + 2 * len(NODES), 2 + len(OPERATIONS)
        labels = np.full((n, len(CELLS) * per_cell + 2), -1)
        adjacency = np.zeros((n, *[labels.shape[1]] * 2), bool)
        ends = np.array([0, 1, *np.repeat(NODES, 2)])  # the node in which each operation of a cell ends
        for cell in range(len(CELLS)):
            first = 1 + cell * per_cell
            here, there = slice(first, first + per_cell), slice(first + 2, first + per_cell)
            labels[:, first : first + 2] = cell * kinds + np.arange(2)
            labels[:, there] = cell * kinds + 2 + decisions[:, cell, :, 1:].reshape(n, 2 * len(NODES))
            sources = np.array(PAIRS)[decisions[:, cell, :, 0]].reshape(n, 2 * len(NODES))
            adjacency[:, 0, first : first + 2] = adjacency[:, there, -1] = True
            adjacency[:, here, there] = ends[:, None] == sources[:, None, :]
        return OperationGraphs(len(CELLS) * kinds, labels, adjacency, longest=1 + len(NODES))

    # -- relaxation: 14 edges of each cell, with ``none`` ------------------------------------------

    def relaxed_choices(self) -> tuple[RelaxedChoice, ...]:
        """The edges of the normal cell, then of the reduction, by the node in which they end; ``none`` comes first."""
        return tuple(
            RelaxedChoice(f"{cell} {source}->{target}", (NONE, *OPERATIONS), f"{cell} ->{target}")
            for cell in CELLS
            for source, target in RELAXED_EDGES
        )

    def selected(self, architecture: Architecture) -> tuple[Mapping[int, float], ...]:
        """Weight 1 for an edge's operation; an edge that is not there has no weights."""
        chosen: list[Mapping[int, float]] = []
        for nodes in genotype(architecture):
            at = {(edge.source, target): edge for target, node in zip(NODES, nodes, strict=True) for edge in node}
            chosen += [{1 + _OPTION[at[place].operation]: 1.0} if place in at else {} for place in RELAXED_EDGES]
        return tuple(chosen)

    def relaxed_probabilities(self, strengths: Sequence[Sequence[float]], prefix: Architecture) -> Sequence[float]:
        """The paper's rule (section 2.4) where the strengths are softmax weights, made a distribution.

        An edge is as strong as the strongest operation on it that is not ``none``; a pair of inputs is as probable as
        the product of its edges' strengths, so that the most probable pair has the two strongest edges.
        """
        number, what = divmod(len(prefix), 3)
        cell, node = divmod(number, len(NODES))
        first = cell * len(RELAXED_EDGES) + RELAXED_EDGES.index((0, NODES[node]))
        if what == 0:
            edges = [max(strengths[first + source][1:]) for source in range(NODES[node])]
            pairs = PAIRS[: NODES[node] * (NODES[node] - 1) // 2]
            return shares([edges[low] * edges[high] for low, high in pairs])
        return shares(strengths[first + PAIRS[prefix[3 * number]][what - 1]][1:])

    # -- networks ------------------------------------------------------------------------------

    def network(
        self, architecture: Architecture, task: InputShape, *, channels: int | None = None, layers: int | None = None
    ) -> Network:
        """The stand-alone network of two cells.

        Args:
            architecture: The cells.
            task: What has an input shape and a number of classes.
            channels: Instead of the space's own.
            layers: Instead of the space's own.
        """
        return self._network(self.validate(architecture), task, channels, layers)

    def super_network(
        self, task: InputShape, *, channels: int | None = None, layers: int | None = None, part: int = 1
    ) -> Network:
        """The network with all operations on all 14 edges of every cell; see ``network``.

        The operations see one of ``part`` channels (PC-DARTS).
        """
        return self._network(None, task, channels, layers, part)

    def _network(
        self,
        architecture: Architecture | None,
        task: InputShape,
        channels: int | None,
        layers: int | None,
        part: int = 1,
    ) -> Network:
        from archsearch.spaces.networks.darts import DARTSNetwork

        channels = at_least_one("DARTS", "channels", self.channels if channels is None else channels)
        layers = at_least_one("DARTS", "layers", self.layers if layers is None else layers)
        return DARTSNetwork(architecture, task, channels, layers, self.auxiliary, part)


def genotype(architecture: Architecture) -> Genotype:
    """The two cells of an architecture, as edges with operation names."""
    nodes = [
        (Edge(PAIRS[pair][0], OPERATIONS[lower]), Edge(PAIRS[pair][1], OPERATIONS[higher]))
        for pair, lower, higher in _triples(architecture)
    ]
    return Genotype(tuple(nodes[: len(NODES)]), tuple(nodes[len(NODES) :]))


def _triples(decisions: Architecture) -> Iterator[tuple[int, int, int]]:
    """The decisions of each node: number of the pair of inputs, operation on the lower and on the higher one."""
    return zip(decisions[::3], decisions[1::3], decisions[2::3], strict=True)


def _triple(edges: Iterable[tuple[int, int]]) -> tuple[int, int, int]:
    """The decisions of a node whose two (input, option of the operation) come in any order."""
    (low, lower), (high, higher) = sorted(edges)
    return _PAIR_NUMBER[low, high], lower, higher


def _neighbour(architecture: Architecture, number: int) -> Architecture:
    """Neighbour of that number: first those with another operation, then those with another input."""
    if number < _OPERATION_CHANGES:
        edge, option = divmod(number, len(OPERATIONS) - 1)
        position = 3 * (edge // 2) + 1 + edge % 2
        option += option >= architecture[position]  # every option but the present one
        return (*architecture[:position], option, *architecture[position + 1 :])
    node, side, other = _INPUT_CHANGES[number - _OPERATION_CHANGES]
    pair, *operations = architecture[3 * node : 3 * node + 3]
    inputs = list(PAIRS[pair])
    unused = [source for source in range(NODES[node % len(NODES)]) if source not in inputs]
    inputs[side] = unused[other]
    changed = _triple(zip(inputs, operations, strict=True))
    return (*architecture[: 3 * node], *changed, *architecture[3 * node + 3 :])


def _least_numbering(cell: Architecture) -> Architecture:
    # Nodes get their new numbers one by one. Any can follow whose inputs have theirs, and no choice leads into a dead
    # end, so the least form takes the least triple each time; where several nodes give it, all are followed up.
    nodes = list(zip(NODES, _triples(cell), strict=True))
    form: Architecture = ()
    numberings: list[dict[int, int]] = [{0: 0, 1: 1}]  # old number to new number
    for number in NODES:
        found: dict[tuple[int, int, int], list[dict[int, int]]] = {}
        for new in numberings:
            for node, (pair, lower, higher) in nodes:
                low, high = PAIRS[pair]
                if node not in new and low in new and high in new:
                    triple = _triple(((new[low], lower), (new[high], higher)))
                    found.setdefault(triple, []).append({**new, node: number})
        least = min(found)
        form += least
        numberings = found[least]
    return form


def _read_node(text: str, node: int, edges: str) -> tuple[int, int, int]:
    read = []
    for edge in edges.split():
        match = _EDGE.fullmatch(edge)
        if match is None or match[1] not in _OPTION or int(match[2]) >= node:
            _refuse(text, f"node {node}: {edge!r} is none of these operations with an input from 0 to {node - 1}")
        read.append((int(match[2]), _OPTION[match[1]]))
    if len(read) != 2 or read[0][0] == read[1][0]:
        _refuse(text, f"node {node}: {edges.strip()!r} is not two operations on different inputs")
    return _triple(read)


def _refuse(text: str, why: str) -> NoReturn:
    raise InvalidArchitecture(
        f"{text!r} is no pair of DARTS cells: {why}; expected one of {', '.join(GENOTYPES)} or a text such as "
        f"{GENOTYPES['DARTS_V2']!r}, with the operations {', '.join(OPERATIONS)}"
    )
