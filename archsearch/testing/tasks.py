"""The promises of tasks."""

from __future__ import annotations

import hashlib
import json
import math
import pickle
import re
from collections.abc import Collection
from typing import TYPE_CHECKING, get_args

import numpy as np

from archsearch.basics.kinds import EXAMPLE
from archsearch.testing.looking import expect_no_globals
from archsearch.testing.suite import TASK_CHECKS, MakeTask, check_all, expect, task_check

if TYPE_CHECKING:
    import torch

    from archsearch.task import Inputs, Task

SOME = 64
"""Examples that are looked at where not all need to be."""


def check_task(make: MakeTask, *, skip: Collection[str] = ()) -> None:
    """Runs all of ``TASK_CHECKS``.

    Args:
        make: Reads or makes the task anew at each call.
        skip: Names of checks to leave out.

    Raises:
        ContractError: If a check fails; the message lists every one that does, and why.
        UsageError: If ``skip`` names no check, or ``make`` gives the same object twice.
    """
    check_all(TASK_CHECKS, make, (), skip)


def _parts(task: Task) -> dict[str, tuple[Inputs, torch.Tensor]]:
    from archsearch.task import Part

    return {part: task.part(part) for part in get_args(Part)}


def _some(task: Task) -> tuple[torch.Tensor, torch.Tensor]:
    inputs, targets = task.part("train")
    return inputs[:SOME], targets[:SOME]


def _perfect(task: Task, targets: torch.Tensor) -> torch.Tensor:
    """Outputs of a network that is right and sure."""
    from torch.nn import functional

    if task.classes == 1:
        return targets[:, None].clone()
    hot = 20.0 * functional.one_hot(targets, task.classes).float()
    return hot.movedim(-1, 1).contiguous() if targets.ndim == 3 else hot


def _as_outputs(task: Task, targets: torch.Tensor) -> torch.Tensor:
    """Targets as a batch has them: of tokens one stream."""
    return targets[None] if task.goal.order == "segments" else targets


def _digest(task: Task) -> list[object]:
    found: list[object] = []
    for part, (inputs, targets) in _parts(task).items():
        for values in (inputs[:], targets):
            found.append((part, hashlib.sha256(values.contiguous().numpy().tobytes()).hexdigest()))
    return found


@task_check
def parts_have_the_shapes_that_are_said(make: MakeTask) -> None:
    """Each part has as many inputs as targets, as ``size`` says, at least one; inputs have the shape that is said."""
    task = make()
    for part, (inputs, targets) in _parts(task).items():
        size = task.size(part)  # type: ignore[arg-type]
        expect(
            len(inputs) == len(targets) == size > 0,
            f"{part}: expected as many inputs as targets as size() says, got {len(inputs)}, {len(targets)} and {size}",
        )
        shape = tuple(inputs[:1].shape[1:]) or (1,)
        expect(shape == tuple(task.input_shape), f"{part}: inputs have the shape {shape}, not {task.input_shape}")


@task_check
def inputs_are_numbers(make: MakeTask) -> None:
    """Inputs are finite 32-bit floats, or the whole numbers of tokens below the number of classes."""
    import torch

    task = make()
    for part, (inputs, _) in _parts(task).items():
        values = inputs[:]
        if task.goal.order == "segments":
            fine = values.dtype == torch.int64 and 0 <= int(values.min()) <= int(values.max()) < task.classes
            expect(fine, f"{part}: expected tokens from 0 to {task.classes - 1}, of the type int64, got {values.dtype}")
            continue
        expect(values.dtype == torch.float32, f"{part}: expected 32-bit floats, got {values.dtype}")
        expect(bool(torch.isfinite(values).all()), f"{part}: there are inputs that are NaN or infinite")


@task_check
def targets_suit_the_classes(make: MakeTask) -> None:
    """Targets are whole numbers from 0 below the number of classes; where there is one, finite 32-bit floats."""
    import torch

    task = make()
    for part, (_, targets) in _parts(task).items():
        if task.classes == 1:
            fine = targets.dtype == torch.float32 and bool(torch.isfinite(targets).all())
            expect(fine, f"{part}: expected finite 32-bit floats as targets, got {targets.dtype}")
            continue
        fine = targets.dtype == torch.int64 and 0 <= int(targets.min()) <= int(targets.max()) < task.classes
        expect(fine, f"{part}: expected targets from 0 to {task.classes - 1}, of the type int64, got {targets.dtype}")


@task_check
def rows_are_picked_alike(make: MakeTask) -> None:
    """Picking rows by their numbers, or a slice of them, gives what is there; asking twice gives the same."""
    import torch

    inputs = make().part("train")[0]
    everything = inputs[:]
    numbers = torch.tensor([len(inputs) - 1, 0, len(inputs) // 2])
    for _ in range(2):
        expect(torch.equal(inputs[numbers], everything[numbers]), "rows that are picked by number are others")
        expect(torch.equal(inputs[1:3], everything[1:3]), "rows of a slice are others")


@task_check
def made_again_it_is_the_same(make: MakeTask) -> None:
    """Made a second time, the task has the same parts and the same fingerprint."""
    first, again = make(), make()
    expect(_digest(first) == _digest(again), "made again, it has other parts")
    expect(first.fingerprint == again.fingerprint, "made again, it has another fingerprint")


@task_check
def it_travels(make: MakeTask) -> None:
    """A pickled copy has the same parts and the same fingerprint."""
    task = make()
    task.part("train")
    copy = pickle.loads(pickle.dumps(task))
    expect(_digest(task) == _digest(copy), "a pickled copy has other parts")
    expect(task.fingerprint == copy.fingerprint, "a pickled copy has another fingerprint")


@task_check
def fingerprints_are_read_again(make: MakeTask) -> None:
    """The fingerprint is the name and 16 hexadecimal digits, since run folders note it."""
    task = make()
    fine = re.fullmatch(re.escape(task.name) + r" [0-9a-f]{16}", task.fingerprint)
    expect(fine is not None, f"expected the name and 16 hexadecimal digits, got {task.fingerprint!r}")


@task_check
def goal_says_what_it_is(make: MakeTask) -> None:
    """The goal names a kind of network, a metric, its direction, and an order of examples, all of them known ones."""
    goal = make().goal
    expect(goal.kind in EXAMPLE, f"kind: expected one of {', '.join(EXAMPLE)}, got {goal.kind!r}")
    expect(bool(re.fullmatch(r"[a-z][a-z0-9_]*", goal.metric)), f"metric: expected a plain name, got {goal.metric!r}")
    expect(isinstance(goal.higher_is_better, bool), f"higher_is_better: expected a bool, got {goal.higher_is_better!r}")
    expect(goal.order in ("shuffled", "segments"), f"order: expected shuffled or segments, got {goal.order!r}")


@task_check
def loss_has_a_gradient(make: MakeTask) -> None:
    """The loss of any outputs is one finite number whose gradient is finite; following it makes the loss smaller."""
    import torch

    task = make()
    targets = _as_outputs(task, _some(task)[1])
    drawn = torch.rand(_perfect(task, targets).shape, generator=torch.Generator().manual_seed(0))
    outputs = drawn.requires_grad_(True)
    loss = task.goal.loss(outputs, targets)
    expect(loss.ndim == 0 and math.isfinite(loss.item()), f"the loss is {loss}; expected one finite number")
    (gradient,) = torch.autograd.grad(loss, outputs)
    expect(bool(torch.isfinite(gradient).all()) and bool(gradient.abs().sum() > 0), "the loss has no finite gradient")
    after = task.goal.loss(outputs.detach() - 0.1 * gradient / gradient.norm(), targets)
    expect(after.item() < loss.item(), "a small step against the gradient makes the loss no smaller")


@task_check
def tallies_add_up(make: MakeTask) -> None:
    """Loss and metric of a part do not depend on how it is cut into batches; the loss is that of training."""
    import torch

    task = make()
    targets = _as_outputs(task, _some(task)[1])
    drawn = torch.rand(_perfect(task, targets).shape, generator=torch.Generator().manual_seed(1))
    dim = int(task.goal.order == "segments")
    whole = task.goal.judged(task.goal.tally(drawn, targets))
    cut = zip(torch.split(drawn, 7, dim), torch.split(targets, 7, dim), strict=True)
    added = task.goal.judged(torch.stack([task.goal.tally(*each) for each in cut]).sum(0))
    alike = all(math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-6) for one, other in zip(whole, added, strict=True))
    expect(alike, f"cut into batches, {whole} became {added}")
    loss = task.goal.loss(drawn, targets).item()
    expect(math.isclose(whole.loss, loss, rel_tol=1e-4, abs_tol=1e-6), f"tallied, a loss of {loss} is {whole.loss}")


@task_check
def better_outputs_score_higher(make: MakeTask) -> None:
    """Outputs that are right and sure have a lower loss, a better metric and a higher score than outputs at random."""
    import torch

    task, goal = make(), make().goal
    targets = _as_outputs(task, _some(task)[1])
    right = _perfect(task, targets)
    drawn = torch.randn(right.shape, generator=torch.Generator().manual_seed(2))
    best, other = (goal.judged(goal.tally(outputs, targets)) for outputs in (right, drawn))
    expect(best.loss < other.loss, f"right outputs have a loss of {best.loss}, outputs at random of {other.loss}")
    expect(best.score > other.score, f"right outputs score {best.score}, outputs at random {other.score}")
    better = best.metric > other.metric if goal.higher_is_better else best.metric < other.metric
    said = "higher" if goal.higher_is_better else "lower"
    expect(
        better, f"{goal.metric}: {said} is better, it is said; right outputs have {best.metric}, others {other.metric}"
    )


@task_check
def examples_are_divided(make: MakeTask) -> None:
    """``divide`` cuts training examples in two without loss, the same way each time; ``drawn`` orders them all."""
    import torch

    task = make()
    numbers = torch.arange(task.size("train"))
    count = max(1, len(numbers) // 3)
    drawn, rest = task.divide(numbers, count)
    expect(len(drawn) == count, f"divide: expected {count} examples, got {len(drawn)}")
    expect(sorted([*drawn.tolist(), *rest.tolist()]) == numbers.tolist(), "divide: examples are lost, or there twice")
    expect(torch.equal(drawn, task.divide(numbers, count)[0]), "divide: asked again, it draws others")
    orders = [task.drawn(10, np.random.default_rng(0)).tolist() for _ in range(2)]
    expect(sorted(orders[0]) == list(range(10)), f"drawn: expected the numbers 0 to 9, got {orders[0]}")
    expect(orders[0] == orders[1], "drawn: with the same generator the order is another")


@task_check
def it_is_described(make: MakeTask) -> None:
    """For a card it says what a network does, and how it is used; what is needed to use it is JSON."""
    does, use, facts = make().described
    expect(bool(does.strip()) and bool(use.strip()), "described: expected two texts that are not empty")
    json.dumps(dict(facts), allow_nan=False)


@task_check
def no_global_generators_in_tasks(make: MakeTask) -> None:
    """Neither making a task, nor reading, dividing or drawing from it touches a global generator."""
    import torch

    def run() -> list[object]:
        task = make()
        task.divide(torch.arange(task.size("train")), 2)
        return [*_digest(task), task.drawn(10, np.random.default_rng(0)).tolist()]

    expect_no_globals(run)
