"""One-shot evaluation: what the super-network learns, how its weights are inherited, cost, resume, searches."""

import dataclasses
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from archsearch import Evaluation, RayExecutor, resume, search
from archsearch.controllers import RandomSearch, RegularizedEvolution, Reinforce
from archsearch.errors import MissingAbility, UsageError
from archsearch.evaluators import OneShot, Training, one_shot, super_network
from archsearch.evaluators.inheriting import as_tensor, inherit, stored
from archsearch.evaluators.super_network import FILE
from archsearch.executor import EvaluationTimeout
from archsearch.history import RunFolder
from archsearch.network import multiply_adds
from archsearch.seeding import stream
from archsearch.spaces import DARTS, Choices, ConvChain, MobileNet, NASBench101, NASBench201, NASBenchMacro
from archsearch.testing import EVALUATOR_CHECKS, check_evaluator
from archsearch.training.paths import DroppedPaths, FairPaths, Mixture, UniformPaths
from archsearch.training.trainer import Trainer
from archsearch.trial import Budget, Query, Trial

TESTS = Path(__file__).parent
SPACE = NASBench201()
CELL = (3, 1, 2, 3, 4, 3)
SMALL = {"task": "digits", "train_examples": 60, "epochs": 2, "batch_size": 20, "skeleton": {"channels": 2, "cells": 1}}
MACRO = {"skeleton": {"channels": 4}}
PER_EPOCH = 3
UPDATES = 2 * PER_EPOCH
VALID = 449


def make(training=None, **settings):
    return OneShot(training=Training(**{**SMALL, **(training or {})}), **{"epochs": 2, **settings})


def started(space=SPACE, folder=None, **settings):
    evaluator = make(**settings)
    evaluator.start(space)
    evaluator.folder = folder
    return evaluator


def prepared(**settings):
    evaluator = started(**settings)
    evaluator.prepare()
    return evaluator


def like(evaluator, **settings):
    """The same super-network, as a worker gets it, scored in another way."""
    twin = pickle.loads(pickle.dumps(evaluator))
    vars(twin).update(settings)
    return twin


@pytest.fixture(scope="module")
def trained():
    return prepared()


@pytest.fixture(scope="module")
def hyper():
    return prepared(source="hyper_network")


@pytest.fixture(scope="module")
def macro():
    return prepared(space=NASBenchMacro(), training=MACRO)


@pytest.fixture(scope="module")
def mobile():
    return prepared(space=MobileNet(), training=MACRO)


def samples(space, n, seed=0):
    rng = np.random.default_rng(seed)
    return [space.sample(rng) for _ in range(n)]


def queries(space, n, seed=0):
    return [Query(i, architecture, i) for i, architecture in enumerate(samples(space, n, seed))]


def same_values(first, second):
    """Whether two super-networks are equal bit by bit."""
    assert first._shared._values.keys() == second._shared._values.keys()
    return all(np.array_equal(value, second._shared._values[name]) for name, value in first._shared._values.items())


def untimed(cost):
    return dataclasses.replace(cost, wall_seconds=0.0, device_seconds=0.0)


def outcome(evaluation):
    return evaluation.score, evaluation.metrics, untimed(evaluation.cost)


def watching(evaluator, points=2):
    """Multiply-adds of what the curve cost."""
    architectures = [evaluator.space.sample(stream(i, "watched")) for i in range(4)]
    macs = sum(256 * evaluator.trainer.size(architecture)[0] for architecture in architectures)
    if evaluator.source == "hyper_network":
        macs += sum(
            evaluator._shared.network().generation_multiply_adds(architecture) for architecture in architectures
        )
    return points * macs


# -- training the super-network ------------------------------------------------------------------


def test_a_path_trains_its_own_parameters_only():
    evaluator = started(training={"weight_decay": 0.1})
    training = evaluator.training
    run = training.trainer.begin(None, 0)
    before = {name: value.clone() for name, value in run.network.named_parameters()}
    with training.trainer.session() as meter:
        training.trainer.train(run, UPDATES, UPDATES, meter, paths=lambda progress: [CELL])
    own = {name for name, _ in training.trainer.network(CELL).named_parameters()}
    after = dict(run.network.named_parameters())
    assert {name for name in before if not torch.equal(before[name], after[name])} == own
    assert own < set(before)


@pytest.mark.parametrize("space", [SPACE, NASBenchMacro()])
def test_fair_updates_hold_every_candidate_of_every_choice_once(space):
    sampler = FairPaths(space, 0)
    for _ in range(50):
        paths = np.array(sampler.draw(0.5))
        assert all(tuple(path) in space for path in paths.tolist())
        assert (np.sort(paths, axis=0) == np.arange(space.arities[0])[:, None]).all()


def test_uniform_updates_hold_one_path_each_and_are_spread_as_a_binomial():
    sampler = UniformPaths(SPACE, 0)
    drawn = np.array([path for _ in range(3000) for path in sampler.draw(0.0)])
    assert len(drawn) == 3000
    counts = np.array([np.bincount(choice, minlength=5) for choice in drawn.T])
    # Binomial(3000, 1/5): mean 600, standard deviation 21.9; 30 counts within 4 of them.
    assert abs(counts - 600).max() < 88
    assert 10 < counts.std() < 35


def test_candidates_are_dropped_more_and_more():
    space, dropout, n = MobileNet(), 0.2, 1000
    sampler = DroppedPaths(space, 0, dropout, (100, 1000))
    everything = sum(space.arities)
    for progress in (0.0, 0.25, 0.5, 1.0):
        drawn = [sampler.draw(progress) for _ in range(n)]
        assert all(len(paths) == 1 and isinstance(paths[0], Mixture) for paths in drawn)
        kept = np.zeros(len(space.arities))
        for ((options, macs),) in drawn:
            assert all(0 < len(set(some)) == len(some) for some in options)
            assert all(set(some) <= set(range(n)) for some, n in zip(options, space.arities, strict=True))
            kept += list(map(len, options))
            share = (sum(map(len, options)) - space.max_length) / (everything - space.max_length)
            assert macs == round(100 + share * 900)
        for arity, mean in zip(space.arities, kept / n, strict=True):
            drop = progress * dropout ** (1 / arity)
            expected, deviation = arity * (1 - drop) + drop**arity, (arity * drop * (1 - drop) / n) ** 0.5
            assert abs(mean - expected) <= 5 * deviation
    nearly_all = DroppedPaths(space, 0, 1 - 1e-12, (100, 1000))
    assert nearly_all.draw(1.0)[0].macs == 100, "one of each choice stays"
    firsts = [nearly_all.draw(1.0)[0].options[0][0] for _ in range(600)]
    assert min(np.bincount(firsts, minlength=space.arities[0])) > 0.5 * 600 / space.arities[0]


@pytest.mark.parametrize(("sampler", "paths"), [("uniform", 1), ("fair", 5)])
def test_set_up_is_billed_by_paths_and_updates(sampler, paths):
    evaluator = started(sampler=sampler)
    cost = evaluator.prepare()
    assert cost.updates == UPDATES
    assert cost.examples == 2 * 60 * paths
    sizes = [evaluator.trainer.size(SPACE.sample(stream(i, "size")))[0] for i in range(16)]
    assert cost.flops == 2 * (3 * cost.examples * round(np.mean(sizes)) + watching(evaluator))
    assert cost.wall_seconds > 0
    assert cost.device_seconds > 0
    assert evaluator.prepare() == cost, "it is trained once"


def test_dropout_is_billed_by_what_is_computed():
    evaluator = started(sampler="dropout", dropout=0.5)
    cost = evaluator.prepare()
    assert (cost.updates, cost.examples) == (UPDATES, 2 * 60)
    single = evaluator.trainer.size(None)[0]
    (everything,) = {paths.macs for paths in evaluator._shared._paths.draw(0.0)}
    shared = evaluator.trainer.network(None).to_empty(device="cpu").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        shared.mixture(torch.zeros(1, 1, 8, 8), [range(5)] * 6)
    assert everything == counter.get_total_flops() // 2 + 10, "ten biases"
    sampler = DroppedPaths(SPACE, 0, 0.5, (single, everything))
    macs = [sampler.draw(step / UPDATES)[0].macs for step in range(UPDATES)]
    assert cost.flops == 2 * (3 * 20 * sum(macs) + watching(evaluator))
    assert macs[0] == everything
    assert all(single < some < everything for some in macs[1:])


def test_dropout_trains_what_it_keeps(monkeypatch):
    evaluator, drawn = started(sampler="dropout"), []
    draw = DroppedPaths.draw
    monkeypatch.setattr(DroppedPaths, "draw", lambda self, progress: drawn.append(progress) or draw(self, progress))
    evaluator.prepare()
    assert drawn == [step / UPDATES for step in range(UPDATES)]
    initial = evaluator.trainer.begin(None, 0).network.state_dict()
    changed = {
        name for name, value in initial.items() if not torch.equal(value, as_tensor(evaluator._shared._values[name]))
    }
    assert changed >= {name for name, _ in evaluator.trainer.network(None).named_parameters()}


@pytest.mark.parametrize("settings", [{}, {"sampler": "fair"}, {"sampler": "dropout"}, {"source": "hyper_network"}])
def test_an_interrupted_training_ends_as_an_uninterrupted_one(tmp_path, monkeypatch, settings):
    whole = started(**settings)
    bill = whole.prepare()
    cut = started(**settings, folder=tmp_path)
    write = super_network.write_run

    def write_and_stop(run, path, **further):
        write(run, path, **further)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(super_network, "write_run", write_and_stop)
        with pytest.raises(KeyboardInterrupt):
            cut.prepare()
    again = started(**settings, folder=tmp_path)
    rest = again.prepare()
    assert untimed(rest) == untimed(bill), "what was done before the interruption is billed too"
    assert again.curve == whole.curve
    assert same_values(whole, again)


def test_the_seed_decides_the_super_network(trained):
    assert same_values(trained, prepared())
    assert not same_values(trained, prepared(seed=1))


def test_the_curve_is_what_fixed_paths_reach(tmp_path):
    evaluator = started(folder=tmp_path)
    evaluator.prepare()
    assert [row["epoch"] for row in evaluator.curve] == [1, 2]
    images, labels = (part[:256] for part in evaluator.trainer.data.part("valid"))
    shared = evaluator._shared.network().train()
    with torch.no_grad():
        found = [
            float((shared(images, SPACE.sample(stream(i, "watched"))).argmax(1) == labels).double().mean())
            for i in range(4)
        ]
    assert evaluator.curve[-1]["accuracy"] == pytest.approx(100 * np.mean(found))
    head, *rows = (tmp_path / "super-network.csv").read_text().splitlines()
    assert head == "epoch,train_loss,accuracy"
    read = [dict(zip(head.split(","), map(float, row.split(",")), strict=True)) for row in rows]
    assert read == [pytest.approx(row, rel=1e-5) for row in evaluator.curve]


@pytest.mark.parametrize("settings", [{}, {"source": "hyper_network"}])
def test_watching_changes_nothing_and_is_done_now_and_then(monkeypatch, settings):
    found = {}
    for points in (1, 2, 20):
        monkeypatch.setattr(super_network, "CURVE_POINTS", points)
        evaluator = prepared(epochs=5, training={"train_examples": 20, "drop_path": 0.5}, **settings)
        found[points] = evaluator
    assert [[row["epoch"] for row in each.curve] for each in found.values()] == [[5], [3, 5], [1, 2, 3, 4, 5]]
    assert same_values(found[1], found[20]), "counters of batches included"
    assert found[1].curve[-1] == found[20].curve[-1]


def test_progress_is_told_epoch_by_epoch():
    evaluator, told = started(sampler="controller", uniform_epochs=2, epochs=4), []
    evaluator.on_progress = lambda *facts: told.append(facts)
    evaluator.prepare()
    evaluator.advance(finished(SPACE, 2))
    assert told == [("super-network", 1, 4), ("super-network", 2, 4), ("super-network", 3, 4)]


# -- inheriting and scoring ----------------------------------------------------------------------

FAMILIES = {
    "NASBench201": (SPACE, {"channels": 2, "cells": 1}),
    "DARTS": (DARTS(), {"channels": 2, "layers": 3}),
    "MobileNet": (MobileNet(), {"channels": 4}),
    "NASBenchMacro": (NASBenchMacro(), {"channels": 4}),
    "NASBench101": (NASBench101(), {"channels": 8, "modules": 1}),
}


@pytest.mark.parametrize(("space", "skeleton"), FAMILIES.values(), ids=FAMILIES)
def test_inherited_networks_score_as_the_path_does(space, skeleton):
    evaluator = prepared(space=space, statistics="inherited", epochs=1, training={"skeleton": skeleton})
    training = evaluator.training
    images, labels = training.trainer.data.part("valid")
    architecture = samples(space, 1)[0]
    stand_alone = training.trainer.begin(architecture, 3).network.eval()
    inherit(stand_alone, {name: as_tensor(value) for name, value in evaluator._shared._values.items()})
    with torch.no_grad():
        logits = stand_alone(images)
    found = evaluator.evaluate(architecture, 5)
    assert found.score == pytest.approx(100 * float((logits.argmax(1) == labels).double().mean()), abs=0.3)
    assert found.metrics["valid_loss"] == pytest.approx(float(functional.cross_entropy(logits, labels)), rel=1e-4)


@pytest.mark.parametrize("statistics", ["recomputed", "batch", "inherited"])
def test_statistics_are_what_they_are_called(trained, statistics):
    evaluator = like(trained, statistics=statistics, statistics_batches=2)
    found = evaluator.evaluate(CELL, 1)
    macs, images = found.metrics["flops"], VALID + (40 if statistics == "recomputed" else 0)
    assert found.cost.flops == 2 * macs * images
    assert found.cost.updates == found.cost.examples == 0
    assert found.metrics.keys() == {"valid_loss", "params", "flops"}, "no test accuracy, nothing was trained"
    # Once more, by hand.
    network = evaluator.trainer.begin(CELL, 0).network
    inherit(network, {name: as_tensor(value) for name, value in evaluator._shared._values.items()})
    network.train(statistics != "inherited")
    if statistics == "recomputed":
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                module.momentum = None
        with torch.no_grad():
            for batch in evaluator._statistics_images():
                network(batch)
        network.eval()
    images, labels = evaluator.trainer.data.part("valid")
    with torch.no_grad():
        logits = network(images)
    assert found.metrics["valid_loss"] == pytest.approx(float(functional.cross_entropy(logits, labels)), rel=1e-5)
    others = {like(trained, statistics=name).evaluate(CELL, 1).metrics["valid_loss"] for name in ("batch", "inherited")}
    assert (found.metrics["valid_loss"] in others) == (statistics != "recomputed")


def test_statistics_come_from_training_images_the_same_for_all(trained):
    evaluator = like(trained, statistics_batches=4)
    batches = evaluator._statistics_images()
    assert [len(batch) for batch in batches] == [20] * 4, "the fourth begins anew"
    images = evaluator.trainer.data.part("train")[0][evaluator.trainer.chosen]
    assert sorted(map(float, torch.cat(batches[:3]).sum((1, 2, 3)))) == sorted(map(float, images.sum((1, 2, 3))))
    evaluator.evaluate(CELL, 1)
    evaluator.evaluate((1,) * 6, 2)
    assert all(torch.equal(*pair) for pair in zip(batches, evaluator._statistics_images(), strict=True))


def test_a_restart_of_full_length_is_an_individual_training(trained, hyper):
    training = Training(**SMALL)
    training.start(SPACE)
    alone = training.evaluate(CELL, 5)
    for source in (trained, hyper):
        found = like(source, steps=UPDATES, restart=True, statistics="inherited").evaluate(CELL, 5)
        assert found.score == alone.score
        assert found.metrics["valid_loss"] == alone.metrics["valid_loss"]
        assert found.cost.examples == alone.cost.examples
        plain = like(source, steps=UPDATES, statistics="inherited").evaluate(CELL, 5)
        assert plain.metrics["valid_loss"] != alone.metrics["valid_loss"]


def test_a_restart_begins_with_a_mixture(trained):
    evaluator = like(trained, steps=2, restart=True)
    network = evaluator.trainer.begin(CELL, 5).network
    initial = {name: value.clone() for name, value in network.state_dict().items()}
    values = {name: as_tensor(value) for name, value in trained._shared._values.items()}
    inherit(network, values, evaluator._share)
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            assert torch.allclose(value, initial[name] / 3 + values[name] * 2 / 3, atol=1e-6)


def test_steps_lead_from_sharing_to_training(trained):
    found = {steps: like(trained, steps=steps).evaluate(CELL, 2) for steps in (0, 1, 2, UPDATES)}
    macs = found[0].metrics["flops"]
    for steps, evaluation in found.items():
        assert evaluation.cost.updates == steps
        assert evaluation.cost.examples == 20 * steps
        assert evaluation.cost.flops == 2 * macs * (3 * 20 * steps + VALID + 4 * 20)
        assert ("train_loss" in evaluation.metrics) == (steps > 0)
    assert len({evaluation.metrics["valid_loss"] for evaluation in found.values()}) == 4
    tuned = like(trained, steps=2)
    assert outcome(tuned.evaluate(CELL, 2)) == outcome(found[2])
    assert tuned.evaluate(CELL, 3).metrics != found[2].metrics, "the seed decides the order of images"
    slow = like(trained, steps=2, learning_rate=1e-9).evaluate(CELL, 2).metrics["valid_loss"]
    assert slow == pytest.approx(found[0].metrics["valid_loss"], rel=1e-4)


@pytest.mark.parametrize("statistics", ["recomputed", "batch"])
def test_nothing_is_dropped_after_the_updates(monkeypatch, statistics):
    evaluator = prepared(space=NASBenchMacro(), training={**MACRO, "drop_path": 0.9}, statistics=statistics)
    seen, accuracy, recompute = [], Trainer.accuracy, OneShot._recompute_statistics

    def watch(method):
        return lambda self, run, *rest: seen.append(run.network.drop_path) or method(self, run, *rest)

    monkeypatch.setattr(Trainer, "accuracy", watch(accuracy))
    monkeypatch.setattr(OneShot, "_recompute_statistics", watch(recompute))
    like(evaluator, steps=UPDATES).evaluate(samples(evaluator.space, 1)[0], 0)
    assert seen == [0.0] * (2 if statistics == "recomputed" else 1)


@pytest.mark.parametrize("statistics", ["recomputed", "batch", "inherited"])
def test_evaluations_leave_nothing_behind(trained, statistics):
    evaluator = like(trained, statistics=statistics)
    asked = queries(SPACE, 6)
    first = [outcome(evaluator.evaluate_query(query)) for query in asked]
    network = evaluator._shared.network()
    assert not any(value.requires_grad or value.grad is not None for value in network.parameters())
    assert [outcome(evaluator.evaluate_query(query)) for query in reversed(asked)] == first[::-1]
    assert evaluator._shared.network() is network
    assert same_values(evaluator, trained)
    for name, value in network.named_parameters():
        assert torch.equal(value, as_tensor(trained._shared._values[name])), name
    # Equal architectures, other seeds: nothing is random.
    assert outcome(evaluator.evaluate(asked[0].architecture, 77)) == first[0]


def test_a_time_limit_that_strikes_while_the_network_is_made_spoils_nothing(trained, monkeypatch):
    evaluator = like(trained)

    def ring(array):
        raise EvaluationTimeout

    with monkeypatch.context() as patch:
        patch.setattr(super_network, "as_tensor", ring)
        with pytest.raises(EvaluationTimeout):
            evaluator.evaluate(CELL, 0)
    assert outcome(evaluator.evaluate(CELL, 0)) == outcome(trained.evaluate(CELL, 0))


def test_a_time_limit_that_strikes_while_statistics_are_recomputed_spoils_nothing(trained, monkeypatch):
    evaluator = like(trained)
    evaluator.evaluate((1,) * 6, 0)
    forward, calls = nn.BatchNorm2d.forward, []

    def ring(self, x):
        calls.append(0)
        if len(calls) == 12:
            raise EvaluationTimeout
        return forward(self, x)

    with monkeypatch.context() as patch:
        patch.setattr(nn.BatchNorm2d, "forward", ring)
        with pytest.raises(EvaluationTimeout):
            evaluator.evaluate(CELL, 0)
    assert outcome(evaluator.evaluate(CELL, 0)) == outcome(trained.evaluate(CELL, 0))


def test_latency_is_that_of_the_stand_alone_network(trained, macro, monkeypatch):
    timed = []
    monkeypatch.setattr(
        "archsearch.training.trainer.latency_seconds", lambda network, images: timed.append(network) or 0.5
    )
    for evaluator in (trained, macro):
        twin = like(evaluator)
        twin.trainer.latency = True
        found = twin.evaluate_batch(queries(twin.space, 3))
        assert [evaluation.metrics["latency_seconds"] for evaluation in found] == [0.5] * 3
        assert [network.architecture for network in timed[-3:]] == samples(twin.space, 3)


# -- fewer validation images -----------------------------------------------------------------------


def test_a_score_on_some_images_costs_no_more_than_these(trained):
    evaluator = like(trained, validation_batches=2)
    found = evaluator.evaluate(CELL, 0)
    assert found.cost.flops == 2 * found.metrics["flops"] * (2 * 20 + 4 * 20)
    assert found.score * 40 / 100 == pytest.approx(round(found.score * 40 / 100))
    chosen = evaluator._chosen(Query(0, CELL, 0))
    assert len(set(chosen.tolist())) == 40
    assert torch.equal(evaluator._chosen(Query(1, (1,) * 6, 9)), chosen), "the same for all"
    assert torch.equal(like(trained, validation_batches=2)._chosen(Query(0, CELL, 0)), chosen), "in all workers"
    assert not torch.equal(like(trained, validation_batches=2, seed=1)._chosen(Query(0, CELL, 0)), chosen)
    images, labels = (part[chosen] for part in evaluator.trainer.data.part("valid"))
    with torch.no_grad():  # the statistics are still those of this cell
        right = (evaluator._shared.network().eval()(images, CELL).argmax(1) == labels).double().mean()
    assert found.score == pytest.approx(100 * float(right))


def test_budgets_are_batches_of_images(trained):
    whole = trained.evaluate(CELL, 0)
    few = like(trained, validation_batches=3)
    for stop, images in ((1, 20), (5, 100), (22, 440), (23, VALID), (10_000, VALID)):
        for evaluator in (trained, few):
            found = evaluator.evaluate_query(Query(0, CELL, 0, budget=Budget(stop)))
            assert found.cost.flops == 2 * found.metrics["flops"] * (images + 4 * 20)
            if images == VALID:
                assert outcome(found) == outcome(whole)
    order = [trained._chosen(Query(0, CELL, 0, budget=Budget(stop))).tolist() for stop in (2, 5)]
    assert order[0] == order[1][:40], "more images are these and others"
    trained.check_budgets((1, 1000))


# -- several at a time ---------------------------------------------------------------------------


@pytest.mark.parametrize("statistics", ["recomputed", "batch", "inherited"])
@pytest.mark.parametrize("name", ["macro", "mobile"])
def test_what_is_scored_together_is_scored_as_alone(name, statistics, request):
    evaluator = like(request.getfixturevalue(name), statistics=statistics)
    asked = queries(evaluator.space, 4) * 2 + queries(evaluator.space, 2, seed=1)
    together, alone = evaluator.evaluate_batch(asked), [evaluator.evaluate_query(query) for query in asked]
    assert [repr(found[:2]) for found in together] == [repr(found[:2]) for found in alone], "the metrics too"
    assert [found.curve for found in together] == [found.curve for found in alone]
    assert same_values(evaluator, request.getfixturevalue(name))
    bills = [found.cost for found in together]
    assert len({bill.flops for bill in bills}) == 1, "what was shared is shared out"
    assert sum(bill.flops for bill in bills) < 0.6 * sum(found.cost.flops for found in alone), "some are there twice"
    assert all(bill.updates == bill.examples == bill.wall_seconds == 0 for bill in bills)
    single = evaluator.evaluate_batch(asked[:1])
    assert outcome(single[0]) == outcome(alone[0])


def test_distinct_architectures_of_a_chain_cost_less_together(macro):
    asked = queries(macro.space, 30)
    together = sum(found.cost.flops for found in macro.evaluate_batch(asked))
    alone = sum(macro.evaluate_query(query).cost.flops for query in asked)
    assert together < 0.75 * alone


@pytest.mark.parametrize("settings", [{}, {"steps": 2}])
def test_elsewhere_a_batch_is_one_after_another(trained, hyper, macro, settings):
    for evaluator in (trained, hyper, *([macro] if settings else [])):
        twin = like(evaluator, **settings)
        asked = queries(twin.space, 2)
        found = twin.evaluate_batch(asked)
        assert [outcome(each) for each in found] == [outcome(twin.evaluate_query(query)) for query in asked]
    assert trained.evaluate_batch([]) == []


def test_budgets_of_a_batch_may_differ(macro, monkeypatch):
    plain = queries(macro.space, 6)
    budgets = [None, Budget(1), Budget(2, 1, 7), Budget(2, 1, 8), Budget(1), Budget(10_000)]
    asked = [query._replace(budget=budget) for query, budget in zip(plain, budgets, strict=True)]
    score, groups = one_shot.score_chains, []
    monkeypatch.setattr(one_shot, "score_chains", lambda *given: groups.append(len(given[1])) or score(*given))
    found = macro.evaluate_batch(asked)
    assert sorted(groups) == [1, 1, 2, 2], "where a training would go on from plays no part"
    for query, evaluation in zip(asked, found, strict=True):
        alone = macro.evaluate_query(query)
        assert (evaluation.score, evaluation.metrics) == (alone.score, alone.metrics)


def test_where_memory_is_short_a_batch_is_one_after_another(macro, monkeypatch):
    asked = queries(macro.space, 3)
    alone = [outcome(macro.evaluate_query(query)) for query in asked]
    assert [outcome(found) for found in macro.evaluate_batch(asked)] != alone, "it costs less"
    monkeypatch.setattr(one_shot, "MEMORY", 1000)
    assert [outcome(found) for found in macro.evaluate_batch(asked)] == alone


def test_a_search_by_batches_gives_what_a_search_one_by_one_does():
    results = [
        search(NASBenchMacro(), RandomSearch(), make(training=MACRO), trials=7, seed=0, batch=batch) for batch in (1, 4)
    ]
    facts = [[(trial.id, trial.architecture, trial.score, trial.metrics) for trial in r.history] for r in results]
    assert facts[0] == facts[1]
    assert results[1].cost.flops < results[0].cost.flops


# -- generated weights ------------------------------------------------------------------------------


def test_generated_weights_are_scored_as_the_hyper_network_computes(hyper):
    evaluator = like(hyper, statistics="inherited")
    found = evaluator.evaluate(CELL, 0)
    images, labels = evaluator.trainer.data.part("valid")
    with torch.no_grad():
        logits = evaluator._shared.network().eval()(images, CELL)
    assert found.metrics["valid_loss"] == pytest.approx(float(functional.cross_entropy(logits, labels)), rel=1e-4)
    assert evaluator.evaluate(CELL, 8).metrics == found.metrics, "the seed plays no part"
    assert same_values(evaluator, hyper)


def test_generation_is_billed(hyper):
    found = hyper.evaluate(CELL, 0)
    generation = hyper._shared.network().generation_multiply_adds(CELL)
    assert generation > 0
    assert found.cost.flops == 2 * (found.metrics["flops"] * (VALID + 4 * 20) + generation)
    assert found.cost.updates == found.cost.examples == 0
    assert found.metrics["flops"] == multiply_adds(hyper.trainer.network(CELL), (1, 8, 8))
    paths = [SPACE.sample(stream(i, "size")) for i in range(16)]
    each = np.mean([hyper._shared.network().generation_multiply_adds(path) for path in paths])
    macs = hyper.trainer.size(None)[0] + round(each / 20)
    assert hyper.prepare().flops == 2 * (3 * 2 * 60 * macs + watching(hyper))
    assert (hyper.prepare().updates, hyper.prepare().examples) == (UPDATES, 2 * 60)


def test_generated_weights_can_be_trained_on(hyper):
    found = like(hyper, steps=2).evaluate(CELL, 0)
    assert found.cost.updates == 2
    assert found.metrics["valid_loss"] != hyper.evaluate(CELL, 0).metrics["valid_loss"]


# -- a controller's own paths ------------------------------------------------------------------------


def finished(space, n, seed=0, first=0):
    """Completed trials, as a search hands them over."""
    return [Trial(first + i, a, evaluation=Evaluation(1.0)) for i, a in enumerate(samples(space, n, seed))]


@pytest.fixture
def drawn(monkeypatch):
    """The paths that are trained, as they are drawn."""
    paths, train = [], Trainer.train

    def spy(self, run, *rest, **named):
        if draw := named.get("paths"):
            named["paths"] = lambda progress: (found := draw(progress), paths.extend(found))[0]
        return train(self, run, *rest, **named)

    monkeypatch.setattr(Trainer, "train", spy)
    return paths


def enas(folder=None, **settings):
    return started(folder=folder, sampler="controller", trials_per_epoch=4, **{"epochs": 3, **settings})


def test_a_controller_trains_the_super_network_with_what_it_proposes(drawn):
    evaluator = enas()
    assert evaluator.interval == 4
    bill = evaluator.prepare()
    assert (bill.updates, bill.examples, len(drawn)) == (PER_EPOCH, 60, PER_EPOCH)
    assert len(set(drawn)) > 1
    before = dict(evaluator._shared._values)
    first = evaluator.evaluate(CELL, 0)
    for round_ in (0, 1):
        drawn.clear()
        sample = finished(SPACE, 4, seed=round_, first=4 * round_)
        cost = evaluator.advance(sample)
        assert (cost.updates, cost.examples, len(drawn)) == (PER_EPOCH, 60, PER_EPOCH)
        macs = evaluator.trainer.size(None)[0]
        assert cost.flops == 2 * (3 * 60 * macs + watching(evaluator, 1))
        assert set(drawn) <= {trial.architecture for trial in sample}
    assert any((before[name] != value).any() for name, value in evaluator._shared._values.items())
    assert evaluator.evaluate(CELL, 0).metrics != first.metrics, "it is scored with the new weights"
    assert evaluator.prepare() == bill
    # All epochs are done.
    after, points = dict(evaluator._shared._values), len(evaluator.curve)
    drawn.clear()
    cost = evaluator.advance(finished(SPACE, 4, seed=2, first=8))
    assert untimed(cost) == untimed(one_shot.NO_COST)
    assert not drawn
    assert all((after[name] == value).all() for name, value in evaluator._shared._values.items())
    assert len(evaluator.curve) == points == 3


def test_paths_are_drawn_uniformly_from_the_sample(drawn):
    evaluator = enas(training={"train_examples": 400, "batch_size": 4})
    evaluator.prepare()
    drawn.clear()
    sample = finished(SPACE, 4)
    evaluator.advance(sample)
    counts = [drawn.count(trial.architecture) for trial in sample]
    assert sum(counts) == 100
    assert min(counts) > 8, "25 expected, standard deviation 4.3"


def test_without_a_sample_or_another_sampler_nothing_is_learnt(trained):
    assert trained.interval == 0
    assert trained.advance(finished(SPACE, 3)) == one_shot.NO_COST
    evaluator = enas()
    evaluator.prepare()
    assert evaluator.advance([]) == one_shot.NO_COST


def test_each_round_is_scored_on_images_of_its_own():
    evaluator = enas(validation_batches=1, epochs=1)
    evaluator.prepare()
    seen = []
    for i in range(3):
        seen.append(evaluator._chosen(Query(0, CELL, 0)).tolist())
        assert like(evaluator)._chosen(Query(1, CELL, 3)).tolist() == seen[-1]
        evaluator.advance(finished(SPACE, 4, first=4 * i))
    assert len({tuple(sorted(images)) for images in seen}) == 3


def test_a_sample_is_learnt_from_once(tmp_path):
    evaluator, sample = enas(tmp_path), finished(SPACE, 4)
    evaluator.prepare()
    cost = evaluator.advance(sample)
    values = dict(evaluator._shared._values)
    assert evaluator.advance(sample) == cost
    again = enas(tmp_path)
    again.prepare()
    assert again.advance(sample) == cost, "as after a kill, before the search had noted it"
    assert all(
        (values[name] == value).all() for each in (evaluator, again) for name, value in each._shared._values.items()
    )


@pytest.mark.parametrize("moment", ["before", "after"])
def test_learning_goes_on_from_the_folder_as_if_it_had_not_stopped(tmp_path, monkeypatch, moment):
    rounds = [finished(SPACE, 4, seed=i, first=4 * i) for i in range(3)]
    whole = enas(epochs=4, validation_batches=2)
    whole_bills = [whole.prepare(), *map(whole.advance, rounds)]
    cut = enas(tmp_path, epochs=4, validation_batches=2)
    bills = [cut.prepare(), cut.advance(rounds[0])]
    write = super_network.write_run

    def stop(*rest, **named):
        if moment == "after":
            write(*rest, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(super_network, "write_run", stop)
        with pytest.raises(KeyboardInterrupt):
            cut.advance(rounds[1])
    again = enas(tmp_path, epochs=4, validation_batches=2)
    assert again.prepare() == bills[0]
    bills += [again.advance(rounds[1]), again.advance(rounds[2])]
    assert list(map(untimed, bills)) == list(map(untimed, whole_bills))
    assert same_values(again, whole)
    assert again.curve == whole.curve
    assert outcome(again.evaluate(CELL, 0)) == outcome(whole.evaluate(CELL, 0))


def enas_search(folder=None, trials=11, **settings):
    evaluator = make(sampler="controller", trials_per_epoch=3, epochs=3, validation_batches=5)
    return search(SPACE, Reinforce("softmax"), evaluator, trials=trials, seed=3, out=folder, **settings)


def facts(result):
    trials = sorted(result.history, key=lambda trial: trial.id)
    return [(t.id, t.architecture, t.seed, t.score, t.metrics, untimed(t.cost)) for t in trials], untimed(
        result.setup_cost
    )


def search_until_killed(folder, writes, after):
    """For a process of its own: begins the search or goes on with it, until kill -9 at a write of the super-network."""
    write, calls = super_network.write_run, []

    def write_and_die(*rest, **named):
        calls.append(0)
        if len(calls) == writes and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        write(*rest, **named)
        if len(calls) == writes:
            os.kill(os.getpid(), signal.SIGKILL)

    super_network.write_run = write_and_die
    resume(folder) if (Path(folder) / "config.yaml").exists() else enas_search(folder)


def test_a_killed_search_ends_as_an_uninterrupted_one(tmp_path):
    whole = enas_search(tmp_path / "whole")
    assert whole.setup_cost.updates == 3 * PER_EPOCH
    folder = tmp_path / "killed"
    # Once when the first round is on disk, but not in the journal; once when the second is trained, but not on disk.
    for writes, after, done in ((2, True, 3), (1, False, 6)):
        code = f"import test_one_shot; test_one_shot.search_until_killed({str(folder)!r}, {writes}, {after})"
        ended = subprocess.run([sys.executable, "-c", code], cwd=TESTS, capture_output=True, text=True, check=False)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        assert len(list(RunFolder(folder).trials(3))) == done
    killed = resume(folder)
    assert facts(killed) == facts(whole)
    assert not list((folder / "evaluator").glob("*.tmp"))


# -- whole searches ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster():
    import ray

    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


def test_a_search_trains_the_super_network_once(tmp_path):
    evolution = RegularizedEvolution(population_size=4, tournament_size=2)
    evaluator = make()
    whole = search(SPACE, evolution, evaluator, trials=8, seed=0, out=tmp_path / "whole")
    assert whole.setup_cost.updates == UPDATES
    assert whole.cost.updates == 0
    search(SPACE, evolution, make(), trials=3, seed=0, out=tmp_path / "cut")
    rest = resume(tmp_path / "cut", trials=8)
    assert untimed(rest.setup_cost) == untimed(whole.setup_cost)
    assert [(t.architecture, t.score) for t in rest.history] == [(t.architecture, t.score) for t in whole.history]
    # The same object once more, for another space: nothing is left of the first.
    assert evaluator.folder is None
    other = search(NASBench201(cells=2), evolution, evaluator, trials=2, seed=0)
    assert other.setup_cost.updates == UPDATES
    assert evaluator.folder is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_on_ray_it_gives_the_same(cluster):
    here, there = enas_search(lag=2), enas_search(lag=2, executor=RayExecutor(2))
    assert here.setup_cost.updates == 3 * PER_EPOCH
    assert facts(here) == facts(there), "with a lag, the number of workers makes no difference"


# -- memory that workers share -----------------------------------------------------------------------


def test_read_only_memory_is_used_without_a_copy(trained):
    buffers = []
    data = pickle.dumps(trained, protocol=5, buffer_callback=buffers.append)
    frozen = [bytes(buffer.raw()) for buffer in buffers]  # as Ray's store: it cannot be written to
    kept = list(map(hash, frozen))
    assert sum(map(len, frozen)) >= sum(value.nbytes for value in trained._shared._values.values())
    evaluator = pickle.loads(data, buffers=frozen)
    network = evaluator._shared.network()
    for name, value in network.named_parameters():
        array = evaluator._shared._values[name]
        assert not array.flags.writeable
        assert np.shares_memory(array, value.detach().permute(0, 2, 3, 1).numpy() if value.ndim == 4 else value.numpy())
    arrays = {name: value.__array_interface__["data"][0] for name, value in evaluator._shared._values.items()}
    assert all(value.data_ptr() != arrays[name] for name, value in network.named_buffers())
    for statistics in ("recomputed", "batch", "inherited"):
        twin = pickle.loads(data, buffers=frozen)
        twin.statistics = statistics
        assert outcome(twin.evaluate(CELL, 0)) == outcome(like(trained, statistics=statistics).evaluate(CELL, 0))
    assert outcome(like(evaluator, steps=2).evaluate(CELL, 0)) == outcome(like(trained, steps=2).evaluate(CELL, 0))
    assert list(map(hash, map(bytes, frozen))) == kept
    assert len(pickle.dumps(evaluator)) < 1.2 * len(pickle.dumps(trained)), "the network is not sent along"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_workers_of_a_machine_hold_the_weights_once(cluster, trained):
    large = untrained(channels=96)
    total = sum(value.nbytes for value in large._shared._values.values())
    assert total > 40e6
    small, large = cluster.put(trained), cluster.put(large)

    def private():
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))

    class Worker:
        def grow(self, references):
            import ray

            small, large = references
            ray.get(small).evaluate((1, 1, 1, 3, 1, 1), 0)  # what any evaluation takes
            before = private()
            evaluator = ray.get(large)
            evaluator.evaluate((1, 1, 1, 3, 1, 1), 0)
            values = evaluator._shared._values
            shared = [
                value.data_ptr() == values[name].__array_interface__["data"][0]
                for name, value in evaluator._shared.network().named_parameters()
            ]
            return all(shared) and not any(value.flags.writeable for value in values.values()), private() - before

    workers = [cluster.remote(Worker).remote() for _ in range(2)]
    for shared, growth in cluster.get([worker.grow.remote([small, large]) for worker in workers]):
        assert shared
        assert growth < total / 2


def untrained(channels):
    """A large super-network, as if it had been trained, that is scored on few images."""
    skeleton = {"channels": channels, "cells": 1}
    evaluator = started(validation_batches=1, statistics_batches=1, training={"skeleton": skeleton, "batch_size": 4})
    network = evaluator.trainer.begin(None, 0).network
    evaluator._shared._values = {name: stored(value) for name, value in network.state_dict().items()}
    return evaluator


# -- weights of another run ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished search and its super-network."""
    folder = tmp_path_factory.mktemp("run") / "run"
    result = search(SPACE, RandomSearch(), make(), trials=3, seed=0, out=folder)
    return result, folder / "evaluator" / FILE


def test_weights_of_another_run_are_billed_and_score_as_there(run, tmp_path, monkeypatch):
    result, file = run
    monkeypatch.setattr(Trainer, "train", None)
    monkeypatch.chdir(file.parent)
    again = search(SPACE, RandomSearch(), make(weights=FILE), trials=2, seed=0, out=tmp_path / "again")
    monkeypatch.chdir("/")
    again = resume(tmp_path / "again", trials=3)
    assert [(t.architecture, t.score, t.metrics) for t in again.history] == [
        (t.architecture, t.score, t.metrics) for t in result.history
    ]
    assert untimed(again.setup_cost) == untimed(result.setup_cost)
    assert again.setup_cost.device_seconds == result.setup_cost.device_seconds
    assert again.setup_cost.wall_seconds > 0.5 * result.setup_cost.wall_seconds, "as it was then"
    evaluator = prepared(weights=str(file), steps=0)
    assert evaluator.curve
    assert like(evaluator).evaluate(CELL, 0).score == evaluator.evaluate(CELL, 0).score
    assert not list((tmp_path / "again" / "evaluator").glob("*.safetensors"))


def test_weights_that_a_controller_trained_are_billed_in_full(tmp_path):
    evaluator = enas(tmp_path)
    costs = [evaluator.prepare(), *(evaluator.advance(finished(SPACE, 4, first=4 * i)) for i in range(3))]
    found = started(weights=tmp_path / FILE)
    assert untimed(found.prepare()) == untimed(sum(costs, one_shot.NO_COST))
    assert found.prepare().updates == 3 * PER_EPOCH
    assert same_values(found, evaluator)


def test_weights_that_do_not_suit_are_refused(run, tmp_path):
    _, file = run
    (tmp_path / "text").write_text("no tensors")
    training = Training(**SMALL)
    training.start(SPACE)
    super_network.write_run(training.trainer.begin(CELL, 0), tmp_path / "stand-alone.safetensors")
    for path in ("nowhere", "text", "stand-alone.safetensors", "."):
        with pytest.raises(UsageError, match=r"weights: .* is no super-network; expected evaluator/super-network"):
            prepared(weights=tmp_path / path)
    for settings in (
        {"training": {"skeleton": {"channels": 3, "cells": 1}}},
        {"training": {"skeleton": {"channels": 2, "cells": 2}}},
        {"space": NASBenchMacro(), "training": MACRO},
        {"source": "hyper_network"},
        {"training": {"task": "digits:seed=7"}},
    ):
        with pytest.raises(UsageError, match="is the super-network of another space, skeleton or data"):
            prepared(weights=file, **settings)


# -- spaces of one's own ---------------------------------------------------------------------------


class Scale(nn.Module):
    """A layer with buffers, of which one is not part of the state."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.empty(1))
        self.register_buffer("factor", torch.empty(1), persistent=False)

    def initialise(self, generator):
        self.seen.zero_()
        self.factor.fill_(0.5)

    def forward(self, x):
        if self.training:
            self.seen += 1
        return x * self.factor + self.seen * 1e-3


class Scaled(NASBench201):
    """With other buffers than those of batch normalisation."""

    def network(self, architecture, task, *, channels=None, cells=None):
        return self._with_scale(super().network(architecture, task, channels=channels, cells=cells))

    def super_network(self, task, *, channels=None, cells=None):
        return self._with_scale(super().super_network(task, channels=channels, cells=cells))

    @staticmethod
    def _with_scale(network):
        network.head.append(Scale())
        return network


def test_other_buffers_are_inherited_too():
    evaluator = prepared(space=Scaled(), statistics="inherited")
    assert evaluator._shared._values["head.4.seen"] > 0
    assert "head.4.factor" not in evaluator._shared._values
    found = evaluator.evaluate(CELL, 0)
    network = evaluator.trainer.begin(CELL, 0).network.eval()
    inherit(network, {name: as_tensor(value) for name, value in evaluator._shared._values.items()})
    images, labels = evaluator.trainer.data.part("valid")
    with torch.no_grad():
        loss = functional.cross_entropy(network(images), labels)
    assert found.metrics["valid_loss"] == pytest.approx(float(loss), rel=1e-5)
    assert outcome(like(evaluator).evaluate(CELL, 0)) == outcome(found)


# -- contracts and refusals ------------------------------------------------------------------------

SEVERAL = {
    "hyper-network": (SPACE, {"source": "hyper_network", "validation_batches": 3}),
    "dropout": (NASBenchMacro(), {"sampler": "dropout", "training": MACRO}),
    "chain": (MobileNet(), {"training": MACRO}),
    "controller": (SPACE, {"sampler": "controller"}),
}
"""What tests/test_contracts.py does not have."""


def tiny(training=None, **settings):
    training = {"train_examples": 20, "epochs": 1, **(training or {})}
    return make(**settings, epochs=1, statistics_batches=1, training=training)


@pytest.mark.slow
@pytest.mark.parametrize(("space", "settings"), SEVERAL.values(), ids=SEVERAL)
def test_contract(space, settings):
    check_evaluator(lambda: tiny(**settings), space, skip=["default_settings_evaluate"])


@pytest.mark.parametrize("check", ["evaluation_leaves_global_generators", "evaluator_round_trip"])
@pytest.mark.parametrize("name", ["hyper-network", "dropout"])
def test_quick_contract(name, check):
    space, settings = SEVERAL[name]
    EVALUATOR_CHECKS[check](lambda: tiny(**settings), space)


def test_workers_get_the_values_and_score_alike(trained, hyper):
    for evaluator in (trained, hyper):
        copy = pickle.loads(pickle.dumps(evaluator))
        assert outcome(copy.evaluate(CELL, 9)) == outcome(evaluator.evaluate(CELL, 9))
        assert copy._shared._run is None
        assert copy._images.keys() <= {"statistics"}


def test_spaces_that_do_not_suit_are_refused():
    for space in (Choices({"a": [1, 2]}), ConvChain()):
        with pytest.raises(
            MissingAbility, match=f"OneShot shares weights, and {type(space).__name__} has no super-network"
        ):
            started(space)
    for space in (DARTS(), NASBench101(), MobileNet()):
        with pytest.raises(
            MissingAbility, match=f"sampler fair needs choices with equally many candidates, {type(space).__name__}"
        ):
            OneShot(sampler="fair").check(space)
    OneShot(sampler="fair").check(NASBenchMacro())
    with pytest.raises(MissingAbility, match=r"sampler dropout needs .* NASBench101 has no method mixture"):
        OneShot(sampler="dropout").check(NASBench101())
    OneShot(sampler="dropout").check(DARTS())


def test_without_a_super_network_nothing_is_scored():
    for ask in (lambda: started().evaluate(CELL, 0), lambda: started().evaluate_batch(queries(SPACE, 2))):
        with pytest.raises(UsageError, match="call prepare"):
            ask()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampler": "greedy"}, "sampler: expected one of uniform, fair, dropout, controller, got 'greedy'"),
        ({"statistics": "none"}, "statistics: expected one of recomputed, batch, inherited, got 'none'"),
        ({"source": "air"}, "source: expected one of shared, hyper_network, got 'air'"),
        ({"epochs": 0}, "epochs: expected a whole number >= 1"),
        ({"uniform_epochs": 0}, "uniform_epochs: expected a whole number >= 1"),
        ({"trials_per_epoch": 0}, "trials_per_epoch: expected a whole number >= 1"),
        ({"statistics_batches": 0}, "statistics_batches: expected a whole number >= 1"),
        ({"validation_batches": 0}, "validation_batches: expected a whole number >= 1"),
        ({"dropout": 0.0}, "dropout: expected a number, 0 < dropout < 1, got 0.0"),
        ({"dropout": 1.0}, "dropout: expected a number, 0 < dropout < 1, got 1.0"),
        ({"steps": -1}, "steps: expected a whole number >= 0"),
        ({"seed": 1.5}, "seed: expected a whole number >= 0"),
        ({"learning_rate": 0.0}, "learning_rate: expected a number, 0 < learning_rate < inf, got 0.0"),
        ({"learning_rate": "0.1"}, "learning_rate: expected a number, 0 < learning_rate < inf, got '0.1'"),
        ({"training": Training(repeats=2)}, "expected a Training evaluator without repeats"),
        ({"training": 7}, "expected a Training evaluator without repeats"),
        ({"task": "digits", "training": Training()}, "task: the training has one of its own"),
        ({"sampler": "dropout", "source": "hyper_network"}, "the sampler dropout mixes candidates"),
        ({"sampler": "controller", "weights": "a"}, "the sampler controller trains weights during the search"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(UsageError, match=message):
        OneShot(**settings)
