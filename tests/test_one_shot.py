"""``OneShot``: inherited weights, their statistics, few images, several at a time, generated weights."""

import numpy as np
import pytest
import torch
from one_shot_lab import (
    CELL,
    MACRO,
    SMALL,
    SPACE,
    UPDATES,
    VALID,
    like,
    make,
    outcome,
    prepared,
    queries,
    same_values,
    samples,
    watching,
)
from torch import nn
from torch.nn import functional

from archsearch import search
from archsearch.basics.seeding import stream
from archsearch.controllers import RandomSearch
from archsearch.evaluators import OneShot, Training, inherited_scores, super_network
from archsearch.evaluators.inheriting import as_tensor, inherit
from archsearch.executors.evaluating import EvaluationTimeout
from archsearch.networks.multiply_adds import multiply_adds
from archsearch.spaces import DARTS, MobileNet, NASBench101, NASBenchMacro
from archsearch.training.trainer import Trainer
from archsearch.trial import Budget, Query

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
        for settings in ({}, {"statistics": "inherited"}, {"statistics_batches": 1}):
            found = like(source, steps=UPDATES, **settings).evaluate(CELL, 5)
            assert found.score == alone.score
            assert found.metrics["valid_loss"] == alone.metrics["valid_loss"]
            assert found.cost.examples == alone.cost.examples
        plain = like(source, steps=UPDATES, restart=False, statistics="inherited").evaluate(CELL, 5)
        assert plain.metrics["valid_loss"] != alone.metrics["valid_loss"]


@pytest.mark.parametrize(
    ("restart", "steps", "recomputed"), [(True, 5, 1), (False, 6, 1), (False, 43, 1), (False, 44, 0)]
)
def test_statistics_are_recomputed_as_long_as_inherited_ones_are_left(trained, restart, steps, recomputed):
    # The running mean moves by a tenth in each update: 0.9 ** 43 = 0.0108, 0.9 ** 44 = 0.0097.
    found = like(trained, restart=restart, steps=steps).evaluate(CELL, 5)
    assert found.cost.flops == 2 * found.metrics["flops"] * (3 * 20 * steps + VALID + 4 * 20 * recomputed)


def test_a_restart_begins_with_a_mixture(trained):
    evaluator = like(trained, steps=2)
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
        recomputed = 4 * 20 if steps < UPDATES else 0  # a whole training makes statistics of its own
        assert evaluation.cost.flops == 2 * macs * (3 * 20 * steps + VALID + recomputed)
        assert ("train_loss" in evaluation.metrics) == (steps > 0)
    assert len({evaluation.metrics["valid_loss"] for evaluation in found.values()}) == 4
    tuned = like(trained, steps=2)
    assert outcome(tuned.evaluate(CELL, 2)) == outcome(found[2])
    assert tuned.evaluate(CELL, 3).metrics != found[2].metrics, "the seed decides the order of images"
    slow = like(trained, steps=2, restart=False, learning_rate=1e-9).evaluate(CELL, 2).metrics["valid_loss"]
    assert slow == pytest.approx(found[0].metrics["valid_loss"], rel=1e-4)


@pytest.mark.parametrize("statistics", ["recomputed", "batch"])
def test_nothing_is_dropped_after_the_updates(monkeypatch, statistics):
    evaluator = prepared(space=NASBenchMacro(), training={**MACRO, "drop_path": 0.9}, statistics=statistics)
    seen, judge, recompute = [], Trainer.judge, OneShot._recompute_statistics

    def watch(method):
        return lambda self, run, *rest: seen.append(run.network.drop_path) or method(self, run, *rest)

    monkeypatch.setattr(Trainer, "judge", watch(judge))
    monkeypatch.setattr(OneShot, "_recompute_statistics", watch(recompute))
    like(evaluator, steps=UPDATES - 1).evaluate(samples(evaluator.space, 1)[0], 0)
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


def rounded(found):
    """The score, and the metrics with a loss as near as 1e-5: what is scored together is summed in another order."""
    return found.score, {**found.metrics, "valid_loss": pytest.approx(found.metrics["valid_loss"], abs=1e-5)}


@pytest.mark.parametrize("statistics", ["recomputed", "batch", "inherited"])
@pytest.mark.parametrize("name", ["macro", "mobile"])
def test_what_is_scored_together_is_scored_as_alone(name, statistics, request):
    evaluator = like(request.getfixturevalue(name), statistics=statistics)
    asked = queries(evaluator.space, 4) * 2 + queries(evaluator.space, 2, seed=1)
    together, alone = evaluator.evaluate_batch(asked), [evaluator.evaluate_query(query) for query in asked]
    assert [rounded(found) for found in together] == [(found.score, found.metrics) for found in alone], (
        "the metrics too"
    )
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
    score, groups = inherited_scores.score_chains, []
    monkeypatch.setattr(inherited_scores, "score_chains", lambda *given: groups.append(len(given[1])) or score(*given))
    found = macro.evaluate_batch(asked)
    assert sorted(groups) == [1, 1, 2, 2], "where a training would go on from plays no part"
    for query, evaluation in zip(asked, found, strict=True):
        alone = macro.evaluate_query(query)
        assert rounded(evaluation) == (alone.score, alone.metrics)


def test_where_memory_is_short_a_batch_is_one_after_another(macro, monkeypatch):
    asked = queries(macro.space, 3)
    alone = [outcome(macro.evaluate_query(query)) for query in asked]
    assert [outcome(found) for found in macro.evaluate_batch(asked)] != alone, "it costs less"
    monkeypatch.setattr(inherited_scores, "MEMORY", 1000)
    assert [outcome(found) for found in macro.evaluate_batch(asked)] == alone


def test_a_search_by_batches_gives_what_a_search_one_by_one_does():
    results = [
        search(NASBenchMacro(), RandomSearch(), make(training=MACRO), trials=7, seed=0, batch=batch) for batch in (1, 4)
    ]
    one_by_one, batches = ([(trial.id, trial.architecture) for trial in r.history] for r in results)
    assert one_by_one == batches
    for alone, together in zip(results[0].history, results[1].history, strict=True):
        assert rounded(together) == (alone.score, alone.metrics)
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
