"""The facts of a space of cells whose nodes join two inputs, and what they say of an architecture.

A cell has two inputs, the states 0 and 1, and nodes 2, 3, ... that each join two operations on earlier states. How
much may differ from paper to paper is here: the operations, whether both inputs may be one state, the order of the
decisions, the combiners, and which states become the output.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from archsearch.basics.numbering import least_numbering
from archsearch.relaxing import NONE
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import torch

PAIRED = ("inputs", "operation on the lower input", "operation on the higher input")
"""Decisions of a node with two different inputs: which two, then the operations (DARTS)."""

INPUTS_FIRST = ("input 1", "input 2", "operation 1", "operation 2")
"""Decisions of a node whose inputs may be one state (NASNet)."""

IN_TURN = ("input 1", "operation 1", "input 2", "operation 2")
"""The same, in the order of ENAS."""

COMBINER = "combiner"
"""The last decision of a node, where there are several combiners."""

SIDES = "ab"
"""Names of the two inputs of a node where they may be one state: each has operations of its own."""

PAIRS = tuple(sorted(itertools.combinations(range(12), 2), key=lambda pair: pair[::-1]))
"""Pairs of different inputs, such that node j chooses among the first j(j-1)/2."""

_PAIR_NUMBER = {pair: number for number, pair in enumerate(PAIRS)}


class Edge(NamedTuple):
    """What feeds a node.

    Attributes:
        source: The earlier state: 0 and 1 are the cell's inputs.
        operation: Its name.
    """

    source: int
    operation: str


class Joint(NamedTuple):
    """A node, in numbers.

    Attributes:
        first: One input and the option of its operation.
        second: The other.
        combiner: How they are joined.
    """

    first: tuple[int, int]
    second: tuple[int, int]
    combiner: int = 0


class Term(NamedTuple):
    """A summand of a node.

    Attributes:
        slot: Name of the place where its operations are.
        source: The state that they read.
        weights: Operations to their factors.
    """

    slot: str
    source: int
    weights: Mapping[str, float | torch.Tensor]


class NodePlan(NamedTuple):
    """What a network computes for a node."""

    terms: tuple[Term, ...]
    combiner: str = "add"


class CellPlan(NamedTuple):
    """What a network computes for a cell: its nodes, and the states that are concatenated."""

    nodes: tuple[NodePlan, ...]
    outputs: tuple[int, ...]

    def operations(self) -> dict[str, tuple[str, ...]]:
        """The places that are used, and the operations that run there."""
        return {term.slot: tuple(term.weights) for node in self.nodes for term in node.terms}


@dataclass(frozen=True)
class Rules:
    """The facts of a space.

    Attributes:
        operations: Names of all operations; options are counted in this order.
        nodes: Nodes of a cell, 1 to 10; the most, if ``fewest`` is given.
        order: Decisions of a node: ``PAIRED``, ``INPUTS_FIRST`` or ``IN_TURN``.
        output: Which states a cell concatenates: ``all`` nodes, or the ``unused`` states, inputs included.
        cells: Names of the kinds of cells; the last one is used where height and width are halved.
        separate: Whether each cell of the network is of a kind of its own instead.
        states: What the two inputs of a cell are.
        combiners: Names; the first one goes without saying in texts.
        none: Whether a relaxed edge also has ``none``, which final cells never do.
        last_relu: Whether the last cell's output goes through ReLU before it is averaged.
        names: Published architectures, as texts that ``archsearch.grammar.texts`` reads.
        elsewhere: Published architectures that the space has under another setting, with that setting.
        at: Kind of cell, source and target to the operations of that edge, where edges differ.
        published: Kind of cell and its decisions to the states that the authors' code concatenates, for published
            cells that do not keep the rule of ``output``.
        fewest: Nodes that a cell has at least, where the first decision is how many all cells have. None: ``nodes``.
    """

    operations: tuple[str, ...]
    nodes: int
    order: tuple[str, ...]
    output: Literal["all", "unused"]
    cells: tuple[str, ...] = ("normal", "reduce")
    separate: bool = False
    states: tuple[str, str] = ("c[k-2]", "c[k-1]")
    combiners: tuple[str, ...] = ("add",)
    none: bool = False
    last_relu: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    at: Mapping[tuple[int, int, int], tuple[str, ...]] = field(default_factory=dict)
    published: Mapping[tuple[int, Architecture], tuple[int, ...]] = field(default_factory=dict)
    fewest: int | None = None

    @functools.cached_property
    def paired(self) -> bool:
        """Whether the two inputs of a node are different, so that edges have names."""
        return self.order == PAIRED

    @functools.cached_property
    def decisions(self) -> tuple[str, ...]:
        """Names of a node's decisions."""
        return (*self.order, COMBINER) if self.several else self.order

    @functools.cached_property
    def per_cell(self) -> int:
        """Decisions of a cell; where cells have several sizes, of the largest."""
        return self.nodes * len(self.decisions)

    @functools.cached_property
    def sizes(self) -> range:
        """How many nodes a cell can have."""
        return range(self.nodes if self.fewest is None else self.fewest, self.nodes + 1)

    @functools.cached_property
    def several(self) -> bool:
        """Whether there are several combiners, so that one is decided."""
        return len(self.combiners) > 1

    @functools.cached_property
    def targets(self) -> range:
        """Numbers of the nodes; where cells have several sizes, of the largest."""
        return range(2, 2 + self.nodes)

    def targets_of(self, cell: Architecture) -> range:
        """Numbers of the nodes of a cell."""
        return range(2, 2 + len(cell) // len(self.decisions))

    def arities(self, nodes: int | None = None) -> list[int]:
        """Options of all decisions on cells of so many nodes; None: of the largest."""
        options = min((len(some) for some in self.at.values()), default=len(self.operations))
        cell = []
        for node in self.targets[:nodes]:
            known = {"inputs": node * (node - 1) // 2, COMBINER: len(self.combiners)}
            known |= dict.fromkeys(("input 1", "input 2"), node)
            cell += [known.get(decision, options) for decision in self.decisions]
        return cell * len(self.cells)

    def operations_of(self, kind: int, source: int, target: int) -> tuple[str, ...]:
        """Operations that an edge may carry."""
        return self.at.get((kind, source, target), self.operations)

    @functools.cached_property
    def relaxed_edges(self) -> tuple[tuple[int, int], ...]:
        """Source and target of the edges of a relaxed cell."""
        return tuple((source, target) for target in self.targets for source in range(target))

    def candidates(self, kind: int, source: int, target: int) -> tuple[str, ...]:
        """What competes on a relaxed edge: ``none`` first, where the space has it."""
        return (*[NONE] * self.none, *self.operations_of(kind, source, target))

    # -- reading and writing decisions -----------------------------------------------------------

    def joints(self, cell: Architecture) -> list[Joint]:
        """The nodes of a cell."""
        width = len(self.decisions)
        nodes = [cell[i : i + width] for i in range(0, len(cell), width)]
        combiners = [node[-1] for node in nodes] if self.several else [0] * len(nodes)
        if self.paired:
            pairs = ((PAIRS[node[0]], node) for node in nodes)
            ends = [((low, node[1]), (high, node[2])) for (low, high), node in pairs]
        elif self.order == IN_TURN:
            ends = [((node[0], node[1]), (node[2], node[3])) for node in nodes]
        else:
            ends = [((node[0], node[2]), (node[1], node[3])) for node in nodes]
        return [Joint(one, two, combiner) for (one, two), combiner in zip(ends, combiners, strict=True)]

    def write(self, first: tuple[int, int], second: tuple[int, int], combiner: int) -> Architecture:
        """The decisions of a node; where its inputs are a pair, they may come in any order."""
        if self.paired:
            low, high = (first, second) if first < second else (second, first)
            found: Architecture = (_PAIR_NUMBER[low[0], high[0]], low[1], high[1])
        elif self.order == IN_TURN:
            found = first + second
        else:
            found = (first[0], second[0], first[1], second[1])
        return (*found, combiner) if self.several else found

    def split(self, architecture: Architecture) -> Iterator[Architecture]:
        """The decisions of each cell."""
        first = 0 if self.fewest is None else 1
        per_cell = (len(architecture) - first) // len(self.cells)
        for i in range(first, len(architecture), per_cell):
            yield architecture[i : i + per_cell]

    # -- what an architecture stands for -----------------------------------------------------------

    def outputs(self, kind: int, cell: Architecture) -> tuple[int, ...]:
        """The states that a cell concatenates."""
        if self.output == "all":
            return tuple(self.targets_of(cell))
        if exception := self.published.get((kind, cell)):
            return exception
        used = {source for joint in self.joints(cell) for source, _ in joint[:2]}
        return tuple(state for state in range(2 + self.nodes) if state not in used)

    def slot(self, source: int, target: int, side: int) -> str:
        """Name of the place where the operations of an input of a node are."""
        return f"{source}-{target}" if self.paired else f"{source}-{target}-{SIDES[side]}"

    def slots(self) -> Iterator[tuple[str, int, int]]:
        """All places of a cell, with source and target."""
        for target in self.targets:
            for source in range(target):
                for side in range(1 if self.paired else 2):
                    yield self.slot(source, target, side), source, target

    def edges(self, kind: int, cell: Architecture) -> tuple[tuple[Edge, Edge], ...]:
        """The two edges of each node."""
        joints = zip(self.targets_of(cell), self.joints(cell), strict=True)
        if not self.at:
            names = self.operations
            return tuple(
                (Edge(first[0], names[first[1]]), Edge(second[0], names[second[1]])) for _, (first, second, _) in joints
            )
        found = []
        for target, joint in joints:
            one, two = (Edge(s, self.operations_of(kind, s, target)[option]) for s, option in joint[:2])
            found.append((one, two))
        return tuple(found)

    def plans(self, architecture: Architecture) -> tuple[CellPlan, ...]:
        """What a network computes for an architecture, for each kind of cell."""
        found = []
        for kind, cell in enumerate(self.split(architecture)):
            nodes = []
            joints, edges = self.joints(cell), self.edges(kind, cell)
            for target, joint, ends in zip(self.targets_of(cell), joints, edges, strict=True):
                terms = [
                    Term(self.slot(edge.source, target, side), edge.source, {edge.operation: 1.0})
                    for side, edge in enumerate(ends)
                ]
                nodes.append(NodePlan(tuple(terms), self.combiners[joint.combiner]))
            found.append(CellPlan(tuple(nodes), self.outputs(kind, cell)))
        return tuple(found)

    # -- canonical form ------------------------------------------------------------------------------

    def least(self, kind: int, cell: Architecture) -> tuple[object, ...]:
        """The least encoding, in lexicographic order, among those that number the nodes differently.

        A published cell that breaks the rule of ``output`` is followed by the states that it concatenates.
        """
        if self.at:  # what an operation's option means depends on the nodes' numbers
            return cell
        joints = dict(zip(self.targets_of(cell), self.joints(cell), strict=True))

        def written(node: int, new: Mapping[int, int]) -> Architecture | None:
            (s, first), (t, second), combiner = joints[node]
            if s not in new or t not in new:
                return None
            one, two = (new[s], first), (new[t], second)
            return self.write(one, two, combiner) if one <= two else self.write(two, one, combiner)

        form = tuple(itertools.chain.from_iterable(least_numbering(joints, {0: 0, 1: 1}, written)))
        exception = self.published.get((kind, cell))
        return form if exception is None else (*form, exception)
