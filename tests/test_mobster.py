"""``MOBSTER``, and what controllers hear that know what to make of lengths."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from halving_lab import ask, is_new, result, started

from archsearch import Cost, Evaluation, Evaluator, Space, Trial, search
from archsearch.controllers import (
    MOBSTER,
    BayesianOptimization,
    Hyperband,
    MultiFidelityBayesianOptimization,
    RandomSearch,
    SuccessiveHalving,
)
from archsearch.controllers.hears_lengths import HearsLengths
from archsearch.controllers.mobster import RIDGE, levels
from archsearch.errors import UsageError
from archsearch.models import LSTM, GaussianProcess, RandomForest
from archsearch.testing import CONTROLLER_CHECKS, FixedSpace
from archsearch.trial import Budget, Proposal, Query


class Listener(HearsLengths, RandomSearch):
    """Keeps what it hears, and what was due when it was asked."""

    def _start(self) -> None:
        self.told: list[Trial] = []
        self.longer: list[Trial] = []
        self.seen: list[list] = []

    def _ask_many(self, n):
        self.seen.append(self.due())
        return super()._ask_many(n)

    def _ask(self):
        self.seen.append(self.due())
        return super()._ask()

    def _tell(self, trial: Trial) -> None:
        self.told.append(trial)

    def tell_longer(self, trial: Trial) -> None:
        self.longer.append(trial)


# -- the mechanism ---------------------------------------------------------------------------------


def test_who_hears_lengths_hears_every_result_with_its_length() -> None:
    inner = Listener()
    controller = started(SuccessiveHalving(inner))
    trials = []
    for i in range(150):
        proposal = ask(controller)
        trials.append(result(proposal, None if i % 11 == 0 else math.sin(i)))
        controller.tell([trials[-1]])
    assert inner.lengths == (1, 3, 9)
    new = [trial for trial in trials if not trial.budget.start]
    longer = [trial for trial in trials if trial.budget.start]
    assert Counter(t.budget.stop for t in longer).keys() == {3, 9}
    for heard, those in ((inner.told, new), (inner.longer, longer)):
        assert [(t.architecture, t.evaluation, t.budget.stop) for t in heard] == [
            (t.architecture, t.evaluation, t.budget.stop) for t in those
        ]
    assert [t.id for t in inner.told] == list(range(len(new)))


def test_what_is_due_is_known_with_its_length() -> None:
    inner = Listener()
    controller = started(SuccessiveHalving(inner))
    first = controller.ask(6)
    controller.tell([result(p, 0.1 * p.id) for p in first])
    under_way = controller.ask(4)  # two go on, two are new
    ask(controller)
    assert [p.budget.stop for p in under_way] == [3, 3, 1, 1]
    assert inner.seen[-1] == [(p.architecture, p.budget.stop) for p in under_way]


def test_others_hear_the_shortest_length_only() -> None:
    class Deaf(RandomSearch):
        def _start(self):
            self.heard = []

        def _tell(self, trial):
            self.heard.append(trial)

    inner = Deaf()
    controller = started(SuccessiveHalving(inner))
    for i in range(60):
        controller.tell([result(proposal := ask(controller), float(i if is_new(proposal) else -i))])
    assert all(trial.score >= 0 for trial in inner.heard)


# -- what the model is fitted to -------------------------------------------------------------------


def labels_of(inner) -> list[tuple]:
    return [(each.id, each.score, stop) for each, stop in zip(inner._labels, inner._stops, strict=True)]


def test_all_rungs_are_labels() -> None:
    inner = MultiFidelityBayesianOptimization(initial=100)
    controller = started(SuccessiveHalving(inner, reduction=2, max_budget=4))
    first = controller.ask(4)
    controller.tell([result(p, 0.1 * p.id) for p in first])
    second = controller.ask(2)
    controller.tell([result(second[0], 0.9), result(second[1], None)])
    assert labels_of(inner) == [(0, 0.0, 1), (1, 0.1, 1), (2, 0.2, 1), (3, 0.30000000000000004, 1), (3, 0.9, 2)]


def test_scores_on_the_curve_are_labels_too() -> None:
    inner = MultiFidelityBayesianOptimization(initial=100)
    controller = started(Hyperband(inner))
    new = controller.ask(17)
    (whole,) = [p for p in new if p.budget == Budget(9)][:1]
    half = next(p for p in new if p.budget == Budget(3))
    controller.tell([result(whole, 0.9, tuple(0.1 * epoch for epoch in range(1, 10))), result(half, 0.5)])
    assert [(score, stop) for _, score, stop in labels_of(inner)] == [
        (0.1, 1),
        (pytest.approx(0.3), 3),
        (0.9, 9),
        (0.5, 3),
    ]
    controller.hear([Trial(-1, half.architecture, None, Evaluation(0.4, curve=(0.2, 0.3, 0.4)))])
    controller.hear([Trial(-1, half.architecture, None, Evaluation(0.4))])  # nobody knows how long
    assert labels_of(inner)[4:] == [(-1, 0.2, 1), (-1, 0.4, 3)]


def test_levels_are_the_least_squares_with_a_ridge() -> None:
    rng = np.random.default_rng(0)
    architecture, length = np.arange(30) % 12, np.repeat([0, 1, 2], [12, 12, 6])
    scores = rng.normal(size=30)
    design = np.zeros((30 + 12, 12 + 3))
    design[np.arange(30), architecture] = design[np.arange(30), 12 + length] = 1
    design[30:, :12] = np.sqrt(RIDGE) * np.eye(12)
    expected = np.linalg.lstsq(design, np.concatenate([scores, np.zeros(12)]), rcond=None)[0][12:]
    assert levels(scores, architecture, length) == pytest.approx(expected)


def test_who_was_promoted_is_no_better_for_the_level_of_its_length() -> None:
    """Effects and errors of variance 1; the best third is measured again, 5 higher: the level is found in the end."""
    rng = np.random.default_rng(1)
    effects = rng.normal(size=3000)
    short = effects + rng.normal(size=3000)
    best = np.argsort(-short)[:1000]
    long = effects[best] + rng.normal(size=1000) + 5
    found = levels(
        np.concatenate([short, long]), np.concatenate([np.arange(3000), best]), np.repeat([0, 1], [3000, 1000])
    )
    assert found[1] - found[0] == pytest.approx(5, abs=0.15)
    assert long.mean() - short.mean() > 5.7, "and the means would not do"


def test_pending_trainings_are_believed_at_their_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = []
    fit = GaussianProcess.fit

    def noted(self, space, architectures, scores, seed=0, features=None, learnt=()):
        fitted.append(list(zip(architectures, np.exp(features[:, 0]).round().tolist(), strict=True)))
        fit(self, space, architectures, scores, seed, features, learnt)

    monkeypatch.setattr(GaussianProcess, "fit", noted)
    controller = started(MOBSTER())
    controller.tell([result(p, 0.1 * p.id) for p in controller.ask(6)])
    due = controller.ask(2)
    assert [p.budget.stop for p in due] == [3, 3]
    assert not fitted
    ask(controller)
    assert fitted[1] == fitted[0] + [(p.architecture, 3.0) for p in due]


def test_lengths_are_features_as_they_are() -> None:
    space, rng = FixedSpace(), np.random.default_rng(2)
    architectures = [space.sample(rng) for _ in range(60)]
    lengths = np.log(rng.choice([1, 3, 9], 60).astype(float))[:, None]
    scores = [sum(each) + stop for each, (stop,) in zip(architectures, lengths, strict=True)]
    slow, quick = GaussianProcess(), GaussianProcess()
    quick.quick, slow.ranks_features, quick.ranks_features = True, False, False
    slow.fit(space, architectures, scores, features=lengths)
    for n in (40, 55, 60):  # the factor grows
        quick.fit(space, architectures[:n], scores[:n], features=lengths[:n], learnt=slow.learnt)
    far = np.full((60, 1), np.log(27.0))
    ours, theirs = quick.predict_targets(architectures, far), slow.predict_targets(architectures, far)
    assert ours.mean == pytest.approx(theirs.mean, abs=1e-3)
    assert ours.spread == pytest.approx(theirs.spread, abs=1e-2)
    near = slow.predict_targets(architectures, np.full((60, 1), np.log(9.0)))
    assert (theirs.spread > near.spread).all(), "it knows that 27 lies beyond what it has seen"


def test_what_is_forgotten_remains_so() -> None:
    inner = MultiFidelityBayesianOptimization(initial=2, labels=20, candidates=20)
    controller = started(SuccessiveHalving(inner, reduction=2, max_budget=8))
    rng = np.random.default_rng(0)
    for _ in range(120):
        controller.tell([result(ask(controller), rng.random())])
        assert len(inner._labels) == len(inner._stops) <= 20
    known = {label.architecture for label in inner._labels}
    stranger = next(each for each in FixedSpace().enumerate() if each not in known)
    before = labels_of(inner)
    inner.tell_longer(Trial(0, stranger, None, Evaluation(1.0), budget=Budget(8)))
    assert labels_of(inner) == before


# -- whether it is of use --------------------------------------------------------------------------


class Crossing(Evaluator):
    """Effects of 14 decisions that fade as those of the end grow: nearly nothing of them is known after one epoch."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.seed = seed
        self.early, self.late = rng.normal(size=(2, 14, 4))

    def check_budgets(self, budgets) -> None:
        """Any."""

    def evaluate(self, architecture, seed):
        return self.evaluate_query(Query(-1, architecture, seed))

    def true(self, architecture, stop=27) -> float:
        along = math.log(stop) / math.log(27)
        effects = (1 - along) * self.early + along * self.late
        return float(effects[np.arange(14), list(architecture)].sum()) + 10 * along

    def evaluate_query(self, query):
        stop, start = query.budget[:2]
        noise = np.random.default_rng([query.seed, stop]).normal(0, 0.3)
        score = self.true(query.architecture, stop) + noise
        return Evaluation(score, cost=Cost(recorded_seconds=float(stop - start)))


def mean_found(make) -> float:
    found = []
    for seed in range(8):
        evaluator = Crossing(seed)
        settings = {"executor": "simulated", "workers": 4, "max_cost": 20 * 27, "seed": seed}
        best = search(Space(arities=[4] * 14), make(), evaluator, **settings).best
        found.append(evaluator.true(best.architecture))
    return float(np.mean(found))


def test_long_results_are_used_where_ranks_cross() -> None:
    """On these 8 seeds: 17.9; 13.4 with the shortest length only; 15.8 at random, a lead that 6 seeds put below 2."""
    ours = mean_found(lambda: MOBSTER(max_budget=27))
    shortest_only = mean_found(lambda: SuccessiveHalving(BayesianOptimization(), max_budget=27))
    plain = mean_found(lambda: SuccessiveHalving(max_budget=27))
    assert ours > shortest_only + 2
    assert ours > plain + 1.5


def test_in_hyperband_too() -> None:
    ours = mean_found(lambda: Hyperband(MultiFidelityBayesianOptimization(), max_budget=27))
    assert ours > mean_found(lambda: Hyperband(max_budget=27)) + 1.5


@pytest.mark.parametrize("check", ["resume_equals_not_stopping", "beats_random_search"])
def test_keeps_the_contract_in_hyperband(check: str) -> None:
    quick = {"labels": 60, "candidates": 60, "batch": 25}
    CONTROLLER_CHECKS[check](lambda: Hyperband(MultiFidelityBayesianOptimization(**quick)))


def test_alone_it_learns_as_bayesian_optimization_does() -> None:
    drawn = []
    for cls in (BayesianOptimization, MultiFidelityBayesianOptimization):
        controller = started(cls(RandomForest(trees=5)))
        proposals: list[Proposal] = []
        for _ in range(25):
            proposals.append(ask(controller))
            controller.tell([result(proposals[-1], float(sum(proposals[-1].architecture)))])
        drawn.append([p.architecture for p in proposals])
    assert drawn[0][:6] == drawn[1][:6]
    assert all(np.mean([sum(a) for a in each[15:]]) > np.mean([sum(a) for a in each[:6]]) + 2 for each in drawn)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MultiFidelityBayesianOptimization(LSTM()), "MultiFidelityBayesianOptimization: model: .* features"),
        (lambda: MultiFidelityBayesianOptimization(at_least=0), "at_least"),
        (lambda: MOBSTER(max_budget=0), "MOBSTER: max_budget"),
        (lambda: MOBSTER(MOBSTER()), "MOBSTER: controller: .* no budgets"),
    ],
)
def test_mistakes(make, message) -> None:
    with pytest.raises(UsageError, match=message):
        make()
