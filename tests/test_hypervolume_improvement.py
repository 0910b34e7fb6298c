"""``HypervolumeImprovement``: the expected gain against samples and by hand, batches, results that are due, resume."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from deap import base, tools
from hypothesis import given, settings
from hypothesis import strategies as st

from archsearch import Evaluation, Space, Trial
from archsearch.controllers import HypervolumeImprovement
from archsearch.controllers import hypervolume_improvement as module
from archsearch.controllers.hypervolume_improvement import crowding, expected_hypervolume_improvement
from archsearch.errors import UsageError
from archsearch.model import Prediction
from archsearch.pareto import hypervolume, non_dominated
from archsearch.trial import Architecture, Proposal

TWO: dict[str, Any] = {"score": "max", "cost": "min"}
SPACE = Space(arities=[4] * 8)


def values(architecture: Architecture) -> tuple[float, float]:
    """Threes are good and dear, but at the last place, where they are only good."""
    good = sum(option == 3 for option in architecture) + architecture[0] / 8
    return good, float(sum(architecture[:-1]))


def result(proposal: Proposal) -> Trial:
    score, cost = values(proposal.architecture)
    return Trial(proposal.id, proposal.architecture, proposal.parent, Evaluation(score, {"cost": cost}))


def started(seed: int = 0, space: Space = SPACE, **changes: Any) -> HypervolumeImprovement:
    controller = HypervolumeImprovement(**{"objectives": TWO, "candidates": 60, **changes})
    controller.start(space, seed)
    return controller


def run(controller: HypervolumeImprovement, n: int) -> list[Proposal]:
    proposals: list[Proposal] = []
    for _ in range(n):
        proposals += controller.ask()
        controller.tell([result(proposals[-1])])
    return proposals


# -- the expected gain -------------------------------------------------------------------------------


def certain(*points: tuple[float, ...]) -> Prediction:
    return Prediction(np.array(points), np.zeros((len(points), len(points[0]))))


def test_what_is_certain_gains_the_area_that_it_adds() -> None:
    front, reference = np.array([[1.0, 3.0], [2.0, 1.0]]), np.zeros(2)
    gained = expected_hypervolume_improvement(certain((2, 3), (1.5, 2), (1, 1), (3, 0.5), (-1, 9)), front, reference)
    assert gained == pytest.approx([2.0, 0.5, 0.0, 0.5, 0.0], abs=1e-7)


def test_without_a_front_it_is_a_product_of_what_is_expected_above_the_reference() -> None:
    gained = expected_hypervolume_improvement(
        Prediction(np.zeros((1, 2)), np.ones((1, 2))), np.empty((0, 2)), np.zeros(2)
    )
    assert gained == pytest.approx([1 / (2 * np.pi)])  # the mean of a normal's positive part is 1 / sqrt(2 pi)


def test_one_objective_has_expected_improvement() -> None:
    found = expected_hypervolume_improvement(
        Prediction(np.array([[2.0]]), np.ones((1, 1))), np.array([[2.0]]), np.zeros(1)
    )
    assert found == pytest.approx([1 / np.sqrt(2 * np.pi)])


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_it_is_the_mean_over_many_samples(objectives: int) -> None:
    rng = np.random.default_rng(objectives)
    front, reference = rng.normal(0, 1, (7, objectives)), np.full(objectives, -1.5)
    prediction = Prediction(rng.normal(0, 1, (3, objectives)), rng.uniform(0.2, 1, (3, objectives)))
    before, found = hypervolume(front, reference), expected_hypervolume_improvement(prediction, front, reference)
    for mean, spread, expected in zip(*prediction, found, strict=True):
        gains = [
            hypervolume([*front, drawn], reference) - before for drawn in rng.normal(mean, spread, (1_500, objectives))
        ]
        assert abs(np.mean(gains) - expected) < 4.5 * np.std(gains) / np.sqrt(len(gains)) + 1e-6


points = st.lists(st.tuples(*[st.integers(0, 6).map(float)] * 3), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(points, st.tuples(*[st.integers(-1, 8).map(float)] * 3))
def test_what_is_certain_gains_its_volume_ties_and_points_below_included(known: list, point: tuple) -> None:
    reference = np.ones(3)
    gained = expected_hypervolume_improvement(certain(point), np.array(known), reference)[0]
    assert gained == pytest.approx(hypervolume([*known, point], reference) - hypervolume(known, reference), abs=1e-5)


def test_room_is_that_of_deap() -> None:
    drawn = np.random.default_rng(0).random((30, 2))
    front = drawn[non_dominated(drawn)]
    fitness = type("Fitness", (base.Fitness,), {"weights": (1.0, 1.0)})

    class Member:
        def __init__(self, point: np.ndarray) -> None:
            self.fitness = fitness(tuple(point))

    members = [Member(point) for point in front]
    tools.emo.assignCrowdingDist(members)
    assert (crowding(front) / 2).tolist() == pytest.approx([member.fitness.crowding_dist for member in members])


# -- what is proposed --------------------------------------------------------------------------------


def share(architectures: list[Architecture]) -> float:
    found = np.array([(good, -cost) for good, cost in map(values, architectures)])
    return hypervolume(found, (0.0, -21.0))


def test_it_finds_more_than_chance_and_its_front_is_that_of_all_results() -> None:
    controller = started()
    proposals = run(controller, 60)
    drawn = np.random.default_rng(0)
    assert share([p.architecture for p in proposals]) > 1.2 * share([SPACE.sample(drawn) for _ in range(60)])
    found = np.array([(good, -cost) for good, cost in (values(p.architecture) for p in proposals)])
    expected = {tuple(each) for each in found[non_dominated(found)].tolist()}
    front = controller.pareto_front
    assert {(each.objectives["score"], -each.objectives["cost"]) for each in front} == expected
    assert all(proposals[each.id].architecture == each.architecture for each in front)


def test_parents_are_on_the_front() -> None:
    controller = started(batch=1)
    proposals = run(controller, 30)
    for proposal in proposals[10:]:
        before = np.array([(good, -cost) for good, cost in (values(p.architecture) for p in proposals[: proposal.id])])
        assert proposal.parent is None or non_dominated(before)[proposal.parent]


def test_a_batch_is_spread_and_not_proposed_before() -> None:
    controller = started(batch=8)
    run(controller, 22)
    batch = [proposal.architecture for proposal in controller.ask(8)]
    assert len(set(batch)) == 8
    assert len({values(architecture) for architecture in batch}) >= 5


def test_results_that_are_due_make_it_look_elsewhere() -> None:
    alone, waiting = started(batch=1), started(batch=1)
    for controller in (alone, waiting):
        run(controller, 20)
    (first,) = waiting.ask()
    state = alone.state_dict()
    state["pending"] = [[first.id, list(first.architecture)]]
    alone.load_state_dict({**state, "next_id": first.id + 1})
    alone._fit()
    believed = alone._predicted([first.architecture])
    alone._pending.clear()
    alone._fit()
    unknown = alone._predicted([first.architecture])
    assert all(known.spread < other.spread for known, other in zip(believed, unknown, strict=True))
    assert waiting.ask()[0].architecture != first.architecture


def test_it_goes_on_exactly_from_its_state() -> None:
    controller = started()
    run(controller, 32)
    restored = started(seed=5)
    restored.load_state_dict(json.loads(json.dumps(controller.state_dict())))
    assert [p.architecture for p in run(restored, 12)] == [p.architecture for p in run(controller, 12)]
    assert restored.pareto_front == controller.pareto_front


def test_what_a_search_refuses_is_not_proposed() -> None:
    controller = HypervolumeImprovement(TWO, candidates=60)
    controller.refusal = lambda architecture: "" if architecture[0] == 2 else "limit"
    controller.start(SPACE, 0)
    assert {proposal.architecture[0] for proposal in run(controller, 24)} == {2}


def test_a_missing_objective_counts_as_failed_and_is_named() -> None:
    controller = started(objectives={"score": "max", "flops": "min"})
    with pytest.warns(UserWarning, match="HypervolumeImprovement: objectives: results without flops count as failed"):
        run(controller, 1)
    assert controller.pareto_front == []


@pytest.mark.parametrize("wrong", [{}, ["score"], {"score": "up"}, {"score": "min"}])
def test_wrong_objectives_are_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match="HypervolumeImprovement: objectives: "):
        HypervolumeImprovement(wrong)


def test_three_objectives_with_more_on_the_front_than_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BOXES", 9)
    sizes: list[int] = []
    gain = module.expected_hypervolume_improvement

    def seen(prediction: Prediction, front: np.ndarray, reference: np.ndarray) -> np.ndarray:
        sizes.append(len(front))
        return gain(prediction, front, reference)

    monkeypatch.setattr(module, "expected_hypervolume_improvement", seen)
    controller = started(objectives={"score": "max", "cost": "min", "other": "max"})
    for _ in range(20):
        (proposal,) = controller.ask()
        trial = result(proposal)
        metrics = {**trial.metrics, "other": float(proposal.architecture[2])}
        controller.tell([trial._replace(evaluation=Evaluation(trial.evaluation.score, metrics))])  # type: ignore[union-attr]
    assert max(sizes) == 3
    assert len(controller.pareto_front) > 3


def test_with_many_results_few_candidates_are_looked_at_closely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archsearch.models.gaussian_process.MANY_TO_SOLVE", 20)
    controller = started(candidates=200)
    run(controller, 25)
    asked = [each.architecture for each in controller._candidates()]
    controller._fit()
    fronts = [np.zeros((1, 2)), np.zeros((1, 2))]
    listed, places = controller._shortlist(asked, fronts)
    assert [asked[place] for place in places] == listed
    assert len(listed) == module.SHORT
    proposal = run(controller, 1)[0]
    assert len(proposal.architecture) == 8


def test_the_most_dominated_are_forgotten() -> None:
    controller = started(labels=20)
    proposals = run(controller, 40)
    kept = {label.id for label in controller._labels}
    assert len(kept) <= 20
    assert {each.id for each in controller.pareto_front} <= kept
    found = np.array([(good, -cost) for good, cost in (values(p.architecture) for p in proposals)])
    share_kept = hypervolume(found[sorted(kept)], (0.0, -21.0)) / hypervolume(found, (0.0, -21.0))
    assert share_kept == pytest.approx(1.0)
