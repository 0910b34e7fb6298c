"""Figures of one search: its course, its compromises, an architecture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from archsearch.errors import UsageError
from archsearch.pareto import Direction, front_of
from archsearch.plot.sources import Source, searched
from archsearch.showing.curves import draw_front
from archsearch.showing.graphs import draw_graph
from archsearch.showing.report_pictures import draw_curve
from archsearch.space import Space
from archsearch.trial import Architecture

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learning_curve(source: Source, *, over: Literal["trials", "cost"] = "trials", trust: bool = False) -> Figure:
    """The score of each trial and the best so far.

    Args:
        source: A ``Result``, or the path of a run folder.
        over: Completed trials, or billed seconds.
        trust: See ``archsearch.resume``.
    """
    if over not in ("trials", "cost"):
        raise UsageError(f"learning_curve: over: expected trials or cost, got {over!r}")
    found = searched(source, trust)
    found.need_completed()
    return draw_curve(found.trials, None, found.name, found.label, by_cost=over == "cost")


def front(source: Source, objectives: Mapping[str, Direction], *, trust: bool = False) -> Figure:
    """All trials by two objectives, and the best compromises between them.

    Args:
        source: A ``Result``, or the path of a run folder.
        objectives: Two columns of the trials, each ``max`` or ``min``, such as ``{"score": "max", "params": "min"}``.
        trust: See ``archsearch.resume``.

    Raises:
        UsageError: If there are not two, or one is no column of the trials.
    """
    if len(objectives) != 2:
        raise UsageError(f"front: objectives: expected two, got {', '.join(objectives) or 'none'}")
    run = searched(source, trust)
    found = front_of(run.completed, objectives)
    if found is None:
        raise UsageError(f"front: no trial has finite numbers for {' and '.join(objectives)}")
    first, second = (run.label if name == "score" else name for name in found.objectives)
    return draw_front(None, found.points[:, ::-1], found.on_front, (second, first))


def architecture(space: Space, which: Architecture | str) -> Figure:
    """An architecture as a graph.

    Args:
        space: Its space.
        which: Its options, or its name in the space's own notation.

    Raises:
        InvalidArchitecture: If the space has none such.
    """
    chosen = space.parse(which) if isinstance(which, str) else space.validate(which)
    return draw_graph(space.graph(chosen), None, title=space.format(chosen))
