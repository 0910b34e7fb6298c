"""Regret after 20, 50, 100, 200 and 300 evaluations on problems of several kinds, of our controllers and of others.

    python benchmarks/arena.py --seeds 30 --seconds 1500 --out runs/arena.jsonl --page docs/arena.md

Each search is a line of the file, and the same command goes on where it was, also with more seeds or seconds: first all
problems and searchers with one seed, then the next. Repeats and what has no score are free for all. What synthetic
problems are drawn from is drawn when the file is begun, and kept in it; ``--root`` names it, to choose settings on
other problems than those of the page. Peers that are not installed are left out, and named.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import secrets
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from arena_kinds import FURTHER
from arena_peers import ASKED_FOR, AT_MOST, BY_NAME, ONLY_SEVERAL, OURS, PEERS, SEVERAL, Race
from arena_problems import KINDS, PROBLEMS, Problem, Regret, Values
from arena_tables import AT, page_of

from archsearch.trial import Architecture

ALL = {**PROBLEMS, **FURTHER}
"""Of these the further ones are raced only where they are named."""

WORKERS = (1, 8)
PATIENCE = 30
"""Times the evaluations that a searcher may ask before it is taken to be stuck; others in ``ASKED_FOR``."""

WARM = 14
"""Evaluations of a search that nobody counts, before the first one."""

SLOW_SEEDS = 5
"""Of those in ``AT_MOST``."""

SPREAD = 0.3
"""Of the logarithm of the time that a simulated worker takes for an evaluation."""


def race(
    problem: Problem, name: str, seed: int, trials: int, workers: int, budgets: Sequence[int] = AT
) -> dict[str, Any]:
    """One search: regrets at the budgets, processor's milliseconds a trial, and how many architectures had no score.

    Workers are simulated: each evaluation takes a time of its own, whoever proposed it, and results come in that order.
    """
    known_of = Race(problem.space, seed, trials, workers, problem.objectives, problem.refusal)
    searcher = {**OURS, **PEERS}[name](known_of)
    times = np.random.default_rng([7, seed])
    known: dict[Architecture, Values | None] = {}
    ends: dict[Architecture, float] = {}  # of what is being evaluated
    due: list[tuple[float, int, Any, Architecture]] = []
    regret, regrets, asked, clock, started = Regret(problem), [], 0, 0.0, time.process_time()
    most = trials * ASKED_FOR.get(name, PATIENCE)
    while len(regrets) < trials:
        while len(ends) < workers and len(regrets) + len(ends) < trials and asked < most:
            mark, architecture = searcher.ask()
            asked += 1
            if architecture not in known:
                known[architecture] = problem.value(architecture)
                if known[architecture] is not None:
                    ends[architecture] = clock + times.lognormal(0, SPREAD)
            if architecture in ends:  # also where it is asked for again meanwhile
                heapq.heappush(due, (ends[architecture], asked, mark, architecture))
            else:
                searcher.tell(mark, architecture, known[architecture])
        if not due:
            break
        clock, _, mark, architecture = heapq.heappop(due)
        searcher.tell(mark, architecture, values := known[architecture])
        if values is not None and ends.pop(architecture, None) is not None:
            regret.add(values)
            regrets.append(regret.now)
    seconds = time.process_time() - started
    regrets += [regret.now] * (trials - len(regrets))
    return {
        "regret": [round(float(regrets[at - 1]), 6) for at in budgets if at <= trials],
        "ms": round(1000 * seconds / trials, 4),
        "missed": sum(value is None for value in known.values()),
    }


def takes_part(name: str, problem: str, workers: int) -> bool:
    """Whether this searcher can have a part in it."""
    if problem in KINDS["two objectives"]:
        return name in SEVERAL
    return name not in ONLY_SEVERAL and (workers == 1 or name not in AT_MOST)


def begun(path: Path, root: int | None) -> tuple[int, list[dict[str, Any]]]:
    """What synthetic problems are drawn from, and the searches in a file, which is begun if there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_text(json.dumps({"root": secrets.randbelow(10**9) if root is None else root}) + "\n")
    first, *lines = [json.loads(line) for line in path.read_text().splitlines()]
    if root is not None and root != first["root"]:
        raise SystemExit(f"{path}: begun with --root {first['root']}, got {root}: name another file")
    return first["root"], lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--first", type=int, default=0, help="the first of these seeds; settings are chosen on others")
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--workers", type=int, nargs="*", default=list(WORKERS))
    parser.add_argument("--problems", nargs="*", default=list(PROBLEMS), choices=list(ALL))
    parser.add_argument(
        "--searchers",
        nargs="*",
        default=[each for each in (*OURS, *PEERS) if each not in BY_NAME],
        choices=[*OURS, *PEERS],
    )
    parser.add_argument("--root", type=int, help="what synthetic problems are drawn from; default: drawn, and kept")
    parser.add_argument("--out", type=Path, default=Path("runs/arena.jsonl"))
    parser.add_argument("--page", type=Path, help="a page whose tables, behind '## Tables', are written anew")
    parser.add_argument("--pictures", type=Path, default=Path("docs/pictures"), help="where its pictures go")
    parser.add_argument("--seconds", type=float, default=np.inf, help="of the processor, after which no search begins")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    root, lines = begun(given.out, given.root)
    print(f"synthetic problems are drawn from {root}")
    done = {(line["problem"], line["searcher"], line["workers"], line["seed"]): len(line["regret"]) for line in lines}
    lacking: set[str] = set()
    warm: set[str] = set()
    seeds = range(given.first, given.first + given.seeds)
    jobs = itertools.product(seeds, given.problems, given.workers, given.searchers)
    for seed, problem, workers, name in jobs:
        if name in lacking or not takes_part(name, problem, workers):
            continue
        if time.process_time() > given.seconds or (name in AT_MOST and seed - given.first >= SLOW_SEEDS):
            continue
        trials = min(given.trials, AT_MOST.get(name, given.trials))
        if done.get((problem, name, workers, seed), 0) >= sum(at <= trials for at in AT):
            continue
        try:
            if name not in warm:  # imports are no cost of a trial
                race(ALL[problem](root, seed), name, seed, WARM, workers)
                warm.add(name)
            facts = race(ALL[problem](root, seed), name, seed, trials, workers)
        except ImportError as error:
            lacking.add(name)
            print(f"{name} is left out: {error}")
            continue
        lines.append({"problem": problem, "searcher": name, "workers": workers, "seed": seed, **facts})
        with given.out.open("a") as file:
            file.write(json.dumps(lines[-1]) + "\n")
        print(
            problem,
            name,
            workers,
            seed,
            *[f"{each:.3f}" for each in facts["regret"]],
            facts["ms"],
            sep="  ",
            flush=True,
        )
    if given.page:
        given.page.write_text(page_of(given.page.read_text(), root, lines, given.pictures))


if __name__ == "__main__":
    main()
