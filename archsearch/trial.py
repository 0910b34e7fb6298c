"""What travels between controller, search and evaluator: plain, immutable records."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import NamedTuple, NoReturn

Architecture = tuple[int, ...]
"""One small integer per decision, in decision order."""


class _NoMetrics(dict[str, float]):
    """The metrics of evaluations that have none: all of them hold this object, so nobody may write to it."""

    def _refuse(self, *_arguments: object, **_named: object) -> NoReturn:
        raise TypeError("these metrics belong to every evaluation that has none; make a dict of your own")

    __setitem__ = __ior__ = update = setdefault = _refuse

    def __reduce__(self) -> str:
        return "NO_METRICS"


NO_METRICS: Mapping[str, float] = _NoMetrics()


class JudgedMetrics(dict[str, float]):
    """Metrics of an evaluation that the gate has judged, and which do not change: given again, it is not judged again.

    Made by ``archsearch.executors.gate.judged`` alone. Pickled, copied or merged they are a plain ``dict``.

    Attributes:
        score: That of the evaluation.
        cost: That of the evaluation.
        line: What the journal has of all three; empty: it never had it.
    """

    __slots__ = ("cost", "line", "score")

    def __init__(self, metrics: Mapping[str, float], score: float, cost: Cost) -> None:
        super().__init__(metrics)
        self.score, self.cost, self.line = score, cost, ""

    def _refuse(self, *_arguments: object, **_named: object) -> NoReturn:
        raise TypeError("these metrics belong to every trial of that architecture; make a dict of your own")

    __setitem__ = __delitem__ = __ior__ = update = setdefault = pop = popitem = clear = _refuse

    def __reduce__(self) -> tuple[type[dict[str, float]], tuple[dict[str, float]]]:
        return dict, (dict(self),)


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


HAND = "hand"
"""See ``Trial.proposed_by``."""


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
        wall_seconds: Seconds on the run's clock, of all tries; the executor measures them, evaluators leave 0.
        device_seconds: Accelerator or core time in seconds, where the evaluator measures it.
        examples: Training examples seen (forward and backward).
        updates: Parameter updates.
        flops: Floating-point operations.
        recorded_seconds: For tables: seconds that the original training took.
        failed_seconds: Those of the wall seconds that went into tries that failed, of which nothing else is known; the
            search knows them, evaluators leave 0.
    """

    wall_seconds: float = 0.0
    device_seconds: float = 0.0
    examples: float = 0.0
    updates: float = 0.0
    flops: float = 0.0
    recorded_seconds: float = 0.0
    failed_seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.wall_seconds + other.wall_seconds,
            self.device_seconds + other.device_seconds,
            self.examples + other.examples,
            self.updates + other.updates,
            self.flops + other.flops,
            self.recorded_seconds + other.recorded_seconds,
            self.failed_seconds + other.failed_seconds,
        )

    def __mul__(self, share: float) -> Cost:
        return Cost(
            share * self.wall_seconds,
            share * self.device_seconds,
            share * self.examples,
            share * self.updates,
            share * self.flops,
            share * self.recorded_seconds,
            share * self.failed_seconds,
        )

    def amounts(self) -> dict[str, float]:
        """The amounts that are not 0, and the seconds that are billed, by name."""
        amounts = {name: amount for name in COST_FIELDS if (amount := getattr(self, name))}
        return {**amounts, "billed_seconds": self.billed_seconds}

    @property
    def billed_seconds(self) -> float:
        """Seconds to charge: recorded ones of a table, else device time, else wall time; and those of failed tries."""
        failed = self.failed_seconds
        return (self.recorded_seconds or self.device_seconds or max(0.0, self.wall_seconds - failed)) + failed


COST_FIELDS = tuple(field.name for field in dataclasses.fields(Cost))
MEASURED = ("wall_seconds", "failed_seconds")
"""Fields that the executor and the search fill in."""
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


class Used(NamedTuple):
    """What an evaluation used, by counters; None: not measured.

    Attributes:
        memory_bytes: The most memory of its process, what was there before included.
        device_bytes: The most that PyTorch allocated on CUDA devices.
        joules: Energy of the machine's processors and of its CUDA devices, whatever else ran included.
    """

    memory_bytes: float | None = None
    device_bytes: float | None = None
    joules: float | None = None


class Trial(NamedTuple):
    """One proposal with its outcome.

    Attributes:
        id: The proposal's id.
        architecture: One option per decision.
        parent: Id of the parent trial, if any.
        evaluation: The outcome, or None if the trial failed.
        seed: The seed that the evaluation was given.
        started: Seconds on the run's clock when the evaluation began (virtual seconds if simulated).
        seconds: Wall seconds that the evaluation, its last try, took (for ``simulated``: billed seconds).
        worker: Number of the worker that ran it.
        attempts: How many times it was tried.
        failure: Empty, or one of ``exception``, ``invalid_score``, ``timeout``, ``worker_died``, ``out_of_memory``,
            ``refused``; a controller is also told of ``limit``: the architecture is beyond the search's limits, or the
            evaluator says beforehand that it cannot score it, and it was not asked to.
        error: Error text of a failed trial.
        budget: How long to train was asked for; None: full length.
        lost_seconds: Wall seconds of the tries before the last one, which are billed, too.
        repeat_of: Of a repeat, which the search makes by itself to tell the best from others: the id of the trial whose
            architecture is scored again under another seed. None: it answers a proposal.
        proposed_by: Who proposed it, if not the controller by itself: ``hand``, a person (``archsearch control DIR
            put``); ``adviser``, that of an ``Advised`` controller.
        used: What its last try used; None: nothing was measured.
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
    lost_seconds: float = 0.0
    repeat_of: int | None = None
    proposed_by: str = ""
    used: Used | None = None

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
        """What all tries cost, with the measured wall time; of those that failed that is all that is known."""
        wall = self.seconds + self.lost_seconds
        if self.evaluation is None:
            return Cost(wall_seconds=wall, failed_seconds=wall)
        return dataclasses.replace(self.evaluation.cost, wall_seconds=wall, failed_seconds=self.lost_seconds)
