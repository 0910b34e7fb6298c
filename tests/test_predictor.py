"""The predictor: what the model makes of labels and features, and settings."""

from __future__ import annotations

import numpy as np
import pytest
from predictor_lab import Additive, prepared, queries

from archsearch import models, search
from archsearch.controllers import RandomSearch
from archsearch.errors import MissingAbility, UsageError
from archsearch.evaluators import Function, Predictor, Tabular
from archsearch.model import Model
from archsearch.models import GaussianProcess
from archsearch.ranking import kendall_tau
from archsearch.spaces import Choices, NASBench201
from archsearch.testing import SeparableSpace


def test_predictions_rank_as_the_truth_does_and_say_how_well():
    predictor, _ = prepared(labels=100)
    asked = queries(predictor.space, 200)
    truth = [sum(query.architecture) for query in asked]
    found = predictor.evaluate_batch(asked)
    tau = kendall_tau(truth, [evaluation.score for evaluation in found])
    assert tau > 0.8  # 0.95 when written; a constant gives 0
    agreement = predictor.agreement
    assert agreement.low <= agreement.value <= agreement.high
    assert abs(agreement.value - tau) < 0.15
    assert f"{agreement}" in predictor.note
    assert "GaussianProcess of 100 labels" in predictor.note
    # The predictions are on the scale of the labels.
    assert np.abs(np.array(truth) - [evaluation.score for evaluation in found]).mean() < np.std(truth) / 2
    assert all(evaluation.metrics["spread"] >= 0 for evaluation in found)


def test_agreement_of_labels_without_pattern_is_about_zero():
    predictor = Predictor(Function(noise), labels=150, model=models.RandomForest(trees=20))
    predictor.start(NASBench201())
    predictor.prepare()
    assert abs(predictor.agreement.value) < 0.2  # labels leaking into their own prediction give 0.5 and more
    assert predictor.agreement.low < 0 < predictor.agreement.high


class Shy(Model):
    """Takes no features."""


def noise(architecture, seed):
    return seed / 2**63


def test_batches_and_single_queries_agree():
    predictor, _ = prepared()
    asked = queries(predictor.space, 150)
    together = [evaluation.score for evaluation in predictor.evaluate_batch(asked)]
    alone = [predictor.evaluate_query(query).score for query in asked]
    assert together == alone


def test_equal_seeds_give_equal_labels_and_predictions_and_others_do_not():
    first, second, other = (prepared(seed=seed)[0] for seed in (3, 3, 4))
    asked = queries(first.space, 20)
    scores = [[e.score for e in each.evaluate_batch(asked)] for each in (first, second, other)]
    assert scores[0] == scores[1]
    assert scores[0] != scores[2]
    assert first.labelled_scores == second.labelled_scores
    assert set(first.labelled_scores) != set(other.labelled_scores)


def test_features_are_learned_from_and_billed():
    space = SeparableSpace()
    plain = Predictor(Additive(), labels=30, folds=0, model=models.RandomForest())
    helped = Predictor(Additive(), labels=30, folds=0, model=models.RandomForest(), features=[Additive()])
    taus = []
    for predictor in (plain, helped):
        predictor.start(space)
        cost = predictor.prepare()
        asked = queries(space, 100)
        found = predictor.evaluate_batch(asked)
        taus.append(kendall_tau([sum(q.architecture) for q in asked], [e.score for e in found]))
    assert taus[1] > taus[0] + 0.1  # the feature is the truth itself
    assert cost.updates == 2 * 30 * 3
    assert sum(evaluation.cost.updates for evaluation in found) == pytest.approx(100 * 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": 5}, "labels: expected a whole number >= 10, got 5"),
        ({"folds": 1}, "folds: expected 0, or 2 up to the 200 labels, got 1"),
        ({"folds": 201}, "folds: expected 0, or 2 up to the 200 labels"),
        ({"names": ["0", "1"]}, "names: expected 10 or more different ones, got 2"),
        ({"names": list("0123456789"), "labelled": "runs/x"}, "give one"),
        ({"relabels": 0}, "relabels: expected a whole number >= 1"),
        ({"features": [Additive()], "model": Shy()}, "Shy takes none"),
        ({"evaluator": Predictor(refit=5)}, "Predictor learns on during a search"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(UsageError, match=message):
        Predictor(**settings)


def test_a_space_that_the_labels_evaluator_cannot_score_is_refused():
    with pytest.raises(
        MissingAbility, match="Predictor: labels, Tabular, cannot score SeparableSpace: Tabular's table"
    ):
        Predictor().check(SeparableSpace())
    with pytest.raises(MissingAbility, match="Predictor: feature 2, Tabular, cannot score SeparableSpace"):
        Predictor(Additive(), features=[Additive(), Tabular()]).check(SeparableSpace())


def test_a_space_with_too_few_architectures_is_refused():
    predictor = Predictor(Additive(), labels=10)
    with pytest.raises(UsageError, match="scores 3 different architectures of Choices only, got 10"):
        predictor.start(Choices({"a": [1, 2, 3]}))


def test_evaluating_before_preparing_is_an_error():
    predictor = Predictor(Additive(), model=GaussianProcess())
    predictor.start(SeparableSpace())
    with pytest.raises(UsageError, match="call prepare first"):
        predictor.evaluate((0,) * 6, 0)


def test_the_note_says_which_labels_were_cross_validated():
    predictor = Predictor(Additive(), labels=20, refit=20, relabels=5, folds=3)
    result = search(SeparableSpace(), RandomSearch(), predictor, trials=30, seed=0)
    assert "of 25 labels" in result.note
    assert "(3 folds of the first 20)" in result.note
