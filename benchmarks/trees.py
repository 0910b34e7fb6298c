"""How well trees rank architectures of 28 decisions after 100 labels: ours, scikit-learn's, LightGBM's where installed.

    python benchmarks/trees.py [--seeds 10] [--labels 100]
    python benchmarks/trees.py --settings [--seeds 6]

Spearman's correlation with the true scores of 1,000 other architectures, mean and standard error over seeds, each a
problem of its own (``28 decisions`` of ``benchmarks/arena.py``: effects of unequal size, and pairs), and the seconds of
a fit. All see the same columns, one for each option and counts; those of the libraries learn the scores as they are.

``--settings``: what leaves and number of our boosted trees change in Kendall's tau on 400 others, by problem, labels.
"""

import argparse
import importlib
import time
import warnings
from collections.abc import Callable

import numpy as np
from arena_problems import PROBLEMS
from scipy.stats import kendalltau, spearmanr
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)

from archsearch.models import GaussianProcess, GradientBoosting, RandomForest, trees
from archsearch.models.encoding import default_encodings, encode

OURS = {
    "GradientBoosting()": GradientBoosting,
    "RandomForest()": RandomForest,
    "RandomForest(extra=True)": lambda: RandomForest(extra=True),
    "GaussianProcess()": GaussianProcess,
}
THEIRS: dict[str, Callable[[], object]] = {
    "sklearn GradientBoostingRegressor": lambda: GradientBoostingRegressor(random_state=0),
    "sklearn HistGradientBoostingRegressor": lambda: HistGradientBoostingRegressor(random_state=0),
    "sklearn RandomForestRegressor": lambda: RandomForestRegressor(random_state=0),
    "sklearn ExtraTreesRegressor": lambda: ExtraTreesRegressor(random_state=0),
}


def lightgbm() -> dict[str, Callable[[], object]]:
    """LightGBM as it comes, and with leaves small enough for so few labels."""
    try:
        LGBMRegressor = importlib.import_module("lightgbm").LGBMRegressor
    except ImportError:
        print("lightgbm is not installed")
        return {}
    small = {"min_child_samples": 3, "num_leaves": 7, "n_estimators": 200, "learning_rate": 0.05}
    return {
        "LightGBM": lambda: LGBMRegressor(verbose=-1, n_jobs=1, random_state=0),
        "LightGBM, small leaves": lambda: LGBMRegressor(verbose=-1, n_jobs=1, random_state=0, **small),
    }


KINDS = ("28 decisions", "NAS-Bench-201, CIFAR-10", "layers", "endless, pairs", "NAS-Bench-Macro")
SETTINGS = ((7, 60), (7, 100), (4, 60), (4, 100), (3, 100))
"""Leaves of a tree, and trees of a member."""


def compare_settings(seeds: int) -> None:
    """Prints tau with the first settings, and the paired differences of the others, means and standard errors."""
    for name in KINDS:
        problems = [PROBLEMS[name](5, seed) for seed in range(seeds)]
        drawn = []
        for seed, problem in enumerate(problems):
            rng, found = np.random.default_rng([seed, 3]), {}
            while len(found) < 700:
                architecture = problem.space.sample(rng)
                if (values := problem.value(architecture)) is not None:
                    found.setdefault(architecture, values[0])
            drawn.append((list(found), list(found.values())))
        for labels in (30, 100, 300):
            taus = np.empty((len(SETTINGS), seeds))
            for row, (leaves, iterations) in enumerate(SETTINGS):
                trees.BOOSTING["max_leaf_nodes"] = leaves
                for seed, (architectures, scores) in enumerate(drawn):
                    model = GradientBoosting(iterations=iterations)
                    model.fit(problems[seed].space, architectures[:labels], scores[:labels], seed)
                    taus[row, seed] = kendalltau(model.predict(architectures[300:]).mean, scores[300:]).statistic
            ahead = taus[1:] - taus[0]
            cells = [
                f"{mean:+.3f} ± {error:.3f}"
                for mean, error in zip(ahead.mean(1), ahead.std(1, ddof=1) / seeds**0.5, strict=True)
            ]
            print(f"| {name} | {labels} | {taus[0].mean():.3f} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--labels", type=int, default=100)
    parser.add_argument("--settings", action="store_true", help="compare settings of GradientBoosting")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    if given.settings:
        compare_settings(given.seeds)
        return
    theirs = THEIRS | lightgbm()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in (*OURS, *theirs)}
    for seed in range(given.seeds):
        problem = PROBLEMS["28 decisions"](0, seed)
        rng = np.random.default_rng(seed)
        drawn = [problem.space.sample(rng) for _ in range(given.labels + 1000)]
        scores = np.array([(problem.value(each) or (0.0,))[0] for each in drawn])
        labelled, others, n = drawn[: given.labels], drawn[given.labels :], given.labels
        columns = np.concatenate(encode(problem.space, drawn, default_encodings(problem.space)), axis=1)
        for name in found:
            begun = time.process_time()
            if name in OURS:
                model = OURS[name]()
                model.fit(problem.space, labelled, scores[:n].tolist(), seed)
                predicted = model.predict(others).mean
            else:
                predicted = theirs[name]().fit(columns[:n], scores[:n]).predict(columns[n:])  # type: ignore[attr-defined]
            found[name].append((float(spearmanr(predicted, scores[n:]).statistic), time.process_time() - begun))
    print(f"| model | Spearman, {given.labels} labels | seconds |\n|---|---|---|")
    for name, each in found.items():
        ranks, seconds = np.array(each).T
        print(f"| {name} | {ranks.mean():.3f} ± {ranks.std(ddof=1) / np.sqrt(len(ranks)):.3f} | {seconds.mean():.2f} |")


if __name__ == "__main__":
    main()
