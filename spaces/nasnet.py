"""NASNet: a normal and a reduction cell of five nodes, each of two operations on any earlier states.

Reference: Zoph, Vasudevan, Shlens & Le, "Learning transferable architectures for scalable image recognition", CVPR
2018, section 3. The inputs of a node may be one state, and only states that no node reads are concatenated.
"""

from __future__ import annotations

from collections.abc import Mapping

from archsearch.grammar.cells import Cells
from archsearch.grammar.rules import INPUTS_FIRST, Rules
from archsearch.grammar.texts import with_published

OPERATIONS = (
    "identity",
    "conv_1x3_3x1",
    "conv_1x7_7x1",
    "conv_3x3_dilated",
    "avg_pool_3x3",
    "max_pool_3x3",
    "max_pool_5x5",
    "max_pool_7x7",
    "conv_1x1",
    "conv_3x3",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
)
STATES = ("c[k-1]", "c[k-2]")
"""What the states 0 and 1 are: the latest comes first, other than in DARTS."""

ARCHITECTURES: Mapping[str, str] = {
    "NASNet-A": (
        "normal: sep_conv_5x5(0) sep_conv_3x3(1) | sep_conv_5x5(1) sep_conv_3x3(1) | avg_pool_3x3(0) identity(1) | "
        "avg_pool_3x3(1) avg_pool_3x3(1) | sep_conv_3x3(0) identity(0) > 1 2 3 4 5 6 ; "
        "reduce: sep_conv_5x5(0) sep_conv_7x7(1) | max_pool_3x3(0) sep_conv_7x7(1) | avg_pool_3x3(0) sep_conv_5x5(1) | "
        "identity(3) avg_pool_3x3(2) | sep_conv_3x3(2) max_pool_3x3(0) > 3 4 5 6"
    ),
    "NASNet-A-DARTS": (
        "normal: sep_conv_3x3(1) sep_conv_5x5(0) | sep_conv_5x5(1) sep_conv_3x3(1) | avg_pool_3x3(0) identity(1) | "
        "avg_pool_3x3(1) avg_pool_3x3(1) | sep_conv_3x3(0) identity(0) ; "
        "reduce: sep_conv_7x7(1) sep_conv_5x5(0) | max_pool_3x3(0) sep_conv_7x7(1) | avg_pool_3x3(0) sep_conv_5x5(1) | "
        "identity(3) avg_pool_3x3(2) | sep_conv_3x3(2) max_pool_3x3(0)"
    ),
}
"""Published architectures that ``parse`` knows by name: NASNet-A as in the authors' code, and as transcribed in the
code of DARTS. The authors' code also concatenates one state of each cell that nodes do read; the transcription keeps
the rule. These two cells, decision for decision, are concatenated as published. The transcription is written with its
first nodes the other way round, which is the same function, and so is another encoding."""

RULES = with_published(
    Rules(
        OPERATIONS,
        nodes=5,
        order=INPUTS_FIRST,
        output="unused",
        states=STATES,
        combiners=("add", "concat"),
        last_relu=True,
        names=ARCHITECTURES,
    )
)


class NASNet(Cells):
    """Pairs of NASNet cells: 2.287e18 encodings of a cell, 5.2e36 of both, in 50 decisions.

    Each node has five decisions: two inputs out of all earlier states (0 is the output of the previous cell, 1 that of
    the cell before it), an operation on each (13 options), and whether both are added or concatenated. ``canonical``
    says which architectures count as equal.

    The paper does not say how concatenated operations get the channels of a state again: here a 1x1 convolution does
    it. Identities of stride 2 are factorised reductions. With ``NASNet-A``, 20 layers and 32 channels the network is
    the paper's 6 @ 768.

    Args:
        layers: Cells of the network, >= 1; 3N + 2 are N normal cells before, between and behind two reductions.
        channels: Channels of the first cells' states, >= 1.
        auxiliary: Whether networks have an auxiliary classifier, behind the second reduction; its parameters are
            counted.

    Raises:
        UsageError: If a number is below 1, or ``auxiliary`` is neither true nor false.
    """

    def __init__(self, layers: int = 20, channels: int = 32, auxiliary: bool = False) -> None:
        super().__init__(RULES, layers, channels, auxiliary)
