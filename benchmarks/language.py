"""Language modelling on the grammar, whose entropy rate no model can get below.

    python benchmarks/language.py [--part step|floor|search] [--seeds 5] [--trials 40]

step: time of an update of a sampled path of a super-network, over that of its stand-alone network; in turns, medians.
floor: the recipe of an LSTM in ``NASBenchNLP``, trained by the preset; its validation loss over the entropy rate.
search: regularized evolution over ``DARTSCell``, by individual training. The pick and the LSTM, whose width is such
that it has as many parameters (within 1 %), are then trained anew with three other seeds; the LSTM at the preset's
learning rate, half and twice that, of which the best is taken. Their test loss over the entropy rate is reported, which
the search has not seen.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from archsearch import search
from archsearch.controllers import RegularizedEvolution
from archsearch.evaluators import Training
from archsearch.space import Space
from archsearch.spaces import DARTSCell, ENASCell, NASBenchNLP, NASRLCell
from archsearch.task import load_task
from archsearch.training.loop import supervised
from archsearch.trial import Architecture

WIDTH, RETRAININGS, RATES = 32, 3, (0.5, 1.0, 2.0)
LSTM_WIDTH = 50
"""20,506 parameters; a DARTS cell of width 32 has 20,678."""


def step_ratio(space: Space, updates: int = 40) -> float:
    """Of the median times of updates, super-network over stand-alone network, both of one path, in turns."""
    trainer = Training(preset="grammar", skeleton={"width": WIDTH}).trainer
    trainer.bind(space)
    cell = space.sample(np.random.default_rng(0))
    times: dict[bool, list[float]] = {True: [], False: []}
    with trainer.session() as meter:
        runs = {shared: trainer.begin(None if shared else cell, 0) for shared in times}
        step = supervised(trainer.recipe, meter, lambda _: 0.01, 0, lambda _: [cell])
        batch = next(iter(trainer.epoch(runs[False])))
        for number in range(updates):
            for shared in sorted(times, reverse=bool(number % 2)):
                begun = time.process_time()
                step(runs[shared], batch, 0.0)
                times[shared].append(time.process_time() - begun)
    return statistics.median(times[True][5:]) / statistics.median(times[False][5:])


def losses(space: Space, cell: Architecture, width: int, seed: int, rate: float = 1.0) -> tuple[float, float, float]:
    """Of trainings from other seeds: mean validation and test loss over the entropy rate, and mean seconds of one."""
    training = Training(preset="grammar", skeleton={"width": width})
    training = Training(preset="grammar", skeleton={"width": width}, learning_rate=rate * training.recipe.learning_rate)
    training.start(space)
    found = [training.evaluate(cell, 10_000 + 100 * seed + i) for i in range(RETRAININGS)]
    floor = load_task("grammar").floor or 1.0
    test = [float(np.log(each.metrics["test_perplexity"])) / floor for each in found]
    valid, seconds = ([-each.score / floor for each in found], [each.cost.device_seconds for each in found])
    return float(np.mean(valid)), float(np.mean(test)), float(np.mean(seconds))


def floor() -> None:
    space = NASBenchNLP()
    valid, test, seconds = losses(space, space.parse("LSTM"), LSTM_WIDTH, 0)
    print(
        f"LSTM of width {LSTM_WIDTH}: validation {valid:.4f}, test {test:.4f} of the floor; {seconds:.1f} s a training"
    )


def searches(seeds: int, trials: int) -> None:
    recipes, cells = NASBenchNLP(), DARTSCell()
    for seed in range(seeds):
        training = Training(preset="grammar", skeleton={"width": WIDTH})
        controller = RegularizedEvolution(population_size=10, tournament_size=4)
        result = search(cells, controller, training, trials=trials, seed=seed)
        pick = losses(cells, result.best.architecture, WIDTH, seed)
        lstm = min(losses(recipes, recipes.parse("LSTM"), LSTM_WIDTH, seed, rate) for rate in RATES)
        print(
            f"seed {seed}: pick {pick[0]:.4f} valid, {pick[1]:.4f} test; LSTM {lstm[0]:.4f}, {lstm[1]:.4f}; "
            f"search {result.cost.device_seconds:.0f} s; {cells.format(result.best.architecture)}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("step", "floor", "search"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=40)
    arguments = parser.parse_args()
    if arguments.part in (None, "step"):
        for space in (DARTSCell(), ENASCell(), NASRLCell()):
            print(f"{type(space).__name__}: a path of the super-network {step_ratio(space):.3f} of its own network")
    if arguments.part in (None, "floor"):
        floor()
    if arguments.part in (None, "search"):
        searches(arguments.seeds, arguments.trials)


if __name__ == "__main__":
    main()
