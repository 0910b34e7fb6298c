"""Deliberately wrong models, as ``broken.py`` says."""

from __future__ import annotations

import pickle

import numpy as np
from broken import case

from archsearch.errors import UsageError
from archsearch.model import Model, Prediction


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


class RoundsByPlace(Linear):
    rounds_alike = True

    def _predict(self, architectures, features):
        mean, spread = super()._predict(architectures, features)
        return Prediction(mean * (1 + 1e-12 * np.arange(len(mean))), spread)


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
    case("company_plays_no_part", RoundsByPlace),
    case("features_are_used_or_refused", IgnoresFeatures),
    case("features_are_used_or_refused", TakesAnyFeatures),
    case("model_files_hold_all", ForgetsOnTheWay),
    case("model_files_hold_all", KeepsAPickle),
    case("model_leaves_global_generators", SeedsForTheModel),
    case("model_round_trip", ModelHidesSetting, "model_files_hold_all"),
]
