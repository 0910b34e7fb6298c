"""What readers of data have in common: options of a task's name, and three parts of what was read."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from archsearch.basics.checks import number, whole_number
from archsearch.basics.texts import shown
from archsearch.errors import TaskError, UnknownName, UsageError
from archsearch.task.images import Arrays, count_of, split
from archsearch.task.task import Task

PARTS = {"train": "train", "validation": "valid", "valid": "valid", "val": "valid", "test": "test"}
"""Names that parts have in folders and in Hugging Face data sets, to ours."""

SHARES: dict[str, Any] = {"train": 0.0, "valid": 0.2, "test": 0.2, "seed": 0}
"""Options of whatever can be split, with their defaults."""

# -- options of a name -------------------------------------------------------------------------


def options_of(text: str, given: Mapping[str, str], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The options, in the types of their defaults.

    Raises:
        UnknownName: If there is none of that name.
        UsageError: If a value is of another type.
    """
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


def one_of(text: str, options: Mapping[str, Any], name: str, known: tuple[str, ...]) -> str:
    """The value of an option that is one of some words.

    Raises:
        UsageError: If it is another.
    """
    value: str = options[name]
    if value not in known:
        raise UsageError(f"task {text!r}: {name}: expected one of {', '.join(known)}, got {value!r}")
    return value


def need(package: str, what: str, extra: str) -> None:
    """Raises ``TaskError`` if a package is not installed."""
    if importlib.util.find_spec(package) is None:
        raise TaskError(f"{what} need the package {package}: pip install 'archsearch[{extra}]'")


# -- three parts -------------------------------------------------------------------------------

Make = Callable[[Arrays, Arrays, Arrays], Task]


def three_parts(
    text: str, inputs: Any, targets: Any, options: Mapping[str, Any], make: Make, *, what: str = "images"
) -> Task:
    """A task from one set of examples, split three ways; shares are of all of them.

    Args:
        text: Its name.
        inputs: Shape (n, ...).
        targets: Shape (n, ...); where they are labels, each part gets its share of every class.
        options: ``train``, ``valid``, ``test`` and ``seed``.
        make: Makes the task from its parts.
        what: What examples are called.
    """
    counts = {part: count_of(options[part], len(targets), f"{text}, {part}", what) for part in ("valid", "test")}
    left = len(targets) - sum(counts.values())
    if left < 2:
        raise TaskError(
            f"{text}: valid={options['valid']} asks for {counts['valid']} {what} and test={options['test']} for "
            f"{counts['test']}; there are {len(targets)}, which leaves {max(0, left)} to train on; expected at least "
            "two: make these parts smaller"
        )
    return from_parts(text, {"train": (inputs, targets)}, {**options, **counts}, make, what=what)


def from_parts(
    text: str, arrays: dict[str, Arrays], options: Mapping[str, Any], make: Make, *, what: str = "images"
) -> Task:
    """A task from whatever parts a set brings; a missing one is taken from the training examples.

    Test comes first, then validation, so that neither changes with the number of training examples.
    """
    inputs, targets = arrays["train"]
    labels = np.ndim(targets) == 1 and np.asarray(targets).dtype.kind in "iub"
    known = np.unique(targets) if labels else np.empty(0, np.int64)
    for part in ("test", "valid"):
        if part not in arrays:
            where = f"{text}, {part}"
            arrays[part], (inputs, targets) = split(inputs, targets, options[part], options["seed"], where, what)
        elif labels:
            expect_known(f"{text}, {part}", arrays[part][1], known)
    if options["train"]:
        inputs, targets = split(inputs, targets, options["train"], options["seed"], f"{text}, train", what)[0]
    held = {"train": targets, "valid": arrays["valid"][1], "test": arrays["test"][1]}
    _check_parts(text, known if labels else None, held, what)
    return make((inputs, targets), arrays["valid"], arrays["test"])


def expect_known(where: str, labels: npt.NDArray[Any], known: npt.NDArray[Any]) -> None:
    """Raises ``TaskError`` if there are labels of a class that is not trained on."""
    strange = ~np.isin(labels, known)
    if strange.any():
        place = int(np.argmax(strange))
        raise TaskError(
            f"{where}: example {place} is of class {labels[place]}, of which the training part has none; expected only "
            "classes that are trained on"
        )


TINY = 10
"""A part with fewer examples is warned of: one of them is worth more than ten percent of accuracy."""


def _check_parts(text: str, classes: npt.NDArray[Any] | None, parts: Mapping[str, npt.NDArray[Any]], what: str) -> None:
    """Warns of parts that are too small to tell much.

    Raises:
        TaskError: If there is no training example of a class.
    """
    for part, labels in parts.items():
        missing = [] if classes is None else np.setdiff1d(classes, labels).tolist()
        lacking = f"{len(labels)} {what}, none of {len(missing)} of {0 if classes is None else len(classes)} classes"
        if part == "train" and missing:
            raise TaskError(
                f"{text}, train: {lacking}; expected some of every class: make valid and test smaller, or train larger"
            )
        if missing:
            warnings.warn(f"{text}, {part}: {lacking}", stacklevel=2)
        elif part != "train" and len(labels) < TINY:
            worth = f"; one is worth {100 / len(labels):.0f} % of accuracy" if classes is not None else ""
            warnings.warn(f"{text}, {part}: {len(labels)} {what} are few{worth}", stacklevel=2)
