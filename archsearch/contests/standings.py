"""How controllers did: curves of their regret, and where they stand at the end."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

import numpy as np

from archsearch.ranking import Interval

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]


BASELINE = "RandomSearch"

Axis = Literal["evaluations", "cost"]


# -- results -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Curve:
    """The regret of a controller on a task over the course of its searches: mean over seeds, interval of 95 %.

    Attributes:
        task: Name of the task.
        controller: Name of the controller.
        axis: What ``at`` counts: ``evaluations``, or billed seconds (``cost``).
        at: Where, rising.
        mean: Mean regret of the incumbents; NaN where a seed has none yet.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    task: str
    controller: str
    axis: Axis
    at: Array
    mean: Array
    low: Array
    high: Array

    def at_evaluation(self, number: int) -> Interval:
        """The regret after so many evaluations, of a curve over evaluations."""
        return Interval(*(float(each[number - 1]) for each in (self.mean, self.low, self.high)))


@dataclasses.dataclass(frozen=True, slots=True)
class Standing:
    """How a controller did on a task.

    Attributes:
        task: Name of the task.
        controller: Name of the controller.
        regret: Of the incumbent at the end, mean over seeds.
        mean_rank: Of the incumbents at the end, among the controllers under the same seed; 1 is best.
        billed_seconds: What a search was billed, mean over seeds.
        target: Median regret of random search at the end.
        evaluations: By when half of the seeds had come down to the target; None: they never did.
        seconds: The same in billed seconds.
        speed_up: How many times as many evaluations random search needs for that; None: the target was not reached.
    """

    task: str
    controller: str
    regret: Interval
    mean_rank: float
    billed_seconds: float
    target: float
    evaluations: int | None
    seconds: float | None
    speed_up: float | None


@dataclasses.dataclass(frozen=True, eq=False)
class Regrets:
    """The regrets of controllers over the course of their searches: what pictures are made of.

    Attributes:
        tasks: Names of the tasks.
        controllers: Names of the controllers.
        baseline: Which of them is random search.
        truth: What the regret is in: ``score``, or the name of a metric.
        seeds: Searches of each controller on each task.
        evaluations: Evaluations of the longest search; all curves go up to it.
        regrets: A curve for each task, controller and axis. None over cost where nothing was billed.
    """

    tasks: tuple[str, ...]
    controllers: tuple[str, ...]
    baseline: str
    truth: str
    seeds: int
    evaluations: int
    regrets: tuple[Curve, ...]


AXIS_TITLES: dict[Axis, str] = {"evaluations": "Regret over evaluations", "cost": "Regret over billed cost"}
