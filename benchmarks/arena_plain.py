"""What a searcher of ``benchmarks/arena.py`` is, and those that need no library: plain evolution, a plain process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from arena_problems import Values

from archsearch.space import Space
from archsearch.trial import Architecture


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
