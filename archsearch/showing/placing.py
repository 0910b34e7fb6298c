"""Where the boxes and lines of a graph are drawn."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.path import Path as Line
from matplotlib.textpath import TextPath

from archsearch.basics.words import plain_lines
from archsearch.showing.style import FONT_POINTS, INK

PADDING, GAP, ROW_GAP, MARGIN, HEAD = 0.1, 0.44, 0.16, 0.2, 0.12
CHAIN_WIDTH = 9.0
RESTARTS, SWEEPS = 8, 20
SHORT_PULL, LONG_PULL, LEVEL_PULLS = 20.0, 0.2, (1.0, 6.0, 30.0)


@dataclasses.dataclass(eq=False)
class Item:
    """A node, an operation on an edge, or (without text) a place where an edge passes a column.

    Attributes:
        column: Its column, from 0.
        text: What stands in its box; empty if it has none.
        colour: Colour of the operation; INK for what is none.
        is_node: Whether it is a node of the graph.
        width: Width of its box.
        height: Height of its box.
        pull: How strongly it draws a neighbouring node to its own height, or is drawn.
        before: Its neighbours in the column to the left.
        after: Its neighbours in the column to the right.
        x: Where its centre is.
        y: Where its centre is.
    """

    column: int
    text: str
    colour: str
    is_node: bool = False
    width: float = 0.0
    height: float = 0.0
    pull: float = SHORT_PULL
    before: list[Item] = dataclasses.field(default_factory=list)
    after: list[Item] = dataclasses.field(default_factory=list)
    x: float = 0.0
    y: float = 0.0

    def __post_init__(self) -> None:
        if self.text:
            self.width = max(text_width(self.text, FONT_POINTS), 0.14) + 2 * PADDING
            self.height = FONT_POINTS / 72 + 1.6 * PADDING


Route = tuple[str, Line]
"""An edge to be drawn: colour and line."""


# -- where things stand ------------------------------------------------------------------------


def place_chain(chain: list[Item]) -> list[Route]:
    """Lays a chain in rows, to the right and back to the left, each turn straight down; returns its edges."""
    width = max(item.width for item in chain)
    step = width + GAP
    drop = max(item.height for item in chain) + GAP
    rows = math.ceil(len(chain) / max(int(CHAIN_WIDTH / step), 2))
    per_row = math.ceil(len(chain) / rows)
    for i, item in enumerate(chain):
        row, place = divmod(i, per_row)
        item.width = width
        item.x = step * (place if row % 2 == 0 else per_row - 1 - place)
        item.y = -drop * row
    routes = []
    for a, b in itertools.pairwise(chain):
        right, up = np.sign(round(b.x - a.x, 6)), np.sign(round(b.y - a.y, 6))
        start = (a.x + right * a.width / 2, a.y + up * a.height / 2)
        end = (b.x - right * b.width / 2, b.y - up * b.height / 2)
        routes.append((INK, Line([start, end])))
    return routes


def place_columns(items: list[Item], edges: list[list[Item]]) -> list[Route]:
    """Lays items in columns, with few crossings and straight long edges; returns the edges."""
    columns: list[list[Item]] = [[] for _ in range(1 + max(item.column for item in items))]
    for item in items:
        columns[item.column].append(item)
    spans, x = [], 0.0
    for column in columns:
        width = max(item.width for item in column)
        spans.append((x, x + width))
        for item in column:
            item.x = x + width / 2
        x += width + GAP
    rng = np.random.default_rng(0)
    tidiest, least = {}, (math.inf, math.inf)
    for _ in range(RESTARTS):
        _reduce_crossings(columns)
        _straighten(columns)
        if (untidiness := _untidiness(columns)) < least:
            tidiest, least = {item: item.y for item in items}, untidiness
        columns = [[column[i] for i in rng.permutation(len(column))] for column in columns]
    for item in items:
        item.y = tidiest[item]
    return [(edge[len(edge) // 2].colour if len(edge) > 2 else INK, _line(edge, spans)) for edge in edges]


def _reduce_crossings(columns: list[list[Item]]) -> None:
    """Sorts each column by the mean place of its items' neighbours, sweeping to the right and back."""
    place = {item: i - (len(column) - 1) / 2 for column in columns for i, item in enumerate(column)}
    for sweep in range(SWEEPS):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            for item in column:
                neighbours = item.before if sweep % 2 == 0 else item.after
                if neighbours:
                    place[item] = sum(place[other] for other in neighbours) / len(neighbours)
            column.sort(key=place.__getitem__)
            place.update((item, i - (len(column) - 1) / 2) for i, item in enumerate(column))


def _straighten(columns: list[list[Item]]) -> None:
    """Sets ``y``: keeps the order and the distances in each column, and makes edges as level as can be.

    Minimises the sum of weight x (difference of y)^2 over all pieces of edges, one column after another; in a column
    this is an isotonic regression.
    """
    for item in itertools.chain(*columns):
        item.y = 0.0
    # A stiff edge moves slowly: edges find their height while they are soft, and then become level.
    for level in LEVEL_PULLS:
        for column in [*columns, *reversed(columns)] * SWEEPS:
            wishes, weights, offsets, offset = [], [], [], 0.0
            for item, last in zip(column, [None, *column], strict=False):
                offset += (item.height + last.height) / 2 + ROW_GAP if last else 0.0
                pulls = [(_weight(item, other, level), other.y) for other in item.before + item.after] or [
                    (1.0, item.y)
                ]
                weights.append(sum(weight for weight, _ in pulls))
                wishes.append(sum(weight * y for weight, y in pulls) / weights[-1] - offset)
                offsets.append(offset)
            for item, y, offset in zip(column, isotonic(wishes, weights), offsets, strict=True):
                item.y = y + offset


def _weight(a: Item, b: Item, level: float) -> float:
    return min(a.pull, b.pull) if a.is_node or b.is_node else level


def isotonic(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The rising sequence closest to ``values`` in weighted least squares (pool adjacent violators)."""
    pools: list[tuple[float, float, int]] = []  # mean, weight, length
    for mean, weight in zip(values, weights, strict=True):
        length = 1
        while pools and pools[-1][0] >= mean:
            other, other_weight, other_length = pools.pop()
            mean = (mean * weight + other * other_weight) / (weight + other_weight)
            weight, length = weight + other_weight, length + other_length
        pools.append((mean, weight, length))
    return [mean for mean, _, length in pools for _ in range(length)]


def _untidiness(columns: list[list[Item]]) -> tuple[float, float]:
    """Crossings, and how far edges are from level."""
    crossings, slope = 0, 0.0
    for column in columns:
        pieces = np.array([(a.y, b.y) for a in column for b in a.after]).reshape(-1, 2)
        left, right = (np.sign(np.subtract.outer(ys, ys).round(6)) for ys in pieces.T)
        crossings += int((left * right < 0).sum()) // 2
        slope += sum(_weight(a, b, 1.0) * (a.y - b.y) ** 2 for a in column for b in a.after)
    return crossings, slope


def _line(edge: list[Item], spans: list[tuple[float, float]]) -> Line:
    """The line of an edge: level across each column, bending between them."""
    first, last = edge[0], edge[-1]
    points = [(first.x + first.width / 2, first.y), (spans[first.column][1], first.y)]
    codes = [Line.MOVETO, Line.LINETO]
    for item in edge[1:]:
        (x, y), (begin, end) = points[-1], spans[item.column]
        if item is last:  # the arrow's head needs a level piece
            begin, end = begin - HEAD, last.x - last.width / 2
        points += [((x + begin) / 2, y), ((x + begin) / 2, item.y), (begin, item.y), (end, item.y)]
        codes += [Line.CURVE4] * 3
        codes.append(Line.LINETO)
    return Line(points, codes)


# -- how things look ---------------------------------------------------------------------------


def text_width(text: str, points: float) -> float:
    """About how wide a text is in print, in inches."""
    text = plain_lines(text).replace("$", r"\$")  # no formula
    return float(TextPath((0, 0), text, size=points).get_extents().width) / 72
