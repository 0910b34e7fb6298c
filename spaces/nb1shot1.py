"""NAS-Bench-1Shot1: three parts of NAS-Bench-101 in which each vertex has a fixed number of parents.

Reference: Zela, Siems & Hutter, "NAS-Bench-1Shot1: benchmarking and dissecting one-shot neural architecture search",
ICLR 2020.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from archsearch.basics.checks import at_least_one
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.relaxing import RelaxedChoice, shares
from archsearch.spaces.nasbench101 import NASBench101
from archsearch.spaces.networks.nasbench101_cell import (
    OPERATIONS,
    Cell,
    CellSpace,
    on_paths,
    pruned,
    read,
    written,
)
from archsearch.trial import Architecture

if TYPE_CHECKING:
    from archsearch.networks.network import InputShape, Network

PARENTS: Mapping[int, tuple[int, ...]] = {1: (1, 2, 2, 2, 2), 2: (1, 1, 2, 2, 3), 3: (1, 1, 1, 2, 2, 2)}
"""How many parents each vertex has, in each sub-space: the inner ones, then the output."""

WEAKEST = 1e-12
"""Least strength of a parent, in that of the strongest: so sets can be ranked if fewer parents are left than needed."""


class NB1Shot1(CellSpace):
    """Cells of NAS-Bench-101 in which each vertex has a given number of parents, among all that come before it.

    Sub-space 1 has four inner vertices, with 1, 2, 2 and 2 parents, and an output with 2: 14,580 encodings; 2 has four
    with 1, 1, 2 and 2, and an output with 3: 29,160; 3 has five with 1, 1, 1, 2 and 2, and an output with 2: 1,312,200.
    All have 9 edges. Where a vertex has no successor, it is a loose end, which is pruned away with whatever feeds only
    it; 3,078, 11,178 and 108,135 encodings have none. ``canonical`` is that of NAS-Bench-101, of what remains.

    Decisions: the parents of each vertex that has a choice, the output's last, among the sets of the right size (in the
    order of their bit masks); then the operation of each inner vertex.

    In the relaxed super-network the parents compete, as in the paper: a vertex's input is the weighted sum of all
    earlier ones. The output does not add, but concatenates its parents, so that there each set of the right size counts
    by the product of its parents' weights, and the sum over sets is taken, which equals the cell's own output where one
    set is left. (The paper's super-network concatenates all vertices, each times its weight, and is wider than any
    cell.) A relaxation that draws one candidate draws one parent; what then lacks in the output is zero.

    Args:
        subspace: 1, 2 or 3.
        channels: See ``NASBench101``; at least as many as the output has parents.
        modules: See ``NASBench101``.

    Raises:
        UsageError: If a number is out of range.

    Attributes:
        parents: How many each vertex has, from vertex 1 to the output.
    """

    def __init__(self, subspace: int = 1, channels: int = 128, modules: int = 3) -> None:
        self.subspace = at_least_one("NB1Shot1", "subspace", subspace)
        if self.subspace not in PARENTS:
            raise UsageError(f"NB1Shot1: subspace: expected 1, 2 or 3, got {subspace!r}")
        self.parents = PARENTS[self.subspace]
        self.channels = self._wide_enough(channels)
        self.modules = at_least_one("NB1Shot1", "modules", modules)
        self.most_vertices = len(self.parents) + 1
        self._sets = [_sets(vertex, count) for vertex, count in enumerate(self.parents, start=1)]
        self._open = [vertex for vertex, sets in enumerate(self._sets, start=1) if len(sets) > 1]
        super().__init__(
            arities=[len(self._sets[vertex - 1]) for vertex in self._open] + [len(OPERATIONS)] * self.inner
        )

    @property
    def inner(self) -> int:
        """Inner vertices."""
        return len(self.parents) - 1

    def _wide_enough(self, channels: int) -> int:
        if at_least_one("NB1Shot1", "channels", channels) < self.parents[-1]:
            raise UsageError(
                f"NB1Shot1: channels: expected at least {self.parents[-1]}, since so many vertices may share them, "
                f"got {channels}"
            )
        return channels

    def label(self, prefix: Architecture) -> str:
        """Such as ``parents of 3``, ``parents of output`` and ``operation of 1``."""
        position = len(prefix)
        if position < len(self._open):
            return self._parents_label(self._open[position])
        return f"operation of {position - len(self._open) + 1}"

    def _parents_label(self, vertex: int) -> str:
        return f"parents of {self._name(vertex)}"

    def _name(self, vertex: int) -> str:
        return {0: "input", self.inner + 1: "output"}.get(vertex, str(vertex))

    # -- cells ---------------------------------------------------------------------------------

    def wired(self, architecture: Architecture) -> Cell:
        """The graph with all its vertices, loose ends included."""
        chosen = dict(zip(self._open, architecture, strict=False))
        masks = [sets[chosen.get(vertex, 0)] for vertex, sets in enumerate(self._sets, start=1)]
        return Cell((0, *masks), architecture[len(self._open) :])

    def cell(self, architecture: Architecture) -> Cell:
        """The graph in NAS-Bench-101: without loose ends."""
        return pruned(self.wired(architecture))

    def nasbench101(self) -> NASBench101:
        """The space that has all these cells."""
        return NASBench101(self.most_vertices, sum(self.parents), self.channels, self.modules)

    def to_nasbench101(self, architecture: Architecture) -> Architecture:
        """The same cell in the space ``nasbench101()``."""
        return self.nasbench101().from_cell(self.cell(architecture))

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` wrote: all vertices, loose ends included.

        Raises:
            InvalidArchitecture: If ``text`` is no cell of this sub-space.
        """
        try:
            cell = read(text)
            if len(cell.predecessors) != self.most_vertices:
                raise InvalidArchitecture(f"expected {self.most_vertices} vertices, got {len(cell.predecessors)}")
            for vertex, sets in enumerate(self._sets, start=1):
                if cell.predecessors[vertex] not in sets:
                    raise InvalidArchitecture(
                        f"vertex {self._name(vertex)} has {cell.predecessors[vertex].bit_count()} parents instead of "
                        f"{self.parents[vertex - 1]}"
                    )
        except InvalidArchitecture as error:
            example = written(self.wired((0,) * self.max_length))
            raise InvalidArchitecture(
                f"{text!r} is no cell of NB1Shot1, sub-space {self.subspace}: {error}. A cell is its adjacency matrix, "
                f"row by row, and its operations, such as {example}"
            ) from None
        chosen = [self._sets[vertex - 1].index(cell.predecessors[vertex]) for vertex in self._open]
        return (*chosen, *cell.operations)

    # -- relaxation ----------------------------------------------------------------------------

    def relaxed_choices(self) -> tuple[RelaxedChoice, ...]:
        """One for each decision: a vertex's parents, the nearest first, or its operations."""
        found = [
            RelaxedChoice(self._parents_label(vertex), tuple(map(self._name, reversed(range(vertex)))), f"->{vertex}")
            for vertex in self._open
        ]
        names = [f"operation of {vertex}" for vertex in range(1, self.inner + 1)]
        return (*found, *(RelaxedChoice(name, OPERATIONS, name) for name in names))

    def selected(self, architecture: Architecture) -> tuple[Mapping[int, float], ...]:
        """Weight 1 for all parents of the set, and for the operation; a loose end has no weights, and does not run."""
        cell = self.wired(architecture)
        there = on_paths(cell.predecessors)
        chosen: list[Mapping[int, float]] = [
            {vertex - 1 - source: 1.0 for source in range(vertex) if cell.has_edge(source, vertex)}
            if vertex in there
            else {}
            for vertex in self._open
        ]
        kept = [{option: 1.0} if i in there else {} for i, option in enumerate(cell.operations, start=1)]
        return (*chosen, *kept)

    def relaxed_probabilities(self, strengths: Sequence[Sequence[float]], prefix: Architecture) -> Sequence[float]:
        """A set of parents is as probable as the product of their strengths, so the strongest parents make the best."""
        own = strengths[len(prefix)]
        if len(prefix) >= len(self._open):
            return shares(own)
        vertex, least = self._open[len(prefix)], WEAKEST * max(own)
        strength = [max(own[vertex - 1 - source], least) / max(own) for source in range(vertex)]
        return shares(
            [
                math.prod(strength[source] for source in range(vertex) if mask >> source & 1)
                for mask in self._sets[vertex - 1]
            ]
        )

    # -- networks ------------------------------------------------------------------------------

    def _network(self, architecture: Architecture | None, task: InputShape, channels: int, modules: int) -> Network:
        from archsearch.spaces.networks.nb1shot1 import NB1Shot1Network

        return NB1Shot1Network(self, architecture, task, channels, modules)


def _sets(vertex: int, count: int) -> tuple[int, ...]:
    """The sets of so many vertices before this one, as rising bit masks."""
    return tuple(sorted(sum(1 << source for source in some) for some in itertools.combinations(range(vertex), count)))
