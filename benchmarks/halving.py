"""Successive halving and Hyperband against random search, simulated from recorded trainings.

    python benchmarks/halving.py [--repeats 100] [--trainings 10 20 30 60]

Random search trains N architectures in full and keeps the best. How many epochs do the others bill until they are, on
average over the repeats, as good: for the first time, and for good? (A first full training may be worse than what
shorter ones had chosen.) Regret: final validation accuracy, mean over a cell's runs, of the best cell of the
table minus that of the chosen one, in points. Chosen: the best score among the longest trainings so far, as
``result.best`` has it; before the first result a cell at random. The target: a third of random search's epochs.

Tables: EC-NAS, 91 cells, trained for 4, 12, 36 and 108 epochs, 3 runs of each length with a schedule of its own; here
they pass for stops of one training. Digits, cells of NAS-Bench-201 trained on scikit-learn's digits for 9 epochs, 3
runs each, which are stops of one training.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from archsearch import Controller, Cost, Evaluation, Evaluator, Space, Trial, search
from archsearch.controllers import RandomSearch
from archsearch.controllers.successive_halving import Hyperband, SuccessiveHalving
from archsearch.errors import UsageError
from archsearch.files.embedded import embedded_columns
from archsearch.trial import Architecture, Query

FloatArray = npt.NDArray[np.float64]
DIGITS_EPOCHS = 9
SHARE = 3
"""The target: a result after 1 / SHARE of random search's epochs."""


class Recorded(Evaluator):
    """Replays recorded trainings: the seed chooses the run, so a training that goes on stays in its run.

    Bills one second per added epoch.

    Args:
        accuracies: Validation accuracies in percent, shape (cells, runs, lengths).
        lengths: Epochs after which they were taken, rising; the last is a full training.
    """

    def __init__(self, accuracies: FloatArray, lengths: tuple[int, ...]) -> None:
        self.accuracies = accuracies
        self.lengths = lengths

    @property
    def regrets(self) -> FloatArray:
        """Final regret of each cell, in points."""
        final: FloatArray = self.accuracies[:, :, -1].mean(1)
        return np.asarray(final.max() - final)

    def check_budgets(self, budgets: Sequence[int]) -> None:
        """Raises ``UsageError`` if no accuracy was recorded after one of these lengths."""
        if not set(budgets) <= set(self.lengths):
            raise UsageError(f"Recorded: expected budgets among {self.lengths}, got {tuple(budgets)}")

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        return self.evaluate_query(Query(-1, architecture, seed))

    def evaluate_query(self, query: Query) -> Evaluation:
        stop, start = query.budget[:2] if query.budget else (self.lengths[-1], 0)
        runs = self.accuracies[query.architecture[0]]
        score = runs[query.seed % len(runs), self.lengths.index(stop)]
        return Evaluation(float(score), cost=Cost(recorded_seconds=float(stop - start)))


def ecnas() -> Recorded:
    columns = embedded_columns("ecnas_4v", ("hash", "epochs", "run", "valid_acc"))
    axes, places = [], []
    for name in ("hash", "run", "epochs"):
        values, place = np.unique(columns[name], return_inverse=True)
        axes.append(values)
        places.append(place)
    accuracies = np.full([len(values) for values in axes], np.nan)
    accuracies[tuple(places)] = 100 * np.array(columns["valid_acc"])
    return Recorded(accuracies, tuple(axes[-1].tolist()))


def digits() -> Recorded:
    names = tuple(f"valid_accuracy_{epoch}" for epoch in range(1, DIGITS_EPOCHS + 1))
    columns = embedded_columns("digits201", ("arch", "run", *names))
    cells, cell = np.unique(columns["arch"], return_inverse=True)
    runs, run = np.unique(columns["run"], return_inverse=True)
    accuracies = np.full((len(cells), len(runs), DIGITS_EPOCHS), np.nan)
    accuracies[cell, run] = np.array([columns[name] for name in names]).T
    return Recorded(accuracies, tuple(range(1, DIGITS_EPOCHS + 1)))


def regret_curve(evaluator: Recorded, controller: Controller, epochs: int, workers: int, seed: int) -> FloatArray:
    """Regret of the cell that is chosen after 0, 1, ..., ``epochs`` billed epochs."""
    regrets = evaluator.regrets
    curve = np.full(epochs + 1, regrets.mean())
    billed, best = 0, Trial(-1, ())

    def choose(trial: Trial) -> None:
        nonlocal billed, best
        billed += int(trial.cost.recorded_seconds)
        if trial.rank > best.rank:
            best = trial
            curve[billed:] = regrets[trial.architecture[0]]

    space = Space(arities=[len(regrets)])
    settings: dict[str, Any] = {"executor": "simulated", "workers": workers, "on_trial": choose}
    result = search(space, controller, evaluator, max_cost=epochs, seed=seed, **settings)
    assert result.best == best
    return curve


def mean_curve(
    evaluator: Recorded, make: Callable[[], Controller], epochs: int, workers: int, repeats: int
) -> tuple[FloatArray, FloatArray]:
    """Mean over the repeats, and its standard error."""
    curves = [regret_curve(evaluator, make(), epochs, workers, seed) for seed in range(repeats)]
    return np.mean(curves, axis=0), np.std(curves, axis=0, ddof=1) / repeats**0.5


def controllers(rungs: Sequence[int]) -> dict[str, Callable[[], Controller]]:
    """Successive halving from the two shortest lengths, and Hyperband."""
    shortest, second, *_, longest = rungs
    return {
        f"SuccessiveHalving from {shortest}": partial(SuccessiveHalving, None, shortest, longest),
        f"SuccessiveHalving from {second}": partial(SuccessiveHalving, None, second, longest),
        f"Hyperband from {shortest}": partial(Hyperband, None, shortest, longest),
    }


def compare(title: str, evaluator: Recorded, rungs: Sequence[int], trainings: Sequence[int], repeats: int) -> None:
    cells, runs, _ = evaluator.accuracies.shape
    print(f"\n{title}: {cells:,} cells, {runs} runs, lengths {tuple(rungs)}, {repeats} repeats\n")
    print("| N | workers | search | regret after all epochs | after a third | share of epochs, first | for good |")
    print("|---|---|---|---|---|---|---|")
    for n in trainings:
        epochs = n * rungs[-1]
        for workers in (1, 8):
            goal = None
            for name, make in {"RandomSearch": RandomSearch, **controllers(rungs)}.items():
                mean, error = mean_curve(evaluator, make, epochs, workers, repeats)
                goal = mean[-1] if goal is None else goal
                ends = " | ".join(f"{mean[i]:.3f} +- {error[i]:.3f}" for i in (epochs, epochs // SHARE))
                print(f"| {n} | {workers} | {name} | {ends} | {shares(mean, goal)} |", flush=True)


def shares(mean: FloatArray, goal: float) -> str:
    """When the mean regret is at the goal for the first time and for good, as shares of all epochs."""
    above = mean > goal
    if above.all():
        return "- | -"
    epochs = len(mean) - 1
    for_good = "-" if above[-1] else f"{(np.flatnonzero(above)[-1] + 1) / epochs:.2f}"
    return f"{np.argmin(above) / epochs:.2f} | {for_good}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=100, help="seeds of each search, at least 2")
    parser.add_argument("--trainings", type=int, nargs="+", default=[10, 20, 30, 60], help="N of random search")
    arguments = parser.parse_args()
    for title, load, rungs in (("EC-NAS", ecnas, (4, 12, 36, 108)), ("Digits", digits, (1, 3, 9))):
        compare(title, load(), rungs, arguments.trainings, arguments.repeats)


if __name__ == "__main__":
    main()
