"""Pictures of searches and comparisons as Matplotlib figures, and the tables behind them.

    from archsearch import plot, search

    result = search(...)
    plot.learning_curve(result)          # in a notebook: shown
    plot.importance("runs/first").savefig("importance.png")

Every function takes what was searched as a ``Result`` or as the path of a run folder, which may still be running.
"""

from archsearch.plot.comparisons import break_even, cost_and_rank, regrets, searches
from archsearch.plot.decisions import importance, importance_of, parallel_decisions
from archsearch.plot.frames import Frames, frames
from archsearch.plot.single import architecture, front, learning_curve

__all__ = [
    "Frames",
    "architecture",
    "break_even",
    "cost_and_rank",
    "frames",
    "front",
    "importance",
    "importance_of",
    "learning_curve",
    "parallel_decisions",
    "regrets",
    "searches",
]
