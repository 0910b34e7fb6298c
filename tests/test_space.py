"""The base class of spaces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spaces_lab import QUICK, assert_consistent, assert_uniform

from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.space import Space
from archsearch.spaces import Choices, NASBench201
from archsearch.trial import Architecture


class Fixed(Space):
    def __init__(self, options: list[int]) -> None:
        super().__init__(arities=options)
        self.options = options


class Tree(Space):
    """A pseudo-random tree: the options of a decision depend on all decisions before it."""

    def __init__(self, salt: int, depth: int) -> None:
        super().__init__(max_length=depth, max_options=3)
        self.salt, self.depth = salt, depth

    def arity(self, prefix: Architecture) -> int:
        if len(prefix) == self.depth:
            return 0
        mixed = sum((option + 1) * 7 ** (i + 1) for i, option in enumerate(prefix)) + self.salt
        return max(mixed % 4, not prefix)


@QUICK
@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.integers(0, 2**32))
def test_any_fixed_length_space_is_consistent(options, seed):
    space = Fixed(options)
    assert_consistent(space, seed)
    batch = space.sample_batch(np.random.default_rng(seed), 20)
    assert all(tuple(row) in space for row in batch.tolist())


@QUICK
@given(st.integers(0, 1000), st.integers(1, 5), st.integers(0, 2**32))
def test_any_tree_is_consistent(salt, depth, seed):
    assert_consistent(Tree(salt, depth), seed)


def test_a_tree_is_sampled_uniformly_over_its_leaves():
    space, rng = Tree(2, 5), np.random.default_rng(0)
    everything = list(space.enumerate())
    assert len({len(architecture) for architecture in everything}) > 1
    assert_uniform((space.sample(rng, "architectures") for _ in range(100 * len(everything))), everything)


@pytest.mark.parametrize("form", [{}, {"max_length": 3}, {"max_options": 3}])
def test_a_space_has_one_of_two_forms(form):
    with pytest.raises(UsageError, match=r"either arities \(fixed length\) or both"):
        Space(**form)


@pytest.mark.parametrize("form", [{"arities": [2, 0]}, {"arities": []}, {"max_length": 0, "max_options": 2}])
def test_numbers_of_a_space_are_at_least_one(form):
    with pytest.raises(UsageError, match="must be >= 1"):
        Space(**form)


@pytest.mark.parametrize(
    "wrong", [(0,), (0, 0, 0), (0, 3), (0, -1), (0, True), (0, 1.0), [0, 1.7], [0, None], np.array([[0, 1]]), "0-1", 3]
)
def test_what_is_no_architecture_is_refused(wrong):
    space = Fixed([2, 3])
    with pytest.raises(InvalidArchitecture, match=r"not in Fixed: expected one option per decision.*\(2, 3\)"):
        space.validate(wrong)
    with pytest.raises(InvalidArchitecture, match="not in Tree: expected at most 3 decisions"):
        Tree(1, 3).validate((9,))


def test_lists_and_arrays_become_tuples():
    space = Fixed([2, 3])
    assert space.validate([1, 2]) == space.validate(np.array([1, 2])) == space.parse("1-2") == (1, 2)
    assert all(type(option) is int for option in space.validate(np.array([1, 2])))
    for text in ("", "a-b", "1-", "1-3", "1"):
        with pytest.raises(InvalidArchitecture):
            space.parse(text)


def test_defaults_and_missing_pieces():
    space = Fixed([2, 3])
    assert space.decode((1, 2)) == space.canonical((1, 2)) == (1, 2)
    graph = space.graph((1, 2))
    assert [label for _, label in graph.nodes(data="label")] == ["0=1", "1=2"]
    assert list(graph.edges()) == [(0, 1)]
    with pytest.raises(UsageError, match="sample_batch needs a space of fixed length; Tree has no fixed arities"):
        Tree(1, 3).sample_batch(np.random.default_rng(0), 2)
    with pytest.raises(NotImplementedError, match="must override arity"):
        Space(max_length=2, max_options=2).arity(())


def test_spaces_are_equal_when_their_descriptions_are():
    assert Fixed([2, 3]) == Fixed([2, 3])
    assert Fixed([2, 3]) != Fixed([3, 2])
    assert Fixed([2, 3]) != NASBench201()
    assert NASBench201("skip") != NASBench201("flatten")
    assert hash(Fixed([2, 3])) == hash(Fixed([2, 3]))


def test_a_single_architecture_has_no_neighbours_and_mutates_to_itself():
    for space in (Fixed([1, 1]), Choices({"a": [1], "b": {"options": ["x"], "repeat": "a"}})):
        (only,) = space.enumerate()
        assert list(space.neighbours(only)) == []
        assert space.mutate(only, np.random.default_rng(0)) == only
