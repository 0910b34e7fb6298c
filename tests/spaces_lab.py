"""What the tests of the base class of spaces, ``NASBench201`` and ``Choices`` have in common."""

from __future__ import annotations

import collections
import pickle

import numpy as np
from hypothesis import HealthCheck, settings
from scipy import stats

from archsearch.components import build, describe
from archsearch.space import Space
from archsearch.trial import Architecture

ALPHA = 1e-4
"""Margin of the chi-square tests. Seeds are fixed: a right sampler that passes once always passes."""
QUICK = settings(
    max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
CONDITIONAL = {
    "block": ["conv", "pool"],
    "kernel": {"options": [3, 5, 7], "when": {"block": "conv"}},
    "depth": [0, 1, 2],
    "op": {"options": ["conv", "pool"], "repeat": "depth"},
}
"""4 kinds of block with kernel x (1 + 2 + 4) ways to fill the depth: 28 architectures."""


def assert_uniform(sampled, population):
    counts = collections.Counter(sampled)
    assert set(counts) <= set(population)
    assert stats.chisquare([counts[each] for each in population]).pvalue > ALPHA


def differ_in_one_decision(space: Space, first: Architecture, second: Architecture) -> bool:
    """Whether one decision differs and every later one keeps its option where a decision of that name can."""
    n = min(len(first), len(second))
    where = next((i for i in range(n) if first[i] != second[i]), None)
    if where is None:
        return False
    kept = {space.label(first[:i]): space.meanings(first[:i])[option] for i, option in enumerate(first)}
    for i in range(where + 1, len(second)):
        wish, meanings = kept.get(space.label(second[:i])), space.meanings(second[:i])
        if wish in meanings and meanings[second[i]] != wish:
            return False
    return True


def assert_consistent(space: Space, seed: int):
    """What holds for every small space."""
    everything = list(space.enumerate())
    assert space.size() == len(everything) == len(set(everything))
    assert everything == sorted(everything)
    assert all(architecture in space for architecture in everything)
    rng = np.random.default_rng(seed)
    for _ in range(5):
        first, second = space.sample(rng), space.sample(rng)
        assert first in space
        assert space.parse(space.format(first)) == first
        assert space.validate(list(first)) == first
        expected = [other for other in everything if differ_in_one_decision(space, first, other)]
        neighbours = list(space.neighbours(first))
        assert sorted(neighbours) == expected
        mutant = space.mutate(first, rng)
        assert mutant in expected if expected else mutant == first
        child = space.crossover(first, second, rng)
        assert child in space
        assert space.crossover(first, first, rng) == first
        assert (*first, 0) not in space
        assert first[:-1] not in space
    again = build(describe(space), trust=True)
    assert again == space
    assert hash(again) == hash(space)
    assert pickle.loads(pickle.dumps(space)) == space
    assert np.array_equal(space.one_hot(everything), naive_one_hot(space, everything))


def naive_one_hot(space: Space, architectures) -> np.ndarray:
    if space.arities is None:
        return naive_one_hot_by_name(space, architectures)
    rows = np.zeros((len(architectures), sum(space.arities)), np.float32)
    for row, architecture in enumerate(architectures):
        for i, option in enumerate(architecture):
            rows[row, sum(space.arities[:i]) + option] = 1
    return rows


def naive_one_hot_by_name(space: Space, architectures) -> np.ndarray:
    """Of all architectures of a space, by the names that they have; an absent decision has a last option of its own."""
    decided = [{space.label(a[:i]): space.meanings(a[:i])[option] for i, option in enumerate(a)} for a in architectures]
    arities = {}
    for architecture in architectures:
        for i in range(len(architecture)):
            name = space.label(architecture[:i])
            arities[name] = max(arities.get(name, 0), 1 + max(space.meanings(architecture[:i])))
    names = space.by_name.names
    assert sorted(names) == sorted(arities)
    levels = [(name, option) for name in names for option in [*range(arities[name]), None]]
    return np.array([[names.get(name) == option for name, option in levels] for names in decided], np.float32)
