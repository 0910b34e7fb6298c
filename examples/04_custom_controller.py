"""A controller of one's own, checked by the contract suite."""

from archsearch import Controller, search
from archsearch.evaluators import Tabular
from archsearch.spaces import NASBench201
from archsearch.testing import CONTROLLER_CHECKS, check_controller


class HillClimbing(Controller):
    """Mutates the best architecture so far; moves on ties."""

    state = ("_best", "_score")

    def _start(self):
        self._best, self._score = None, float("-inf")

    def _ask(self):
        if self._best is None:
            return self.space.sample(self.rng)
        return self.space.mutate(tuple(self._best), self.rng)

    def _tell(self, trial):
        if trial.evaluation is not None and trial.score >= self._score:
            self._best, self._score = trial.architecture, trial.score


if __name__ == "__main__":
    check_controller(HillClimbing)  # raises, with every check that fails
    print(f"passes {len(CONTROLLER_CHECKS)} checks")
    print(search(NASBench201(), HillClimbing(), Tabular(), trials=300, seed=0))
