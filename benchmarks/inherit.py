"""What inheriting weights saves: evolution with ``Inherit`` against evolution with ``Training``, on digits.

    python benchmarks/inherit.py

Both search NAS-Bench-201 under the preset ``digits_thin`` by the same evolution from the same seeds. The mean accuracy
is that of the population (the last ``--population`` trials) on the validation part, mean over the seeds. Printed: the
training examples that each had billed when the mean first reached what evolution with ``Training`` has in the end. The
networks that ``Inherit`` scores have been trained as a line of ancestors, longer than one from scratch; so the best of
each is also trained from scratch, several times, and tested.
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np
import numpy.typing as npt

from archsearch import Evaluator, Result, search
from archsearch.controllers import RegularizedEvolution
from archsearch.evaluators import Inherit, Training
from archsearch.spaces import NASBench201

SPACE = NASBench201()


def curves(result: Result, population: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """After each trial: training examples billed, and mean score of the population."""
    trials = list(result.history)
    examples = np.cumsum([trial.cost.examples for trial in trials])
    scores = [trial.score or 0.0 for trial in trials]
    return examples, np.array([np.mean(scores[max(0, i + 1 - population) : i + 1]) for i in range(len(scores))])


def retrained(result: Result, repeats: int) -> float:
    """Mean test accuracy of the pick, trained from scratch."""
    assert result.best is not None
    evaluator = Training(preset="digits_thin", repeats=repeats)
    evaluator.start(SPACE)
    return evaluator.evaluate(result.best.architecture, 10**6).metrics["test_accuracy"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=80)
    parser.add_argument("--population", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=None, help="updates of a child; default: that of Inherit")
    parser.add_argument("--repeats", type=int, default=3, help="trainings of each pick from scratch")
    arguments = parser.parse_args()
    found: dict[str, list[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]] = {}
    picks: dict[str, list[float]] = {}
    evaluators: dict[str, Evaluator] = {
        "Training": Training(preset="digits_thin"),
        "Inherit": Inherit(Training(preset="digits_thin"), steps=arguments.steps),
    }
    for seed in range(arguments.seeds):
        for name, evaluator in evaluators.items():
            evolution = RegularizedEvolution(arguments.population, 3)
            result = search(SPACE, evolution, evaluator, trials=arguments.trials, seed=seed)
            found.setdefault(name, []).append(curves(result, arguments.population))
            picks.setdefault(name, []).append(retrained(result, arguments.repeats))
    # One axis for all seeds: the mean over seeds of the population's mean, after as many trials.
    means = {name: np.mean([scores for _, scores in runs], axis=0) for name, runs in found.items()}
    examples = {name: np.mean([billed for billed, _ in runs], axis=0) for name, runs in found.items()}
    target = means["Training"][-1]
    whole = examples["Training"][-1]
    print(f"mean accuracy of the population after {arguments.trials} trials with Training: {target:.2f} %\n")
    columns = (
        "evaluator",
        "examples when reached",
        "share",
        "examples in all",
        "mean accuracy",
        "pick, from scratch: test",
    )
    print(f"| {' | '.join(columns)} |")
    print("|---|---|---|---|---|---|")
    for name in evaluators:
        reached = np.flatnonzero(means[name] >= target)
        at = examples[name][reached[0]] if len(reached) else float("nan")
        error = statistics.stdev(picks[name]) / len(picks[name]) ** 0.5 if len(picks[name]) > 1 else 0.0
        print(
            f"| {name} | {at:,.0f} | {at / whole:.2f} | {examples[name][-1]:,.0f} | {means[name][-1]:.2f} % | "
            f"{statistics.mean(picks[name]):.2f} ± {error:.2f} % |"
        )


if __name__ == "__main__":
    main()
