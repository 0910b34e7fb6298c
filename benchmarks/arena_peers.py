"""Who takes part in ``benchmarks/arena.py``: controllers of the package, other libraries, plain loops.

All are asked for one architecture at a time and told its values; repeats and what has no score are free. Ours know
beforehand what has no score, as in a search in a table (``Controller.refusal``); others hear that it failed. Not there:
SMAC3, whose forests (pyrfr) have no wheels.
"""

from __future__ import annotations

import datetime
import importlib
import logging
import random
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from arena_problems import Values

from archsearch import controllers
from archsearch.controller import Controller, Plan
from archsearch.models import GaussianProcess
from archsearch.space import Space
from archsearch.trial import Architecture, Evaluation, Trial


class Searcher(Protocol):
    """Is asked for an architecture, with a mark of its own, and told its values by that mark; None: it has none."""

    def ask(self) -> tuple[Any, Architecture]: ...
    def tell(self, mark: Any, architecture: Architecture, values: Values | None) -> None: ...


class Race(NamedTuple):
    """What a searcher may know.

    Attributes:
        space: What is searched.
        seed: Its own.
        trials: Evaluations in all.
        workers: Of these at a time.
        objectives: One or two, all as large as possible.
        refusal: Why an architecture has no score, empty if it has one: what an evaluator says, ``Evaluator.refusal``.
    """

    space: Space
    seed: int
    trials: int
    workers: int
    objectives: int
    refusal: Callable[[Architecture], str] | None = None


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


class PlainEvolution:
    """Regularized evolution, 20 and 5, that draws decision by decision."""

    def __init__(self, race: Race) -> None:
        self.space, self.rng = race.space, np.random.default_rng([9, race.seed])
        self.members: list[tuple[float, Architecture]] = []

    def ask(self) -> tuple[Any, Architecture]:
        if len(self.members) < 20:
            return None, self.space.sample(self.rng)
        drawn = [self.members[int(i)] for i in self.rng.integers(20, size=5)]
        return None, self.space.mutate(max(drawn)[1], self.rng)

    def tell(self, mark: Any, architecture: Architecture, values: Values | None) -> None:
        if values is not None:
            self.members = [*self.members, (values[0], architecture)][-20:]


class PlainGaussianProcess:
    """One Hamming distance over all named decisions, normal scores, length by likelihood, EI, three a fit."""

    def __init__(self, race: Race) -> None:
        self.space, self.rng = race.space, np.random.default_rng([9, race.seed])
        self.known: dict[Architecture, float] = {}
        self.seen: set[Architecture] = set()
        self.queue: list[Architecture] = []
        self.names: dict[str, int] = {}

    def ask(self) -> tuple[Any, Architecture]:
        if len(self.known) < 10:
            architecture = self.space.sample(self.rng)
        else:
            self.queue = self.queue or self.fit()
            architecture = self.queue.pop(0)
        self.seen.add(architecture)
        return None, architecture

    def tell(self, mark: Any, architecture: Architecture, values: Values | None) -> None:
        if values is not None:
            self.known[architecture] = values[0]

    def table(self, architectures: list[Architecture]) -> np.ndarray:
        rows = [
            {self.names.setdefault(self.space.label(a[:i]), len(self.names)): o for i, o in enumerate(a)}
            for a in architectures
        ]
        table = np.full((len(rows), len(self.names)), -1)
        for row, cells in zip(table, rows, strict=True):
            row[list(cells)] = list(cells.values())
        return table

    def candidates(self) -> list[Architecture]:
        found = [self.space.sample(self.rng) for _ in range(100)]
        best = sorted(self.known, key=lambda each: -self.known[each])[:5]
        for i in range(300):
            child = self.space.mutate(best[i % 5], self.rng)
            while self.rng.random() < 0.5:
                child = self.space.mutate(child, self.rng)
            found.append(child)
        return [each for each in dict.fromkeys(found) if each not in self.seen] or [self.space.sample(self.rng)]

    def fit(self) -> list[Architecture]:
        from scipy.linalg import cho_factor, cho_solve
        from scipy.special import ndtr, ndtri
        from scipy.stats import rankdata

        asked, known = self.candidates(), list(self.known)
        n, table = len(known), self.table([*known, *asked])
        distances = (table[:, None] != table[None, :n]).sum(2).astype(float)
        targets = ndtri((rankdata(list(self.known.values())) - 0.5) / n)
        best: tuple[float, Any] = (-np.inf, None)
        for length in (1, 2, 4, 8, 16, 32):
            kernel = np.exp(-distances[:n] / length)
            for noise in (0.001, 0.01, 0.1, 0.3):
                factor = cho_factor(kernel + noise * np.eye(n), lower=True)
                weights = cho_solve(factor, targets)
                scale = targets @ weights / n
                likelihood = -n / 2 * np.log(scale) - np.log(np.diag(factor[0])).sum()
                if likelihood > best[0]:
                    best = likelihood, (length, factor, weights, scale)
        length, factor, weights, scale = best[1]
        kernel = np.exp(-distances[n:] / length)
        mean = kernel @ weights
        spread = np.sqrt(np.maximum(scale * (1 - (kernel * cho_solve(factor, kernel.T).T).sum(1)), 1e-12))
        ahead = (mean - (np.exp(-distances[:n] / length) @ weights).max()) / spread
        improvement = spread * (ahead * ndtr(ahead) + np.exp(-ahead * ahead / 2) / np.sqrt(2 * np.pi))
        return [asked[i] for i in np.argsort(-improvement)[:3]]


class Deap:
    """DEAP by hand: a steady state of 20, tournaments of three, half of the children crossed, all mutated."""

    def __init__(self, race: Race) -> None:
        from deap import base, creator, tools

        if not hasattr(creator, "ArenaMember"):
            creator.create("ArenaFitness", base.Fitness, weights=(1.0,))
            creator.create("ArenaMember", list, fitness=creator.ArenaFitness)
        self.space, self.rng, self.tools, self.member = (
            race.space,
            np.random.default_rng([9, race.seed]),
            tools,
            creator,
        )
        random.seed(race.seed)  # DEAP draws from Python's own generator
        self.members: list[Any] = []

    def ask(self) -> tuple[Any, Architecture]:
        if len(self.members) < 20:
            return None, self.space.sample(self.rng)
        mother, father = (list(each) for each in self.tools.selTournament(self.members, 2, 3))
        if self.space.arities is not None and self.rng.random() < 0.5:
            self.tools.cxOnePoint(mother, father)
        return None, self.space.mutate(tuple(mother), self.rng)

    def tell(self, mark: Any, architecture: Architecture, values: Values | None) -> None:
        if values is None:
            return
        member = self.member.ArenaMember(architecture)
        member.fitness.values = values[:1]
        self.members = self.tools.selBest([*self.members, member], 20)


class DeapFront:
    """DEAP by hand: NSGA-II with 40 members, tournaments by dominance and crowding, nine of ten children crossed."""

    SIZE = 40

    def __init__(self, race: Race) -> None:
        from deap import base, creator, tools

        if not hasattr(creator, "FrontMember"):
            creator.create("FrontFitness", base.Fitness, weights=(1.0, 1.0))
            creator.create("FrontMember", list, fitness=creator.FrontFitness)
        self.space, self.rng = race.space, np.random.default_rng([9, race.seed])
        self.tools, self.member = tools, creator
        random.seed(race.seed)
        self.members: list[Any] = []
        self.children: list[Any] = []
        self.size = min(max(10, race.trials // 20), self.SIZE)  # as Auto chooses that of NSGA2

    def ask(self) -> tuple[Any, Architecture]:
        if not self.members:
            return None, self.space.sample(self.rng)
        mother, father = self._parent(), self._parent()
        child = tuple(mother)
        if self.rng.random() < 0.9:
            child = self.space.crossover(child, tuple(father), self.rng)
        return None, self.space.mutate(child, self.rng)

    def _parent(self) -> Any:
        one, other = (self.members[int(i)] for i in self.rng.integers(len(self.members), size=2))
        if one.fitness.dominates(other.fitness):
            return one
        better = other.fitness.dominates(one.fitness) or other.fitness.crowding_dist > one.fitness.crowding_dist
        return other if better else one

    def tell(self, mark: Any, architecture: Architecture, values: Values | None) -> None:
        if values is None:
            return
        member = self.member.FrontMember(architecture)
        member.fitness.values = values
        self.children.append(member)
        if len(self.children) == self.size:
            self.members = self.tools.selNSGA2([*self.members, *self.children], self.size)
            self.children = []


class Optuna:
    """Define by run, a categorical parameter for each decision, by name."""

    def __init__(self, race: Race, sampler: str) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        samplers, seed = optuna.samplers, race.seed
        made = {
            "TPE": lambda: samplers.TPESampler(seed=seed, constant_liar=race.workers > 1),
            "GP": lambda: samplers.GPSampler(seed=seed),
            "NSGA-II": lambda: samplers.NSGAIISampler(seed=seed),
        }[sampler]()
        self.space, self.fail = race.space, optuna.trial.TrialState.FAIL
        self.study = optuna.create_study(directions=["maximize"] * race.objectives, sampler=made)

    def ask(self) -> tuple[Any, Architecture]:
        trial, prefix = self.study.ask(), ()
        while n := self.space.arity(prefix):
            name = f"{self.space.label(prefix)} of {n}"
            prefix = (*prefix, trial.suggest_categorical(name, list(range(n))))
        return trial, prefix

    def tell(self, mark: Any, architecture: Architecture, values: Values | None) -> None:
        if values is None:
            self.study.tell(mark, state=self.fail)
        else:
            self.study.tell(mark, list(values))


class Vector:
    """For libraries that know no conditions: an option for each decision by name, those not asked for are ignored."""

    def __init__(self, space: Space) -> None:
        self.space = space
        if space.arities is not None:
            self.names = {space.label((0,) * i): n for i, n in enumerate(space.arities)}
        else:
            self.names = dict(zip(space.by_name.names, space.by_name.options.tolist(), strict=True))

    def built(self, options: dict[str, int]) -> Architecture:
        prefix: Architecture = ()
        while n := self.space.arity(prefix):
            prefix = (*prefix, int(options[self.space.label(prefix)]) % n)
        return prefix


class Nevergrad(Vector):
    """NGOpt of Nevergrad."""

    def __init__(self, race: Race) -> None:
        nevergrad = importlib.import_module("nevergrad")  # no extra of this package

        super().__init__(race.space)
        parts = {name: nevergrad.p.Choice(list(range(n))) for name, n in self.names.items()}
        space = nevergrad.p.Dict(**parts)
        space.random_state = np.random.RandomState(race.seed)
        self.optimizer = nevergrad.optimizers.registry["NGOpt"](space, budget=race.trials, num_workers=race.workers)

    def ask(self) -> tuple[Any, Architecture]:
        asked = self.optimizer.ask()
        return asked, self.built(asked.value)

    def tell(self, mark: Any, architecture: Architecture, values: Values | None) -> None:
        self.optimizer.tell(mark, 1e3 if values is None else -values[0])


class Skopt(Vector):
    """Optimizer of scikit-optimize, with extra trees."""

    def __init__(self, race: Race) -> None:
        skopt = importlib.import_module("skopt")

        super().__init__(race.space)
        dimensions = [skopt.space.Categorical(list(range(max(n, 2)))) for n in self.names.values()]
        self.optimizer = skopt.Optimizer(dimensions, "ET", random_state=race.seed)

    def ask(self) -> tuple[Any, Architecture]:
        point = self.optimizer.ask()
        return point, self.built(dict(zip(self.names, point, strict=True)))

    def tell(self, mark: Any, architecture: Architecture, values: Values | None) -> None:
        self.optimizer.tell(mark, 1e3 if values is None else -values[0])


class SyneTune(Vector):
    """Conformal quantile regression (CQR) of Syne Tune."""

    def __init__(self, race: Race) -> None:
        logging.getLogger("syne_tune").setLevel(logging.ERROR)
        optimizer = "syne_tune.optimizer.schedulers"
        scheduler = importlib.import_module(f"{optimizer}.single_objective_scheduler").SingleObjectiveScheduler
        conformal = f"{optimizer}.searchers.conformal.conformal_quantile_regression_searcher"
        searcher = importlib.import_module(conformal).ConformalQuantileRegression
        choice = importlib.import_module("syne_tune.config_space").choice

        super().__init__(race.space)
        config = {f"d{i}": choice(list(range(max(n, 2)))) for i, n in enumerate(self.names.values())}
        self.backend = importlib.import_module("syne_tune.backend.trial_status")
        made = searcher(config_space=config, random_seed=race.seed)
        self.scheduler = scheduler(config, metric="loss", do_minimize=True, searcher=made, random_seed=race.seed)
        self.count = 0

    def ask(self) -> tuple[Any, Architecture]:
        config = self.scheduler.suggest().config
        trial = self.backend.Trial(trial_id=self.count, config=config, creation_time=datetime.datetime(2026, 1, 1))
        self.count += 1
        self.scheduler.on_trial_add(trial)
        return trial, self.built(dict(zip(self.names, config.values(), strict=True)))

    def tell(self, mark: Any, architecture: Architecture, values: Values | None) -> None:
        self.scheduler.on_trial_complete(mark, {"loss": 1e3 if values is None else -values[0]})


class BoTorch(PlainGaussianProcess):
    """BoTorch by hand: SingleTaskGP on one column an option, logarithm of EI over the plain process's candidates."""

    def fit(self) -> list[Architecture]:
        import torch

        models = importlib.import_module("botorch.models")
        fit_gpytorch_mll = importlib.import_module("botorch.fit").fit_gpytorch_mll
        likelihoods = importlib.import_module("gpytorch.mlls")
        acquisition = importlib.import_module("botorch.acquisition.analytic")

        asked, known = self.candidates(), list(self.known)
        table = self.table([*known, *asked])
        columns = (table[:, :, None] == np.arange(table.max() + 1)).reshape(len(table), -1)
        inputs = torch.tensor(columns[:, columns.any(0)], dtype=torch.float64)
        scores = torch.tensor(list(self.known.values()), dtype=torch.float64)[:, None]
        model = models.SingleTaskGP(inputs[: len(known)], (scores - scores.mean()) / (scores.std() + 1e-9))
        fit_gpytorch_mll(likelihoods.ExactMarginalLogLikelihood(model.likelihood, model))
        best = model.posterior(inputs[: len(known)]).mean.max()
        worth = acquisition.LogExpectedImprovement(model, best)(inputs[len(known) :, None]).detach().numpy()
        return [asked[i] for i in np.argsort(-worth)[:3]]


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
    "Nevergrad NGOpt": Nevergrad,
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

AT_MOST = {"Optuna GP": 50, "scikit-optimize": 50, "BoTorch": 50, "Syne Tune CQR": 50, "Nevergrad NGOpt": 100}
"""Evaluations of who takes much longer than all others, up to half a second a trial; with one worker only."""
