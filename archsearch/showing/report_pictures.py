"""The pictures of a report, drawn where there is something to draw."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from archsearch.files.damage import Notices
from archsearch.keeping.columns import REPEAT, has_status
from archsearch.keeping.ledger import billed_seconds
from archsearch.space import Space
from archsearch.trial import Architecture

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa
    from matplotlib.figure import Figure

    from archsearch.pareto import Front
    from archsearch.ranking.derived import Searched, Truth


def draw_curves(table: pa.Table, target: Path, title: str, ylabel: str = "score") -> dict[str, str]:
    """The learning curve over trials, and over billed cost: title and file of each; of one trial, which is none, no."""
    draw_curve(table, target / "learning_curve.png", title, ylabel)
    draw_curve(table, target / "learning_curve_cost.png", title, ylabel, by_cost=True)
    if table.filter(has_status(table, "completed")).num_rows < 2:
        return {}
    return {
        "Learning curve by trials": "learning_curve.png",
        "Learning curve by billed cost": "learning_curve_cost.png",
    }


def draw_curve(
    table: pa.Table, path: Path | None, title: str, ylabel: str = "score", *, by_cost: bool = False
) -> Figure:
    """The learning curve of a run's trials, over completed trials or billed cost."""
    from archsearch.showing.curves import draw_learning_curve

    course = course_of(table)
    label = "" if by_cost else "completed trials"
    seconds = course.seconds if by_cost else None
    return draw_learning_curve(path, course.scores, course.best, label, title, seconds, ylabel)


class Course(NamedTuple):
    """How a search went, for each of its completed trials, in order.

    Attributes:
        scores: Of each, shape (trials,).
        best: The best so far: with budgets, of those trained longest, so that it may fall; not of repeats. ``-inf``
            before there is one.
        seconds: Billed seconds up to and including each, failed ones too, rising.
    """

    scores: npt.NDArray[np.float64]
    best: npt.NDArray[np.float64]
    seconds: npt.NDArray[np.float64]


def course_of(table: pa.Table) -> Course:
    """How a search went, by its trials, in the columns of the history."""
    import numpy as np

    is_completed = has_status(table, "completed")
    completed = table.filter(is_completed)
    scores = completed["score"].to_numpy()
    return Course(scores, _best_so_far(completed, scores), np.cumsum(billed_seconds(table))[np.asarray(is_completed)])


def _best_so_far(completed: pa.Table, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The best score after each trial: with budgets, of those trained longest, so that it may fall; not of repeats."""
    import numpy as np

    if REPEAT in completed.column_names:
        scores = np.where(np.asarray(completed[REPEAT].is_null()), scores, -np.inf)
    if "budget" not in completed.column_names:
        return np.asarray(np.maximum.accumulate(scores))
    best = np.empty(len(scores))
    longest, highest = 0, -np.inf
    for i, (budget, score) in enumerate(zip(completed["budget"].to_pylist(), scores, strict=True)):
        if (budget or 0) > longest:
            longest, highest = budget, -np.inf
        if (budget or 0) == longest:
            highest = max(highest, score)
        best[i] = highest
    return best


def draw_best(space: Space | None, architecture: Architecture, target: Path) -> dict[str, str]:
    """The best architecture as a graph; names of pictures to their titles."""
    from archsearch.showing.graphs import draw_graph

    if space is None:
        return {}
    draw_graph(space.graph(architecture), target / "best.png", title="best architecture")
    return {"Best architecture": "best.png"}


def draw_front(front: Front | None, target: Path, label: str) -> dict[str, str]:
    """Draws the first two objectives, and how the hypervolume grew: title and file of each picture."""
    from archsearch.showing.curves import draw_columns, draw_front

    if front is None:
        return {}
    (first, second), points = list(front.objectives)[:2], front.points[:, :2]
    said = {"score": label}
    draw_front(
        target / "front.png", points[:, ::-1], front.on_front, (said.get(second, second), said.get(first, first))
    )
    columns = dict(zip(("completed trials", "hypervolume, share"), front.growth.T.tolist(), strict=True))
    draw_columns(target / "hypervolume.png", columns, "share of the box between the worst and the best that were seen")
    return {"Best compromises": "front.png", "Hypervolume by trials": "hypervolume.png"}


def draw_set_up(directory: Path, target: Path, notices: Notices) -> dict[str, str]:
    """Draws what the evaluator noted of its preparation: title and file of each picture."""
    from archsearch.showing.curves import draw_columns

    pictures = {}
    for path in sorted((directory / "evaluator").glob("*.csv")):
        try:
            rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
            columns = list(zip(*([float(cell) for cell in row] for row in rows[1:]), strict=True))
            if len(rows) > 1 and len(columns) != len(rows[0]):
                raise ValueError("expected a figure for each column")
        except (OSError, ValueError, csv.Error) as error:
            notices.tell(path, f"is damaged ({error}): what was noted of the preparation is not shown")
            continue
        if len(rows) > 1:
            picture = f"set_up_{path.stem}.png"
            draw_columns(target / picture, dict(zip(rows[0], columns, strict=True)), path.stem)
            pictures[f"Set-up: {path.stem}"] = picture
    return pictures


# -- a search by gradient ------------------------------------------------------------------------


def draw_searched(searched: Searched, truth: Truth | None, target: Path) -> dict[str, str]:
    """Draws what a search by gradient noted of each epoch, and the true accuracy: title and file of each picture."""
    from archsearch.showing.curves import draw_heat_maps, draw_lines

    epochs = searched.column("epoch")
    accuracy = {
        "relaxed network": searched.column("relaxed_accuracy"),
        "derived path, inherited weights": searched.column("derived_accuracy"),
    }
    if truth is not None:
        accuracy["derived cell, the truth"] = truth.of(searched.architectures)
    panels = {
        "accuracy, %": accuracy,
        "entropy, nats": {"": searched.column("entropy")},
        "skip share": {"": searched.column("skip_share")},
    }
    if "eigenvalue" in searched.rows.column_names:
        panels["eigenvalue"] = {"": searched.column("eigenvalue")}
    draw_lines(target / "search.png", epochs, panels, "epoch")
    pictures = {"The search, epoch by epoch": "search.png"}
    maps = {
        name: dict(zip(candidates, shares, strict=True))
        for (name, candidates), shares in zip(searched.choices, searched.shares(), strict=False)
    }
    if maps:
        draw_heat_maps(target / "shares.png", maps, "epoch", "share of the candidate in its choice")
        pictures["Architecture parameters"] = "shares.png"
    return pictures
