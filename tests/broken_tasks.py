"""Deliberately wrong tasks, as ``broken.py`` says."""

from __future__ import annotations

import itertools
import random

import numpy as np
import torch
from broken import case

from archsearch.task import TableTask
from archsearch.task.goal import Classification, Regression


def parts():
    rng = np.random.default_rng(0)
    return [(rng.random((n, 3)), np.arange(n) % 3) for n in (60, 30, 20)]


class Right(TableTask):
    def __init__(self, *more) -> None:
        super().__init__(*(more or parts()), predicts="class", name="right")


def number():
    return TableTask(*[(rows, rows @ [1.0, 2.0, 3.0]) for rows, _ in parts()], predicts="number", name="right")


class WrongShape(Right):
    def __init__(self) -> None:
        super().__init__()
        self.input_shape = (4,)


class Double(Right):
    def _inputs(self, inputs, device):
        return super()._inputs(inputs, device).double()


class ShortLabels(Right):
    def part(self, part, device="cpu"):
        inputs, targets = super().part(part, device)
        return inputs, targets.to(torch.int32)


class Shifting:
    """Rows that are others when they are picked one by one."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, numbers):
        return self.rows[numbers] if isinstance(numbers, slice) else self.rows[numbers] + 1


class PicksOthers(Right):
    def _inputs(self, inputs, device):
        return Shifting(super()._inputs(inputs, device))


count = itertools.count()


class NewEachTime(Right):
    def __init__(self) -> None:
        (rows, labels), *others = parts()
        super().__init__((rows + next(count), labels), *others)


class LosesOnTheWay(Right):
    def __getstate__(self):
        state = super().__getstate__()
        arrays = {part: (rows[::-1].copy(), targets) for part, (rows, targets) in self._arrays.items()}
        return {**state, "_arrays": arrays}


class UnreadableFingerprint(Right):
    fingerprint = "right, version 2"


class UnknownKind(Right):
    def __init__(self) -> None:
        super().__init__()
        self.goal = Classification("fortune telling")


class FlatLoss(Classification):
    def loss(self, outputs, targets, smoothing=0.0):
        return super().loss(outputs, targets) * 0 + super().loss(outputs, targets).detach()


class Flat(Right):
    def __init__(self) -> None:
        super().__init__()
        self.goal = FlatLoss("prediction from tables")


class MeanOfMeans(Classification):
    def tally(self, outputs, targets):
        tally = super().tally(outputs, targets)
        return torch.tensor([1.0, *(tally[1:] / tally[0]).tolist()], dtype=torch.float64)


class Averages(Right):
    def __init__(self) -> None:
        super().__init__()
        self.goal = MeanOfMeans("prediction from tables")


class Upside(Regression):
    higher_is_better = False
    metric = "r2"


class UpsideDown(TableTask):
    def __init__(self) -> None:
        super().__init__(*[(rows, rows @ [1.0, 2.0, 3.0]) for rows, _ in parts()], predicts="number", name="right")
        self.goal = Upside()


class Loses(Right):
    def divide(self, numbers, count):
        return numbers[:count], numbers[count + 1 :]


class Speechless(Right):
    described = ("it tells classes apart", "", {})


class Global(Right):
    def __init__(self) -> None:
        super().__init__()
        random.random()


TASKS = [
    case("parts_have_the_shapes_that_are_said", WrongShape),
    case("inputs_are_numbers", Double),
    case(
        "targets_suit_the_classes",
        ShortLabels,
        "loss_has_a_gradient",
        "tallies_add_up",
        "better_outputs_score_higher",
    ),
    case("rows_are_picked_alike", PicksOthers),
    case("made_again_it_is_the_same", NewEachTime, "no_global_generators_in_tasks"),
    case("it_travels", LosesOnTheWay),
    case("fingerprints_are_read_again", UnreadableFingerprint),
    case("goal_says_what_it_is", UnknownKind),
    case("loss_has_a_gradient", Flat),
    case("tallies_add_up", Averages),
    case("better_outputs_score_higher", UpsideDown),
    case("examples_are_divided", Loses),
    case("it_is_described", Speechless),
    case("no_global_generators_in_tasks", Global),
]
