"""The problems of ``benchmarks/arena.py``: tables that are shipped, and synthetic spaces whose optimum is known."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from archsearch.errors import InvalidArchitecture
from archsearch.evaluators import Tabular
from archsearch.pareto import hypervolume, non_dominated
from archsearch.space import Space
from archsearch.spaces import NASBench101, NASBench201, NASBenchMacro
from archsearch.trial import Architecture

Values = tuple[float, ...]
Make = Callable[[int, int], "Problem"]
"""From what the numbers in synthetic problems are drawn from, and the seed of a search."""


class Problem(NamedTuple):
    """What is searched, and how good an architecture is.

    Attributes:
        space: What is searched.
        value: Of one objective: at most 0, below by its regret; of two: each from 0 to 1. None: it has no score.
        best: The regret of nothing at all that is left: 0, or the hypervolume of the true front, above (0, 0).
        objectives: One or two.
        refusal: What the evaluator of a search would say of what has no score.
    """

    space: Space
    value: Callable[[Architecture], Values | None]
    best: float = 0.0
    objectives: int = 1
    refusal: Callable[[Architecture], str] | None = None


class Regret:
    """What the best so far lacks: in the units of the score, or in percent of the true front's hypervolume."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._front = np.empty((0, 2))
        self.now = np.inf if problem.objectives == 1 else 100.0

    def add(self, values: Values) -> None:
        if self._problem.objectives == 1:
            self.now = min(self.now, -values[0])
            return
        front = np.vstack([self._front, values])
        self._front = front[non_dominated(front)]
        self.now = 100 * (1 - hypervolume(self._front, (0.0, 0.0)) / self._problem.best)


def table(space: Space, second: tuple[str, float] | None = None, **settings: object) -> Make:
    """A shipped table; the same for all seeds.

    Args:
        space: What it is of.
        second: Another objective: a metric, and 1 if it is to be large or -1 if small; None: there is one.
        **settings: Of ``Tabular``.
    """

    def make(root: int, seed: int) -> Problem:  # noqa: ARG001
        key = repr(space), second, repr(settings)
        if key not in _LOOKED_UP:
            _LOOKED_UP[key] = _looked_up(space, second, settings)
        return _LOOKED_UP[key]

    return make


_LOOKED_UP: dict[object, Problem] = {}


def _looked_up(space: Space, second: tuple[str, float] | None, settings: Mapping[str, object]) -> Problem:
    evaluator = Tabular(**settings)  # type: ignore[arg-type]
    evaluator.start(space)

    def raw(architecture: Architecture) -> Values | None:
        try:
            found = evaluator.evaluate(architecture, 0)
        except InvalidArchitecture:
            return None
        if second is None:
            return (found.score,)
        other = second[1] * found.metrics[second[0]]
        return (found.score, other) if np.isfinite(other) else None

    known = np.array([values for each in evaluator.architectures if (values := raw(each))])
    if second is None:
        best = float(known.max())
        return Problem(
            space,
            lambda architecture: None if (v := raw(architecture)) is None else (v[0] - best,),
            refusal=evaluator.refusal,
        )
    low, high = known.min(0), known.max(0)

    def value(architecture: Architecture) -> Values | None:
        values = raw(architecture)
        return None if values is None else tuple(((np.array(values) - low) / (high - low)).tolist())

    scaled = (known - low) / (high - low)
    best_front = hypervolume(scaled[non_dominated(scaled)], (0.0, 0.0))
    return Problem(space, value, best_front, 2, evaluator.refusal)


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


def layered(grouped: bool) -> Make:
    """Effects of depth, kinds and settings, and of kinds that follow each other; the optimum by dynamic programming."""

    def make(root: int, seed: int) -> Problem:
        space, rng = Layered(grouped), np.random.default_rng([root, 1, grouped, seed])
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

        def value(architecture: Architecture) -> Values:
            said = {space.label(architecture[:i]): option for i, option in enumerate(architecture)}
            depth = said["depth"] + 1
            chosen = [said[f"kind {i}"] for i in range(depth)]
            total = depths[depth - 1] + sum(pairs[a, b] for a, b in itertools.pairwise(chosen))
            for i, kind in enumerate(chosen):
                total += kinds[i, kind]
                total += sum(settings[kind, name][i][said[f"{name} {i}"]] for name, _ in Layered.KINDS[kind])
            return (float(total - best),)

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


def endless(strong: bool) -> Make:
    """Effects of operations, fading with depth, of pairs and of length; the first decision cannot end it."""

    def make(root: int, seed: int) -> Problem:
        space, rng = Endless(), np.random.default_rng([root, 2, strong, seed])
        operations, pairs = rng.normal(0, 1, 5), rng.normal(0, 1.2 if strong else 0.5, (5, 5))
        fading, lengths = 0.9 ** np.arange(14), -0.4 * np.abs(np.arange(14) - rng.integers(2, 12))
        best, reached = -np.inf, operations * fading[0]
        for place in range(14):
            reached = reached if not place else operations * fading[place] + (reached[:, None] + pairs).max(0)
            best = max(best, reached.max() + lengths[place])

        def value(architecture: Architecture) -> Values:
            # The first decision has no option that ends, so its options are the operations themselves.
            chosen = [architecture[0], *(option - 1 for option in architecture[1:] if option)]
            total = sum(operations[o] * fading[i] for i, o in enumerate(chosen)) + lengths[len(chosen) - 1]
            return (float(total + sum(pairs[a, b] for a, b in itertools.pairwise(chosen)) - best),)

        return Problem(space, value)

    return make


class Mobile(Space):
    """28 decisions of three or four options, as in a mobile network of 14 layers with kernel and expansion."""

    def __init__(self) -> None:
        super().__init__(arities=[3, 4] * 14)


def mobile(root: int, seed: int) -> Problem:
    """Effects of unequal size, and pairs of neighbouring layers; the optimum is the best of 100 ascents."""
    space, rng = Mobile(), np.random.default_rng([root, 3, seed])
    effects = np.zeros((28, 4))
    for i in range(28):
        effects[i] = np.sort(rng.normal(0, rng.exponential(1), 4))
    pairs = rng.normal(0, 0.35, (26, 4, 4))
    rows, behind = np.arange(28), np.arange(26)

    def total(architecture: Architecture) -> float:
        options = np.array(architecture)
        return float(effects[rows, options].sum() + pairs[behind, options[:-2], options[2:]].sum())

    singles = [(place,) for place in range(28)]
    tops = [climbed(space.sample(rng), space.arities or (), total, singles) for _ in range(100)]
    best = max(map(total, tops))
    return Problem(space, lambda architecture: (total(architecture) - best,))


def climbed(
    at: Architecture,
    arities: Sequence[int],
    score: Callable[[Architecture], float],
    together: Sequence[tuple[int, ...]],
) -> Architecture:
    """Where an ascent from ``at`` ends that changes these places together."""
    reached = score(at)
    while True:
        before = reached
        for places in together:
            for options in itertools.product(*(range(arities[place]) for place in places)):
                tried = list(at)
                for place, option in zip(places, options, strict=True):
                    tried[place] = option
                if (found := score(tuple(tried))) > reached:
                    at, reached = tuple(tried), found
        if reached == before:
            return at


PROBLEMS: dict[str, Make] = {
    "NAS-Bench-201, CIFAR-10": table(NASBench201(), dataset="cifar10"),
    "NAS-Bench-201, CIFAR-100": table(NASBench201(), dataset="cifar100"),
    "NAS-Bench-201, ImageNet16-120": table(NASBench201(), dataset="ImageNet16-120"),
    "NAS-Bench-Macro": table(NASBenchMacro(), dataset="nasbench_macro"),
    "digits201 (holes)": table(NASBench201(), dataset="digits201"),
    "layers": layered(False),
    "layers, kinds first": layered(True),
    "endless": endless(False),
    "endless, pairs": endless(True),
    "28 decisions": mobile,
    "EC-NAS, accuracy and energy": table(NASBench101(max_vertices=5), ("energy_kwh", -1.0), dataset="ecnas_5v"),
    "NAS-Bench-201, accuracy and robustness": table(
        NASBench201(), ("pgd_eps1.0", 1.0), dataset="cifar10", attacks=["pgd_eps1.0"]
    ),
}

KINDS = {
    "flat": (*list(PROBLEMS)[:5], "28 decisions"),
    "conditional": ("layers", "layers, kinds first"),
    "open-ended": ("endless", "endless, pairs"),
    "two objectives": tuple(list(PROBLEMS)[-2:]),
}
