"""Images as arrays: digits that are shipped, NumPy archives, CIFAR by torchvision."""

from __future__ import annotations

import functools
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import numpy as np

from archsearch.basics.checks import whole_number
from archsearch.basics.seeding import stream
from archsearch.errors import TaskError, UsageError
from archsearch.task.images import Layout, checked
from archsearch.task.parts import SHARES, expect_known, from_parts, need, one_of, options_of, three_parts
from archsearch.task.task import ImageTask, Part, Task


def digits(text: str, given: Mapping[str, str]) -> Task:
    """scikit-learn's digits; ``shift`` and ``noise`` (in units of the standard deviation) make them harder."""
    from sklearn.datasets import load_digits

    options = options_of(text, given, {**SHARES, "valid": 0.25, "test": 0.25, "shift": 0, "noise": 0.0})
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8).astype(np.float32) / 16
    whole_number(f"task {text!r}", "shift", options["shift"], 0, images.shape[1])  # at 8 pixels nothing is left
    rng = stream(options["seed"], "digits")
    if options["shift"]:
        reach = options["shift"]
        padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach)))
        by = rng.integers(0, 2 * reach + 1, (2, len(images)))
        images = np.stack([image[y : y + 8, x : x + 8] for image, y, x in zip(padded, by[0], by[1], strict=True)])
    if options["noise"]:
        images = images + images.std() * np.float32(options["noise"]) * rng.standard_normal(images.shape, np.float32)
    return three_parts(text, images, labels, options, functools.partial(ImageTask, classes=10, name=text))


def archive(path: Path, text: str, given: Mapping[str, str]) -> Task:
    """Arrays images and labels, split three ways; or train_images, train_labels, valid_images, ... ."""
    options = options_of(text, given, {**SHARES, "layout": "auto"})
    layout: Layout = one_of(text, options, "layout", get_args(Layout))  # type: ignore[assignment]
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except FileNotFoundError:
        raise TaskError(f"{path}: no such file") from None
    except (ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise TaskError(f"{path}: cannot be read as .npz: {error}") from None
    if {"images", "labels"} <= arrays.keys():
        images, labels = checked((arrays["images"], arrays["labels"]), str(path), layout)
        make = functools.partial(ImageTask, name=text, layout="channels_first")
        return three_parts(text, images, labels, options, make)
    names = [f"{part}_{what}" for part in get_args(Part) for what in ("images", "labels")]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise TaskError(
            f"{path}: expected the arrays images and labels, or {', '.join(names)}; it has {', '.join(arrays)}"
        )
    if chosen := [name for name in given if name != "layout"]:
        raise UsageError(f"task {text!r}: the file has its three parts, so {', '.join(chosen)} cannot be chosen")
    train, valid, test = ((arrays[f"{part}_images"], arrays[f"{part}_labels"]) for part in get_args(Part))
    for part in ("valid", "test"):
        expect_known(f"{text}, {part}", arrays[f"{part}_labels"], arrays["train_labels"])
    return ImageTask(train, valid, test, name=text, layout=layout)


def cifar(name: str, text: str, given: Mapping[str, str]) -> Task:
    """CIFAR-10 or CIFAR-100 by torchvision, with the usual augmentation; nothing is downloaded."""
    need("torchvision", name, "vision")
    import torchvision.datasets

    root = os.environ.get("ARCHSEARCH_DATA", "data")
    options = options_of(text, given, {**SHARES, "valid": 0.5, "test": 0.0, "root": root})
    load = {"cifar10": torchvision.datasets.CIFAR10, "cifar100": torchvision.datasets.CIFAR100}[name]
    try:
        train, test = (load(options["root"], train=part, download=False) for part in (True, False))
    except RuntimeError:
        raise TaskError(
            f"{text}: torchvision's files are not in {options['root']!r}; have torchvision download them there once, "
            f"or name the folder: {name}:root=FOLDER, or the variable ARCHSEARCH_DATA"
        ) from None
    arrays = {"train": (np.asarray(train.data), np.asarray(train.targets))}
    arrays["test"] = np.asarray(test.data), np.asarray(test.targets)
    make = functools.partial(
        ImageTask,
        classes=10 if name == "cifar10" else 100,
        augmentation=("crop", "flip"),
        layout="channels_last",
        name=text,
    )
    return from_parts(text, arrays, options, make)
