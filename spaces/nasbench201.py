"""NAS-Bench-201: a cell of 4 nodes whose 6 edges each carry one of 5 operations.

Reference: Dong & Yang, "NAS-Bench-201: extending the scope of reproducible neural architecture search", ICLR 2020.
A node is the sum of its edges' outputs; node 0 is the cell's input, node 3 its output.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt

from archsearch.basics.checks import at_least_one
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.files.embedded import embedded_columns
from archsearch.relaxing import RelaxedDecisions
from archsearch.space import Space
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import networkx

    from archsearch.basics.operation_graphs import OperationGraphs
    from archsearch.networks.network import InputShape, Network

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
NODE_NAMES = ("input", "node 1", "node 2", "output")
PLACES = ((-1, 0), *EDGES, (3, 4))
"""Begin and end of the operations of a cell, as nodes, input and output included."""
FOLLOWS = np.array([[end == source for source, _ in PLACES] for _, end in PLACES])
"""Whether an operation is fed by another one, shape (places, places): from the first axis to the second."""

Rule = Literal["skip", "published", "drop_zeros", "flatten"]

_ZERO = "#"
_INPUT = "0"


class NASBench201(RelaxedDecisions, Space):
    """NAS-Bench-201 cells: 6 edges, 5 operations, 15,625 encodings.

    Decisions are the edges 0→1, 0→2, 1→2, 0→3, 1→3, 2→3; options are none, skip_connect, nor_conv_1x1, nor_conv_3x3,
    avg_pool_3x3. ``canonical`` writes the cell's output as an expression of its input, under one of four rules:

    ``skip`` (12,751 distinct): a skip connection passes its input through.
    ``published`` (6,466, the number in the literature): also, ``none`` and any operation fed by zero give zero.
    ``drop_zeros`` (5,390): also, zero terms are left out of sums.
    ``flatten`` (4,930): also, a sum that comes through skip connections is merged into the sum it enters.

    Cells that are equal under one rule are so under all later ones, with one exception: as in the authors' code, forms
    are compared as texts, and an inner sum keeps its order, so that ``published`` splits 56 forms of ``skip`` in two.

    All rules treat two convolutions of one kind with equal inputs as equal, though each has weights of its own: cells
    of one canonical form compute the same family of expressions, and their trainings differ by more than the seed.

    Args:
        rule: The rule of ``canonical``, one of the four above.
        channels: Channels of the first of the network's three stages, >= 1. The paper uses 16.
        cells: Cells in each of the three stages, >= 1. The paper uses 5.

    Raises:
        UsageError: If there is no such rule, or a number is below 1.
    """

    def __init__(self, rule: Rule = "flatten", channels: int = 16, cells: int = 5) -> None:
        super().__init__(arities=[len(OPERATIONS)] * len(EDGES))
        self.rule: Rule = _known(rule)
        self.channels = at_least_one("NASBench201", "channels", channels)
        self.cells = at_least_one("NASBench201", "cells", cells)

    def label(self, prefix: Architecture) -> str:
        """The edge, such as ``0->2``."""
        source, target = EDGES[len(prefix)]
        return f"{source}->{target}"

    def candidate_names(self, decision: int) -> tuple[str, ...]:
        """The operations."""
        return OPERATIONS

    def choice_group(self, decision: int) -> str:
        """The node in which the edge ends."""
        return f"->{EDGES[decision][1]}"

    def format(self, architecture: Architecture) -> str:
        """The official string, ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``."""
        a, b, c, d, e, f = (OPERATIONS[option] for option in architecture)
        return f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"

    def parse(self, text: str) -> Architecture:
        """Reads an official string, or an official index such as ``6111``.

        Raises:
            InvalidArchitecture: If ``text`` is neither.
        """
        text = text.strip()
        if text.isdecimal() and len(text) < 10:
            return self.from_index(int(text))
        known = _by_string().get(text)
        if known is None:
            raise InvalidArchitecture(
                f"{text!r} is no NAS-Bench-201 cell: expected an index from 0 to 15624 or a string such as "
                f"{self.format((3, 3, 3, 3, 3, 3))} with the operations {', '.join(OPERATIONS)}"
            )
        return known

    def decode(self, architecture: Architecture) -> str:
        """The official string."""
        return self.format(architecture)

    def index(self, architecture: Architecture) -> int:
        """The official index, 0 to 15,624."""
        return _official_order()[1][self.validate(architecture)]

    def from_index(self, index: int) -> Architecture:
        """The architecture with that official index.

        Raises:
            InvalidArchitecture: If the index is out of range.
        """
        order = _official_order()[0]
        if not 0 <= index < len(order):
            raise InvalidArchitecture(f"index {index}: NAS-Bench-201 has the indices 0 to {len(order) - 1}")
        return order[index]

    def network(
        self, architecture: Architecture, task: InputShape, *, channels: int | None = None, cells: int | None = None
    ) -> Network:
        """The stand-alone network of a cell.

        Args:
            architecture: The cell.
            task: What has an input shape and a number of classes.
            channels: Instead of the space's own.
            cells: Instead of the space's own.
        """
        return self._network(self.validate(architecture), task, channels, cells)

    def super_network(
        self, task: InputShape, *, channels: int | None = None, cells: int | None = None, part: int = 1
    ) -> Network:
        """The network with all operations on every edge, which see one of ``part`` channels; see ``network``."""
        return self._network(None, task, channels, cells, part)

    def _network(
        self,
        architecture: Architecture | None,
        task: InputShape,
        channels: int | None,
        cells: int | None,
        part: int = 1,
    ) -> Network:
        from archsearch.spaces.networks.nasbench201 import NASBench201Network

        channels = at_least_one("NASBench201", "channels", self.channels if channels is None else channels)
        cells = at_least_one("NASBench201", "cells", self.cells if cells is None else cells)
        return NASBench201Network(architecture, task, channels, cells, part)

    def canonical(self, architecture: Architecture, rule: Rule | None = None) -> str:
        """The cell's output as an expression of its input; ``rule`` overrides the space's own.

        Raises:
            UsageError: If there is no such rule.
        """
        return _expression(architecture, rule or self.rule)

    def is_constant_zero(self, architecture: Architecture) -> bool:
        """Whether no path of operations leads from the input to the output (341 cells)."""
        return _expression(architecture, "drop_zeros") == _ZERO

    def graph(self, architecture: Architecture) -> networkx.MultiDiGraph:
        """The cell: 4 nodes, one labelled edge per operation; ``none`` edges are left out."""
        import networkx

        graph = networkx.MultiDiGraph()
        for node, name in enumerate(NODE_NAMES):
            graph.add_node(node, label=name)
        for (source, target), option in zip(EDGES, architecture, strict=True):
            if option:
                graph.add_edge(source, target, label=OPERATIONS[option])
        return graph

    def operation_graphs(self, architectures: Sequence[Architecture] | npt.NDArray[np.int64]) -> OperationGraphs:
        """An operation per edge that is not ``none``, fed by the operations that end where it begins."""
        from archsearch.basics.operation_graphs import OperationGraphs

        options = np.asarray(architectures, np.int64).reshape(-1, len(EDGES))
        labels = np.full((len(options), len(PLACES)), -1)
        labels[:, 1:-1] = options - 1
        there = labels >= 0
        there[:, 0] = there[:, -1] = True
        adjacency = FOLLOWS & there[:, :, None] & there[:, None, :]
        return OperationGraphs(len(OPERATIONS) - 1, labels, adjacency, longest=3)


def _known(rule: Rule) -> Rule:
    if rule not in get_args(Rule):
        raise UsageError(f"NASBench201: rule: expected one of {', '.join(get_args(Rule))}, got {rule!r}")
    return rule


@functools.lru_cache(maxsize=4 * 5**6)
def _expression(architecture: Architecture, rule: Rule) -> str:
    _known(rule)
    # A node is the sorted tuple of its terms, each a string; the input is the single term "0".
    nodes: list[tuple[str, ...]] = [(_INPUT,)]
    for target in range(1, 4):
        terms: list[str] = []
        for (source, end), option in zip(EDGES, architecture, strict=True):
            if end == target:
                terms += _terms(nodes[source], option, rule)
        if rule in ("drop_zeros", "flatten"):
            terms = [term for term in terms if term != _ZERO] or [_ZERO]
        nodes.append(tuple(sorted(terms)))
    return "+".join(nodes[3])


def _terms(source: tuple[str, ...], option: int, rule: Rule) -> list[str]:
    """What an edge adds to the sum at its end."""
    operation = OPERATIONS[option]
    zero = source == (_ZERO,) or operation == "none"
    if rule != "skip" and zero:
        return [_ZERO]
    if operation == "skip_connect":
        return list(source) if rule == "flatten" else ["+".join(source)]
    return [f"({'+'.join(source)})@{operation}"]


@functools.cache
def _official_order() -> tuple[list[Architecture], dict[Architecture, int]]:
    """Architectures by official index and back; the order is arbitrary, so it is read from the table."""
    order = [_by_string()[name] for name in embedded_columns("nasbench201", ("arch",))["arch"]]
    return order, {architecture: index for index, architecture in enumerate(order)}


@functools.cache
def _by_string() -> dict[str, Architecture]:
    space = NASBench201()
    return {space.format(architecture): architecture for architecture in space.enumerate()}
