"""YAML is read as version 1.2 has it, on the command line and in files; what is written both versions read alike."""

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from archsearch import cli
from archsearch.errors import UsageError
from archsearch.files.yaml_files import read_yaml, read_yaml_file, yaml_text
from archsearch.keeping.folder import RunFolder

SCALARS = {
    "010": 10,
    "-7": -7,
    "0x1f": 31,
    "12:30": "12:30",
    "1_000": "1_000",
    "0o10": "0o10",
    "1e-3": 0.001,
    "1e3": 1000.0,
    ".5": 0.5,
    "-.inf": -math.inf,
    "true": True,
    "False": False,
    "no": "no",
    "on": "on",
    "YES": "YES",
    "2024-01-01": "2024-01-01",
    "=": "=",
    "~": None,
    "null": None,
    "": None,
}

TEXTS = st.one_of(
    st.sampled_from([*SCALARS, ".nan", "<<", "- a", "a: b", "#", "'", '"', "0b1", "1.", "+1", "0.1e1", "tRue"]),
    st.text(st.characters(codec="utf-8", exclude_categories=("C",))),
)
DATA = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)


@pytest.mark.parametrize("text", SCALARS)
def test_the_core_schema(text):
    found = read_yaml(text)
    assert (type(found), found) == (type(SCALARS[text]), SCALARS[text])


@given(DATA)
def test_what_is_written_is_read_again_by_both_versions(data):
    text = yaml_text({"data": data})
    assert read_yaml(text) == yaml.safe_load(text) == {"data": data}


def test_parts_that_are_named_can_be_merged():
    assert read_yaml("a: &base {b: 1}\nc:\n  <<: *base\n  d: 2\n")["c"] == {"b": 1, "d": 2}


@pytest.mark.parametrize(
    ("text", "said"),
    [("a: 1\nb: [1", "line 3, column 1"), ("a: 1\na: 2\n", "line 2, column 1.*'a' is given twice"), ("\ta", "line 1")],
)
def test_a_problem_is_said_with_file_and_line(text, said):
    with pytest.raises(UsageError, match=f"^mine.yaml: {said}") as error:
        read_yaml_file("mine.yaml", text + "\n")
    assert "\n" not in str(error.value)


# -- the command line ------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs a search with a file of options: exit status, what was said on standard error."""
    monkeypatch.chdir(tmp_path)

    def command(text, *arguments):
        (tmp_path / "options.yaml").write_text(text)
        status = cli.main(["run", "--config", "options.yaml", "--out", "run", "--quiet", *arguments])
        return status, capsys.readouterr().err

    return command


def test_a_number_means_the_same_in_a_file_and_as_an_option(run, tmp_path):
    assert run("trials: 2\nseed: 010\nmax_seconds: 1e3\n") == (0, "")
    config = RunFolder(tmp_path / "run").config()
    assert (config["seed"], config["settings"]["max_seconds"]) == (10, 1000.0)
    assert run("trials: 2\nmax_seconds: 1e3\n", "--seed", "010") == (0, "")


def test_options_called_no_and_on_stay_texts(run, tmp_path):
    space = "space:\n  class_path: Choices\n  init_args:\n    decisions:\n      op: [no, on, off]\n"
    options = ("--evaluator", "Function", "--evaluator.function", "builtins.len", "--trials", "2")
    assert run(space, *options) == (0, "")
    assert RunFolder(tmp_path / "run").config()["space"]["init_args"]["decisions"] == {"op": ["no", "on", "off"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trials: 2\nmax_seconds: 12:30\n", "max_seconds: expected a number, got '12:30'"),
        ("trials: 2\ntrust: on\n", "trust: expected true or false, got 'on'"),
        ("trials: 2\nseed: [1\n", "options.yaml: line 3, column 1: no YAML"),
        ("trials: 2\ntrials: 3\n", "options.yaml: line 2, column 1: no YAML ('trials' is given twice)"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(text, said, run):
    status, error = run(text)
    assert status == 2
    assert said in error
    assert error.count("\n") == 1
