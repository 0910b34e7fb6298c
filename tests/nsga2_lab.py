"""Asking and telling, for the tests of ``NSGA2``."""

from __future__ import annotations

from types import SimpleNamespace

from deap import base

from archsearch import Controller, Evaluation, Space, Trial
from archsearch.controllers import NSGA2
from archsearch.trial import Proposal

WIDE = Space(arities=[1000] * 40)
TWO = {"score": "max", "cost": "min"}


def started(space: Space = WIDE, seed: int = 0, **changes: object) -> NSGA2:
    controller = NSGA2(**{"objectives": TWO, "population_size": 10, **changes})  # type: ignore[arg-type]
    controller.start(space, seed)
    return controller


def result(proposal: Proposal, score: float | None, **metrics: float) -> Trial:
    evaluation = None if score is None else Evaluation(score, metrics)
    failure = "" if evaluation else "exception"
    return Trial(proposal.id, proposal.architecture, proposal.parent, evaluation, failure=failure)


def scored(proposal: Proposal) -> Trial:
    """A trade-off between the two halves of the architecture, on a coarse grid that has ties."""
    half = len(proposal.architecture) // 2
    first, second = sum(proposal.architecture[:half]), sum(proposal.architecture[half:])
    return result(proposal, (first - second // 2) // 500, cost=(first + second) // 400)


def run(controller: Controller, n: int) -> list[Trial]:
    """One worker."""
    trials: list[Trial] = []
    for _ in range(n):
        (proposal,) = controller.ask()
        trials.append(scored(proposal))
        controller.tell(trials[-1:])
    return trials


def values(trial: Trial) -> tuple[float, float]:
    assert trial.score is not None
    return trial.score, -trial.metrics["cost"]


def individuals(points: list) -> list:
    fitness = type("Fitness", (base.Fitness,), {"weights": (1.0,) * len(points[0])})
    return [SimpleNamespace(id=i, fitness=fitness(tuple(point))) for i, point in enumerate(points)]
