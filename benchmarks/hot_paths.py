"""What is done once a trial, in another checkout and in this one: processor milliseconds each.

    python benchmarks/hot_paths.py OTHER [--rounds 3] [--only NAME ...]

OTHER is the folder of another checkout, with its own ``.venv``. Each round runs each workload once there and once here,
in processes of their own and on one thread. A workload prints names and processor milliseconds a trial, without imports
and set-up, the least of several repeats; the table has the medians over the rounds, and the median, least and greatest
of the ratios of here to there, round by round. Workloads name only what both have.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
CLOCK = """
import time
import numpy as np
from archsearch import Evaluation, Query, Trial
from archsearch.spaces import DARTS, NASBench201

def clock(name, work, trials, repeats=5):
    work()
    spent = []
    for _ in range(repeats):
        begun = time.process_time()
        work()
        spent.append(time.process_time() - begun)
    print(f"{name}\\t{1e3 * min(spent) / trials}", flush=True)

def drawn(space, n, seed=0):
    rng = np.random.default_rng(seed)
    return [Query(i, space.sample(rng), i) for i in range(n)]
"""
WORKLOADS = {
    "predictor": """
from archsearch.evaluators import Predictor
predictor = Predictor(labels=200, folds=0)
predictor.start(NASBench201())
predictor.prepare()
queries = drawn(NASBench201(), 1000)
clock("Predictor, one at a time", lambda: [predictor.evaluate_batch([each]) for each in queries], 1000)
clock("Predictor, 1,000 at once", lambda: predictor.evaluate_batch(queries), 1000)
""",
    "reinforce": """
from archsearch.controllers import Reinforce
def searched(ahead, later=0):
    controller = Reinforce()
    controller.start(NASBench201(), 0)
    waiting = []
    for _ in range(0, 1000, ahead):
        waiting += controller.ask(ahead)
        while len(waiting) > later:
            done = waiting.pop(0)
            controller.tell([Trial(done.id, done.architecture, None, Evaluation(float(sum(done.architecture))))])
clock("Reinforce, LSTM, one at a time", lambda: searched(1), 1000, 3)
clock("Reinforce, LSTM, 8 at a time", lambda: searched(8), 1000, 3)
clock("Reinforce, LSTM, 449 pending", lambda: searched(1, 449), 1000, 3)
""",
    "super-network": """
from archsearch.evaluators import OneShot
for space in (NASBench201(), DARTS()):
    evaluator = OneShot(task="digits", epochs=1)
    evaluator.start(space)
    evaluator.prepare()
    def scored(seeds=iter(range(99))):  # others each time: sizes are remembered
        for query in drawn(space, 10, next(seeds)):
            evaluator.evaluate_query(query)
    clock(f"OneShot, {type(space).__name__}", scored, 10)
""",
    "zero-cost": """
from archsearch.evaluators import ZeroCost
from archsearch.networks.network import build
for space in (NASBench201(), DARTS()):
    for score in ("synflow", "naswot", "grad_norm"):
        evaluator, queries = ZeroCost(score, task="digits"), drawn(space, 10)
        evaluator.start(space)
        evaluator.prepare()
        made = [build(lambda: evaluator.trainer.network(each.architecture), each.seed) for each in queries]
        images = evaluator._images(0)
        name = f"{score}, {type(space).__name__}"
        clock(name, lambda: [evaluator.evaluate_query(each) for each in queries], 10)
        clock(f"  {name}: the score alone", lambda: [evaluator._proxy.score(each, *images) for each in made], 10)
""",
    "tables": """
from archsearch.evaluators import Tabular
clock("Tabular.start, the same table again", lambda: Tabular().start(NASBench201()), 1)
""",
}


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=list(WORKLOADS), default=list(WORKLOADS))
    arguments = parser.parse_args()
    print(f"{'ms a trial':<44}{'there':>9}{'here':>9}{'ratio':>8}  least to greatest")
    for name in arguments.only:
        rounds = [
            [measured(root, WORKLOADS[name]) for root in (arguments.other, ROOT)] for _ in range(arguments.rounds)
        ]
        for figure in rounds[0][0]:
            there, here = ([each[place][figure] for each in rounds] for place in (0, 1))
            ratios = [b / a for a, b in zip(there, here, strict=True)]
            print(
                f"{figure:<44}{statistics.median(there):9.3f}{statistics.median(here):9.3f}"
                f"{statistics.median(ratios):8.3f}  {min(ratios):.3f} to {max(ratios):.3f}",
                flush=True,
            )


def measured(root: Path, code: str) -> dict[str, float]:
    """What a workload prints, run with a checkout's own Python."""
    python = str((root / ".venv" / "bin" / "python").absolute())
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [python, "-c", CLOCK + code], cwd=root, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{root}: the workload failed")
    return {name: float(value) for name, value in (line.split("\t") for line in done.stdout.splitlines())}


if __name__ == "__main__":
    main()
