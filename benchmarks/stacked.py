"""Trainings of several seeds as one against one after the other: examples a second of processor time.

    python benchmarks/stacked.py [--repeats N]

Both are timed in turns, N times each; printed are the median ratio and its range. The cell is of NAS-Bench-201, in
the skeleton of the preset ``digits``; all that ``Training.evaluate`` does is in it.
"""

import argparse
import statistics
import time

from archsearch.evaluators import Training
from archsearch.spaces import NASBench201

CELL = (3, 2, 1, 3, 4, 2)


def seconds(channels: int, seeds: int, together: bool, seed: int) -> float:
    """Processor seconds of one evaluation."""
    training = Training("digits", epochs=3, repeats=seeds, together=together, skeleton={"channels": channels})
    training.start(NASBench201())
    begun = time.process_time()
    training.evaluate(CELL, seed)
    return time.process_time() - begun


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    seconds(8, 2, True, 0)  # what PyTorch does once
    for channels, seeds in ((8, 4), (8, 16), (16, 4), (16, 16)):
        ratios = []
        for i in range(repeats if seeds < 16 else max(1, repeats // 2)):
            apart, together = (seconds(channels, seeds, each, i) for each in (False, True))
            ratios.append(apart / together)
        low, high = min(ratios), max(ratios)
        print(f"| {channels} | {seeds} | {statistics.median(ratios):.2f} ({low:.2f} to {high:.2f}) |", flush=True)


if __name__ == "__main__":
    main()
