"""The recurrent cell of DARTS: a tree of eight nodes, whose average is the new hidden state.

Reference: Liu, Simonyan & Yang, "DARTS: differentiable architecture search", ICLR 2019, sections 2.1, 3.1 and A.1.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from archsearch.grammar.recurrent import ACTIVATIONS, TreeCell, tree_edges
from archsearch.relaxing import NONE, RelaxedChoice, shares
from archsearch.trial import Architecture

if TYPE_CHECKING:
    from archsearch.networks.network import InputShape, Network

GENOTYPES: Mapping[str, str] = {
    "DARTS_V1": "relu(0) relu(1) tanh(2) relu(3) relu(4) identity(1) relu(5) relu(1)",
    "DARTS_V2": "sigmoid(0) relu(1) relu(1) identity(1) tanh(2) sigmoid(5) tanh(3) relu(5)",
}
"""Published cells that ``parse`` knows by name: first and second order DARTS on Penn Treebank."""


NODES = 8
EDGES = tree_edges(NODES)
"""Source and target of the edges of the relaxed cell."""


class DARTSCell(TreeCell):
    """Recurrent DARTS cells: 4^8 * 8! = 2,642,411,520 encodings.

    Node 0 is fixed: tanh of input and previous hidden state. Each of the nodes 1 to 8 reads one earlier node. A node's
    linear map is its own, whichever node it reads. The output is the average of the nodes 1 to 8; that it is their
    concatenation, as in the convolutional cells, is said in the literature, but neither in the paper nor in its code.
    ``canonical`` is the tree whose nodes have no order.

    Args:
        width: Width of hidden states and embeddings, >= 1. The paper searches with 300 and trains with 850.
        tied: Whether the decoder shares the embedding's weights.

    Raises:
        UsageError: If the width is below 1, or ``tied`` is neither true nor false.
    """

    averages_all = True

    def __init__(self, width: int = 300, tied: bool = True) -> None:
        super().__init__(NODES, False, width, tied, GENOTYPES)

    def _network(self, architecture: Architecture | None, task: InputShape, width: int) -> Network:
        from archsearch.grammar.tree_network import TreeCellNetwork

        return TreeCellNetwork(self, architecture, task, width)

    # -- relaxation: every node reads all earlier ones, each with every activation or none ------

    def relaxed_choices(self) -> tuple[RelaxedChoice, ...]:
        """The 36 edges, by the node in which they end; ``none`` comes first."""
        return tuple(
            RelaxedChoice(f"cell {source}->{node}", (NONE, *ACTIVATIONS), f"->{node}") for source, node in EDGES
        )

    def selected(self, architecture: Architecture) -> tuple[Mapping[int, float], ...]:
        """Weight 1 for an edge's activation; an edge that is not there has no weights."""
        nodes = self.decode(architecture).nodes
        return tuple(
            {1 + ACTIVATIONS.index(nodes[node - 1].activation): 1.0} if nodes[node - 1].source == source else {}
            for source, node in EDGES
        )

    def relaxed_probabilities(self, strengths: Sequence[Sequence[float]], prefix: Architecture) -> Sequence[float]:
        """The paper's rule where the strengths are softmax weights, made a distribution.

        An edge is as strong as the strongest activation on it; ``none`` is passed over.
        """
        node, what = divmod(len(prefix), 2)
        first = EDGES.index((0, node + 1))
        edges = [strengths[first + source][1:] for source in range(node + 1)]
        return shares([max(edge) for edge in edges]) if what == 0 else shares(edges[prefix[-1]])
