"""Whether ``Training(compile=True)`` pays: an update with and without, and what compiling costs.

    python benchmarks/compiled.py [--updates 20] [--only digits pictures]

The ResNet-like cell of NASBench201, in the skeleton of the preset ``digits`` (batches of 32 images of 8 x 8) and with
16 channels and a cell a stage on images of 32 x 32 (batches of 64, drawn at random). Updates with and without turn by
turn, medians of processor time on one thread; the first compiled update has the compiling in it, the compiler's own
processes included. The last column says after how many updates compiling has paid for itself; of ``digits`` a training
has 261.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import torch
from torch.nn import functional

from archsearch.evaluators import Training
from archsearch.networks.network import InputShape, build
from archsearch.spaces import NASBench201
from archsearch.training.loop import update
from archsearch.training.optimizer import make_optimizer

CELL = (3, 2, 1, 3, 4, 2)
SIZES = {"digits": (8, 8, 1, 32), "pictures": (16, 32, 3, 64)}
"""Channels, height and width, channels of the images, batch."""


def processor_seconds() -> float:
    """Of this process and those that it has waited for."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in both)


def step_of(name: str, compile_it: bool) -> Callable[[], None]:
    """A function that makes an update."""
    channels, side, planes, batch = SIZES[name]
    space = NASBench201(channels=channels, cells=1)
    network = build(lambda: space.network(CELL, InputShape((planes, side, side), 10)), 0)
    network.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(network, Training().recipe, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, planes, side, side, generator=generator).contiguous(memory_format=torch.channels_last)
    targets = torch.randint(10, (batch,), generator=generator)
    called = torch.compile(network, dynamic=False) if compile_it else network

    def step() -> None:
        for weight in network.parameters():
            weight.grad = None
        loss = functional.cross_entropy(called(images), targets)
        loss.item()
        loss.backward()
        update(optimizer, 0.01)

    return step


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=20, help="that are timed, of each")
    parser.add_argument("--only", nargs="+", choices=list(SIZES), default=list(SIZES))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| images | eager, ms | compiled, ms | eager over compiled | compiling, s | pays after, updates |")
    print("|---|---|---|---|---|---|")
    for name in arguments.only:
        plain, own = step_of(name, False), step_of(name, True)
        plain()
        begun = processor_seconds()
        own()
        compiling = processor_seconds() - begun
        times: dict[Callable[[], None], list[float]] = {plain: [], own: []}
        for _ in range(arguments.updates):
            for step, taken in times.items():
                begun = time.process_time()
                step()
                taken.append(time.process_time() - begun)
        eager, compiled = statistics.median(times[plain][2:]), statistics.median(times[own][2:])
        gain = eager - compiled
        pays = f"{compiling / gain:,.0f}" if gain > 0 else "never"
        print(
            f"| {name} | {1e3 * eager:.2f} | {1e3 * compiled:.2f} | {eager / compiled:.2f} | {compiling:.0f} "
            f"| {pays} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
