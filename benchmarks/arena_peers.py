"""Who takes part in ``benchmarks/arena.py``: controllers of the package, other libraries, plain loops.

All are asked for one architecture at a time and told its values; repeats and what has no score are free. Ours know
beforehand what has no score, as in a search in a table (``Controller.refusal``); others hear that it failed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from arena_libraries import BoTorch, Deap, DeapFront, Nevergrad, Optuna, Skopt, SyneTune
from arena_plain import PlainEvolution, PlainGaussianProcess, Race, Searcher
from arena_problems import Values

from archsearch import controllers
from archsearch.controller import Controller, Plan
from archsearch.models import GaussianProcess
from archsearch.trial import Architecture, Evaluation, Trial


class Ours:
    """A controller of the package."""

    def __init__(self, controller: Controller, race: Race) -> None:
        self.controller = controller
        controller.plan, controller.refusal = Plan(race.trials, race.workers), race.refusal
        controller.start(race.space, race.seed)

    def ask(self) -> tuple[Any, Architecture]:
        (proposal,) = self.controller.ask()
        return proposal, proposal.architecture

    def tell(self, mark: Any, architecture: Architecture, values: Values | None) -> None:
        id_, _, parent, budget = mark
        evaluation = None
        if values is not None:
            evaluation = Evaluation(values[0], {"second": values[1]} if len(values) > 1 else {})
        failure = "" if evaluation else "limit"
        self.controller.tell([Trial(id_, architecture, parent, evaluation, failure=failure, budget=budget)])


Make = Callable[[Race], Searcher]


def ours(name: str, **settings: Any) -> Make:
    def make(race: Race) -> Searcher:
        several = {"objectives": {"score": "max", "second": "max"}} if race.objectives > 1 else {}
        return Ours(getattr(controllers, name)(**settings, **(several if name != "RandomSearch" else {})), race)

    return make


OURS: dict[str, Make] = {
    "Auto": ours("Auto"),
    "BayesianOptimization": ours("BayesianOptimization"),
    "Bananas": ours("Bananas"),
    "LocalSearch": ours("LocalSearch"),
    "RegularizedEvolution": ours("RegularizedEvolution"),
    "ElitistEvolution": ours("ElitistEvolution"),
    "OnePlusLambda": ours("OnePlusLambda"),
    "TreeSearch": ours("TreeSearch"),
    "LaNAS": ours("LaNAS"),
    "PPO": ours("PPO", policy="softmax"),
    "Reinforce": ours("Reinforce", policy="softmax"),
    "HypervolumeImprovement": ours("HypervolumeImprovement"),
    "NSGA2": ours("NSGA2"),
    "RandomSearch": ours("RandomSearch"),
    "linear kernel": ours("BayesianOptimization", model=GaussianProcess(linear_until=40)),
}
PEERS: dict[str, Make] = {
    "plain Gaussian process": PlainGaussianProcess,
    "plain evolution": PlainEvolution,
    "DEAP by hand": Deap,
    "DEAP NSGA-II": DeapFront,
    "Optuna TPE": lambda race: Optuna(race, "TPE"),
    "Optuna NSGA-II": lambda race: Optuna(race, "NSGA-II"),
    "Optuna GP": lambda race: Optuna(race, "GP"),
    "Nevergrad NGOpt": lambda race: Nevergrad(race, "NGOpt"),
    "Nevergrad (1+1)": lambda race: Nevergrad(race, "PortfolioDiscreteOnePlusOne"),
    "scikit-optimize": Skopt,
    "Syne Tune CQR": SyneTune,
    "BoTorch": BoTorch,
}
SEVERAL = ("Auto", "HypervolumeImprovement", "NSGA2", "RandomSearch", "Optuna TPE", "Optuna NSGA-II", "DEAP NSGA-II")
"""Who takes two objectives."""

ONLY_SEVERAL = ("HypervolumeImprovement", "NSGA2", "Optuna NSGA-II", "DEAP NSGA-II")
"""Who is there for two objectives only: with one they are evolution like others."""

BY_NAME = ("scikit-optimize", "Syne Tune CQR", "linear kernel")
"""Who is run only where it is named: it takes half a second to seconds a trial, or is not what is proposed."""

AT_MOST = {
    "Optuna GP": 100,
    "scikit-optimize": 50,
    "BoTorch": 100,
    "Syne Tune CQR": 50,
    "Nevergrad NGOpt": 100,
    "Nevergrad (1+1)": 100,
}
"""Evaluations of who takes much longer than all others, up to half a second a trial; with one worker only."""

ASKED_FOR = {"Optuna GP": 4, "Nevergrad NGOpt": 8}
"""Times the evaluations that they may ask before they are taken to be stuck: repeats cost them as much as a trial."""
