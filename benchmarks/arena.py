"""Regret after 20, 50, 100 and 200 evaluations on problems of several kinds, of our controllers and of others.

    python benchmarks/arena.py --seeds 10 --out runs/arena.jsonl --page docs/arena.md

Each search is a line of the file; a run that was stopped goes on where it was. Repeats and what has no score are free
for all. Peers that are not installed are left out: optuna, nevergrad, scikit-optimize.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
from arena_peers import OURS, PEERS
from arena_problems import PROBLEMS, Problem

AT = (20, 50, 100, 200)
ASKED_FOR = 30
"""Times the evaluations that a searcher may ask before it is taken to be stuck."""


def race(problem: Problem, name: str, seed: int, trials: int) -> dict[str, object]:
    """One search: regrets at ``AT``, processor's milliseconds a trial, and how often it asked in vain."""
    searcher = {**OURS, **PEERS}[name](problem.space, seed, trials)
    known: dict[tuple[int, ...], float | None] = {}
    best, regrets, asked, completed, begun = -np.inf, [], 0, 0, time.process_time()
    while completed < trials and asked < ASKED_FOR * trials:
        architecture = searcher.ask()
        asked += 1
        if architecture not in known:
            known[architecture] = value = problem.value(architecture)
            if value is not None:
                completed, best = completed + 1, max(best, value)
                regrets.append(-best)
        searcher.tell(architecture, known[architecture])
    seconds = time.process_time() - begun
    regrets += [-best] * (trials - len(regrets))
    missed = sum(value is None for value in known.values())
    return {
        "regret": [float(regrets[at - 1]) for at in AT if at <= trials],
        "ms": 1000 * seconds / max(completed, 1),
        "missed": missed,
    }


def tables(lines: list[dict[str, object]]) -> str:
    """Markdown: a table for each problem, the best at each budget, and those within a standard error, in bold."""
    found: dict[str, dict[str, list[dict[str, object]]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        found[str(line["problem"])][str(line["searcher"])].append(line)
    text = []
    for problem in (name for name in PROBLEMS if name in found):
        at = AT[: min(len(line["regret"]) for some in found[problem].values() for line in some)]
        text += [f"### {problem}", "", f"| searcher | {' | '.join(map(str, at))} | ms a trial | seeds |"]
        text += ["|---" * (len(at) + 3) + "|"]
        rows = {}
        for name, some in found[problem].items():
            regrets = np.array([line["regret"][: len(at)] for line in some], float)
            error = regrets.std(0, ddof=1) / np.sqrt(len(regrets)) if len(regrets) > 1 else np.zeros(len(at))
            rows[name] = regrets.mean(0), error, float(np.mean([line["ms"] for line in some])), len(some)
        least = np.min([mean for mean, *_ in rows.values()], axis=0)
        for name in [name for name in (*OURS, *PEERS) if name in rows]:
            mean, error, ms, n = rows[name]
            cells = []
            for regret, spread, lowest in zip(mean, error, least, strict=True):
                bold = "**" if regret <= lowest + spread or regret <= lowest else ""
                cells.append(f"{bold}{regret:.3f} ± {spread:.3f}{bold}")
            mine = f"`{name}`" if name in OURS else name
            text.append(f"| {mine} | {' | '.join(cells)} | {ms:.1f} | {n} |")
        text.append("")
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--problems", nargs="*", default=list(PROBLEMS), choices=list(PROBLEMS))
    parser.add_argument("--searchers", nargs="*", default=[*OURS, *PEERS], choices=[*OURS, *PEERS])
    parser.add_argument("--out", type=Path, default=Path("runs/arena.jsonl"))
    parser.add_argument("--page", type=Path, help="a page whose tables, behind '## Tables', are written anew")
    parser.add_argument("--seconds", type=float, default=np.inf, help="of the processor, after which no search begins")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    done = {(line["problem"], line["searcher"], line["seed"]) for line in lines}
    lacking: set[str] = set()
    for seed in range(given.seeds):
        for problem in given.problems:
            made = None
            for name in given.searchers:
                if (problem, name, seed) in done or name in lacking or time.process_time() > given.seconds:
                    continue
                made = made or PROBLEMS[problem](seed)
                try:
                    facts = race(made, name, seed, given.trials)
                except ImportError as error:
                    lacking.add(name)
                    print(f"{name} is left out: {error}")
                    continue
                lines.append({"problem": problem, "searcher": name, "seed": seed, **facts})
                with given.out.open("a") as file:
                    file.write(json.dumps(lines[-1]) + "\n")
                print(problem, name, seed, *[f"{regret:.3f}" for regret in facts["regret"]], sep="  ", flush=True)
    if given.page:
        page = given.page.read_text()
        given.page.write_text(page[: page.index("## Tables")] + "## Tables\n\n" + tables(lines).rstrip() + "\n")
    else:
        print(tables(lines))


if __name__ == "__main__":
    main()
