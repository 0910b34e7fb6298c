"""A cell of NAS-Bench-101 as a graph: what an architecture stands for, its text and its published hash.

Reference: Ying et al., "NAS-Bench-101: towards reproducible neural architecture search", ICML 2019. This is what
spaces of such cells, ``NASBench101`` and ``NB1Shot1``, and their networks have in common, and needs no PyTorch.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
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

OPERATIONS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")


class Cell(NamedTuple):
    """A cell, its vertices numbered so that edges lead to higher numbers; the first is the input, the last the output.

    Attributes:
        predecessors: One bit mask for each vertex: bit i is set if there is an edge from vertex i.
        operations: One position in ``OPERATIONS`` for each inner vertex.
    """

    predecessors: tuple[int, ...]
    operations: tuple[int, ...]

    @property
    def output(self) -> int:
        """Number of the output vertex; the input is 0."""
        return len(self.predecessors) - 1

    def has_edge(self, source: int, target: int) -> bool:
        """Whether an edge leads from ``source`` to ``target``."""
        return bool(self.predecessors[target] >> source & 1)


def on_paths(predecessors: Sequence[int]) -> list[int]:
    """The vertices that lie on a path from the first to the last one."""
    last = len(predecessors) - 1
    from_input, to_output = 1, 1 << last
    for vertex in range(1, last + 1):
        from_input |= bool(predecessors[vertex] & from_input) << vertex
    for vertex in range(last, 0, -1):
        to_output |= predecessors[vertex] if to_output >> vertex & 1 else 0
    return [vertex for vertex in range(last + 1) if (from_input & to_output) >> vertex & 1]


def pruned(cell: Cell) -> Cell:
    """The cell without the vertices that lie on no path from the input to the output; the others keep their order."""
    kept = on_paths(cell.predecessors)
    masks = [sum((cell.predecessors[vertex] >> source & 1) << i for i, source in enumerate(kept)) for vertex in kept]
    return Cell(tuple(masks), tuple(cell.operations[vertex - 1] for vertex in kept if 0 < vertex < cell.output))


@functools.lru_cache(maxsize=2**16)
def fingerprint(cell: Cell) -> str:
    """The paper's graph hash, rounds of Weisfeiler and Lehman: what a vertex is, then what is around it."""
    vertices = range(len(cell.predecessors))
    before = [[source for source in vertices if mask >> source & 1] for mask in cell.predecessors]
    after = [[target for target in vertices if source in before[target]] for source in vertices]
    labels = (-1, *cell.operations, -2)
    hashes = [_md5(str((len(after[v]), len(before[v]), labels[v]))) for v in vertices]
    for _ in vertices:
        hashes = [
            _md5("|".join(["".join(sorted(hashes[w] for w in around[v])) for around in (before, after)] + [hashes[v]]))
            for v in vertices
        ]
    return _md5(str(sorted(hashes)))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def matrix_and_operations(cell: Cell) -> tuple[list[list[int]], list[str]]:
    """Adjacency matrix (1 at row i, column j: an edge from i to j) and operations, from input to output."""
    masks = cell.predecessors
    matrix = [[mask >> source & 1 for mask in masks] for source in range(len(masks))]
    return matrix, ["input", *(OPERATIONS[option] for option in cell.operations), "output"]


def written(cell: Cell) -> str:
    """Adjacency matrix, row by row, and operations: ``0110001000010000 input,maxpool3x3,maxpool3x3,output``."""
    matrix, operations = matrix_and_operations(cell)
    return f"{''.join(str(bit) for row in matrix for bit in row)} {','.join(operations)}"


def read(text: str) -> Cell:
    """The cell of a text as ``written`` gives it, whatever its size.

    Raises:
        InvalidArchitecture: If it is none, or names other operations.
    """
    matrix, _, names = text.strip().partition(" ")
    operations = names.strip().split(",")
    vertices = len(operations)
    if not matrix or set(matrix) - {"0", "1"} or len(matrix) != vertices**2:
        raise InvalidArchitecture(f"expected {vertices}x{vertices} digits 0 or 1 for {vertices} operations")
    if vertices < 2 or (operations[0], operations[-1]) != ("input", "output"):
        raise InvalidArchitecture("the operations must begin with input and end with output")
    unknown = sorted(set(operations[1:-1]) - set(OPERATIONS))
    if unknown:
        raise InvalidArchitecture(f"unknown operations {', '.join(unknown)}; there are {', '.join(OPERATIONS)}")
    edges = [divmod(i, vertices) for i, bit in enumerate(matrix) if bit == "1"]
    backwards = [f"{source}->{target}" for source, target in edges if source >= target]
    if backwards:
        raise InvalidArchitecture(f"edges must lead to vertices of higher numbers, unlike {', '.join(backwards)}")
    predecessors = tuple(sum(1 << source for source, end in edges if end == target) for target in range(vertices))
    return Cell(predecessors, tuple(OPERATIONS.index(name) for name in operations[1:-1]))


class CellSpace(Space):
    """Base of spaces of such cells. An author writes ``cell``, ``_wide_enough`` and ``_network``.

    Attributes:
        most_vertices: Vertices of the largest cell, input and output included.
        channels: Of the first of the network's three stacks.
        modules: Cells in each stack.
    """

    most_vertices: int
    channels: int
    modules: int

    def cell(self, architecture: Architecture) -> Cell:
        """The graph that an architecture stands for; all its vertices lie on paths from the input to the output."""
        raise NotImplementedError

    def wired(self, architecture: Architecture) -> Cell:
        """The graph with its vertices as networks number them; some may lie on no path, and are not computed."""
        return self.cell(architecture)

    def _wide_enough(self, channels: int) -> int:
        """The channels, if there are enough for any output vertex to share out."""
        raise NotImplementedError

    def _network(self, architecture: Architecture | None, task: InputShape, channels: int, modules: int) -> Network:
        """The network of an architecture, or the super-network."""
        raise NotImplementedError

    # -- networks ------------------------------------------------------------------------------

    def network(
        self, architecture: Architecture, task: InputShape, *, channels: int | None = None, modules: int | None = None
    ) -> Network:
        """The stand-alone network of a cell.

        Args:
            architecture: The cell.
            task: What has an input shape and a number of classes.
            channels: Instead of the space's own.
            modules: Instead of the space's own.
        """
        return self._network(self.validate(architecture), task, *self._skeleton(channels, modules))

    def super_network(self, task: InputShape, *, channels: int | None = None, modules: int | None = None) -> Network:
        """The network with all operations in every inner vertex; see ``network``."""
        return self._network(None, task, *self._skeleton(channels, modules))

    def _skeleton(self, channels: int | None, modules: int | None) -> tuple[int, int]:
        channels = self._wide_enough(self.channels if channels is None else channels)
        return channels, at_least_one(type(self).__name__, "modules", self.modules if modules is None else modules)

    # -- graphs --------------------------------------------------------------------------------

    def decode(self, architecture: Architecture) -> tuple[list[list[int]], list[str]]:
        """Adjacency matrix (1 at row i, column j: an edge from i to j) and operations, from input to output."""
        return matrix_and_operations(self.cell(architecture))

    def format(self, architecture: Architecture) -> str:
        """Adjacency matrix, row by row, and operations: ``0110001000010000 input,maxpool3x3,maxpool3x3,output``."""
        return written(self.wired(architecture))

    def canonical(self, architecture: Architecture) -> str:
        """The published hash, 32 hexadecimal digits: equal for all numberings of a cell."""
        return fingerprint(self.cell(architecture))

    def graph(self, architecture: Architecture) -> networkx.MultiDiGraph:
        """The cell; its vertices are labelled with their operations."""
        import networkx

        matrix, operations = self.decode(architecture)
        graph = networkx.MultiDiGraph()
        for vertex, operation in enumerate(operations):
            graph.add_node(vertex, label=operation)
        graph.add_edges_from((i, j) for i, row in enumerate(matrix) for j, edge in enumerate(row) if edge)
        return graph

    def operation_graphs(self, architectures: Sequence[Architecture] | npt.NDArray[np.int64]) -> OperationGraphs:
        """An operation per inner vertex; in smaller cells the places before the output are empty."""
        from archsearch.basics.operation_graphs import OperationGraphs

        n, places = len(architectures), self.most_vertices
        labels = np.full((n, places), -1)
        masks = np.zeros((n, places), np.int64)
        for row, architecture in enumerate(architectures):
            cell = self.cell(architecture)
            labels[row, 1 : cell.output] = cell.operations
            masks[row, : cell.output] = cell.predecessors[:-1]
            masks[row, -1] = cell.predecessors[-1]
        adjacency = (masks[:, None, :] >> np.arange(places)[:, None] & 1).astype(bool)
        return OperationGraphs(len(OPERATIONS), labels, adjacency, longest=places - 2)
