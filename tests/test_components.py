"""Components by name and as plain data."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml

from archsearch import components
from archsearch.basics.classes import other_defaults
from archsearch.components import (
    KINDS,
    build,
    describe,
    entry_points,
    import_object,
    import_path,
    load,
    summary,
)
from archsearch.controller import Controller
from archsearch.controllers import Bananas, BayesianOptimization, RandomSearch, RegularizedEvolution
from archsearch.errors import UnknownName, UsageError
from archsearch.evaluator import Evaluator
from archsearch.evaluators import Function, Tabular
from archsearch.model import Model
from archsearch.space import Space
from archsearch.spaces import Choices, NASBench201

BASES = {"controllers": Controller, "evaluators": Evaluator, "models": Model, "spaces": Space}
ROOT = Path(__file__).parent.parent


class Plain(Controller):
    """Keeps whatever it is given. Nothing else, really."""

    def __init__(self, value, other=2, *args, **kwargs):
        self.value = value
        self.other = other


class Forgetful:
    def __init__(self, size):
        self.length = size


class Strict(Controller):
    def __init__(self, size: int):
        self.size = size
        if size < 0:
            raise UsageError("Strict: size: expected >= 0")


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_shelf_entry_points_and_modules_agree(kind):
    package = importlib.import_module(f"archsearch.{kind}")
    defined = {}
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"archsearch.{kind}.{info.name}")
        for name, cls in inspect.getmembers(module, inspect.isclass):
            if not issubclass(cls, BASES[kind]) or inspect.isabstract(cls):  # a base of some of them
                continue
            if cls.__module__ == module.__name__ and not name.startswith("_"):
                defined[name] = f"archsearch.{kind}.{info.name}:{name}"
    assert set(package.ALL) == set(defined)
    assert list(package.ALL) == sorted(package.ALL)
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][f"archsearch.{kind}"]
    assert declared == defined
    for name, value in defined.items():
        assert entry_points(kind)[name].value == value, (
            "install the project again: its entry points are of an old state"
        )
        assert load(name) is load(name, kind) is getattr(package, name) is import_object(value)


@pytest.mark.parametrize("kind", KINDS)
def test_every_class_says_in_one_line_what_it_is(kind):
    for name in importlib.import_module(f"archsearch.{kind}").ALL:
        text = summary(load(name, kind))
        assert text[0].isupper()
        assert "\n" not in text
        assert len(text) < 120


def test_a_shelf_says_which_names_it_lacks():
    for kind in KINDS:
        package = importlib.import_module(f"archsearch.{kind}")
        with pytest.raises(AttributeError, match=f"module 'archsearch.{kind}' has no attribute 'Nothing'"):
            package.Nothing  # noqa: B018


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        (
            "RegularisedEvolution",
            "controllers",
            "no controller is called 'RegularisedEvolution'; did you mean RegularizedEv",
        ),
        (
            "randomsearch",
            None,
            "no controller or evaluator or model or space is called 'randomsearch'; did you mean RandomSearch?",
        ),
        ("Tabula", "evaluators", "did you mean Tabular? Known: Cascade, Differentiable, Function, "),
        ("NASBench20", "spaces", "did you mean NASBench201?"),
        ("Tabular", "spaces", "no space is called 'Tabular'"),
    ],
)
def test_near_misses_get_a_suggestion(name, kind, expected):
    with pytest.raises(UnknownName) as caught:
        load(name, kind)
    assert expected in str(caught.value)
    assert "A class of your own works by its import path." in str(caught.value)


def test_nothing_near_lists_what_there_is():
    with pytest.raises(UnknownName) as caught:
        load("Qzx", "spaces")
    assert "did you mean" not in str(caught.value)
    assert "Known: AdaNet, AmoebaNet, BlockQNN, " in str(caught.value)


# -- settings of a base with other defaults --------------------------------------------------------


class Wide(Controller):
    def __init__(self, width: int = 1, *, deep: bool = False, size: int = 2):
        self.width, self.deep, self.size = width, deep, size


def test_a_class_with_other_defaults_has_all_settings_of_its_base():
    base, own = (dict(inspect.signature(cls).parameters) for cls in (BayesianOptimization, Bananas))
    assert list(own) == list(base)
    changed = {name: own[name].default for name in own if own[name] != base[name]}
    paper = {"initial": 10, "batch": 10}
    assert changed == {**paper, "candidates": 800, "parents": 2, "more_mutations": 0.8}
    assert {name: p.annotation for name, p in own.items()} == {name: p.annotation for name, p in base.items()}
    assert describe(Bananas(parents=3))["init_args"]["candidates"] == 800
    assert describe(BayesianOptimization())["init_args"]["candidates"] == 400


def test_other_defaults_leave_the_base_alone_and_keep_its_checks():
    larger = other_defaults(width=5)(type("Larger", (Wide,), {}))
    assert (larger().width, larger(2, deep=True).width, larger(size=9).size, Wide().width) == (5, 2, 9, 1)
    with pytest.raises(UsageError, match="Bananas: batch: expected a whole number >= 1"):
        Bananas(batch=0)


@pytest.mark.parametrize("name", ["depth", "size"])
def test_other_defaults_are_of_settings_that_the_base_has(name):
    with pytest.raises(TypeError, match=f"Wider: its base has defaults of width, got {name}"):
        other_defaults(**{name: 1})(type("Wider", (Wide,), {}))


# -- import paths ----------------------------------------------------------------------------------


def test_classes_of_ones_own_load_by_import_path(tmp_path, monkeypatch):
    (tmp_path / "my_own_lab.py").write_text("class Annealing:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    cls = load("my_own_lab.Annealing", "controllers")
    assert cls.__name__ == "Annealing"
    assert load("my_own_lab:Annealing") is cls
    assert import_path(cls) == "my_own_lab.Annealing"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_lab.Annealing", "no module called 'no_such_lab'; expected an import path such as my_lab.Annealing"),
        ("archsearch.no_such.Annealing", "no module called 'archsearch.no_such'"),
        ("archsearch.trial.Annealing", "module 'archsearch.trial' has no 'Annealing'"),
        ("Annealing", "'Annealing': expected an import path"),
        (".Annealing", "expected an import path"),
        ("./my_lab.Annealing", "expected an import path"),
        ("..lab.Annealing", "expected an import path"),
        ("my_lab.", "expected an import path"),
        ("my lab.Annealing", "expected an import path"),
        ("", "expected an import path"),
    ],
)
def test_import_paths_that_lead_nowhere(path, message):
    with pytest.raises(UnknownName) as caught:
        import_object(path)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import no_such_dependency", ModuleNotFoundError),
        ("int('x')", ValueError),
        ("object().missing", AttributeError),
    ],
)
def test_errors_inside_a_users_module_are_shown_as_they_are(tmp_path, monkeypatch, code, error):
    name = f"faulty_{error.__name__}"
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(error) as caught:
        load(f"{name}.Annealing")
    assert not isinstance(caught.value, UnknownName)
    assert name not in sys.modules


# -- plain data ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "component",
    [
        RandomSearch(),
        RegularizedEvolution(population_size=7),
        Tabular("cifar100", 12),
        NASBench201("skip"),
        Choices({"a": [1, 2], "b": {"options": ["x", None, True, 0.5], "when": {"a": 2}}}),
    ],
)
def test_described_components_are_built_again(component):
    description = describe(component)
    assert description["class_path"] == import_path(type(component))
    assert set(description["init_args"]) == set(inspect.signature(type(component)).parameters)
    for stored in (json.loads(json.dumps(description)), yaml.safe_load(yaml.safe_dump(description))):
        again = build(stored)
        assert type(again) is type(component)
        assert describe(again) == description


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (None, None),
        (True, True),
        ("text", "text"),
        (Path("a/b"), "a/b"),
        (np.float64(0.5), 0.5),
        (np.int32(3), 3),
        (np.bool_(True), True),
        (np.array(2), 2),
        ((1, (2, 3)), [1, [2, 3]]),
        (range(3), [0, 1, 2]),
        ({1: (2,)}, {"1": [2]}),
        (len, "builtins.len"),
        (Plain, f"{__name__}.Plain"),
        (import_path, "archsearch.basics.descriptions.import_path"),
    ],
)
def test_values_become_plain_data(value, stored):
    described = describe(Plain(value))
    assert described == {"class_path": f"{__name__}.Plain", "init_args": {"value": stored, "other": 2}}
    assert type(described["init_args"]["value"]) is type(stored)
    json.dumps(described)


def test_components_inside_components_are_built_too():
    inner = Plain(NASBench201("skip"))
    outer = Plain([inner, Choices({"a": [1]})], other={"best": Tabular("cifar100"), "n": (1, 2)})
    again = build(json.loads(json.dumps(describe(outer))), trust=True)
    assert describe(again) == describe(outer)
    assert again.value[0].value == NASBench201("skip")
    assert again.value[1] == Choices({"a": [1]})
    assert again.other["best"].dataset == "cifar100"


def test_an_argument_that_is_not_kept_is_named():
    with pytest.raises(UsageError, match=r"Forgetful.__init__ takes 'size' .* add self.size = size"):
        describe(Forgetful(3))


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", 1j, object(), [{1}], {"a": {1}}])
def test_what_cannot_be_stored_is_named(value):
    with pytest.raises(UsageError, match=r"Plain\.value: .* cannot be stored as plain data in config\.yaml"):
        describe(Plain(value))


def test_build_says_what_it_cannot_make():
    with pytest.raises(UnknownName, match="has no 'Gone'"):
        build({"class_path": "archsearch.trial.Gone"}, trust=True)
    with pytest.raises(UsageError, match=r"NASBench201: .*unexpected keyword argument 'size'"):
        build({"class_path": "NASBench201", "init_args": {"size": 3}}, trust=True)
    with pytest.raises(UsageError, match="missing 1 required positional argument: 'size'"):
        build({"class_path": f"{__name__}.Strict", "init_args": None}, trust=True)
    with pytest.raises(UsageError, match="size: expected >= 0"):
        build({"class_path": f"{__name__}.Strict", "init_args": {"size": -1}}, trust=True)


def test_functions_are_stored_by_import_path():
    again = build(describe(Function(import_path)), trust=True)
    assert again.function == "archsearch.basics.descriptions.import_path"
    assert again._call is import_path


@pytest.mark.parametrize(
    ("doc", "line"),
    [
        (None, ""),
        ("One line.", "One line"),
        ("First sentence, on\n    two lines. Second.\n\n    More.", "First sentence, on two lines"),
        ("First part; second part.", "First part"),
    ],
)
def test_summary_is_the_first_sentence(doc, line):
    cls = type("Some", (), {"__doc__": doc})
    assert summary(cls) == line


def test_entry_points_are_sorted_and_of_four_kinds():
    assert components.KINDS == ("controllers", "evaluators", "models", "spaces")
    for kind in KINDS:
        assert list(entry_points(kind)) == sorted(entry_points(kind))
