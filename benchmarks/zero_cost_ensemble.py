"""How scores at initialisation rank the cells of NAS-Bench-201, without any label: one by one, and as an ensemble.

    python benchmarks/zero_cost_ensemble.py                                   # published scores, all 9,445 cells
    python benchmarks/zero_cost_ensemble.py --networks 2000 [--out FILE]      # computed on networks; resumable
    python benchmarks/zero_cost_ensemble.py --missing 9445 --out FILE         # what nobody published; resumable

Judged on the 9,445 cells without operations that cannot matter, as papers do, by the mean test accuracy after 200
epochs. No accuracy plays a part in a score. For CIFAR-100 few scores were published: those of CIFAR-10 are taken.

Networks are smaller than the published ones (16 channels, 1 cell in each of three stages, noise of 3 x 16 x 16 in place
of images, 16 of them), so that a processor can do it; a random sample, the same for every number.

``--missing`` computes scores of which no column was published (AZ-NAS's three and VKDNW), at the published size (16
channels, 5 cells a stage, 3 x 32 x 32) on 16 pictures of noise. Cells come in a random order, so that a part of the
file is a sample; those with equal expressions and as many convolutions are computed once. ``--judge`` does not compute,
but ranks what the file has by the rules in ``RULES``, beside the published columns; ``--table`` makes columns of it.
"""

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from scipy.stats import rankdata
from zero_cost import SPACE, table

from archsearch.basics.seeding import stream
from archsearch.evaluators import Tabular, Training, ZeroCost, ZeroCostEnsemble
from archsearch.evaluators.nasbench201_figures import ZERO_COST
from archsearch.evaluators.reference_sample import separate
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
    order = shuffled()[:count]
    out.parent.mkdir(parents=True, exist_ok=True)
    known = {row["index"]: row for row in lines(out)}
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


MISSING = ("vkdnw", "expressivity", "trainability", "progressivity")
"""Scores without a published column, those first that the rules need."""

RULES = {
    "the default that stood": (("flops", "params", "layers"), ("synflow",), ("nwot",), ("jacov",)),
    "A: as VKDNW_agg": (("vkdnw",), ("jacov",), ("expressivity",), ("trainability",), ("flops",)),
    "B: the default and the new kinds": (
        ("flops", "params", "layers"),
        ("synflow",),
        ("nwot",),
        ("jacov",),
        ("expressivity",),
        ("trainability",),
        ("vkdnw",),
    ),
    "as AZ-NAS, to compare with print": (("expressivity",), ("progressivity",), ("trainability",), ("flops",)),
}
"""Votes, and the scores that share each. A and B were written down before either was judged, and so was the choice: B
becomes the default if its tau is higher than that of the default that stood on all three datasets; A does, if it is so
too and B is not, or if it reaches the three targets (0.77, 0.75, 0.75) and B does not. AZ-NAS is no candidate."""


def twins(index):
    """The same for cells that compute the same: their expression, and how often each convolution is in them."""
    cell = SPACE.from_index(index)
    return SPACE.canonical(cell, "flatten"), cell.count(2), cell.count(3)


def lines(path):
    """What a file of rows has."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def missing(count, out):
    """Computes the scores that nobody published, on one cell of each set of twins; goes on where the file ends."""
    torch.set_num_threads(1)
    noise = stream(0, "stand-in")
    arrays = noise.standard_normal((256, 3, 32, 32)), noise.integers(10, size=256)
    task = ImageTask(arrays, arrays, arrays, classes=10, name="noise", normalise=False)
    training = Training(task, preset="nasbench201", device="cpu")
    asked = separate([ZeroCost(score, training=training, batch=16) for score in MISSING])
    evaluators = dict(zip(MISSING, asked, strict=True))
    for evaluator in asked:
        evaluator.start(SPACE)
        evaluator.prepare()
    out.parent.mkdir(parents=True, exist_ok=True)
    known = {twins(row["index"]) for row in lines(out)}
    for index in shuffled()[:count]:
        if twins(index) not in known:
            known.add(twins(index))
            found = {score: each.evaluate(SPACE.from_index(index), 0).score for score, each in evaluators.items()}
            with out.open("a") as file:
                file.write(json.dumps({"index": index, **found}) + "\n")


def shuffled():
    """The official indices of all cells that are judged, in a random order."""
    indices, _ = sound()
    return [indices[i] for i in stream(0, "cells").permutation(len(indices))]


def ship(path, table):
    """Writes the scores as columns in the official order, with a gap where a cell is not judged.

    Raises:
        SystemExit: If cells are not computed yet.
    """
    computed_scores = {twins(row["index"]): row for row in lines(path)}
    lacking = [index for index in shuffled() if twins(index) not in computed_scores]
    if lacking:
        raise SystemExit(f"{path}: scores of {len(lacking):,} cells are missing; go on with --missing 9445")
    rows = [None] * SPACE.size()
    for index in shuffled():
        rows[index] = computed_scores[twins(index)]
    columns = {name: pa.array([row and row[name] for row in rows], pa.float32()) for name in MISSING}
    pq.write_table(pa.table(columns), table, compression="zstd")


def judge(path):
    """The cells whose scores a file has, ranked by each rule.

    Up to the first one that is missing: others are there if they have a twin before it, so they are no random sample.
    """
    computed_scores = {twins(row["index"]): row for row in lines(path)}
    indices = list(itertools.takewhile(lambda index: twins(index) in computed_scores, shuffled()))
    own = {name: np.array([computed_scores[twins(index)][name] for index in indices]) for name in MISSING}
    own |= {"vkdnw, its fraction": own["vkdnw"] % 1}
    for dataset, source in DATASETS.items():
        columns = figures(dataset, indices)
        truth = columns.pop("test")
        prefix = source.lower().replace("-", "_")
        names = {name: f"{prefix}_{name}" for name in ("synflow", "nwot", "jacov")}
        found = embedded_columns("nasbench201_zerocost", tuple(names.values()))
        columns |= {name: np.array([found[column][i] for i in indices], float) for name, column in names.items()}
        columns |= own
        header(f"{dataset}, {len(indices):,} cells")
        for name, values in columns.items():
            show(f"`{name}`", truth, values)
        logs = {name: np.log((rankdata(values) - 0.5) / len(values)) for name, values in columns.items()}
        ranked = {n: sum(np.mean([logs[each] for each in v], axis=0) for v in votes) for n, votes in RULES.items()}
        for name, values in ranked.items():
            show(name, truth, values)
        first, *others = ranked
        for name in others:
            found = bootstrap(gain, [truth, ranked[name], ranked[first]], 200)
            print(f"\n{name}: above {first} by {found.value:.3f} [{found.low:.3f}, {found.high:.3f}]")


def gain(truth, better, worse):
    """By how much the one ranks better than the other."""
    return kendall_tau(truth, better) - kendall_tau(truth, worse)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, help="compute scores on so many networks instead")
    parser.add_argument("--missing", type=int, help="compute scores without published columns, for so many cells")
    parser.add_argument("--judge", action="store_true", help="rank the cells of the file of --missing")
    parser.add_argument("--table", type=Path, help="write the file of --missing, if complete, as columns to this file")
    parser.add_argument("--out", type=Path, default=Path("runs/zero_cost_ensemble.jsonl"), help="where they are kept")
    parser.add_argument("--singles", action="store_true", help="each published score, too")
    arguments = parser.parse_args()
    if arguments.missing is not None:
        missing(arguments.missing, arguments.out)
    elif arguments.table is not None:
        ship(arguments.out, arguments.table)
    elif arguments.judge:
        judge(arguments.out)
    elif arguments.networks is not None:
        computed(arguments.networks, arguments.out)
    else:
        published(arguments.singles)


if __name__ == "__main__":
    main()
