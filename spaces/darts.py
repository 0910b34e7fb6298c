"""DARTS: a normal and a reduction cell of four nodes, each fed by two operations on different earlier nodes.

Reference: Liu, Simonyan & Yang, "DARTS: differentiable architecture search", ICLR 2019, sections 2.1 and 3.1. This is
the space of final cells, in which ``none`` never occurs (section 2.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from archsearch.grammar import rules
from archsearch.grammar.pairs import PairCells
from archsearch.grammar.rules import Edge, Rules
from archsearch.trial import Architecture

OPERATIONS = (
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
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

RULES = Rules(OPERATIONS, nodes=4, order=rules.PAIRED, output="all", none=True, names=GENOTYPES)
CELLS = RULES.cells
NODES = tuple(RULES.targets)
"""The intermediate nodes; 0 is the output of the cell before the previous one, 1 that of the previous one."""

PAIRS = rules.PAIRS[:10]
"""Pairs of inputs, such that node j chooses among the first j(j-1)/2."""

RELAXED_EDGES = RULES.relaxed_edges
"""Source and target of the 14 edges of a relaxed cell."""

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


class DARTS(PairCells):
    """Pairs of DARTS cells: 1,037,664,180 encodings of a cell, 1.0767e18 of both.

    Each cell has the nodes 2 to 5, and each node three decisions: its pair of inputs (``PAIRS``: 1, 3, 6 and 10
    options), the operation on the lower input, the operation on the higher one (7 options each). The normal cell comes
    first. The 120 neighbours differ in one operation (96) or in one input (24). ``canonical`` is the rule by which
    architectures count as equal.

    Args:
        layers: Cells of the network, >= 1. Two of them are reductions (see ``archsearch.grammar.network``). The paper
            trains final networks with 20 and searches with 8.
        channels: Channels of the first cells' nodes, >= 1. The paper trains with 36 and searches with 16.
        auxiliary: Whether networks have the paper's auxiliary classifier, which helps in training; it is computed by
            ``with_auxiliary`` alone, but its parameters are counted.

    Raises:
        UsageError: If a number is below 1, or ``auxiliary`` is neither true nor false.
    """

    def __init__(self, layers: int = 20, channels: int = 36, auxiliary: bool = False) -> None:
        super().__init__(RULES, layers, channels, auxiliary)

    def decode(self, architecture: Architecture) -> Genotype:  # type: ignore[override]
        """The two cells as lists of edges with operation names."""
        return genotype(architecture)


def genotype(architecture: Architecture) -> Genotype:
    """The two cells of an architecture, as edges with operation names."""
    normal, reduce = (RULES.edges(kind, cell) for kind, cell in enumerate(RULES.split(architecture)))
    return Genotype(normal, reduce)
