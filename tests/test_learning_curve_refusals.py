"""Learning-curve extrapolation: settings, and what is refused."""

import json
import math

import pytest
from learning_curve_lab import EPOCHS, SPACE, make, run

from archsearch.components import build, describe
from archsearch.controllers import SuccessiveHalving
from archsearch.errors import InvalidArchitecture, MissingAbility, UsageError
from archsearch.evaluators import Function, LearningCurve, OneShot, Tabular, Training
from archsearch.spaces import MobileNet, NASBench101


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs: expected a whole number >= 1, got 0"),
        ({"epochs": 1}, "check_at: expected shares below 1, or whole numbers of epochs below the full length of 1"),
        ({"check_at": 0}, "check_at"),
        ({"check_at": 40}, "check_at"),
        ({"check_at": 2.5}, "check_at"),
        ({"check_at": []}, "check_at: expected at least one"),
        ({"check_at": [0.5, math.nan]}, "check_at"),
        ({"threshold": 0}, "threshold: expected a finite number above 0 and below 0.5, got 0"),
        ({"threshold": 0.5}, "threshold"),
        ({"warm_up": 9}, "warm_up: expected a whole number >= 10, got 9"),
        ({"interval": 0}, "interval: expected a whole number >= 1, got 0"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(UsageError, match=f"LearningCurve: {message}"):
        make(**settings)


def test_pauses():
    assert make(check_at=0.25)._stops == (10, 40)
    assert make(check_at=[30, 0.1, 4])._stops == (4, 30, 40)
    assert LearningCurve(Training(epochs=2))._stops == (1, 2)
    assert LearningCurve(Tabular("digits201"))._stops == (2, 4, 7, 9)
    assert LearningCurve(Tabular("ecnas_4v", epochs=36), check_at=[12])._stops == (12, 36)


def test_an_evaluator_that_cannot_stop_is_named(tmp_path):
    with pytest.raises(UsageError, match="Function does not say how many epochs a full training has; give epochs"):
        LearningCurve(Function(sum))
    with pytest.raises(UsageError, match="OneShot does not say how many epochs"):
        LearningCurve(OneShot())
    evaluator = LearningCurve(Function(sum), epochs=8)
    message = "pauses at epochs 2, 4, 6 of 8, which Function cannot: Function: the function scores architectures in one"
    with pytest.raises(UsageError, match=message):
        run(evaluator, out=tmp_path / "r")
    assert not (tmp_path / "r").exists()
    with pytest.raises(UsageError, match=r"which Tabular cannot: .*, only after 4, 12, 36, 108; choose among these"):
        LearningCurve(Tabular("ecnas_4v")).start(NASBench101(max_vertices=4))
    with pytest.raises(UsageError, match="evaluator that does not learn during the search"):
        LearningCurve(make(), epochs=40)


def test_spaces_and_budgets_are_refused_as_the_evaluator_does():
    evaluator = LearningCurve(Tabular("digits201"))
    with pytest.raises(MissingAbility, match=r"LearningCurve: Tabular's table digits201 holds .* MobileNet"):
        evaluator.start(MobileNet())
    with pytest.raises(UsageError, match="LearningCurve scores architectures in one go"):
        run(controller=SuccessiveHalving(max_budget=EPOCHS))
    started = make()
    started.start(SPACE)
    with pytest.raises(InvalidArchitecture):
        started.evaluate((9, 0, 0, 0, 0), 0)


def test_settings_survive_with_the_evaluator():
    evaluator = LearningCurve(Training(epochs=8), check_at=[2, 0.5], threshold=0.1)
    twin = build(json.loads(json.dumps(describe(evaluator))))
    assert describe(twin) == describe(evaluator)
    assert twin._stops == (2, 4, 8)
