"""BANANAS: networks predict the scores of mutations of the best, and independent Thompson sampling chooses.

Reference: White, Neiswanger & Savani, "BANANAS: Bayesian optimization with neural architectures for neural architecture
search", AAAI 2021, and the authors' code. Ten random architectures are followed by rounds of ten: an ensemble of
networks is fitted to all results, for each candidate a score is drawn from a normal distribution with the ensemble's
mean and spread, and the ten with the highest draws are proposed.

Where we differ:

- The model is a Gaussian process unless told otherwise: on NAS-Bench-201 it finds better cells than the ensemble, and
  takes less time (``benchmarks/bananas.py`` measures both).
- Candidates are mutations in one decision or more (``more_mutations``) of the 2 best architectures. The authors' code
  mutates one decision.
- Draws are made on the scale of normal scores. Results that are due are taken into account, and proposals never wait.
  All this is in ``BayesianOptimization``; only candidates and draws are BANANAS' own.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from archsearch.basics.classes import other_defaults
from archsearch.controllers.bayesian_optimization import BayesianOptimization, Candidate
from archsearch.model import Prediction


@other_defaults(initial=10, batch=10, candidates=800, parents=2, more_mutations=0.8)
class Bananas(BayesianOptimization):
    """BANANAS: a model of the scores, mutations of the best and Thompson sampling (White et al. 2021).

    The settings closest to the paper are ``Bananas(MLPEnsemble(layers=10, width=20, encodings=["path_bits"]),
    candidates=100, parents=10, more_mutations=0.0)``. The parent named in a proposal is the architecture that it is a
    mutation of.

    The other settings are those of ``BayesianOptimization``, some with other defaults.

    Args:
        candidates: Mutations among which a round chooses, >= 1.

    Raises:
        UsageError: If a setting is out of range, or ``model`` is no model.
    """

    def _candidates(self) -> Iterator[Candidate]:
        return self._mutations(self.candidates)

    def _worth(self, prediction: Prediction) -> npt.NDArray[np.float64]:
        """A score of each candidate as it may be, drawn independently of the others."""
        worth: npt.NDArray[np.float64] = self.rng.normal(*prediction)
        return worth
