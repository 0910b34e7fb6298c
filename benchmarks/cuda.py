"""Training, super-networks and zero-cost scores on a CUDA device against the processor, in the same run.

    python benchmarks/cuda.py

(a) An epoch of NAS-Bench-201's ResNet-like cell in the paper's skeleton (16 channels, 5 cells a stage, batches of 256)
on images of CIFAR's shape, made from random prototypes; training examples per second. (b) The preset ``digits``: scores
of five cells on both devices, and twice on the CUDA device from the same seed, which must be equal. (c) A super-network
of the same skeleton as (a): milliseconds per update, and per architecture scored. (d) Zero-cost scores at that
skeleton: milliseconds per architecture. Without a CUDA device it says so and ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from archsearch.evaluators import OneShot, Training, ZeroCost
from archsearch.spaces import NASBench201
from archsearch.task import ImageTask
from archsearch.trial import Query

SPACE = NASBench201()
RESNET_LIKE = SPACE.from_index(11472)
SKELETON = {"channels": 16, "cells": 5}


def images(n: int) -> ImageTask:
    """Ten prototypes in noise, of CIFAR's shape."""
    rng = np.random.default_rng(0)
    prototypes = rng.normal(size=(10, 3, 32, 32))

    def part(size: int) -> tuple[np.ndarray, np.ndarray]:
        labels = rng.integers(10, size=size)
        return (prototypes[labels] + 2 * rng.normal(size=(size, 3, 32, 32))).astype(np.float32), labels

    return ImageTask(part(n), part(512), part(512), name="prototypes")


def seconds(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def started(evaluator: Training | OneShot | ZeroCost) -> Training | OneShot | ZeroCost:
    evaluator.start(SPACE)
    return evaluator


def main() -> None:
    if not torch.cuda.is_available():
        print("there is no CUDA device here: nothing to compare")
        return
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, {torch.get_num_threads()} processor threads\n")
    rates = {}
    for device, n in (("cpu", 1_024), ("cuda", 12_800)):
        evaluator = started(Training(images(n), epochs=1, batch_size=256, skeleton=SKELETON, device=device, threads=8))
        evaluator.evaluate(RESNET_LIKE, 0)  # the first one compiles, allocates and copies the images
        rates[device] = n / seconds(lambda evaluator=evaluator: evaluator.evaluate(RESNET_LIKE, 1))
    print(f"(a) examples/s: cpu {rates['cpu']:,.0f}, cuda {rates['cuda']:,.0f} ({rates['cuda'] / rates['cpu']:.1f}x)")

    rng = np.random.default_rng(0)
    cells = [SPACE.sample(rng) for _ in range(5)]
    cpu, first, second = (
        [started(Training(device=device)).evaluate(cell, 3).score for cell in cells]
        for device in ("cpu", "cuda", "cuda")
    )
    rounded = [[round(score, 2) for score in scores] for scores in (cpu, first)]
    print(f"(b) digits: cpu {rounded[0]}, cuda {rounded[1]}; equal seeds on cuda give equal scores: {first == second}")

    for device, n in (("cpu", 1_024), ("cuda", 12_800)):
        training = Training(images(n), epochs=1, batch_size=256, skeleton=SKELETON, device=device, threads=8)
        evaluator = started(OneShot(training, epochs=2))
        spent = seconds(evaluator.prepare)
        queries = [Query(i, cell, 0) for i, cell in enumerate(cells)]
        evaluator.evaluate_query(queries[0])
        scoring = seconds(lambda evaluator=evaluator, queries=queries: evaluator.evaluate_batch(queries)) / len(queries)
        updates = 2 * -(-n // 256)
        print(
            f"(c) super-network on {device}: {1e3 * spent / updates:.1f} ms an update, {1e3 * scoring:.1f} ms a score"
        )

    for score in ("synflow", "naswot", "snip", "jacob_cov"):
        line = []
        for device in ("cpu", "cuda"):
            training = Training(images(1_024), skeleton=SKELETON, device=device, threads=8)
            evaluator = started(ZeroCost(score, training))
            evaluator.evaluate(cells[0], 0)
            each = seconds(lambda evaluator=evaluator: [evaluator.evaluate(cell, 0) for cell in cells]) / len(cells)
            line.append(f"{device} {1e3 * each:.1f} ms")
        print(f"(d) {score}: {', '.join(line)}")


if __name__ == "__main__":
    main()
