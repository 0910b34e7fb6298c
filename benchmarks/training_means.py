"""What bfloat16 makes of an update, on this device: over plain float32, in turns.

python benchmarks/training_means.py [--channels 16] [--batch 64]

An update of a NAS-Bench-201 network on images of 32 x 32. Ratios of processor time (with CUDA, of wall time), the
median of as many rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

import numpy as np
import torch

from archsearch.evaluators import Training
from archsearch.spaces import NASBench201
from archsearch.task import ImageTask
from archsearch.training.loop import Run
from archsearch.training.trainer import Trainer

CELL = (3, 1, 2, 3, 4, 3)


def clock() -> float:
    """Seconds: of the processor, or, once the device is done, on the wall."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return sum(os.times()[:4])


def begun(batch: int, channels: int, **settings: object) -> tuple[Trainer, Run]:
    """A training that has not begun."""
    rng = np.random.default_rng(0)
    parts = [(rng.random((n, 3, 32, 32), np.float32), np.arange(n) % 10) for n in (2 * batch, 20, 20)]
    skeleton = {"channels": channels, "cells": 1}
    evaluator = Training(ImageTask(*parts), batch_size=batch, epochs=1000, skeleton=skeleton, **settings)
    evaluator.start(NASBench201())
    return evaluator.trainer, evaluator.trainer.begin(CELL, 0)


def seconds(trainer: Trainer, run: Run) -> float:
    """Seconds of an update, of the two that make an epoch."""
    with trainer.session() as meter:
        start = clock()
        trainer.train(run, run.step + 2, 2000, meter, validate=False)
        return (clock() - start) / 2


def main() -> None:
    """Prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    means: dict[str, dict[str, object]] = {"bf16": {"precision": "bf16"}}
    plain = begun(arguments.batch, arguments.channels)
    first = seconds(*plain)
    for name, settings in means.items():
        other = begun(arguments.batch, arguments.channels, **settings)
        seconds(*other)  # warms up
        pairs = [(seconds(*plain), seconds(*other)) for _ in range(arguments.rounds)]
        ratios = [theirs / ours for ours, theirs in pairs]
        update = statistics.median(ours for ours, _ in pairs)
        ratio = statistics.median(ratios)
        print(
            f"{name}: {ratio:.2f} of an update in float32 ({min(ratios):.2f} to {max(ratios):.2f}); "
            f"that takes {1000 * update:.1f} ms, the first {1000 * first:.0f}"
        )


if __name__ == "__main__":
    main()
