"""Training: against a plain PyTorch loop, budgets and checkpoints, cost, failures."""

import contextlib
import copy
import json
import math
import random
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch.nn import functional

from archsearch import cli, resume, search
from archsearch.controllers import RandomSearch, RegularizedEvolution, SuccessiveHalving
from archsearch.errors import (
    InvalidArchitecture,
    MissingAbility,
    TooManyFailures,
    TrainingDiverged,
    UnknownName,
    UsageError,
)
from archsearch.evaluators import Inherit, Training
from archsearch.history import RunFolder
from archsearch.network import multiply_adds
from archsearch.spaces import DARTS, Choices, MobileNet, NASBench101, NASBench201
from archsearch.task import Task, load_task, split
from archsearch.training.recipe import PRESETS
from archsearch.trial import Budget, Query

SPACE = NASBench201()
CELL = (3, 1, 2, 3, 4, 3)
SMALL = {"task": "digits", "train_examples": 60, "epochs": 3, "batch_size": 16, "skeleton": {"channels": 2, "cells": 1}}
UPDATES = 3 * 4


def started(space=SPACE, **settings):
    evaluator = Training(**{**SMALL, **settings})
    evaluator.start(space)
    return evaluator


def same(first, second):
    """Whether two evaluations agree in everything but the time."""
    return (first.score, first.metrics, first.curve) == (second.score, second.metrics, second.curve)


# -- the training itself -------------------------------------------------------------------------


def plain_loop(network, order, task, recipe, optimizer):
    """What anyone would write, with PyTorch's own schedule."""
    images, labels = task.part("train")
    chosen = torch.from_numpy(split(np.arange(len(labels)), labels.numpy(), recipe.train_examples)[0][0])
    per_epoch = math.ceil(recipe.train_examples / recipe.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs * per_epoch)
    network.train()
    for _ in range(recipe.epochs):
        for batch in torch.tensor_split(chosen[torch.randperm(len(chosen), generator=order)], per_epoch):
            loss = functional.cross_entropy(
                network(images[batch]), labels[batch], label_smoothing=recipe.label_smoothing
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    network.eval()
    images, labels = task.part("valid")
    with torch.no_grad():
        return 100 * float((network(images).argmax(1) == labels).double().mean())


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_equals_a_plain_loop(optimizer):
    evaluator = started(optimizer=optimizer, label_smoothing=0.1, learning_rate=0.02)
    recipe = evaluator.recipe
    run = evaluator.trainer.begin(CELL, 5)
    twin, order = copy.deepcopy(run.network), torch.Generator()
    order.set_state(run.generator.get_state())
    with evaluator.trainer.session() as meter:
        evaluator.trainer.train(run, UPDATES, UPDATES, meter)
    if optimizer == "sgd":
        reference = torch.optim.SGD(
            twin.parameters(), recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=True
        )
    else:
        # Fused: Adam turns the rounding of vanishing gradients into whole steps, so it must be rounded alike.
        reference = torch.optim.AdamW(
            twin.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
        )
    accuracy = plain_loop(twin, order, load_task("digits"), recipe, reference)
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(run.network.state_dict()[name], value, rtol=1e-4, atol=1e-5)
    assert run.curve[-1] == pytest.approx(accuracy, abs=0.3)
    assert evaluator.evaluate(CELL, 5).score == run.curve[-1]


def test_learns_to_read_digits():
    found = started(train_examples=300, epochs=6, skeleton={"channels": 4}).evaluate(CELL, 0)
    # 10 % is chance; 85 to 95 % over ten seeds.
    assert found.score > 70
    assert found.metrics["test_accuracy"] > 70
    assert found.curve[-1] == found.score > found.curve[0]


def test_cost_counts_every_example_update_and_operation():
    evaluator = started()
    found = evaluator.evaluate(CELL, 0)
    task = load_task("digits")
    macs = multiply_adds(evaluator.trainer.network(CELL), (1, 8, 8))
    forwards = 3 * task.size("valid") + task.size("test")
    assert found.cost.examples == 3 * 60
    assert found.cost.updates == UPDATES
    assert found.cost.flops == 2 * macs * (3 * 180 + forwards)
    assert found.cost.device_seconds > 0
    assert found.metrics["flops"] == macs
    assert found.metrics["params"] == sum(p.numel() for p in evaluator.trainer.network(CELL).parameters())
    assert len(found.curve) == 3


def test_repeats_average_and_the_first_is_the_single_one():
    single, three = started().evaluate(CELL, 4), started(repeats=3).evaluate(CELL, 4)
    assert three.cost.examples == 3 * single.cost.examples
    assert three.metrics["score_deviation"] > 0
    two = started(repeats=2).evaluate(CELL, 4)
    assert two.curve != single.curve
    spread = two.metrics["score_deviation"] / math.sqrt(2)  # of two values: half their difference
    assert abs(two.score - single.score) == pytest.approx(spread)


def test_drop_path_rises_and_the_auxiliary_head_learns():
    space = DARTS(auxiliary=True)
    evaluator = started(space, drop_path=0.4, auxiliary_weight=0.4, skeleton={"channels": 2, "layers": 3})
    genotype = space.sample(np.random.default_rng(0))
    run = evaluator.trainer.begin(genotype, 0)
    before = {name: value.clone() for name, value in run.network.named_parameters() if "auxiliary" in name}
    assert before
    seen = []
    cell = run.network.cells[0]
    cell.register_forward_pre_hook(lambda cell, _: seen.append(run.network.drop_path) if cell.training else None)
    with evaluator.trainer.session() as meter:
        evaluator.trainer.train(run, UPDATES, UPDATES, meter)
    assert sorted(set(seen)) == pytest.approx([0, 0.4 / 3, 0.8 / 3])
    after = dict(run.network.named_parameters())
    assert all(not torch.equal(value, after[name]) for name, value in before.items())
    without = started(space, skeleton={"channels": 2, "layers": 3})
    run = without.trainer.begin(genotype, 0)
    with without.trainer.session() as meter:
        without.trainer.train(run, UPDATES, UPDATES, meter)
    assert all(value.grad is None for name, value in run.network.named_parameters() if "auxiliary" in name)


def test_clipping_bounds_the_gradient():
    evaluator = started(clip_norm=1e-3, momentum=0.0, weight_decay=0.0, learning_rate=1.0)
    run = evaluator.trainer.begin(CELL, 0)
    before = torch.cat([p.detach().flatten() for p in run.network.parameters()])
    with evaluator.trainer.session() as meter:
        evaluator.trainer.train(run, 1, UPDATES, meter)
    after = torch.cat([p.detach().flatten() for p in run.network.parameters()])
    assert float((after - before).norm()) == pytest.approx(1e-3, rel=0.02)


@pytest.mark.parametrize("warm_up", [0, 1, 2, 5])
def test_warm_up_is_a_linear_rise_before_the_cosine(warm_up):
    evaluator = started(warm_up=warm_up, learning_rate=0.3)
    run, rates = evaluator.trainer.begin(CELL, 0), []
    step = run.optimizer.step
    run.optimizer.step = lambda: (rates.append(run.optimizer.param_groups[0]["lr"]), step())
    with evaluator.trainer.session() as meter:
        for until in (2, 4, UPDATES):  # where it stops makes no difference
            evaluator.trainer.train(run, until, UPDATES, meter)
    rising = min(4 * warm_up, UPDATES)
    rise = [0.3 * ((i + 1) / rising) for i in range(rising)]
    fall = [0.3 * ((1 + math.cos(math.pi * i / (UPDATES - rising))) / 2) for i in range(UPDATES - rising)]
    assert rates == rise + fall
    assert max(rates) == 0.3


def moved(run, before):
    """What became of each parameter."""
    return {name: value.detach() - before[name] for name, value in run.network.named_parameters()}


def values_of(run):
    return {name: value.detach().clone() for name, value in run.network.named_parameters()}


ONE, OTHER, BOTH = [(3, 1, 2, 3, 4, 3)], [(2, 2, 3, 0, 1, 2)], [(1, 1, 1, 1, 1, 1), (3, 3, 3, 3, 3, 3)]
SEVERAL = [ONE, OTHER, ONE, BOTH, OTHER, ONE, BOTH, BOTH, OTHER, ONE, ONE, OTHER]


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_a_super_network_is_trained_as_by_a_plain_loop(momentum):
    evaluator = started(weight_decay=0.05, clip_norm=2.0, momentum=momentum)
    run = evaluator.trainer.begin(None, 5)
    twin, order, paths = copy.deepcopy(run.network), torch.Generator(), iter(SEVERAL)
    order.set_state(run.generator.get_state())
    assert run.optimizer.defaults["fused"]
    with evaluator.trainer.session() as meter:
        evaluator.trainer.train(run, UPDATES, UPDATES, meter, paths=lambda progress: next(paths))
    plain = torch.optim.SGD(
        twin.parameters(), 0.1, momentum, weight_decay=0.05, nesterov=momentum > 0, fused=False, foreach=False
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(plain, UPDATES)
    images, labels = load_task("digits").part("train")
    batches = []
    for _ in range(3):
        shuffled = evaluator.trainer.chosen[torch.randperm(60, generator=order)]
        batches += torch.tensor_split(shuffled, 4)
    twin.train()
    for batch, together in zip(batches, SEVERAL, strict=True):
        plain.zero_grad(set_to_none=True)
        for path in together:
            functional.cross_entropy(twin(images[batch], path), labels[batch]).backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), 2.0)
        plain.step()
        schedule.step()
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(run.network.state_dict()[name], value, rtol=1e-5, atol=1e-6, msg=name)


def test_adamw_with_gradients_of_the_paths_alone_is_the_plain_one():
    """Given the same gradients: Adam turns the rounding of vanishing ones into whole steps."""
    evaluator = started(optimizer="adamw", weight_decay=0.05, learning_rate=0.01)
    run, paths = evaluator.trainer.begin(None, 5), iter(SEVERAL)
    assert run.optimizer.defaults["fused"]
    twin = copy.deepcopy(run.network)
    plain = torch.optim.AdamW(twin.parameters(), 0.01, weight_decay=0.05, fused=False, foreach=False)
    step = run.optimizer.step

    def both_step():
        for weight, other in zip(run.network.parameters(), twin.parameters(), strict=True):
            other.grad = None if weight.grad is None else weight.grad.clone()
        plain.param_groups[0]["lr"] = run.optimizer.param_groups[0]["lr"]
        plain.step()
        step()

    run.optimizer.step = both_step
    with evaluator.trainer.session() as meter:
        evaluator.trainer.train(run, UPDATES, UPDATES, meter, paths=lambda progress: next(paths))
    for (name, value), weight in zip(twin.named_parameters(), run.network.parameters(), strict=True):
        torch.testing.assert_close(weight, value, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_what_is_not_on_the_path_stays_as_it_is_bit_by_bit(optimizer):
    evaluator = started(optimizer=optimizer, weight_decay=0.1)
    run = evaluator.trainer.begin(None, 1)
    with evaluator.trainer.session() as meter:
        evaluator.trainer.train(run, 4, UPDATES, meter, paths=lambda progress: ONE)  # now all of these have a momentum
        before, states = values_of(run), copy.deepcopy(run.optimizer.state_dict()["state"])
        evaluator.trainer.train(run, UPDATES, UPDATES, meter, paths=lambda progress: OTHER)
    names = [name for name, _ in run.network.named_parameters()]
    own = {name for name, _ in evaluator.trainer.network(OTHER[0]).named_parameters()}
    first = {name for name, _ in evaluator.trainer.network(ONE[0]).named_parameters()}
    assert first - own, "some had been trained before, and are not on the second path"
    assert {name for name, change in moved(run, before).items() if change.any()} == own
    after = run.optimizer.state_dict()["state"]
    for i, name in enumerate(names):
        if name not in own:
            assert states.keys() & {i} == after.keys() & {i}
            assert all(torch.equal(states[i][key], after[i][key]) for key in states.get(i, ()))


def test_clipping_a_super_network_counts_the_path_alone():
    evaluator = started(clip_norm=1e-3, momentum=0.0, weight_decay=0.0, learning_rate=1.0)
    run = evaluator.trainer.begin(None, 0)
    with evaluator.trainer.session() as meter:
        evaluator.trainer.train(run, 1, 1000, meter, paths=lambda progress: BOTH)
        before = values_of(run)
        evaluator.trainer.train(run, 2, 1000, meter, paths=lambda progress: OTHER)
    own = {name for name, _ in evaluator.trainer.network(OTHER[0]).named_parameters()}
    change = moved(run, before)
    assert {name for name, value in change.items() if value.any()} <= own
    assert float(torch.cat([value.flatten() for value in change.values()]).norm()) == pytest.approx(1e-3, rel=0.02)


def test_measuring_is_what_an_evaluation_reports():
    evaluator = started(space := MobileNet(), skeleton={"channels": 4})
    architecture = space.sample(np.random.default_rng(0))
    figures = evaluator.measure(architecture)
    network = evaluator.trainer.network(architecture)
    assert figures == {
        "params": sum(p.numel() for p in network.parameters()),
        "flops": multiply_adds(network, (1, 8, 8)),
    }
    assert figures.items() <= evaluator.evaluate(architecture, 0).metrics.items()
    with pytest.raises(InvalidArchitecture):
        evaluator.measure((*architecture, 0))


def test_augmentation_is_the_tasks_or_the_recipes():
    images, labels = load_task("digits").part("train")
    parts = [(images[:60, 0].numpy(), labels[:60].numpy())] * 3
    plain, flipped = Task(*parts), Task(*parts, augmentation=["flip"])
    results = [
        started(task=task, augmentation=names).evaluate(CELL, 0).score
        for task, names in ((plain, None), (flipped, []), (flipped, None), (plain, ["flip"]))
    ]
    losses = [
        started(task=task, augmentation=names).evaluate(CELL, 0).metrics["train_loss"]
        for task, names in ((plain, None), (flipped, []), (flipped, None), (plain, ["flip"]))
    ]
    assert losses[0] == losses[1] != losses[2] == losses[3]
    assert results[0] == results[1]


def test_threads_are_given_back_and_latency_is_measured_on_request():
    before = torch.get_num_threads()
    found = started(threads=2, latency=True, epochs=1, train_examples=16).evaluate(CELL, 0)
    assert torch.get_num_threads() == before
    assert 0 < found.metrics["latency_seconds"] < 5


def test_divergence_ends_the_training_at_once_and_fails_the_trial():
    evaluator = started(learning_rate=1e30, epochs=50)
    with pytest.raises(TrainingDiverged, match=r"the loss is (nan|inf) after [0-9]+ updates"):
        evaluator.evaluate(CELL, 0)
    with pytest.raises(TooManyFailures, match="TrainingDiverged"):
        search(SPACE, RandomSearch(), Training(**{**SMALL, "learning_rate": 1e30}), trials=3, seed=0, max_failures=2)


def test_presets_are_recipes_and_proxies_cost_less():
    cost = {}
    for preset in ("digits", "digits_thin", "digits_short", "digits_few"):
        evaluator = Training(preset=preset)
        evaluator.start(SPACE)
        examples = evaluator.recipe.epochs * (evaluator.recipe.train_examples or 899)
        cost[preset] = examples * multiply_adds(evaluator.trainer.network(CELL), (1, 8, 8))
    assert all(cost[name] < 0.45 * cost["digits"] for name in ("digits_thin", "digits_short", "digits_few"))
    nasbench = PRESETS["nasbench201"]
    assert (nasbench.epochs, nasbench.batch_size, nasbench.learning_rate, nasbench.momentum) == (200, 256, 0.1, 0.9)
    assert (nasbench.weight_decay, dict(nasbench.skeleton)) == (5e-4, {"channels": 16, "cells": 5})
    assert Training(preset="nasbench201", epochs=12).recipe == PRESETS["nasbench201_12"]
    assert Training(preset="digits", skeleton={"cells": 3}).recipe.skeleton["channels"] == 8


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

    def sample(self, rng):
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
    evaluator = started(task=Task(part, part, part), train_examples=40)
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
    mine, other = Task(*parts, name="mine"), Task(*parts[::-1], name="mine")
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


# -- weights from the parent ---------------------------------------------------------------------


def heir(space=SPACE, folder=None, training=None, **settings):
    evaluator = Inherit(training=Training(**{**SMALL, **(training or {})}), **settings)
    evaluator.start(space)
    evaluator.folder = folder
    return evaluator


def test_a_child_begins_with_what_agrees_and_trains_briefly(tmp_path):
    evaluator = heir(folder=tmp_path, steps=2)
    parent = evaluator.evaluate_query(Query(0, CELL, 1))
    child = evaluator.evaluate_query(Query(1, (3, 1, 3, 3, 4, 3), 2, parent=0))
    assert parent.metrics["inherited"] == 0
    assert parent.cost.updates == UPDATES
    assert 0.5 < child.metrics["inherited"] < 1
    assert child.metrics["function_preserved"] == 0
    assert child.cost.updates == 2
    assert child.cost.examples == 30


def test_an_equal_child_without_steps_is_its_parent(tmp_path):
    evaluator = heir(folder=tmp_path, steps=0)
    parent = evaluator.evaluate_query(Query(0, CELL, 1))
    child = evaluator.evaluate_query(Query(1, CELL, 2, parent=0))
    assert (child.score, child.metrics["test_accuracy"]) == (parent.score, parent.metrics["test_accuracy"])
    assert child.metrics["inherited"] == child.metrics["function_preserved"] == 1
    assert child.cost.updates == 0
    assert "train_loss" not in child.metrics


def test_morphing_keeps_the_parents_accuracy(tmp_path):
    space = MobileNet(stages=[(8, 2, 1), (12, 2, 2)], candidates=[(3, 2), (3, 4), (5, 4)])
    small, large = (1, 0, 0, 0), (2, 3, 2, 2)
    assert small in space
    assert large in space
    settings = {"training": {"skeleton": {}, "preset": "digits"}, "steps": 0}
    evaluator = heir(space, tmp_path / "morph", **settings)
    evaluator.folder.mkdir()
    parent = evaluator.evaluate_query(Query(0, small, 1))
    child = evaluator.evaluate_query(Query(1, space.sample(np.random.default_rng(0)), 2, parent=0))
    assert math.isfinite(child.score)
    grown = next(a for a in space.neighbours(small) if _grows(evaluator, small, a))
    child = evaluator.evaluate_query(Query(2, grown, 2, parent=0))
    assert child.metrics["function_preserved"] == 1
    assert child.score == pytest.approx(parent.score, abs=0.25)
    assert child.metrics["valid_loss"] == pytest.approx(parent.metrics["valid_loss"], rel=1e-3)


def _grows(evaluator, parent, child):
    networks = [evaluator.trainer.begin(architecture, 0).network for architecture in (parent, child)]
    return evaluator.space.morph(*networks, torch.Generator())


def test_a_lost_parent_means_a_full_training(tmp_path):
    evaluator = heir(folder=tmp_path, steps=1)
    found = evaluator.evaluate_query(Query(5, CELL, 3, parent=2))
    assert found.cost.updates == UPDATES
    assert same(
        found._replace(
            metrics={k: v for k, v in found.metrics.items() if k not in ("inherited", "function_preserved")}
        ),
        started().evaluate(CELL, 3),
    )


def test_evolution_hands_parents_on_and_resumes_exactly(tmp_path):
    controller = RegularizedEvolution(population_size=2, tournament_size=2)
    evaluator = Inherit(training=Training(**SMALL), steps=2)
    whole = search(SPACE, controller, evaluator, trials=7, seed=2, out=tmp_path / "whole")
    search(SPACE, controller, evaluator, trials=4, seed=2, out=tmp_path / "cut")
    rest = resume(tmp_path / "cut", trials=7)
    facts = [[(t.id, t.parent, t.architecture, t.score, t.cost.updates) for t in r.history] for r in (whole, rest)]
    assert facts[0] == facts[1]
    assert [updates for *_, updates in facts[0]] == [UPDATES] * 2 + [2] * 5
    assert json.dumps(facts[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"training": 3}, "training: expected a Training evaluator"),
        ({"steps": -1}, "steps: expected a whole number >= 0"),
        ({"learning_rate": 0.0}, "learning_rate: expected a number > 0"),
        ({"training": Training(repeats=2)}, "expected a Training evaluator without repeats"),
    ],
)
def test_wrong_settings_of_inherit(settings, message):
    with pytest.raises(UsageError, match=message):
        Inherit(**settings)


@pytest.mark.parametrize("evaluator", ["Training", "Inherit"])
def test_killed_at_random_moments_trainings_end_like_an_uninterrupted_run(evaluator, tmp_path):
    own = "--evaluator" if evaluator == "Training" else "--evaluator.training"
    begin = ["run", "--evaluator", evaluator, f"{own}.epochs", "3", f"{own}.train_examples", "60", "--seed", "1"]
    begin += [f"{own}.skeleton.channels", "2", "--trials", "24", "--quiet"]
    if evaluator == "Training":
        begin += ["--controller", "SuccessiveHalving", "--controller.max_budget", "3"]
        begin += ["--controller.controller", "RegularizedEvolution", "--controller.controller.population_size", "6"]
    else:
        begin += ["--controller", "RegularizedEvolution", "--controller.population_size", "6"]
    command = [sys.executable, "-m", "archsearch.cli"]
    assert cli.main([*begin, "--out", str(tmp_path / "whole")]) == 0  # a process would only take longer to start
    folder, delays, kills = tmp_path / "killed", random.Random(3), 0
    while True:
        started = (folder / "config.yaml").exists()
        arguments = ["resume", str(folder), "--quiet"] if started else [*begin, "--out", str(folder)]
        with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE) as process:
            if kills < 3 and wait_for_trials(folder, delays.randrange(1, 6), process):
                time.sleep(delays.uniform(0.0, 0.1))
                process.kill()
                kills += 1
                continue
            assert process.wait() == 0
            break
    assert kills >= 2, "the run ended before it could be killed: this test shows nothing"
    whole, killed = (list(RunFolder(path).trials(1)) for path in (tmp_path / "whole", folder))
    for one, two in zip(whole, killed, strict=True):
        assert one._replace(evaluation=None, started=0, seconds=0) == two._replace(
            evaluation=None, started=0, seconds=0
        )
        assert same(one.evaluation, two.evaluation)
        assert one.cost.examples == two.cost.examples
    assert any(trial.parent is not None for trial in whole)


def wait_for_trials(folder, n, process):
    """Waits until n more trials are on disk; whether the process still ran then."""
    before = None
    while process.poll() is None:
        done = sum(1 for _ in RunFolder(folder).trials(1))
        before = done if before is None else before
        if done >= before + n:
            return True
        time.sleep(0.05)  # to read the folder takes time from the process
    return False
