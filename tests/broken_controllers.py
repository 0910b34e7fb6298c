"""Deliberately wrong controllers, as ``broken.py`` says."""

from __future__ import annotations

import math
import random

import numpy as np
from broken import case

from archsearch.controllers import RandomSearch, RegularizedEvolution
from archsearch.errors import ConstraintError, UsageError
from archsearch.trial import Evaluation


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


class KnowsItsOwnOnly(RegularizedEvolution):
    """Crashes on what it did not propose."""

    def _tell(self, trial):
        if trial.id < 0:
            raise KeyError(trial.id)
        super()._tell(trial)


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
    case("proposals_lie_in_the_space", FixedLengthOnly, "results_in_any_order", "hears_results_of_others"),
    case("ask_returns_n", AtMostHundred),
    case("ids_rise_by_one", SkipsIds, "hears_results_of_others"),
    case("same_seed_same_proposals", OwnEntropy, *REPRODUCIBILITY),
    case("other_seed_other_proposals", IgnoresSeed),
    case("start_begins_afresh", KeepsOldSearch),
    case("global_generators_untouched", WritesGlobalGenerator),
    case(
        "global_generators_untouched",
        ReadsGlobalGenerator,
        *REPRODUCIBILITY,
        "resume_equals_not_stopping",
        "hears_results_of_others",
    ),
    case("same_in_a_new_process", HashDependent),
    case("resume_equals_not_stopping", ForgetsPopulation, "hears_results_of_others"),
    case("resume_equals_not_stopping", ForgetsGenerator, "state_is_plain_data", "hears_results_of_others"),
    case("resume_equals_not_stopping", ForgetsPending, "state_is_plain_data"),
    case("state_is_plain_data", IntegerKeys),
    case("state_is_plain_data", LiveState),
    case(
        "results_in_any_order",
        InOrderOnly,
        "ids_rise_by_one",
        "state_is_plain_data",
        "unknown_results_raise",
        "hears_results_of_others",
    ),
    case("results_in_any_order", WaitsForResults),
    case("failures_never_stop_it", CrashesOnFailure, "invalid_scores_count_as_failures", "hears_results_of_others"),
    case("failures_never_stop_it", BreedsFailures),
    case("invalid_scores_count_as_failures", KeepsNaN),
    case("unknown_results_raise", TakesAnything),
    case("arguments_unchanged", SortsYourList),
    case("arguments_unchanged", HandsOutItsPending),
    case("one_point_and_constant", NeverTwiceTheSame),
    case("beats_random_search", NeverLearns),
    case("beats_random_search", Minimises),
    case("beats_random_search", LinksByPosition, "hears_results_of_others"),
    case("beats_random_search", LearnsSecretly),
    case("cost_stays_flat", KeepsEverything),
    case("cost_stays_flat", RereadsEverything),
    case("hears_results_of_others", KnowsItsOwnOnly),
    case("settings_round_trip", HidesSetting, "same_in_a_new_process"),
]
