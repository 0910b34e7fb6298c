"""``Choices``: what a definition says, conditions, repetitions, and that any definition gives a consistent space."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from spaces_lab import CONDITIONAL, QUICK, assert_consistent

from archsearch.components import describe
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.spaces import Choices


def test_three_lines_make_a_space():
    space = Choices({"kernel": [3, 5, 7], "width": [16, 32, 64], "skip": [False, True]})
    assert space.arities == (3, 3, 2)
    assert space.size() == 18
    assert space.format((0, 0, 0)) == "kernel=3,width=16,skip=False"
    assert space.decode((1, 2, 1)) == {"kernel": 5, "width": 64, "skip": True}
    assert space.sample_batch(np.random.default_rng(0), 4).shape == (4, 3)
    assert_consistent(space, 0)


def test_a_yaml_file_gives_the_same_space(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump(CONDITIONAL, sort_keys=False))
    assert Choices(str(path)) == Choices(path) == Choices(CONDITIONAL)
    # A run folder holds the decisions, not the path: the file may change.
    assert describe(Choices(str(path)))["init_args"] == {"decisions": CONDITIONAL, "constraints": None}


def test_yaml_names_are_given_once_and_numbers_are_numbers(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text("rate: [1e-3, 2E+1, -1e2, 0.5]\nname: [e3, 1e]\n")
    assert Choices.from_yaml(path).decisions == {"rate": [0.001, 20.0, -100.0, 0.5], "name": ["e3", "1e"]}
    for text, name in (("a: [1]\nb: [1]\na: [2]\n", "a"), ("a: {options: [1], options: [2]}", "options")):
        path.write_text(text)
        with pytest.raises(UsageError, match=rf"space\.yaml is no YAML: '{name}' is given twice"):
            Choices.from_yaml(path)


def test_decisions_are_a_copy():
    options = [1, 2]
    space = Choices({"a": options})
    options.append(3)
    assert space.decisions == {"a": [1, 2]}


def test_the_order_and_the_kind_of_options_tell_spaces_apart():
    assert Choices({"a": [1, 2], "b": [3, 4]}) != Choices({"b": [3, 4], "a": [1, 2]})
    assert Choices({"a": [0, 1]}) != Choices({"a": [False, True]})
    assert Choices({"a": (0, 1)}) == Choices({"a": [0, 1]})


def test_graph_shows_names_and_values():
    space = Choices(CONDITIONAL)
    graph = space.graph(space.parse("block=conv,kernel=5,depth=1,op.1=pool"))
    assert [label for _, label in graph.nodes(data="label")] == ["block=conv", "kernel=5", "depth=1", "op.1=pool"]
    assert list(graph.edges()) == [(0, 1), (1, 2), (2, 3)]


def test_what_is_remembered_is_bounded(monkeypatch):
    decisions = {"depth": [1, 60], "op": {"options": ["a", "b"], "repeat": "depth"}}
    fresh, small = Choices(decisions), Choices(decisions)
    monkeypatch.setattr("archsearch.spaces.choices.MOST_REMEMBERED", 300)
    most = 0
    for seed in range(20):
        architecture = small.sample(np.random.default_rng(seed))
        assert small.parse(small.format(architecture)) == architecture
        most = max(most, len(small._walks))
    assert most <= 300 // 61 + 1
    monkeypatch.undo()
    assert [fresh.sample(np.random.default_rng(seed)) for seed in range(20)] == [
        small.sample(np.random.default_rng(seed)) for seed in range(20)
    ]


def test_conditional_decisions_and_repetitions():
    space = Choices(CONDITIONAL)
    assert space.size() == 28
    assert (space.max_length, space.max_options) == (5, 3)
    deep = space.parse("block=conv,kernel=5,depth=2,op.1=pool,op.2=conv")
    assert deep == (0, 1, 2, 1, 0)
    assert space.decode(deep) == {"block": "conv", "kernel": 5, "depth": 2, "op.1": "pool", "op.2": "conv"}
    assert space.decode((1, 0)) == {"block": "pool", "depth": 0}
    assert space.label((0, 1, 2, 1)) == "op.2"
    # Closing the kernel keeps the rest by name; opening it gives every kernel.
    assert (1, 2, 1, 0) in list(space.neighbours(deep))
    assert {(0, kernel, 0) for kernel in range(3)} <= set(space.neighbours((1, 0)))
    assert_consistent(space, 0)


def test_several_conditions_must_all_hold():
    space = Choices(
        {
            "a": [1, 2, 3],
            "b": {"options": ["x", "y"], "when": {"a": [1, 2]}},
            "c": {"options": [0, 1], "when": {"a": (2, 3), "b": "y"}},
            "d": {"options": ["p", "q"], "when": {"c": 1}, "repeat": "a"},
        }
    )
    asked = [list(space.decode(architecture)) for architecture in space.enumerate()]
    assert sorted(map(len, asked)) == [1, 2, 2, 2, 3, 5, 5, 5, 5]
    assert ["a", "b", "c", "d.1", "d.2"] in asked
    assert_consistent(space, 0)


def test_true_is_not_one():
    space = Choices({"on": [True, False], "also": {"options": ["x", "y"], "when": {"on": True}}})
    assert space.encode({"on": False}) == (1,)
    assert space.encode({"on": True, "also": "y"}) == (0, 1)
    with pytest.raises(InvalidArchitecture, match="on=1: expected one of True, False"):
        space.encode({"on": 1})
    with pytest.raises(UsageError, match="when: 'on' has the options"):
        Choices({"on": [True, False], "also": {"options": [1], "when": {"on": 1}}})


@st.composite
def definitions(draw):
    """Small definitions with conditions and repetitions, in any combination."""
    decisions, plain = {}, {}
    for i in range(draw(st.integers(1, 4))):
        options = draw(st.lists(st.integers(0, 3) | st.sampled_from(["x", "y"]), min_size=1, max_size=3, unique=True))
        details = {"options": options}
        if plain and draw(st.booleans()):
            others = draw(st.lists(st.sampled_from(sorted(plain)), min_size=1, max_size=2, unique=True))
            details["when"] = {
                other: draw(st.lists(st.sampled_from(plain[other]), min_size=1, unique=True)) for other in others
            }
        counts = [name for name, known in plain.items() if all(isinstance(option, int) for option in known)]
        if counts and draw(st.booleans()):
            details["repeat"] = draw(st.sampled_from(counts))
        else:
            plain[f"d{i}"] = options
        decisions[f"d{i}"] = options if len(details) == 1 else details
    return decisions


@QUICK
@given(definitions(), st.integers(0, 2**32))
def test_any_definition_gives_a_consistent_space(decisions, seed):
    space = Choices(decisions)
    if (space.size() or 0) > 3000:
        return
    assert_consistent(space, seed)
    for architecture in itertools.islice(space.enumerate(), 50):
        values = space.decode(architecture)
        assert len(values) == len(architecture)
        assert space.encode(values) == architecture
        assert space.parse(space.format(architecture)) == architecture


@QUICK
@given(definitions(), st.integers(0, 2**32))
def test_subtrees_that_are_called_equal_are_equal(decisions, seed):
    space = Choices(decisions)
    if (space.size() or 0) > 500:
        return
    seen = {}
    for architecture in space.enumerate():
        for i in range(len(architecture) + 1):
            rest = tuple(below[i:] for below in space._completions(architecture[:i]))
            assert seen.setdefault(space.subtree(architecture[:i]), rest) == rest
