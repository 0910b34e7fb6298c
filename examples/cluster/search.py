"""A controller and an evaluator of one's own on a Ray cluster: `python search.py HOST:PORT`, or alone on this machine.

The workers need no copy of this file: what is defined in the script that is run is sent to them.
"""

import math
import sys
import time

from archsearch import Controller, Evaluation, Evaluator, RayExecutor, Space, search

NOISE = 0.01


def true_score(architecture):
    """Stands for a long training; best at (2, 2, 2, 2, 2, 2)."""
    return 1 / (1 + math.dist(architecture, [2] * len(architecture)))


class Noisy(Evaluator):
    """The true score after some seconds, with a little noise.

    Args:
        seconds: What an evaluation takes.
    """

    def __init__(self, seconds: float = 0.02):
        self.seconds = seconds

    def evaluate(self, architecture, seed):
        """Sleeps, then answers."""
        time.sleep(self.seconds)
        return Evaluation(true_score(architecture) + NOISE * (seed % 1000) / 1000)


class Climber(Controller):
    """Mutates the best architecture so far.

    Args:
        restart: Begins anew after so many proposals.
    """

    state = ("_best", "_score", "_asked")

    def __init__(self, restart: int = 100):
        self.restart = restart

    def _start(self):
        self._best, self._score, self._asked = None, -math.inf, 0

    def _ask(self):
        self._asked += 1
        if self._best is None or self._asked % self.restart == 0:
            self._best, self._score = None, -math.inf
            return self.space.sample(self.rng)
        return self.space.mutate(tuple(self._best), self.rng)

    def _tell(self, trial):
        if trial.evaluation is not None and trial.score > self._score:
            self._best, self._score = trial.architecture, trial.score


if __name__ == "__main__":
    executor = RayExecutor(workers=2, address=sys.argv[1] if len(sys.argv) > 1 else None)
    print(search(Space(arities=[5] * 6), Climber(), Noisy(), trials=300, seed=0, executor=executor))
