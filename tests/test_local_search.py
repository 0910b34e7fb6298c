"""``LocalSearch``: climbs to local optima, restarts, never waits, repeats nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from archsearch import Evaluation, Space, Trial, search
from archsearch.controllers import LocalSearch, RandomSearch
from archsearch.controllers import local_search as module
from archsearch.errors import UsageError
from archsearch.evaluators import Tabular
from archsearch.spaces import NASBench201
from archsearch.testing import ConditionalSpace, FixedSpace, OnePointSpace, VariableLengthSpace
from archsearch.trial import Architecture, Proposal


class Wide(Space):
    """The first decision opens 4^6 ways to go on: so many neighbours that they cannot be listed."""

    def __init__(self) -> None:
        super().__init__(max_length=7, max_options=4)

    def arity(self, prefix: Architecture) -> int:
        if not prefix:
            return 2
        return 4 if prefix[0] == 1 and len(prefix) < 7 else 0


def started(space: Space | None = None, seed: int = 0, **changes: object) -> LocalSearch:
    controller = LocalSearch(**changes)  # type: ignore[arg-type]
    controller.start(FixedSpace() if space is None else space, seed)
    return controller


def result(proposal: Proposal, score: float | None) -> Trial:
    evaluation = None if score is None else Evaluation(score)
    return Trial(
        proposal.id, proposal.architecture, proposal.parent, evaluation, failure="" if evaluation else "timeout"
    )


def total(proposal: Proposal) -> float:
    return float(sum(proposal.architecture))


def run(controller: LocalSearch, n: int, score=total) -> list[Proposal]:
    proposals: list[Proposal] = []
    for _ in range(n):
        proposals += controller.ask()
        controller.tell([result(proposals[-1], score(proposals[-1]))])
    return proposals


def distance(one: Architecture, other: Architecture) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    "settings", [{"initial": 0}, {"neighbours": 0}, {"neighbours": 1.5}, {"first_improvement": 1}, {"initial": True}]
)
def test_wrong_settings(settings: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="LocalSearch"):
        started(**settings)


def test_the_whole_neighbourhood_is_asked_before_the_best_of_it_is_taken() -> None:
    controller = started(initial=3, first_improvement=False)
    beginnings = run(controller, 3)
    current = max(beginnings, key=total)
    space = FixedSpace()
    seen = {p.architecture for p in beginnings}
    for _ in range(3):
        expected = set(space.neighbours(current.architecture)) - seen
        neighbours = run(controller, len(expected))
        assert {p.architecture for p in neighbours} == expected
        assert {p.parent for p in neighbours} == {current.id}
        seen |= expected
        current = max(neighbours, key=lambda p: (total(p), -p.id))


def test_neighbours_are_asked_in_random_order() -> None:
    first = []
    for seed in range(20):
        controller = started(seed=seed, initial=1, first_improvement=False)
        beginning, *neighbours = (p.architecture for p in run(controller, 25))
        listed = list(FixedSpace().neighbours(beginning))
        assert neighbours != listed
        first.append(listed.index(neighbours[0]))
    assert len(set(first)) >= 8  # of 24, drawn 20 times: 13.7 on average


def test_the_first_improvement_is_taken_at_once() -> None:
    controller = started(initial=1, first_improvement=True)
    current, *later = run(controller, 80)
    moves = 0
    for proposal in later:
        if proposal.parent is None:
            break
        assert proposal.parent == current.id
        assert distance(proposal.architecture, current.architecture) == 1
        if total(proposal) > total(current):
            current = proposal
            moves += 1
    assert moves >= 3
    assert total(current) >= 20  # of 24


@pytest.mark.parametrize("first_improvement", [False, True])
def test_restarts_from_the_optimum_with_random_architectures(first_improvement: bool) -> None:
    controller = started(initial=4, first_improvement=first_improvement)
    proposals = run(controller, 400)
    top = next(i for i, p in enumerate(proposals) if total(p) == 24)
    beginnings = [i for i, p in enumerate(proposals) if p.parent is None]
    assert beginnings[:4] == [0, 1, 2, 3]
    second = beginnings[4]
    assert second > top
    assert second - top <= 25  # no more than its neighbours are between
    assert beginnings[4:8] == list(range(second, second + 4))


def test_equal_scores_are_no_improvement() -> None:
    controller = started(initial=1)
    proposals = run(controller, 26, lambda _: 0.5)
    assert [p.parent for p in proposals] == [None, *[0] * 24, None]


def test_a_bound_on_neighbours_is_kept_and_they_are_drawn() -> None:
    controller = started(initial=1, neighbours=5, first_improvement=False)
    proposals = run(controller, 300, lambda _: 0.0)
    assert [p.parent is None for p in proposals[:13]] == [True, *[False] * 5, True, *[False] * 5, True]
    changed = [
        next(i for i in range(6) if p.architecture[i] != proposals[p.parent].architecture[i])
        for p in proposals
        if p.parent is not None
    ]
    assert set(changed) == set(range(6))


def test_more_neighbours_than_can_be_listed_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = []

    def neighbours(self: Space, architecture: Architecture):
        for each in Space.neighbours(self, architecture):
            listed.append(each)
            yield each

    monkeypatch.setattr(Wide, "neighbours", neighbours)
    controller = started(Wide(), initial=1, neighbours=20, first_improvement=False)
    controller._move(module._Point(0.0, 0, (0,)))
    assert len(listed) == module.LISTED + 1
    assert 10 <= len(controller._queue) <= 20
    assert all(neighbour in Wide() and neighbour[0] == 1 for neighbour in controller._queue)
    assert len(json.dumps(started(Wide()).state_dict())) < 200_000


# -- no repeats, no waiting ------------------------------------------------------------------------


@pytest.mark.parametrize("space", [FixedSpace(), VariableLengthSpace(), NASBench201()])
@pytest.mark.parametrize("first_improvement", [False, True])
def test_nothing_is_proposed_twice(space: Space, first_improvement: bool) -> None:
    controller = started(space, first_improvement=first_improvement)
    proposals = run(controller, 400) + controller.ask(100)
    assert len({space.canonical(p.architecture) for p in proposals}) == 500


@pytest.mark.parametrize("space", [OnePointSpace(), Space(arities=(3, 4))])
def test_a_small_space_is_exhausted_then_repeated(space: Space) -> None:
    proposals = run(started(space, initial=2), 60)
    assert {p.architecture for p in proposals[: space.size()]} == set(space.enumerate())
    assert all(p.architecture in space for p in proposals)


def test_while_results_are_due_the_next_climb_begins() -> None:
    controller = started(initial=1, first_improvement=False)
    (first,) = controller.ask()
    controller.tell([result(first, 10.0)])
    neighbours, others = controller.ask(24), controller.ask(3)
    assert {p.parent for p in neighbours} == {0}
    assert {p.parent for p in others} == {None}
    controller.tell([result(p, 100.0) for p in others])  # they are no neighbours: the climb does not move to them
    controller.tell([result(p, 0.0 if p.id != 7 else 11.0) for p in neighbours])
    assert controller.ask()[0].parent == 7


def test_the_next_climb_begins_at_the_best_that_was_scored_meanwhile() -> None:
    controller = started(initial=1, first_improvement=False)
    controller.tell([result(p, 10.0) for p in controller.ask()])
    neighbours, others = controller.ask(24), controller.ask(3)
    controller.tell([result(p, float(p.id == others[1].id)) for p in others + neighbours])
    assert controller.ask()[0].parent == others[1].id


def test_neighbours_that_never_come_are_given_up() -> None:
    controller = started(initial=2, first_improvement=False)
    run(controller, 2)
    lost = controller.ask(24)
    later = run(controller, module.PATIENCE)
    assert {p.parent for p in later} == {None}
    best = max(later, key=total)
    assert controller.ask()[0].parent == best.id
    controller.tell([result(p, 50.0) for p in lost])  # too late for that climb, but not for the next beginning
    assert controller._beginning is not None
    assert controller._beginning.score == 50.0


def test_a_late_better_neighbour_is_still_taken() -> None:
    controller = started(initial=1, first_improvement=True)
    controller.tell([result(p, 1.0) for p in controller.ask()])
    early, late = controller.ask(2)
    controller.tell([result(early, 2.0)])
    assert controller.ask()[0].parent == early.id
    controller.tell([result(late, 3.0)])
    assert controller.ask()[0].parent == late.id


def test_failures_are_passed_over() -> None:
    controller = started(initial=2, first_improvement=False)
    proposals = []
    for _ in range(200):
        proposals += controller.ask()
        failed = proposals[-1].id % 3 == 0
        controller.tell([result(proposals[-1], None if failed else total(proposals[-1]))])
    assert all(p.parent is None or p.parent % 3 for p in proposals)
    assert max(map(total, proposals)) > 20


@pytest.mark.parametrize("space", [FixedSpace(), ConditionalSpace(), VariableLengthSpace()])
@pytest.mark.parametrize("first_improvement", [False, True])
@pytest.mark.parametrize("trials", [5, 37, 150])
def test_restored_in_the_middle_of_a_climb_it_goes_on_exactly(
    space: Space, first_improvement: bool, trials: int
) -> None:
    controller, restored = (started(space, seed, first_improvement=first_improvement) for seed in (0, 9))
    run(controller, trials)
    due = controller.ask(6)
    restored.load_state_dict(json.loads(json.dumps(controller.state_dict())))
    for each in (controller, restored):
        each.tell([result(p, total(p)) for p in due[:4]])
    assert run(restored, 120) == run(controller, 120)


@pytest.mark.parametrize(("first_improvement", "margin"), [(False, 0.2), (True, 0.3)])
def test_finds_clearly_better_cells_than_random_search(first_improvement: bool, margin: float) -> None:
    """NAS-Bench-201, validation accuracy on CIFAR-10, 150 evaluations: over 40 other seeds it is ahead by 0.4."""
    space, table = NASBench201(), Tabular()

    def best(controller, seed: int) -> float:
        found = search(space, controller, table, trials=150, seed=seed).best
        assert found is not None
        return found.score

    ours = np.array([best(LocalSearch(first_improvement=first_improvement), seed) for seed in range(20)])
    theirs = np.array([best(RandomSearch(), seed) for seed in range(20)])
    assert ours.mean() - theirs.mean() > margin
    assert (ours >= theirs).sum() >= 17
