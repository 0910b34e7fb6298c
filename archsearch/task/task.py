"""Tasks: three fixed parts of inputs and targets, kept as tensors, and what networks are trained for on them."""

from __future__ import annotations

import abc
import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch

from archsearch.errors import TaskError, UsageError
from archsearch.task.goal import Classification, Goal
from archsearch.task.images import Arrays, Layout, checked, split, statistics
from archsearch.task.stored import Inputs, Stored, Streamed, pixels

__all__ = ["ArrayTask", "Augmentation", "ImageTask", "Part", "Task"]

Part = Literal["train", "valid", "test"]
Augmentation = Literal["crop", "flip", "cutout"]


class Task(abc.ABC):
    """Base class of tasks.

    Attributes:
        name: For messages and run folders.
        goal: Loss, metric, the kind of network that is wanted, and the order in which examples are dealt out.
        input_shape: Shape of one example's input.
        classes: How many values a network gives for each target; 1 where a number is predicted.
        augmentation: What is done to training inputs by default.
        floor: The least loss that any network can reach, if that is known.
    """

    examples: ClassVar[str]
    """What they are called, in the plural."""

    name: str
    goal: Goal
    input_shape: tuple[int, ...]
    classes: int
    augmentation: tuple[Augmentation, ...] = ()
    floor: float | None = None

    @abc.abstractmethod
    def part(self, part: Part, device: torch.device | str = "cpu") -> tuple[Inputs, torch.Tensor]:
        """Inputs and targets of a part, of which each row is an example, on a device.

        Inputs are a tensor, or ``Streamed``, of which rows are picked as those of a tensor are.
        """

    @abc.abstractmethod
    def size(self, part: Part) -> int:
        """Examples in a part."""

    @abc.abstractmethod
    def divide(self, numbers: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Draws training examples, the same ones each time.

        Args:
            numbers: Of training examples.
            count: How many of them, >= 1.

        Returns:
            Numbers of those that were drawn, and of the rest.
        """

    @abc.abstractmethod
    def drawn(self, n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Numbers of ``n`` examples, in an order of which any beginning is a fair sample."""

    @property
    @abc.abstractmethod
    def described(self) -> tuple[str, str, Mapping[str, Any]]:
        """For a card: what a network does, what inputs and outputs are, and JSON data that are needed to use it."""

    @property
    @abc.abstractmethod
    def fingerprint(self) -> str:
        """Name and hash of everything: equal for equal data, so that a run is never continued on another task."""


class ArrayTask(Task):
    """Base of tasks whose parts are arrays, an example a row, dealt out in any order.

    A subclass sets ``_arrays``, ``_facts`` (all else that must be equal) and the attributes of ``Task``.
    """

    _arrays: dict[Part, Arrays]
    _facts: tuple[Any, ...] = ()
    _tensors: dict[tuple[str, str], tuple[Inputs, torch.Tensor]]

    def part(self, part: Part, device: torch.device | str = "cpu") -> tuple[Inputs, torch.Tensor]:
        """See ``Task``; normalised."""
        key = part, str(device)
        if key not in self._tensors:
            inputs, targets = self._arrays[part]
            self._tensors[key] = self._inputs(inputs, device), torch.from_numpy(targets).to(device)
        return self._tensors[key]

    @abc.abstractmethod
    def _inputs(self, inputs: Any, device: torch.device | str) -> Inputs:
        """The inputs of a part as networks are given them."""

    def size(self, part: Part) -> int:
        """Examples in a part."""
        return len(self._arrays[part][1])

    def divide(self, numbers: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """See ``Task``; of every class its share, since a part may be sorted by class."""
        labels = self._arrays["train"][1][numbers.numpy()]
        (drawn, _), (rest, _) = split(numbers.numpy(), labels, count)
        return torch.from_numpy(drawn), torch.from_numpy(rest)

    def drawn(self, n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """See ``Task``; at random."""
        return rng.permutation(n)

    @functools.cached_property
    def fingerprint(self) -> str:
        """See ``Task``."""
        digest = hashlib.sha256()
        for inputs, targets in self._arrays.values():
            for some in inputs.chunks() if isinstance(inputs, Stored) else (inputs,):
                digest.update(np.ascontiguousarray(some).tobytes())
            digest.update(targets.tobytes())
        digest.update(repr(self._facts).encode())
        return f"{self.name} {digest.hexdigest()[:16]}"

    @property
    @abc.abstractmethod
    def _says(self) -> str:
        """What examples and targets are, in a few words."""

    def __repr__(self) -> str:
        sizes = ", ".join(f"{self.size(part):,} {part}" for part in get_args(Part))
        return f"Task({self.name}: {sizes}; {self._says})"

    def __getstate__(self) -> dict[str, Any]:
        """Tensors are made again where they are needed."""
        return {**self.__dict__, "_tensors": {}}


def expect_alike(parts: Mapping[Part, Arrays], name: str, examples: str) -> None:
    """Raises ``TaskError`` if inputs of a part have another shape than those of train, or there is one to train on."""
    wanted = parts["train"][0].shape[1:]
    for part, (inputs, _) in parts.items():
        if inputs.shape[1:] != wanted:
            raise TaskError(
                f"{name}, {part}: {examples} have the shape {inputs.shape[1:]}, those of train have {wanted}"
            )
    if len(parts["train"][0]) < 2:
        raise TaskError(f"{name}, train: expected at least two {examples} to train on, got one")


def classes_of(parts: Mapping[Part, Arrays], classes: int | None, name: str) -> int:
    """How many classes there are; None: the largest label plus one.

    Raises:
        TaskError: If a label is beyond them, or there is but one.
    """
    count = classes or 1 + max(int(labels.max()) for _, labels in parts.values())
    for part, (_, labels) in parts.items():
        if labels.max() >= count:
            raise TaskError(
                f"{name}, {part}: label {labels.max()} is out of range: expected 0 to {count - 1}, since there are "
                f"{count} classes"
            )
    if count < 2:
        raise TaskError(f"{name}: expected at least two classes, got labels that are all 0")
    return count


class ImageTask(ArrayTask):
    """An image classification problem.

    Images become 32-bit floats, normalised by the mean and standard deviation of each channel of the training part,
    and stay in memory as tensors: 4 bytes a value, once per process and device; those of a ``Stored`` are read from its
    file, batch by batch.

    Args:
        train: Images and labels to train on, at least two. Images have the shape (n, height, width), (n, channels,
            height, width) or (n, height, width, channels), numbers of any kind; labels have the shape (n,), whole
            numbers from 0.
        valid: What the search is scored on.
        test: Reported, never used by a search.
        classes: Number of classes; None: the largest label plus one.
        name: For messages and run folders.
        normalise: Whether to normalise; if not, images are taken as they are.
        augmentation: What is done to training images by default, any of crop, flip, cutout.
        layout: Where the channels of images with four dimensions are: channels_first, channels_last, or auto: where the
            shape tells. If only the first or only the last of the three sides is up to 4, the channels are there (last
            only if the middle one is larger than 4). If neither is, they are first, unless the first two are equal; if
            both are, they are first where the last two are equal and the first is not. Other shapes are refused.

    Raises:
        TaskError: If shapes, labels or pixels cannot be used; the message says where.
    """

    examples = "images"

    def __init__(
        self,
        train: Arrays,
        valid: Arrays,
        test: Arrays,
        *,
        classes: int | None = None,
        name: str = "task",
        normalise: bool = True,
        augmentation: Sequence[Augmentation] = (),
        layout: Layout = "auto",
    ) -> None:
        given: dict[Part, Arrays] = {"train": train, "valid": valid, "test": test}
        if layout not in get_args(Layout):
            raise UsageError(f"{name}: layout: expected one of {', '.join(get_args(Layout))}, got {layout!r}")
        parts = {part: checked(arrays, f"{name}, {part}", layout) for part, arrays in given.items()}
        self._tensors = {}
        self._arrays = parts
        expect_alike(parts, name, self.examples)
        self.name = name
        self.goal = Classification()
        self.augmentation = known_augmentation(augmentation, name)
        self.input_shape = parts["train"][0].shape[1:]
        self.classes = classes_of(parts, classes, name)
        self.mean, self.deviation = statistics(parts["train"][0]) if normalise else (np.zeros(1), np.ones(1))
        self._facts = (self.mean, self.deviation, self.augmentation, self.classes)

    def _inputs(self, inputs: Any, device: torch.device | str) -> Inputs:
        if isinstance(inputs, Stored):
            return Streamed(inputs, self.mean, self.deviation, device)
        return pixels(inputs, self.mean, self.deviation, device)

    @property
    def described(self) -> tuple[str, str, Mapping[str, Any]]:
        """See ``Task``."""
        facts = scale_facts(self.mean, self.deviation)
        use = images_are(self.input_shape, facts) + f"The output, (batch, {self.classes}), are logits."
        return f"it tells {self.classes} classes of images apart", use, facts

    @property
    def _says(self) -> str:
        return f"images {self.input_shape}, {self.classes} classes"


def scale_facts(mean: npt.NDArray[np.float64], deviation: npt.NDArray[np.float64]) -> dict[str, list[float]]:
    """How inputs were normalised, as JSON."""
    return {name: [float(v) for v in each.ravel()] for name, each in (("mean", mean), ("deviation", deviation))}


def images_are(shape: tuple[int, ...], facts: Mapping[str, list[float]]) -> str:
    """For a card: how a network is given images."""
    short = {name: [float(f"{v:.6g}") for v in values] for name, values in facts.items()}
    return (
        f"Images are 32-bit floats of the shape (batch, {', '.join(map(str, shape))}); of each channel (pixel - mean) "
        f"/ deviation, with\nmean {short['mean']} and deviation {short['deviation']}. "
    )


# -- augmentation ------------------------------------------------------------------------------


def known_augmentation(names: Sequence[str], where: str) -> tuple[Augmentation, ...]:
    """The names, if all are known.

    Raises:
        UsageError: If one is not.
    """
    for name in names:
        if name not in get_args(Augmentation):
            known = ", ".join(get_args(Augmentation))
            raise UsageError(f"{where}: augmentation: expected any of {known}, got {name!r}")
    return tuple(names)  # type: ignore[arg-type]
