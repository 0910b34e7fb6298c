"""Deliberately wrong components, at least one per check of ``archsearch.testing``.

A case names the check that is there to catch its fault, and the checks that cannot help failing too;
``test_contracts.py`` proves that exactly those fail. This is how we know that the suites assert something.
"""

from __future__ import annotations

import math
import pickle
import random
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from archsearch.controllers import RandomSearch, RegularizedEvolution
from archsearch.errors import ConstraintError, InvalidArchitecture, MissingAbility, UsageError
from archsearch.evaluator import Evaluator
from archsearch.model import Model, Prediction
from archsearch.space import Space
from archsearch.testing import ConditionalSpace, FixedSpace
from archsearch.trial import Cost, Evaluation


class Case(NamedTuple):
    """A broken component and what finds it.

    Attributes:
        check: The check that is there for this fault.
        make: Factory of the broken component.
        related: Other checks that this fault makes fail.
    """

    check: str
    make: Callable[[], Any]
    related: frozenset[str] = frozenset()


def case(check: str, make: Callable[[], Any], *related: str) -> Case:
    return Case(check, make, frozenset(related))


# -- controllers ---------------------------------------------------------------------------------


class DefaultsNeverTried(RandomSearch):
    def __init__(self, size: int = 0) -> None:
        if size < 1:
            raise UsageError("size must be >= 1")
        self.size = size


class FixedLengthOnly(RandomSearch):
    def _ask(self):
        return (super()._ask() + (0,) * self.space.max_length)[: self.space.max_length]


class AtMostHundred(RandomSearch):
    def _ask_many(self, n):
        return [self._ask() for _ in range(min(n, 100))]


class SkipsIds(RandomSearch):
    def ask(self, n=1):
        proposals = super().ask(n)
        self._next_id += 1
        return proposals


class OwnEntropy(RandomSearch):
    def _start(self):
        self.rng = np.random.default_rng()


class IgnoresSeed(RandomSearch):
    def start(self, space, seed):
        super().start(space, 0)


class KeepsOldSearch(RegularizedEvolution):
    def _start(self):
        if not hasattr(self, "_members"):
            super()._start()


class WritesGlobalGenerator(RandomSearch):
    def _ask(self):
        random.random()
        return super()._ask()


class ReadsGlobalGenerator(RandomSearch):
    def _ask(self):
        return self.space.mutate(super()._ask(), np.random.default_rng(np.random.randint(1000)))  # noqa: NPY002


class HashDependent(RandomSearch):
    def start(self, space, seed):
        super().start(space, seed)
        self.rng = np.random.default_rng([seed, abs(hash("depends on PYTHONHASHSEED"))])


class ForgetsPopulation(RegularizedEvolution):
    state = ("_asked", "_told", "_scores", "_ids")


class ForgetsGenerator(RandomSearch):
    def load_state_dict(self, state):
        super().load_state_dict({**state, "rng": self.state_dict()["rng"]})


class ForgetsPending(RandomSearch):
    def load_state_dict(self, state):
        super().load_state_dict({**state, "pending": []})


class IntegerKeys(RandomSearch):
    state = ("_seen",)

    def _start(self):
        self._seen = {}

    def _tell(self, trial):
        self._seen[len(trial.architecture)] = self._seen.get(len(trial.architecture), 0) + 1


class LiveState(RegularizedEvolution):
    def _state_dict(self):
        return {name: getattr(self, name) for name in self.state}


class InOrderOnly(RandomSearch):
    state = ("_expected",)

    def _start(self):
        self._expected = 0

    def _tell(self, trial):
        if trial.id != self._expected:
            raise ValueError(f"expected the result of {self._expected}")
        self._expected += 1


class WaitsForResults(RandomSearch):
    def _ask(self):
        if len(self._pending) >= 200:
            raise RuntimeError("tell me some results first")
        return super()._ask()


class CrashesOnFailure(RandomSearch):
    def _tell(self, trial):
        math.sqrt(trial.evaluation.score + 1)


class BreedsFailures(RegularizedEvolution):
    def _tell(self, trial):
        super()._tell(trial._replace(evaluation=trial.evaluation or Evaluation(0.0)))


class KeepsNaN(RegularizedEvolution):
    def tell(self, trials):
        for trial in trials:
            score = math.nan if trial.evaluation is None else trial.evaluation.score
            if math.isfinite(score) or trial.evaluation is None:
                super().tell([trial])
            else:
                self._pending.pop(trial.id)
                self._tell(trial)


class TakesAnything(RandomSearch):
    def tell(self, trials):
        super().tell([trial for trial in trials if trial.id in self._pending])


class SortsYourList(RandomSearch):
    def tell(self, trials):
        trials.sort(key=lambda trial: trial.score or 0.0)
        super().tell(trials)


class HandsOutItsPending(RandomSearch):
    @property
    def pending(self):
        return self._pending


class NeverTwiceTheSame(RandomSearch):
    state = ("_last",)

    def _start(self):
        self._last = []

    def _ask(self):
        for _ in range(100):
            proposal = super()._ask()
            if list(proposal) != self._last:
                self._last = list(proposal)
                return proposal
        raise ConstraintError("no other architecture in 100 draws")


class NeverLearns(RandomSearch):
    learns = True


class Minimises(RegularizedEvolution):
    def _tell(self, trial):
        if trial.evaluation is not None:
            super()._tell(trial._replace(evaluation=Evaluation(-trial.evaluation.score)))


class LinksByPosition(RegularizedEvolution):
    state = (*RegularizedEvolution.state, "_queue")

    def _start(self):
        super()._start()
        self._queue = []

    def ask(self, n=1):
        proposals = super().ask(n)
        self._queue += [list(proposal.architecture) for proposal in proposals]
        return proposals

    def _tell(self, trial):
        super()._tell(trial._replace(architecture=tuple(self._queue.pop(0))))


class LearnsSecretly(RegularizedEvolution):
    learns = False


class KeepsEverything(RandomSearch):
    state = ("_scores",)

    def _start(self):
        self._scores = []

    def _tell(self, trial):
        self._scores.append(trial.score)


class RereadsEverything(RandomSearch):
    state = ("_count",)

    def _start(self):
        self._count = 0

    def _ask(self):
        self._count += 1
        for i in range(self._count):
            abs(i)
        return super()._ask()


class HidesSetting(RandomSearch):
    def __init__(self, size: int = 5) -> None:
        self._size = size


REPRODUCIBILITY = (
    "same_seed_same_proposals",
    "start_begins_afresh",
    "global_generators_untouched",
    "same_in_a_new_process",
    "invalid_scores_count_as_failures",
    "beats_random_search",
    "settings_round_trip",
)

CONTROLLERS = [
    case("default_settings_work", lambda: DefaultsNeverTried(5)),
    case("proposals_lie_in_the_space", FixedLengthOnly, "results_in_any_order"),
    case("ask_returns_n", AtMostHundred),
    case("ids_rise_by_one", SkipsIds),
    case("same_seed_same_proposals", OwnEntropy, *REPRODUCIBILITY),
    case("other_seed_other_proposals", IgnoresSeed),
    case("start_begins_afresh", KeepsOldSearch),
    case("global_generators_untouched", WritesGlobalGenerator),
    case("global_generators_untouched", ReadsGlobalGenerator, *REPRODUCIBILITY, "resume_equals_not_stopping"),
    case("same_in_a_new_process", HashDependent),
    case("resume_equals_not_stopping", ForgetsPopulation),
    case("resume_equals_not_stopping", ForgetsGenerator, "state_is_plain_data"),
    case("resume_equals_not_stopping", ForgetsPending, "state_is_plain_data"),
    case("state_is_plain_data", IntegerKeys),
    case("state_is_plain_data", LiveState),
    case("results_in_any_order", InOrderOnly, "ids_rise_by_one", "state_is_plain_data", "unknown_results_raise"),
    case("results_in_any_order", WaitsForResults),
    case("failures_never_stop_it", CrashesOnFailure, "invalid_scores_count_as_failures"),
    case("failures_never_stop_it", BreedsFailures),
    case("invalid_scores_count_as_failures", KeepsNaN),
    case("unknown_results_raise", TakesAnything),
    case("arguments_unchanged", SortsYourList),
    case("arguments_unchanged", HandsOutItsPending),
    case("one_point_and_constant", NeverTwiceTheSame),
    case("beats_random_search", NeverLearns),
    case("beats_random_search", Minimises),
    case("beats_random_search", LinksByPosition),
    case("beats_random_search", LearnsSecretly),
    case("cost_stays_flat", KeepsEverything),
    case("cost_stays_flat", RereadsEverything),
    case("settings_round_trip", HidesSetting, "same_in_a_new_process"),
]


# -- evaluators, on FixedSpace ---------------------------------------------------------------------


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


# -- models --------------------------------------------------------------------------------------


class Linear(Model):
    """Ridge regression on the one-hot encoding: right, and quick."""

    takes_features = True

    def _fit(self, rng):
        inputs = self._inputs(self.architectures, self._features)
        self.weights = np.linalg.solve(inputs.T @ inputs + np.eye(inputs.shape[1]), inputs.T @ self.targets)

    def _inputs(self, architectures, features):
        encoded = self.space.one_hot(architectures).astype(float)
        return encoded if features is None else np.concatenate([encoded, features], axis=1)

    def _predict(self, architectures, features):
        mean = (self._inputs(architectures, features) * self.weights).sum(1)
        return Prediction(mean, np.ones(len(mean)))


class ModelDefaultsNeverTried(Linear):
    def __init__(self, size: int = 0) -> None:
        if size < 1:
            raise UsageError("size must be >= 1")
        self.size = size


class SureBeyondReason(Linear):
    def _predict(self, architectures, features):
        mean, spread = super()._predict(architectures, features)
        return Prediction(mean, np.full(len(spread), np.inf))


class PredictsAColumn(Linear):
    def predict(self, architectures, features=None):
        mean, spread = super().predict(architectures, features)
        return Prediction(mean[:, None], spread)


class FixedLengthModel(Linear):
    def _fit(self, rng):
        if self.space.arities is None:
            raise ValueError("expected architectures of one length")
        super()._fit(rng)


class LearnsNothing(Linear):
    takes_features = False

    def _fit(self, rng):
        self.weights = rng.normal(size=self._inputs(self.architectures, None).shape[1])


class FitsByChance(Linear):
    def _fit(self, rng):
        super()._fit(rng)
        self.weights = self.weights + 0.01 * np.random.default_rng().normal(size=len(self.weights))


class RemembersEarlierFits(Linear):
    earlier = 0.0

    def _fit(self, rng):
        super()._fit(rng)
        self.weights = self.weights + self.earlier
        self.earlier = self.earlier + 0.1


class SortsYourLabels(Linear):
    def fit(self, space, architectures, scores, seed=0, features=None):
        super().fit(space, architectures, scores, seed, features)
        scores.sort()


class RanksTheCompany(Linear):
    def _predict(self, architectures, features):
        mean, spread = super()._predict(architectures, features)
        return Prediction(mean - mean.mean(), spread)


class IgnoresFeatures(Linear):
    def _inputs(self, architectures, features):
        return super()._inputs(architectures, None)


class TakesAnyFeatures(Linear):
    takes_features = False

    def _checked_features(self, features, n):
        return None


class ForgetsOnTheWay(Linear):
    def _state(self):
        return {"length": np.array([len(self.weights)])}

    def _load_state(self, state):
        self.weights = np.zeros(int(state["length"][0]))


class KeepsAPickle(Linear):
    def _state(self):
        return {"pickle": np.frombuffer(pickle.dumps(self.weights), np.uint8)}

    def _load_state(self, state):
        self.weights = pickle.loads(state["pickle"].tobytes())


class SeedsForTheModel(Linear):
    def _fit(self, rng):
        np.random.seed(0)  # noqa: NPY002
        super()._fit(rng)


class ModelHidesSetting(Linear):
    def __init__(self, size: int = 1) -> None:
        self._size = size


MODELS = [
    case("default_settings_predict", lambda: ModelDefaultsNeverTried(1)),
    case("predictions_are_sound", SureBeyondReason),
    case("predictions_are_sound", PredictsAColumn),
    case("predictions_are_sound", FixedLengthModel),
    case("learns_from_labels", LearnsNothing),
    case(
        "same_seed_same_predictions",
        FitsByChance,
        "fitting_forgets",
        "model_files_hold_all",
        "model_leaves_global_generators",
        "model_round_trip",
    ),
    case("fitting_forgets", RemembersEarlierFits),
    case("fitting_forgets", SortsYourLabels),
    case("company_plays_no_part", RanksTheCompany, "features_are_used_or_refused"),
    case("features_are_used_or_refused", IgnoresFeatures),
    case("features_are_used_or_refused", TakesAnyFeatures),
    case("model_files_hold_all", ForgetsOnTheWay),
    case("model_files_hold_all", KeepsAPickle),
    case("model_leaves_global_generators", SeedsForTheModel),
    case("model_round_trip", ModelHidesSetting, "model_files_hold_all"),
]


# -- spaces ----------------------------------------------------------------------------------------


class Small(Space):
    """A right one, which the wrong ones below are made from: 81 architectures."""

    def __init__(self) -> None:
        super().__init__(arities=(3,) * 4)


class SpaceDefaultsNeverTried(Space):
    def __init__(self, length: int = 0) -> None:
        super().__init__(arities=(3,) * length)
        self.length = length


class SamplesIncomplete(ConditionalSpace):
    def sample(self, rng):
        architecture = super().sample(rng)
        return architecture[:-1] if rng.random() < 0.01 else architecture


class BatchCountsFromOne(Small):
    def sample_batch(self, rng, n):
        return super().sample_batch(rng, n) + 1


class SamplesByDecision(ConditionalSpace):
    def _draw(self, prefix, n, rng):
        return int(rng.integers(n))


class SamplesLowOptions(FixedSpace):
    def sample(self, rng):
        return tuple(int(option) for option in rng.random(6) ** 1.5 * 5)


class MutatesInVain(Small):
    def mutate(self, architecture, rng):
        position = int(rng.integers(4))
        return (*architecture[:position], int(rng.integers(3)), *architecture[position + 1 :])


class CutsBlindly(ConditionalSpace):
    def crossover(self, first, second, rng):
        return first[:1] + second[1:]


class CrossesAtRandom(Small):
    def crossover(self, first, second, rng):
        return self.sample(rng)


class ItsOwnNeighbour(Small):
    def neighbours(self, architecture):
        yield architecture
        yield from super().neighbours(architecture)


class LongerThanSaid(ConditionalSpace):
    def __init__(self) -> None:
        super().__init__()
        self.max_length = 5


class FormatsBackwards(Small):
    def format(self, architecture):
        return super().format(architecture[::-1])


class GuessesWhatYouMean(Small):
    def parse(self, text):
        try:
            return super().parse(text)
        except InvalidArchitecture:
            return (0, 0, 0, 0)


class TakesBools(Small):
    def __contains__(self, architecture):
        return isinstance(architecture, tuple) and len(architecture) == 4 and all(o in (0, 1, 2) for o in architecture)


class CountsOneMore(Small):
    def size(self):
        return 82


class EnumeratesBackwards(Small):
    def enumerate(self):
        return reversed(list(super().enumerate()))


class HashesText(Small):
    def canonical(self, architecture):
        return hash(self.format(architecture))


class CanonicalList(Small):
    def canonical(self, architecture):
        return list(architecture)


class EncodesThree(Small):
    def one_hot(self, architectures):
        encoded = super().one_hot(architectures)
        encoded[:, 9:] = 0
        return encoded


class DrawsCircles(Small):
    def graph(self, architecture):
        graph = super().graph(architecture)
        graph.add_edge(3, 0)
        return graph


class LabelsByNumber(Small):
    def graph(self, architecture):
        graph = super().graph(architecture)
        graph.add_node(0, label=architecture[0])
        return graph


class SamplesByChance(Small):
    def sample(self, rng):
        return super().sample(np.random.default_rng())


class DrawsGlobalNumbers(Small):
    def sample(self, rng):
        random.random()
        return super().sample(rng)


class HashesIdentity(Small):
    def __hash__(self):
        return id(self)


class EqualsItselfOnly(Small):
    def __eq__(self, other):
        return self is other

    __hash__ = Space.__hash__


class SpaceHidesSetting(Space):
    def __init__(self, length: int = 4) -> None:
        super().__init__(arities=(3,) * length)
        self._length = length


SPACES = [
    case("default_settings_sample", lambda: SpaceDefaultsNeverTried(4)),
    case("samples_lie_in_it", SamplesIncomplete, "sampling_is_uniform"),
    case("samples_lie_in_it", BatchCountsFromOne),
    case("sampling_is_uniform", SamplesByDecision),
    case("sampling_is_uniform", SamplesLowOptions),
    case("mutation_changes_it", MutatesInVain),
    case("crossover_stays_in_it", CutsBlindly),
    case("crossover_stays_in_it", CrossesAtRandom),
    case("neighbours_are_others", ItsOwnNeighbour),
    case("decisions_keep_their_bounds", LongerThanSaid, "encodings_tell_apart"),
    case("text_round_trip", FormatsBackwards),
    case("nonsense_is_refused", GuessesWhatYouMean),
    case("wrong_architectures_are_outside", TakesBools),
    case("enumeration_is_complete", CountsOneMore),
    case("enumeration_is_complete", EnumeratesBackwards),
    case("canonical_is_a_stable_key", HashesText),
    case("canonical_is_a_stable_key", CanonicalList),
    case("encodings_tell_apart", EncodesThree),
    case("graph_can_be_drawn", DrawsCircles),
    case("graph_can_be_drawn", LabelsByNumber),
    case("same_generator_same_draws", SamplesByChance, "space_leaves_global_generators", "space_round_trip"),
    case("space_leaves_global_generators", DrawsGlobalNumbers),
    case("equal_spaces_hash_alike", HashesIdentity),
    case("equal_spaces_hash_alike", EqualsItselfOnly, "space_round_trip"),
    case("space_round_trip", SpaceHidesSetting, "equal_spaces_hash_alike"),
]
