"""``NSGA2``: settings, DEAP's ranks, and no global generator."""

from __future__ import annotations

import json
import random
from collections import Counter

import numpy as np
import pytest
from deap import tools
from hypothesis import given, settings
from hypothesis import strategies as st
from nsga2_lab import TWO, individuals, run, scored, started

from archsearch import Trial
from archsearch.components import build, describe
from archsearch.controllers import NSGA2, Finalists, SuccessiveHalving
from archsearch.controllers import nsga2 as module
from archsearch.errors import UsageError
from archsearch.testing import CONTROLLER_CHECKS, FixedSpace, check_controller

# -- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"objectives": {}},
        {"objectives": ["score"]},
        {"objectives": {"score": "up"}},
        {"objectives": {"params": 1}},
        {"objectives": {1: "max"}},
        {"objectives": {"score": "min"}},
        {"population_size": 1},
        {"population_size": 2.5},
        {"crossover_probability": -0.1},
        {"crossover_probability": 1.1},
        {"crossover_probability": float("nan")},
        {"crossover_probability": "0.9"},
        {"initial": 0},
        {"initial": True},
    ],
)
def test_bad_settings_are_refused(settings: dict) -> None:
    with pytest.raises(UsageError, match=r"NSGA2: (objectives|population_size|crossover_probability|initial)"):
        NSGA2(**settings)


def test_settings_can_be_stored() -> None:
    description = json.loads(json.dumps(describe(NSGA2(TWO, population_size=7, initial=9))))
    again = build(description, trust=True)
    assert (again.objectives, again.population_size, again.initial) == (TWO, 7, 9)
    assert describe(again) == description


def test_keeps_the_contract() -> None:
    check_controller(NSGA2)


@pytest.mark.parametrize("check", ["beats_random_search", "resume_equals_not_stopping", "failures_never_stop_it"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: NSGA2(population_size=20, crossover_probability=0, initial=50),
        lambda: NSGA2(population_size=20, crossover_probability=1, initial=60),
        lambda: SuccessiveHalving(NSGA2()),
        lambda: Finalists(NSGA2(), samples=40, finalists=3),
    ],
    ids=["mutation only", "crossover always", "inside halving", "inside finalists"],
)
def test_keeps_the_contract_with_other_settings_and_inside_others(check: str, make) -> None:
    CONTROLLER_CHECKS[check](make)


# -- ranks and places ------------------------------------------------------------------------------


points_of = st.integers(1, 3).flatmap(
    lambda n: st.lists(st.tuples(*[st.integers(0, 6).map(float)] * n), min_size=1, max_size=40)
)


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(points=points_of, size=st.integers(1, 30))
def test_survivors_and_places_are_those_of_deap(points: list, size: int) -> None:
    members = [module._Member(i, (i,), point) for i, point in enumerate(points)]
    best = module._best(members[::-1], size)
    assert Counter(m.id for m in best) == Counter(each.id for each in tools.selNSGA2(individuals(points), size))
    rank, room = {}, {}
    for level, front in enumerate(tools.sortNondominated(individuals(points), len(points))):
        tools.emo.assignCrowdingDist(front)
        for each in front:
            rank[each.id], room[each.id] = level, each.fitness.crowding_dist
    for one in best:
        for other in best:
            mine, theirs = (rank[one.id], -room[one.id]), (rank[other.id], -room[other.id])
            assert (one.place < other.place) == (mine < theirs)
            assert (one.place == other.place) == (mine == theirs)
    assert best[0].place == 0


def test_ranks_by_hand() -> None:
    points = [(1.0, 5.0), (3.0, 3.0), (5.0, 1.0), (4.5, 1.5), (1.0, 1.0), (2.0, 2.0)]
    best = module._best([module._Member(i, (i,), point) for i, point in enumerate(points)], 5)
    assert [(m.id, m.place) for m in best] == [(0, 0), (2, 0), (1, 1), (3, 2), (5, 3)]


def test_the_better_of_two_is_the_parent() -> None:
    """Places 0, 1, 2 and 2 of four: the chance of each to win, and of equals to be the parent alike."""
    controller = started()
    controller._population = [module._Member(i, (i,), (0.0,), place) for i, place in enumerate((0, 1, 2, 2))]
    n = 16_000
    drawn = Counter(controller._draw_parent().id for _ in range(n))
    for id_, chance in enumerate((7 / 16, 5 / 16, 2 / 16, 2 / 16)):
        assert drawn[id_] == pytest.approx(n * chance, abs=4 * (n * chance * (1 - chance)) ** 0.5)


# -- again and on ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [5, 13, 47])
def test_resume_goes_on_exactly(stop: int) -> None:
    controller, restored = started(FixedSpace()), started(FixedSpace(), seed=9)
    run(controller, stop)
    late = controller.ask(4)
    restored.load_state_dict(json.loads(json.dumps(controller.state_dict())))
    for each in (controller, restored):
        each.tell([scored(p) for p in late[::2]])
    assert run(restored, 60) == run(controller, 60)
    assert restored.pareto_front == controller.pareto_front
    assert all(isinstance(c.architecture, tuple) for c in restored.pareto_front)


def test_global_generators_are_neither_read_nor_written() -> None:
    def proposals(global_seed: int) -> list[Trial]:
        random.seed(global_seed)
        np.random.seed(global_seed)  # noqa: NPY002
        before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
        trials = run(started(FixedSpace()), 120)
        assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002
        return trials

    kept = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        assert proposals(1) == proposals(2)
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002
