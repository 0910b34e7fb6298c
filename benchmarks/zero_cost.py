"""Scores at initialisation against the published ones, against the accuracy, and against what training costs.

    python benchmarks/zero_cost.py --cells 300
    python benchmarks/zero_cost.py --cells 300 --scores synflow params flops    # two minutes, not half an hour

First table: a random sample of NAS-Bench-201 cells with published scores (NAS-Bench-Suite-Zero, NeurIPS 2022), at the
published size: 16 channels, 5 cells a stage, images of 3 x 32 x 32, 10 classes. CIFAR-10's images are not here; in
their place stand scikit-learn's digits, enlarged to three equal channels, or noise with random labels. ``synflow`` sees
no images, so it must agree up to the random initial weights (PyTorch's own, there and here); the others see other
images, so they cannot fully. Printed: Spearman's rank correlation with the published column; Kendall's tau with the
CIFAR-10 test accuracy after 200 epochs, of ours and of the published one over the same cells; time of the device per
architecture.

Second table: seconds of the device and operations that are billed for an architecture on digits, and how many times
cheaper that is than ``Training(preset="digits")`` in the same run; the set-up of ``params`` and ``flops`` is left out.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from collections.abc import Sequence
from typing import get_args

import numpy as np

from archsearch import Evaluator
from archsearch.basics.seeding import stream
from archsearch.evaluators import Tabular, Training, ZeroCost
from archsearch.evaluators.untrained_scores import Score
from archsearch.files.embedded import embedded_columns
from archsearch.ranking import kendall_tau, spearman
from archsearch.spaces import NASBench201
from archsearch.task import ImageTask, load_task
from archsearch.trial import Architecture, Cost

SPACE = NASBench201()
IMAGES = 256
"""Stand-ins for CIFAR-10, of which each evaluation draws its batch."""

PUBLISHED = {
    "grad_norm": "grad_norm",
    "snip": "snip",
    "grasp": "grasp",
    "fisher": "fisher",
    "synflow": "synflow",
    "jacob_cov": "jacov",
    "naswot": "nwot",
}
"""Our names to those of the columns; parameters and multiply-adds have none."""


def stand_in(kind: str) -> ImageTask:
    """A task of CIFAR-10's shape."""
    rng = stream(0, "stand-in")
    if kind == "normal":
        arrays = rng.standard_normal((IMAGES, 3, 32, 32)), rng.integers(10, size=IMAGES)
    else:
        images, labels = load_task("digits").part("train")
        enlarged = np.kron(images[:IMAGES].numpy(), np.ones((1, 3, 4, 4)))
        arrays = enlarged, labels[:IMAGES].numpy()
    return ImageTask(arrays, arrays, arrays, classes=10, name=f"{kind} in the shape of CIFAR-10", normalise=False)


def started(evaluator: Evaluator) -> Evaluator:
    evaluator.start(SPACE)
    return evaluator


def table(header: Sequence[str]) -> None:
    print(f"\n| {' | '.join(header)} |\n|{'---|' * len(header)}")


def compare(scores: Sequence[Score], cells: int, batch: int, kind: str, device: str) -> None:
    training = Training(stand_in(kind), preset="nasbench201", device=device)
    published = embedded_columns("nasbench201_zerocost", ("cifar10_synflow",))["cifar10_synflow"]
    known = [index for index, score in enumerate(published) if score is not None]
    sample = [SPACE.from_index(known[i]) for i in stream(0, "cells").choice(len(known), cells, replace=False)]
    truth = started(Tabular())
    accuracy = [truth.evaluate(cell, 0).metrics["test_accuracy"] for cell in sample]
    table(("score", "Spearman with published", "tau with accuracy: ours", "published", "ms (median)"))
    for score in scores:
        evaluator = started(ZeroCost(score, training, batch=batch))
        found = [evaluator.evaluate(cell, seed) for seed, cell in enumerate(sample)]
        ours = [evaluation.score for evaluation in found]
        milliseconds = 1000 * statistics.median(evaluation.cost.device_seconds for evaluation in found)
        row = [score, "", f"{kendall_tau(ours, accuracy):.3f}", "", f"{milliseconds:,.1f}"]
        if score in PUBLISHED:
            column = started(Tabular(zero_cost=PUBLISHED[score]))  # type: ignore[arg-type]
            theirs = [column.evaluate(cell, 0).score for cell in sample]
            row[1], row[3] = f"{spearman(ours, theirs):.4f}", f"{kendall_tau(theirs, accuracy):.3f}"
        print(f"| {' | '.join(row)} |", flush=True)


def prices(scores: Sequence[Score], architectures: int, device: str) -> None:
    sample = [SPACE.sample(stream(i, "prices")) for i in range(architectures)]
    training = Training(preset="digits", device=device)
    full = mean_cost(training, sample)
    table(("digits", "ms of the device", "of Training's", "operations", "of Training's"))
    print(f"| Training | {1000 * full.device_seconds:,.1f} | 1 | {full.flops:,.0f} | 1 |")
    for score in scores:
        cost = mean_cost(ZeroCost(score, Training(preset="digits", device=device)), sample)
        operations = f"1 / {full.flops / cost.flops:,.0f}" if cost.flops else "none"
        print(
            f"| {score} | {1000 * cost.device_seconds:,.4g} | 1 / {full.device_seconds / cost.device_seconds:,.0f} | "
            f"{cost.flops:,.0f} | {operations} |",
            flush=True,
        )


def mean_cost(evaluator: Evaluator, sample: Sequence[Architecture]) -> Cost:
    started(evaluator).prepare()
    evaluator.evaluate((1, 1, 1, 1, 1, 1), 0)  # what is loaded at the first call counts for none
    costs = [evaluator.evaluate(architecture, seed).cost for seed, architecture in enumerate(sample)]
    return Cost(*(statistics.mean(amounts) for amounts in zip(*map(dataclasses.astuple, costs), strict=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=300, help="of the first table")
    parser.add_argument("--batch", type=int, default=64, help="images in a batch of the first table")
    parser.add_argument("--images", choices=("digits", "normal"), default="digits")
    parser.add_argument("--scores", nargs="+", choices=get_args(Score), default=list(get_args(Score)))
    parser.add_argument("--architectures", type=int, default=10, help="of the second table")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    print(f"{arguments.cells} cells, batches of {arguments.batch} images ({arguments.images})")
    compare(arguments.scores, arguments.cells, arguments.batch, arguments.images, arguments.device)
    prices(arguments.scores, arguments.architectures, arguments.device)


if __name__ == "__main__":
    main()
