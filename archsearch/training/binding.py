"""What a trainer knows of its space and its data: networks, sizes, and which images are used."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from archsearch.abilities import Prescribing, SharedWeights, expect_kind, skeleton_settings, trainable
from archsearch.basics.kinds import IMAGES, TOKENS
from archsearch.basics.seeding import stream
from archsearch.errors import UsageError
from archsearch.evaluator import Built
from archsearch.files.notes import read_text, write_text
from archsearch.networks.network import Network
from archsearch.space import Space
from archsearch.task import Task, kind_of, load_task
from archsearch.training.batches import normalises_one, updates_in
from archsearch.training.meter import SIZED_PATHS, Sizes
from archsearch.training.recipe import UPDATES, Recipe, check_recipe
from archsearch.trial import Architecture


class Bound:
    """A recipe, bound to a space and to the data of its task.

    Args:
        recipe: How to train.
        given: Settings of the networks around the searched part that the user gave; those of the recipe that are not
            among them are passed over where the space does not know them, or has a value of its own.
        device: auto (a CUDA device if there is one), or any device of PyTorch.

    Attributes:
        folder: Where files are kept; None: nowhere.
        memory: Whether bytes are counted, too.
        space: Whose networks are trained (after ``bind``).
        chosen: Which training images are used (after ``bind``).
    """

    folder: Path | None = None
    memory: bool = False
    space: Space
    chosen: torch.Tensor

    def __init__(self, recipe: Recipe, given: Mapping[str, int] | None = None, device: str = "auto") -> None:
        self.recipe = recipe
        self.given = dict(given or {})
        self.device = device

    def check(self, space: Space, who: str) -> None:
        """Checks space and task, which is not read for that.

        Raises:
            MissingAbility: If the space builds no networks, or of another kind than the task wants.
            UsageError: If it lacks a given setting, or one of the recipe's has no meaning for such a task.
        """
        known = skeleton_settings(trainable(space, who))
        kind, recipe = kind_of(self.recipe.task), self.recipe
        task = recipe.task.name if isinstance(recipe.task, Task) else recipe.task
        expect_kind(space, kind, task, who)
        for name, given, fits in (
            ("augmentation", recipe.augmentation, kind == IMAGES),
            ("dropout", recipe.dropout, kind == TOKENS),
            ("accumulate", recipe.accumulate if recipe.accumulate > 1 else None, kind == IMAGES),
            ("processes", recipe.processes if recipe.processes > 1 else None, kind == IMAGES),
            ("compile", recipe.compile, kind == IMAGES),
            ("precision", recipe.precision if recipe.precision != "full" else None, kind == IMAGES),
        ):
            if given and not fits:
                raise UsageError(f"Training: {name}: expected none, since task {task} is for {kind}, got {given!r}")
        for name in self.given:
            if name not in known:
                raise UsageError(
                    f"Training: skeleton: networks of {type(space).__name__} have no setting {name!r}; "
                    f"expected any of {', '.join(known) or 'none'}"
                )

    def bind(self, space: Space) -> None:
        """Takes a space, and reads the task, so that what is wrong with it shows now.

        Raises:
            UsageError: If skeleton, number of images or batch size do not suit.
        """
        self.space = space
        self.sizes = Sizes(space, self.network, self.data.input_shape)
        task, n = self.data, self.recipe.train_examples
        with torch.device("meta"):  # so that a skeleton that does not suit the space shows now
            self.network(space.sample(stream(0, "Training")))
        if n is not None and n > task.size("train"):
            raise UsageError(
                f"Training: train_examples: expected at most {task.size('train')}, the training {task.examples} of "
                f"{task.name}, got {n}"
            )
        if self.recipe.label_smoothing and not task.goal.smooths:
            raise UsageError(
                f"Training: label_smoothing: expected 0, since the targets of {task.name} are no labels, got "
                f"{self.recipe.label_smoothing}"
            )
        self.chosen = torch.arange(task.size("train"))
        if n is not None:
            self.chosen = task.divide(self.chosen, n)[0]
        self._check_batches()

    def _check_batches(self) -> None:
        """Raises ``UsageError`` if there are batches of one image, of which batch normalisation has no statistics."""
        if self.data.goal.order == "segments":
            if len(self.chosen) < self.recipe.batch_size:
                raise UsageError(
                    f"Training: batch_size: expected at most {len(self.chosen)}, as many streams as there are tokens "
                    f"to train on, got {self.recipe.batch_size}"
                )
            return
        parts = self.recipe.accumulate * self.recipe.processes
        smallest = len(self.chosen) // self.updates_per_epoch
        if parts > smallest:
            name = "accumulate" if self.recipe.processes == 1 else "processes"
            raise UsageError(
                f"Training: {name}: a batch of {smallest} images cannot be computed in {parts} parts; give fewer, or a "
                "larger batch_size"
            )
        if len(self.chosen) >= 2 * parts * self.updates_per_epoch:
            return
        for i in range(SIZED_PATHS):
            with torch.device("meta"):
                network = self.network(self.space.sample(stream(i, "Training")))
            if not normalises_one(network, self.data.input_shape):
                raise UsageError(
                    f"Training: batch_size: batch normalisation of {type(self.space).__name__}'s networks has no "
                    f"statistics of one image, expected at least 2 images in a batch, got {self.recipe.batch_size} of "
                    f"{len(self.chosen)} training images{f', in {parts} parts' if parts > 1 else ''}"
                )

    def note_data(self) -> None:
        """Notes in the folder which data is trained on, and clears away what a killed process has left half-written.

        Raises:
            UsageError: If the run was begun on other data of that name.
        """
        if self.folder is None:
            return
        for left in self.folder.glob("*.tmp"):
            left.unlink(missing_ok=True)
        note, fingerprint = self.folder / "task.txt", self.data.fingerprint
        noted = read_text(note, r".* [0-9a-f]{16}", "whether the data are those that the run began with is not known")
        if noted is None:
            write_text(note, fingerprint)
        elif noted != fingerprint:
            raise UsageError(
                f"the data of {self.data.name} changed since this run began ({noted}, now {fingerprint}); "
                "start a new run"
            )

    @property
    def data(self) -> Task:
        """The task."""
        return load_task(self.recipe.task)

    @property
    def where(self) -> torch.device:
        """The device that is used."""
        if self.device != "auto":
            return torch.device(self.device)
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def updates_per_epoch(self) -> int:
        """Batches in an epoch."""
        return self.updates_for(len(self.chosen))

    def updates_for(self, examples: int) -> int:
        """Batches that so many training examples make."""
        return updates_in(self.data.goal.order, examples, self.recipe.batch_size, self.recipe.segment)

    @property
    def batch_examples(self) -> int:
        """Examples in a full batch."""
        return self.recipe.batch_size * (self.recipe.segment if self.data.goal.order == "segments" else 1)

    def network(self, architecture: Architecture | None) -> Network:
        """An architecture's network, as the recipe's skeleton has it; for None the space's super-network."""
        space = trainable(self.space, "Training")
        if architecture is not None:
            return space.network(architecture, self.data, **self.skeleton_used)
        assert isinstance(space, SharedWeights)
        return space.super_network(self.data, **self.skeleton_used)

    def recipe_of(self, architecture: Architecture | None) -> Recipe:
        """The recipe, with what an architecture says of its own training; None: the super-network.

        Raises:
            UsageError: If it says anything but how weights are updated.
        """
        if architecture is None or not isinstance(self.space, Prescribing):
            return self.recipe
        own: dict[str, Any] = dict(self.space.recipe(architecture))
        if strange := own.keys() - UPDATES:
            raise UsageError(
                f"{type(self.space).__name__}.recipe: expected any of {', '.join(UPDATES)}, got {', '.join(strange)}"
            )
        recipe = dataclasses.replace(self.recipe, **own)
        check_recipe(recipe)
        return recipe

    @property
    def skeleton_used(self) -> dict[str, int]:
        """The settings that the space's networks are given: those of the preset as far as they apply, and its own."""
        return {name: value for name, value in self.recipe.skeleton.items() if self._is_free(name)} | self.given

    def _is_free(self, name: str) -> bool:
        """Whether a preset may choose this: the space knows it, and its own value is not one that the user gave."""
        if name not in skeleton_settings(trainable(self.space, "Training")):
            return False
        own = inspect.signature(type(self.space).__init__).parameters.get(name)
        return own is None or getattr(self.space, name) == own.default

    @property
    def built(self) -> Built:
        """See ``archsearch.evaluator.Evaluator.built``."""
        return Built(self.data.input_shape, self.data.classes, self.skeleton_used)

    def size(self, architecture: Architecture | None) -> tuple[int, int]:
        """Multiply-adds of one example, and trainable parameters; for None the means of random paths."""
        return self.sizes.of(architecture)

    def measure(self, architecture: Architecture) -> Mapping[str, float]:
        """``params`` and ``flops`` (multiply-adds of one example), with ``memory`` also ``bytes``, without training."""
        macs, parameters = self.size(self.space.validate(architecture))
        sizes: dict[str, float] = {"params": parameters, "flops": macs}
        return {**sizes, **self.bytes(architecture)} if self.memory else sizes

    def bytes(self, architecture: Architecture) -> Mapping[str, float]:
        """What a network needs memory for: to be used for one example, and to be trained by the recipe, in bytes.

        Training in float32; of tasks of tokens that is not known (NaN).
        """
        recipe = self.recipe_of(architecture)
        if self.data.goal.order != "shuffled":
            return {**self.sizes.bytes(architecture, 0, 0), "training_bytes": math.nan}
        batch = -(-recipe.batch_size // (recipe.accumulate * recipe.processes))
        slots = 2 if recipe.optimizer == "adamw" else int(recipe.momentum > 0)
        return {**self.sizes.bytes(architecture, batch, slots)}
