"""Pictures: an architecture as a graph (PNG, SVG or plain text) and the learning curve of a search.

Graphs are drawn from left to right in columns (Sugiyama, Tagawa & Toda, "Methods for visual understanding of
hierarchical system structures", IEEE Trans. SMC 1981): nodes by their longest path from an input, and between them
the operations that their edges carry. An edge that passes a column has a place of its own in it, so it never runs
through a box. Lengths are in inches, y points upwards.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import textwrap
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as Line
from matplotlib.text import Text
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator

from archsearch.errors import UsageError
from archsearch.words import plain, plain_lines

if TYPE_CHECKING:
    import networkx
    from matplotlib.axes import Axes

__all__ = ["draw_columns", "draw_front", "draw_graph", "draw_learning_curve", "text_graph"]

# Okabe and Ito's palette, which colour-blind readers can tell apart.
BLUE, SKY, GREEN, ORANGE = "#0072B2", "#56B4E9", "#009E73", "#E69F00"
RED, PURPLE, GREY, INK = "#D55E00", "#CC79A7", "#8C8C8C", "#222222"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED)
FAMILIES = (
    (("none", "zero"), GREY),
    (("skip", "identity"), GREEN),
    (("max",), RED),
    (("pool",), ORANGE),
    (("sep", "dil", "depth"), PURPLE),
    (("1x1",), SKY),
    (("conv",), BLUE),
)
"""Colour of operations whose name contains one of the words; the first match counts."""

FONT_POINTS, TITLE_POINTS, TITLE_LETTERS = 10, 12, 110
PADDING, GAP, ROW_GAP, MARGIN, HEAD = 0.1, 0.44, 0.16, 0.2, 0.12
CHAIN_WIDTH = 9.0
RESTARTS, SWEEPS = 8, 20
SHORT_PULL, LONG_PULL, LEVEL_PULLS = 20.0, 0.2, (1.0, 6.0, 30.0)
DPI, MAX_PIXELS = 160, 16_000
LABEL_LETTERS = 60
MAX_POINTS = 20_000


@dataclasses.dataclass(eq=False)
class _Item:
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
    before: list[_Item] = dataclasses.field(default_factory=list)
    after: list[_Item] = dataclasses.field(default_factory=list)
    x: float = 0.0
    y: float = 0.0

    def __post_init__(self) -> None:
        if self.text:
            self.width = max(_text_width(self.text, FONT_POINTS), 0.14) + 2 * PADDING
            self.height = FONT_POINTS / 72 + 1.6 * PADDING


_Route = tuple[str, Line]
"""An edge to be drawn: colour and line."""


# -- an architecture as a graph ----------------------------------------------------------------


def draw_graph(graph: networkx.MultiDiGraph, path: str | Path, title: str = "") -> None:
    """Draws an operator-labelled graph from left to right; a chain goes on in the next row, backwards.

    Args:
        graph: Without cycles. Nodes carry ``label``; edges may carry ``label`` and may be parallel.
        path: Where to write; its suffix (.png, .svg, .pdf ...) chooses the format.
        title: Stands above the picture.

    Raises:
        UsageError: If the graph is empty or has a cycle, or no picture can be written with that suffix.
    """
    items, edges = _items(graph)
    boxes = [item for item in items if item.text]
    if all(len(item.before) <= 1 and len(item.after) <= 1 for item in items) and len(edges) == len(graph) - 1:
        routes = _place_chain(sorted(boxes, key=lambda item: item.column))
    else:
        routes = _place_columns(items, edges)
    figure, axes = _canvas(boxes, routes, title)
    for colour, line in routes:
        style = (0, (4, 2)) if colour == GREY else "solid"
        arrow = FancyArrowPatch(
            path=line, arrowstyle="-|>,head_length=4,head_width=2", color=colour, linewidth=1.6, linestyle=style
        )
        axes.add_patch(arrow)
    for box in boxes:
        _draw_box(axes, box)
    save_figure(figure, path)


def _items(graph: networkx.MultiDiGraph) -> tuple[list[_Item], list[list[_Item]]]:
    """The items of a graph, and each of its edges as the items from source to target."""
    import networkx

    if not graph or not networkx.is_directed_acyclic_graph(graph):
        raise UsageError(f"expected a graph with nodes and without cycles, got {graph}")
    labelled = any(label for _, _, label in graph.edges(data="label"))
    parallel = len({(source, target) for source, target, _ in graph.edges}) < graph.number_of_edges()
    stride = 2 if labelled or parallel else 1  # edges need places between the columns of their nodes
    nodes: dict[Any, _Item] = {}
    for level, members in enumerate(networkx.topological_generations(graph)):
        for node in members:
            text = str(graph.nodes[node].get("label", node))
            nodes[node] = _Item(level * stride, text, INK if labelled else _colour(text), is_node=True)
    items, edges = list(nodes.values()), []
    for source, target, label in graph.edges(data="label"):
        start, end = nodes[source], nodes[target]
        text = str(label) if label else ""
        middle = (start.column + end.column) // 2
        columns = range(start.column + 1, end.column)
        pull = SHORT_PULL if len(columns) == 1 else LONG_PULL
        bends = [_Item(column, text if column == middle else "", _colour(text), pull=pull) for column in columns]
        edges.append([start, *bends, end])
        items += bends
        for left, right in itertools.pairwise(edges[-1]):
            left.after.append(right)
            right.before.append(left)
    return items, edges


def _colour(label: str) -> str:
    """The colour of an operation, the same in every picture; for ``name=option`` that of the option."""
    name = label.rpartition("=")[2].strip().lower()
    if name in ("", "input", "output", "in", "out"):
        return INK
    for words, colour in FAMILIES:
        if any(word in name for word in words):
            return colour
    return PALETTE[(int(name) if name.isdecimal() else zlib.crc32(name.encode())) % len(PALETTE)]


# -- where things stand ------------------------------------------------------------------------


def _place_chain(chain: list[_Item]) -> list[_Route]:
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


def _place_columns(items: list[_Item], edges: list[list[_Item]]) -> list[_Route]:
    """Lays items in columns, with few crossings and straight long edges; returns the edges."""
    columns: list[list[_Item]] = [[] for _ in range(1 + max(item.column for item in items))]
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


def _reduce_crossings(columns: list[list[_Item]]) -> None:
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


def _straighten(columns: list[list[_Item]]) -> None:
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


def _weight(a: _Item, b: _Item, level: float) -> float:
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


def _untidiness(columns: list[list[_Item]]) -> tuple[float, float]:
    """Crossings, and how far edges are from level."""
    crossings, slope = 0, 0.0
    for column in columns:
        pieces = np.array([(a.y, b.y) for a in column for b in a.after]).reshape(-1, 2)
        left, right = (np.sign(np.subtract.outer(ys, ys).round(6)) for ys in pieces.T)
        crossings += int((left * right < 0).sum()) // 2
        slope += sum(_weight(a, b, 1.0) * (a.y - b.y) ** 2 for a in column for b in a.after)
    return crossings, slope


def _line(edge: list[_Item], spans: list[tuple[float, float]]) -> Line:
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


def _text_width(text: str, points: float) -> float:
    """About how wide a text is in print, in inches."""
    text = plain_lines(text).replace("$", r"\$")  # no formula
    return float(TextPath((0, 0), text, size=points).get_extents().width) / 72


def _tint(colour: str) -> tuple[float, ...]:
    """A light tint, on which black text reads well in colour and in grey."""
    return (1.0, 1.0, 1.0) if colour == INK else tuple(1 - 0.3 * (1 - part) for part in to_rgb(colour))


def _canvas(boxes: list[_Item], routes: list[_Route], title: str) -> tuple[Figure, Axes]:
    """A figure that just holds the picture, and axes whose unit is an inch."""
    corners = [(box.x + side * box.width / 2, box.y + side * box.height / 2) for box in boxes for side in (-1, 1)]
    points = np.concatenate([corners, *(line.vertices for _, line in routes)])
    left, bottom = points.min(axis=0) - MARGIN
    right, top = points.max(axis=0) + MARGIN
    lines = textwrap.wrap(title, TITLE_LETTERS)
    if lines:
        top += (0.5 + 1.5 * len(lines)) * TITLE_POINTS / 72
        widest = max(_text_width(line, TITLE_POINTS) for line in lines)
        missing = max(0.0, widest + 2 * MARGIN - (right - left))
        left, right = left - missing / 2, right + missing / 2
    figure = Figure(figsize=(right - left, top - bottom), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(left, right), ylim=(bottom, top))
    axes.set_axis_off()
    if lines:
        centre, text = (left + right) / 2, "\n".join(lines)
        axes.text(centre, top - MARGIN, text, size=TITLE_POINTS, color=INK, ha="center", va="top", parse_math=False)
    return figure, axes


def _draw_box(axes: Axes, box: _Item) -> None:
    corner = (box.x - box.width / 2, box.y - box.height / 2)
    rounding = 0.05 if box.is_node else box.height / 2
    axes.add_patch(
        FancyBboxPatch(
            corner,
            box.width,
            box.height,
            boxstyle=f"round,pad=0,rounding_size={rounding}",
            facecolor=_tint(box.colour),
            edgecolor=box.colour,
            linewidth=1.4,
            zorder=2,
        )
    )
    axes.text(
        box.x, box.y, box.text, fontsize=FONT_POINTS, color=INK, ha="center", va="center_baseline", parse_math=False
    )


def legend_label(name: str) -> str:
    """A name as a picture shows it: not too long, no formula; Matplotlib leaves out what begins with an underscore."""
    name = name if len(name) <= LABEL_LETTERS else f"{name[: LABEL_LETTERS - 3]}..."
    return f" {name}" if name.startswith("_") else name


def write_literally(figure: Figure) -> None:
    """Takes all texts of a figure as they are: dollar signs begin no formula, and what cannot be seen is escaped.

    Marks of axes are Matplotlib's own, which writes powers of ten as formulas.
    """
    marks = {id(mark) for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for mark in axis.findobj(Text)}
    names = {id(axis.label) for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)}
    for text in figure.findobj(Text):
        if id(text) in names or id(text) not in marks:
            text.set_parse_math(False)
            text.set_text(plain_lines(text.get_text()))


def save_figure(figure: Figure, path: str | Path) -> None:
    """Writes a picture; its suffix (.png, .svg, .pdf ...) chooses the format.

    Raises:
        UsageError: If there is no such format.
    """
    suffix = Path(path).suffix.lstrip(".").lower()
    if suffix not in (known := figure.canvas.get_supported_filetypes()):
        raise UsageError(f"{path}: expected a picture's suffix, one of {', '.join(sorted(known))}; got {suffix!r}")
    write_literally(figure)
    figure.savefig(path, dpi=min(DPI, MAX_PIXELS / max(figure.get_size_inches())))


# -- an architecture as text -------------------------------------------------------------------


def text_graph(graph: networkx.MultiDiGraph) -> str:
    """A graph as plain text: a line per node, with the operations and nodes that it gets its input from.

    Args:
        graph: Without cycles. Nodes carry ``label``, which follows a number where labels repeat; edges may carry
            ``label``.
    """
    import networkx

    order = list(networkx.lexicographical_topological_sort(graph, key=list(graph).index))
    names = {node: plain(str(graph.nodes[node].get("label", node))) for node in order}
    if len(set(names.values())) < len(names):
        names = {node: f"{i}:{names[node]}" for i, node in enumerate(order)}
    width = max(map(len, names.values()), default=0)
    lines = []
    for node in order:
        edges = sorted(graph.in_edges(node, data="label"), key=lambda edge: order.index(edge[0]))
        inputs = [f"{plain(str(label))}({names[source]})" if label else names[source] for source, _, label in edges]
        lines.append(f"{names[node]:<{width}}  <- {', '.join(inputs)}" if inputs else names[node])
    return "\n".join(lines)


# -- the course of a search --------------------------------------------------------------------


def draw_learning_curve(
    path: str | Path,
    scores: Sequence[float] | npt.NDArray[np.float64],
    best: Sequence[float] | npt.NDArray[np.float64],
    xlabel: str = "",
    title: str = "",
    seconds: Sequence[float] | npt.NDArray[np.float64] | None = None,
    ylabel: str = "score",
) -> None:
    """Draws the score of each trial and the best so far, over trials or over billed cost.

    The axis leaves out low scores that would flatten the picture, and says how many. At most ``MAX_POINTS`` scores
    are drawn, evenly chosen; the line of the best is always whole.

    Args:
        path: Where to write; its suffix (.png, .svg, .pdf ...) chooses the format.
        scores: One per trial, in order, shape (trials,); NaN for a failed one.
        best: Best score up to and including each trial, shape (trials,); NaN before the first score.
        xlabel: What the x-axis says; by default ``trials`` or ``billed cost`` with its unit.
        title: Stands above the picture.
        seconds: Billed seconds up to and including each trial, rising, shape (trials,). None: over trials.
        ylabel: What the y-axis says.

    Raises:
        UsageError: If the lengths differ, or no picture can be written with that suffix.
    """
    ys, tops = np.asarray(scores, dtype=np.float64), np.asarray(best, dtype=np.float64)
    xs, label = np.arange(1.0, len(ys) + 1), "trials"
    if seconds is not None:
        unit, length = time_unit(max(seconds, default=0.0))
        xs, label = np.asarray(seconds, dtype=np.float64) / length, f"billed cost ({unit})"
    if not len(xs) == len(ys) == len(tops):
        raise UsageError(f"expected as many scores as bests and seconds, got {len(ys)}, {len(tops)} and {len(xs)}")
    figure = Figure(figsize=(8, 4.5), facecolor="white", layout="constrained")
    axes = figure.add_subplot(xlabel=xlabel or label, ylabel=ylabel)
    axes.set_title(title, parse_math=False)
    _plot_scores(axes, xs, ys)
    keep = np.diff(tops, prepend=np.nan) != 0  # NaN differs from everything, so the first is kept
    keep[-1:] = True
    axes.step(xs[keep], tops[keep], where="post", color=RED, linewidth=2, label="best so far")
    axes.set_xlim(0, 1.02 * max(xs, default=0.0) or 1.0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, markerscale=2)
    save_figure(figure, path)


def draw_front(
    path: str | Path, points: npt.NDArray[np.float64], on_front: npt.NDArray[np.bool_], labels: tuple[str, str]
) -> None:
    """Draws all points, and in colour those that are the best compromises.

    Args:
        path: Where to write; its suffix chooses the format.
        points: Shape (points, 2).
        on_front: Which of them are the best compromises, shape (points,).
        labels: What the axes say.

    Raises:
        UsageError: If no picture can be written with that suffix.
    """
    figure = Figure(figsize=(8, 5), facecolor="white", layout="constrained")
    axes = figure.add_subplot(xlabel=labels[0].replace("_", " "), ylabel=labels[1].replace("_", " "))
    others = points[~on_front]
    chosen = np.linspace(0, len(others) - 1, min(len(others), MAX_POINTS)).astype(int)
    xs, ys = others[chosen].T
    axes.scatter(xs, ys, s=12, color=GREY, alpha=0.4, linewidths=0, rasterized=True, label="each trial")
    front = points[on_front]
    front = front[np.argsort(front[:, 0])]
    axes.plot(*front.T, color=RED, marker="o", markersize=4, linewidth=1, label="best compromises")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    # Most of the front, and as much above and below it: a few extremes would flatten the picture.
    low, high = np.quantile(front[:, 1], (0.1, 0.9))
    room = 0.05 * (high - low) or 0.5
    lowest, highest = max(points[:, 1].min(), 2 * low - high), min(points[:, 1].max(), 2 * high - low)
    axes.set_ylim(lowest - room, highest + room)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    save_figure(figure, path)


def draw_columns(path: str | Path, columns: Mapping[str, Sequence[float]], title: str = "") -> None:
    """Draws each column but the first over the first, one picture below the other.

    Args:
        path: Where to write; its suffix chooses the format.
        columns: Equally many numbers under each name.
        title: Stands above.

    Raises:
        UsageError: If no picture can be written with that suffix.
    """
    (label, xs), *rest = columns.items()
    figure = Figure(figsize=(8, 0.6 + 2 * len(rest)), facecolor="white", layout="constrained")
    for row, (name, ys) in enumerate(rest):
        axes = figure.add_subplot(len(rest), 1, row + 1, ylabel=name.replace("_", " "))
        axes.plot(xs, ys, color=BLUE, marker="o", markersize=3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
        axes.xaxis.set_major_locator(MaxNLocator(integer=all(float(x).is_integer() for x in xs)))
    axes.set_xlabel(label)
    figure.suptitle(title, parse_math=False)
    save_figure(figure, path)


def _plot_scores(axes: Axes, xs: npt.NDArray[np.float64], ys: npt.NDArray[np.float64]) -> None:
    """Scatters the finite scores, and chooses the range of the y-axis."""
    xs, ys = xs[np.isfinite(ys)], ys[np.isfinite(ys)]
    if not len(ys):
        axes.text(0.5, 0.5, "no completed trial", transform=axes.transAxes, ha="center", color=INK)
        return
    # What a search is about lies above the median; three times that range below it is room for the others.
    top, middle = float(ys.max()), float(np.median(ys))
    low = max(float(ys.min()), middle - 3 * (top - middle)) if top > middle else float(ys.min())
    room = 0.05 * (top - low) or 0.5
    axes.set_ylim(low - room, top + room)
    below = int((ys < low - room).sum())
    label = f"each trial ({below:,} of {len(ys):,} lie below this picture)" if below else "each trial"
    chosen = np.linspace(0, len(ys) - 1, min(len(ys), MAX_POINTS)).astype(int)
    size = min(max(6_000 / len(ys), 5.0), 25.0)
    axes.scatter(xs[chosen], ys[chosen], s=size, color=BLUE, alpha=0.35, linewidths=0, rasterized=True, label=label)


def time_unit(seconds: float) -> tuple[str, float]:
    """The unit in which an axis up to ``seconds`` reads best, and its length in seconds."""
    for unit, length in (("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0)):
        if seconds >= 3 * length:
            return unit, length
    return "seconds", 1.0
