"""A user's mistakes in Python are met like those on the command line: one line, what was expected, what to do."""

import numpy as np
import pytest

from archsearch import Controller, Evaluator, search
from archsearch.controllers import RandomSearch
from archsearch.errors import UsageError
from archsearch.evaluators import Function, Tabular
from archsearch.judging.verification import verify
from archsearch.spaces import NASBench201

SPACE = NASBench201()


class Drawing(Controller):
    """Draws, and answers in a form of its own."""

    def __init__(self, form=tuple):
        self.form = form

    def _ask(self):
        return self.form(self.space.sample(self.rng))


class WithoutAsk(Controller):
    """Lacks the method that an author writes."""


class WithoutEvaluate(Evaluator):
    """Lacks the method that an author writes."""


class OddState(Drawing):
    """Has a state that is no JSON data."""

    state = ("_seen",)

    def _start(self):
        self._seen = {"first": [1, {2}]}


@pytest.mark.parametrize(
    ("components", "said"),
    [
        ((NASBench201, RandomSearch(), Tabular()), "space: expected an instance of Space, got the class NASBench201"),
        ((SPACE, RandomSearch, Tabular()), "controller: .* got the class RandomSearch; write RandomSearch"),
        ((SPACE, RandomSearch(), Tabular), "evaluator: .* got the class Tabular; write Tabular"),
        ((SPACE, RandomSearch(), len), r"evaluator: .* got a function; write Function\("),
        (
            (SPACE, Tabular(), RandomSearch()),
            "controller: .* got Tabular; are the arguments in order: space, controller",
        ),
        (("NASBench201", RandomSearch(), Tabular()), "space: .* got the text 'NASBench201'; import the class"),
        ((SPACE, None, Tabular()), "controller: .* got NoneType"),
        ((SPACE, WithoutAsk(), Tabular()), "WithoutAsk: expected a method _ask, got none"),
        ((SPACE, RandomSearch(), WithoutEvaluate()), "WithoutEvaluate: expected a method evaluate, got none"),
    ],
)
def test_what_is_no_component_is_refused_by_name(components, said):
    with pytest.raises(UsageError, match=said) as error:
        search(*components, trials=1)
    assert "\n" not in str(error.value)


def test_verify_takes_no_class_either():
    with pytest.raises(UsageError, match="verify: evaluator: expected an instance of Evaluator, got the class Tabular"):
        verify("nowhere", Tabular)


def test_a_misspelt_setting_is_guessed():
    with pytest.raises(TypeError, match="unexpected keyword argument 'trails'; did you mean trials"):
        search(SPACE, RandomSearch(), Tabular(), trails=3)


@pytest.mark.parametrize("form", [list, np.array, lambda options: tuple(map(np.int64, options))])
def test_architectures_may_come_as_lists_and_arrays(form, tmp_path):
    found = search(SPACE, Drawing(form), Tabular(), trials=5, seed=1, out=tmp_path / "run")
    expected = search(SPACE, Drawing(), Tabular(), trials=5, seed=1)
    asked = [trial.architecture for trial in found.history]
    assert asked == [trial.architecture for trial in expected.history]
    assert {type(option) for architecture in asked for option in architecture} == {int}


@pytest.mark.parametrize(
    "form", [lambda options: np.array(options) + 0.5, lambda options: "text", lambda options: [True]]
)
def test_other_answers_are_refused(form):
    with pytest.raises(UsageError, match=r"its _ask gave .* expected an architecture"):
        search(SPACE, Drawing(form), Tabular(), trials=1)


def test_a_state_that_is_no_json_data_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"controller\.state\._seen\.first\[1\]: expected JSON data .* got set"):
        search(SPACE, OddState(), Function(len), trials=3, out=tmp_path / "run")
