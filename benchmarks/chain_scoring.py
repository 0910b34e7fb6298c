"""What sharing common beginnings saves in one-shot scoring: ``score_chains`` against plain forward passes, on digits.

    python benchmarks/chain_scoring.py

Both score the same candidates through the same super-network (8 channels, initial weights, which the time does not
depend on) on the validation images, with batch-norm statistics recomputed from 4 training batches; one thread,
processor time, in turn. One by one: the resident super-network is called with each candidate, and only the batch
normalisations on its path are touched; nothing is built or copied. Candidates: ``random``, drawn uniformly;
``evolved``, the last distinct proposals of ``RegularizedEvolution(100, 25)`` after 600, each told at once a fake score,
the sum of normal random numbers, one for each option of each layer.

"Computed" is what sharing leaves to compute, as a share of one by one. Time may fall further: the statistics' small
batches are taken together, and the early layers, which are shared most, take more time than their multiply-adds say.
Losses must agree to 1e-5, and the numbers of right answers exactly.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from archsearch.basics.seeding import stream
from archsearch.chain.network import ChainNetwork
from archsearch.controllers import RegularizedEvolution
from archsearch.evaluators.chain_scoring import ChainScores, score_chains
from archsearch.networks.multiply_adds import multiply_adds
from archsearch.networks.network import build
from archsearch.spaces import MobileNet, NASBenchMacro
from archsearch.task import load_task
from archsearch.training.trainer import EVALUATION_BATCH
from archsearch.trial import Architecture, Evaluation, Trial

TASK = load_task("digits")
IMAGES, LABELS = TASK.part("valid")
BATCHES = list(torch.tensor_split(TASK.part("train")[0], 29)[:4])  # of 31 images, as Training divides them
PASSES = len(IMAGES) + sum(map(len, BATCHES))


def random_candidates(space: MobileNet, n: int) -> list[Architecture]:
    rng = stream(0, "candidates")
    return [space.sample(rng) for _ in range(n)]


def evolved_candidates(space: MobileNet, n: int, proposals: int = 600) -> list[Architecture]:
    rng = stream(0, "fake score")
    worth = [rng.normal(size=arity).tolist() for arity in space.arities or ()]
    controller = RegularizedEvolution(100, 25)
    controller.start(space, 0)
    latest: dict[Architecture, None] = {}
    for _ in range(proposals):
        (proposal,) = controller.ask()
        score = sum(values[option] for values, option in zip(worth, proposal.architecture, strict=True))
        controller.tell([Trial(proposal.id, proposal.architecture, proposal.parent, Evaluation(score))])
        latest.pop(proposal.architecture, None)
        latest[proposal.architecture] = None
    return list(latest)[-n:]


def batch_norms(*modules: nn.Module) -> list[nn.BatchNorm2d]:
    return [layer for module in modules for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]


def one_by_one(network: ChainNetwork, candidates: Sequence[Architecture], mode: str) -> list[tuple[int, float]]:
    ends, scores = batch_norms(network.first, network.last), []
    options = [
        [batch_norms(choice[name]) for name in layer.options]
        for choice, layer in zip(network.layers, network.specification, strict=True)
    ]
    network.eval()
    with torch.inference_mode():
        for candidate in candidates:
            on_path = [*ends, *itertools.chain(*(layers[k] for layers, k in zip(options, candidate, strict=True)))]
            for layer in on_path:
                layer.training = mode != "inherited"
            if mode == "recomputed":
                for layer in on_path:
                    layer.reset_running_stats()
                    layer.momentum = None
                for batch in BATCHES:
                    network(batch, candidate)
                for layer in on_path:
                    layer.training = False
            right, loss = 0, 0.0
            for images, labels in zip(IMAGES.split(EVALUATION_BATCH), LABELS.split(EVALUATION_BATCH), strict=True):
                logits = network(images, candidate)
                right += int((logits.argmax(1) == labels).sum())
                loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
            scores.append((right, loss))
    return scores


def shared(network: ChainNetwork, candidates: Sequence[Architecture], mode: str) -> ChainScores:
    return score_chains(network, candidates, IMAGES, LABELS, mode, BATCHES, EVALUATION_BATCH)  # type: ignore[arg-type]


def compare(space: MobileNet, candidates: Sequence[Architecture], mode: str, rounds: int) -> str:
    """The rest of a row of the table."""
    network = build(lambda: space.super_network(TASK, channels=8), 0).to(memory_format=torch.channels_last)
    shape, passes = TASK.input_shape, PASSES if mode == "recomputed" else len(IMAGES)
    apart = passes * sum(multiply_adds(network, shape, candidate) for candidate in candidates)
    few = candidates[:5]
    one_by_one(network, few, mode)
    shared(network, few, mode)
    slow, fast, ratios = [], [], []
    for _ in range(rounds):
        begun = time.process_time()
        expected = one_by_one(network, candidates, mode)
        middle = time.process_time()
        found = shared(network, candidates, mode)
        slow.append(middle - begun)
        fast.append(time.process_time() - middle)
        ratios.append(slow[-1] / fast[-1])
        for (right, loss), (right_apart, loss_apart) in zip(found.scores, expected, strict=True):
            if right != right_apart or abs(loss - loss_apart) > 1e-5 * len(LABELS):
                raise SystemExit(f"results differ: {right}, {loss} and {right_apart}, {loss_apart}")
    layers = sum(n for piece, n in found.computed.items() if not isinstance(piece, str))
    cells = (
        f"{len(candidates)}",
        f"{1000 * statistics.median(slow) / len(candidates):.1f} ms",
        f"{1000 * statistics.median(fast) / len(candidates):.1f} ms",
        f"{min(ratios):.2f} / {statistics.median(ratios):.2f} / {max(ratios):.2f}",
        f"{layers / (passes * len(candidates) * len(space.layers)):.2f}",
        f"{found.multiply_adds / apart:.2f}",
    )
    return " | ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--statistics", nargs="+", default=["recomputed"], choices=["recomputed", "batch", "inherited"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{len(IMAGES)} images, statistics from {[len(batch) for batch in BATCHES]}, {arguments.rounds} rounds\n")
    columns = (
        *("space", "candidates", "statistics", "number", "one by one, each", "shared, each"),
        *("times as fast: min / median / max", "layers computed", "multiply-adds computed"),
    )
    print(f"| {' | '.join(columns)} |")
    print("|---|---|---|---|---|---|---|---|---|")
    for space in (NASBenchMacro(), MobileNet()):
        for make in (random_candidates, evolved_candidates):
            candidates = make(space, arguments.candidates)
            for mode in arguments.statistics:
                row = compare(space, candidates, mode, arguments.rounds)
                name = make.__name__.removesuffix("_candidates")
                print(f"| {type(space).__name__} | {name} | {mode} | {row} |", flush=True)


if __name__ == "__main__":
    main()
