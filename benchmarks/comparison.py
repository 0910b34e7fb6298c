"""`archsearch compare`: how long the default comparison takes, and how often its intervals hold the truth.

    python benchmarks/comparison.py
    python benchmarks/comparison.py --simulations 1000

The truth is known by construction: for normal quality and scores with correlation rho, Kendall's tau of the population
is 2 / pi arcsin(rho), Spearman's rho 6 / pi arcsin(rho / 2), and the regret of the best of n is (1 - rho) times the
expected largest of n standard normal numbers.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.integrate import quad
from scipy.stats import norm

from archsearch.cli import main as archsearch
from archsearch.ranking import agreement

ARCHITECTURES, DRAWS, OF = 100, 200, 10
CORRELATIONS = (0.3, 0.8)


def time_default() -> None:
    """The command as a user calls it, but for the start of Python."""
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        archsearch(["compare", "--quiet", "--out", f"{folder}/comparison"])
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        page = (Path(folder) / "comparison" / "index.html").stat().st_size
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\ndefault comparison: {wall:.1f} s, {cpu:.1f} s of the processor (target: 60 s); page {page / 1e3:.0f} kB")
    print(f"largest memory {memory:.0f} MiB")


def simulate(simulations: int) -> None:
    """Shares of 95 % intervals that hold the value of the population."""
    largest, _ = quad(lambda x: x * OF * norm.pdf(x) * norm.cdf(x) ** (OF - 1), -8, 8)
    print(
        f"\nintervals that hold the truth, {simulations} samples of {ARCHITECTURES} architectures (target: 90 to 99 %)"
    )
    for rho in CORRELATIONS:
        rng = np.random.Generator(np.random.PCG64(0))
        truths = {
            "tau": 2 / np.pi * np.arcsin(rho),
            "Spearman": 6 / np.pi * np.arcsin(rho / 2),
            f"regret of best of {OF}": (1 - rho) * largest,
        }
        held = dict.fromkeys(truths, 0)
        for seed in range(simulations):
            truth = rng.standard_normal(ARCHITECTURES)
            scores = rho * truth + np.sqrt(1 - rho**2) * rng.standard_normal(ARCHITECTURES)
            found = agreement(truth, scores, repeats=DRAWS, seed=seed, top=(), best_of=(OF,))
            intervals = (found.tau, found.spearman, found.regret_of_best[OF])
            for (name, value), interval in zip(truths.items(), intervals, strict=True):
                held[name] += interval.low <= value <= interval.high
        print(f"rho {rho}: " + ", ".join(f"{name} {count / simulations:.1%}" for name, count in held.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=300)
    arguments = parser.parse_args()
    time_default()
    simulate(arguments.simulations)


if __name__ == "__main__":
    main()
