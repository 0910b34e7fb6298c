"""Search by gradient: what a step costs, and what the presets derive.

    python benchmarks/differentiable.py steps
    python benchmarks/differentiable.py presets --work gradient --seeds 5

steps: one thread, processor seconds, in turn in one run. A pair of updates (weights, architecture parameters) of
first-order DARTS beside a loop written by hand with the same network, images and optimisers; an update of the weights
in GDAS beside an update of the same drawn path; pairs of PC-DARTS, and of second-order DARTS, beside first-order DARTS.

presets: what they derive on NASBench201 x digits, by the table ``digits201``, beside random search and ``OneShot`` at
the same bill; ``derived_cells.py`` says how, and which runs are counted as gone wrong.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from derived_cells import PRESETS, preset_table
from torch.nn import functional

from archsearch.differentiable.optimisations import FirstOrder, Optimisation, SecondOrder
from archsearch.differentiable.relaxations import Gumbel, PartialChannels, Relaxation, Softmax
from archsearch.evaluators import Differentiable, Training
from archsearch.space import Space
from archsearch.spaces import DARTS, NASBench201
from archsearch.training.loop import Batch, Run, supervised
from archsearch.training.meter import Meter
from archsearch.trial import Architecture

# -- steps -------------------------------------------------------------------------------------

SPACES: dict[str, tuple[Space, dict[str, int]]] = {
    "NASBench201": (NASBench201(), {"channels": 16, "cells": 2}),
    "DARTS": (DARTS(), {"channels": 16, "layers": 4}),
    "NASBench201, 64 channels": (NASBench201(), {"channels": 64, "cells": 1}),
}
RATE = 0.025
SETTINGS: dict[str, Any] = {"learning_rate": RATE, "nesterov": False, "weight_decay": 3e-4, "clip_norm": 5.0}
"""Of the weights, as the presets have them."""


class Steps:
    """A search that has not begun, whose pairs of updates can be timed.

    Args:
        name: Of a space.
        relaxation: Of the method.
        optimisation: Of the method.
    """

    def __init__(self, name: str, relaxation: Relaxation, optimisation: Optimisation) -> None:
        space, skeleton = SPACES[name]
        training = Training("digits", batch_size=64, skeleton=skeleton, **SETTINGS)
        self.evaluator = Differentiable(training, epochs=50, relaxation=relaxation, optimisation=optimisation)
        self.evaluator.start(space)
        self.shared = self.evaluator._shared
        self.trainer = self.evaluator.trainer
        self.shared._fresh()
        run = self.shared._run
        assert run is not None
        self.run: Run = run
        self.run.network.train()
        own, held_out = self.shared._parts
        assert held_out is not None
        self.own, self.held_out = self.batches(own), self.batches(held_out)

    def batches(self, chosen: torch.Tensor) -> Iterator[Batch]:
        """Batches without end."""
        while True:
            yield from self.trainer.epoch(self.run, chosen)

    def pairs(self, meter: Meter, n: int) -> float:
        """Processor seconds of ``n`` updates of both."""
        step = self.shared._searching(self.run, meter, self.held_out, lambda _: RATE)
        begun = time.process_time()
        for _ in range(n):
            step(self.run, next(self.own), 0.0)
            self.run.step += 1
        return time.process_time() - begun


class ByHand:
    """First-order DARTS as one would write it, with the network of another search.

    Args:
        like: Its network, images and optimisers are copied.
    """

    def __init__(self, like: Steps) -> None:
        self.network: Any = copy.deepcopy(like.run.network)
        assert like.shared._parameters is not None
        sizes = like.shared._parameters.sizes
        self.alphas = [(1e-3 * torch.randn(n)).requires_grad_() for n in sizes]
        self.weights = list(self.network.parameters())
        self.optimizer = torch.optim.SGD(self.weights, RATE, momentum=0.9, weight_decay=3e-4, fused=True)
        self.architecture = torch.optim.Adam(self.alphas, 3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
        self.images, self.labels = like.trainer.data.part("train")
        own, held_out = like.shared._parts
        assert held_out is not None
        parts = [torch.tensor_split(part, like.shared._updates_per_epoch) for part in (own, held_out)]
        self.own, self.held_out = map(itertools.cycle, parts)  # as large as those that the search is dealt

    def loss(self, batch: torch.Tensor, alphas: Sequence[torch.Tensor]) -> torch.Tensor:
        """Of a pass with all candidates."""
        weights = [dict(enumerate(torch.softmax(alpha, 0))) for alpha in alphas]
        return functional.cross_entropy(self.network.relaxed(self.images[batch], weights), self.labels[batch])

    def pairs(self, n: int) -> float:
        """Processor seconds of ``n`` updates of both."""
        begun = time.process_time()
        for _ in range(n):
            found = torch.autograd.grad(self.loss(next(self.held_out), self.alphas), self.alphas)
            for alpha, gradient in zip(self.alphas, found, strict=True):
                alpha.grad = gradient
            self.architecture.step()
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.loss(next(self.own), [alpha.detach() for alpha in self.alphas])
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.weights, 5.0)
            self.optimizer.step()
            loss.item()
        return time.process_time() - begun


class Noted(Gumbel):
    """GDAS's relaxation, which notes what it drew."""

    drawn: Architecture = ()

    def weights(self, parameters: Any, now: Any) -> Any:
        """See ``Relaxation``."""
        found = super().weights(parameters, now)
        self.drawn = tuple(next(iter(some)) for some in found)
        return found


def in_turn(first: Callable[[], float], second: Callable[[], float], rounds: int) -> list[tuple[float, float]]:
    """Seconds of both, round by round, the first round not counted; who begins alternates."""
    found = []
    for i in range(rounds + 1):
        pair = (first(), second()) if i % 2 else (second(), first())[::-1]
        found.append(pair)
    return found[1:]


def gdas_and_path(name: str, updates: int, rounds: int) -> list[tuple[float, float]]:
    """Updates of the weights in GDAS, and of the paths that they drew."""
    relaxation = Noted(hard=True)
    searched = Steps(name, relaxation, FirstOrder())
    beside = Steps(name, Gumbel(hard=True), FirstOrder())
    with searched.trainer.session() as meter:
        step = searched.shared._searching(searched.run, meter, searched.held_out, lambda _: RATE)
        assert searched.shared._costs is not None
        _ = searched.shared._costs.candidates  # counted once in a search
        path = supervised(beside.trainer.recipe, meter, lambda _: RATE, 1, lambda _: [relaxation.drawn])
        found = []
        for _ in range(rounds + 1):
            totals = [0.0, 0.0]
            for _ in range(updates):
                batch = next(searched.own)
                begun = time.process_time()
                step.train_weights(batch)
                between = time.process_time()
                path(beside.run, batch, 0.0)
                totals[0] += between - begun
                totals[1] += time.process_time() - between
            found.append((totals[0], totals[1]))
    return found[1:]


def first_against(other: Steps, name: str, n: int, rounds: int) -> list[tuple[float, float]]:
    """Pairs of another method, and of first-order DARTS."""
    darts = Steps(name, Softmax(), FirstOrder())
    with darts.trainer.session() as meter:
        return in_turn(lambda: other.pairs(meter, n), lambda: darts.pairs(meter, n), rounds)


def by_hand(name: str, n: int, rounds: int) -> list[tuple[float, float]]:
    """Pairs of first-order DARTS, and of the loop written by hand."""
    darts = Steps(name, Softmax(), FirstOrder())
    hand = ByHand(darts)
    with darts.trainer.session() as meter:
        return in_turn(lambda: darts.pairs(meter, n), lambda: hand.pairs(n), rounds)


def step_table(rounds: int, n: int) -> None:
    """Prints the table of (1)."""
    print("| what, against what | space | ms | ms | ratio, min / median / max | target |\n|---|---|---|---|---|---|")

    def row(what: str, name: str, found: Sequence[tuple[float, float]], updates: int, target: str) -> None:
        ratios = sorted(first / second for first, second in found)
        each = (1e3 / updates * statistics.median(column) for column in zip(*found, strict=True))
        times = " | ".join(f"{milliseconds:.1f}" for milliseconds in each)
        spread = f"{ratios[0]:.3f} / **{statistics.median(ratios):.3f}** / {ratios[-1]:.3f}"
        print(f"| {what} | {name} | {times} | {spread} | {target} |", flush=True)

    small, name = max(1, n // 4), "NASBench201"
    row("first-order DARTS, loop by hand", name, by_hand(name, n, rounds), n, "1.05")
    row("GDAS update of weights, of the same path", name, gdas_and_path(name, 4 * n, rounds), 4 * n, "1.3")
    partial = Steps(name, PartialChannels(4), FirstOrder())
    row("PC-DARTS, first-order DARTS", name, first_against(partial, name, n, rounds), n, "0.5")
    second = Steps(name, Softmax(), SecondOrder())
    row("second order, first order", name, first_against(second, name, small, rounds), small, "")
    name = "DARTS"
    row("first-order DARTS, loop by hand", name, by_hand(name, small, rounds), small, "1.05")
    for name in ("DARTS", "NASBench201, 64 channels"):
        partial = Steps(name, PartialChannels(4), FirstOrder())
        row("PC-DARTS, first-order DARTS", name, first_against(partial, name, small, rounds), small, "0.5")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    steps = commands.add_parser("steps", help="what a step costs")
    steps.add_argument("--rounds", type=int, default=5, help="of each comparison, the first one not counted")
    steps.add_argument("--pairs", type=int, default=8, help="of updates in a round")
    presets = commands.add_parser("presets", help="what the presets derive")
    presets.add_argument("--work", type=Path, required=True, help="folder that keeps what was measured")
    presets.add_argument("--seeds", type=int, default=5)
    presets.add_argument("--presets", nargs="+", choices=PRESETS, default=PRESETS)
    presets.add_argument("--one-shot", nargs="*", choices=PRESETS, default=None, help="beside which; default: all")
    given = parser.parse_args(arguments)
    if given.command == "steps":
        step_table(given.rounds, given.pairs)
    else:
        preset_table(
            given.work, given.presets, given.seeds, given.presets if given.one_shot is None else given.one_shot
        )


if __name__ == "__main__":
    main()
