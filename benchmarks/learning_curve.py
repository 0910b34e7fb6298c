"""Early stopping by learning-curve extrapolation on recorded trainings: epochs saved, and what that costs in the best.

    python benchmarks/learning_curve.py [--searches 10] [--trials 400]

Random search among the cells of ``digits201`` (9 epochs), in full and under ``LearningCurve`` with its defaults, from
the same seeds. Prints for each search how many times fewer epochs were trained, and the best cell of both.
"""

from __future__ import annotations

import argparse
import statistics

from archsearch import search
from archsearch.controllers import RandomSearch
from archsearch.evaluators import LearningCurve, Tabular
from archsearch.spaces import NASBench201
from archsearch.trial import Architecture

EPOCHS = 9
RUNS = 3
"""The table has three trainings of each cell; searches take turns."""


class OfTheTable(RandomSearch):
    """Draws among the cells that were trained."""

    def _start(self) -> None:
        table = Tabular("digits201")
        table.start(self.space)
        self.cells = table.architectures

    def _ask(self) -> Architecture:
        return self.cells[int(self.rng.integers(len(self.cells)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=10)
    parser.add_argument("--trials", type=int, default=400)
    given = parser.parse_args()
    print("| search | times fewer epochs | best in full, % | best with early stopping, % |\n|---|---|---|---|")
    savings, losses = [], []
    for seed in range(given.searches):
        table = Tabular("digits201", run=seed % RUNS)
        full = search(NASBench201(), OfTheTable(), table, trials=given.trials, seed=seed)
        early = search(NASBench201(), OfTheTable(), LearningCurve(table), trials=given.trials, seed=seed)
        trained = sum(trial.metrics["stopped_at"] for trial in early.history)
        best, kept = (max(trial.score or 0.0 for trial in result.history) for result in (full, early))
        savings.append(EPOCHS * given.trials / trained)
        losses.append(best - kept)
        print(f"| {seed} | {savings[-1]:.2f} | {best:.2f} | {kept:.2f} |", flush=True)
    print(
        f"\nmean {statistics.mean(savings):.2f} times; the best is lost in {sum(loss > 0 for loss in losses)} searches"
    )


if __name__ == "__main__":
    main()
