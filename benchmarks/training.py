"""Speed of ``Training``: against a plain PyTorch loop, and on two Ray workers against one.

    python benchmarks/training.py

(a) One thread: the preset ``digits`` (9 epochs, validation after each, test at the end) on three NAS-Bench-201 cells,
by ``Training`` and by a hand-written loop with the same network and settings, in turn; training examples per second of
processor time. (b) Random search with the same 24 trainings on one Ray worker and on two, in turn; architectures per
minute from when the workers are ready.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch.nn import functional

from archsearch import search
from archsearch.controllers import RandomSearch
from archsearch.evaluators import Training
from archsearch.spaces import NASBench201
from archsearch.task import load_task

SPACE = NASBench201()
CELLS = {"ResNet-like (11472)": 11472, "heaviest (3x3 everywhere)": None, "light (skips and poolings)": 0}


def plain_loop(cell: tuple[int, ...], epochs: int = 9, batch: int = 32) -> float:
    """What anyone would write; returns the validation accuracy."""
    task = load_task("digits")
    network = SPACE.network(cell, task, channels=8, cells=1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    images, labels = task.part("train")
    steps = -(-len(labels) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
    accuracy = 0.0
    for _ in range(epochs):
        network.train()
        for chosen in torch.randperm(len(labels)).split(batch):
            loss = functional.cross_entropy(network(images[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        accuracy = validate(network, *task.part("valid"))
    validate(network, *task.part("test"))
    return accuracy


def validate(network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    network.eval()
    with torch.no_grad():
        return float((network(images).argmax(1) == labels).float().mean())


def seconds(run: Callable[..., object], *arguments: object) -> float:
    """Processor time of a call."""
    begun = time.process_time()
    run(*arguments)
    return time.process_time() - begun


def throughput(rounds: int) -> None:
    torch.set_num_threads(1)
    evaluator = Training(preset="digits")
    evaluator.start(SPACE)
    examples = evaluator.recipe.epochs * load_task("digits").size("train")
    print("| cell | Training, examples/s | plain loop, examples/s | ratio, min / median / max |\n|---|---|---|---|")
    for name, index in CELLS.items():
        cell = (3,) * 6 if index is None else SPACE.from_index(index)
        ours, plain = [], []
        for round_ in range(rounds + 1):  # the first warms up
            ours.append(examples / seconds(evaluator.evaluate, cell, round_))
            plain.append(examples / seconds(plain_loop, cell))
        ratios = sorted(a / b for a, b in zip(ours[1:], plain[1:], strict=True))
        print(
            f"| {name} | {statistics.median(ours[1:]):,.0f} | {statistics.median(plain[1:]):,.0f} | "
            f"{ratios[0]:.3f} / **{statistics.median(ratios):.3f}** / {ratios[-1]:.3f} |"
        )


def scaling(rounds: int, trials: int) -> None:
    print("\n| Ray workers | architectures per minute, min / median / max | over one |\n|---|---|---|")
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for workers, found in rates.items():
            training = Training(preset="digits")
            result = search(SPACE, RandomSearch(), training, trials=trials, seed=0, executor="ray", workers=workers)
            found.append(60 * result.completed / result.seconds)
    one = statistics.median(rates[1])
    for workers, found in rates.items():
        found.sort()
        median = statistics.median(found)
        print(f"| {workers} | {found[0]:.1f} / **{median:.1f}** / {found[-1]:.1f} | {median / one:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="repeats of (a)")
    parser.add_argument("--ray-rounds", type=int, default=3, help="repeats of (b); 0 leaves it out")
    parser.add_argument("--trials", type=int, default=24, help="trainings of (b)")
    arguments = parser.parse_args()
    if arguments.rounds:
        throughput(arguments.rounds)
    if arguments.ray_rounds:
        scaling(arguments.ray_rounds, arguments.trials)


if __name__ == "__main__":
    main()
