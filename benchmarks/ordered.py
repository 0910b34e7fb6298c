"""Numbers beside categories: how much the order of options helps models that predict scores, and a search with one.

    python benchmarks/ordered.py models
    python benchmarks/ordered.py search

Two joint spaces of architecture and training with scores that are made up. *rate*: depth, width and kinds of layers
beside a learning rate and a weight decay; the best rate falls with the depth. *wide*: six numbers, most of them on
logarithmic scales, beside four categories, some of which shift what number is best. models: Kendall's tau with the
truth of 500 architectures, learnt from 30 and 100 labels, with the columns that a model has by default (numbers) and
with one-hot ones, on the same labels: means over seeds and of the differences. search: regret of the default Gaussian
process with either after 60 trials, same seeds.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from archsearch import search
from archsearch.basics.seeding import stream
from archsearch.controllers import BayesianOptimization, RandomSearch, RegularizedEvolution
from archsearch.evaluators import Function
from archsearch.model import Model
from archsearch.models import GaussianProcess, GradientBoosting, MLPEnsemble, RandomForest
from archsearch.spaces import Choices
from archsearch.spaces.choices_numbers import Integer, Real

MODELS = {each.__name__: each for each in (GaussianProcess, RandomForest, GradientBoosting, MLPEnsemble)}
LABELS = (30, 100)
TRUTHS = 500

RATE = Choices(
    {
        "depth": Integer(1, 8),
        "width": Integer(8, 512, log=True),
        "kind": ["conv", "separable", "attention"],
        "activation": ["relu", "gelu", "silu"],
        "rate": Real(1e-5, 1e-1, log=True),
        "decay": Real(1e-6, 1e-2, log=True),
    }
)


def rate_score(made: Mapping[str, Any]) -> float:
    best = math.log10(0.03) - 0.12 * made["depth"] - (0.8 if made["kind"] == "attention" else 0)
    size = 0.5 * math.log2(made["width"]) + {"conv": 0.5, "separable": 0.0, "attention": 0.9}[made["kind"]]
    trained = -((math.log10(made["rate"]) - best) ** 2) - 0.1 * (math.log10(made["decay"]) + 3.5) ** 2
    return size + 0.4 * math.sqrt(made["depth"]) + 1.5 * trained + 0.1 * (made["activation"] == "gelu")


WIDE = Choices(
    {
        "optimizer": ["sgd", "adamw", "lamb"],
        "norm": ["batch", "layer", "none"],
        "pool": ["mean", "max", "attention"],
        "augment": ["none", "flip", "mix", "cut"],
        "rate": Real(1e-5, 1.0, log=True),
        "momentum": Real(0.5, 0.99),
        "dropout": Real(0.0, 0.6),
        "batch": Integer(8, 1024, log=True),
        "channels": Integer(4, 256, log=True),
        "warm_up": Integer(0, 40),
    }
)


def wide_score(made: Mapping[str, Any]) -> float:
    best = {"sgd": -1.0, "adamw": -3.0, "lamb": -2.2}[made["optimizer"]] + 0.3 * math.log10(made["batch"] / 64)
    off = (math.log10(made["rate"]) - best) / {"batch": 1.0, "layer": 0.8, "none": 0.4}[made["norm"]]
    room = math.log2(made["channels"]) - (7 if made["augment"] == "mix" else 5)
    shape = -0.25 * room**2 - 4 * (made["dropout"] - 0.02 * math.log2(made["channels"])) ** 2
    rest = -2 * (made["momentum"] - 0.9) ** 2 - 0.0005 * (made["warm_up"] - 10) ** 2
    return -(off**2) + shape + rest + {"mean": 0.2, "max": 0.0, "attention": 0.3}[made["pool"]]


SPACES: dict[str, tuple[Choices, Callable[[Mapping[str, Any]], float]]] = {
    "rate": (RATE, rate_score),
    "wide": (WIDE, wide_score),
}


def tau(model: Model, space: Choices, score: Callable[[Mapping[str, Any]], float], labels: int, seed: int) -> float:
    rng = stream(seed, "ordered")
    drawn = [space.sample(rng) for _ in range(labels + TRUTHS)]
    scores = [score(space.decode(architecture)) for architecture in drawn]
    model.fit(space, drawn[:labels], scores[:labels], seed)
    return float(kendalltau(model.predict(drawn[labels:]).mean, scores[labels:]).statistic)


def model_table(seeds: int) -> None:
    print("| space | model | labels | numbers | one-hot | difference |\n|---|---|---|---|---|---|")
    for name, (space, score) in SPACES.items():
        for kind in MODELS:
            for labels in LABELS:
                ours = [tau(MODELS[kind](), space, score, labels, seed) for seed in range(seeds)]
                hot = [
                    tau(MODELS[kind](encodings=["one_hot", "counts"]), space, score, labels, s) for s in range(seeds)
                ]
                print(f"| {name} | `{kind}` | {labels} | {paired(ours, hot)} |", flush=True)


def paired(ours: list[float], theirs: list[float]) -> str:
    """Means of both, and of the difference with its standard error."""
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    error = statistics.stdev(differences) / len(differences) ** 0.5
    return (
        f"{statistics.mean(ours):.3f} | {statistics.mean(theirs):.3f} | "
        f"**{statistics.mean(differences):+.3f}** ± {error:.3f}"
    )


def search_table(seeds: int, trials: int) -> None:
    print("| space | controller | in order | as categories | difference |\n|---|---|---|---|---|")
    for name, (space, score) in SPACES.items():
        rng = stream(0, "best")
        best = max(score(space.decode(space.sample(rng))) for _ in range(200_000))
        blind = Choices(
            {
                decision.name: decision.options  # the same options, of which nobody says that they are in order
                for decision in space._decisions
            }
        )

        def regret(controller: Any, of: Choices, seed: int, best: float = best, score: Any = score) -> float:
            found = search(of, controller, Function(score), trials=trials, seed=seed).best.score
            assert found is not None
            return best - found

        drawn = statistics.mean(regret(RandomSearch(), space, seed) for seed in range(seeds))
        print(f"| {name} | `RandomSearch` | {drawn:.3f} | | |")
        for make in (
            lambda: BayesianOptimization(GaussianProcess()),
            lambda: RegularizedEvolution(population_size=15, tournament_size=5),
        ):
            ours = [regret(make(), space, seed) for seed in range(seeds)]
            theirs = [regret(make(), blind, seed) for seed in range(seeds)]
            print(f"| {name} | `{type(make()).__name__}` | {paired(ours, theirs)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("models", "search"))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=60, help="of search")
    options = parser.parse_args()
    if options.what == "models":
        model_table(options.seeds)
    else:
        search_table(options.seeds, options.trials)


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
