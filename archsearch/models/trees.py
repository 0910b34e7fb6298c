"""Ensembles of regression trees, as scikit-learn grows them, on encodings of an architecture.

References: Breiman, "Random forests", Machine Learning 2001; Geurts, Ernst & Wehenkel, "Extremely randomized trees",
Machine Learning 2006; Friedman, "Greedy function approximation: a gradient boosting machine", Annals of Statistics
2001, which Luo et al., "Accuracy prediction with non-neural model for neural architecture search", 2020, apply to
architectures (GBDT-NAS).

Nothing is stored but the labels: a model that is read from a file is grown anew, from the same seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from archsearch.basics.checks import at_least_one, is_finite
from archsearch.basics.operation_graphs import PATH_COLUMNS
from archsearch.errors import UsageError
from archsearch.model import Features, Prediction
from archsearch.models.encoded import Encoded
from archsearch.models.encoding import Encoding
from archsearch.trial import Architecture

BOOSTING = {"learning_rate": 0.15, "max_depth": None, "max_leaf_nodes": 7, "min_samples_leaf": 3, "max_features": 0.3}
"""Small trees, grown best first: of the values tried with 50, 200 and 400 labels of NAS-Bench-201, among the best.

Smaller ones, of 3 or 4 leaves, rank many decisions that act on their own better and everything else worse.
"""

SEEN = 0.8
"""Share of the labels that each member of ``GradientBoosting`` sees, and of these each tree."""


class _Trees(Encoded):
    """What both share: several estimators; the mean is theirs, the spread their standard deviation."""

    rounds_alike: ClassVar[bool] = True

    _estimators: list[Any]

    def _predict(self, architectures: Sequence[Architecture], features: Features | None) -> Prediction:
        inputs = self._columns(architectures, features)
        total, squares = np.zeros(len(inputs)), np.zeros(len(inputs))
        for estimator in self._estimators:
            found = estimator.predict(inputs).reshape(-1)
            total += found
            squares += found * found
        mean = total / len(self._estimators)
        return Prediction(mean, np.sqrt(np.maximum(squares / len(self._estimators) - mean * mean, 0)))


class RandomForest(_Trees):
    """Random forest or extremely randomised trees: quick; precise with features, where ``extra`` is the better choice.

    The mean is that of the trees, the spread their standard deviation.

    Args:
        trees: How many, >= 1.
        max_features: Share of the columns that a split chooses among, > 0 and <= 1.
        extra: Whether splits are drawn (extremely randomised trees, on all labels) instead of searched for (a random
            forest, whose trees see a bootstrap sample each).

    Raises:
        UsageError: If a setting is out of range.
    """

    def __init__(
        self,
        trees: int = 50,
        max_features: float = 0.33,
        extra: bool = False,
        encodings: list[Encoding] | None = None,
        path_columns: int = PATH_COLUMNS,
    ) -> None:
        self.trees = at_least_one("RandomForest", "trees", trees)
        if not is_finite(max_features) or not 0 < max_features <= 1:
            raise UsageError(f"RandomForest: max_features: expected a share > 0 and <= 1, got {max_features!r}")
        self.max_features = max_features
        if not isinstance(extra, bool):
            raise UsageError(f"RandomForest: extra: expected true or false, got {extra!r}")
        self.extra = extra
        super().__init__(encodings, path_columns)

    def _fit(self, rng: np.random.Generator) -> None:
        from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

        kind = ExtraTreesRegressor if self.extra else RandomForestRegressor
        forest = kind(self.trees, max_features=float(self.max_features), random_state=int(rng.integers(2**31)))
        forest.fit(self._columns(self.architectures, self._features), self.targets)
        # The trees themselves: the forest's own predict gives no spread and starts threads.
        self._estimators = [tree.tree_ for tree in forest.estimators_]


class GradientBoosting(_Trees):
    """Several sets of boosted trees: about as precise as the Gaussian process with a few hundred labels or features.

    The members differ, since each leaves out other labels, a fifth of them, and sees other columns at each split.

    Args:
        members: How often the trees are boosted, >= 1; a single one has no spread.
        iterations: Trees of a member, >= 1.

    Raises:
        UsageError: If a setting is out of range.
    """

    def __init__(
        self,
        members: int = 3,
        iterations: int = 100,
        encodings: list[Encoding] | None = None,
        path_columns: int = PATH_COLUMNS,
    ) -> None:
        self.members = at_least_one("GradientBoosting", "members", members)
        self.iterations = at_least_one("GradientBoosting", "iterations", iterations)
        super().__init__(encodings, path_columns)

    def _fit(self, rng: np.random.Generator) -> None:
        from sklearn.ensemble import GradientBoostingRegressor

        inputs, n = self._columns(self.architectures, self._features), len(self.targets)
        self._estimators = []
        for _ in range(self.members):
            seen = rng.permutation(n)[: max(2, round(SEEN * n))]
            booster = GradientBoostingRegressor(
                n_estimators=self.iterations, subsample=SEEN, random_state=int(rng.integers(2**31)), **BOOSTING
            )
            self._estimators.append(booster.fit(inputs[seen], self.targets[seen]))
