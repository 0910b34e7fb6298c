"""Means of a training: parts of a batch, bfloat16, several processes."""

import pytest
import torch
from torch import nn
from training_lab import CELL, same, started

from archsearch.errors import TrainingDiverged, UsageError
from archsearch.evaluators import Inherit, Training
from archsearch.spaces import DARTSCell, NASBench201
from archsearch.trial import Budget, Query

TOKENS = {"task": "grammar", "preset": "grammar", "train_examples": None, "skeleton": {"width": 4}}


class Without(NASBench201):
    """The networks of NAS-Bench-201 without batch normalisation."""

    def network(self, architecture, task, *, channels=None, cells=None):
        network = super().network(architecture, task, channels=channels, cells=cells)
        for module in network.modules():
            for name, child in module.named_children():
                if isinstance(child, nn.BatchNorm2d):
                    setattr(module, name, nn.Identity())
        return network


def weights_after(updates=8, **settings):
    """Weights and curve of a short training."""
    evaluator = started(Without(), learning_rate=0.01, **settings)
    trainer = evaluator.trainer
    with trainer.session() as meter:
        run = trainer.begin(CELL, 3)
        trainer.train(run, updates, 12, meter)
    return torch.cat([weight.detach().flatten() for weight in run.network.parameters()]), run, meter.cost()


@pytest.mark.parametrize("parts", [2, 3, 7, 15])
def test_an_accumulated_batch_equals_the_whole_one_without_batch_normalisation(parts):
    whole, whole_run, whole_cost = weights_after()
    accumulated, run, cost = weights_after(accumulate=parts)
    assert (accumulated - whole).abs().max() < 1e-6
    assert run.train_loss == pytest.approx(whole_run.train_loss, abs=1e-5)
    assert (cost.examples, cost.updates, cost.flops) == (whole_cost.examples, whole_cost.updates, whole_cost.flops)


def test_one_part_is_the_recipe_as_it_was():
    assert same(started(accumulate=1, precision="full").evaluate(CELL, 7), started().evaluate(CELL, 7))


def test_with_bf16_weights_stay_float32_and_scores_are_close():
    whole, whole_run, _ = weights_after()
    half, run, _ = weights_after(precision="bf16")
    assert half.dtype == torch.float32
    assert 0 < (half - whole).abs().max() < 0.02
    assert run.valid_loss == pytest.approx(whole_run.valid_loss, rel=0.02)
    first, second = (started(precision="bf16").evaluate(CELL, 7) for _ in range(2))
    assert same(first, second)


@pytest.mark.parametrize(
    ("space", "settings", "message"),
    [
        (NASBench201(), {"accumulate": 0}, "accumulate: expected a whole number >= 1, got 0"),
        (NASBench201(), {"accumulate": 17}, "accumulate: a batch of 15 images cannot be computed in 17 parts"),
        (NASBench201(), {"precision": "half"}, "precision: expected full or bf16, got 'half'"),
        (
            DARTSCell(),
            {**TOKENS, "accumulate": 2},
            "accumulate: expected none, since task grammar is for next-token prediction, got 2",
        ),
        (
            DARTSCell(),
            {**TOKENS, "precision": "bf16"},
            "precision: expected none, since task grammar is for next-token prediction",
        ),
    ],
)
def test_what_cannot_be_is_refused(space, settings, message):
    with pytest.raises(UsageError, match=message):
        started(space, **settings)


# -- several processes -----------------------------------------------------------------------------


def evaluated(folder=None, budget=None, number=0, **settings):
    evaluator = started(Without(), **{"learning_rate": 0.01, "train_examples": 63, **settings})
    evaluator.folder = folder
    return evaluator.evaluate_query(Query(number, CELL, 3, budget=budget))


def test_two_processes_equal_one_with_the_same_batches():
    """63 images in 4 batches: shares of a batch are of unequal size."""
    whole, together = evaluated(), evaluated(processes=2, accumulate=2)
    assert (together.score, together.curve) == (whole.score, whole.curve)
    assert together.metrics == pytest.approx(whole.metrics, abs=1e-5)
    assert (together.cost.examples, together.cost.updates) == (whole.cost.examples, whole.cost.updates)


@pytest.mark.slow
def test_two_processes_stop_and_go_on(tmp_path):
    whole = evaluated()
    first = evaluated(tmp_path, Budget(2), processes=2, accumulate=2)
    second = evaluated(tmp_path, Budget(3, 2, 0), number=1, processes=2)
    assert (second.score, second.curve) == (whole.score, whole.curve)
    assert first.curve == whole.curve[:2]
    assert second.metrics == pytest.approx(whole.metrics, abs=1e-5)
    assert first.cost.examples + second.cost.examples == whole.cost.examples
    assert first.cost.updates + second.cost.updates == whole.cost.updates


@pytest.mark.slow
def test_what_a_process_raises_is_raised():
    with pytest.raises(TrainingDiverged, match="the loss is"):
        evaluated(processes=2, learning_rate=1e30)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"processes": 0}, "processes: expected a whole number >= 1, got 0"),
        ({"processes": 16}, "processes: a batch of 15 images cannot be computed in 16 parts"),
        ({"processes": 2, "drop_path": 0.1}, "drop_path: expected none with several processes, got 0.1"),
    ],
)
def test_processes_that_cannot_be_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        evaluated(**settings)


def test_evaluators_that_train_in_a_way_of_their_own_have_one_process():
    with pytest.raises(UsageError, match="Inherit: processes: only Training itself trains in several processes"):
        Inherit(training=Training("digits", processes=2))
