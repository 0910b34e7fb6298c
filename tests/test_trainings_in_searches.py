"""Trainings with budgets and checkpoints, and in searches."""

import contextlib

import numpy as np
import pytest
import torch
from training_lab import CELL, SMALL, SPACE, same, started

from archsearch import resume, search
from archsearch.controllers import RandomSearch, RegularizedEvolution, SuccessiveHalving
from archsearch.errors import (
    MissingAbility,
    TrainingDiverged,
    UnknownName,
    UsageError,
)
from archsearch.evaluators import Inherit, Training
from archsearch.spaces import Choices, NASBench101, NASBench201
from archsearch.task import ImageTask, load_task
from archsearch.trial import Budget, Query

# -- budgets and checkpoints ---------------------------------------------------------------------


def stages(evaluator, stops, seed=7, repeats=1):
    """Evaluates one architecture in stages; the first trial is number 10."""
    results, start = [], 0
    for i, stop in enumerate(stops):
        budget = Budget(stop, start, None if i == 0 else 10)
        results.append(evaluator.evaluate_query(Query(10 + i, CELL, seed, budget=budget)))
        start = stop
    return results


@pytest.mark.parametrize(
    "settings",
    [{}, {"optimizer": "adamw", "learning_rate": 0.01}, {"repeats": 2}, {"augmentation": ["crop"]}, {"warm_up": 2}],
)
def test_a_continued_training_equals_an_uninterrupted_one(tmp_path, settings):
    evaluator, whole = started(**settings), started(**settings)
    evaluator.folder = tmp_path
    first, second, third = stages(evaluator, (1, 2, 3))
    full = whole.evaluate(CELL, 7)
    assert same(third, full)
    assert (first.curve, second.curve) == (full.curve[:1], full.curve[:2])
    added = first.cost.examples, second.cost.examples, third.cost.examples
    assert added == (full.cost.examples / 3,) * 3
    assert sum(x.cost.updates for x in (first, second, third)) == full.cost.updates


@pytest.mark.parametrize("fault", ["gone", "cut", "garbage", "another architecture"])
def test_without_its_checkpoint_a_training_begins_anew_and_bills_it(tmp_path, fault):
    evaluator = started()
    evaluator.folder = tmp_path
    stages(evaluator, (1,))
    (checkpoint,) = tmp_path.iterdir()
    if fault == "gone":
        checkpoint.unlink()
    elif fault == "cut":
        checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    elif fault == "garbage":
        checkpoint.write_bytes(b"\x08" + b"no tensors")
    else:
        other = evaluator.trainer.begin((1,) * 6, 0)
        evaluator.trainer.checkpoints.save(other, 10, "0-1")
    damaged = fault in ("cut", "garbage")
    with pytest.warns(match="10-0-1.safetensors is damaged") if damaged else contextlib.nullcontext():
        again = evaluator.evaluate_query(Query(11, CELL, 7, budget=Budget(3, 1, 10)))
    full = started().evaluate(CELL, 7)
    assert same(again, full)
    assert again.cost.examples == full.cost.examples


def test_a_checkpoint_of_another_user_can_be_read(tmp_path, monkeypatch):
    evaluator = started()
    evaluator.folder = tmp_path
    stages(evaluator, (1,))

    def refuse(path):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.utime", refuse)
    _, facts = evaluator.trainer.checkpoints.read(10, "0-1")
    assert facts["step"] == 4


def test_the_last_update_may_diverge_too():
    with pytest.raises(TrainingDiverged, match="after 1 updates"):
        started(learning_rate=1e30, epochs=1, train_examples=10).evaluate(CELL, 0)


def test_settings_given_to_the_space_win_over_a_preset():
    plain, own = NASBench201(), NASBench201(channels=3)
    made = {}
    for name, space in (("plain", plain), ("own", own)):
        evaluator = Training("digits")
        evaluator.start(space)
        made[name] = evaluator.trainer.network(CELL).stem[0].out_channels, len(evaluator.trainer.network(CELL).layers)
    assert made == {"plain": (8, 5), "own": (3, 5)}
    evaluator = Training("digits", skeleton={"channels": 6})
    evaluator.start(own)
    assert evaluator.trainer.network(CELL).stem[0].out_channels == 6


def test_only_so_many_checkpoints_are_kept_and_full_trainings_leave_none(tmp_path):
    evaluator = started(keep=3, train_examples=16)
    evaluator.folder = tmp_path
    for i in range(6):
        evaluator.evaluate_query(Query(i, CELL, i, budget=Budget(1)))
    assert {path.name for path in tmp_path.iterdir()} == {f"{i}-0-1.safetensors" for i in (3, 4, 5)}
    evaluator.evaluate_query(Query(6, CELL, 0))
    evaluator.evaluate_query(Query(7, CELL, 0, budget=Budget(3)))
    assert len(list(tmp_path.iterdir())) == 3
    # What was read last stays: trial 3 goes on, and leaves a second checkpoint.
    evaluator.evaluate_query(Query(8, CELL, 3, budget=Budget(2, 1, 3)))
    assert {path.name for path in tmp_path.iterdir()} == {"3-0-1.safetensors", "3-0-2.safetensors", "5-0-1.safetensors"}


def test_few_checkpoints_are_left_however_many_trainings_go_on(tmp_path):
    training = Training(**{**SMALL, "keep": 5})
    search(SPACE, SuccessiveHalving(max_budget=3), training, trials=40, seed=0, out=tmp_path / "run")
    assert len(list((tmp_path / "run" / "evaluator").glob("*.safetensors"))) == 5
    assert training.folder is None


class OneFounder(NASBench201):
    """Every random cell is the same one."""

    def sample(self, rng, over="decisions"):
        return CELL


def test_children_of_what_was_answered_from_memory_inherit_from_the_trial_that_was_evaluated(tmp_path):
    evolution = RegularizedEvolution(population_size=3, tournament_size=1)
    heirs = Inherit(training=Training(**SMALL), steps=1)
    search(OneFounder(), evolution, heirs, trials=3, seed=0, duplicates="reuse", out=tmp_path / "run")
    trials = list(resume(tmp_path / "run", space=OneFounder(), trials=6).history)
    assert [trial.id for trial in trials[:2]] == [0, 3], "the proposals 1 and 2 were answered from memory"
    assert {trial.parent for trial in trials[1:]} <= {trial.id for trial in trials}
    assert all(trial.metrics["inherited"] > 0 for trial in trials[1:])


def test_budgets_longer_than_the_training_are_refused():
    started().check_budgets((1, 3))
    with pytest.raises(UsageError, match="a budget of 9 epochs is longer than a full training of 3"):
        started().check_budgets((1, 3, 9))


def test_fewer_examples_are_of_every_class_even_if_the_images_are_sorted():
    images, labels = load_task("digits").part("train")
    order = np.argsort(labels.numpy(), kind="stable")
    part = images[order, 0].numpy(), labels.numpy()[order]
    evaluator = started(task=ImageTask(part, part, part), train_examples=40)
    assert np.bincount(part[1][evaluator.trainer.chosen]).tolist() == [4] * 10


# -- as part of a search -------------------------------------------------------------------------


def test_a_search_resumes_with_all_that_was_kept(tmp_path):
    controller = RegularizedEvolution(population_size=3, tournament_size=2)
    whole = search(SPACE, controller, Training(**SMALL), trials=6, seed=1, out=tmp_path / "whole")
    search(SPACE, controller, Training(**SMALL), trials=3, seed=1, out=tmp_path / "cut")
    rest = resume(tmp_path / "cut", trials=6)
    for one, two in zip(whole.history, rest.history, strict=True):
        assert (one.architecture, one.score, one.metrics) == (two.architecture, two.score, two.metrics)
        assert one.evaluation.curve == two.evaluation.curve
    table = whole.history.table()
    assert [len(curve) for curve in table["curve"].to_pylist()] == [3] * 6


@pytest.mark.slow
def test_workers_do_not_change_results():
    results = [
        search(SPACE, RandomSearch(), Training(**SMALL), trials=4, seed=3, executor=executor, workers=workers)
        for executor, workers in (("local", 1), ("ray", 2))
    ]
    paths = [sorted((t.id, t.architecture, t.score, t.metrics["valid_loss"]) for t in r.history) for r in results]
    assert paths[0] == paths[1]


def test_a_task_of_ones_own_is_known_again(tmp_path):
    images, labels = load_task("digits").part("train")
    parts = [(images[i : i + 60, 0].numpy(), labels[i : i + 60].numpy()) for i in (0, 60, 120)]
    mine, other = ImageTask(*parts, name="mine"), ImageTask(*parts[::-1], name="mine")
    search(SPACE, RandomSearch(), Training(**{**SMALL, "task": mine}), trials=1, seed=0, out=tmp_path / "run")
    with pytest.raises(UnknownName, match=r"hand the evaluator to archsearch\.resume"):
        resume(tmp_path / "run", trials=2)
    with pytest.raises(UsageError, match="evaluator differs"):
        resume(tmp_path / "run", evaluator=Training(**{**SMALL, "task": other}), trials=2)
    assert resume(tmp_path / "run", evaluator=Training(**{**SMALL, "task": mine}), trials=2).completed == 2


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"preset": "cifar"}, UsageError, "preset: expected one of digits, digits_thin"),
        ({"epochs": 0}, UsageError, "epochs: expected a whole number >= 1, got 0"),
        ({"batch_size": 2.5}, UsageError, "batch_size: expected a whole number"),
        ({"warm_up": -1}, UsageError, "warm_up: expected a whole number >= 0, got -1"),
        ({"warm_up": 0.5}, UsageError, "warm_up: expected a whole number >= 0, got 0.5"),
        ({"momentum": 1.0}, UsageError, "momentum: expected a number, 0 <= momentum < 1.0"),
        ({"learning_rate": 0.0}, UsageError, "learning_rate: expected a number, 0 < learning_rate < inf"),
        ({"weight_decay": -1.0}, UsageError, "weight_decay: expected a number, 0 <= weight_decay < inf"),
        ({"optimizer": "lion"}, UsageError, "optimizer: expected sgd or adamw, got 'lion'"),
        ({"augmentation": ["blur"]}, UsageError, "expected any of crop, flip, cutout, got 'blur'"),
        ({"skeleton": {"channels": 0}}, UsageError, "skeleton.channels: expected a whole number >= 1"),
        (
            {"skeleton": {"width": 3}},
            UsageError,
            "NASBench201 have no setting 'width'; expected any of channels, cells",
        ),
        ({"train_examples": 5000}, UsageError, "train_examples: expected at most 899"),
        ({"task": "digit"}, UnknownName, "no task is called 'digit'"),
        ({"train_examples": 0}, UsageError, "train_examples: expected a whole number >= 1, got 0"),
        ({"momentum": "0.9"}, UsageError, "momentum: expected a number, 0 <= momentum < 1.0, got '0.9'"),
        ({"task": 3}, UsageError, "task: expected a name, a path or a Task, got 3"),
        ({"device": "abacus"}, UsageError, "device: expected auto or a device of PyTorch such as cpu or cuda:0"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_written(settings, error, message, tmp_path):
    with pytest.raises(error) as caught:
        search(SPACE, RandomSearch(), Training(**{**SMALL, **settings}), trials=1, out=tmp_path / "run")
    assert message in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_skeleton_that_does_not_suit_the_space_shows_before_the_search(tmp_path):
    with pytest.raises(UsageError, match="channels: expected at least 4"):
        search(NASBench101(), RandomSearch(), Training(skeleton={"channels": 1}), trials=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_named():
    with pytest.raises(UsageError, match="there is no CUDA device here; use auto or cpu"):
        started(device="cuda").evaluate(CELL, 0)


def test_changed_data_is_noticed_on_resume(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images, labels = load_task("digits").part("train")
    for n in (200, 300):
        np.savez("mine.npz", images=images[:n, 0].numpy(), labels=labels[:n].numpy())
        settings = {**SMALL, "task": "mine.npz"}
        if n == 200:
            search(SPACE, RandomSearch(), Training(**settings), trials=1, seed=0, out="run")
            monkeypatch.chdir("/")  # the run remembers where its data lie
            assert resume(tmp_path / "run", trials=2).completed == 2
            monkeypatch.chdir(tmp_path)
            load_task.__globals__["_load"].cache_clear()
    with pytest.raises(UsageError, match=r"the data of .*mine.npz changed since this run began"):
        resume("run", trials=3)


def test_spaces_without_networks_are_refused():
    with pytest.raises(MissingAbility, match="Training trains networks, which Choices does not build"):
        started(Choices({"a": [1, 2]}))
