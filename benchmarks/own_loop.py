"""What the adapter around a user's training loop costs: a plain loop, and the same loop as a ``Function``, in turns.

python benchmarks/own_loop.py

Two figures, both of processor time in one run. ``alone``: the adapter around a loop that does all but train (it makes
the model, keeps it, reports as often, and is checkpointed), less that loop without an adapter, over the plain loop that
trains. ``pairs``: the adapted loop over the plain one, in turns; on a machine with other work these scatter by 10 %.
``epochs`` yields after each epoch; ``steps`` reports after every update; a checkpoint is written where each ends.
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
UPDATES = IMAGES // BATCH
SPACE = Choices({"width": [WIDTH, 2 * WIDTH]})
EVERYTHING = torch.rand(IMAGES, 256), torch.randint(10, (IMAGES,))


def parts(seed: int) -> tuple[nn.Module, torch.optim.Optimizer, torch.Generator]:
    """A model of two layers, its optimiser, which has made an update, and the generator of the order."""
    model = nn.Sequential(nn.Linear(256, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10))
    optimizer, generator = torch.optim.AdamW(model.parameters()), torch.Generator().manual_seed(seed)
    update(model, optimizer, torch.arange(BATCH))
    return model, optimizer, generator


def update(model: nn.Module, optimizer: torch.optim.Optimizer, numbers: torch.Tensor) -> float:
    """One update; gives the loss."""
    inputs, targets = EVERYTHING
    loss = functional.cross_entropy(model(inputs[numbers]), targets[numbers])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def losses(seed: int, trains: bool, progress: Progress | None = None) -> Iterator[float]:
    """The loss after each update of the loop; 1 where it does not train."""
    model, optimizer, generator = parts(seed)
    if progress is not None:
        progress.keep(model=model, optimizer=optimizer, generator=generator)
    for _ in range(EPOCHS):
        for numbers in torch.randperm(IMAGES, generator=generator).split(BATCH):
            yield update(model, optimizer, numbers) if trains else 1.0


def plain(seed: int, trains: bool) -> float:
    """The loop without an adapter."""
    for loss in losses(seed, trains):
        last = loss
    return last


def epochs(_values: dict[str, int], progress: Progress, trains: bool = True) -> Iterator[float]:
    """Yields after each epoch."""
    for i, loss in enumerate(losses(progress.seed, trains, progress), 1):
        if i % UPDATES == 0:
            yield loss


def steps(_values: dict[str, int], progress: Progress, trains: bool = True) -> None:
    """Reports after every update."""
    for i, loss in enumerate(losses(progress.seed, trains, progress), 1):
        progress.report(i, loss)


LENGTHS: dict[Callable[..., object], int] = {epochs: EPOCHS, steps: EPOCHS * UPDATES}


def seconds(call: Callable[[], object]) -> float:
    """Processor time of a call."""
    begun = time.process_time()
    call()
    return time.process_time() - begun


def measured(function: Callable[..., object], pairs: int, trains: bool) -> list[tuple[float, float]]:
    """Seconds of the loop without and with the adapter, pair by pair."""
    evaluator = Function(functools.partial(function, trains=trains))
    evaluator.start(SPACE)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        evaluator.folder = Path(folder)
        for pair in range(pairs + 1):
            query = Query(pair, (0,), pair, budget=Budget(LENGTHS[function]))
            calls = [functools.partial(plain, pair, trains), functools.partial(evaluator.evaluate_query, query)]
            taken = {i: seconds(calls[i]) for i in ((0, 1) if pair % 2 else (1, 0))}
            found.append((taken[0], taken[1]))
    return found[1:]  # the first warms up


def main() -> None:
    """Prints a line for each way to report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for function, length in LENGTHS.items():
        pairs = measured(function, arguments.pairs, trains=True)
        ratios = [ours / theirs for theirs, ours in pairs]
        loop = statistics.median(theirs for theirs, _ in pairs)
        adapter = statistics.median(ours - theirs for theirs, ours in measured(function, 20, trains=False))
        print(
            f"{function.__name__}: {length} reports; alone {100 * adapter / loop:.2f} % ({1000 * adapter:.1f} ms of "
            f"{loop:.3f} s, {1000 * loop / LENGTHS[steps]:.2f} ms an update); pairs {statistics.median(ratios):.3f} "
            f"({min(ratios):.3f} to {max(ratios):.3f})"
        )


if __name__ == "__main__":
    main()
