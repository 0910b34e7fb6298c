"""Policies of ``Reinforce``: distributions over architectures that are sampled, and changed by gradient steps.

References: Zoph & Le, "Neural architecture search with reinforcement learning", ICLR 2017 (an LSTM); Dong & Yang,
"NAS-Bench-201", ICLR 2020 (one independent softmax per decision). Which steps are taken, ``reinforce.py`` says.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from archsearch.models.networks import one_thread
from archsearch.space import Space
from archsearch.trial import Architecture

FloatArray = npt.NDArray[np.float64]

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's constants (Kingma & Ba 2015, Algorithm 1)."""

INITIAL_RANGE = 0.08
"""Weights of the LSTM policy start uniform in plus or minus this (Zoph & Le, section 4.1)."""


class LstmPolicy:
    """p(a) = product over i of p(a_i | a_1 ... a_i-1), by an LSTM that is fed the option it took last.

    Each decision, by its position, has a softmax of its own, and each of its options an embedding.

    Args:
        space: Where architectures come from.
        learning_rate: Adam's.
        entropy_weight: Of the entropy in the loss.
        hidden_size: Units of each layer, and length of the embeddings.
        layers: Layers of the LSTM.
        rng: Seeds the generator of the initial weights.
    """

    def __init__(
        self,
        space: Space,
        learning_rate: float,
        entropy_weight: float,
        hidden_size: int,
        layers: int,
        rng: np.random.Generator,
    ) -> None:
        self._space = space
        self._learning_rate = learning_rate
        self._entropy_weight = entropy_weight
        positions, options = space.max_length, space.max_options
        # Torch would draw initial weights from its global generator; on the meta device it draws none.
        self._lstm = torch.nn.LSTM(hidden_size, hidden_size, layers, batch_first=True, device="meta")
        self._lstm = self._lstm.to_empty(device="cpu")
        # Token 0 begins a sequence, token 1 + i * options + o says that decision i took option o.
        self._embeddings = torch.empty(1 + (positions - 1) * options, hidden_size)
        self._heads = torch.empty(positions, hidden_size, options)
        self._biases = torch.empty(positions, options)
        self._weights = [*self._lstm.parameters(), self._embeddings, self._heads, self._biases]
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        for weight in self._weights:
            weight.detach().uniform_(-INITIAL_RANGE, INITIAL_RANGE, generator=generator)
            weight.requires_grad_()
        self._means = [torch.zeros_like(weight) for weight in self._weights]
        self._squares = [torch.zeros_like(weight) for weight in self._weights]
        self._steps = 0

    @one_thread()
    @torch.no_grad()
    def sample(self, n: int, rng: np.random.Generator) -> list[Architecture]:
        """Draws ``n`` architectures, one decision of all of them at a time."""
        prefixes: list[Architecture] = [()] * n
        uniforms = rng.random((n, self._space.max_length))
        tokens = torch.zeros(n, 1, dtype=torch.long)
        memory = None
        for i in range(self._space.max_length):
            arities = [self._space.arity(prefix) for prefix in prefixes]
            if not any(arities):
                break
            hidden, memory = self._lstm(self._embeddings[tokens], memory)
            logits = _mask(hidden[:, 0] @ self._heads[i] + self._biases[i], torch.tensor(arities))
            cumulative = logits.softmax(-1).double().cumsum(-1).numpy()
            options = (cumulative <= uniforms[:, i, None] * cumulative[:, -1:]).sum(-1)
            prefixes = [
                (*prefix, option) if arity else prefix
                for prefix, option, arity in zip(prefixes, options.tolist(), arities, strict=True)
            ]
            tokens = torch.from_numpy(self._tokens(i, options))[:, None]
        return prefixes

    @one_thread()
    def update(self, architectures: Sequence[Architecture], advantages: FloatArray) -> None:
        """One step of Adam on -mean(advantage * log p(a) + entropy_weight * entropy)."""
        log_probabilities, entropies = self._evaluate(architectures)
        rewards = torch.from_numpy(advantages).float() * log_probabilities + self._entropy_weight * entropies
        gradients = torch.autograd.grad(-rewards.mean(), self._weights)
        self._steps += 1
        with torch.no_grad():
            for weight, gradient, mean, square in zip(
                self._weights, gradients, self._means, self._squares, strict=True
            ):
                adam_step(weight, gradient, mean, square, self._steps, self._learning_rate)

    @torch.no_grad()
    def log_probabilities(self, architectures: Sequence[Architecture]) -> FloatArray:
        """Log-probabilities, shape (n,)."""
        return self._evaluate(architectures)[0].double().numpy()

    @one_thread()
    @torch.no_grad()
    def probabilities(self, prefix: Architecture) -> FloatArray:
        """Of the options of the decision that follows ``prefix``, shape (options,)."""
        i = len(prefix)
        tokens = [0, *self._tokens(np.arange(i), np.array(prefix, np.int64))]
        hidden, _ = self._lstm(self._embeddings[torch.tensor(tokens)[None]])
        logits = hidden[0, -1] @ self._heads[i] + self._biases[i]
        p: FloatArray = logits[: self._space.arity(prefix)].double().softmax(-1).numpy()
        return p

    def _evaluate(self, architectures: Sequence[Architecture]) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities, and summed entropies of the decisions on the way, each of shape (n,)."""
        n, length = len(architectures), max(1, *map(len, architectures))
        # Short sequences are filled up with decisions that have one option: log-probability 0, entropy 0.
        options = np.zeros((n, length), np.int64)
        arities = np.ones((n, length), np.int64)
        for row, architecture in enumerate(architectures):
            options[row, : len(architecture)] = architecture
            arities[row, : len(architecture)] = [self._space.arity(architecture[:i]) for i in range(len(architecture))]
        tokens = np.zeros((n, length), np.int64)
        tokens[:, 1:] = self._tokens(np.arange(length - 1), options[:, :-1])
        hidden, _ = self._lstm(self._embeddings[torch.from_numpy(tokens)])
        logits = torch.einsum("nlh,lho->nlo", hidden, self._heads[:length]) + self._biases[:length]
        logs = _mask(logits, torch.from_numpy(arities)).log_softmax(-1)
        taken = logs.gather(-1, torch.from_numpy(options)[..., None])
        return taken.sum((1, 2)), -(logs.exp() * logs).sum((1, 2))

    def _tokens(self, position: int | npt.NDArray[np.int64], option: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return 1 + position * self._space.max_options + option

    def state(self) -> dict[str, Any]:
        """Weights and Adam's moments as flat lists."""
        groups = {"weights": self._weights, "means": self._means, "squares": self._squares}
        return {"steps": self._steps} | {
            name: [tensor.detach().flatten().tolist() for tensor in group] for name, group in groups.items()
        }

    @torch.no_grad()
    def load(self, state: dict[str, Any]) -> None:
        """Restores ``state``'s result."""
        self._steps = state["steps"]
        for name, group in (("weights", self._weights), ("means", self._means), ("squares", self._squares)):
            for tensor, values in zip(group, state[name], strict=True):
                tensor.copy_(torch.tensor(values).view_as(tensor))


def _mask(logits: torch.Tensor, arities: torch.Tensor) -> torch.Tensor:
    """Makes options that a decision does not have impossible; finite, as 0 * -inf would spoil the entropy."""
    return logits.masked_fill(torch.arange(logits.shape[-1]) >= arities[..., None], -1e9)


class SoftmaxPolicy:
    """p(a) = product over i of softmax(logits of decision i)[a_i].

    Decisions are known by ``space.label``; their logits are made, at 0, when they are first met. Where decisions
    of one label have different numbers of options, they share the logits of those they have.

    Args:
        space: Where architectures come from.
        learning_rate: Adam's.
        entropy_weight: Of the entropy in the loss.
    """

    def __init__(self, space: Space, learning_rate: float, entropy_weight: float) -> None:
        self._space = space
        self._learning_rate = learning_rate
        self._entropy_weight = entropy_weight
        self._rows: dict[str, int] = {}
        # Logits, Adam's first moments and second moments of all decisions: shape (3, rows, options).
        self._table = np.zeros((3, space.max_length, space.max_options))
        self._steps = np.zeros(space.max_length)
        self._cumulative: dict[int, list[float]] = {}

    def sample(self, n: int, rng: np.random.Generator) -> list[Architecture]:
        """Draws ``n`` architectures."""
        return [self._draw(rng) for _ in range(n)]

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
        logits = self._table[0, row].tolist()
        top = max(logits)
        self._cumulative[row] = list(itertools.accumulate(math.exp(logit - top) for logit in logits))
        return self._cumulative[row]

    def update(self, architectures: Sequence[Architecture], advantages: FloatArray) -> None:
        """One step of Adam on -mean(advantage * log p(a) + entropy_weight * entropy), for the decisions that were met.

        With p the softmax of a decision's logits z, H its entropy and a its option, in closed form::

            d log p_a / d z_j = [j = a] - p_j        d H / d z_j = -p_j (log p_j + H)
        """
        rows, options, arities, lengths = self._decisions(architectures)
        logs = self._log_softmax(rows, arities)
        p = np.exp(logs)
        ascent = -p
        ascent[np.arange(len(rows)), options] += 1.0
        ascent *= np.repeat(advantages, lengths)[:, None]
        if self._entropy_weight:
            entropies = -(p * logs).sum(-1, keepdims=True)
            ascent -= self._entropy_weight * p * (logs + entropies)
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
        taken = self._log_softmax(rows, arities)[np.arange(len(rows)), options]
        sums = np.zeros(len(lengths))
        np.add.at(sums, np.repeat(np.arange(len(lengths)), lengths), taken)
        return sums

    def probabilities(self, prefix: Architecture) -> FloatArray:
        """Of the options of the decision that follows ``prefix``, shape (options,)."""
        row, n = self._rows.get(self._space.label(prefix)), self._space.arity(prefix)
        if row is None:  # asking must not change the state
            return np.full(n, 1 / n)
        p: FloatArray = np.exp(self._log_softmax([row], [n])[0, :n])
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

    def _log_softmax(self, rows: list[int], arities: list[int]) -> FloatArray:
        """Log-probabilities of the options of each decision, shape (decisions, options); -1e9 for those it lacks."""
        logits = self._table[0, rows]
        logits[np.arange(self._space.max_options) >= np.array(arities)[:, None]] = -1e9
        logits -= logits.max(-1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
        return logits

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


def adam_step(value: Any, gradient: Any, mean: Any, square: Any, steps: Any, rate: float) -> None:
    """One step of Adam, in place, on arrays or tensors; ``steps`` counts from 1."""
    mean += (1 - BETA1) * (gradient - mean)
    square += (1 - BETA2) * (gradient**2 - square)
    value -= rate * mean / (1 - BETA1**steps) / ((square / (1 - BETA2**steps)) ** 0.5 + EPSILON)
