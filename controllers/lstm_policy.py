"""The LSTM policy of ``Reinforce`` and ``PPO``: a distribution over architectures, changed by gradient steps.

Reference: Zoph & Le, "Neural architecture search with reinforcement learning", ICLR 2017. The LSTM is that of PyTorch's
``nn.LSTM`` (gates in the order input, forget, cell, output), with gradients through time in closed form: for networks
this small, calls take the time, and a loop in NumPy makes fewer of them. A test compares both.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from archsearch.controllers.policies import Advantages, FloatArray, adam_step
from archsearch.controllers.policy_loss import PolicyLoss
from archsearch.model import one_thread
from archsearch.space import Space
from archsearch.trial import Architecture

Floats = npt.NDArray[np.float32]
Whole = npt.NDArray[np.int64]

INITIAL_RANGE = 0.08
"""Weights of the policy start uniform in plus or minus this (Zoph & Le, section 4.1)."""

REMEMBERED = 4_096
"""Beginnings of architectures whose state is kept until the next update: what is drawn in between shares many."""


class _Begun(NamedTuple):
    """What the policy knows after the decisions of a prefix.

    Attributes:
        memory: Outputs and cells of each layer, shape (layers, 2, hidden).
        sums: Running sums of the unnormalised probabilities of the options of the next decision.
    """

    memory: Floats
    sums: list[float]


class _Layer(NamedTuple):
    """The weights of a layer of the LSTM, or their gradients."""

    inputs: Floats
    outputs: Floats
    input_bias: Floats
    output_bias: Floats


class _Pass(NamedTuple):
    """A forward pass of a layer over whole sequences; all of shape (length, n, ...).

    Attributes:
        inputs: What the layer was given.
        outputs: What it gave, after zeros: one more than there are steps.
        cells: Likewise.
        gates: Input, forget, cell and output gate, shape (length, n, 4, hidden).
        squashed: The hyperbolic tangent of the cells.
    """

    inputs: Floats
    outputs: Floats
    cells: Floats
    gates: Floats
    squashed: Floats


class LstmPolicy:
    """p(a) = product over i of p(a_i | a_1 ... a_i-1), by an LSTM that is fed the option it took last.

    Each decision, by its position, has a softmax of its own, and each of its options an embedding.

    Args:
        space: Where architectures come from.
        learning_rate: Adam's.
        loss: What is descended, and what becomes of logits.
        hidden_size: Units of each layer, and length of the embeddings.
        layers: Layers of the LSTM.
        rng: Seeds the generator of the initial weights.
    """

    def __init__(
        self,
        space: Space,
        learning_rate: float,
        loss: PolicyLoss,
        hidden_size: int,
        layers: int,
        rng: np.random.Generator,
    ) -> None:
        self._space = space
        self._learning_rate = learning_rate
        self._loss = loss
        positions, options, gates = space.max_length, space.max_options, 4 * hidden_size
        # Of each layer: to gates from inputs and from outputs, and their biases. Of embeddings, token 0 begins a
        # sequence, token 1 + i * options + o says that decision i took option o. Then each decision's softmax.
        self._shapes: list[tuple[int, ...]] = layers * [(gates, hidden_size), (gates, hidden_size), (gates,), (gates,)]
        self._shapes += [(1 + (positions - 1) * options, hidden_size)]
        self._shapes += [(positions, hidden_size, options), (positions, options)]
        # All in one vector, which makes a step of Adam one call; what names a part is a view.
        size = sum(map(math.prod, self._shapes))
        self._vector = _uniform(size, int(rng.integers(2**63)))
        self._mean, self._square = np.zeros(size, np.float32), np.zeros(size, np.float32)
        self._layers, (self._embeddings, self._heads, self._biases) = self._split(self._vector)
        self._steps = 0
        self._slope = np.repeat(np.array([0.5, 0.5, 1, 0.5], np.float32), hidden_size)
        self._shift = np.repeat(np.array([0.5, 0.5, 0, 0.5], np.float32), hidden_size)
        self._nothing = np.zeros((layers, 2, hidden_size), np.float32)
        self._known: dict[Architecture, _Begun] = {}

    def _split(self, vector: Floats) -> tuple[list[_Layer], list[Floats]]:
        """The layers, and embeddings, heads and biases, as views of a vector."""
        ends = np.cumsum([math.prod(shape) for shape in self._shapes])[:-1]
        parts = [part.reshape(shape) for part, shape in zip(np.split(vector, ends), self._shapes, strict=True)]
        return [_Layer(*parts[i : i + 4]) for i in range(0, len(parts) - 3, 4)], parts[-3:]

    # -- drawing -------------------------------------------------------------------------------

    def sample(self, n: int, rng: np.random.Generator) -> list[Architecture]:
        """Draws ``n`` architectures, one decision of all of them at a time."""
        return self.sample_with_odds(n, rng)[0]

    def sample_with_odds(self, n: int, rng: np.random.Generator) -> tuple[list[Architecture], list[float]]:
        """Draws ``n`` architectures, with the logarithms of their probabilities."""
        prefixes: list[Architecture] = [()] * n
        odds = [0.0] * n
        begun: dict[Architecture, _Begun] = {}
        for uniforms in rng.random((n, self._space.max_length)).T.tolist():
            begun = self._begun(prefixes, begun)
            if not begun:
                break
            for row, (prefix, uniform) in enumerate(zip(prefixes, uniforms, strict=True)):
                if prefix in begun:
                    sums = begun[prefix].sums
                    option = bisect.bisect_right(sums, uniform * sums[-1], 0, len(sums) - 1)
                    prefixes[row] = (*prefix, option)
                    odds[row] += math.log((sums[option] - (sums[option - 1] if option else 0)) / sums[-1])
        return prefixes, odds

    def probabilities(self, prefix: Architecture) -> FloatArray:
        """Of the options of the decision that follows ``prefix``, shape (options,)."""
        begun: dict[Architecture, _Begun] = {}
        for length in range(len(prefix) + 1):
            begun = self._begun([prefix[:length]], begun)
        sums = np.array(begun[prefix].sums)
        p: FloatArray = np.diff(sums, prepend=0) / sums[-1]
        return p

    def _begun(
        self, prefixes: Sequence[Architecture], before: Mapping[Architecture, _Begun]
    ) -> dict[Architecture, _Begun]:
        """What is known after prefixes of one length, each once, without those that are whole architectures.

        Args:
            prefixes: All of one length.
            before: What is known after their beginnings, one decision shorter.
        """
        arities = {prefix: arity for prefix in dict.fromkeys(prefixes) if (arity := self._space.arity(prefix))}
        found = {prefix: self._known[prefix] for prefix in arities if prefix in self._known}
        if missing := [prefix for prefix in arities if prefix not in found]:
            memories = [before[prefix[:-1]].memory for prefix in missing] if missing[0] else [self._nothing]
            new = self._continued(missing, [arities[prefix] for prefix in missing], np.stack(memories))
            if len(self._known) + len(new) > REMEMBERED:
                self._known = {}
            self._known |= new
            found |= new
        return found

    def _continued(
        self, prefixes: Sequence[Architecture], arities: Sequence[int], memory: Floats
    ) -> dict[Architecture, _Begun]:
        """A step of the LSTM: from the memories of prefixes without their last decision to what comes after it."""
        position, options = len(prefixes[0]), self._space.max_options
        x = self._embeddings[[1 + (position - 1) * options + prefix[-1] for prefix in prefixes] if position else [0]]
        after = np.empty_like(memory)
        for number, layer in enumerate(self._layers):
            gates = x @ layer.inputs.T
            gates += memory[:, number, 0] @ layer.outputs.T
            gates += layer.input_bias + layer.output_bias
            self._activate(gates)
            enter, forget, cell, leave = np.split(gates, 4, axis=1)
            cells = forget * memory[:, number, 1] + enter * cell
            x = leave * np.tanh(cells)
            after[:, number, 0], after[:, number, 1] = x, cells
        logits = _masked(self._loss.squash(x @ self._heads[position] + self._biases[position])[0], np.array(arities))
        sums = np.exp(logits - logits.max(1, keepdims=True)).cumsum(1, dtype=np.float64).tolist()
        return {
            prefix: _Begun(after[row], sums[row][:arity])
            for row, (prefix, arity) in enumerate(zip(prefixes, arities, strict=True))
        }

    def _activate(self, gates: Floats) -> None:
        """The sigmoid of input, forget and output gate and the tangent of the cell gate, in place and in one call."""
        gates *= self._slope  # the sigmoid of x is (1 + tanh(x / 2)) / 2
        np.tanh(gates, out=gates)
        gates *= self._slope
        gates += self._shift

    # -- learning ------------------------------------------------------------------------------

    def update(self, architectures: Sequence[Architecture], advantages: Advantages) -> None:
        """One step of Adam on the loss."""
        with one_thread():
            gradient = self.gradient(architectures, advantages)
        self._steps += 1
        adam_step(self._vector, gradient, self._mean, self._square, self._steps, self._learning_rate)
        self._known = {}

    def gradient(self, architectures: Sequence[Architecture], advantages: Advantages) -> Floats:
        """Of the loss, by all weights in the order of ``state``, as one vector."""
        tokens, options, arities = self._decisions(architectures)
        passes, logs, slopes = self._forward(tokens, arities)
        if callable(advantages):
            advantages = advantages(_summed(logs, options))
        positions = np.arange(len(options))[:, None]
        ascent = self._loss.ascent(logs, options, advantages.astype(np.float32)[:, None], slopes, positions)
        ascent /= -len(architectures)
        gradient = np.zeros_like(self._vector)
        layers, (embeddings, heads, biases) = self._split(gradient)
        length, top = len(tokens), passes[-1].outputs[1:]
        np.matmul(top.transpose(0, 2, 1), ascent, out=heads[:length])
        ascent.sum(1, out=biases[:length])
        onward = ascent @ self._heads[:length].transpose(0, 2, 1)
        for layer, done, into in zip(reversed(self._layers), reversed(passes), reversed(layers), strict=True):
            onward = self._backward(layer, done, onward, into)
        np.add.at(embeddings, tokens, onward)
        return gradient

    def log_probabilities(self, architectures: Sequence[Architecture]) -> FloatArray:
        """Log-probabilities, shape (n,)."""
        tokens, options, arities = self._decisions(architectures)
        with one_thread():
            logs = self._forward(tokens, arities)[1]
        return _summed(logs, options)

    def _decisions(self, architectures: Sequence[Architecture]) -> tuple[Whole, Whole, Whole]:
        """Tokens that are fed, options taken and arities of all decisions, each of shape (length, n).

        Short sequences are filled up with decisions that have one option: log-probability 0, entropy 0.
        """
        n, length = len(architectures), max(1, *map(len, architectures))
        options, arities = np.zeros((length, n), np.int64), np.ones((length, n), np.int64)
        for row, architecture in enumerate(architectures):
            options[: len(architecture), row] = architecture
            arities[: len(architecture), row] = [self._space.arity(architecture[:i]) for i in range(len(architecture))]
        tokens = np.zeros((length, n), np.int64)
        tokens[1:] = 1 + np.arange(length - 1)[:, None] * self._space.max_options + options[:-1]
        return tokens, options, arities

    def _forward(self, tokens: Whole, arities: Whole) -> tuple[list[_Pass], Floats, Floats | float]:
        """The passes of all layers, log-probabilities of all options, shape (length, n, options), and their slopes."""
        (length, n), hidden = tokens.shape, self._embeddings.shape[1]
        x, passes = self._embeddings[tokens], []
        for layer in self._layers:
            gates = x @ layer.inputs.T + (layer.input_bias + layer.output_bias)
            outputs, cells = np.zeros((2, length + 1, n, hidden), np.float32)
            squashed = np.empty((length, n, hidden), np.float32)
            for step, now in enumerate(gates):
                now += outputs[step] @ layer.outputs.T
                self._activate(now)
                enter, forget, cell, leave = np.split(now, 4, axis=1)
                np.add(forget * cells[step], enter * cell, out=cells[step + 1])
                np.multiply(leave, np.tanh(cells[step + 1], out=squashed[step]), out=outputs[step + 1])
            passes.append(_Pass(x, outputs, cells, gates.reshape(length, n, 4, hidden), squashed))
            x = outputs[1:]
        squashed, slopes = self._loss.squash(x @ self._heads[:length] + self._biases[:length, None])
        logits = _masked(squashed, arities)
        logits -= logits.max(-1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
        return passes, logits, slopes

    def _backward(self, layer: _Layer, done: _Pass, onward: Floats, into: _Layer) -> Floats:
        """From the gradient by a layer's outputs to the one by its inputs; those by its weights go ``into``."""
        length, n, _, hidden = done.gates.shape
        enter, forget, cell, leave = (done.gates[:, :, gate] for gate in range(4))
        slopes = done.gates * (1 - done.gates)
        slopes[:, :, 2] = 1 - cell * cell
        through = leave * (1 - done.squashed * done.squashed)
        # What each gate's value was multiplied with, times its slope: by what the gradient of the cells, or for the
        # last one that of the outputs, is multiplied.
        factors = slopes * np.stack([cell, done.cells[:-1], enter, done.squashed], axis=2)
        gates = np.empty_like(done.gates)
        by_output, by_cell = np.zeros((2, n, hidden), np.float32)
        for step in reversed(range(length)):
            by_output += onward[step]
            by_cell += by_output * through[step]
            np.multiply(factors[step, :, :3], by_cell[:, None], out=gates[step, :, :3])
            np.multiply(factors[step, :, 3], by_output, out=gates[step, :, 3])
            by_output = gates[step].reshape(n, 4 * hidden) @ layer.outputs
            by_cell *= forget[step]
        rows = gates.reshape(length * n, 4 * hidden)
        np.matmul(rows.T, done.inputs.reshape(length * n, hidden), out=into.inputs)
        np.matmul(rows.T, done.outputs[:-1].reshape(length * n, hidden), out=into.outputs)
        into.input_bias[:] = into.output_bias[:] = rows.sum(0)
        before: Floats = (rows @ layer.inputs).reshape(length, n, hidden)
        return before

    # -- state ---------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Weights and Adam's moments as flat lists."""
        ends = np.cumsum([math.prod(shape) for shape in self._shapes])[:-1]
        groups = {"weights": self._vector, "means": self._mean, "squares": self._square}
        return {"steps": self._steps} | {
            name: [part.tolist() for part in np.split(vector, ends)] for name, vector in groups.items()
        }

    def load(self, state: dict[str, Any]) -> None:
        """Restores ``state``'s result."""
        self._steps = state["steps"]
        for name, vector in (("weights", self._vector), ("means", self._mean), ("squares", self._square)):
            vector[:] = np.concatenate([np.array(values, np.float32) for values in state[name]])
        self._known = {}


def _summed(logs: Floats, options: Whole) -> FloatArray:
    """Log-probabilities of the options that were taken, added up for each architecture."""
    taken: FloatArray = np.take_along_axis(logs, options[..., None], -1).sum((0, 2), dtype=np.float64)
    return taken


def _masked(logits: Floats, arities: Whole) -> Floats:
    """Makes options that a decision does not have impossible; finite, as 0 * -inf would spoil the entropy."""
    lacking = np.arange(logits.shape[-1]) >= arities[..., None]
    logits[lacking] = -1e9
    return logits


def _uniform(n: int, seed: int) -> Floats:
    """The weights that PyTorch's generator of that seed draws from plus or minus ``INITIAL_RANGE``.

    It is a Mersenne twister that is seeded by the last 32 bits and gives 24 bits a number. PyTorch itself is not needed
    for anything else here, and takes a second to import.
    """
    twister = np.random.RandomState(seed % 2**32)  # no other one seeds it in that way
    shares = (twister.randint(2**32, size=n, dtype=np.uint32) % 2**24) / 2**24
    low, high = np.float32(-INITIAL_RANGE), np.float32(INITIAL_RANGE)
    drawn: Floats = (shares * float(high - low) + float(low)).astype(np.float32)
    return drawn
