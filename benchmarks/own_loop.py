"""What the adapter around a user's training loop costs: a plain loop, and the same loop as a ``Function``, in turns.

python benchmarks/own_loop.py

Of each pair the ratio of processor time is taken: their median, the smallest and the largest; and, since other programs
disturb both, the ratio of the shortest times. ``epochs`` yields after each epoch and keeps model, optimiser and
generator; ``steps`` reports after every update; in both a checkpoint is written where the training ends.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from archsearch.evaluators import Function
from archsearch.evaluators.progress import Progress
from archsearch.spaces import Choices
from archsearch.trial import Budget, Query

WIDTH, BATCH, IMAGES, EPOCHS = 64, 64, 4096, 12
SPACE = Choices({"width": [WIDTH, 2 * WIDTH]})
EVERYTHING = torch.rand(IMAGES, 256), torch.randint(10, (IMAGES,))


def parts(seed: int) -> tuple[nn.Module, torch.optim.Optimizer, torch.Generator]:
    """A model of two layers, its optimiser, and the generator of the order."""
    model = nn.Sequential(nn.Linear(256, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10))
    return model, torch.optim.AdamW(model.parameters()), torch.Generator().manual_seed(seed)


def updates(model: nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator) -> Iterator[float]:
    """One epoch; gives the loss after each update."""
    inputs, targets = EVERYTHING
    for numbers in torch.randperm(IMAGES, generator=generator).split(BATCH):
        loss = functional.cross_entropy(model(inputs[numbers]), targets[numbers])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item()


def plain(seed: int) -> float:
    """The loop without an adapter."""
    model, optimizer, generator = parts(seed)
    for _ in range(EPOCHS):
        for loss in updates(model, optimizer, generator):
            last = loss
    return last


def epochs(_values: dict[str, int], progress: Progress) -> Iterator[float]:
    """Yields after each epoch."""
    model, optimizer, generator = parts(progress.seed)
    progress.keep(model=model, optimizer=optimizer, generator=generator)
    for _ in range(progress.done, EPOCHS):
        for loss in updates(model, optimizer, generator):
            last = loss
        yield last


def steps(_values: dict[str, int], progress: Progress) -> None:
    """Reports after every update; it can go on at the beginning of an epoch."""
    model, optimizer, generator = parts(progress.seed)
    progress.keep(model=model, optimizer=optimizer, generator=generator)
    step = progress.done
    for _ in range(EPOCHS):
        for loss in updates(model, optimizer, generator):
            step += 1
            progress.report(step, loss)


LENGTHS: dict[Callable[..., object], int] = {epochs: EPOCHS, steps: EPOCHS * IMAGES // BATCH}


def seconds(call: Callable[[], object]) -> float:
    """Processor time of a call."""
    begun = time.process_time()
    call()
    return time.process_time() - begun


def measured(evaluator: Function, length: int, pairs: int) -> list[tuple[float, float]]:
    """Seconds of the plain loop and of the adapted one, pair by pair."""
    found = []
    for pair in range(pairs + 1):
        query = Query(pair, (0,), pair, budget=Budget(length))
        calls = [functools.partial(plain, pair), functools.partial(evaluator.evaluate_query, query)]
        taken = {i: seconds(calls[i]) for i in ((0, 1) if pair % 2 else (1, 0))}
        found.append((taken[0], taken[1]))
    return found[1:]  # the first warms up


def main() -> None:
    """Prints a line for each way to report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for function, length in LENGTHS.items():
        evaluator = Function(function)
        evaluator.start(SPACE)
        with tempfile.TemporaryDirectory() as folder:
            evaluator.folder = Path(folder)
            pairs = measured(evaluator, length, arguments.pairs)
        ratios = [ours / theirs for theirs, ours in pairs]
        shortest = [min(each) for each in zip(*pairs, strict=True)]
        print(
            f"{function.__name__}: {length} reports, adapter / plain {statistics.median(ratios):.4f} "
            f"({min(ratios):.4f} to {max(ratios):.4f}), of the shortest {shortest[1] / shortest[0]:.4f}; "
            f"plain {shortest[0]:.3f} s, {1000 * shortest[0] / LENGTHS[steps]:.2f} ms an update"
        )


if __name__ == "__main__":
    main()
