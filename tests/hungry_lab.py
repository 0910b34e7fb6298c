"""An evaluator that takes memory, in a module of its own: worker processes import little for it."""

import time

import numpy as np

from archsearch import Evaluation, Evaluator


class Hungry(Evaluator):
    """Touches so many MB for a while, as its first option says; some fail after that."""

    def evaluate(self, architecture, seed):
        held = np.ones(architecture[0] * 25_000_000 // 8 + 1)
        time.sleep(0.02)
        if architecture[1]:
            raise MemoryError(f"after {held.nbytes} bytes")
        return Evaluation(float(architecture[0]))
