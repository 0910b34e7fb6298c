"""How far predictions of failures came true: predicted against observed rates, and the Brier score."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from archsearch.failing.forecast import FEWEST, KINDS, LABELS, Forecast, Judged

if TYPE_CHECKING:
    from archsearch.space import Space
    from archsearch.trial import Architecture

EDGES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 1.0)
"""Upper ends of the ranges of probabilities that are told apart; narrow where rates are close to 0 or 1."""

MOST_TRIALS = 5 * LABELS
"""Newest trials of a run that are predicted again, so that a report takes a second more at most."""


class Bin(NamedTuple):
    """Trials whose predictions lay in a range.

    Attributes:
        low: Least probability.
        high: Largest one.
        trials: How many there were.
        predicted: Mean probability of a failure.
        observed: Share that failed.
    """

    low: float
    high: float
    trials: int
    predicted: float
    observed: float


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What was predicted of the trials of a run, each before it was learnt from, against what happened.

    Attributes:
        trials: How many were predicted.
        failures: Of all trials, by kind; those that are refused are known beforehand, and not among them.
        kinds: Kinds that are learnt apart.
        brier: Mean squared difference between probability and outcome, from 0 (best) to 1; None: nothing was predicted.
        plain: The same of the plain rate of failures so far, as a yardstick.
        believed: Whether predictions were better than that, beyond chance, so that a search may thin by them.
        bins: Predicted against observed rates, of ranges with trials in them.
    """

    trials: int
    failures: Mapping[str, int]
    kinds: tuple[str, ...]
    brier: float | None
    plain: float | None
    believed: bool
    bins: tuple[Bin, ...]

    @property
    def sentence(self) -> str:
        """In one line."""
        if self.brier is None or self.plain is None:
            return "too few trials to predict failures"
        worth = "predicted better than by" if self.believed else "not told from"
        return f"Brier score {self.brier:.3f} ({worth} their plain rate, {self.plain:.3f}), of {self.trials:,} trials"

    def document(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "trials": self.trials,
            "by_kind": dict(self.failures),
            "kinds": list(self.kinds),
            "brier": self.brier,
            "brier_of_plain_rate": self.plain,
            "believed": self.believed,
            "reliability": [each._asdict() for each in self.bins],
        }


def calibrate(trials: Iterable[tuple[Architecture, str]], space: Space) -> Calibration | None:
    """What a search would have predicted of its trials, as they finished; None: none failed that is learnt from.

    Args:
        trials: Architecture and kind of failure (empty: completed) of each trial, in the order in which they finished.
        space: Theirs.
    """
    newest = list(trials)[-MOST_TRIALS:]
    failures = Counter(kind for _, kind in newest if kind in KINDS)
    if not failures:
        return None
    forecast = Forecast(space)
    judged = []
    for (architecture, kind), columns in zip(newest, forecast.features([each for each, _ in newest]), strict=True):
        if (found := forecast.learn(architecture, kind, columns)) is not None:
            judged.append(found)
    judged = judged[FEWEST:]  # before, there was nothing to predict from
    count = len(judged)
    return Calibration(
        count,
        dict(failures),
        tuple(forecast.kinds),
        sum((each.predicted - each.failed) ** 2 for each in judged) / count if count else None,
        sum((each.rate - each.failed) ** 2 for each in judged) / count if count else None,
        forecast.is_believed,
        tuple(reliability(judged)),
    )


def reliability(judged: Iterable[Judged]) -> Iterable[Bin]:
    """Predicted against observed rates, of each range of ``EDGES`` that holds predictions.

    Args:
        judged: The predictions.
    """
    left, low = sorted(judged), 0.0
    for high in EDGES:
        there = [each for each in left if each.predicted <= high]
        left = left[len(there) :]
        if there:
            predicted, observed = (
                sum(column) / len(there) for column in zip(*((p, f) for p, _, f in there), strict=True)
            )
            yield Bin(low, high, len(there), predicted, observed)
        low = high
