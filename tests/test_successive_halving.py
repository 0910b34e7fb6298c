"""``SuccessiveHalving`` and ``Hyperband``: settings, and who is promoted."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from halving_lab import BOTH, ask, is_new, result, started

from archsearch import Controller
from archsearch.components import build, describe
from archsearch.controllers import RandomSearch, RegularizedEvolution
from archsearch.controllers.successive_halving import Hyperband, SuccessiveHalving, brackets
from archsearch.errors import UsageError
from archsearch.testing import CONTROLLER_CHECKS
from archsearch.trial import Architecture, Budget, Proposal


def begin(controller: Controller, *scores: float | None) -> list[Proposal]:
    """Asks for as many new architectures, then tells their scores."""
    proposals = controller.ask(len(scores))
    assert all(proposal.budget == Budget(1) for proposal in proposals)
    controller.tell([result(p, score) for p, score in zip(proposals, scores, strict=True)])
    return proposals


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
