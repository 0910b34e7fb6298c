"""The promises of models."""

from __future__ import annotations

import contextlib
import pickle
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from archsearch.errors import UsageError
from archsearch.model import Model, Prediction, load_model
from archsearch.space import Space
from archsearch.testing.looking import default, expect_no_globals, expect_round_trip, expect_same
from archsearch.testing.suite import (
    MODEL_CHECKS,
    ContractError,
    MakeModel,
    check_all,
    expect,
    expect_raises,
    model_check,
)
from archsearch.testing.toys import SPACES, FixedSpace, OnePointSpace, score, some
from archsearch.trial import Architecture

LABELS, HELD_OUT = 100, 100
MODEL_TAU = 0.2
"""A model of 100 labels ranks 100 other architectures of a separable landscape with at least this Kendall's tau."""


def check_model(make: MakeModel, *, skip: Collection[str] = ()) -> None:
    """Runs all of ``MODEL_CHECKS``.

    Args:
        make: Gives a new model at each call; each check fits some, so give it small settings if that is costly.
        skip: Names of checks to leave out.

    Raises:
        ContractError: If a check fails; the message lists every one that does, and why.
        UsageError: If ``skip`` names no check, or ``make`` gives the same object twice.
    """
    check_all(MODEL_CHECKS, make, (), skip)


# -- models --------------------------------------------------------------------------------------


def _labelled(space: Space, n: int, seed: int = 1) -> tuple[list[Architecture], list[float]]:
    architectures = some(space, n, seed)
    return architectures, [score(architecture) for architecture in architectures]


def _fitted(make: MakeModel, space: Space | None = None, seed: int = 1, labels: int = 30) -> Model:
    space = FixedSpace() if space is None else space
    model = make()
    model.fit(space, *_labelled(space, labels), seed)
    return model


def _expect_close(expected: Prediction, got: Prediction, what: str) -> None:
    for name, one, other in zip(Prediction._fields, expected, got, strict=True):
        expect(np.allclose(one, other, rtol=1e-3, atol=1e-4), f"{what}: {name} {one} became {other}")


def _predicted(model: Model) -> list[tuple[float, float]]:
    return list(zip(*(values.tolist() for values in model.predict(some(model.space, 12, seed=2))), strict=True))


@model_check
def default_settings_predict(make: MakeModel) -> None:
    """A model whose settings all have defaults works with them, as users start it."""
    _predicted(_fitted(lambda: default(make())))


@model_check
def predictions_are_sound(make: MakeModel) -> None:
    """In spaces of every kind: for each architecture a finite mean and a finite spread >= 0; for none, nothing."""
    for space in (*(cls() for cls in SPACES), OnePointSpace()):
        model = _fitted(make, space)
        for n in (0, 1, 12):
            prediction = model.predict(some(space, n, seed=2) if n else [])
            for name, values in zip(Prediction._fields, prediction, strict=True):
                where = f"{name} of {n} architectures of {type(space).__name__}"
                expect(values.shape == (n,), f"{where}: expected the shape ({n},), got {values.shape}")
                fine = np.isfinite(values).all() and (name == "mean" or (values >= 0).all())
                expect(bool(fine), f"{where}: expected finite numbers, spreads >= 0, got {values}")


@model_check
def learns_from_labels(make: MakeModel) -> None:
    """Of a separable landscape it learns an order that agrees with the truth, on architectures it has not seen."""
    from scipy.stats import kendalltau

    space = FixedSpace()
    model = _fitted(make, space, labels=LABELS)
    known = set(model.architectures)
    others = [each for each in some(space, LABELS + HELD_OUT, seed=3) if each not in known][:HELD_OUT]
    tau = float(kendalltau([score(each) for each in others], model.predict(others).mean).statistic)
    expect(tau >= MODEL_TAU, f"Kendall's tau with the truth is {tau:.2f}; expected at least {MODEL_TAU}")


@model_check
def same_seed_same_predictions(make: MakeModel) -> None:
    """Two models with the same settings, labels and seed predict the same."""
    first, second = _predicted(_fitted(make)), _predicted(_fitted(make))
    expect_same(first, second, "same labels, same seed, other predictions; draw only from the generator you are given")


@model_check
def fitting_forgets(make: MakeModel) -> None:
    """Fitted again, or cloned and fitted, it predicts as a new model does; the labels it is given stay unchanged."""
    space = FixedSpace()
    used = _fitted(make, space)
    copy = used.clone()
    architectures, scores = _labelled(space, 40, seed=4)
    kept = list(architectures), list(scores)
    fresh = make()
    for model in (fresh, used, copy):
        model.fit(space, architectures, scores, 5)
    expect((architectures, scores) == kept, "fit() changed the labels it was given")
    for what, model in {"fitted twice": used, "cloned and fitted": copy}.items():
        expect_same(_predicted(fresh), _predicted(model), f"{what}, it predicts something else")


@model_check
def company_plays_no_part(make: MakeModel) -> None:
    """What is predicted of an architecture does not depend on which others are asked for, but for rounding.

    If the model says ``rounds_alike``, not even in that.
    """
    model = _fitted(make)
    architectures = some(model.space, 12, seed=2)
    together = model.predict(architectures)
    backwards = model.predict(architectures[::-1])
    _expect_close(together, Prediction(*(values[::-1] for values in backwards)), "asked for in another order")
    each_alone = [model.predict([each]) for each in architectures]
    alone = Prediction(*(np.concatenate(values) for values in zip(*each_alone, strict=True)))
    _expect_close(together, alone, "asked alone")
    if model.rounds_alike:
        first, second = (np.stack(each).tolist() for each in (together, alone))
        expect_same(first, second, "rounds_alike is set, and asked alone it is rounded otherwise")


@model_check
def features_are_used_or_refused(make: MakeModel) -> None:
    """Features are refused by a model that takes none; otherwise they count, and are asked for in predictions, too."""
    space, model = FixedSpace(), make()
    architectures, scores = _labelled(space, 40)
    features = np.stack([scores, np.arange(40.0)], axis=1)
    if not model.takes_features:
        expect_raises(UsageError, lambda: model.fit(space, architectures, scores, 1, features), "fit with features")
        return
    model.fit(space, architectures, scores, 1, features)
    expect_raises(UsageError, lambda: model.predict(architectures), "predict without the features of fit")
    others = some(space, 2, seed=2)
    low, high = (model.predict(others, np.tile([value, 20.0], (2, 1))).mean for value in (min(scores), max(scores)))
    expect(bool((high > low).all()), "a feature that equals the score does not move what is predicted")


@model_check
def model_files_hold_all(make: MakeModel) -> None:
    """Saved and read, without unpickling anything, it predicts exactly the same; so does a pickled copy."""
    model = _fitted(make)
    with tempfile.TemporaryDirectory() as folder, _no_unpickling():
        model.save(Path(folder) / "model.safetensors")
        twin = load_model(Path(folder) / "model.safetensors", model.space, make())
    expect_same(_predicted(model), _predicted(twin), "read from its file, it predicts something else")
    copy = pickle.loads(pickle.dumps(model))
    expect_same(_predicted(model), _predicted(copy), "its pickled copy predicts something else")


@contextlib.contextmanager
def _no_unpickling() -> Iterator[None]:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise ContractError("reading the file unpickles something; keep arrays and JSON data")

    names = ("load", "loads", "Unpickler")
    before = {name: getattr(pickle, name) for name in names}
    for name in names:
        setattr(pickle, name, refuse)
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(pickle, name, function)


@model_check
def model_leaves_global_generators(make: MakeModel) -> None:
    """The global generators of ``random``, NumPy and PyTorch are neither read nor written."""
    expect_no_globals(lambda: _predicted(_fitted(make)))


@model_check
def model_round_trip(make: MakeModel) -> None:
    """Settings are readable as attributes, and a model rebuilt from them predicts the same."""
    model = make()
    twin = expect_round_trip(model)
    same = _predicted(_fitted(lambda: model)), _predicted(_fitted(lambda: twin))
    expect_same(*same, "rebuilt from its description, it predicts something else")
