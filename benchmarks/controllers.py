"""Every registered controller on three kinds of spaces: regret after 50, 150 and 300 evaluations, and CPU per trial.

    nice -n 5 python benchmarks/controllers.py --out runs/controllers [--seeds 30] [--seconds 20] [--only PPO LaNAS]
    python benchmarks/controllers.py --out runs/controllers --table

- cells: NAS-Bench-201, validation accuracy on CIFAR-10 in percent; the best cell is known.
- open: chains of MetaQNN, of 1 to 10 layers; the score is one minus the edit distance to a hidden chain of 6, in
  shares of the longer one. A layer of the right kind is half right.
- conditional: ``Choices`` whose blocks have settings of their own, with 1 to 5 operations behind; the score adds up
  effects of options and of pairs that follow each other, 0 to 1 over all 31,372 architectures.

Settings are the defaults, but for those in ``SETTINGS``. A result is told before the next proposal is asked for; CPU is
that of asking and telling. Controllers that ask for budgets, or for what an evaluator has learnt, and those that refuse
a space, are left out of it, and said to be. A row is one search; those that are in the folder are not run again. Each
controller gets ``--seconds`` of CPU in each space, and at least 2 seeds.
"""

import argparse
import functools
import itertools
import json
import math
import statistics
import time
from pathlib import Path

import numpy as np

from archsearch import Evaluation, Trial
from archsearch.components import entry_points, load
from archsearch.errors import MissingAbility
from archsearch.evaluators import Tabular
from archsearch.spaces import Choices, MetaQNN, NASBench201

MARKS = (50, 150, 300)
SETTINGS = {"QLearning": {"models": MARKS[-1]}}
"""What the docstring asks to be set to the length of the search."""
LEAST_SEEDS = 2


# -- the problems ------------------------------------------------------------------------------------


@functools.cache
def cells():
    """The space, what scores, and the best score."""
    space, table = NASBench201(), Tabular("cifar10")
    table.start(space)

    def score(architecture):
        return table.evaluate(architecture, 0).score

    return space, score, max(map(score, space.enumerate()))


@functools.cache
def open_ended():
    """Chains; the best score is 1."""
    space = MetaQNN(layers=10, filters=[32, 64, 128], units=[64, 128])
    hidden = space.decode(space.parse("C(64,5,1), C(128,3,1), P(2,2), C(128,3,1), P(3,2), C(32,1,1), GAP"))

    def score(architecture):
        found = space.decode(architecture)
        return 1 - edits(found, hidden) / max(len(found), len(hidden))

    return space, score, 1.0


def edits(one, other):
    """The edit distance between two lists of layers."""
    before = list(range(len(other) + 1))
    for i, mine in enumerate(one, 1):
        now = [i]
        for j, theirs in enumerate(other, 1):
            differ = 0 if mine == theirs else 1 - 0.5 * (mine.kind == theirs.kind)
            now.append(min(before[j] + 1, now[-1] + 1, before[j - 1] + differ))
        before = now
    return before[-1]


@functools.cache
def conditional():
    """Effects of options and of pairs, drawn once."""
    operations = ["conv", "dilated", "pool", "skip"]
    space = Choices(
        {
            "block": ["conv", "separable", "pool"],
            "kernel": {"options": [3, 5, 7], "when": {"block": ["conv", "separable"]}},
            "width": {"options": [16, 32, 64, 128], "when": {"block": "conv"}},
            "expansion": {"options": [1, 3, 6], "when": {"block": "separable"}},
            "size": {"options": [2, 3], "when": {"block": "pool"}},
            "depth": [1, 2, 3, 4, 5],
            "op": {"options": operations, "repeat": "depth"},
        }
    )
    rng = np.random.default_rng(20)
    effects = {}

    def effect(key, spread):
        if key not in effects:
            effects[key] = rng.normal(0, spread)
        return effects[key]

    def raw(architecture):
        chosen = space.decode(architecture)
        total = sum(effect((name, value), 1.0) for name, value in chosen.items())
        names = list(chosen.items())
        return total + sum(effect(pair, 0.7) for pair in itertools.pairwise(names))

    scores = {architecture: raw(architecture) for architecture in space.enumerate()}
    low, high = min(scores.values()), max(scores.values())
    return space, lambda architecture: (scores[architecture] - low) / (high - low), 1.0


PROBLEMS = {"cells": cells, "open": open_ended, "conditional": conditional}


# -- running -----------------------------------------------------------------------------------------


def run(name, problem, seed):
    """One search: regrets, and CPU milliseconds per trial; or why there is none."""
    space, score, optimum = PROBLEMS[problem]()
    try:
        controller = load(name, "controllers")(**SETTINGS.get(name, {}))
        controller.check(space)
    except (TypeError, MissingAbility) as error:
        return {"left_out": str(error).split(";")[0]}
    if controller.budgets:
        return {"left_out": "it asks for budgets"}
    if controller.reads_distribution:
        return {"left_out": "it reads what an evaluator has learnt"}
    best, regrets = -math.inf, {}
    begun = time.process_time()
    controller.start(space, seed)
    spent = time.process_time() - begun
    for count in range(1, MARKS[-1] + 1):
        begun = time.process_time()
        proposals = [] if controller.finished else controller.ask()
        spent += time.process_time() - begun
        if proposals:
            value = score(proposals[0].architecture)
            best = max(best, value)
            trial = Trial(*proposals[0][:3], Evaluation(value), budget=proposals[0].budget)
            begun = time.process_time()
            controller.tell([trial])
            spent += time.process_time() - begun
        if count in MARKS:
            regrets[str(count)] = optimum - best
    return {"regret": regrets, "ms": spent / MARKS[-1] * 1e3, "seconds": spent}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--table", action="store_true", help="only show what is there")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    names = options.only or sorted(entry_points("controllers"), key=str.lower)
    if not options.table:
        fill(options, names)
    show(options.out, sorted(entry_points("controllers"), key=str.lower))


def fill(options, names):
    """Runs what is missing, seed by seed, so that all controllers have as many when it is stopped."""
    spent = dict.fromkeys(itertools.product(names, PROBLEMS), 0.0)
    for seed, name, problem in itertools.product(range(options.seeds), names, PROBLEMS):
        path = options.out / f"{name}-{problem}-{seed:02d}.json"
        if path.exists():
            row = json.loads(path.read_text())
        elif spent[name, problem] > options.seconds and seed >= LEAST_SEEDS:
            continue
        else:
            row = run(name, problem, seed)
            path.write_text(json.dumps(row))
        # What is left out is so with any seed.
        spent[name, problem] += math.inf if "left_out" in row else row["seconds"]
        if "left_out" in row:
            continue


def show(folder, names):
    """The table, as Markdown: mean regrets, and of each space the seeds and the median CPU per trial."""
    heads = [f"{problem} {mark}" for problem in PROBLEMS for mark in MARKS]
    print("| controller | " + " | ".join(heads) + " | seeds | CPU ms a trial |\n|" + "---|" * (len(heads) + 3))
    for name in names:
        rows = {
            p: [json.loads(path.read_text()) for path in sorted(folder.glob(f"{name}-{p}-*.json"))] for p in PROBLEMS
        }
        fine = {problem: [row for row in some if "regret" in row] for problem, some in rows.items()}
        columns = []
        for problem, mark in itertools.product(PROBLEMS, MARKS):
            found = [row["regret"][str(mark)] for row in fine[problem]]
            columns.append(f"{statistics.fmean(found):.{2 if problem == 'cells' else 3}f}" if found else "–")
        seeds = ", ".join(str(len(fine[problem])) for problem in PROBLEMS)
        cost = [f"{statistics.median(row['ms'] for row in some):.2g}" for some in fine.values() if some]
        if not cost:
            reasons = {row["left_out"] for some in rows.values() for row in some if "left_out" in row}
            print(f"| `{name}` | left out: {'; '.join(sorted(reasons))} |")
            continue
        print(f"| `{name}` | {' | '.join(columns)} | {seeds} | {', '.join(cost)} |")


if __name__ == "__main__":
    main()
