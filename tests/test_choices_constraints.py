"""Constraints of ``Choices``: exact counts, draws without rejection, and what expressions mean."""

from __future__ import annotations

import functools
import itertools
import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spaces_lab import QUICK, assert_consistent, assert_uniform

from archsearch.basics.decisions import tokens
from archsearch.components import build, describe
from archsearch.controllers import ElitistEvolution
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.spaces import Choices

CONDITIONAL = {
    "mode": ["fast", "good"],
    "depth": [0, 1, 2, 3],
    "width": {"options": [1, 2, 4], "repeat": "depth"},
    "rate": {"options": [1, 2, 3], "when": {"mode": "good"}},
}
MEANT = {
    "sum(width) <= 5": lambda v, w: sum(w) <= 5,
    "depth * rate < 5": lambda v, w: "rate" not in v or v["depth"] * v["rate"] < 5,
    "mode == 'fast' or rate > 1": lambda v, w: "rate" not in v or v["mode"] == "fast" or v["rate"] > 1,
    "rising(width)": lambda v, w: w == sorted(w),
    "distinct(width) == len(width)": lambda v, w: len(set(w)) == len(w),
    "count(width, 4) <= 1": lambda v, w: w.count(4) <= 1,
    "max(width) <= rate + 1": lambda v, w: not w or "rate" not in v or max(w) <= v["rate"] + 1,
    "min(width) != 2": lambda v, w: not w or min(w) != 2,
    "2 in width or depth < 2": lambda v, w: 2 in w or v["depth"] < 2,
    "width[1] >= width[2]": lambda v, w: len(w) < 2 or w[0] >= w[1],
    "not (mode == 'fast' and depth % 2 == 1)": lambda v, w: not (v["mode"] == "fast" and v["depth"] % 2 == 1),
    "depth in (0, 2, 3)": lambda v, w: v["depth"] in (0, 2, 3),
    "3 - depth <= rate / 1": lambda v, w: "rate" not in v or 3 - v["depth"] <= v["rate"],
    "0 < -depth + 4 <= 3 // 1": lambda v, w: 0 < 4 - v["depth"] <= 3,
    "max(min(width), depth) <= 2": lambda v, w: not w or max(min(w), v["depth"]) <= 2,
    "depth + 2 * (sum(width) - 1) < 7 + len(width)": lambda v, w: v["depth"] + 2 * (sum(w) - 1) < 7 + len(w),
    "1 not in width": lambda v, w: 1 not in w,
}
"""Constraints, and the same in Python, of the values by name and the widths there are."""


def widths(values):
    return [value for name, value in values.items() if name.startswith("width")]


FREE = Choices(CONDITIONAL)
ALL = [FREE.decode(architecture) for architecture in FREE.enumerate()]


@QUICK
@given(st.lists(st.sampled_from(sorted(MEANT)), min_size=1, max_size=3, unique=True), st.integers(0, 2**32))
def test_what_is_left_is_what_keeps_to_all_constraints(texts, seed):
    kept = [values for values in ALL if all(MEANT[text](values, widths(values)) for text in texts)]
    if not kept:
        with pytest.raises(UsageError, match="no architecture keeps to"):
            Choices(CONDITIONAL, texts)
        return
    space = Choices(CONDITIONAL, texts)
    found = list(space.enumerate())
    assert [space.decode(architecture) for architecture in found] == kept
    assert space.size() == len(kept)
    for architecture in found[:20]:
        assert space.parse(space.format(architecture)) == architecture == space.encode(space.decode(architecture))
    rng = np.random.default_rng(seed)
    drawn = [space.sample(rng) for _ in range(5)]
    drawn += [space.mutate(each, rng) for each in drawn] + [space.crossover(drawn[0], each, rng) for each in drawn]
    drawn += itertools.chain.from_iterable(itertools.islice(space.neighbours(each), 20) for each in drawn[:2])
    assert set(drawn) <= set(found)


def test_draws_are_uniform_over_what_is_left():
    space = Choices(CONDITIONAL, ["sum(width) <= 5", "depth * rate < 5"])
    rng = np.random.default_rng(0)
    assert_uniform((space.sample(rng, "architectures") for _ in range(5_000)), list(space.enumerate()))


def test_encodings_know_what_options_mean():
    space = Choices({"a": [1, 2], "b": [1, 2, 3]}, ["b > a"])
    both = [space.encode({"a": 1, "b": 3}), space.encode({"a": 2, "b": 3})]
    assert [architecture[1] for architecture in both] == [1, 0]  # the second of two options, the only one
    encoded = space.one_hot(both)
    assert (encoded[0] != encoded[1]).sum() == 2  # they differ in a alone
    assert (tokens(space, both)[:, 1] == tokens(space, both)[0, 1]).all()


def test_counts_of_huge_spaces_are_exact_and_no_draw_is_rejected():
    layers, limit = 30, 45
    space = Choices({"w": {"options": [1, 2, 3, 4], "repeat": layers}}, [f"sum(w) <= {limit}"])

    @functools.cache
    def ways(n, left):
        return int(left >= 0) if n == 0 else sum(ways(n - 1, left - each) for each in (1, 2, 3, 4))

    assert space.size() == ways(layers, limit)
    rng, calls = np.random.default_rng(0), []
    after = space._after
    space._after = lambda walk, option: calls.append(0) or after(walk, option)
    for _ in range(20):
        assert sum(space.decode(space.sample(rng)).values()) <= limit
    # One in 10^5 of all sequences keeps to it: what is looked at is bounded by states times options, not by luck.
    assert 4.0**layers / space.size() > 1e5
    assert len(calls) < 20 * layers + layers * limit * 4
    tight = Choices({"w": {"options": [1, 2, 3, 4], "repeat": layers}}, [f"sum(w) <= {layers}"])
    assert (tight.size(), tight.sample(rng)) == (1, (0,) * layers)
    assert tight.mutate((0,) * layers, rng) == (0,) * layers


def test_options_mean_the_same_where_constraints_leave_others():
    space = Choices({"a": [1, 2], "b": [1, 2, 3], "c": [5, 6]}, ["b > a"])
    first = space.encode({"a": 1, "b": 3, "c": 6})
    second = space.encode({"a": 2, "b": 3, "c": 6})
    assert (first, second) == ((0, 1, 1), (1, 0, 1))  # the second of two options, the only one
    assert (space.meanings((0,)), space.meanings((1,))) == ((1, 2), (2,))
    assert second in list(space.neighbours(first))
    assert_consistent(space, 0)
    controller = ElitistEvolution(population_size=1, mutation_probability=1e-9)
    controller.start(space, 0)
    assert controller._mutated(second) == second


def longer(depth, width):
    return len(width) < 3 or sum(width) > depth + 2


def test_functions_are_constraints_too_by_themselves_or_by_their_path():
    kept = [values for values in ALL if longer(values["depth"], widths(values))]
    assert 0 < len(kept) < len(ALL)
    for constraint in (longer, f"{__name__}.longer"):
        space = Choices(CONDITIONAL, [constraint])
        assert [space.decode(architecture) for architecture in space.enumerate()] == kept
        described = json.loads(json.dumps(describe(space)))
        assert described["init_args"]["constraints"] == [f"{__name__}.longer"]
        assert build(described, trust=True).size() == len(kept)
    assert pickle.loads(pickle.dumps(space)) == space


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        (["dept < 2"], "constraint 'dept < 2': 'dept' is no decision; did you mean depth? expected one of depth, mode"),
        (["width < 2"], "'width' is made several times; write width[1] for one of them, or use a function of all: sum"),
        (["depth ** 2 < 2"], "'depth ** 2' is not understood; expected decisions, numbers and texts with + - *"),
        (["depth <"], "constraint 'depth <': invalid syntax"),
        (["total(width) < 2"], "'total' is no function; expected one of sum, len, min, max, distinct, rising, count"),
        (["count(width) < 2"], "count: expected decisions and a value, as in count(op, 'conv')"),
        (["depth < mode"], "constraint 'depth < mode': '<' not supported between instances of 'int' and 'str'"),
        (["depth < 2", "depth > 2"], "no architecture keeps to 'depth < 2' and 'depth > 2'"),
        (["depth > 7"], "no architecture keeps to 'depth > 7'"),
        ([7], "constraint '7': expected an expression such as 'depth * width <= 64', or a function"),
        ("depth < 2", "constraints: expected a list of expressions, got 'depth < 2'"),
        ([lambda deep: deep], "'deep' is no decision; did you mean depth?"),
    ],
)
def test_what_is_no_constraint_is_named(constraints, message):
    with pytest.raises(UsageError) as caught:
        Choices(CONDITIONAL, constraints)
    assert str(caught.value).startswith("Choices: ")
    assert message in str(caught.value)


def test_a_value_that_breaks_a_constraint_is_refused_with_its_name():
    space = Choices({"depth": [1, 2, 4], "width": [8, 16, 32]}, ["depth * width <= 32"])
    with pytest.raises(InvalidArchitecture) as caught:
        space.parse("depth=4,width=16")
    assert str(caught.value) == (
        "Choices: width='16': expected one of 8; the constraint 'depth * width <= 32' would not be kept"
    )


def test_odd_names_can_be_named():
    space = Choices({"learning rate": [1, 2], "seed.1": [1, 2]}, ["this['learning rate'] < this['seed.1']"])
    assert [space.decode(architecture) for architecture in space.enumerate()] == [{"learning rate": 1, "seed.1": 2}]


def test_constraints_that_cannot_be_looked_through_say_so(monkeypatch):
    monkeypatch.setattr("archsearch.spaces.choices.COUNT_LIMIT", 500)

    def never(x):
        return sum(x) < 0

    with pytest.raises(UsageError, match=r"after 500 beginnings it is not known whether '.*never' can be kept"):
        Choices({"x": {"options": [0, 1], "repeat": 20}}, [never])
