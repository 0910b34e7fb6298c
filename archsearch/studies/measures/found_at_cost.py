"""What a search finds that may bill so much and no more, set-up included.

The one question on which all methods meet, whether they train, share weights, predict or draw at random.

Reference: Li & Talwalkar, "Random search and reproducibility for neural architecture search", UAI 2019, on why the cost
must be equal.
"""

from __future__ import annotations

import functools
import math
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from archsearch.basics.checks import at_least_one, is_finite, number, whole_number
from archsearch.basics.seeding import stream
from archsearch.controller import Controller
from archsearch.errors import ArchsearchError, UsageError
from archsearch.evaluator import Evaluator
from archsearch.executors.evaluating import evaluate_safely
from archsearch.ranking import kendall_tau
from archsearch.running.scoring import Prepared, anew, highest_listed, truth_of, without_noise
from archsearch.running.search import search
from archsearch.space import Space
from archsearch.studies.measure import Measure, Measured, as_billed, seconds_of
from archsearch.trial import Architecture, Query, Trial

ROUNDING = 1e-9
"""Share of the budget by which rounding may exceed it."""


class FoundAtCost(Measure):
    """The truth of what a search finds by the time that so many seconds are billed, set-up included.

    Found is what has the highest score among the trials that the budget pays for; where it pays for none, since the
    set-up alone costs more, an architecture that is drawn at random. Training what was found is billed to nobody.
    Billed are the recorded seconds of a table, processor seconds of what is trained here, and both where a method needs
    both. Repeats are answered from memory.

    Args:
        space: What is searched.
        controller: Who proposes.
        evaluator: Who scores; its own seed, if it has one, is raised by the seed of the measurement.
        seconds: The budget, > 0.
        reference: Knows the truth, such as a table; in its own units. Its judgement is billed to nobody.
        otherwise: Asked where the reference has no row, such as the training that the table records.
        repeats: How often ``otherwise`` is asked, under different seeds; the truth is the mean, >= 1.
        truth: Name of the metric that is the truth, or ``score``; higher is better.
        best: Truth that the regret is counted from; None: the highest that the reference lists, if it does.
        trials: Evaluations after which a search ends even if it could pay for more, >= 1.
        ranked: Architectures of the reference whose ranking by the evaluator is held against the truth, billed to
            nobody; 0: none.
        known: Whether only architectures that the reference has may be evaluated, so that no truth has to be made.
        per_second: Settings of the evaluator that are whole numbers and grow with the budget: how much for a second; in
            all at least what the evaluator was given, or 1.

    Raises:
        UsageError: If a setting is out of range.
    """

    figures: ClassVar[Mapping[str, str]] = {
        "truth": "truth of what was found",
        "regret": "how much better the best known one is; nan: none is known",
        "tau": "Kendall's tau of the scores with the truth, over a sample; nan: not asked for, or nothing to rank",
        "trials": "evaluations that the budget paid for",
        "set_up": "share of the budget that the set-up took",
    }

    quick: ClassVar[Mapping[str, Any]] = {"seconds": 1.0}

    def __init__(
        self,
        space: Space,
        controller: Controller,
        evaluator: Evaluator,
        seconds: float,
        reference: Evaluator,
        otherwise: Evaluator | None = None,
        repeats: int = 3,
        truth: str = "test_accuracy",
        best: float | None = None,
        trials: int = 10_000,
        ranked: int = 0,
        known: bool = False,
        per_second: dict[str, float] | None = None,
    ) -> None:
        self.space = space
        self.controller = controller
        self.evaluator = evaluator
        self.seconds = number("FoundAtCost", "seconds", seconds, above=0)
        self.reference = reference
        self.otherwise = otherwise
        self.repeats = at_least_one("FoundAtCost", "repeats", repeats)
        self.truth = truth
        self.best = None if best is None else number("FoundAtCost", "best", best)
        self.trials = at_least_one("FoundAtCost", "trials", trials)
        self.ranked = whole_number("FoundAtCost", "ranked", ranked)
        self.known = known
        self.per_second = per_second
        for name, amount in (per_second or {}).items():
            if not is_finite(amount) or amount <= 0:
                raise UsageError(f"FoundAtCost: per_second: {name}: expected a finite number above 0, got {amount!r}")

    def measure(self, seed: int) -> Measured:
        """See ``Measure``."""
        grown = {
            name: max(getattr(self.evaluator, name, None) or 1, round(each * self.seconds))
            for name, each in (self.per_second or {}).items()
        }
        with _prepared(self.space, anew(self.evaluator, seed, **grown)) as prepared:
            set_up = without_noise(prepared.set_up)
            paid = self._searched(prepared, self.seconds - seconds_of(set_up), seed)
            found = max(paid, key=lambda trial: trial.rank).architecture if paid else self._drawn(seed)
            tau = self._tau(prepared, seed)
        truth = self._truth(found)
        figures = {
            "truth": truth,
            "regret": self._best_known() - truth,
            "tau": tau,
            "trials": float(len(paid)),
            "set_up": seconds_of(set_up) / self.seconds,
        }
        return Measured(figures, as_billed(sum((trial.cost for trial in paid), set_up)))

    def _searched(self, prepared: Prepared, left: float, seed: int) -> list[Trial]:
        """The completed trials that are paid for."""
        if left <= 0:
            return []
        if self.known:
            prepared = _Known(prepared, self._started(self.reference))
        result = search(
            self.space,
            self.controller,
            prepared,
            seed=seed,
            trials=self.trials,
            max_cost=left,
            max_failures=self.trials,
            duplicates="reuse",
        )
        spent, paid = 0.0, []
        for trial in result.history:
            spent += seconds_of(trial.cost)
            if trial.evaluation is not None and spent <= left * (1 + ROUNDING):
                paid.append(trial)
        return paid

    def _drawn(self, seed: int) -> Architecture:
        reference = self._started(self.reference)
        return reference.draw(1, stream(seed, "drawn"))[0]

    # -- the truth ---------------------------------------------------------------------------------

    def _started(self, evaluator: Evaluator) -> Evaluator:
        started = anew(evaluator)
        started.start(self.space)
        return started

    def _truth(self, architecture: Architecture) -> float:
        """Of one architecture: as the reference has it, else the mean of what ``otherwise`` says."""
        reference = self._started(self.reference)
        asked = [(reference, 0)]
        if reference.refusal(architecture) and self.otherwise is not None:
            asked = [(self._started(self.otherwise), seed) for seed in range(self.repeats)]
        truths = []
        for evaluator, seed in asked:
            outcome = evaluate_safely(evaluator, Query(0, architecture, seed))
            if outcome.evaluation is None:
                raise ArchsearchError(f"FoundAtCost: {self.space.format(architecture)} has no truth: {outcome.error}")
            truths.append(truth_of(outcome.evaluation, self.truth))
        return float(np.mean(truths))

    def _best_known(self) -> float:
        """Truth of the best known architecture; NaN: nobody knows."""
        if self.best is not None:
            return self.best
        reference = Prepared(anew(self.reference))
        reference.start(self.space)
        highest = highest_listed(reference, self.truth)
        return highest if math.isfinite(highest) else math.nan

    def _tau(self, prepared: Prepared, seed: int) -> float:
        """How well the evaluator, as prepared, ranks a sample of the reference's architectures."""
        if not self.ranked:
            return math.nan
        reference = self._started(self.reference)
        drawn = reference.draw(self.ranked, stream(seed, "ranked"))
        scores, truths = [], []
        for place, architecture in enumerate(drawn):
            score = evaluate_safely(prepared, Query(place, architecture, seed)).evaluation
            truth = evaluate_safely(reference, Query(place, architecture, seed)).evaluation
            if score is not None and truth is not None:
                scores.append(score.score)
                truths.append(truth_of(truth, self.truth))
        return kendall_tau(truths, scores) if len(scores) > 1 and len(set(scores)) > 1 else math.nan


class _Known(Prepared):
    """A prepared evaluator that refuses what somebody else has no row for, free of charge.

    Args:
        prepared: Which.
        judge: Who must know an architecture; started.
    """

    def __init__(self, prepared: Prepared, judge: Evaluator) -> None:
        self.__dict__.update(vars(prepared))
        self.judge = judge

    def refusal(self, architecture: Architecture) -> str:
        """See ``Evaluator``."""
        return self.judge.refusal(architecture) or super().refusal(architecture)


@contextmanager
def _prepared(space: Space, evaluator: Evaluator) -> Iterator[Prepared]:
    """An evaluator with its set-up done, its files in a folder that goes afterwards."""
    with tempfile.TemporaryDirectory(prefix="archsearch-study-") as folder:
        prepared = Prepared(evaluator)
        prepared.folder = Path(folder) / "set-up"
        prepared.apart = Path(folder) / "trials"
        prepared.start(space)
        if "torch" in sys.modules:  # somebody trains
            _warm_up()
        prepared.prepare()
        yield prepared
        prepared.release()


@functools.cache
def _warm_up() -> None:
    """One update of a small network: what PyTorch does once per process must not be in the first bill."""
    import torch

    with torch.random.fork_rng(devices=[]):  # whose numbers are for others
        first = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.ReLU())
        network = torch.nn.Sequential(first, torch.nn.Flatten(), torch.nn.Linear(72, 2))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    loss = torch.nn.functional.cross_entropy(network(torch.zeros(4, 1, 8, 8)), torch.zeros(4, dtype=torch.long))
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
