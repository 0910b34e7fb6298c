"""Evolution over perceptrons for tables against a tuned perceptron of scikit-learn, at equal processor time.

    python benchmarks/tables.py --seeds 10 --seconds 4

For each set and seed the parts are drawn anew. Ours: ``RegularizedEvolution`` over ``MLP()``, each network trained by
the preset ``tables``, until the bill is spent; the best on the validation part is reported by its metric on the test
part. Theirs: what ``RandomizedSearchCV`` does, with ``ParameterSampler`` and a fixed validation part, over the same
widths and depths and its own penalty, learning rate and batch size, until it has had the processor time that ours had
in all, the search around the trainings included. Both see the same normalised rows, train on the training part alone,
and choose by the validation part, with one thread. The preset was chosen by the validation parts of seeds 100 and 101.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import torch
from scipy.stats import loguniform
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import ParameterSampler
from sklearn.neural_network import MLPClassifier, MLPRegressor
from threadpoolctl import threadpool_limits

from archsearch import search
from archsearch.controllers import RegularizedEvolution
from archsearch.evaluators import Training
from archsearch.spaces import MLP
from archsearch.task import Task, load_task

SETS = {"diabetes": "R2", "breast_cancer": "accuracy, %", "wine": "accuracy, %"}


def ours(name: str, seed: int, seconds: float) -> tuple[float, float, int]:
    """The test metric of the best network, the processor seconds, and how many were trained."""
    begun = time.process_time()
    training = Training(name, preset="tables")
    result = search(MLP(), RegularizedEvolution(8, 3), training, max_cost=seconds, seed=seed)
    (metric,) = (value for key, value in result.best.evaluation.metrics.items() if key.startswith("test_"))
    return metric, time.process_time() - begun, len(result.history)


def theirs(task: Task, seed: int, seconds: float) -> tuple[float, float, int]:
    """The same of a random search over scikit-learn's perceptron."""
    begun = time.process_time()
    parts = {}
    for part in ("train", "valid", "test"):
        inputs, targets = task.part(part)
        parts[part] = inputs[:].numpy(), targets.numpy()
    space = MLP()
    shapes = [space.hidden(each) for each in space.enumerate()]
    settings = {
        "hidden_layer_sizes": shapes,
        "alpha": loguniform(1e-5, 1e1),
        "learning_rate_init": loguniform(3e-4, 3e-2),
        "batch_size": [16, 32, 64],
    }
    best, tried = (-np.inf, 0.0), 0
    for given in ParameterSampler(settings, 100_000, random_state=seed):
        kind = MLPRegressor if task.classes == 1 else MLPClassifier
        model = kind(**given, random_state=seed).fit(*parts["train"])
        best = max(best, (model.score(*parts["valid"]), model.score(*parts["test"])))
        tried += 1
        if time.process_time() - begun >= seconds:
            break
    return best[1] * (1 if task.classes == 1 else 100), time.process_time() - begun, tried


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=4)
    args = parser.parse_args()
    torch.set_num_threads(1)
    threadpool_limits(1)
    warnings.simplefilter("ignore", ConvergenceWarning)
    for name, metric in SETS.items():
        ours(name, 0, 0.1)  # what is imported on first use
        rows = []
        for seed in range(args.seeds):
            text = f"{name}:seed={seed}"
            one = ours(text, seed, args.seconds)
            rows.append((*one, *theirs(load_task(text), seed, one[1])))
        a, cpu_a, n_a, b, cpu_b, n_b = np.array(rows).T
        difference = a - b
        error = difference.std(ddof=1) / np.sqrt(len(difference))
        print(
            f"{name} ({metric} of test, {len(rows)} seeds): ours {a.mean():.4g}, scikit-learn {b.mean():.4g}; "
            f"difference {difference.mean():+.3g}, standard error {error:.2g}; trained {n_a.mean():.0f} and "
            f"{n_b.mean():.0f} networks in {cpu_a.mean():.2f} and {cpu_b.mean():.2f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
