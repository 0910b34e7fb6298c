"""The whole local search with its history on disk, against a plain loop that flushes a JSON line per trial.

    python benchmarks/local_search.py [--trials 100000] [--large 1000000]

Shows trials per second, bytes per trial on disk after the run, growth of the driver's memory per trial, and the time to
resume the large run.
"""

import argparse
import collections
import json
import random
import tempfile
import time
from pathlib import Path

from archsearch import resume, search
from archsearch.controllers import RegularizedEvolution
from archsearch.evaluators import Tabular
from archsearch.spaces import NASBench201

PAGE_KIB = 4


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_KIB * 1024


def plain_rate(trials, folder):
    """Aging evolution in plain Python; every trial is a JSON line that the operating system has before the next."""
    generator = random.Random(0)
    evaluator = Tabular()
    evaluator.start(NASBench201())
    population = collections.deque(maxlen=100)
    begun = time.perf_counter()
    with (folder / "plain.jsonl").open("w") as log:
        for trial in range(trials):
            if len(population) < 100:
                cell = tuple(generator.randrange(5) for _ in range(6))
            else:
                parent = list(max(generator.sample(population, 25), key=lambda member: member[1])[0])
                edge = generator.randrange(6)
                parent[edge] = (parent[edge] + generator.randrange(1, 5)) % 5
                cell = tuple(parent)
            score = evaluator.evaluate(cell, 0).score
            population.append((cell, score))
            log.write(json.dumps({"id": trial, "architecture": cell, "score": score}) + "\n")
            log.flush()
    return trials / (time.perf_counter() - begun)


def our_rate(trials, folder, on_trial=None):
    begun = time.perf_counter()
    search(NASBench201(), RegularizedEvolution(), Tabular(), trials=trials, seed=0, out=folder, on_trial=on_trial)
    return trials / (time.perf_counter() - begun)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--large", type=int, default=1_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for repeat in range(arguments.repeats):
            plain = plain_rate(arguments.trials, folder)
            ours = our_rate(arguments.trials, folder / f"run{repeat}")
            print(
                f"{arguments.trials:,} trials: ours {ours:,.0f}/s, plain loop {plain:,.0f}/s, ratio {ours / plain:.2f}"
            )

        memory = {}

        def watch(trial):
            if trial.id in (arguments.large // 10, arguments.large - 1):
                memory[trial.id] = resident_bytes()

        large = folder / "large"
        ours = our_rate(arguments.large, large, watch)
        files = list((large / "trials").iterdir())
        early, late = memory.values()
        print(f"{arguments.large:,} trials: {ours:,.0f}/s")
        print(f"on disk: {sum(file.stat().st_size for file in files) / arguments.large:.1f} bytes per trial")
        print(f"driver's memory: {(late - early) / (0.9 * arguments.large):.1f} bytes per trial after the first tenth")
        begun = time.perf_counter()
        result = resume(large, trials=arguments.large + 10)
        print(
            f"resumed and extended by 10 trials in {time.perf_counter() - begun:.2f} s ({result.completed:,} completed)"
        )


if __name__ == "__main__":
    main()
