"""The whole local search with its history on disk, against a plain loop that flushes a JSON line per trial.

    python benchmarks/local_search.py [--trials 100000] [--repeats 3] [--large 1000000]
    python benchmarks/local_search.py --paired 5 [--old CHECKOUT] [--trials 20000]

Regularized evolution (100/25) on NAS-Bench-201's table. Shows trials per second (wall; the two take turns; ours counts
everything from the call to the result, reading the table included), and for the large run the bytes per trial in its
folder, the growth of the process's memory per trial after the first tenth, and the seconds to resume it.

``--paired``: processor time of this process instead, which depends less on what else runs. Each round is a process of
the other checkout (``--old``, with its own ``.venv``), if one is given, and one of this, and in each a search and right
after it as many trials of the plain loop; ratios are of one process.
"""

import argparse
import json
import statistics
import subprocess
import sys
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


def one_round(trials):
    """Prints processor microseconds of a trial: a search, and the plain loop."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        our_rate(500, folder / "first")  # loads what is loaded once
        times = []
        for loop in (lambda: our_rate(trials, folder / "run"), lambda: plain_rate(trials, folder)):
            begun = time.process_time()
            loop()
            times.append(1e6 * (time.process_time() - begun) / trials)
    print(*times)


def paired(rounds, trials, old):
    """Rounds of processes, in turns, as a table."""
    here = Path(__file__).resolve()
    pythons = {"old": old / ".venv" / "bin" / "python"} if old else {}
    pythons["here"] = Path(sys.executable)
    found = {name: [] for name in pythons}
    for _ in range(rounds):
        for name, python in pythons.items():
            command = [str(python.absolute()), str(here), "--round", "--trials", str(trials)]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found[name].append([float(each) for each in answer.split()])
    print("| checkout | a trial, µs | the plain loop, µs | plain over ours | over the old one |\n|---|---|---|---|---|")
    for name, values in found.items():
        ours, plain = ([pair[i] for pair in values] for i in (0, 1))
        against = [a[0] / b[0] for a, b in zip(values, found.get("old", values), strict=True)]
        share = [b / a for a, b in values]
        print(f"| {name} | {spread(ours, 0)} | {spread(plain, 0)} | {spread(share, 2)} | {spread(against, 2)} |")


def spread(values, digits):
    low, middle, high = (f"{each:.{digits}f}" for each in (min(values), statistics.median(values), max(values)))
    return f"{low} / **{middle}** / {high}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100_000, help="trials per loop and repeat")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each loop")
    parser.add_argument("--large", type=int, default=1_000_000, help="trials of the large run")
    parser.add_argument("--paired", type=int, help="rounds of processor time, instead")
    parser.add_argument("--old", type=Path, help="of --paired: another checkout")
    parser.add_argument("--round", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.round:
        one_round(arguments.trials)
        return
    if arguments.paired:
        paired(arguments.paired, min(arguments.trials, 20_000), arguments.old)
        return
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
