"""A small stochastic grammar whose entropy rate is known exactly, so that perplexity has a true optimum.

The grammar is regular: a finite-state machine that in each state writes one of a few symbols at random and goes on to
the state that state and symbol determine. Such a machine is *unifilar*: whoever knows the first state and the symbols
knows all states. So the entropy rate of what it writes is the mean entropy of the next symbol over the stationary
distribution of the states (Shannon 1948, theorem 5; Travers & Crutchfield 2011); no model can predict better. Symbols
alone do not tell the state: the same one is written in several states, and what follows depends on those before it.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from archsearch.basics.seeding import stream


class Grammar:
    """A random unifilar machine whose states are all reached from each other.

    Args:
        states: >= 2.
        symbols: Different symbols, >= 2.
        branches: Symbols that can be written in a state, 2 to ``symbols``; their probabilities are uniform over all
            distributions.
        seed: Of the machine, >= 0.

    Attributes:
        probabilities: Of each symbol in each state, shape (states, symbols).
        following: The state after each state and symbol, the same shape; -1 where the symbol is not written.
    """

    def __init__(self, states: int = 12, symbols: int = 6, branches: int = 3, seed: int = 0) -> None:
        rng = stream(seed, "grammar")
        self.probabilities = np.zeros((states, symbols))
        self.following = np.full((states, symbols), -1)
        for state in range(states):
            written = rng.permutation(symbols)[:branches]
            self.probabilities[state, written] = rng.dirichlet(np.ones(branches))
            self.following[state, written] = rng.integers(states, size=branches)
            self.following[state, written[0]] = (state + 1) % states  # a cycle, so that every state is reached

    @functools.cached_property
    def stationary(self) -> npt.NDArray[np.float64]:
        """Probabilities of the states in the long run."""
        states, symbols = self.probabilities.shape
        moves = np.zeros((states, states))
        for state in range(states):
            for symbol in range(symbols):
                moves[state, self.following[state, symbol]] += self.probabilities[state, symbol]
        equations = np.vstack([moves.T - np.eye(states), np.ones(states)])
        found: npt.NDArray[np.float64] = np.linalg.lstsq(equations, np.append(np.zeros(states), 1.0))[0]
        return found

    @property
    def entropy_rate(self) -> float:
        """Nats a symbol: the mean cross-entropy below which no prediction gets."""
        p = self.probabilities
        entropies = -np.sum(p * np.log(np.where(p > 0, p, 1.0)), axis=1)
        return float(self.stationary @ entropies)

    def write(self, length: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """A sequence that begins in a state drawn from the stationary distribution."""
        chances, following = self.probabilities.cumsum(axis=1).tolist(), self.following.tolist()
        state = int(rng.choice(len(self.stationary), p=self.stationary / self.stationary.sum()))
        found = np.empty(length, np.int64)
        for i, chance in enumerate(rng.random(length).tolist()):
            row = chances[state]
            symbol = next((s for s, upper in enumerate(row) if chance < upper and following[state][s] >= 0), -1)
            if symbol < 0:  # rounding: the last one that can be written
                symbol = max(s for s, after in enumerate(following[state]) if after >= 0)
            found[i] = symbol
            state = following[state][symbol]
        return found
