"""What ranking all cells of ``digits201`` by a super-network costs, of what training them all does, in seconds.

    python benchmarks/ranking_cost.py [--rounds 5] [--old CHECKOUT]

The parts of ``optimization_gap.py``'s figure (300 epochs of uniform paths, all 1,013 cells scored) timed a few at a
time and added up: an epoch of the super-network, a score, and a training, in turns, in processor seconds on one thread.
What is trained makes no difference to the seconds. With ``--old`` rounds of another checkout in between.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

CELLS, EPOCHS = 1_013, 300
SOME, SCORES = 2, 12
SCORING = {"statistics": "batch", "validation_batches": 12}


def one_round() -> tuple[float, float, float]:
    """Processor seconds: an epoch of the super-network, a score, a training."""
    import numpy as np

    from archsearch.evaluators import OneShot, Tabular, Training
    from archsearch.spaces import NASBench201

    space, table, alone = NASBench201(), Tabular("digits201"), Training(preset="digits201")
    shared = OneShot(training=Training(preset="digits201"), epochs=4, sampler="uniform", seed=0, **SCORING)
    for each in (table, alone, shared):
        each.start(space)
    chosen = np.random.default_rng(0).permutation(len(table.architectures))
    cells = [table.architectures[i] for i in chosen[: SOME + SCORES + 1]]
    alone.measure(cells[0])
    begun = time.process_time()
    shared.prepare()
    epoch = (time.process_time() - begun) / 4
    shared.evaluate(cells[-1], 0)
    begun = time.process_time()
    for cell in cells[:SCORES]:
        shared.evaluate(cell, 0)
    score = (time.process_time() - begun) / SCORES
    begun = time.process_time()
    for cell in cells[SCORES : SCORES + SOME]:
        alone.evaluate(cell, 0)
    return epoch, score, (time.process_time() - begun) / SOME


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--old", type=Path, help="another checkout, with its own .venv")
    parser.add_argument("--round", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.round:
        print(*one_round())
        return
    pythons = {"old": str((arguments.old / ".venv" / "bin" / "python").absolute())} if arguments.old else {}
    pythons["here"] = sys.executable
    found: dict[str, list[list[float]]] = {name: [] for name in pythons}
    for _ in range(arguments.rounds):
        for name, python in pythons.items():
            command = [python, str(Path(__file__).resolve()), "--round"]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found[name].append([float(each) for each in answer.split()])
    print("| checkout | an epoch, ms | a score, ms | a training, ms | ranking all, of training all: one part in |")
    print("|---|---|---|---|---|")
    for name, rounds in found.items():
        parts = [1e3 * statistics.median(each) for each in zip(*rounds, strict=True)]
        shares = sorted(CELLS * t / (EPOCHS * e + CELLS * s) for e, s, t in rounds)
        print(
            f"| {name} | {parts[0]:.0f} | {parts[1]:.1f} | {parts[2]:.0f} | {shares[0]:.1f} / "
            f"**{statistics.median(shares):.1f}** / {shares[-1]:.1f} |"
        )


if __name__ == "__main__":
    main()
