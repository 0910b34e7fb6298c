"""Data sets read by name: digits that are shipped, NumPy archives, Parquet files, CIFAR."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from archsearch.basics.checks import number, whole_number
from archsearch.basics.kinds import IMAGES, TOKENS
from archsearch.basics.seeding import stream
from archsearch.basics.texts import shown
from archsearch.errors import TaskError, UnknownName, UsageError
from archsearch.task.images import Arrays, Layout, checked, count_of, split
from archsearch.task.reading_text import GRAMMAR, SPLIT, array_task, column_task, grammar_task, text_task
from archsearch.task.task import ImageTask, Part, Task

# -- tasks by name -----------------------------------------------------------------------------


def load_task(task: str | Path | Task) -> Task:
    """A task by name or path, as this module's head lists them; a ``Task`` is returned as it is.

    Raises:
        UnknownName: If there is no such task or option.
        TaskError: If its files cannot be used.
    """
    return task if isinstance(task, Task) else _load(absolute(task))


def absolute(task: str | Path) -> str:
    """The name of a task; where it is a path to something, the path from the root, so that it holds everywhere.

    Raises:
        UsageError: If it is no text.
    """
    if not isinstance(task, (str, Path)):
        raise UsageError(f"task: expected a name, a path or a Task, got {task!r}")
    name, colon, options = _parts_of(str(task))
    path = Path(name).expanduser()
    return str(path.absolute()) + colon + options if path.exists() and name not in NAMES else str(task)


def _parts_of(text: str) -> tuple[str, str, str]:
    """Name, colon and options; the latter empty if there are none."""
    matched = re.fullmatch(r"(.+?)(:)(\w+=[^,]*(?:,\w+=[^,]*)*)", text)
    return (matched[1], matched[2], matched[3]) if matched else (text, "", "")


NAMES = ("digits", "cifar10", "cifar100", "grammar")


def kind_of(task: str | Path | Task) -> str:
    """The kind of network that a task wants, as far as its name tells: nothing is read.

    Raises:
        UnknownName: If there is no such task.
    """
    if isinstance(task, Task):
        return task.goal.kind
    name, options = _asked(str(task))
    return TOKENS if _form(name, options, str(task)) in ("grammar", ".txt", ".npy", "column") else IMAGES


def _asked(text: str) -> tuple[str, dict[str, str]]:
    """Name and options."""
    name, _, options = _parts_of(text)
    return name, dict(option.split("=", 1) for option in options.split(",") if option)


def _form(name: str, options: Mapping[str, str], text: str) -> str:
    """A name of ``NAMES``, the ending of a file, parquet for images, or column for one of texts."""
    path = Path(name).expanduser()
    if name in NAMES:
        return name
    if path.suffix == ".parquet" or path.is_dir():
        return "column" if "text" in options else "parquet"
    if path.suffix in (".npz", ".npy", ".txt"):
        return path.suffix
    raise UnknownName(
        f"no task is called {text!r}; expected {', '.join(NAMES)}, a .npz file, a .parquet file or a folder of "
        "them, a .txt or .npy file of tokens, or, from Python, an ImageTask or TokenTask of your own arrays (then hand "
        "the evaluator to archsearch.resume, too)"
    )


@functools.lru_cache(maxsize=8)
def _load(text: str) -> Task:
    name, options = _asked(text)
    path, form = Path(name).expanduser(), _form(name, options, text)
    if form == "digits":
        return _digits(text, options)
    if form in ("cifar10", "cifar100"):
        return _cifar(name, text, options)
    if form == "grammar":
        return grammar_task(text, _options(text, options, GRAMMAR))
    if form == ".txt":
        return text_task(path, text, _options(text, options, {**SPLIT, "unit": "character"}))
    if form == "column":
        return column_task(path, text, _options(text, options, {**SPLIT, "unit": "character", "text": "text"}))
    if form == ".npy":
        return array_task(path, text, _options(text, options, {**SPLIT, "vocabulary": 0}))
    return _npz(path, text, options) if form == ".npz" else _parquet(path, text, options)


def _options(text: str, given: Mapping[str, str], defaults: dict[str, Any]) -> dict[str, Any]:
    """The options, in the types of their defaults."""
    values = dict(defaults)
    for name, value in given.items():
        if name not in defaults:
            raise UnknownName(f"task {text!r}: no option is called {name!r}; expected {', '.join(defaults)}")
        default = defaults[name]
        try:
            values[name] = value if isinstance(default, str) else _number(value, default)
        except ValueError:
            kind = "a whole number" if type(default) is int else "a number"
            raise UsageError(f"task {text!r}: {name}: expected {kind}, got {shown(value)}") from None
        if not isinstance(default, str):
            check = whole_number if type(default) is int else number
            values[name] = check(f"task {text!r}", name, values[name], low=0)
    return values


def _number(value: str, default: float) -> float:
    if type(default) is int:
        return int(value)
    return int(value) if value.isdecimal() else float(value)


def _three_parts(text: str, images: Any, labels: Any, options: Mapping[str, Any], **settings: Any) -> Task:
    """A task from one set of images, split three ways; shares are of all images."""
    counts = {part: count_of(options[part], len(labels), f"{text}, {part}") for part in ("valid", "test")}
    left = len(labels) - sum(counts.values())
    if left < 2:
        raise TaskError(
            f"{text}: valid={options['valid']} asks for {counts['valid']} images and test={options['test']} for "
            f"{counts['test']}; there are {len(labels)}, which leaves {max(0, left)} to train on; expected at least "
            "two: make these parts smaller"
        )
    return _from_parts(text, {"train": (images, labels)}, {**options, **counts}, **settings)


def _from_parts(text: str, arrays: dict[str, Arrays], options: Mapping[str, Any], **settings: Any) -> Task:
    """A task from whatever parts a set brings; a missing one is taken from the training images.

    Test comes first, then validation, so that neither changes with the number of training images.
    """
    images, labels = arrays["train"]
    known = np.unique(labels)
    for part in ("test", "valid"):
        if part not in arrays:
            arrays[part], (images, labels) = split(images, labels, options[part], options["seed"], f"{text}, {part}")
    if options["train"]:
        images, labels = split(images, labels, options["train"], options["seed"], f"{text}, train")[0]
    _check_parts(text, known, {"train": labels, "valid": arrays["valid"][1], "test": arrays["test"][1]})
    return ImageTask((images, labels), arrays["valid"], arrays["test"], name=text, **settings)


TINY = 10
"""A part with fewer images is warned of: one of them is worth more than ten percent of accuracy."""


def _check_parts(text: str, classes: npt.NDArray[Any], parts: Mapping[str, npt.NDArray[Any]]) -> None:
    """Warns of parts that are too small to tell much.

    Raises:
        TaskError: If there is no training image of a class.
    """
    for part, labels in parts.items():
        missing = np.setdiff1d(classes, labels)
        lacking = f"{len(labels)} images, none of {len(missing)} of {len(classes)} classes"
        if part == "train" and len(missing):
            raise TaskError(
                f"{text}, train: {lacking}; expected some of every class: make valid and test smaller, or train larger"
            )
        if len(missing):
            warnings.warn(f"{text}, {part}: {lacking}", stacklevel=2)
        elif part != "train" and len(labels) < TINY:
            warnings.warn(
                f"{text}, {part}: {len(labels)} images are few; one is worth {100 / len(labels):.0f} % of accuracy",
                stacklevel=2,
            )


def _digits(text: str, given: Mapping[str, str]) -> Task:
    """scikit-learn's digits; ``shift`` and ``noise`` (in units of the standard deviation) make them harder."""
    from sklearn.datasets import load_digits

    options = _options(text, given, {"train": 0.0, "valid": 0.25, "test": 0.25, "seed": 0, "shift": 0, "noise": 0.0})
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
    return _three_parts(text, images, labels, options, classes=10)


def _npz(path: Path, text: str, given: Mapping[str, str]) -> Task:
    """Arrays images and labels, split three ways; or train_images, train_labels, valid_images, ... ."""
    options = _options(text, given, {"train": 0.0, "valid": 0.2, "test": 0.2, "seed": 0, "layout": "auto"})
    if (layout := options["layout"]) not in get_args(Layout):
        raise UsageError(f"task {text!r}: layout: expected one of {', '.join(get_args(Layout))}, got {layout!r}")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except FileNotFoundError:
        raise TaskError(f"{path}: no such file") from None
    except (ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise TaskError(f"{path}: cannot be read as .npz: {error}") from None
    if {"images", "labels"} <= arrays.keys():
        images, labels = checked((arrays["images"], arrays["labels"]), str(path), layout)
        return _three_parts(text, images, labels, options, layout="channels_first")
    names = [f"{part}_{what}" for part in get_args(Part) for what in ("images", "labels")]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise TaskError(
            f"{path}: expected the arrays images and labels, or {', '.join(names)}; it has {', '.join(arrays)}"
        )
    if chosen := [name for name in given if name != "layout"]:
        raise UsageError(f"task {text!r}: the file has its three parts, so {', '.join(chosen)} cannot be chosen")
    train, valid, test = ((arrays[f"{part}_images"], arrays[f"{part}_labels"]) for part in get_args(Part))
    return ImageTask(train, valid, test, name=text, layout=layout)


PARQUET_PARTS = {"train": "train", "validation": "valid", "valid": "valid", "val": "valid", "test": "test"}
"""Name of a split in a Parquet folder to our name."""


def _parquet(path: Path, text: str, given: Mapping[str, str]) -> Task:
    """Image classification Parquet in the Hugging Face layout, read by its ``datasets`` library."""
    _need("datasets", "Parquet image sets", "images")
    import datasets

    options = _options(
        text, given, {"train": 0.0, "valid": 0.2, "test": 0.2, "seed": 0, "image": "image", "label": "label"}
    )
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise TaskError(f"{path}: no .parquet file here")
    by_part: dict[str, list[str]] = {}
    for file in files:
        words = re.split(r"[^a-z]+", str(file.relative_to(path.parent)).lower())
        found = [PARQUET_PARTS[word] for word in words if word in PARQUET_PARTS]
        by_part.setdefault(found[-1] if found else "all", []).append(str(file))
    arrays = {part: _read_images(names, options, datasets) for part, names in by_part.items()}
    if arrays.keys() in ({"all"}, {"train"}):
        return _three_parts(text, *next(iter(arrays.values())), options, layout="channels_last")
    if "train" not in arrays:
        raise TaskError(f"{text}: no file is named after the training part; found {', '.join(arrays)}")
    return _from_parts(text, arrays, options, layout="channels_last")


def _read_images(files: list[str], options: Mapping[str, Any], datasets: Any) -> Arrays:
    import pyarrow as pa
    import pyarrow.parquet as pq

    image, label = options["image"], options["label"]
    try:
        table = pq.read_table(files, columns=[image, label])
        if not _holds_bytes(table[image]):
            raise ValueError("not every image is in the file itself; paths and addresses are not followed")
        rows = datasets.Dataset(datasets.table.InMemoryTable(table)).cast_column(image, datasets.Image())
        pictures = [picture if picture.mode in ("L", "RGB") else picture.convert("RGB") for picture in rows[image]]
    except (pa.ArrowException, OSError, TypeError, ValueError, AttributeError, KeyError) as error:
        raise TaskError(
            f"{files[0]}: cannot be read: {error}; expected a column {image!r} of encoded images and a column "
            f"{label!r} of whole numbers (image=NAME and label=NAME choose others)"
        ) from None
    shapes = {np.shape(picture) for picture in pictures}
    if len(shapes) > 1:
        raise TaskError(f"{files[0]}: images of different shapes, such as {sorted(shapes)[:3]}; resize them first")
    return np.stack([np.asarray(picture) for picture in pictures]), np.asarray(rows[label])


def _holds_bytes(column: Any) -> bool:
    """Whether encoded images are in the file: ``datasets`` would follow paths, and addresses of servers, too."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        column = pc.struct_field(column, "bytes")
    binary = pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)
    return bool(binary and column.null_count == 0)


def _cifar(name: str, text: str, given: Mapping[str, str]) -> Task:
    """CIFAR-10 or CIFAR-100 by torchvision, with the usual augmentation; nothing is downloaded."""
    _need("torchvision", name, "vision")
    import torchvision.datasets

    root = os.environ.get("ARCHSEARCH_DATA", "data")
    options = _options(text, given, {"train": 0.0, "valid": 0.5, "test": 0.0, "seed": 0, "root": root})
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
    classes = 10 if name == "cifar10" else 100
    return _from_parts(text, arrays, options, classes=classes, augmentation=("crop", "flip"), layout="channels_last")


def _need(package: str, what: str, extra: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise TaskError(f"{what} need the package {package}: pip install 'archsearch[{extra}]'")
