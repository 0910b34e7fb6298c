"""GOLD-NAS: DARTS's skeleton with two operations, of which each edge of each cell keeps any, both or none.

Reference: Bi, Xie, Chen, Wei & Tian, "GOLD-NAS: gradual, one-level, differentiable", 2020, section 3.2.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from archsearch.basics.checks import at_least_one
from archsearch.errors import InvalidArchitecture
from archsearch.relaxing import NONE, RelaxedChoice, shares
from archsearch.space import Space
from archsearch.spaces.darts import NODES, RELAXED_EDGES
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import networkx

    from archsearch.basics.operation_graphs import OperationGraphs
    from archsearch.networks.network import InputShape, Network

OPERATIONS = ("sep_conv_3x3", "skip_connect")

OPTIONS = ((0,), (1,), (0, 1), ())
"""The operations of an edge, by option. That there are none comes last, so that an edge that must have one has the
first three options."""

NOTHING = 3
LETTERS = "csb-"
"""An edge as text, by option: convolution, skip, both, none."""

EDGES = len(RELAXED_EDGES)
"""Of a cell."""

CELL_SIZE = 246_517_425
"""Encodings of a cell: 15 * 63 * 255 * 1023."""


class GOLDNAS(Space):
    """A network whose cells are all searched: 246,517,425 encodings of each, 3.06e117 of 14 cells, 6.9e167 of 20.

    There is one decision for each of the 14 edges of each cell, in the order of the cells and, within a cell, of the
    nodes in which edges end: a separable convolution, a skip connection, both, or none. A node keeps at least one
    operation: the last edge into it lacks ``none`` if all others have it. Two cells are reductions, as in ``DARTS``.

    As text an edge is a letter (``c`` convolution, ``s`` skip, ``b`` both, ``-`` none), a cell its four nodes between
    bars, such as ``cb|-s-|bccs|----c``, and cells are separated by blanks. ``canonical`` is the rule by which
    architectures count as equal.

    Args:
        layers: Cells of the network, >= 1.
        channels: Channels of the first cells' nodes, >= 1.

    Raises:
        UsageError: If a number is below 1.
    """

    def __init__(self, layers: int = 14, channels: int = 36) -> None:
        self.layers = at_least_one("GOLDNAS", "layers", layers)
        self.channels = at_least_one("GOLDNAS", "channels", channels)
        super().__init__(max_length=EDGES * self.layers, max_options=len(OPTIONS))

    # -- what there is -------------------------------------------------------------------------

    def arity(self, prefix: Architecture) -> int:
        """Three for the last edge into a node that nothing feeds yet, else four."""
        if len(prefix) >= self.max_length:
            return 0
        source, target = RELAXED_EDGES[len(prefix) % EDGES]
        last = source == target - 1
        return NOTHING if last and all(option == NOTHING for option in prefix[-source:]) else len(OPTIONS)

    def label(self, prefix: Architecture) -> str:
        """Cell and edge, such as ``cell 3: 0->2``."""
        cell, edge = divmod(len(prefix), EDGES)
        source, target = RELAXED_EDGES[edge]
        return f"cell {cell}: {source}->{target}"

    def subtree(self, prefix: Architecture) -> tuple[int, bool]:
        """How many decisions there are, and whether the node of the next one is still empty."""
        source = RELAXED_EDGES[len(prefix) % EDGES][0]
        return len(prefix), all(option == NOTHING for option in prefix[len(prefix) - source :])

    def size(self) -> int:
        """Number of encodings, exactly."""
        return int(CELL_SIZE**self.layers)

    def _uniform(self, rng: np.random.Generator) -> Architecture:
        """Each node has one of its 4^k - 1 states, all equally likely."""
        architecture: list[int] = []
        for target in NODES * self.layers:
            state = int(rng.integers(4**target - 1))  # the one that is left out has none on every edge
            architecture += [state // 4**i % 4 for i in range(target)]
        return tuple(architecture)

    # -- variation -----------------------------------------------------------------------------

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """All architectures with one operation more or less; a node never loses its last one."""
        for place in range(len(architecture)):
            for operation in range(len(OPERATIONS)):
                flipped = _flipped(architecture, place, operation)
                if flipped is not None:
                    yield flipped

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """One of the neighbours, drawn uniformly."""
        while True:
            place, operation = divmod(int(rng.integers(len(OPERATIONS) * len(architecture))), len(OPERATIONS))
            flipped = _flipped(architecture, place, operation)
            if flipped is not None:
                return flipped

    # -- reading and writing -------------------------------------------------------------------

    def format(self, architecture: Architecture) -> str:
        """See the class."""
        return " ".join("|".join("".join(LETTERS[i] for i in node) for node in _nodes(c)) for c in _cells(architecture))

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` wrote.

        Raises:
            InvalidArchitecture: If ``text`` is no network of this space; the message says where.
        """
        cells = text.split()
        if len(cells) != self.layers:
            raise InvalidArchitecture(
                f"{text!r:.80} is no architecture of GOLDNAS: expected {self.layers} cells with blanks between them, "
                f"such as cb|-s-|bccs|----c, got {len(cells)}"
            )
        architecture: list[int] = []
        for i, cell in enumerate(cells):
            nodes = cell.split("|")
            if [len(node) for node in nodes] != list(NODES) or any(
                set(n) - set(LETTERS) or not set(n) - {"-"} for n in nodes
            ):
                raise InvalidArchitecture(
                    f"{text!r:.80} is no architecture of GOLDNAS: cell {i}: expected nodes of 2, 3, 4 and 5 letters "
                    f"between bars, of {LETTERS}, each with an operation, such as cb|-s-|bccs|----c, got {cell!r:.40}"
                )
            architecture += [LETTERS.index(letter) for node in nodes for letter in node]
        return tuple(architecture)

    def decode(self, architecture: Architecture) -> str:
        """The text of the architecture."""
        return self.format(architecture)

    def canonical(self, architecture: Architecture) -> Architecture:
        """The least encoding, in lexicographic order, among those that number the nodes of each cell differently.

        As with ``DARTS``: a numbering is allowed if every node comes after its inputs; it reorders the channels of the
        cell's output, which the convolutions of the next cells undo. Edges have no other symmetry: each subset of the
        operations on an edge is another function.
        """
        return tuple(option for cell in _cells(architecture) for option in _least_numbering(cell))

    def graph(self, architecture: Architecture) -> networkx.MultiDiGraph:
        """All cells in a row; edges into nodes carry operations, those into a cell's output concatenate."""
        import networkx

        graph = networkx.MultiDiGraph()
        graph.add_node("stem", label="stem")
        before = last = "stem"
        for i, cell in enumerate(_cells(architecture)):
            names = [before, last, *(f"cell {i} {node}" for node in NODES), f"cell {i}"]
            for name in names[2:]:
                graph.add_node(name, label=name)
            for (source, target), option in zip(RELAXED_EDGES, cell, strict=True):
                for operation in OPTIONS[option]:
                    graph.add_edge(names[source], names[target], label=OPERATIONS[operation])
            for node in NODES:
                graph.add_edge(names[node], names[-1])
            before, last = last, names[-1]
        return graph

    def operation_graphs(self, architectures: Sequence[Architecture] | npt.NDArray[np.int64]) -> OperationGraphs:
        """The two inputs of each cell and its operations, whose kinds are the cell's own; all cells side by side.

        An operation is fed by the operations that end in its source, or by that input of the cell. All lead to the
        output, which concatenates the nodes. Places of operations that an edge lacks are empty.
        """
        from archsearch.basics.operation_graphs import OperationGraphs

        options = np.asarray(architectures, np.int64).reshape(-1, self.layers, EDGES)
        n, places, kinds = len(options), 2 + 2 * EDGES, 2 + len(OPERATIONS)
        has = np.stack([np.isin(options, [i for i, some in enumerate(OPTIONS) if o in some]) for o in (0, 1)], -1)
        sources, targets = np.repeat(np.array(RELAXED_EDGES), len(OPERATIONS), axis=0).T
        ends = np.concatenate([[0, 1], targets])
        labels = np.full((n, self.layers * places + 2), -1)
        adjacency = np.zeros((n, *[labels.shape[1]] * 2), bool)
        for cell in range(self.layers):
            first = 1 + cell * places
            here, there = slice(first, first + places), slice(first + 2, first + places)
            present = has[:, cell].reshape(n, -1)
            labels[:, first : first + 2] = cell * kinds + np.arange(2)
            own = cell * kinds + 2 + np.tile(np.arange(len(OPERATIONS)), EDGES)
            labels[:, there] = np.where(present, own, -1)
            adjacency[:, 0, first : first + 2] = True
            adjacency[:, there, -1] = present
            both = np.concatenate([np.ones((n, 2), bool), present], axis=1)[:, :, None] & present[:, None, :]
            adjacency[:, here, there] = both & (ends[:, None] == sources)
        return OperationGraphs(self.layers * kinds, labels, adjacency, longest=1 + len(NODES))

    # -- relaxation: each operation is there or not ------------------------------------------------

    def relaxed_choices(self) -> tuple[RelaxedChoice, ...]:
        """Each operation of each edge, against ``none``: they do not exclude each other. A group ends in one node."""
        return tuple(
            RelaxedChoice(f"cell{cell} {source}->{target} {operation}", (NONE, operation), f"cell{cell} ->{target}")
            for cell in range(self.layers)
            for source, target in RELAXED_EDGES
            for operation in OPERATIONS
        )

    def selected(self, architecture: Architecture) -> tuple[Mapping[int, float], ...]:
        """Weight 1 for the operations that there are, and for ``none`` in place of the others."""
        return tuple(
            {int(operation in OPTIONS[option]): 1.0} for option in architecture for operation in range(len(OPERATIONS))
        )

    def relaxed_probabilities(self, strengths: Sequence[Sequence[float]], prefix: Architecture) -> Sequence[float]:
        """As if each operation were drawn on its own, and networks with an empty node were drawn again.

        An operation is as probable as it is strong against ``none``.
        """
        place, arity = len(prefix), self.arity(prefix)
        source, target = RELAXED_EDGES[place % EDGES]
        convolution, skip = (_presence(strengths[2 * place + operation]) for operation in range(2))
        found = [convolution * (1 - skip), (1 - convolution) * skip, convolution * skip]
        if arity > NOTHING:
            fed = any(option != NOTHING for option in prefix[place - source :])
            later = 0.0  # the probability that one of the further edges into the node has an operation
            for edge in range(place + 1, place + target - source):
                for operation in range(2):
                    later += (1 - later) * _presence(strengths[2 * edge + operation])
            found.append((1 - convolution) * (1 - skip) * (1.0 if fed else later))
        return shares(found)

    # -- networks ------------------------------------------------------------------------------

    def network(self, architecture: Architecture, task: InputShape, *, channels: int | None = None) -> Network:
        """The stand-alone network.

        Args:
            architecture: The operations of all edges.
            task: What has an input shape and a number of classes.
            channels: Instead of the space's own.
        """
        return self._network(self.validate(architecture), task, channels)

    def super_network(self, task: InputShape, *, channels: int | None = None) -> Network:
        """The network with both operations on all edges; see ``network``."""
        return self._network(None, task, channels)

    def _network(self, architecture: Architecture | None, task: InputShape, channels: int | None) -> Network:
        from archsearch.spaces.networks.gold_nas import GOLDNetwork

        channels = at_least_one("GOLDNAS", "channels", self.channels if channels is None else channels)
        return GOLDNetwork(architecture, task, channels, self.layers)


def _cells(architecture: Architecture) -> list[Architecture]:
    return [architecture[i : i + EDGES] for i in range(0, len(architecture), EDGES)]


def _nodes(cell: Architecture) -> list[Architecture]:
    """The options of the edges into each node."""
    ends = list(itertools.accumulate(NODES))
    return [cell[end - node : end] for node, end in zip(NODES, ends, strict=True)]


def _flipped(architecture: Architecture, place: int, operation: int) -> Architecture | None:
    """With that operation of an edge added or taken away; None if its node would be empty."""
    option = OPTIONS.index(tuple(sorted({*OPTIONS[architecture[place]]} ^ {operation})))
    flipped = (*architecture[:place], option, *architecture[place + 1 :])
    source, target = RELAXED_EDGES[place % EDGES]
    node = flipped[place - source : place - source + target]
    return flipped if any(other != NOTHING for other in node) else None


def _presence(strengths: Sequence[float]) -> float:
    """How probable an operation is, given the strengths of ``none`` and of itself."""
    return strengths[1] / sum(strengths)


@functools.lru_cache(maxsize=4096)
def _least_numbering(cell: Architecture) -> Architecture:
    at = dict(zip(RELAXED_EDGES, cell, strict=True))
    forms = []
    for order in itertools.permutations(NODES):  # the node that gets each number
        old = (0, 1, *order)
        # An edge against the new order would be lost.
        if all(at.get((old[target], old[source]), NOTHING) == NOTHING for source, target in RELAXED_EDGES):
            forms.append(tuple(at.get((old[source], old[target]), NOTHING) for source, target in RELAXED_EDGES))
    return min(forms)
