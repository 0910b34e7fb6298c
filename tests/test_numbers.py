"""Every number that a component or a search takes: NaN, infinity, booleans and texts are refused, NumPy's are taken."""

import inspect
import math
import types
import typing

import numpy as np
import pytest

from archsearch import Settings, search
from archsearch.basics.checks import number, whole_number
from archsearch.components import KINDS, describe, entry_points
from archsearch.controllers import RandomSearch
from archsearch.errors import UsageError
from archsearch.evaluators import Function, Tabular, Training
from archsearch.executors.ray.executor import RayExecutor
from archsearch.executors.simulated import SimulatedExecutor
from archsearch.spaces import Choices

NEEDED = {
    "Cascade": lambda: {"evaluators": [Function(len), Function(len)]},
    "Choices": lambda: {"decisions": {"a": [1, 2]}},
    "Function": lambda: {"function": len},
    "LearningCurve": lambda: {"evaluator": Training(epochs=9)},
    "OnDevice": lambda: {"evaluator": Tabular(), "target": 0.02},
    "OneShot": dict,
}
"""Arguments that have no default."""


def kinds(annotation):
    """Which of int and float an annotation names."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return {kind for each in typing.get_args(annotation) for kind in kinds(each)}
    return {annotation} & {int, float}


def numeric_arguments():
    classes = [point.load() for kind in KINDS for point in entry_points(kind).values()]
    for cls in [*classes, SimulatedExecutor, RayExecutor]:
        hints = typing.get_type_hints(cls.__init__)
        for name in inspect.signature(cls.__init__).parameters:
            if found := kinds(hints.get(name)):
                yield pytest.param(cls, name, found, id=f"{cls.__name__}.{name}")


ARGUMENTS = list(numeric_arguments())


@pytest.mark.parametrize(("cls", "name", "found"), ARGUMENTS)
def test_no_component_takes_what_is_no_number_for_one(cls, name, found):
    others = NEEDED.get(cls.__name__, dict)()
    wrong = [math.nan, math.inf, -math.inf, True, False, "3", [], np.float64("nan"), np.bool_(True), -(10**400)]
    if float not in found:
        wrong += [1.5, 2.0, np.float64(2.0)]
    for value in wrong:
        with pytest.raises(UsageError) as caught:
            cls(**{**others, name: value})
        assert name in str(caught.value), value
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("cls", "name", "found"), ARGUMENTS)
def test_numbers_of_numpy_are_taken_and_kept_as_plain_ones(cls, name, found):
    others = NEEDED.get(cls.__name__, dict)()
    if (cls, name) == (Tabular, "run"):
        others["epochs"] = 200
    default = inspect.signature(cls.__init__).parameters[name].default
    accepted = False
    for plain in (default, 0.25, -0.25, 1, 2, 3, 7, 10, 50, 100, 200, 777):
        if isinstance(plain, (str, list, type(None))):
            continue
        try:
            cls(**{**others, name: plain})
        except UsageError:
            continue
        accepted = True
        given = np.int64(plain) if isinstance(plain, int) else np.float64(plain)
        kept = describe(cls(**{**others, name: given}))["init_args"][name] if cls is not SimulatedExecutor else plain
        assert kept == plain
        assert type(kept) is type(plain)
    assert accepted


@pytest.mark.parametrize(
    "name", ["trials", "max_seconds", "max_cost", "target", "timeout", "lag", "batch", "max_failures"]
)
def test_settings_take_finite_numbers_only(name):
    for value in (math.nan, math.inf, -math.inf, True, "3", [], np.float32("inf")):
        with pytest.raises(UsageError, match=f"{name}: expected a (finite|whole) number"):
            Settings(**{"trials": 1} | {name: value})
    if name != "target":
        for value in (0, -1, -0.5):
            with pytest.raises(UsageError, match=f"{name}: expected a (finite|whole) number"):
                Settings(**{"trials": 1} | {name: value})


def test_what_never_stops_a_search_is_no_end_of_it():
    for end in ({"max_seconds": math.inf}, {"max_cost": math.inf}, {"target": math.nan}, {"target": math.inf}):
        with pytest.raises(UsageError, match="expected a finite number"):
            search(Choices({"a": [1, 2]}), RandomSearch(), Function(len), **end)


def test_settings_keep_plain_numbers():
    kept = Settings(
        trials=np.int64(3), max_seconds=np.float32(2.5), target=np.int32(-1), retries={"timeout": np.int64(2)}
    )
    assert (kept.trials, kept.max_seconds, kept.target, kept.retries) == (3, 2.5, -1, {"timeout": 2})
    assert [type(each) for each in (kept.trials, kept.max_seconds, kept.target)] == [int, float, int]


@pytest.mark.parametrize(
    "retries", [{"timeout": True}, {"timeout": -1}, {"timeout": 1.0}, {"other": 1}, [("timeout", 1)]]
)
def test_retries_are_whole_numbers_by_kind(retries):
    with pytest.raises(UsageError, match="retries"):
        Settings(trials=1, retries=retries)


@pytest.mark.parametrize("seed", [-1, True, 1.0, math.nan, "0"])
def test_seeds_are_whole_numbers(seed):
    with pytest.raises(UsageError, match="seed: expected a whole number >= 0"):
        search(Choices({"a": [1, 2]}), RandomSearch(), Function(len), trials=1, seed=seed)


def test_a_seed_of_numpy_is_taken():
    assert (
        search(Choices({"a": [1, 2]}), RandomSearch(), Function(lambda d: d["a"]), trials=1, seed=np.int64(3)).seed == 3
    )


@pytest.mark.parametrize("workers", [0, True, 1.5, math.inf])
def test_workers_are_whole_numbers(workers):
    for executor in ("local", "simulated", "ray"):
        with pytest.raises(UsageError, match="workers: expected a whole number >= 1"):
            search(Choices({"a": [1, 2]}), RandomSearch(), Tabular(), trials=1, executor=executor, workers=workers)


def test_messages_say_the_bounds():
    for bounds, said in (
        ({}, "a finite number, got"),
        ({"low": 0}, "a finite number >= 0, got"),
        ({"above": 0}, "a finite number above 0, got"),
        ({"low": 0, "high": 1}, "a finite number from 0 to 1, got"),
        ({"low": 0, "below": 1}, "a finite number from 0 to below 1, got"),
        ({"above": 0, "high": 1}, "a finite number above 0 and up to 1, got"),
        ({"above": 0, "below": 1}, "a finite number above 0 and below 1, got"),
    ):
        with pytest.raises(UsageError, match=said):
            number("Owner", "name", math.nan, **bounds)
    with pytest.raises(UsageError, match="Owner: name: expected a whole number from 1 to 3, got 4"):
        whole_number("Owner", "name", 4, 1, 3)
    with pytest.raises(UsageError, match=r"\.\.\.$"):
        number("Owner", "name", "x" * 10_000)
