"""Individual training: the reference that every cheaper evaluator is judged by.

Each architecture is trained on its own and scored by its accuracy on the validation part. The default recipe follows
NAS-Bench-201 (Dong & Yang, ICLR 2020): SGD with Nesterov momentum 0.9, weight decay 5e-4, and a cosine schedule from
0.1 to 0. A proxy is the same with fewer channels, cells, epochs or images: see ``PRESETS``.

A training can stop at any epoch, keep a checkpoint, and be continued from it later, exactly as if it had never stopped;
so controllers such as ``SuccessiveHalving`` pay for the added epochs only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import numpy as np
import torch
from torch.nn import functional

from archsearch.checksums import Damaged
from archsearch.errors import TrainingDiverged, UsageError
from archsearch.evaluator import Evaluator, SharedWeights, Trained
from archsearch.network import (
    Mixing,
    Network,
    build,
    latency_seconds,
    multiply_adds,
    parameter_count,
    skeleton_settings,
    synchronise,
    trainable,
)
from archsearch.notes import read_text, tell_damage, write_text
from archsearch.seeding import stream
from archsearch.space import Space, at_least_one, is_finite, whole_number
from archsearch.task import Augmentation, Part, Task, absolute, augment, known_augmentation, load_task, split
from archsearch.training.batches import batches_of, evaluation_batches, normalises_one
from archsearch.training.checkpoints import (
    Checkpoint,
    below,
    expect_shapes,
    read_checkpoint,
    write_checkpoint,
)
from archsearch.training.repeats import Finished, Repeats
from archsearch.trial import NO_COST, Architecture, Budget, Cost, Evaluation, Query

Preset = Literal[
    "digits", "digits_thin", "digits_short", "digits_few", "digits201", "nasbench201", "nasbench201_12", "darts"
]
Optimizer = Literal["sgd", "adamw"]

EVALUATION_BATCH = 512
"""Images in a forward pass that computes no gradients; of results, only those with batch statistics depend on it."""

SIZED_PATHS = 16
"""Random paths whose mean multiply-adds are billed for each pass of a super-network."""


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
}
"""Recipes by name. ``digits``: seconds on one core. ``digits_thin``, ``_short`` and ``_few`` are proxies of it: half
the channels, a third of the epochs, a third of the images. ``digits201``: the frozen recipe of the table of that name.
``nasbench201``, ``nasbench201_12`` and ``darts``: those of the papers, for CIFAR-10."""


class Training(Evaluator):
    """Trains each architecture on its own; the score is its accuracy in percent on the validation part.

    Reported but never used by a search: ``test_accuracy`` (percent), ``valid_loss`` and ``train_loss`` (cross-entropy
    after the last epoch; of training, the mean over it), ``params``, ``flops`` (multiply-adds of one image), with
    ``repeats`` above 1 ``score_deviation`` (standard deviation of the repeats), ``latency_seconds`` if asked for. The
    curve is the validation accuracy after each epoch. Billed: seconds of the device (of the processor, its own time),
    examples, updates, and floating-point operations (2 per multiply-add, 3 passes' worth for a training example).

    Equal seeds give equal results on one kind of device, whatever the number of workers. Every argument left out (None)
    is as in the preset.

    Args:
        task: A task by name or path (see ``archsearch.task``), or a ``Task``.
        preset: Recipe to start from.
        epochs: Length of a full training, and of its schedule, >= 1.
        batch_size: Images per update, >= 1; the last batches of an epoch shrink evenly. A batch of one image is refused
            where batch normalisation has nothing to average over; with 2 and an odd number of images one batch has 3.
        optimizer: sgd or adamw.
        learning_rate: The highest, > 0; a cosine schedule takes it to 0.
        warm_up: Epochs over which the learning rate rises in equal steps before that, >= 0.
        momentum: Of sgd, 0 <= momentum < 1.
        nesterov: Whether the momentum is Nesterov's.
        weight_decay: >= 0.
        label_smoothing: 0 <= label_smoothing < 1.
        clip_norm: Largest norm of the gradient, > 0; 0 does not clip.
        drop_path: Probability of dropping a path, to which it rises from 0, epoch by epoch; 0 <= drop_path < 1.
        auxiliary_weight: Weight of the auxiliary head's loss, >= 0, for networks that have one, such as those of
            ``DARTS(auxiliary=True)``. ``params`` counts the head, ``flops`` does not.
        augmentation: What is done to training images: any of crop, flip, cutout. None: as preset or task have it.
        train_examples: Use only so many of the training images, the same for all.
        skeleton: Settings of the network around the searched part by name, such as channels and cells. Those that the
            space does not know are an error here; in a preset they are passed over, as are those given to the space.
        repeats: Trainings from different seeds that are averaged, >= 1. If one fails and the trial is tried again,
            those that were done are kept; the seconds that they took are billed with the try that failed.
        keep: How many checkpoints are kept, >= 1: those that were written or read last. A training that would go on
            from one that is gone begins anew.
        latency: Whether to measure the time of a forward pass over up to 64 validation images. Such a figure is never
            the same twice.
        device: auto (a CUDA device if there is one), or any device of PyTorch.
        threads: Threads of PyTorch, >= 1.

    Raises:
        UsageError: If a setting is out of range.
    """

    keeps_files: ClassVar[bool] = True

    def __init__(
        self,
        task: str | Task | None = None,
        preset: Preset = "digits",
        epochs: int | None = None,
        batch_size: int | None = None,
        optimizer: Optimizer | None = None,
        learning_rate: float | None = None,
        warm_up: int | None = None,
        momentum: float | None = None,
        nesterov: bool | None = None,
        weight_decay: float | None = None,
        label_smoothing: float | None = None,
        clip_norm: float | None = None,
        drop_path: float | None = None,
        auxiliary_weight: float | None = None,
        augmentation: list[Augmentation] | None = None,
        train_examples: int | None = None,
        skeleton: dict[str, int] | None = None,
        repeats: int = 1,
        keep: int = 1_000,
        latency: bool = False,
        device: str = "auto",
        threads: int = 1,
    ) -> None:
        if preset not in PRESETS:
            raise UsageError(f"Training: preset: expected one of {', '.join(PRESETS)}, got {preset!r}")
        self.task = task if isinstance(task, Task) or task is None else absolute(task)
        self.preset = preset
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.warm_up = warm_up
        self.momentum = momentum
        self.nesterov = nesterov
        self.weight_decay = weight_decay
        self.label_smoothing = label_smoothing
        self.clip_norm = clip_norm
        self.drop_path = drop_path
        self.auxiliary_weight = auxiliary_weight
        self.augmentation = augmentation
        self.train_examples = train_examples
        self.skeleton = skeleton
        self.repeats = repeats
        self.keep = keep
        self.latency = latency
        self.device = device
        self.threads = threads
        self._repeats = Repeats()
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(Recipe)}
        given["skeleton"] = {**PRESETS[preset].skeleton, **(skeleton or {})}
        changes = {name: value for name, value in given.items() if value is not None}
        self.recipe = dataclasses.replace(PRESETS[preset], **changes)
        _check_ranges(self)

    # -- the evaluator contract ------------------------------------------------------------------

    @property
    def folder(self) -> Path | None:
        """See ``Evaluator``."""
        return self._repeats.folder

    @folder.setter
    def folder(self, folder: Path | None) -> None:
        self._repeats.folder = folder

    def check(self, space: Space) -> None:
        """Raises ``MissingAbility`` if the space builds no networks, ``UsageError`` if it lacks a given setting."""
        known = skeleton_settings(trainable(space, type(self).__name__))
        for name in self.skeleton or ():
            if name not in known:
                raise UsageError(
                    f"Training: skeleton: networks of {type(space).__name__} have no setting {name!r}; "
                    f"expected any of {', '.join(known) or 'none'}"
                )

    def check_budgets(self, budgets: Sequence[int]) -> None:
        """Raises ``UsageError`` if a budget is longer than a full training."""
        if budgets and max(budgets) > self.recipe.epochs:
            raise UsageError(
                f"Training: a budget of {max(budgets)} epochs is longer than a full training of {self.recipe.epochs}; "
                "give the controller budgets up to that, or the evaluator more epochs"
            )

    def start(self, space: Space) -> None:
        """Binds the evaluator to a space, and reads the task, so that what is wrong with it shows before the search."""
        super().start(space)
        self._sizes: dict[Architecture | None, tuple[int, int]] = {}
        task, n = self.data, self.recipe.train_examples
        with torch.device("meta"):  # so that a skeleton that does not suit the space shows now
            self.network(space.sample(stream(0, "Training")))
        if n is not None and n > task.size("train"):
            raise UsageError(
                f"Training: train_examples: expected at most {task.size('train')}, the training images of {task.name}, "
                f"got {n}"
            )
        # Which images are used: of every class its share, since a part may be sorted by class.
        self._chosen = torch.arange(task.size("train"))
        if n is not None:
            labels = task.part("train")[1].numpy()
            self._chosen = torch.from_numpy(split(self._chosen.numpy(), labels, n)[0][0])
        self._check_batches()

    def _check_batches(self) -> None:
        """Raises ``UsageError`` if there are batches of one image, of which batch normalisation has no statistics."""
        if len(self._chosen) >= 2 * self.updates_per_epoch:
            return
        for i in range(SIZED_PATHS):
            with torch.device("meta"):
                network = self.network(self.space.sample(stream(i, "Training")))
            if not normalises_one(network, self.data.input_shape):
                raise UsageError(
                    f"Training: batch_size: batch normalisation of {type(self.space).__name__}'s networks has no "
                    f"statistics of one image, expected at least 2 images in a batch, got {self.recipe.batch_size} of "
                    f"{len(self._chosen)} training images"
                )

    def prepare(self) -> Cost:
        """Notes which data the run is trained on, and clears away what a killed process has left half-written.

        Raises:
            UsageError: If the run was begun on other data of that name.
        """
        if self.folder is None:
            return NO_COST
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
        return NO_COST

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        """Trains an architecture in full, and keeps no checkpoint."""
        return self.evaluate_query(Query(-1, architecture, seed))

    def evaluate_query(self, query: Query) -> Evaluation:
        """Trains an architecture as far as its budget goes, from its checkpoint if there is one.

        Raises:
            TrainingDiverged: If the loss is no longer finite.
        """
        self.space.validate(query.architecture)
        with self.session() as meter:
            network: Network | None = None
            done = self._repeats.of(query)[: self.repeats]
            for each in done:
                meter.kept(each)
            for repeat in range(len(done), self.repeats):
                run = self._run(query, repeat, meter)
                network = network or run.network
                done.append(self.finish(run, meter))
                if repeat < self.repeats - 1:
                    self._repeats.keep(query, done)
            evaluation = self._summary(query.architecture, done, meter, network)
        if self.repeats > 1:
            self._repeats.forget(query)
        return evaluation

    def _run(self, query: Query, repeat: int, meter: Meter) -> Run:
        budget = query.budget or Budget(self.recipe.epochs)
        run = self.begin(query.architecture, _repeat_seed(query.seed, repeat))
        origin = query.id if budget.origin is None else budget.origin
        if budget.start:
            self.restore(run, origin, f"{repeat}-{budget.start}")
        per_epoch = self.updates_per_epoch
        self.train(run, budget.stop * per_epoch, self.recipe.epochs * per_epoch, meter)
        if budget.stop < self.recipe.epochs:
            self.save(run, origin, f"{repeat}-{budget.stop}")
        return run

    def trained(self, query: Query) -> Trained:
        """Trains as ``evaluate_query`` does, which gives the same weights; of several ``repeats`` the first."""
        self.space.validate(query.architecture)
        budget = query.budget or Budget(self.recipe.epochs)
        with self.session() as meter:
            run = self.begin(query.architecture, query.seed)
            if budget.start and budget.origin is not None:
                self.restore(run, budget.origin, f"0-{budget.start}")
            per_epoch = self.updates_per_epoch
            self.train(run, budget.stop * per_epoch, self.recipe.epochs * per_epoch, meter)
            evaluation = self.report(run, meter)
        notes = []
        if self.repeats > 1:
            notes.append(f"A recorded score is the mean of {self.repeats} trainings; these weights are the first's.")
        if budget.stop < self.recipe.epochs:
            notes.append(f"The training was stopped after {budget.stop} of {self.recipe.epochs} epochs.")
        return self.handed_out(run, evaluation, " ".join(notes))

    def handed_out(self, run: Run, evaluation: Evaluation, note: str = "") -> Trained:
        """What a training of an architecture has come to, for whoever wants the network."""
        network = run.network.requires_grad_(True).eval().to("cpu")
        network.drop_path, network.generator = 0.0, None
        return Trained(network, evaluation, self.data, self.skeleton_used, note)

    # -- training: used by evaluators that train in other ways, too --------------------------------

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
        return batches_of(len(self._chosen), self.recipe.batch_size)

    def network(self, architecture: Architecture | None) -> Network:
        """An architecture's network, as the recipe's skeleton has it; for None the space's super-network."""
        space = trainable(self.space, type(self).__name__)
        if architecture is not None:
            return space.network(architecture, self.data, **self.skeleton_used)
        assert isinstance(space, SharedWeights)
        return space.super_network(self.data, **self.skeleton_used)

    @property
    def skeleton_used(self) -> dict[str, int]:
        """The settings that the space's networks are given: those of the preset as far as they apply, and its own."""
        preset = PRESETS[self.preset].skeleton
        return {name: value for name, value in preset.items() if self._is_free(name)} | (self.skeleton or {})

    def _is_free(self, name: str) -> bool:
        """Whether a preset may choose this: the space knows it, and its own value is not one that the user gave."""
        if name not in skeleton_settings(trainable(self.space, type(self).__name__)):
            return False
        own = inspect.signature(type(self.space).__init__).parameters.get(name)
        return own is None or getattr(self.space, name) == own.default

    @contextlib.contextmanager
    def session(self) -> Iterator[Meter]:
        """Sets PyTorch's threads and determinism for a while, and measures what is spent."""
        if self.where.type == "cuda" and not torch.cuda.is_available():
            raise UsageError(f"Training: device={self.device}: there is no CUDA device here; use auto or cpu")
        threads = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
                yield Meter(self.where)
        finally:
            torch.set_num_threads(threads)

    def begin(self, architecture: Architecture | None, seed: int, make: Callable[[], Network] | None = None) -> Run:
        """A training that has not begun: a network with initial weights, and its optimiser.

        Args:
            architecture: What is trained; None: the super-network.
            seed: Of the initial weights and the order of the images.
            make: Makes the network, where it is another one than ``self.network(architecture)``.
        """
        network: Network = build(make or (lambda: self.network(architecture)), seed, self.where)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # up to twice as fast
        generator = torch.Generator().manual_seed(seed ^ _ORDER)
        network.generator = generator
        return Run(architecture, network, self._optimizer(network), generator)

    def _optimizer(self, network: Network) -> torch.optim.Optimizer:
        recipe, weights = self.recipe, list(network.parameters())
        fused = self.where.type in ("cpu", "cuda")
        if recipe.optimizer == "adamw":
            return torch.optim.AdamW(weights, recipe.learning_rate, weight_decay=recipe.weight_decay, fused=fused)
        optimizer = torch.optim.SGD(
            weights,
            recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.nesterov and recipe.momentum > 0,
            fused=fused,
        )
        if network.architecture is None and recipe.momentum > 0:
            # A super-network's updates leave weights out; the fused optimiser then needs every momentum from the start.
            for weight in weights:
                optimizer.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        return optimizer

    def train(
        self,
        run: Run,
        until: int,
        total: int,
        meter: Meter,
        learning_rate: float | None = None,
        paths: Callable[[float], Sequence[Route]] | None = None,
        macs: int | None = None,
        validate: bool = True,
    ) -> None:
        """Trains up to update ``until`` of a schedule of ``total`` updates.

        Args:
            run: The training; it is changed.
            until: Where to stop.
            total: Where the learning rate reaches 0.
            meter: Adds up what is spent.
            learning_rate: At the start of the schedule; None: the recipe's.
            paths: Of a super-network: gives the paths whose gradients, added up, make the next update, when it is told
                the share of the updates that are done.
            macs: Multiply-adds to bill for an image; None: those of the architecture.
            validate: Whether a stand-alone network is validated after each epoch.

        Raises:
            TrainingDiverged: If the loss is no longer finite.
        """
        recipe, network, device = self.recipe, run.network, self.where
        images, labels = self.data.part("train", device)
        names = self.data.augmentation if recipe.augmentation is None else recipe.augmentation
        per_epoch = self.updates_per_epoch
        macs = self.size(run.architecture)[0] if macs is None else macs
        highest = learning_rate or recipe.learning_rate
        while run.step < until:
            network.train()
            network.drop_path = recipe.drop_path * run.step / total
            order = self._chosen[torch.randperm(len(self._chosen), generator=run.generator)].to(device)
            losses = []
            for batch in torch.tensor_split(order, per_epoch)[: until - run.step]:
                inputs = augment(images[batch], names, run.generator)
                run.optimizer.zero_grad(set_to_none=True)
                for path in (run.architecture,) if paths is None else paths(run.step / total):
                    loss = self._loss(network, inputs, labels[batch], path)
                    losses.append(loss.item())
                    _expect_finite(losses[-1], run)
                    loss.backward()  # type: ignore[no-untyped-call]
                    meter.trained(len(batch), path.macs if isinstance(path, Mixture) else macs)
                self._update(run, highest * self._schedule(run.step, total))
                meter.updated()
            run.train_loss = float(np.mean(losses))
            if validate and run.architecture is not None:
                self._validate(run, meter)

    def _schedule(self, step: int, total: int) -> float:
        """Share of the highest learning rate: a linear rise, then half a cosine."""
        rising = min(self.recipe.warm_up * self.updates_per_epoch, total)
        if step < rising:
            return (step + 1) / rising
        return (1 + math.cos(math.pi * (step - rising) / (total - rising))) / 2

    def batches(self, generator: torch.Generator, n: int) -> Iterator[torch.Tensor]:
        """``n`` batches of training images without augmentation, in an order that ``generator`` decides."""
        images = self.data.part("train", self.where)[0]
        while n > 0:
            order = self._chosen[torch.randperm(len(self._chosen), generator=generator)].to(self.where)
            for batch in torch.tensor_split(order, self.updates_per_epoch)[:n]:
                yield images[batch]
            n -= self.updates_per_epoch

    def _loss(self, network: Network, inputs: torch.Tensor, targets: torch.Tensor, path: Route) -> torch.Tensor:
        weight, smoothing = self.recipe.auxiliary_weight, self.recipe.label_smoothing
        auxiliary: torch.Tensor | None = None
        if isinstance(path, Mixture):
            assert isinstance(network, Mixing)
            logits = network.mixture(inputs, path.options)
        elif weight:
            logits, auxiliary = network.with_auxiliary(inputs, path)
        else:
            logits = network(inputs, path)
        loss = functional.cross_entropy(logits, targets, label_smoothing=smoothing)
        if auxiliary is not None:
            loss = loss + weight * functional.cross_entropy(auxiliary, targets, label_smoothing=smoothing)
        return loss

    def _update(self, run: Run, learning_rate: float) -> None:
        if self.recipe.clip_norm:
            torch.nn.utils.clip_grad_norm_(run.network.parameters(), self.recipe.clip_norm)
        for group in run.optimizer.param_groups:
            group["lr"] = learning_rate
        run.optimizer.step()
        run.step += 1

    def _validate(self, run: Run, meter: Meter) -> None:
        score, run.valid_loss = self.accuracy(run, "valid", meter)
        _expect_finite(run.valid_loss, run)
        run.curve.append(score)

    def accuracy(self, run: Run, part: Part, meter: Meter, chosen: torch.Tensor | None = None) -> tuple[float, float]:
        """Accuracy in percent and mean cross-entropy on a part of the task, or on the ``chosen`` images of it."""
        images, labels = self.data.part(part, self.where)
        if chosen is not None:
            images, labels = images[chosen], labels[chosen]
        run.network.train(run.batch_statistics)
        right, loss = 0, 0.0
        # The statistics of a batch need more than one image; otherwise batches make no difference.
        sizes = evaluation_batches(len(labels), EVALUATION_BATCH) if run.batch_statistics else EVALUATION_BATCH
        with torch.inference_mode():
            for inputs, targets in zip(torch.split(images, sizes), torch.split(labels, sizes), strict=True):
                logits = run.network(inputs, run.architecture)
                right += int((logits.argmax(1) == targets).sum())
                loss += float(functional.cross_entropy(logits, targets, reduction="sum"))
        meter.forwarded(len(labels), self.size(run.architecture)[0])
        return 100 * right / len(labels), loss / len(labels)

    def size(self, architecture: Architecture | None) -> tuple[int, int]:
        """Multiply-adds of one image, and trainable parameters; for None the means of random paths."""
        if architecture not in self._sizes:
            if len(self._sizes) >= 10_000:
                self._sizes.clear()
            if architecture is None:
                sizes = [self.size(self.space.sample(stream(i, "size"))) for i in range(SIZED_PATHS)]
                macs, parameters = np.mean(sizes, axis=0)
                self._sizes[None] = round(macs), round(parameters)
            else:
                with torch.device("meta"):
                    network = self.network(architecture)
                # On the processor: operations of the meta device take many times as long. Zeros, since what is left
                # over in memory may be slow to compute with.
                network.to_empty(device="cpu")
                for value in network.state_dict().values():
                    value.zero_()
                size = multiply_adds(network, self.data.input_shape), parameter_count(network)
                self._sizes[architecture] = size
        return self._sizes[architecture]

    def measure(self, architecture: Architecture) -> Mapping[str, float]:
        """``params`` and ``flops`` (multiply-adds of one image) of a network, without training it."""
        macs, parameters = self.size(self.space.validate(architecture))
        return {"params": parameters, "flops": macs}

    def report(self, run: Run, meter: Meter, test: bool = True) -> Evaluation:
        """The evaluation that a training comes to; ``test``: with the test accuracy."""
        assert run.architecture is not None
        return self._summary(run.architecture, [self.finish(run, meter, test)], meter, run.network)

    def finish(self, run: Run, meter: Meter, test: bool = True) -> Finished:
        """What a training came to, and what it took since the last one that ``meter`` billed."""
        if not run.curve:  # not trained at all
            self._validate(run, meter)
        accuracy = self.accuracy(run, "test", meter)[0] if test else math.nan
        train_loss = run.train_loss if run.step else math.nan
        return Finished(run.curve[-1], tuple(run.curve), run.valid_loss, train_loss, accuracy, *meter.since_last())

    def _summary(
        self, architecture: Architecture, done: Sequence[Finished], meter: Meter, network: Network | None
    ) -> Evaluation:
        """The evaluation that trainings of one architecture make together; ``network``: of one of them."""
        scores = [each.score for each in done]
        metrics: dict[str, float] = {}
        if not math.isnan(done[0].test_accuracy):
            metrics["test_accuracy"] = float(np.mean([each.test_accuracy for each in done]))
        metrics["valid_loss"] = float(np.mean([each.valid_loss for each in done]))
        metrics |= self.measure(architecture)
        if not any(math.isnan(each.train_loss) for each in done):
            metrics["train_loss"] = float(np.mean([each.train_loss for each in done]))
        if len(done) > 1:
            metrics["score_deviation"] = float(np.std(scores, ddof=1))
        if self.latency:
            if network is None or network.architecture is None:  # a path is timed as the network that it stands for
                network = self.begin(architecture, 0).network
            metrics["latency_seconds"] = latency_seconds(network, self.data.part("valid", self.where)[0][:64])
        curve = tuple(float(x) for x in np.mean([each.curve for each in done], axis=0))
        return Evaluation(float(np.mean(scores)), metrics, meter.cost(), curve)

    # -- checkpoints -------------------------------------------------------------------------------

    def save(self, run: Run, trial: int, name: str = "") -> None:
        """Writes a checkpoint, whole or not at all; nothing where there is no folder to keep it in.

        Args:
            run: What to keep.
            trial: Trial that it belongs to.
            name: Tells apart several of one trial.
        """
        if self.folder is None:
            return
        self.write(run, self._checkpoint(trial, name))
        self._forget_old(self.folder)

    def write(self, run: Run, path: Path, **further: Any) -> None:
        """Writes a checkpoint, whole or not at all; ``further`` JSON data go with it."""
        tensors = {f"network.{key}": value for key, value in run.network.state_dict().items()}
        for i, state in run.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{key}": value for key, value in state.items() if value is not None}
        tensors["generator"] = run.generator.get_state()
        facts = {name: getattr(run, name) for name in ("architecture", "step", "curve", "train_loss", "valid_loss")}
        write_checkpoint(path, tensors, facts | further)

    def _forget_old(self, folder: Path) -> None:
        """Deletes all checkpoints but the ``keep`` that were written or read last; others may do so meanwhile."""
        used = []
        for path in folder.glob("[0-9]*.safetensors"):
            with contextlib.suppress(FileNotFoundError):
                used.append((path.stat().st_mtime_ns, path))
        for _, path in sorted(used)[: -self.keep]:
            path.unlink(missing_ok=True)

    def restore(self, run: Run, trial: int, name: str = "") -> bool:
        """Brings a training that has not begun to where a checkpoint was.

        Returns:
            Whether there is one; if not, the training begins anew and everything is billed again.
        """
        loaded = self.read(trial, name)
        if loaded is None or loaded.facts["architecture"] != list(run.architecture or ()):
            return False
        try:
            self.put_back(run, *loaded)
        except Damaged as error:  # only of version 0.1.0
            tell_damage(self._checkpoint(trial, name), error, ANEW)
            return False
        return True

    def put_back(self, run: Run, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
        """Brings a training that has not begun to where a checkpoint was.

        Raises:
            Damaged: If it is not one of this training, which is left as it is.
        """
        _expect_state(run, tensors, facts)
        run.network.load_state_dict(below(tensors, "network."))
        states: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in below(tensors, "optimizer.").items():
            i, _, what = key.partition(".")
            # Fused optimisers need their state in the layout of the weights.
            states.setdefault(int(i), {})[what] = (
                value.to(memory_format=torch.channels_last) if value.ndim == 4 else value
            )
        groups = run.optimizer.state_dict()["param_groups"]
        run.optimizer.load_state_dict({"state": states, "param_groups": groups})
        run.generator.set_state(tensors["generator"])
        for name in ("step", "curve", "train_loss", "valid_loss"):
            setattr(run, name, facts[name])

    def read(self, trial: int, name: str = "") -> Checkpoint | None:
        """A trial's checkpoint, or None if it is not there or damaged, of which a warning tells."""
        if self.folder is None:
            return None
        path = self._checkpoint(trial, name)
        found = read_checkpoint(path, ANEW)
        if found is None or whole_facts(found.facts):
            return found
        tell_damage(path, Damaged("its facts are not those of a training"), ANEW)
        return None

    def _checkpoint(self, trial: int, name: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{trial:d}-{name}.safetensors"  # a number: from a file, it could lead elsewhere


class Mixture(NamedTuple):
    """A pass through several candidates of each choice at once.

    Attributes:
        options: For each decision the options that are computed.
        macs: Multiply-adds of one image.
    """

    options: Sequence[Sequence[int]]
    macs: int


Route = Architecture | Mixture | None
"""What one pass of a super-network computes; None: a stand-alone network."""

_ORDER = 0x5DEECE66D
"""Keeps the order of the images apart from the initial weights, which are drawn from the same seed."""


@dataclasses.dataclass
class Run:
    """A training in progress.

    Attributes:
        architecture: What is trained; None: a super-network.
        network: Its network.
        optimizer: Its optimiser.
        generator: Source of the order of images, augmentation and dropping.
        step: Updates so far.
        curve: Validation accuracy after each epoch, in percent.
        train_loss: Mean loss over the last epoch.
        valid_loss: Cross-entropy on the validation part, when it was last computed.
        batch_statistics: Whether batch normalisation uses the statistics of the batch when the network is scored.
    """

    architecture: Architecture | None
    network: Network
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    step: int = 0
    curve: list[float] = dataclasses.field(default_factory=list)
    train_loss: float = math.nan
    valid_loss: float = math.nan
    batch_statistics: bool = False


class _TrainingBelow(Evaluator):
    """Base of evaluators that train by means of a ``Training``: what that keeps is what they keep."""

    keeps_files: ClassVar[bool] = True

    def __init__(self, task: str | Task | None, training: Training | None) -> None:
        name = type(self).__name__
        if task is not None and training is not None:
            raise UsageError(f"{name}: task: the training has one of its own; give the task to the training")
        self.training = Training(task) if training is None else training
        if not isinstance(self.training, Training) or self.training.repeats != 1:
            raise UsageError(f"{name}: training: expected a Training evaluator without repeats, got {training!r}")
        self.task = None  # it is the training's now: a run folder that held both could not be read

    def start(self, space: Space) -> None:
        """Binds both evaluators to a space."""
        super().start(space)
        self.training.start(space)

    def measure(self, architecture: Architecture) -> Mapping[str, float]:
        """As ``Training`` does."""
        return self.training.measure(architecture)

    @property
    def folder(self) -> Path | None:
        """See ``Evaluator``."""
        return self.training.folder

    @folder.setter
    def folder(self, folder: Path | None) -> None:
        self.training.folder = folder


class Meter:
    """Adds up what is spent from when it is made.

    Args:
        device: Whose time is billed: for a processor its own, so that waiting for other programs costs nothing.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._examples = self._updates = self._macs = 0
        self._last = (0, 0, 0)
        self._begun = self._clock()

    def _clock(self) -> float:
        synchronise(self._device)
        return time.process_time() if self._device.type == "cpu" else time.perf_counter()

    def updated(self) -> None:
        """One update."""
        self._updates += 1

    def trained(self, examples: int, macs: int) -> None:
        """A forward and a backward pass over so many examples; backward counts as two forward passes."""
        self._examples += examples
        self._macs += 3 * examples * macs

    def forwarded(self, examples: int, macs: int) -> None:
        """Forward passes alone."""
        self._macs += examples * macs

    def since_last(self) -> tuple[int, int, int]:
        """Examples, updates and multiply-adds since this was last asked."""
        now = self._examples, self._updates, self._macs
        before, self._last = self._last, now
        return now[0] - before[0], now[1] - before[1], now[2] - before[2]

    def kept(self, done: Finished) -> None:
        """A training that an earlier try has done: its seconds were billed with that try, and are not again."""
        self._examples += done.examples
        self._updates += done.updates
        self._macs += done.macs
        self.since_last()

    def cost(self) -> Cost:
        """What was spent so far."""
        seconds = self._clock() - self._begun
        return Cost(0.0, seconds, float(self._examples), float(self._updates), 2.0 * self._macs)


FACTS = ("architecture", "step", "curve", "train_loss", "valid_loss")
"""What of a training is kept next to its tensors."""

ANEW = "the training begins anew"


def whole_facts(facts: Mapping[str, Any]) -> bool:
    """Whether these are facts of a training, as far as their types tell."""
    if not facts.keys() >= set(FACTS):
        return False
    numbers = [facts["step"], facts["train_loss"], facts["valid_loss"]]
    for name in ("architecture", "curve"):
        if not isinstance(facts[name], list) and (name == "curve" or facts[name] is not None):
            return False
        numbers += [each for each in facts[name] or () if not isinstance(each, list)]  # of a super-network: rows
    return all(isinstance(each, (int, float)) for each in numbers) and isinstance(facts["step"], int)


def _expect_state(run: Run, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
    """Raises ``Damaged`` if these are not the state of such a training."""
    expect_shapes(below(tensors, "network."), run.network.state_dict())
    weights = list(run.network.parameters())
    states = below(tensors, "optimizer.")
    places = {name: name.partition(".")[0] for name in states}
    if not whole_facts(facts) or "generator" not in tensors or not all(map(str.isdecimal, places.values())):
        raise Damaged("it lacks what a training needs")
    for name, place in places.items():
        if int(place) >= len(weights) or states[name].shape not in ((), weights[int(place)].shape):
            raise Damaged("the state of the optimiser is that of other weights")
    if tensors["generator"].shape != run.generator.get_state().shape or tensors["generator"].dtype != torch.uint8:
        raise Damaged("the state of the generator is none")


def _expect_finite(loss: float, run: Run) -> None:
    if not math.isfinite(loss):
        raise TrainingDiverged(f"the loss is {loss} after {run.step} updates; a smaller learning_rate may help")


def _repeat_seed(seed: int, repeat: int) -> int:
    """The first repeat has the query's own seed, so that more repeats do not change it."""
    return seed if repeat == 0 else int(stream(seed, f"repeat {repeat}").integers(2**63))


def _check_ranges(training: Training) -> None:
    recipe = training.recipe
    known_augmentation(recipe.augmentation or (), "Training")
    if recipe.optimizer not in get_args(Optimizer):
        raise UsageError(f"Training: optimizer: expected sgd or adamw, got {recipe.optimizer!r}")
    for name, value in (
        ("epochs", recipe.epochs),
        ("batch_size", recipe.batch_size),
        ("repeats", training.repeats),
        ("keep", training.keep),
        ("threads", training.threads),
        ("train_examples", 1 if recipe.train_examples is None else recipe.train_examples),
        *((f"skeleton.{name}", value) for name, value in recipe.skeleton.items()),
    ):
        at_least_one("Training", name, value)
    whole_number("Training", "warm_up", recipe.warm_up)
    for names, low, high in (
        (("momentum", "label_smoothing", "drop_path"), "0 <=", 1.0),
        (("weight_decay", "clip_norm", "auxiliary_weight"), "0 <=", math.inf),
        (("learning_rate",), "0 <", math.inf),
    ):
        for name in names:
            value = getattr(recipe, name)
            if not is_finite(value) or not 0 <= value < high or (low == "0 <" and value == 0):
                raise UsageError(f"Training: {name}: expected a number, {low} {name} < {high}, got {value!r}")
    if training.device != "auto":
        try:
            torch.device(training.device)
        except RuntimeError:
            raise UsageError(
                f"Training: device: expected auto or a device of PyTorch such as cpu or cuda:0, got {training.device!r}"
            ) from None
