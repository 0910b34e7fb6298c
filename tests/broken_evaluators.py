"""Deliberately wrong evaluators, on ``FixedSpace``, as ``broken.py`` says."""

from __future__ import annotations

import math
import random

import numpy as np
from broken import case

from archsearch.errors import MissingAbility, UsageError
from archsearch.evaluator import Evaluator
from archsearch.testing import FixedSpace
from archsearch.trial import Cost, Evaluation


class Toy(Evaluator):
    """A right one, which the wrong ones below are made from: a sum plus noise that the seed gives."""

    def evaluate(self, architecture, seed):
        self.space.validate(architecture)
        noise = np.random.default_rng(seed).normal()
        return Evaluation(sum(architecture) + noise, {"noise": noise}, Cost(updates=1.0))


class EvaluatorDefaultsNeverTried(Toy):
    def __init__(self, epochs: int = 0) -> None:
        if epochs < 1:
            raise UsageError("epochs must be >= 1")
        self.epochs = epochs


class PreparesForFree(Toy):
    def prepare(self):
        return None


class AdvancesForFree(Toy):
    interval = 5

    def advance(self, sample):
        return None


class AdvancesNowAndThen(Toy):
    interval = 2.5


class RefusesWithoutNames(Toy):
    def check(self, space):
        if not isinstance(space, FixedSpace):
            raise MissingAbility("this does not work")


class ScoresNaN(Toy):
    def evaluate(self, architecture, seed):
        return super().evaluate(architecture, seed)._replace(score=math.nan)


class ScoresInNumPy(Toy):
    def evaluate(self, architecture, seed):
        evaluation = super().evaluate(architecture, seed)
        return evaluation._replace(score=np.float32(evaluation.score))


class PaysYouBack(Toy):
    def evaluate(self, architecture, seed):
        return super().evaluate(architecture, seed)._replace(cost=Cost(device_seconds=-1.0))


class SaysItIsQuiet(Toy):
    score_noise = 0.0


class IsNoisyBelowZero(Toy):
    score_noise = -1.0


class ShadowsColumn(Toy):
    def evaluate(self, architecture, seed):
        return super().evaluate(architecture, seed)._replace(metrics={"score": 1.0})


class NamesWithEscapes(Toy):
    def evaluate(self, architecture, seed):
        return super().evaluate(architecture, seed)._replace(metrics={"\x1b[2Jloss": 1.0})


class ReusesItsMetrics(Toy):
    def __init__(self):
        self._metrics = {}

    def evaluate(self, architecture, seed):
        evaluation = super().evaluate(architecture, seed)
        self._metrics.update(evaluation.metrics)
        return evaluation._replace(metrics=self._metrics)


class MeasuresText(Toy):
    def measure(self, architecture):
        return {"params": str(sum(architecture))}


class MeasuresInfinity(Toy):
    def measure(self, architecture):
        return {"params": 1, "latency_seconds": math.inf}


class MeasuresAList(Toy):
    def measure(self, architecture):
        return [len(architecture)]


class MeasuresByTheClock(Toy):
    _ticks = 0

    def measure(self, architecture):
        self._ticks += 1
        return {"latency_seconds": float(self._ticks)}


class MeasuresWhatItPrepared(Toy):
    _seconds = 0.0

    def prepare(self):
        self._seconds = 0.5
        return super().prepare()

    def measure(self, architecture):
        return {"latency_seconds": self._seconds}


class InitialisedByChance(Toy):
    def __init__(self) -> None:
        self._bias = np.random.default_rng().random()

    def evaluate(self, architecture, seed):
        evaluation = super().evaluate(architecture, seed)
        return evaluation._replace(score=evaluation.score + self._bias)


class WarmsUp(Toy):
    def __init__(self) -> None:
        self._evaluated = 0

    def evaluate(self, architecture, seed):
        self._evaluated += 1
        evaluation = super().evaluate(architecture, seed)
        return evaluation._replace(score=evaluation.score + self._evaluated)


class SortsBatch(Toy):
    def evaluate_batch(self, queries):
        return sorted(super().evaluate_batch(queries))


class NeedsBatch(Toy):
    def evaluate_batch(self, queries):
        np.asarray([query.architecture for query in queries]).max()
        return super().evaluate_batch(queries)


class EmptiesYourBatch(Toy):
    def evaluate_batch(self, queries):
        return [self.evaluate_query(queries.pop(0)) for _ in range(len(queries))]


class IgnoresTheSeedsInBatches(Toy):
    def evaluate_batch(self, queries):
        return super().evaluate_batch([query._replace(seed=0) for query in queries])


class ScoresStrangers(Toy):
    def evaluate(self, architecture, seed):
        return Evaluation(float(sum(architecture)))


class HoldsLambda(Toy):
    def __init__(self) -> None:
        self._scale = lambda score: 2 * score


class HashDependentScore(Toy):
    def evaluate(self, architecture, seed):
        return super().evaluate(architecture, seed)._replace(score=float(hash(str(architecture))))


class SeedsGlobalGenerator(Toy):
    def evaluate(self, architecture, seed):
        random.seed(seed)
        return super().evaluate(architecture, seed)


class DrawsGlobally(Toy):
    def evaluate(self, architecture, seed):
        return super().evaluate(architecture, seed)._replace(score=np.random.random())  # noqa: NPY002


class EvaluatorHidesSetting(Toy):
    def __init__(self, epochs: int = 1) -> None:
        self._epochs = epochs


class BillsAll(Toy):
    """Continues for the price of the whole."""

    def check_budgets(self, budgets):
        pass

    def evaluate_query(self, query):
        length = 2 if query.budget is None else query.budget.stop
        return self.evaluate(query.architecture, query.seed)._replace(cost=Cost(updates=length))


class ForgetsItsBeginning(BillsAll):
    """Continues as if it began."""

    def evaluate_query(self, query):
        evaluation = super().evaluate_query(query)
        added = 0 if query.budget is None else query.budget.stop - query.budget.start
        return evaluation._replace(score=evaluation.score + added, cost=Cost(updates=added))


EVALUATORS = [
    case("default_settings_evaluate", lambda: EvaluatorDefaultsNeverTried(1)),
    case("starts_and_prepares", PreparesForFree),
    case("starts_and_prepares", AdvancesForFree),
    case("starts_and_prepares", AdvancesNowAndThen),
    case("refuses_spaces_clearly", RefusesWithoutNames),
    case("scores_are_finite", ScoresNaN),
    case("scores_are_finite", ScoresInNumPy),
    case("costs_are_not_negative", PaysYouBack),
    case("noise_is_as_said", SaysItIsQuiet),
    case("noise_is_as_said", IsNoisyBelowZero),
    case("metrics_can_be_stored", ShadowsColumn),
    case("metrics_can_be_stored", NamesWithEscapes),
    case("answers_stay_as_they_were", ReusesItsMetrics, "batch_equals_one_by_one"),
    case("measuring_is_repeatable", MeasuresText),
    case("measuring_is_repeatable", MeasuresInfinity),
    case("measuring_is_repeatable", MeasuresAList),
    case("measuring_is_repeatable", MeasuresByTheClock),
    case("measuring_is_repeatable", MeasuresWhatItPrepared),
    case("same_seed_same_result", InitialisedByChance, "evaluation_leaves_global_generators", "evaluator_round_trip"),
    case("order_plays_no_part", WarmsUp, "batch_equals_one_by_one", "evaluates_alike_in_a_new_process"),
    case("batch_equals_one_by_one", SortsBatch),
    case("batch_equals_one_by_one", NeedsBatch, "strangers_are_refused"),
    case("batch_equals_one_by_one", EmptiesYourBatch),
    case("batch_equals_one_by_one", IgnoresTheSeedsInBatches),
    case("strangers_are_refused", ScoresStrangers),
    case("evaluator_survives_pickling", HoldsLambda, "evaluates_alike_in_a_new_process"),
    case("evaluates_alike_in_a_new_process", HashDependentScore),
    case("evaluation_leaves_global_generators", SeedsGlobalGenerator),
    case(
        "evaluation_leaves_global_generators",
        DrawsGlobally,
        "same_seed_same_result",
        "order_plays_no_part",
        "batch_equals_one_by_one",
        "evaluator_survives_pickling",
        "evaluates_alike_in_a_new_process",
        "evaluator_round_trip",
    ),
    case("evaluator_round_trip", EvaluatorHidesSetting),
    case("stopping_changes_nothing", BillsAll),
    case("stopping_changes_nothing", ForgetsItsBeginning),
]
