"""Derived: proposes what an evaluator has learnt to be best, the evaluator's own answer first.

Search by gradient (Liu et al., "DARTS", ICLR 2019, section 2.4) ends in one architecture, which is derived from what
was learnt over all of them. Sampling methods draw several and score them with the shared weights (Pham et al., "ENAS",
ICML 2018, section 2.3). Both are here: first the derived one, then others that were drawn.
"""

from __future__ import annotations

from archsearch.abilities import Distribution, draw
from archsearch.basics.checks import at_least_one
from archsearch.controller import Controller
from archsearch.trial import Architecture

ATTEMPTS = 4
"""Draws for each architecture that is wanted; if too few of them are different, fewer are proposed."""


class Derived(Controller):
    """Proposes what the evaluator's distribution derives, then draws from it, the most probable ones first.

    It needs an evaluator that has a distribution, such as ``Differentiable``; a search by another one is refused before
    anything is spent. All that will be proposed is drawn when the evaluator is ready, each architecture once; then the
    search is over, with fewer if the distribution has no more to give. Asked outside a search, before it was handed a
    distribution, it draws uniformly.

    Args:
        limit: Architectures that are proposed at most, >= 1.

    Raises:
        UsageError: If a setting is out of range.
    """

    state = ("queue", "handed")
    learns = False
    reads_distribution = True

    def __init__(self, limit: int = 1000) -> None:
        self.limit = at_least_one("Derived", "limit", limit)

    def _start(self) -> None:
        self.queue: list[Architecture] = []
        self.handed = False

    def read(self, distribution: Distribution) -> None:
        """Draws all that will be proposed."""
        derived = self.space.validate(distribution.derived())
        drawn: dict[Architecture, float] = {}
        for _ in range(ATTEMPTS * self.limit):
            if len(drawn) >= self.limit:
                break
            log_probability, architecture = draw(distribution, self.space, self.rng)
            drawn[architecture] = log_probability
        drawn.pop(derived, None)
        likely = sorted(drawn, key=lambda architecture: (-drawn[architecture], architecture))
        self.queue = [derived, *likely][: self.limit]
        self.handed = True

    @property
    def finished(self) -> bool:
        """Whether all was proposed."""
        return self.handed and not self.queue

    def _ask(self) -> Architecture:
        if not self.handed:
            return self.space.sample(self.rng)
        return tuple(self.queue.pop(0))

    def _ask_many(self, n: int) -> list[Architecture]:
        return [self._ask() for _ in range(min(n, len(self.queue)) if self.handed else n)]
