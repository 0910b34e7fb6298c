"""Further synthetic problems of ``benchmarks/arena.py``, of kinds that people bring, all of named decisions.

Their parameters are drawn by seed, and none is made after a published table. Optima are known by looking at all
architectures, or as the best of many ascents where these are too many.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from arena_problems import Make, Problem, climbed

from archsearch.spaces import Choices
from archsearch.trial import Architecture

CELL_EDGES = (0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)
CELLS = Choices({f"edge {a}-{b}": ["zero", "skip", "small", "large"] for a, b in CELL_EDGES})
MACRO = Choices(
    {
        "depth": [3, 4, 5, 6],
        "layer": {"repeat": "depth", "decisions": {"op": ["keep", "widen", "shrink", "both"]}},
    }
)
GRAPH_OPTIONS = 2, 12
"""Fewest and most of a decision without order."""

STAGES = 7
MOBILE = Choices(
    {
        f"{name} {stage}": options
        for stage in range(STAGES)
        for name, options in (
            ("kernel", [3, 5, 7]),
            ("expansion", [2, 3, 4, 6]),
            ("width", [0.75, 1.0, 1.25]),
            ("attention", ["none", "squeeze"]),
        )
    }
)
WIDTHS = Choices(
    {"depth": [1, 2, 3, 4, 5, 6], "layer": {"repeat": "depth", "decisions": {"width": [16, 32, 48, 64, 96, 128]}}}
)


def rounded(score: float, step: float) -> float:
    """Published scores have one or two decimals, so that many share a rank."""
    return float(np.round(score / step) * step)


def cells(root: int, seed: int) -> Problem:
    """4,096 cells: effects of edges, of pairs that meet, of many skips; more saturates, what is cut off is ruined."""
    rng = np.random.default_rng([root, 4, seed])
    strength = np.array([0.0, rng.uniform(0.2, 0.8), rng.uniform(0.5, 1.1), rng.uniform(0.8, 1.3)])
    edges = strength * rng.uniform(0.3, 1.2, (6, 1)) + rng.normal(0, 0.15, (6, 4))
    joined = [(i, j) for i, j in itertools.combinations(range(6), 2) if set(CELL_EDGES[i]) & set(CELL_EDGES[j])]
    pairs = rng.normal(0, 0.12, (len(joined), 4, 4))
    many_skips, ruin, step = rng.uniform(0.0, 0.6), rng.uniform(8, 40), rng.choice([0.01, 0.1])
    rate, centre = rng.uniform(0.3, 0.9), edges.mean(1).sum()

    def score(architecture: Architecture) -> float:
        total = sum(edges[i, option] for i, option in enumerate(architecture))
        total += sum(pairs[k, architecture[i], architecture[j]] for k, (i, j) in enumerate(joined))
        total -= many_skips * max(architecture.count(1) - 2, 0)
        reached = {0}
        for (begin, end), option in zip(CELL_EDGES, architecture, strict=True):
            if option and begin in reached:
                reached.add(end)
        return rounded(70 - 3 * np.exp(rate * (centre - total)) - ruin * (3 not in reached), step)

    best = max(score(each) for each in CELLS.enumerate())
    return Problem(CELLS, lambda architecture: (score(architecture) - best,))


def macro_with_holes(root: int, seed: int) -> Problem:
    """Three to six layers; a table has what keeps to a rule, of odd seeds a part drawn at random, 15 to 40 %."""
    rng = np.random.default_rng([root, 5, seed])
    gain = rng.uniform(0.5, 1.5) * np.sort(rng.uniform(0, 1, (6, 4)), axis=1)[:, rng.permutation(4)]
    follow, depths = rng.normal(0, 0.3, (4, 4)), rng.normal(0, 0.4, 4) + rng.uniform(-0.3, 0.3) * np.arange(4)
    wide, small, step = rng.integers(1, 4), rng.integers(1, 5), rng.choice([0.01, 0.1])

    def score(architecture: Architecture) -> float:
        options = architecture[1:]
        total = depths[architecture[0]] + sum(gain[i, option] for i, option in enumerate(options))
        total += sum(follow[a, b] for a, b in itertools.pairwise(options))
        total -= 0.4 * abs(sum(o in (1, 3) for o in options) - wide) + 0.4 * abs(sum(o > 1 for o in options) - small)
        return rounded(60 - 20 * np.exp(-0.5 * total), step)

    everything = list(MACRO.enumerate())
    if seed % 2:
        there = rng.random(len(everything)) < rng.uniform(0.15, 0.4)
    else:
        there = np.array(
            [1 <= sum(o in (1, 3) for o in a[1:]) <= 2 and 1 <= sum(o > 1 for o in a[1:]) <= 2 for a in everything]
        )
    rows = {each: score(each) for each, has in zip(everything, there, strict=True) if has}
    best = max(rows.values())

    def refusal(architecture: Architecture) -> str:
        return "" if architecture in rows else "the table has no such row"

    return Problem(MACRO, lambda each: (rows[each] - best,) if each in rows else None, refusal=refusal)


def graph_networks(ordered: bool) -> Make:
    """Six to ten decisions of 2 to 12 options, some of which hardly matter; sizes and depths with a ridge."""

    def make(root: int, seed: int) -> Problem:
        rng = np.random.default_rng([root, 6, seed])  # the same problems, whether the space says what is in order
        free = int(rng.integers(4, 8))
        numbers = [("hidden", [16, 32, 64, 128, 256, 512]), ("layers", [1, 2, 3, 4, 5, 6])]
        numbers += [("heads", [1, 2, 4, 8])] if rng.random() < 0.5 else []
        low, high = GRAPH_OPTIONS
        arities = [int(rng.integers(low, high + 1)) for _ in range(free)]
        decisions: dict[str, object] = {
            f"choice {'abcdefgh'[i]}": [f"option {j}" for j in range(n)] for i, n in enumerate(arities)
        }
        decisions |= {name: {"options": o, "ordered": True} if ordered else o for name, o in numbers}
        space = Choices(decisions)
        effects = [rng.normal(0, rng.choice([0.05, 0.3, 1.0, 1.5]), n) for n in arities]
        mixed = [
            (i, j, rng.normal(0, 0.3, (arities[i], arities[j]))) for i, j in itertools.combinations(range(free), 2)
        ]
        mixed = [each for each in mixed if rng.random() < 0.4]
        # A ridge: what one of them lacks another may make up for, and of their sum too much is as bad as too little.
        top, along = rng.uniform(0.3, 1.5), rng.uniform(-0.4, 0.4, len(numbers))
        steep, step = rng.uniform(1, 4), rng.choice([0.001, 0.1])

        def score(architecture: Architecture) -> float:
            total = sum(effect[option] for effect, option in zip(effects, architecture, strict=False))
            total += sum(table[architecture[i], architecture[j]] for i, j, table in mixed)
            places = [o / (len(each[1]) - 1) for o, each in zip(architecture[free:], numbers, strict=True)]
            total += float(along @ places) - steep * (sum(places) - top) ** 2
            return rounded(80 + 3 * total, step)

        best = highest(space, score, rng)
        return Problem(space, lambda architecture: (score(architecture) - best,))

    return make


def mobile_in_stages(root: int, seed: int) -> Problem:
    """28 decisions of seven stages, with kernels and widths in order: additive, weak pairs, more of all saturates."""
    rng = np.random.default_rng([root, 7, seed])
    arities = MOBILE.arities or ()
    effects = []
    for n in arities:
        places = np.linspace(0, 1, n)
        curve = -rng.uniform(0, 1.5) * (places - rng.uniform(0.1, 1.3)) ** 2
        effects.append(rng.exponential(0.6) * (curve + rng.normal(0, 0.1, n)))
    pairs = [(i, j, rng.normal(0, 0.06, (arities[i], arities[j]))) for i, j in itertools.combinations(range(28), 2)]
    pairs = [(i, j, table) for i, j, table in pairs if j - i < 5]
    step = rng.choice([0.001, 0.01])

    def raw(architecture: Architecture) -> float:
        total = sum(effect[option] for effect, option in zip(effects, architecture, strict=True))
        return float(total + sum(table[architecture[i], architecture[j]] for i, j, table in pairs))

    centre = raw(tuple(int(each.argmax()) for each in effects))
    rate = rng.uniform(0.1, 0.6)

    def score(architecture: Architecture) -> float:
        return rounded(76 - 3 * np.exp(-rate * (raw(architecture) - centre)), step)

    best = highest(MOBILE, score, rng)
    return Problem(MOBILE, lambda architecture: (score(architecture) - best,))


def widths(root: int, seed: int) -> Problem:
    """Depth first, then a width of each layer; which width is best depends on the depth."""
    rng = np.random.default_rng([root, 8, seed])
    depths = rng.normal(0, 1.5, 6) - rng.uniform(0, 0.8) * np.abs(np.arange(6) - rng.integers(6))
    first, drift = rng.uniform(0, 5, 6), rng.uniform(-0.8, 0.8)
    steep, odd = rng.uniform(0.1, 0.6, 6), rng.normal(0, 0.25, (6, 6, 6))
    jumps = rng.uniform(0, 0.3)

    def score(architecture: Architecture) -> float:
        depth, options = architecture[0], architecture[1:]
        total = depths[depth] - jumps * sum(abs(a - b) for a, b in itertools.pairwise(options))
        for i, option in enumerate(options):
            total += odd[depth, i, option] - steep[i] * abs(option - np.clip(first[i] + drift * depth, 0, 5)) ** 1.5
        return float(total)

    best = max(score(each) for each in WIDTHS.enumerate())
    return Problem(WIDTHS, lambda architecture: (score(architecture) - best,))


ASCENTS = 30
PAIRED = 3
"""Of the ascents, the best ones, so many go on by two decisions at a time."""


def highest(space: Choices, score: Callable[[Architecture], float], rng: np.random.Generator) -> float:
    """The best of ascents by one decision at a time, and then by two, of a space of fixed length."""
    arities = space.arities or ()
    single = [(place,) for place in range(len(arities))]
    pairs = list(itertools.combinations(range(len(arities)), 2))
    tops = {climbed(space.sample(rng), arities, score, single) for _ in range(ASCENTS)}
    return max(score(climbed(top, arities, score, pairs)) for top in sorted(tops, key=score)[-PAIRED:])


FURTHER: dict[str, Make] = {
    "cells": cells,
    "layers, holes": macro_with_holes,
    "graph networks": graph_networks(False),
    "graph networks, in order": graph_networks(True),
    "mobile stages": mobile_in_stages,
    "widths by depth": widths,
}
