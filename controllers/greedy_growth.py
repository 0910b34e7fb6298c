"""Greedy growth: of all ways to grow by one step the best is taken, as long as that is better (AdaNet).

Reference: Cortes, Gonzalvo, Kuznetsov, Mohri & Yang, "AdaNet: adaptive structural learning of artificial neural
networks", ICML 2017: two candidates a step, on the space ``AdaNet``. The objective is the score minus a penalty on
complexity.

Size is the number of decisions; see ``growing.py``. A generation are the candidates of a step; what is proposed while
results are due is as in ``OnePlusLambda``.

Where we differ: the paper weighs the complexity of a subnetwork by its weight in the ensemble, which a controller does
not see; here each counts as one. The paper ends with the first step that is no gain; here mutations of the best follow,
as they do where nothing can grow, such as in spaces of fixed length.
"""

from __future__ import annotations

from archsearch.abilities import Complex
from archsearch.basics.checks import at_least_one, number
from archsearch.controllers.growing import Growing
from archsearch.controllers.one_plus_lambda import OnePlusLambda
from archsearch.trial import Architecture, Trial


class GreedyGrowth(OnePlusLambda):
    """Greedy growth: the best of all ways to grow by one step, as long as it is better (AdaNet, Cortes et al. 2017).

    Args:
        candidates: The most candidates of a step, >= 1; they are drawn if there are more. The paper has 2.
        penalty: Penalty on the complexity that the space gives to an architecture, or, if it gives none, on the number
            of its decisions; >= 0, in units of the score.

    Raises:
        UsageError: If a setting is out of range.
    """

    state = (*OnePlusLambda.state, "_queue", "_grows")

    def __init__(self, candidates: int = 2, penalty: float = 0.0) -> None:
        self.candidates = at_least_one("GreedyGrowth", "candidates", candidates)
        self.penalty = number("GreedyGrowth", "penalty", penalty, low=0)
        super().__init__(self.candidates)

    def _start(self) -> None:
        self._growing = Growing(self.space)
        self._queue: list[Architecture] = []
        self._grows = self.space.arities is None
        super()._start()

    def _first(self) -> Architecture:
        """One of the smallest."""
        return self._growing.smallest(1, self.rng)[0] if self._grows else super()._first()

    def _child(self) -> Architecture:
        if not self._queue:
            return super()._child()
        child = tuple(self._queue.pop())
        self._proposed.add(self.space.canonical(child))
        return child

    def _objective(self, trial: Trial) -> float:
        space, architecture = self.space, trial.architecture
        complexity = space.complexity(architecture) if isinstance(space, Complex) else len(architecture)
        return super()._objective(trial) - self.penalty * complexity

    def _begin(self) -> None:
        super()._begin()
        self._queue = []
        if self._grows and self._parent is not None:
            grown = self._growing.grown(tuple(self._parent[2]), self.candidates, self.rng)
            self._grows = bool(grown)
            self._queue = [each for each in grown if not self._proposed.has(self.space.canonical(each))]
            self._size = len(self._queue) or self.children

    def _end(self) -> None:
        # A generation that others follow while its results are due has not failed to find something better.
        self._grows = self._grows and (self._won is not None or bool(self._due))
        super()._end()
