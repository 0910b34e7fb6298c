"""How well models rank the cells of NAS-Bench-201 after some labels, and how long they take.

    python benchmarks/predictors.py [--seeds 20] [--labels 50 100 200 400] [--models GaussianProcess Stack ...]

Labels are random cells with their 200-epoch CIFAR-10 validation accuracy, mean over the recorded runs; the figure is
Kendall's tau with the 200-epoch test accuracy of 1,000 other cells, mean and 95 % interval over seeds. The first rows
are scikit-learn's Gaussian process, its kernel times a constant and plus noise, on the one-hot encoding, path bits and
counts of the cells as they are. Zero-cost features are published scores; a cell with operations that cannot matter has
those of the cell without them.
"""

import argparse
import time
import warnings

import numpy as np
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from archsearch import models
from archsearch.files.embedded import embedded_columns
from archsearch.model import Model, Prediction
from archsearch.models import GaussianProcess, GraphNetwork, MLPEnsemble, RandomForest, Stack
from archsearch.models.encoding import DEFAULT, encode
from archsearch.ranking import kendall_tau
from archsearch.spaces import NASBench201

SPACE = NASBench201()
HELD_OUT = 1_000
FEW = ("nwot", "jacov", "synflow")
MORE = (*FEW, "snip", "grad_norm", "fisher", "grasp", "epe_nas", "l2_norm", "plain")


class Plain(Model):
    """scikit-learn's Gaussian process; its spread is left out."""

    def _fit(self, rng):
        kernel = ConstantKernel() * RBF(3.0) + WhiteKernel(0.1)
        self.process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.process.fit(self.inputs(self.architectures), self.labels())

    def labels(self):
        return self.scores

    def inputs(self, architectures):
        graphs = SPACE.operation_graphs(architectures)
        bits = (graphs.paths() > 0).astype(np.float32)
        options = np.asarray(architectures)
        counts = (options[:, :, None] == np.arange(5)).sum(1)
        return np.concatenate([SPACE.one_hot(architectures), bits, counts], axis=1)

    def _predict(self, architectures, features):
        mean = self.process.predict(self.inputs(architectures))
        return Prediction(mean, np.zeros(len(mean)))


class PlainOnNormalScores(Plain):
    """The same, but it learns what our models learn."""

    def labels(self):
        return self.targets


class OnRawScores(GaussianProcess):
    """Learns the scores themselves, standardised, instead of the normal scores of their ranks."""

    def _fit(self, rng):
        self.targets = (self.scores - self.scores.mean()) / self.scores.std()
        super()._fit(rng)


class Unpruned(GaussianProcess):
    """Sees operations that cannot matter."""

    def _groups(self, architectures, features):
        graphs = self.space.operation_graphs(architectures)
        hot = graphs.one_hot()
        return [hot[:, 1:-1].reshape(len(hot), -1), np.log1p(graphs.paths()), hot.sum(1)]


def extra_trees():
    return RandomForest(extra=True, max_features=1.0)


def with_graphs():
    return Stack([GaussianProcess(), extra_trees(), GraphNetwork()], folds=0)


def rows():
    """Name, what makes the model, and the names of its features."""
    yield "scikit-learn's Gaussian process on raw scores", Plain, ()
    yield "scikit-learn's Gaussian process on normal scores", PlainOnNormalScores, ()
    for name in models.ALL:
        yield name, getattr(models, name), ()
    yield "Stack(folds=0)", lambda: Stack(folds=0), ()
    paper = {"layers": 10, "width": 20, "encodings": ["path_bits"]}
    yield "MLPEnsemble, networks and encoding of the paper", lambda: MLPEnsemble(**paper), ()
    yield "GaussianProcess on raw scores", OnRawScores, ()
    yield "GaussianProcess without pruning", Unpruned, ()
    for encoding in ("one_hot", "adjacency", "path_bits", *DEFAULT):
        yield f"GaussianProcess, {encoding} alone", lambda encoding=encoding: GaussianProcess([encoding]), ()
    for features in (FEW, MORE):
        for name in models.ALL:
            if getattr(models, name).takes_features:
                yield f"{name} + {len(features)}", getattr(models, name), features
        yield f"RandomForest(extra=True, max_features=1.0) + {len(features)}", extra_trees, features
    for features in ((), MORE):
        yield f"Stack of the defaults and GraphNetwork + {len(features)}", with_graphs, features


def table():
    """All cells, their validation and test accuracy, and their zero-cost scores by name."""
    columns = ("arch", "cifar10_valid_acc_200", "cifar10_test_acc_200")
    names, valid, test = embedded_columns("nasbench201", columns).values()
    cells = [SPACE.parse(name) for name in names]
    labels = SPACE.operation_graphs(cells).pruned().labels[:, 1:-1] + 1
    place = {cell: number for number, cell in enumerate(cells)}
    pruned = [place[tuple(cell)] for cell in labels.tolist()]
    found = embedded_columns("nasbench201_zerocost", tuple(f"cifar10_{name}" for name in MORE))
    scores = {name: np.array(found[f"cifar10_{name}"], float)[pruned] for name in MORE}
    return cells, np.array(valid), np.array(test), scores


def tau(make, cells, valid, test, features, labels, seed):
    order = np.random.default_rng(seed).permutation(len(cells))
    known, asked = order[:labels], order[-HELD_OUT:]
    model = make()
    figures = (None, None) if features is None else (features[known], features[asked])
    model.fit(SPACE, [cells[i] for i in known], valid[known], seed, figures[0])
    return kendall_tau(test[asked], model.predict_targets([cells[i] for i in asked], figures[1]).mean)


def seconds(make, cells, valid, features, labels=200):
    """To fit to 200 labels, and to score all cells; of the process, all threads together."""
    order = np.random.default_rng(0).permutation(len(cells))[:labels]
    model = make()
    begin = time.process_time()
    model.fit(SPACE, [cells[i] for i in order], valid[order], 0, None if features is None else features[order])
    fitted = time.process_time()
    model.predict(cells, features)
    return fitted - begin, time.process_time() - fitted


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, help="at least 2")
    parser.add_argument("--first-seed", type=int, default=1_000, help="settings were chosen on seeds below 10")
    parser.add_argument("--labels", type=int, nargs="+", default=[50, 100, 200, 400])
    parser.add_argument("--models", nargs="+", help="only rows whose name has one of these words in it")
    arguments = parser.parse_args()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    cells, valid, test, scores = table()
    encode(SPACE, cells[:2], DEFAULT)
    print(
        f"Kendall's tau, {arguments.seeds} seeds, by labels; CPU seconds: fit to 200 labels, score all 15,625 cells\n"
    )
    print(f"| model | {' | '.join(map(str, arguments.labels))} | fit | score all |")
    print("|---|" + "---|" * (len(arguments.labels) + 2))
    for name, make, wanted in rows():
        if arguments.models and not any(word in name for word in arguments.models):
            continue
        features = np.stack([scores[each] for each in wanted], axis=1) if wanted else None
        figures = []
        for labels in arguments.labels:
            found = [tau(make, cells, valid, test, features, labels, seed) for seed in seeds]
            half = 1.96 * np.std(found, ddof=1) / np.sqrt(len(found))
            figures.append(f"{np.mean(found):.3f} +- {half:.3f}")
        fit, score = seconds(make, cells, valid, features)
        print(f"| {name} | {' | '.join(figures)} | {fit:.2f} | {score:.3f} |", flush=True)


if __name__ == "__main__":
    main()
