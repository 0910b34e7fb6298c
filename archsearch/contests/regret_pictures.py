"""Pictures of a comparison of controllers: regret against evaluations and billed cost."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from archsearch.contests.standings import AXIS_TITLES, Axis, Regrets

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Panel
    from matplotlib.figure import Figure


# -- files -------------------------------------------------------------------------------------


def draw(path: Path | None, found: Regrets, axis: Axis) -> Figure:
    """A picture of all curves over one axis, a panel for each task."""
    from matplotlib.figure import Figure

    from archsearch.showing.style import axis_label, save_figure

    columns = min(len(found.tasks), 3)
    rows = math.ceil(len(found.tasks) / columns)
    width = max(4.4 * columns, 6.4)
    figure = Figure(figsize=(width, 3.4 * rows + 0.9), facecolor="white", layout="constrained")
    for number, task in enumerate(found.tasks):
        panel = figure.add_subplot(rows, columns, number + 1)
        panel.set_title(task, parse_math=False)
        _draw_task(panel, found, task, axis)
        if number % columns == 0:
            panel.set_ylabel(f"regret in {axis_label(found.truth)}", parse_math=False)
    letters = max(map(len, found.controllers)) + 8
    places = max(1, min(4, int(11 * width / letters)))
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=places, frameon=False)
    figure.suptitle(f"{AXIS_TITLES[axis]}: mean of {found.seeds} seeds, 95 % intervals")
    return save_figure(figure, path)


def _draw_task(panel: Panel, found: Regrets, task: str, axis: Axis) -> None:
    from archsearch.showing.style import INK, PALETTE, legend_label, time_unit

    curves = [curve for curve in found.regrets if curve.task == task and curve.axis == axis]
    unit, length = time_unit(float(curves[0].at[-1])) if axis == "cost" else ("", 1.0)
    lowest = min(float(np.nanmin(curve.mean)) for curve in curves)
    looks = itertools.cycle(itertools.product(("solid", "dashdot", "dotted"), PALETTE))
    for curve in curves:
        is_baseline = curve.controller == found.baseline
        # Curves of one seed begin alike: random search is drawn above, and lets the others through.
        style, colour = ("dashed", INK) if is_baseline else next(looks)
        wide, above = (1.2, 3) if is_baseline else (1.8, 2)
        look: dict[str, Any] = {"color": colour, "linestyle": style, "linewidth": wide, "zorder": above}
        panel.step(curve.at / length, curve.mean, where="post", label=legend_label(curve.controller), **look)
        low = np.maximum(curve.low, 0.3 * lowest)  # a log axis does not go down to 0
        panel.fill_between(curve.at / length, low, curve.high, step="post", color=colour, alpha=0.15, linewidth=0)
    if lowest > 0:
        panel.set_yscale("log")
        panel.yaxis.set_major_formatter("{x:g}")
    else:  # the first evaluations would leave no room for the others
        top = 1.05 * max(_late(found, curve.controller, task) for curve in curves) or 1.0
        panel.set_ylim(-0.03 * top, top)
    if axis == "cost":
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter("{x:g}")
    panel.set_xlabel(f"billed cost ({unit})" if axis == "cost" else "evaluations")
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    panel.set_axisbelow(True)


def _late(found: Regrets, controller: str, task: str) -> float:
    """How high the interval of a controller goes after a twentieth of the evaluations."""
    wanted = (task, controller, "evaluations")
    curve = next(curve for curve in found.regrets if (curve.task, curve.controller, curve.axis) == wanted)
    return float(curve.high[len(curve.high) // 20])
