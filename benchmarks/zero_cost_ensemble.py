"""How scores at initialisation rank the cells of NAS-Bench-201, without any label: one by one, and as an ensemble.

    python benchmarks/zero_cost_ensemble.py                                   # published scores, all 9,445 cells
    python benchmarks/zero_cost_ensemble.py --networks 2000 [--out FILE]      # computed on networks; resumable

Judged on the 9,445 cells without operations that cannot matter, as papers do, by the mean test accuracy after 200
epochs. No accuracy plays a part in a score. For CIFAR-100 few scores were published: those of CIFAR-10 are taken.

Networks are smaller than the published ones (16 channels, 1 cell in each of three stages, noise of 3 x 16 x 16 in place
of images, 16 of them), so that a processor can do it; a random sample, the same for every number.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from zero_cost import SPACE, table

from archsearch.basics.seeding import stream
from archsearch.evaluators import Tabular, Training, ZeroCostEnsemble
from archsearch.evaluators.nasbench201_figures import ZERO_COST
from archsearch.files.embedded import embedded_columns
from archsearch.networks.layers import Layers
from archsearch.ranking import bootstrap, kendall_tau, ndcg, top_k_precision, weighted_tau
from archsearch.task import ImageTask
from archsearch.trial import Query

DATASETS = {"cifar10": "cifar10", "cifar100": "cifar10", "ImageNet16-120": "ImageNet16-120"}
"""Whose published scores are taken."""


def sound():
    """Official indices of the cells, and the cells."""
    published = embedded_columns("nasbench201_zerocost", ("cifar10_synflow",))["cifar10_synflow"]
    indices = [index for index, score in enumerate(published) if score is not None]
    return indices, [SPACE.from_index(index) for index in indices]


def scores(evaluator, cells):
    """The score of each cell."""
    evaluator.start(SPACE)
    evaluator.prepare()
    return np.array([each.score for each in evaluator.evaluate_batch([Query(i, c, 0) for i, c in enumerate(cells)])])


def figures(dataset, indices):
    """Test accuracies, and the sizes, of cells by their official index."""
    prefix = dataset.lower().replace("-", "_")
    names = {"test": f"{prefix}_test_acc_200", "flops": f"{prefix}_flops", "params": f"{prefix}_params"}
    found = embedded_columns("nasbench201", tuple(names.values()))
    columns = {name: np.array(found[column], float)[indices] for name, column in names.items()}
    layers = Layers(SPACE)
    columns["layers"] = np.array([layers(SPACE.from_index(index)) for index in indices], float)
    return columns


def show(name, truth, found):
    low_high = bootstrap(kendall_tau, [truth, found], 100)
    top = max(1, len(truth) // 100)
    first, weighted = top_k_precision(truth, found, top), weighted_tau(truth, found)
    print(
        f"| {name} | {low_high.value:.3f} [{low_high.low:.3f}, {low_high.high:.3f}] | {weighted:.3f} | "
        f"{ndcg(truth, found):.4f} | {ndcg(truth, found, top):.4f} | {first:.2f} |",
        flush=True,
    )


def header(title):
    table(
        (
            title,
            "tau",
            "tau, top weighing most",
            "nDCG",
            "nDCG of the first 1 %",
            "of the first 1 % among the best 10 %",
        )
    )


def published(singles):
    indices, cells = sound()
    for dataset, source in DATASETS.items():
        columns = figures(dataset, indices)
        truth = columns.pop("test")
        header(f"{dataset}, {len(cells):,} cells")
        for name, values in columns.items():
            show(f"`{name}`", truth, values)
        if singles:
            for name in ZERO_COST[source]:
                evaluator = Tabular(source, zero_cost=name)
                evaluator.start(SPACE)
                show(f"`{name}`", truth, np.array([evaluator.evaluate(cell, 0).score for cell in cells]))
        show("`ZeroCostEnsemble`", truth, scores(ZeroCostEnsemble(published=source, reference=1_000), cells))
        every = [Tabular(source, zero_cost=name) for name in ZERO_COST[source] if name != "naswot_paper"]
        show(
            "all published scores, a vote for each kind", truth, scores(ZeroCostEnsemble(every, reference=1_000), cells)
        )


def computed(count, out):
    noise = stream(0, "stand-in")
    arrays = noise.standard_normal((256, 3, 16, 16)), noise.integers(10, size=256)
    task = ImageTask(arrays, arrays, arrays, classes=10, name="noise", normalise=False)
    training = Training(task, preset="nasbench201", device="cpu", skeleton={"channels": 16, "cells": 1})
    evaluator = ZeroCostEnsemble(training=training, batch=16, reference=200)
    evaluator.start(SPACE)
    evaluator.prepare()
    indices, _ = sound()
    order = [indices[i] for i in stream(0, "cells").permutation(len(indices))[:count]]
    out.parent.mkdir(parents=True, exist_ok=True)
    known = {}
    for line in out.read_text().splitlines() if out.exists() else ():
        row = json.loads(line)
        known[row["index"]] = row
    for index in order:
        if index not in known:
            found = evaluator.evaluate(SPACE.from_index(index), 0)
            known[index] = {"index": index, "ensemble": found.score, **found.metrics}
            with out.open("a") as file:
                file.write(json.dumps(known[index]) + "\n")
    rows = [known[index] for index in order]
    for dataset in DATASETS:
        truth = figures(dataset, order)["test"]
        header(f"{dataset}, {len(rows):,} cells, computed on networks")
        for name in rows[0]:
            if name != "index":
                show(f"`{name}`", truth, np.array([row[name] for row in rows]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, help="compute scores on so many networks instead")
    parser.add_argument("--out", type=Path, default=Path("runs/zero_cost_ensemble.jsonl"), help="where they are kept")
    parser.add_argument("--singles", action="store_true", help="each published score, too")
    arguments = parser.parse_args()
    published(arguments.singles) if arguments.networks is None else computed(arguments.networks, arguments.out)


if __name__ == "__main__":
    main()
