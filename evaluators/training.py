"""Individual training: the reference that every cheaper evaluator is judged by.

Each architecture is trained on its own and scored on the validation part, by its accuracy or whatever the goal of the
task is. The default recipe follows NAS-Bench-201 (Dong & Yang, ICLR 2020): SGD with Nesterov momentum 0.9, weight decay
5e-4, and a cosine schedule from 0.1 to 0. A proxy is the same with fewer channels, cells, epochs or images: see
``PRESETS``.

A training can stop at any epoch, keep a checkpoint, and be continued from it later, exactly as if it had never stopped;
so controllers such as ``SuccessiveHalving`` pay for the added epochs only.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from archsearch.basics.checks import at_least_one
from archsearch.errors import UsageError
from archsearch.evaluator import Built, Evaluator, Trained
from archsearch.evaluators.together import evaluate_together
from archsearch.networks.compiled import expect_compiler
from archsearch.networks.network import Network
from archsearch.space import Space
from archsearch.stacked.training import standing, train_together
from archsearch.task import Augmentation, Task
from archsearch.task.reading import absolute
from archsearch.training.loop import Run
from archsearch.training.meter import Meter
from archsearch.training.recipe import PRESETS, Optimizer, Precision, Preset, Recipe, check_recipe
from archsearch.training.repeats import repeat_seed
from archsearch.training.trainer import Trainer
from archsearch.trial import NO_COST, Architecture, Budget, Cost, Evaluation, Query


class Training(Evaluator):
    """Trains each architecture individually; the score is the validation accuracy in percent, or minus the loss.

    It is minus the loss if less of the task's metric is better: in language modelling, in nats per token. Reported but
    never used by a search: ``test_accuracy`` (percent), or ``valid_perplexity`` and ``test_perplexity``; ``valid_loss``
    and ``train_loss`` (cross-entropy after the last epoch; in training, the mean over it), ``params``, ``flops``
    (multiply-adds for one image or token), with ``repeats`` above 1 ``score_deviation`` (standard deviation of the
    repeats), and ``latency_seconds`` if asked for. The curve is the score after each epoch. Billed: seconds of the
    device (on a processor, its own time), examples, updates, and floating-point operations (2 per multiply-add; a
    training example counts as 3 passes).

    Equal seeds give equal results on one kind of device, whatever the number of workers. Every argument that is left
    out (None) is taken from the preset.

    Args:
        task: A task by name or path (see ``archsearch.task``), or a ``Task``.
        preset: The recipe to start from.
        epochs: Length of a full training, and of its schedule, >= 1.
        batch_size: Images per update, >= 1; the last batches of an epoch shrink evenly. A batch of one image is refused
            where batch normalisation has nothing to average over; with 2 and an odd number of images one batch has 3.
            Of tasks of tokens: streams side by side.
        optimizer: sgd or adamw.
        learning_rate: The highest, > 0; a cosine schedule takes it to 0. In spaces such as ``EvoNet`` architectures
            have their own.
        warm_up: Epochs at the start over which the learning rate rises in equal steps, >= 0.
        momentum: Momentum of sgd, 0 <= momentum < 1.
        nesterov: Whether the momentum is Nesterov's.
        weight_decay: Weight decay, >= 0.
        label_smoothing: Share of label smoothing, 0 <= label_smoothing < 1.
        clip_norm: Largest norm of the gradient, > 0; 0: no clipping.
        drop_path: Probability of dropping a path, 0 <= drop_path < 1; it rises to this from 0, epoch by epoch.
        auxiliary_weight: Weight of the auxiliary head's loss, >= 0, for networks that have one, such as those of
            ``DARTS(auxiliary=True)``. ``params`` counts the head, ``flops`` does not.
        augmentation: Transforms of training images: any of crop, flip, cutout. None: those of the preset or the task.
        train_examples: How many of the training images or tokens to use, the same for all architectures.
        skeleton: Settings of the network around the searched part, by name, such as channels and cells. One that the
            space does not know is an error here; in a preset it is ignored, as are those given to the space.
        segment: For tasks of tokens: tokens through which gradients flow back, >= 1; the hidden state is carried on
            from one segment to the next.
        dropout: For recurrent networks: probability, 0 <= dropout < 1, of variational dropout on a cell's inputs,
            hidden state and outputs; one mask for all positions of a segment.
        accumulate: Parts in which a batch of images is computed, one after the other, >= 1, to need less memory; the
            update uses the sum of their gradients. Without batch normalisation, whose statistics are then those of a
            part, it equals the update of the whole batch.
        precision: full (float32) or, for images, bf16: forward passes and losses in bfloat16 where PyTorch's autocast
            deems it safe, in training and scoring; weights and updates stay float32.
        processes: How many processes of this machine train an architecture together, >= 1, each with a CUDA device, or
            on the processor, and a share of every batch. Without batch normalisation, whose statistics are then those
            of a share, the result is that of one process except for rounding. Not for tokens, nor with drop_path or an
            auxiliary head.
        compile: Whether updates run the network as ``torch.compile`` makes it, on CUDA devices with CUDA graphs. For
            images only; needs a C++ compiler, or Triton. Each network is compiled, which takes longer than a short
            training.
        repeats: Trainings from different seeds whose scores are averaged, >= 1. If one fails and the trial is tried
            again, finished ones are kept; the seconds that they took are billed with the try that failed.
        together: Whether repeats are trained as one network, if its parts allow that. It is faster, most of all for
            small networks (``docs/training.md``), differs from separate trainings by the order in which numbers are
            added up, and if it fails, all repeats are lost.
        keep: How many checkpoints are kept, >= 1: those that were written or read last. A training whose checkpoint is
            gone starts again when it should continue.
        latency: Whether to measure the time of a forward pass over up to 64 validation images. It is never the same
            twice.
        memory: Whether to count bytes, besides parameters: ``weight_bytes``, ``activation_bytes`` and ``cache_bytes``
            to use a network for one example; ``training_bytes`` to train it in float32: weights, gradients, what the
            optimiser keeps, and what a batch keeps for the backward pass (not of tokens). Some 0.1 s an architecture.
        device: auto (a CUDA device if there is one), or any device of PyTorch.
        threads: Number of PyTorch's threads, >= 1.

    Raises:
        UsageError: If a setting is out of range.
    """

    keeps_files = True

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
        segment: int | None = None,
        dropout: float | None = None,
        accumulate: int | None = None,
        precision: Precision | None = None,
        processes: int | None = None,
        compile: bool | None = None,  # noqa: A002
        repeats: int = 1,
        together: bool = True,
        keep: int = 1_000,
        latency: bool = False,
        memory: bool = False,
        device: str = "auto",
        threads: int = 1,
    ) -> None:
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
        self.segment, self.dropout = segment, dropout
        self.accumulate = accumulate
        self.precision = precision
        self.processes, self.compile = processes, compile
        self.repeats, self.together, self.keep = repeats, together, keep
        self.latency, self.memory = latency, memory
        self.device, self.threads = device, threads
        self.recipe = self._checked_recipe()
        self.trainer = Trainer(self.recipe, skeleton, device, threads, keep, latency)
        self.trainer.memory = memory

    def _checked_recipe(self) -> Recipe:
        """The preset's recipe with the settings that were given, once all of them are checked."""
        if self.preset not in PRESETS:
            raise UsageError(f"Training: preset: expected one of {', '.join(PRESETS)}, got {self.preset!r}")
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(Recipe)}
        given["skeleton"] = {**PRESETS[self.preset].skeleton, **(self.skeleton or {})}
        changes = {name: value for name, value in given.items() if value is not None}
        recipe = dataclasses.replace(PRESETS[self.preset], **changes)
        check_recipe(recipe)
        for name in ("repeats", "keep", "threads"):
            at_least_one("Training", name, getattr(self, name))
        if self.device != "auto":
            try:
                torch.device(self.device)
            except RuntimeError:
                raise UsageError(
                    f"Training: device: expected auto or a device of PyTorch such as cpu or cuda:0, got {self.device!r}"
                ) from None
        return recipe

    # -- the evaluator contract ------------------------------------------------------------------

    @property
    def folder(self) -> Path | None:
        """See ``Evaluator``."""
        return self.trainer.folder

    @folder.setter
    def folder(self, folder: Path | None) -> None:
        self.trainer.folder = folder

    def check(self, space: Space) -> None:
        """Raises ``MissingAbility`` if the space builds no networks, ``UsageError`` if it lacks a given setting."""
        self.trainer.check(space, type(self).__name__)

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
        self.trainer.bind(space)
        if self.recipe.compile:
            expect_compiler(self.trainer.where)

    def prepare(self) -> Cost:
        """Notes which data the run is trained on, and clears away what a killed process has left half-written.

        Raises:
            UsageError: If the run was begun on other data of that name.
        """
        self.trainer.note_data()
        return NO_COST

    @property
    def built(self) -> Built:
        """See ``Evaluator``."""
        return self.trainer.built

    def measure(self, architecture: Architecture) -> Mapping[str, float]:
        """``params`` and ``flops`` (multiply-adds of one image) of a network, without training it."""
        return self.trainer.measure(architecture)

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        """Trains an architecture in full, and keeps no checkpoint."""
        return self.evaluate_query(Query(-1, architecture, seed))

    def evaluate_query(self, query: Query) -> Evaluation:
        """Trains an architecture as far as its budget goes, from its checkpoint if there is one.

        Raises:
            TrainingDiverged: If the loss is no longer finite.
        """
        self.space.validate(query.architecture)
        trainer = self.trainer
        if self.recipe.processes > 1 and trainer.rank is None:
            return evaluate_together(self, query, self.recipe.processes)
        with trainer.session() as meter:
            network: Network | None = None
            done = trainer.repeats.of(query)[: self.repeats]
            for each in done:
                meter.kept(each)
            for runs in self._trained(query, range(len(done), self.repeats), meter):
                network = network or runs[0].network
                done += [trainer.finish(run, meter) for run in runs]
                if len(done) < self.repeats and not trainer.rank:
                    trainer.repeats.keep(query, done)
            evaluation = trainer.summary(query.architecture, done, meter, network)
        if self.repeats > 1:
            trainer.repeats.forget(query)
        return evaluation

    def _trained(self, query: Query, repeats: Sequence[int], meter: Meter, save: bool = True) -> Iterator[list[Run]]:
        """Trains repeats as far as the budget goes: all at once where that can be done, else one after the other."""
        trainer, budget = self.trainer, query.budget or Budget(self.recipe.epochs)
        origin = query.id if budget.origin is None else budget.origin
        per_epoch = trainer.updates_per_epoch
        until, total = budget.stop * per_epoch, self.recipe.epochs * per_epoch

        def begun(repeat: int) -> Run:
            run = trainer.begin(query.architecture, repeat_seed(query.seed, repeat))
            if budget.start:
                trainer.checkpoints.restore(run, origin, f"{repeat}-{budget.start}")
            return run

        def saved(run: Run, repeat: int) -> Run:
            if save and budget.stop < self.recipe.epochs and not trainer.rank:
                trainer.checkpoints.save(run, origin, f"{repeat}-{budget.stop}")
            return run

        runs = [begun(repeat) for repeat in repeats] if self.together and len(repeats) > 1 else []
        if runs and (how := standing(trainer, runs)) is not None:
            train_together(trainer, runs, how, until, total, meter)
            yield [saved(run, repeat) for run, repeat in zip(runs, repeats, strict=True)]
            return
        for repeat in repeats:
            run = runs.pop(0) if runs else begun(repeat)
            trainer.train(run, until, total, meter)
            yield [saved(run, repeat)]

    def trained(self, query: Query) -> Trained:
        """Trains as ``evaluate_query`` does, which gives the same weights; of several ``repeats`` the first."""
        self.space.validate(query.architecture)
        trainer, budget = self.trainer, query.budget or Budget(self.recipe.epochs)
        with trainer.session() as meter:
            run = next(self._trained(query, range(self.repeats), meter, save=False))[0]
            evaluation = trainer.report(run, meter)
        notes = []
        if self.repeats > 1:
            notes.append(f"A recorded score is the mean of {self.repeats} trainings; these weights are the first's.")
        if self.recipe.processes > 1:
            notes.append("These weights were trained in one process, the recorded score is of several together.")
        if budget.stop < self.recipe.epochs:
            notes.append(f"The training was stopped after {budget.stop} of {self.recipe.epochs} epochs.")
        return trainer.handed_out(run, evaluation, " ".join(notes))


class BuiltOnTraining(Evaluator, abc.ABC):
    """Base of evaluators that take their recipe from a ``Training`` and train in a way of their own.

    Args:
        task: Short for a training with nothing else; not together with a training.
        training: How to train.

    Attributes:
        trainer: Trains, by that recipe.
    """

    keeps_files = True

    @abc.abstractmethod
    def __init__(self, task: str | Task | None, training: Training | None) -> None:
        name = type(self).__name__
        if task is not None and training is not None:
            raise UsageError(f"{name}: task: the training has one of its own; give the task to the training")
        self.training = Training(task) if training is None else training
        if not isinstance(self.training, Training) or self.training.repeats != 1:
            raise UsageError(f"{name}: training: expected a Training evaluator without repeats, got {training!r}")
        if self.training.recipe.processes > 1:
            raise UsageError(f"{name}: processes: only Training itself trains in several processes; leave them out")
        if self.training.recipe.compile:
            raise UsageError(f"{name}: compile: only Training itself compiles networks; leave it out")
        self.task = None  # it is the training's now: a run folder that held both could not be read

    @property
    def trainer(self) -> Trainer:
        """See the class."""
        return self.training.trainer

    def start(self, space: Space) -> None:
        """Binds both evaluators to a space."""
        super().start(space)
        self.training.start(space)

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        """Scores an architecture outside a search."""
        return self.evaluate_query(Query(-1, architecture, seed))

    @property
    def built(self) -> Built:
        """As ``Training`` does."""
        return self.trainer.built

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
