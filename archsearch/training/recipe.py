"""How to train: a recipe, and those of the papers by name."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from archsearch.basics.checks import at_least_one, is_finite, whole_number
from archsearch.errors import UsageError
from archsearch.task import Augmentation, Task
from archsearch.task.task import known_augmentation

Preset = Literal[
    "digits",
    "digits_thin",
    "digits_short",
    "digits_few",
    "digits201",
    "nasbench201",
    "nasbench201_12",
    "darts",
    "grammar",
    "tables",
    "scenes",
]
Optimizer = Literal["sgd", "adamw"]
Precision = Literal["full", "bf16"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train; fields as the arguments of ``Training``."""

    task: str | Task = "digits"
    epochs: int = 9
    batch_size: int = 32
    optimizer: Optimizer = "sgd"
    learning_rate: float = 0.1
    warm_up: int = 0
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    clip_norm: float = 0.0
    drop_path: float = 0.0
    auxiliary_weight: float = 0.0
    augmentation: Sequence[Augmentation] | None = None
    train_examples: int | None = None
    skeleton: Mapping[str, int] = dataclasses.field(default_factory=dict)
    nesterov: bool = True
    segment: int = 35
    dropout: float = 0.0
    accumulate: int = 1
    precision: Precision = "full"
    processes: int = 1
    compile: bool = False


UPDATES = ("learning_rate", "momentum", "weight_decay", "label_smoothing", "clip_norm")
"""Fields that an architecture can have values of its own for; see ``archsearch.abilities.Prescribing``."""

THIN = {"channels": 8, "cells": 1, "layers": 4, "modules": 1}
DIGITS = Recipe(skeleton=THIN)
DIGITS201 = Recipe(
    task="digits:train=300,valid=748,test=749",
    epochs=9,
    skeleton={"channels": 8, "cells": 3, "layers": 4, "modules": 1},
)
NASBENCH201 = Recipe(task="cifar10", epochs=200, batch_size=256, skeleton={"channels": 16, "cells": 5})

PRESETS: Mapping[str, Recipe] = {
    "digits": DIGITS,
    "digits_thin": dataclasses.replace(DIGITS, skeleton={**THIN, "channels": 4}),
    "digits_short": dataclasses.replace(DIGITS, epochs=3),
    "digits_few": dataclasses.replace(DIGITS, train_examples=300),
    "digits201": DIGITS201,
    "nasbench201": NASBENCH201,
    "nasbench201_12": dataclasses.replace(NASBENCH201, epochs=12),
    "darts": Recipe(
        task="cifar10",
        epochs=600,
        batch_size=96,
        learning_rate=0.025,
        nesterov=False,
        weight_decay=3e-4,
        clip_norm=5.0,
        drop_path=0.2,
        auxiliary_weight=0.4,
        augmentation=("crop", "flip", "cutout"),
        skeleton={"channels": 36, "layers": 20},
    ),
    "grammar": Recipe(
        task="grammar",
        epochs=10,
        batch_size=40,
        segment=20,
        optimizer="adamw",
        learning_rate=0.02,
        weight_decay=0.0,
        clip_norm=1.0,
        skeleton={"width": 32, "divisor": 16},
    ),
    "tables": Recipe(task="diabetes", epochs=15, optimizer="adamw", learning_rate=0.02, weight_decay=1.0),
    "scenes": Recipe(task="scenes", epochs=20, batch_size=15, optimizer="adamw", learning_rate=0.02, weight_decay=0.01),
}
"""Recipes by name. ``digits``: seconds on one core. ``digits_thin``, ``_short`` and ``_few`` are proxies of it: half
the channels, a third of the epochs, a third of the images. ``digits201``: the frozen recipe of the table of that name.
``nasbench201``, ``nasbench201_12`` and ``darts``: those of the papers, for CIFAR-10. ``grammar``: language modelling,
some seconds on one core. ``tables`` and ``scenes``: for tables, a second or so, and for segmentation, some seconds."""


def check_recipe(recipe: Recipe) -> None:
    """Raises ``UsageError`` if a field is out of range."""
    known_augmentation(recipe.augmentation or (), "Training")
    if recipe.optimizer not in get_args(Optimizer):
        raise UsageError(f"Training: optimizer: expected sgd or adamw, got {recipe.optimizer!r}")
    if recipe.precision not in get_args(Precision):
        raise UsageError(f"Training: precision: expected full or bf16, got {recipe.precision!r}")
    for name, value in (
        ("accumulate", recipe.accumulate),
        ("processes", recipe.processes),
        ("epochs", recipe.epochs),
        ("batch_size", recipe.batch_size),
        ("segment", recipe.segment),
        ("train_examples", 1 if recipe.train_examples is None else recipe.train_examples),
        *((f"skeleton.{name}", value) for name, value in recipe.skeleton.items()),
    ):
        at_least_one("Training", name, value)
    if recipe.processes > 1:
        for name in ("drop_path", "dropout", "auxiliary_weight"):
            if given := getattr(recipe, name):
                raise UsageError(f"Training: {name}: expected none with several processes, got {given!r}")
    if not isinstance(recipe.compile, bool):
        raise UsageError(f"Training: compile: expected true or false, got {recipe.compile!r}")
    if recipe.compile and (recipe.processes > 1 or recipe.auxiliary_weight or recipe.drop_path):
        raise UsageError(
            "Training: compile: expected false with several processes, an auxiliary head or drop_path, got true"
        )
    whole_number("Training", "warm_up", recipe.warm_up)
    for names, low, high in (
        (("momentum", "label_smoothing", "drop_path", "dropout"), "0 <=", 1.0),
        (("weight_decay", "clip_norm", "auxiliary_weight"), "0 <=", math.inf),
        (("learning_rate",), "0 <", math.inf),
    ):
        for name in names:
            value = getattr(recipe, name)
            if not is_finite(value) or not 0 <= value < high or (low == "0 <" and value == 0):
                raise UsageError(f"Training: {name}: expected a number, {low} {name} < {high}, got {value!r}")
