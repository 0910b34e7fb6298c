"""Which decisions matter: how much of what a model knows of the scores is lost without each of them.

Permutation importance (Breiman, "Random forests", Machine Learning 2001, section 10) on held-out trials: a forest is
fitted to some trials, and the options of one decision are shuffled among the others. What a search has visited is no
random sample, so that a decision which it soon settled looks less important than it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from archsearch.basics.decisions import ABSENT
from archsearch.errors import UsageError
from archsearch.space import Space
from archsearch.trial import Architecture

Floats = npt.NDArray[np.float64]

LEAST, MOST = 20, 2_000
"""Trials that are needed, and the most that are used, evenly chosen."""


class Importance(NamedTuple):
    """How much each decision matters, the most important first.

    Attributes:
        decisions: Their labels.
        shares: Share of the variance of held-out scores that is not explained any more without it, mean over splits.
        low: The 5th percentile over splits.
        high: The 95th.
        explained: Share of that variance which the model explains, mean over splits; where it is near 0, the shares
            say nothing.
        trials: How many were used.
    """

    decisions: tuple[str, ...]
    shares: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    explained: float
    trials: int

    def __str__(self) -> str:
        width = max(map(len, (*self.decisions, "decision"))) + 2
        lines = [f"{'decision':<{width}}{'share':>6}   5 % to 95 %"]
        lines += [
            f"{name:<{width}}{share:6.3f}   {low:.3f} to {high:.3f}"
            for name, share, low, high in zip(self.decisions, self.shares, self.low, self.high, strict=True)
        ]
        return "\n".join([*lines, f"explained of {self.trials:,} trials, held out: {self.explained:.3f}"])


def columns_by_label(space: Space, architectures: Sequence[Architecture]) -> dict[str, npt.NDArray[np.int64]]:
    """The option of each architecture at each decision, by the decision's label; ``ABSENT`` where it was not asked.

    Args:
        space: Theirs.
        architectures: n of them.

    Returns:
        Arrays of shape (n,), in the order in which the labels first come.
    """
    columns: dict[str, npt.NDArray[np.int64]] = {}
    for row, architecture in enumerate(architectures):
        for place, option in enumerate(architecture):
            label = space.label(architecture[:place])
            if label not in columns:
                columns[label] = np.full(len(architectures), ABSENT)
            columns[label][row] = option
    return columns


def importance(
    space: Space,
    architectures: Sequence[Architecture],
    scores: Sequence[float] | Floats,
    *,
    splits: int = 20,
    seed: int = 0,
) -> Importance:
    """How much each decision matters for the scores.

    Args:
        space: Whose decisions they are.
        architectures: Those that were scored, n of them.
        scores: Theirs, finite, shape (n,).
        splits: How often a third of the trials is held out, >= 2.
        seed: Of the splits, the forests and the shuffles.

    Raises:
        UsageError: If there are too few trials, or all scores are equal.
    """
    truth = np.asarray(scores, np.float64)
    if len(truth) > MOST:
        chosen = np.linspace(0, len(truth) - 1, MOST).astype(int)
        architectures, truth = [architectures[i] for i in chosen], truth[chosen]
    if len(truth) < LEAST or splits < 2 or truth.min() == truth.max():
        raise UsageError(
            f"importance: expected at least {LEAST} trials, not all of one score, and 2 splits; "
            f"got {len(truth)} trials and {splits} splits"
        )
    columns = columns_by_label(space, architectures)
    moving = {label: column for label, column in columns.items() if column.min() < column.max()}
    lost, explained = _lost(moving, truth, splits, np.random.default_rng(seed))
    order = sorted(columns, key=lambda label: -float(np.mean(lost.get(label, [0.0]))))
    figures = [lost.get(label, np.zeros(splits)) for label in order]
    low, high = (tuple(float(np.quantile(each, share)) for each in figures) for share in (0.05, 0.95))
    return Importance(
        tuple(order), tuple(float(each.mean()) for each in figures), low, high, float(explained.mean()), len(truth)
    )


def _lost(
    columns: dict[str, npt.NDArray[np.int64]], truth: Floats, splits: int, rng: np.random.Generator
) -> tuple[dict[str, Floats], Floats]:
    """By label and split what is lost of the explained share, and that share."""
    from sklearn.ensemble import RandomForestRegressor

    hot = {label: (column[:, None] == np.unique(column)).astype(np.float32) for label, column in columns.items()}
    ends = np.cumsum([0, *(each.shape[1] for each in hot.values())])
    table = np.concatenate([*hot.values()], axis=1)
    lost, explained = {label: np.zeros(splits) for label in columns}, np.zeros(splits)
    for split in range(splits):
        order = rng.permutation(len(truth))
        held, fitted = order[: len(truth) // 3], order[len(truth) // 3 :]
        forest = RandomForestRegressor(50, min_samples_leaf=2, random_state=int(rng.integers(2**31)))
        forest.fit(table[fitted], truth[fitted])
        spread = float(np.var(truth[held])) or 1.0
        whole = float(np.mean((forest.predict(table[held]) - truth[held]) ** 2))
        explained[split] = 1 - whole / spread
        shuffled = np.concatenate([table[held]] * len(columns))
        for i in range(len(columns)):  # one block of rows for each decision, predicted in one go
            block = shuffled[i * len(held) : (i + 1) * len(held), ends[i] : ends[i + 1]]
            block[:] = block[rng.permutation(len(held))]
        errors = (forest.predict(shuffled).reshape(len(columns), -1) - truth[held]) ** 2
        for label, error in zip(columns, errors.mean(1), strict=True):
            lost[label][split] = (float(error) - whole) / spread
    return lost, explained
