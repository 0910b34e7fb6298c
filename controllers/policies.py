"""The softmax policy of ``Reinforce`` and ``PPO``: a distribution over architectures, changed by gradient steps.

Reference: Dong & Yang, "NAS-Bench-201", ICLR 2020: one independent softmax per decision. The other policy is in
``lstm_policy.py``; which steps are taken, ``reinforce.py`` says.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from archsearch.controllers.policy_loss import PolicyLoss
from archsearch.space import Space
from archsearch.trial import Architecture

FloatArray = npt.NDArray[np.float64]
Advantages = FloatArray | Callable[[FloatArray], FloatArray]
"""Of architectures, shape (n,), or what makes them from their log-probabilities under the present policy."""

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's constants (Kingma & Ba 2015, Algorithm 1)."""


class SoftmaxPolicy:
    """p(a) = product over i of softmax(logits of decision i)[a_i].

    Decisions are known by ``space.label``; their logits are made, at 0, when they are first met. Where decisions
    of one label have different numbers of options, they share the logits of those they have.

    Args:
        space: Where architectures come from.
        learning_rate: Adam's.
        loss: What is descended, and what becomes of logits.
    """

    def __init__(self, space: Space, learning_rate: float, loss: PolicyLoss) -> None:
        self._space = space
        self._learning_rate = learning_rate
        self._loss = loss
        self._rows: dict[str, int] = {}
        # Logits, Adam's first moments and second moments of all decisions: shape (3, rows, options).
        self._table = np.zeros((3, space.max_length, space.max_options))
        self._steps = np.zeros(space.max_length)
        self._cumulative: dict[int, list[float]] = {}

    def sample(self, n: int, rng: np.random.Generator) -> list[Architecture]:
        """Draws ``n`` architectures."""
        return [self._draw(rng) for _ in range(n)]

    def sample_with_odds(self, n: int, rng: np.random.Generator) -> tuple[list[Architecture], list[float]]:
        """Draws ``n`` architectures, with the logarithms of their probabilities."""
        drawn = self.sample(n, rng)
        return drawn, self.log_probabilities(drawn).tolist()

    def _draw(self, rng: np.random.Generator) -> Architecture:
        prefix: Architecture = ()
        while n := self._space.arity(prefix):
            row = self._row(self._space.label(prefix))
            cumulative = self._cumulative.get(row) or self._accumulate(row)
            prefix = (*prefix, bisect.bisect_right(cumulative, rng.random() * cumulative[n - 1], 0, n - 1))
        return prefix

    def _row(self, label: str) -> int:
        row = self._rows.setdefault(label, len(self._rows))
        if row == len(self._steps):
            self._table = np.concatenate([self._table, np.zeros_like(self._table)], axis=1)
            self._steps = np.concatenate([self._steps, np.zeros_like(self._steps)])
        return row

    def _accumulate(self, row: int) -> list[float]:
        """Running sums of the unnormalised probabilities of a decision's options; kept until its next update."""
        logits = self._loss.squash(self._table[0, row])[0].tolist()
        top = max(logits)
        self._cumulative[row] = list(itertools.accumulate(math.exp(logit - top) for logit in logits))
        return self._cumulative[row]

    def update(self, architectures: Sequence[Architecture], advantages: Advantages) -> None:
        """One step of Adam on the loss, for the decisions that were met."""
        rows, options, arities, lengths = self._decisions(architectures)
        logs, slopes = self._log_softmax(rows, arities)
        if callable(advantages):
            advantages = advantages(_summed(logs, options, lengths))
        positions = np.concatenate([np.arange(length) for length in lengths])
        ascent = self._loss.ascent(
            logs, np.array(options, np.int64), np.repeat(advantages, lengths)[:, None], slopes, positions
        )
        met = {row: i for i, row in enumerate(dict.fromkeys(rows))}
        gradient = np.zeros((len(met), self._space.max_options))
        np.subtract.at(gradient, [met[row] for row in rows], ascent / len(architectures))
        self._step(list(met), gradient)

    def _step(self, rows: list[int], gradient: FloatArray) -> None:
        """Adam, each row with its own count of steps: a decision that is met late starts as fast as any other."""
        self._steps[rows] += 1
        logits, means, squares = table = self._table[:, rows]
        adam_step(logits, gradient, means, squares, self._steps[rows, None], self._learning_rate)
        self._table[:, rows] = table
        for row in rows:
            self._cumulative.pop(row, None)

    def log_probabilities(self, architectures: Sequence[Architecture]) -> FloatArray:
        """Log-probabilities, shape (n,)."""
        rows, options, arities, lengths = self._decisions(architectures)
        return _summed(self._log_softmax(rows, arities)[0], options, lengths)

    def probabilities(self, prefix: Architecture) -> FloatArray:
        """Of the options of the decision that follows ``prefix``, shape (options,)."""
        row, n = self._rows.get(self._space.label(prefix)), self._space.arity(prefix)
        if row is None:  # asking must not change the state
            return np.full(n, 1 / n)
        p: FloatArray = np.exp(self._log_softmax([row], [n])[0][0, :n])
        return p

    def _decisions(self, architectures: Sequence[Architecture]) -> tuple[list[int], list[int], list[int], list[int]]:
        """Rows, options taken and arities of all decisions, one after another, and the architectures' lengths."""
        rows, options, arities = [], [], []
        for architecture in architectures:
            for i, option in enumerate(architecture):
                prefix = architecture[:i]
                rows.append(self._row(self._space.label(prefix)))
                options.append(option)
                arities.append(self._space.arity(prefix))
        return rows, options, arities, [len(architecture) for architecture in architectures]

    def _log_softmax(self, rows: list[int], arities: list[int]) -> tuple[FloatArray, FloatArray | float]:
        """Log-probabilities of the options of each decision, shape (decisions, options), and their slopes.

        Options that a decision lacks have -1e9.
        """
        logits: FloatArray
        logits, slopes = self._loss.squash(self._table[0, rows])
        logits[np.arange(self._space.max_options) >= np.array(arities)[:, None]] = -1e9
        logits -= logits.max(-1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
        return logits, slopes

    def state(self) -> dict[str, Any]:
        """Labels, and logits, Adam's moments and steps of their rows."""
        used = len(self._rows)
        return {
            "labels": list(self._rows),
            "table": self._table[:, :used].tolist(),
            "steps": self._steps[:used].tolist(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Restores ``state``'s result."""
        self._rows = {label: row for row, label in enumerate(state["labels"])}
        size = max(len(self._rows), self._space.max_length)
        self._table = np.zeros((3, size, self._space.max_options))
        self._table[:, : len(self._rows)] = np.array(state["table"]).reshape(3, -1, self._space.max_options)
        self._steps = np.zeros(size)
        self._steps[: len(self._rows)] = state["steps"]
        self._cumulative = {}


def _summed(logs: FloatArray, options: Sequence[int], lengths: Sequence[int]) -> FloatArray:
    """Log-probabilities of the options that were taken, added up for each architecture."""
    sums = np.zeros(len(lengths))
    np.add.at(sums, np.repeat(np.arange(len(lengths)), lengths), logs[np.arange(len(options)), options])
    return sums


def adam_step(value: Any, gradient: Any, mean: Any, square: Any, steps: Any, rate: float) -> None:
    """One step of Adam, in place, on arrays or tensors; ``steps`` counts from 1."""
    mean += (1 - BETA1) * (gradient - mean)
    square += (1 - BETA2) * (gradient**2 - square)
    value -= rate * mean / (1 - BETA1**steps) / ((square / (1 - BETA2**steps)) ** 0.5 + EPSILON)
