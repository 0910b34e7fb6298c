"""Controllers with a model: regret, and the processor's time at equal numbers of observations, old build and new.

    python benchmarks/model_based.py regret --seeds 10 [--other FOLDER] [--out runs/model_based.jsonl]
    python benchmarks/model_based.py cost --at 100 500 2000 [--other FOLDER] [--problems "28 decisions"]
    python benchmarks/model_based.py fit --at 12 25 50 100

FOLDER is another checkout with its own ``.venv``, whose searches are called "before". The others are the plain Gaussian
process of ``benchmarks/arena_peers.py`` and, if it is installed, Optuna's TPE. Everything runs in turn, seed by seed;
each search is a line of the file, and a run that was stopped goes on where it was.

``cost`` tells each searcher so many random results, and times the proposals that follow. What comes once for many
trials, the first fit, is divided by the trials after which it comes again.

``fit`` fits models to the first results of a search by the plain process, and asks them for 150 others, three of four
of them mutations of the five best: rank correlation, and the mean logarithm of the density of the truth, on the scale
of normal scores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import arena_problems
import numpy as np
from arena import AT, race
from arena_peers import PEERS, Optuna, Ours
from arena_problems import PROBLEMS
from scipy.stats import spearmanr

from archsearch import controllers
from archsearch.models import GaussianProcess

ROOT = 20261201
"""What synthetic problems are drawn from: not what settings were chosen on."""

HERE = "BayesianOptimization", "Bananas", "plain Gaussian process", "Optuna TPE"
BEFORE = "BayesianOptimization", "Bananas"
SYNTHETIC = "layers", "layers, kinds first", "endless", "endless, pairs", "28 decisions"
NEXT = 45
"""Proposals that are timed; with 2,000 results and more 250, of which one is a fit from the beginning."""


def regret(problem: str, name: str, seed: int, trials: int) -> dict[str, object]:
    """One search of the arena."""
    return race(PROBLEMS[problem](seed), name, seed, trials)


def cost(problem: str, name: str, seed: int, observations: int) -> dict[str, object]:
    """Milliseconds a trial after so many observations: of the trials that follow, and of the first fit by its turn."""
    made, rng = PROBLEMS[problem](seed), np.random.default_rng(seed)
    n = NEXT if observations < 2_000 or name in PEERS else 250
    searcher: Any
    if name in PEERS:
        searcher = PEERS[name](made.space, seed, observations + n)
    else:  # random until then, by the controller's own setting
        controller = getattr(controllers, name)(initial=observations, labels=max(observations, 2))
        controller.labels = getattr(controllers, name)().labels
        searcher = Ours(controller, made.space, seed, observations + n)
    told = 0
    while told < observations:
        if isinstance(searcher, Ours):
            architecture = searcher.ask()
        elif isinstance(searcher, Optuna):
            architecture = _random_trial(searcher, made.space.sample(rng))
        else:
            architecture = made.space.sample(rng)
        value = made.value(architecture)
        searcher.tell(architecture, value)
        told += value is not None
    if isinstance(searcher, Ours):
        searcher.controller.initial = 10  # the labels may be fewer than the results
    seconds = []
    for _ in range(n):
        begun = time.process_time()
        architecture = searcher.ask()
        asked = time.process_time() - begun
        value = made.value(architecture)
        begun = time.process_time()
        searcher.tell(architecture, value)
        seconds.append(asked + time.process_time() - begun)
    turn = 0.15 * observations if isinstance(searcher, Ours) else n
    return {"ms": 1000 * (float(np.mean(seconds[1:])) + seconds[0] / turn), "first": 1000 * seconds[0]}


MODELS = {
    "nu 2.5": lambda: GaussianProcess(smoothness=2.5),
    "nu 1.5": lambda: GaussianProcess(smoothness=1.5),
    "nu 0.5": lambda: GaussianProcess(smoothness=0.5),
    "nu 2.5, one-hot": lambda: GaussianProcess(["one_hot"], smoothness=2.5),
    "nu 0.5, one-hot": lambda: GaussianProcess(["one_hot"], smoothness=0.5),
}


def fit(problem: str, name: str, seed: int, labels: int) -> dict[str, object]:
    """What a model expects of 150 architectures after so many labels of a search."""
    made, rng = PROBLEMS[problem](seed), np.random.default_rng(seed)
    searcher, known = PEERS["plain Gaussian process"](made.space, seed, labels), {}
    while len(known) < labels:
        architecture = searcher.ask()
        value = made.value(architecture)
        searcher.tell(architecture, value)
        known.update({architecture: value} if value is not None else {})
    best, asked = sorted(known, key=lambda each: -known[each])[:5], {}
    for i in range(2_000):
        child = made.space.mutate(best[i % 5], rng) if i % 4 else made.space.sample(rng)
        while i % 4 and rng.random() < 0.5:
            child = made.space.mutate(child, rng)
        value = None if child in known or len(asked) == 150 else made.value(child)
        asked.update({child: value} if value is not None else {})
    truth, model = np.array([*asked.values()]), MODELS[name]()
    begun = time.process_time()
    model.fit(made.space, [*known], [*known.values()])
    mean, spread = model.predict_targets([*asked])
    seconds = time.process_time() - begun
    order = np.argsort([*known.values()])
    target = np.interp(truth, np.array([*known.values()])[order], model.targets[order])
    density = np.maximum(-(((target - mean) / spread) ** 2) / 2 - np.log(spread), -10)
    return {"rank": float(spearmanr(mean, truth).statistic), "density": float(density.mean()), "ms": 1000 * seconds}


def _random_trial(searcher: Optuna, architecture: tuple[int, ...]) -> tuple[int, ...]:
    """Has Optuna ask for exactly this one."""
    names = {}
    for i, option in enumerate(architecture):
        names[f"{searcher.space.label(architecture[:i])} of {searcher.space.arity(architecture[:i])}"] = option
    searcher.study.enqueue_trial(names)
    return searcher.ask()


def tables(lines: list[dict[str, Any]]) -> str:
    """Markdown: a table for each problem, of ``cost`` and ``fit`` also for each size."""
    found: dict[Any, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        found[line["what"], line["problem"], line["size"]][line["searcher"]].append(line)
    text = []
    for (what, problem, size), by in found.items():
        at = [each for each in AT if each <= size] if what == "regret" else []
        title = problem if what == "regret" else f"{problem}, after {size:,} observations"
        columns = ["rank correlation", "log density", "ms"] if what == "fit" else [*map(str, at), "ms a trial"]
        text += [f"### {title}", "", f"| | {' | '.join(columns)} | seeds |", "|---" * (len(columns) + 2) + "|"]
        for name, some in by.items():
            cells = []
            if at:
                regrets = np.array([line["regret"] for line in some])
                error = regrets.std(0, ddof=1) / np.sqrt(len(some)) if len(some) > 1 else 0 * regrets[0]
                cells = [f"{mean:.3f} ± {spread:.3f}" for mean, spread in zip(regrets.mean(0), error, strict=True)]
            if what == "fit":
                cells = [f"{np.mean([line[fact] for line in some]):.3f}" for fact in ("rank", "density")]
            cells += [f"{np.mean([line['ms'] for line in some]):.1f}", str(len(some))]
            text.append(f"| {name} | " + " | ".join(cells) + " |")
        text.append("")
    return "\n".join(text)


Job = tuple[str, str, str, int, int]
"""What, problem, searcher, seed, trials or observations."""


def run(jobs: list[Job], python: str) -> list[dict[str, Any]]:
    """Searches in one process of a build."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    asked = [python, "-B", __file__, "jobs", json.dumps(jobs)]
    done = subprocess.run(asked, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def work(jobs: list[Job]) -> None:
    """Runs them here, and prints a line for each."""
    arena_problems.ROOT = ROOT
    warm = arena_problems.mobile(0)  # imports are not timed
    race(warm, "BayesianOptimization", 0, 20)
    for what, problem, name, seed, size in jobs:
        try:
            facts = {"regret": regret, "cost": cost, "fit": fit}[what](problem, name, seed, size)
        except ImportError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        line = {"what": what, "problem": problem, "searcher": name, "seed": seed, "size": size, **facts}
        print(json.dumps(line), flush=True)


def main() -> None:
    if sys.argv[1:2] == ["jobs"]:
        work([(what, problem, name, seed, size) for what, problem, name, seed, size in json.loads(sys.argv[2])])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["regret", "cost", "fit"])
    parser.add_argument("--other", type=Path, help="another checkout, with its own .venv")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--at", type=int, nargs="+", help="trials of a search (one number), or observations")
    parser.add_argument("--problems", nargs="*", default=list(SYNTHETIC), choices=list(PROBLEMS))
    parser.add_argument("--searchers", nargs="*", default=list(HERE), choices=list(HERE))
    parser.add_argument("--out", type=Path, default=Path("runs/model_based.jsonl"))
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    done = {(line["what"], line["problem"], line["searcher"], line["seed"], line["size"]) for line in lines}
    builds = [("", sys.executable, given.searchers)]
    if given.other:
        python = str(given.other / ".venv" / "bin" / "python")
        builds.append((", before", python, [name for name in BEFORE if name in given.searchers]))
    sizes = given.at or ([200] if given.what == "regret" else [100, 500, 2_000])
    if given.what == "fit":
        builds = [("", sys.executable, list(MODELS))]
        sizes = given.at or [12, 25, 50, 100]
    for seed in range(given.seeds):
        for added, python, names in builds:
            jobs = [(given.what, problem, name, seed, n) for problem in given.problems for n in sizes for name in names]
            jobs = [(w, p, name, seed, n) for w, p, name, seed, n in jobs if (w, p, name + added, seed, n) not in done]
            for line in run(jobs, python) if jobs else []:
                lines.append({**line, "searcher": line["searcher"] + added})
                with given.out.open("a") as file:
                    file.write(json.dumps(lines[-1]) + "\n")
    print(tables([line for line in lines if line["what"] == given.what]))


if __name__ == "__main__":
    main()
