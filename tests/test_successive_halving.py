"""``SuccessiveHalving`` and ``Hyperband``: who is promoted, what is billed, what the inner controller hears."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from archsearch import Controller, Cost, Evaluation, Evaluator, Result, Space, Trial, resume, search
from archsearch.components import build, describe
from archsearch.controllers import RandomSearch, RegularizedEvolution, Reinforce
from archsearch.controllers import successive_halving as module
from archsearch.controllers.successive_halving import Hyperband, SuccessiveHalving, brackets
from archsearch.errors import UsageError
from archsearch.evaluators import Function, Tabular
from archsearch.evaluators.training import Training
from archsearch.seeding import evaluation_seed
from archsearch.spaces import NASBench201
from archsearch.testing import CONTROLLER_CHECKS, FixedSpace
from archsearch.trial import Architecture, Budget, Proposal, Query

BOTH = pytest.mark.parametrize("cls", [SuccessiveHalving, Hyperband])


def started(controller: Controller, seed: int = 0) -> Controller:
    controller.start(FixedSpace(), seed)
    return controller


def result(proposal: Proposal, score: float | None, curve: tuple[float, ...] = ()) -> Trial:
    evaluation = None if score is None else Evaluation(score, curve=curve)
    failure = "exception" if score is None else ""
    id_, architecture, parent, budget = proposal
    return Trial(id_, architecture, parent, evaluation, failure=failure, budget=budget)


def ask(controller: Controller) -> Proposal:
    (proposal,) = controller.ask()
    return proposal


def begin(controller: Controller, *scores: float | None) -> list[Proposal]:
    """Asks for as many new architectures, then tells their scores."""
    proposals = controller.ask(len(scores))
    assert all(proposal.budget == Budget(1) for proposal in proposals)
    controller.tell([result(p, score) for p, score in zip(proposals, scores, strict=True)])
    return proposals


def is_new(proposal: Proposal) -> bool:
    assert proposal.budget is not None
    return proposal.budget.start == 0


# -- the contract ----------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("check", ["beats_random_search", "resume_equals_not_stopping", "cost_stays_flat"])
def test_keeps_the_contract_around_a_controller_that_learns(cls: type[SuccessiveHalving], check: str) -> None:
    CONTROLLER_CHECKS[check](lambda: cls(RegularizedEvolution()))


@BOTH
def test_learns_as_the_inner_controller_does(cls: type[SuccessiveHalving]) -> None:
    assert cls(RegularizedEvolution()).learns
    assert not cls().learns
    drawn = []
    for sign in (1, -1):
        controller = started(cls())
        proposals = []
        for _ in range(200):
            proposals.append(ask(controller))
            controller.tell([result(proposals[-1], sign * sum(proposals[-1].architecture))])
        drawn.append([p.architecture for p in proposals if is_new(p)][:100])
    assert len(drawn[0]) == 100
    assert drawn[0] == drawn[1]


# -- settings --------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    "settings",
    [
        {"min_budget": 0},
        {"min_budget": 1.5},
        {"min_budget": 10},
        {"max_budget": 0},
        {"reduction": 1},
        {"reduction": True},
        {"controller": SuccessiveHalving()},
        {"controller": RandomSearch},
        {"controller": "RandomSearch"},
    ],
)
def test_bad_settings_are_refused(cls: type[SuccessiveHalving], settings: dict) -> None:
    with pytest.raises(UsageError, match=cls.__name__):
        cls(**settings)


@pytest.mark.parametrize(
    ("smallest", "largest", "reduction", "rungs"),
    [
        (1, 9, 3, (1, 3, 9)),
        (4, 108, 3, (4, 12, 36, 108)),
        (1, 10, 3, (1, 3, 9, 10)),
        (2, 9, 2, (2, 4, 8, 9)),
        (5, 5, 3, (5,)),
    ],
)
def test_rungs(smallest: int, largest: int, reduction: int, rungs: tuple[int, ...]) -> None:
    assert SuccessiveHalving(None, smallest, largest, reduction).budgets == rungs


def test_brackets_of_the_paper() -> None:
    plan = brackets(1, 81, 3)
    assert plan[0] == [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)]
    # Rounded up: 5 x 27 / 4, 5 x 9 / 3, 5 x 3 / 2, 5 x 1 / 1.
    assert [bracket[0] for bracket in plan[1:]] == [(34, 3), (15, 9), (8, 27), (5, 81)]
    assert plan[1] == [(34, 3), (11, 9), (3, 27), (1, 81)]
    assert Hyperband(max_budget=81).budgets == (1, 3, 9, 27, 81)


def test_brackets_when_the_lengths_do_not_divide() -> None:
    assert brackets(4, 108, 3)[0] == [(27, 4), (9, 12), (3, 36), (1, 108)]
    assert brackets(5, 108, 3)[0] == [(9, 12), (3, 36), (1, 108)]
    assert brackets(1, 20, 3) == [[(9, 2), (3, 6), (1, 20)], [(5, 6), (1, 20)], [(3, 20)]]
    assert brackets(7, 7, 2) == [[(1, 7)]]


@BOTH
def test_settings_survive_with_the_inner_controller(cls: type[SuccessiveHalving]) -> None:
    controller = cls(RegularizedEvolution(7, 3), 2, 50, 5)
    description = json.loads(json.dumps(describe(controller)))
    twin = build(description, trust=True)
    assert describe(twin) == description
    assert (twin.controller.population_size, twin.budgets) == (7, controller.budgets)


# -- who is promoted -------------------------------------------------------------------------------


def test_promotion_by_hand() -> None:
    controller = started(SuccessiveHalving())
    first = begin(controller, 0.1, 0.5)
    first += begin(controller, 0.3)  # the third result: one may go on
    promoted = ask(controller)
    assert promoted == Proposal(3, first[1].architecture, parent=1, budget=Budget(3, 1, origin=1))
    begin(controller, 0.2)  # id 4: only one of four, and that one has gone on
    better = begin(controller, 0.9)  # id 5: the best of five, though one of them was promoted already
    assert ask(controller) == Proposal(6, better[0].architecture, 5, Budget(3, 1, 5))
    begin(controller, 0.0)  # id 7: the best two of six went on
    controller.tell([result(promoted, 0.6)])  # one result in the second rung
    begin(controller, 0.4, 0.45, 0.46)  # ids 8, 9, 10: three of nine
    third = ask(controller)
    assert (third.parent, third.budget) == (10, Budget(3, 1, 10))
    controller.tell([result(third, 0.7), result(Proposal(6, better[0].architecture, 5, Budget(3, 1, 5)), 0.65)])
    last = ask(controller)  # the best of the three in the second rung
    assert last == Proposal(12, third.architecture, parent=11, budget=Budget(9, 3, origin=10))
    controller.tell([result(last, 0.99)])
    assert is_new(ask(controller))  # from the last rung nothing goes on


def test_longest_rungs_come_first() -> None:
    controller = started(SuccessiveHalving())
    begin(controller, *(0.1 * i for i in range(9)))
    second = controller.ask(3)
    assert [p.budget and p.budget.start for p in second] == [1, 1, 1]
    begin(controller, 0.9, 0.95, 0.99)  # one more of these could go on now
    controller.tell([result(p, 0.5) for p in second])
    assert [p.budget for p in controller.ask(2)] == [Budget(9, 3, 8), Budget(3, 1, 14)]


def test_results_out_of_order_promote_the_same() -> None:
    scores = [0.3, 0.9, 0.2, 0.8, 0.1, 0.7, 0.4, 0.6, 0.5]
    orders = [list(range(9)), [*range(8, -1, -1)], [4, 0, 8, 2, 6, 1, 5, 3, 7]]
    promoted = []
    for order in orders:
        controller = started(SuccessiveHalving())
        proposals = controller.ask(9)
        controller.tell([result(proposals[i], scores[i]) for i in order])
        promoted.append([(p.parent, p.budget) for p in controller.ask(4)])
    assert promoted[0] == [(1, Budget(3, 1, 1)), (3, Budget(3, 1, 3)), (5, Budget(3, 1, 5)), (None, Budget(1))]
    assert promoted[1:] == promoted[:1] * 2


def test_equal_scores_promote_a_third_the_oldest_first() -> None:
    controller = started(SuccessiveHalving())
    proposals = controller.ask(9)
    controller.tell([result(p, 0.5) for p in reversed(proposals)])
    assert [p.parent for p in controller.ask(5)] == [0, 1, 2, None, None]


def test_a_failed_promotion_is_out() -> None:
    controller = started(SuccessiveHalving())
    begin(controller, 0.1, 0.5, 0.3)
    promoted = ask(controller)
    controller.tell([result(promoted, None)])
    begin(controller, 0.2, 0.0)  # five results: the failed one keeps its place among them
    begin(controller, 0.05)
    assert [p.parent for p in controller.ask(2)] == [2, None]


def test_failures_at_the_first_rung_do_not_count() -> None:
    controller = started(SuccessiveHalving())
    begin(controller, 0.1, None, 0.5, None, None)
    assert is_new(ask(controller))
    begin(controller, 0.2)
    assert ask(controller).parent == 2


def plain_asha(scores: Callable[[Architecture, int], float], trials: int, workers: int) -> list[tuple]:
    """Algorithm 2 as the paper has it, with whole rungs in lists; results come back in a shuffled order."""
    controller = started(SuccessiveHalving())
    rng, due = random.Random(5), []
    rungs: dict[int, list[tuple[float, int]]] = {1: [], 3: [], 9: []}
    promoted: set[int] = set()
    pairs = []
    for _ in range(trials):
        expected = None
        for length in (3, 1):
            top = sorted(rungs[length])[: len(rungs[length]) // 3]
            able = [id_ for _, id_ in top if id_ not in promoted]
            if able:
                promoted.add(able[0])
                expected = (able[0], 3 * length)
                break
        proposal = ask(controller)
        assert proposal.budget is not None
        pairs.append((expected or (None, 1), (proposal.parent, proposal.budget.stop)))
        due.append(proposal)
        if len(due) >= workers:
            done = due.pop(rng.randrange(len(due)))
            score = scores(done.architecture, done.budget.stop)
            rungs[done.budget.stop].append((-score, done.id))
            controller.tell([result(done, score)])
    return pairs


@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("digits", [1, 9])  # with one digit there are many ties
def test_equals_the_paper(workers: int, digits: int) -> None:
    noise = np.random.default_rng(workers)

    def score(architecture: Architecture, stop: int) -> float:
        return round(sum(architecture) / 24 + 0.2 * noise.random() + 0.1 * stop, digits)

    pairs = plain_asha(score, 280, workers)
    assert [got for _, got in pairs] == [expected for expected, _ in pairs]
    assert Counter(stop for _, (_, stop) in pairs)[9] >= 20


def test_hundreds_of_results_at_once_lose_no_candidate() -> None:
    controller = started(SuccessiveHalving())
    begin(controller, *(float(i % 100) for i in range(3000)))
    expected = sorted(range(3000), key=lambda i: (-(i % 100), i))
    assert [p.parent for p in controller.ask(1000)] == expected[:1000]


# -- the inner controller --------------------------------------------------------------------------


class Listener(RandomSearch):
    """Keeps what it is told."""

    def _start(self) -> None:
        self.heard: list[Trial] = []

    def _tell(self, trial: Trial) -> None:
        self.heard.append(trial)


def test_inner_controller_hears_each_first_result_once() -> None:
    inner = Listener()
    controller = started(SuccessiveHalving(inner))
    told, rng = [], random.Random(1)
    due: list[Proposal] = []
    for i in range(200):
        due.append(ask(controller))
        if len(due) > 6:
            told.append(result(due.pop(rng.randrange(len(due))), None if i % 7 == 0 else rng.random()))
            controller.tell([told[-1]])
    first = [trial for trial in told if trial.budget == Budget(1)]
    assert [t.evaluation for t in inner.heard] == [t.evaluation for t in first]
    assert [t.architecture for t in inner.heard] == [t.architecture for t in first]
    assert None in [t.evaluation for t in inner.heard]
    assert len({t.id for t in inner.heard}) == len(first) < len(told)
    assert sorted(t.id for t in inner.heard)[-1] <= len(first) + 6  # ids of its own, without gaps


@pytest.mark.parametrize("kept", [1000, 12])
def test_parents_of_new_architectures_are_trials_of_this_search(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PARENTS", kept)
    controller = started(SuccessiveHalving(RegularizedEvolution(10, 5)))
    proposals: list[Proposal] = []
    named = 0
    for _ in range(300):
        proposals.append(ask(controller))
        new = proposals[-1]
        if is_new(new) and new.parent is not None:
            parent = proposals[new.parent]
            assert is_new(parent)
            assert sum(a != b for a, b in zip(new.architecture, parent.architecture, strict=True)) == 1
            named += 1
        controller.tell([result(new, sum(new.architecture))])
    assert named > 100
    assert named == sum(map(is_new, proposals)) - 10 or kept == 12


def test_hyperband_shares_new_architectures_among_its_brackets() -> None:
    controller = started(Hyperband())
    new = [ask(controller) for _ in range(17)]  # brackets of 9, 5 and 3
    assert Counter(p.budget for p in new) == {Budget(1): 9, Budget(3): 5, Budget(9): 3}
    for n in range(18):
        begun = Counter(p.budget for p in new[:n])
        assert all(abs(begun[Budget(length)] - n * share / 17) <= 1 for length, share in ((1, 9), (3, 5), (9, 3)))


def test_hyperband_keeps_the_rungs_of_its_brackets_apart() -> None:
    controller = started(Hyperband())
    new = [ask(controller) for _ in range(17)]
    second = [p for p in new if p.budget == Budget(3)]
    controller.tell([result(p, 0.1 * i) for i, p in enumerate(second)])  # five in the first rung of the second bracket
    assert ask(controller) == Proposal(17, second[-1].architecture, second[-1].id, Budget(9, 3, second[-1].id))
    first = [p for p in new if p.budget == Budget(1)]
    controller.tell([result(p, 0.1 * i) for i, p in enumerate(first)])
    promoted = controller.ask(3)
    assert [p.budget for p in promoted] == [Budget(3, 1, p.id) for p in reversed(first[-3:])]
    controller.tell([result(p, -1.0) for p in promoted])  # worse than the other bracket's, yet the best of three
    assert ask(controller).budget == Budget(9, 3, first[-1].id)


def test_hyperband_tells_the_inner_controller_scores_of_one_length() -> None:
    inner = Listener()
    controller = started(Hyperband(inner, min_budget=2, max_budget=18))
    new = [ask(controller) for _ in range(17)]
    curves = {p.id: tuple(float(100 * p.id + epoch) for epoch in range(1, p.budget.stop + 1)) for p in new}
    controller.tell([result(p, curves[p.id][-1], curves[p.id]) for p in new])
    assert [trial.score for trial in inner.heard] == [100 * p.id + 2 for p in new]

    controller = started(Hyperband(inner, min_budget=2, max_budget=18))
    new = [ask(controller) for _ in range(17)]
    controller.tell([result(p, float(p.id)) for p in new])
    assert [trial.score for trial in inner.heard] == [p.id if p.budget == Budget(2) else None for p in new]
    assert {trial.failure for trial in inner.heard} == {"", "invalid_score"}


# -- in a search -----------------------------------------------------------------------------------


class Ledger(Evaluator):
    """Bills what was added, and writes down every training; the score grows with length, with noise by the seed."""

    def __init__(self) -> None:
        self.trained: list[tuple[int, int, int]] = []

    def check_budgets(self, budgets: Sequence[int]) -> None:
        pass

    def evaluate_query(self, query: Query) -> Evaluation:
        assert query.budget is not None
        stop, start, origin = query.budget
        self.trained.append((query.id if origin is None else origin, start, stop))
        score = sum(query.architecture) + stop + 2 * np.random.default_rng([query.seed, stop]).random()
        return Evaluation(float(score), cost=Cost(examples=float(stop - start), recorded_seconds=float(stop - start)))


INSIDE = {
    "random": RandomSearch,
    "evolution": lambda: RegularizedEvolution(10, 3),
    "reinforce": lambda: Reinforce("softmax"),
}


def check_trainings(found: Result, ledger: Ledger) -> None:
    trials = {trial.id: trial for trial in found.history}
    billed = 0
    for trial in trials.values():
        assert trial.budget is not None
        stop, start, origin = trial.budget
        billed += stop - start
        if origin is None:
            assert start == 0
            continue
        assert trial.parent is not None
        parent, first = trials[trial.parent], trials[origin]
        assert parent.budget is not None
        assert parent.budget.stop == start
        assert origin == (parent.id if parent.budget.origin is None else parent.budget.origin)
        assert trial.architecture == parent.architecture == first.architecture
        assert trial.seed == first.seed == evaluation_seed(found.seed, origin)
    assert found.cost.examples == billed
    ends = Counter((origin, stop) for origin, _, stop in ledger.trained)
    assert set(ends.values()) == {1}
    assert any(start for _, start, _ in ledger.trained)
    longest = max(trial.budget.stop for trial in trials.values() if trial.budget)
    assert found.best is not None
    assert found.best.budget is not None
    assert found.best.budget.stop == longest == 16
    assert found.best.score == max(t.score or 0 for t in trials.values() if t.budget and t.budget.stop == longest)


@BOTH
@pytest.mark.parametrize("inside", INSIDE)
@pytest.mark.parametrize(("executor", "workers"), [("local", 1), ("simulated", 8)])
def test_search_bills_added_epochs_only(cls: type, inside: str, executor: str, workers: int) -> None:
    ledger = Ledger()
    controller = cls(INSIDE[inside](), max_budget=16, reduction=2)
    found = search(FixedSpace(), controller, ledger, trials=150, seed=3, executor=executor, workers=workers)
    check_trainings(found, ledger)


@BOTH
@pytest.mark.parametrize("inside", INSIDE)
def test_resumed_equals_uninterrupted(cls: type, inside: str, tmp_path) -> None:
    def outcome(found: Result) -> list[tuple]:
        return [(t.id, t.architecture, t.parent, t.budget, t.score, t.seed, t.cost.examples) for t in found.history]

    whole = search(FixedSpace(), cls(INSIDE[inside]()), Ledger(), trials=120, seed=4, out=tmp_path / "whole")
    search(FixedSpace(), cls(INSIDE[inside]()), Ledger(), trials=50, seed=4, out=tmp_path / "cut")
    for trials in (51, 120):
        resumed = resume(tmp_path / "cut", trials=trials, trust=True)  # the nested controller comes from config.yaml
    assert outcome(resumed) == outcome(whole)
    assert resumed.best == whole.best._replace(started=resumed.best.started, seconds=resumed.best.seconds)


@BOTH
def test_resumed_from_the_journal_of_a_killed_run(cls: type, tmp_path) -> None:
    class Killed(BaseException):
        pass

    def kill(trial: Trial) -> None:
        if trial.id == 70:
            raise Killed

    settings = {"trials": 120, "seed": 4, "executor": "simulated", "workers": 8}
    whole = search(FixedSpace(), cls(RegularizedEvolution(10, 3)), Ledger(), **settings)
    with pytest.raises(Killed):
        search(
            FixedSpace(), cls(RegularizedEvolution(10, 3)), Ledger(), out=tmp_path / "run", on_trial=kill, **settings
        )
    resumed = resume(tmp_path / "run", trust=True)
    first, second = (
        [(t.id, t.architecture, t.budget, t.score) for t in each.history][:70] for each in (whole, resumed)
    )
    assert first == second
    assert resumed.completed == 120


@BOTH
@pytest.mark.parametrize("evaluator", [Tabular(), Function("math.fsum")])
def test_evaluators_without_budgets_are_refused_before_anything_is_written(cls, evaluator, tmp_path) -> None:
    with pytest.raises(UsageError, match="1, 3, 9"):
        search(NASBench201(), cls(), evaluator, trials=5, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def tiny() -> Training:
    return Training(epochs=3, train_examples=40, skeleton={"channels": 2, "cells": 1})


@BOTH
def test_training_goes_on_exactly(cls: type[SuccessiveHalving]) -> None:
    space: Space = NASBench201()
    found = search(space, cls(max_budget=3), tiny(), trials=9, seed=1)
    trials = list(found.history)
    assert found.cost.examples == 40 * sum(t.budget.stop - t.budget.start for t in trials if t.budget)
    promoted = [trial for trial in trials if trial.budget and trial.budget.start]
    assert promoted
    evaluator = tiny()
    evaluator.start(space)
    for trial in promoted:
        assert trial.budget == Budget(3, 1, trial.parent)
        assert trial.seed == evaluation_seed(1, trial.budget.origin)
        uninterrupted = evaluator.evaluate(trial.architecture, trial.seed)
        assert (trial.score, trial.evaluation.curve) == (uninterrupted.score, uninterrupted.curve)
        assert trial.metrics == uninterrupted.metrics
        assert trial.evaluation.curve[0] == next(t.score for t in trials if t.id == trial.parent)
    assert found.best is not None
    assert found.best.budget is not None
    assert found.best.budget.stop == 3
    with pytest.raises(UsageError, match="longer than a full training"):
        search(space, cls(max_budget=9), tiny(), trials=9)
