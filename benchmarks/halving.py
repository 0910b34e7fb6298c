"""Successive halving and Hyperband against random search, simulated from recorded trainings.

    python benchmarks/halving.py [--repeats 100] [--trainings 10 20 30 60]
    python benchmarks/halving.py --models [--repeats 20] [--trainings 5 10 20 40] [--problems NAME ...]

Random search trains N architectures in full and keeps the best. How many epochs do the others bill until they are, on
average over the repeats, as good: for the first time, and for good? (A first full training may be worse than what
shorter ones had chosen.) Regret: final validation accuracy, mean over a cell's runs, of the best cell of the
table minus that of the chosen one, in points. Chosen: the best score among the longest trainings so far, as
``result.best`` has it; before the first result a cell at random. The target: a third of random search's epochs.

Tables: EC-NAS, 91 cells, trained for 4, 12, 36 and 108 epochs, 3 runs of each length with a schedule of its own; here
they pass for stops of one training. Digits, cells of NAS-Bench-201 trained on scikit-learn's digits for 9 epochs, 3
runs each, which are stops of one training.

``--models`` compares who proposes new architectures, with 4 workers: regret after as many epochs as N full trainings.
There the spaces have decisions: NAS-Bench-201 with its trainings of 12 and of 200 epochs (separate ones; of CIFAR-10
two single runs of the latter, else means), Digits, and a synthetic space of 14 decisions whose effects change from
their early values to late ones, in proportion to the logarithm of the epochs, up to 27 of them. ``crossing`` is the
share of the late effects that is new. Regret there is in standard deviations of a random architecture.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from archsearch import Controller, Cost, Evaluation, Evaluator, Space, Trial, search
from archsearch.controllers import (
    MOBSTER,
    BayesianOptimization,
    MultiFidelityBayesianOptimization,
    RandomSearch,
    RegularizedEvolution,
)
from archsearch.controllers.successive_halving import Hyperband, SuccessiveHalving
from archsearch.errors import UsageError
from archsearch.files.embedded import embedded_columns
from archsearch.spaces import NASBench201
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
        cells: Of a space with decisions the architectures, in the order of the accuracies; None: one decision, which.
    """

    def __init__(
        self, accuracies: FloatArray, lengths: tuple[int, ...], cells: Sequence[Architecture] | None = None
    ) -> None:
        self.accuracies = accuracies
        self.lengths = lengths
        self.searched = Space(arities=[len(accuracies)]) if cells is None else NASBench201()
        self.rows = {each: row for row, each in enumerate(self.searched.enumerate() if cells is None else cells)}
        final = accuracies[:, :, -1].mean(1)
        self.regrets: FloatArray = np.asarray(final.max() - final)
        self.at_random = float(self.regrets.mean())

    def regret(self, architecture: Architecture) -> float:
        """Final regret of a cell, in points."""
        return float(self.regrets[self.rows[architecture]])

    def refusal(self, architecture: Architecture) -> str:
        """Cells that were not trained cannot be scored."""
        return "" if architecture in self.rows else "it was not trained"

    def check_budgets(self, budgets: Sequence[int]) -> None:
        """Raises ``UsageError`` if no accuracy was recorded after one of these lengths."""
        if not set(budgets) <= set(self.lengths):
            raise UsageError(f"Recorded: expected budgets among {self.lengths}, got {tuple(budgets)}")

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        return self.evaluate_query(Query(-1, architecture, seed))

    def evaluate_query(self, query: Query) -> Evaluation:
        stop, start = query.budget[:2] if query.budget else (self.lengths[-1], 0)
        runs = self.accuracies[self.rows[query.architecture]]
        score = runs[query.seed % len(runs), self.lengths.index(stop)]
        return Evaluation(float(score), cost=Cost(recorded_seconds=float(stop - start)))


class Synthetic(Evaluator):
    """Architectures whose order after a short training is not that after a long one; bills as ``Recorded``.

    Args:
        seed: Of the effects.
        crossing: Share of the late effects, by variance, that has nothing to do with the early ones.
    """

    LONGEST, DECISIONS, OPTIONS, NOISE = 27, 14, 4, 0.1

    def __init__(self, seed: int, crossing: float) -> None:
        rng, shape = np.random.default_rng([seed, 7]), (self.DECISIONS, self.OPTIONS)
        self.early, new = rng.normal(size=shape), rng.normal(size=shape)
        self.late = (1 - crossing) ** 0.5 * self.early + crossing**0.5 * new
        self.searched = Space(arities=[self.OPTIONS] * self.DECISIONS)
        self.unit = float(np.sqrt(self.late.var(1).sum()))
        self.at_random = float((self.late.max(1) - self.late.mean(1)).sum()) / self.unit

    def check_budgets(self, budgets: Sequence[int]) -> None:
        """Any will do."""

    def regret(self, architecture: Architecture) -> float:
        """What the late effects lack, in standard deviations of a random architecture."""
        chosen = self.late[np.arange(self.DECISIONS), list(architecture)]
        return float((self.late.max(1) - chosen).sum()) / self.unit

    def evaluate(self, architecture: Architecture, seed: int) -> Evaluation:
        return self.evaluate_query(Query(-1, architecture, seed))

    def evaluate_query(self, query: Query) -> Evaluation:
        stop, start = query.budget[:2] if query.budget else (self.LONGEST, 0)
        along = np.log(stop) / np.log(self.LONGEST)
        effects = ((1 - along) * self.early + along * self.late)[np.arange(self.DECISIONS), list(query.architecture)]
        noise = np.random.default_rng([query.seed, stop]).normal(0, self.NOISE * self.unit)
        # All get better with time, and that by more than they differ.
        score = float(effects.sum() + noise + 3 * self.unit * along)
        return Evaluation(score, cost=Cost(recorded_seconds=float(stop - start)))


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


def digits(decisions: bool = False) -> Recorded:
    names = tuple(f"valid_accuracy_{epoch}" for epoch in range(1, DIGITS_EPOCHS + 1))
    columns = embedded_columns("digits201", ("arch", "run", *names))
    cells, cell = np.unique(columns["arch"], return_inverse=True)
    runs, run = np.unique(columns["run"], return_inverse=True)
    accuracies = np.full((len(cells), len(runs), DIGITS_EPOCHS), np.nan)
    accuracies[cell, run] = np.array([columns[name] for name in names]).T
    architectures = list(map(NASBench201().parse, cells.tolist())) if decisions else None
    return Recorded(accuracies, tuple(range(1, DIGITS_EPOCHS + 1)), architectures)


def nasbench201(dataset: str, runs: tuple[str, ...] = ("",)) -> Recorded:
    names = (f"{dataset}_valid_acc_12", *(f"{dataset}_valid_acc_200{run}" for run in runs))
    columns = embedded_columns("nasbench201", ("arch", *names))
    short, *long = (np.array(columns[name], np.float64) for name in names)
    accuracies = np.stack([np.stack([short, each], 1) for each in long], 1)
    return Recorded(accuracies, (12, 200), list(map(NASBench201().parse, columns["arch"])))


def regret_curve(
    evaluator: Recorded | Synthetic, controller: Controller, epochs: int, workers: int, seed: int
) -> FloatArray:
    """Regret of the cell that is chosen after 0, 1, ..., ``epochs`` billed epochs."""
    curve = np.full(epochs + 1, evaluator.at_random)
    billed, best = 0, Trial(-1, ())

    def choose(trial: Trial) -> None:
        nonlocal billed, best
        billed += int(trial.cost.recorded_seconds)
        if trial.rank > best.rank:
            best = trial
            curve[billed:] = evaluator.regret(trial.architecture)

    settings: dict[str, Any] = {"executor": "simulated", "workers": workers, "on_trial": choose}
    result = search(evaluator.searched, controller, evaluator, max_cost=epochs, seed=seed, **settings)
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


def proposers(shortest: int, longest: int, reduction: int) -> dict[str, Callable[[], Controller]]:
    """Who proposes new architectures, and for how long these are trained."""
    rungs = (shortest, longest, reduction)
    return {
        "RandomSearch": RandomSearch,
        "BayesianOptimization": BayesianOptimization,
        "SuccessiveHalving": lambda: SuccessiveHalving(None, *rungs),
        "SuccessiveHalving(RegularizedEvolution(20, 5))": lambda: SuccessiveHalving(
            RegularizedEvolution(20, 5), *rungs
        ),
        "SuccessiveHalving(BayesianOptimization())": lambda: SuccessiveHalving(BayesianOptimization(), *rungs),
        "Hyperband": lambda: Hyperband(None, *rungs),
        "**MOBSTER**": lambda: MOBSTER(None, *rungs),
        "**Hyperband(MultiFidelityBayesianOptimization())**": lambda: Hyperband(
            MultiFidelityBayesianOptimization(), *rungs
        ),
    }


PROBLEMS: dict[str, tuple[Callable[[int], Recorded | Synthetic], tuple[int, int, int]]] = {
    "NAS-Bench-201, CIFAR-10": (
        lru_cache(1)(lambda _: nasbench201("cifar10", ("_seed777", "_seed888"))),
        (12, 200, 17),
    ),
    "NAS-Bench-201, CIFAR-100": (lru_cache(1)(lambda _: nasbench201("cifar100")), (12, 200, 17)),
    "NAS-Bench-201, ImageNet16-120": (lru_cache(1)(lambda _: nasbench201("imagenet16_120")), (12, 200, 17)),
    "Digits": (lru_cache(1)(lambda _: digits(decisions=True)), (1, 9, 3)),
    "synthetic, crossing 0.1": (lambda seed: Synthetic(seed, 0.1), (1, 27, 3)),
    "synthetic, crossing 0.9": (lambda seed: Synthetic(seed, 0.9), (1, 27, 3)),
}
"""Of a seed the evaluator; shortest and longest training, and who is promoted."""


def compare_models(names: Sequence[str], trainings: Sequence[int], repeats: int) -> None:
    """Prints regrets after as many epochs as so many full trainings, means and standard errors over the repeats."""
    print(f"\n| problem | search | {' | '.join(map(str, trainings))} | CPU ms a trial |")
    print("|---|---|" + "---|" * (len(trainings) + 1))
    for problem in names:
        make, rungs = PROBLEMS[problem]
        for name, proposer in proposers(*rungs).items():
            began, trials, found = time.process_time(), 0, []
            for seed in range(repeats):
                controller, evaluator = proposer(), make(seed)
                curve = regret_curve(evaluator, controller, trainings[-1] * rungs[1], 4, seed)
                trials += controller._next_id
                found.append([curve[n * rungs[1]] for n in trainings])
            mean, error = np.mean(found, 0), np.std(found, 0, ddof=1) / repeats**0.5
            cells = " | ".join(f"{m:.2f} ± {e:.2f}" for m, e in zip(mean, error, strict=True))
            spent = 1000 * (time.process_time() - began) / trials
            print(f"| {problem} | {name} | {cells} | {spent:.1f} |", flush=True)


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
    parser.add_argument("--models", action="store_true", help="compare who proposes new architectures")
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS))
    arguments = parser.parse_args()
    if arguments.models:
        compare_models(arguments.problems, arguments.trainings, arguments.repeats)
        return
    for title, load, rungs in (("EC-NAS", ecnas, (4, 12, 36, 108)), ("Digits", digits, (1, 3, 9))):
        compare(title, load(), rungs, arguments.trainings, arguments.repeats)


if __name__ == "__main__":
    main()
