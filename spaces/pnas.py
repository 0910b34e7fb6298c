"""PNAS: one cell of up to five nodes, each the sum of two operations on any earlier states.

Reference: Liu et al., "Progressive neural architecture search", ECCV 2018, section 3. One cell serves everywhere; where
height and width are halved, its operations on the cell's inputs have stride 2. All nodes are concatenated.
"""

from __future__ import annotations

from collections.abc import Mapping

from archsearch.basics.checks import whole_number
from archsearch.grammar.cells import Cells
from archsearch.grammar.rules import INPUTS_FIRST, Rules

OPERATIONS = (
    "identity",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
    "avg_pool_3x3",
    "max_pool_3x3",
    "dil_conv_3x3",
    "conv_1x7_7x1",
)
ARCHITECTURES: Mapping[str, str] = {
    "PNASNet-5": (
        "cell: sep_conv_5x5(1) max_pool_3x3(1) | sep_conv_7x7(0) max_pool_3x3(0) | sep_conv_5x5(0) sep_conv_3x3(0) | "
        "sep_conv_3x3(4) max_pool_3x3(0) | sep_conv_3x3(1) identity(0)"
    ),
}
"""Published architectures that ``parse`` knows by name, where cells can have five nodes."""


class PNAS(Cells):
    """PNAS cells: 556,627,761,561,600 encodings with five nodes, 256 with one (136 of them distinct).

    Each node has four decisions: two inputs out of all earlier states (0 is the output of the previous cell, 1 that of
    the cell before it), and an operation on each (8 options). ``canonical`` says which architectures count as equal.
    Identities of stride 2 are factorised reductions. With ``least`` below ``blocks`` the first decision is how many
    nodes the cell has: so the controller ``Progressive`` can add one after another, as the paper does.

    Args:
        blocks: Nodes of the cell, 1 to 8; the most, if ``least`` is below.
        least: Nodes that a cell has at least, 1 to ``blocks``; the search of the paper begins with 1. None: ``blocks``,
            so that all cells have as many.
        layers: Cells of the network, >= 1, of which two halve height and width. The authors' code has 3N, these two
            among them, and so 9 for N = 3, of the published size; the paper searches with N = 2 and 24 channels.
        channels: Channels of the first cells' states, >= 1.
        auxiliary: Whether networks have an auxiliary classifier, behind the second reduction; its parameters are
            counted.

    Raises:
        UsageError: If a number is out of range, or ``auxiliary`` is neither true nor false.
    """

    def __init__(
        self,
        blocks: int = 5,
        layers: int = 9,
        channels: int = 48,
        auxiliary: bool = False,
        least: int | None = None,
    ) -> None:
        self.blocks = whole_number("PNAS", "blocks", blocks, 1, 8)
        self.least = None if least is None else whole_number("PNAS", "least", least, 1, self.blocks)
        fewest = self.blocks if self.least is None else self.least
        rules = Rules(
            OPERATIONS,
            nodes=self.blocks,
            order=INPUTS_FIRST,
            output="all",
            cells=("cell",),
            states=("c[k-1]", "c[k-2]"),
            last_relu=True,
            names=ARCHITECTURES if fewest <= 5 <= self.blocks else {},
            elsewhere={} if fewest <= 5 <= self.blocks else dict.fromkeys(ARCHITECTURES, "blocks 5"),
            fewest=fewest if fewest < self.blocks else None,
        )
        super().__init__(rules, layers, channels, auxiliary)
