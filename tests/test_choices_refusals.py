"""``Choices``: definitions, files and texts that are wrong."""

from __future__ import annotations

import pytest
from spaces_lab import CONDITIONAL, assert_consistent

from archsearch.errors import InvalidArchitecture, UsageError
from archsearch.spaces import Choices


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
