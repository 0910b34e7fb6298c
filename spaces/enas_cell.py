"""The recurrent cell of ENAS: a tree of nodes, of which those that no other reads are averaged.

Reference: Pham, Guan, Zoph, Le & Dean, "Efficient neural architecture search via parameter sharing", ICML 2018,
section 2.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, get_args

from archsearch.basics.checks import at_least_one
from archsearch.errors import UsageError
from archsearch.grammar.recurrent import TreeCell
from archsearch.trial import Architecture

if TYPE_CHECKING:
    from archsearch.networks.network import InputShape, Network

First = Literal["chosen", "fixed"]
ARCHITECTURES: Mapping[str, str] = {
    "ENAS-RNN": ("tanh tanh(0) relu(1) relu(2) tanh(2) tanh(2) relu(5) tanh(1) relu(6) relu(8) relu(8) relu(8)"),
}
"""The published cell, which ``parse`` knows by name if cells have 12 nodes and the first one's activation is chosen."""


class ENASCell(TreeCell):
    """Recurrent ENAS cells: with 12 nodes 4^12 * 11! = 6.7e14 encodings.

    Node 1 of the paper, here node 0, reads input and previous hidden state; each later one reads one before it, through
    a linear map of that pair of nodes. The output is the average of the nodes that no other node reads.

    How many cells there are depends on what is counted. Each of 12 nodes chooses an activation, each but the first an
    input: 4^12 * 11! (``first="chosen"``). If the first node is fixed, the eleven others choose both: 4^11 * 11!
    (``first="fixed"``). The paper's 4^N * N! at N = 12, about 8.0e15, has twelve nodes that choose both, behind one
    that is fixed (``nodes=13, first="fixed"``). ``canonical`` is the tree whose nodes have no order.

    Args:
        nodes: Number of nodes, the first included, >= 2.
        first: Whether the first node's activation is chosen, or fixed (tanh).
        width: Width of hidden states and embeddings, >= 1. The paper trains with 1000.
        tied: Whether the decoder shares the embedding's weights.

    Raises:
        UsageError: If a setting is out of range.
    """

    averages_all = False

    def __init__(self, nodes: int = 12, first: First = "chosen", width: int = 1000, tied: bool = True) -> None:
        if first not in get_args(First):
            raise UsageError(f"ENASCell: first: expected one of {', '.join(get_args(First))}, got {first!r}")
        self.nodes = at_least_one("ENASCell", "nodes", nodes)
        if self.nodes < 2:
            raise UsageError(f"ENASCell: nodes: expected at least 2, got {nodes}")
        self.first = first
        known = ARCHITECTURES if (self.nodes, first) == (12, "chosen") else {}
        super().__init__(self.nodes - 1, first == "chosen", width, tied, known)

    def _network(self, architecture: Architecture | None, task: InputShape, width: int) -> Network:
        from archsearch.grammar.tree_network import TreeCellNetwork

        return TreeCellNetwork(self, architecture, task, width)
