"""The optimization gap, measured: how well a super-network ranks NAS-Bench-201 cells that were trained individually.

    python benchmarks/optimization_gap.py --work gap.jsonl --measure lengths
    python benchmarks/optimization_gap.py --work gap.jsonl --measure steps
    python benchmarks/optimization_gap.py --work gap.jsonl --measure sources
    python benchmarks/optimization_gap.py --work gap.jsonl --draw docs/pictures

The truth is the table ``digits201``: cells trained on digits three times each, from different seeds. Super-networks are
trained on the same 300 images, with the same skeleton. Figures against the truth are means over its three trainings;
the noise ceiling is what these say of each other.

lengths: uniform and strictly fair paths, three lengths, three seeds, all cells. steps: a super-network, and so many
updates of the inherited weights before a cell is scored, 100 cells. sources: other ways to train, and
proxies. What was measured is kept in the work file, one line each, and not measured again.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from archsearch.basics.seeding import stream
from archsearch.evaluator import Evaluator
from archsearch.evaluators import OneShot, Tabular, Training
from archsearch.ranking import agreement, kendall_tau, regret, spearman, tau_within, top_k_recall
from archsearch.spaces import NASBench201
from archsearch.trial import NO_COST, Architecture

Floats = npt.NDArray[np.float64]
SPACE = NASBench201()
PRESET = "digits201"
RUNS = 3
SEEDS = (0, 1, 2)
BLUE, ORANGE, GREEN, GREY, INK = "#0072B2", "#E69F00", "#009E73", "#8C8C8C", "#222222"

LENGTHS = {"uniform": (30, 100, 300, 600), "fair": (10, 30, 100)}
"""Epochs of the super-network; a fair update has five paths, and costs as much as five."""

SCORING: dict[str, Any] = {"statistics": "batch", "validation_batches": 12}
STEPS = {"inherited": (0, 3, 10, 30, 90), "mixed": (3, 10, 30, 60, 90)}
"""Updates before a cell is scored, by what they begin with; 90 are a whole training."""

STEPS_CELLS = 100
LONG_CELLS, LONG_EPOCHS = 60, 54
"""Cells trained for six times as long, to see what a super-network that is trained longer agrees with."""


# -- the truth ---------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Truth:
    """What individual training gave.

    Attributes:
        cells: The cells of the table.
        accuracy: On the validation part, in percent, shape (cells, runs).
        flops: Multiply-adds of a cell's network.
    """

    cells: list[Architecture]
    accuracy: Floats
    flops: Floats

    @classmethod
    def read(cls) -> Truth:
        tables = [Tabular(dataset="digits201", run=run) for run in range(RUNS)]
        for table in tables:
            table.start(SPACE)
        cells = tables[0].architectures
        found = [[table.evaluate(cell, 0) for table in tables] for cell in cells]
        return cls(
            cells,
            np.array([[each.score for each in row] for row in found]),
            np.array([row[0].metrics["flops"] for row in found]),
        )

    def operations(self, validations: int, tests: int) -> float:
        """What ``Training`` bills for all cells: updates with backward passes, and so many passes over these parts.

        As it is, nine validations and a test; but one validation would do for a ranking.
        """
        training = Training(preset=PRESET)
        task, examples = training.trainer.data, training.recipe.epochs * training.trainer.data.size("train")
        forward = validations * task.size("valid") + tests * task.size("test")
        return 2 * float(self.flops.sum()) * (3 * examples + forward)

    def some(self, n: int) -> npt.NDArray[np.int64]:
        """``n`` of the cells by number, the same at each call."""
        return np.sort(stream(0, "optimization_gap").permutation(len(self.cells))[:n])


def figures(truth: Floats, scores: Floats, flops: Floats) -> dict[str, float]:
    """How scores agree with one training of each cell."""
    return {
        "tau": kendall_tau(truth, scores),
        "spearman": spearman(truth, scores),
        "top 10": top_k_recall(truth, scores, 10),
        "top 50": top_k_recall(truth, scores, 50),
        "regret": regret(truth, scores),
        "tau within": tau_within(truth, scores, flops).tau,
    }


def mean_figures(accuracy: Floats, scores: Floats, flops: Floats) -> dict[str, float]:
    """The same against each of the trainings, means."""
    each = [figures(accuracy[:, run], scores, flops) for run in range(RUNS)]
    return {name: float(np.mean([row[name] for row in each])) for name in each[0]}


def ceiling(accuracy: Floats, flops: Floats) -> dict[str, float]:
    """What one more training of each cell reaches."""
    each = [
        figures(accuracy[:, first], accuracy[:, second], flops)
        for first, second in itertools.permutations(range(RUNS), 2)
    ]
    return {name: float(np.mean([row[name] for row in each])) for name in each[0]}


# -- measuring ---------------------------------------------------------------------------------


def training_seconds(n: int = 3) -> float:
    """Device seconds of a training of a cell, now: this machine is not equally fast at all times."""
    training = Training(preset=PRESET)
    training.start(SPACE)
    rng = stream(0, "calibration")
    cells = [SPACE.sample(rng) for _ in range(2 * n)]
    return float(np.mean([training.evaluate(cell, 0).cost.device_seconds for cell in cells][n:]))


class Work:
    """Measurements so far, by name; one line of the file each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.rows: dict[str, dict[str, Any]] = {row["name"]: row for row in map(json.loads, lines)}

    def add(self, name: str, evaluator: Evaluator, cells: Sequence[Architecture], **facts: Any) -> None:
        """Prepares the evaluator and scores the cells, unless that is there."""
        if name in self.rows:
            return
        evaluator.start(SPACE)
        before = training_seconds()
        setup = evaluator.prepare()
        found = [evaluator.evaluate(cell, seed=i) for i, cell in enumerate(cells)]
        cost = sum((each.cost for each in found), NO_COST)
        row = facts | {
            "name": name,
            "training": (before + training_seconds()) / 2,
            "setup": dataclasses.asdict(setup),
            "cost": dataclasses.asdict(cost),
            "scores": [round(each.score, 4) for each in found],
            "losses": [round(each.metrics["valid_loss"], 5) for each in found],
        }
        self.rows[name] = row
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{name}: set-up {setup.device_seconds:.1f} s, cells {cost.device_seconds:.1f} s", flush=True)

    def named(self, start: str) -> Iterator[dict[str, Any]]:
        """Measurements whose name begins so."""
        return (row for name, row in self.rows.items() if name.startswith(start))


def one_shot(**settings: Any) -> OneShot:
    return OneShot(training=Training(preset=PRESET), **(SCORING | settings))


def measure_lengths(work: Work, truth: Truth) -> None:
    for seed, sampler in itertools.product(SEEDS, LENGTHS):
        for epochs in LENGTHS[sampler]:
            name = f"length {sampler} {epochs} {seed}"
            evaluator = one_shot(sampler=sampler, epochs=epochs, seed=seed)
            work.add(name, evaluator, truth.cells, sampler=sampler, epochs=epochs, seed=seed)


def measure_steps(work: Work, truth: Truth) -> None:
    cells = [truth.cells[i] for i in truth.some(STEPS_CELLS)]
    for seed in SEEDS:
        if f"mixed 90 {seed}" in work.rows:  # the last of them
            continue
        shared = one_shot(epochs=300, seed=seed)
        with tempfile.TemporaryDirectory() as folder:
            shared.start(SPACE)
            shared.folder = Path(folder)
            shared.prepare()
            for start, steps in ((start, steps) for start, lengths in STEPS.items() for steps in lengths):
                name = f"steps {steps} {seed}" if start == "inherited" else f"{start} {steps} {seed}"
                evaluator = one_shot(
                    weights=f"{folder}/super-network.safetensors",
                    restart=start == "mixed",
                    steps=steps,
                    statistics="recomputed",
                    validation_batches=None,
                    seed=seed,
                )
                work.add(name, evaluator, cells, steps=steps, seed=seed)


def measure_sources(work: Work, truth: Truth) -> None:
    for seed in SEEDS[:1]:
        for name, settings in {
            "path dropout": {"sampler": "dropout", "epochs": 60},
            "hyper-network": {"source": "hyper_network", "epochs": 100},
            "inherited statistics": {"epochs": 100, "statistics": "inherited"},
            "recomputed statistics": {"epochs": 100, "statistics": "recomputed"},
        }.items():
            work.add(f"source {name} {seed}", one_shot(seed=seed, **settings), truth.cells, source=name, seed=seed)


def measure_long(work: Work, truth: Truth) -> None:
    cells = [truth.cells[i] for i in truth.some(LONG_CELLS)]
    work.add("long", Training(preset=PRESET, epochs=LONG_EPOCHS), cells)


# -- tables and pictures -----------------------------------------------------------------------


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a Markdown table."""
    for row in (header, ["---"] * len(header), *rows):
        print(f"| {' | '.join(row)} |")
    print()


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean and range of the seeds."""
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def lengths_table(work: Work, truth: Truth) -> dict[tuple[str, int], list[dict[str, float]]]:
    """Figures of super-networks by sampler and length, and prints them beside ceiling and trivial rankers."""
    best = ceiling(truth.accuracy, truth.flops)
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    for row in work.named("length "):
        each = mean_figures(truth.accuracy, np.array(row["scores"]), truth.flops)
        by_loss = mean_figures(truth.accuracy, -np.array(row["losses"]), truth.flops)
        each["tau by loss"] = by_loss["tau"]
        each["seconds"] = row["setup"]["device_seconds"] + row["cost"]["device_seconds"]
        each["set-up"] = row["setup"]["device_seconds"]
        each["share"] = each["seconds"] / (row["training"] * len(truth.cells))
        each["operations"] = (row["setup"]["flops"] + row["cost"]["flops"]) / truth.operations(9, 1)
        each["one validation"] = (row["setup"]["flops"] + row["cost"]["flops"]) / truth.operations(1, 0)
        found.setdefault((row["sampler"], row["epochs"]), []).append(each)
    names = ("tau", "tau by loss", "tau within", "spearman", "top 10", "top 50", "regret")
    rows = []
    for (sampler, epochs), seeds in found.items():
        values = {
            name: [each[name] for each in seeds]
            for name in (*names, "seconds", "set-up", "share", "operations", "one validation")
        }
        costs = ("set-up", "seconds", "share", "operations", "one validation")
        setup, seconds, share, operations, least = (np.mean(values[name]) for name in costs)
        rows.append(
            [
                f"{sampler}, {epochs} epochs",
                *(spread(values[name]) for name in names),
                f"{np.mean(values['tau']) / best['tau']:.2f} / {np.mean(values['tau by loss']) / best['tau']:.2f}",
                f"{setup:.0f} + {seconds - setup:.0f} s: 1/{1 / share:.0f}; 1/{1 / operations:.0f}; 1/{1 / least:.0f}",
            ]
        )
    more = mean_figures(truth.accuracy, truth.flops, truth.flops)
    rng = stream(0, "chance")
    chance = [mean_figures(truth.accuracy, rng.random(len(truth.cells)), truth.flops) for _ in range(50)]
    for label, row, share in (
        ("one more training: **the noise ceiling**", best, "1"),
        ("more FLOPs is better", more, f"{more['tau'] / best['tau']:.2f}"),
        ("chance", {name: float(np.mean([each[name] for each in chance])) for name in best}, "0"),
    ):
        rows.append([label, *(f"{row[name]:.2f}" if name in row else "" for name in names), share, ""])
    header = [
        "ranked by",
        "tau-b",
        "tau-b by loss",
        "tau-b within FLOPs groups",
        "Spearman",
        "of the top 10",
        "of the top 50",
    ]
    table(
        [
            *header,
            "regret, points",
            "tau / ceiling",
            "cost, of all trainings: seconds; operations; operations with one validation",
        ],
        rows,
    )
    return found


def draw_lengths(found: dict[tuple[str, int], list[dict[str, float]]], truth: Truth, target: Path) -> None:
    """Tau against the length of the super-network's training."""
    best, more = ceiling(truth.accuracy, truth.flops), mean_figures(truth.accuracy, truth.flops, truth.flops)
    figure, axes = canvas(
        "passes over the images (a fair epoch has five)", "Kendall's tau-b against individual training"
    )
    for sampler, colour, passes in (("uniform", BLUE, 1), ("fair", ORANGE, 5)):
        groups = [(passes * epochs, seeds) for (name, epochs), seeds in found.items() if name == sampler]
        for figure_name, style, label in (("tau", "-", "ranked by accuracy"), ("tau by loss", "--", "by loss")):
            means = [np.mean([each[figure_name] for each in seeds]) for _, seeds in groups]
            axes.plot([x for x, _ in groups], means, color=colour, ls=style, label=f"{sampler} paths, {label}")
        for x, seeds in groups:
            axes.scatter([x] * len(seeds), [each["tau"] for each in seeds], color=colour, s=18)
    for height, text, style in (
        (best["tau"], "noise ceiling: one more training of every cell", "-"),
        (0.75 * best["tau"], "0.75 of the ceiling", "--"),
        (more["tau"], "more FLOPs is better", ":"),
    ):
        axes.axhline(height, color=GREY, lw=1, ls=style)
        axes.annotate(text, (0.01, height), (0, 4), **BESIDE)
    axes.set_xscale("log")
    axes.set_xticks(ticks := (30, 50, 100, 150, 300, 600), [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(0.0, 0.3))
    figure.savefig(target / "gap_lengths.png", dpi=150)


def draw_scatter(row: dict[str, Any], truth: Truth, target: Path) -> None:
    """Scores of one super-network against the truth."""
    figure, axes = canvas(
        "accuracy after individual training, mean of three (%)", "accuracy with inherited weights (%)"
    )
    dots = axes.scatter(truth.accuracy.mean(1), row["scores"], c=truth.flops / 1e6, s=9, cmap="viridis")
    figure.colorbar(dots, label="multiply-adds (millions)")
    axes.set_title(f"{row['sampler']} paths, {row['epochs']} epochs, seed {row['seed']}", fontsize=10)
    figure.savefig(target / "gap_scatter.png", dpi=150)


def draw_groups(work: Work, truth: Truth, sampler: str, epochs: int, target: Path) -> None:
    """Tau within groups of similar FLOPs, beside the ceiling in the same group."""
    rows = list(work.named(f"length {sampler} {epochs} "))
    scored = [
        tau_within(truth.accuracy[:, run], np.array(row["scores"]), truth.flops) for row in rows for run in range(RUNS)
    ]
    best = [
        tau_within(truth.accuracy[:, a], truth.accuracy[:, b], truth.flops)
        for a, b in itertools.permutations(range(RUNS), 2)
    ]
    figure, axes = canvas("multiply-adds of the group (millions)", "Kendall's tau-b within the group")
    places = np.arange(len(scored[0].taus))
    axes.bar(places - 0.2, np.mean([each.taus for each in best], axis=0), 0.4, color=GREY, label="noise ceiling")
    axes.bar(places + 0.2, np.mean([each.taus for each in scored], axis=0), 0.4, color=BLUE, label="super-network")
    axes.set_xticks(places, [f"{low / 1e6:.2f} to {high / 1e6:.2f}" for low, high in scored[0].sizes])
    axes.legend(frameon=False)
    figure.savefig(target / "gap_groups.png", dpi=150)


def draw_steps(work: Work, truth: Truth, target: Path) -> None:
    """Tau and cost against the updates of the inherited weights; prints both."""
    chosen = truth.some(STEPS_CELLS)
    accuracy, flops = truth.accuracy[chosen], truth.flops[chosen]
    best = ceiling(accuracy, flops)
    points: dict[tuple[str, int], list[dict[str, float]]] = {}
    for kind in ("steps", "mixed"):
        for row in work.named(f"{kind} "):
            cost = {name: row["cost"][name] / STEPS_CELLS for name in ("flops", "device_seconds")}
            each = mean_figures(accuracy, np.array(row["scores"]), flops) | cost
            points.setdefault((kind, row["steps"]), []).append(each)
    points |= {("mixed", 0): points["steps", 0]}  # without updates there is nothing to mix for
    figure, axes = canvas("updates before a cell is scored (90: a whole training)", "Kendall's tau-b (dots: seeds)")
    rows, operations = [], {}
    for kind, colour, label in (("steps", BLUE, "from inherited weights"), ("mixed", GREEN, "from a mixture")):
        steps = sorted(k for name, k in points if name == kind)
        taus = [[each["tau"] for each in points[kind, k]] for k in steps]
        axes.plot(steps, [np.mean(found) for found in taus], color=colour, label=label)
        for k, found in zip(steps, taus, strict=True):
            axes.scatter([k] * len(found), found, color=colour, s=18)
            operations[k] = np.mean([each["flops"] for each in points[kind, k]]) / 1e9
            seconds = np.mean([each["device_seconds"] for each in points[kind, k]])
            share = f"{np.mean(found) / best['tau']:.2f}"
            rows.append([label, str(k), spread(found), share, f"{operations[k]:.2f}", f"{seconds:.2f}"])
    ks = sorted(operations)
    line = np.polyfit(ks, [operations[k] for k in ks], 1)
    error = max(abs(np.polyval(line, k) / operations[k] - 1) for k in ks)
    print(f"{STEPS_CELLS} cells, noise ceiling {best['tau']:.2f}. operations linear in updates within {error:.1%}\n")
    table(
        ["begins", "updates", "tau-b, mean and range of seeds", "of the ceiling", "GFLOP a cell", "seconds a cell"],
        rows,
    )
    axes.axhline(best["tau"], color=INK, lw=1)
    axes.annotate("noise ceiling", (0.02, best["tau"]), (0, 4), **BESIDE)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, loc="lower right")
    cost = axes.twinx()
    cost.plot(ks, [operations[k] for k in ks], color=ORANGE, marker="o", ms=4)
    cost.set_ylabel("billed operations of a cell (GFLOP)", color=ORANGE)
    cost.set_ylim(bottom=0)
    cost.spines["top"].set_visible(False)
    figure.savefig(target / "gap_steps.png", dpi=150)


def sources_table(work: Work, truth: Truth) -> None:
    best = ceiling(truth.accuracy, truth.flops)
    names: dict[str, list[dict[str, Any]]] = {}
    for row in work.named("source "):
        names.setdefault(row["source"], []).append(row)
    rows = []
    for name, found in names.items():
        each = [mean_figures(truth.accuracy, np.array(row["scores"]), truth.flops) for row in found]
        seconds = [row["setup"]["device_seconds"] + row["cost"]["device_seconds"] for row in found]
        taus = [one["tau"] for one in each]
        rows.append([name, spread(taus), f"{np.mean(taus) / best['tau']:.2f}", f"{np.mean(seconds):.0f} s"])
    table(["super-network", "tau-b", "of the ceiling", "cost"], rows)


def long_table(work: Work, truth: Truth) -> None:
    """Does a super-network that is trained longer agree with individual training that is longer?"""
    chosen = truth.some(LONG_CELLS)
    long, short = np.array(work.rows["long"]["scores"]), truth.accuracy[chosen]
    print(
        f"{LONG_CELLS} cells; accuracy {short.mean():.1f} % after 9 epochs, {long.mean():.1f} % after {LONG_EPOCHS}; "
    )
    print(f"tau between these two: {np.mean([kendall_tau(short[:, run], long) for run in range(RUNS)]):.2f}\n")
    rows = []
    for sampler, lengths in LENGTHS.items():
        for epochs in lengths:
            found = [np.array(row["scores"])[chosen] for row in work.named(f"length {sampler} {epochs} ")]
            against = [np.mean([kendall_tau(short[:, run], scores) for run in range(RUNS)]) for scores in found]
            rows.append([f"{sampler}, {epochs} epochs", spread(against), spread([kendall_tau(long, s) for s in found])])
    table(["super-network", "tau-b against 9 epochs", f"tau-b against {LONG_EPOCHS} epochs"], rows)


BESIDE: dict[str, Any] = {
    "xycoords": ("axes fraction", "data"),
    "textcoords": "offset points",
    "fontsize": 8,
    "color": INK,
}


def canvas(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def draw(work: Work, truth: Truth, target: Path) -> None:
    """All tables, and all pictures of what was measured."""
    target.mkdir(parents=True, exist_ok=True)
    found = lengths_table(work, truth)
    sampler, epochs = max(found, key=lambda key: np.mean([each["tau"] for each in found[key]]))
    row = work.rows[f"length {sampler} {epochs} 0"]
    print(f"{sampler} paths, {epochs} epochs, seed 0, against the first training of each cell:\n")
    print(agreement(truth.accuracy[:, 0], np.array(row["scores"]), truth.flops), "\n")
    draw_lengths(found, truth, target)
    draw_scatter(row, truth, target)
    draw_groups(work, truth, sampler, epochs, target)
    if any(work.named("steps ")):
        draw_steps(work, truth, target)
    if any(work.named("source ")):
        sources_table(work, truth)
    if "long" in work.rows:
        long_table(work, truth)


MEASURES = {"lengths": measure_lengths, "steps": measure_steps, "sources": measure_sources, "long": measure_long}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="file of what was measured so far")
    parser.add_argument("--measure", choices=MEASURES, nargs="*", default=[])
    parser.add_argument("--draw", type=Path, default=None, help="print tables, draw pictures into this folder")
    arguments = parser.parse_args()
    work, truth = Work(arguments.work), Truth.read()
    for part in arguments.measure:
        MEASURES[part](work, truth)
    if arguments.draw:
        draw(work, truth, arguments.draw)


if __name__ == "__main__":
    main()
