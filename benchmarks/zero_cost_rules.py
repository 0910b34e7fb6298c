"""Rules by which members of a zero-cost ensemble can be had without its labels, each judged once on NAS-Bench-201.

    python benchmarks/zero_cost_rules.py --elsewhere FILE    # computes scores on two other spaces first; resumable

Each rule was written down before it was judged; none looks at an accuracy of NAS-Bench-201. ``elsewhere`` is the only
one that uses accuracies at all: of 150 networks each of NAS-Bench-101's cells of up to 5 vertices (EC-NAS) and of
NAS-Bench-Macro, whose scores at initialisation are computed here (noise in place of images).

Sums are of logarithms of ranks, as in AZ-NAS (CVPR 2024) and VKDNW (CVPR 2025).
"""

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
from scipy.stats import rankdata
from zero_cost import SPACE, table
from zero_cost_ensemble import DATASETS, figures, sound

from archsearch.basics.seeding import stream
from archsearch.evaluators import Tabular, Training, ZeroCost
from archsearch.evaluators.nasbench201_figures import ZERO_COST
from archsearch.networks.layers import Layers
from archsearch.ranking import kendall_tau
from archsearch.spaces import NASBench101, NASBenchMacro
from archsearch.task import ImageTask

COMPUTED = ("synflow", "naswot", "jacob_cov", "grad_norm", "snip", "grasp", "fisher")
PUBLISHED = {"naswot": "nwot", "jacob_cov": "jacov"}
SIZES = ("params", "flops", "layers")
SPACES = {
    "ecnas": (NASBench101(max_vertices=5), "ecnas_5v", {"channels": 16}),
    "macro": (NASBenchMacro(), "nasbench_macro", {}),
}
NETWORKS = 150


def compute(path):
    """Scores and accuracies of networks of the other spaces; what the file has is not computed again."""
    known = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    noise = stream(0, "stand-in")
    arrays = noise.standard_normal((256, 3, 16, 16)), noise.integers(10, size=256)
    task = ImageTask(arrays, arrays, arrays, classes=10, name="noise", normalise=False)
    for name, (space, dataset, skeleton) in SPACES.items():
        truth = Tabular(dataset)
        truth.start(space)
        training = Training(task, preset="digits", device="cpu", skeleton=skeleton)
        evaluators = {score: ZeroCost(score, training=training, batch=16) for score in COMPUTED}
        for evaluator in evaluators.values():
            evaluator.start(space)
            evaluator.prepare()
        layers, done = Layers(space), {row["name"] for row in known if row["where"] == name}
        for architecture in truth.draw(NETWORKS, stream(0, "cells")):
            row = {"where": name, "name": space.format(architecture), "layers": float(layers(architecture))}
            if row["name"] in done:
                continue
            found = truth.evaluate(architecture, 0)
            row["truth"] = found.metrics.get("test_accuracy", found.score)
            for score, evaluator in evaluators.items():
                each = evaluator.evaluate(architecture, 0)
                row |= {score: each.score, "params": each.metrics["params"], "flops": each.metrics["flops"]}
            known.append(row)
            with path.open("a") as file:
                file.write(json.dumps(row) + "\n")
    return known


def logs(values):
    """Logarithms of ranks, as shares; the best has 0."""
    return np.log(rankdata(values) / len(values))


def best_elsewhere(rows):
    """The sum of up to six scores that has the highest mean tau on the two other spaces."""
    sets = []
    for name in SPACES:
        mine = [row for row in rows if row["where"] == name]
        columns = {score: logs([row[score] for row in mine]) for score in (*COMPUTED, *SIZES)}
        sets.append(([row["truth"] for row in mine], columns))
    chosen = [c for count in range(1, 7) for c in itertools.combinations((*COMPUTED, *SIZES), count)]
    taus = [
        np.mean([kendall_tau(truth, sum(columns[score] for score in c)) for truth, columns in sets]) for c in chosen
    ]
    for name, (truth, columns) in zip(SPACES, sets, strict=True):
        singles = ", ".join(f"{score} {kendall_tau(truth, each):.2f}" for score, each in columns.items())
        print(f"{name}, {len(truth)} networks: {singles}")
    place = int(np.argmax(taus))
    print(f"the best there: {', '.join(chosen[place])}, mean tau {taus[place]:.3f}\n")
    return chosen[place]


def rules(columns, chosen):
    """The score of each rule, by its name."""
    log = {name: logs(values) for name, values in columns.items()}
    print_has = ("flops", "layers", "nwot", "jacov")
    rank = np.stack([np.exp(log[name]) for name in print_has])
    every = np.stack([log[name] for name in log])
    # The first principal component of all: what most of them agree on, signs so that it rises with most.
    centred = every - every.mean(axis=1, keepdims=True)
    weights = np.linalg.svd(centred, full_matrices=False)[0][:, 0]
    return {
        "what print aggregates, as far as there is: flops, layers, nwot, jacov": log["flops"]
        + log["layers"]
        + log["nwot"]
        + log["jacov"],
        "the same, harmonic mean of ranks": -(1 / rank).sum(axis=0),
        "the same, the worst rank alone": rank.min(axis=0),
        "the default, layers with a vote of their own": (log["params"] + log["flops"]) / 2
        + log["layers"]
        + log["synflow"]
        + log["nwot"]
        + log["jacov"],
        "first principal component of all": weights * np.sign(weights.sum()) @ every,
        f"elsewhere: {', '.join(chosen)}": sum(log[PUBLISHED.get(name, name)] for name in chosen),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--elsewhere", type=Path, default=Path("runs/zero_cost_rules.jsonl"), help="where they are kept"
    )
    arguments = parser.parse_args()
    arguments.elsewhere.parent.mkdir(parents=True, exist_ok=True)
    chosen = best_elsewhere(compute(arguments.elsewhere))
    indices, cells = sound()
    found = {}
    for dataset, source in DATASETS.items():
        columns = figures(dataset, indices)
        truth = columns.pop("test")
        for name in ZERO_COST[source]:
            if name != "naswot_paper":
                evaluator = Tabular(source, zero_cost=name)
                evaluator.start(SPACE)
                columns[name] = np.array([evaluator.evaluate(cell, 0).score for cell in cells])
        for rule, score in rules(columns, chosen).items():
            found.setdefault(rule, []).append(kendall_tau(truth, score))
    table(("rule", *DATASETS))
    for rule, taus in found.items():
        print(f"| {rule} | {' | '.join(f'{tau:.3f}' for tau in taus)} |")


if __name__ == "__main__":
    main()
