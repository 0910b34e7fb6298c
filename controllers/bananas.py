"""BANANAS: networks predict the scores of mutations of the best, and independent Thompson sampling chooses.

Reference: White, Neiswanger & Savani, "BANANAS: Bayesian optimization with neural architectures for neural architecture
search", AAAI 2021, and the authors' code. Ten random architectures are followed by rounds of ten: an ensemble of
networks is fitted to all results, for each candidate a score is drawn from a normal distribution with the ensemble's
mean and spread, and the ten with the highest draws are proposed.

Where we differ:

- The paper's ensemble has 5 networks of 10 layers of 20 units on the path encoding. Ours has layers of another size and
  sees operations and counts too, see ``MLPEnsemble``, and passes over the labels 60 times instead of 150.
- Candidates are mutations in one decision or more (``more_mutations``) of the 5 best architectures. The authors' code
  mutates one decision.
- Draws are made on the scale of normal scores, and results that are due are taken into account; so are all other
  things, proposals that never wait among them, as in ``BayesianOptimization``.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from archsearch.controllers.bayesian_optimization import BayesianOptimization, Candidate
from archsearch.model import Model, Prediction

EPOCHS = 60


class Bananas(BayesianOptimization):
    """BANANAS: a neural predictor, mutations of the best and Thompson sampling (White et al. 2021).

    The paper's setting is ``Bananas(MLPEnsemble(layers=10, width=20, encodings=["path_bits"]), candidates=100,
    more_mutations=0)``. ``Bananas(GaussianProcess())`` takes a tenth of the time.

    Args:
        model: What predicts scores. None: ``MLPEnsemble(epochs=60)``.
        initial: Results that are waited for, with random proposals, until the model is fitted, >= 2.
        batch: Proposals of a round, which has one fit, >= 1.
        candidates: Mutations that a round chooses from, >= 1.
        parents: How many of the best architectures are mutated, >= 1.
        more_mutations: Probability, from 0 to below 1, that a mutation is mutated once more, and so on. One that has
            been proposed is so in any case.
        labels: Most results that the model is fitted to, at least ``initial``.

    Raises:
        UsageError: If a setting is out of range, or ``model`` is no model.
    """

    def __init__(
        self,
        model: Model | None = None,
        initial: int = 10,
        batch: int = 10,
        candidates: int = 400,
        parents: int = 5,
        more_mutations: float = 0.7,
        labels: int = 500,
    ) -> None:
        super().__init__(model, initial, batch, candidates, parents, more_mutations, labels)

    def _default_model(self) -> Model:
        from archsearch.models.mlp_ensemble import MLPEnsemble

        return MLPEnsemble(epochs=EPOCHS)

    def _candidates(self) -> Iterator[Candidate]:
        return self._mutations(self.candidates)

    def _worth(self, prediction: Prediction) -> npt.NDArray[np.float64]:
        """A score of each candidate as it may be, drawn independently of the others."""
        worth: npt.NDArray[np.float64] = self.rng.normal(*prediction)
        return worth
