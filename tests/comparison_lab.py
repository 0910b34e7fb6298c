"""Evaluators of known quality and cost, for the comparisons of evaluators."""

import zlib

from scipy.special import ndtri

from archsearch import Cost, Evaluation, Evaluator, Space
from archsearch.basics.seeding import stream

SPACE = Space(arities=[10, 10, 10])


def quality(architecture):
    """Standard normal over the space, in no order that a controller could use."""
    return float(ndtri((zlib.crc32(repr(architecture).encode()) + 0.5) / 2**32))


class Known(Evaluator):
    """The truth with normal noise, at a known cost.

    Args:
        noise: Standard deviation.
        each: Device seconds for an architecture.
        set_up: Device seconds of the set-up.
        seed: Of the noise.
    """

    calls = 0

    def __init__(self, noise: float = 0.0, each: float = 10.0, set_up: float = 0.0, seed: int = 0) -> None:
        self.noise, self.each, self.set_up, self.seed = noise, each, set_up, seed

    def prepare(self):
        return Cost(device_seconds=self.set_up)

    def measure(self, architecture):
        return {"flops": 1.0 + architecture[0]}

    def evaluate(self, architecture, seed):
        Known.calls += 1
        rng = stream(self.seed, repr(architecture)) if self.set_up else stream(seed, "noise")
        score = quality(architecture) + self.noise * rng.standard_normal()
        return Evaluation(score, {"size": 1.0 + architecture[0]}, Cost(device_seconds=self.each, updates=3))


CHEAP, DEAR, SHARED = (
    Known(noise=2.0, each=1.0),
    Known(noise=0.0, each=50.0),
    Known(noise=0.7, each=0.1, set_up=1_000.0),
)
