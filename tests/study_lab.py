"""Studies whose truth is known, quick ones, and their files."""

import time
from typing import ClassVar

import numpy as np

from archsearch.studies.measure import Measure, Measured
from archsearch.studies.study import read_study
from archsearch.trial import Cost

FILE = """
claim: Ten is more than nothing.
section: "1.2"
hypothesis: It is.
fixed_on: 2026-11-30
measure:
  class_path: study_lab.Noisy
  init_args: {mean: 0, noise: 1}
vary:
  mean: [10, 0]
seeds: 6
figure: value
compare: [10, 0]
test: permutation
direction: above
threshold: 5
"""


class Noisy(Measure):
    """A number with noise around it.

    Args:
        mean: Its mean.
        noise: Standard deviation of the noise.
        log: A file to which each measurement adds a line, if any.
        fails: Seed under which it fails, if any.
        seconds: How long it takes.
    """

    figures: ClassVar = {"value": "what was drawn", "twice": "two times that"}

    def __init__(self, mean: float = 0, noise: float = 1, log: str = "", fails: int = -1, seconds: float = 0) -> None:
        self.mean, self.noise, self.log, self.fails, self.seconds = mean, noise, log, fails, seconds

    def measure(self, seed):
        if self.log:
            with open(self.log, "a") as file:
                file.write(f"{self.mean} {seed}\n")
        time.sleep(self.seconds)
        if seed == self.fails:
            raise ValueError("as asked")
        value = self.mean + self.noise * np.random.default_rng(seed).normal()
        return Measured({"value": value, "twice": 2 * value}, Cost(recorded_seconds=10))


class Forgetful(Measure):
    """Gives another figure than it says."""

    figures: ClassVar = {"value": "a number"}

    def measure(self, seed):
        return Measured({"number": 1.0})


def written(folder, text=FILE, name="ten.yaml", **changes):
    """A file with some of its lines changed; None takes a line out."""
    lines = text.strip().splitlines()
    for key, value in changes.items():
        place = next((i for i, line in enumerate(lines) if line.startswith(f"{key}:")), None)
        new = [] if value is None else [f"{key}: {value}"]
        if place is None:
            lines += new
        else:
            end = place + 1
            while end < len(lines) and lines[end].startswith(" "):
                end += 1
            lines[place:end] = new
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def study(folder, **changes):
    return read_study(written(folder, **changes), trust=True)
