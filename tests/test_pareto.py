"""Domination and hypervolume: hand-made cases, brute force, and an independent implementation."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsearch import search
from archsearch.controllers import RandomSearch
from archsearch.errors import UsageError
from archsearch.evaluators import Tabular
from archsearch.keeping.history import History
from archsearch.pareto import Direction, front_of, hypervolume, non_dominated
from archsearch.spaces import NASBench201

quick = settings(max_examples=60, deadline=None, derandomize=True, database=None)


@st.composite
def tables(draw: st.DrawFn, max_objectives: int = 4) -> np.ndarray:
    """Points on a coarse grid, so that ties and duplicates are frequent; some lie below the reference, the origin."""
    objectives = draw(st.integers(1, max_objectives))
    row = st.lists(st.integers(-1, 5), min_size=objectives, max_size=objectives)
    return np.array(draw(st.lists(row, min_size=1, max_size=12)), dtype=float)


def dominates(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((one >= other).all() and (one > other).any())


def unit_cubes(points: np.ndarray) -> int:
    """The hypervolume over the origin of points with whole coordinates, by counting."""
    return sum(
        any(all(corner < point) for point in points)
        for corner in map(np.array, itertools.product(range(5), repeat=points.shape[1]))
    )


# -- by hand ---------------------------------------------------------------------------------------


def test_non_dominated_by_hand() -> None:
    points = [[1, 3], [2, 2], [3, 1], [1, 2], [2, 2], [0, 3], [3, 1]]
    assert non_dominated(points).tolist() == [True, True, True, False, True, False, True]
    assert non_dominated([[1], [3], [2], [3]]).tolist() == [False, True, False, True]
    assert non_dominated([]).tolist() == []


@pytest.mark.parametrize(
    ("points", "reference", "volume"),
    [
        ([[3]], [1], 2),
        ([[3], [5], [2]], [0], 5),
        ([[2, 3]], [0, 0], 6),
        ([[1, 3], [2, 2], [3, 1]], [0, 0], 6),
        ([[1, 3], [2, 2], [3, 1]], [1, 1], 1),  # those on the edge add nothing
        ([[-1, -3], [-2, -2]], [-4, -4], 3 + 4 - 2),
        ([[1, 2, 3]], [0, 0, 0], 6),
        ([[2, 1, 1], [1, 2, 1], [1, 1, 2]], [0, 0, 0], 4),
        ([[1, 1, 1, 1], [2, 1, 1, 0.5]], [0, 0, 0, 0], 1.5),
        ([[0, 5], [5, 0]], [0, 0], 0),
        ([], [0, 0], 0),
    ],
)
def test_hypervolume_by_hand(points: list, reference: list, volume: float) -> None:
    assert hypervolume(points, reference) == pytest.approx(volume, abs=1e-12)


@pytest.mark.parametrize("points", [[1, 2], [[1, float("nan")]], [[1, float("inf")]], [[[1.0]]]])
def test_what_is_no_table_of_finite_numbers_is_refused(points: list) -> None:
    for function in (non_dominated, lambda points: hypervolume(points, [0, 0])):
        with pytest.raises(UsageError, match="one row per point"):
            function(points)


@pytest.mark.parametrize("reference", [[0], [0, 0, 0], 0, [0, float("nan")], [[0, 0]]])
def test_a_reference_that_does_not_fit_is_refused(reference: object) -> None:
    with pytest.raises(UsageError, match="reference: expected finite numbers, one for each of 2"):
        hypervolume([[1, 2]], reference)


# -- any points --------------------------------------------------------------------------------------


@quick
@given(points=tables())
def test_non_dominated_equals_brute_force(points: np.ndarray) -> None:
    expected = [not any(dominates(other, point) for other in points) for point in points]
    assert non_dominated(points).tolist() == expected


@quick
@given(points=tables())
def test_hypervolume_equals_counting(points: np.ndarray) -> None:
    assert hypervolume(points, np.zeros(points.shape[1])) == unit_cubes(points)


@quick
@given(points=tables(), data=st.data())
def test_what_is_dominated_changes_nothing_and_what_is_added_takes_nothing_away(points: np.ndarray, data) -> None:
    origin = np.zeros(points.shape[1])
    before = hypervolume(points, origin)
    below = points[data.draw(st.integers(0, len(points) - 1))] - data.draw(st.sampled_from((0.0, 0.5, 3.0)))
    assert hypervolume([*points, below], origin) == pytest.approx(before)
    assert hypervolume(points[non_dominated(points)], origin) == pytest.approx(before)
    new = np.array(data.draw(st.lists(st.integers(-1, 7), min_size=origin.size, max_size=origin.size)), dtype=float)
    after = hypervolume([*points, new], origin)
    assert after >= before - 1e-9
    if (new > 0).all() and not any((point >= new).all() for point in points):
        assert after > before  # it dominates something that was not dominated before


@quick
@given(points=tables(), data=st.data())
def test_order_of_points_and_objectives_plays_no_part_and_units_are_factors(points: np.ndarray, data) -> None:
    n, objectives = points.shape
    volume = hypervolume(points, np.zeros(objectives))
    rows, columns = data.draw(st.permutations(range(n))), data.draw(st.permutations(range(objectives)))
    assert hypervolume(points[rows][:, columns], np.zeros(objectives)) == pytest.approx(volume)
    assert non_dominated(points[rows][:, columns]).tolist() == non_dominated(points)[rows].tolist()
    units, shift = np.array([0.5, 3.0, 7.0, 10.0])[:objectives], np.arange(objectives) - 1.5
    assert hypervolume(points * units + shift, shift) == pytest.approx(volume * units.prod())


@pytest.mark.parametrize("objectives", [2, 3, 4, 5])
def test_hypervolume_equals_monte_carlo(objectives: int) -> None:
    rng = np.random.default_rng(objectives)
    points, draws = rng.random((15, objectives)), rng.random((100_000, objectives))
    share = np.any([(draws < point).all(1) for point in points], axis=0).mean()
    # Four standard errors of a share of 100,000.
    assert hypervolume(points, np.zeros(objectives)) == pytest.approx(share, abs=4 * 0.5 / 100_000**0.5)


@pytest.mark.parametrize(("objectives", "n"), [(1, 50), (2, 400), (3, 120), (4, 40)])
def test_both_equal_another_implementation(objectives: int, n: int) -> None:
    moocore = pytest.importorskip("moocore")  # comes with newer versions of DEAP
    points = np.random.default_rng(n).normal(size=(n, objectives))
    points[:, 0] = points[:, 0].round(1)
    points[n // 2 :] = np.sort(points[n // 2 :], axis=0)[::-1]
    volume = moocore.hypervolume(points, ref=np.full(objectives, -2.0), maximise=True)
    assert hypervolume(points, np.full(objectives, -2.0)) == pytest.approx(volume, rel=1e-9)
    expected = moocore.is_nondominated(points, maximise=True, keep_weakly=True)
    assert non_dominated(points).tolist() == expected.tolist()


def test_large_values_and_a_large_front_are_exact() -> None:
    assert non_dominated([[1e308, 1e308], [1e308, 0], [-1e308, 1e308]]).tolist() == [True, False, False]
    assert non_dominated([[1e20, 1], [1e20, 2]]).tolist() == [False, True]
    steps = np.arange(1, 2001.0)
    staircase = np.column_stack([steps, steps[::-1]])
    assert non_dominated(staircase).all()
    assert hypervolume(staircase, [0, 0]) == steps.sum()


# -- the front of a run ------------------------------------------------------------------------------


def test_the_history_has_the_front_of_any_run_and_how_it_grew() -> None:
    result = search(NASBench201(), RandomSearch(), Tabular(), trials=250, seed=4)
    front = result.history.front({"score": "max", "params": "min"})
    assert front is not None
    trials = [(t.score, t.metrics["params"], result.space.format(t.architecture)) for t in result.history]
    beaten = [any((a >= s and b <= p) and (a, b) != (s, p) for a, b, _ in trials) for s, p, _ in trials]
    assert front.on_front.tolist() == [not b for b in beaten]
    expected = {name for (_, _, name), b in zip(trials, beaten, strict=True) if not b}
    assert {row["name"] for row in front.rows} == expected
    assert [row["score"] for row in front.rows] == sorted((row["score"] for row in front.rows), reverse=True)
    moments, shares = front.growth.T
    assert (moments[0], moments[-1], len(moments)) == (1, 250, 100)
    assert (np.diff(shares) >= 0).all()
    assert shares[0] < shares[-1] == front.hypervolume < 1
    half = np.array([(s, -p) for s, p, _ in trials])
    worst, box = half.min(axis=0), np.ptp(half, axis=0).prod()
    k = int(moments[40])
    assert shares[40] == pytest.approx(hypervolume(half[:k], worst) / box, rel=1e-12)


def test_repeats_of_the_best_are_all_on_the_front() -> None:
    points = np.array([[2, 1], [1, 2], [1, 1], [2, 1], [0, 0], [2, 1]])
    assert non_dominated(points).tolist() == [True, True, False, True, False, True]


def test_with_budgets_the_longest_trainings_are_compared() -> None:
    column = {"id": [0, 1, 2, 3], "architecture": [[0]] * 4, "name": list("abcd"), "status": ["completed"] * 4}
    table = pa.table({**column, "score": [9.0, 5.0, 4.0, 8.0], "size": [1.0, 2.0, 1.0, 9.0], "budget": [1, 9, 9, 1]})
    front = front_of(table, {"score": "max", "size": "min"})
    assert front is not None
    assert [row["name"] for row in front.rows] == ["b", "c"]


@pytest.mark.parametrize(
    "objectives",
    [{"score": "up", "params": "min"}, {"score": "max", "parms": "min"}, {"score": "max", "name": "max"}],
    ids=str,
)
def test_objectives_that_are_no_figures_are_refused(objectives: dict[str, Direction]) -> None:
    result = search(NASBench201(), RandomSearch(), Tabular(), trials=5, seed=4)
    with pytest.raises(UsageError, match="expected the score or a metric and max or min for each"):
        result.history.front(objectives)


def test_without_completed_trials_there_is_no_front() -> None:
    assert History(NASBench201(), seed=0).front({"score": "max", "wall_seconds": "min"}) is None


def test_one_objective_is_no_front() -> None:
    with pytest.raises(UsageError, match="expected two or more"):
        History(NASBench201(), seed=0).front({"score": "max"})
