"""ENAS against random search with individual training, at the same billed cost.

    python benchmarks/enas.py [--seeds 5] [--preset digits201]

ENAS: the LSTM policy of ``Reinforce`` and ``OneShot`` with the sampler controller, weights and policy in turn. Of the
last third of the trials (whose weights differ, so this is rough) the ``FINALISTS`` best cells are trained once each,
on its bill, and the best of these by validation accuracy is its pick. Random search: ``Training`` of as many random
cells as cost the same device seconds; its pick is the best by validation accuracy. A training is billed as it is,
with a validation after each epoch and a test. Both picks are then trained anew, three times, and the mean test
accuracy is reported; it is used for nothing else.
"""

from __future__ import annotations

import argparse

import numpy as np

from archsearch import search
from archsearch.controllers import RandomSearch, Reinforce
from archsearch.evaluators import OneShot, Training
from archsearch.spaces import NASBench201
from archsearch.trial import Architecture, Trial

SPACE = NASBench201()
EPOCHS, TRIALS_PER_EPOCH, FINALISTS, RETRAININGS = 60, 15, 5, 3


def seconds(trials: list[Trial]) -> float:
    return sum(trial.cost.device_seconds for trial in trials)


def retrained(training: Training, cell: Architecture, seed: int) -> float:
    """Mean test accuracy of new trainings."""
    training.start(SPACE)
    found = [training.evaluate(cell, 10_000 + 100 * seed + i).metrics["test_accuracy"] for i in range(RETRAININGS)]
    return float(np.mean(found))


def enas(training: Training, seed: int) -> tuple[Architecture, float]:
    """The pick, and what it cost in device seconds."""
    trials = EPOCHS * TRIALS_PER_EPOCH
    evaluator = OneShot(
        training=training,
        epochs=EPOCHS,
        sampler="controller",
        uniform_epochs=EPOCHS // 4,
        trials_per_epoch=TRIALS_PER_EPOCH,
        statistics="batch",
        validation_batches=4,
        seed=seed,
    )
    result = search(SPACE, Reinforce(learning_rate=3.5e-3), evaluator, trials=trials, seed=seed)
    history = list(result.history)
    late = {trial.architecture: trial.score or 0.0 for trial in history[-trials // 3 :]}
    finalists = sorted(late, key=lambda cell: -late[cell])[:FINALISTS]
    training.start(SPACE)
    trained = {cell: training.evaluate(cell, seed) for cell in finalists}
    cost = result.setup_cost.device_seconds + seconds(history)
    cost += sum(evaluation.cost.device_seconds for evaluation in trained.values())
    return max(trained, key=lambda cell: trained[cell].score), cost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--preset", default="digits201", help="recipe of the trainings, and of the super-network")
    given = parser.parse_args()
    training = Training(preset=given.preset)
    found: list[list[float]] = []
    print("| seed | ENAS | its cost, s | random search | its trainings |\n|---|---|---|---|---|")
    for seed in range(given.seeds):
        pick, cost = enas(training, seed)
        random = search(SPACE, RandomSearch(), training, max_cost=cost, seed=seed)
        assert random.best is not None
        found.append([retrained(training, cell, seed) for cell in (pick, random.best.architecture)])
        one, two = found[-1]
        print(f"| {seed} | {one:.2f} | {cost:.0f} | {two:.2f} | {random.completed} |", flush=True)
    means, errors = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
    one, two = (f"**{mean:.2f}** ± {error:.2f}" for mean, error in zip(means, errors, strict=True))
    print(f"| mean ± standard error | {one} | | {two} | |")
    gain = np.subtract(*np.array(found).T[:2])
    print(f"\nENAS minus random search: {gain.mean():+.2f} ± {gain.std(ddof=1) / np.sqrt(len(gain)):.2f} points")


if __name__ == "__main__":
    main()
