"""``Choices``: uniform draws, of huge and of uncountable spaces too, and what is kept and sent."""

from __future__ import annotations

import collections
import math
import pickle

import numpy as np
import pytest
from scipy import stats
from spaces_lab import ALPHA, CONDITIONAL, assert_uniform

from archsearch.errors import UsageError
from archsearch.space import Space
from archsearch.spaces import Choices
from archsearch.trial import Architecture


def test_conditional_sampling_is_uniform_over_architectures_if_asked_for():
    space, rng = Choices(CONDITIONAL), np.random.default_rng(0)
    assert_uniform((space.sample(rng, "architectures") for _ in range(20_000)), list(space.enumerate()))
    deeper = Choices({"depth": [1, 2, 5], "op": {"options": ["a", "b"], "repeat": "depth"}})
    assert deeper.size() == 2 + 4 + 32
    assert_uniform((deeper.sample(rng, "architectures") for _ in range(20_000)), list(deeper.enumerate()))


def test_each_decision_is_uniform_given_those_before_by_default():
    rng = np.random.default_rng(0)
    space = Choices({"depth": [1, 2, 5], "op": {"options": ["a", "b"], "repeat": "depth"}})
    depths = collections.Counter(len(space.sample(rng)) - 1 for _ in range(6000))
    assert set(depths) == {1, 2, 5}
    assert stats.chisquare(list(depths.values())).pvalue > ALPHA
    chances = {architecture: 1 / 3 / 2 ** (len(architecture) - 1) for architecture in space.enumerate()}
    counts = collections.Counter(space.sample(rng) for _ in range(20_000))
    observed, expected = [counts[each] for each in chances], [20_000 * chance for chance in chances.values()]
    assert stats.chisquare(observed, expected).pvalue > ALPHA
    with pytest.raises(UsageError, match="over: expected decisions or architectures, got 'leaves'"):
        space.sample(rng, "leaves")  # type: ignore[arg-type]


def test_huge_conditional_spaces_are_counted_by_their_kinds_of_subtrees():
    operations = ["conv", "pool", "skip", "sep", "none"]
    space = Choices({"depth": list(range(1, 21)), "op": {"options": operations, "repeat": "depth"}})
    assert space.size() == sum(5**depth for depth in range(1, 21))
    assert len(space._counts) < 1000
    rng = np.random.default_rng(0)
    depths = collections.Counter(len(space.sample(rng, "architectures")) - 1 for _ in range(5000))
    # 4 of 5 architectures have the full depth; 4 standard deviations of the binomial.
    assert abs(depths[20] / 5000 - 0.8) < 4 * math.sqrt(0.8 * 0.2 / 5000)
    assert space.mutate(space.sample(rng), rng) in space
    assert next(space.enumerate()) == (0, 0)


def test_counts_beyond_any_float_can_be_sampled():
    space = Choices({"depth": [1, 330], "op": {"options": list(range(10)), "repeat": "depth"}})
    assert space.size() == 10 + 10**330
    architecture = space.sample(np.random.default_rng(0), "architectures")
    assert len(architecture) == 331
    assert architecture in space


def test_very_long_architectures():
    space = Choices({"depth": [1, 3000], "op": {"options": ["a", "b"], "repeat": "depth"}})
    assert space.size() is None
    prefix = (1, *[0] * 2999)
    assert space.arity(prefix) == 2
    assert space.arity((*prefix, 1)) == 0
    assert (*prefix, 1) in space


class Uncountable(Space):
    """Too many kinds of sub-trees to count, though each sub-tree near the leaves could be."""

    def __init__(self) -> None:
        super().__init__(max_length=22, max_options=3)

    def arity(self, prefix: Architecture) -> int:
        return 3 if len(prefix) < 20 + prefix.count(0) % 3 else 0


def test_sampling_does_not_depend_on_what_was_done_before():
    fresh, used = Uncountable(), Uncountable()
    start = used.sample(np.random.default_rng(1))
    assert used.size() is None
    first = fresh.mutate(start, np.random.default_rng(2))
    assert used.mutate(start, np.random.default_rng(2)) == first
    for over in ("decisions", "architectures"):
        assert fresh.sample(np.random.default_rng(3), over) == used.sample(np.random.default_rng(3), over)


def test_what_is_sent_to_workers_stays_small():
    space = Choices({"depth": list(range(1, 21)), "op": {"options": ["a", "b", "c"], "repeat": "depth"}})
    before = len(pickle.dumps(space))
    space.size()
    sampled = [space.sample(np.random.default_rng(seed)) for seed in range(50)]
    assert len(pickle.dumps(space)) == before
    copy = pickle.loads(pickle.dumps(space))
    assert [copy.sample(np.random.default_rng(seed)) for seed in range(50)] == sampled
