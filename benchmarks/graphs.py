"""Architectures that grow: evolution from next to nothing, and children that begin as their parents.

    python benchmarks/graphs.py evolve [--minutes 20] [--picture docs/pictures/evolved.png]
    python benchmarks/graphs.py preserve [--moves 100] [--spaces NASH ...]

``evolve``: ``PairTournament`` with ``Inherit`` over ``EvoNet``, on the task of the preset ``digits201`` (300 training
images of digits), from a population of models without convolutions, one worker. Beside it the ResNet-like cell of
NAS-Bench-201, trained in full for 9 epochs in the skeleton of that preset, the mean of several seeds. Its mean accuracy
on the validation part is the target. Printed: after how many trials and seconds the best member reached it, the
accuracy of both on the test part, and, every tenth of the trials, the best and the mean of the last 50.

``preserve``: of every space that claims to keep the function, networks of random architectures, several moves away from
the start, are trained for some epochs; of each a random move is made, and the child, which is not trained, is scored on
the validation part. Printed: of how many the accuracy is within 1e-4 percent of the parent's, and by how much outputs
differ at most.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from archsearch import Trial, search
from archsearch.basics.seeding import stream
from archsearch.components import load
from archsearch.controllers import PairTournament
from archsearch.evaluators import Inherit, Training
from archsearch.graphs.space import GraphSpace
from archsearch.showing.style import BLUE, GREY, ORANGE, RED, save_figure
from archsearch.spaces import EvoNet, NASBench201
from archsearch.trial import Architecture

PRESET = "digits201"
TASK = "digits:train=300,valid=748,test=749"
RESNET = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"
PRESERVING = ("EAS", "LEMONADE", "NASH", "PathLevel")
LAST = 50


def resnet(seeds: int) -> tuple[float, float]:
    """Mean accuracy of the ResNet-like cell, validation and test, in percent."""
    space, evaluator = NASBench201(), Training(preset=PRESET)
    evaluator.start(space)
    done = [evaluator.evaluate(space.parse(RESNET), seed) for seed in range(seeds)]
    return statistics.mean(e.score for e in done), statistics.mean(e.metrics["test_accuracy"] for e in done)


def evolve(arguments: argparse.Namespace) -> None:
    target, tested = resnet(arguments.seeds)
    print(f"ResNet-like cell, {arguments.seeds} trainings: validation {target:.2f} %, test {tested:.2f} %", flush=True)
    controller, space = PairTournament(arguments.population), EvoNet()
    with tempfile.TemporaryDirectory() as folder:
        result = search(
            space,
            controller,
            Inherit(Training(TASK)),
            max_seconds=60 * arguments.minutes,
            seed=arguments.seed,
            out=Path(folder) / "run",
        )
        trials = [trial for trial in result.history if trial.score is not None]
    scores = np.array([trial.score for trial in trials], float)
    best = np.maximum.accumulate(scores)
    print(f"{len(trials)} trials; the first {arguments.population}: mean {scores[: arguments.population].mean():.2f} %")
    if best[-1] >= target:
        first = trials[int(np.argmax(best >= target))]
        seconds = first.started + first.seconds
        print(f"reached by trial {first.id}, after {seconds / 60:.1f} minutes")
    else:
        print(f"missed by {target - best[-1]:.2f} points")
    for i in np.linspace(0, len(trials) - 1, 11).astype(int).tolist():
        mean = scores[max(0, i + 1 - LAST) : i + 1].mean()
        print(f"trial {i}: best {best[i]:.2f} %, mean of the last {LAST} {mean:.2f} %")
    assert result.best is not None
    print(f"best: test {result.best.metrics['test_accuracy']:.2f} %, {space.format(result.best.architecture)}")
    if arguments.picture:
        draw(trials, target, arguments.picture)


def draw(trials: list[Trial], target: float, path: Path) -> None:
    """The trials' accuracies over time, the best so far, and the cell's."""
    minutes = [(trial.started + trial.seconds) / 60 for trial in trials]
    scores = [trial.score or 0.0 for trial in trials]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.scatter(minutes, scores, 4, GREY, label="a model", rasterized=True)
    means = [statistics.mean(scores[max(0, i + 1 - LAST) : i + 1]) for i in range(len(scores))]
    axes.plot(minutes, means, color=BLUE, label=f"mean of the last {LAST}")
    axes.plot(minutes, np.maximum.accumulate(scores), color=ORANGE, label="best so far")
    axes.axhline(target, color=RED, linestyle="--", label="ResNet-like cell, trained in full")
    axes.set(xlabel="minutes", ylabel="validation accuracy (%)", title="Evolution from models without convolutions")
    axes.legend(loc="lower right")
    save_figure(figure, path)


# -- children that begin as their parents ------------------------------------------------------


def preserve(arguments: argparse.Namespace) -> None:
    for name in arguments.spaces:
        space = load(name, "spaces")()
        assert isinstance(space, GraphSpace)
        kept, apart, scores = preserved(space, arguments.moves, arguments.epochs)
        print(
            f"{name}: {kept} of {arguments.moves} children within 1e-4; outputs differ by at most {apart:.1e}; parents "
            f"have {min(scores):.1f} to {max(scores):.1f} %, median {statistics.median(scores):.1f} %",
            flush=True,
        )


def preserved(space: GraphSpace, moves: int, epochs: int) -> tuple[int, float, list[float]]:
    """How many children have their parent's accuracy, how far outputs are apart, and the parents' accuracies."""
    training = Training(TASK, epochs=epochs)
    training.start(space)
    trainer, rng = training.trainer, stream(0, "preserve")
    images, total = trainer.first("valid", 256).inputs, epochs * trainer.updates_per_epoch
    kept, apart, scores, architecture = 0, 0.0, list[float](), space.start
    for i in range(moves):
        if i % 8 == 0 or not _claimed(space, architecture):  # a new line of descendants
            architecture = space.start
        by_kind = _claimed(space, architecture)
        children = by_kind[sorted(by_kind)[int(rng.integers(len(by_kind)))]]
        child = children[int(rng.integers(len(children)))]
        with trainer.session() as meter:
            run = trainer.begin(architecture, i)
            trainer.train(run, total, total, meter, validate=False)
            network = trainer.begin(child, i + 1).network
            space.morph(run.network, network, torch.Generator().manual_seed(i))
            scores.append(trainer.judge(run, "valid", meter).score)
            with torch.inference_mode():
                apart = max(apart, (run.network.eval()(images) - network.eval()(images)).abs().max().item())
            run.network, run.architecture = network, child
            kept += abs(trainer.judge(run, "valid", meter).score - scores[-1]) <= 1e-4
        architecture = child
    return kept, apart, scores


def _claimed(space: GraphSpace, architecture: Architecture) -> dict[str, list[Architecture]]:
    """Children by moves that claim to keep the function, by kind."""
    found: dict[str, list[Architecture]] = {}
    for move in space.moves(architecture):
        if move.preserves:
            found.setdefault(move.kind, []).append(move.architecture)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    evolving = commands.add_parser("evolve")
    evolving.add_argument("--minutes", type=float, default=20)
    evolving.add_argument("--population", type=int, default=50)
    evolving.add_argument("--seed", type=int, default=0)
    evolving.add_argument("--seeds", type=int, default=5, help="trainings of the ResNet-like cell")
    evolving.add_argument("--picture", type=Path)
    evolving.set_defaults(run=evolve)
    preserving = commands.add_parser("preserve")
    preserving.add_argument("--moves", type=int, default=100)
    preserving.add_argument("--epochs", type=int, default=3, help="of each parent")
    preserving.add_argument("--spaces", nargs="+", default=PRESERVING)
    preserving.set_defaults(run=preserve)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
