"""``SuccessiveHalving`` and ``Hyperband``: what the inner controller hears."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from halving_lab import ask, is_new, result, started

from archsearch import Trial
from archsearch.controllers import RandomSearch, RegularizedEvolution
from archsearch.controllers import successive_halving as module
from archsearch.controllers.successive_halving import Hyperband, SuccessiveHalving
from archsearch.trial import Budget, Proposal


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
