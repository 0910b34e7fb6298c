"""ENAS, micro: a normal and a reduction cell of five nodes, each the sum of two operations on any earlier states.

Reference: Pham et al., "Efficient neural architecture search via parameter sharing", ICML 2018, section 2.4. Only
states that no node reads are concatenated. Texts are the lists of tokens of the authors' scripts: the decisions.
"""

from __future__ import annotations

from collections.abc import Mapping

from archsearch.grammar.cells import Cells
from archsearch.grammar.rules import IN_TURN, Rules
from archsearch.grammar.texts import read_tokens
from archsearch.trial import Architecture

OPERATIONS = ("sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3", "identity")
ARCHITECTURES: Mapping[str, str] = {
    "ENAS-micro": "0 2 0 0 0 4 0 1 0 4 1 1 1 0 0 1 0 2 1 1 1 0 1 0 0 3 0 2 1 1 3 1 1 0 0 4 0 3 1 1",
}
"""The published architecture, which ``parse`` knows by name."""

RULES = Rules(OPERATIONS, nodes=5, order=IN_TURN, output="unused", last_relu=True)


class ENASMicro(Cells):
    """Pairs of ENAS micro cells: 5.06e12 encodings of a cell, 2.56e25 of both.

    Each node has four decisions: an input out of all earlier states (0 is the output of the cell before the previous
    one, 1 that of the previous cell) and an operation on it (5 options), twice. The normal cell comes first.
    ``canonical`` says which architectures count as equal. Identities of stride 2 are factorised reductions.

    Args:
        layers: Cells of the network, >= 1; 3N + 2 are N normal cells before, between and behind two reductions. The
            authors train the last network with N = 5 and search with N = 2.
        channels: Channels of the first cells' states, >= 1.
        auxiliary: Whether networks have an auxiliary classifier, behind the second reduction; its parameters are
            counted.

    Raises:
        UsageError: If a number is below 1, or ``auxiliary`` is neither true nor false.
    """

    def __init__(self, layers: int = 17, channels: int = 36, auxiliary: bool = False) -> None:
        super().__init__(RULES, layers, channels, auxiliary)

    def format(self, architecture: Architecture) -> str:
        """The 40 tokens, normal cell first: input, operation, input, operation of each node."""
        return " ".join(map(str, architecture))

    def parse(self, text: str) -> Architecture:
        """Reads tokens, or the name of a published architecture.

        Raises:
            InvalidArchitecture: If ``text`` is neither.
        """
        return read_tokens(self, ARCHITECTURES.get(text.strip(), text))
