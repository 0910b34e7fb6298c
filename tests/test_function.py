"""The evaluator ``Function``."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from tabular_lab import SPACE, Numbers

from archsearch.components import build, describe
from archsearch.errors import InvalidArchitecture, UnknownName, UsageError
from archsearch.evaluators import Function
from archsearch.spaces import NASBench201
from archsearch.trial import Cost, Evaluation

SETTINGS = {"higher_is_better": True, "save_every": 30.0, "keep": 1000}


def accuracy(values) -> float:
    return values["kernel"] + values["width"]


class Model:
    def __call__(self, values):
        return 1.0


def evaluate(function, seed=3) -> Evaluation:
    evaluator = Function(function)
    evaluator.start(SPACE)
    return evaluator.evaluate((1, 0), seed)


def test_a_function_receives_what_the_space_decodes_to():
    assert evaluate(accuracy) == Evaluation(21.0)
    evaluator = Function(len)
    evaluator.start(NASBench201())
    assert evaluator.evaluate((0,) * 6, 0).score == len(NASBench201().format((0,) * 6))
    evaluator = Function(sum)
    evaluator.start(Numbers())
    assert evaluator.evaluate((1, 2, 3, 0, 0, 0), 0).score == 6.0
    with pytest.raises(InvalidArchitecture):
        evaluator.evaluate((1, 2), 0)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (2, Evaluation(2.0)),
        (True, Evaluation(1.0)),
        (np.float32(0.5), Evaluation(0.5)),
        (np.int64(3), Evaluation(3.0)),
        (np.array(0.25), Evaluation(0.25)),
        ({"score": 1}, Evaluation(1.0)),
        ({"score": np.float32(0.5), "size": np.int64(9)}, Evaluation(0.5, {"size": 9.0})),
        ({"score": 1, "cost": 2}, Evaluation(1.0, {}, Cost(device_seconds=2.0))),
        (Evaluation(1.0, {"a": 2.0}, Cost(flops=3.0)), Evaluation(1.0, {"a": 2.0}, Cost(flops=3.0))),
    ],
)
def test_accepted_answers(answer, expected):
    got = evaluate(lambda values: answer)
    assert got == expected
    assert type(got.score) is float
    assert all(type(value) is float for value in got.metrics.values())


def test_costs_in_a_mapping_are_billed():
    assert evaluate(lambda values: {"score": 1, "cost": 2.5}).cost.billed_seconds == 2.5


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "the return value: expected a number, .* got NoneType None"),
        ("high", "got str 'high'"),
        ((1.0, 2.0), "got tuple"),
        ({"accuracy": 1}, "the return value: expected an entry 'score' in a mapping, got accuracy"),
        ({"score": None}, "score: expected a number"),
        ({"score": 1, "size": "big"}, "size: expected a number"),
        ({"score": 1, "cost": []}, "cost: expected a number"),
    ],
)
def test_other_answers_are_refused(answer, message):
    with pytest.raises(TypeError, match=message):
        evaluate(lambda values: answer)


def test_nan_is_passed_on_for_the_search_to_refuse():
    assert math.isnan(evaluate(lambda values: math.nan).score)


def test_seeds_are_given_to_functions_that_take_one():
    assert evaluate(lambda values, seed: seed, seed=2**62).score == 2**62
    assert evaluate(lambda values, *, seed=0: seed, seed=5).score == 5.0
    assert evaluate(lambda values, factor=2: factor).score == 2.0
    assert evaluate(Model()).score == 1.0


def test_errors_of_the_function_are_its_own():
    with pytest.raises(ZeroDivisionError):
        evaluate(lambda values: 1 / 0)


def test_an_import_path_names_the_function():
    for path in ("math.prod", "math:prod"):
        evaluator = Function(path)
        assert describe(evaluator)["init_args"] == {**SETTINGS, "function": path}
        evaluator = pickle.loads(pickle.dumps(build(describe(evaluator), trust=True)))
        evaluator.start(Numbers())
        assert evaluator.evaluate((1, 2, 3, 4, 4, 4), 0).score == 384.0
    assert describe(Function(math.prod))["init_args"] == {**SETTINGS, "function": "math.prod"}


@pytest.mark.parametrize("wrong", [3, None, "math.pi"])
def test_what_cannot_be_called_is_refused(wrong):
    with pytest.raises(UsageError, match="expected a callable or its import path, got"):
        Function(wrong)


def test_an_import_path_must_exist():
    with pytest.raises(UnknownName, match="module 'math' has no 'produkt'"):
        Function("math.produkt")
    with pytest.raises(UnknownName, match="no module called 'my_labb'"):
        Function("my_labb.accuracy")


def test_functions_without_a_signature_work():
    evaluator = Function(max)
    evaluator.start(Numbers())
    assert evaluator.evaluate((1, 2, 3, 0, 0, 0), 0).score == 3.0
