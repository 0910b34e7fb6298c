"""Predictors of NAS-Bench-201 (CIFAR-10) under the protocols that papers print, one row for each fit.

    python benchmarks/protocols.py [--out docs/protocols.jsonl] [--parts pinat graf printed] [--seeds 10] [--models ...]
    python benchmarks/protocols.py --show        # the tables of what the file has, without fitting anything

Every fit is a line of the file, and what the file has already is not done again, so a run that was stopped goes on.

``pinat`` (TNASP, NeurIPS 2021; PINAT, AAAI 2023): labels are validation accuracies of random cells, of all 15,625;
tau with the test accuracy of all 15,625, the labelled ones included, as there.
``graf`` (TA-GATES, NeurIPS 2022; GRAF, ICML 2024): of the 9,445 cells without operations that cannot matter, one
random half gives labels, validation accuracies, and tau is taken over the other half: with its test accuracies, and
beside it (``valid``) with its validation accuracies.
``printed``: the same with the column that this line of papers uses under the name of validation accuracy: accuracy on
*test* images, run 888, of the network trained on half of the training images, for the labels and for tau.

All accuracies are those after 200 epochs, means over the recorded runs but for ``printed``. The models were tuned on
the validation accuracies of training halves alone, seeds below 10; seeds here begin at 1,000.
"""

import argparse
import datetime
import functools
import importlib.metadata
import json
import platform
import statistics
import time
from pathlib import Path

import numpy as np
from predictors import MORE, SPACE, table

from archsearch.files.embedded import embedded_columns
from archsearch.models import GaussianProcess, GraphNetwork, RandomForest, Stack
from archsearch.models.encoding import DEFAULT
from archsearch.ranking import kendall_tau, ndcg

SIZES = {
    "pinat": (78, 156, 469, 781, 1_563),
    "graf": (32, 46, 128, 233, 467, 935, 1_024),
    "printed": (32, 46, 128, 233, 467, 935, 1_024),
}
FIRST_SEED = 1_000
KEPT = Path(__file__).parents[1] / "docs" / "protocols.jsonl"
"""The rows from which the tables of docs/predictors.md are."""

FACTS = [*DEFAULT, "facts"]


def process():
    model = GaussianProcess(FACTS)
    model.quick = True  # all are asked for at once
    return model


def trees():
    return RandomForest(extra=True, max_features=1.0, encodings=FACTS)


def pair():
    return Stack([process(), trees()], folds=0)


def three():
    return Stack([process(), trees(), GraphNetwork()], folds=0)


MODELS = {
    "GaussianProcess and RandomForest": (pair, False),
    "GaussianProcess and RandomForest, 10 scores": (pair, True),
    "GraphNetwork": (GraphNetwork, False),
    "GraphNetwork, 10 scores": (GraphNetwork, True),
    "all three, 10 scores": (three, True),
}
"""What makes a model, and whether it sees the published zero-cost scores."""


@functools.cache
def data():
    cells, valid, test, scores = table()
    clean, published = "cifar10_valid_split_test_acc_200_seed888", "cifar10_synflow"
    found = embedded_columns("nasbench201_zerocost", (published,))[published]
    sound = np.flatnonzero([score is not None for score in found])
    return {
        "cells": cells,
        "valid": valid,
        "test": test,
        "clean": np.array(embedded_columns("nasbench201", (clean,))[clean]),
        "features": np.stack([scores[name] for name in MORE], axis=1),
        "sound": sound,
    }


def split(part, labels, seed):
    """Cells that are labelled, and cells that are judged."""
    rng = np.random.default_rng(seed)
    if part == "pinat":
        everything = np.arange(len(data()["cells"]))
        return rng.permutation(everything)[:labels], everything
    order = rng.permutation(data()["sound"])
    half = len(order) // 2
    return order[:half][:labels], order[half:]


def fit(part, model, labels, seed):
    known, asked = split(part, labels, seed)
    (make, sees), everything = MODELS[model], data()
    given, truth = ("clean", "clean") if part == "printed" else ("valid", "test")
    cells, features = everything["cells"], everything["features"] if sees else None
    fitted = make()
    begun = time.process_time()
    rows = None if features is None else features[known]
    fitted.fit(SPACE, [cells[i] for i in known], everything[given][known], seed, rows)
    between = time.process_time()
    rows = None if features is None else features[asked]
    found = fitted.predict_targets([cells[i] for i in asked], rows).mean
    row = {"part": part, "model": model, "labels": labels, "seed": seed}
    row |= {"tau": kendall_tau(everything[truth][asked], found), "ndcg": ndcg(everything[truth][asked], found)}
    if part == "graf":
        row["valid"] = kendall_tau(everything["valid"][asked], found)
    row |= {"fit_seconds": between - begun, "score_seconds": time.process_time() - between}
    return row | {"date": datetime.date.today().isoformat()}


def read(path):
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {(row["part"], row["model"], row["labels"], row["seed"]): row for row in rows}


def mean(values):
    half = 1.96 * statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):.3f} ± {half:.3f}" if len(values) > 1 else f"{values[0]:.3f}"


def show(found):
    names = ("archsearch", "numpy", "scipy", "scikit-learn", "torch")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    dates = sorted({row["date"] for row in found.values()})
    print(f"{' to '.join(dict.fromkeys([dates[0], dates[-1]]))}; Python {platform.python_version()}, {versions}\n")
    for part, sizes in SIZES.items():
        for figure in ("tau", "valid", "ndcg"):
            head = False
            for model in MODELS:
                rows = [[r for k, r in found.items() if k[:3] == (part, model, labels)] for labels in sizes]
                cells = [[row[figure] for row in each if figure in row] for each in rows]
                if not any(cells):
                    continue
                if not head:
                    print(f"| {part}, {figure} | {' | '.join(map(str, sizes))} | seeds |")
                    print("|---|" + "---|" * (len(sizes) + 1))
                    head = True
                seeds = sorted({len(each) for each in cells})
                numbers = " | ".join(mean(each) if each else "" for each in cells)
                print(f"| {model} | {numbers} | {' to '.join(map(str, dict.fromkeys([seeds[0], seeds[-1]])))} |")
            if head:
                print()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=KEPT, help="file of the rows")
    parser.add_argument("--parts", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--labels", type=int, nargs="+", help="only these numbers of labels")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--show", action="store_true", help="tables of what is in the file, no new fits")
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    found = read(arguments.out)
    wanted = [
        (part, model, labels, seed)
        for seed in range(FIRST_SEED, FIRST_SEED + arguments.seeds)
        for model in arguments.models
        for part in arguments.parts
        for labels in SIZES[part]
        if not arguments.labels or labels in arguments.labels
    ]
    for key in wanted if not arguments.show else ():
        if key not in found:
            found[key] = fit(*key)
            with arguments.out.open("a") as file:
                file.write(json.dumps(found[key]) + "\n")
    show(found)


if __name__ == "__main__":
    main()
