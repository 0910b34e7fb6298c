"""The trainer: a recipe, a space and a device; whatever an evaluator trains, it trains by one.

An evaluator says what is trained on which paths, and how that is scored; networks, batches, the loop, validation,
sizes, checkpoints and repeats that are done are here.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from archsearch.errors import UsageError
from archsearch.evaluator import Trained
from archsearch.networks.compiled import compiled
from archsearch.networks.multiply_adds import latency_seconds
from archsearch.networks.network import Network, build
from archsearch.networks.recurrent import CarriedState
from archsearch.task import Judged, Part
from archsearch.training.augmentation import augment
from archsearch.training.batches import STREAMS, Batch, dealt, evaluation_batches, streams_of, to_score
from archsearch.training.binding import Bound
from archsearch.training.checkpoints import Checkpoints
from archsearch.training.loop import Run, Step, autocast, expect_finite, run_epochs, supervised
from archsearch.training.meter import WARM, Meter, warm_kernels, warm_optimisers
from archsearch.training.optimizer import PathUpdates, make_optimizer, share_of_rate
from archsearch.training.paths import Route
from archsearch.training.recipe import Recipe
from archsearch.training.repeats import Finished, Repeats
from archsearch.trial import Architecture, Evaluation

EVALUATION_BATCH = 512
"""Images in a forward pass that computes no gradients; of results, only those with batch statistics depend on it."""

_ORDER = 0x5DEECE66D
"""Keeps the order of the images apart from the initial weights, which are drawn from the same seed."""


class Trainer(Bound):
    """Trains networks of a space.

    Args:
        recipe: How to train.
        given: As of ``Bound``.
        device: As of ``Bound``.
        threads: Threads of PyTorch, >= 1.
        keep: How many checkpoints are kept, >= 1.
        latency: Whether to measure the time of a forward pass.

    Attributes:
        checkpoints: Trainings that may go on.
        repeats: Trainings of trials that may be tried again.
        rank: Number of this process, from 0, where several train together; None: it is alone.
    """

    rank: int | None = None

    def __init__(
        self,
        recipe: Recipe,
        given: Mapping[str, int] | None = None,
        device: str = "auto",
        threads: int = 1,
        keep: int = 1_000,
        latency: bool = False,
    ) -> None:
        super().__init__(recipe, given, device)
        self.threads = threads
        self.latency = latency
        self.checkpoints = Checkpoints(keep)
        self.repeats = Repeats()

    @property
    def folder(self) -> Path | None:
        """See ``Bound``."""
        return self.checkpoints.folder

    @folder.setter
    def folder(self, folder: Path | None) -> None:
        self.checkpoints.folder = self.repeats.folder = folder

    # -- training ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def session(self) -> Iterator[Meter]:
        """Sets PyTorch's threads and determinism for a while, and measures what is spent."""
        if self.where.type == "cuda" and not torch.cuda.is_available():
            raise UsageError(f"Training: device={self.device}: there is no CUDA device here; use auto or cpu")
        threads = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
                WARM.up(self.where, warm_kernels)
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
        WARM.up(self.where, warm_optimisers)
        network: Network = build(make or (lambda: self.network(architecture)), seed, self.where)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # up to twice as fast
        generator = torch.Generator().manual_seed(seed ^ _ORDER)
        network.generator, network.dropout = generator, self.recipe.dropout
        optimizer = make_optimizer(network, self.recipe_of(architecture), self.where)
        run = Run(architecture, network, optimizer, generator, self.data.goal)
        if self.recipe.compile and architecture is not None:
            run.called = compiled(network, self.where)
        if self.rank is not None:
            run.called = torch.nn.parallel.DistributedDataParallel(network, find_unused_parameters=True)
        return run

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
        step: Step | None = None,
        distillation: float = 0.0,
        updates: PathUpdates | None = None,
    ) -> None:
        """Trains up to update ``until`` of a schedule of ``total`` updates.

        Args:
            run: The training; it is changed.
            until: Where to stop.
            total: Where the learning rate reaches 0.
            meter: Adds up what is spent.
            learning_rate: At the start of the schedule; None: the recipe's, or what the architecture says.
            paths: Of a super-network: gives the paths whose gradients, added up, make the next update, when it is told
                the share of the updates that are done.
            macs: Multiply-adds to bill for an image; None: those of the architecture.
            step: Makes an update, in place of the usual one; ``learning_rate``, ``paths`` and ``macs`` are its own.
            validate: Whether a stand-alone network is validated after each epoch.
            distillation: As of ``supervised``.
            updates: As of ``supervised``.

        Raises:
            TrainingDiverged: If the loss is no longer finite.
        """
        if step is None:
            recipe = self.recipe_of(run.architecture)
            highest, rising = learning_rate or recipe.learning_rate, recipe.warm_up * self.updates_per_epoch
            macs = self.size(run.architecture)[0] if macs is None else macs
            step = supervised(
                recipe,
                meter,
                lambda done, power=1.0: highest * share_of_rate(done, total, rising) ** power,
                macs,
                paths,
                distillation,
                updates,
            )
        validates = validate and run.architecture is not None
        after = functools.partial(self.validate, run, meter) if validates else None
        run_epochs(run, until, total, functools.partial(self.epoch, run), step, self.recipe.drop_path, after)

    def epoch(self, run: Run, chosen: torch.Tensor | None = None) -> Iterator[Batch]:
        """The batches of an epoch, in the order of the task's goal; images are augmented and shuffled.

        Args:
            run: The training, whose generator decides what is random.
            chosen: Numbers of the examples; None: all that are used.
        """
        inputs, targets = self.data.part("train", self.where)
        if self.data.goal.order == "segments":
            carried = CarriedState()
            for numbers in self._dealt(run.generator, chosen):
                yield Batch(inputs[numbers], targets[numbers], carried)
                carried.go_on()
            return
        names = self.data.augmentation if self.recipe.augmentation is None else self.recipe.augmentation
        for numbers in self._dealt(run.generator, chosen):
            batch = Batch(augment(inputs[numbers], names, run.generator), targets[numbers])
            yield batch if self.rank is None else batch.share(self.rank, self.recipe.processes)

    def batches(self, generator: torch.Generator, n: int) -> Iterator[torch.Tensor]:
        """Inputs of ``n`` training batches without augmentation, in an order that ``generator`` decides."""
        inputs = self.data.part("train", self.where)[0]
        while n > 0:
            for numbers in self._dealt(generator)[:n]:
                yield inputs[numbers]
            n -= self.updates_per_epoch

    def first(self, part: Part, count: int) -> Batch:
        """The first ``count`` examples of a part, or all if there are fewer, as one batch."""
        inputs, targets = self.data.part(part, self.where)
        inputs, targets = inputs[:count], targets[:count]
        if self.data.goal.order == "shuffled":
            return Batch(inputs, targets)
        return Batch(streams_of(inputs, STREAMS), streams_of(targets, STREAMS), CarriedState())

    def batch(self, numbers: torch.Tensor) -> Batch:
        """A full batch of the first ones of these training examples, in their order and without augmentation."""
        inputs, targets = self.data.part("train", self.where)
        numbers = numbers[: self.batch_examples].to(self.where)
        if self.data.goal.order == "shuffled":
            return Batch(inputs[numbers], targets[numbers])
        numbers = streams_of(numbers, self.recipe.batch_size)
        return Batch(inputs[numbers], targets[numbers], CarriedState())

    def _dealt(self, generator: torch.Generator, chosen: torch.Tensor | None = None) -> Sequence[torch.Tensor]:
        """The numbers of the examples in use, or of those that are chosen, dealt out to the batches of an epoch."""
        chosen = self.chosen if chosen is None else chosen
        found = dealt(self.data.goal.order, chosen, self.recipe.batch_size, self.recipe.segment, generator)
        return [numbers.to(self.where) for numbers in found]

    def validate(self, run: Run, meter: Meter) -> None:
        """Scores a network on the validation part, and adds that to its curve."""
        score, run.valid_loss, run.valid_metric = self.judge(run, "valid", meter)
        expect_finite(run.valid_loss, run)
        run.curve.append(score)

    def judge(self, run: Run, part: Part, meter: Meter, chosen: torch.Tensor | None = None) -> Judged:
        """How good a network is on a part of the task, or on the ``chosen`` examples of it."""
        inputs, targets = self.data.part(part, self.where)
        if chosen is not None:
            inputs, targets = inputs[chosen], targets[chosen]
        run.network.train(run.batch_statistics)
        goal = self.data.goal
        # The statistics of a batch need more than one image; otherwise batches make no difference.
        sizes = evaluation_batches(len(targets), EVALUATION_BATCH) if run.batch_statistics else EVALUATION_BATCH
        with torch.inference_mode(), autocast(self.recipe, self.where):
            tallies = [
                goal.tally(run.network(*batch.through(run.architecture)), batch.targets)
                for batch in to_score(goal.order, inputs, targets, sizes)
            ]
        meter.forwarded(len(targets), self.size(run.architecture)[0])
        return goal.judged(functools.reduce(torch.add, tallies))  # one after the other, always in this order

    # -- what it came to ---------------------------------------------------------------------------

    def report(self, run: Run, meter: Meter, test: bool = True) -> Evaluation:
        """The evaluation that a training comes to; ``test``: with the metric on the test part."""
        assert run.architecture is not None
        return self.summary(run.architecture, [self.finish(run, meter, test)], meter, run.network)

    def finish(self, run: Run, meter: Meter, test: bool = True) -> Finished:
        """What a training came to, and what it took since the last one that ``meter`` billed."""
        if not run.curve:  # not trained at all
            self.validate(run, meter)
        tested = self.judge(run, "test", meter).metric if test else math.nan
        train_loss = run.train_loss if run.step else math.nan
        return Finished(
            run.curve[-1],
            tuple(run.curve),
            run.valid_loss,
            train_loss,
            run.valid_metric,
            tested,
            *meter.since_last(),
        )

    def summary(
        self, architecture: Architecture, done: Sequence[Finished], meter: Meter, network: Network | None
    ) -> Evaluation:
        """The evaluation that trainings of one architecture make together; ``network``: of one of them."""
        scores = [each.score for each in done]
        goal, metrics = self.data.goal, dict[str, float]()
        if not math.isnan(done[0].test_metric):
            metrics[f"test_{goal.metric}"] = float(np.mean([each.test_metric for each in done]))
        if not goal.higher_is_better:  # else it is the score
            metrics[f"valid_{goal.metric}"] = float(np.mean([each.valid_metric for each in done]))
        metrics["valid_loss"] = float(np.mean([each.valid_loss for each in done]))
        metrics |= self.measure(architecture)
        if not any(math.isnan(each.train_loss) for each in done):
            metrics["train_loss"] = float(np.mean([each.train_loss for each in done]))
        if len(done) > 1:
            metrics["score_deviation"] = float(np.std(scores, ddof=1))
        if self.latency:
            if network is None or network.architecture is None:  # a path is timed as the network that it stands for
                network = self.begin(architecture, 0).network
            metrics["latency_seconds"] = latency_seconds(network, self.first("valid", 64).inputs)
        curve = tuple(float(x) for x in np.mean([each.curve for each in done], axis=0))
        return Evaluation(float(np.mean(scores)), metrics, meter.cost(), curve)

    def handed_out(self, run: Run, evaluation: Evaluation, note: str = "") -> Trained:
        """What a training of an architecture has come to, for whoever wants the network."""
        network = run.network.requires_grad_(True).eval().to("cpu")
        network.drop_path, network.dropout, network.generator = 0.0, 0.0, None
        return Trained(network, evaluation, self.data, self.skeleton_used, note)
