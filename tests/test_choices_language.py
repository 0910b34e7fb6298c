"""``Choices`` as a language: groups, alternatives, what is optional, repeated or shared; in Python and in YAML."""

from __future__ import annotations

import pytest
from spaces_lab import assert_consistent

from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.spaces import Choices


def names(space):
    return {tuple(space.decode(architecture)) for architecture in space.enumerate()}


def test_an_option_may_open_decisions_of_its_own():
    space = Choices(
        {"op": {"options": {"conv": {"kernel": [3, 5], "groups": [1, 2]}, "pool": None, "sep": {"kernel": [3]}}}}
    )
    assert space.size() == 2 * 2 + 1 + 1
    assert names(space) == {("op", "op.conv.kernel", "op.conv.groups"), ("op",), ("op", "op.sep.kernel")}
    assert_consistent(space, 0)


def test_a_group_is_repeated_as_a_whole_and_may_be_optional():
    block = {"op": ["conv", "pool"], "kernel": {"options": [3, 5], "when": {"op": "conv"}}}
    space = Choices({"depth": [0, 1, 2], "block": {"repeat": "depth", "decisions": block}})
    assert space.size() == 1 + 3 + 9
    assert space.parse("depth=2,block.1.op=pool,block.2.op=conv,block.2.kernel=5") == (2, 1, 0, 1)
    assert_consistent(space, 0)
    space = Choices({"tail": {"optional": True, "decisions": block}})
    assert space.size() == 1 + 3
    assert ("tail",) in names(space)
    assert space.encode({"tail": True, "tail.op": "conv", "tail.kernel": 3}) == (1, 0, 0)
    assert_consistent(space, 0)


def test_groups_are_repeated_in_groups():
    space = Choices(
        {
            "stages": [1, 2],
            "stage": {
                "repeat": "stages",
                "decisions": {
                    "depth": [1, 2],
                    "layer": {"repeat": "depth", "decisions": {"width": [8, 16]}},
                    "twice": {"options": [0, 1], "repeat": 2},
                },
            },
        }
    )
    assert space.size() == (2 + 4) * 4 + ((2 + 4) * 4) ** 2
    assert len(next(space.enumerate())) == 5
    assert ("stages", "stage.1.depth", "stage.1.layer.1.width", "stage.1.twice.1", "stage.1.twice.2") in names(space)


def test_conditions_on_what_is_repeated_alike_mean_the_same_repetition():
    space = Choices(
        {
            "depth": [1, 2],
            "op": {"options": ["conv", "pool"], "repeat": "depth"},
            "kernel": {"options": [3, 5], "repeat": "depth", "when": {"op": "conv"}},
        }
    )
    # Each layer is a pool, or a convolution with one of two kernels.
    assert space.size() == 3 + 9
    assert ("depth", "op.1", "op.2", "kernel.2") in names(space)
    assert_consistent(space, 0)


def test_names_mean_the_innermost_first():
    inner = {
        "op": ["a", "b"],
        "x": {"options": [0, 1], "when": {"op": "a"}},
        "y": {"options": [0, 1], "when": {"mode": 2}},
    }
    space = Choices({"op": ["c", "d"], "mode": [1, 2], "group": {"decisions": inner}})
    assert space.size() == 2 * (2 + 1) + 2 * (2 + 1) * 2
    assert space.encode({"op": "d", "mode": 1, "group.op": "b"}) == (1, 0, 1)


def test_shared_decisions_have_several_names_and_are_made_once():
    block = {"units": {"same": "width"}, "rate": {"options": [0.1, 0.5], "when": {"units": 32}}}
    space = Choices({"width": [16, 32], "block": {"repeat": 2, "decisions": block}})
    assert space.size() == 1 + 4
    architecture = space.parse("width=32,block.1.rate=0.1,block.2.rate=0.5")
    values = space.decode(architecture)
    assert values["block.1.units"] == values["block.2.units"] == values["width"] == 32
    assert space.encode(values) == architecture
    assert "units" not in space.format(architecture)
    with pytest.raises(InvalidArchitecture, match=r"block.1.units=16: expected 32, it is another name for width"):
        space.encode({**values, "block.1.units": 16})
    optional = Choices({"width": [16, 32], "tail": {"optional": True, "decisions": {"units": {"same": "width"}}}})
    assert ("tail.units" in optional.decode((0, 0)), "tail.units" in optional.decode((0, 1))) == (False, True)


PUBLISHED = """
decisions:
  filters: [32, 64]                        # shared by all layers
  repetitions: [1, 2, 4]
  layer: &layer
    repeat: repetitions
    decisions:
      order: [conv-bn-relu, relu-conv-bn]
      filters: {same: filters}
      dropout:
        optional: true
        decisions:
          keep: [0.5, 0.9]
  head:
    options:
      dense:
        units: [64, 128]
      average:
constraints:
  - repetitions * filters <= 128
"""


def test_the_language_is_the_same_in_a_file(tmp_path):
    (tmp_path / "space.yaml").write_text(PUBLISHED)
    space = Choices(tmp_path / "space.yaml")
    layers = {1: 6, 2: 36, 4: 6**4}
    assert space.size() == 3 * (layers[1] * 2 + layers[2] * 2 + layers[4])
    twin = Choices(space.decisions, space.constraints)
    assert twin == space
    assert twin != Choices(space.decisions)
    assert space.encode(space.decode(next(space.enumerate()))) == (0,) * 6


@pytest.mark.parametrize(
    ("decisions", "message"),
    [
        ({"g": {"decisions": [1]}}, "decision 'g': decisions: expected a mapping from names to decisions, got [1]"),
        ({"g": {"decisions": {"a": 3}}}, "decision 'g.a': expected a list of at least one option, got 3"),
        (
            {"g": {"decisions": {"a": [1]}, "options": [1]}},
            "unknown key options; expected decisions, when, rep",
        ),
        ({"g": {"decisions": {"a": [1]}, "optional": 1}}, "optional: expected true or false, got 1"),
        ({"a": {"options": {"x": [1]}}}, "decision 'a': option 'x': expected a mapping of decisions, got [1]"),
        ({"a": [1], "b": {"same": "c"}}, "decision 'b': same: 'c' is no earlier decision; expected one of a"),
        ({"a": [1], "b": {"same": "a", "when": {}}}, "same: expected no other key beside it, got same, when"),
        ({"a": {"options": [1], "repeat": 0}}, "repeat: 0 is no earlier decision"),
        ({"a": {"options": [1], "repeat": 10**9}}, "more than 20,000 decisions; repeat less often"),
        ({"g.a": [1], "g": {"decisions": {"a": [1]}}}, "would have the name of 'g.a'"),
    ],
)
def test_what_is_no_definition_is_named(decisions, message):
    with pytest.raises(UsageError) as caught:
        Choices(decisions)
    assert message in str(caught.value)


def test_mistakes_in_a_file_are_named_with_their_line(tmp_path):
    path = tmp_path / "space.yaml"
    for wrong, right, message in [
        ("{same: filter}", "{same: filters}", "space.yaml, line 9: decision 'layer.1.filters': same: 'filter' is no"),
        ("keep: 0.5", "keep: [0.5, 0.9]", "space.yaml, line 13: decision 'layer.1.dropout.keep': expected a list"),
        ("units: []", "units: [64, 128]", "space.yaml, line 17: decision 'head.dense.units': expected a list"),
        (
            "- repetition <",
            "- repetitions * filters <=",
            "space.yaml, line 20: constraint 'repetition < 128': ",
        ),
    ]:
        path.write_text(PUBLISHED.replace(right, wrong))
        with pytest.raises(UsageError) as caught:
            Choices(path)
        assert str(caught.value).startswith(f"Choices: {message}")
