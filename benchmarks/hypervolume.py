"""Two objectives: what is missing of the true front's hypervolume after 100, 300 and 1,000 evaluations, ours and peers.

    python benchmarks/hypervolume.py --seeds 10 --out runs/hypervolume.jsonl

The two-objective problems of the arena; repeats, and what has no score, are free. All searchers run in turn, seed by
seed, on one core; each search is a line of the file, and the same command goes on where it was. Settings were chosen
with seeds from 1,000 on; tables have those from 0 on. Behind each mean are its standard error and, in brackets, in how
many seeds ``Auto`` is ahead and behind. ``Auto`` is ``HypervolumeImprovement``, trial for trial, up to 300 results.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from arena import race
from arena_problems import KINDS, PROBLEMS

AT = 100, 300, 1_000
SEARCHERS = "Auto", "NSGA2", "RandomSearch", "Optuna NSGA-II", "DEAP NSGA-II", "HypervolumeImprovement", "Optuna TPE"
SHORT = {"Optuna TPE": 100}
"""Evaluations of who takes long."""


def searched(problem: str, name: str, seed: int, trials: int) -> dict[str, Any]:
    """One search, as a line of the file."""
    return race(PROBLEMS[problem](0, seed), name, seed, trials, 1, AT)


def table(lines: list[dict[str, Any]], problem: str) -> str:
    """Means and standard errors of a problem, and in how many seeds the first searcher is ahead, behind or equal."""
    by_name: dict[str, dict[int, dict[str, Any]]] = {}
    for line in lines:
        if line["problem"] == problem:
            by_name.setdefault(line["searcher"], {})[line["seed"]] = line
    first = by_name.get(SEARCHERS[0], {})
    rows = [f"| {problem} | " + " | ".join(map(str, AT)) + " | n | ms a trial |", "|---|" + "---|" * (len(AT) + 2)]
    for name in (each for each in SEARCHERS if each in by_name):
        cells = []
        for place in range(len(AT)):
            values = {s: line["regret"][place] for s, line in by_name[name].items() if len(line["regret"]) > place}
            if not values:
                cells.append("–")
                continue
            numbers = np.array(list(values.values()))
            error = numbers.std(ddof=1) / np.sqrt(len(numbers)) if len(numbers) > 1 else np.nan
            signs = [np.sign(first[s]["regret"][place] - v) for s, v in values.items() if s in first]
            paired = "" if name == SEARCHERS[0] else f" ({signs.count(-1)}:{signs.count(1)})"
            cells.append(f"{numbers.mean():.2f} ± {error:.2f}{paired}")
        ms = np.median([line["ms"] for line in by_name[name].values()])
        rows.append(f"| {name} | " + " | ".join(cells) + f" | {len(by_name[name])} | {ms:.2g} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=AT[-1])
    parser.add_argument("--searchers", nargs="*", default=list(SEARCHERS[:-2]), choices=SEARCHERS)
    parser.add_argument("--out", type=Path, default=Path("runs/hypervolume.jsonl"))
    parser.add_argument("--seconds", type=float, default=np.inf, help="of the processor, after which no search begins")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    done = {(line["problem"], line["searcher"], line["seed"]) for line in lines}
    for seed, problem, name in itertools.product(range(given.seeds), KINDS["two objectives"], given.searchers):
        if (problem, name, seed) in done or time.process_time() > given.seconds:
            continue
        facts = searched(problem, name, seed, min(given.trials, SHORT.get(name, given.trials)))
        lines.append({"problem": problem, "searcher": name, "seed": seed, **facts})
        with given.out.open("a") as file:
            file.write(json.dumps(lines[-1]) + "\n")
    for problem in KINDS["two objectives"]:
        print(table(lines, problem), end="\n\n")


if __name__ == "__main__":
    main()
