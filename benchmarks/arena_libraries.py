"""Other libraries in ``benchmarks/arena.py``, each used as its own pages advise for categories and conditions.

Not there: SMAC3, whose forests (pyrfr) have no wheels.
"""

from __future__ import annotations

import datetime
import importlib
import logging
import random
from typing import Any

import numpy as np
from arena_plain import PlainGaussianProcess, Race
from arena_problems import Values

from archsearch.space import Space
from archsearch.trial import Architecture


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
    """Define by run, a categorical parameter for each decision, by name.

    The Gaussian process takes only what all trials so far decide; for the rest its ``independent_sampler`` is there,
    TPE. Where that is all, it is told that objectives have no noise.
    """

    def __init__(self, race: Race, sampler: str) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        samplers, seed = optuna.samplers, race.seed
        made = {
            "TPE": lambda: samplers.TPESampler(seed=seed, constant_liar=race.workers > 1),
            "GP": lambda: samplers.GPSampler(
                seed=seed,
                independent_sampler=samplers.TPESampler(seed=seed),
                deterministic_objective=race.space.arities is not None,
            ),
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
            prefix = (*prefix, int(options.get(self.space.label(prefix), 0)) % n)
        return prefix


class Nevergrad(Vector):
    """Nevergrad: ``NGOpt``, its wizard, or what its pages on machine learning advise, a portfolio of discrete (1+1).

    Decisions are a ``TransitionChoice`` without order, as the discrete (1+1) of both take it anyway. A ``Choice``
    draws its value from a softmax, which the wizard takes for noise: it leaves the discrete methods for it.
    """

    def __init__(self, race: Race, optimizer: str) -> None:
        nevergrad = importlib.import_module("nevergrad")  # no extra of this package

        super().__init__(race.space)
        choice = nevergrad.p.TransitionChoice
        parts = {name: choice(list(range(n)), ordered=False) for name, n in self.names.items() if n > 1}
        space = nevergrad.p.Dict(**parts)
        space.random_state = np.random.RandomState(race.seed)
        made = nevergrad.optimizers.registry[optimizer]
        self.optimizer = made(space, budget=race.trials, num_workers=race.workers)

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
    """BoTorch: MixedSingleTaskGP on a category for each named decision, LogEI over the plain process's candidates."""

    def fit(self) -> list[Architecture]:
        import torch

        models = importlib.import_module("botorch.models")
        fit_gpytorch_mll = importlib.import_module("botorch.fit").fit_gpytorch_mll
        likelihoods = importlib.import_module("gpytorch.mlls")
        acquisition = importlib.import_module("botorch.acquisition.analytic")

        asked, known = self.candidates(), list(self.known)
        inputs = torch.tensor(self.table([*known, *asked]), dtype=torch.float64)
        scores = torch.tensor(list(self.known.values()), dtype=torch.float64)[:, None]
        model = models.MixedSingleTaskGP(inputs[: len(known)], scores, cat_dims=list(range(inputs.shape[1])))
        fit_gpytorch_mll(likelihoods.ExactMarginalLogLikelihood(model.likelihood, model))
        with torch.no_grad():
            worth = acquisition.LogExpectedImprovement(model, scores.max())(inputs[len(known) :, None]).numpy()
        return [asked[i] for i in np.argsort(-worth)[:3]]
