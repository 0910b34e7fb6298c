"""Training: against a plain PyTorch loop, cost, failures."""

import copy
import math

import numpy as np
import pytest
import torch
from torch.nn import functional
from training_lab import CELL, SMALL, SPACE, UPDATES, started

from archsearch import search
from archsearch.controllers import RandomSearch
from archsearch.errors import (
    InvalidArchitecture,
    TooManyFailures,
    TrainingDiverged,
)
from archsearch.evaluators import Training
from archsearch.networks.multiply_adds import multiply_adds
from archsearch.spaces import DARTS, MobileNet
from archsearch.task import ImageTask, load_task, split
from archsearch.training.recipe import PRESETS

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
    plain, flipped = ImageTask(*parts), ImageTask(*parts, augmentation=["flip"])
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
