"""How far one controller scales: thousands of workers on a virtual clock, and messages per second on a real Ray.

    python benchmarks/scaling.py simulate
    python benchmarks/scaling.py simulate --workers 10000 --trials 1000000 --seeds 1
    python benchmarks/scaling.py messages
    python benchmarks/scaling.py draw docs/pictures

simulate: cells of NAS-Bench-201 with the recorded seconds of their 200 epochs, on the simulated executor. 450 workers
and 20,000 trials are the setting of AmoebaNet (Real et al., AAAI 2019). The virtual cluster waits for nobody: what the
controller takes is measured apart, as the real time per trial of asking, telling, the queue, the history and the
look-up.

messages: round trips of a hand-written loop and of the search, with evaluations that return at once, so that the driver
is all that is measured; it shares the machine with the actors. Of many workers, 8 actors play the parts: the driver
keeps books of all, and sends and receives as many messages.

draw: both pictures, from the figures that the others have written to the folder ``--figures``.
"""

from __future__ import annotations

import argparse
import collections
import json
import math
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from archsearch import RayExecutor, Space, search
from archsearch.controller import Controller
from archsearch.controllers import RandomSearch, RegularizedEvolution, Reinforce
from archsearch.evaluators import Function, Tabular
from archsearch.showing.style import BLUE, GREEN, GREY, INK, ORANGE, RED, SKY, save_figure
from archsearch.spaces import NASBench201

CONTROLLERS: Mapping[str, Callable[[], Controller]] = {
    "random": RandomSearch,
    "evolution": RegularizedEvolution,
    "softmax": lambda: Reinforce("softmax"),
    "lstm": Reinforce,
}
NAMES = {
    "random": "random search",
    "evolution": "evolution 100/25",
    "softmax": "REINFORCE, softmax",
    "lstm": "REINFORCE, LSTM",
}
COLOURS = {"random": INK, "evolution": BLUE, "softmax": ORANGE, "lstm": RED}
SLOW = ("lstm",)
"""Searched with one seed only, and never for more than ``SLOW_TRIALS``."""
SLOW_TRIALS = 20_000
TARGET = 91.5
"""Validation accuracy after 200 epochs; 10 of 15,625 cells have more."""

ACTORS = 8
BATCHES = (1, 4, 16, 64, 256)
MANY = (8, 64, 512, 2048)
BATCH_SECONDS, MAX_BATCH = 0.05, 256
"""As in ``RayExecutor``."""
SMALL = Space(arities=[5] * 6)


# -- on a virtual clock ------------------------------------------------------------------------


def simulate(controller: Controller, workers: int, trials: int, seed: int) -> dict[str, float]:
    """The figures of one search."""
    table = Tabular()
    table.start(NASBench201())
    wall, cpu = time.perf_counter(), time.process_time()
    result = search(NASBench201(), controller, table, trials=trials, seed=seed, executor="simulated", workers=workers)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    history = result.history.table()
    begun, lasted, scores = (np.asarray(history[name]) for name in ("started_seconds", "wall_seconds", "score"))
    ended = begun + lasted
    last = float(begun.max())
    fed = float((np.minimum(ended, last) - begun).sum()) / (workers * last) if last else 1.0
    target = float(ended[scores >= TARGET].min(initial=math.inf))
    return {
        "hours": result.seconds / 3_600,
        "each": float(lasted.mean()),
        "fed": fed,
        "utilisation": float(lasted.sum()) / (workers * result.seconds),
        "target_hours": target / 3_600,
        "target_trials": float((ended <= target).sum()) if target < math.inf else math.inf,
        "wall": wall,
        "overhead": cpu / trials,
    }


def simulate_all(arguments: argparse.Namespace) -> None:
    """A row of the table for each controller and number of workers."""
    print(f"Target: {TARGET} %. Medians over the seeds; inf: not reached by most of them.\n")
    print(
        "| controller | workers | trials | seeds | virtual hours | busy until the last began | busy until the end "
        "| hours to the target | trials to the target | real seconds a search | CPU a trial, µs |\n" + "|---" * 11 + "|"
    )
    rows = []
    for name in arguments.controllers:
        for workers in arguments.workers:
            trials, seeds = (
                (min(arguments.trials, SLOW_TRIALS), 1) if name in SLOW else (arguments.trials, arguments.seeds)
            )
            found = [simulate(CONTROLLERS[name](), workers, trials, seed) for seed in range(seeds)]
            row = {key: statistics.median(each[key] for each in found) for key in found[0]}
            print(
                f"| {NAMES[name]} | {workers:,} | {trials:,} | {seeds} | {row['hours']:,.1f} | {row['fed']:.1%} "
                f"| {row['utilisation']:.1%} | {row['target_hours']:,.2f} | {row['target_trials']:,.0f} "
                f"| {row['wall']:.1f} | {1e6 * row['overhead']:,.0f} |",
                flush=True,
            )
            rows.append({"controller": name, "workers": workers, "trials": trials, "seeds": seeds, **row})
    print(f"\nLargest memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    write(arguments.figures / f"simulate_{arguments.trials}.json", rows)


# -- messages on a real Ray --------------------------------------------------------------------


def at_once(options: Sequence[int]) -> float:
    """An evaluation that costs nothing."""
    return float(sum(options))


def round_trips(actors: int, calls: int) -> float:
    """Calls per second of a hand-written loop that keeps one in flight for each actor."""
    import ray

    class Worker:
        def evaluate(self, options: tuple[int, ...]) -> float:
            return at_once(options)

    workers = [ray.remote(num_cpus=1)(Worker).remote() for _ in range(actors)]
    ray.get([worker.evaluate.remote((0,) * 6) for worker in workers])
    begun = time.perf_counter()
    live = {worker.evaluate.remote((0,) * 6): worker for worker in workers}
    for _ in range(calls):
        (reference,), _ = ray.wait(list(live), num_returns=1)
        worker = live.pop(reference)
        ray.get(reference)
        live[worker.evaluate.remote((0,) * 6)] = worker
    seconds = time.perf_counter() - begun
    for worker in workers:
        ray.kill(worker)
    return calls / seconds


class FewActors(RayExecutor):
    """Of many workers: those beyond ``ACTORS`` are played by the first ones."""

    def _start_worker(self, worker: int) -> None:
        if worker < ACTORS:
            super()._start_worker(worker)
            return
        self._actors[worker] = self._actors[worker % ACTORS]
        self._starting[self._actors[worker].ready.remote()] = worker


def evaluations(workers: int, batch: int, trials: int) -> tuple[float, float]:
    """Evaluations per second of a search, and the seconds of CPU that its driver takes for each."""
    executor = FewActors(workers, max_batch=batch)
    marks: list[tuple[float, float]] = []

    def mark(_: Any) -> None:  # the start of the workers is not to count
        marks.append((time.perf_counter(), time.process_time()))

    search(SMALL, RandomSearch(), Function(at_once), trials=trials, seed=0, executor=executor, on_trial=mark)
    first = trials // 5  # the first batches find out how large they may be
    (wall, cpu), (wall_end, cpu_end) = marks[first], marks[-1]
    return (trials - first - 1) / (wall_end - wall), (cpu_end - cpu) / (trials - first - 1)


def messages_all(arguments: argparse.Namespace) -> None:
    """All rates, in turn, so that a busy moment of the machine hits all of them."""
    import ray

    ray.init("local", num_cpus=ACTORS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    rates: dict[str, list[float]] = collections.defaultdict(list)
    cpus: dict[str, list[float]] = collections.defaultdict(list)
    for _ in range(arguments.rounds):
        for actors in (1, ACTORS):
            rates[f"loop {actors}"].append(round_trips(actors, 3_000))
        for workers, batch in [*((ACTORS, batch) for batch in BATCHES), *((many, 1) for many in MANY[1:])]:
            trials = max(3_000 * min(batch, 20), 4 * workers)
            rate, cpu = evaluations(workers, batch, trials)
            rates[f"{workers} {batch}"].append(rate)
            cpus[f"{workers} {batch}"].append(cpu)
    ray.shutdown()
    print(
        "| loop | workers | evaluations a message | evaluations per second, min / median / max "
        "| driver's CPU for each, µs |"
    )
    print("|---|---|---|---|---|")
    for key, values in rates.items():
        first, second = key.split()
        who, workers, batch = ("hand-written", second, "1") if first == "loop" else ("search", first, second)
        cpu = f"{1e6 * statistics.median(cpus[key]):,.0f}" if key in cpus else ""
        low, middle, high = min(values), statistics.median(values), max(values)
        print(f"| {who} | {int(workers):,} | {batch} | {low:,.0f} / **{middle:,.0f}** / {high:,.0f} | {cpu} |")
    write(
        arguments.figures / "messages.json",
        {"rates": {key: statistics.median(values) for key, values in rates.items()}},
    )
    limits_table(json.loads((arguments.figures / "messages.json").read_text())["rates"])


# -- what follows: the most workers ------------------------------------------------------------


def adaptive(seconds: float) -> int:
    """Evaluations in a message that ``RayExecutor`` chooses."""
    return max(1, min(int(BATCH_SECONDS / seconds), MAX_BATCH))


def most_workers(rates: Mapping[str, float], seconds: float, batch: int) -> float:
    """Workers that ask for no more evaluations per second than were measured with so many in a message.

    ``workers / seconds <= rate(workers) * gain(batch)``: the rate with one evaluation in a message depends on the
    workers, the gain of batches was measured with ``ACTORS`` workers; both lie on lines between what was measured (in
    logarithms), and beyond the most workers the rate is taken to fall on as it fell between the last two.
    """
    gain = np.exp(np.interp(math.log(batch), np.log(BATCHES), np.log([rates[f"{ACTORS} {b}"] for b in BATCHES])))
    gain /= rates[f"{ACTORS} 1"]
    grid = np.geomspace(1, 1e8, 4_000)
    xs, ys = np.log(MANY), np.log([rates[f"{many} 1"] for many in MANY])
    slope = min((ys[-1] - ys[-2]) / (xs[-1] - xs[-2]), 0.0)
    rate = np.exp(np.interp(np.log(grid), xs, ys) + slope * np.maximum(np.log(grid) - xs[-1], 0.0))
    fits = grid / seconds <= rate * gain
    return float(grid[fits].max(initial=0.0))


def limits_table(rates: Mapping[str, float]) -> None:
    """The most workers for a few lengths of an evaluation."""
    print(
        "\n| seconds of an evaluation | one in a message | adaptive batch | `--batch 16` | `--batch 256` |\n"
        "|---|---|---|---|---|"
    )
    for seconds in (0.001, 0.01, 0.1, 1.0, 10.0, 100.0):
        cells = (most_workers(rates, seconds, batch) for batch in (1, adaptive(seconds), 16, 256))
        print(f"| {seconds:g} | " + " | ".join(f"{rounded(cell):,.0f}" for cell in cells) + " |")


def rounded(number: float) -> float:
    """With two digits that count."""
    return number if number < 1 else round(number, 1 - math.floor(math.log10(number)))


# -- pictures ----------------------------------------------------------------------------------


def draw_all(arguments: argparse.Namespace) -> None:
    """Both pictures."""
    arguments.target.mkdir(parents=True, exist_ok=True)
    rows = json.loads((arguments.figures / "simulate_20000.json").read_text())
    draw_simulation(arguments.target / "scaling.png", rows)
    rates = json.loads((arguments.figures / "messages.json").read_text())["rates"]
    draw_limits(arguments.target / "scaling_limit.png", rates, rows)


def draw_simulation(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Utilisation, time to the target and overhead over the workers."""
    figure = Figure(figsize=(11, 4), facecolor="white", layout="constrained")
    panels = {
        "utilisation": ("workers busy, until the search ended", 100.0),
        "target_hours": (f"hours until a cell had {TARGET} %", 1.0),
        "overhead": ("the controller's CPU per trial, ms", 1e3),
    }
    for column, (key, (label, unit)) in enumerate(panels.items()):
        axes = figure.add_subplot(1, 3, column + 1, xscale="log", xlabel="workers", ylabel=label)
        for name in CONTROLLERS:
            points = [(row["workers"], unit * row[key]) for row in rows if row["controller"] == name]
            points = [point for point in points if point[1] < math.inf]
            if points:
                axes.plot(*zip(*points, strict=True), "o-", color=COLOURS[name], markersize=4, label=NAMES[name])
        if key == "utilisation":
            axes.set_ylim(0, 105)
            axes.yaxis.set_major_formatter("{x:.0f} %")
        else:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
        finish(axes)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    save_figure(figure, path)


def draw_limits(path: Path, rates: Mapping[str, float], rows: Sequence[Mapping[str, Any]]) -> None:
    """The most workers over the seconds of an evaluation, by messages and by what controllers take."""
    figure = Figure(figsize=(8, 5), facecolor="white", layout="constrained")
    axes = figure.add_subplot(
        xscale="log", yscale="log", xlabel="seconds of an evaluation", ylabel="most workers of one controller"
    )
    seconds = np.geomspace(1e-3, 1e4, 200)
    lines: dict[str, tuple[str, Callable[[float], int]]] = {
        "messages, one evaluation each": (SKY, lambda _: 1),
        "messages, adaptive batch": (BLUE, adaptive),
        "messages, --batch 16": (GREEN, lambda _: 16),
    }
    for name, (colour, batch) in lines.items():
        most = [most_workers(rates, each, batch(each)) for each in seconds]
        width = 4.5 if colour == SKY else 2.0  # it lies below the adaptive one for longer evaluations
        axes.plot(seconds, most, color=colour, linewidth=width, label=name)
    for name, style in (("evolution", "--"), ("softmax", "-."), ("lstm", ":")):
        overheads = [row["overhead"] for row in rows if row["controller"] == name]
        if overheads:
            limit = seconds / statistics.median(overheads)
            label = f"{NAMES[name]}: {1e3 * statistics.median(overheads):.2g} ms a trial"
            axes.plot(seconds, limit, color=COLOURS[name], linestyle=style, linewidth=1.4, label=label)
    axes.axhline(450, color=INK, linewidth=0.7)
    axes.text(9e3, 450, "AmoebaNet: 450 workers", va="bottom", ha="right", fontsize=9, color=INK)
    axes.axhspan(MANY[-1], 1e5, color=GREY, alpha=0.12, linewidth=0)
    axes.text(1.2e-3, 7e4, "extrapolated", va="top", fontsize=9, color=INK)
    axes.set(xlim=(1e-3, 1e4), ylim=(1, 1e5))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    finish(axes)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    save_figure(figure, path)


def finish(axes: Axes) -> None:
    """What all of them have."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)


def write(path: Path, figures: Any) -> None:
    """Keeps figures for ``draw``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", type=Path, default=Path("runs/scaling"), help="folder of what was measured")
    parts = parser.add_subparsers(required=True)
    part = parts.add_parser("simulate", help="workers on a virtual clock")
    part.add_argument("--workers", type=int, nargs="+", default=[1, 10, 100, 450, 1_000, 10_000])
    part.add_argument("--trials", type=int, default=20_000)
    part.add_argument("--seeds", type=int, default=5)
    part.add_argument("--controllers", nargs="+", choices=list(CONTROLLERS), default=list(CONTROLLERS))
    part.set_defaults(run=simulate_all)
    part = parts.add_parser("messages", help="messages per second on a real Ray")
    part.add_argument("--rounds", type=int, default=3)
    part.set_defaults(run=messages_all)
    part = parts.add_parser("draw", help="the pictures")
    part.add_argument("target", type=Path, help="folder for them")
    part.set_defaults(run=draw_all)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
