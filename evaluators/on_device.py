"""On a device: the score of another evaluator, and what latency makes of it.

Reference: Tan et al., "MnasNet: platform-aware neural architecture search for mobile", CVPR 2019, section 3: the reward
is ACC * (LAT / T)^w, with w = alpha where the latency keeps the target, else beta. The soft reward has alpha = beta =
-0.07, so that doubling the latency costs 4.74 % of it, about what an architecture of twice the latency gains in
accuracy; the hard one has alpha = 0 and beta = -1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from archsearch.basics.checks import number
from archsearch.errors import MissingAbility, UsageError
from archsearch.evaluator import Evaluator, Trained
from archsearch.executors.evaluating import prepare_below
from archsearch.files.fingerprints import file_fingerprint
from archsearch.limits.latency import LatencyTable
from archsearch.limits.limits import LATENCY
from archsearch.space import Space
from archsearch.trial import Architecture, Cost, Evaluation, Query
from archsearch.wrapping import Around, answers

Reward = Literal["soft", "hard", "none"]
EXPONENTS: Mapping[str, tuple[float, float]] = {"soft": (-0.07, -0.07), "hard": (0.0, -1.0), "none": (0.0, 0.0)}
"""(alpha, beta) of each reward."""


class OnDevice(Around):
    """The score of another evaluator times a power of the latency: MnasNet's reward (Tan et al. 2019).

    So any controller finds compromises, with a single objective. Reported, in addition to what the other evaluator
    reports: ``latency_seconds``, and ``accuracy``, its score. With ``reward="none"`` these two are all that is added,
    for controllers with several objectives, such as ``NSGA2({"accuracy": "max", "latency_seconds": "min"})``.

    Args:
        evaluator: The evaluator that scores; its scores must be above 0, such as accuracies. It must not learn during
            the search.
        target: The latency, in seconds, that should not be exceeded, above 0.
        reward: soft: the latency counts below the target as above it; hard: it does not count below the target, and in
            proportion above; none: the score is the other evaluator's.
        alpha: Exponent if the latency keeps to the target, <= 0; None: that of ``reward``.
        beta: Exponent if it does not, <= 0; None: that of ``reward``.
        latency_table: File with the latencies, as ``archsearch profile`` writes it; None: those that the evaluator
            itself reports, such as ``Tabular(device="raspi4")``.

    Raises:
        UsageError: If a setting is out of range, or the evaluator learns during the search.
    """

    keeps_files = True

    def __init__(
        self,
        evaluator: Evaluator,
        target: float,
        reward: Reward = "soft",
        alpha: float | None = None,
        beta: float | None = None,
        latency_table: str | None = None,
    ) -> None:
        if not isinstance(evaluator, Evaluator) or evaluator.interval:
            raise UsageError(
                f"OnDevice: evaluator: expected an evaluator that does not learn during the search, got {evaluator!r}"
            )
        if reward not in get_args(Reward):
            raise UsageError(f"OnDevice: reward: expected one of {', '.join(get_args(Reward))}, got {reward!r}")
        self.evaluator = evaluator
        self.target = number("OnDevice", "target", target, above=0)
        self.reward = reward
        self.alpha = None if alpha is None else number("OnDevice", "alpha", alpha, high=0)
        self.beta = None if beta is None else number("OnDevice", "beta", beta, high=0)
        # A run may be resumed from another directory.
        self.latency_table = None if latency_table is None else str(Path(latency_table).absolute())
        self._table: LatencyTable | None = None

    # -- the evaluator below -----------------------------------------------------------------------

    def check(self, space: Space) -> None:
        """Raises ``MissingAbility`` if the evaluator cannot score that space."""
        try:
            self.evaluator.check(space)
        except MissingAbility as error:
            raise MissingAbility(f"OnDevice: {error}") from error

    def start(self, space: Space) -> None:
        """Binds both to a space, and reads the table.

        Raises:
            TableError: If the table is of another space, or of other networks.
            MissingAbility: If there is none, and the evaluator measures no latency.
        """
        super().start(space)
        self.evaluator.start(space)
        name = type(self.evaluator).__name__
        if self.latency_table is not None:
            self._table = LatencyTable(self.latency_table, space)
            self._table.check_built(self.evaluator.built, name)
            return
        import numpy as np

        (drawn,) = self.evaluator.draw(1, np.random.default_rng(0))
        if LATENCY not in self.evaluator.measure(drawn):
            raise MissingAbility(
                f"OnDevice: {name} measures no {LATENCY}; give a latency_table, which 'archsearch profile' writes"
            )

    @property
    def folder(self) -> Path | None:
        """See ``Evaluator``."""
        return self.evaluator.folder

    @folder.setter
    def folder(self, folder: Path | None) -> None:
        self.evaluator.folder = folder

    def prepare(self) -> Cost:
        """Prepares the evaluator."""
        return prepare_below(self, self.evaluator)

    def check_budgets(self, budgets: Sequence[int]) -> None:
        """As the evaluator does."""
        self.evaluator.check_budgets(budgets)

    def fingerprints(self) -> Mapping[str, str]:
        """Those of the evaluator, and the table's."""
        own = {} if self.latency_table is None else {"latency_table": file_fingerprint(self.latency_table)}
        return {**self.evaluator.fingerprints(), **own}

    def trained(self, query: Query) -> Trained:
        """The evaluator's network."""
        found = self.evaluator.trained(query)
        return found._replace(evaluation=self._rewarded(query.architecture, found.evaluation))

    def measure(self, architecture: Architecture) -> Mapping[str, float]:
        """As the evaluator does, with the latency."""
        figures = self.evaluator.measure(architecture)
        return figures if self._table is None else {**figures, LATENCY: self._table.seconds(architecture)}

    # -- scoring -----------------------------------------------------------------------------------

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        """The reward of one architecture."""
        return self.evaluate_query(Query(-1, architecture, seed))

    def evaluate_query(self, query: Query) -> Evaluation:
        """The reward of one trial."""
        return self._rewarded(query.architecture, self.evaluator.evaluate_query(query))

    def evaluate_batch(self, queries: Sequence[Query]) -> list[Evaluation]:
        """The rewards of several trials."""
        found = answers(self.evaluator, queries)
        return [self._rewarded(query.architecture, each) for query, each in zip(queries, found, strict=True)]

    def _rewarded(self, architecture: Architecture, found: Evaluation) -> Evaluation:
        latency = float(self.measure(architecture).get(LATENCY, math.nan))
        metrics = {**found.metrics, "accuracy": found.score, LATENCY: latency}
        score = self.rewarded(found.score, latency) if math.isfinite(found.score) else found.score
        return found._replace(score=score, metrics=metrics)

    def rewarded(self, accuracy: float, latency: float) -> float:
        """ACC * (LAT / T)^w.

        Args:
            accuracy: Above 0.
            latency: Seconds, >= 0; NaN, not known, makes the reward NaN.

        Raises:
            UsageError: If there is no such reward, since the accuracy is not above 0.
        """
        alpha, beta = EXPONENTS[self.reward]
        alpha, beta = alpha if self.alpha is None else self.alpha, beta if self.beta is None else self.beta
        exponent = alpha if latency <= self.target else beta
        if exponent == 0:
            return accuracy
        if accuracy <= 0:
            raise UsageError(
                f"OnDevice: expected a score above 0, such as an accuracy, got {accuracy:g} of "
                f"{type(self.evaluator).__name__}; use an evaluator with such scores, or reward=none"
            )
        return float(accuracy * (max(latency, 1e-12) / self.target) ** exponent)
