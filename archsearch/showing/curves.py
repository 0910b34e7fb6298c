"""Pictures of a search: the best so far, compromises, columns of figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from archsearch.errors import UsageError
from archsearch.showing.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    RED,
    SKY,
    axis_label,
    legend_label,
    save_figure,
    time_unit,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_POINTS = 20_000
NARROW = 5.5
"""Inches: the width of pictures with much text, so that it can be read on a phone, too."""

LARGE = 1e5
"""From here on numbers at an axis are written as 200 k, 1.2 M."""

LEAST_SPAN = 0.01
"""What a vertical axis shows at least, as a share of its values: less than that is no change to look at."""

SCALE = 0.12
"""Inches: the height of the scale of colours."""


# -- the course of a search --------------------------------------------------------------------


def draw_learning_curve(
    path: str | Path | None,
    scores: Sequence[float] | npt.NDArray[np.float64],
    best: Sequence[float] | npt.NDArray[np.float64],
    xlabel: str = "",
    title: str = "",
    seconds: Sequence[float] | npt.NDArray[np.float64] | None = None,
    ylabel: str = "score",
) -> Figure:
    """Draws the score of each trial and the best so far, over trials or over billed cost.

    The axis leaves out low scores that would flatten the picture, and says how many. At most ``MAX_POINTS`` scores
    are drawn, evenly chosen; the line of the best is always whole.

    Args:
        path: Where to write; its suffix (.png, .svg, .pdf ...) chooses the format. None: nowhere.
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
    return save_figure(figure, path)


def draw_front(
    path: str | Path | None, points: npt.NDArray[np.float64], on_front: npt.NDArray[np.bool_], labels: tuple[str, str]
) -> Figure:
    """Draws all points, and in colour those that are the best compromises.

    Args:
        path: Where to write; its suffix chooses the format. None: nowhere.
        points: Shape (points, 2).
        on_front: Which of them are the best compromises, shape (points,).
        labels: What the axes say.

    Raises:
        UsageError: If no picture can be written with that suffix.
    """
    figure = Figure(figsize=(8, 5), facecolor="white", layout="constrained")
    axes = figure.add_subplot(xlabel=axis_label(labels[0]), ylabel=axis_label(labels[1]))
    others, front = points[~on_front], points[on_front]
    front = front[np.argsort(front[:, 0])]
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    # Most of the front, and as much above and below it: a few extremes would flatten the picture.
    low, high = np.quantile(front[:, 1], (0.1, 0.9))
    room = 0.05 * (high - low) or 0.5
    lowest, highest = max(points[:, 1].min(), 2 * low - high), min(points[:, 1].max(), 2 * high - low)
    axes.set_ylim(lowest - room, highest + room)
    names = []
    for some, name in ((others, "each other trial"), (front, "best compromises")):
        outside = int(((some[:, 1] < lowest - room) | (some[:, 1] > highest + room)).sum())
        names.append(f"{name} ({outside:,} of {len(some):,} lie outside this picture)" if outside else name)
    xs, ys = others[evenly_chosen(len(others))].T
    axes.scatter(xs, ys, s=12, color=GREY, alpha=0.4, linewidths=0, rasterized=True, label=names[0])
    axes.plot(*front.T, color=RED, marker="o", markersize=4, linewidth=1, label=names[1])
    for axis, values in ((axes.xaxis, points[:, 0]), (axes.yaxis, points[:, 1])):
        if np.abs(values).max() >= LARGE:
            axis.set_major_formatter(EngFormatter(sep=" "))
    figure.legend(loc="outside lower center", ncols=1, frameon=False)
    return save_figure(figure, path)


def draw_columns(path: str | Path | None, columns: Mapping[str, Sequence[float]], title: str = "") -> Figure:
    """Draws each column but the first over the first, one picture below the other.

    Args:
        path: Where to write; its suffix chooses the format. None: nowhere.
        columns: Equally many numbers under each name.
        title: Stands above.

    Raises:
        UsageError: If no picture can be written with that suffix.
    """
    (label, xs), *rest = columns.items()
    figure = Figure(figsize=(8, 0.6 + 2 * len(rest)), facecolor="white", layout="constrained")
    for row, (name, ys) in enumerate(rest):
        axes = figure.add_subplot(len(rest), 1, row + 1, ylabel=axis_label(name))
        axes.plot(xs, ys, color=BLUE, marker="o", markersize=3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
        axes.xaxis.set_major_locator(MaxNLocator(integer=all(float(x).is_integer() for x in xs)))
    axes.set_xlabel(label)
    figure.suptitle(title, parse_math=False)
    return save_figure(figure, path)


def draw_lines(
    path: str | Path | None,
    xs: Sequence[float],
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    xlabel: str,
) -> Figure:
    """Draws several lines in each of several pictures, one below the other; where a line is NaN it has a gap.

    Args:
        path: Where to write; its suffix chooses the format. None: nowhere.
        xs: Equally many for all.
        panels: By what its y-axis says, the lines of each picture, by their names.
        xlabel: What the x-axis says.

    Raises:
        UsageError: If no picture can be written with that suffix.
    """
    heights = [2.4 if len(lines) > 1 else 1.4 for lines in panels.values()]
    figure = Figure(figsize=(NARROW, 0.5 + sum(heights)), facecolor="white", layout="constrained")
    grid = figure.add_gridspec(len(panels), height_ratios=heights)
    for row, (ylabel, lines) in enumerate(panels.items()):
        axes = figure.add_subplot(grid[row], ylabel=ylabel)
        for (name, ys), colour in zip(lines.items(), (BLUE, RED, GREEN, ORANGE), strict=False):
            axes.plot(xs, ys, color=colour, marker="o", markersize=3, linewidth=1.4, label=name)
        axes.set_xlim(min(xs) - 0.5, max(xs) + 0.5)
        _hold_still(axes)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(labelbottom=row == len(panels) - 1)
        if len(lines) > 1:
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, borderaxespad=0, fontsize=9)
    axes.set_xlabel(xlabel)
    figure.align_ylabels()
    return save_figure(figure, path)


def _hold_still(axes: Axes) -> None:
    """What hardly changes is drawn so, not magnified until its marks need an offset to be written."""
    low, high = axes.get_ylim()
    least = LEAST_SPAN * max(abs(low), abs(high))
    if high - low < least:
        middle = (low + high) / 2
        axes.set_ylim(middle - least / 2, middle + least / 2)
    axes.ticklabel_format(axis="y", useOffset=False)


def draw_heat_maps(
    path: str | Path | None, maps: Mapping[str, Mapping[str, Sequence[float]]], xlabel: str, label: str
) -> Figure:
    """Draws a table of numbers for each name, a line of colours for each row, all on one scale.

    Args:
        path: Where to write; its suffix chooses the format. None: nowhere.
        maps: By title; of each, equally many numbers under each name.
        xlabel: What the x-axis says: numbers from 1 on.
        label: What the colours are.

    Raises:
        UsageError: If no picture can be written with that suffix.
    """
    every_number = [number for rows in maps.values() for line in rows.values() for number in line]
    lowest, highest = min(every_number), max(every_number)
    heights = [0.2 * len(rows) + 0.3 for rows in maps.values()]
    figure = Figure(figsize=(NARROW, 1.2 + sum(heights)), facecolor="white", layout="constrained")
    grid = figure.add_gridspec(1 + len(maps), height_ratios=[SCALE, *heights])
    colours = LinearSegmentedColormap.from_list("shares", ["#F4F4F4", SKY, BLUE, "#00253F"])
    for row, (title, rows) in enumerate(maps.items(), start=1):
        axes = figure.add_subplot(grid[row])
        values = np.array(list(rows.values()), np.float64)
        edges = (0.5, values.shape[1] + 0.5, len(rows) - 0.5, -0.5)
        drawn = axes.imshow(
            values, aspect="auto", cmap=colours, vmin=lowest, vmax=highest, extent=edges, origin="upper"
        )
        axes.set_yticks(range(len(rows)), [legend_label(name) for name in rows], fontsize=8)
        axes.set_title(title, loc="left", fontsize=9, pad=3, parse_math=False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(length=2, labelbottom=row == len(maps))
        axes.spines[:].set_visible(False)
    axes.set_xlabel(xlabel)
    bar = figure.colorbar(drawn, cax=figure.add_subplot(grid[0]), orientation="horizontal", label=label)
    bar.ax.xaxis.set_label_position("top")
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    return save_figure(figure, path)


def shown_range(ys: npt.NDArray[np.float64]) -> tuple[float, float, int]:
    """From where to where a picture of these scores reaches, and how many lie below it.

    Args:
        ys: Finite scores, shape (trials,), one or more.
    """
    # What a search is about lies above the median; three times that range below it is room for the others.
    top, middle = float(ys.max()), float(np.median(ys))
    low = max(float(ys.min()), middle - 3 * (top - middle)) if top > middle else float(ys.min())
    room = 0.05 * (top - low) or 0.5
    return low - room, top + room, int((ys < low - room).sum())


def evenly_chosen(count: int, most: int = MAX_POINTS) -> npt.NDArray[np.int64]:
    """Positions of at most so many of ``count`` points."""
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)


def _plot_scores(axes: Axes, xs: npt.NDArray[np.float64], ys: npt.NDArray[np.float64]) -> None:
    """Scatters the finite scores, and chooses the range of the y-axis."""
    xs, ys = xs[np.isfinite(ys)], ys[np.isfinite(ys)]
    if not len(ys):
        axes.text(0.5, 0.5, "no completed trial", transform=axes.transAxes, ha="center", color=INK)
        return
    low, high, below = shown_range(ys)
    axes.set_ylim(low, high)
    label = f"each trial ({below:,} of {len(ys):,} lie below this picture)" if below else "each trial"
    chosen = evenly_chosen(len(ys))
    size = min(max(6_000 / len(ys), 5.0), 25.0)
    axes.scatter(xs[chosen], ys[chosen], s=size, color=BLUE, alpha=0.35, linewidths=0, rasterized=True, label=label)
