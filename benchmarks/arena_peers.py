"""Who takes part in ``benchmarks/arena.py``: all controllers of the package, other libraries, plain loops.

All are asked for one architecture at a time and told its value; repeats and what has no score are free.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from archsearch import controllers
from archsearch.controller import Controller, Plan
from archsearch.space import Space
from archsearch.trial import Architecture, Evaluation, Trial


class Searcher(Protocol):
    """Is asked for an architecture, and told its value; None: it has none."""

    def ask(self) -> Architecture: ...
    def tell(self, architecture: Architecture, value: float | None) -> None: ...


class Ours:
    """A controller of the package."""

    def __init__(self, controller: Controller, space: Space, seed: int, trials: int) -> None:
        self.controller = controller
        controller.plan = Plan(trials)
        controller.start(space, seed)

    def ask(self) -> Architecture:
        (self.proposal,) = self.controller.ask()
        return self.proposal.architecture

    def tell(self, architecture: Architecture, value: float | None) -> None:
        id_, _, parent, budget = self.proposal
        evaluation = None if value is None else Evaluation(value)
        failure = "" if evaluation else "limit"
        self.controller.tell([Trial(id_, architecture, parent, evaluation, failure=failure, budget=budget)])


class PlainEvolution:
    """Regularized evolution, 20 and 5, that draws decision by decision."""

    def __init__(self, space: Space, seed: int) -> None:
        self.space, self.rng = space, np.random.default_rng([9, seed])
        self.members: list[tuple[float, Architecture]] = []

    def ask(self) -> Architecture:
        if len(self.members) < 20:
            return self.space.sample(self.rng)
        drawn = [self.members[int(i)] for i in self.rng.integers(20, size=5)]
        return self.space.mutate(max(drawn)[1], self.rng)

    def tell(self, architecture: Architecture, value: float | None) -> None:
        if value is not None:
            self.members = [*self.members, (value, architecture)][-20:]


class PlainGaussianProcess:
    """One Hamming distance over all named decisions, normal scores, length by likelihood, EI, three a fit."""

    def __init__(self, space: Space, seed: int) -> None:
        self.space, self.rng = space, np.random.default_rng([9, seed])
        self.known: dict[Architecture, float] = {}
        self.seen: set[Architecture] = set()
        self.queue: list[Architecture] = []
        self.names: dict[str, int] = {}

    def ask(self) -> Architecture:
        if len(self.known) < 10:
            architecture = self.space.sample(self.rng)
        else:
            self.queue = self.queue or self.fit()
            architecture = self.queue.pop(0)
        self.seen.add(architecture)
        return architecture

    def tell(self, architecture: Architecture, value: float | None) -> None:
        if value is not None:
            self.known[architecture] = value

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


class Optuna:
    """Define by run, a categorical parameter for each decision, by name."""

    def __init__(self, space: Space, sampler: str, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        kind = {"TPE": optuna.samplers.TPESampler, "GP": optuna.samplers.GPSampler}[sampler]
        self.space, self.fail = space, optuna.trial.TrialState.FAIL
        self.study = optuna.create_study(direction="maximize", sampler=kind(seed=seed))

    def ask(self) -> Architecture:
        self.trial, prefix = self.study.ask(), ()
        while n := self.space.arity(prefix):
            name = f"{self.space.label(prefix)} of {n}"
            prefix = (*prefix, self.trial.suggest_categorical(name, list(range(n))))
        return prefix

    def tell(self, architecture: Architecture, value: float | None) -> None:
        self.study.tell(self.trial, value, state=self.fail if value is None else None)


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

    def __init__(self, space: Space, seed: int, trials: int) -> None:
        nevergrad = importlib.import_module("nevergrad")  # no extra of this package

        super().__init__(space)
        parts = {name: nevergrad.p.Choice(list(range(n))) for name, n in self.names.items()}
        space_ = nevergrad.p.Dict(**parts)
        space_.random_state = np.random.RandomState(seed)
        self.optimizer = nevergrad.optimizers.registry["NGOpt"](space_, budget=trials)

    def ask(self) -> Architecture:
        self.asked = self.optimizer.ask()
        return self.built(self.asked.value)

    def tell(self, architecture: Architecture, value: float | None) -> None:
        self.optimizer.tell(self.asked, 1e3 if value is None else -value)


class Skopt(Vector):
    """Optimizer of scikit-optimize, with extra trees."""

    def __init__(self, space: Space, seed: int) -> None:
        skopt = importlib.import_module("skopt")

        super().__init__(space)
        dimensions = [skopt.space.Categorical(list(range(max(n, 2)))) for n in self.names.values()]
        self.optimizer = skopt.Optimizer(dimensions, "ET", random_state=seed)

    def ask(self) -> Architecture:
        self.point = self.optimizer.ask()
        return self.built(dict(zip(self.names, self.point, strict=True)))

    def tell(self, architecture: Architecture, value: float | None) -> None:
        self.optimizer.tell(self.point, 1e3 if value is None else -value)


Make = Callable[[Space, int, int], Searcher]


def ours(name: str, **settings: Any) -> Make:
    return lambda space, seed, trials: Ours(getattr(controllers, name)(**settings), space, seed, trials)


OURS: dict[str, Make] = {
    "Auto": ours("Auto"),
    "BayesianOptimization": ours("BayesianOptimization"),
    "Bananas": ours("Bananas"),
    "LocalSearch": ours("LocalSearch"),
    "RegularizedEvolution": ours("RegularizedEvolution"),
    "ElitistEvolution": ours("ElitistEvolution"),
    "Reinforce(softmax)": ours("Reinforce", policy="softmax"),
    "RandomSearch": ours("RandomSearch"),
}
PEERS: dict[str, Make] = {
    "plain Gaussian process": lambda space, seed, _: PlainGaussianProcess(space, seed),
    "plain evolution": lambda space, seed, _: PlainEvolution(space, seed),
    "Optuna TPE": lambda space, seed, _: Optuna(space, "TPE", seed),
    "Optuna GP": lambda space, seed, _: Optuna(space, "GP", seed),
    "Nevergrad NGOpt": Nevergrad,
    "scikit-optimize (extra trees)": lambda space, seed, _: Skopt(space, seed),
}
