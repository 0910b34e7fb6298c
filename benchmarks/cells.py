"""How fast spaces of cells are, and what a path of a super-network costs beside its stand-alone network.

    python benchmarks/cells.py

(a) Architectures a second on one core: drawn, mutated, brought to their canonical form. (b) Updates of one architecture
(forward, backward, SGD with momentum), alone and as a path of the super-network, in turn; milliseconds of processor
time, and the ratio.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time

import numpy as np
import torch

from archsearch.evaluators import Training
from archsearch.spaces import DARTS, PNAS, AmoebaNet, ENASMicro, NASNet
from archsearch.trial import Architecture

SPACES = {space.__name__: space() for space in (NASNet, PNAS, AmoebaNet, ENASMicro, DARTS)}
STEPS = 20


def speeds(n: int) -> None:
    print("| space | drawn | drawn in batches | mutated | canonical |\n|---|---|---|---|---|")
    for name, space in SPACES.items():
        rng = np.random.default_rng(0)
        drawn = [space.sample(rng) for _ in range(1000)]
        rates = [
            rate(lambda _, s=space, r=rng: s.sample(r), n),
            1000 * rate(lambda _, s=space, r=rng: s.sample_batch(r, 1000), max(1, n // 100)),
            rate(lambda i, s=space, r=rng, d=drawn: s.mutate(d[i % 1000], r), n),
            rate(lambda i, s=space, d=drawn: s.canonical(d[i % 1000]), max(1, n // 10)),
        ]
        print(f"| {name} | {' | '.join(f'{each:,.0f}' for each in rates)} |", flush=True)


def rate(act, n: int) -> float:
    begun = time.process_time()
    for i in range(n):
        act(i)
    return n / (time.process_time() - begun)


def step_ratio(name: str, rounds: int, architectures: int) -> None:
    space = SPACES[name]
    evaluator = Training(skeleton={"channels": 32, "layers": 5}, batch_size=64)
    evaluator.start(space)
    rng = np.random.default_rng(1)
    alone, shared = [], []
    for architecture in [space.sample(rng) for _ in range(architectures)]:
        act = functools.partial(updates, evaluator, architecture)
        for _ in range(rounds):
            alone.append(act(False))
            shared.append(act(True))
    ratios = sorted(two / one for one, two in zip(alone, shared, strict=True))
    print(
        f"| {name} | {1e3 * statistics.median(alone):.1f} | {1e3 * statistics.median(shared):.1f} | "
        f"{ratios[0]:.3f} / **{statistics.median(ratios):.3f}** / {ratios[-1]:.3f} |",
        flush=True,
    )


def updates(evaluator: Training, architecture: Architecture, shared: bool) -> float:
    """Processor seconds of an update, the first ones not counted."""
    run = evaluator.trainer.begin(None if shared else architecture, 0)
    with evaluator.trainer.session() as meter:
        evaluator.trainer.train(run, 2, 1_000, meter, paths=lambda _: [architecture], validate=False)
        begun = time.process_time()
        evaluator.trainer.train(run, 2 + STEPS, 1_000, meter, paths=lambda _: [architecture], validate=False)
        return (time.process_time() - begun) / STEPS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=50_000, help="architectures to draw")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--architectures", type=int, default=2)
    parser.add_argument("--spaces", nargs="*", default=["NASNet"], choices=list(SPACES), help="for (b)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    speeds(options.n)
    print("\n| space | alone, ms a step | as a path, ms a step | ratio, min / median / max |\n|---|---|---|---|")
    for name in options.spaces:
        step_ratio(name, options.rounds, options.architectures)


if __name__ == "__main__":
    main()
