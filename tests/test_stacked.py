"""Trainings of several seeds as one: what each computes, keeps and is given is what it would alone."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from archsearch.errors import TrainingDiverged
from archsearch.evaluators import Training
from archsearch.networks.network import Network
from archsearch.spaces import DARTS, MobileNet, NASBench101, NASBench201
from archsearch.stacked.side_by_side import SideBySide, standing_of
from archsearch.stacked.training import standing, train_together
from archsearch.training.meter import Meter
from archsearch.trial import Budget, Query

SMALL = {"task": "digits", "train_examples": 60, "epochs": 2, "batch_size": 16}
CELL = (3, 1, 2, 3, 4, 3)
SPACES = [
    (NASBench201(), {"channels": 2, "cells": 1}),
    (DARTS(auxiliary=True), {"channels": 2, "layers": 3}),  # concatenates channels
    (MobileNet(), {}),  # depthwise
]


AUGMENTED = {"augmentation": ["crop", "flip", "cutout"], "label_smoothing": 0.1}
ADAMW = {"optimizer": "adamw", "learning_rate": 1e-3}
CLIPPED = {"clip_norm": 0.1, "auxiliary_weight": 0.4, "learning_rate": 0.01}
UPDATES = [(0, AUGMENTED), (0, ADAMW), (0, CLIPPED), (1, CLIPPED), (2, AUGMENTED)]


def started(space=None, **settings):
    evaluator = Training(**{**SMALL, **settings})
    evaluator.start(space or NASBench201())
    return evaluator


def begun(evaluator, architecture, seeds=3):
    return [evaluator.trainer.begin(architecture, seed) for seed in range(seeds)]


def of_each(evaluator, runs, until, total, together):
    meter = Meter(evaluator.trainer.where)
    if together:
        how = standing(evaluator.trainer, runs)
        assert how == ("joined" if isinstance(evaluator.space, DARTS) else "plain")
        train_together(evaluator.trainer, runs, how, until, total, meter)
    else:
        for run in runs:
            evaluator.trainer.train(run, until, total, meter)
    return meter.cost()


@pytest.mark.parametrize(
    ("where", "settings"), UPDATES, ids=["augmented", "adamw", "clipped", "concatenated", "depthwise"]
)
def test_an_update_equals_that_of_separate_trainings(where, settings):
    space, skeleton = SPACES[where]
    evaluator = started(space, skeleton=skeleton, **settings)
    architecture = space.sample(np.random.default_rng(3))
    apart, together = begun(evaluator, architecture), begun(evaluator, architecture)
    costs = [of_each(evaluator, runs, 1, 8, runs is together) for runs in (apart, together)]
    adam = settings.get("optimizer") == "adamw"  # turns the rounding of vanishing gradients into whole steps
    for one, other in zip(apart, together, strict=True):
        values = other.network.state_dict()
        for name, value in one.network.state_dict().items():
            torch.testing.assert_close(values[name], value, rtol=1e-5, atol=2.1e-3 if adam else 1e-5)
        assert other.train_loss == pytest.approx(one.train_loss, rel=1e-5)
        assert torch.equal(one.generator.get_state(), other.generator.get_state())
        assert other.step == 1
    one, other = ((cost.examples, cost.updates, cost.flops) for cost in costs)
    assert one == other


def test_gradients_equal_those_of_separate_trainings():
    evaluator = started(skeleton={"channels": 4, "cells": 1})
    runs = begun(evaluator, CELL)
    stack = SideBySide([run.network for run in runs])
    images = [torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    for run, x in zip(runs, images, strict=True):
        run.network(x).square().sum().backward()
    inputs = stack.together(images)
    stack(lambda: stack.network(inputs)).square().sum().backward()
    pairs = [(whole, pieces) for whole, pieces in stack.weights() if whole.grad is not None]
    assert len(pairs) == len([p for p in runs[0].network.parameters() if p.grad is not None])
    for whole, pieces in pairs:
        alone = torch.cat([piece.grad for piece in pieces]).view(whole.shape)
        torch.testing.assert_close(whole.grad, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_training_that_goes_on_from_checkpoints_equals_one_that_never_stopped(tmp_path, optimizer):
    settings = {"optimizer": optimizer, "learning_rate": 0.01, "repeats": 3, "skeleton": {"channels": 2, "cells": 1}}
    evaluator = started(**settings)
    evaluator.folder = tmp_path
    evaluator.evaluate_query(Query(1, CELL, 5, budget=Budget(1)))
    assert len(list(tmp_path.glob("1-*.safetensors"))) == 3
    found = evaluator.evaluate_query(Query(2, CELL, 5, budget=Budget(2, 1, 1)))
    whole = started(**settings).evaluate_query(Query(1, CELL, 5))
    assert (found.score, found.curve, found.metrics) == (whole.score, whole.curve, whole.metrics)


def test_the_score_is_near_that_of_trainings_one_after_the_other():
    settings = {"repeats": 3, "train_examples": 120, "skeleton": {"channels": 4, "cells": 1}}
    one, other = (started(**settings, together=together).evaluate(CELL, 5) for together in (True, False))
    # Rounding grows from update to update: 4 of 100 points after 16 of them were seen.
    assert one.score == pytest.approx(other.score, abs=12)
    assert one.metrics["train_loss"] == pytest.approx(other.metrics["train_loss"], rel=0.05)
    assert one.cost.updates == other.cost.updates
    assert one.metrics.keys() == other.metrics.keys()
    assert one.metrics["score_deviation"] > 0


def test_what_is_handed_out_is_the_first_of_those_that_were_scored():
    evaluator = started(repeats=3, skeleton={"channels": 4, "cells": 1})
    runs = begun(evaluator, CELL, 1)
    query = Query(1, CELL, 5)
    trained = evaluator.trained(query)
    alone = started(skeleton={"channels": 4, "cells": 1}).evaluate(CELL, 5)
    assert trained.evaluation.score == pytest.approx(alone.score, abs=12)
    assert trained.network.architecture == runs[0].architecture


def test_what_cannot_stand_side_by_side_is_trained_one_after_the_other():
    settings = {"skeleton": {"channels": 4, "modules": 1}, "epochs": 1, "repeats": 2}
    space = NASBench101()
    cell = space.sample(np.random.default_rng(0))
    one, other = (started(space, **settings, together=together).evaluate(cell, 5) for together in (True, False))
    assert (one.score, one.metrics) == (other.score, other.metrics)


class Mixes(Network):
    """Looks across channels in a way of its own."""

    def __init__(self, how):
        super().__init__((0,))
        self.how = how
        self.first, self.norm, self.last = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 3)

    def forward(self, images, architecture=None):
        return self.last(self.how(self, self.norm(self.first(images))).mean((2, 3)))


class Scale(nn.Module):
    """A part with a value of its own."""

    def __init__(self):
        super().__init__()
        self.by = nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return self.by * x


def flipped(_network, x):
    return x.flip(1)


def softmax(_network, x):
    return x.softmax(1)


def slices(_network, x):
    return torch.cat([x[:, 2:], x[:, :2]], 1)


def shuffled(_network, x):
    return x.view(len(x), 2, 2, *x.shape[2:]).transpose(1, 2).flatten(1, 2)


def attended(_network, x):
    return x * x.mean((1, 2, 3), keepdim=True)


@pytest.mark.parametrize("how", [flipped, softmax, slices, shuffled, attended])
def test_a_network_that_mixes_channels_is_found_out(how):
    assert standing_of(Mixes(how), (1, 8, 8)) is None


def chunked(_network, x):
    first, second = x.chunk(2, 1)
    return torch.cat([second.relu(), *first.split(1, dim=1)], dim=1)


@pytest.mark.parametrize("how", [lambda _network, x: x.relu(), chunked])
def test_a_network_that_looks_at_channels_one_by_one_or_joins_them_is_not(how):
    assert standing_of(Mixes(how), (1, 8, 8))


def test_parts_with_values_of_their_own_and_dropout_are_refused():
    for part in (Scale(), nn.Dropout(0.5), nn.GroupNorm(2, 4)):
        network = Mixes(lambda network, x: network.part(x))
        network.part = part
        assert standing_of(network, (1, 8, 8)) is None


def test_it_changes_nothing_of_the_network_and_draws_no_random_numbers():
    evaluator = started(skeleton={"channels": 2, "cells": 1})
    (run,) = begun(evaluator, CELL, 1)
    before, state = copy.deepcopy(run.network.state_dict()), torch.random.get_rng_state()
    assert standing_of(run.network, (1, 8, 8))
    assert all(torch.equal(value, before[name]) for name, value in run.network.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_what_falls_out_at_random_is_each_trainings_own():
    evaluator = started(skeleton={"channels": 2, "cells": 1}, drop_path=0.2)
    assert not standing(evaluator.trainer, begun(evaluator, CELL))


def test_trainings_that_are_not_equally_far_are_not_joined():
    evaluator = started(skeleton={"channels": 2, "cells": 1})
    runs = begun(evaluator, CELL)
    runs[1].step = 3
    assert not standing(evaluator.trainer, runs)
    assert not standing(evaluator.trainer, runs[:1])


def test_one_that_diverges_ends_them_all():
    with pytest.raises(TrainingDiverged, match="a smaller learning_rate may help"):
        started(repeats=2, learning_rate=1e30, epochs=4, skeleton={"channels": 2, "cells": 1}).evaluate(CELL, 0)
