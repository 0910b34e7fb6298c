"""The whole local search with its history on disk, against a plain loop that flushes a JSON line per trial.

    python benchmarks/local_search.py [--trials 100000] [--repeats 3] [--large 1000000]

Regularized evolution (100/25) on NAS-Bench-201's table. Shows trials per second (wall; the two take turns; ours counts
everything from the call to the result, reading the table included), and for the large run the bytes per trial in its
folder, the growth of the process's memory per trial after the first tenth, and the seconds to resume it.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from plain import aging_evolution

from archsearch import resume, search
from archsearch.controllers import RegularizedEvolution
from archsearch.evaluators import Tabular
from archsearch.spaces import NASBench201

PAGE_KIB = 4


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_KIB * 1024


def plain_rate(trials, folder):
    """Aging evolution in plain Python; every trial is a JSON line that the operating system has before the next."""
    evaluator = Tabular()
    evaluator.start(NASBench201())
    step = aging_evolution(lambda cell: evaluator.evaluate(cell, 0).score)
    begun = time.perf_counter()
    with (folder / "plain.jsonl").open("w") as log:
        for trial in range(trials):
            cell, score = step()
            log.write(json.dumps({"id": trial, "architecture": cell, "score": score}) + "\n")
            log.flush()
    return trials / (time.perf_counter() - begun)


def our_rate(trials, folder, on_trial=None):
    begun = time.perf_counter()
    search(NASBench201(), RegularizedEvolution(), Tabular(), trials=trials, seed=0, out=folder, on_trial=on_trial)
    return trials / (time.perf_counter() - begun)


def large_run(trials, folder):
    """Rows of the table about one long search and its resumption."""
    memory = {}
    tenth, last = trials // 10, trials - 1

    def watch(trial):
        if trial.id == tenth or trial.id == last:
            memory[trial.id] = resident_bytes()

    speed = our_rate(trials, folder, watch)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    rows = [
        ("trials per second", f"{speed:,.0f}"),
        ("bytes per trial on disk", f"{size / trials:.1f}"),
        ("bytes of memory per trial after the first tenth", f"{(memory[last] - memory[tenth]) / (last - tenth):.1f}"),
    ]
    for more in (0, 10):
        begun = time.perf_counter()
        result = resume(folder, trials=trials + more)
        seconds = time.perf_counter() - begun
        rows.append((f"seconds to resume, {more} more trials, {result.completed:,} completed", f"{seconds:.2f}"))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100_000, help="trials per loop and repeat")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each loop")
    parser.add_argument("--large", type=int, default=1_000_000, help="trials of the large run")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rates = {"plain loop, flushed JSON lines": [], "archsearch": []}
        for repeat in range(arguments.repeats):
            rates["plain loop, flushed JSON lines"].append(plain_rate(arguments.trials, folder))
            rates["archsearch"].append(our_rate(arguments.trials, folder / f"run{repeat}"))
        plain = statistics.median(rates["plain loop, flushed JSON lines"])
        print(f"| {arguments.trials:,} trials | per second, min / median / max | median over plain |\n|---|---|---|")
        for loop, values in rates.items():
            middle = statistics.median(values)
            print(f"| {loop} | {min(values):,.0f} / **{middle:,.0f}** / {max(values):,.0f} | {middle / plain:.2f} |")
        print(f"\n| one run of {arguments.large:,} trials | measured |\n|---|---|", flush=True)
        for what, measured in large_run(arguments.large, folder / "large"):
            print(f"| {what} | {measured} |")


if __name__ == "__main__":
    main()
