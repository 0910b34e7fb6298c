"""A step of a super-network against a step of a stand-alone network: time and peak memory.

    python benchmarks/one_shot.py

(a) One thread: updates of the same architectures, alone and as paths of the super-network, in turn; milliseconds of
processor time. (b) A process each, one architecture, 20 updates: the highest memory that the process held, less what
it held before it made the network. The super-network also stores weights and momenta of all other candidates: the last
column compares the peaks without what is stored.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from archsearch.evaluators import Training
from archsearch.space import Space
from archsearch.spaces import DARTS, MobileNet, NASBench101, NASBench201
from archsearch.trial import Architecture

SPACES: dict[str, tuple[Space, dict[str, int]]] = {
    "NASBench201": (NASBench201(), {"channels": 16, "cells": 2}),
    "DARTS": (DARTS(), {"channels": 16, "layers": 4}),
    "MobileNet": (MobileNet(), {"channels": 16}),
    "NASBench101": (NASBench101(), {"channels": 32, "modules": 1}),
}
STEPS = 10


def training(name: str, batch_size: int) -> Training:
    evaluator = Training(skeleton=SPACES[name][1], batch_size=batch_size)
    evaluator.start(SPACES[name][0])
    return evaluator


def architectures(name: str, n: int) -> list[Architecture]:
    rng = np.random.default_rng(1)
    return [SPACES[name][0].sample(rng) for _ in range(n)]


def steps(evaluator: Training, architecture: Architecture, shared: bool) -> float:
    """Processor seconds of some updates, the first ones not counted."""
    run = evaluator.trainer.begin(None if shared else architecture, 0)
    with evaluator.trainer.session() as meter:
        evaluator.trainer.train(run, 3, 1_000, meter, paths=lambda _: [architecture], validate=False)
        begun = time.process_time()
        evaluator.trainer.train(run, 3 + STEPS, 1_000, meter, paths=lambda _: [architecture], validate=False)
        return time.process_time() - begun


def time_table(rounds: int, n: int) -> None:
    print("| space | alone, ms a step | as a path, ms a step | ratio, min / median / max |\n|---|---|---|---|")
    for name in SPACES:
        evaluator = training(name, 64)
        ratios, alone, shared = [], [], []
        for architecture in architectures(name, n):
            evaluator.trainer.size(architecture)
            evaluator.trainer.size(None)
            for _ in range(rounds):
                alone.append(steps(evaluator, architecture, False))
                shared.append(steps(evaluator, architecture, True))
                ratios.append(shared[-1] / alone[-1])
        ratios.sort()
        print(
            f"| {name} | {1e3 / STEPS * statistics.median(alone):.1f} | {1e3 / STEPS * statistics.median(shared):.1f} "
            f"| {ratios[0]:.3f} / **{statistics.median(ratios):.3f}** / {ratios[-1]:.3f} |",
            flush=True,
        )


def peak(name: str, shared: bool) -> tuple[int, int]:
    """Bytes at the peak above the start, and bytes of weights and momenta; in this process."""
    evaluator = training(name, 256)
    (architecture,) = architectures(name, 1)
    evaluator.trainer.size(architecture)
    evaluator.trainer.size(None)
    evaluator.trainer.data.part("train")
    before = memory("VmRSS")
    run = evaluator.trainer.begin(None if shared else architecture, 0)
    with evaluator.trainer.session() as meter:
        evaluator.trainer.train(run, 20, 1_000, meter, paths=lambda _: [architecture], validate=False)
    stored = sum(value.nbytes for value in run.network.state_dict().values())
    stored += sum(value.nbytes for state in run.optimizer.state.values() for value in state.values())
    return memory("VmHWM") - before, stored


def memory(field: str) -> int:
    """Bytes, by the operating system's account of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(f"{field}:")).split()[1])


def memory_table() -> None:
    print(
        "\n| space | alone: peak, of which stored, MB | as a path: peak, of which stored, MB | excess without stored |"
    )
    print("|---|---|---|---|")
    for name in SPACES:
        found = []
        for shared in (False, True):
            command = [sys.executable, __file__, "--peak", name, *(["--shared"] if shared else [])]
            out = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            found.append([int(word) / 1e6 for word in out])
        (alone, own), (path, all_) = found
        print(
            f"| {name} | {alone:.1f}, {own:.1f} | {path:.1f}, {all_:.1f} | {(path - all_) / (alone - own) - 1:+.1%} |"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="repeats of (a) for each architecture")
    parser.add_argument("--architectures", type=int, default=4, help="architectures of (a)")
    parser.add_argument("--peak", choices=SPACES, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--shared", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.peak:
        print(*peak(given.peak, given.shared))
        return
    time_table(given.rounds, given.architectures)
    memory_table()


if __name__ == "__main__":
    main()
