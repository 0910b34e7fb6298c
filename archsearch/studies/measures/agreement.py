"""How well an evaluator's scores agree with the truth: among all architectures of a sample, and among its best.

Source of the figures: Xie et al., "Weight-Sharing Neural Architecture Search: A Battle to Shrink the Optimization Gap",
2020, sections 3.1 (tau between rankings) and 3.3.5 (predictors that are right globally and not among the best).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from archsearch.basics.checks import number, whole_number
from archsearch.basics.seeding import stream
from archsearch.errors import ArchsearchError
from archsearch.evaluator import Evaluator
from archsearch.ranking import kendall_tau, regret, spearman
from archsearch.running.scoring import Listed, anew, truth_of
from archsearch.running.search import search
from archsearch.space import Space
from archsearch.studies.measure import Measure, Measured, as_billed
from archsearch.trial import Architecture, Cost

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


class Agreement(Measure):
    """How well an evaluator ranks a sample of architectures: over all of them, and among the truly best.

    The sample is drawn under each seed anew, from what the reference can score, without the architectures that
    compute the same as another one; it depends on the seed alone, so that several evaluators see the same one. Billed:
    set-up and scores of the evaluator, without the reference.

    Args:
        space: Whose architectures are ranked.
        evaluator: What is judged; its own seed, if it has one, is raised by the seed of the measurement.
        reference: Knows the truth.
        truth: Name of the reference's metric that is the truth, or ``score``; higher is better.
        samples: Architectures, >= 10.
        top: Share of the sample, 0 < top < 1, that counts as the best; of at least 5 architectures.

    Raises:
        UsageError: If a setting is out of range.
    """

    figures: ClassVar[Mapping[str, str]] = {
        "tau": "Kendall's tau with the truth, over all",
        "tau_top": "the same among the truly best",
        "drop": "tau less tau_top",
        "spearman": "Spearman's rho, over all",
        "regret": "truth of the best less that of the one with the highest score",
        "compared": "architectures that could be scored",
    }

    quick: ClassVar[Mapping[str, Any]] = {"samples": 30}

    def __init__(
        self,
        space: Space,
        evaluator: Evaluator,
        reference: Evaluator,
        truth: str = "test_accuracy",
        samples: int = 200,
        top: float = 0.1,
    ) -> None:
        self.space = space
        self.evaluator = evaluator
        self.reference = reference
        self.truth = truth
        self.samples = whole_number("Agreement", "samples", samples, 10)
        self.top = number("Agreement", "top", top, above=0, below=1)

    def measure(self, seed: int) -> Measured:
        """See ``Measure``."""
        drawn = self._sample(seed)
        truths, _ = scored(self.space, self.reference, drawn, seed, self.truth)
        scores, cost = scored(self.space, self.evaluator, drawn, seed)
        sound = np.isfinite(truths) & np.isfinite(scores)
        truths, scores = truths[sound], scores[sound]
        if len(truths) < 2:
            raise ArchsearchError(f"Agreement: of {len(drawn)} architectures only {len(truths)} could be scored")
        best = np.argsort(-truths, kind="stable")[: max(5, math.ceil(self.top * len(truths)))]
        tau, tau_top = kendall_tau(truths, scores), kendall_tau(truths[best], scores[best])
        figures = {
            "tau": tau,
            "tau_top": tau_top,
            "drop": tau - tau_top,
            "spearman": spearman(truths, scores),
            "regret": regret(truths, scores),
            "compared": float(len(truths)),
        }
        return Measured(figures, as_billed(cost))

    def _sample(self, seed: int) -> list[Architecture]:
        """Architectures that the reference can score and that compute different networks."""
        reference = anew(self.reference)
        reference.start(self.space)
        drawn = reference.draw(self.samples, stream(seed, "sample"))
        return list({self.space.canonical(each): each for each in reversed(drawn)}.values())[::-1]


def scored(
    space: Space, evaluator: Evaluator, architectures: Sequence[Architecture], seed: int, truth: str = "score"
) -> tuple[Floats, Cost]:
    """Scores of architectures, NaN where one failed, by an evaluator made anew; and what they cost, set-up included.

    Args:
        space: Their space.
        evaluator: Who scores; its own seed, if it has one, is raised by ``seed``.
        architectures: Which, all different.
        seed: Of the evaluations.
        truth: Name of a metric to take in place of the score.
    """
    listed = Listed([list(each) for each in architectures])
    count = len(architectures)
    result = search(space, listed, anew(evaluator, seed), trials=count, seed=seed, max_failures=count + 1)
    found = {
        trial.architecture: truth_of(trial.evaluation, truth)
        for trial in result.history
        if trial.evaluation is not None
    }
    return np.array([found.get(each, math.nan) for each in architectures]), result.cost + result.setup_cost
