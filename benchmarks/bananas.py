"""Searches that fit a model to the scores against others: NAS-Bench-201, CIFAR-10.

    OMP_NUM_THREADS=1 python benchmarks/bananas.py [--seeds 50] [--workers 2] [--long 300] [--only NAME ...]

The signal is the mean validation accuracy after 200 epochs; regret is the best of the table minus the best so far, in
points of accuracy. An architecture that was scored before is free for every search (``duplicates="reuse"``).

Shows means with 95 % intervals (normal), the share of seeds that are within 0.1 points of the best after 150
evaluations, the processor's seconds until then, and the paired differences to the first method. All methods are run to
150 evaluations, those that take no more than a few seconds to ``--long``. Draws ``docs/pictures/bananas.png``.

Settings were chosen on other seeds, from 1,000 up; no test accuracy was looked at.
"""

import argparse
import functools
import itertools
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from archsearch import search
from archsearch.controllers import Bananas, BayesianOptimization, LocalSearch, RandomSearch, RegularizedEvolution
from archsearch.evaluators import Tabular
from archsearch.models import MLPEnsemble
from archsearch.spaces import NASBench201

SPACE = NASBench201()
BUDGETS = (20, 50, 75, 100, 150)
EVALUATIONS = 150
NEAR = 0.1
PICTURE = Path(__file__).parent.parent / "docs" / "pictures" / "bananas.png"

METHODS = {
    "Bananas": Bananas,
    "Bananas, networks": partial(Bananas, MLPEnsemble(epochs=60), candidates=400, parents=5, more_mutations=0.7),
    "Bananas, networks and encoding of the paper": partial(
        Bananas,
        MLPEnsemble(layers=10, width=20, encodings=["path_bits"]),
        candidates=100,
        parents=10,
        more_mutations=0.0,
    ),
    "BayesianOptimization": BayesianOptimization,
    "LocalSearch": LocalSearch,
    "LocalSearch, all neighbours": partial(LocalSearch, first_improvement=False),
    "LocalSearch, one start": partial(LocalSearch, 1),
    "RegularizedEvolution 20/5": partial(RegularizedEvolution, 20, 5),
    "RandomSearch": RandomSearch,
}
SLOW = ("Bananas, networks", "Bananas, networks and encoding of the paper")
"""A few seconds per search and more: to 150 evaluations only."""

LINES = {
    "Bananas": "#D55E00",
    "BayesianOptimization": "#E69F00",
    "LocalSearch": "#009E73",
    "RegularizedEvolution 20/5": "#0072B2",
    "RandomSearch": "#8C8C8C",
}
"""What is drawn, and its colour: Okabe and Ito's palette."""


@functools.cache
def table():
    """The evaluator, and the best score of all."""
    evaluator = Tabular()
    evaluator.start(SPACE)
    return evaluator, max(evaluator.evaluate(architecture, 0).score for architecture in SPACE.enumerate())


def curve(name, evaluations, seed):
    """Regret after each evaluation, and the processor's seconds until the 150th."""
    evaluator, best = table()
    settings = {"trials": evaluations, "seed": seed, "duplicates": "reuse"}
    begun, times = time.process_time(), []
    result = search(SPACE, METHODS[name](), evaluator, **settings, on_trial=lambda _: times.append(time.process_time()))
    seconds = times[EVALUATIONS - 1] - begun
    scores = [trial.score for trial in result.history]
    assert len(scores) == evaluations
    return best - np.maximum.accumulate(scores), seconds


def limit_threads():
    """One thread each: matrices are small, and processes are as many as there are cores."""
    import torch

    torch.set_num_threads(1)


def interval(values):
    """Half the width of the 95 % interval of the mean."""
    return 1.96 * np.std(values, axis=0, ddof=1) / len(values) ** 0.5


def shown(values, form=".3f"):
    return f"{np.mean(values):{form}} +- {interval(values):.3f}"


def measure(names, seeds, long, workers):
    """The curves of every method, shape (seeds, evaluations)."""
    curves = {}
    budgets = " | ".join(f"after {budget}" for budget in BUDGETS)
    print(f"| search | {budgets} | after {long} | within {NEAR}, % | seconds |")
    print("|---" * (len(BUDGETS) + 4) + "|")
    with ProcessPoolExecutor(workers, initializer=limit_threads) as pool:
        for name in names:
            evaluations = EVALUATIONS if name in SLOW else long
            found = list(pool.map(curve, itertools.repeat(name), itertools.repeat(evaluations), range(seeds)))
            curves[name] = np.array([points for points, _ in found])
            cells = [shown(curves[name][:, budget - 1]) for budget in BUDGETS]
            cells.append(shown(curves[name][:, long - 1]) if evaluations == long else "")
            near = 100 * np.mean(curves[name][:, EVALUATIONS - 1] <= NEAR)
            seconds = np.mean([seconds for _, seconds in found])
            print(f"| {name} | {' | '.join(cells)} | {near:.0f} | {seconds:.2f} |", flush=True)
    return curves


def compare(curves):
    """Paired: seed by seed, the first method's regret minus the other's; below zero the first one is better."""
    first, *others = curves
    print(f"\n| {first} minus | {' | '.join(f'after {budget}' for budget in BUDGETS)} |")
    print("|---" * (len(BUDGETS) + 1) + "|")
    for other in others:
        cells = [shown(curves[first][:, budget - 1] - curves[other][:, budget - 1], "+.3f") for budget in BUDGETS]
        print(f"| {other} | {' | '.join(cells)} |")


def draw(curves, path):
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for name, colour in LINES.items():
        if name in curves:
            points = curves[name][:, :EVALUATIONS]
            mean, half = points.mean(0), interval(points)
            at = np.arange(1, points.shape[1] + 1)
            axes.plot(at, mean, color=colour, label=name, linewidth=1.8)
            axes.fill_between(at, np.maximum(mean - half, 1e-4), mean + half, color=colour, alpha=0.15, linewidth=0)
    axes.axhline(NEAR, color="#222222", linewidth=0.8, linestyle=":")
    axes.text(11, NEAR, f"{NEAR} points", va="bottom", fontsize=9, color="#222222")
    axes.set(xlim=(10, EVALUATIONS), yscale="log", ylim=(0.003, 4), xlabel="Evaluations")
    axes.set_ylabel("Regret: validation accuracy below the best cell, points")
    axes.set_yticks([0.01, 0.1, 1.0], ["0.01", "0.1", "1"])
    axes.set_title(f"NAS-Bench-201, CIFAR-10: mean of {len(next(iter(curves.values())))} seeds, 95 % intervals")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.legend(frameon=False, loc="upper right")
    figure.savefig(path, dpi=130)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=50, help="searches of each method, at least 2")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--long", type=int, default=300, help=f"evaluations of the quick methods, >= {EVALUATIONS}")
    parser.add_argument("--only", nargs="+", choices=METHODS, default=list(METHODS), help="methods to run")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="where the picture is written")
    arguments = parser.parse_args()
    if arguments.seeds < 2 or arguments.long < EVALUATIONS:
        parser.error(f"expected --seeds >= 2 and --long >= {EVALUATIONS}")
    curves = measure(arguments.only, arguments.seeds, arguments.long, arguments.workers)
    compare(curves)
    draw(curves, arguments.picture)


if __name__ == "__main__":
    main()
