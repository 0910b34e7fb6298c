"""Thousands of workers on a virtual clock: utilisation, time to a target, and what the controller itself takes.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --workers 10000 --trials 1000000 --controllers evolution

Cells of NAS-Bench-201 with the recorded seconds of their 200 epochs, on the simulated executor. 450 workers and 20,000
trials are the setting of AmoebaNet (Real et al., AAAI 2019). Utilisation is the share of the virtual time of the
workers, until the last evaluation began, in which they evaluated. Overhead is the real time per trial of all but
evaluating: asking, telling, the queue and the history, which is what one driver can do at most on a cluster, too.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from archsearch import search
from archsearch.controller import Controller
from archsearch.controllers import RandomSearch, RegularizedEvolution, Reinforce
from archsearch.evaluators import Tabular
from archsearch.spaces import NASBench201

CONTROLLERS = {"random": RandomSearch, "evolution": RegularizedEvolution, "reinforce": Reinforce}
TARGET = 91.5
"""Validation accuracy after 200 epochs; 10 of 15,625 cells have more."""


def measure(controller: Controller, workers: int, trials: int) -> dict[str, float]:
    """One search: the figures of a row."""
    table = Tabular()
    table.start(NASBench201())
    wall, cpu = time.perf_counter(), time.process_time()
    result = search(NASBench201(), controller, table, trials=trials, seed=0, executor="simulated", workers=workers)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    history = result.history.table()
    begun, lasted, scores = (np.asarray(history[name]) for name in ("started_seconds", "wall_seconds", "score"))
    until = float(begun.max())
    busy = np.minimum(begun + lasted, until) - begun
    reached = (begun + lasted)[scores >= TARGET]
    return {
        "hours": result.seconds / 3_600,
        "utilisation": float(busy.sum()) / (workers * until) if until else 1.0,
        "target": float(reached.min()) / 3_600 if len(reached) else float("nan"),
        "seconds": wall,
        "overhead": 1e6 * cpu / trials,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 10, 100, 450, 1_000])
    parser.add_argument("--trials", type=int, default=20_000)
    parser.add_argument("--controllers", nargs="+", choices=list(CONTROLLERS), default=list(CONTROLLERS))
    arguments = parser.parse_args()
    print(f"{arguments.trials:,} trials; target {TARGET} %")
    head = "controller   workers  virtual hours  utilisation  hours to target  real seconds  µs of CPU per trial"
    print(head)
    for name in arguments.controllers:
        for workers in arguments.workers:
            row = measure(CONTROLLERS[name](), workers, arguments.trials)
            print(
                f"{name:<11} {workers:>8,} {row['hours']:>14,.1f} {row['utilisation']:>12.1%} {row['target']:>16,.2f} "
                f"{row['seconds']:>13.1f} {row['overhead']:>20.1f}",
                flush=True,
            )
    print(f"largest memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
