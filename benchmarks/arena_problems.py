"""The problems of ``benchmarks/arena.py``: tables that are shipped, and synthetic spaces whose optimum is known."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple

import numpy as np

from archsearch.errors import InvalidArchitecture
from archsearch.evaluators import Tabular
from archsearch.space import Space
from archsearch.spaces import NASBench101, NASBench201, NASBenchMacro
from archsearch.trial import Architecture

ROOT = 20261130
"""What the numbers in synthetic problems are drawn from, together with the seed of a search."""


class Problem(NamedTuple):
    """What is searched, and how good an architecture is: at most 0, below by its regret; None: it has no score."""

    space: Space
    value: Callable[[Architecture], float | None]


def table(space: Space, **settings: object) -> Callable[[int], Problem]:
    """A shipped table; the same for all seeds."""

    def make(seed: int) -> Problem:  # noqa: ARG001
        key = repr(space), repr(settings)
        if key not in _LOOKED_UP:
            _LOOKED_UP[key] = _looked_up(space, settings)
        return _LOOKED_UP[key]

    return make


_LOOKED_UP: dict[object, Problem] = {}


def _looked_up(space: Space, settings: Mapping[str, object]) -> Problem:
    evaluator = Tabular(**settings)  # type: ignore[arg-type]
    evaluator.start(space)
    best = max(evaluator.evaluate(each, 0).score for each in evaluator.architectures)

    def value(architecture: Architecture) -> float | None:
        try:
            return evaluator.evaluate(architecture, 0).score - best
        except InvalidArchitecture:
            return None

    return Problem(space, value)


class Layered(Space):
    """One to six layers, each of a kind that has settings of its own.

    Args:
        grouped: Whether all kinds are decided before all settings.
    """

    KINDS = (("width", 4), ("kernel", 3)), (("width", 4), ("ratio", 3)), (("size", 2),), ()

    def __init__(self, grouped: bool = False) -> None:
        self.grouped = grouped
        super().__init__(max_length=19, max_options=6)
        self._next: dict[Architecture, tuple[str, int]] = {}

    def arity(self, prefix: Architecture) -> int:
        return self._decision(prefix)[1]

    def label(self, prefix: Architecture) -> str:
        return self._decision(prefix)[0]

    def subtree(self, prefix: Architecture) -> Hashable:
        return prefix if self.grouped else (prefix[:1], len(prefix), self._decision(prefix)[0], self._kind(prefix))

    def _kind(self, prefix: Architecture) -> int:
        found = -1
        for i, option in enumerate(prefix):
            found = option if self.label(prefix[:i]).startswith("kind") else found
        return found

    def _decision(self, prefix: Architecture) -> tuple[str, int]:
        if prefix not in self._next:
            if len(self._next) > 200_000:
                self._next.clear()
            self._next[prefix] = self._walk(prefix)
        return self._next[prefix]

    def _walk(self, prefix: Architecture) -> tuple[str, int]:
        if not prefix:
            return "depth", 6
        depth, place = prefix[0] + 1, 1
        kinds: list[int] = []
        for layer in range(depth if self.grouped else 0):
            if place == len(prefix):
                return f"kind {layer}", 4
            kinds.append(prefix[place])
            place += 1
        for layer in range(depth):
            if not self.grouped:
                if place == len(prefix):
                    return f"kind {layer}", 4
                kinds.append(prefix[place])
                place += 1
            for name, options in self.KINDS[kinds[layer]]:
                if place == len(prefix):
                    return f"{name} {layer}", options
                place += 1
        return "", 0


def layered(grouped: bool) -> Callable[[int], Problem]:
    """Effects of depth, kinds and settings, and of kinds that follow each other; the optimum by dynamic programming."""

    def make(seed: int) -> Problem:
        space, rng = Layered(grouped), np.random.default_rng([ROOT, 1, grouped, seed])
        depths = -1.2 * rng.uniform(0.5, 1.5) * np.abs(np.arange(6) - rng.integers(6))
        kinds, pairs = rng.normal(0, 1, (6, 4)), rng.normal(0, 0.8, (4, 4))
        settings = {
            (kind, name): rng.normal(0, 0.7, (6, options))
            for kind, each in enumerate(Layered.KINDS)
            for name, options in each
        }
        tops = np.array(
            [
                [kinds[i, k] + sum(settings[k, name][i].max() for name, _ in Layered.KINDS[k]) for k in range(4)]
                for i in range(6)
            ]
        )
        best, reached = -np.inf, tops[0]
        for layer in range(6):
            reached = reached if not layer else tops[layer] + (reached[:, None] + pairs).max(0)
            best = max(best, reached.max() + depths[layer])

        def value(architecture: Architecture) -> float:
            said = {space.label(architecture[:i]): option for i, option in enumerate(architecture)}
            depth = said["depth"] + 1
            chosen = [said[f"kind {i}"] for i in range(depth)]
            total = depths[depth - 1] + sum(pairs[a, b] for a, b in itertools.pairwise(chosen))
            for i, kind in enumerate(chosen):
                total += kinds[i, kind]
                total += sum(settings[kind, name][i][said[f"{name} {i}"]] for name, _ in Layered.KINDS[kind])
            return float(total - best)

        return Problem(space, value)

    return make


class Endless(Space):
    """One to fourteen operations of five, until option 0 says that there are no more."""

    def __init__(self) -> None:
        super().__init__(max_length=15, max_options=6)

    def arity(self, prefix: Architecture) -> int:
        return 0 if len(prefix) == 15 or prefix[-1:] == (0,) else 1 if len(prefix) == 14 else 5 if not prefix else 6

    def subtree(self, prefix: Architecture) -> Hashable:
        return len(prefix), prefix[-1:] == (0,)


def endless(strong: bool) -> Callable[[int], Problem]:
    """Effects of operations, fading with depth, of pairs and of length; the first decision cannot end it."""

    def make(seed: int) -> Problem:
        space, rng = Endless(), np.random.default_rng([ROOT, 2, strong, seed])
        operations, pairs = rng.normal(0, 1, 5), rng.normal(0, 1.2 if strong else 0.5, (5, 5))
        fading, lengths = 0.9 ** np.arange(14), -0.4 * np.abs(np.arange(14) - rng.integers(2, 12))
        best, reached = -np.inf, operations * fading[0]
        for place in range(14):
            reached = reached if not place else operations * fading[place] + (reached[:, None] + pairs).max(0)
            best = max(best, reached.max() + lengths[place])

        def value(architecture: Architecture) -> float:
            # The first decision has no option that ends, so its options are the operations themselves.
            chosen = [architecture[0], *(option - 1 for option in architecture[1:] if option)]
            total = sum(operations[o] * fading[i] for i, o in enumerate(chosen)) + lengths[len(chosen) - 1]
            return float(total + sum(pairs[a, b] for a, b in itertools.pairwise(chosen)) - best)

        return Problem(space, value)

    return make


class Mobile(Space):
    """28 decisions of three or four options, as in a mobile network of 14 layers with kernel and expansion."""

    def __init__(self) -> None:
        super().__init__(arities=[3, 4] * 14)


def mobile(seed: int) -> Problem:
    """Effects of unequal size, and pairs of neighbouring layers; the optimum is the best of 100 ascents."""
    space, rng = Mobile(), np.random.default_rng([ROOT, 3, seed])
    effects = np.zeros((28, 4))
    for i in range(28):
        effects[i] = np.sort(rng.normal(0, rng.exponential(1), 4))
    pairs = rng.normal(0, 0.35, (26, 4, 4))
    rows, behind = np.arange(28), np.arange(26)

    def total(options: np.ndarray) -> float:
        return float(effects[rows, options].sum() + pairs[behind, options[:-2], options[2:]].sum())

    best = -np.inf
    for _ in range(100):
        options = np.array(space.sample(rng))
        reached, before = total(options), -np.inf
        while reached > before:
            before = reached
            for i, arity in enumerate(space.arities or ()):
                tries = [np.where(rows == i, option, options) for option in range(arity)]
                options = max(tries, key=total)
            reached = total(options)
        best = max(best, reached)
    return Problem(space, lambda architecture: total(np.array(architecture)) - best)


PROBLEMS: dict[str, Callable[[int], Problem]] = {
    "NAS-Bench-201, CIFAR-10": table(NASBench201(), dataset="cifar10"),
    "NAS-Bench-201, CIFAR-100": table(NASBench201(), dataset="cifar100"),
    "NAS-Bench-201, ImageNet16-120": table(NASBench201(), dataset="ImageNet16-120"),
    "NAS-Bench-Macro": table(NASBenchMacro(), dataset="nasbench_macro"),
    "EC-NAS, 5 vertices": table(NASBench101(max_vertices=5), dataset="ecnas_5v"),
    "digits201 (holes)": table(NASBench201(), dataset="digits201"),
    "layers": layered(False),
    "layers, kinds first": layered(True),
    "endless": endless(False),
    "endless, pairs": endless(True),
    "28 decisions": mobile,
}
