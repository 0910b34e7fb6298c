"""Several trainings of one architecture, from different seeds, as one.

Weights, gradients and statistics of each are those of a training alone, but for the order in which numbers are added
up (1e-5 after an update); the order of images and what augmentation draws are each training's own.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from archsearch.networks.compiled import compiled
from archsearch.stacked.side_by_side import SideBySide, Standing, joined, shares, standing_of
from archsearch.task import Judged, Part
from archsearch.training.batches import Batch, to_score
from archsearch.training.loop import Run, expect_finite, loss_of, outputs_of, run_epochs, update, weights_of
from archsearch.training.meter import Meter
from archsearch.training.optimizer import make_optimizer, share_of_rate
from archsearch.training.trainer import EVALUATION_BATCH, Trainer


def standing(trainer: Trainer, runs: Sequence[Run]) -> Standing | None:
    """How trainings can be one, if they can: of images, without dropping, equally far, made of parts that allow it."""
    first, recipe = runs[0], trainer.recipe
    if len(runs) < 2 or first.goal.order != "shuffled" or recipe.drop_path or recipe.dropout:
        return None
    if recipe.accumulate > 1 or recipe.precision != "full" or recipe.processes > 1:
        return None
    if any(run.step != first.step or run.others for run in runs):
        return None
    how = standing_of(first.network, trainer.data.input_shape)
    return None if recipe.compile and how == "joined" else how  # what puts channels in order is not compiled


def train_together(trainer: Trainer, runs: Sequence[Run], how: Standing, until: int, total: int, meter: Meter) -> None:
    """Trains them up to update ``until`` of a schedule of ``total`` updates; see ``Trainer.train``.

    Raises:
        TrainingDiverged: If the loss of one is no longer finite.
    """
    first = runs[0]
    recipe, macs = trainer.recipe_of(first.architecture), trainer.size(first.architecture)[0]
    stack = SideBySide([run.network for run in runs], how)
    optimizer = make_optimizer(stack.network, recipe, trainer.where)
    _take_states(stack, optimizer, runs)
    lead = Run(first.architecture, stack.network, optimizer, first.generator, first.goal, step=first.step)
    if recipe.compile:
        lead.called = compiled(stack.network, trainer.where)
    rising = recipe.warm_up * trainer.updates_per_epoch
    losses: list[list[float]] = []

    def step(run: Run, batch: Batch, progress: float) -> Sequence[float]:
        for weight in weights_of(optimizer):
            weight.grad = None
        del progress
        outputs, auxiliary = stack(lambda: outputs_of(run, batch, run.architecture, recipe))
        heads = [None] * stack.count if auxiliary is None else stack.apart(auxiliary)
        each = [
            loss_of(run, batch._replace(targets=targets), logits, head, recipe)
            for logits, head, targets in zip(stack.apart(outputs), heads, batch.targets.unbind(), strict=True)
        ]
        losses.append([expect_finite(loss, run) for loss in torch.stack(each).tolist()])
        sum(each).backward()  # type: ignore[union-attr]
        if recipe.clip_norm:
            _clip(stack, recipe.clip_norm)
        update(optimizer, recipe.learning_rate * share_of_rate(run.step, total, rising))
        for _ in runs:
            meter.trained(len(batch.inputs), macs)
            meter.updated()
        return losses[-1]

    def after() -> None:
        means = np.mean(losses, axis=0)
        losses.clear()
        judged = _judge(trainer, stack, lead, "valid", meter, macs)
        for run, mean, (score, valid_loss, valid_metric) in zip(runs, means, judged, strict=True):
            run.train_loss, run.valid_loss, run.valid_metric, run.step = (
                float(mean),
                valid_loss,
                valid_metric,
                lead.step,
            )
            expect_finite(run.valid_loss, run)
            run.curve.append(score)

    run_epochs(lead, until, total, functools.partial(_epoch, trainer, stack, runs), step, 0.0, after)
    stack.give_back()
    _give_states(stack, optimizer, runs)


def _epoch(trainer: Trainer, stack: SideBySide, runs: Sequence[Run]) -> Iterator[Batch]:
    """The batches of an epoch of all; targets have shape (trainings, batch)."""
    for batches in zip(*(trainer.epoch(run) for run in runs), strict=True):
        yield Batch(stack.together([each.inputs for each in batches]), torch.stack([each.targets for each in batches]))


def _judge(trainer: Trainer, stack: SideBySide, lead: Run, part: Part, meter: Meter, macs: int) -> list[Judged]:
    """How good each is on a part of the task."""
    inputs, targets = trainer.data.part(part, trainer.where)
    lead.network.eval()
    tallies = []
    with torch.inference_mode():
        for batch in to_score(lead.goal.order, inputs, targets, EVALUATION_BATCH):
            images = stack.together([batch.inputs] * stack.count)
            outputs = stack(functools.partial(lead.network, images))
            tallies.append([lead.goal.tally(each, batch.targets) for each in stack.apart(outputs)])
    meter.forwarded(stack.count * len(targets), macs)
    return [lead.goal.judged(functools.reduce(torch.add, each)) for each in zip(*tallies, strict=True)]


def _clip(stack: SideBySide, most: float) -> None:
    """Scales the gradients of each network down to a norm, as ``torch.nn.utils.clip_grad_norm_`` does alone."""
    gradients = [whole.grad for whole, _ in stack.weights() if whole.grad is not None]
    squares = [gradient.reshape(stack.count, -1).square().sum(1) for gradient in gradients]
    scale = (most / (torch.stack(squares).sum(0).sqrt() + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(scale.repeat_interleave(len(gradient) // stack.count).view(-1, *[1] * (gradient.dim() - 1)))


def _take_states(stack: SideBySide, optimizer: torch.optim.Optimizer, runs: Sequence[Run]) -> None:
    """Gives the optimiser of all what those of the trainings know, if they have made an update."""
    for whole, pieces in stack.weights():
        states = [run.optimizer.state.get(piece, {}) for run, piece in zip(runs, pieces, strict=True)]
        for name, value in states[0].items():
            shape = whole.shape if isinstance(value, torch.Tensor) and value.dim() else torch.Size()
            optimizer.state[whole][name] = (
                joined([state[name] for state in states], shape) if isinstance(value, torch.Tensor) else value
            )


def _give_states(stack: SideBySide, optimizer: torch.optim.Optimizer, runs: Sequence[Run]) -> None:
    """Gives the optimisers of the trainings what that of all knows."""
    for whole, pieces in stack.weights():
        for name, value in optimizer.state.get(whole, {}).items():
            if not isinstance(value, torch.Tensor):
                parts: Sequence[object] = [value] * len(runs)
            else:
                parts = shares(value, stack.count, pieces[0].shape if value.dim() else torch.Size())
            for run, piece, part in zip(runs, pieces, parts, strict=True):
                run.optimizer.state[piece][name] = part.clone() if isinstance(part, torch.Tensor) else part
