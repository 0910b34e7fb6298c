"""``NSGA2``: parents from the population of the paper, and failed trials are none."""

from __future__ import annotations

import numpy as np
import pytest
from deap import tools
from nsga2_lab import individuals, result, run, scored, started, values

from archsearch import Space, Trial
from archsearch.spaces import DARTS, NASBench101
from archsearch.testing import ConditionalSpace, VariableLengthSpace
from archsearch.trial import Proposal

# -- who is a parent ---------------------------------------------------------------------------------


@pytest.mark.parametrize("initial", [None, 10, 20, 50])
def test_one_worker_has_the_populations_of_the_paper(initial: int | None) -> None:
    """All children of a generation have parents from the best of the population before and its children."""
    controller = started(initial=initial)
    trials: list[Trial] = []
    population: list[int] = []
    for generation in range(8):
        new = run(controller, 10)
        if generation < (initial or 10) // 10:
            assert {t.parent for t in new} == {None}
        else:
            assert len({t.parent for t in new}) > 2
            assert {t.parent for t in new} <= set(population)
        trials += new
        pool = sorted({*population, *(t.id for t in new)})
        chosen = tools.selNSGA2(individuals([values(trials[id_]) for id_ in pool]), 10)
        population = [pool[each.id] for each in chosen]


def test_first_ones_are_random_and_so_is_all_without_results() -> None:
    controller = started(initial=13)
    assert [t.parent for t in run(controller, 13)] == [None] * 13
    assert run(controller, 1)[0].parent is not None
    silent = started()
    assert {p.parent for p in silent.ask(100)} == {None}


def test_results_enter_at_once_until_the_population_is_full() -> None:
    controller = started()
    proposals = controller.ask(20)
    for i, proposal in enumerate(proposals[:5]):
        controller.tell([scored(proposal)])
        assert {p.parent for p in controller.ask(60)} <= set(range(i + 1))
        assert len(controller._population) == i + 1


def test_children_are_one_decision_from_a_mixture_of_two_parents() -> None:
    controller = started(crossover_probability=1.0)
    run(controller, 10)
    members = [m.architecture for m in controller._population]
    shares = []
    for child in controller.ask(300):
        others = [set(column) for column in zip(*members, strict=True)]
        assert sum(option not in column for option, column in zip(child.architecture, others, strict=True)) <= 1
        assert child.parent is not None
        first = next(m.architecture for m in controller._population if m.id == child.parent)
        shares.append(np.mean([a == b for a, b in zip(child.architecture, first, strict=True)]))
    # Half of the options are the first parent's; all but one where a parent was drawn twice: mean 0.5 to 0.6.
    assert 0.45 < np.mean([share for share in shares if share < 0.9]) < 0.53
    alone = started(crossover_probability=0.0)
    run(alone, 10)
    parents = {m.id: m.architecture for m in alone._population}
    for child in alone.ask(100):
        assert child.parent is not None
        assert sum(a != b for a, b in zip(child.architecture, parents[child.parent], strict=True)) == 1


@pytest.mark.parametrize("space", [DARTS(), NASBench101(), ConditionalSpace(), VariableLengthSpace()])
def test_stays_in_spaces_with_rules_of_their_own(space: Space) -> None:
    trials = run(started(space), 150)
    assert all(t.architecture in space for t in trials)
    assert sum(t.parent is not None for t in trials) == 140


def test_an_architecture_has_one_place() -> None:
    space = Space(arities=(3, 4))
    controller = started(space, population_size=6)
    for _ in range(100):
        run(controller, 1)
        members = [m.architecture for m in (*controller._population, *controller._arrived)]
        assert len(members) == len(set(members))
    assert len(controller._population) == 6


def test_children_that_are_known_are_drawn_again() -> None:
    controller = started(Space(arities=[3] * 5), population_size=20, crossover_probability=0.0)
    run(controller, 20)
    for _ in range(100):
        known = {m.architecture for m in (*controller._population, *controller._arrived)}
        assert run(controller, 1)[0].architecture not in known


# -- failures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cost", [float("nan"), float("inf"), -float("inf")])
def test_a_metric_that_is_not_finite_counts_as_failed(cost: float) -> None:
    controller = started()
    for _ in range(30):
        (proposal,) = controller.ask()
        assert proposal.parent is None
        with pytest.warns(UserWarning, match="results whose cost is no finite number count as failed"):
            controller.tell([result(proposal, 1.0, cost=cost)])
    assert controller.pareto_front == []


def test_a_metric_that_is_missing_counts_as_failed_and_is_named() -> None:
    controller = started()
    for _ in range(30):
        (proposal,) = controller.ask()
        assert proposal.parent is None
        with pytest.warns(UserWarning, match="results without cost count as failed; there is energy, score"):
            controller.tell([result(proposal, 1.0, energy=2.0)])
    assert controller.pareto_front == []


def test_failures_change_nothing() -> None:
    """The same results with failures among them: the same population."""
    steady, failing = started(), started()
    proposals = steady.ask(60)
    failing.ask(60)
    for proposal in proposals:
        steady.tell([scored(proposal)] if proposal.id % 3 else [])
        failing.tell([scored(proposal) if proposal.id % 3 else result(proposal, None)])
    assert steady.state_dict()["state"] == failing.state_dict()["state"]
    assert steady.ask(50) == failing.ask(50)


def test_order_of_results_within_a_generation_plays_no_part() -> None:
    one, other = started(), started()
    for _ in range(6):
        trials = [scored(p) for p in one.ask(10)]
        assert other.ask(10) == [Proposal(t.id, t.architecture, t.parent) for t in trials]
        one.tell(trials)
        other.tell(trials[::-1])
    assert one.ask(10) == other.ask(10)
    assert one.pareto_front == other.pareto_front
