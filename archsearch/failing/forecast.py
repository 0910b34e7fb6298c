"""What is expected of a proposal, learnt trial by trial, and whether that is to be believed."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from archsearch.failing.classifier import Classifier, Matrix
from archsearch.failing.features import Features
from archsearch.trial import Architecture

if TYPE_CHECKING:
    from archsearch.space import Space

KINDS = ("exception", "invalid_score", "timeout", "out_of_memory", "worker_died")
"""Failures that are learnt. What is refused is known without: see ``duplicates``, and ``Evaluator.refusal``."""

LABELS = 1_000
"""Newest trials that are learnt from."""

JUDGED = 300
"""Newest predictions by which the model is judged."""

FEWEST, FEWEST_FAILURES = 20, 5
"""Predictions, and failures, before it is believed."""

BELIEVED = 3.0
"""Standard errors by which its predictions must have been better than the plain rate of failures."""

SURE = 0.5
"""Least probability of a failure that counts as likely; a third of the way from their rate to 1 where that is more."""


class Label(NamedTuple):
    """A trial that is learnt from: its architecture, the kind of its failure (empty: none), its columns."""

    architecture: Architecture
    failure: str
    columns: Matrix


class Judged(NamedTuple):
    """A prediction that was made before its trial was learnt from.

    Attributes:
        predicted: Probability of a failure.
        rate: The plain rate of failures so far.
        failed: Whether it failed.
    """

    predicted: float
    rate: float
    failed: bool

    @property
    def gain(self) -> float:
        """By how much its squared error was smaller than that of the plain rate."""
        return (self.rate - self.failed) ** 2 - (self.predicted - self.failed) ** 2


class Forecast:
    """Predicts failures, and learns from what came of it.

    Each trial is predicted before it is learnt from, so that the model is judged by what it had not seen. The same
    trials in the same order give the same forecast: a report makes it anew from the history.

    Args:
        space: Whose architectures.

    Attributes:
        features: Encodes architectures.
        seen: Trials that were learnt from.
        failed: Those of them that failed.
    """

    def __init__(self, space: Space) -> None:
        self.features = Features(space)
        self._classifier = Classifier()
        self._labels: deque[Label] = deque()
        self._failures = 0  # among them
        self._judged: deque[Judged] = deque(maxlen=JUDGED)
        self._fitted = 0  # trials when the classifier was fitted
        self.seen = 0
        self.failed = 0

    @property
    def rate(self) -> float:
        """The plain rate of failures among the newest trials; a half of none."""
        return (self._failures + 1) / (len(self._labels) + 2)

    @property
    def kinds(self) -> Sequence[str]:
        """The kinds that are learnt apart."""
        return list(self._classifier.weights)

    @property
    def is_believed(self) -> bool:
        """Whether its predictions were better than the plain rate, beyond chance."""
        gains = np.array([each.gain for each in self._judged])
        if len(gains) < FEWEST or self.failed < FEWEST_FAILURES:
            return False
        error = float(gains.std(ddof=1)) / math.sqrt(len(gains))
        return float(gains.mean()) > BELIEVED * error

    @property
    def likely(self) -> float:
        """The probability from which on a failure counts as likely."""
        return max(SURE, self.rate + (1.0 - self.rate) / 3.0)

    def probability(self, architecture: Architecture) -> float:
        """That a trial of this architecture fails; without failures so far, the plain rate."""
        return self._probability(self.features([architecture])[0])

    def _probability(self, columns: Matrix) -> float:
        return float(self._classifier.predict(columns[None])[0]) if self._classifier.weights else self.rate

    def learn(self, architecture: Architecture, failure: str, columns: Matrix | None = None) -> Judged | None:
        """Takes a finished trial.

        Args:
            architecture: Its architecture.
            failure: The kind of its failure; empty: it completed.
            columns: What ``features`` makes of it, where that is known.

        Returns:
            What was predicted of it; None: this kind is not learnt.
        """
        if failure and failure not in KINDS:
            return None
        columns = self.features([architecture])[0] if columns is None else columns
        judged = Judged(self._probability(columns), self.rate, bool(failure))
        if self._classifier.weights:
            self._judged.append(judged)
        self._add(Label(architecture, failure, columns))
        self.seen += 1
        self.failed += bool(failure)
        if self.failed and self.seen - self._fitted >= max(5, min(self.seen, LABELS) // 10):
            self._classifier.fit(np.stack([each.columns for each in self._labels]), [x.failure for x in self._labels])
            self._fitted = self.seen
        return judged

    def _add(self, label: Label) -> None:
        self._labels.append(label)
        self._failures += bool(label.failure)
        if len(self._labels) > LABELS:
            self._failures -= bool(self._labels.popleft().failure)

    def state(self) -> dict[str, Any]:
        """What ``load`` needs, as JSON data; of at most ``LABELS`` architectures."""
        return {
            "labels": [[list(each.architecture), each.failure] for each in self._labels],
            "judged": [list(each) for each in self._judged],
            "weights": self._classifier.state(),
            "fitted": self._fitted,
            "seen": self.seen,
            "failed": self.failed,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Takes what ``state`` gave."""
        self._labels, self._failures = deque(), 0
        known = [(tuple(options), failure) for options, failure in state["labels"]]
        for (architecture, failure), columns in zip(known, self.features([each for each, _ in known]), strict=True):
            self._add(Label(architecture, failure, columns))
        self._judged = deque((Judged(*each) for each in state["judged"]), maxlen=JUDGED)
        self._classifier.load(state["weights"])
        self._fitted, self.seen, self.failed = state["fitted"], state["seen"], state["failed"]
