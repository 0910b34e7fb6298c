"""Pictures: an architecture as a graph (PNG or SVG).

Graphs are drawn from left to right in columns (Sugiyama, Tagawa & Toda, "Methods for visual understanding of
hierarchical system structures", IEEE Trans. SMC 1981): nodes by their longest path from an input, and between them
the operations that their edges carry. An edge that passes a column has a place of its own in it, so it never runs
through a box. Lengths are in inches, y points upwards.
"""

from __future__ import annotations

import itertools
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from archsearch.errors import UsageError
from archsearch.showing.placing import (
    LONG_PULL,
    MARGIN,
    SHORT_PULL,
    Item,
    Route,
    place_chain,
    place_columns,
    text_width,
)
from archsearch.showing.style import FONT_POINTS, GREY, INK, TITLE_LETTERS, TITLE_POINTS, family_colour, save_figure

if TYPE_CHECKING:
    import networkx
    from matplotlib.axes import Axes


__all__ = ["draw_graph"]


# -- an architecture as a graph ----------------------------------------------------------------


def draw_graph(graph: networkx.MultiDiGraph, path: str | Path | None, title: str = "") -> Figure:
    """Draws an operator-labelled graph from left to right; a chain goes on in the next row, backwards.

    Args:
        graph: Without cycles. Nodes carry ``label``; edges may carry ``label`` and may be parallel.
        path: Where to write; its suffix (.png, .svg, .pdf ...) chooses the format. None: nowhere.
        title: Stands above the picture.

    Raises:
        UsageError: If the graph is empty or has a cycle, or no picture can be written with that suffix.
    """
    items, edges = _items(graph)
    boxes = [item for item in items if item.text]
    if all(len(item.before) <= 1 and len(item.after) <= 1 for item in items) and len(edges) == len(graph) - 1:
        routes = place_chain(sorted(boxes, key=lambda item: item.column))
    else:
        routes = place_columns(items, edges)
    figure, axes = _canvas(boxes, routes, title)
    for colour, line in routes:
        style = (0, (4, 2)) if colour == GREY else "solid"
        arrow = FancyArrowPatch(
            path=line, arrowstyle="-|>,head_length=4,head_width=2", color=colour, linewidth=1.6, linestyle=style
        )
        axes.add_patch(arrow)
    for box in boxes:
        _draw_box(axes, box)
    return save_figure(figure, path)


def _items(graph: networkx.MultiDiGraph) -> tuple[list[Item], list[list[Item]]]:
    """The items of a graph, and each of its edges as the items from source to target."""
    import networkx

    if not graph or not networkx.is_directed_acyclic_graph(graph):
        raise UsageError(f"expected a graph with nodes and without cycles, got {graph}")
    labelled = any(label for _, _, label in graph.edges(data="label"))
    parallel = len({(source, target) for source, target, _ in graph.edges}) < graph.number_of_edges()
    stride = 2 if labelled or parallel else 1  # edges need places between the columns of their nodes
    nodes: dict[Any, Item] = {}
    for level, members in enumerate(networkx.topological_generations(graph)):
        for node in members:
            text = str(graph.nodes[node].get("label", node))
            nodes[node] = Item(level * stride, text, INK if labelled else family_colour(text), is_node=True)
    items, edges = list(nodes.values()), []
    for source, target, label in graph.edges(data="label"):
        start, end = nodes[source], nodes[target]
        text = str(label) if label else ""
        middle = (start.column + end.column) // 2
        columns = range(start.column + 1, end.column)
        pull = SHORT_PULL if len(columns) == 1 else LONG_PULL
        bends = [Item(column, text if column == middle else "", family_colour(text), pull=pull) for column in columns]
        edges.append([start, *bends, end])
        items += bends
        for left, right in itertools.pairwise(edges[-1]):
            left.after.append(right)
            right.before.append(left)
    return items, edges


def _tint(colour: str) -> tuple[float, ...]:
    """A light tint, on which black text reads well in colour and in grey."""
    return (1.0, 1.0, 1.0) if colour == INK else tuple(1 - 0.3 * (1 - part) for part in to_rgb(colour))


def _canvas(boxes: list[Item], routes: list[Route], title: str) -> tuple[Figure, Axes]:
    """A figure that just holds the picture, and axes whose unit is an inch."""
    corners = [(box.x + side * box.width / 2, box.y + side * box.height / 2) for box in boxes for side in (-1, 1)]
    points = np.concatenate([corners, *(line.vertices for _, line in routes)])
    left, bottom = points.min(axis=0) - MARGIN
    right, top = points.max(axis=0) + MARGIN
    lines = textwrap.wrap(title, TITLE_LETTERS)
    if lines:
        top += (0.5 + 1.5 * len(lines)) * TITLE_POINTS / 72
        widest = max(text_width(line, TITLE_POINTS) for line in lines)
        missing = max(0.0, widest + 2 * MARGIN - (right - left))
        left, right = left - missing / 2, right + missing / 2
    figure = Figure(figsize=(right - left, top - bottom), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(left, right), ylim=(bottom, top))
    axes.set_axis_off()
    if lines:
        centre, text = (left + right) / 2, "\n".join(lines)
        axes.text(centre, top - MARGIN, text, size=TITLE_POINTS, color=INK, ha="center", va="top", parse_math=False)
    return figure, axes


def _draw_box(axes: Axes, box: Item) -> None:
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
