"""How scores with inherited weights rank architectures, and which errors they make.

Source of the figures: Xie et al., "Weight-Sharing Neural Architecture Search: A Battle to Shrink the Optimization Gap",
2020, sections 3.2 (agreement within similar complexity) and 3.4 (heavy and light operators are favoured at different
times).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from archsearch.basics.checks import at_least_one
from archsearch.errors import ArchsearchError
from archsearch.evaluator import Evaluator
from archsearch.ranking import kendall_tau, regret, spearman, tau_within, top_k_recall
from archsearch.ranking.checks import ranked
from archsearch.space import Space
from archsearch.studies.measure import Measured, as_billed
from archsearch.studies.measures.agreement import Agreement, scored


class InheritedRanking(Agreement):
    """How an evaluator ranks a sample: over all of it, within similar size, at the top; and whether it favours size.

    Sample and bill are those of ``Agreement``.

    Args:
        space: See ``Agreement``.
        evaluator: See ``Agreement``.
        reference: See ``Agreement``.
        truth: See ``Agreement``.
        samples: See ``Agreement``.
        size: The reference's metric that says how large an architecture is.
        groups: Groups of architectures of similar size, >= 1.
        top: Share of the sample, 0 < top < 1, that counts as the best.
    """

    figures: ClassVar[Mapping[str, str]] = {
        "tau": "Kendall's tau with the truth, over all",
        "tau_within": "the same within groups of similar size, mean",
        "recall": "share of the truly best that is among the best scored",
        "regret": "truth of the best less that of the one with the highest score",
        "heavy": "Spearman's rho of size with the rank by score less the true rank: above 0, large ones are favoured",
        "operations": "billed floating-point operations, set-up included, in billions",
    }

    quick: ClassVar[Mapping[str, Any]] = {"samples": 12, "groups": 1}

    def __init__(
        self,
        space: Space,
        evaluator: Evaluator,
        reference: Evaluator,
        truth: str = "test_accuracy",
        samples: int = 200,
        size: str = "flops",
        groups: int = 5,
        top: float = 0.1,
    ) -> None:
        super().__init__(space, evaluator, reference, truth, samples, top)
        self.size = size
        self.groups = at_least_one("InheritedRanking", "groups", groups)

    def measure(self, seed: int) -> Measured:
        """See ``Measure``."""
        drawn = self._sample(seed)
        truths, _ = scored(self.space, self.reference, drawn, seed, self.truth)
        sizes, _ = scored(self.space, self.reference, drawn, seed, self.size)
        scores, cost = scored(self.space, self.evaluator, drawn, seed)
        sound = np.isfinite(truths) & np.isfinite(scores) & np.isfinite(sizes)
        truths, scores, sizes = truths[sound], scores[sound], sizes[sound]
        if len(truths) < 2 * self.groups:
            raise ArchsearchError(
                f"InheritedRanking: of {len(drawn)} architectures only {len(truths)} could be scored, too few for "
                f"{self.groups} groups"
            )
        best = max(1, round(self.top * len(truths)))
        figures = {
            "tau": kendall_tau(truths, scores),
            "tau_within": tau_within(truths, scores, sizes, self.groups).tau,
            "recall": top_k_recall(truths, scores, best),
            "regret": regret(truths, scores),
            "heavy": spearman(sizes, ranked(scores) - ranked(truths)),
            "operations": cost.flops / 1e9,
        }
        return Measured(figures, as_billed(cost))
