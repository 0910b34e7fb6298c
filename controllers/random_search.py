"""Random search: the baseline that every other controller must beat.

Each proposal is drawn from the space's own sampling distribution, with repeats. On spaces that can be counted
that is uniform over encodings, not over networks: several encodings may compute the same network.

Reference: Bergstra & Bengio, "Random search for hyper-parameter optimization", JMLR 13, 2012; for architecture
search Li & Talwalkar, "Random search and reproducibility for neural architecture search", UAI 2019.
"""

from __future__ import annotations

from archsearch.controller import Controller
from archsearch.trial import Architecture


class RandomSearch(Controller):
    """Random search: every proposal is drawn afresh from the space."""

    learns = False

    def _ask(self) -> Architecture:
        return self.space.sample(self.rng)
