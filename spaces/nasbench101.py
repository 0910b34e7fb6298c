"""NAS-Bench-101: a cell is any acyclic directed graph of up to 7 vertices and 9 edges; its vertices are operations.

Reference: Ying et al., "NAS-Bench-101: towards reproducible neural architecture search", ICML 2019.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from archsearch.basics.checks import at_least_one
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.spaces.networks.nasbench101_cell import OPERATIONS as OPERATIONS
from archsearch.spaces.networks.nasbench101_cell import Cell as Cell
from archsearch.spaces.networks.nasbench101_cell import CellSpace, on_paths, pruned, read
from archsearch.trial import Architecture

if TYPE_CHECKING:
    from archsearch.networks.network import InputShape, Network

MOST_VERTICES = 9
"""Largest ``max_vertices``: the sets of predecessors of a vertex are listed, and they double with each vertex."""

MUTATION_TRIES = 1000
"""Tries of ``NASBench101.mutate`` before it changes one decision instead."""


class NASBench101(CellSpace):
    """NAS-Bench-101 cells: 1,293,208 labelled graphs, of which 423,624 are different cells.

    A cell has an input, an output and up to five inner vertices, each with one of three operations; every vertex lies
    on a path from the input to the output. Edges lead from lower to higher numbers, so that many cells can be
    numbered in several ways. Each numbering is an architecture of its own; all have the same ``canonical`` form, and
    compute the same, but for this: if the output's channels cannot be shared equally among the vertices that feed it,
    those of lower numbers get one more. So the parameters of two numberings may differ (by 1.1 % at most in the cells
    of up to 5 vertices).

    Decisions: the number of vertices; for each vertex but the input its set of predecessors, among the sets (in
    the order of their bit masks) with which the cell can still be completed; the operation of each inner vertex.

    Args:
        max_vertices: The most vertices, 2 to 9, input and output included. The paper has 7.
        max_edges: The most edges, >= 1. The paper has 9. A cell has at most one vertex more than edges.
        channels: Channels of the first of the network's three stacks. The paper uses 128. The inner vertices that feed
            the output share them, so that there must be at least as many (4 for the paper's cells).
        modules: Cells in each of the three stacks, >= 1. The paper uses 3.

    Raises:
        UsageError: If a number is out of range.

    Attributes:
        most_vertices: Vertices of the largest cell, which ``max_edges`` may keep below ``max_vertices``.
    """

    def __init__(self, max_vertices: int = 7, max_edges: int = 9, channels: int = 128, modules: int = 3) -> None:
        self.max_vertices = at_least_one("NASBench101", "max_vertices", max_vertices)
        if not 2 <= max_vertices <= MOST_VERTICES:
            raise UsageError(f"NASBench101: max_vertices: expected 2 to {MOST_VERTICES}, got {max_vertices}")
        self.max_edges = at_least_one("NASBench101", "max_edges", max_edges)
        self.channels = self._wide_enough(channels)
        self.modules = at_least_one("NASBench101", "modules", modules)
        self.most_vertices = min(max_vertices, max_edges + 1)
        super().__init__(max_length=2 * self.most_vertices - 2, max_options=self._most_options())

    def _wide_enough(self, channels: int) -> int:
        channels = at_least_one("NASBench101", "channels", channels)
        shares = min(self.max_vertices - 2, self.max_edges // 2)  # a vertex that feeds the output has two edges
        if channels < shares:
            raise UsageError(
                f"NASBench101: channels: expected at least {shares}, since so many vertices may share them, "
                f"got {channels}"
            )
        return channels

    def _most_options(self) -> int:
        # A vertex has most options after a chain, which has the fewest edges and a single loose end.
        sets = [
            len(_predecessor_sets(self.max_edges, vertices, vertex, vertex - 1, 1 << vertex - 1))
            for vertices in range(2, self.most_vertices + 1)
            for vertex in range(1, vertices)
        ]
        return max(self.most_vertices - 1, len(OPERATIONS) if self.most_vertices > 2 else 1, *sets)

    # -- the tree ------------------------------------------------------------------------------

    def arity(self, prefix: Architecture) -> int:
        """See ``Space.arity``."""
        if not prefix:
            return self.most_vertices - 1
        place = self._place(prefix)
        if place.vertex < place.vertices:
            return len(_predecessor_sets(self.max_edges, *place[:4]))
        return len(OPERATIONS) if place.operations > 0 else 0

    def label(self, prefix: Architecture) -> str:
        """``vertices``, then such as ``predecessors of 1``, ``predecessors of output`` and ``operation of 1``."""
        if not prefix:
            return "vertices"
        inner = prefix[0]
        if len(prefix) <= inner:
            return f"predecessors of {len(prefix)}"
        return "predecessors of output" if len(prefix) == inner + 1 else f"operation of {len(prefix) - inner - 1}"

    def subtree(self, prefix: Architecture) -> Hashable:
        """Vertices, edges and loose ends so far, or the number of operations to come."""
        return self._place(prefix) if prefix else ()

    def __contains__(self, architecture: object) -> bool:
        # As Space has it, but in one pass, since every proposal of a search is checked.
        if not isinstance(architecture, tuple) or not architecture:
            return False
        if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in architecture):
            return False
        inner = architecture[0]
        if inner > self.most_vertices - 2 or len(architecture) != 2 * inner + 2:
            return False
        try:
            self._predecessors(architecture)
        except IndexError:
            return False
        return max(architecture[inner + 2 :], default=0) < len(OPERATIONS)

    def _place(self, prefix: Architecture) -> _Place:
        """Where in the tree a prefix of at least one decision ends."""
        vertices = prefix[0] + 2
        if len(prefix) >= vertices:
            return _Place(0, 0, 0, 0, 2 * vertices - 2 - len(prefix))
        masks = self._predecessors(prefix)
        loose = (1 << len(masks)) - 1
        for mask in masks:
            loose &= ~mask
        return _Place(vertices, len(masks), sum(mask.bit_count() for mask in masks), loose, vertices - 2)

    def _predecessors(self, prefix: Architecture) -> list[int]:
        """One bit mask for each vertex, the input included, whose predecessors ``prefix`` decides.

        Raises:
            IndexError: If there is no such option.
        """
        vertices = prefix[0] + 2
        masks, edges, loose = [0], 0, 1
        for vertex, option in enumerate(prefix[1:vertices], start=1):
            mask = _predecessor_sets(self.max_edges, vertices, vertex, edges, loose)[option]
            masks.append(mask)
            edges += mask.bit_count()
            loose = loose & ~mask | 1 << vertex
        return masks

    # -- cells ---------------------------------------------------------------------------------

    def cell(self, architecture: Architecture) -> Cell:
        """The graph that an architecture stands for."""
        return Cell(tuple(self._predecessors(architecture)), architecture[architecture[0] + 2 :])

    def from_cell(self, cell: Cell) -> Architecture:
        """The architecture of a graph; the reverse of ``cell``.

        Raises:
            InvalidArchitecture: If there are too few or too many vertices, too many edges, or a vertex on no path.
        """
        vertices, edges = len(cell.predecessors), sum(mask.bit_count() for mask in cell.predecessors)
        if not 2 <= vertices <= self.max_vertices:
            raise InvalidArchitecture(f"expected 2 to {self.max_vertices} vertices, got {vertices}")
        lost = sorted(set(range(vertices)) - set(on_paths(cell.predecessors)))
        if lost:
            raise InvalidArchitecture(f"on no path from the input to the output: vertex {', '.join(map(str, lost))}")
        if edges > self.max_edges:
            raise InvalidArchitecture(f"expected at most {self.max_edges} edges, got {edges}")
        return self._encode(cell)

    def _encode(self, cell: Cell) -> Architecture:
        vertices = len(cell.predecessors)
        options, edges, loose = [vertices - 2], 0, 1
        for vertex, mask in enumerate(cell.predecessors[1:], start=1):
            options.append(_predecessor_sets(self.max_edges, vertices, vertex, edges, loose).index(mask))
            edges += mask.bit_count()
            loose = loose & ~mask | 1 << vertex
        return (*options, *cell.operations)

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` wrote.

        Raises:
            InvalidArchitecture: If ``text`` is no cell of this space. Cells are not pruned: a vertex that is on no path
                from the input to the output is refused.
        """
        try:
            return self.from_cell(read(text))
        except InvalidArchitecture as error:
            raise InvalidArchitecture(
                f"{text!r} is no cell of NASBench101: {error}. A cell is its adjacency matrix, row by row, and its "
                "operations, such as 0110001000010000 input,maxpool3x3,conv3x3-bn-relu,output"
            ) from None

    # -- variation -----------------------------------------------------------------------------

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Flips each possible edge and changes each operation with a small probability, about one of each kind.

        The rule of the naszilla code (White et al.): the cell is a matrix of ``max_vertices`` slots. Each possible edge
        appears or vanishes with probability 1 / number of possible edges, each operation becomes another one with
        probability 1 / number of inner slots; vertices on no path are then pruned away. That is tried until the cell is
        in the space and another than before. A cell of fewer vertices is first spread over the slots: its vertices
        keep their order, and the free slots, at random places between input and output, have random operations and no
        edges. So cells may gain vertices as well as lose them.

        After 1,000 tries without success one decision is changed instead, as in ``Space.mutate``.
        """
        slots = self.max_vertices
        possible, inner = slots * (slots - 1) // 2, slots - 2
        cell = self._spread(self.cell(architecture), rng)
        for _ in range(MUTATION_TRIES if self.most_vertices > 2 else 0):
            draws = iter(rng.random(possible + inner).tolist())
            masks = [
                mask ^ sum((next(draws) < 1 / possible) << source for source in range(vertex))
                for vertex, mask in enumerate(cell.predecessors)
            ]
            # Below 1 / inner the draw is uniform, so that its two halves can say which other operation it is.
            operations = [
                (option + 1 + int(2 * inner * draw)) % len(OPERATIONS) if draw < 1 / inner else option
                for option, draw in zip(cell.operations, draws, strict=True)
            ]
            child = self._pruned(masks, operations)
            if child not in (None, architecture):
                return child
        return super().mutate(architecture, rng)

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """Cells with one operation changed, one edge more or less, or one vertex more or less; lazy, each once.

        If an edge vanishes, what is then on no path vanishes too. A further vertex has any operation, one edge in and
        one edge out, and lies beside or in the place of an edge; such a vertex may also give its place to an edge.
        So every cell can be reached from every other one, step by step, in one of its numberings.
        """
        seen = {architecture}
        for masks, operations in _changed(*self.cell(architecture)):
            near = self._pruned(masks, operations)
            if near is not None and near not in seen:
                seen.add(near)
                yield near

    def _spread(self, cell: Cell, rng: np.random.Generator) -> Cell:
        """The cell with as many vertices as there may be; the further ones have no edges."""
        free = self.max_vertices - len(cell.predecessors)
        if not free:
            return cell
        inner = self.max_vertices - 2
        operations = rng.integers(len(OPERATIONS), size=inner).tolist()
        used = sorted((1 + rng.permutation(inner)[free:]).tolist())
        slots = [0, *used, self.max_vertices - 1]
        masks = [0] * self.max_vertices
        for slot, mask in zip(slots, cell.predecessors, strict=True):
            masks[slot] = sum(1 << slots[source] for source in range(len(slots)) if mask >> source & 1)
        for slot, option in zip(used, cell.operations, strict=True):
            operations[slot - 1] = option
        return Cell(tuple(masks), tuple(operations))

    def _pruned(self, masks: Sequence[int], operations: Sequence[int]) -> Architecture | None:
        """The architecture of what lies on paths from the input to the output; None if that is not in the space."""
        cell = pruned(Cell(tuple(masks), tuple(operations)))
        edges = sum(mask.bit_count() for mask in cell.predecessors)
        if not 2 <= len(cell.predecessors) <= self.max_vertices or edges > self.max_edges:
            return None
        return self._encode(cell)

    def _network(self, architecture: Architecture | None, task: InputShape, channels: int, modules: int) -> Network:
        from archsearch.spaces.networks.nasbench101 import NASBench101Network

        return NASBench101Network(self, architecture, task, channels, modules)


class _Place(NamedTuple):
    """A place in the tree: decisions below equal places are the same."""

    vertices: int
    vertex: int
    edges: int
    loose: int
    operations: int


@functools.lru_cache(maxsize=2**15)
def _predecessor_sets(max_edges: int, vertices: int, vertex: int, edges: int, loose: int) -> tuple[int, ...]:
    """The sets of predecessors, as rising bit masks, that ``vertex`` may have.

    Args:
        max_edges: Most edges of the cell.
        vertices: How many the cell has.
        vertex: Number of the vertex; 0 is the input.
        edges: Edges between the vertices before it.
        loose: Bit mask of the vertices before it from which no edge leads on.
    """
    later = vertices - 1 - vertex
    # Each vertex that is loose after this one, and each that comes before the output, costs at least one edge more.
    return tuple(
        mask
        for mask in range(1, 1 << vertex)
        if (later or not loose & ~mask) and edges + mask.bit_count() + (loose & ~mask).bit_count() + later <= max_edges
    )


def _changed(masks: tuple[int, ...], operations: tuple[int, ...]) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
    """What ``NASBench101.neighbours`` names, not yet pruned; some are the same, too large, or in two parts."""
    vertices = range(len(masks))
    for i, option in itertools.product(range(len(operations)), range(len(OPERATIONS))):
        yield masks, _replaced(operations, i, option)
    for source, target in itertools.combinations(vertices, 2):
        yield _replaced(masks, target, masks[target] ^ 1 << source), operations
    for vertex in vertices[1:-1]:
        successors = [target for target in vertices if masks[target] >> vertex & 1]
        if masks[vertex].bit_count() == len(successors) == 1:
            bridged = masks[successors[0]] & ~(1 << vertex) | masks[vertex]
            yield _replaced(masks, successors[0], bridged), operations
    for source, target in itertools.combinations(vertices, 2):
        # The new vertex takes the number of the one that it leads to, and all later ones move up by one.
        low = (1 << target) - 1
        first, *others = ((mask & ~low) << 1 | mask & low for mask in masks[target:])
        for end, option in itertools.product((first, first & ~(1 << source)), range(len(OPERATIONS))):
            longer = (*operations[: target - 1], option, *operations[target - 1 :])
            yield (*masks[:target], 1 << source, end | 1 << target, *others), longer


def _replaced(values: tuple[int, ...], i: int, value: int) -> tuple[int, ...]:
    return (*values[:i], value, *values[i + 1 :])
