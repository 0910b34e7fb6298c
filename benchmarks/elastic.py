"""Elastic super-networks: what a step costs beside the sampled network alone, and what a search with one finds.

    python benchmarks/elastic.py steps
    python benchmarks/elastic.py search

steps: updates (forward, backward, SGD with momentum) of the same architectures, alone and as parts of the
super-network, in turn; milliseconds of processor time, and the ratio. search: under a limit on multiply-adds, a
super-network, evolution and extraction, beside random search with individual training that has cost as many processor
seconds; test accuracy of what each found, on digits.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from archsearch import search
from archsearch.bridges.export import export
from archsearch.bridges.load_network import load_network
from archsearch.controllers import ElitistEvolution, RandomSearch
from archsearch.evaluators import OneShot, Training
from archsearch.spaces import Marked, OnceForAll
from archsearch.task import load_task
from archsearch.trial import Architecture

STEPS = 10
EXAMPLES = Path(__file__).parents[1] / "examples"
WIDE = (
    (24, 1, "relu", False),
    (40, 2, "relu", True),
    (80, 2, "hard_swish", False),
)
"""Units as wide as the published ones, for 32 x 32 images."""

SEARCHED = OnceForAll([(8, 2, "relu", False), (16, 1, "hard_swish", True)], depths=(1, 2, 3), resolutions=(6, 8))
LIMITS = {"flops": 200e3}


def example(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def steps(evaluator: Training, architecture: Architecture, shared: bool) -> float:
    """Processor seconds of an update, the first ones not counted."""
    run = evaluator.trainer.begin(None if shared else architecture, 0)
    with evaluator.trainer.session() as meter:
        evaluator.trainer.train(run, 3, 1_000, meter, paths=lambda _: [architecture], validate=False)
        begun = time.process_time()
        evaluator.trainer.train(run, 3 + STEPS, 1_000, meter, paths=lambda _: [architecture], validate=False)
        return (time.process_time() - begun) / STEPS


def step_table(rounds: int, n: int, only: str) -> None:
    spaces = {
        "OnceForAll()": OnceForAll(),
        "OnceForAll(transform=False)": OnceForAll(transform=False),
        "OnceForAll(wide)": OnceForAll(WIDE, head_channels=(480, 640)),
        "OnceForAll(wide, transform=False)": OnceForAll(WIDE, transform=False, head_channels=(480, 640)),
        "ElasticViT()": example("19_elastic_vit").ElasticViT(),
        "Marked(ResNet)": Marked(example("24_own_network").ResNet),
        "Marked(marked transformer)": Marked(example("25_own_transformer").marked),
    }
    print("| space | alone, ms a step | as a part, ms a step | ratio, min / median / max |\n|---|---|---|---|")
    for name, space in spaces.items():
        if only not in name:
            continue
        evaluator = Training("digits", batch_size=64, learning_rate=0.01)
        evaluator.start(space)
        rng = np.random.default_rng(1)
        ratios, alone, shared = [], [], []
        for architecture in [space.sample(rng) for _ in range(n)]:
            evaluator.trainer.size(architecture)
            evaluator.trainer.size(None)
            for _ in range(rounds):
                alone.append(steps(evaluator, architecture, False))
                shared.append(steps(evaluator, architecture, True))
                ratios.append(shared[-1] / alone[-1])
        ratios.sort()
        print(
            f"| `{name}` | {1e3 * statistics.median(alone):.1f} | {1e3 * statistics.median(shared):.1f} "
            f"| {ratios[0]:.3f} / **{statistics.median(ratios):.3f}** / {ratios[-1]:.3f} |",
            flush=True,
        )


def search_table(seeds: Sequence[int], epochs: int, trials: int) -> None:
    print(
        "| seed | extracted: valid, test | its multiply-adds | cost, s | individual: valid, test | networks | cost, s |"
    )
    print("|---|---|---|---|---|---|---|")
    differences = []
    for seed in seeds:
        evaluator = OneShot(
            Training("digits"), epochs=epochs, sampler="sandwich", random_paths=2, distillation=0.5, seed=seed
        )
        evolution = ElitistEvolution(population_size=15, parents=5, mutations=5, crossovers=5)
        with tempfile.TemporaryDirectory() as folder:
            ours = search(SEARCHED, evolution, evaluator, trials=trials, limits=LIMITS, seed=seed, out=f"{folder}/r")
            (path,) = export(f"{folder}/r")
            network = load_network(path)
        images, labels = load_task("digits").part("test", torch.device("cpu"))
        with torch.no_grad():
            extracted = 100 * float((network(images).argmax(1) == labels).double().mean())
        spent = ours.setup_cost.device_seconds + ours.cost.device_seconds
        theirs = search(
            SEARCHED, RandomSearch(), Training("digits"), max_cost=spent, limits=LIMITS, seed=seed, duplicates="reuse"
        )
        individual = theirs.best.metrics["test_accuracy"]
        differences.append(extracted - individual)
        print(
            f"| {seed} | {ours.best.score:.1f}, {extracted:.1f} | {ours.best.metrics['flops']:,.0f} | {spent:.0f} "
            f"| {theirs.best.score:.1f}, {individual:.1f} | {theirs.completed} | {theirs.cost.device_seconds:.0f} |",
            flush=True,
        )
    mean = statistics.mean(differences)
    error = statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else float("nan")
    print(f"\nextracted minus individual, test: {mean:+.2f} +- {error:.2f} (standard error over the seeds)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("steps", "search"))
    parser.add_argument("--rounds", type=int, default=4, help="of steps: repeats for each architecture")
    parser.add_argument("--architectures", type=int, default=3, help="of steps")
    parser.add_argument("--only", default="", help="of steps: spaces with this in their names")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2, 3, 4], help="of search")
    parser.add_argument("--epochs", type=int, default=12, help="of search: of the super-network")
    parser.add_argument("--trials", type=int, default=30, help="of search: of evolution")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.what == "steps":
        step_table(options.rounds, options.architectures, options.only)
    else:
        search_table(options.seeds, options.epochs, options.trials)


if __name__ == "__main__":
    main()
