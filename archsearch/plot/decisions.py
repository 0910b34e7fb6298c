"""Figures of the decisions of many trials: which matter, and which options the best have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from archsearch.basics.checks import at_least_one
from archsearch.basics.decisions import ABSENT
from archsearch.plot.sources import Searched, Source, searched
from archsearch.ranking.importance import Importance, columns_by_label
from archsearch.ranking.importance import importance as importance_of_scores
from archsearch.showing.style import BLUE, GREY, INK, legend_label, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_DECISIONS = 40


def importance_of(source: Source, *, splits: int = 20, seed: int = 0, trust: bool = False) -> Importance:
    """How much each decision matters for the scores of a search, with intervals; print it for a table.

    Args:
        source: A ``Result``, or the path of a run folder.
        splits: How often a third of the trials is held out, >= 2.
        seed: Of the splits and the forests.
        trust: See ``archsearch.resume``.

    Raises:
        UsageError: If there are too few trials, or all have one score.
    """
    found = searched(source, trust)
    space, rows = found.known_space("importance"), found.completed
    architectures = [tuple(each) for each in rows["architecture"].to_pylist()]
    return importance_of_scores(space, architectures, rows["score"].to_numpy(), splits=splits, seed=seed)


def importance(source: Source, *, splits: int = 20, seed: int = 0, trust: bool = False) -> Figure:
    """Draws ``importance_of``: a bar for each decision, the most important first, with its interval.

    Args:
        source: A ``Result``, or the path of a run folder.
        splits: How often a third of the trials is held out, >= 2.
        seed: Of the splits and the forests.
        trust: See ``archsearch.resume``.

    Raises:
        UsageError: If there are too few trials, or all have one score.
    """
    from matplotlib.figure import Figure

    found = importance_of(source, splits=splits, seed=seed, trust=trust)
    shown = slice(0, MOST_DECISIONS)
    names, shares = [legend_label(name) for name in found.decisions[shown]], np.array(found.shares[shown])
    figure = Figure(figsize=(7, 1.4 + 0.28 * len(names)), facecolor="white", layout="constrained")
    axes = figure.add_subplot(xlabel="share of the scores' variance that is lost without the decision")
    errors = np.maximum([shares - found.low[shown], found.high[shown] - shares], 0.0)
    axes.barh(range(len(names)), shares, xerr=errors, color=BLUE, ecolor=INK, height=0.6, error_kw={"linewidth": 1})
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    left_out = (
        f", {len(found.decisions) - len(names)} decisions below these" if len(found.decisions) > len(names) else ""
    )
    axes.set_title(
        f"{found.explained:.0%} explained of {found.trials:,} trials (held out){left_out}; bars 5 % to 95 %",
        loc="left",
        fontsize=9,
    )
    return save_figure(figure, None)


def parallel_decisions(source: Source, *, top: int = 20, trust: bool = False) -> Figure:
    """A line for each architecture through the options that it chose, the best ones in colour.

    Args:
        source: A ``Result``, or the path of a run folder.
        top: How many of the best are coloured, >= 1.
        trust: See ``archsearch.resume``.
    """
    from matplotlib.figure import Figure

    found = searched(source, trust)
    lines, best, labels = _lines(found, at_least_one("parallel_decisions", "top", top))
    figure = Figure(figsize=(max(6.0, 0.7 * len(labels)), 4.5), facecolor="white", layout="constrained")
    axes = figure.add_subplot(ylabel="option")
    spread = np.random.default_rng(0).uniform(-0.12, 0.12, lines.shape)  # lines that coincide are seen side by side
    for chosen, colour, alpha, name in ((~best, GREY, 0.12, "each trial"), (best, BLUE, 0.7, f"the best {best.sum()}")):
        drawn = axes.plot((lines + spread)[chosen].T, color=colour, alpha=alpha, linewidth=1)
        if drawn:
            drawn[0].set_label(name)
    axes.set_xticks(range(len(labels)), [legend_label(label) for label in labels], rotation=90, fontsize=8)
    ticks = range(int(lines.min()), int(lines.max()) + 1)
    axes.set_yticks(ticks, ["absent" if tick == ABSENT else str(tick) for tick in ticks])
    axes.spines[["top", "right"]].set_visible(False)
    legend = figure.legend(loc="outside lower center", ncols=2, frameon=False)
    for handle in legend.get_lines():
        handle.set_alpha(1.0)
    return save_figure(figure, None)


def _lines(found: Searched, top: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Options of shape (trials, decisions), which trials are among the best, and the labels of the decisions."""
    rows = found.completed
    space = found.known_space("parallel_decisions")
    columns = columns_by_label(space, [tuple(each) for each in rows["architecture"].to_pylist()])
    scores = rows["score"].to_numpy()
    best = np.zeros(len(scores), bool)
    best[np.argsort(-scores, kind="stable")[:top]] = True
    return np.array(list(columns.values()), float).T, best, list(columns)
