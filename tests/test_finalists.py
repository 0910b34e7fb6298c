"""``Finalists``: who is scored once more, when, with which budget, and what the inner controller hears."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsearch import Controller, Cost, Evaluation, Evaluator, Result, Trial, resume, search
from archsearch.basics.seeding import evaluation_seed
from archsearch.components import build, describe
from archsearch.controllers import Finalists, RandomSearch, RegularizedEvolution, SuccessiveHalving
from archsearch.controllers import finalists as module
from archsearch.errors import UsageError
from archsearch.evaluators import Function, Tabular
from archsearch.evaluators.training import Training
from archsearch.spaces import NASBench201
from archsearch.testing import CONTROLLER_CHECKS, FixedSpace
from archsearch.trial import Architecture, Budget, Proposal, Query

CHEAP = Budget(10)


def started(seed: int = 0, **changes: object) -> Finalists:
    controller = Finalists(**changes)  # type: ignore[arg-type]
    controller.start(FixedSpace(), seed)
    return controller


def result(proposal: Proposal, score: float | None) -> Trial:
    evaluation = None if score is None else Evaluation(score)
    id_, architecture, parent, budget = proposal
    return Trial(id_, architecture, parent, evaluation, failure="" if evaluation else "limit", budget=budget)


def ask(controller: Controller) -> Proposal:
    (proposal,) = controller.ask()
    return proposal


def sample(controller: Controller, *scores: float | None) -> list[Proposal]:
    """Asks for as many samples, then tells their scores."""
    proposals = controller.ask(len(scores))
    assert {p.budget for p in proposals} == {CHEAP}
    controller.tell([result(p, score) for p, score in zip(proposals, scores, strict=True)])
    return proposals


def finalist(id_: int, of: Proposal, full: int = 1000) -> Proposal:
    return Proposal(id_, of.architecture, of.id, Budget(full, 10, of.id))


# -- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"samples": 0},
        {"samples": 9},
        {"samples": 20.0},
        {"finalists": 0},
        {"finalists": True},
        {"finalists": 1001},
        {"budget": 0},
        {"budget": 1000},
        {"full_budget": 10},
        {"controller": SuccessiveHalving()},
        {"controller": Finalists()},
        {"controller": RandomSearch},
        {"controller": "RandomSearch"},
    ],
)
def test_bad_settings_are_refused(settings: dict) -> None:
    with pytest.raises(UsageError, match="Finalists"):
        Finalists(**settings)


def test_defaults_are_those_of_the_paper() -> None:
    controller = Finalists()
    assert (controller.samples, controller.finalists, controller.budget) == (1000, 10, 10)
    assert controller.budgets == (10, 1000)
    proposals = started().ask(50)
    assert {(p.parent, p.budget) for p in proposals} == {(None, CHEAP)}


def test_default_round() -> None:
    controller = started()
    scores = np.random.default_rng(0).permutation(1000) / 1000
    proposals = sample(controller, *scores.tolist())
    best = np.argsort(-scores)[:10].tolist()
    assert controller.ask(11)[:10] == [finalist(1000 + i, proposals[id_]) for i, id_ in enumerate(best)]


def test_settings_survive_with_the_inner_controller() -> None:
    controller = Finalists(RegularizedEvolution(7, 3), 20, 2, 5, 50)
    description = json.loads(json.dumps(describe(controller)))
    twin = build(description)
    assert describe(twin) == description
    assert (twin.controller.population_size, twin.budgets) == (7, (5, 50))


@pytest.mark.parametrize("check", ["beats_random_search", "resume_equals_not_stopping", "cost_stays_flat"])
def test_keeps_the_contract_around_a_controller_that_learns(check: str) -> None:
    CONTROLLER_CHECKS[check](lambda: Finalists(RegularizedEvolution(), samples=50, finalists=3))


def test_learns_as_the_inner_controller_does() -> None:
    assert Finalists(RegularizedEvolution()).learns
    assert not Finalists().learns
    drawn = []
    for sign in (1, -1):
        controller = started(samples=10, finalists=3)
        proposals = []
        for _ in range(130):
            proposals.append(ask(controller))
            controller.tell([result(proposals[-1], sign * sum(proposals[-1].architecture))])
        drawn.append([p.architecture for p in proposals if p.budget == CHEAP])
    assert len(drawn[0]) == 100
    assert drawn[0] == drawn[1]


# -- who is a finalist -------------------------------------------------------------------------------


def test_rounds_by_hand() -> None:
    controller = started(samples=4, finalists=2)
    first = sample(controller, 0.1, 0.9, 0.5, 0.7)
    assert controller.ask(2) == [finalist(4, first[1]), finalist(5, first[3])]
    second = sample(controller, 0.3, 0.2)  # ids 6 and 7; better ones of the first round are out
    second += sample(controller, 0.25, 0.1)
    assert controller.ask(2) == [finalist(10, second[0]), finalist(11, second[2])]
    assert ask(controller).budget == CHEAP


def test_sampling_goes_on_while_results_are_due() -> None:
    controller = started(samples=4, finalists=1)
    proposals = controller.ask(6)
    controller.tell([result(p, 0.1 * p.id) for p in proposals[:3]])
    proposals.append(ask(controller))
    assert {p.budget for p in proposals} == {CHEAP}
    controller.tell([result(proposals[6], 0.05)])  # the fourth score ends the round, whichever it is
    assert ask(controller) == finalist(7, proposals[2])
    controller.tell([result(p, 0.0) for p in proposals[3:6]])  # these belong to the next
    (last,) = sample(controller, 0.5)
    assert ask(controller) == finalist(9, last)


def test_finalists_of_several_rounds_wait_in_turn() -> None:
    controller = started(samples=3, finalists=2)
    proposals = controller.ask(9)
    controller.tell([result(p, p.id) for p in proposals])
    expected = [finalist(9 + i, proposals[id_]) for i, id_ in enumerate((2, 1, 5, 4, 8, 7))]
    assert controller.ask(7)[:6] == expected
    assert ask(controller).budget == CHEAP


def test_equal_scores_the_older_in_any_order() -> None:
    for seed in range(3):
        controller = started(samples=6, finalists=2)
        proposals = controller.ask(6)
        controller.tell([result(p, 0.5) for p in random.Random(seed).sample(proposals, 6)])
        assert [p.parent for p in controller.ask(2)] == [0, 1]


def test_failed_and_lost_samples_do_not_count() -> None:
    controller = started(samples=3, finalists=2)
    proposals = sample(controller, None, 0.2, float("nan"), None, 0.1)
    controller.ask(4)  # never told
    (last,) = sample(controller, 0.15)
    assert controller.ask(2) == [finalist(10, proposals[1]), finalist(11, last)]
    silent = started(samples=3, finalists=2)
    assert {p.budget for p in silent.ask(50)} == {CHEAP}
    controller = started(samples=3, finalists=2)
    for _ in range(30):
        sample(controller, None)


def test_a_failed_finalist_is_out() -> None:
    controller = started(samples=3, finalists=1)
    sample(controller, 0.1, 0.3, 0.2)
    controller.tell([result(ask(controller), None)])
    assert ask(controller).budget == CHEAP


class Same(RandomSearch):
    """Three architectures in turn."""

    def _start(self) -> None:
        self.asked = 0

    def _ask(self) -> Architecture:
        self.asked += 1
        return (self.asked % 3,) * 6


def test_finalists_are_different_architectures() -> None:
    controller = started(controller=Same(), samples=8, finalists=4)
    proposals = controller.ask(8)
    scores = [0.9, 0.2, 0.1, 0.8, 0.3, 0.1, 0.95, 0.25]
    order = [7, 0, 6, 5, 4, 1, 2, 3]
    controller.tell([result(proposals[i], scores[i]) for i in order])
    got = controller.ask(4)
    assert [p.parent for p in got[:3]] == [6, 4, 2]  # of each the best, and of equals the older
    assert got[3].budget == CHEAP  # there is no fourth


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(seed=st.integers(0, 2**32), samples=st.integers(1, 12), workers=st.sampled_from([1, 4, 30]))
def test_equals_the_plain_rule(seed: int, samples: int, workers: int) -> None:
    """Each round is ``samples`` scores in the order told; after restarts as well."""
    rng = random.Random(seed)
    finalists = rng.randint(1, samples)
    controller = started(seed, samples=samples, finalists=finalists)
    scores: list[tuple[float, Proposal]] = []
    expected: list[Proposal] = []
    due: list[Proposal] = []
    for _ in range(150):
        proposal = ask(controller)
        if expected:
            sampled = expected.pop(0)
            assert proposal[1:] == finalist(0, sampled)[1:]
        else:
            assert proposal.budget == CHEAP
        due.append(proposal)
        if len(due) >= workers:
            done = due.pop(rng.randrange(len(due)))
            score = rng.choice((None, 0.5, rng.random()))
            controller.tell([result(done, score)])
            if score is not None and done.budget == CHEAP:
                scores.append((score, done))
                if len(scores) == samples:
                    best: dict[Architecture, Proposal] = {}
                    for _, each in sorted(scores, key=lambda s: (-s[0], s[1].id)):
                        best.setdefault(each.architecture, each)
                    expected += list(best.values())[:finalists]
                    scores = []
        if rng.random() < 0.1:
            state = json.loads(json.dumps(controller.state_dict()))
            controller = started(seed + 1, samples=samples, finalists=finalists)
            controller.load_state_dict(state)


# -- the inner controller --------------------------------------------------------------------------


class Listener(RandomSearch):
    """Keeps what it is told."""

    def _start(self) -> None:
        self.heard: list[Trial] = []

    def _tell(self, trial: Trial) -> None:
        self.heard.append(trial)


def test_inner_controller_hears_each_cheap_result_once() -> None:
    inner = Listener()
    controller = started(controller=inner, samples=10, finalists=3)
    told, rng = [], random.Random(1)
    due: list[Proposal] = []
    for i in range(200):
        due.append(ask(controller))
        if len(due) > 6:
            told.append(result(due.pop(rng.randrange(len(due))), None if i % 7 == 0 else rng.random()))
            controller.tell([told[-1]])
    cheap = [trial for trial in told if trial.budget == CHEAP]
    assert [(t.architecture, t.evaluation) for t in inner.heard] == [(t.architecture, t.evaluation) for t in cheap]
    assert None in [t.evaluation for t in inner.heard]
    assert len({t.id for t in inner.heard}) == len(cheap) < len(told) - 20
    assert sorted(t.id for t in inner.heard)[-1] <= len(cheap) + 6  # ids of its own, without gaps


@pytest.mark.parametrize("rounds", [40, 2])
def test_parents_of_samples_are_trials_of_this_search(rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROUNDS", rounds)
    controller = started(controller=RegularizedEvolution(20, 5), samples=9, finalists=2)
    proposals: list[Proposal] = []
    samples = named = 0
    for _ in range(300):
        proposals.append(ask(controller))
        new = proposals[-1]
        if new.budget == CHEAP:
            samples += 1
            if new.parent is not None:
                parent = proposals[new.parent]
                assert parent.budget == CHEAP
                assert sum(a != b for a, b in zip(new.architecture, parent.architecture, strict=True)) == 1
                named += 1
        controller.tell([result(new, sum(new.architecture))])
    assert samples == 246  # 27 rounds of 11, and three more
    assert named == samples - 20 if rounds == 40 else 50 < named < samples - 40


# -- in a search -----------------------------------------------------------------------------------


class Ledger(Evaluator):
    """Bills what was added, and writes down every scoring; the longer one is nearer to the sum of the options."""

    def __init__(self) -> None:
        self.scored: list[tuple[int, int, int]] = []

    def check_budgets(self, budgets: Sequence[int]) -> None:
        pass

    def evaluate_query(self, query: Query) -> Evaluation:
        assert query.budget is not None
        stop, start, origin = query.budget
        self.scored.append((query.id if origin is None else origin, start, stop))
        noise = np.random.default_rng([query.seed, stop]).normal() * 10 / stop
        added = float(stop - start)
        return Evaluation(sum(query.architecture) + float(noise), cost=Cost(examples=added, recorded_seconds=added))


@pytest.mark.parametrize(("executor", "workers"), [("local", 1), ("simulated", 8)])
@pytest.mark.parametrize("inside", [None, RegularizedEvolution(10, 3)], ids=["random", "evolution"])
def test_search_bills_finalists_for_what_is_added(inside: Controller | None, executor: str, workers: int) -> None:
    ledger = Ledger()
    controller = Finalists(inside, samples=20, finalists=3, full_budget=100)
    wanted = 230 if workers == 1 else 300  # ten rounds; several workers go on sampling while finalists are scored
    found = search(FixedSpace(), controller, ledger, trials=wanted, seed=3, executor=executor, workers=workers)
    trials = {trial.id: trial for trial in found.history}
    lengths = Counter(t.budget.stop for t in trials.values() if t.budget)
    assert lengths == {10: 200, 100: 30} or (workers > 1 and lengths[100] >= 30)
    assert found.cost.examples == 10 * lengths[10] + 90 * lengths[100]
    for trial in trials.values():
        if trial.budget == CHEAP:
            continue
        assert trial.parent is not None
        assert trial.budget == Budget(100, 10, trial.parent)
        first = trials[trial.parent]
        assert (trial.architecture, trial.seed) == (first.architecture, first.seed)
        assert trial.seed == evaluation_seed(3, first.id)
    assert Counter(stop for _, _, stop in ledger.scored) >= lengths
    assert {(start, stop) for _, start, stop in ledger.scored} == {(0, 10), (10, 100)}
    assert len({(origin, stop) for origin, _, stop in ledger.scored}) == len(ledger.scored)
    assert found.best is not None
    full = [t for t in trials.values() if t.budget and t.budget.stop == 100]
    assert found.best.score == max(t.score or 0 for t in full)


@pytest.mark.parametrize("inside", [None, RegularizedEvolution(10, 3)], ids=["random", "evolution"])
def test_resumed_equals_uninterrupted(inside: Controller | None, tmp_path) -> None:
    def outcome(found: Result) -> list[tuple]:
        return [(t.id, t.architecture, t.parent, t.budget, t.score, t.seed, t.cost.examples) for t in found.history]

    def new() -> Finalists:
        return Finalists(inside, samples=20, finalists=3)

    whole = search(FixedSpace(), new(), Ledger(), trials=120, seed=4, out=tmp_path / "whole")
    search(FixedSpace(), new(), Ledger(), trials=21, seed=4, out=tmp_path / "cut")
    for trials in (50, 120):
        resumed = resume(tmp_path / "cut", trials=trials, trust=True)  # the nested controller comes from config.yaml
    assert outcome(resumed) == outcome(whole)


@pytest.mark.parametrize("evaluator", [Tabular(), Function("math.fsum")])
def test_evaluators_without_budgets_are_refused_before_anything_is_written(evaluator, tmp_path) -> None:
    with pytest.raises(UsageError, match="10, 1000"):
        search(NASBench201(), Finalists(), evaluator, trials=5, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_training_goes_on_exactly() -> None:
    training = {"epochs": 3, "train_examples": 40, "skeleton": {"channels": 2, "cells": 1}}
    controller = Finalists(samples=4, finalists=1, budget=1, full_budget=3)
    found = search(NASBench201(), controller, Training(**training), trials=10, seed=1)
    trials = list(found.history)
    assert found.cost.examples == 40 * (8 * 1 + 2 * 2)
    finalists = [trial for trial in trials if trial.budget and trial.budget.start]
    assert [t.id for t in finalists] == [4, 9]
    evaluator = Training(**training)
    evaluator.start(NASBench201())
    for trial in finalists:
        uninterrupted = evaluator.evaluate(trial.architecture, trial.seed)
        assert trial.evaluation is not None
        assert (trial.score, trial.evaluation.curve) == (uninterrupted.score, uninterrupted.curve)
        assert trial.budget == Budget(3, 1, trial.parent)
