"""The base class of spaces, ``NASBench201`` and ``Choices``."""

from __future__ import annotations

import collections
import itertools
import math
import pickle

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from archsearch.components import build, describe
from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.space import Space
from archsearch.spaces import Choices, NASBench201
from archsearch.spaces.nasbench201 import EDGES, OPERATIONS
from archsearch.trial import Architecture

RULES = {"skip": 12_751, "published": 6_466, "drop_zeros": 5_390, "flatten": 4_930}
"""Distinct canonical forms under each rule, from the weakest rule to the strongest."""

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
    kept = {space.label(first[:i]): option for i, option in enumerate(first)}
    for i in range(where + 1, len(second)):
        wish = kept.get(space.label(second[:i]))
        if wish is not None and wish < space.arity(second[:i]) and second[i] != wish:
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
    widths = space.arities or (space.max_options,) * space.max_length
    rows = np.zeros((len(architectures), sum(widths)), np.float32)
    for row, architecture in enumerate(architectures):
        for i, option in enumerate(architecture):
            rows[row, sum(widths[:i]) + option] = 1
    return rows


# -- NASBench201 -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cells():
    return list(NASBench201().enumerate())


def test_published_strings_and_indices():
    space = NASBench201()
    best = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
    assert space.parse(best) == (3, 3, 3, 1, 3, 3)
    assert space.index((3, 3, 3, 1, 3, 3)) == 9930
    assert space.format(space.from_index(9930)) == best
    assert space.parse("9930") == space.parse(f"  {best}\n") == space.from_index(9930)
    assert space.index(space.parse("6111")) == 6111
    assert space.decode((3, 3, 3, 1, 3, 3)) == best


def test_every_cell_round_trips(cells):
    space = NASBench201()
    assert len(set(cells)) == len(cells) == space.size() == 15_625
    assert [space.parse(space.format(cell)) for cell in cells] == cells
    assert [space.from_index(i) for i in map(space.index, cells)] == cells
    assert sorted(map(space.index, cells)) == list(range(15_625))


def test_canonical_forms_are_as_many_as_published(cells):
    space = NASBench201()
    forms = {rule: [space.canonical(cell, rule) for cell in cells] for rule in RULES}
    assert {rule: len(set(found)) for rule, found in forms.items()} == RULES
    for weaker, stronger in itertools.combinations(RULES, 2):
        # Cells that are equal under the weaker rule are equal under the stronger one, but for the terms that the
        # published rule leaves in the order in which an inner sum had them: it compares texts.
        exceptions = 56 if (weaker, stronger) == ("skip", "published") else 0
        assert len(set(zip(forms[weaker], forms[stronger], strict=True))) == RULES[weaker] + exceptions
    for rule in RULES:
        assert [NASBench201(rule).canonical(cell) for cell in cells[:500]] == forms[rule][:500]


def test_constant_zero_cells(cells):
    space = NASBench201()
    zero = {cell for cell in cells if space.is_constant_zero(cell)}
    assert len(zero) == 341
    for cell in cells:
        reached = {0}
        for (source, target), option in sorted(zip(EDGES, cell, strict=True)):
            if option and source in reached:
                reached.add(target)
        assert (3 in reached) == (cell not in zero)


def test_canonical_by_hand():
    space = NASBench201()
    assert space.canonical((1, 0, 0, 0, 3, 0)) == space.canonical((0, 0, 0, 3, 0, 0)) == "(0)@nor_conv_3x3"
    assert space.canonical((0, 0, 0, 0, 0, 0)) == "#"
    assert space.canonical((2, 0, 3, 0, 0, 1)) == "((0)@nor_conv_1x1)@nor_conv_3x3"


@pytest.mark.parametrize(
    "text", ["", "15625", "-1", "3-3-3-3-3-3", "|none~0|", "|none~0|+|none~0|none~1|+|none~0|none~1|max_pool~2|"]
)
def test_what_is_no_cell_is_refused(text):
    with pytest.raises(InvalidArchitecture, match=r"indices 0 to 15624|index from 0 to 15624"):
        NASBench201().parse(text)


def test_errors_name_what_is_wrong():
    with pytest.raises(UsageError, match="rule: expected one of skip, published, drop_zeros, flatten, got 'weak'"):
        NASBench201("weak")
    with pytest.raises(UsageError, match="rule: expected one of"):
        NASBench201().canonical((0,) * 6, "weak")
    with pytest.raises(InvalidArchitecture, match="index from 0 to 15624"):
        NASBench201().parse("9" * 5000)  # Python itself refuses to read so many digits
    with pytest.raises(InvalidArchitecture, match="index -1"):
        NASBench201().from_index(-1)
    with pytest.raises(InvalidArchitecture, match="not in NASBench201"):
        NASBench201().index((5, 0, 0, 0, 0, 0))


def test_a_cell_has_24_neighbours(cells):
    space = NASBench201()
    for cell in cells[::1500]:
        near = list(space.neighbours(cell))
        assert len(near) == 24
        assert set(near) == {other for other in cells if sum(a != b for a, b in zip(cell, other, strict=True)) == 1}


def test_graph_of_a_cell():
    space = NASBench201()
    cell = space.from_index(9930)
    graph = space.graph((0, *cell[1:]))
    assert [graph.nodes[node]["label"] for node in range(4)] == ["input", "node 1", "node 2", "output"]
    edges = {(source, target): label for source, target, label in graph.edges(data="label")}
    assert edges == {edge: OPERATIONS[option] for edge, option in zip(EDGES, cell, strict=True) if edge != (0, 1)}
    assert [space.label(cell[:i]) for i in range(6)] == ["0->1", "0->2", "1->2", "0->3", "1->3", "2->3"]


def test_cells_are_sampled_uniformly(cells):
    space, rng = NASBench201(), np.random.default_rng(0)
    batch = space.sample_batch(rng, 200_000)
    assert batch.shape == (200_000, 6)
    assert batch.dtype == np.int64
    assert_uniform(map(tuple, batch.tolist()), cells)
    # One at a time: every edge's operations, and the pairs of neighbouring edges.
    singly = [space.sample(rng) for _ in range(20_000)]
    assert all(cell in space for cell in singly)
    for i in range(5):
        assert_uniform((cell[i : i + 2] for cell in singly), list(itertools.product(range(5), repeat=2)))


def test_cells_are_mutated_uniformly():
    space, rng = NASBench201(), np.random.default_rng(0)
    cell = (0, 1, 2, 3, 4, 0)
    assert_uniform((space.mutate(cell, rng) for _ in range(20_000)), list(space.neighbours(cell)))
    children = [space.crossover(cell, (4, 4, 4, 4, 0, 4), rng) for _ in range(20_000)]
    assert_uniform(children, list(itertools.product(*zip(cell, (4, 4, 4, 4, 0, 4), strict=True))))


def test_one_hot_of_cells(cells):
    space = NASBench201()
    encoded = space.one_hot(cells[::10])
    assert encoded.shape == (1563, 30)
    assert np.array_equal(encoded, naive_one_hot(space, cells[::10]))
    assert np.array_equal(encoded, space.one_hot(np.array(cells[::10])))


# -- Choices ---------------------------------------------------------------------------------------


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
    assert describe(Choices(str(path)))["init_args"] == {"decisions": CONDITIONAL}


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


def test_conditional_sampling_is_uniform_over_architectures():
    space, rng = Choices(CONDITIONAL), np.random.default_rng(0)
    assert_uniform((space.sample(rng) for _ in range(20_000)), list(space.enumerate()))
    deeper = Choices({"depth": [1, 2, 5], "op": {"options": ["a", "b"], "repeat": "depth"}})
    assert deeper.size() == 2 + 4 + 32
    assert_uniform((deeper.sample(rng) for _ in range(20_000)), list(deeper.enumerate()))


def test_huge_conditional_spaces_are_counted_by_their_kinds_of_subtrees():
    operations = ["conv", "pool", "skip", "sep", "none"]
    space = Choices({"depth": list(range(1, 21)), "op": {"options": operations, "repeat": "depth"}})
    assert space.size() == sum(5**depth for depth in range(1, 21))
    assert len(space._counts) < 1000
    rng = np.random.default_rng(0)
    depths = collections.Counter(len(space.sample(rng)) - 1 for _ in range(5000))
    # 4 of 5 architectures have the full depth; 4 standard deviations of the binomial.
    assert abs(depths[20] / 5000 - 0.8) < 4 * math.sqrt(0.8 * 0.2 / 5000)
    assert space.mutate(space.sample(rng), rng) in space
    assert next(space.enumerate()) == (0, 0)


def test_counts_beyond_any_float_can_be_sampled():
    space = Choices({"depth": [1, 330], "op": {"options": list(range(10)), "repeat": "depth"}})
    assert space.size() == 10 + 10**330
    architecture = space.sample(np.random.default_rng(0))
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
    assert fresh.sample(np.random.default_rng(3)) == used.sample(np.random.default_rng(3))


def test_what_is_sent_to_workers_stays_small():
    space = Choices({"depth": list(range(1, 21)), "op": {"options": ["a", "b", "c"], "repeat": "depth"}})
    before = len(pickle.dumps(space))
    space.size()
    sampled = [space.sample(np.random.default_rng(seed)) for seed in range(50)]
    assert len(pickle.dumps(space)) == before
    copy = pickle.loads(pickle.dumps(space))
    assert [copy.sample(np.random.default_rng(seed)) for seed in range(50)] == sampled


@pytest.mark.parametrize(
    ("decisions", "message"),
    [
        ({}, "expected a mapping from names to lists of options, got {}"),
        ([1, 2], "expected a mapping"),
        ({"": [1]}, "decision '': expected a name"),
        ({1: [1]}, "decision 1: expected a name"),
        ({"a,b": [1]}, "expected a name without commas"),
        ({"a=b": [1]}, "expected a name without commas"),
        ({" a": [1]}, "spaces around it"),
        ({"class_path": [1]}, "decision 'class_path': this name is taken"),
        ({"a": []}, "decision 'a': expected a list of at least one option, got []"),
        ({"a": 3}, "expected a list of at least one option, got 3"),
        ({"a": {"when": {}}}, "expected a list of at least one option, got None"),
        ({"a": {"options": [1], "unless": 1, 2: 3}}, "unknown key 2, unless; expected options, when, repeat"),
        ({"a": [1, 1]}, "options must be distinct"),
        ({"a": [1, "1"]}, "options must be distinct"),
        ({"a": [1, 1.0]}, "options must be distinct"),
        ({"a": ["x,y"]}, "no commas"),
        ({"a": ["x", "x "]}, "no spaces around them"),
        ({"a": [1], "b": {"options": [1], "when": "a"}}, "when: expected a mapping from earlier decisions"),
        ({"a": [1], "b": {"options": [1], "when": {"c": 1}}}, "when: 'c' is no earlier decision; expected one of a"),
        ({"b": {"options": [1], "when": {"b": 1}}}, "'b' is no earlier decision; expected one of none so far"),
        ({"a": [1], "b": {"options": [1], "when": {"a": 2}}}, "when: 'a' has the options [1], got 2"),
        ({"a": [1], "b": {"options": [1], "when": {"a": []}}}, "when: 'a' has the options [1], got []"),
        ({"a": [1], "b": {"options": [1], "repeat": "c"}}, "repeat: 'c' is no earlier decision"),
        ({"a": [1], "b": {"options": [1], "repeat": ["a"]}}, "repeat: ['a'] is no earlier decision"),
        ({"a": ["x"], "b": {"options": [1], "repeat": "a"}}, "repeat: 'a' must have integers >= 0 as options"),
        ({"a": [-1], "b": {"options": [1], "repeat": "a"}}, "integers >= 0"),
        ({"a": [True], "b": {"options": [1], "repeat": "a"}}, "integers >= 0"),
        (
            {"a": [1], "b": {"options": [1], "repeat": "a"}, "c": {"options": [1], "when": {"b": 1}}},
            "when: 'b' is no earlier decision; expected one of a",
        ),
        ({"a": [2], "b.2": [1], "b": {"options": [1], "repeat": "a"}}, "'b': a repetition"),
        ({"a": [2], "b": {"options": [1], "repeat": "a"}, "b.1": [1]}, "'b.1': a repetition"),
    ],
)
def test_malformed_decisions_are_refused(decisions, message):
    with pytest.raises(UsageError) as caught:
        Choices(decisions)
    assert str(caught.value).startswith("Choices: ")
    assert message in str(caught.value)


def test_a_name_like_a_repetition_beyond_the_last_is_fine():
    space = Choices({"a": [2], "b.3": [1, 2], "b": {"options": [1, 2], "repeat": "a"}})
    assert_consistent(space, 0)


def test_unreadable_files_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"missing\.yaml cannot be read \(No such file"):
        Choices(str(tmp_path / "missing.yaml"))
    for name, content in (("broken.yaml", b"a: [1, 2"), ("binary.yaml", b"\xff\xfe\x00\x81")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError, match="is no YAML"):
            Choices(str(tmp_path / name))
    (tmp_path / "text.yaml").write_text("just text")
    with pytest.raises(UsageError, match="got 'just text'"):
        Choices(str(tmp_path / "text.yaml"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no value for 'block'"),
        ("block", "expected decisions such as block=VALUE, joined by commas"),
        ("block=tree", "block='tree': expected one of 'conv', 'pool'"),
        ("block=pool,depth=0,kernel=3", "kernel: no such decision after the others"),
        ("block=pool,depth=1", "no value for 'op.1'; expected one of ['conv', 'pool']"),
        ("block=pool,depth=0,op.1=conv", "op.1: no such decision"),
        ("block=pool,block=conv,depth=0", "a decision is given twice"),
    ],
)
def test_what_is_no_choice_is_refused(text, message):
    with pytest.raises(InvalidArchitecture) as caught:
        Choices(CONDITIONAL).parse(text)
    assert message in str(caught.value)


def test_spaces_around_the_parts_do_not_matter():
    assert Choices(CONDITIONAL).parse(" block = pool , depth = 0 ") == (1, 0)


def test_encode_refuses_missing_and_spare_values():
    space = Choices({"kernel": [3, 5]})
    assert space.encode({"kernel": 5}) == (1,)
    with pytest.raises(InvalidArchitecture, match="no value for 'kernel'"):
        space.encode({})
    with pytest.raises(InvalidArchitecture, match=r"width: no such decision after the others; asked: \['kernel'\]"):
        space.encode({"kernel": 5, "width": 1})
    with pytest.raises(InvalidArchitecture, match="kernel=7: expected one of 3, 5"):
        space.encode({"kernel": 7})


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


# -- the base class --------------------------------------------------------------------------------


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


def test_a_tree_is_sampled_uniformly():
    space, rng = Tree(2, 5), np.random.default_rng(0)
    everything = list(space.enumerate())
    assert len({len(architecture) for architecture in everything}) > 1
    assert_uniform((space.sample(rng) for _ in range(100 * len(everything))), everything)


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
