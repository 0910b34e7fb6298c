"""What the presets of search by gradient derive; ``benchmarks/differentiable.py presets`` runs it.

NASBench201 on digits. A preset keeps its settings, but gets the images, the skeleton and the batches of the
table ``digits201``, so that what it derives can be judged by that table. The truth of a cell is its mean test accuracy
over three trainings: those of the table, or, for the 15 of 16 cells that the table lacks, the same three trainings made
here as ``scripts/make_digits201.py`` makes them. A run **went wrong** if the truth of what it derives is below the
median of the table's cells, which are drawn uniformly: then drawing at random would have done better more often than
not. Each run stands beside random search, which trains cells until it was billed as many floating-point operations
(in the table: it chooses by the validation accuracy of one training, and is judged by the other two), and beside
``OneShot`` with regularized evolution at the same bill. What was measured is kept in the work folder, a file for each
preset and seed, and not measured again; a run that was killed goes on.
"""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from archsearch import resume, search
from archsearch.basics.seeding import evaluation_seed, stream
from archsearch.controllers import RegularizedEvolution
from archsearch.evaluators import OneShot, Tabular, Training
from archsearch.evaluators.super_network import CURVE_POINTS, WATCHED_IMAGES, WATCHED_PATHS
from archsearch.spaces import NASBench201
from archsearch.trial import Architecture

PRESETS = (
    "darts", "darts_first", "pc_darts", "gdas", "snas", "fbnet", "proxylessnas", "r_darts", "darts_plus", "sdarts_rs",
    "sdarts_adv", "p_darts", "fair_darts", "xnas", "milenas",
)  # fmt: skip
SPACE = NASBench201()
TABLE = "digits201"
TASK, SKELETON, BATCH = "digits:train=300,valid=748,test=749", {"channels": 8, "cells": 3}, 32
TABLE_SEED, TRAININGS = 201, 3
"""Of ``scripts/make_digits201.py``."""

SCORED, LONGEST = 200, 300
"""OneShot: the most architectures that evolution scores, and the most epochs, as longer ones rank worse
(docs/optimization_gap.md). Three quarters of the bill are for the training."""


class Truth:
    """Test accuracies of cells, those of the table and those that were trained here.

    Args:
        work: Folder that keeps the latter.
    """

    def __init__(self, work: Path) -> None:
        self.tables = [Tabular(dataset=TABLE, run=run) for run in range(TRAININGS)]
        for table in self.tables:
            table.start(SPACE)
        self.cells = self.tables[0].architectures
        self.known = {cell: self._listed(cell, "test_accuracy") for cell in self.cells}
        self.median = statistics.median(statistics.mean(each) for each in self.known.values())
        self.trainer = Training(preset=TABLE)
        self.trainer.start(SPACE)
        self.path = work / "trained.json"
        if self.path.exists():
            self.known |= {SPACE.parse(name): each for name, each in json.loads(self.path.read_text()).items()}

    def _listed(self, cell: Architecture, metric: str) -> list[float]:
        return [table.evaluate(cell, 0).metrics[metric] for table in self.tables]

    def of(self, cell: Architecture) -> float:
        """Mean test accuracy, in percent."""
        if cell not in self.known:
            index = SPACE.index(cell)
            seeds = [evaluation_seed(TABLE_SEED + run, index) for run in range(TRAININGS)]
            self.known[cell] = [self.trainer.evaluate(cell, seed).metrics["test_accuracy"] for seed in seeds]
            listed = set(self.cells)
            added = {SPACE.format(own): each for own, each in self.known.items() if own not in listed}
            self.path.write_text(json.dumps(added, indent=1))
        return statistics.mean(self.known[cell])

    def operations(self, cell: Architecture) -> float:
        """What a training of the cell is billed: with nine validations and a test."""
        data = self.trainer.trainer.data
        passes = 9 * (3 * data.size("train") + data.size("valid")) + data.size("test")
        return 2 * passes * self.tables[0].evaluate(cell, 0).metrics["flops"]

    def random_search(self, bill: float, seed: int) -> tuple[float, int]:
        """Truth of the best of so many cells as the bill pays for, at least one; and how many those are."""
        run, order, spent, best = seed % TRAININGS, stream(seed, "differentiable").permutation(len(self.cells)), 0.0, []
        for i in order.tolist():
            spent += self.operations(self.cells[i])
            if best and spent > bill:
                break
            best.append(self.cells[i])
        chosen = max(best, key=lambda cell: self.tables[run].evaluate(cell, 0).score)
        return statistics.mean(np.delete(self.known[chosen], run).tolist()), len(best)


def searched(preset: str, seed: int, folder: Path) -> dict[str, Any]:
    """What a preset derives, by ``archsearch run``."""
    if not (folder / "config.yaml").exists():
        options = {
            "preset": preset,
            "space": "NASBench201",
            "seed": seed,
            "out": folder,
            "trials": 1,
            "evaluator.seed": seed,
            "evaluator.training.task": TASK,
            "evaluator.training.batch_size": BATCH,
            **{f"evaluator.training.skeleton.{name}": value for name, value in SKELETON.items()},
        }
        command = [sys.executable, "-m", "archsearch.cli", "run", "--quiet"]
        subprocess.run(
            [*command, *(word for name, value in options.items() for word in (f"--{name}", str(value)))],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    result = resume(folder)
    last = pq.read_table(folder / "evaluator" / "search.parquet").to_pylist()[-1]
    cost = result.setup_cost + result.cost
    return {
        "cell": SPACE.format(next(iter(result.history)).architecture),
        "drop": last["relaxed_accuracy"] - last["derived_accuracy"],
        "epochs": last["epoch"],
        "skips": last["skips"],
        "seconds": cost.device_seconds,
        "bill": cost.flops,
    }


def one_shot(bill: float, seed: int) -> dict[str, Any]:
    """What evolution finds on a super-network for the same bill, as far as that pays."""
    training = Training(preset=TABLE)
    training.start(SPACE)
    mean, data = 2 * training.trainer.size(None)[0], training.trainer.data
    watching = mean * CURVE_POINTS * WATCHED_PATHS * WATCHED_IMAGES
    epochs = min(LONGEST, max(1, round((0.75 * bill - watching) / (mean * 3 * data.size("train")))))
    evaluator = OneShot(Training(preset=TABLE), epochs=epochs, seed=seed)
    controller = RegularizedEvolution(population_size=20, tournament_size=5)
    result = search(SPACE, controller, evaluator, trials=SCORED, seed=seed)
    paid, spent = [], result.setup_cost
    for trial in sorted(result.history, key=lambda trial: trial.id):  # a search that is stopped is the begin of it
        if paid and spent.flops + trial.cost.flops > bill:
            break
        spent += trial.cost
        paid.append(trial)
    return {
        "cell": SPACE.format(max(paid, key=lambda trial: trial.score).architecture),
        "epochs": epochs,
        "trials": len(paid),
        "seconds": spent.device_seconds,
        "bill": spent.flops,
    }


def kept(path: Path, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What was measured, or is now."""
    if not path.exists():
        found = measure()
        path.write_text(json.dumps(found, indent=1))
        print(f"{path.stem}: {found}", file=sys.stderr, flush=True)
    row: dict[str, Any] = json.loads(path.read_text())
    return row


def preset_table(work: Path, presets: Sequence[str], seeds: int, beside: Sequence[str]) -> None:
    """Measures what is missing, seed by seed, and prints the table of (2)."""
    work.mkdir(parents=True, exist_ok=True)
    truth = Truth(work)
    rows: dict[str, list[dict[str, Any]]] = {preset: [] for preset in presets}
    for seed, preset in itertools.product(range(seeds), presets):
        name = f"{preset}-{seed}"
        row = kept(work / f"{name}.json", lambda p=preset, s=seed, n=name: searched(p, s, work / n))  # type: ignore[misc]
        row["truth"] = truth.of(SPACE.parse(row["cell"]))
        row["random"], row["tried"] = truth.random_search(row["bill"], seed)
        if preset in beside:
            shared = kept(work / f"one_shot-{name}.json", lambda r=row, s=seed: one_shot(r["bill"], s))  # type: ignore[misc]
            row["shared"] = truth.of(SPACE.parse(shared["cell"]))
            row["shared bill"] = shared["bill"] / row["bill"]
        rows[preset].append(row)
    print_presets(truth, rows)


def print_presets(truth: Truth, rows: dict[str, list[dict[str, Any]]]) -> None:
    """Prints the table of (2)."""
    best = max(statistics.mean(each) for each in truth.known.values())
    training = statistics.mean(map(truth.operations, truth.cells))
    print(f"median cell {truth.median:.2f} %, best known {best:.2f} %; a training: {training:.3g} operations\n")
    print(
        "| preset | truth: mean (worst to best), % | went wrong | drop by discretisation, points | seconds "
        "| bill, trainings | random search, same bill | OneShot + evolution, same bill | its bill, exactly |\n|"
        + "---|"
        * 9
    )
    for preset, some in rows.items():
        wrong = sum(row["truth"] < truth.median for row in some)
        shared = [row["shared"] for row in some if "shared" in row]
        bills = [row["shared bill"] for row in some if "shared" in row]
        print(
            f"| {preset} | {spread([row['truth'] for row in some])} | {wrong} of {len(some)} "
            f"| {spread([row['drop'] for row in some], 1)} | {statistics.mean(row['seconds'] for row in some):.0f} "
            f"| {statistics.mean(row['bill'] for row in some) / training:.1f} "
            f"| {spread([row['random'] for row in some])} | {spread(shared) if shared else ''} "
            f"| {f'{statistics.mean(bills):.2f}' if bills else ''} |"
        )


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean and range."""
    return f"{statistics.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
