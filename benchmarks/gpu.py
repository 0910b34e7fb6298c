"""Trainings of small networks on one GPU: one worker, eight workers, several seeds as one, compiled with CUDA graphs.

    python benchmarks/gpu.py [--trainings 32] [--only NAME ...]

Trainings a second, wall time, of NASBench201 on digits and, with random images in a folder of arrays, on a set of 32 x
32: one after the other in this process; with Ray, eight workers of an eighth of the GPU each; with ``repeats=16``,
which are trained as one; with ``compile=True``; and with both. Seeds that are trained as one count as trainings. The
target is five times one worker. Without a GPU it says so and measures nothing.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from archsearch import RayExecutor, search
from archsearch.controllers import RandomSearch
from archsearch.evaluators import Training
from archsearch.spaces import NASBench201

SEEDS = 16


def task_of(name: str, folder: Path) -> str:
    """A task by name; of ``pictures`` one that is made here."""
    if name == "digits":
        return "digits"
    rng, path = np.random.default_rng(0), folder / "pictures.npz"
    images = rng.integers(256, size=(6_000, 32, 32, 3), dtype=np.uint8)
    np.savez(path, images=images, labels=rng.integers(10, size=len(images)))
    return str(path)


def alone(task: str, trainings: int, **settings: Any) -> float:
    """Trainings a second in this process, the first one, which loads and compiles, not counted."""
    training = Training(task, epochs=3, device="cuda", **settings)
    space, each = NASBench201(), settings.get("repeats", 1)
    training.start(space)
    rng = np.random.default_rng(0)
    cells = [space.sample(rng) for _ in range(max(1, trainings // each))]
    training.evaluate(cells[0], 0)
    begun = time.perf_counter()
    for number, cell in enumerate(cells):
        training.evaluate(cell, number)
    return each * len(cells) / (time.perf_counter() - begun)


def workers(task: str, trainings: int) -> float:
    """Trainings a second of eight workers, starting them not counted."""
    times: list[float] = []
    training = Training(task, epochs=3, device="cuda")
    executor = RayExecutor(workers=8, gpus=0.125)
    search(
        NASBench201(),
        RandomSearch(),
        training,
        trials=trainings + 8,
        seed=0,
        executor=executor,
        on_trial=lambda _: times.append(time.perf_counter()),
    )
    return (len(times) - 8) / (times[-1] - times[7])


WAYS: dict[str, Callable[[str, int], float]] = {
    "one worker": alone,
    "eight workers": workers,
    "16 seeds as one": lambda task, n: alone(task, n, repeats=SEEDS),
    "compiled": lambda task, n: alone(task, n, compile=True),
    "16 seeds as one, compiled": lambda task, n: alone(task, n, repeats=SEEDS, compile=True),
}


def main() -> None:
    """Prints a table, or that there is nothing to measure on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainings", type=int, default=32)
    parser.add_argument("--only", nargs="+", choices=list(WAYS), default=list(WAYS))
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("no GPU: not measured")
        return
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}\n")
    print("| set | way | trainings a second | over one worker (target: 5) |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for which in ("digits", "pictures"):
            task, one = task_of(which, Path(name)), None
            for way in arguments.only:
                rate = WAYS[way](task, arguments.trainings)
                one = one or rate
                print(f"| {which} | {way} | {rate:.2f} | {rate / one:.2f} |", flush=True)


if __name__ == "__main__":
    main()
