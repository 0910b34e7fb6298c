"""R-DARTS: the cells of DARTS with two operations on each edge, in four reduced spaces.

Reference: Zela et al., "Understanding and robustifying differentiable architecture search", ICLR 2020, section 3; the
table of S1 is that of the authors' code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

from archsearch.errors import UsageError
from archsearch.grammar.pairs import PairCells
from archsearch.spaces.darts import OPERATIONS, RULES

Reduced = Literal["S1", "S2", "S3", "S4"]

S1 = (
    # the normal cell: the edges into node 2, then 3, 4 and 5
    ("skip_connect", "dil_conv_3x3"),
    ("skip_connect", "dil_conv_5x5"),
    ("skip_connect", "dil_conv_5x5"),
    ("skip_connect", "sep_conv_3x3"),
    ("skip_connect", "dil_conv_3x3"),
    ("max_pool_3x3", "skip_connect"),
    ("skip_connect", "sep_conv_3x3"),
    ("skip_connect", "sep_conv_3x3"),
    ("skip_connect", "dil_conv_3x3"),
    ("skip_connect", "sep_conv_3x3"),
    ("max_pool_3x3", "skip_connect"),
    ("skip_connect", "dil_conv_3x3"),
    ("dil_conv_3x3", "dil_conv_5x5"),
    ("dil_conv_3x3", "dil_conv_5x5"),
    # the reduction cell
    ("max_pool_3x3", "avg_pool_3x3"),
    ("max_pool_3x3", "dil_conv_3x3"),
    ("max_pool_3x3", "avg_pool_3x3"),
    ("max_pool_3x3", "avg_pool_3x3"),
    ("skip_connect", "dil_conv_5x5"),
    ("max_pool_3x3", "avg_pool_3x3"),
    ("max_pool_3x3", "sep_conv_3x3"),
    ("skip_connect", "dil_conv_3x3"),
    ("skip_connect", "dil_conv_5x5"),
    ("max_pool_3x3", "avg_pool_3x3"),
    ("max_pool_3x3", "avg_pool_3x3"),
    ("skip_connect", "dil_conv_5x5"),
    ("skip_connect", "dil_conv_5x5"),
    ("skip_connect", "dil_conv_5x5"),
)
"""The two operations of each edge in S1, which the authors chose by a search in the space of DARTS."""


class RDARTS(PairCells):
    """DARTS cells with two operations on each edge, the spaces S1 to S4 of R-DARTS: 46,080 encodings of a cell.

    S1 has two operations of its own on each edge. S2 has skip connections and separable 3x3 convolutions on all 14
    edges; S3 also ``none``, and S4 noise instead of skip connections. None of the final cells has ``none``.

    Args:
        space: Which of the four.
        table: For S1, instead of the authors' table: the two operations of each of the 28 edges, normal cell first,
            edges by target, then source.
        layers: See ``DARTS``.
        channels: See ``DARTS``.
        auxiliary: See ``DARTS``.

    Raises:
        UsageError: If the space is none of the four, ``table`` is not wanted or none, or see ``DARTS``.
    """

    def __init__(
        self,
        space: Reduced = "S2",
        table: Sequence[Sequence[str]] | None = None,
        layers: int = 20,
        channels: int = 36,
        auxiliary: bool = False,
    ) -> None:
        if space not in get_args(Reduced):
            raise UsageError(f"RDARTS: space: expected one of {', '.join(get_args(Reduced))}, got {space!r}")
        self.space = space
        self.table = table
        places = [(kind, *edge) for kind in range(len(RULES.cells)) for edge in RULES.relaxed_edges]
        if table is not None and (space != "S1" or not _are_pairs(table, len(places))):
            raise UsageError(
                f"RDARTS: table: expected for S1 two of {', '.join(OPERATIONS)} for each of {len(places)} edges, and "
                f"nothing for the other spaces, got {table!r:.200} for {space}"
            )
        if space == "S1":
            pairs = map(tuple, S1 if table is None else table)
            rules = replace(RULES, none=False, names={}, at=dict(zip(places, pairs, strict=True)))
        else:
            first = "noise" if space == "S4" else "skip_connect"
            rules = replace(RULES, operations=(first, "sep_conv_3x3"), none=space == "S3", names={})
        super().__init__(rules, layers, channels, auxiliary)


def _are_pairs(table: object, edges: int) -> bool:
    if not isinstance(table, (list, tuple)) or len(table) != edges:
        return False
    pairs = [tuple(pair) if isinstance(pair, (list, tuple)) else () for pair in table]
    return all(len(set(pair)) == len(pair) == 2 and set(pair) <= set(OPERATIONS) for pair in pairs)
