"""What a search by gradient derives: how good it is, and what it is worth without being trained anew.

Source of the figures: Xie et al., "Weight-Sharing Neural Architecture Search: A Battle to Shrink the Optimization Gap",
2020, section 3.2 (accuracy lost by discretisation; probability of a bad search).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from archsearch.abilities import Distribution
from archsearch.basics.checks import at_least_one
from archsearch.basics.seeding import evaluation_seed, stream
from archsearch.errors import UsageError
from archsearch.evaluator import Evaluator
from archsearch.running.scoring import anew, truth_of
from archsearch.space import Space
from archsearch.studies.measure import Measure, Measured, as_billed
from archsearch.trial import Architecture


@runtime_checkable
class Searches(Distribution, Protocol):
    """An evaluator that searches by gradient, such as ``Differentiable``."""

    @property
    def records(self) -> Sequence[dict[str, Any]]:
        """What was noted of each epoch."""
        ...


class DerivedNetwork(Measure):
    """What a search by gradient derives.

    A search is bad if what it derives is truly worse than the median of random architectures. Billed: the search.

    Args:
        space: What is searched.
        evaluator: Searches by gradient; its own seed is raised by the seed of the measurement.
        reference: Knows the truth of some architectures at least, from which the median is.
        trainer: Finds out the truth of those that the reference does not know.
        truth: Name of the metric of both that is the truth, or ``score``; higher is better.
        samples: Random architectures of the reference whose median counts, the same in all measurements, >= 1.

    Raises:
        UsageError: If the evaluator does not search by gradient, or a setting is out of range.
    """

    figures: ClassVar[Mapping[str, str]] = {
        "truth": "true accuracy of what was derived",
        "bad": "1 if that is below the median of random architectures, else 0",
        "relaxed": "accuracy of the relaxed network at the end, in percent, on some validation images",
        "discretised": "accuracy of the derived path with the same weights, on the same images",
        "lost": "share of the relaxed network's accuracy that is lost so",
    }

    quick: ClassVar[Mapping[str, Any]] = {"samples": 3}

    def __init__(
        self,
        space: Space,
        evaluator: Evaluator,
        reference: Evaluator,
        trainer: Evaluator,
        truth: str = "test_accuracy",
        samples: int = 1_000,
    ) -> None:
        self.space = space
        self.evaluator = evaluator
        self.reference = reference
        self.trainer = trainer
        self.truth = truth
        self.samples = at_least_one("DerivedNetwork", "samples", samples)
        if not isinstance(evaluator, Searches):
            raise UsageError(
                "DerivedNetwork: evaluator: expected one that searches by gradient, such as Differentiable, got "
                f"{type(evaluator).__name__}"
            )

    def measure(self, seed: int) -> Measured:
        """See ``Measure``."""
        evaluator = anew(self.evaluator, seed)
        evaluator.start(self.space)
        cost = evaluator.prepare()
        assert isinstance(evaluator, Searches)
        last = evaluator.records[-1]
        relaxed, discretised = last["relaxed_accuracy"], last["derived_accuracy"]
        truth, median = self._truth(evaluator.derived(), seed)
        figures = {
            "truth": truth,
            "bad": float(truth < median),
            "relaxed": relaxed,
            "discretised": discretised,
            "lost": 1 - discretised / relaxed,
        }
        return Measured(figures, as_billed(cost))

    def _truth(self, architecture: Architecture, seed: int) -> tuple[float, float]:
        """The truth of an architecture, and the median of random ones."""
        reference = anew(self.reference)
        reference.start(self.space)
        drawn = reference.draw(self.samples, stream(0, "median"))
        median = float(np.median([truth_of(reference.evaluate(each, 0), self.truth) for each in drawn]))
        if reference.architectures is not None and architecture not in reference.architectures:
            reference = anew(self.trainer)
            reference.start(self.space)
            reference.prepare()
        return truth_of(reference.evaluate(architecture, evaluation_seed(seed, 0)), self.truth), median
