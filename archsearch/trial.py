"""What travels between controller, search and evaluator: plain, immutable records."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import NamedTuple

Architecture = tuple[int, ...]
"""One small integer per decision, in decision order."""

NO_METRICS: Mapping[str, float] = {}


class Budget(NamedTuple):
    """How long to train, for controllers that stop trainings early and go on with the good ones.

    Attributes:
        stop: Train up to this many units, in the evaluator's own unit (epochs for ``Training``).
        start: How many units were trained, and billed, before.
        origin: Id of the trial that began this training; None: this one begins it.
    """

    stop: int
    start: int = 0
    origin: int | None = None


class Proposal(NamedTuple):
    """An architecture that a controller wants scored.

    Attributes:
        id: Unique, rising by one from 0; it is the id of the trial that answers it.
        architecture: One option per decision.
        parent: Id of the trial that this one was derived from, if any.
        budget: How long to train; None: the evaluator's full length.
    """

    id: int
    architecture: Architecture
    parent: int | None = None
    budget: Budget | None = None


class Query(NamedTuple):
    """What an evaluator is asked.

    Attributes:
        id: Id of the trial.
        architecture: What to score.
        seed: The only source of randomness, 0 <= seed < 2**63; a training that goes on has the seed it began with.
        parent: Id of the trial that this one was derived from, if any.
        budget: How long to train; None: full length.
    """

    id: int
    architecture: Architecture
    seed: int
    parent: int | None = None
    budget: Budget | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Cost:
    """What something cost. All amounts are >= 0 and add up.

    Attributes:
        wall_seconds: Seconds on the run's clock; the executor measures them, evaluators leave 0.
        device_seconds: Accelerator or core time in seconds, where the evaluator measures it.
        examples: Training examples seen (forward and backward).
        updates: Parameter updates.
        flops: Floating-point operations.
        recorded_seconds: For tables: seconds that the original training took.
    """

    wall_seconds: float = 0.0
    device_seconds: float = 0.0
    examples: float = 0.0
    updates: float = 0.0
    flops: float = 0.0
    recorded_seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.wall_seconds + other.wall_seconds,
            self.device_seconds + other.device_seconds,
            self.examples + other.examples,
            self.updates + other.updates,
            self.flops + other.flops,
            self.recorded_seconds + other.recorded_seconds,
        )

    def __mul__(self, share: float) -> Cost:
        return Cost(*(share * amount for amount in dataclasses.astuple(self)))

    @property
    def billed_seconds(self) -> float:
        """Seconds to charge: the recorded ones of a table, else device time, else wall time."""
        return self.recorded_seconds or self.device_seconds or self.wall_seconds


COST_FIELDS = tuple(field.name for field in dataclasses.fields(Cost))
NO_COST = Cost()


class Evaluation(NamedTuple):
    """What an evaluator returns for one architecture.

    Attributes:
        score: What the controller maximises; must be finite.
        metrics: Further named figures, reported and stored but never used by the search.
        cost: What this evaluation cost beyond the wall time, which the executor measures.
        curve: The score after each unit of training (epoch), for evaluators that train.
    """

    score: float
    metrics: Mapping[str, float] = NO_METRICS
    cost: Cost = NO_COST
    curve: tuple[float, ...] = ()


class Trial(NamedTuple):
    """One proposal with its outcome.

    Attributes:
        id: The proposal's id.
        architecture: One option per decision.
        parent: Id of the parent trial, if any.
        evaluation: The outcome, or None if the trial failed.
        seed: The seed that the evaluation was given.
        started: Seconds on the run's clock when the evaluation began (virtual seconds if simulated).
        seconds: Wall seconds that the evaluation took (for ``simulated``: billed seconds).
        worker: Number of the worker that ran it.
        attempts: How many times it was tried.
        failure: Empty, or one of ``exception``, ``invalid_score``, ``timeout``, ``worker_died``, ``out_of_memory``; a
            controller is also told of ``limit``: the architecture is beyond the search's limits, and was not scored.
        error: Error text of a failed trial.
        budget: How long to train was asked for; None: full length.
    """

    id: int
    architecture: Architecture
    parent: int | None = None
    evaluation: Evaluation | None = None
    seed: int = 0
    started: float = 0.0
    seconds: float = 0.0
    worker: int = 0
    attempts: int = 1
    failure: str = ""
    error: str = ""
    budget: Budget | None = None

    @property
    def rank(self) -> tuple[int, float]:
        """Sorts completed trials, the best last: by training length first, since scores of unequal ones differ."""
        return (self.budget.stop if self.budget else 0, -math.inf if self.score is None else self.score)

    @property
    def status(self) -> str:
        """``completed`` or ``failed``."""
        return "failed" if self.evaluation is None else "completed"

    @property
    def score(self) -> float | None:
        """The score, or None if the trial failed."""
        return None if self.evaluation is None else self.evaluation.score

    @property
    def metrics(self) -> Mapping[str, float]:
        """The named metrics; empty if the trial failed."""
        return NO_METRICS if self.evaluation is None else self.evaluation.metrics

    @property
    def cost(self) -> Cost:
        """What the evaluation cost, with the measured wall time; a failed one cost only that."""
        cost = NO_COST if self.evaluation is None else self.evaluation.cost
        return dataclasses.replace(cost, wall_seconds=self.seconds)
