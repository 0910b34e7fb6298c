"""Pictures of a comparison: cost against rank, when evaluators pay off, what searches find."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from archsearch.basics.words import format_seconds
from archsearch.judging.compared import RANDOM_SEARCH, Compared, Findings, set_up_seconds
from archsearch.pareto import non_dominated
from archsearch.ranking import Interval, bootstrap
from archsearch.showing.placing import isotonic
from archsearch.showing.style import (
    GREY,
    INK,
    LABEL_LETTERS,
    PALETTE,
    axis_label,
    legend_label,
    save_figure,
    write_literally,
)

HIGHLIGHTED = len(PALETTE)
"""Evaluators with a colour of their own; the others are grey."""

STYLES = ("-", "--", "-.")
LABEL_POINTS = 8

APART = 30.0
"""How many times cheaper than the cheapest what has no known cost is drawn."""

CLOSE = 3.0
"""Points that are so many lines of text apart, from left to right, or less, are named together."""

Floats = npt.NDArray[np.float64]


def draw_cost_and_rank(comparison: Findings, path: Path | None) -> Figure:
    """Draws Kendall's tau over the billed cost of as many architectures as a search scores, with the Pareto front."""
    n = comparison.trials or comparison.samples
    rows = [(row, row.agreement.tau) for row in comparison.rows if row.agreement is not None and row.kind != "ceiling"]
    figure, axes = _axes(
        f"billed cost of {n:,} architectures of {comparison.space}, set-up included",
        f"Kendall's tau with the {comparison.truth.replace('_', ' ')} of the reference",
        height=5.5,
    )
    costs = _placed([row for row, _ in rows], n)
    for cost, (row, tau) in zip(costs, rows, strict=True):
        colour = INK if row.kind == "reference" else GREY if row.kind == "trivial" else PALETTE[0]
        errors = [[max(0.0, tau.value - tau.low)], [max(0.0, tau.high - tau.value)]]
        inside = colour if row.priced else "white"
        axes.errorbar(cost, tau.value, errors, fmt="o", color=colour, markersize=5, elinewidth=1, capsize=0, mfc=inside)
    _draw_front(axes, costs, rows)
    _explain(axes, rows)
    ceiling = next((row.agreement for row in comparison.rows if row.kind in ("ceiling", "reference")), None)
    if ceiling is not None and comparison.ceiling_known:
        axes.axhline(ceiling.tau.value, color=INK, linestyle=":", linewidth=1.2)
        axes.annotate(
            "noise ceiling",
            (0, ceiling.tau.value),
            xycoords=("axes fraction", "data"),
            xytext=(4, 4),
            textcoords="offset points",
            fontsize=LABEL_POINTS,
            color=INK,
        )
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xscale("log")
    low, high = min(costs), max(costs)
    axes.set_xlim(low / 3, high * max(30.0, (high / low) ** 0.35))  # room for the names to the right of the points
    _name_points(figure, axes, costs, rows)
    _time_ticks(axes, begin=min((c for c, (row, _) in zip(costs, rows, strict=True) if row.priced), default=0.0))
    _name_unpriced(axes, costs, rows)
    return save_figure(figure, path)


def _placed(rows: Sequence[Compared], n: int) -> list[float]:
    """Where each stands: at what it costs; at the far left, apart from the others, where that is not known."""
    known = [max(row.total(n), 1e-9) for row in rows if row.priced] or [1.0]
    apart = max(APART, (max(known) / min(known)) ** 0.4)  # so that their names have room there, too
    return [max(row.total(n), 1e-9) if row.priced else min(known) / apart for row in rows]


def _name_unpriced(axes: Axes, costs: Sequence[float], rows: Sequence[tuple[Compared, Interval]]) -> None:
    """Says that the column at the left has no place on the axis."""
    at = next((cost for cost, (row, _) in zip(costs, rows, strict=True) if not row.priced), None)
    cheapest = min((cost for cost, (row, _) in zip(costs, rows, strict=True) if row.priced), default=math.inf)
    if at is not None:
        axes.axvline(
            max(cheapest / 5, at * 1.5) if math.isfinite(cheapest) else at * APART,
            color=GREY,
            linewidth=0.8,
            linestyle="--",
        )
        axes.annotate(
            "cost not\nknown",
            (at, -0.015),
            xycoords=("data", "axes fraction"),
            ha="center",
            va="top",
            fontsize=LABEL_POINTS,
        )


def _draw_front(axes: Axes, costs: Sequence[float], rows: Sequence[tuple[Compared, Interval]]) -> None:
    """The Pareto front: what nothing cheaper ranks as well as, of what is known to rank at all, and to cost so much."""
    told = [(cost, tau.value) for cost, (row, tau) in zip(costs, rows, strict=True) if row.priced and tau.low > 0]
    if not told:
        return
    points = np.array(told)
    xs, ys = np.unique(points[non_dominated(points * [-1.0, 1.0])], axis=0).T  # by rising cost
    label = "Pareto front of what is told from chance"
    axes.step([*xs, max(costs)], [*ys, ys[-1]], where="post", color=PALETTE[1], linewidth=1.5, label=label)


def _explain(axes: Axes, rows: Sequence[tuple[Compared, Interval]]) -> None:
    """What the colours of points mean, beside the front."""
    kinds = {"reference": (INK, "the reference"), "evaluator": (PALETTE[0], "evaluator")}
    kinds["trivial"] = (GREY, "knows nothing of quality")
    for kind, (colour, text) in kinds.items():
        if any(row.kind == kind for row, _ in rows):
            axes.plot([], [], "o", color=colour, markersize=5, label=text)
    axes.legend(loc="lower right", frameon=False, fontsize=LABEL_POINTS)


def _name_points(figure: Figure, axes: Axes, costs: Sequence[float], rows: Sequence[tuple[Compared, Interval]]) -> None:
    """Writes names to the right of points; those of points that lie together, in a column, so that none is covered."""
    write_literally(figure)
    figure.draw_without_rendering()
    points = axes.transData.transform([(cost, tau.value) for cost, (_, tau) in zip(costs, rows, strict=True)])
    line, gap = 1.25 * LABEL_POINTS * figure.dpi / 72, 8 * figure.dpi / 72
    widths = [0.6 * LABEL_POINTS * figure.dpi / 72 * min(len(row.name), LABEL_LETTERS) for row, _ in rows]
    apart = [[i for i, (row, _) in enumerate(rows) if row.priced == priced] for priced in (False, True)]
    groups = [
        [some[i] for i in group]
        for some in apart
        for group in _groups(points[some], (np.array(widths) + 2 * gap)[some], line)
    ]
    for group in groups:
        group = sorted(group, key=lambda i: points[i][1])
        steps = line * np.arange(len(group))
        wishes = [points[i][1] - step for i, step in zip(group, steps, strict=True)]
        heights = np.array(isotonic(wishes, [1.0] * len(group))) + steps
        x = max(points[i][0] for i in group) + gap
        for i, y in zip(group, heights, strict=True):
            row, tau = rows[i]
            far = abs(y - points[i][1]) > 0.5 * line or x - points[i][0] > 2 * gap
            line_to_it = {"arrowstyle": "-", "color": "#BBBBBB", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3}
            axes.annotate(
                legend_label(row.name),
                (costs[i], tau.value),
                xytext=tuple(axes.transData.inverted().transform((x, y))),
                fontsize=LABEL_POINTS,
                color=GREY if row.kind == "trivial" else INK,
                va="center",
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
                arrowprops=line_to_it if far else None,
            )


def _groups(points: Floats, widths: Floats, line: float) -> list[list[int]]:
    """Points that are named in one column: those that lie close, or whose names would run into others.

    Args:
        points: Where they are, in pixels, shape (points, 2).
        widths: How much room each name needs.
        line: Height of a name.
    """
    groups: list[list[int]] = []
    for i in map(int, np.argsort(points[:, 0])):
        if groups and (
            points[i, 0] - points[groups[-1], 0].max() < CLOSE * line or _run_into(points, widths, groups[-1], i, line)
        ):
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def _run_into(points: Floats, widths: Floats, group: list[int], other: int, line: float) -> bool:
    """Whether the names of a group, to its right, would cover another point."""
    end = points[group, 0].max() + widths[group].max()
    heights, room = points[group, 1], line * (1 + len(group) / 2)
    return bool(points[other, 0] < end and heights.min() - room < points[other, 1] < heights.max() + room)


def draw_break_even(comparison: Findings, path: Path | None) -> Figure:
    """Draws the billed cost of 1 to many architectures with each evaluator; where lines cross, it pays off."""
    figure, axes = _axes(f"architectures of {comparison.space}", "billed cost", height=5.5)
    last = 10 ** math.ceil(math.log10(max(1_000, 5 * max(comparison.trials, comparison.samples))))
    counts = np.geomspace(1, last, 200)
    rows = [row for row in comparison.rows if row.kind in ("evaluator", "reference") and row.priced]
    shown = _highlighted(comparison)
    for row in rows:
        axes.plot(counts, [max(row.total(n), 1e-9) for n in counts], **_look(row.name, shown))
    first, each = set_up_seconds(comparison.reference_set_up), comparison.reference_cost.billed_seconds
    if comparison.reference_priced:
        axes.plot(counts, first + counts * max(each, 1e-9), color=INK, linestyle=":", linewidth=1.5, label="reference")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(1, last)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    _time_ticks(axes, "y")
    _legend(figure, axes)
    return save_figure(figure, path)


def draw_search(comparison: Findings, path: Path | None) -> Figure:
    """Draws what the picks of searches lose against the best, over billed cost: mean over seeds, 95 % intervals."""
    what = "" if comparison.truth == "score" else f" in {axis_label(comparison.truth)}"
    figure, axes = _axes(f"billed cost, set-up included ({comparison.space})", f"regret of the pick{what}", height=5.5)
    rows = [row for row in comparison.rows if row.picks is not None and np.isfinite(row.picks).any()]
    rows = [row for row in rows if comparison.affordable(row)]
    shown = _highlighted(comparison)
    budgets = np.array(comparison.budgets)
    for row in sorted(rows, key=lambda row: row.name in shown):
        assert row.picks is not None
        regrets = comparison.best - row.picks
        paid = np.isfinite(regrets).all(axis=0)
        if not paid.any():
            continue
        look = _look(row.name, shown)
        axes.plot(budgets[paid], regrets[:, paid].mean(axis=0), marker="o", markersize=3, **look)
        if row.name in shown and len(regrets) > 1:
            intervals = [bootstrap(np.mean, [column]) for column in regrets[:, paid].T]
            lows, highs = [each.low for each in intervals], [each.high for each in intervals]
            axes.fill_between(budgets[paid], lows, highs, color=look["color"], alpha=0.12, linewidth=0)
    axes.plot(
        budgets,
        comparison.best - np.array(comparison.random_search)[:, 0],
        color=INK,
        linestyle=":",
        linewidth=1.5,
        label=RANDOM_SEARCH,
    )
    axes.axhline(comparison.best - comparison.average, color=GREY, linestyle=":", linewidth=1.2, label="a random pick")
    axes.set_xscale("log")
    _frame(axes, comparison, [row for row in rows if row.name not in shown])
    _time_ticks(axes)
    _legend(figure, axes)
    return save_figure(figure, path)


def _frame(axes: Axes, comparison: Findings, others: Sequence[Compared]) -> None:
    """A frame that holds every line with a name; says of how many of the others it holds no point."""
    named = [line for line in axes.get_lines() if line.get_label() != "others"]
    heights = [float(y) for line in named for y in np.atleast_1d(np.asarray(line.get_ydata(), np.float64))]
    top = 1.1 * max([y for y in heights if math.isfinite(y)], default=0.0) or 1.0
    axes.set_ylim(0, top)
    above = sum(comparison.best - float(np.nanmax(row.picks)) > top for row in others if row.picks is not None)
    if above:
        axes.annotate(
            f"{above} of the others lie{'s' if above == 1 else ''} above",
            (0.99, 0.98),
            xycoords="axes fraction",
            ha="right",
            va="top",
            fontsize=LABEL_POINTS,
            color=GREY,
        )


def _highlighted(comparison: Findings) -> list[str]:
    """What has a colour of its own, the same in all pictures: what is recommended, the reference, what ranks best."""
    wanted = [each.name for each in comparison.recommendations() if each.name is not None]
    wanted += [row.name for row in comparison.rows if row.kind == "reference"]
    ranked = [row for row in comparison.rows if row.agreement is not None and row.kind == "evaluator"]
    ranked.sort(key=lambda row: -row.agreement.tau.value if row.agreement is not None else 0.0)
    wanted += [row.name for row in ranked]
    priced = {row.name for row in comparison.rows if row.priced}
    return [name for name in dict.fromkeys(wanted) if name in priced][:HIGHLIGHTED]


def _look(name: str, shown: Sequence[str]) -> dict[str, Any]:
    if name not in shown:
        return {"color": "#CCCCCC", "linewidth": 1.0, "label": "others", "zorder": 1}
    i = shown.index(name)
    return {"color": PALETTE[i], "linestyle": STYLES[i % len(STYLES)], "linewidth": 1.8, "label": legend_label(name)}


def _axes(xlabel: str, ylabel: str, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, height), facecolor="white", layout="constrained")
    axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#E5E5E5", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _legend(figure: Figure, axes: Axes) -> None:
    """Below the picture, each name once."""
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=3, frameon=False, fontsize=LABEL_POINTS
    )


def _time_ticks(axes: Axes, which: str = "x", begin: float = 0.0) -> None:
    """Marks an axis of seconds, from ``begin`` on, in units that can be read."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    low = max(low, begin / 3)
    marks = [m for m in TIMES if low <= m <= high]
    if len(marks) < 4:
        marks = [m for m in FINER_TIMES if low <= m <= high]
    step = math.ceil(len(marks) / 9)
    if marks:
        axis.set_ticks(marks[::step], [_mark(mark) for mark in marks[::step]])
        axis.set_ticks([], minor=True)


TIMES = (
    *(1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 60.0, 600.0, 3600.0, 36_000.0),
    *(86_400.0 * days for days in (1, 10, 100, 1_000, 10_000, 100_000)),
)


FINER_TIMES = (
    *(mantissa * 10.0**exponent for exponent in range(-9, 1) for mantissa in (1, 2, 5)),
    *(10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_200.0, 1_800.0, 3_600.0, 7_200.0, 18_000.0, 36_000.0),
    *(86_400.0 * days * power for power in (1, 10, 100, 1_000) for days in (1, 2, 5)),
)


def _mark(seconds: float) -> str:
    if seconds >= 86_400:
        return f"{seconds / 86_400:,.0f} d"
    for unit, size in (("h", 3_600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return format_seconds(seconds)
