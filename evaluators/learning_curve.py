"""Learning-curve extrapolation: a training that will hardly beat the best one so far is stopped early.

Reference: Baker, Gupta, Raskar & Naik, "Accelerating neural architecture search using performance prediction", ICLR
2018 workshop. The first architectures are trained in full (the paper: 100). From their curves a nu-support-vector
regression learns the final score, given the beginning of a curve, its first and second differences, and what is known
of the architecture. Its error is taken as Gaussian, with the standard deviation of the out-of-fold residuals; a
training is stopped if the probability that its final score is above the best one is too small (the paper's Delta is 1
minus our threshold).

Where we differ:

- The paper fits once. Here the regression is fitted anew after every ``interval`` trials, from all architectures that
  were trained in full, and the best score is the one as of then: so a decision depends on the trial alone, not on
  which others happen to have finished, and is the same on any number of workers.
- What is predicted is how much the score will still rise (the paper: the final score), since curves above all those
  that were learnt from, which matter most, are otherwise drawn to the mean, and stopped.
- The regression's kernel and C are chosen among a few by the out-of-fold residuals (the paper: random search).
- The score of a training that was stopped is the predicted final score, since a controller needs one.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from archsearch.basics.checks import at_least_one, is_finite, number, whole_number
from archsearch.errors import MissingAbility, UsageError
from archsearch.evaluator import Evaluator
from archsearch.evaluators.embedded_tables import SOURCES
from archsearch.evaluators.tabular import Tabular
from archsearch.executors.evaluating import prepare_below
from archsearch.files.notes import read_note, write_note
from archsearch.space import Space
from archsearch.trial import NO_COST, Architecture, Budget, Cost, Evaluation, Query, Trial
from archsearch.wrapping import Around

FILE = "learning-curves.json"

CHECK_AT = (0.25, 0.5, 0.75)
"""Where trainings pause, unless told otherwise, as shares of the full length."""

MOST_CURVES = 300
"""Newest curves that are kept and fitted: what fitting takes grows with their square."""

FEWEST_CURVES = 10
FOLDS = 5
SETTINGS = (("linear", 1.0), ("rbf", 1.0), ("rbf", 10.0))
"""Kernel and C of the regressions that are tried."""

FloatArray = npt.NDArray[np.float64]


class LearningCurve(Around):
    """Trains as another evaluator does, but stops early what is unlikely to beat the best so far (Baker et al. 2018).

    The first ``warm_up`` architectures are trained in full. After that each training pauses at the epochs ``check_at``,
    and continues if the probability that its final score exceeds the best one is at least ``threshold``. The score of a
    stopped training is its predicted final score, which is below that best score; its cost and its curve are those of
    what was trained. The best score, and the regression that predicts, are those of the last fit.

    Reported, in addition to what the other evaluator reports (for the epochs that were trained): ``stopped_at``, the
    epochs trained, and, once there is a regression, ``predicted``, the final score that it predicted at the last pause.

    Args:
        evaluator: The evaluator that trains; it must be able to stop, such as ``Training`` or ``Tabular("digits201")``.
        epochs: Length of a full training, >= 2; None: that of the ``Training`` or ``Tabular``.
        check_at: Where to pause: a share of the full length (below 1) or a number of epochs, or several of these; None:
            after 0.25, 0.5 and 0.75.
        threshold: A training continues if the probability of a new best score is at least this, 0 < threshold < 0.5.
        warm_up: Full trainings before the first fit, >= 10. The fit is due at the next multiple of ``interval``.
        interval: Finished trials between two fits, >= 1.

    Raises:
        UsageError: If a setting is out of range, or the evaluator does not say how long a full training is.
    """

    keeps_files = True
    comparable: ClassVar[bool] = True

    def __init__(
        self,
        evaluator: Evaluator,
        epochs: int | None = None,
        check_at: float | list[float] | None = None,
        threshold: float = 0.05,
        warm_up: int = 100,
        interval: int = 20,
    ) -> None:
        self.evaluator = evaluator
        self.epochs = None if epochs is None else at_least_one("LearningCurve", "epochs", epochs)
        self.check_at = check_at
        self.threshold = number("LearningCurve", "threshold", threshold, above=0, below=0.5)
        self.interval = at_least_one("LearningCurve", "interval", interval)
        if not isinstance(evaluator, Evaluator) or evaluator.interval:
            raise UsageError(
                "LearningCurve: evaluator: expected an evaluator that does not learn during the search, got "
                f"{evaluator!r}"
            )
        self.warm_up = whole_number("LearningCurve", "warm_up", warm_up, FEWEST_CURVES)
        full = full_length(evaluator) if self.epochs is None else self.epochs
        self._stops = (*_pauses(check_at, full), full)
        self._forget()

    def _forget(self) -> None:
        self._facts: dict[str, Any] = {"prepared": [], "advanced": [], "sample": -1, "best": -math.inf, "curves": []}
        self._regressions: list[Regression] = []  # one for each pause

    def __getstate__(self) -> dict[str, Any]:
        """What workers need: the regressions, not the curves that these were fitted to."""
        return self.__dict__ | {"_facts": self._facts | {"curves": []}}

    # -- the evaluator below -----------------------------------------------------------------------

    def check(self, space: Space) -> None:
        """Raises ``MissingAbility`` if the evaluator cannot score that space, ``UsageError`` if it cannot stop."""
        try:
            self.evaluator.check(space)
        except MissingAbility as error:
            raise MissingAbility(f"LearningCurve: {error}") from error
        try:
            self.evaluator.check_budgets(self._stops)
        except UsageError as error:
            name = type(self.evaluator).__name__
            raise UsageError(
                f"LearningCurve pauses at epochs {', '.join(map(str, self._stops[:-1]))} of {self._stops[-1]}, "
                f"which {name} cannot: {error}"
            ) from error

    def start(self, space: Space) -> None:
        """Binds both evaluators to a space; what was learnt of another one is forgotten."""
        super().start(space)
        self.evaluator.start(space)
        self._forget()

    @property
    def folder(self) -> Path | None:
        """See ``Evaluator``."""
        return self.evaluator.folder

    @folder.setter
    def folder(self, folder: Path | None) -> None:
        self.evaluator.folder = folder

    def prepare(self) -> Cost:
        """Prepares the evaluator; on resume reads the curves and fits the regressions as they were."""
        path = None if self.folder is None else self.folder / FILE
        known = read_note(path, self._facts.keys(), "what was learnt of curves is learnt again", check=_check_facts)
        if known is not None:
            self._facts = known
            self._regressions = self._fitted()
        cost = prepare_below(self, self.evaluator, Cost(*self._facts["prepared"]))
        self._facts["prepared"] = dataclasses.astuple(cost)
        self._save()
        return cost

    def _save(self) -> None:
        """Writes what is known, whole or not at all."""
        if self.folder is None:
            return
        write_note(self.folder / FILE, self._facts)

    # -- learning ----------------------------------------------------------------------------------

    def advance(self, sample: Sequence[Trial]) -> Cost:
        """Adds the full trainings of ``sample`` to what is known, and fits the regressions anew."""
        if sample and self._facts["sample"] != sample[-1].id:  # else a run that was killed had come so far
            begun = time.perf_counter(), time.process_time()
            facts = self._facts
            for trial in sample:
                if trial.evaluation is not None and trial.metrics["stopped_at"] == self._stops[-1]:
                    facts["curves"].append(
                        [self._figures(trial.architecture), trial.evaluation.curve, trial.evaluation.score]
                    )
                    facts["best"] = max(facts["best"], trial.evaluation.score)
            facts["sample"] = sample[-1].id
            facts["curves"] = facts["curves"][-MOST_CURVES:]
            self._regressions = self._fitted()
            spent = Cost(time.perf_counter() - begun[0], time.process_time() - begun[1])
            facts["advanced"] = dataclasses.astuple(spent)
            self._save()
        return Cost(*self._facts["advanced"]) if sample else NO_COST

    def _fitted(self) -> list[Regression]:
        """A regression for each pause, or none while there are too few curves."""
        curves = self._facts["curves"]
        if len(curves) < min(self.warm_up, MOST_CURVES):
            return []
        regressions = []
        for i in range(len(self._stops) - 1):
            known = [self._known(curve, i) for _, curve, _ in curves]
            features = [_features(beginning, each[0]) for beginning, each in zip(known, curves, strict=True)]
            rises = [final - beginning[-1] for beginning, (_, _, final) in zip(known, curves, strict=True)]
            regressions.append(fit(np.array(features), np.array(rises)))
        return regressions

    def _known(self, curve: Sequence[float], i: int) -> Sequence[float]:
        """What had been known of a whole curve at pause ``i``."""
        by_epoch = len(curve) == self._stops[-1]
        return curve[: self._stops[i] if by_epoch else i + 1]

    def _figures(self, architecture: Architecture) -> list[float]:
        """What is known of an architecture, in the order of the names; sizes differ by orders of magnitude."""
        figures = self.measure(architecture)
        return [math.log1p(abs(figures[name])) for name in sorted(figures)]

    # -- scoring -----------------------------------------------------------------------------------

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        """Trains an architecture, in full unless it is stopped."""
        return self.evaluate_query(Query(-1, architecture, seed))

    def evaluate_query(self, query: Query) -> Evaluation:
        """Trains an architecture from pause to pause, in full unless it is stopped."""
        self.space.validate(query.architecture)
        curve: tuple[float, ...] = ()
        cost, start, score, predicted = NO_COST, 0, math.nan, {}
        for i, stop in enumerate(self._stops):
            budget = Budget(stop, start, query.id if start else None)
            found = self.evaluator.evaluate_query(query._replace(budget=budget))
            curve, cost, start, score = _joined(curve, found, start, stop), cost + found.cost, stop, found.score
            if not math.isfinite(score):
                break
            if i < len(self._regressions):
                features = _features(curve, self._figures(query.architecture))
                expected, spread = score + self._regressions[i].predict(features), self._regressions[i].spread
                predicted = {"predicted": expected}
                if probability_above(self._facts["best"], expected, spread) < self.threshold:
                    score = expected
                    break
        return Evaluation(score, {**found.metrics, "stopped_at": start, **predicted}, cost, curve)


def full_length(evaluator: Evaluator) -> int:
    """Epochs of a full training of a ``Training`` or an embedded table.

    Raises:
        UsageError: If the evaluator does not say.
    """
    recipe = getattr(evaluator, "recipe", None)  # of a Training, whose class would load PyTorch
    if recipe is not None:
        return int(recipe.epochs)
    if isinstance(evaluator, Tabular) and evaluator.table is None:
        return evaluator.epochs or max(SOURCES[evaluator.dataset].runs)
    raise UsageError(
        f"LearningCurve: epochs: {type(evaluator).__name__} does not say how many epochs a full training has; "
        "give epochs, or an evaluator such as Training"
    )


def _pauses(check_at: float | Sequence[float] | None, full: int) -> list[int]:
    """The epochs at which to pause, rising."""
    given = CHECK_AT if check_at is None else check_at
    pauses = set()
    for each in given if isinstance(given, (list, tuple)) else (given,):
        epochs = min(max(1, round(each * full)), full - 1) if is_finite(each) and 0 < each < 1 else each
        if not is_finite(epochs) or epochs != int(epochs) or not 1 <= epochs < full:
            raise UsageError(
                "LearningCurve: check_at: expected shares below 1, or whole numbers of epochs below the full length of "
                f"{full}, got {each!r}"
            )
        pauses.add(int(epochs))
    if not pauses:
        raise UsageError("LearningCurve: check_at: expected at least one share or number of epochs, got none")
    return sorted(pauses)


def _joined(curve: tuple[float, ...], found: Evaluation, start: int, stop: int) -> tuple[float, ...]:
    """The curve so far: of all epochs if the evaluator says them, else the scores at the pauses."""
    if len(found.curve) == stop:  # a training that went on has the epochs before, too
        return found.curve
    if len(found.curve) == stop - start and len(curve) == start:
        return curve + found.curve
    return (*curve, found.score)


# -- the regression ----------------------------------------------------------------------------


def _features(curve: Sequence[float], figures: Sequence[float]) -> FloatArray:
    """The curve so far, its first and second differences, and figures of the architecture."""
    return np.concatenate([curve, np.diff(curve), np.diff(curve, 2), figures])


@dataclasses.dataclass(frozen=True)
class Regression:
    """Predicts how much a score will still rise.

    Attributes:
        mean: Of each feature.
        scale: Standard deviation of each feature.
        target: Mean and standard deviation of the rises.
        model: Predicts the standardised rise from standardised features.
        spread: Standard deviation of the out-of-fold residuals.
    """

    mean: FloatArray
    scale: FloatArray
    target: tuple[float, float]
    model: Any
    spread: float

    def predict(self, features: FloatArray) -> float:
        """The rise that is expected."""
        (value,) = self.model.predict(_standardised(features[None], self.mean, self.scale))
        return float(self.target[0] + self.target[1] * value)


def fit(features: FloatArray, rises: FloatArray) -> Regression:
    """The nu-support-vector regression whose out-of-fold residuals are smallest; deterministic.

    Args:
        features: Shape (trainings, features); NaN: not known.
        rises: Of each, how much its score still rose.
    """
    known = np.isfinite(features)
    counts = np.maximum(known.sum(0), 1)
    filled = np.where(known, features, 0.0)
    mean = filled.sum(0) / counts
    scale = np.sqrt((np.where(known, filled - mean, 0.0) ** 2).sum(0) / counts)
    inputs = _standardised(features, mean, scale)
    target = float(rises.mean()), float(rises.std()) or 1.0
    values = (rises - target[0]) / target[1]
    residuals = {setting: _residuals(inputs, values, *setting) for setting in SETTINGS}
    best = min(residuals, key=lambda setting: float(np.mean(residuals[setting] ** 2)))
    model = _regression(*best).fit(inputs, values)
    return Regression(mean, scale, target, model, target[1] * float(np.sqrt(np.mean(residuals[best] ** 2))))


def _standardised(features: FloatArray, mean: FloatArray, scale: FloatArray) -> FloatArray:
    """Mean 0, standard deviation 1; what is not known counts as the mean, what never varied as well."""
    values = (features - mean) / np.where(scale > 1e-12, scale, np.inf)
    return np.where(np.isfinite(values), values, 0.0)


def _residuals(inputs: FloatArray, values: FloatArray, kernel: str, c: float) -> FloatArray:
    """Of each training, under the regression that was fitted to the other folds."""
    folds = np.arange(len(values)) % FOLDS
    residuals = np.empty(len(values))
    for fold in range(FOLDS):
        model = _regression(kernel, c).fit(inputs[folds != fold], values[folds != fold])
        residuals[folds == fold] = values[folds == fold] - model.predict(inputs[folds == fold])
    return residuals


def _regression(kernel: str, c: float) -> Any:
    from sklearn.svm import NuSVR

    model = NuSVR(kernel=kernel, C=c)
    model.random_state = 0  # otherwise fitting draws a number from NumPy's global generator, which it does not use
    return model


def probability_above(best: float, expected: float, spread: float) -> float:
    """The probability that a Gaussian variable is above ``best``."""
    if spread <= 0:
        return float(expected > best)
    return math.erfc((best - expected) / (spread * math.sqrt(2))) / 2


def _check_facts(facts: dict[str, Any]) -> None:
    (
        Cost(*facts["prepared"]),
        Cost(*facts["advanced"]),
        int(facts["sample"]),
        float(facts["best"]),
        list(facts["curves"]),
    )
