"""Tables: rows of numbers, of each of which a class or a number is predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch

from archsearch.basics.kinds import TABLES
from archsearch.errors import TaskError, UsageError
from archsearch.task.goal import Classification, Regression
from archsearch.task.images import Arrays, checked_labels, split
from archsearch.task.stored import Inputs
from archsearch.task.task import ArrayTask, Part, classes_of, expect_alike, scale_facts

Predicts = Literal["class", "number"]


class TableTask(ArrayTask):
    """Classification or regression of the rows of a table.

    Columns become 32-bit floats, normalised by the mean and standard deviation of the training part, and so do numbers
    that are to be predicted: errors are in units of their standard deviation, which R2 does not depend on.

    Args:
        train: Rows and targets to train on, at least two. Rows have the shape (n, columns), numbers or booleans without
            gaps; targets the shape (n,).
        valid: What the search is scored on.
        test: Reported, never used by a search.
        predicts: ``class``: targets are whole numbers from 0; ``number``: any finite numbers.
        classes: Number of classes; None: the largest label plus one.
        columns: Names of the columns, for messages and cards; None: their numbers.
        name: For messages and run folders.

    Raises:
        TaskError: If rows or targets cannot be used; the message says where.
    """

    examples = "rows"

    def __init__(
        self,
        train: Arrays,
        valid: Arrays,
        test: Arrays,
        *,
        predicts: Predicts,
        classes: int | None = None,
        columns: Sequence[str] | None = None,
        name: str = "table",
    ) -> None:
        if predicts not in get_args(Predicts):
            raise UsageError(f"{name}: predicts: expected class or number, got {predicts!r}")
        given: dict[Part, Arrays] = {"train": train, "valid": valid, "test": test}
        parts = {part: _checked(arrays, f"{name}, {part}", predicts, columns) for part, arrays in given.items()}
        expect_alike(parts, name, self.examples)
        self.name, self.columns = name, None if columns is None else tuple(columns)
        self.input_shape = parts["train"][0].shape[1:]
        rows, targets = parts["train"]
        self.mean, self.deviation = _scale(rows)
        self.target_mean, self.target_deviation = 0.0, 1.0
        if predicts == "class":
            self.goal, self.classes = Classification(TABLES), classes_of(parts, classes, name)
        else:
            if classes is not None:
                raise UsageError(f"{name}: classes: expected none, since a number is predicted, got {classes!r}")
            self.goal, self.classes = Regression(), 1
            self.target_mean, self.target_deviation = (float(each[0]) for each in _scale(targets[:, None]))
            if targets.min() == targets.max():
                raise TaskError(f"{name}, train: all targets are {targets[0]}; there is nothing to learn")
            parts = {
                part: (some, ((their - self.target_mean) / self.target_deviation).astype(np.float32))
                for part, (some, their) in parts.items()
            }
        self._arrays, self._tensors = parts, {}
        self._facts = (self.mean, self.deviation, self.target_mean, self.target_deviation, self.classes, self.columns)

    def _inputs(self, inputs: Any, device: torch.device | str) -> Inputs:
        return torch.from_numpy(((inputs - self.mean) / self.deviation).astype(np.float32)).to(device)

    def divide(self, numbers: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """See ``Task``; of every class its share."""
        labels = self._arrays["train"][1][numbers.numpy()] if self.classes > 1 else np.zeros(len(numbers), np.int64)
        (drawn, _), (rest, _) = split(numbers.numpy(), labels, count)
        return torch.from_numpy(drawn), torch.from_numpy(rest)

    @property
    def described(self) -> tuple[str, str, Mapping[str, Any]]:
        """See ``Task``."""
        facts: dict[str, Any] = scale_facts(self.mean, self.deviation)
        if self.columns:
            facts["columns"] = list(self.columns)
        use = (
            f"Rows are 32-bit floats of the shape (batch, {self.input_shape[0]}); of each column (value - mean) / "
            "deviation,\nwith the means and deviations of genotype.json. "
        )
        if self.classes > 1:
            said = f"it tells {self.classes} classes of rows apart"
            return said, f"{use}The output, (batch, {self.classes}), are logits.", facts
        facts |= {"target_mean": self.target_mean, "target_deviation": self.target_deviation}
        use += "The output, (batch, 1), is\n(number - target_mean) / target_deviation, with those, too."
        return "it predicts a number from a row", use, facts

    @property
    def _says(self) -> str:
        wanted = f"{self.classes} classes" if self.classes > 1 else "a number each"
        return f"rows of {self.input_shape[0]} columns, {wanted}"


def _checked(
    arrays: Any, where: str, predicts: Predicts, columns: Sequence[str] | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any]]:
    """Rows of 64-bit floats, and labels or numbers."""
    try:
        rows, targets = map(np.asarray, arrays)
    except (TypeError, ValueError):
        raise TaskError(f"{where}: expected a pair (rows, targets) of arrays, got {type(arrays).__name__}") from None
    if rows.ndim != 2 or rows.dtype.kind not in "buif" or 0 in rows.shape:
        raise TaskError(
            f"{where}: expected rows of the shape (n, columns), all numbers, at least one, got shape {rows.shape} and "
            f"type {rows.dtype}"
        )
    if targets.shape != (len(rows),):
        raise TaskError(f"{where}: {len(rows)} rows need targets of the shape ({len(rows)},), got {targets.shape}")
    if columns is not None and len(columns) != rows.shape[1]:
        raise TaskError(f"{where}: {rows.shape[1]} columns, but {len(columns)} names of columns")
    rows = rows.astype(np.float64)
    if not np.isfinite(rows).all():
        row, column = (int(each) for each in np.argwhere(~np.isfinite(rows))[0])
        which = column if columns is None else repr(columns[column])
        raise TaskError(
            f"{where}: row {row}, column {which}: {rows[row, column]}; fill such cells or leave the rows out"
        )
    if predicts == "class":
        return rows, checked_labels(targets, where)
    if targets.dtype.kind not in "buif":
        raise TaskError(f"{where}: expected numbers as targets, got {targets.dtype}")
    targets = targets.astype(np.float64)
    if not np.isfinite(targets).all():
        row = int(np.argmax(~np.isfinite(targets)))
        raise TaskError(f"{where}: row {row}: the target is {targets[row]}; leave such rows out")
    return rows, targets


def _scale(rows: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and standard deviation of each column; one that is constant is left unscaled."""
    deviation = rows.std(axis=0)
    return rows.mean(axis=0), np.where(deviation > 0, deviation, 1.0)
