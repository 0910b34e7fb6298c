"""Figures of comparisons: of evaluators, and of controllers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from archsearch.contests.regret_pictures import draw
from archsearch.contests.standings import Regrets
from archsearch.errors import UsageError
from archsearch.judging.compared import Findings
from archsearch.judging.comparison_pictures import draw_break_even, draw_cost_and_rank, draw_search

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def cost_and_rank(comparison: Findings) -> Figure:
    """Kendall's tau of each evaluator over what as many architectures as a search scores cost.

    Args:
        comparison: What ``compare`` found.
    """
    return draw_cost_and_rank(comparison, None)


def break_even(comparison: Findings) -> Figure:
    """The billed cost of each evaluator over the number of architectures, so that one sees when it pays off.

    Args:
        comparison: What ``compare`` found.
    """
    return draw_break_even(comparison, None)


def searches(comparison: Findings) -> Figure:
    """The truth of what a search with each evaluator picks, over billed cost.

    Args:
        comparison: What ``compare`` found.

    Raises:
        UsageError: If the comparison ran no searches (``budgets`` was empty).
    """
    if not comparison.budgets:
        raise UsageError("searches: this comparison ran none; give compare budgets, and a number of trials")
    return draw_search(comparison, None)


def regrets(comparison: Regrets, *, over: Literal["evaluations", "cost"] = "evaluations") -> Figure:
    """The regret of each controller, mean and 95 % interval over seeds; see ``compare_controllers``.

    Args:
        comparison: What was found.
        over: Evaluations, or billed seconds.
    """
    if over not in {curve.axis for curve in comparison.regrets}:
        raise UsageError(f"regrets: over: expected evaluations or cost, got {over!r}")
    return draw(None, comparison, over)
