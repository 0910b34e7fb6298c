"""Searches in stages (P-DARTS): fewer candidates in deeper networks, and a cap on skip connections."""

import itertools

import numpy as np
import pytest
import torch
from differentiable_lab import parameters
from differentiable_search_lab import SPACE, Killed, kill_after, make, same, started, untimed

from archsearch.abilities import most_probable
from archsearch.components import build, describe
from archsearch.differentiable.costs import CandidateCosts
from archsearch.differentiable.guards import OperationDropout, SkipStop
from archsearch.differentiable.stages import Stages
from archsearch.errors import UsageError
from archsearch.spaces import DARTS
from archsearch.spaces.darts import OPERATIONS, RELAXED_EDGES, genotype


class Fixed:
    """A distribution that was learnt: strengths of a space's candidates."""

    def __init__(self, space, strengths):
        self.probabilities = lambda prefix: space.relaxed_probabilities(strengths, prefix)


def skips_of(cell):
    return sum(edge.operation == "skip_connect" for node in cell for edge in node)


def counts(alive, sizes):
    """How many candidates of each choice there are."""
    ends = np.cumsum([0, *sizes])
    return [sum(alive[a:b]) for a, b in itertools.pairwise(ends)]


def test_candidates_fall_as_in_the_paper():
    three = Stages([{"layers": 5}, {"layers": 11}])
    assert [three.left(stage, 8) for stage in range(3)] == [5, 3, 1]
    assert [three.left(stage, 5) for stage in range(3)] == [3, 2, 1]
    assert [three.left(stage, 1) for stage in range(3)] == [1, 1, 1]
    assert [Stages([{}], [4]).left(stage, 8) for stage in range(2)] == [4, 1]
    assert [Stages([{}], [4]).left(stage, 3) for stage in range(2)] == [3, 1]


def test_candidates_of_an_edge_of_darts_and_skips_of_its_normal_cell(monkeypatch):
    # Counting what each of 224 candidates costs takes longer than all else.
    free = CandidateCosts(0, ((0,) * 8,) * 28)
    monkeypatch.setattr("archsearch.evaluators.relaxed_network.candidate_costs", lambda *_: free)
    stages = Stages([{"layers": 1}, {"layers": 2}], dropout=[0.1, 0.4, 0.7], skips=2)
    training = {"train_examples": 16, "batch_size": 8, "skeleton": {"channels": 2, "layers": 3}}
    evaluator = started(DARTS(), training=training, epochs=3, stages=stages, architecture_rate=0.1)
    depths = []
    evaluator.on_progress = lambda *_: depths.append(len(evaluator._shared._run.network.cells))
    evaluator.prepare()
    sizes = [8] * 28
    assert [counts(r["parameters"]["alive"], sizes) for r in evaluator.records] == [[n] * 28 for n in (8, 5, 3)]
    assert [record["candidates"] for record in evaluator.records] == [8, 5, 3]
    assert counts(evaluator._shared._facts["learnt"]["alive"], sizes) == [1] * 28
    assert depths == [2, 3, 3]  # told after an epoch, when the next stage has begun
    assert skips_of(genotype(evaluator.derived()).normal) <= 2
    assert 0 <= evaluator.evaluate(evaluator.derived(), 0).score <= 100


def refined(probabilities, alive, cap):
    """The normal cell by the authors' rule, step by step: pairs of edge and operation of four nodes."""
    probabilities = [dict(zip(own, some, strict=True)) for own, some in zip(alive, probabilities, strict=True)]
    while True:
        best = [max(some.items(), key=lambda pair: pair[1]) for some in probabilities]
        cell = []
        for target in range(2, 6):
            into = [i for i, edge in enumerate(RELAXED_EDGES) if edge[1] == target]
            cell += sorted(sorted(into, key=lambda i: -best[i][1])[:2])
        skips = [i for i in cell if best[i][0] == "skip_connect"]
        if len(skips) <= cap:
            return [(RELAXED_EDGES[i][0], best[i][0]) for i in cell]
        weakest = min(skips, key=lambda i: probabilities[i]["skip_connect"])
        probabilities[weakest]["skip_connect"] = 0.0


@pytest.mark.parametrize("cap", [0, 1, 2, 5])
def test_the_weakest_skips_go_until_the_cap_holds(cap):
    space, draws = DARTS(), np.random.default_rng(cap)
    choices = space.relaxed_choices()
    skip = choices[0].skip
    for _ in range(20):
        strengths, alive, chances = [], [], []
        for _ in choices:
            three = [skip, *(draws.choice([i for i in range(1, 8) if i != skip], 2, replace=False)).tolist()]
            p = draws.dirichlet([3, 1, 1])  # skips are likely
            strengths.append([0.0] * 8)
            for option, each in zip(three, p, strict=True):
                strengths[-1][option] = float(each)
            alive.append([OPERATIONS[option - 1] for option in three])
            chances.append(p.tolist())

        def skipping(found):
            chosen = space.selected(most_probable(Fixed(space, found), space))
            return [i for i in range(14) if skip in chosen[i]]

        settled = Stages([{}, {}], skips=cap).settled(strengths, choices, skipping)
        cells = genotype(most_probable(Fixed(space, settled), space))
        assert skips_of(cells.normal) <= cap
        normal = [(edge.source, edge.operation) for node in cells.normal for edge in node]
        assert normal == refined(chances[:14], alive[:14], cap)
        assert all(sum(s > 0 for s in own) == 1 for own in settled)


def test_the_weakest_candidates_go_and_one_besides_none_and_skip_stays():
    found, stages = parameters(scale=0.0), Stages([{}, {}])
    # none, skip_connect, nor_conv_1x1, nor_conv_3x3, avg_pool_3x3
    strengths = [[0.4, 0.3, 0.1, 0.15, 0.05]] * 5 + [[0.1, 0.2, 0.4, 0.25, 0.05]]
    stages.drop_weakest(0, found, strengths)
    assert found.living() == [[0, 1, 3]] * 5 + [[1, 2, 3]]
    stages.drop_weakest(1, found, strengths)
    assert found.living() == [[0, 3]] * 5 + [[2, 3]]


STAGED = {
    "epochs": 6,
    "frozen": 1,
    "architecture_rate": 0.1,
    "training": {"skeleton": {"channels": 4, "cells": 2}},
}


def staged(**settings):
    return {**STAGED, "stages": Stages([{"cells": 1}, {"cells": 1}], dropout=[0.0, 0.4, 0.7], **settings)}


@pytest.fixture(scope="module")
def whole():
    """A search that nothing interrupts, and its bill."""
    evaluator = started(**staged())
    return evaluator, evaluator.prepare()


@pytest.mark.parametrize("epoch", [2, 3])
def test_a_search_that_is_killed_in_a_stage_or_between_two_goes_on_to_the_same_result(epoch, tmp_path, whole):
    killed = started(folder=tmp_path, **staged())
    kill_after(killed, epoch)
    with pytest.raises(Killed):
        killed.prepare()
    again = started(folder=tmp_path, **staged())
    assert untimed(again.prepare()) == untimed(whole[1])
    assert same(whole[0], again)
    done = started(folder=tmp_path, **staged())
    assert untimed(done.prepare()) == untimed(whole[1])
    assert same(whole[0], done)
    assert done.derived() == whole[0].derived()


def test_each_stage_begins_anew_and_its_first_epochs_are_frozen(whole):
    evaluator = whole[0]
    logits = [torch.tensor(record["parameters"]["logits"]) for record in evaluator.records]
    for first, second in ((0, 1), (2, 3), (4, 5)):
        assert logits[first].abs().max() < 0.005  # as they are drawn
        assert logits[second].abs().max() > 0.05
    assert not torch.equal(logits[0], logits[2])
    assert [record["candidates"] for record in evaluator.records] == [5, 5, 3, 3, 2, 2]
    assert [record["ranking"] is None for record in evaluator.records] == [True, False] * 3
    assert 0 not in evaluator.derived()


def test_guards_of_a_stage_are_the_users_and_its_own():
    stages = Stages([{}, {}], dropout=[0.0, 0.4, 0.7], decay=2.0)
    (guard,) = stages.guards(1, 0.4)
    assert isinstance(guard, OperationDropout)
    assert (guard.rate, guard.decay, guard.frozen) == (0.4, 2.0, 0.4)
    assert Stages([{}]).guards(0, 0.0) == ()
    twin = build(describe(make(**staged())), "evaluators")
    assert describe(twin) == describe(make(**staged()))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"skeletons": []}, "Stages: skeletons: expected a list of mappings"),
        ({"skeletons": [{}], "kept": [3, 2]}, "Stages: kept: expected a list of 1, one for each stage but the last"),
        ({"skeletons": [{}, {}], "kept": [3, 4]}, "Stages: kept: expected numbers that do not rise"),
        ({"skeletons": [{}], "kept": [1]}, "Stages: kept"),
        ({"skeletons": [{}], "dropout": [0.1]}, "Stages: dropout: expected a list of 2, one for each stage, got"),
        ({"skeletons": [{}], "dropout": [0.1, 1.0]}, "Stages: dropout"),
        ({"skeletons": [{}], "skips": -1}, "Stages: skips"),
    ],
)
def test_wrong_settings_of_stages(settings, message):
    with pytest.raises(UsageError, match=message):
        Stages(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 5}, "epochs: expected a multiple of the 2 stages, got 5"),
        ({"epochs": 4, "frozen": 2}, "frozen: expected fewer than the 2 epochs of a stage"),
        (
            {"stages": Stages([{"layers": 3}])},
            "skeletons: networks of NASBench201 have none of the settings layers; expected any",
        ),
        ({"stages": Stages([{"cells": 0}])}, "NASBench201: cells: expected a whole number >= 1, got 0"),
        ({"guards": [SkipStop()]}, "guards: SkipStop may end the search or take it back, which stages"),
        ({"stages": 3}, "stages: expected a Stages, got 3"),
    ],
)
def test_what_does_not_go_together_with_stages(settings, message):
    def begin():
        evaluator = make(**{"stages": Stages([{"cells": 1}]), "epochs": 4, **settings})
        evaluator.check(SPACE)
        evaluator.start(SPACE)

    with pytest.raises(UsageError, match=message):
        begin()
