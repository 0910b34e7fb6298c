"""Search by gradient: what a step costs, and what the presets derive.

    python benchmarks/differentiable.py steps
    python benchmarks/differentiable.py presets --work gradient --seeds 5

steps: one thread, processor seconds, in turn in one run. A pair of updates (weights, architecture parameters) of
first-order DARTS beside a loop written by hand with the same network, images and optimisers; an update of the weights
in GDAS beside an update of the same drawn path; pairs of PC-DARTS, and of second-order DARTS, beside first-order DARTS.

presets: NASBench201 on digits. A preset keeps its settings, but gets the images, the skeleton and the batches of the
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

import argparse
import copy
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch.nn import functional

from archsearch import resume, search
from archsearch.basics.seeding import evaluation_seed, stream
from archsearch.controllers import RegularizedEvolution
from archsearch.differentiable.optimisations import FirstOrder, Optimisation, SecondOrder
from archsearch.differentiable.relaxations import Gumbel, PartialChannels, Relaxation, Softmax
from archsearch.evaluators import Differentiable, OneShot, Tabular, Training
from archsearch.evaluators.super_network import CURVE_POINTS, WATCHED_IMAGES, WATCHED_PATHS
from archsearch.space import Space
from archsearch.spaces import DARTS, NASBench201
from archsearch.training.loop import Batch, Run, supervised
from archsearch.training.meter import Meter
from archsearch.trial import Architecture

# -- steps -------------------------------------------------------------------------------------

SPACES: dict[str, tuple[Space, dict[str, int]]] = {
    "NASBench201": (NASBench201(), {"channels": 16, "cells": 2}),
    "DARTS": (DARTS(), {"channels": 16, "layers": 4}),
}
RATE = 0.025
SETTINGS: dict[str, Any] = {"learning_rate": RATE, "nesterov": False, "weight_decay": 3e-4, "clip_norm": 5.0}
"""Of the weights, as the presets have them."""


class Steps:
    """A search that has not begun, whose pairs of updates can be timed.

    Args:
        name: Of a space.
        relaxation: Of the method.
        optimisation: Of the method.
    """

    def __init__(self, name: str, relaxation: Relaxation, optimisation: Optimisation) -> None:
        space, skeleton = SPACES[name]
        training = Training("digits", batch_size=64, skeleton=skeleton, **SETTINGS)
        self.evaluator = Differentiable(training, epochs=50, relaxation=relaxation, optimisation=optimisation)
        self.evaluator.start(space)
        self.shared = self.evaluator._shared
        self.trainer = self.evaluator.trainer
        self.shared._fresh()
        run = self.shared._run
        assert run is not None
        self.run: Run = run
        self.run.network.train()
        own, held_out = self.shared._parts
        assert held_out is not None
        self.own, self.held_out = self.batches(own), self.batches(held_out)

    def batches(self, chosen: torch.Tensor) -> Iterator[Batch]:
        """Batches without end."""
        while True:
            yield from self.trainer.epoch(self.run, chosen)

    def pairs(self, meter: Meter, n: int) -> float:
        """Processor seconds of ``n`` updates of both."""
        step = self.shared._searching(self.run, meter, self.held_out, lambda _: RATE)
        begun = time.process_time()
        for _ in range(n):
            step(self.run, next(self.own), 0.0)
            self.run.step += 1
        return time.process_time() - begun


class ByHand:
    """First-order DARTS as one would write it, with the network of another search.

    Args:
        like: Its network, images and optimisers are copied.
    """

    def __init__(self, like: Steps) -> None:
        self.network: Any = copy.deepcopy(like.run.network)
        assert like.shared._parameters is not None
        sizes = like.shared._parameters.sizes
        self.alphas = [(1e-3 * torch.randn(n)).requires_grad_() for n in sizes]
        self.weights = list(self.network.parameters())
        self.optimizer = torch.optim.SGD(self.weights, RATE, momentum=0.9, weight_decay=3e-4, fused=True)
        self.architecture = torch.optim.Adam(self.alphas, 3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
        self.images, self.labels = like.trainer.data.part("train")
        own, held_out = like.shared._parts
        assert held_out is not None
        parts = [torch.tensor_split(part, like.shared._updates_per_epoch) for part in (own, held_out)]
        self.own, self.held_out = map(itertools.cycle, parts)  # as large as those that the search is dealt

    def loss(self, batch: torch.Tensor, alphas: Sequence[torch.Tensor]) -> torch.Tensor:
        """Of a pass with all candidates."""
        weights = [dict(enumerate(torch.softmax(alpha, 0))) for alpha in alphas]
        return functional.cross_entropy(self.network.relaxed(self.images[batch], weights), self.labels[batch])

    def pairs(self, n: int) -> float:
        """Processor seconds of ``n`` updates of both."""
        begun = time.process_time()
        for _ in range(n):
            found = torch.autograd.grad(self.loss(next(self.held_out), self.alphas), self.alphas)
            for alpha, gradient in zip(self.alphas, found, strict=True):
                alpha.grad = gradient
            self.architecture.step()
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.loss(next(self.own), [alpha.detach() for alpha in self.alphas])
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.weights, 5.0)
            self.optimizer.step()
            loss.item()
        return time.process_time() - begun


class Noted(Gumbel):
    """GDAS's relaxation, which notes what it drew."""

    drawn: Architecture = ()

    def weights(self, parameters: Any, now: Any) -> Any:
        """See ``Relaxation``."""
        found = super().weights(parameters, now)
        self.drawn = tuple(next(iter(some)) for some in found)
        return found


def in_turn(first: Callable[[], float], second: Callable[[], float], rounds: int) -> list[tuple[float, float]]:
    """Seconds of both, round by round, the first round not counted; who begins alternates."""
    found = []
    for i in range(rounds + 1):
        pair = (first(), second()) if i % 2 else (second(), first())[::-1]
        found.append(pair)
    return found[1:]


def gdas_and_path(name: str, updates: int, rounds: int) -> list[tuple[float, float]]:
    """Updates of the weights in GDAS, and of the paths that they drew."""
    relaxation = Noted(hard=True)
    searched = Steps(name, relaxation, FirstOrder())
    beside = Steps(name, Gumbel(hard=True), FirstOrder())
    with searched.trainer.session() as meter:
        step = searched.shared._searching(searched.run, meter, searched.held_out, lambda _: RATE)
        assert searched.shared._costs is not None
        _ = searched.shared._costs.candidates  # counted once in a search
        path = supervised(beside.trainer.recipe, meter, lambda _: RATE, 1, lambda _: [relaxation.drawn])
        found = []
        for _ in range(rounds + 1):
            totals = [0.0, 0.0]
            for _ in range(updates):
                batch = next(searched.own)
                begun = time.process_time()
                step.train_weights(batch)
                between = time.process_time()
                path(beside.run, batch, 0.0)
                totals[0] += between - begun
                totals[1] += time.process_time() - between
            found.append((totals[0], totals[1]))
    return found[1:]


def first_against(other: Steps, name: str, n: int, rounds: int) -> list[tuple[float, float]]:
    """Pairs of another method, and of first-order DARTS."""
    darts = Steps(name, Softmax(), FirstOrder())
    with darts.trainer.session() as meter:
        return in_turn(lambda: other.pairs(meter, n), lambda: darts.pairs(meter, n), rounds)


def by_hand(name: str, n: int, rounds: int) -> list[tuple[float, float]]:
    """Pairs of first-order DARTS, and of the loop written by hand."""
    darts = Steps(name, Softmax(), FirstOrder())
    hand = ByHand(darts)
    with darts.trainer.session() as meter:
        return in_turn(lambda: darts.pairs(meter, n), lambda: hand.pairs(n), rounds)


def step_table(rounds: int, n: int) -> None:
    """Prints the table of (1)."""
    print("| what, against what | space | ms | ms | ratio, min / median / max | target |\n|---|---|---|---|---|---|")

    def row(what: str, name: str, found: Sequence[tuple[float, float]], updates: int, target: str) -> None:
        ratios = sorted(first / second for first, second in found)
        each = (1e3 / updates * statistics.median(column) for column in zip(*found, strict=True))
        times = " | ".join(f"{milliseconds:.1f}" for milliseconds in each)
        spread = f"{ratios[0]:.3f} / **{statistics.median(ratios):.3f}** / {ratios[-1]:.3f}"
        print(f"| {what} | {name} | {times} | {spread} | {target} |", flush=True)

    small, name = max(1, n // 4), "NASBench201"
    row("first-order DARTS, loop by hand", name, by_hand(name, n, rounds), n, "1.05")
    row("GDAS update of weights, of the same path", name, gdas_and_path(name, 4 * n, rounds), 4 * n, "1.3")
    partial = Steps(name, PartialChannels(4), FirstOrder())
    row("PC-DARTS, first-order DARTS", name, first_against(partial, name, n, rounds), n, "0.5")
    second = Steps(name, Softmax(), SecondOrder())
    row("second order, first order", name, first_against(second, name, small, rounds), small, "")
    name = "DARTS"
    row("first-order DARTS, loop by hand", name, by_hand(name, small, rounds), small, "1.05")
    partial = Steps(name, PartialChannels(4), FirstOrder())
    row("PC-DARTS, first-order DARTS", name, first_against(partial, name, small, rounds), small, "0.5")


# -- presets -----------------------------------------------------------------------------------

PRESETS = (
    "darts", "darts_first", "pc_darts", "gdas", "snas", "fbnet", "proxylessnas", "r_darts", "darts_plus", "sdarts_rs",
    "fair_darts", "xnas", "milenas",
)  # fmt: skip
SPACE = NASBench201()
TABLE = "digits201"
TASK, SKELETON, BATCH = "digits:train=300,valid=748,test=749", {"channels": 8, "cells": 3}, 32
TABLE_SEED, TRAININGS = 201, 3
"""Of ``scripts/make_digits201.py``."""

SCORED, LONGEST = 100, 300
"""OneShot: architectures that evolution scores, and the most epochs (docs/optimization_gap.md: longer ranks worse)."""


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
    """What evolution finds on a super-network for the same bill."""
    training = Training(preset=TABLE)
    training.start(SPACE)
    mean = 2 * training.trainer.size(None)[0]
    data = training.trainer.data
    score = 2 * mean * (data.size("valid") + 4 * BATCH)  # twice, since evolution comes to prefer heavier cells
    epoch, watching = mean * 3 * data.size("train"), mean * CURVE_POINTS * WATCHED_PATHS * WATCHED_IMAGES
    epochs = min(LONGEST, max(1, round((bill - watching - SCORED * score) / epoch)))
    trials = max(SCORED, round((bill - watching - epochs * epoch) / score))
    evaluator = OneShot(Training(preset=TABLE), epochs=epochs, seed=seed)
    controller = RegularizedEvolution(population_size=20, tournament_size=5)
    result = search(SPACE, controller, evaluator, trials=trials, seed=seed)
    assert result.best is not None
    cost = result.setup_cost + result.cost
    return {
        "cell": SPACE.format(result.best.architecture),
        "epochs": epochs,
        "trials": trials,
        "seconds": cost.device_seconds,
        "bill": cost.flops,
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


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    steps = commands.add_parser("steps", help="what a step costs")
    steps.add_argument("--rounds", type=int, default=5, help="of each comparison, the first one not counted")
    steps.add_argument("--pairs", type=int, default=8, help="of updates in a round")
    presets = commands.add_parser("presets", help="what the presets derive")
    presets.add_argument("--work", type=Path, required=True, help="folder that keeps what was measured")
    presets.add_argument("--seeds", type=int, default=5)
    presets.add_argument("--presets", nargs="+", choices=PRESETS, default=PRESETS)
    presets.add_argument("--one-shot", nargs="*", choices=PRESETS, default=None, help="beside which; default: all")
    given = parser.parse_args(arguments)
    if given.command == "steps":
        step_table(given.rounds, given.pairs)
    else:
        preset_table(
            given.work, given.presets, given.seeds, given.presets if given.one_shot is None else given.one_shot
        )


if __name__ == "__main__":
    main()
