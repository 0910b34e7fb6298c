"""The loop over batches: the same for every training, which differs in what a batch's step does.

A step gets a batch and makes an update; ``supervised`` is the usual one. Whoever trains several things in turns, such
as weights and the parameters of a distribution over architectures, gives a step of their own and keeps further
optimisers in ``Run.others``: they are in the checkpoints, too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch

from archsearch.abilities import Mixing
from archsearch.errors import TrainingDiverged
from archsearch.networks.network import Network
from archsearch.task import Goal
from archsearch.task.goal import Classification
from archsearch.training.batches import Batch as Batch
from archsearch.training.meter import Meter
from archsearch.training.optimizer import PathUpdates
from archsearch.training.paths import Mixture, Route
from archsearch.training.recipe import Recipe
from archsearch.trial import Architecture


@dataclasses.dataclass
class Run:
    """A training in progress.

    Attributes:
        architecture: What is trained; None: a super-network.
        network: Its network.
        optimizer: Its optimiser.
        generator: Source of the order of images, augmentation and dropping.
        goal: What the network is trained for.
        step: Updates so far.
        curve: Score on the validation part after each epoch.
        train_loss: Mean loss over the last epoch.
        valid_loss: Loss on the validation part, when it was last computed.
        valid_metric: The task's metric then.
        batch_statistics: Whether batch normalisation uses the statistics of the batch when the network is scored.
        others: Further optimisers by name, for steps that update more than the network's weights.
        called: The network as updates call it, such as together with other processes; None: as it is.
    """

    architecture: Architecture | None
    network: Network
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    goal: Goal = dataclasses.field(default_factory=Classification)
    step: int = 0
    curve: list[float] = dataclasses.field(default_factory=list)
    train_loss: float = math.nan
    valid_loss: float = math.nan
    valid_metric: float = math.nan
    batch_statistics: bool = False
    others: Mapping[str, torch.optim.Optimizer] = dataclasses.field(default_factory=dict)
    called: Callable[..., torch.Tensor] | None = None


class Step(Protocol):
    """Makes one update; returns the losses that it saw, which must be finite (``expect_finite``)."""

    def __call__(self, run: Run, batch: Batch, progress: float) -> Sequence[float]:
        """``progress`` is the share of the updates of the whole schedule that are done."""
        ...


def run_epochs(
    run: Run,
    until: int,
    total: int,
    epoch: Callable[[], Iterable[Batch]],
    step: Step,
    drop_path: float = 0.0,
    after: Callable[[], None] | None = None,
) -> None:
    """Trains up to update ``until`` of a schedule of ``total`` updates; the last epoch may end early.

    Args:
        run: The training; it is changed.
        until: Where to stop.
        total: Length of the schedule.
        epoch: Gives the batches of one epoch, one after the other as they are taken.
        step: Makes the update of a batch.
        drop_path: Probability of dropping a path, to which it rises from 0, epoch by epoch.
        after: Called after each epoch.
    """
    while run.step < until:
        run.network.train()
        run.network.drop_path = drop_path * run.step / total
        losses: list[float] = []
        for batch in itertools.islice(epoch(), until - run.step):
            losses += step(run, batch, run.step / total)
            run.step += 1
        run.train_loss = float(np.mean(losses))
        if after is not None:
            after()


def supervised(
    recipe: Recipe,
    meter: Meter,
    rate: Callable[..., float],
    macs: int,
    paths: Callable[[float], Sequence[Route]] | None = None,
    distillation: float = 0.0,
    updates: PathUpdates | None = None,
) -> Step:
    """The usual step: the gradient of the loss, of one path or of several together, and an update.

    Args:
        recipe: Says what is added to the loss, and whether gradients are clipped.
        meter: Adds up what is spent.
        rate: The learning rate of an update, by its number; with ``updates`` also by the power to which the share of
            the highest rate is to be raised.
        macs: Multiply-adds to bill for an example.
        paths: Of a super-network: gives the paths whose gradients, added up, make the next update, when it is told the
            share of the updates that are done. None: the run's architecture.
        distillation: What the outputs of the first path weigh in the loss of the others, next to the targets; 0 to 1.
        updates: What depends on the paths; None: nothing does.
    """
    reached: list[torch.Tensor] | None = None  # the weights that the last update changed; None: not known

    def step(run: Run, batch: Batch, progress: float) -> Sequence[float]:
        nonlocal reached
        for weight in weights_of(run.optimizer) if reached is None else reached:
            weight.grad = None
        routes: Sequence[Route] = (run.architecture,) if paths is None else paths(progress)
        losses = [0.0] * len(routes)
        for part in batch.parts(recipe.accumulate):
            share = batch.weight * part.examples / batch.examples
            for i, loss in enumerate(_losses(run, part, routes, recipe, distillation)):
                losses[i] += share * expect_finite(loss.item(), run)
                (loss if share == 1 else share * loss).backward()  # type: ignore[no-untyped-call]
                path = routes[i]
                meter.trained(part.examples, path.macs if isinstance(path, Mixture) else macs)
        clipped = run.network.parameters() if recipe.clip_norm else ()
        if updates is None:
            reached = update(run.optimizer, rate(run.step), clipped, recipe.clip_norm)
        else:
            updates.note(run.network)
            own = rate(run.step, updates.power(routes))
            reached = update(updates.optimizer(run.optimizer, run.others, routes), own, clipped, recipe.clip_norm)
        meter.updated()
        return losses

    return step


def _losses(
    run: Run, batch: Batch, routes: Sequence[Route], recipe: Recipe, distillation: float
) -> Iterator[torch.Tensor]:
    """The loss of each path of a batch, computed as it is taken."""
    teacher: torch.Tensor | None = None
    for path in routes:
        with autocast(recipe, batch.inputs.device):
            outputs, auxiliary = outputs_of(run, batch, path, recipe)
            loss = loss_of(run, batch, outputs, auxiliary, recipe)
            if teacher is not None:
                loss = (1 - distillation) * loss + distillation * run.goal.distilled(outputs, teacher)
            elif distillation:
                teacher = outputs.detach()
        yield loss


def autocast(recipe: Recipe, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Inside, forward passes and losses have the recipe's precision; weights, updates and statistics stay float32."""
    return torch.autocast(device.type, torch.bfloat16) if recipe.precision == "bf16" else contextlib.nullcontext()


def task_loss(run: Run, batch: Batch, path: Route, recipe: Recipe) -> torch.Tensor:
    """The loss of what a path makes of a batch, with that of the auxiliary head if the recipe has one."""
    with autocast(recipe, batch.inputs.device):
        return loss_of(run, batch, *outputs_of(run, batch, path, recipe), recipe)


def outputs_of(run: Run, batch: Batch, path: Route, recipe: Recipe) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What a path makes of a batch, and the outputs of the auxiliary head, if the network has one and it is trained."""
    network = run.network
    if isinstance(path, Mixture):
        assert isinstance(network, Mixing)
        return network.mixture(*batch.through(path.options)), None
    if recipe.auxiliary_weight:
        return network.with_auxiliary(*batch.through(path))
    called = network if run.called is None else run.called
    return called(*batch.through(path)), None


def loss_of(
    run: Run, batch: Batch, outputs: torch.Tensor, auxiliary: torch.Tensor | None, recipe: Recipe
) -> torch.Tensor:
    """The loss of some outputs, and of those of the auxiliary head."""
    loss = run.goal.loss(outputs, batch.targets, recipe.label_smoothing)
    if auxiliary is not None:
        loss = loss + recipe.auxiliary_weight * run.goal.loss(auxiliary, batch.targets, recipe.label_smoothing)
    return loss


def update(
    optimizer: torch.optim.Optimizer,
    learning_rate: float,
    clipped: Iterable[torch.Tensor] = (),
    clip_norm: float = 0.0,
) -> list[torch.Tensor]:
    """One update of an optimiser, all of whose groups get the learning rate times their own ``scale`` (else 1).

    Args:
        optimizer: Whose parameters have gradients.
        learning_rate: Of this update.
        clipped: Parameters whose gradients together are clipped.
        clip_norm: Their largest norm; 0 does not clip.

    Returns:
        The parameters that have gradients, which are all that changed.
    """
    if clip_norm:
        torch.nn.utils.clip_grad_norm_(clipped, clip_norm)
    everything = [group["params"] for group in optimizer.param_groups]
    try:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * group.get("scale", 1.0)
            # Of a large super-network a path reaches few weights, and PyTorch's optimisers look at each for long.
            group["params"] = [weight for weight in group["params"] if weight.grad is not None]
        reached = list(weights_of(optimizer))
        optimizer.step()
    finally:
        for group, weights in zip(optimizer.param_groups, everything, strict=True):
            group["params"] = weights
    return reached


def weights_of(optimizer: torch.optim.Optimizer) -> Iterator[torch.Tensor]:
    """All parameters of an optimiser."""
    for group in optimizer.param_groups:
        yield from group["params"]


def expect_finite(loss: float, run: Run) -> float:
    """The loss.

    Raises:
        TrainingDiverged: If it is not finite.
    """
    if not math.isfinite(loss):
        raise TrainingDiverged(f"the loss is {loss} after {run.step} updates; a smaller learning_rate may help")
    return loss
